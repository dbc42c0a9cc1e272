//! The index as one redb tree.

use std::sync::Arc;

use bytes::Bytes;
use strongroom_pool::Txg;

use super::{FailureHook, Index, IndexStatus, PageHome, Snapshot, WriteTxn};
use crate::{Result, Table};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexOptions {
    /// Memory for pages, in bytes.
    pub(crate) cache: usize,
    /// Threads that prefetch before a large group; 0 for none (a simulation must have none).
    pub(crate) readers: usize,
}

#[derive(Debug)]
pub(crate) struct RedbIndex {}

impl RedbIndex {
    /// Makes an empty index on blank homes. Durable on return.
    pub(crate) fn create(homes: Vec<PageHome>, failed: FailureHook, options: IndexOptions) -> Result<Arc<Self>> {
        let _ = (homes, failed, options);
        unimplemented!()
    }

    /// Opens what is there; a missing or older copy is made anew from the best.
    pub(crate) fn open(homes: Vec<PageHome>, failed: FailureHook, options: IndexOptions) -> Result<Arc<Self>> {
        let _ = (homes, failed, options);
        unimplemented!()
    }
}

impl Index for RedbIndex {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        unimplemented!()
    }

    fn write(&self, _change: &mut dyn FnMut(&mut dyn WriteTxn) -> Result<()>) -> Result<()> {
        unimplemented!()
    }

    fn last_txg(&self) -> Txg {
        unimplemented!()
    }

    fn oldest_pinned(&self) -> Txg {
        unimplemented!()
    }

    fn prefetch(&self, _keys: &[(Table, &[u8])]) {
        unimplemented!()
    }

    fn scrub(&self) -> Result<()> {
        unimplemented!()
    }

    fn status(&self) -> IndexStatus {
        unimplemented!()
    }
}
