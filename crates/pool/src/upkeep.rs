//! What the pool does by itself while clients work: disks that came back are made level, what is lost is made good, disks
//! are emptied, and load is spread. Each call does a bounded piece; nothing has to be remembered from one start to the
//! next, as all of it follows from what lies on the disks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use crate::disk::Disk;
use crate::placement::choose;
use crate::pool::Pool;
use crate::probe::Probed;
use crate::rebuild::Wanted;
use crate::returned::Adopted;
use crate::segment::{ReturnedShard, Segment};
use crate::{BLOCK, DiskState, ErrorKind, Result, SegmentId, UpkeepStep, UpkeepTask};

/// What cannot be made good now is tried again after this, or in another epoch.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// Disks that could take shards, with their free space, the roomiest first.
pub(crate) type Candidates = Vec<(u64, Arc<Disk>)>;

/// What upkeep works on.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    /// Shards of disks that were away, by segment.
    returned: BTreeMap<SegmentId, Vec<ReturnedShard>>,
    /// Segments that lack shards, the least protected first, each with the bytes of shards to be worked on.
    queue: VecDeque<(SegmentId, u64)>,
    pub(crate) probed: Probed,
    /// Nothing in the queue could be done; not before this time in this epoch.
    rests: Option<(crate::EpochId, Duration)>,
    /// No epoch is begun by upkeep before this time, as one found no room.
    full_until: Duration,
    /// Load is being spread.
    pub(crate) balancing: bool,
    /// Where spreading the load goes on.
    pub(crate) balanced: SegmentId,
    /// The load needed no spreading in this epoch with so much written.
    pub(crate) level: Option<(crate::EpochId, u64)>,
}

impl Upkeep {
    pub(crate) fn with(returned: Vec<ReturnedShard>) -> Self {
        let mut upkeep = Self::default();
        upkeep.add_returned(returned);
        upkeep
    }

    /// Whether it is too early to try an epoch again that found no room.
    fn epochs_rest(&self, now: Duration) -> bool {
        now < self.full_until
    }

    /// Takes over shards of disks that were taken back other than by upkeep.
    fn take_arrived(&mut self, arrived: &Mutex<Vec<ReturnedShard>>) {
        let arrived = std::mem::take(&mut *arrived.lock());
        if !arrived.is_empty() {
            self.add_returned(arrived);
        }
    }

    fn add_returned(&mut self, returned: Vec<ReturnedShard>) {
        for shard in returned {
            let known = self.returned.entry(shard.segment).or_default();
            let same = |other: &ReturnedShard| {
                other.path() == shard.path() && other.disk.id == shard.disk.id
            };
            // Of a disk that came back again the newer entry counts.
            known.retain(|other| !same(other));
            known.push(shard);
        }
        self.queue.clear();
        self.rests = None;
    }

    /// What is left to be done for a segment.
    fn set_returned(&mut self, segment: SegmentId, shards: Vec<ReturnedShard>) {
        if shards.is_empty() {
            self.returned.remove(&segment);
        } else {
            self.returned.insert(segment, shards);
        }
    }
}

impl Pool {
    /// Does one piece of what there is to do, at most a segment's worth of bytes. May be called from one thread at a
    /// time; another caller waits.
    ///
    /// # Errors
    /// Writing has stopped.
    pub fn upkeep_step(&self) -> Result<UpkeepStep> {
        let begun = self.current.read().sequence > 0;
        if !begun || !self.has_upkeep || self.closed.load(Ordering::Acquire) {
            return Ok(UpkeepStep::Idle);
        }
        self.refuse_if_stopped()?;
        let mut upkeep = self.upkeep.lock();
        upkeep.take_arrived(&self.arrived);
        if !self.mend_chain(&mut upkeep)? {
            return Ok(UpkeepStep::Idle);
        }
        self.probe(&mut upkeep.probed)?;
        if self.recall_disks()? {
            return Ok(UpkeepStep::Changed);
        }
        if self.bring_back(&mut upkeep)? {
            return Ok(UpkeepStep::Changed);
        }
        self.promote_spares()?;
        let restored = self.restore_next(&mut upkeep)?;
        if let Restored::Bytes(bytes) = restored {
            return Ok(UpkeepStep::Worked { bytes });
        }
        let settled = self.settle(&upkeep);
        if self.unless_full(&mut upkeep, settled)? == Some(true) {
            return Ok(UpkeepStep::Changed);
        }
        let emptied = self.empty_next(upkeep.epochs_rest(self.env.monotonic()));
        let emptied = self.unless_full(&mut upkeep, emptied)?;
        let emptied = emptied.unwrap_or(UpkeepStep::Idle);
        if emptied != UpkeepStep::Idle {
            return Ok(emptied);
        }
        let balanced = self.balance_next(&mut upkeep)?;
        if balanced == UpkeepStep::Idle {
            self.progress.lock().rest(self.why_waiting(restored));
        }
        Ok(balanced)
    }

    /// A new epoch that finds no room is tried again later; None then.
    fn unless_full<T>(&self, upkeep: &mut Upkeep, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                tracing::warn!(%error, "no room for a new epoch");
                upkeep.full_until = self.env.monotonic() + TRY_AGAIN;
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// An epoch that some disks have and others had no room for is followed by one that all have, before anything else
    /// changes. False while there is no room for it.
    fn mend_chain(&self, upkeep: &mut Upkeep) -> Result<bool> {
        if !self.torn_epoch.load(Ordering::Acquire) {
            return Ok(true);
        }
        if upkeep.epochs_rest(self.env.monotonic()) {
            return Ok(false);
        }
        let written = self.plan_members(&mut self.chain.lock());
        Ok(self.unless_full(upkeep, written)?.is_some())
    }

    /// Client bytes moved so far, so that who calls [`Pool::upkeep_step`] knows when to stand back.
    pub fn client_bytes(&self) -> u64 {
        self.activity.total()
    }

    fn why_waiting(&self, restored: Restored) -> Option<String> {
        if let Restored::Stuck = restored {
            let (takers, width) = (self.takers(), self.layout.width());
            return Some(if takers < width {
                format!(
                    "another disk: layout {} needs {width}, {takers} take data",
                    self.layout
                )
            } else {
                "room on other disks".to_owned()
            });
        }
        let owed = !self.owed.lock().is_empty();
        if let Some(why) = self.unfinished_leaver() {
            return Some(why);
        }
        owed.then(|| "the copies of log and index".to_owned())
    }

    /// Disks that new segments may use.
    pub(crate) fn takers(&self) -> usize {
        let disks = self.disks.all();
        disks.iter().filter(|disk| disk.takes_shards()).count()
    }

    /// Makes one disk that was away a member again. True if one was.
    fn bring_back(&self, upkeep: &mut Upkeep) -> Result<bool> {
        let disks = self.disks.all();
        let owed = self.owed.lock().clone();
        let back = disks.iter().find(|disk| {
            let known = disk.id.is_some_and(|id| owed.contains(&id));
            known && disk.device.is_some() && disk.state() == DiskState::Stale
        });
        let Some(disk) = back.filter(|_| self.is_followed()) else {
            return Ok(false);
        };
        let _changing = self.changing.lock();
        match self.take_back(disk) {
            Ok(returned) => upkeep.add_returned(returned),
            Err(error) => self.note_not_taken_back(disk.id.unwrap_or_default(), &error),
        }
        self.refuse_if_stopped()?;
        Ok(true)
    }

    /// Works on the least protected segment for which something can be done.
    fn restore_next(&self, upkeep: &mut Upkeep) -> Result<Restored> {
        let now = self.env.monotonic();
        let epoch = self.epoch();
        if upkeep
            .rests
            .is_some_and(|(of, until)| of == epoch && now < until)
        {
            return Ok(Restored::Stuck);
        }
        if upkeep.queue.is_empty() {
            self.list_short(upkeep)?;
        }
        let mut stuck = false;
        while let Some((id, left)) = upkeep.queue.pop_front() {
            let candidates = self.by_room()?;
            match self.restore_segment(upkeep, id, &candidates)? {
                Some(bytes) => {
                    let now = self.env.monotonic();
                    self.progress.lock().finish(now, bytes, left);
                    return Ok(Restored::Bytes(bytes));
                }
                None => stuck = true,
            }
        }
        upkeep.rests = stuck.then_some((epoch, now + TRY_AGAIN));
        Ok(if stuck {
            Restored::Stuck
        } else {
            Restored::Nothing
        })
    }

    /// Lists the segments that lack shards, or that a disk that came back has shards of.
    fn list_short(&self, upkeep: &mut Upkeep) -> Result<()> {
        let mut short: Vec<(Reverse<usize>, SegmentId, u64)> = Vec::new();
        let mut orphaned = upkeep.returned.clone();
        for segment in self.segments.all() {
            let returned = orphaned.remove(&segment.id).unwrap_or_default();
            let missing = segment.missing();
            if missing > 0 || !returned.is_empty() {
                // A shard that came back fills a gap, or is compared with the one that has its place.
                let shards = missing.max(returned.len()) as u64;
                let left = self.len_of(segment.id)?.unwrap_or(0) * shards;
                short.push((Reverse(missing), segment.id, left));
            }
        }
        // Their segments were deleted meanwhile.
        short.extend(orphaned.into_keys().map(|id| (Reverse(0), id, 0)));
        short.sort_unstable();
        let left = short.iter().map(|(_, _, left)| left).sum();
        upkeep.queue = short.iter().map(|(_, id, left)| (*id, *left)).collect();
        let mut progress = self.progress.lock();
        progress.segments_short = short.len() as u64;
        if !short.is_empty() {
            let now = self.env.monotonic();
            progress.go_on(now, UpkeepTask::Restoring, None, left);
        }
        Ok(())
    }

    /// Bytes of a segment's shard, holes included; None if it is gone or no shard of it can be asked.
    pub(crate) fn len_of(&self, id: SegmentId) -> Result<Option<u64>> {
        let Some(segment) = self.segments.get(id) else {
            return Ok(None);
        };
        match self.end_of(&segment) {
            Ok(end) => Ok(Some(u64::from(end) * BLOCK as u64)),
            Err(_) => self.refuse_if_stopped().map(|()| None),
        }
    }

    /// Returns the bytes of shards that are in their places now; None if nothing could be done.
    fn restore_segment(
        &self,
        upkeep: &mut Upkeep,
        id: SegmentId,
        candidates: &Candidates,
    ) -> Result<Option<u64>> {
        let Some(segment) = self.segments.get(id) else {
            return self.forget_returned(upkeep, id).map(Some);
        };
        let Some(len) = self.len_of(id)? else {
            return Ok(None);
        };
        let returned = upkeep.returned.get(&id).cloned().unwrap_or_default();
        if returned.is_empty() && self.targets(&segment, len, candidates).is_empty() {
            // Deleted or made good meanwhile is as good as done.
            return Ok((segment.missing() == 0).then_some(0));
        }
        // Appending goes on in another segment.
        if self.seal(id).is_err() {
            return Ok(Some(0));
        }
        let _held = segment.upkeep.lock();
        if !self
            .segments
            .get(id)
            .is_some_and(|now| Arc::ptr_eq(&now, &segment))
        {
            return Ok(Some(0));
        }
        let Some(len) = self.len_of(id)? else {
            return Ok(None);
        };
        let (mut bytes, mut left) = (0, Vec::new());
        for shard in &returned {
            match self.adopt(&segment, shard)? {
                Adopted::Whole { written } => {
                    tracing::debug!(segment = %id, shard = shard.shard, written, "a shard that was away is level");
                    bytes += len;
                }
                Adopted::NotTaken => left.push(shard.clone()),
                Adopted::Gone | Adopted::Failed => {}
            }
        }
        let wanted = self.targets(&segment, len, candidates);
        let made = self.make_shards(&segment, &wanted)?;
        self.note_made(&made);
        bytes += made.bytes;
        let (compared, kept) = self.part_with_all(&segment, left)?;
        bytes += compared as u64 * len;
        let worked = bytes > 0 || kept.len() < returned.len();
        upkeep.set_returned(id, kept);
        Ok(worked.then_some(bytes))
    }

    /// Removes shards that are of no use any more. Returns how many went, and those that are still needed.
    fn part_with_all(
        &self,
        segment: &Arc<Segment>,
        shards: Vec<ReturnedShard>,
    ) -> Result<(usize, Vec<ReturnedShard>)> {
        let (mut gone, mut kept) = (0, Vec::new());
        for shard in shards {
            match self.part_with(segment, &shard)? {
                Adopted::NotTaken => kept.push(shard),
                Adopted::Whole { .. } | Adopted::Gone => gone += 1,
                Adopted::Failed => {}
            }
        }
        Ok((gone, kept))
    }

    /// Removes what disks that were away have of a segment that is gone.
    fn forget_returned(&self, upkeep: &mut Upkeep, id: SegmentId) -> Result<u64> {
        for shard in upkeep.returned.remove(&id).unwrap_or_default() {
            self.discard_returned(&shard)?;
        }
        Ok(0)
    }

    /// Where the shards that a segment lacks can be made.
    fn targets(&self, segment: &Segment, len: u64, candidates: &Candidates) -> Vec<Wanted> {
        let shards = segment.shards();
        let live = segment.live_shards();
        if live.len() < usize::from(self.layout.data) {
            // Nothing can be made of it until more of its disks are back.
            return Vec::new();
        }
        let mut beside: Vec<Arc<Disk>> = live.iter().map(|shard| Arc::clone(&shard.disk)).collect();
        let mut wanted = Vec::new();
        for (slot, shard) in shards.iter().zip(0u8..) {
            if slot.as_ref().is_some_and(|shard| shard.is_live()) {
                continue;
            }
            let free = candidates.iter().filter(|(free, disk)| {
                let used = beside.iter().any(|other| Arc::ptr_eq(other, disk));
                *free >= len && disk.takes_shards() && !used
            });
            let free: Candidates = free.cloned().collect();
            if let Some(disk) = choose(&free, &beside, 1).pop() {
                beside.push(Arc::clone(&disk));
                wanted.push(Wanted { shard, disk });
            }
        }
        wanted
    }

    /// Once every segment is whole and the copies of log and index are in their places, nothing is owed any more. True if
    /// an epoch says so now.
    fn settle(&self, upkeep: &Upkeep) -> Result<bool> {
        let mut chain = self.chain.lock();
        let settled = self.owed.lock().clone();
        let whole = || {
            let mut missing = 0;
            self.segments.each(|segment| missing += segment.missing());
            missing == 0
        };
        if settled.is_empty()
            || !upkeep.returned.is_empty()
            || self.takers() < self.layout.width()
            || !self.is_followed()
            || upkeep.epochs_rest(self.env.monotonic())
            || !whole()
        {
            return Ok(false);
        }
        self.owed.lock().clear();
        if let Err(error) = self.plan_members(&mut chain) {
            self.owed.lock().extend(settled);
            return Err(error);
        }
        let lost = self.lost_stripes();
        for disk in self.disks.all().iter() {
            if !disk.is_live() && disk.id.is_some_and(|id| settled.contains(&id)) {
                disk.describe(DiskState::Retired, &made_good(lost));
            }
        }
        tracing::info!(lost, "every segment has all its shards again");
        Ok(true)
    }
}

/// What is said of a disk whose contents were made anew but for so many stripes.
fn made_good(lost: usize) -> String {
    match lost {
        0 => "all that it held was made good on other disks".to_owned(),
        _ => format!(
            "what it held was made anew on other disks, but {lost} stripes could not be read there: if it comes back, add it again, and what it has of them is saved"
        ),
    }
}

/// What became of restoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restored {
    Bytes(u64),
    /// There is something to do, and nothing to do it with.
    Stuck,
    Nothing,
}
