//! The grant machine: who may cache what, and what takes it away.
//!
//! SMB oplocks and leases and NFSv4 delegations are all grants: a promise to a holder that it hears of it before
//! something happens that its cache would not survive. Every operation that could disturb a cache passes one of the
//! conflict points ([`Conflict`]) before it takes effect; the machine breaks what conflicts and the operation
//! waits until the holders have answered. Grants of the same key (a lease key, a delegation's client) never conflict.

use std::fmt::Debug;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a holder may do without asking. The three rights of an SMB lease; a read delegation is `read + handle`,
/// a write delegation is all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct GrantRights {
    /// Answer reads from its cache.
    pub read: bool,
    /// Keep writes and locks in its cache.
    pub write: bool,
    /// Keep the file open after its user closed it.
    pub handle: bool,
}

impl GrantRights {
    pub const NONE: Self = Self {
        read: false,
        write: false,
        handle: false,
    };

    fn intersect(self, other: Self) -> Self {
        Self {
            read: self.read && other.read,
            write: self.write && other.write,
            handle: self.handle && other.handle,
        }
    }

    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }
}

/// Whose cache: operations under the same key do not disturb it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GrantKey(pub [u8; 16]);

/// What an open asks for.
#[derive(Debug, Clone, Default)]
pub enum GrantRequest {
    #[default]
    None,
    Wanted {
        key: GrantKey,
        rights: GrantRights,
        holder: Arc<dyn GrantHolder>,
    },
}

/// Hears that its grant shrinks. Called without any lock of the file system held; it must not block.
/// The holder answers by [`Grant::acknowledge`].
pub trait GrantHolder: Send + Sync + Debug {
    fn broken(&self, key: GrantKey, from: GrantRights, to: GrantRights);
}

/// What is about to happen, for the grants to be judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Conflict {
    /// Another open that shares the file.
    Open {
        writes: bool,
    },
    /// An open that would fail on share modes, were the handle-caching holders not to close.
    Sharing,
    /// The content is replaced by an open (overwrite, supersede).
    Overwrite,
    Write,
    Rename,
    Delete,
    Lock,
}

impl Conflict {
    /// What other holders may keep.
    fn survivors(self) -> GrantRights {
        let all = GrantRights {
            read: true,
            write: true,
            handle: true,
        };
        match self {
            Self::Open { .. } => GrantRights {
                write: false,
                ..all
            },
            Self::Sharing | Self::Rename | Self::Delete => GrantRights {
                handle: false,
                ..all
            },
            Self::Overwrite => GrantRights::NONE,
            Self::Write | Self::Lock => GrantRights {
                handle: true,
                ..GrantRights::NONE
            },
        }
    }
}

/// One promise to one holder.
#[derive(Debug)]
pub struct Grant {
    key: GrantKey,
    holder: Arc<dyn GrantHolder>,
    state: Mutex<GrantState>,
    settled: Notify,
}

#[derive(Debug, Clone, Copy)]
struct GrantState {
    rights: GrantRights,
    breaking_to: Option<GrantRights>,
}

impl Grant {
    pub fn key(&self) -> GrantKey {
        self.key
    }

    pub fn rights(&self) -> GrantRights {
        self.state.lock().rights
    }

    /// The holder's answer to a break: it keeps `rights`, never more than it was broken to.
    pub fn acknowledge(&self, rights: GrantRights) {
        let mut state = self.state.lock();
        let most = state.breaking_to.take().unwrap_or(state.rights);
        state.rights = rights.intersect(most);
        drop(state);
        self.settled.notify_waiters();
    }

    /// Begins a break where this grant conflicts; true if an answer must be awaited.
    fn disturb(&self, by: Option<GrantKey>, conflict: Conflict) -> bool {
        if by == Some(self.key) {
            return false;
        }
        let mut state = self.state.lock();
        let from = state.rights;
        let to = state
            .breaking_to
            .unwrap_or(from)
            .intersect(conflict.survivors());
        if to == from {
            return false;
        }
        let told = state.breaking_to.replace(to) == Some(to);
        drop(state);
        if !told {
            self.holder.broken(self.key, from, to);
        }
        true
    }

    async fn wait(&self) {
        loop {
            let answered = self.settled.notified();
            if self.state.lock().breaking_to.is_none() {
                return;
            }
            answered.await;
        }
    }
}

/// The grants on one file.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    list: Mutex<Vec<Arc<Grant>>>,
}

impl Grants {
    /// Gives what does not conflict with what others hold or do; None if that is nothing.
    pub(crate) fn grant(&self, request: &GrantRequest, others_open: bool) -> Option<Arc<Grant>> {
        let GrantRequest::Wanted {
            key,
            rights,
            holder,
        } = request
        else {
            return None;
        };
        let mut list = self.list.lock();
        list.retain(|grant| !grant.rights().is_empty());
        let shared = others_open || list.iter().any(|grant| grant.key != *key);
        let rights = GrantRights {
            write: rights.write && !shared,
            ..*rights
        };
        if rights.is_empty() {
            return None;
        }
        let grant = Arc::new(Grant {
            key: *key,
            holder: Arc::clone(holder),
            state: Mutex::new(GrantState {
                rights,
                breaking_to: None,
            }),
            settled: Notify::new(),
        });
        list.push(Arc::clone(&grant));
        Some(grant)
    }

    pub(crate) fn release(&self, grant: &Arc<Grant>) {
        self.list.lock().retain(|held| !Arc::ptr_eq(held, grant));
        grant.acknowledge(GrantRights::NONE);
    }

    /// The conflict point: breaks what conflicts and waits for the holders.
    pub(crate) async fn conflict(&self, by: Option<GrantKey>, conflict: Conflict) {
        let disturbed: Vec<_> = {
            let list = self.list.lock();
            if list.is_empty() {
                return;
            }
            list.clone()
        };
        for grant in disturbed {
            if grant.disturb(by, conflict) {
                grant.wait().await;
            }
        }
    }
}
