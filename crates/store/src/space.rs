//! What may still be written.
//!
//! Bytes are counted before mirroring and parity, as the layout leaves them. Every disk keeps room for what log and index
//! may yet take of it, and for deletions; what is free beside that is *spare*. A tenth of the pool is *slack*: clients
//! never fill it with what lives, so that what is dead may lie there until much of its neighbourhood is dead too, and
//! cleaning stays cheap. What is dead counts as available therefore, as far as it exceeds the slack: a writer who needs
//! it waits until it is given back.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use strongroom_device::Space as DiskSpace;
use strongroom_pool::PoolSpace;

use crate::{Result, StoreError};

/// The part of the pool that is slack.
const SLACK: u64 = 10;
/// Cleaning sees to it that this part of the pool, and not more than so many bytes, can be written without waiting.
const READY: u64 = 64;
const READY_MAX: u64 = 1 << 30;
/// What every disk keeps for deletions, and for each copy of the index that it has.
const KEPT: u64 = 64;
const INDEX_GROWTH_MAX: u64 = 1 << 30;
/// `dead` before it was counted.
const UNKNOWN: i64 = -1;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Space {
    total: AtomicU64,
    /// Spare when last asked, less what was appended since.
    spare: AtomicI64,
    /// Bytes of extents that nobody names any more, in stripes that were not given back.
    dead: AtomicI64,
    /// Bytes that the past gives up when space is short.
    past: AtomicI64,
    /// Promised to writes that are on their way.
    promised: AtomicI64,
}

/// Space promised to one write; given back when dropped, as the bytes are counted elsewhere by then.
#[derive(Debug)]
pub(crate) struct Promise<'a> {
    space: &'a Space,
    bytes: i64,
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.space.promised.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// File data, which needs its room at once.
    Data(u64),
    /// Rows, which log and index have room for.
    Rows(u64),
}

/// Bytes of a disk that are kept from file data, when it has so many copies of log and index, and each of the log may
/// yet take `log_growth`.
pub(crate) fn kept_on(disk: DiskSpace, logs: usize, log_growth: u64, indexes: usize) -> u64 {
    let part = disk.total / KEPT;
    let index = part.min(INDEX_GROWTH_MAX).saturating_mul(indexes as u64);
    let log = log_growth.saturating_mul(logs as u64);
    part.saturating_add(index).saturating_add(log)
}

impl Space {
    pub(crate) fn new() -> Self {
        Self {
            total: AtomicU64::new(0),
            spare: AtomicI64::new(i64::MAX / 2),
            dead: AtomicI64::new(UNKNOWN),
            past: AtomicI64::new(0),
            promised: AtomicI64::new(0),
        }
    }

    /// Takes the disks' word.
    pub(crate) fn refresh(&self, space: PoolSpace) {
        self.spare
            .store(signed(space.usable_spare), Ordering::Relaxed);
        self.total.store(space.usable_total, Ordering::Relaxed);
    }

    pub(crate) fn consumed(&self, bytes: u64) {
        self.spare.fetch_sub(signed(bytes), Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// What can be written without waiting; `waiting` bytes lie in memory and have their place taken.
    pub(crate) fn ready(&self, waiting: u64) -> i64 {
        self.spare.load(Ordering::Relaxed) - signed(waiting) - self.promised.load(Ordering::Relaxed)
    }

    /// What clients can still write while the past stays as it is.
    pub(crate) fn beside_past(&self, waiting: u64) -> i64 {
        self.ready(waiting) + signed(self.dead()) - signed(self.total() / SLACK)
    }

    /// What clients can still write.
    pub(crate) fn available(&self, waiting: u64) -> i64 {
        self.beside_past(waiting) + signed(self.past())
    }

    /// Bytes that cleaning should give back now; None when enough can be written.
    pub(crate) fn wanted(&self, waiting: u64) -> Option<u64> {
        let least = signed((self.total() / READY).min(READY_MAX));
        // What pads dead bytes does not count as dead, so that cleaning makes more available than was before.
        let left = self.ready(waiting).min(self.beside_past(waiting));
        (left < least).then(|| u64::try_from(2 * least - left).unwrap_or(0))
    }

    /// Bytes that cleaning will give back.
    pub(crate) fn dead(&self) -> u64 {
        u64::try_from(self.dead.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// What is dead was counted.
    pub(crate) fn count_dead(&self, dead: u64) {
        self.dead.store(signed(dead), Ordering::Relaxed);
    }

    pub(crate) fn dead_is_known(&self) -> bool {
        self.dead.load(Ordering::Relaxed) >= 0
    }

    /// It is not certain any more what is dead.
    pub(crate) fn dead_is_unknown(&self) {
        self.dead.store(UNKNOWN, Ordering::Relaxed);
    }

    /// So many bytes more are dead, or fewer as they were given back.
    pub(crate) fn died(&self, change: i64) {
        let add = |dead: i64| (dead >= 0).then(|| dead.saturating_add(change).max(0));
        let relaxed = Ordering::Relaxed;
        // Nothing changes while it is unknown.
        let _unknown = self.dead.fetch_update(relaxed, relaxed, add).is_err();
    }

    /// Bytes that the past gives up when they are needed.
    pub(crate) fn past(&self) -> u64 {
        u64::try_from(self.past.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(crate) fn set_past(&self, bytes: u64) {
        self.past.store(signed(bytes), Ordering::Relaxed);
    }

    /// Whether there is room without waiting.
    pub(crate) fn fits(&self, bytes: u64, waiting: u64) -> bool {
        self.ready(waiting) >= signed(bytes)
    }

    /// Promises space for one write.
    pub(crate) fn admit(&self, need: Need, waiting: u64) -> Result<Promise<'_>> {
        let (Need::Data(bytes) | Need::Rows(bytes)) = need;
        let bytes = signed(bytes);
        self.promised.fetch_add(bytes, Ordering::Relaxed);
        let promise = Promise { space: self, bytes };
        let waits = matches!(need, Need::Data(_)) && self.ready(waiting) < 0;
        if waits || self.available(waiting) < 0 {
            Err(StoreError::NoSpace)
        } else {
            Ok(promise)
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX / 4)
}
