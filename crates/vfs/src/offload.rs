//! Copies of what a file held at an instant (MS-FSA 2.1.5.10.18 and 2.1.5.10.19): whoever reads takes the instant's number
//! along, and it is worth something as long as the data does not change. So nothing is kept for it.

use std::sync::atomic::Ordering::SeqCst;

use strongroom_store::Inode;

use crate::data::require_data;
use crate::locks::LockOwner;
use crate::node::Node;
use crate::types::ShareId;
use crate::{AccessMask, Credentials, Handle, Result, Vfs, VfsError};

/// The data of a file as it was when somebody asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DataInstant {
    pub share: ShareId,
    pub inode: Inode,
    /// No other instant of any file has it while the server runs.
    pub number: u64,
    /// The file's size.
    pub size: u64,
}

/// What came of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum InstantCopy {
    Copied,
    /// The data is another by now, or the file is gone. The target may hold a part of either.
    Over,
}

impl Node {
    /// The data changes now, or has changed.
    pub(crate) fn end_instant(&self) {
        self.instant.store(0, SeqCst);
    }

    fn is_at(&self, number: u64) -> bool {
        number != 0 && self.instant.load(SeqCst) == number
    }

    /// The number of this instant; `next` gives one where it has none yet.
    fn instant(&self, next: impl FnOnce() -> u64) -> u64 {
        let new = next();
        match self.instant.compare_exchange(0, new, SeqCst, SeqCst) {
            Ok(_) => new,
            Err(present) => present,
        }
    }
}

impl Vfs {
    /// This instant of a file's data, of which `len` bytes from `offset` on are to be copied later.
    ///
    /// Errors: those of reading; `NotSupported` for a stream and for what is not the present.
    pub fn data_instant(&self, handle: &Handle, offset: u64, len: u64) -> Result<DataInstant> {
        require_data(handle)?;
        handle.require_any(AccessMask::READ_DATA | AccessMask::EXECUTE)?;
        if handle.stream != 0 || !handle.view().is_now() || handle.node.is_history() {
            return Err(VfsError::NotSupported);
        }
        let (node, owner) = (&handle.node, LockOwner::default());
        node.locks.check_io(handle, owner, offset, len, false)?;
        // Opens and instants are counted together.
        let number = node.instant(|| self.new_handle_id().0);
        Ok(DataInstant {
            share: handle.share,
            inode: node.inode,
            number,
            size: self.store.head(handle.object())?.size,
        })
    }

    /// Copies `len` bytes of what a file held at an instant, as [`Vfs::copy_range`] does. Whoever shows the instant was
    /// allowed to read the file then.
    ///
    /// Errors: those of [`Vfs::copy_range`].
    pub async fn copy_instant(
        &self,
        credentials: &Credentials,
        source: DataInstant,
        from: u64,
        target: &Handle,
        to: u64,
        len: u64,
    ) -> Result<InstantCopy> {
        let (Some(share), Some(node)) = (
            self.share_by_id(source.share),
            self.nodes.peek(source.inode),
        ) else {
            return Ok(InstantCopy::Over);
        };
        if !node.is_at(source.number) {
            return Ok(InstantCopy::Over);
        }
        if node.inode == target.node.inode {
            // The copy itself would end the instant.
            return Err(VfsError::NotSupported);
        }
        let handle = match self.hold(credentials, &share, &node, AccessMask::READ_DATA) {
            Err(VfsError::Closed) => return Ok(InstantCopy::Over),
            held => held?,
        };
        let copied = self.copy_range(&handle, from, target, to, len).await;
        self.close(&handle).await?;
        // Asked last: a change that began meanwhile has taken the number away.
        if !node.is_at(source.number) {
            return Ok(InstantCopy::Over);
        }
        copied.map(|()| InstantCopy::Copied)
    }
}
