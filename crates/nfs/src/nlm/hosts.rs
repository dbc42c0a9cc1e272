//! Machines that hold locks, the files that they hold them on, and their owners' numbers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use strongroom_vfs::unix::UnixOpen;
use strongroom_vfs::{AccessMask, Handle, Inode, LockOwner, LockRange, Vfs, VfsError};

use super::Stat;
use crate::server::{Server, Target};

const HOSTS_MAX: usize = 10_000;
/// Files on which, and owners by which, one machine may hold locks.
const FILES_MAX: usize = 1 << 16;
/// Locks that one machine may wait for.
const WAITING_MAX: usize = 1_024;
/// What stands before the address of a machine that is on record.
const RECORD: &[u8] = b"nlm:";

/// An owner's name and process, as its machine says.
type Who = (Vec<u8>, i32);

#[derive(Debug, Default)]
pub(crate) struct Hosts {
    table: Mutex<HashMap<IpAddr, Host>>,
    waits: AtomicUsize,
}

#[derive(Debug, Default)]
struct Host {
    /// Another number after each of its starts.
    state: Option<i32>,
    files: HashMap<Inode, Arc<Handle>>,
    owners: HashMap<Who, LockOwner>,
    waiting: HashMap<(Who, LockRange), usize>,
}

/// The name by which a machine is on record.
pub(super) fn name_of(peer: IpAddr) -> Vec<u8> {
    [RECORD, peer.to_string().as_bytes()].concat()
}

/// The machine of a name on record, where it is one of a machine.
pub(crate) fn address_of(name: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(name.strip_prefix(RECORD)?).ok()?;
    text.parse().ok()
}

impl Hosts {
    /// A machine wants to lock something; true where it was not known before. One that started again holds nothing.
    pub(super) fn meet(&self, peer: IpAddr, state: Option<i32>) -> Result<bool, Stat> {
        let mut table = self.table.lock();
        if table.len() >= HOSTS_MAX && !table.contains_key(&peer) {
            return Err(Stat::NoLocks);
        }
        let new = !table.contains_key(&peer);
        let host = table.entry(peer).or_default();
        let restarted = matches!((state, host.state), (Some(now), Some(before)) if now != before);
        let gone = restarted.then(|| std::mem::take(host));
        host.state = state.or(host.state);
        drop(table);
        drop(gone);
        Ok(new)
    }

    /// What a machine holds is free.
    pub(crate) fn free(&self, peer: IpAddr) {
        let gone = self.table.lock().remove(&peer);
        drop(gone);
    }

    pub(crate) fn end(&self) {
        let gone = std::mem::take(&mut *self.table.lock());
        drop(gone);
    }

    /// Whether a name on record is that of a machine that holds something; of others nothing is known any more.
    pub(crate) fn keeps(&self, name: &[u8]) -> bool {
        let Some(peer) = address_of(name) else {
            return false;
        };
        let mut table = self.table.lock();
        let holds = table.get(&peer).is_some_and(|host| !host.files.is_empty());
        let gone = if holds { None } else { table.remove(&peer) };
        drop(table);
        drop(gone);
        holds
    }

    /// The file, opened for locks of this machine. Who may read or write it may lock it.
    pub(super) async fn open(
        &self,
        server: &Server,
        peer: IpAddr,
        target: &Target,
    ) -> Result<Arc<Handle>, Stat> {
        let known = |table: &HashMap<IpAddr, Host>| {
            let host = table.get(&peer)?;
            host.files.get(&target.inode).cloned()
        };
        if let Some(file) = known(&self.table.lock()) {
            return Ok(file);
        }
        let unix = target.unix(&server.vfs);
        let opened = unix.open(target.inode, UnixOpen::once(AccessMask::READ_DATA));
        let file = match opened.await {
            Err(VfsError::AccessDenied) => {
                let open = UnixOpen::once(AccessMask::WRITE_DATA);
                unix.open(target.inode, open).await?
            }
            opened => opened?,
        };
        let mut table = self.table.lock();
        let host = table.entry(peer).or_default();
        if host.files.len() >= FILES_MAX {
            return Err(Stat::NoLocks);
        }
        let kept = host.files.entry(target.inode).or_insert(file);
        Ok(Arc::clone(kept))
    }

    /// The number of an owner, made where it has none.
    pub(super) fn own(&self, server: &Server, peer: IpAddr, who: &Who) -> Result<LockOwner, Stat> {
        let mut table = self.table.lock();
        let host = table.entry(peer).or_default();
        if let Some(number) = host.owners.get(who) {
            return Ok(*number);
        }
        if host.owners.len() >= FILES_MAX {
            return Err(Stat::NoLocks);
        }
        let number = LockOwner(server.state.next());
        host.owners.insert(who.clone(), number);
        Ok(number)
    }

    pub(super) fn number(&self, peer: IpAddr, who: &Who) -> Option<LockOwner> {
        self.table.lock().get(&peer)?.owners.get(who).copied()
    }

    /// Whose number that is, among a machine's.
    pub(super) fn who(&self, peer: IpAddr, number: LockOwner) -> Option<Who> {
        let table = self.table.lock();
        let mut owners = table.get(&peer)?.owners.iter();
        let (who, _) = owners.find(|(_, own)| **own == number)?;
        Some(who.clone())
    }

    /// What nobody holds is open and numbered no longer.
    pub(super) fn unlock(
        &self,
        vfs: &Vfs,
        peer: IpAddr,
        inode: Inode,
        who: &Who,
        range: LockRange,
    ) -> Result<(), VfsError> {
        let mut table = self.table.lock();
        let Some(host) = table.get_mut(&peer) else {
            return Ok(());
        };
        let (Some(file), Some(number)) = (host.files.get(&inode), host.owners.get(who)) else {
            return Ok(());
        };
        let (file, number) = (Arc::clone(file), *number);
        vfs.unlock_posix(&file, number, range.offset, range.len)?;
        let waits = host.waiting.keys().any(|(waiting, _)| waiting == who);
        if !waits
            && !host
                .files
                .values()
                .any(|file| vfs.holds_locks(file, number))
        {
            host.owners.remove(who);
        }
        let mut gone = None;
        if host.waiting.is_empty() && !vfs.has_locks(&file) {
            gone = host.files.remove(&inode);
        }
        drop(table);
        drop((file, gone));
        Ok(())
    }

    /// Somebody waits for a lock; false where it does already.
    pub(super) fn begin_wait(
        &self,
        peer: IpAddr,
        who: &Who,
        range: LockRange,
    ) -> Result<bool, Stat> {
        let mut table = self.table.lock();
        let host = table.entry(peer).or_default();
        if host.waiting.len() >= WAITING_MAX {
            return Err(Stat::NoLocks);
        }
        let number = self.waits.fetch_add(1, Ordering::Relaxed);
        let mut new = false;
        host.waiting.entry((who.clone(), range)).or_insert_with(|| {
            new = true;
            number
        });
        Ok(new)
    }

    pub(super) fn waits(&self, peer: IpAddr, who: &Who, range: LockRange) -> bool {
        let table = self.table.lock();
        let host = table.get(&peer);
        host.is_some_and(|host| host.waiting.contains_key(&(who.clone(), range)))
    }

    /// True where it was still waited for.
    pub(super) fn end_wait(&self, peer: IpAddr, who: &Who, range: LockRange) -> bool {
        let mut table = self.table.lock();
        let host = table.get_mut(&peer);
        host.is_some_and(|host| host.waiting.remove(&(who.clone(), range)).is_some())
    }

    pub(super) fn cancel(&self, peer: IpAddr, who: &Who, range: Result<LockRange, Stat>) {
        if let Ok(range) = range {
            self.end_wait(peer, who, range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_on_record_are_told_from_other_clients() {
        for address in ["192.0.2.7", "2001:db8::1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(address_of(&name_of(address)), Some(address));
        }
        assert_eq!(address_of(b"Linux NFSv4.2 client"), None);
    }
}
