//! Looking names up, making, removing, renaming and linking, as POSIX has them.

use std::sync::Arc;

use strongroom_store::Inode;

use super::special::{reparse_of, symlink_of};
use super::{Found, NodeType, Unix, UnixOpen};
use crate::grants::{Conflict, GrantRequest};
use crate::names::{canonical, from_unix};
use crate::node::{LinkRef, Node, lock_all};
use crate::open::verifier_times;
use crate::{
    AccessMask, CaseMode, CreateAction, Disposition, Handle, MadeWith, OpenRequest, PosixOpen,
    Result, ShareAccess, VfsError, View,
};

/// How often a removal starts anew because names changed under it.
const ATTEMPTS_MAX: usize = 64;

/// What is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum New<'a> {
    File,
    Directory,
    /// With its target.
    Symlink(&'a [u8]),
    /// A fifo, a socket or a device.
    Special(NodeType),
}

/// A creation.
#[derive(Debug, Clone)]
pub struct Make<'a> {
    pub what: New<'a>,
    /// Permission bits with the three special ones.
    pub mode: u32,
    /// Fail where the name is there.
    pub exclusive: bool,
    /// A file that was made with the same verifier, and not changed since, is the one that is to be made.
    pub verifier: Option<[u8; 8]>,
    /// What the handle is for.
    pub access: AccessMask,
    pub share_access: ShareAccess,
    pub grant: GrantRequest,
}

impl<'a> Make<'a> {
    /// Something that must not be there yet.
    pub fn new(what: New<'a>, mode: u32) -> Self {
        Self {
            what,
            mode,
            exclusive: true,
            verifier: None,
            access: AccessMask::READ_ATTRIBUTES,
            share_access: ShareAccess::ALL,
            grant: GrantRequest::None,
        }
    }
}

/// What a removal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// Anything but a directory (`unlink`).
    File,
    /// `rmdir`
    Directory,
    Any,
}

/// A name as it is kept.
pub(super) fn kept(name: &[u8]) -> Result<String> {
    let kept = from_unix(name)?;
    Ok(canonical(&kept)?.into_owned())
}

impl Unix<'_> {
    /// What a name in a directory means. `..` of the share's root is the root.
    ///
    /// Errors: `NotFound`, `NotDirectory`, `AccessDenied` without the right to search, `NameTooLong`.
    pub fn find(&self, directory: Inode, name: &[u8]) -> Result<Found> {
        let node = self.searched(directory)?;
        if let Some(found) = self.find_beyond(directory, name)? {
            return Ok(found);
        }
        let inode = self.find_here(&node, name)?;
        Ok(Found { inode, view: None })
    }

    fn find_here(&self, node: &Node, name: &[u8]) -> Result<Inode> {
        let directory = node.inode;
        match name {
            b"." => Ok(directory),
            b".." if directory == self.share.root => Ok(directory),
            b".." => Ok(self.vfs.first_name(&node.view, directory)?.0),
            _ => {
                let entry =
                    self.vfs
                        .lookup(&node.view, directory, &kept(name)?, CaseMode::Exact)?;
                Ok(entry.ok_or(VfsError::NotFound)?.inode)
            }
        }
    }

    /// Makes something, or opens what is there. True if it was made.
    ///
    /// Errors: `Exists`; `IsDirectory` and `InvalidParameter` where a file was to be opened and something else is there.
    pub async fn make(
        &self,
        directory: Inode,
        name: &[u8],
        make: Make<'_>,
    ) -> Result<(Arc<Handle>, bool)> {
        self.searched(directory)?;
        if !self.at.is_now() {
            return Err(VfsError::ReadOnly);
        }
        let name = kept(name)?;
        let disposition = if make.exclusive {
            Disposition::Create
        } else {
            Disposition::OpenIf
        };
        let mut request = OpenRequest {
            at: Some(directory),
            access: make.access,
            share_access: make.share_access,
            grant: self.granted(make.grant.clone()),
            disposition,
            posix: Some(PosixOpen {
                mode: Some(make.mode),
                owner_override: false,
            }),
            made_with: made_with(&make)?,
            ..self.request(&name)
        };
        request.options.directory = make.what == New::Directory;
        match self.vfs.open(self.who, request).await {
            Ok((handle, action)) => {
                if action == CreateAction::Opened {
                    must_be_file(&handle)?;
                }
                Ok((handle, action == CreateAction::Created))
            }
            Err(VfsError::Exists) if make.verifier.is_some() => {
                self.made_before(directory, &name, &make).await
            }
            Err(error) => Err(error),
        }
    }

    /// A creation whose answer was lost: the file has the verifier in its times.
    async fn made_before(
        &self,
        directory: Inode,
        name: &str,
        make: &Make<'_>,
    ) -> Result<(Arc<Handle>, bool)> {
        let entry = self
            .vfs
            .lookup(&View::Now, directory, name, CaseMode::Exact)?;
        let inode = entry.ok_or(VfsError::Exists)?.inode;
        let stat = self.vfs.look(inode)?;
        let times = make.verifier.map(verifier_times);
        let same = times == Some([stat.stat.accessed, stat.stat.modified]);
        if stat.what != NodeType::File || stat.stat.size != 0 || !same {
            return Err(VfsError::Exists);
        }
        let open = UnixOpen {
            access: make.access,
            share_access: make.share_access,
            owner_override: true,
            grant: make.grant.clone(),
        };
        Ok((self.open(inode, open).await?, true))
    }

    /// Removes a name at once; what is open stays until it is closed.
    ///
    /// Errors: `NotFound`, `IsDirectory`, `NotDirectory`, `NotEmpty`, `AccessDenied`.
    pub async fn remove(&self, directory: Inode, name: &[u8], what: Removed) -> Result<()> {
        let parent = self.searched(directory)?;
        self.require_writable()?;
        let name = kept(name)?;
        self.vfs.store.throttle().await;
        for _ in 0..ATTEMPTS_MAX {
            let entry = self
                .vfs
                .lookup(&View::Now, directory, &name, CaseMode::Exact)?;
            let entry = entry.ok_or(VfsError::NotFound)?;
            let Some(node) = self.vfs.nodes.get(&self.vfs.store, entry.inode)? else {
                continue;
            };
            match (what, node.is_directory()) {
                (Removed::File, true) => return Err(VfsError::IsDirectory),
                (Removed::Directory, false) => return Err(VfsError::NotDirectory),
                _ => {}
            }
            self.check_unlink(&parent, &node)?;
            self.vfs
                .contend_on(&node, None, self.by, Conflict::Name)
                .await;
            let link = LinkRef {
                directory,
                name: entry.name,
            };
            match self.remove_once(&parent, &node, &link) {
                Err(VfsError::NotFound) => {}
                Ok(()) => {
                    self.vfs.told_removed(None, &node, &link);
                    return Ok(());
                }
                failed => return failed,
            }
        }
        Err(VfsError::NotFound)
    }

    fn remove_once(&self, parent: &Arc<Node>, node: &Arc<Node>, link: &LinkRef) -> Result<()> {
        let mut locked = lock_all(&[parent, node]);
        if locked.of(node).gone {
            return Err(VfsError::NotFound);
        }
        if node.is_directory() && !self.vfs.is_empty(node.inode)? {
            return Err(VfsError::NotEmpty);
        }
        let session = self.who.session;
        self.vfs
            .remove_locked(&mut locked, parent, node, link, session)
    }

    /// Whoever may write to a directory may take names out of it, unless it is sticky.
    fn check_unlink(&self, parent: &Arc<Node>, node: &Arc<Node>) -> Result<()> {
        if self.who.admin {
            return Ok(());
        }
        let (rights, owner) = {
            let mut state = parent.lock();
            let rights = self.rights_of(parent, &mut state)?;
            (rights, self.vfs.security_of(parent, &mut state)?.owner)
        };
        let writable = rights.intersects(AccessMask::DELETE_CHILD | AccessMask::ADD_FILE);
        if writable && self.vfs.may_unlink(parent, owner, node, self.who)? {
            Ok(())
        } else {
            Err(VfsError::AccessDenied)
        }
    }

    /// Gives a name's file another name, replacing what has that.
    ///
    /// Errors: `NotFound`, `AccessDenied`, `NotEmpty`, `IsDirectory`, `NotDirectory`, `InvalidParameter` into itself.
    pub async fn rename(
        &self,
        (from, from_name): (Inode, &[u8]),
        (to, to_name): (Inode, &[u8]),
    ) -> Result<()> {
        self.searched(from)?;
        let target = self.searched(to)?;
        self.require_writable()?;
        let (from_name, to_name) = (kept(from_name)?, kept(to_name)?);
        let request = OpenRequest {
            at: Some(from),
            access: AccessMask::DELETE,
            ..self.request(&from_name)
        };
        let (handle, _) = self.vfs.open(self.who, request).await?;
        self.vfs
            .rename_at(&handle, Some(&target), &to_name, true)
            .await
    }

    /// Gives a file one more name.
    pub async fn link(&self, inode: Inode, directory: Inode, name: &[u8]) -> Result<()> {
        let target = self.searched(directory)?;
        self.require_writable()?;
        let name = kept(name)?;
        let node = self.node(inode)?;
        let handle = self
            .vfs
            .hold(self.who, self.share, &node, AccessMask::READ_ATTRIBUTES)?;
        // The count of names is an attribute.
        self.vfs
            .contend_on(&node, None, self.by, Conflict::Attributes)
            .await;
        self.vfs.link_at(&handle, Some(&target), &name, false).await
    }
}

fn must_be_file(handle: &Handle) -> Result<()> {
    if handle.is_directory() {
        return Err(VfsError::IsDirectory);
    }
    if handle.node.lock().attr.reparse_tag != 0 {
        return Err(VfsError::InvalidParameter);
    }
    Ok(())
}

fn made_with(make: &Make<'_>) -> Result<MadeWith> {
    let reparse = match make.what {
        New::File | New::Directory => None,
        New::Symlink(target) => Some(symlink_of(target)?),
        New::Special(what) => Some(reparse_of(what).ok_or(VfsError::InvalidParameter)?),
    };
    Ok(MadeWith {
        sparse: make.what == New::File,
        reparse,
        verifier: make.verifier,
    })
}
