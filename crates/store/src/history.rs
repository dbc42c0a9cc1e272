//! The past, read at the index: what a key held at a transaction group.

use bytes::Bytes;
use strongroom_device::Timestamp;
use strongroom_pool::Txg;

use crate::index::Snapshot;
use crate::rows::Stored;
use crate::{Result, Table};

/// The value that `key` had once group `at` was done. Exact at kept instants.
pub(crate) fn get_at(snapshot: &dyn Snapshot, table: Table, key: &[u8], at: Txg) -> Result<Option<Stored>> {
    let _ = (snapshot, table, key, at);
    unimplemented!()
}

/// Rows with `start <= key < end` as they were once group `at` was done, in order, at most `limit`.
pub(crate) fn scan_at(
    snapshot: &dyn Snapshot,
    table: Table,
    start: &[u8],
    end: &[u8],
    at: Txg,
    limit: usize,
) -> Result<Vec<(Bytes, Stored)>> {
    let _ = (snapshot, table, start, end, at, limit);
    unimplemented!()
}

/// The last kept instant at or before `time`; None before the first.
pub(crate) fn instant_at(snapshot: &dyn Snapshot, time: Timestamp) -> Result<Option<(Timestamp, Txg)>> {
    let _ = (snapshot, time);
    unimplemented!()
}

/// The oldest instant that can be gone back to.
pub(crate) fn horizon(snapshot: &dyn Snapshot) -> Result<Option<Timestamp>> {
    let _ = snapshot;
    unimplemented!()
}
