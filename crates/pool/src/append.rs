//! Appending stripes: each lane fills its own open segment.

use std::borrow::Borrow;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;
use strongroom_device::{DeviceError, DeviceFile};

use crate::disk::Disk;
use crate::fragment::{Header, sum_pieces, sums_of};
use crate::geometry::{UNIT, shard_len, stripe_len, units};
use crate::headers::HeaderKey;
use crate::parity::Parity;
use crate::pool::{Current, Pool};
use crate::sealed;
use crate::segment::{Segment, Shard, shard_path};
use crate::{
    Address, BLOCK, ErrorKind, ExtentTag, Lane, Layout, MAX_STRIPE_PAYLOAD, PoolError, Result,
    SegmentId, Txg,
};

/// A segment is sealed once a shard holds this much payload, or this many stripes. On small disks less, so that many of
/// them lie on each, and the choice of disks for each keeps these equally full.
const SEGMENT_PAYLOAD: u64 = 64 << 20;
const SEGMENT_PAYLOAD_LEAST: u64 = 2 << 20;
const SEGMENTS_A_DISK: u64 = 64;
const SEGMENT_STRIPES: u32 = 1000;
/// Shard files take space in such steps ahead of the appends, in smaller ones where room is short: what one lane took
/// ahead no other can use.
const PREALLOCATE_STEP: u64 = 8 << 20;
const PREALLOCATE_LEAST: u64 = 256 << 10;

static ZEROES: [u8; UNIT] = [0; UNIT];

/// The open segment of a lane.
#[derive(Debug, Default)]
pub(crate) struct LaneState {
    open: Option<OpenSegment>,
    /// Room for parity, kept from one append to the next.
    parity: Parity,
}

#[derive(Debug)]
struct OpenSegment {
    segment: Arc<Segment>,
    payload: u64,
    payload_max: u64,
    stripes: u32,
    /// Appends, also those that failed.
    attempts: u64,
    preallocated: u64,
    /// Bytes behind short fragments that nothing will be written to: the shard, offset and length.
    gaps: Vec<(u8, u64, u64)>,
}

impl OpenSegment {
    /// Remembers what short fragments of a stripe that ends at `end` leave unused.
    fn note_gaps(&mut self, layout: Layout, payload: usize, end: u64) {
        for shard in 0..layout.data {
            let unused = stripe_len(layout, payload) - shard_len(layout, shard, payload);
            if unused > 0 {
                let gap = unused as u64;
                self.gaps.push((shard, end - gap, gap));
            }
        }
    }
}

/// The payload of one stripe, in pieces, with padding, and where its extents lie.
struct Payload<'a> {
    pieces: Vec<&'a [u8]>,
    tags: Vec<(ExtentTag, u32)>,
    len: usize,
}

impl<'a> Payload<'a> {
    /// Lays the extents one after the other. One that fits into a stripe unit does not begin in one and end in the next,
    /// unless there is no room to spare.
    fn gather(extents: &[(ExtentTag, &[&'a [u8]])], layout: Layout) -> Result<Self> {
        let max = MAX_STRIPE_PAYLOAD * usize::from(layout.data);
        let whole = layout.data > 1;
        let mut payload = Self::lay(extents, whole)?;
        if whole && payload.len > max {
            payload = Self::lay(extents, false)?;
        }
        if payload.len == 0 || payload.len > max {
            let len = payload.len;
            return Err(PoolError::Invalid(format!(
                "a stripe of {len} bytes; 1 to {max} fit"
            )));
        }
        Ok(payload)
    }

    fn lay(extents: &[(ExtentTag, &[&'a [u8]])], whole: bool) -> Result<Self> {
        let slices = extents.iter().map(|(_, slices)| slices.len() + 2).sum();
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
            let inside = payload.len % UNIT;
            if whole && len <= UNIT && inside + len > UNIT {
                payload.pad(UNIT - inside);
            }
            let offset = u32::try_from(payload.len).unwrap_or(u32::MAX);
            payload.tags.push((*tag, offset));
            let given = slices.iter().filter(|slice| !slice.is_empty());
            payload.pieces.extend(given);
            payload.len += len;
            payload.pad(len.next_multiple_of(BLOCK) - len);
        }
        Ok(payload)
    }

    /// Fewer zeroes than a unit.
    fn pad(&mut self, zeroes: usize) {
        if zeroes > 0 {
            self.pieces.push(&ZEROES[..zeroes]);
            self.len += zeroes;
        }
    }
}

/// The payload cut into units, and the parity of it.
struct Pieces<'a> {
    units: Vec<SmallVec<[&'a [u8]; 2]>>,
    parity: &'a Parity,
}

impl<'a> Pieces<'a> {
    /// The bytes of one shard: its units, or parity.
    fn of(&self, layout: Layout, shard: u8) -> SmallVec<[&'a [u8]; 16]> {
        let units = self.units.iter();
        if layout.data == 1 {
            return units.flatten().copied().collect();
        }
        if let Some(row) = shard.checked_sub(layout.data) {
            return SmallVec::from_iter([self.parity.shard(row)]);
        }
        let mine = units
            .skip(usize::from(shard))
            .step_by(usize::from(layout.data));
        mine.flatten().copied().collect()
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
    /// goes on; [`PoolError::WritingStopped`] when too few disks are left.
    pub fn append(
        &self,
        lane: Lane,
        txg: Txg,
        extents: &[(ExtentTag, &[&[u8]])],
    ) -> Result<Vec<Address>> {
        let payload = Payload::gather(extents, self.layout)?;
        let mut state = self.lanes[lane.index()].lock();
        self.refuse_if_stopped()?;
        let placed = match self.append_to_lane(&mut state, txg, &payload) {
            Err(error) if error.kind() == ErrorKind::NoSpace && self.has_room(&state, &payload) => {
                self.give_up_place(&mut state, true);
                self.append_to_lane(&mut state, txg, &payload)
            }
            placed => placed,
        };
        if placed.is_err() {
            self.give_up_place(&mut state, false);
        }
        let (segment, stripe) = placed?;
        self.activity.wrote(payload.len);
        let address = |(_, offset): &(ExtentTag, u32)| Address {
            segment,
            stripe,
            offset: *offset,
        };
        Ok(payload.tags.iter().map(address).collect())
    }

    fn append_to_lane(
        &self,
        state: &mut LaneState,
        txg: Txg,
        payload: &Payload<'_>,
    ) -> Result<(SegmentId, u32)> {
        let current = self.current_epoch()?;
        self.prepare_lane(state, current)?;
        let LaneState { open, parity } = &mut *state;
        let Some(open) = open.as_mut() else {
            return Err(PoolError::Invalid("no open segment".into()));
        };
        let stripe = open.segment.known_end().unwrap_or(0);
        open.attempts += 1;
        let mut header = self.header_of_append(payload, current, txg, open.attempts);
        // Only what is encrypted reaches parity, checksums and disks.
        let sealed = self.seal_payload((open.segment.id, stripe), payload, &mut header)?;
        let stored: &[&[u8]] = match &sealed {
            Some(bytes) => &[bytes],
            None => &payload.pieces,
        };
        let units = units(self.layout, stored);
        parity.compute(&self.code, self.layout, &units, payload.len);
        if self.planted.forget_parity {
            parity.forget();
        }
        let pieces = Pieces { units, parity };
        let blocks = self.write_stripe(open, stripe, &header, &pieces)?;
        open.payload += payload.len as u64 / u64::from(self.layout.data);
        open.stripes += 1;
        open.segment.appended_to(stripe + blocks);
        let segment = open.segment.id;
        drop(pieces);
        let full = open.payload >= open.payload_max || open.stripes >= SEGMENT_STRIPES;
        if full {
            self.seal_lane(state);
        }
        Ok((segment, stripe))
    }

    /// What a stripe that found no room left on some shards looks like a whole one there, and a write of the next in its
    /// place could be lost. So nothing is ever written there: the segment ends before it.
    fn give_up_place(&self, state: &mut LaneState, again: bool) {
        if self.planted.repeat_in_place && !again {
            return;
        }
        let Some(segment) = state.open.as_ref().map(|open| Arc::clone(&open.segment)) else {
            return;
        };
        self.seal_lane(state);
        if segment.known_end() == Some(0) {
            let _upkeep = segment.upkeep.lock();
            self.segments.remove(segment.id);
            self.headers.remove_segment(segment.id);
            self.handles.forget(segment.id);
            discard_shards(segment.id, &segment.live_shards());
        }
    }

    /// Whether another choice of disks than that of the lane's segment, one of which is full, could take the payload.
    fn has_room(&self, state: &LaneState, payload: &Payload<'_>) -> bool {
        let Some(open) = &state.open else {
            return false;
        };
        let Ok(others) = self.place_segment(open.segment.id) else {
            return false;
        };
        let len = (stripe_len(self.layout, payload.len) + 2 * BLOCK) as u64;
        let roomy = |disk: &Arc<Disk>| {
            let space = disk.live().map(|device| device.space());
            space.is_some_and(|space| space.is_ok_and(|space| space.free >= len))
        };
        let shards = open.segment.live_shards();
        let known = |disk: &Arc<Disk>| shards.iter().any(|shard| Arc::ptr_eq(&shard.disk, disk));
        others.len() >= shards.len() && others.iter().all(roomy) && !others.iter().all(known)
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

    /// What the headers of a stripe have in common.
    fn header_of_append(
        &self,
        payload: &Payload<'_>,
        current: Current,
        txg: Txg,
        attempt: u64,
    ) -> Header {
        Header {
            layout: self.layout,
            epoch: current.epoch,
            txg,
            payload_len: u32::try_from(payload.len).unwrap_or(u32::MAX),
            data_len: 0,
            punched: false,
            attempt,
            extents: payload.tags.clone(),
            sums: Vec::new(),
            seal: None,
        }
    }

    /// The payload as an encrypted pool stores it; None if it stays as it is.
    fn seal_payload(
        &self,
        place: (SegmentId, u32),
        payload: &Payload<'_>,
        header: &mut Header,
    ) -> Result<Option<Vec<u8>>> {
        let Some(cipher) = self.cipher_if_encrypted()? else {
            return Ok(None);
        };
        let mut bytes = payload.pieces.concat();
        sealed::seal(&cipher, place, header, &mut bytes);
        Ok(Some(bytes))
    }

    /// Writes the fragments of one stripe; returns their length in blocks.
    fn write_stripe(
        &self,
        open: &mut OpenSegment,
        stripe: u32,
        header: &Header,
        pieces: &Pieces<'_>,
    ) -> Result<u32> {
        let payload_len = header.payload_len as usize;
        let len = header.len() + stripe_len(self.layout, payload_len);
        let end = u64::from(stripe) * BLOCK as u64 + len as u64;
        self.preallocate(open, end)?;
        let mut written = 0;
        for shard in open.segment.shards().iter().flatten() {
            if !shard.is_live() {
                continue;
            }
            let data = pieces.of(self.layout, shard.shard);
            match self.write_fragment(open, shard, stripe, header.for_shard(shard.shard), &data) {
                Ok(()) => written += 1,
                Err(error @ DeviceError::NoSpace { .. }) => return Err(error.into()),
                Err(error) => self.set_aside_disk(&shard.disk, &error)?,
            }
        }
        if written < usize::from(self.layout.data) {
            return Err(self.stop("too few disks took the data"));
        }
        open.note_gaps(self.layout, payload_len, end);
        Ok(u32::try_from(len / BLOCK).unwrap_or(u32::MAX))
    }

    /// Takes space ahead of the appends, in steps: cheaper than block by block, and less scattered. A disk without that
    /// much room may still have enough for the write.
    fn preallocate(&self, open: &mut OpenSegment, end: u64) -> Result<()> {
        if end <= open.preallocated {
            return Ok(());
        }
        let step = end.next_multiple_of(self.ahead(open)) - open.preallocated;
        for shard in open.segment.live_shards() {
            let taken = open
                .segment
                .file(&shard, &self.handles)
                .and_then(|file| file.preallocate(open.preallocated, step));
            match taken {
                Ok(()) | Err(DeviceError::NoSpace { .. }) => {}
                Err(error) => self.set_aside_disk(&shard.disk, &error)?,
            }
        }
        open.preallocated += step;
        Ok(())
    }

    /// How far ahead space is taken: little of what the fullest disk has left.
    fn ahead(&self, open: &OpenSegment) -> u64 {
        let shards = open.segment.live_shards();
        let free = shards.iter().filter_map(|shard| {
            let space = shard.disk.live()?.space().ok()?;
            Some(space.free)
        });
        let part = free.min().unwrap_or(0) / 256;
        let whole = part - part % PREALLOCATE_LEAST;
        whole.clamp(PREALLOCATE_LEAST, PREALLOCATE_STEP)
    }

    /// Gives the header its checksums and writes it with its data.
    fn write_fragment(
        &self,
        open: &OpenSegment,
        shard: &Shard,
        stripe: u32,
        mut header: Header,
        data: &[&[u8]],
    ) -> std::result::Result<(), DeviceError> {
        let place = shard.place(self.id, open.segment.id, stripe);
        let data_offset = place.file_offset() + header.len() as u64;
        header.sums = if self.planted.forget_checksums {
            vec![0; sums_of(data.iter().map(|piece| piece.len()).sum())]
        } else {
            sum_pieces(place.data_seed(header.epoch), data_offset, data)
        };
        let encoded = header.encode(&place);
        let mut slices: SmallVec<[IoSlice<'_>; 16]> = SmallVec::with_capacity(data.len() + 1);
        slices.push(IoSlice::new(&encoded));
        slices.extend(data.iter().map(|piece| IoSlice::new(piece)));
        let file = open.segment.file(shard, &self.handles)?;
        file.write_vectored_at(place.file_offset(), &slices)?;
        self.headers
            .insert(HeaderKey::of(&place), self.new_table(&place, &header));
        Ok(())
    }

    /// Sees to it that the lane has a segment: a new one if it has none, it was sealed, or one of its disks was set aside.
    fn prepare_lane(&self, state: &mut LaneState, current: Current) -> Result<()> {
        let usable = state.open.as_ref().is_some_and(|open| {
            let shards = open.segment.shards();
            let whole = shards
                .iter()
                .flatten()
                .all(|shard| shard.disk.takes_shards());
            whole && open.segment.is_open()
        });
        if !usable {
            self.seal_lane(state);
        }
        if state.open.is_none() {
            state.open = Some(self.create_segment(current)?);
        }
        Ok(())
    }

    /// Makes the shards of a new segment; a disk that fails is set aside and the others are asked again.
    fn create_segment(&self, current: Current) -> Result<OpenSegment> {
        let number = self.next_segment.fetch_add(1, Ordering::Relaxed);
        let id = SegmentId(u64::from(current.sequence) << 32 | u64::from(number));
        let shards = loop {
            let disks = self.place_segment(id)?;
            if disks.len() < usize::from(self.layout.data) {
                return Err(self.stop("too few disks are left"));
            }
            match self.create_shards(id, &disks) {
                Ok(shards) => break shards,
                Err((_, error @ DeviceError::NoSpace { .. })) => return Err(error.into()),
                Err((disk, error)) => self.set_aside_disk(&disk, &error)?,
            }
        };
        let sizes = shards.iter().filter_map(|shard| {
            let space = shard.disk.live()?.space().ok()?;
            Some(space.total)
        });
        let part = sizes.min().unwrap_or(u64::MAX) / SEGMENTS_A_DISK;
        let payload_max = part.clamp(SEGMENT_PAYLOAD_LEAST, SEGMENT_PAYLOAD);
        let segment = Arc::new(Segment::created(id, self.layout.width(), shards));
        self.segments.insert(Arc::clone(&segment));
        self.handles.opened(&segment);
        Ok(OpenSegment {
            segment,
            payload: 0,
            payload_max,
            stripes: 0,
            attempts: 0,
            preallocated: PREALLOCATE_STEP,
            gaps: Vec::new(),
        })
    }

    /// All of them, or none and the disk that failed.
    fn create_shards(
        &self,
        id: SegmentId,
        disks: &[Arc<Disk>],
    ) -> std::result::Result<Vec<Shard>, (Arc<Disk>, DeviceError)> {
        let mut shards = Vec::with_capacity(disks.len());
        for (disk, shard) in disks.iter().zip(0u8..) {
            match create_shard(disk, id, shard) {
                Ok(file) => {
                    shards.push(Shard::created(Arc::clone(disk), shard, 0, Some(file)));
                }
                Err(error) => {
                    discard_shards(id, &shards);
                    return Err((Arc::clone(disk), error));
                }
            }
        }
        Ok(shards)
    }

    fn seal_lane(&self, state: &mut LaneState) {
        let Some(open) = state.open.take() else {
            return;
        };
        open.segment.seal();
        let len = u64::from(open.segment.known_end().unwrap_or(0)) * BLOCK as u64;
        for shard in open.segment.live_shards() {
            // Also cuts off what a failed append left. Without it only space is lost.
            let trimmed = open
                .segment
                .file(&shard, &self.handles)
                .and_then(|file| trim(&*file, &shard, len, &open.gaps));
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

fn create_shard(
    disk: &Disk,
    id: SegmentId,
    shard: u8,
) -> std::result::Result<Arc<dyn DeviceFile>, DeviceError> {
    let path = shard_path(id, shard, 0);
    disk.live_or_error("create", &path)?.create(&path, 0)
}

/// Best effort: a file without appends is removed at the next opening at the latest.
fn discard_shards<S: Borrow<Shard>>(id: SegmentId, shards: &[S]) {
    for shard in shards {
        let shard = shard.borrow();
        let Some(device) = shard.disk.live() else {
            continue;
        };
        if let Err(error) = device.delete(&shard.path(id)) {
            tracing::warn!(%error, "could not remove an unused shard");
        }
    }
}

/// Cuts a shard to its length, and gives back what was taken ahead behind its short fragments.
fn trim(
    file: &dyn DeviceFile,
    shard: &Shard,
    len: u64,
    gaps: &[(u8, u64, u64)],
) -> std::result::Result<(), DeviceError> {
    file.set_len(len)?;
    let mine = gaps.iter().filter(|(number, _, _)| *number == shard.shard);
    for (_, offset, gap) in mine {
        file.punch(*offset, *gap)?;
    }
    Ok(())
}
