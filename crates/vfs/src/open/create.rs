//! Making what is not there (MS-FSA 2.1.5.1.1).

use std::borrow::Cow;
use std::sync::Arc;

use strongroom_store::{Aspect, ObjectId};

use super::{Admission, Attempt, Opening, READ_ONLY_RIGHTS, Vfs};
use crate::acl::{self, SecurityDescriptor};
use crate::directory::{put_name_row, remember_link, touch_directory};
use crate::eas::EaRows;
use crate::names::fold;
use crate::node::{LinkRef, Node, State};
use crate::persistent::{Persistent, Place};
use crate::rows::{self, Attr, NameEntry};
use crate::security::NewFile;
use crate::vfs::{new_attr, put_attr};
use crate::watch::{WatchAction, WatchFilter};
use crate::{AccessMask, CreateAction, DosAttributes, FileKind, Handle, Result, VfsError};

/// Allocations below this are not checked against free space: reserving does that when they are written.
const ALLOCATION_CHECKED: u64 = 1 << 20;

impl Vfs {
    pub(super) fn open_missing(
        &self,
        opening: &Opening<'_, '_>,
        directory: &Arc<Node>,
        name: &str,
    ) -> Result<Attempt> {
        check_creation(opening)?;
        self.require_unfenced(opening.credentials.session)?;
        if !directory.view.is_now() || directory.is_history() {
            return Err(VfsError::ReadOnly);
        }
        self.check_allocation(opening)?;
        let Some(handle) = self.make(opening, directory, name)? else {
            return Ok(Attempt::Again);
        };
        let is_directory = handle.node.is_directory();
        self.tell(
            opening.request.parent_grant,
            directory.inode,
            WatchFilter::name(is_directory),
            WatchAction::Added,
            name,
        );
        if handle.stream != 0 {
            self.tell_stream(&handle, WatchAction::AddedStream)?;
        }
        Ok(Attempt::Done((handle, CreateAction::Created)))
    }

    fn check_allocation(&self, opening: &Opening<'_, '_>) -> Result<()> {
        let wanted = opening.request.allocation;
        if wanted >= ALLOCATION_CHECKED && wanted > self.store.space()?.available {
            return Err(VfsError::NoSpace);
        }
        Ok(())
    }

    /// Makes the file in one transaction, under the directory's lock; None if the name came to be meanwhile.
    fn make(
        &self,
        opening: &Opening<'_, '_>,
        directory: &Arc<Node>,
        name: &str,
    ) -> Result<Option<Arc<Handle>>> {
        let eas = EaRows::of(&opening.request.eas)?;
        let mut state = directory.lock();
        if state.gone {
            return Err(VfsError::PathNotFound);
        }
        if !state.pending.is_empty() {
            return Err(VfsError::DeletePending);
        }
        let folded = fold(name);
        let mut row = self.name_row(&directory.view, directory.inode, &folded)?;
        if row.find(name, opening.request.case).is_some() {
            return Ok(None);
        }
        let is_directory = opening.wants_directory();
        self.check_parent(opening, directory, &mut state, is_directory)?;
        let posix = PosixFile::of(opening, self, directory, &mut state, is_directory)?;
        let new = NewFile {
            given: posix.security.as_deref(),
            mode: posix.mode,
            is_directory,
            creator: opening.credentials,
        };
        let security = self.security_for_new(directory, &mut state, &new)?;
        let granted = creator_rights(opening, &security.descriptor)?;

        let inode = self.store.allocate_inode(directory.inode);
        let kind = if is_directory {
            FileKind::Directory
        } else {
            FileKind::File
        };
        let now = self.now();
        let mut attr = new_attr(kind, now, directory.inode);
        attr.dos = new_attributes(opening, is_directory);
        remember_verifier(&mut attr, opening.request.made_with.verifier);
        attr.security = security.place;
        attr.mode_bits = posix.special;
        attr.quota_tree = state.attr.quota_tree;
        attr.links = 1;
        let link = LinkRef {
            directory: directory.inode,
            name: name.to_owned(),
        };
        row.insert(NameEntry {
            name: name.to_owned(),
            inode,
            kind,
        })?;

        let mut txn = self.store.txn(opening.credentials.session);
        put_name_row(&mut txn, directory.inode, &folded, &row);
        remember_link(&mut txn, inode, &mut attr, &link);
        attr.ea_size = eas.put(&mut txn, inode);
        if let Some(reparse) = &opening.request.made_with.reparse {
            attr.reparse_tag = reparse.tag;
            txn.put(rows::REPARSE, rows::inode_key(inode), reparse.row());
        }
        let stream = self.make_stream(&mut txn, inode, &mut attr, opening.path.stream)?;
        let key = opening.request.grant.key();
        if let Some(key) = &key {
            self.grant_keys.reserve(key, ObjectId { inode, stream })?;
        }
        let place = Place {
            inode,
            link: &link,
            stream,
            stream_name: opening.path.stream.unwrap_or_default(),
            granted,
        };
        let persistent = if is_directory {
            None
        } else {
            Persistent::wanted(opening, place, CreateAction::Created)
        };
        persistent.iter().for_each(|open| open.put(&mut txn));
        security.put(&mut txn, inode);
        put_attr(&mut txn, inode, &mut attr);
        let before = times_of(&state.attr);
        touch_directory(&mut txn, directory.inode, &mut state, now);
        txn.note(inode, Aspect::Name);
        // The node is known, and locked, before anybody can find its name.
        let node = Node::new(inode, attr, Some(Arc::clone(&security.descriptor)));
        let mut made = node.lock();
        self.nodes.insert(&node);
        if let Err(error) = txn.commit() {
            made.gone = true;
            self.nodes.remove(inode);
            restore_times(&mut state.attr, before);
            key.iter().for_each(|key| self.grant_keys.give_back(key));
            return Err(error.into());
        }
        security.committed(&mut state);
        if is_directory {
            state.subdirectories.add();
        }
        let admission = Admission {
            node: &node,
            link: Arc::new(link),
            stream,
            stream_name: opening.path.stream.unwrap_or_default(),
            granted,
            persistent,
        };
        Ok(Some(self.admit(opening, admission, &mut made)))
    }

    /// The right to add to the directory.
    pub(crate) fn check_parent(
        &self,
        opening: &Opening<'_, '_>,
        directory: &Node,
        state: &mut State,
        is_directory: bool,
    ) -> Result<()> {
        self.check_may_add(
            opening.credentials,
            opening.request.options.backup_intent || opening.request.posix.is_some(),
            directory,
            state,
            is_directory,
        )
    }

    /// As [`Self::check_parent`], also for links and renames. With `backup`, administrators need no right.
    pub(crate) fn check_may_add(
        &self,
        credentials: &crate::Credentials,
        backup: bool,
        directory: &Node,
        state: &mut State,
        is_directory: bool,
    ) -> Result<()> {
        let needed = if is_directory {
            AccessMask::ADD_SUBDIRECTORY
        } else {
            AccessMask::ADD_FILE
        };
        let security = self.security_of(directory, state)?;
        let allowed = acl::maximal_access(&security, credentials).contains(needed);
        if allowed || (credentials.admin && backup) {
            Ok(())
        } else {
            Err(VfsError::AccessDenied)
        }
    }
}

/// A directory's times and count, to be put back when a transaction fails.
pub(crate) type Times = (crate::FileTime, crate::FileTime, u64);

pub(crate) fn times_of(attr: &Attr) -> Times {
    (attr.modified, attr.changed, attr.version)
}

pub(crate) fn restore_times(attr: &mut Attr, (modified, changed, version): Times) {
    attr.modified = modified;
    attr.changed = changed;
    attr.version = version;
}

/// What a new file gets by the rules of POSIX, where it is made by them.
struct PosixFile<'a> {
    security: Option<Cow<'a, SecurityDescriptor>>,
    mode: Option<u32>,
    special: u16,
}

impl<'a> PosixFile<'a> {
    /// A directory with the set-group-id bit passes on its group, and to directories that bit.
    fn of(
        opening: &Opening<'a, '_>,
        vfs: &Vfs,
        directory: &Node,
        state: &mut State,
        is_directory: bool,
    ) -> Result<Self> {
        let security = opening.request.security.as_ref().map(Cow::Borrowed);
        let Some(mut mode) = opening.request.posix.and_then(|posix| posix.mode) else {
            return Ok(Self {
                security,
                mode: None,
                special: 0,
            });
        };
        let mut owners = SecurityDescriptor {
            owner: security.as_ref().and_then(|given| given.owner),
            group: security.as_ref().and_then(|given| given.group),
            ..SecurityDescriptor::default()
        };
        if u32::from(state.attr.mode_bits) & acl::SET_GROUP_ID != 0 {
            owners.group = vfs.security_of(directory, state)?.group;
            if is_directory {
                mode |= acl::SET_GROUP_ID;
            }
        }
        let named = owners.owner.is_some() || owners.group.is_some();
        Ok(Self {
            security: named.then_some(Cow::Owned(owners)),
            mode: Some(mode & !acl::SPECIAL),
            special: u16::try_from(mode & acl::SPECIAL).unwrap_or(0),
        })
    }
}

fn check_creation(opening: &Opening<'_, '_>) -> Result<()> {
    let request = opening.request;
    if !opening.may_create() {
        return Err(opening.missing());
    }
    if request.share.read_only {
        return Err(VfsError::AccessDenied);
    }
    // A trailing separator names a directory; a file cannot be made by it.
    if opening.path.must_be_directory && !request.options.directory {
        return Err(VfsError::InvalidName);
    }
    if request.options.delete_on_close && request.attributes.contains(DosAttributes::READ_ONLY) {
        return Err(VfsError::CannotDelete);
    }
    if request.attributes.contains(DosAttributes::ENCRYPTED) {
        return Err(VfsError::NotSupported);
    }
    Ok(())
}

/// What an exclusive creation is known by, in the file's times (RFC 8881, 18.16.3); the creator sets those next.
pub(crate) fn verifier_times(verifier: [u8; 8]) -> [crate::FileTime; 2] {
    let [a, b, c, d, e, f, g, h] = verifier;
    [[a, b, c, d], [e, f, g, h]].map(|half| {
        let seconds = u32::from_be_bytes(half) & 0x7FFF_FFFF;
        crate::FileTime::from_unix(i64::from(seconds), 0)
    })
}

fn remember_verifier(attr: &mut Attr, verifier: Option<[u8; 8]>) {
    if let Some(verifier) = verifier {
        [attr.accessed, attr.modified] = verifier_times(verifier);
    }
}

fn new_attributes(opening: &Opening<'_, '_>, is_directory: bool) -> DosAttributes {
    let mut given = DosAttributes(opening.request.attributes.0 & DosAttributes::SETTABLE.0);
    if opening.request.made_with.sparse && !is_directory {
        given = given.union(DosAttributes::SPARSE_FILE);
    }
    if is_directory {
        given
    } else {
        given.union(DosAttributes::ARCHIVE)
    }
}

/// The creator gets what it asks for; only the list decides when it asks for the most (MS-FSA 2.1.5.1.1).
fn creator_rights(opening: &Opening<'_, '_>, security: &SecurityDescriptor) -> Result<AccessMask> {
    let credentials = opening.credentials;
    let desired = opening.request.access.map_generic();
    if desired.intersects(AccessMask::ACCESS_SYSTEM_SECURITY) && !credentials.admin {
        return Err(VfsError::PrivilegeNotHeld);
    }
    let plain = desired.without(AccessMask::MAXIMUM_ALLOWED);
    if !desired.intersects(AccessMask::MAXIMUM_ALLOWED) {
        return Ok(plain);
    }
    let mut granted = plain | acl::maximal_access(security, credentials);
    // A file made read-only is writable through the handle that made it, as on Windows.
    if opening.request.share.read_only {
        granted = granted & READ_ONLY_RIGHTS;
    }
    Ok(granted)
}
