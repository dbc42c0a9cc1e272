//! Load is spread: shards move from the fullest disk to the emptiest until they differ by little.

use std::sync::Arc;

use crate::disk::Disk;
use crate::pool::Pool;
use crate::segment::Segment;
use crate::upkeep::Upkeep;
use crate::{Result, SegmentId, UpkeepStep, UpkeepTask};

/// Thousandths of their size by which two disks differ in use before shards are moved, and at which that ends.
const BEGIN: u64 = 100;
const END: u64 = 30;

/// A disk in use.
struct Filled {
    /// Thousandths of its size.
    used: u64,
    total: u64,
    disk: Arc<Disk>,
}

impl Pool {
    /// Moves one shard if the disks are unequally full.
    pub(crate) fn balance_next(&self, upkeep: &mut Upkeep) -> Result<UpkeepStep> {
        // An idle pool leaves its disks alone.
        let seen = Some((self.epoch(), self.activity.written()));
        if upkeep.level == seen {
            return Ok(UpkeepStep::Idle);
        }
        let mut disks = self.filled()?;
        disks.sort_by_key(|filled| filled.used);
        let (Some(least), Some(most)) = (disks.first(), disks.last()) else {
            return Ok(UpkeepStep::Idle);
        };
        let apart = most.used - least.used;
        upkeep.balancing = apart > if upkeep.balancing { END } else { BEGIN };
        if !upkeep.balancing {
            upkeep.balanced = SegmentId::default();
            upkeep.level = seen;
            return Ok(UpkeepStep::Idle);
        }
        // Half of the difference moves.
        let left = (most.total / 1000).saturating_mul(apart) / 2;
        let now = self.env.monotonic();
        self.progress
            .lock()
            .go_on(now, UpkeepTask::Balancing, None, left);
        while let Some(id) = self.movable(upkeep.balanced, &most.disk, &least.disk) {
            upkeep.balanced = id;
            if let Some(bytes) = self.move_shard(id, &most.disk, Some(&least.disk))? {
                self.progress.lock().advance(self.env.monotonic(), bytes);
                return Ok(UpkeepStep::Worked { bytes });
            }
        }
        // Whatever could move has moved.
        upkeep.balancing = false;
        upkeep.level = seen;
        upkeep.balanced = SegmentId::default();
        Ok(UpkeepStep::Idle)
    }

    fn filled(&self) -> Result<Vec<Filled>> {
        let mut filled = Vec::new();
        for (free, disk) in self.by_room()? {
            let Some(device) = disk.live() else { continue };
            let total = device.space()?.total.max(1);
            let used = total.saturating_sub(free).saturating_mul(1000) / total;
            filled.push(Filled { used, total, disk });
        }
        Ok(filled)
    }

    /// The next segment that takes no more appends and has a shard on one disk, none on the other, and none on a disk
    /// that would fail with the other.
    fn movable(&self, after: SegmentId, from: &Arc<Disk>, to: &Arc<Disk>) -> Option<SegmentId> {
        let fits = |segment: &Segment| {
            let live = segment.live_shards();
            let (mine, others): (Vec<_>, Vec<_>) = live
                .iter()
                .partition(|shard| Arc::ptr_eq(&shard.disk, from));
            let domain = to.domain();
            let apart = others.iter().all(|shard| shard.disk.domain() != domain);
            !segment.is_open() && !segment.is_damaged() && !mine.is_empty() && apart
        };
        let mut next: Option<SegmentId> = None;
        self.segments.each(|segment| {
            let sooner = next.is_none_or(|next| segment.id < next);
            if segment.id > after && sooner && fits(segment) {
                next = Some(segment.id);
            }
        });
        next
    }
}
