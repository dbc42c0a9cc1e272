//! Appending stripes: each lane fills its own open segment.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;
use strongroom_device::{Device, DeviceError, DeviceFile};

use crate::fragment::{Header, Table, header_len, sum_pieces, sums_of};
use crate::headers::HeaderKey;
use crate::pool::{Current, Pool};
use crate::segment::{Segment, Shard, shard_path};
use crate::{
    Address, BLOCK, ExtentTag, Lane, MAX_STRIPE_PAYLOAD, PoolError, Result, SegmentId, Txg,
};

/// A segment is sealed once a shard holds this much payload, or this many stripes.
const SEGMENT_PAYLOAD: u64 = 64 << 20;
const SEGMENT_STRIPES: u32 = 1000;
/// Shard files take space in such steps ahead of the appends.
const PREALLOCATE_STEP: u64 = 8 << 20;

static ZEROES: [u8; BLOCK] = [0; BLOCK];

/// The open segment of a lane.
#[derive(Debug, Default)]
pub(crate) struct LaneState {
    open: Option<OpenSegment>,
}

#[derive(Debug)]
struct OpenSegment {
    segment: Arc<Segment>,
    payload: u64,
    stripes: u32,
    preallocated: u64,
}

/// The payload of one stripe, in pieces, with padding, and where its extents lie.
struct Payload<'a> {
    pieces: Vec<&'a [u8]>,
    tags: Vec<(ExtentTag, u32)>,
    len: usize,
}

impl<'a> Payload<'a> {
    fn gather(extents: &[(ExtentTag, &[&'a [u8]])], max: usize) -> Result<Self> {
        let slices = extents.iter().map(|(_, slices)| slices.len() + 1).sum();
        let mut payload = Self {
            pieces: Vec::with_capacity(slices),
            tags: Vec::with_capacity(extents.len()),
            len: 0,
        };
        for (tag, slices) in extents {
            let len: usize = slices.iter().map(|slice| slice.len()).sum();
            if len != tag.len as usize || len == 0 {
                let told = tag.len;
                return Err(PoolError::Invalid(format!(
                    "an extent of {len} bytes tagged with {told}"
                )));
            }
            let offset = u32::try_from(payload.len).unwrap_or(u32::MAX);
            payload.tags.push((*tag, offset));
            payload
                .pieces
                .extend(slices.iter().filter(|slice| !slice.is_empty()));
            let padding = len.next_multiple_of(BLOCK) - len;
            if padding > 0 {
                payload.pieces.push(&ZEROES[..padding]);
            }
            payload.len += len + padding;
        }
        if payload.len == 0 || payload.len > max {
            let len = payload.len;
            return Err(PoolError::Invalid(format!(
                "a stripe of {len} bytes; 1 to {max} fit"
            )));
        }
        Ok(payload)
    }
}

impl Pool {
    /// Appends one stripe to the open segment of `lane`, on all shards. Durable after [`Pool::sync_segments`]. Returns
    /// the address of each extent, in order.
    ///
    /// `extents` gives each extent's bytes in pieces; their sum is the tag's length. The lengths, each rounded up to
    /// 4 KiB, sum to at most [`MAX_STRIPE_PAYLOAD`] for each data shard.
    ///
    /// # Errors
    /// No space: nothing was appended, and the pool is as before. Other errors of a disk set it aside and the append
    /// goes on; [`PoolError::WritingStopped`] when no copy is left.
    pub fn append(
        &self,
        lane: Lane,
        txg: Txg,
        extents: &[(ExtentTag, &[&[u8]])],
    ) -> Result<Vec<Address>> {
        let max = MAX_STRIPE_PAYLOAD * usize::from(self.layout.data);
        let payload = Payload::gather(extents, max)?;
        let mut state = self.lanes[lane.index()].lock();
        self.refuse_if_stopped()?;
        let current = self.current_epoch()?;
        let open = self.open_segment(&mut state, current)?;
        let stripe = open.segment.known_end().unwrap_or(0);
        let blocks = self.write_stripe(open, current, txg, stripe, &payload)?;
        open.payload += payload.len as u64 / u64::from(self.layout.data);
        open.stripes += 1;
        open.segment.appended_to(stripe + blocks);
        let segment = open.segment.id;
        if open.payload >= SEGMENT_PAYLOAD || open.stripes >= SEGMENT_STRIPES {
            self.seal_lane(&mut state);
        }
        let address = |(_, offset): &(ExtentTag, u32)| Address {
            segment,
            stripe,
            offset: *offset,
        };
        Ok(payload.tags.iter().map(address).collect())
    }

    fn current_epoch(&self) -> Result<Current> {
        let current = *self.current.read();
        if current.sequence == 0 || self.closed.load(Ordering::Acquire) {
            return Err(PoolError::Invalid(
                "appending before an epoch was begun, or after closing".into(),
            ));
        }
        Ok(current)
    }

    /// Writes the fragments of one stripe; returns their length in blocks.
    fn write_stripe(
        &self,
        open: &mut OpenSegment,
        current: Current,
        txg: Txg,
        stripe: u32,
        payload: &Payload<'_>,
    ) -> Result<u32> {
        let segment = Arc::clone(&open.segment);
        let header_len = header_len(payload.tags.len(), sums_of(payload.len));
        let len = header_len + payload.len;
        self.preallocate(open, u64::from(stripe) * BLOCK as u64 + len as u64)?;
        let mut written = 0;
        let live = |shard: &&Shard| self.disks[shard.disk].live().is_some();
        for shard in segment.shards.iter().filter(live) {
            let place = shard.place(self.id, segment.id, stripe);
            let data_len = u32::try_from(payload.len).unwrap_or(u32::MAX);
            let mut header = Header {
                layout: self.layout,
                epoch: current.epoch,
                txg,
                payload_len: data_len,
                data_len,
                punched: false,
                extents: payload.tags.clone(),
                sums: vec![0; sums_of(payload.len)],
            };
            let data_offset = place.file_offset() + header_len as u64;
            header.sums = sum_pieces(place.data_seed(current.epoch), data_offset, &payload.pieces);
            let encoded = header.encode(&place);
            match self.write_fragment(open, shard, place.file_offset(), &encoded, payload) {
                Ok(()) => {
                    let key = HeaderKey {
                        segment: segment.id,
                        stripe,
                        shard: shard.shard,
                    };
                    self.headers.insert(key, Table::new(&place, &header));
                    written += 1;
                }
                Err(error @ DeviceError::NoSpace { .. }) => return Err(error.into()),
                Err(error) => self.set_aside(&self.disks[shard.disk].name(), &error)?,
            }
        }
        if written == 0 {
            return Err(self.stop("no disk took the data"));
        }
        Ok(u32::try_from(len / BLOCK).unwrap_or(u32::MAX))
    }

    /// Takes space ahead of the appends, in steps: cheaper than block by block, and less scattered. A disk without that
    /// much room may still have enough for the write.
    fn preallocate(&self, open: &mut OpenSegment, end: u64) -> Result<()> {
        if end <= open.preallocated {
            return Ok(());
        }
        let step = end.next_multiple_of(PREALLOCATE_STEP) - open.preallocated;
        for shard in &open.segment.shards {
            let disk = &self.disks[shard.disk];
            if disk.live().is_none() {
                continue;
            }
            let taken = open
                .segment
                .file(shard, disk, &self.handles)
                .and_then(|file| file.preallocate(open.preallocated, step));
            match taken {
                Ok(()) | Err(DeviceError::NoSpace { .. }) => {}
                Err(error) => self.set_aside(&disk.name(), &error)?,
            }
        }
        open.preallocated += step;
        Ok(())
    }

    fn write_fragment(
        &self,
        open: &OpenSegment,
        shard: &Shard,
        offset: u64,
        header: &[u8],
        payload: &Payload<'_>,
    ) -> std::result::Result<(), DeviceError> {
        let file = open
            .segment
            .file(shard, &self.disks[shard.disk], &self.handles)?;
        let mut slices: SmallVec<[IoSlice<'_>; 16]> =
            SmallVec::with_capacity(payload.pieces.len() + 1);
        slices.push(IoSlice::new(header));
        slices.extend(payload.pieces.iter().map(|piece| IoSlice::new(piece)));
        file.write_vectored_at(offset, &slices)
    }

    /// The lane's segment, or a new one if it has none, it was sealed, or one of its disks was set aside.
    fn open_segment<'a>(
        &self,
        state: &'a mut LaneState,
        current: Current,
    ) -> Result<&'a mut OpenSegment> {
        let usable = state.open.as_ref().is_some_and(|open| {
            let whole = open
                .segment
                .shards
                .iter()
                .all(|s| self.disks[s.disk].live().is_some());
            whole && open.segment.is_open()
        });
        if !usable {
            self.seal_lane(state);
            state.open = None;
        }
        if state.open.is_none() {
            state.open = Some(self.create_segment(current)?);
        }
        state
            .open
            .as_mut()
            .ok_or_else(|| PoolError::Invalid("no open segment".into()))
    }

    /// Makes the shards of a new segment; a disk that fails is set aside and the others are asked again.
    fn create_segment(&self, current: Current) -> Result<OpenSegment> {
        let number = self.next_segment.fetch_add(1, Ordering::Relaxed);
        let id = SegmentId(u64::from(current.sequence) << 32 | u64::from(number));
        let shards = loop {
            let disks = self.place_segment()?;
            if disks.is_empty() {
                return Err(self.stop("no disk is left"));
            }
            match self.create_shards(id, &disks) {
                Ok(shards) => break shards,
                Err((_, error @ DeviceError::NoSpace { .. })) => return Err(error.into()),
                Err((disk, error)) => self.set_aside(&self.disks[disk].name(), &error)?,
            }
        };
        let segment = Arc::new(Segment::created(id, shards));
        self.segments.insert(Arc::clone(&segment));
        self.handles.opened(&segment);
        Ok(OpenSegment {
            segment,
            payload: 0,
            stripes: 0,
            preallocated: PREALLOCATE_STEP,
        })
    }

    /// All of them, or none and the disk that failed.
    fn create_shards(
        &self,
        id: SegmentId,
        disks: &[usize],
    ) -> std::result::Result<Vec<Shard>, (usize, DeviceError)> {
        let mut shards = Vec::with_capacity(disks.len());
        for (disk, shard) in disks.iter().copied().zip(0u8..) {
            match self.create_shard(disk, id, shard) {
                Ok(file) => shards.push(Shard::created(disk, shard, file)),
                Err(error) => {
                    self.discard_shards(id, &shards);
                    return Err((disk, error));
                }
            }
        }
        Ok(shards)
    }

    fn create_shard(
        &self,
        disk: usize,
        id: SegmentId,
        shard: u8,
    ) -> std::result::Result<Arc<dyn DeviceFile>, DeviceError> {
        let path = shard_path(id, shard, 0);
        let device: &Arc<dyn Device> = self.disks[disk].live().ok_or_else(|| DeviceError::Io {
            device: self.disks[disk].name(),
            operation: "create",
            path: path.clone(),
            message: "the disk is set aside".into(),
        })?;
        device.create(&path, 0)
    }

    /// Best effort: a file without appends is removed at the next opening at the latest.
    fn discard_shards(&self, id: SegmentId, shards: &[Shard]) {
        for shard in shards {
            let Some(device) = self.disks[shard.disk].live() else {
                continue;
            };
            if let Err(error) = device.delete(&shard.path(id)) {
                tracing::warn!(%error, "could not remove an unused shard");
            }
        }
    }

    /// Disks for a new segment: those with most room first, no failure domain twice while there is another.
    fn place_segment(&self) -> Result<Vec<usize>> {
        let mut candidates = Vec::with_capacity(self.disks.len());
        for (index, disk) in self.disks.iter().enumerate() {
            let Some(device) = disk.live() else { continue };
            match device.space() {
                Ok(space) => candidates.push((space.free, index, device.failure_domain())),
                Err(error) => self.set_aside(device.name(), &error)?,
            }
        }
        candidates.sort_by_key(|(free, index, _)| (std::cmp::Reverse(*free), *index));
        let mut chosen: Vec<(usize, u64)> = Vec::with_capacity(self.layout.width());
        for distinct in [true, false] {
            for (_, index, domain) in &candidates {
                let taken = chosen
                    .iter()
                    .any(|(i, d)| i == index || (distinct && d == domain));
                if !taken && chosen.len() < self.layout.width() {
                    chosen.push((*index, *domain));
                }
            }
        }
        Ok(chosen.into_iter().map(|(index, _)| index).collect())
    }

    fn seal_lane(&self, state: &mut LaneState) {
        let Some(open) = state.open.take() else {
            return;
        };
        open.segment.seal();
        let len = u64::from(open.segment.known_end().unwrap_or(0)) * BLOCK as u64;
        for shard in &open.segment.shards {
            let disk = &self.disks[shard.disk];
            if disk.live().is_none() {
                continue;
            }
            // Also cuts off what a failed append left. Without it only space is lost.
            let trimmed = open
                .segment
                .file(shard, disk, &self.handles)
                .and_then(|file| file.set_len(len));
            if let Err(error) = trimmed {
                tracing::warn!(%error, segment = %open.segment.id, "could not trim a shard");
            }
        }
    }

    /// Closes a segment to appends. Does nothing if it is closed already.
    ///
    /// # Errors
    /// [`PoolError::NoSegment`].
    pub fn seal(&self, segment: SegmentId) -> Result<()> {
        let found = self
            .segments
            .get(segment)
            .ok_or(PoolError::NoSegment { segment })?;
        if !found.is_open() {
            return Ok(());
        }
        for lane in &self.lanes {
            let mut state = lane.lock();
            if state
                .open
                .as_ref()
                .is_some_and(|open| open.segment.id == segment)
            {
                self.seal_lane(&mut state);
            }
        }
        Ok(())
    }

    /// Seals all lanes and makes everything durable. Nothing can be appended afterwards; reads go on.
    pub fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        for lane in &self.lanes {
            self.seal_lane(&mut lane.lock());
        }
        let unsynced: Vec<SegmentId> = self
            .segments
            .all()
            .into_iter()
            .filter(|segment| !segment.is_synced())
            .map(|segment| segment.id)
            .collect();
        self.sync_segments(&unsynced)
    }
}
