//! What may still be written: free space, less what is kept back, less what was promised.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use strongroom_pool::PoolSpace;

use crate::{Result, StoreError, StoreOptions};

/// Bytes are counted before mirroring, as the layout leaves them.
#[derive(Debug)]
pub(crate) struct Space {
    /// Free when last asked, less what was appended since.
    free: AtomicI64,
    total: AtomicU64,
    /// Promised to writes that are on their way.
    promised: AtomicI64,
    log_max: u64,
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

impl Space {
    pub(crate) fn new(options: &StoreOptions) -> Self {
        Self {
            free: AtomicI64::new(i64::MAX / 2),
            total: AtomicU64::new(0),
            promised: AtomicI64::new(0),
            log_max: options.log_file * u64::from(options.log_files_max),
        }
    }

    /// Takes the disks' word.
    pub(crate) fn refresh(&self, space: PoolSpace) {
        self.free
            .store(signed(space.usable_free), Ordering::Relaxed);
        self.total.store(space.usable_total, Ordering::Relaxed);
    }

    pub(crate) fn consumed(&self, bytes: u64) {
        self.free.fetch_sub(signed(bytes), Ordering::Relaxed);
    }

    /// What log, index and the deletions' slop need: 3% and a bounded share for each of the two.
    pub(crate) fn kept_back(&self) -> u64 {
        let total = self.total.load(Ordering::Relaxed);
        total / 32 + (total / 32).min(2 << 30) + (total / 16).min(self.log_max * 2)
    }

    /// What clients can still write; `waiting` bytes lie in memory and have their place taken.
    pub(crate) fn available(&self, waiting: u64) -> i64 {
        self.free.load(Ordering::Relaxed)
            - signed(self.kept_back())
            - signed(waiting)
            - self.promised.load(Ordering::Relaxed)
    }

    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(crate) fn promised(&self) -> u64 {
        u64::try_from(self.promised.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Promises space for one write.
    pub(crate) fn admit(&self, bytes: u64, waiting: u64) -> Result<Promise<'_>> {
        let bytes = signed(bytes);
        self.promised.fetch_add(bytes, Ordering::Relaxed);
        let promise = Promise { space: self, bytes };
        if self.available(waiting) < 0 {
            Err(StoreError::NoSpace)
        } else {
            Ok(promise)
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX / 4)
}
