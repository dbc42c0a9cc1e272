//! Feeds runs of whole transaction groups to the index, and makes history on the way.

use strongroom_device::Timestamp;
use strongroom_pool::{Address, SegmentId, Txg};

use crate::index::Index;
use crate::{Aspect, Inode, ObjectId, Result, SessionId, Table};
use bytes::Bytes;

/// One value that a key took, or its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) txg: Txg,
    pub(crate) session: SessionId,
    /// None deletes. The payload, without header.
    pub(crate) value: Option<Bytes>,
}

/// All versions of one key inside a run, oldest first. Inside one group the overlay may forget all but the last version
/// of one session, but never one of [`crate::rows::EXTENTS`]: each is a reference to count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowChain<'a> {
    pub(crate) table: Table,
    pub(crate) key: &'a [u8],
    pub(crate) versions: &'a [Version],
}

/// What a transaction group says about itself.
#[derive(Debug, Clone)]
pub(crate) struct TxgInfo<'a> {
    pub(crate) txg: Txg,
    pub(crate) time: Timestamp,
    pub(crate) changes: &'a [Change],
}

/// One line of the change log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) inode: Inode,
    pub(crate) aspect: Aspect,
    pub(crate) session: SessionId,
}

/// An object whose data died: its rows stay until the retention passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeadObject {
    pub(crate) txg: Txg,
    pub(crate) session: SessionId,
    pub(crate) object: ObjectId,
}

/// Whole transaction groups, in order, without a gap to what the index holds.
#[derive(Debug, Clone)]
pub(crate) struct Run<'a> {
    /// Sorted by table and key, each once.
    pub(crate) rows: &'a [RowChain<'a>],
    /// Every group of the run, ascending.
    pub(crate) txgs: &'a [TxgInfo<'a>],
    pub(crate) dead: &'a [DeadObject],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FeedOptions {
    /// False keeps no past.
    pub(crate) history: bool,
}

/// A stripe in which nothing is alive any more. It may be punched once every index copy holds `txg` and no snapshot
/// older than it is held; it stays listed (see [`dead_stripes`]) until [`forget_dead_stripes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeadStripe {
    pub(crate) txg: Txg,
    pub(crate) segment: SegmentId,
    pub(crate) stripe: u32,
}

/// What a run did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fed {
    /// The last group held now.
    pub(crate) last: Txg,
    /// Extents whose last reference went.
    pub(crate) freed: Vec<Address>,
    pub(crate) dead_stripes: Vec<DeadStripe>,
    pub(crate) history_rows: u64,
}

/// Feeds a run in one write of the index.
pub(crate) fn feed(index: &dyn Index, options: FeedOptions, run: &Run<'_>) -> Result<Fed> {
    let _ = (index, options, run);
    unimplemented!()
}

/// Stripes found dead and not yet punched, oldest first, at most `limit`, dead at or before `up_to`.
pub(crate) fn dead_stripes(index: &dyn Index, up_to: Txg, limit: usize) -> Result<Vec<DeadStripe>> {
    let _ = (index, up_to, limit);
    unimplemented!()
}

/// Takes punched stripes off the list.
pub(crate) fn forget_dead_stripes(index: &dyn Index, punched: &[DeadStripe]) -> Result<()> {
    let _ = (index, punched);
    unimplemented!()
}
