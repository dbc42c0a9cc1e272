//! Opening what is there (MS-FSA 2.1.5.1.2).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_store::{Aspect, ObjectId};

use super::{Admission, Attempt, Opening, READ_ONLY_RIGHTS, Vfs, share};
use crate::acl;
use crate::grants::{Blockers, Conflict};
use crate::node::{LinkRef, Node, State};
use crate::persistent::{Persistent, Place};
use crate::vfs::put_attr;
use crate::watch::{WatchAction, WatchFilter};
use crate::{
    AccessMask, CreateAction, Credentials, Disposition, DosAttributes, FileKind, Handle, Opened,
    REPARSE_TAG_SYMLINK, Result, Sid, VfsError,
};

/// Rights that an overwrite needs on top of what is asked for (MS-FSA 2.1.5.1.2.1).
const OVERWRITES: AccessMask =
    AccessMask(AccessMask::WRITE_DATA.0 | AccessMask::WRITE_EA.0 | AccessMask::WRITE_ATTRIBUTES.0);

impl Vfs {
    pub(super) async fn open_found(
        &self,
        opening: &Opening<'_, '_>,
        node: Arc<Node>,
        link: Arc<LinkRef>,
    ) -> Result<Attempt> {
        opening.check_past(&node)?;
        if opening.replaces() || opening.request.options.delete_on_close {
            self.require_unfenced(opening.credentials.session)?;
        }
        if opening.path.stream.is_some() {
            return self.open_stream(opening, node, link).await;
        }
        let admitted = self.with_parent_rights(opening, &node, &link, |by_parent| {
            self.admit_existing(opening, &node, &link, by_parent)
        })?;
        let handle = match admitted {
            Admitted::Done(handle) => handle,
            Admitted::Gone => return Ok(Attempt::Again),
            Admitted::Blocked(blockers) => return Ok(Attempt::Blocked(blockers)),
        };
        if !opening.replaces() {
            return Ok(Attempt::Done((handle, CreateAction::Opened)));
        }
        self.overwrite(opening, handle).await.map(Attempt::Done)
    }

    /// Tries without the parent's descriptor first, as it is rarely needed. The parent is only locked
    /// while the file is not, so no order of locks is broken.
    pub(super) fn with_parent_rights<T>(
        &self,
        opening: &Opening<'_, '_>,
        node: &Node,
        link: &LinkRef,
        mut attempt: impl FnMut(AccessMask) -> Result<T>,
    ) -> Result<T> {
        if !opening
            .request
            .access
            .intersects(AccessMask::MAXIMUM_ALLOWED)
        {
            match attempt(AccessMask::NONE) {
                Err(VfsError::AccessDenied) => {}
                done => return done,
            }
        }
        attempt(self.rights_by_parent(opening, node, link)?)
    }

    /// Checks and registers an open under the file's lock.
    fn admit_existing(
        &self,
        opening: &Opening<'_, '_>,
        node: &Arc<Node>,
        link: &Arc<LinkRef>,
        by_parent: AccessMask,
    ) -> Result<Admitted<Arc<Handle>>> {
        let mut state = node.lock();
        if state.gone || !self.still_named(&node.view, node.inode, &state.attr, link)? {
            return Ok(Admitted::Gone);
        }
        self.check_kind(opening, node, &state, link)?;
        let granted = self.check_access(opening, node, &mut state, by_parent)?;
        let access = effective(opening, granted);
        let blockers = self.meet_others(opening, node, &state, 0, access)?;
        if !blockers.is_empty() {
            return Ok(Admitted::Blocked(blockers));
        }
        let found = (link.as_ref(), 0, "");
        let persistent =
            self.keep_found(opening, node, found, granted, opening.action_on_found())?;
        let admission = Admission {
            node,
            link: Arc::clone(link),
            stream: 0,
            stream_name: "",
            granted,
            persistent,
        };
        Ok(Admitted::Done(self.admit(opening, admission, &mut state)))
    }

    /// What is kept of an open of something that is there; where that is to be replaced, its row comes after that.
    pub(super) fn keep_found(
        &self,
        opening: &Opening<'_, '_>,
        node: &Node,
        (link, stream, stream_name): (&LinkRef, u32, &str),
        granted: AccessMask,
        action: CreateAction,
    ) -> Result<Option<Arc<Persistent>>> {
        let lasts = node.view.is_now() && !node.is_history();
        if !lasts || (node.is_directory() && stream == 0) {
            return Ok(None);
        }
        let place = Place {
            inode: node.inode,
            link,
            stream,
            stream_name,
            granted,
        };
        let persistent = Persistent::wanted(opening, place, action);
        let first = matches!(action, CreateAction::Opened | CreateAction::Created);
        if let Some(open) = persistent.as_ref().filter(|_| first) {
            self.put_persistent(open).inspect_err(|_| {
                let key = opening.request.grant.key();
                key.iter().for_each(|key| self.grant_keys.give_back(key));
            })?;
        }
        Ok(persistent)
    }

    /// The conflict points of opens: share modes and what others cache. Nothing is waited for where nobody holds a grant.
    /// What is left is to admit the open: a key that it brings is reserved.
    pub(super) fn meet_others(
        &self,
        opening: &Opening<'_, '_>,
        node: &Node,
        state: &State,
        stream: u32,
        access: AccessMask,
    ) -> Result<Blockers> {
        if !node.view.is_now() || node.is_history() {
            // Nobody's open can disturb another where nothing changes.
            return Ok(Blockers::new());
        }
        let key = opening.request.grant.key();
        let object = Self::stream_object(node, stream);
        if key.is_some_and(|key| !self.grant_keys.allows(&key, Some(object))) {
            return Err(VfsError::InvalidParameter);
        }
        let by = opening.request.grant.by();
        let opener = share::Opener {
            key: by,
            delegation: false,
        };
        let shared = share::check(state, stream, access, opening.request.share_access, opener);
        if matches!(shared, Err(VfsError::Away)) {
            return shared.map(|()| Blockers::new());
        }
        let conflict = match shared {
            Err(_) => Conflict::Sharing,
            Ok(()) if opening.replaces() => Conflict::Overwrite,
            Ok(()) => Conflict::Open,
        };
        if self.waits_for_away(node, state, stream, (access, by), conflict) {
            return Err(VfsError::Away);
        }
        let first = !opening.waited.load(Ordering::Relaxed);
        let blockers = self.contend_open(node, stream, access, by, conflict, first);
        if blockers.is_empty() {
            shared?;
            if let Some(key) = key {
                self.grant_keys.reserve(&key, object)?;
            }
        }
        Ok(blockers)
    }

    /// Whether what is there is of the kind that is wanted.
    fn check_kind(
        &self,
        opening: &Opening<'_, '_>,
        node: &Node,
        state: &State,
        link: &LinkRef,
    ) -> Result<()> {
        let options = opening.request.options;
        if state.is_pending(link) {
            return Err(VfsError::DeletePending);
        }
        if state.attr.reparse_tag == REPARSE_TAG_SYMLINK && !options.open_reparse_point {
            return Err(self.stop_at_link(node, "")?);
        }
        if node.is_directory() {
            if options.non_directory || opening.path.must_be_file {
                return Err(VfsError::IsDirectory);
            }
        } else if opening.wants_directory() && opening.request.disposition != Disposition::Create {
            return Err(VfsError::NotDirectory);
        }
        if opening.request.disposition == Disposition::Create {
            return Err(VfsError::Exists);
        }
        if opening.replaces() && node.is_directory() {
            let is_root = node.inode == opening.request.share.root;
            return Err(if is_root {
                VfsError::AccessDenied
            } else {
                VfsError::Exists
            });
        }
        if opening.replaces() && node.kind == FileKind::File {
            check_overwritten_attributes(opening, state)?;
        }
        Ok(())
    }

    /// The rights that the handle gets (MS-FSA 2.1.5.1.2.1).
    pub(super) fn check_access(
        &self,
        opening: &Opening<'_, '_>,
        node: &Node,
        state: &mut State,
        by_parent: AccessMask,
    ) -> Result<AccessMask> {
        let request = opening.request;
        let credentials = opening.credentials;
        let security = self.security_of(node, state)?;
        let mut allowed = acl::maximal_access(&security, credentials);
        if credentials.admin {
            allowed |= AccessMask::WRITE_OWNER | AccessMask::ACCESS_SYSTEM_SECURITY;
            if request.options.backup_intent || request.posix.is_some() {
                allowed |= AccessMask::FILE_ALL;
            }
        }
        if request.posix.is_some_and(|posix| posix.owner_override)
            && security.owner == Some(credentials.user)
        {
            allowed |= AccessMask::FILE_READ | AccessMask::FILE_WRITE;
        }
        let desired = request.access.map_generic();
        let maximum = desired.intersects(AccessMask::MAXIMUM_ALLOWED);
        let desired = desired.without(AccessMask::MAXIMUM_ALLOWED);
        let needed = desired | overwrite_rights(request.disposition);
        allowed |= by_parent;
        if desired.intersects(AccessMask::ACCESS_SYSTEM_SECURITY) && !credentials.admin {
            return Err(VfsError::PrivilegeNotHeld);
        }
        let possible = allowed & possible_rights(opening, node, state);
        if !possible.contains(needed) {
            return Err(VfsError::AccessDenied);
        }
        let read_only = state.attr.dos.contains(DosAttributes::READ_ONLY);
        if request.options.delete_on_close && read_only {
            return Err(VfsError::CannotDelete);
        }
        if request.options.delete_on_close && node.inode == request.share.root {
            return Err(VfsError::CannotDelete);
        }
        let extra = AccessMask::ACCESS_SYSTEM_SECURITY | AccessMask::WRITE_OWNER;
        let by_privilege = extra.without(acl::maximal_access(&security, credentials));
        let granted = if maximum {
            desired | possible.without(by_privilege)
        } else {
            desired
        };
        if granted.is_empty() {
            return Err(VfsError::AccessDenied);
        }
        if request.options.delete_on_close && !granted.contains(AccessMask::DELETE) {
            return Err(VfsError::AccessDenied);
        }
        Ok(granted)
    }

    /// What the parent's descriptor gives: deleting a child, and seeing its attributes. To POSIX, whoever may write to a
    /// directory may take names out of it.
    fn rights_by_parent(
        &self,
        opening: &Opening<'_, '_>,
        node: &Node,
        link: &LinkRef,
    ) -> Result<AccessMask> {
        if node.inode == opening.request.share.root || link.directory == node.inode {
            return Ok(AccessMask::NONE);
        }
        let Some(parent) = self.node_in(&node.view, link.directory)? else {
            return Ok(AccessMask::NONE);
        };
        let security = self.security_of(&parent, &mut parent.lock())?;
        let by_parent = acl::maximal_access(&security, opening.credentials);
        let mut rights = AccessMask::NONE;
        let deletes = match opening.request.posix {
            None => by_parent.contains(AccessMask::DELETE_CHILD),
            Some(_) => {
                by_parent.intersects(AccessMask::DELETE_CHILD | AccessMask::ADD_FILE)
                    && self.may_unlink(&parent, security.owner, node, opening.credentials)?
            }
        };
        if deletes {
            rights |= AccessMask::DELETE;
        }
        if by_parent.contains(AccessMask::LIST_DIRECTORY) {
            rights |= AccessMask::READ_ATTRIBUTES;
        }
        Ok(rights)
    }

    /// Whether a directory's sticky bit lets the caller take this name out of it.
    pub(crate) fn may_unlink(
        &self,
        parent: &Node,
        owner: Option<Sid>,
        node: &Node,
        credentials: &Credentials,
    ) -> Result<bool> {
        if u32::from(parent.lock().attr.mode_bits) & acl::STICKY == 0 {
            return Ok(true);
        }
        let own = self.security_of(node, &mut node.lock())?.owner;
        Ok([owner, own].contains(&Some(credentials.user)))
    }

    /// Empties a file that was just opened and gives it the attributes, extended attributes and streams of a new one.
    async fn overwrite(&self, opening: &Opening<'_, '_>, handle: Arc<Handle>) -> Result<Opened> {
        let replaced = match self.replace_content(opening, &handle).await {
            Ok(()) => self.put_replaced(&handle).await,
            failed => failed,
        };
        if let Err(error) = replaced {
            self.retract(&handle);
            return Err(error);
        }
        handle.wrote.store(true, Ordering::Release);
        handle.resized.store(true, Ordering::Release);
        self.replaced(&handle);
        let link = handle.link()?;
        let filter = WatchFilter::SIZE
            .union(WatchFilter::LAST_WRITE)
            .union(WatchFilter::ATTRIBUTES);
        self.tell(
            handle.parent_grant,
            link.directory,
            filter,
            WatchAction::Modified,
            &link.name,
        );
        Ok((handle, opening.action_on_found()))
    }

    async fn replace_content(&self, opening: &Opening<'_, '_>, handle: &Handle) -> Result<()> {
        // Before anything is cut off, so that attributes that are refused leave the file as it was.
        let eas = crate::eas::EaRows::of(&opening.request.eas)?;
        let object = ObjectId::data(handle.node.inode);
        if self.store.head_if_exists(object)?.is_some() {
            self.guard_cut(handle)?;
            self.cut_to_nothing(handle).await?;
        }
        let node = &handle.node;
        let mut state = node.lock();
        let mut attr = state.attr.clone();
        let mut txn = self.store.txn(handle.session());
        // Its data is gone already; a full pool must not keep what belongs to it from following.
        txn.draw_on_reserve();
        self.drop_streams(&mut txn, node, &mut state, &mut attr)?;
        self.drop_eas(&mut txn, node.inode, &mut attr)?;
        attr.ea_size = eas.put(&mut txn, node.inode);
        let kept = attr.dos.0 & DosAttributes::SPARSE_FILE.0;
        let given = opening.request.attributes.0 & DosAttributes::SETTABLE.0;
        attr.dos = DosAttributes(kept | given | DosAttributes::ARCHIVE.0);
        let now = self.now();
        if opening.request.disposition == Disposition::Supersede {
            attr.created = now;
        }
        attr.modified = now;
        attr.changed = now;
        attr.flags.set(crate::rows::AttrFlags::OWN_MODIFIED, false);
        put_attr(&mut txn, node.inode, &mut attr);
        txn.note(node.inode, Aspect::Attributes);
        txn.note(
            node.inode,
            Aspect::Data {
                offset: 0,
                len: u64::MAX,
            },
        );
        txn.commit()?;
        state.attr = attr;
        state.dirty = true;
        Ok(())
    }
}

/// What came of an open whose file was there when it was looked up.
pub(super) enum Admitted<T> {
    Done(T),
    /// The file or its name is gone.
    Gone,
    /// Holders of grants must answer first. Nothing was changed.
    Blocked(Blockers),
}

fn overwrite_rights(disposition: Disposition) -> AccessMask {
    match disposition {
        Disposition::Overwrite | Disposition::OverwriteIf => OVERWRITES,
        Disposition::Supersede => OVERWRITES | AccessMask::DELETE,
        Disposition::Open | Disposition::Create | Disposition::OpenIf => AccessMask::NONE,
    }
}

impl Opening<'_, '_> {
    /// What the open does to what is there.
    fn action_on_found(&self) -> CreateAction {
        match self.request.disposition {
            Disposition::Supersede => CreateAction::Superseded,
            Disposition::Overwrite | Disposition::OverwriteIf => CreateAction::Overwritten,
            Disposition::Open | Disposition::OpenIf | Disposition::Create => CreateAction::Opened,
        }
    }

    /// Nothing in the past is made, replaced or deleted.
    fn check_past(&self, node: &Node) -> Result<()> {
        let changes = self.replaces() || self.request.options.delete_on_close;
        if changes && (!node.view.is_now() || node.is_history()) {
            return Err(VfsError::ReadOnly);
        }
        Ok(())
    }
}

/// What counts against other opens' share modes: an overwrite writes, whatever was asked for.
fn effective(opening: &Opening<'_, '_>, granted: AccessMask) -> AccessMask {
    if opening.replaces() {
        granted | AccessMask::WRITE_DATA
    } else {
        granted
    }
}

/// Rights that the share and the file's attributes leave.
fn possible_rights(opening: &Opening<'_, '_>, node: &Node, state: &State) -> AccessMask {
    let mut possible = AccessMask(u32::MAX);
    if opening.request.share.read_only {
        possible = possible & READ_ONLY_RIGHTS;
    }
    if state.attr.dos.contains(DosAttributes::READ_ONLY) && !node.is_directory() {
        possible = possible.without(AccessMask::WRITE_DATA | AccessMask::APPEND_DATA);
    }
    possible
}

/// A hidden or system file is only overwritten by one that says so (MS-FSA 2.1.5.1.2).
fn check_overwritten_attributes(opening: &Opening<'_, '_>, state: &State) -> Result<()> {
    let given = opening.request.attributes;
    for attribute in [DosAttributes::HIDDEN, DosAttributes::SYSTEM] {
        if state.attr.dos.contains(attribute) && !given.contains(attribute) {
            return Err(VfsError::AccessDenied);
        }
    }
    Ok(())
}
