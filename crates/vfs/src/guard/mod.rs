//! The alarm: notices that a client session encrypts, or destroys, what is stored, and stops it.
//!
//! It looks where the change is made, so that it is as quick as whoever makes it: at a few samples of what a file held
//! before its first write through an open and of what is written ([`content`]), at noise that takes the name of another
//! file or comes while other files go, at new endings, and at decoys. What speaks against a user and against an address is
//! added up ([`score`]), so that neither reconnecting nor working by many sessions hides it. When it is enough, the last
//! instant before all of it is kept as a snapshot that is held, and the sessions of that user and that address change
//! nothing any more until an administrator clears the alarm ([`alarms`]). The method is that of CryptoDrop (Scaife et al.,
//! ICDCS 2016), with content weighed over names.

mod alarms;
mod content;
mod score;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use strongroom_store::{Inode, ObjectId, SessionId, Store, View};

pub use alarms::{Alarm, AlarmAction};
use content::{Look, SAMPLE, look, was_spoilt};
use score::{Account, Evidence, new_ending};

use crate::node::Node;
use crate::{Handle, Result, SessionInfo, ShareId, Sid, Vfs, VfsError};

/// Users and addresses that something is known of.
const SUSPECTS_MAX: usize = 10_000;
/// Writes through one open of which samples are compared: these first ones, and each whose number is a power of two.
const WRITES_LOOKED_AT: u32 = 4;

/// Whom evidence speaks against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Suspect {
    User(Sid),
    Address(String),
}

/// What stands between a session and the files: while it is shut, the session changes nothing.
#[derive(Debug)]
pub(crate) struct Fence {
    session: SessionId,
    user: Sid,
    user_name: String,
    address: String,
    shut: AtomicBool,
}

impl Fence {
    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }

    fn suspects(&self) -> impl Iterator<Item = Suspect> {
        let user = Some(Suspect::User(self.user));
        let address = Suspect::Address(self.address.clone());
        user.into_iter()
            .chain((!self.address.is_empty()).then_some(address))
    }
}

/// What is remembered of one open for comparing.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    writes: u32,
    /// How the file began before this open changed it.
    before: Option<Look>,
    /// How it begins after the only write there; None where a look must tell.
    after: Option<Look>,
    head_writes: u32,
}

/// Everything that the alarm knows.
#[derive(Debug)]
pub(crate) struct Guard {
    fences: RwLock<HashMap<SessionId, Arc<Fence>>>,
    accounts: Mutex<HashMap<Suspect, Account>>,
    rules: RwLock<alarms::Rules>,
}

impl Guard {
    pub(crate) fn load(store: &Store) -> Result<Self> {
        Ok(Self {
            fences: RwLock::default(),
            accounts: Mutex::default(),
            rules: RwLock::new(alarms::Rules::load(store)?),
        })
    }

    /// A session has begun. One of the system itself is never looked at.
    pub(crate) fn began(&self, session: SessionId, info: &SessionInfo) {
        if info.user == Sid::LOCAL_SYSTEM {
            return;
        }
        let address = host_of(&info.address);
        // Held until the fence is known, so that no alarm raised meanwhile misses it.
        let mut fences = self.fences.write();
        let shut = self.rules.read().shuts(info.user, &address);
        let fence = Fence {
            session,
            user: info.user,
            user_name: info.user_name.clone(),
            address,
            shut: AtomicBool::new(shut),
        };
        fences.insert(session, Arc::new(fence));
    }

    pub(crate) fn ended(&self, session: SessionId) {
        self.fences.write().remove(&session);
    }

    pub(crate) fn fence(&self, session: SessionId) -> Option<Arc<Fence>> {
        self.fences.read().get(&session).cloned()
    }
}

/// The address without its port.
fn host_of(address: &str) -> String {
    let host = match address.parse::<SocketAddr>() {
        Ok(socket) => socket.ip().to_canonical(),
        Err(_) => match address.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical(),
            Err(_) => return address.to_owned(),
        },
    };
    host.to_string()
}

impl Vfs {
    /// Errors: `ReadOnly` while an alarm keeps the session from changing anything.
    pub(crate) fn require_unfenced(&self, session: SessionId) -> Result<()> {
        match self.guard.fence(session) {
            Some(fence) if fence.is_shut() => Err(VfsError::ReadOnly),
            _ => Ok(()),
        }
    }

    /// The fence of an open whose changes are looked at; None where nobody wants that.
    fn watched(&self, handle: &Handle) -> Option<Arc<Fence>> {
        let fence = handle.fence.read().clone()?;
        let rules = self.guard.rules.read();
        (handle.stream == 0 && rules.looks_at(handle.share, fence.user)).then_some(fence)
    }

    /// What a place of a file looks like now.
    fn look_at(&self, inode: Inode, offset: u64) -> Look {
        let mut sample = [0; SAMPLE];
        let read = self
            .store
            .at(&View::Now)
            .read(ObjectId::data(inode), offset, &mut sample);
        // What cannot be read tells nothing, and whoever wanted to read it is told.
        let bytes = read.ok().and_then(|len| sample.get(..len));
        bytes.map_or(Look::Empty, |bytes| look(bytes, offset == 0))
    }

    /// Before data is written through an open.
    pub(crate) fn guard_write(&self, handle: &Handle, offset: u64, data: &[u8]) -> Result<()> {
        let Some(fence) = self.watched(handle) else {
            return Ok(());
        };
        let inode = handle.inode();
        let mut seen = handle.seen.lock();
        seen.writes = seen.writes.saturating_add(1);
        let before = *seen.before.get_or_insert_with(|| self.look_at(inode, 0));
        let at_head = offset < SAMPLE as u64;
        if at_head {
            seen.head_writes = seen.head_writes.saturating_add(1);
        }
        let wanted = seen.writes <= WRITES_LOOKED_AT || seen.writes.is_power_of_two();
        if !wanted {
            return Ok(());
        }
        let after = look(data.get(..SAMPLE).unwrap_or(data), offset == 0);
        if offset == 0 {
            let whole = data.len() >= SAMPLE || seen.writes == 1;
            seen.after = (whole && seen.head_writes == 1).then_some(after);
        }
        drop(seen);
        let before = match (offset, after) {
            (0, _) => before,
            // Nothing is lost by what is no noise.
            (_, Look::Noise) => self.look_at(inode, offset),
            _ => return Ok(()),
        };
        let spoilt = was_spoilt(before, after);
        self.touched(&fence, handle, spoilt.then_some(Evidence::Spoilt))
    }

    /// Before data of an open is cut off or replaced in another way than by writing.
    pub(crate) fn guard_cut(&self, handle: &Handle) -> Result<()> {
        let Some(fence) = self.watched(handle) else {
            return Ok(());
        };
        let mut seen = handle.seen.lock();
        seen.before
            .get_or_insert_with(|| self.look_at(handle.inode(), 0));
        // What stands there at the end tells.
        seen.head_writes = seen.head_writes.saturating_add(2);
        seen.after = None;
        drop(seen);
        self.touched(&fence, handle, None)
    }

    /// Takes evidence of a write, if there is any, and that of a decoy.
    fn touched(
        &self,
        fence: &Arc<Fence>,
        handle: &Handle,
        evidence: Option<Evidence<'_>>,
    ) -> Result<()> {
        let decoy = self.guard.rules.read().is_decoy(handle.inode());
        let evidence = if decoy {
            Some(Evidence::Decoy)
        } else {
            evidence
        };
        let Some(evidence) = evidence else {
            return Ok(());
        };
        let path = || self.path(handle).unwrap_or_default();
        self.suspect(fence, handle.share, handle.inode(), evidence, path);
        handle.require_writable_share()
    }

    /// When an open that wrote is closed.
    pub(crate) fn guard_close(&self, handle: &Handle) {
        let seen = std::mem::take(&mut *handle.seen.lock());
        let (Some(before), true) = (seen.before, seen.head_writes > 0) else {
            return;
        };
        let Some(fence) = self.watched(handle) else {
            return;
        };
        if before == Look::Noise {
            return;
        }
        let inode = handle.inode();
        let after = seen.after.unwrap_or_else(|| self.look_at(inode, 0));
        let evidence = match (before, after) {
            (Look::Empty, Look::Noise) => Evidence::NoiseMade,
            _ if was_spoilt(before, after) => Evidence::Spoilt,
            _ => return,
        };
        let path = || self.path(handle).unwrap_or_default();
        self.suspect(&fence, handle.share, inode, evidence, path);
    }

    /// Before a file takes the name of another; what was noticed is told to [`Self::guard_renamed`].
    pub(crate) fn guard_replaced(&self, handle: &Handle, replaced: &Node) -> bool {
        !replaced.is_directory()
            && self.watched(handle).is_some()
            && self.look_at(handle.inode(), 0) == Look::Noise
            && was_spoilt(self.look_at(replaced.inode, 0), Look::Noise)
    }

    /// After a file got another name, perhaps that of another one.
    pub(crate) fn guard_renamed(
        &self,
        handle: &Handle,
        (from, to): (&str, &str),
        spoilt: Option<Inode>,
    ) {
        let Some(fence) = self.watched(handle).filter(|_| !handle.is_directory()) else {
            return;
        };
        let path = || self.path(handle).unwrap_or_default();
        let inode = handle.inode();
        if self.guard.rules.read().is_decoy(inode) {
            self.suspect(&fence, handle.share, inode, Evidence::Decoy, path);
        }
        if let Some(replaced) = spoilt {
            self.suspect(&fence, handle.share, replaced, Evidence::Spoilt, path);
        }
        if let Some(ending) = new_ending(from, to) {
            let evidence = Evidence::Ending(&ending);
            self.suspect(&fence, handle.share, inode, evidence, path);
        }
    }

    /// Before the last name of a file is removed by a session.
    pub(crate) fn guard_removed(
        &self,
        share: ShareId,
        session: SessionId,
        node: &Node,
        name: &str,
    ) {
        if node.is_directory() {
            return;
        }
        let Some(fence) = self.guard.fence(session) else {
            return;
        };
        if !self.guard.rules.read().looks_at(share, fence.user) {
            return;
        }
        if self.guard.rules.read().is_decoy(node.inode) {
            let path = || name.to_owned();
            return self.suspect(&fence, share, node.inode, Evidence::Decoy, path);
        }
        let watching = {
            let accounts = self.guard.accounts.lock();
            let mut known = fence.suspects();
            known.any(|suspect| {
                accounts
                    .get(&suspect)
                    .is_some_and(Account::watches_deletions)
            })
        };
        if watching && was_spoilt(self.look_at(node.inode, 0), Look::Noise) {
            let path = || name.to_owned();
            self.suspect(&fence, share, node.inode, Evidence::Deleted, path);
        }
    }

    /// Adds evidence to what is known of a session's user and address, and raises the alarm when it is enough.
    fn suspect(
        &self,
        fence: &Arc<Fence>,
        share: ShareId,
        inode: Inode,
        evidence: Evidence<'_>,
        path: impl Fn() -> String,
    ) {
        let now = (self.env.monotonic(), self.now());
        let mut over = None;
        {
            let mut accounts = self.guard.accounts.lock();
            if accounts.len() >= SUSPECTS_MAX {
                forget_oldest(&mut accounts);
            }
            for suspect in fence.suspects() {
                let account = accounts.entry(suspect.clone()).or_default();
                if account.take(evidence, inode, now, &path) {
                    over = over.or(Some(std::mem::take(account)));
                }
            }
            if over.is_some() {
                // One alarm tells it all; what comes after counts anew.
                for suspect in fence.suspects() {
                    accounts.remove(&suspect);
                }
            }
        }
        if let Some(account) = over {
            self.raise(fence, share, &account);
        }
    }
}

fn forget_oldest(accounts: &mut HashMap<Suspect, Account>) {
    let oldest = accounts
        .iter()
        .min_by_key(|(_, account)| account.last())
        .map(|(suspect, _)| suspect.clone());
    if let Some(oldest) = oldest {
        accounts.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn addresses_are_compared_without_ports_and_in_one_form() {
        assert_eq!(host_of("192.0.2.7:50000"), "192.0.2.7");
        assert_eq!(host_of("[::ffff:192.0.2.7]:50000"), "192.0.2.7");
        assert_eq!(host_of("[2001:db8::1]:445"), "2001:db8::1");
        assert_eq!(host_of("2001:db8::1"), "2001:db8::1");
        assert_eq!(host_of("console"), "console");
    }
}
