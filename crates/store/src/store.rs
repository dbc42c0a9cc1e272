//! The store's public face.

use std::sync::Arc;

use bytes::Bytes;
use strongroom_device::{Env, Timestamp};
use strongroom_pool::Pool;

use crate::{
    DataHead, Inode, Jobs, ObjectId, Result, SessionId, StoreOptions, StoreSpace, StoreStatus,
    Table, Txg, Txn,
};

/// Rows and file data over one pool. See ARCHITECTURE.md for the meaning.
#[derive(Debug)]
pub struct Store {
    jobs: Jobs,
}

#[expect(clippy::unused_async, reason = "signatures first")]
impl Store {
    /// Lays a new store on a blank pool.
    pub fn create(
        _env: Arc<dyn Env>,
        _pool: Arc<Pool>,
        _options: StoreOptions,
    ) -> Result<Arc<Self>> {
        unimplemented!()
    }

    /// Recovers what was acknowledged and starts the committer and the feeder.
    pub fn open(
        _env: Arc<dyn Env>,
        _pool: Arc<Pool>,
        _options: StoreOptions,
    ) -> Result<Arc<Self>> {
        unimplemented!()
    }

    /// Commits, feeds the index, stops the tasks. Everything later answers `Closed`.
    pub async fn close(&self) -> Result<()> {
        unimplemented!()
    }

    /// The newest value of a row.
    pub fn get(&self, _table: Table, _key: &[u8]) -> Result<Option<Bytes>> {
        unimplemented!()
    }

    /// Rows with `start <= key < end` in order, at most `limit`; both share their first 8 bytes.
    pub fn scan(
        &self,
        _table: Table,
        _start: &[u8],
        _end: &[u8],
        _limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        unimplemented!()
    }

    /// A new id, near those of the same directory of birth; never given twice.
    pub fn allocate_inode(&self, _near: Inode) -> Inode {
        unimplemented!()
    }

    /// Begins a unit of atomicity.
    pub fn txn(&self, session: SessionId) -> Txn<'_> {
        Txn { store: self, session }
    }

    /// Waits while the overlay or the log are too full. Called before a change, outside locks.
    pub async fn throttle(&self) {
        unimplemented!()
    }

    /// All namespace changes so far and the data of these objects are durable on return.
    pub async fn sync(&self, _objects: &[ObjectId]) -> Result<()> {
        unimplemented!()
    }

    /// Everything so far is durable on return.
    pub async fn sync_all(&self) -> Result<()> {
        unimplemented!()
    }

    /// The object's size, space and time; zeroes when absent.
    pub fn head(&self, _object: ObjectId) -> Result<DataHead> {
        unimplemented!()
    }

    pub fn head_if_exists(&self, _object: ObjectId) -> Result<Option<DataHead>> {
        unimplemented!()
    }

    /// Heads of many objects, in their order; zeroes when absent. For listings: ascending
    /// inodes are looked up together.
    pub fn heads(&self, _objects: &[ObjectId]) -> Result<Vec<DataHead>> {
        unimplemented!()
    }

    /// Reads from `offset`; short only at the end of the data.
    pub fn read(&self, _object: ObjectId, _offset: u64, _buffer: &mut [u8]) -> Result<usize> {
        unimplemented!()
    }

    /// Writes all of `data`; reserves its space first and waits while memory is too full.
    pub async fn write(
        &self,
        _session: SessionId,
        _object: ObjectId,
        _offset: u64,
        _data: &[u8],
        _mtime: Option<Timestamp>,
    ) -> Result<()> {
        unimplemented!()
    }

    /// Sets the size; growing makes a hole.
    pub async fn truncate(
        &self,
        _session: SessionId,
        _object: ObjectId,
        _size: u64,
        _mtime: Option<Timestamp>,
    ) -> Result<()> {
        unimplemented!()
    }

    /// Makes a hole; the size stays.
    pub async fn zero(
        &self,
        _session: SessionId,
        _object: ObjectId,
        _offset: u64,
        _len: u64,
        _mtime: Option<Timestamp>,
    ) -> Result<()> {
        unimplemented!()
    }

    pub fn set_mtime(
        &self,
        _session: SessionId,
        _object: ObjectId,
        _mtime: Timestamp,
    ) -> Result<()> {
        unimplemented!()
    }

    /// The parts of `offset..offset + len` that hold data, as (offset, length), in order.
    pub fn allocated_ranges(
        &self,
        _object: ObjectId,
        _offset: u64,
        _len: u64,
    ) -> Result<Vec<(u64, u64)>> {
        unimplemented!()
    }

    pub fn space(&self) -> Result<StoreSpace> {
        unimplemented!()
    }

    pub fn status(&self) -> StoreStatus {
        unimplemented!()
    }

    /// The one engine for long work.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The transaction group that is open now.
    pub fn last_txg(&self) -> Txg {
        unimplemented!()
    }

    /// The newest transaction group that survives a crash.
    pub fn durable_txg(&self) -> Txg {
        unimplemented!()
    }
}
