//! The past by ids: `.history` in a share's root, and what stands below it (`crate::history`).

use std::sync::Arc;

use strongroom_store::{Inode, Instant};

use super::listing::{UnixEntry, cookie_of};
use super::look::{Look, NodeType};
use super::names::kept;
use super::{Unix, special};
use crate::names::to_unix;
use crate::{
    CaseMode, Credentials, DosAttributes, FileTime, Handle, Result, Share, Vfs, VfsError, View,
    acl, history,
};

/// The state of a share in which an id means something.
#[derive(Debug, Clone, Default)]
pub enum UnixView {
    #[default]
    Now,
    /// The directory that holds the past; it has one id.
    History,
    Then(View),
}

/// What a name means.
#[derive(Debug, Clone)]
pub struct Found {
    pub inode: Inode,
    /// Another state than the directory's.
    pub view: Option<UnixView>,
}

impl UnixView {
    /// The id of the directory that holds the past.
    pub const HISTORY: Inode = history::INODE;

    pub fn is_now(&self) -> bool {
        matches!(self, Self::Now)
    }

    /// None but for the past.
    pub fn instant(&self) -> Option<Instant> {
        match self {
            Self::Then(view) => view.instant(),
            Self::Now | Self::History => None,
        }
    }

    /// A number that tells this state of a file from all other states and files, for clients that compare numbers: to
    /// them the file of now and that of an hour ago are two.
    pub fn id(&self, inode: Inode) -> Inode {
        id_in(self.view(), inode)
    }

    pub(super) fn view(&self) -> &View {
        match self {
            Self::Then(view) => view,
            Self::Now | Self::History => &View::Now,
        }
    }
}

/// Numbers of the past have the highest bit, which the store gives to none.
fn id_in(view: &View, inode: Inode) -> Inode {
    let Some(then) = view.instant() else {
        return inode;
    };
    let mut mixed = inode.0 ^ then.txg.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    Inode((mixed ^ mixed >> 32) | 1 << 63)
}

impl Handle {
    /// See [`UnixView::id`].
    pub fn unix_id(&self) -> Inode {
        id_in(&self.node().view, self.inode())
    }
}

impl Vfs {
    /// As [`Vfs::unix`], in some state of the share.
    pub fn unix_at<'a>(
        &'a self,
        who: &'a Credentials,
        share: &'a Share,
        at: &'a UnixView,
    ) -> Unix<'a> {
        Unix {
            at,
            ..self.unix(who, share)
        }
    }

    /// The state at an instant that an id was given out for.
    ///
    /// Errors: `Closed` where it is no longer kept.
    pub fn unix_view(&self, share: &Share, instant: Instant) -> Result<UnixView> {
        match self.view_of(share, instant) {
            Ok(view) => Ok(UnixView::Then(view)),
            Err(VfsError::Forgotten | VfsError::NotFound) => Err(VfsError::Closed),
            Err(error) => Err(error),
        }
    }
}

impl Unix<'_> {
    /// As [`Vfs::look`], in this state.
    pub fn look(&self, inode: Inode) -> Result<Look> {
        match self.at {
            UnixView::Now => self.vfs.look(inode),
            UnixView::Then(view) => self.vfs.look_in(view, inode),
            UnixView::History => self.look_at_history(inode),
        }
    }

    fn look_at_history(&self, inode: Inode) -> Result<Look> {
        let node = self.node(inode)?;
        let mut state = node.lock();
        let mut stat = crate::stat::stat_of(inode, &state.attr, None);
        // Another listing each second.
        let now = FileTime::from(self.vfs.env.now());
        (stat.modified, stat.changed) = (now, now);
        stat.attributes = stat.attributes.union(DosAttributes::DIRECTORY);
        stat.links = 1;
        let security = self.vfs.security_of(&node, &mut state)?;
        Ok(Look {
            what: NodeType::Directory,
            mode: acl::mode_of(&security) & 0o555,
            owner: security.owner.unwrap_or(crate::Sid::NULL),
            group: security.group.unwrap_or(crate::Sid::NULL),
            change: now.0,
            stat,
        })
    }

    /// As [`Vfs::descriptor`], in this state.
    pub fn descriptor(&self, inode: Inode) -> Result<Arc<acl::SecurityDescriptor>> {
        let node = self.node(inode)?;
        self.vfs.security_of(&node, &mut node.lock())
    }

    /// What a name means that leads into the past, within it, or out of it.
    pub(super) fn find_beyond(&self, directory: Inode, name: &[u8]) -> Result<Option<Found>> {
        let root = self.share.root;
        let found = |inode, view| {
            Ok(Some(Found {
                inode,
                view: Some(view),
            }))
        };
        match (self.at, name) {
            (UnixView::Then(_), b"..") if directory == root => {
                found(history::INODE, UnixView::History)
            }
            (UnixView::History, b"..") => found(root, UnixView::Now),
            (UnixView::History, name) if name != b"." => {
                let view = self.vfs.named_view(self.share, &kept(name)?)?;
                found(root, UnixView::Then(view.ok_or(VfsError::NotFound)?))
            }
            (UnixView::Now, name) if directory == root && name == history::NAME.as_bytes() => {
                let own = self
                    .vfs
                    .lookup(&View::Now, root, history::NAME, CaseMode::Exact)?;
                if own.is_some() {
                    return Ok(None);
                }
                found(history::INODE, UnixView::History)
            }
            _ => Ok(None),
        }
    }

    /// The names below `.history` behind a cookie, in the order of their cookies.
    pub(super) fn list_of_history(&self, cookie: u64) -> Result<Vec<UnixEntry>> {
        let mut entries = Vec::new();
        for (name, instant) in self.vfs.history_names(self.share)? {
            let at = cookie_of(&name);
            let view = match self.vfs.unix_view(self.share, instant) {
                Ok(view) if at > cookie => view,
                Ok(_) | Err(VfsError::Closed) => continue,
                Err(error) => return Err(error),
            };
            entries.push(UnixEntry {
                name: to_unix(&name),
                inode: self.share.root,
                view: Some(view),
                cookie: at,
            });
        }
        entries.sort_by_key(|entry| entry.cookie);
        Ok(entries)
    }

    /// Where a symbolic link leads.
    pub fn read_link(&self, inode: Inode) -> Result<Vec<u8>> {
        if self.look(inode)?.what != NodeType::Symlink {
            return Err(VfsError::NotReparsePoint);
        }
        special::target_of(&self.vfs.read_reparse(self.at.view(), inode)?)
    }
}
