//! The checksum of every page, in memory, read without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::PAGE;

const CHUNK: usize = 16_384;
/// 2^28 pages: an index of a TiB.
const CHUNKS: usize = 16_384;

/// Pages that a table can name.
pub(super) const PAGES_MAX: u64 = (CHUNK * CHUNKS) as u64;

type Chunk = Box<[AtomicU64]>;

/// 0 stands for a page that was never written: it reads as zeroes.
pub(super) struct SumTable {
    chunks: Box<[OnceLock<Chunk>]>,
}

impl Default for SumTable {
    fn default() -> Self {
        Self {
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
        }
    }
}

impl SumTable {
    fn place(page: u64) -> Option<(usize, usize)> {
        let page = usize::try_from(page).ok()?;
        Some((page / CHUNK, page % CHUNK))
    }

    pub(super) fn get(&self, page: u64) -> u64 {
        let Some((chunk, slot)) = Self::place(page) else {
            return 0;
        };
        let chunk = self.chunks.get(chunk).and_then(OnceLock::get);
        chunk.map_or(0, |chunk| chunk[slot].load(Ordering::Acquire))
    }

    pub(super) fn set(&self, page: u64, sum: u64) {
        assert!(page < PAGES_MAX, "the index outgrew its checksum table");
        let Some((chunk, slot)) = Self::place(page) else {
            return;
        };
        let chunk =
            self.chunks[chunk].get_or_init(|| (0..CHUNK).map(|_| AtomicU64::new(0)).collect());
        chunk[slot].store(sum, Ordering::Release);
    }

    /// Forgets pages `from..to`.
    pub(super) fn clear(&self, from: u64, to: u64) {
        for page in from..to.min(PAGES_MAX) {
            if self.get(page) != 0 {
                self.set(page, 0);
            }
        }
    }
}

/// The checksum of a page; never 0.
pub(super) fn sum_of(page: &[u8]) -> u64 {
    debug_assert_eq!(page.len(), PAGE);
    match crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, page) {
        0 => 1,
        sum => sum,
    }
}
