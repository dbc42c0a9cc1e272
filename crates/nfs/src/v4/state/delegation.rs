//! Delegations: a file that a client may open, read and, by a delegation for writing, write by itself until it is called
//! back (RFC 8881, 10.4). Each is a grant of the file system's, so whatever would meet it, by any protocol, calls it back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_vfs::grants::{Broken, GrantHolder, GrantRights};
use strongroom_vfs::{Handle, Inode};
use tokio::sync::Notify;

use super::{Client, Status, lease};
use crate::server::Server;
use crate::v4::callback;
use crate::v4::types::Stateid;

/// By when a holder that was called back must have answered. A little less than the grant waits, so that what it held is
/// given back before those who wait look again.
pub(crate) fn recall_time() -> Duration {
    lease()
}

#[derive(Debug)]
pub(crate) struct Delegation {
    pub(crate) other: [u8; 12],
    pub(crate) inode: Inode,
    pub(crate) write: bool,
    /// The file's handle, as the client knows it.
    pub(crate) file: Vec<u8>,
    pub(crate) client: Weak<Client>,
    server: Weak<Server>,
    state: Mutex<Held>,
    _counted: Counted,
    /// Told when it is over.
    pub(crate) over: Notify,
}

/// One of all delegations, as long as it is remembered.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Files of which a delegation was called back lately: another one would be called back as well.
#[derive(Debug, Default)]
pub(crate) struct Contended(Mutex<HashMap<Inode, Duration>>);

impl Contended {
    const FILES_MAX: usize = 4_096;
    const TIME: Duration = Duration::from_secs(30);

    fn note(&self, inode: Inode, now: Duration) {
        let mut files = self.0.lock();
        if files.len() >= Self::FILES_MAX {
            files.retain(|_, since| now.saturating_sub(*since) < Self::TIME);
        }
        if files.len() < Self::FILES_MAX {
            files.insert(inode, now);
        }
    }

    pub(crate) fn has(&self, inode: Inode, now: Duration) -> bool {
        let files = self.0.lock();
        let since = files.get(&inode);
        since.is_some_and(|since| now.saturating_sub(*since) < Self::TIME)
    }
}

#[derive(Debug, Default)]
struct Held {
    handle: Option<Arc<Handle>>,
    recalled: bool,
    revoked: bool,
    /// The file's count of changes when the delegation was given, and how many changes were told since.
    change: u64,
    size: Option<u64>,
    told: u64,
}

impl Delegation {
    pub(crate) fn new(
        other: [u8; 12],
        (inode, write): (Inode, bool),
        file: &[u8],
        client: &Arc<Client>,
        server: &Arc<Server>,
    ) -> Arc<Self> {
        Arc::new(Self {
            other,
            inode,
            write,
            file: file.to_vec(),
            client: Arc::downgrade(client),
            server: Arc::downgrade(server),
            state: Mutex::default(),
            _counted: Counted::new(&server.state.delegations),
            over: Notify::new(),
        })
    }

    /// It begins: the open that it is, and the file's count of changes.
    pub(crate) fn begin(&self, handle: Arc<Handle>, change: u64) {
        let mut state = self.state.lock();
        state.handle = Some(handle);
        state.change = change;
    }

    pub(crate) fn stateid(&self) -> Stateid {
        Stateid {
            sequence: 1,
            other: self.other,
        }
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.state.lock().revoked
    }

    /// It was given back, or taken.
    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().handle.is_none()
    }

    /// Called back, and neither given back nor taken yet.
    pub(crate) fn is_recalled(&self) -> bool {
        let state = self.state.lock();
        state.recalled && state.handle.is_some()
    }

    /// The open for reads or writes by its stateid.
    pub(crate) fn handle(&self, access: u32) -> Result<Arc<Handle>, Status> {
        let state = self.state.lock();
        let handle = state.handle.clone();
        drop(state);
        if access & crate::v4::ops::open::WRITE != 0 && !self.write {
            return Err(Status::OPENMODE);
        }
        handle.ok_or(Status::BAD_STATEID)
    }

    /// It is over. Who waited for it goes on.
    pub(crate) fn end(&self) {
        let handle = self.state.lock().handle.take();
        drop(handle);
        self.over.notify_waiters();
    }

    /// Its holder did not answer in time.
    pub(super) fn revoke(&self) {
        self.state.lock().revoked = true;
        self.end();
    }

    /// What others are to see of a file whose holder tells its count of changes and size: the size, and how many changes
    /// more than the file system knows (RFC 8881, 10.4.3). True where the holder has changed something.
    pub(crate) fn told(&self, change: u64, size: u64) -> (u64, bool) {
        let mut state = self.state.lock();
        let modified = change != state.change || state.size.is_some_and(|before| before != size);
        if modified {
            state.told += 1;
            state.change = change;
        }
        state.size = Some(size);
        (state.told, modified)
    }
}

/// What the file system tells of breaks.
#[derive(Debug)]
pub(crate) struct Holder(pub(crate) Weak<Delegation>);

impl GrantHolder for Holder {
    fn granted(&self, _: GrantRights) {}

    fn broken(&self, _: Broken) {
        let Some(delegation) = self.0.upgrade() else {
            return;
        };
        if std::mem::replace(&mut delegation.state.lock().recalled, true) {
            return;
        }
        let Some(server) = delegation.server.upgrade() else {
            return;
        };
        let now = server.env.monotonic();
        server.state.contended.note(delegation.inode, now);
        let env = Arc::clone(&server.env);
        env.spawn(
            "recall of a delegation",
            Box::pin(async move { callback::recall(&server, &delegation).await }),
        );
    }

    fn patience(&self) -> Duration {
        recall_time() + Duration::from_secs(1)
    }

    fn caches_attributes(&self) -> bool {
        true
    }
}
