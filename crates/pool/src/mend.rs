//! Bad shards of one stripe rewritten from the good ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_device::DeviceError;

use crate::fragment::Table;
use crate::headers::HeaderKey;
use crate::pool::Pool;
use crate::read::{BadCopy, BadShards};
use crate::segment::{Segment, Shard};

impl Pool {
    /// Rewrites the shards that a read found bad. The read was answered already, so a failure here is only logged. Where
    /// somebody else works on the segment's shards, that work is not waited for: the next reader mends.
    pub(crate) fn mend(&self, segment: &Arc<Segment>, stripe: u32, bad: &BadShards) {
        self.count_bad(segment, stripe, bad);
        let Some(_upkeep) = segment.upkeep.try_lock() else {
            return;
        };
        self.mend_held(segment, stripe, bad);
    }

    /// As [`Pool::mend`], without counting, for one who holds the segment's upkeep. Returns how many were rewritten.
    pub(crate) fn mend_held(&self, segment: &Arc<Segment>, stripe: u32, bad: &BadShards) -> usize {
        let shards = segment.shards();
        let mut mended = 0;
        for (number, _) in bad {
            let shard = shards.get(usize::from(*number)).and_then(Option::as_ref);
            let Some(shard) = shard.filter(|shard| shard.is_live()) else {
                continue;
            };
            match self.rewrite(segment, stripe, shard, bad) {
                Ok(()) => {
                    mended += 1;
                    segment.set_damaged(false);
                    self.note_found(segment.id, stripe);
                    self.counters
                        .repaired_fragments
                        .fetch_add(1, Ordering::Relaxed);
                    let segment = segment.id;
                    tracing::warn!(%segment, stripe, shard = number, "shard repaired from the others");
                }
                Err(BadCopy::Device(error @ DeviceError::Io { .. })) => {
                    // A disk that takes no writes is of no use; that the pool then stops is logged there.
                    if let Err(error) = self.set_aside_disk(&shard.disk, &error) {
                        tracing::error!(%error, "while repairing a shard");
                    }
                }
                Err(why) => {
                    let segment = segment.id;
                    tracing::error!(%segment, stripe, shard = number, %why, "shard not repaired");
                }
            }
        }
        mended
    }

    /// Writes the whole fragment of a bad shard anew, computed from shards that are not among `bad`.
    fn rewrite(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        shard: &Shard,
        bad: &BadShards,
    ) -> std::result::Result<(), BadCopy> {
        let numbers = bad.iter().map(|(number, _)| (*number, BadCopy::Missing));
        let mut unusable: BadShards = numbers.collect();
        let mut fragment = self
            .compute_fragment(segment, stripe, shard.shard, &mut unusable)
            .map_err(BadCopy::Bytes)?;
        let file = segment.file(shard, &self.handles)?;
        let place = shard.place(self.id, segment.id, stripe);
        fragment.write(&*file, &place)?;
        let table = Table::new(&place, &fragment.header);
        self.headers.insert(HeaderKey::of(&place), table);
        Ok(())
    }
}
