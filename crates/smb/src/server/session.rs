//! One signed-in (or signing-in) client (MS-SMB2 3.3.1.8).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_device::Timestamp;
use strongroom_vfs::Credentials;

use super::connection::Conn;
use super::open::{Open, Target};
use super::slab::Slab;
use super::tree::Tree;
use super::{Limits, Server, SessionStatus};
use crate::auth::AcceptState;
use crate::crypto::{PreauthHash, SessionKeys};
use crate::wire::{FileId, NtStatus, SessionId, TreeId};

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) conn: Weak<Conn>,
    pub(crate) peer: SocketAddr,
    pub(crate) since: Timestamp,
    pub(crate) logon: Mutex<Option<Logon>>,
    user: OnceLock<SignedIn>,
    encrypt: AtomicBool,
    trees: Mutex<Trees>,
    opens: Mutex<Opens>,
}

/// A logon under way: the first one or another one of a session that is there already.
#[derive(Debug)]
pub(crate) struct Logon {
    pub(crate) acceptor: AcceptState,
    /// Session.PreauthIntegrityHashValue, with dialect 3.1.1.
    pub(crate) preauth: PreauthHash,
    pub(crate) begun: Duration,
}

/// What a successful logon leaves.
#[derive(Debug)]
pub(crate) struct SignedIn {
    pub(crate) name: String,
    pub(crate) credentials: Credentials,
    pub(crate) keys: SessionKeys,
}

#[derive(Debug)]
struct Trees {
    table: Slab<Arc<Tree>>,
    ended: bool,
}

#[derive(Debug)]
struct Opens {
    table: Slab<Arc<Open>>,
    ended: bool,
}

impl Session {
    pub(crate) fn new(id: SessionId, conn: &Arc<Conn>, since: Timestamp, limits: &Limits) -> Self {
        Self {
            id,
            conn: Arc::downgrade(conn),
            peer: conn.peer,
            since,
            logon: Mutex::default(),
            user: OnceLock::new(),
            encrypt: AtomicBool::new(false),
            trees: Mutex::new(Trees {
                table: Slab::narrow(limits.trees_per_session),
                ended: false,
            }),
            opens: Mutex::new(Opens {
                table: Slab::new(limits.opens_per_session),
                ended: false,
            }),
        }
    }

    /// None until the first logon succeeded.
    pub(crate) fn signed_in(&self) -> Option<&SignedIn> {
        self.user.get()
    }

    /// False when somebody signed in already.
    pub(crate) fn sign_in(&self, user: SignedIn, encrypt: bool) -> bool {
        self.encrypt.store(encrypt, Ordering::Release);
        self.user.set(user).is_ok()
    }

    /// Session.EncryptData.
    pub(crate) fn encrypts(&self) -> bool {
        self.encrypt.load(Ordering::Acquire)
    }

    pub(crate) fn tree(&self, id: TreeId) -> Option<Arc<Tree>> {
        self.trees.lock().table.get(wide_tree_id(id)).cloned()
    }

    /// Enters the tree connect that `make` builds of its id; None when there are too many.
    pub(crate) fn add_tree(&self, make: impl FnOnce(TreeId) -> Tree) -> Option<Arc<Tree>> {
        let mut trees = self.trees.lock();
        if trees.ended {
            return None;
        }
        let id = trees
            .table
            .insert_with(|id| Arc::new(make(narrow_tree_id(id))))?;
        trees.table.get(id).cloned()
    }

    /// Forgets a tree connect; its opens are the caller's to close.
    pub(crate) fn remove_tree(&self, id: TreeId) -> Option<Arc<Tree>> {
        let tree = self.trees.lock().table.remove(wide_tree_id(id))?;
        tree.end();
        Some(tree)
    }

    pub(crate) fn tree_count(&self) -> usize {
        self.trees.lock().table.len()
    }

    pub(crate) fn open(&self, id: FileId) -> Option<Arc<Open>> {
        self.opens
            .lock()
            .table
            .get(id.volatile)
            .filter(|open| open.id == id)
            .cloned()
    }

    pub(crate) fn open_count(&self) -> usize {
        self.opens.lock().table.len()
    }

    pub(crate) fn opens_are_full(&self) -> bool {
        self.opens.lock().table.is_full()
    }

    /// Enters an open, or gives its target back with the reason: the caller must close it.
    #[expect(
        clippy::result_large_err,
        reason = "the target is what the caller had, moved back to it on the rare refusal"
    )]
    pub(crate) fn add_open(
        self: &Arc<Self>,
        persistent: u64,
        tree: &Arc<Tree>,
        target: Target,
    ) -> Result<Arc<Open>, (Target, NtStatus)> {
        let mut opens = self.opens.lock();
        if opens.ended {
            return Err((target, NtStatus::USER_SESSION_DELETED));
        }
        if tree.has_ended() {
            return Err((target, NtStatus::NETWORK_NAME_DELETED));
        }
        if opens.table.is_full() {
            return Err((target, NtStatus::TOO_MANY_OPENED_FILES));
        }
        let mut entered = None;
        opens.table.insert_with(|volatile| {
            let id = FileId {
                persistent,
                volatile,
            };
            let waits = super::waiting::OpenWaits::default();
            let open = Arc::new(Open {
                id,
                session: Arc::downgrade(self),
                tree: Arc::clone(tree),
                target,
                waits,
            });
            Arc::clone(entered.insert(open))
        });
        Ok(entered.expect("the table has room"))
    }

    pub(crate) fn remove_open(&self, id: FileId) -> Option<Arc<Open>> {
        let mut opens = self.opens.lock();
        opens.table.get(id.volatile).filter(|open| open.id == id)?;
        opens.table.remove(id.volatile)
    }

    /// Takes all opens of a tree connect out of the table.
    pub(crate) fn drain_opens_of(&self, tree: &Arc<Tree>) -> Vec<Arc<Open>> {
        self.opens
            .lock()
            .table
            .drain(|open| Arc::ptr_eq(&open.tree, tree))
    }

    /// For the status page; None while nobody is signed in.
    pub(crate) fn status(&self, dialect: &'static str) -> Option<SessionStatus> {
        let user = self.signed_in()?;
        let cipher = user.keys.cipher.as_ref();
        Some(SessionStatus {
            id: self.id.0,
            user: user.name.clone(),
            peer: self.peer,
            dialect,
            signing: user.keys.signing.algorithm().name(),
            encryption: cipher.map_or("", |cipher| cipher.algorithm().name()),
            trees: self.tree_count(),
            opens: self.open_count(),
            since: self.since,
        })
    }

    /// Forgets everything that the client held, for good.
    fn drain(&self) -> Vec<Arc<Open>> {
        let mut trees = self.trees.lock();
        trees.ended = true;
        trees
            .table
            .drain(|_| true)
            .iter()
            .for_each(|tree| tree.end());
        drop(trees);
        let mut opens = self.opens.lock();
        opens.ended = true;
        opens.table.drain(|_| true)
    }

    /// Closes everything and ends the session, which must be out of its connection's table already.
    /// Opens that may outlive it are kept for the client's return.
    pub(crate) async fn tear_down(&self, server: &Arc<Server>) {
        let mut opens = self.drain();
        opens.retain(|open| {
            open.waits.close();
            !server.durables.keep(server, open)
        });
        close_all(server, opens).await;
        server.forget_session(self.id);
        if let Some(user) = self.signed_in()
            && let Err(error) = server.vfs.end_session(user.credentials.session)
        {
            tracing::warn!(%error, session = self.id.0, "the end of a session was not recorded");
        }
    }
}

/// Closes opens that are in no table any more.
pub(crate) async fn close_all(server: &Server, opens: Vec<Arc<Open>>) {
    for open in opens {
        open.waits.close();
        let Target::File(file) = &open.target else {
            continue;
        };
        if let Err(error) = server.vfs.close(&file.handle).await {
            tracing::warn!(%error, "a file of an ended session did not close cleanly");
        }
        server.forget_open(&open);
    }
}

/// Tree ids have 32 bits on the wire: 16 of the slot, 16 of the generation.
fn narrow_tree_id(id: u64) -> TreeId {
    let slot = u32::try_from(id & 0xffff).unwrap_or(0);
    let generation = u32::try_from((id >> 32) & 0xffff).unwrap_or(0);
    TreeId(generation << 16 | slot)
}

fn wide_tree_id(id: TreeId) -> u64 {
    u64::from(id.0 >> 16) << 32 | u64::from(id.0 & 0xffff)
}
