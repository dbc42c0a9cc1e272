//! One open of a file, directory or stream.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard, RwLock};
use strongroom_store::{Compression, Inode, ObjectId, SessionId, View};

use crate::grants::{Grant, GrantKey};
use crate::guard::{Fence, Seen};
use crate::node::{LinkRef, Node, State};
use crate::persistent::Persistent;
use crate::{
    AccessMask, CaseMode, CreateOptions, Credentials, FileKind, Result, ShareId, TimeFlags, Vfs,
    VfsError,
};

/// Names one open; never reused while the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId(pub u64);

/// An open. It ends with [`Vfs::close`], or when the last reference is dropped; a persistent one is then suspended.
#[derive(Debug)]
pub struct Handle {
    pub(crate) id: HandleId,
    pub(crate) vfs: Weak<Vfs>,
    pub(crate) node: Arc<Node>,
    pub(crate) stream: u32,
    pub(crate) stream_name: Mutex<Arc<str>>,
    pub(crate) granted: AccessMask,
    pub(crate) options: CreateOptions,
    pub(crate) credentials: Credentials,
    /// The client session that changes are recorded under.
    pub(crate) session: AtomicU64,
    pub(crate) share: ShareId,
    pub(crate) root: Inode,
    pub(crate) read_only: bool,
    pub(crate) compression: Compression,
    /// Listings leave out what the caller may not read.
    pub(crate) hides_unreadable: bool,
    /// Opened with the semantics of POSIX.
    pub(crate) posix: bool,
    /// A renaming of the directory does not mind what is open below.
    pub(crate) carries_opens: AtomicBool,
    pub(crate) delete_on_close: AtomicBool,
    /// The deletion that this handle asked for does not wait for other handles.
    pub(crate) unlinks: AtomicBool,
    pub(crate) closed: AtomicBool,
    /// Shared by changes of the data while they are at work; closing waits for them here, so that none of them comes
    /// after the file is gone.
    pub(crate) at_work: RwLock<()>,
    /// Wrote data, so closing tells watchers.
    pub(crate) wrote: AtomicBool,
    /// Changed the size.
    pub(crate) resized: AtomicBool,
    pub(crate) frozen: Mutex<TimeFlags>,
    pub(crate) grant: Option<Arc<Grant>>,
    /// The key of its opener's grants.
    pub(crate) by: Option<GrantKey>,
    /// Changes through this handle do not disturb this grant on the directory above.
    pub(crate) parent_grant: Option<GrantKey>,
    /// What may keep its session from changing anything; none for the system's own.
    pub(crate) fence: RwLock<Option<Arc<Fence>>>,
    /// What the alarm has seen of its changes.
    pub(crate) seen: Mutex<Seen>,
    /// What is kept of it over the end of the program.
    pub(crate) persistent: Option<Arc<Persistent>>,
}

impl Handle {
    pub fn id(&self) -> HandleId {
        self.id
    }

    pub fn inode(&self) -> Inode {
        self.node.inode
    }

    /// The state that it was opened in: now, or one of the past, which nothing changes.
    pub fn view(&self) -> &View {
        &self.node.view
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What was opened: for a stream of a directory, a file.
    pub fn kind(&self) -> FileKind {
        if self.stream == 0 {
            self.node.kind
        } else {
            FileKind::File
        }
    }

    pub fn is_directory(&self) -> bool {
        self.kind() == FileKind::Directory
    }

    /// The stream's name; empty for the file itself.
    pub fn stream_name(&self) -> Arc<str> {
        Arc::clone(&self.stream_name.lock())
    }

    pub fn granted(&self) -> AccessMask {
        self.granted
    }

    pub fn options(&self) -> CreateOptions {
        self.options
    }

    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whether it was opened with the semantics of POSIX.
    pub fn is_posix(&self) -> bool {
        self.posix
    }

    /// From now on the directory may be renamed with files open below it, as POSIX has it.
    pub fn carry_opens(&self) {
        self.carries_opens.store(true, Ordering::Release);
    }

    /// How the names that it leads to are compared.
    pub(crate) fn case(&self) -> CaseMode {
        if self.posix {
            CaseMode::Exact
        } else {
            CaseMode::Insensitive
        }
    }

    /// POSIX calls an administrator root, who may do what no list grants.
    pub(crate) fn overrides(&self) -> bool {
        self.posix && self.credentials.admin
    }

    pub fn share(&self) -> ShareId {
        self.share
    }

    /// Whether it is kept over the end of the program.
    pub fn is_persistent(&self) -> bool {
        self.persistent.is_some()
    }

    /// The grant that the open asked for and got.
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.as_ref()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn session(&self) -> SessionId {
        SessionId(self.session.load(Ordering::Relaxed))
    }

    /// Its client came back in another session, which changes are recorded under from now on.
    pub fn adopt(&self, session: SessionId) {
        self.session.store(session.0, Ordering::Relaxed);
        if let Some(vfs) = self.vfs.upgrade() {
            *self.fence.write() = vfs.guard.fence(session);
        }
    }

    pub(crate) fn grant_key(&self) -> Option<GrantKey> {
        let own = self.grant.as_ref().map(|grant| grant.key());
        own.or(self.by)
    }

    /// The bytes that reads and writes mean.
    pub(crate) fn object(&self) -> ObjectId {
        ObjectId {
            inode: self.node.inode,
            stream: self.stream,
        }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed() {
            Err(VfsError::Closed)
        } else {
            Ok(())
        }
    }

    /// Open, and granted all of `rights`.
    pub(crate) fn require(&self, rights: AccessMask) -> Result<()> {
        self.check_open()?;
        if self.granted.contains(rights) {
            Ok(())
        } else {
            Err(VfsError::AccessDenied)
        }
    }

    /// Open, and granted any of `rights`.
    pub(crate) fn require_any(&self, rights: AccessMask) -> Result<()> {
        self.check_open()?;
        if self.granted.intersects(rights) {
            Ok(())
        } else {
            Err(VfsError::AccessDenied)
        }
    }

    /// An alarm keeps its session from changing anything.
    pub(crate) fn is_fenced(&self) -> bool {
        let fence = self.fence.read();
        fence.as_ref().is_some_and(|fence| fence.is_shut())
    }

    pub(crate) fn require_writable_share(&self) -> Result<()> {
        if self.read_only || self.is_fenced() {
            Err(VfsError::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// The node's state, locked, with this open still in it. Who waited since the rights were checked must ask again:
    /// what is written for a file that is gone stays for good.
    pub(crate) fn lock_open(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.node.lock();
        match state.open_of(self.id) {
            Some(_) => Ok(state),
            None => Err(VfsError::Closed),
        }
    }

    /// Marks the handle closed and waits for changes of the data that found it open. False if it was closed before.
    pub(crate) fn mark_closed(&self) -> bool {
        let first = !self.closed.swap(true, Ordering::AcqRel);
        if first {
            drop(self.at_work.write());
        }
        first
    }

    /// Today's name of what was opened.
    pub(crate) fn link(&self) -> Result<Arc<LinkRef>> {
        let state = self.node.lock();
        state
            .open_of(self.id)
            .map(|open| Arc::clone(&open.link))
            .ok_or(VfsError::Closed)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.is_closed() {
            return;
        }
        let Some(vfs) = self.vfs.upgrade() else {
            return;
        };
        let ended = if self.is_persistent() {
            vfs.suspend(self)
        } else {
            vfs.close_now(self)
        };
        if let Err(error) = ended {
            tracing::warn!(inode = self.node.inode.0, %error, "closing a dropped handle");
        }
    }
}
