//! Opens that outlive the program: what others meet of them is kept in rows and made again at the next start, before
//! anybody can open anything, so that their clients find them as they left them (persistent handles, MS-SMB2 3.3.1.10).
//!
//! The row of an open stands in the transaction that makes its file, and is durable before the open is answered. Its
//! byte-range locks have a row each. What its grant may promise is taken from the row *before* anything happens that
//! the holder's cache would not survive: after a crash nobody could tell the holder of it.

mod record;
mod revive;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use strongroom_store::{Inode, SessionId, Txn};

pub(crate) use self::record::{KeptGrant, Record};
pub use self::revive::{Claim, Revived};
use crate::grants::{Conflict, GrantKey, GrantRequest, GrantRights};
use crate::node::{LinkRef, Node};
use crate::open::Opening;
use crate::{AccessMask, CreateAction, Handle, LockRange, Result, ShareAccess, Vfs, rows};

/// The kinds of rows of one open, in their keys.
const OPEN: u8 = 0;
const LOCK: u8 = 1;
const MARK: u8 = 2;
/// Bytes that a protocol may keep with an open; a row has to fit into a record of the log.
pub(crate) const DATA_MAX: usize = 32 << 10;

/// An open shall outlive the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersistentWish {
    /// Names the open; never used before in this pool as far as the caller can tell.
    pub id: u64,
    /// What the caller needs to know of it at the next start; at most 32 KiB, else the open is not persistent.
    pub data: Vec<u8>,
}

/// The persistent opens, by file.
#[derive(Debug, Default)]
pub(crate) struct Persistents {
    count: AtomicUsize,
    by_inode: Mutex<HashMap<Inode, Vec<Arc<Persistent>>>>,
}

/// One persistent open.
#[derive(Debug)]
pub(crate) struct Persistent {
    id: u64,
    /// Of the grant that it got.
    grant_key: OnceLock<GrantKey>,
    kept: Mutex<Kept>,
}

/// What stands in its rows.
#[derive(Debug)]
struct Kept {
    record: Record,
    locks: BTreeMap<LockRange, u32>,
    /// It is closed; nothing is written any more.
    ended: bool,
}

impl Persistents {
    pub(crate) fn is_idle(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    pub(crate) fn enter(&self, inode: Inode, open: &Arc<Persistent>, grant_key: Option<GrantKey>) {
        if let Some(key) = grant_key {
            open.grant_key.set(key).ok();
        }
        let mut table = self.by_inode.lock();
        table.entry(inode).or_default().push(Arc::clone(open));
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    fn remove(&self, inode: Inode, open: &Arc<Persistent>) {
        let mut table = self.by_inode.lock();
        let Some(opens) = table.get_mut(&inode) else {
            return;
        };
        let before = opens.len();
        opens.retain(|held| !Arc::ptr_eq(held, open));
        let gone = before - opens.len();
        if opens.is_empty() {
            table.remove(&inode);
        }
        self.count.fetch_sub(gone, Ordering::AcqRel);
    }

    fn of(&self, inode: Inode) -> Vec<Arc<Persistent>> {
        let table = self.by_inode.lock();
        table.get(&inode).cloned().unwrap_or_default()
    }
}

/// Where an open leads, and with which rights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) inode: Inode,
    pub(crate) link: &'a LinkRef,
    pub(crate) stream: u32,
    pub(crate) stream_name: &'a str,
    pub(crate) granted: AccessMask,
}

impl Persistent {
    /// What is to be kept of an open that asks for it; its row is the caller's to put.
    pub(crate) fn wanted(
        opening: &Opening<'_, '_>,
        place: Place<'_>,
        action: CreateAction,
    ) -> Option<Arc<Self>> {
        let request = opening.request;
        let wish = request.persistent.as_ref()?;
        if wish.data.len() > DATA_MAX {
            return None;
        }
        let grant = match &request.grant {
            GrantRequest::None | GrantRequest::Under(_) => None,
            GrantRequest::Wanted(wish) => Some(KeptGrant {
                key: wish.key,
                rights: wish.rights,
            }),
        };
        let record = Record {
            share: request.share.id,
            inode: place.inode,
            stream: place.stream,
            stream_name: place.stream_name.to_owned(),
            link: place.link.clone(),
            granted: place.granted,
            share_access: request.share_access,
            options: request.options,
            posix: request.posix.is_some(),
            action,
            delete_pending: false,
            grant,
            parent_grant: request.parent_grant,
            data: wish.data.clone(),
        };
        Some(Self::new(wish.id, record, BTreeMap::new()))
    }

    fn new(id: u64, record: Record, locks: BTreeMap<LockRange, u32>) -> Arc<Self> {
        Arc::new(Self {
            id,
            grant_key: OnceLock::new(),
            kept: Mutex::new(Kept {
                record,
                locks,
                ended: false,
            }),
        })
    }

    pub(crate) fn put(&self, txn: &mut Txn<'_>) {
        let kept = self.kept.lock();
        txn.put(
            rows::PERSISTENT,
            key(self.id, OPEN, &[]),
            kept.record.encode(),
        );
    }
}

impl Vfs {
    /// How many opens are kept over the end of the program.
    pub fn persistent_opens(&self) -> usize {
        self.persistents.count.load(Ordering::Acquire)
    }

    /// Ends an open whose client may come back to it after the next start: its locks, its share modes and its grant,
    /// but neither what is kept of it nor, where it was marked for deletion, the file.
    pub fn suspend(&self, handle: &Handle) -> Result<()> {
        if !handle.mark_closed() {
            return Ok(());
        }
        let node = &handle.node;
        node.locks.release(handle.id);
        let settled = {
            let mut state = node.lock();
            state.opens.retain(|open| open.handle != handle.id);
            if state.gone {
                Ok(())
            } else {
                self.settle(handle, &mut state)
            }
        };
        self.release_grant(handle);
        if let Some(open) = &handle.persistent {
            open.kept.lock().ended = true;
            self.persistents.remove(node.inode, open);
        }
        settled
    }

    /// While the client of an open is away, whatever its share modes or its grant exclude is refused as
    /// [`crate::VfsError::Away`] at once, and nobody waits for its answer.
    pub fn set_away(&self, handle: &Handle, away: bool) {
        let mut state = handle.node.lock();
        let mut opens = state.opens.iter_mut();
        if let Some(open) = opens.find(|open| open.handle == handle.id) {
            open.away = away;
        }
    }

    /// Notes what the handle has locked now, and a mark of the caller's, which the next start gives back. Does nothing
    /// where the open is not persistent. Durable by [`Vfs::sync_names`].
    pub fn keep_locks(&self, handle: &Handle, mark: Option<(u32, u8)>) -> Result<()> {
        let Some(open) = &handle.persistent else {
            return Ok(());
        };
        let mut kept = open.kept.lock();
        if kept.ended {
            return Ok(());
        }
        let held = handle.node.locks.of(handle.id);
        let mut txn = self.persistent_txn();
        for (range, count) in held
            .iter()
            .filter(|(range, count)| kept.locks.get(range) != Some(count))
        {
            let value = count.to_le_bytes().to_vec();
            txn.put(rows::PERSISTENT, lock_key(open.id, range), value);
        }
        for range in kept.locks.keys().filter(|range| !held.contains_key(range)) {
            txn.delete(rows::PERSISTENT, lock_key(open.id, range));
        }
        if let Some((index, value)) = mark {
            let key = key(open.id, MARK, &index.to_be_bytes());
            txn.put(rows::PERSISTENT, key, vec![value]);
        }
        txn.commit()?;
        kept.locks = held;
        Ok(())
    }

    fn persistent_txn(&self) -> Txn<'_> {
        let mut txn = self.store.txn(SessionId::SYSTEM);
        // On a full pool, too, handles are kept, changed and closed.
        txn.draw_on_reserve();
        txn
    }

    /// Under the open's lock to the end, so that no row comes back after the open was forgotten.
    pub(crate) fn put_persistent(&self, open: &Persistent) -> Result<()> {
        let kept = open.kept.lock();
        if kept.ended {
            return Ok(());
        }
        let mut txn = self.persistent_txn();
        let row = kept.record.encode();
        txn.put(rows::PERSISTENT, key(open.id, OPEN, &[]), row);
        Ok(txn.commit().map(drop)?)
    }

    /// An open that replaced the content: that comes first, so that a crash in between leaves an open to be made anew.
    pub(crate) async fn put_replaced(&self, handle: &Handle) -> Result<()> {
        let Some(open) = &handle.persistent else {
            return Ok(());
        };
        self.store.sync(&[handle.object()]).await?;
        self.put_persistent(open)
    }

    /// The open is closed for good.
    pub(crate) fn forget_persistent(&self, handle: &Handle) -> Result<()> {
        let Some(open) = &handle.persistent else {
            return Ok(());
        };
        self.persistents.remove(handle.node.inode, open);
        let ended = std::mem::replace(&mut open.kept.lock().ended, true);
        if ended {
            return Ok(());
        }
        let rows = self.persistent_keys(open.id)?;
        let mut txn = self.persistent_txn();
        for key in rows {
            txn.delete(rows::PERSISTENT, key);
        }
        Ok(txn.commit().map(drop)?)
    }

    /// Takes from the records of others' grants what they must not be given again after a crash, before it happens.
    pub(crate) fn lower_records(
        &self,
        node: &Node,
        stream: Option<u32>,
        by: Option<GrantKey>,
        conflict: Conflict,
        only_oplocks: bool,
    ) {
        if self.persistents.is_idle() {
            return;
        }
        for open in self.persistents.of(node.inode) {
            let own = by.is_some() && open.grant_key.get().copied() == by;
            if own {
                continue;
            }
            let mut kept = open.kept.lock();
            let Some(grant) = kept.record.grant else {
                continue;
            };
            let elsewhere = stream.is_some_and(|stream| stream != kept.record.stream);
            if elsewhere || kept.ended || (only_oplocks && grant.key.is_some()) {
                continue;
            }
            let rights = left_on_record(grant, conflict);
            if rights == grant.rights {
                continue;
            }
            kept.record.grant = Some(KeptGrant { rights, ..grant });
            drop(kept);
            if let Err(error) = self.put_persistent(&open) {
                tracing::error!(%error, "what a persistent handle may cache is kept as it was");
            }
        }
    }

    /// A mark for deletion was set through the handle, or taken from what it has open.
    pub(crate) fn record_delete(&self, handle: &Handle, delete: bool) -> Result<()> {
        if self.persistents.is_idle() {
            return Ok(());
        }
        let marked: Vec<_> = match &handle.persistent {
            Some(open) if delete => vec![Arc::clone(open)],
            None if delete => return Ok(()),
            _ => self.persistents.of(handle.node.inode),
        };
        for open in marked {
            let mut kept = open.kept.lock();
            let concerned = kept.record.stream == handle.stream && !kept.ended;
            if !concerned || kept.record.delete_pending == delete {
                continue;
            }
            kept.record.delete_pending = delete;
            drop(kept);
            self.put_persistent(&open)?;
        }
        Ok(())
    }

    fn persistent_keys(&self, id: u64) -> Result<Vec<rows::Key>> {
        let (mut start, end) = (key(id, OPEN, &[]), key(id, u8::MAX, &[]));
        let mut keys = Vec::new();
        loop {
            let page = self
                .store
                .scan(rows::PERSISTENT, &start, &end, revive::BATCH)?;
            let Some((last, _)) = page.last() else {
                return Ok(keys);
            };
            start = crate::quota::next_key(last);
            keys.extend(page.iter().map(|(key, _)| rows::Key::from_slice(key)));
        }
    }
}

/// A holder that only reads hears of a write after it was made; its record must not say so for longer than before it.
fn left_on_record(grant: KeptGrant, conflict: Conflict) -> GrantRights {
    let left = if conflict == Conflict::WriteBegins {
        GrantRights::NONE
    } else {
        conflict.leaves(grant.rights)
    };
    if grant.key.is_none() && left != grant.rights {
        return left.intersect(GrantRights::READ);
    }
    left
}

fn key(id: u64, kind: u8, rest: &[u8]) -> rows::Key {
    let mut key = rows::list_key(id);
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

fn lock_key(id: u64, range: &LockRange) -> rows::Key {
    let mut rest = [0; 17];
    let (offset, others) = rest.split_at_mut(8);
    let (len, kind) = others.split_at_mut(8);
    offset.copy_from_slice(&range.offset.to_be_bytes());
    len.copy_from_slice(&range.len.to_be_bytes());
    kind.fill(u8::from(range.exclusive));
    key(id, LOCK, &rest)
}

/// What the share mode of an open is, in bits.
impl ShareAccess {
    pub(crate) fn bits(self) -> u8 {
        u8::from(self.read) | u8::from(self.write) << 1 | u8::from(self.delete) << 2
    }
}
