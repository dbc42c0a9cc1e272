//! Opening: everything that NT create does (MS-FSA 2.1.5.1).

mod create;
mod delegate;
mod existing;
mod share;
mod streams;

pub(crate) use create::{restore_times, times_of, verifier_times};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::grants::{Blockers, until_settled};
use crate::names::ParsedPath;
use crate::node::{LinkRef, Node, OpenEntry, State};
use crate::persistent::Persistent;
use crate::rows::NameEntry;
use crate::{
    AccessMask, CaseMode, CreateOptions, Credentials, Disposition, DosAttributes, Handle,
    OpenRequest, Opened, REPARSE_TAG_SYMLINK, Result, SymlinkStop, TimeFlags, Vfs, VfsError,
};

/// Rights that change nothing: what a read-only share leaves.
pub(crate) const READ_ONLY_RIGHTS: AccessMask = AccessMask(
    AccessMask::FILE_READ.0 | AccessMask::FILE_EXECUTE.0 | AccessMask::ACCESS_SYSTEM_SECURITY.0,
);
/// How often an open starts anew because names changed under it.
const ATTEMPTS_MAX: usize = 64;

/// Where an open ends: the file, or the place for it.
pub(crate) enum Target {
    Found { node: Arc<Node>, link: Arc<LinkRef> },
    Missing { directory: Arc<Node>, name: String },
}

/// What happened to one attempt.
enum Attempt {
    Done(Opened),
    /// Names changed meanwhile; look again.
    Again,
    /// Look again when the holders of grants have answered.
    Blocked(Blockers),
}

/// An open on its way: the request with what was found out so far.
pub(crate) struct Opening<'a, 'p> {
    credentials: &'a Credentials,
    pub(crate) request: &'a OpenRequest<'a>,
    path: &'a ParsedPath<'p>,
    /// It has waited for holders of grants before.
    waited: AtomicBool,
    /// See [`OpenEntry::delegation`].
    delegation: bool,
}

impl Vfs {
    /// Opens or makes a file, directory or stream (MS-FSA 2.1.5.1).
    ///
    /// Errors: the ones of [`VfsError`] that the name, the disposition, the options, access and sharing call for;
    /// `PathNotFound` for a directory on the way, `NotFound` for the last name.
    pub async fn open(
        &self,
        credentials: &Credentials,
        request: OpenRequest<'_>,
    ) -> Result<Opened> {
        let path = ParsedPath::parse(if request.options.by_file_id {
            ""
        } else {
            request.path
        })?;
        let opening = Opening::new(credentials, &request, &path);
        opening.check_parameters()?;
        if request.disposition != Disposition::Open || request.options.delete_on_close {
            self.store.throttle().await;
        }
        let mut attempts = 0;
        while attempts < ATTEMPTS_MAX {
            let attempt = match self.resolve(&request, &path)? {
                Target::Found { node, link } => self.open_found(&opening, node, link).await?,
                Target::Missing { directory, name } => {
                    self.open_missing(&opening, &directory, &name)?
                }
            };
            match attempt {
                Attempt::Done(opened) => return Ok(opened),
                Attempt::Again => attempts += 1,
                Attempt::Blocked(blockers) => {
                    opening.waited.store(true, Ordering::Relaxed);
                    Box::pin(until_settled(&*self.env, blockers)).await;
                }
            }
        }
        Err(VfsError::NotFound)
    }

    /// Walks the path. Passing through directories needs no right, as on Windows by default.
    pub(crate) fn resolve(
        &self,
        request: &OpenRequest<'_>,
        path: &ParsedPath<'_>,
    ) -> Result<Target> {
        if request.options.by_file_id {
            return self.resolve_id(request);
        }
        let start = match (request.base, request.at) {
            (Some(base), _) => Arc::clone(&base.node),
            (None, Some(inode)) => {
                let node = self.node_in(&request.view, inode)?;
                node.ok_or(VfsError::Closed)?
            }
            (None, None) => {
                let root = self.node_in(&request.view, request.share.root)?;
                root.ok_or(VfsError::NotFound)?
            }
        };
        if let Some(target) = self.resolve_history(request, path, &start)? {
            return Ok(target);
        }
        self.resolve_from(start, &path.components, path, request)
    }

    /// Walks from a directory along components, the last of which may be missing.
    pub(crate) fn resolve_from(
        &self,
        start: Arc<Node>,
        components: &[std::borrow::Cow<'_, str>],
        path: &ParsedPath<'_>,
        request: &OpenRequest<'_>,
    ) -> Result<Target> {
        let case = request.case;
        let Some((last, before)) = components.split_last() else {
            let link = self.own_link(&start)?;
            return Ok(Target::Found { node: start, link });
        };
        let directory = self.walk(start, before, path, case)?;
        // A new stream belongs to the file that is there.
        let found = if request.disposition.may_create() && path.stream.is_none() {
            self.lookup_to_make(&directory.view, directory.inode, last, case)
        } else {
            self.lookup_to_open(&directory.view, directory.inode, last, case)
        };
        match found? {
            None => {
                let name = self.name_to_make(directory.inode, last, case);
                Ok(Target::Missing { directory, name })
            }
            Some(entry) => self.found(directory, entry),
        }
    }

    /// Follows components that must be directories.
    pub(crate) fn walk(
        &self,
        start: Arc<Node>,
        components: &[std::borrow::Cow<'_, str>],
        path: &ParsedPath<'_>,
        case: CaseMode,
    ) -> Result<Arc<Node>> {
        let mut at = start;
        for (index, component) in components.iter().enumerate() {
            let entry = self
                .lookup_to_open(&at.view, at.inode, component, case)?
                .ok_or(VfsError::PathNotFound)?;
            let next = self
                .node_in(&at.view, entry.inode)?
                .ok_or(VfsError::PathNotFound)?;
            if next.lock().attr.reparse_tag == REPARSE_TAG_SYMLINK {
                let rest = path.components.get(index + 1..).unwrap_or_default();
                return Err(self.stop_at_link(&next, &rest.join("\\"))?);
            }
            if !next.is_directory() {
                return Err(VfsError::PathNotFound);
            }
            at = next;
        }
        if !at.is_directory() {
            return Err(VfsError::PathNotFound);
        }
        Ok(at)
    }

    fn found(&self, directory: Arc<Node>, entry: NameEntry) -> Result<Target> {
        match self.node_in(&directory.view, entry.inode)? {
            Some(node) => {
                let link = Arc::new(LinkRef {
                    directory: directory.inode,
                    name: entry.name,
                });
                Ok(Target::Found { node, link })
            }
            // The file went between the reading of its name and of its attributes.
            None => Ok(Target::Missing {
                directory,
                name: entry.name,
            }),
        }
    }

    fn resolve_id(&self, request: &OpenRequest<'_>) -> Result<Target> {
        let inode = request.file_id.ok_or(VfsError::InvalidParameter)?;
        let node = self
            .node_in(&request.view, inode)?
            .ok_or(VfsError::InvalidParameter)?;
        if !self.is_below(&node, request.share.root)? {
            return Err(VfsError::InvalidParameter);
        }
        let link = self.own_link(&node)?;
        Ok(Target::Found { node, link })
    }

    /// The name that an inode knows itself by.
    pub(crate) fn own_link(&self, node: &Node) -> Result<Arc<LinkRef>> {
        let state = node.lock();
        let (directory, name) = self.first_name_of(&node.view, node.inode, &state.attr)?;
        Ok(Arc::new(LinkRef { directory, name }))
    }

    /// Whether a directory is above a node, or is it.
    pub(crate) fn is_below(&self, node: &Node, ancestor: strongroom_store::Inode) -> Result<bool> {
        let mut at = node.inode;
        for _ in 0..crate::types::PATH_MAX {
            if at == ancestor {
                return Ok(true);
            }
            let (parent, _) = self.first_name(&node.view, at)?;
            if parent == at {
                return Ok(false);
            }
            at = parent;
        }
        Ok(false)
    }

    /// The error that sends a client after a symbolic link.
    pub(crate) fn stop_at_link(&self, node: &Node, unparsed: &str) -> Result<VfsError> {
        let data = self.read_reparse(&node.view, node.inode)?;
        let (target, relative) = crate::reparse::symlink_target(&data)?;
        Ok(VfsError::Symlink(Box::new(SymlinkStop {
            unparsed: unparsed.to_owned(),
            target,
            relative,
        })))
    }

    /// Registers an open whose checks have passed. The state is locked.
    pub(crate) fn admit(
        &self,
        opening: &Opening<'_, '_>,
        admission: Admission<'_>,
        state: &mut State,
    ) -> Arc<Handle> {
        let Admission {
            node,
            link,
            stream,
            stream_name,
            granted,
            persistent,
        } = admission;
        let id = self.new_handle_id();
        let request = opening.request;
        // What never changes needs no promise that it does not.
        let grant = if node.view.is_now() && !node.is_history() {
            self.give_grant(&request.grant, node, state, stream, id)
        } else {
            None
        };
        state.opens.push(OpenEntry {
            handle: id,
            stream,
            access: granted,
            share: request.share_access,
            link,
            grant_key: grant
                .as_ref()
                .map(|grant| grant.key())
                .or(request.grant.by()),
            away: false,
            delegation: opening.delegation,
        });
        if let Some(open) = &persistent {
            let grant_key = grant.as_ref().map(|grant| grant.key());
            self.persistents.enter(node.inode, open, grant_key);
        }
        // What a client was told to be written is not sent again after a crash.
        let write_through = request.options.write_through || persistent.is_some();
        Arc::new(Handle {
            id,
            vfs: self.weak(),
            node: Arc::clone(node),
            stream,
            stream_name: Mutex::new(stream_name.into()),
            granted,
            options: CreateOptions {
                write_through,
                ..request.options
            },
            credentials: opening.credentials.clone(),
            session: AtomicU64::new(opening.credentials.session.0),
            share: request.share.id,
            root: request.share.root,
            read_only: request.share.read_only || !node.view.is_now() || node.is_history(),
            compression: self.compression(request.share),
            hides_unreadable: request.share.hide_unreadable,
            posix: request.posix.is_some(),
            carries_opens: AtomicBool::new(request.posix.is_some()),
            delete_on_close: AtomicBool::new(request.options.delete_on_close),
            unlinks: AtomicBool::new(request.posix.is_some() && request.options.delete_on_close),
            closed: AtomicBool::new(false),
            at_work: RwLock::new(()),
            wrote: AtomicBool::new(false),
            resized: AtomicBool::new(false),
            frozen: Mutex::new(TimeFlags::default()),
            grant,
            by: request.grant.by(),
            parent_grant: request.parent_grant,
            fence: RwLock::new(self.guard.fence(opening.credentials.session)),
            seen: Mutex::default(),
            persistent,
        })
    }

    /// An open for a change whose permission was found otherwise. It disturbs nobody and nobody's share modes.
    pub(crate) fn hold(
        &self,
        credentials: &Credentials,
        share: &crate::Share,
        node: &Arc<Node>,
        granted: AccessMask,
    ) -> Result<Arc<Handle>> {
        let request = OpenRequest {
            share_access: crate::ShareAccess::ALL,
            posix: Some(crate::PosixOpen::default()),
            ..OpenRequest::new(share, "")
        };
        let path = ParsedPath::parse("")?;
        let opening = Opening::new(credentials, &request, &path);
        let link = match self.own_link(node) {
            // Every name is gone.
            Err(VfsError::NotFound) => Arc::new(LinkRef {
                directory: node.lock().attr.parent,
                name: String::new(),
            }),
            link => link?,
        };
        let mut state = node.lock();
        if state.gone && state.opens.is_empty() {
            return Err(VfsError::Closed);
        }
        let admission = Admission {
            node,
            link,
            stream: 0,
            stream_name: "",
            granted,
            persistent: None,
        };
        Ok(self.admit(&opening, admission, &mut state))
    }

    /// Takes back an open that failed after it was registered; nothing else happens.
    fn retract(&self, handle: &Handle) {
        handle.mark_closed();
        handle
            .node
            .lock()
            .opens
            .retain(|open| open.handle != handle.id);
        self.release_grant(handle);
        if let Err(error) = self.forget_persistent(handle) {
            tracing::warn!(%error, "what was kept of an open that failed stays until the next start");
        }
    }
}

/// An open whose checks have passed.
pub(crate) struct Admission<'a> {
    pub(crate) node: &'a Arc<Node>,
    pub(crate) link: Arc<LinkRef>,
    pub(crate) stream: u32,
    pub(crate) stream_name: &'a str,
    pub(crate) granted: AccessMask,
    /// What is kept of it over the end of the program.
    pub(crate) persistent: Option<Arc<Persistent>>,
}

impl<'a, 'p> Opening<'a, 'p> {
    pub(crate) fn new(
        credentials: &'a Credentials,
        request: &'a OpenRequest<'a>,
        path: &'a ParsedPath<'p>,
    ) -> Self {
        Self {
            credentials,
            request,
            path,
            waited: AtomicBool::new(false),
            delegation: false,
        }
    }
}

impl Opening<'_, '_> {
    /// What is wrong whatever is there (MS-FSA 2.1.5.1, first phase).
    fn check_parameters(&self) -> Result<()> {
        let OpenRequest {
            options,
            disposition,
            access,
            attributes,
            ..
        } = self.request;
        let replaces = matches!(
            disposition,
            Disposition::Supersede | Disposition::Overwrite | Disposition::OverwriteIf
        );
        if options.directory && (options.non_directory || replaces) {
            return Err(VfsError::InvalidParameter);
        }
        if access.is_empty() || access.has_reserved() {
            return Err(VfsError::AccessDenied);
        }
        if options.directory && self.path.stream.is_some() {
            return Err(VfsError::NotDirectory);
        }
        if options.directory && attributes.contains(DosAttributes::TEMPORARY) {
            return Err(VfsError::InvalidParameter);
        }
        if options.directory && self.path.must_be_file {
            return Err(VfsError::NotDirectory);
        }
        if options.delete_on_close && !deletes(*access) {
            return Err(VfsError::AccessDenied);
        }
        if options.by_file_id && matches!(disposition, Disposition::Create | Disposition::Supersede)
        {
            return Err(VfsError::InvalidParameter);
        }
        Ok(())
    }

    fn replaces(&self) -> bool {
        matches!(
            self.request.disposition,
            Disposition::Supersede | Disposition::Overwrite | Disposition::OverwriteIf
        )
    }

    fn may_create(&self) -> bool {
        self.request.disposition.may_create()
    }

    fn wants_directory(&self) -> bool {
        self.request.options.directory || self.path.must_be_directory
    }

    /// What is told when the last name is not there.
    fn missing(&self) -> VfsError {
        VfsError::NotFound
    }
}

/// Whether the requested access may come to include DELETE.
fn deletes(access: AccessMask) -> bool {
    access.intersects(AccessMask::DELETE | AccessMask::GENERIC_ALL | AccessMask::MAXIMUM_ALLOWED)
}
