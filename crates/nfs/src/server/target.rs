//! From a file handle to a file, and whether the caller may reach it at all.

use std::sync::Arc;

use strongroom_vfs::unix::Unix;
use strongroom_vfs::{Credentials, Inode, Share, Vfs};

use super::{Numbered, Place, Request, exports};

/// A file, and who asks for it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) share: Arc<Share>,
    pub(crate) inode: Inode,
    pub(crate) who: Arc<Credentials>,
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
    Failed(strongroom_vfs::VfsError),
}

impl Target {
    pub(crate) fn unix<'a>(&'a self, vfs: &'a Vfs) -> Unix<'a> {
        vfs.unix(&self.who, &self.share)
    }

    /// Another file of the same share.
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
                let peer = self.peer.ip();
                if self.server.vfs.share_by_id(share).is_none() {
                    return Err(Lost::Stale);
                }
                let exported = exports::by_id(&self.server.vfs, share, peer);
                self.target_in(exported.ok_or(Lost::Denied)?, inode, protocol)
            }
        }
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
        })
    }

    pub(crate) fn handle_of(&self, target: &Target) -> [u8; super::HANDLE_LEN] {
        self.server.handles.make(Place::File {
            share: target.share.id,
            inode: target.inode,
        })
    }
}
