//! Where rows are looked up once they are durable in the log: a narrow trait, and the engines behind it.
//!
//! The index is disposable: it holds whole transaction groups up to [`Index::last_txg`], and the log holds the rest.
//! One writer at a time; readers work on snapshots and wait for nobody.

#[cfg(test)]
mod memory;
mod pages;
mod tree;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use strongroom_pool::Txg;

use crate::rows::Stored;
use crate::{Result, Table};

#[cfg(test)]
pub(crate) use memory::MemoryIndex;
pub(crate) use pages::{FailureHook, PageHome, PageStatus};
pub(crate) use tree::{IndexOptions, RedbIndex};

/// Is shown a row's key and value; false ends the scan.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<bool>;

/// A key and its value.
pub(crate) type Row = (Bytes, Bytes);

/// Rows by (table, key), fed whole transaction groups.
pub(crate) trait Index: Send + Sync + Debug {
    /// The newest state. It stays readable, and what it names stays in place, while it is held.
    fn snapshot(&self) -> Arc<dyn Snapshot>;
    /// Runs `change` in one atomic write; nothing of it stays when it fails. A change may be run a second time from the
    /// start when the engine had to be opened anew, so it must not keep state between calls.
    ///
    /// # Errors
    /// What `change` returned, or [`crate::StoreError::Corrupt`] when a page is unreadable on every copy.
    fn write(&self, change: &mut dyn FnMut(&mut dyn WriteTxn) -> Result<()>) -> Result<()>;
    /// The last transaction group held; 0 when nothing was ever fed.
    fn last_txg(&self) -> Txg;
    /// The oldest snapshot that is held, or the newest. What is in use by it must stay in place.
    fn oldest_held(&self) -> Arc<dyn Snapshot>;
    /// Brings the leaves of these keys (sorted) into the cache, in parallel, where that pays.
    fn prefetch(&self, keys: &[(Table, &[u8])]);
    /// Lets the copies lie at these homes: others are left out, missing ones are made anew while reading and writing go
    /// on.
    ///
    /// # Errors
    /// A new copy found no space; no copy in service lies at any of the homes.
    fn rehome(&self, homes: Vec<PageHome>) -> Result<()>;
    /// Compares pages with their checksums on every copy and repairs what it can. Returns how many pages there are.
    fn scrub(&self, pages: Range<u64>) -> Result<u64>;
    fn status(&self) -> IndexStatus;
}

/// A state of the index that does not change while it is held.
pub(crate) trait Snapshot: Send + Sync + Debug {
    fn last_txg(&self) -> Txg;
    /// The stored value with its header.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>>;
    /// Shows rows with `start <= key` and, if given, `key < end`, in order, until `visit` returns false.
    fn scan(&self, table: Table, start: &[u8], end: Option<&[u8]>, visit: Visit<'_>) -> Result<()>;
    /// The last row of a table, or the last before a key.
    fn last_row(&self, table: Table, before: Option<&[u8]>) -> Result<Option<Row>>;
}

/// The present inside one write.
pub(crate) trait WriteTxn {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Bytes>>;
    /// Writes a row; the replaced value goes to `old`. True if there was one.
    fn insert(&mut self, table: Table, key: &[u8], value: &[u8], old: &mut Vec<u8>)
    -> Result<bool>;
    /// Removes a row; its value goes to `old`. True if there was one.
    fn remove(&mut self, table: Table, key: &[u8], old: &mut Vec<u8>) -> Result<bool>;
    fn scan(
        &mut self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        visit: Visit<'_>,
    ) -> Result<()>;
    /// The last row of a table, or the last before a key.
    fn last_row(&mut self, table: Table, before: Option<&[u8]>) -> Result<Option<Row>>;
    /// The last transaction group held before this write.
    fn last_txg(&self) -> Txg;
    /// Says which group the index holds once this write is done.
    fn set_last_txg(&mut self, txg: Txg) -> Result<()>;
}

/// What the engine is doing.
#[derive(Debug, Clone, Default)]
pub(crate) struct IndexStatus {
    /// Bytes that the index takes on one copy.
    pub(crate) bytes: u64,
    /// Times the engine was opened anew after an unreadable page.
    pub(crate) reopened: u64,
    pub(crate) pages: PageStatus,
}

/// A row with its header taken off.
pub(crate) fn get_row(snapshot: &dyn Snapshot, table: Table, key: &[u8]) -> Result<Option<Stored>> {
    snapshot.get(table, key)?.map(Stored::decode).transpose()
}
