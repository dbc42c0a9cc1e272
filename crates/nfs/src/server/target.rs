//! From a file handle to a file, and whether the caller may reach it at all.

use std::sync::Arc;

use strongroom_vfs::unix::{Found, Look, Unix, UnixView};
use strongroom_vfs::{Credentials, Inode, Share, ShareId, Vfs, VfsError};

use super::handle::FileHandle;
use super::{Numbered, Place, Request, exports};

/// A file, and who asks for it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) share: Arc<Share>,
    pub(crate) inode: Inode,
    pub(crate) who: Arc<Credentials>,
    /// Of which state of the share.
    pub(crate) view: UnixView,
}

/// Why a handle leads nowhere.
#[derive(Debug, Clone)]
pub(crate) enum Lost {
    /// Not one that this pool gave out.
    BadHandle,
    /// The share is no more.
    Stale,
    /// The share is not for this client, or not for this user.
    Denied,
    /// Of the directory of all exports.
    Pseudo,
    Failed(VfsError),
}

impl Target {
    pub(crate) fn unix<'a>(&'a self, vfs: &'a Vfs) -> Unix<'a> {
        vfs.unix_at(&self.who, &self.share, &self.view)
    }

    pub(crate) fn look(&self, vfs: &Vfs) -> Result<Look, VfsError> {
        self.unix(vfs).look(self.inode)
    }

    /// What clients tell files apart by.
    pub(crate) fn id(&self) -> Inode {
        self.view.id(self.inode)
    }

    pub(crate) fn place(&self) -> Place {
        let (share, inode) = (self.share.id, self.inode);
        match (&self.view, self.view.instant()) {
            (UnixView::History, _) => Place::History { share },
            (_, Some(then)) => Place::Past { share, inode, then },
            (_, None) => Place::File { share, inode },
        }
    }

    /// Whether names may go from one directory to the other at all.
    pub(crate) fn is_of_one_tree(&self, other: &Self) -> bool {
        self.share.id == other.share.id && self.view.is_now() == other.view.is_now()
    }

    /// What a name in this directory means.
    pub(crate) fn leads_to(&self, found: Found) -> Self {
        Self {
            inode: found.inode,
            view: found.view.unwrap_or_else(|| self.view.clone()),
            ..self.clone()
        }
    }

    /// Another file of the same state of the share.
    pub(crate) fn beside(&self, inode: Inode) -> Self {
        Self {
            inode,
            ..self.clone()
        }
    }
}

impl Request<'_> {
    pub(crate) fn target(&self, handle: &[u8], protocol: &str) -> Result<Target, Lost> {
        match self.server.handles.read(handle) {
            None => Err(Lost::BadHandle),
            Some(Place::Pseudo) => Err(Lost::Pseudo),
            Some(Place::File { share, inode }) => {
                self.target_of(share, inode, protocol, UnixView::Now)
            }
            Some(Place::History { share }) => {
                self.target_of(share, UnixView::HISTORY, protocol, UnixView::History)
            }
            Some(Place::Past { share, inode, then }) => {
                let vfs = &self.server.vfs;
                let known = vfs.share_by_id(share).ok_or(Lost::Stale)?;
                // What is no longer kept is as good as deleted.
                let view = vfs.unix_view(&known, then).map_err(Lost::Failed)?;
                self.target_of(share, inode, protocol, view)
            }
        }
    }

    fn target_of(
        &self,
        share: ShareId,
        inode: Inode,
        protocol: &str,
        view: UnixView,
    ) -> Result<Target, Lost> {
        let peer = self.peer.ip();
        if self.server.vfs.share_by_id(share).is_none() {
            return Err(Lost::Stale);
        }
        let exported = exports::by_id(&self.server.vfs, share, peer);
        let target = self.target_in(exported.ok_or(Lost::Denied)?, inode, protocol)?;
        Ok(Target { view, ..target })
    }

    pub(crate) fn target_in(
        &self,
        exported: super::Exported,
        inode: Inode,
        protocol: &str,
    ) -> Result<Target, Lost> {
        let who = Numbered::of(&self.auth, exported.squash);
        let peer = self.peer.ip().to_canonical();
        let who = self.server.callers.find(peer, who, protocol);
        let who = who.map_err(Lost::Failed)?;
        if !self.server.vfs.may_enter(&exported.share, &who) {
            return Err(Lost::Denied);
        }
        Ok(Target {
            share: exported.share,
            inode,
            who,
            view: UnixView::Now,
        })
    }

    pub(crate) fn handle_of(&self, target: &Target) -> FileHandle {
        self.server.handles.make(target.place())
    }
}
