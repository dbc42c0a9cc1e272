//! The store's public face.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use strongroom_device::{Env, Timestamp};
use strongroom_pool::Pool;

use crate::commit::Wanted;
use crate::data::{Change, write_cost};
use crate::engine::Engine;
use crate::open;
use crate::scrub::Scrubs;
use crate::{
    CloneRange, Compression, DataHead, Inode, Instant, JobId, Jobs, LoggedChange, ObjectId,
    PastValue, Pin, Reading, Realm, Realms, Result, Retention, ScrubStatus, SessionId, StoreError,
    StoreOptions, StoreSpace, StoreStatus, Table, Txg, Txn, View,
};

/// Rows and file data over one pool. See ARCHITECTURE.md for the meaning.
///
/// Dropping it without [`Store::close`] ends its tasks as a crash would: nothing acknowledged is lost.
#[derive(Debug)]
pub struct Store {
    engine: Arc<Engine>,
    jobs: Arc<Jobs>,
    pub(crate) scrubs: Arc<Scrubs>,
}

impl Store {
    /// Lays a new store on a blank pool. Durable on return.
    pub fn create(env: Arc<dyn Env>, pool: Arc<Pool>, options: StoreOptions) -> Result<Arc<Self>> {
        Ok(Self::start(open::create(env, pool, options)?))
    }

    /// Recovers what was acknowledged and starts the committer and the feeder.
    ///
    /// # Errors
    /// `Corrupt`, naming file and offset, when acknowledged changes are damaged on every copy of the log.
    pub fn open(env: Arc<dyn Env>, pool: Arc<Pool>, options: StoreOptions) -> Result<Arc<Self>> {
        Ok(Self::start(open::open(env, pool, options)?))
    }

    #[cfg(test)]
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    fn start(engine: Arc<Engine>) -> Arc<Self> {
        let jobs = Arc::new(Jobs::new(Arc::clone(&engine)));
        let opened = engine.durable_txg();
        let sweep = Arc::clone(&engine).run_sweep(Arc::clone(&jobs), opened);
        engine.spawn_counted("store sweep", sweep);
        engine.spawn_counted("store committer", Arc::clone(&engine).run_committer());
        engine.spawn_counted("store ticker", Arc::clone(&engine).run_ticker());
        engine.spawn_counted("store feeder", Arc::clone(&engine).run_feeder());
        engine.spawn_counted("store cleaner", Arc::clone(&engine).run_cleaner());
        let scrubs = Scrubs::new(Arc::clone(&engine), Arc::clone(&jobs));
        let scrubs = Arc::new(scrubs);
        let keeper = Arc::clone(&engine).run_keeper(Arc::clone(&scrubs));
        engine.spawn_counted("store keeper", keeper);
        engine.spawn_counted("store upkeep", Arc::clone(&engine).run_upkeep());
        // What recovery found is fed and cleaned without waiting for new changes.
        engine.wake.feeder.notify_one();
        engine.wake.cleaner.notify_one();
        Arc::new(Self {
            engine,
            jobs,
            scrubs,
        })
    }

    /// Commits, feeds the index, stops the tasks. Everything later answers `Closed`.
    pub async fn close(&self) -> Result<()> {
        if self.engine.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let result = self.finish().await;
        self.engine.stop();
        self.stopped().await;
        let sealed = self.engine.pool.close();
        result.and(sealed.map_err(StoreError::from))
    }

    async fn finish(&self) -> Result<()> {
        // What cannot be stored keeps nothing else from being as durable as it can be.
        let committed = self.engine.request(Wanted::Everything).await;
        let fed = self.engine.feed_up_to(self.engine.feedable()).await;
        let marked = self.engine.request(Wanted::Watermark).await;
        committed.and(fed).and(marked)
    }

    async fn stopped(&self) {
        loop {
            let stopped = self.engine.wake.stopped.notified();
            let mut stopped = std::pin::pin!(stopped);
            stopped.as_mut().enable();
            if self.engine.wake.running.load(Ordering::Acquire) == 0 {
                return;
            }
            stopped.await;
        }
    }

    /// The newest value of a row.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        self.at(&View::Now).get(table, key)
    }

    /// Reads a state: now's, or that of a kept instant.
    pub fn at<'a>(&'a self, view: &'a View) -> Reading<'a> {
        Reading::new(&self.engine, view)
    }

    /// The view of a realm at a kept instant, which stays whole as long as it, or a clone of it, lives.
    ///
    /// # Errors
    /// `Forgotten` when the instant is kept no longer.
    pub fn view_at(&self, realm: Realm, instant: Instant) -> Result<View> {
        self.engine.past(realm, instant).map(View::At)
    }

    /// The view just before a group inside the window in which every second is kept: for undoing what a session changed
    /// from that group on. Rows that no other session wrote before may be missing in it.
    ///
    /// # Errors
    /// `Forgotten` when the group is older than that.
    pub fn view_before(&self, txg: Txg) -> Result<View> {
        self.engine.before(txg).map(View::At)
    }

    /// Instants kept for a realm from one time to another, oldest first, the newest `limit` of them; none that may yet
    /// change.
    pub fn instants(
        &self,
        realm: Realm,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Instant>> {
        self.engine
            .kept_instants(realm, from.seconds()..=to.seconds(), limit)
    }

    /// The newest instant kept for a realm in or before the second of a time; None before the first.
    pub fn instant_at(&self, realm: Realm, time: Timestamp) -> Result<Option<Instant>> {
        self.engine.kept_instant_at(realm, time.seconds())
    }

    /// Every known value of the keys of a range, which share their first 8 bytes: by key, and of each oldest first. Stops
    /// when `limit` of them that have ended were found.
    pub fn values(
        &self,
        table: Table,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<PastValue>> {
        self.engine.values(table, start, end, limit)
    }

    /// Changes of some groups before one, newest first and of whole groups; none at the beginning of the log, which
    /// reaches as far back as every second is kept.
    pub fn changes_before(&self, before: Txg) -> Result<Vec<LoggedChange>> {
        self.engine.changes_before(before)
    }

    /// Every known value of a row, newest first, at most `limit`.
    pub fn values_of(&self, table: Table, key: &[u8], limit: usize) -> Result<Vec<PastValue>> {
        self.engine.values_of(table, key, limit)
    }

    /// When an object's data was other than it is: as [`Store::values_of`] of its head, whose content is the store's own.
    pub fn versions_of(&self, object: ObjectId, limit: usize) -> Result<Vec<PastValue>> {
        let key = crate::rows::object_key(object);
        self.engine.values_of(crate::rows::HEADS, &key, limit)
    }

    /// How the past of a realm is kept.
    pub fn retention(&self, realm: Realm) -> Result<Retention> {
        Ok(self.engine.rules()?.of(realm).retention())
    }

    /// Keeps the past of a realm by a schedule of its own from now on. What was given up before does not come back.
    pub fn set_retention(&self, realm: Realm, retention: &Retention) -> Result<()> {
        self.engine.set_retention(realm, retention)
    }

    /// Tells which rows belong to which realm. Set once, before any retention or pin is made for a realm; until then
    /// nothing is thinned where there is one.
    pub fn set_realms(&self, realms: Arc<dyn Realms>) {
        let first = self.engine.realms.set(realms).is_ok();
        assert!(first, "which realm a row belongs to is told once");
        self.engine.wake.cleaner.notify_one();
    }

    /// All pins, in the order of their instants.
    pub fn pins(&self) -> Result<Vec<Pin>> {
        Ok(self.engine.rules()?.pins.iter().copied().collect())
    }

    /// Rows with `start <= key < end` in order, at most `limit`; both share their first 8 bytes.
    pub fn scan(
        &self,
        table: Table,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        self.at(&View::Now).scan(table, start, end, limit)
    }

    /// A new id, near those of the same directory of birth; never given twice. Ids below 1024 are never allocated.
    pub fn allocate_inode(&self, near: Inode) -> Inode {
        self.engine.allocate_inode(near)
    }

    /// Begins a unit of atomicity.
    pub fn txn(&self, session: SessionId) -> Txn<'_> {
        Txn::new(&self.engine, session)
    }

    /// Waits while the overlay, the log or memory are too full. Called before a change, outside locks.
    pub async fn throttle(&self) {
        self.engine.throttle().await;
    }

    /// All namespace changes so far and the data of these objects are durable on return.
    pub async fn sync(&self, objects: &[ObjectId]) -> Result<()> {
        self.engine.not_closed()?;
        self.engine.request(Wanted::Objects(objects.to_vec())).await
    }

    /// Everything so far is durable on return.
    pub async fn sync_all(&self) -> Result<()> {
        self.engine.not_closed()?;
        self.engine.request(Wanted::Everything).await
    }

    /// The object's size, space and time; zeroes when absent.
    pub fn head(&self, object: ObjectId) -> Result<DataHead> {
        self.at(&View::Now).head(object)
    }

    /// As [`Store::head`]; None if the object was never written.
    pub fn head_if_exists(&self, object: ObjectId) -> Result<Option<DataHead>> {
        self.at(&View::Now).head_if_exists(object)
    }

    /// Whether the rows of an object say all that was done to it. A row changed after this was seen is in no earlier
    /// group than they, so that no crash undoes them and leaves it.
    pub fn is_published(&self, object: ObjectId) -> bool {
        self.engine.is_published(object)
    }

    /// Whether two objects, each in a view, hold the same bytes.
    ///
    /// # Errors
    /// `Corrupt` when bytes that must be compared cannot be had.
    pub fn same_data(&self, one: (&View, ObjectId), other: (&View, ObjectId)) -> Result<bool> {
        self.engine.same_data(one, other)
    }

    /// Heads of many objects, in their order; zeroes when absent.
    pub fn heads(&self, objects: &[ObjectId]) -> Result<Vec<DataHead>> {
        self.at(&View::Now).heads(objects)
    }

    /// Reads from `offset`; short only at the end of the data.
    ///
    /// # Errors
    /// `Corrupt` when no good copy of the bytes is left; never wrong bytes.
    pub fn read(&self, object: ObjectId, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.at(&View::Now).read(object, offset, buffer)
    }

    /// [`Store::write_compressed`] of data that is stored as it is.
    pub async fn write(
        &self,
        session: SessionId,
        object: ObjectId,
        offset: u64,
        data: &[u8],
        mtime: Option<Timestamp>,
    ) -> Result<()> {
        self.write_compressed(session, object, offset, data, mtime, Compression::Off)
            .await
    }

    /// Writes all of `data`; reserves its space first and waits while memory is too full. What of the object lies in
    /// memory yet is compressed as the last write says.
    pub async fn write_compressed(
        &self,
        session: SessionId,
        object: ObjectId,
        offset: u64,
        data: &[u8],
        mtime: Option<Timestamp>,
        compression: Compression,
    ) -> Result<()> {
        self.engine.throttle().await;
        self.engine.make_room(write_cost(data.len())).await;
        let change = Change {
            session,
            object,
            mtime,
        };
        self.engine.write(change, compression, offset, data)
    }

    /// Sets the size; growing makes a hole.
    pub async fn truncate(
        &self,
        session: SessionId,
        object: ObjectId,
        size: u64,
        mtime: Option<Timestamp>,
    ) -> Result<()> {
        self.engine.throttle().await;
        self.engine.writable()?;
        self.engine.truncate(
            Change {
                session,
                object,
                mtime,
            },
            size,
        )
    }

    /// Makes a hole; the size stays.
    pub async fn zero(
        &self,
        session: SessionId,
        object: ObjectId,
        offset: u64,
        len: u64,
        mtime: Option<Timestamp>,
    ) -> Result<()> {
        self.engine.throttle().await;
        self.engine.writable()?;
        self.engine.zero(
            Change {
                session,
                object,
                mtime,
            },
            offset,
            len,
        )
    }

    /// Makes bytes of one object bytes of another, or of a later or earlier part of itself, without moving them: both
    /// own them from then on. Goes only as far as one short step; returns how many bytes from the start that were, 0
    /// where they must be copied instead: small files that live in the index, and objects that somebody writes to.
    ///
    /// Neither object may die meanwhile.
    ///
    /// # Errors
    /// `Invalid` for a range onto itself; else as [`Store::write`].
    pub async fn clone_range(
        &self,
        session: SessionId,
        target: ObjectId,
        range: CloneRange,
        mtime: Option<Timestamp>,
    ) -> Result<u64> {
        let now = View::Now;
        self.clone_past(session, target, range, &now, mtime).await
    }

    /// As [`Store::clone_range`], of a view. What the index does not know yet must be copied.
    ///
    /// # Errors
    /// As [`Store::clone_range`].
    pub async fn clone_past(
        &self,
        session: SessionId,
        target: ObjectId,
        range: CloneRange,
        view: &View,
        mtime: Option<Timestamp>,
    ) -> Result<u64> {
        self.engine.throttle().await;
        self.engine.writable()?;
        let change = Change {
            session,
            object: target,
            mtime,
        };
        let mut cloned = Ok(0);
        self.engine
            .env
            .block_in_place(&mut || cloned = self.engine.clone_past(change, range, view));
        cloned
    }

    pub fn set_mtime(&self, session: SessionId, object: ObjectId, mtime: Timestamp) -> Result<()> {
        self.engine.writable()?;
        self.engine.set_mtime(Change {
            session,
            object,
            mtime: Some(mtime),
        })
    }

    /// The parts of `offset..offset + len` that hold data, as (offset, length), in order.
    pub fn allocated_ranges(
        &self,
        object: ObjectId,
        offset: u64,
        len: u64,
    ) -> Result<Vec<(u64, u64)>> {
        self.at(&View::Now).allocated_ranges(object, offset, len)
    }

    pub fn space(&self) -> Result<StoreSpace> {
        self.engine.space_report()
    }

    pub fn status(&self) -> StoreStatus {
        self.engine.status()
    }

    /// Compares every page of the index with its checksum on every copy, in the background, and repairs what it can. It
    /// is done once a week without being asked.
    pub fn scrub_index(&self) -> Result<JobId> {
        self.scrubs.start_index()
    }

    /// Compares everything that is stored with its checksums on every disk, in the background, and makes anew what one
    /// disk has lost. It is done once in 30 days without being asked, and goes on after a restart. One that runs already
    /// goes on.
    pub fn start_scrub(&self) -> Result<JobId> {
        self.scrubs.start()
    }

    /// Ends a running scrub; false if none runs.
    pub fn stop_scrub(&self) -> bool {
        self.scrubs.stop()
    }

    /// How the scrub stands, or how the last one ended.
    pub fn scrub_status(&self) -> ScrubStatus {
        self.scrubs.status()
    }

    /// Adds up anew what the index counts, and compares it with the pool. For a store at rest; it reads everything but
    /// file data.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<crate::Audit> {
        self.engine.audit()
    }

    /// Disks of the pool were changed: what follows from it is begun without delay.
    pub fn disks_changed(&self) {
        self.engine.wake.keeper.notify_one();
        self.engine.wake.upkeep.notify_one();
    }

    /// The one engine for long work.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The transaction group that is open now.
    pub fn last_txg(&self) -> Txg {
        self.engine.open_txg()
    }

    /// The newest transaction group that survives a crash.
    pub fn durable_txg(&self) -> Txg {
        self.engine.durable_txg()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.engine.stop();
    }
}
