//! What the store's tasks and its public face share.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use strongroom_device::{Device, DeviceError, Env, Timestamp};
use strongroom_pool::{Address, EpochId, ErrorKind, ExtentTag, Lane, Pool, PoolError, SegmentId};
use tokio::sync::Notify;

use crate::commit::Requests;
use crate::compact::Plan;
use crate::data::{Entry, Load, Objects, Piece, Streams};
use crate::feed::{Change, DeadObject};
use crate::history::{self, Past};
use crate::index::{Index, Snapshot};
use crate::inodes::Inodes;
use crate::keep::Realms;
use crate::log::Log;
use crate::orphans::Orphans;
use crate::overlay::{Found, Overlay};
use crate::packing::Packer;
use crate::rows::Stored;
use crate::space::Space;
use crate::view::Holds;
use crate::{
    Instant, Key, ObjectId, Result, SessionId, StoreError, StoreOptions, Table, Txg, View,
};

/// See the module's description. Locks are taken in the order of the fields that have one: flush, gate, objects,
/// overlay; the short ones after them guard nothing but themselves.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) options: StoreOptions,
    /// Held while sealed layers are made and published.
    pub(crate) flushing: Mutex<()>,
    /// Instants of which something was cloned, held until the index has the groups that the clones are in.
    pub(crate) cloned_from: Mutex<Vec<(Txg, View)>>,
    /// Joining a group shares it, closing one excludes.
    gate: RwLock<Txg>,
    open: AtomicU64,
    pub(crate) durable: AtomicU64,
    pub(crate) objects: Objects,
    pub(crate) streams: Streams,
    pub(crate) overlay: Overlay,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) log: Log,
    pub(crate) space: Space,
    pub(crate) memory: Memory,
    pub(crate) inodes: Inodes,
    /// Closed groups that the index does not hold, oldest first.
    pub(crate) groups: Mutex<VecDeque<Group>>,
    /// When these groups, and what is being fed of them, were closed; oldest first.
    pub(crate) recent: Mutex<VecDeque<Instant>>,
    pub(crate) requests: Mutex<Requests>,
    logged: Mutex<Logged>,
    pub(crate) orphans: Mutex<Orphans>,
    pub(crate) compaction: Mutex<Plan>,
    /// Segments of which extents were moved elsewhere; where to, the index says.
    pub(crate) moved: ArcSwap<HashSet<SegmentId>>,
    /// Something may have died since compaction last looked.
    pub(crate) died: AtomicBool,
    /// How often the index had been opened anew when what is dead was counted.
    pub(crate) index_reopened: AtomicU64,
    /// Rounds of cleaning since opening.
    pub(crate) cleanings: AtomicU64,
    /// A writer waits for room: what was deleted is to be looked at soon.
    pub(crate) hungry: AtomicBool,
    /// The epoch in which all disks were seen to have ballast.
    pub(crate) ballast: Mutex<Option<EpochId>>,
    /// Bytes that compaction copied since opening.
    pub(crate) compacted: AtomicU64,
    pub(crate) packer: Packer,
    pub(crate) wake: Wake,
    failure: RwLock<Option<String>>,
    pub(crate) closed: AtomicBool,
    /// Told to the tasks: end.
    stop: AtomicBool,
    /// The last commit has no watermark after it.
    pub(crate) unmarked: AtomicBool,
    pub(crate) fed_rows: AtomicU64,
    /// Stripes given back since opening.
    pub(crate) punched: AtomicU64,
    pub(crate) holds: Arc<Holds>,
    /// Which part of the file system a row belongs to; set by those above.
    pub(crate) realms: OnceLock<Arc<dyn Realms>>,
    /// Held while a retention changes.
    pub(crate) keeping: Mutex<()>,
    pub(crate) last_thinning: Mutex<Option<Duration>>,
    last_time: AtomicU64,
    pub(crate) log_repairs: u64,
    /// The epoch of this opening; segments of earlier ones are as they will ever be.
    pub(crate) opened_sequence: u64,
    /// The last group that was there when the store was opened.
    pub(crate) opened_txg: Txg,
    /// Held for a moment by the feeder when it writes to the index, and by cleaning.
    pub(crate) feeding: Mutex<()>,
}

/// Waits of 25 ms that a change takes at most while the disks are full.
const FULL_ROUNDS: u32 = 40;

/// A row's key and value.
pub(crate) type RowPair = (Bytes, Bytes);

/// Rows in order, and the snapshot that keeps what they name in place.
pub(crate) type PinnedRows = (Vec<RowPair>, Arc<dyn Snapshot>);

/// Who is woken by what.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    pub(crate) dirty: AtomicBool,
    pub(crate) ticker: Notify,
    /// Do not wait for the interval to pass.
    pub(crate) hurry: Notify,
    pub(crate) committer: Notify,
    pub(crate) feeder: Notify,
    pub(crate) cleaner: Notify,
    pub(crate) keeper: Notify,
    pub(crate) upkeep: Notify,
    /// The index took a run.
    pub(crate) fed: Notify,
    /// Tasks that still run.
    pub(crate) running: AtomicUsize,
    pub(crate) stopped: Notify,
}

/// Changes of file data that lie in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    dirty: AtomicUsize,
    space: AtomicUsize,
}

impl Memory {
    pub(crate) fn change(&self, before: Load, now: Load) {
        let change = |count: &AtomicUsize, before: usize, now: usize| {
            if now >= before {
                count.fetch_add(now - before, Ordering::Relaxed);
            } else {
                count.fetch_sub(before - now, Ordering::Relaxed);
            }
        };
        change(&self.dirty, before.memory, now.memory);
        change(&self.space, before.space, now.space);
    }

    /// Bytes of memory that they take.
    pub(crate) fn dirty(&self) -> usize {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Bytes that they will take in segments.
    pub(crate) fn waiting(&self) -> u64 {
        self.space.load(Ordering::Relaxed) as u64
    }
}

/// A closed group on its way to the index.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) txg: Txg,
    pub(crate) time: Timestamp,
    pub(crate) rows: usize,
    pub(crate) changes: Vec<Change>,
    pub(crate) dead: Vec<DeadObject>,
}

/// Payload that only the log holds: the index must not outrun it.
#[derive(Debug, Default)]
struct Logged {
    /// (First group that carries bytes of the object, object).
    waiting: BTreeSet<(Txg, ObjectId)>,
    /// Over once the group is durable.
    ends: Vec<(Txg, (Txg, ObjectId))>,
}

/// What an engine is made of.
pub(crate) struct Parts {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) options: StoreOptions,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) log: Log,
    pub(crate) last_txg: Txg,
    pub(crate) last_time: Timestamp,
    pub(crate) log_repairs: u64,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Self {
        let space = Space::new();
        let epoch = parts.pool.last_epoch();
        let opened_txg = parts.last_txg;
        let opened_sequence = epoch.map_or(0, |epoch| u64::from(epoch.sequence));
        Self {
            space,
            env: parts.env,
            pool: parts.pool,
            options: parts.options,
            flushing: Mutex::default(),
            cloned_from: Mutex::default(),
            gate: RwLock::new(Txg(parts.last_txg.0 + 1)),
            open: AtomicU64::new(parts.last_txg.0 + 1),
            durable: AtomicU64::new(parts.last_txg.0),
            objects: Objects::new(),
            streams: Streams::new(),
            overlay: Overlay::new(),
            index: parts.index,
            log: parts.log,
            memory: Memory::default(),
            inodes: Inodes::new(),
            groups: Mutex::default(),
            recent: Mutex::default(),
            requests: Mutex::default(),
            logged: Mutex::default(),
            orphans: Mutex::default(),
            compaction: Mutex::default(),
            moved: ArcSwap::default(),
            died: AtomicBool::new(true),
            index_reopened: AtomicU64::new(0),
            cleanings: AtomicU64::new(0),
            hungry: AtomicBool::new(false),
            ballast: Mutex::default(),
            compacted: AtomicU64::new(0),
            packer: Packer::default(),
            wake: Wake::default(),
            failure: RwLock::default(),
            closed: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            unmarked: AtomicBool::new(false),
            fed_rows: AtomicU64::new(0),
            punched: AtomicU64::new(0),
            holds: Arc::default(),
            realms: OnceLock::new(),
            keeping: Mutex::default(),
            last_thinning: Mutex::default(),
            last_time: AtomicU64::new(parts.last_time.0),
            log_repairs: parts.log_repairs,
            opened_sequence,
            opened_txg,
            feeding: Mutex::default(),
        }
    }

    /// The group that changes join now.
    pub(crate) fn open_txg(&self) -> Txg {
        Txg(self.open.load(Ordering::Acquire))
    }

    pub(crate) fn durable_txg(&self) -> Txg {
        Txg(self.durable.load(Ordering::Acquire))
    }

    /// Joins the open group: it does not close while the guard lives.
    pub(crate) fn join(&self) -> RwLockReadGuard<'_, Txg> {
        self.gate.read()
    }

    /// Closes the open group and opens the next one. Returns it with what its shards gathered, or None if that is
    /// nothing.
    pub(crate) fn close_group(&self) -> Option<(Txg, Timestamp, Vec<Vec<u8>>)> {
        let mut gate = self.gate.write();
        let parts = self.overlay.take_open();
        if parts.is_empty() {
            return None;
        }
        let txg = *gate;
        *gate = Txg(txg.0 + 1);
        self.open.store(gate.0, Ordering::Release);
        drop(gate);
        let time = self.group_time();
        let mut group = Group {
            txg,
            time,
            rows: 0,
            changes: Vec::new(),
            dead: Vec::new(),
        };
        let mut body = Vec::with_capacity(parts.len());
        for mut part in parts {
            group.rows += part.rows;
            group.changes.append(&mut part.changes);
            group.dead.append(&mut part.dead);
            body.push(part.record);
        }
        self.add_group(group);
        Some((txg, time, body))
    }

    /// A closed group waits for the index.
    pub(crate) fn add_group(&self, group: Group) {
        self.recent.lock().push_back(Instant {
            txg: group.txg,
            time: group.time,
        });
        self.groups.lock().push_back(group);
    }

    /// The time of a group never runs backwards.
    pub(crate) fn group_time(&self) -> Timestamp {
        let now = self.env.now().0;
        Timestamp(self.last_time.fetch_max(now, Ordering::AcqRel).max(now))
    }

    /// Says that there is something to commit.
    pub(crate) fn mark_dirty(&self) {
        if !self.wake.dirty.load(Ordering::Relaxed) && !self.wake.dirty.swap(true, Ordering::AcqRel)
        {
            self.wake.ticker.notify_one();
        }
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        self.get_in(&View::Now, table, key)
    }

    /// What a row holds in a view.
    pub(crate) fn get_in(&self, view: &View, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        match self.overlay.get(view, table, key) {
            Found::Value(value) => Ok(Some(value)),
            Found::Deleted => Ok(None),
            // Taken after the overlay was asked: what it forgot, this snapshot shows.
            Found::Unknown => self.indexed(view, table, key),
        }
    }

    fn indexed(&self, view: &View, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        let snapshot = self.index.snapshot();
        let View::At(past) = view else {
            let stored = crate::index::get_row(&*snapshot, table, key)?;
            return Ok(stored.map(|stored| stored.payload));
        };
        history::get_at(&*snapshot, table, key, past.instant().txg)?.payload()
    }

    /// A range of rows of now, and the snapshot that keeps what they name in place.
    pub(crate) fn scan_pinned(
        &self,
        table: Table,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<PinnedRows> {
        self.scan_in(&View::Now, table, start, end, limit)
    }

    /// A range of rows in a view, and the snapshot that keeps what they name in place.
    pub(crate) fn scan_in(
        &self,
        view: &View,
        table: Table,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<PinnedRows> {
        let pin = || self.index.snapshot();
        let (newer, snapshot) = self.overlay.range(view, table, (start, end), limit, pin);
        let mut merge = Merge {
            newer: newer.into_iter().peekable(),
            rows: Vec::new(),
            limit,
        };
        if limit == 0 || start >= end {
            return Ok((merge.rows, snapshot));
        }
        match view {
            View::Now => snapshot.scan(table, start, Some(end), &mut |key, value| {
                merge.indexed(key, || {
                    Ok(Stored::decode(Bytes::copy_from_slice(value))?.payload)
                })
            })?,
            View::At(past) => {
                let at = past.instant().txg;
                let mut visit = |key: &[u8], past: Past| {
                    merge.indexed(key, || Ok(past.payload()?.unwrap_or_default()))
                };
                history::scan_at(&*snapshot, table, (start, end), at, &mut visit)?;
            }
        }
        merge.rest();
        Ok((merge.rows, snapshot))
    }

    /// One row of the store itself, in the open group.
    pub(crate) fn put_row(&self, table: Table, key: impl Into<Key>, value: Option<Bytes>) {
        let key = key.into();
        let txg = self.join();
        self.overlay
            .lock(key.inode())
            .put(*txg, SessionId::SYSTEM, table, key, value);
        drop(txg);
        self.mark_dirty();
    }

    /// Appends extents as one stripe.
    pub(crate) fn append(
        &self,
        lane: Lane,
        extents: &[(ExtentTag, &[&[u8]])],
    ) -> Result<Vec<Address>> {
        if let Some(why) = self.failure() {
            return Err(StoreError::Offline { why });
        }
        let addresses = self.pool.append(lane, self.open_txg(), extents);
        let addresses = addresses.map_err(|error| self.pool_failed(error))?;
        let payload: u64 = extents
            .iter()
            .map(|(tag, _)| u64::from(tag.len).next_multiple_of(4096))
            .sum();
        self.space.consumed(payload + 4096);
        Ok(addresses)
    }

    pub(crate) fn sync_segments(&self, segments: &[SegmentId]) -> Result<()> {
        if segments.is_empty() || self.options.planted.skip_segment_sync {
            return Ok(());
        }
        self.pool
            .sync_segments(segments)
            .map_err(|error| self.pool_failed(error))
    }

    /// Writing stops where the pool's has.
    pub(crate) fn stop_with_pool(&self) -> Result<()> {
        // With nothing to sync this says whether the pool takes writes.
        let taken = self.pool.sync_segments(&[]);
        taken.map_err(|error| self.pool_failed(error))
    }

    /// The pool sets failed disks aside by itself while others are left; what comes up here is the end of writing.
    fn pool_failed(&self, error: PoolError) -> StoreError {
        match error.kind() {
            ErrorKind::NoSpace => StoreError::NoSpace,
            ErrorKind::Offline => self.fail(error.to_string()),
            ErrorKind::Corrupt | ErrorKind::Refused | ErrorKind::Invalid => error.into(),
        }
    }

    /// Writing stops for good; reading goes on.
    pub(crate) fn fail(&self, why: String) -> StoreError {
        let mut failure = self.failure.write();
        let why = failure.get_or_insert_with(|| {
            tracing::error!(%why, "the store takes no more writes");
            why
        });
        StoreError::Offline { why: why.clone() }
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.read().clone()
    }

    /// Err when nothing may be written any more.
    pub(crate) fn writable(&self) -> Result<()> {
        if let Some(why) = self.failure.read().as_ref() {
            return Err(StoreError::Offline { why: why.clone() });
        }
        self.not_closed()
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Sleeps until `duration` has passed or `wake` was called.
    pub(crate) async fn nap(&self, duration: Duration, wake: &Notify) {
        let mut asleep = self.env.sleep(duration);
        let mut woken = pin!(wake.notified());
        poll_fn(|context| {
            let over =
                asleep.as_mut().poll(context).is_ready() || woken.as_mut().poll(context).is_ready();
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Starts a task that [`crate::Store::close`] waits for. One that panics ends writing: what it was to do nobody does.
    pub(crate) fn spawn_counted(
        self: &Arc<Self>,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.wake.running.fetch_add(1, Ordering::AcqRel);
        let counted = Counted(Arc::clone(self));
        let task = async move {
            if caught(task).await.is_err() {
                counted.0.fail(format!("the task \"{name}\" panicked"));
                counted.0.end_requests();
            }
            drop(counted);
        };
        self.env.spawn(name, Box::pin(task));
    }

    /// Ends the tasks; what they have begun they finish.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        let wake = &self.wake;
        for wake in [
            &wake.ticker,
            &wake.hurry,
            &wake.committer,
            &wake.feeder,
            &wake.cleaner,
            &wake.keeper,
            &wake.upkeep,
            &wake.fed,
        ] {
            wake.notify_one();
        }
    }

    pub(crate) fn not_closed(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            Err(StoreError::Closed)
        } else {
            Ok(())
        }
    }

    /// The index lost a disk. False when no copy is left to write on.
    pub(crate) fn device_failed(
        pool: &Pool,
        device: &Arc<dyn Device>,
        error: &DeviceError,
    ) -> bool {
        tracing::error!(device = device.name(), %error, "an index copy failed");
        pool.set_aside(device, error).is_ok()
    }

    pub(crate) fn logged_begins(&self, txg: Txg, object: ObjectId) {
        self.logged.lock().waiting.insert((txg, object));
    }

    /// The payload that the log carries since `since` is not needed once `txg` is durable.
    pub(crate) fn logged_ends(&self, txg: Txg, since: Txg, object: ObjectId) {
        self.logged.lock().ends.push((txg, (since, object)));
    }

    /// Forgets payload that a durable group has moved.
    pub(crate) fn logged_durable(&self, durable: Txg) {
        let mut logged = self.logged.lock();
        let Logged { waiting, ends } = &mut *logged;
        ends.retain(|(txg, entry)| {
            if *txg <= durable {
                waiting.remove(entry);
            }
            *txg > durable
        });
    }

    /// The last group that the index may hold without outrunning payload that only the log has.
    pub(crate) fn feedable(&self) -> Txg {
        let first = self.logged.lock().waiting.first().map(|(txg, _)| txg.0 - 1);
        Txg(first
            .unwrap_or(u64::MAX)
            .min(self.durable.load(Ordering::Acquire)))
    }

    /// Bytes of extents that no row names yet, nor ever will.
    pub(crate) fn orphan(&self, dropped: &[(u64, Entry)]) {
        for (start, entry) in dropped {
            self.orphan_piece(&entry.piece, entry.end - start);
        }
    }

    pub(crate) fn orphan_piece(&self, piece: &Piece, len: u64) {
        if let Piece::Extent {
            address,
            whole,
            packing,
            ..
        } = piece
        {
            let stored = packing.map_or(*whole, |packing| packing.stored);
            let whole = u64::from(*whole);
            let mut orphans = self.orphans.lock();
            orphans.drop_bytes(*address, (len, whole), u64::from(stored));
        }
    }

    /// Waits while memory or the log are too full, the longer the fuller.
    pub(crate) async fn throttle(&self) {
        for round in 0_u32.. {
            // Who waits for room for file data while the disks are full would wait for ever. Rows find room in the log
            // and the index even then; if they do not, only a change that deletes may help, so it gets through in time.
            let full = self.space.available(0) < 0;
            let level = if full { self.row_level() } else { self.level() };
            let patience_over = full && round >= FULL_ROUNDS;
            if level < 500 || patience_over || self.writable().is_err() {
                return;
            }
            self.wake.feeder.notify_one();
            self.wake.hurry.notify_one();
            let over = level - 500;
            // From nothing at half full to 25 ms at the brim, by the square.
            let delay = Duration::from_micros(over * over / 10);
            self.env.sleep(delay.min(Duration::from_millis(25))).await;
            if level < 1000 {
                return;
            }
        }
    }

    /// How full the fullest of overlay, memory and log is, in thousandths.
    pub(crate) fn level(&self) -> u64 {
        let dirty = share(
            self.memory.dirty() as u64,
            self.options.dirty_bytes_max as u64,
        );
        dirty.max(self.row_level())
    }

    /// How full the fuller of overlay and log is, in thousandths.
    fn row_level(&self) -> u64 {
        let (log, log_max) = self.log.usage();
        let rows = share(
            self.overlay.rows() as u64,
            self.options.overlay_rows_max as u64,
        );
        let bytes = share(
            self.overlay.bytes() as u64,
            self.options.overlay_bytes_max as u64,
        );
        rows.max(bytes).max(share(log, log_max))
    }
}

/// A task that is counted for as long as it lives, however it ends.
struct Counted(Arc<Engine>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.wake.running.fetch_sub(1, Ordering::AcqRel);
        self.0.wake.stopped.notify_waiters();
    }
}

/// Runs a task to its end or its panic.
async fn caught(task: impl Future<Output = ()>) -> std::thread::Result<()> {
    let mut task = pin!(task);
    poll_fn(|context| {
        let poll = AssertUnwindSafe(|| task.as_mut().poll(context));
        match catch_unwind(poll) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// A part of the whole, in thousandths.
fn share(now: u64, max: u64) -> u64 {
    now.saturating_mul(1000) / max.max(1)
}

/// Merges the overlay's rows with the index's.
struct Merge {
    newer: std::iter::Peekable<std::vec::IntoIter<(Key, Option<Bytes>)>>,
    rows: Vec<RowPair>,
    limit: usize,
}

impl Merge {
    /// Takes the next row of the index, whose value is asked for if it counts; false when there are enough.
    fn indexed(&mut self, key: &[u8], value: impl FnOnce() -> Result<Bytes>) -> Result<bool> {
        while self.rows.len() < self.limit {
            let Some((newer, _)) = self.newer.peek() else {
                break;
            };
            if newer[..] > *key {
                break;
            }
            let replaces = newer[..] == *key;
            self.take_newer();
            if replaces {
                return Ok(self.rows.len() < self.limit);
            }
        }
        if self.rows.len() < self.limit {
            self.rows.push((Bytes::copy_from_slice(key), value()?));
        }
        Ok(self.rows.len() < self.limit)
    }

    fn take_newer(&mut self) {
        if let Some((key, Some(value))) = self.newer.next() {
            self.rows.push((Bytes::copy_from_slice(&key), value));
        }
    }

    fn rest(&mut self) {
        while self.rows.len() < self.limit && self.newer.peek().is_some() {
            self.take_newer();
        }
    }
}
