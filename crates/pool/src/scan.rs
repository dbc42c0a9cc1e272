//! Segments and stripes as they describe themselves; giving space back.

use std::sync::Arc;

use strongroom_device::{Device, DeviceError};

use crate::fragment::{SECTOR, mark_punched};
use crate::headers::HeaderKey;
use crate::members::trim;
use crate::pool::Pool;
use crate::read::BadCopy;
use crate::segment::{SEGMENT_DIR, Segment, Shard};
use crate::{BLOCK, PoolError, Result, SegmentContents, SegmentId, SegmentInfo, StripeInfo};

impl Pool {
    /// All segments, by id. Asks the disks for lengths that are not yet known.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let all = self.segments.all();
        all.iter().map(|segment| self.describe(segment)).collect()
    }

    /// The ids of all segments, in order. Asks no disk.
    pub fn segment_ids(&self) -> Vec<SegmentId> {
        self.segments.ids()
    }

    /// One segment.
    ///
    /// # Errors
    /// [`PoolError::NoSegment`]; a disk that cannot tell the length.
    pub fn segment(&self, segment: SegmentId) -> Result<SegmentInfo> {
        let found = self.segments.get(segment);
        self.describe(&found.ok_or(PoolError::NoSegment { segment })?)
    }

    fn describe(&self, segment: &Arc<Segment>) -> Result<SegmentInfo> {
        Ok(SegmentInfo {
            id: segment.id,
            layout: self.layout,
            blocks: self.end_of(segment)?,
            open: segment.is_open(),
        })
    }

    /// One stripe, from whichever copy of its header is good; None if there is none, or no such segment.
    pub fn stripe(&self, segment: SegmentId, stripe: u32) -> Option<StripeInfo> {
        self.stripe_at(&self.segments.get(segment)?, stripe)
    }

    /// The end that was recorded or appended to, else the length of the longest shard.
    pub(crate) fn end_of(&self, segment: &Arc<Segment>) -> Result<u32> {
        if let Some(end) = segment.known_end() {
            return Ok(end);
        }
        let mut longest = None;
        let mut failure = None;
        for shard in segment.live_shards() {
            match segment
                .file(&shard, &self.handles)
                .and_then(|file| file.len())
            {
                Ok(len) => longest = longest.max(Some(len)),
                Err(error) => failure = Some(error),
            }
        }
        match (longest, failure) {
            (Some(len), _) => {
                let end = u32::try_from(len.div_ceil(BLOCK as u64)).unwrap_or(u32::MAX - 1);
                segment.set_end(end);
                Ok(end)
            }
            (None, Some(error)) => Err(error.into()),
            (None, None) => Err(PoolError::NoSegment {
                segment: segment.id,
            }),
        }
    }

    /// The stripes of a segment in order, from whichever copy of each header is good. A stripe without a good header is
    /// left out and logged; so are bytes of epochs that the pool does not know.
    pub fn stripes(&self, segment: SegmentId) -> Result<Vec<StripeInfo>> {
        Ok(self.contents(segment)?.stripes)
    }

    /// As [`Pool::stripes`], and whether that is all there is.
    pub fn contents(&self, segment: SegmentId) -> Result<SegmentContents> {
        let found = self
            .segments
            .get(segment)
            .ok_or(PoolError::NoSegment { segment })?;
        // Asked before the end: an append that seals the segment moves its end first.
        let sealed = !found.is_open();
        let end = self.end_of(&found)?;
        let mut stripes = Vec::new();
        let mut complete = true;
        let mut at = 0;
        let mut damage_from = None;
        while at < end {
            match self.stripe_at(&found, at) {
                Some(stripe) => {
                    report_damage(segment, damage_from.take(), at);
                    at = at.saturating_add(stripe.blocks);
                    stripes.push(stripe);
                }
                None => {
                    complete = false;
                    damage_from.get_or_insert(at);
                    at += 1;
                }
            }
        }
        report_damage(segment, damage_from, end);
        Ok(SegmentContents {
            stripes,
            sealed,
            complete,
        })
    }

    fn stripe_at(&self, segment: &Arc<Segment>, stripe: u32) -> Option<StripeInfo> {
        segment.live_shards().iter().find_map(|shard| {
            let (header, place) = self.header_of(segment, shard, stripe).ok()?;
            let known = self.chain.lock().contains(header.epoch);
            known.then(|| header.describe(&place))
        })
    }

    /// Gives back the data of a dead stripe on all shards. Its header stays, marked as punched. `blocks` is the stripe's
    /// length with its header, as [`StripeInfo::blocks`] tells it. A power cut may undo it, in part too, until
    /// [`Pool::sync_segments`]; it may be repeated.
    pub fn punch_stripe(&self, segment: SegmentId, stripe: u32, blocks: u32) -> Result<()> {
        self.refuse_if_stopped()?;
        let found = self
            .segments
            .get(segment)
            .ok_or(PoolError::NoSegment { segment })?;
        let _upkeep = found.upkeep.lock();
        found.set_damaged(false);
        self.note_found(segment, stripe);
        for shard in found.live_shards() {
            match self.punch_fragment(&found, &shard, stripe, blocks) {
                Ok(()) => {}
                Err(BadCopy::Device(error @ DeviceError::Io { .. })) => {
                    self.set_aside_disk(&shard.disk, &error)?;
                }
                Err(BadCopy::Device(error @ DeviceError::NoSpace { .. })) => {
                    return Err(error.into());
                }
                Err(why) => {
                    // Dead and damaged: nothing to save, and nothing says how far it reaches.
                    tracing::warn!(%segment, stripe, shard = shard.shard, %why, "stripe not punched");
                }
            }
        }
        found.touched();
        Ok(())
    }

    /// Cuts the shards of a sealed segment off at its end, and gives back what was taken ahead of appends. An opening
    /// that was cut off may have recorded an end and not come to this.
    pub fn trim_segment(&self, segment: SegmentId) {
        let found = self.segments.get(segment);
        let Some(found) = found.filter(|found| !found.is_open()) else {
            return;
        };
        let _upkeep = found.upkeep.lock();
        let end = found.known_end().map(|end| u64::from(end) * BLOCK as u64);
        for shard in found.live_shards() {
            let file = found.file(&shard, &self.handles);
            if let Err(error) = file.and_then(|file| trim(&*file, end)) {
                tracing::warn!(%error, %segment, "could not trim a shard");
            }
        }
    }

    pub(crate) fn punch_fragment(
        &self,
        segment: &Arc<Segment>,
        shard: &Shard,
        stripe: u32,
        blocks: u32,
    ) -> std::result::Result<(), BadCopy> {
        let (header, place) = self.header_of(segment, shard, stripe)?;
        assert_eq!(
            header.stripe_blocks(),
            blocks,
            "a stripe is punched as a whole"
        );
        let file = segment.file(shard, &self.handles)?;
        if !header.punched {
            let mut sector = header.encode(&place);
            sector.truncate(SECTOR);
            mark_punched(&place, &mut sector);
            file.write_at(place.file_offset(), &sector)?;
            self.headers.remove(HeaderKey::of(&place));
        }
        let data_offset = place.file_offset() + header.len() as u64;
        Ok(file.punch(data_offset, u64::from(header.data_len))?)
    }

    /// Removes a segment and all its bytes.
    ///
    /// # Errors
    /// [`PoolError::NoSegment`]; a disk that fails is set aside.
    pub fn delete_segment(&self, segment: SegmentId) -> Result<()> {
        self.refuse_if_stopped()?;
        self.seal(segment)?;
        let found = self
            .segments
            .remove(segment)
            .ok_or(PoolError::NoSegment { segment })?;
        self.headers.remove_segment(segment);
        self.handles.forget(segment);
        self.note_gone(segment);
        let _upkeep = found.upkeep.lock();
        for shard in found.shards().iter().flatten() {
            let Some(device) = shard.disk.live() else {
                continue;
            };
            match delete_durably(&**device, &shard.path(segment)) {
                Ok(()) | Err(DeviceError::NotFound { .. }) => {}
                // Found again at the next opening, when nothing names it.
                Err(error @ DeviceError::NoSpace { .. }) => {
                    tracing::warn!(%error, %segment, "could not delete a shard");
                }
                Err(error) => self.set_aside_disk(&shard.disk, &error)?,
            }
        }
        Ok(())
    }
}

/// A shard that came back after a crash would be found as a segment again, so the name goes for good.
pub(crate) fn delete_durably(
    device: &dyn Device,
    path: &str,
) -> std::result::Result<(), DeviceError> {
    device.delete(path)?;
    device.sync_dir(SEGMENT_DIR)
}

fn report_damage(segment: SegmentId, from: Option<u32>, to: u32) {
    if let Some(from) = from {
        tracing::warn!(%segment, from, to, "no readable stripe in these blocks");
    }
}
