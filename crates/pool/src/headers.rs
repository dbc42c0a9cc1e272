//! Verified fragment headers in memory, so that a small read costs one call to the kernel.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::SegmentId;
use crate::fragment::{Place, Table};

const PARTS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct HeaderKey {
    pub(crate) segment: SegmentId,
    pub(crate) stripe: u32,
    pub(crate) shard: u8,
    /// The checksums differ from one generation to the next.
    pub(crate) generation: u32,
}

impl HeaderKey {
    pub(crate) fn of(place: &Place) -> Self {
        Self {
            segment: place.segment,
            stripe: place.stripe,
            shard: place.shard,
            generation: place.generation,
        }
    }

    fn part(&self) -> usize {
        let spread = (self.segment.0 ^ u64::from(self.stripe)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(spread >> 60).unwrap_or(0) % PARTS
    }
}

#[derive(Debug)]
struct Entry {
    table: Arc<Table>,
    used: AtomicBool,
}

/// The oldest entry goes first, but one that was used since gets another round.
#[derive(Debug, Default)]
struct Part {
    entries: HashMap<HeaderKey, Entry>,
    queue: VecDeque<HeaderKey>,
}

#[derive(Debug)]
pub(crate) struct HeaderCache {
    parts: [Mutex<Part>; PARTS],
    /// Of each part.
    limit: AtomicUsize,
}

impl HeaderCache {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            limit: AtomicUsize::new((limit / PARTS).max(1)),
        }
    }

    /// From the next insertion on.
    pub(crate) fn set_limit(&self, limit: usize) {
        let limit = (limit / PARTS).max(1);
        self.limit.store(limit, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let parts = self.parts.iter().map(|part| part.lock().entries.len());
        parts.sum()
    }

    pub(crate) fn get(&self, key: HeaderKey) -> Option<Arc<Table>> {
        let part = self.parts[key.part()].lock();
        let entry = part.entries.get(&key)?;
        entry.used.store(true, Ordering::Relaxed);
        Some(Arc::clone(&entry.table))
    }

    pub(crate) fn insert(&self, key: HeaderKey, table: Arc<Table>) {
        let mut part = self.parts[key.part()].lock();
        let entry = Entry {
            table,
            used: AtomicBool::new(false),
        };
        if part.entries.insert(key, entry).is_none() {
            part.queue.push_back(key);
        }
        while part.entries.len() > self.limit.load(Ordering::Relaxed) {
            part.evict();
        }
    }

    pub(crate) fn remove(&self, key: HeaderKey) {
        self.parts[key.part()].lock().remove(|other| *other == key);
    }

    pub(crate) fn remove_segment(&self, segment: SegmentId) {
        for part in &self.parts {
            part.lock().remove(|key| key.segment == segment);
        }
    }
}

impl Part {
    fn evict(&mut self) {
        let Some(key) = self.queue.pop_front() else {
            return;
        };
        let spared = self
            .entries
            .get(&key)
            .is_some_and(|entry| entry.used.swap(false, Ordering::Relaxed));
        if spared {
            self.queue.push_back(key);
        } else {
            self.entries.remove(&key);
        }
    }

    fn remove(&mut self, gone: impl Fn(&HeaderKey) -> bool) {
        self.entries.retain(|key, _| !gone(key));
        self.queue.retain(|key| !gone(key));
    }
}
