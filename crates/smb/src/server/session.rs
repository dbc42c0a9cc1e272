//! One signed-in (or signing-in) client (MS-SMB2 3.3.1.8).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use strongroom_device::Timestamp;
use strongroom_vfs::NoticeBudget;

use super::connection::Conn;
use super::negotiated::Negotiated;
use super::open::{Open, OpenCount, Target};
use super::slab::Slab;
use super::tree::Tree;
use super::who::Who;
use super::{Limits, Server, SessionStatus};
use crate::crypto::SessionKeys;
use crate::wire::negotiate::Dialect;
use crate::wire::{FileId, NtStatus, SessionId, TreeId};

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) peer: SocketAddr,
    pub(crate) since: Timestamp,
    /// That of the first connection; further channels must have agreed on the same.
    pub(crate) dialect: Dialect,
    user: OnceLock<SignedIn>,
    /// The file system's records of this session, one for each user that signed in.
    records: Mutex<Vec<strongroom_vfs::SessionId>>,
    encrypt: AtomicBool,
    /// What its change notices may hold.
    notices: Arc<NoticeBudget>,
    /// The client is a Mac: it said so.
    apple: AtomicBool,
    /// Listings are to tell what macOS wants to know.
    apple_listings: AtomicBool,
    channels: Mutex<Channels>,
    trees: Mutex<Trees>,
    opens: Mutex<Opens>,
}

/// What a successful logon leaves.
#[derive(Debug)]
pub(crate) struct SignedIn {
    pub(crate) keys: SessionKeys,
    pub(crate) who: ArcSwap<Who>,
}

/// The connections that carry the session's requests; when the last one goes, the session ends.
#[derive(Debug, Default)]
struct Channels {
    conns: Vec<(u64, Weak<Conn>)>,
    ended: bool,
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
    pub(crate) fn new(
        id: SessionId,
        conn: &Arc<Conn>,
        negotiated: &Negotiated,
        since: Timestamp,
        limits: &Limits,
    ) -> Self {
        let first = (conn.id, Arc::downgrade(conn));
        Self {
            id,
            peer: conn.peer,
            since,
            dialect: negotiated.dialect,
            user: OnceLock::new(),
            records: Mutex::default(),
            encrypt: AtomicBool::new(false),
            notices: conn
                .server
                .notices
                .below(limits.notify_bytes_per_session, limits.watches_per_session),
            apple: AtomicBool::new(false),
            apple_listings: AtomicBool::new(false),
            channels: Mutex::new(Channels {
                conns: vec![first],
                ended: false,
            }),
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

    /// The client is a Mac, which perhaps understands listings as macOS reads them.
    pub(crate) fn becomes_apple(&self, listings: bool) {
        self.apple.store(true, Ordering::Release);
        if listings {
            self.apple_listings.store(true, Ordering::Release);
        }
    }

    pub(crate) fn is_apple(&self) -> bool {
        self.apple.load(Ordering::Acquire)
    }

    pub(crate) fn lists_for_apple(&self) -> bool {
        self.apple_listings.load(Ordering::Acquire)
    }

    /// None until the first logon succeeded.
    pub(crate) fn signed_in(&self) -> Option<&SignedIn> {
        self.user.get()
    }

    /// False when somebody signed in already.
    pub(crate) fn sign_in(&self, keys: SessionKeys, who: Who, encrypt: bool) -> bool {
        self.encrypt.store(encrypt, Ordering::Release);
        let who = ArcSwap::from_pointee(who);
        self.user.set(SignedIn { keys, who }).is_ok()
    }

    /// A record that ends with the session.
    pub(crate) fn keep_record(&self, record: strongroom_vfs::SessionId) {
        self.records.lock().push(record);
    }

    /// Whom the session acts for; None until the first logon succeeded.
    pub(crate) fn who(&self) -> Option<Arc<Who>> {
        self.signed_in().map(|user| user.who.load_full())
    }

    /// A further connection carries the session from now on; false when it has ended or has as many as it may.
    pub(crate) fn join(&self, conn: &Arc<Conn>) -> bool {
        let limit = conn.server.config.limits.channels_per_session;
        let mut channels = self.channels.lock();
        if channels.ended || channels.conns.len() >= limit {
            return false;
        }
        channels.conns.push((conn.id, Arc::downgrade(conn)));
        true
    }

    /// A connection has gone; true when it was the session's last, which ends the session.
    pub(crate) fn leave(&self, conn: u64) -> bool {
        let mut channels = self.channels.lock();
        channels.conns.retain(|(id, _)| *id != conn);
        channels.conns.is_empty() && !std::mem::replace(&mut channels.ended, true)
    }

    /// No connection carries the session any more; these did.
    fn end_channels(&self) -> Vec<Arc<Conn>> {
        let mut channels = self.channels.lock();
        channels.ended = true;
        let conns = channels.conns.drain(..);
        conns.filter_map(|(_, conn)| conn.upgrade()).collect()
    }

    /// The connections that carry the session, the oldest first.
    pub(crate) fn connections(&self) -> Vec<Arc<Conn>> {
        let channels = self.channels.lock();
        let living = channels.conns.iter().filter_map(|(_, conn)| conn.upgrade());
        living.collect()
    }

    pub(crate) fn notices(&self) -> &Arc<NoticeBudget> {
        &self.notices
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
        server: &Server,
        persistent: u64,
        tree: &Arc<Tree>,
        target: Target,
    ) -> Result<Arc<Open>, (Target, NtStatus)> {
        let Some(counted) = OpenCount::one_more(server) else {
            return Err((target, NtStatus::INSUFF_SERVER_RESOURCES));
        };
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
        let (mut entered, mut counted) = (None, Some(counted));
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
                _counted: counted.take(),
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
    pub(crate) fn status(&self) -> Option<SessionStatus> {
        let user = self.signed_in()?;
        let cipher = user.keys.cipher.as_ref();
        Some(SessionStatus {
            id: self.id.0,
            user: user.who.load().name.clone(),
            peer: self.peer,
            dialect: self.dialect.name(),
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

    /// Ends the session on all its connections. Whoever comes second finds nothing left to do.
    pub(crate) async fn end(&self, server: &Arc<Server>) {
        for conn in self.end_channels() {
            conn.remove_channel(self.id);
        }
        self.tear_down(server).await;
    }

    /// Closes everything; the session must be out of its connections' tables already. Opens that may outlive it are kept
    /// for the client's return.
    pub(crate) async fn tear_down(&self, server: &Arc<Server>) {
        let mut opens = self.drain();
        opens.retain(|open| {
            open.waits.close();
            !server.durables.keep(server, open)
        });
        close_all(server, opens).await;
        server.forget_session(self.id);
        let records = std::mem::take(&mut *self.records.lock());
        for record in records {
            if let Err(error) = server.vfs.end_session(record) {
                tracing::warn!(%error, session = self.id.0, "the end of a session was not recorded");
            }
        }
    }

    /// The rights that the accounts give the session's user now. False when that user may no longer be there.
    pub(crate) fn refresh(&self, server: &Server) -> bool {
        let Some(user) = self.signed_in() else {
            return true;
        };
        loop {
            let before = user.who.load();
            if before.revision == server.identity.revision() {
                return true;
            }
            let Some(now) = before.refreshed(&server.identity) else {
                return false;
            };
            // Unless another logon came in between.
            let found = user.who.compare_and_swap(&before, Arc::new(now));
            if Arc::ptr_eq(&found, &before) {
                return true;
            }
        }
    }

    /// Brings the session up to date with accounts and shares: it ends with its user, its tree connects end with their
    /// shares or with the right to enter them.
    pub(crate) async fn apply_changes(&self, server: &Arc<Server>) {
        if !self.refresh(server) {
            tracing::info!(
                session = self.id.0,
                "a session ends: its user is gone or disabled"
            );
            return self.end(server).await;
        }
        let Some(who) = self.who() else { return };
        let lost = |tree: &Arc<Tree>| !tree.admits(&server.vfs, &who);
        let ended = self.trees.lock().table.drain(lost);
        for tree in ended {
            tree.end();
            close_all(server, self.drain_opens_of(&tree)).await;
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
