//! Reading ahead: what is going to be read is asked for early and on all disks at once, so that nobody waits for one disk
//! after the other.

use std::ops::Range;
use std::sync::Arc;

use crate::geometry::shard_ranges;
use crate::pool::Pool;
use crate::segment::Segment;
use crate::{Address, BLOCK};

/// Blocks of each shard that are asked for beyond where a reader is, and how many of them at a time: 8 and 4 MiB.
const WINDOW: u32 = 2048;
const STEP: u32 = 1024;

/// How far a reader of whole shards has asked ahead.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    end: u32,
}

impl Ahead {
    /// Has all shards of a segment asked for what follows block `at`.
    pub(crate) fn reach(&mut self, pool: &Pool, segment: &Arc<Segment>, at: u32) {
        let wanted = at.saturating_add(WINDOW);
        let from = self.end.max(at);
        if wanted < from.saturating_add(STEP) {
            return;
        }
        self.end = wanted;
        for shard in segment.live_shards() {
            if let Ok(file) = segment.file(&shard, &pool.handles) {
                let len = u64::from(wanted - from) * BLOCK as u64;
                file.read_ahead(u64::from(from) * BLOCK as u64, len);
            }
        }
    }
}

impl Pool {
    /// Has the disks begin to read bytes of the extent at `address`, which are going to be read soon. A hint.
    pub fn read_ahead(&self, address: Address, bytes: Range<u32>) {
        let Some(segment) = self.segments.get(address.segment) else {
            return;
        };
        let start = u64::from(address.offset) + u64::from(bytes.start);
        let range = start..u64::from(address.offset) + u64::from(bytes.end);
        let stripe = u64::from(address.stripe) * BLOCK as u64;
        let shards = segment.shards();
        for (shard, part) in shard_ranges(self.layout, address.stripe, range) {
            let shard = shards.get(usize::from(shard)).and_then(Option::as_ref);
            let Some(shard) = shard.filter(|shard| shard.is_live()) else {
                continue;
            };
            if let Ok(file) = segment.file(shard, &self.handles) {
                // The header, mostly one block, lies before the data; it is read first.
                let from = if part.start == 0 {
                    0
                } else {
                    part.start + BLOCK as u64
                };
                file.read_ahead(stripe + from, part.end + BLOCK as u64 - from);
            }
        }
    }
}
