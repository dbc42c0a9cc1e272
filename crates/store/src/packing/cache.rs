//! Chunks that were unpacked of late, so that small reads one after the other unpack each once.
//!
//! An address never names other bytes, so nothing here is ever out of date.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use strongroom_pool::Address;

const PARTS: usize = 8;
/// Of 64 KiB each: 4 MiB in all.
const CHUNKS: usize = 8;

/// An extent's place, and the number of the chunk in it.
type ChunkKey = (Address, usize);

type Slot = Option<(ChunkKey, Arc<[u8]>)>;

#[derive(Debug, Default)]
struct Part {
    slots: Mutex<[Slot; CHUNKS]>,
    next: AtomicUsize,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct ChunkCache {
    parts: [Part; PARTS],
}

impl ChunkCache {
    fn part(&self, (at, chunk): ChunkKey) -> &Part {
        let word = at.segment.0 ^ u64::from(at.stripe) << 20 ^ u64::from(at.offset) ^ chunk as u64;
        let hash = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
        &self.parts[usize::try_from(hash).unwrap_or(0) % PARTS]
    }

    pub(super) fn get(&self, key: ChunkKey) -> Option<Arc<[u8]>> {
        let slots = self.part(key).slots.lock();
        let mut found = slots.iter().flatten();
        let found = found.find(|(known, _)| *known == key)?;
        Some(Arc::clone(&found.1))
    }

    /// In the place of the oldest.
    pub(super) fn insert(&self, key: ChunkKey, bytes: Arc<[u8]>) {
        let part = self.part(key);
        let mut slots = part.slots.lock();
        if slots.iter().flatten().any(|(known, _)| *known == key) {
            return;
        }
        let place = part.next.fetch_add(1, Ordering::Relaxed) % CHUNKS;
        slots[place] = Some((key, bytes));
    }
}
