//! Files by their ids, with the rules of POSIX: for protocols whose clients hold ids instead of paths.
//!
//! Names are bytes here, spelt as docs/names.md says. Whoever asks vouches that an id is one of the share's.

mod change;
mod listing;
mod look;
mod names;
mod past;
mod special;
#[cfg(test)]
mod tests;

pub use change::{SetTime, UnixChange};
pub(crate) use listing::Listings;
pub use listing::UnixEntry;
pub use look::{Look, NodeType};
pub use names::{Make, New, Removed};
pub use past::{Found, UnixView};

use std::sync::Arc;

use strongroom_store::Inode;

use crate::grants::{GrantKey, GrantRequest};
use crate::node::{Node, State};
use crate::open::READ_ONLY_RIGHTS;
use crate::{
    AccessMask, CaseMode, CreateOptions, Credentials, Handle, OpenRequest, PosixOpen, Result,
    Share, ShareAccess, Vfs, VfsError, acl, history,
};

/// A caller in a share.
#[derive(Debug, Clone, Copy)]
pub struct Unix<'a> {
    vfs: &'a Vfs,
    who: &'a Credentials,
    share: &'a Share,
    at: &'a UnixView,
    /// The key of the caller's grants, which what it does leaves alone.
    by: Option<GrantKey>,
}

/// An open by id.
#[derive(Debug, Clone)]
pub struct UnixOpen {
    pub access: AccessMask,
    pub share_access: ShareAccess,
    /// See [`PosixOpen::owner_override`].
    pub owner_override: bool,
    pub grant: GrantRequest,
}

impl UnixOpen {
    /// For one operation of a protocol without opens.
    pub fn once(access: AccessMask) -> Self {
        Self {
            access,
            share_access: ShareAccess::ALL,
            owner_override: true,
            grant: GrantRequest::None,
        }
    }
}

impl Vfs {
    pub fn unix<'a>(&'a self, who: &'a Credentials, share: &'a Share) -> Unix<'a> {
        Unix {
            vfs: self,
            who,
            share,
            at: &UnixView::Now,
            by: None,
        }
    }
}

impl<'a> Unix<'a> {
    /// The same caller, whose grants are under this key.
    #[must_use]
    pub fn by(self, key: Option<GrantKey>) -> Self {
        Self { by: key, ..self }
    }

    /// Opens what an id names, a symbolic link or special file itself too.
    ///
    /// Errors: `Closed` where there is no such file any more, `AccessDenied`, `SharingViolation`.
    pub async fn open(&self, inode: Inode, open: UnixOpen) -> Result<Arc<Handle>> {
        if !self.at.is_now() && !READ_ONLY_RIGHTS.contains(open.access) {
            return Err(VfsError::ReadOnly);
        }
        let request = OpenRequest {
            at: Some(inode),
            access: open.access,
            share_access: open.share_access,
            grant: self.granted(open.grant),
            posix: Some(PosixOpen {
                mode: None,
                owner_override: open.owner_override,
            }),
            ..self.request("")
        };
        match self.vfs.open(self.who, request).await {
            Ok((handle, _)) => Ok(handle),
            Err(VfsError::NotFound) => Err(VfsError::Closed),
            Err(error) => Err(error),
        }
    }

    /// What the caller may do with a file. To POSIX, root may do everything but run what nobody may run.
    pub fn rights(&self, inode: Inode) -> Result<AccessMask> {
        let node = self.node(inode)?;
        self.rights_of(&node, &mut node.lock())
    }

    fn granted(&self, asked: GrantRequest) -> GrantRequest {
        match (asked, self.by) {
            (GrantRequest::None, Some(key)) => GrantRequest::Under(key),
            (asked, _) => asked,
        }
    }

    fn request<'r>(&self, path: &'r str) -> OpenRequest<'r>
    where
        'a: 'r,
    {
        OpenRequest {
            share_access: ShareAccess::ALL,
            case: CaseMode::Exact,
            grant: self.granted(GrantRequest::None),
            posix: Some(PosixOpen::default()),
            options: CreateOptions {
                open_reparse_point: true,
                ..CreateOptions::default()
            },
            view: self.at.view().clone(),
            ..OpenRequest::new(self.share, path)
        }
    }

    fn node(&self, inode: Inode) -> Result<Arc<Node>> {
        let node = match self.at {
            UnixView::History if inode == history::INODE => {
                let root = self.vfs.node(self.share.root)?;
                Some(self.vfs.history_node(&root)?)
            }
            UnixView::History => None,
            UnixView::Now | UnixView::Then(_) => self.vfs.node_in(self.at.view(), inode)?,
        };
        node.ok_or(VfsError::Closed)
    }

    /// A directory that the caller may look names up in.
    fn searched(&self, directory: Inode) -> Result<Arc<Node>> {
        let node = self.node(directory)?;
        if !node.is_directory() {
            return Err(VfsError::NotDirectory);
        }
        let mut state = node.lock();
        if state.gone {
            return Err(VfsError::Closed);
        }
        let rights = self.rights_of(&node, &mut state)?;
        drop(state);
        if rights.contains(AccessMask::TRAVERSE) {
            Ok(node)
        } else {
            Err(VfsError::AccessDenied)
        }
    }

    /// Errors: `ReadOnly` where the share is, or an alarm keeps the session from changing anything.
    fn require_writable(&self) -> Result<()> {
        if self.share.read_only || !self.at.is_now() {
            return Err(VfsError::ReadOnly);
        }
        self.vfs.require_unfenced(self.who.session)
    }

    fn rights_of(&self, node: &Node, state: &mut State) -> Result<AccessMask> {
        let security = self.vfs.security_of(node, state)?;
        let mut rights = acl::maximal_access(&security, self.who);
        if self.who.admin {
            rights |= AccessMask::FILE_ALL.without(AccessMask::EXECUTE);
            if node.is_directory() || acl::mode_of(&security) & 0o111 != 0 {
                rights |= AccessMask::EXECUTE;
            }
        }
        if self.share.read_only || !self.at.is_now() {
            rights = rights & READ_ONLY_RIGHTS;
        }
        Ok(rights)
    }
}
