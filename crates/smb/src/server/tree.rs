//! One tree connect of a session (MS-SMB2 3.3.1.9).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strongroom_vfs::{AccessMask, Share, Vfs};

use super::who::Who;
use crate::wire::TreeId;

#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) id: TreeId,
    pub(crate) root: Root,
    /// No open in this tree gets more.
    pub(crate) maximal_access: AccessMask,
    /// Unencrypted requests are refused.
    pub(crate) encrypt: bool,
    ended: AtomicBool,
}

/// What a tree connect leads to.
#[derive(Debug)]
pub(crate) enum Root {
    Share(Arc<Share>),
    /// `IPC$`.
    Pipes,
}

impl Tree {
    pub(crate) fn new(id: TreeId, root: Root, maximal_access: AccessMask, encrypt: bool) -> Self {
        Self {
            id,
            root,
            maximal_access,
            encrypt,
            ended: AtomicBool::new(false),
        }
    }

    /// Whether it could be connected to now, as far as share and user are concerned.
    pub(crate) fn admits(&self, vfs: &Vfs, who: &Who) -> bool {
        match &self.root {
            Root::Pipes => true,
            Root::Share(share) => {
                let offered = vfs.share(&share.name).is_some_and(|now| now.id == share.id);
                offered && (who.anonymous || vfs.may_enter(share, &who.credentials))
            }
        }
    }

    /// No open is entered any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
