//! From memory into segments: small buffers of many files are packed into full stripes.

use std::sync::Arc;

use bytes::Bytes;
use strongroom_pool::{ExtentTag, Lane, MAX_STRIPE_PAYLOAD, SegmentId};

use super::{EXTENT_MAX, Entry, Layer, Object, Piece, Sealed, State};
use crate::commit::Failures;
use crate::engine::Engine;
use crate::packing::{self, Packing};
use crate::rows;
use crate::{Compression, ObjectId, Result};

/// Sealed layers whose bytes all lie in segments, as they were under the flush lock.
#[derive(Debug, Default)]
pub(crate) struct SealedLayers {
    /// Each object with the serial of its layer.
    layers: Vec<(Arc<Object>, u64)>,
    segments: Vec<SegmentId>,
}

impl SealedLayers {
    /// Takes note of the sealed layers of these objects. The caller still holds the flush lock under which they were
    /// flushed.
    pub(crate) fn add(&mut self, objects: Vec<Arc<Object>>) {
        for object in objects {
            let state = object.state.lock();
            let Some(sealed) = &state.sealed else {
                continue;
            };
            collect_segments(&sealed.layer, &mut self.segments);
            let serial = sealed.serial;
            drop(state);
            self.layers.push((object, serial));
        }
        self.segments.sort_unstable();
        self.segments.dedup();
    }

    pub(crate) fn segments(&self) -> &[SegmentId] {
        &self.segments
    }

    /// Says that these segments are durable. A layer that was sealed anew since may name others, so it stays as it is.
    pub(crate) fn mark_synced(&self) {
        for (object, serial) in &self.layers {
            if let Some(sealed) = &mut object.state.lock().sealed
                && sealed.serial == *serial
            {
                sealed.synced = true;
            }
        }
    }

    pub(crate) fn into_objects(self) -> Vec<Arc<Object>> {
        self.layers.into_iter().map(|(object, _)| object).collect()
    }
}

/// Extents on their way into one stripe.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    engine: &'a Engine,
    room: usize,
    used: usize,
    items: Vec<Item>,
}

/// Bytes of an object that will be an extent.
#[derive(Debug)]
pub(super) struct Item {
    object: ObjectId,
    start: u64,
    /// As they are stored.
    bytes: Bytes,
    whole: u32,
    packing: Option<Packing>,
}

/// Bytes by where they begin in their object.
type Pieces = Vec<(u64, Bytes)>;

/// A range whose bytes lie in a segment now.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) piece: Piece,
}

impl<'a> Batch<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        let room = MAX_STRIPE_PAYLOAD * usize::from(engine.pool.layout().data.max(1));
        Self {
            engine,
            room,
            used: 0,
            items: Vec::new(),
        }
    }

    fn fits(&self, item: &Item) -> bool {
        // The stripe's header lists its extents, so their number is bounded, too.
        self.used + item.bytes.len().next_multiple_of(4096) <= self.room && self.items.len() < 256
    }

    /// Compresses what is to be.
    pub(super) fn pack(
        &self,
        object: ObjectId,
        compression: Compression,
        start: u64,
        bytes: Bytes,
    ) -> Item {
        let whole = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let packed = self.engine.packer.pack(compression, &[&bytes]);
        let (bytes, packing) = match packed {
            Some((packed, packing)) => (Bytes::from(packed), Some(packing)),
            None => (bytes, None),
        };
        Item {
            object,
            start,
            bytes,
            whole,
            packing,
        }
    }

    pub(super) fn add(&mut self, item: Item) {
        self.used += item.bytes.len().next_multiple_of(4096);
        self.items.push(item);
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Writes the stripes and empties the batch. What was placed before an error is in `placed`, too.
    pub(super) fn append(&mut self, lane: Lane, placed: &mut Vec<Placed>) -> Result<()> {
        let items = std::mem::take(&mut self.items);
        self.used = 0;
        let mut rest = items.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.fitting(rest));
            placed.extend(self.append_stripe(lane, now)?);
            rest = later;
        }
        Ok(())
    }

    fn fitting(&self, items: &[Item]) -> usize {
        let mut used = 0;
        let fits = items.iter().take(256).take_while(|item| {
            used += item.bytes.len().next_multiple_of(4096);
            used <= self.room
        });
        fits.count().max(1)
    }

    fn append_stripe(&self, lane: Lane, items: &[Item]) -> Result<Vec<Placed>> {
        let txg = self.engine.open_txg();
        let parts: Vec<[&[u8]; 1]> = items.iter().map(|item| [&item.bytes[..]]).collect();
        let tag = |item: &Item| ExtentTag {
            inode: item.object.inode.0,
            stream: item.object.stream,
            offset: item.start,
            len: u32::try_from(item.bytes.len()).unwrap_or(u32::MAX),
            txg,
            packing: packing::note_of(item.packing, item.whole),
        };
        let extents: Vec<(ExtentTag, &[&[u8]])> = items
            .iter()
            .zip(&parts)
            .map(|(item, part)| (tag(item), &part[..]))
            .collect();
        let addresses = self.engine.append(lane, &extents)?;
        assert_eq!(
            addresses.len(),
            items.len(),
            "the pool gives an address for every extent"
        );
        let placed = |(item, address): (&Item, _)| {
            let piece = Piece::Extent {
                address,
                start: 0,
                whole: item.whole,
                packing: item.packing,
            };
            Placed {
                start: item.start,
                len: u64::from(item.whole),
                piece,
            }
        };
        Ok(items.iter().zip(addresses).map(placed).collect())
    }
}

impl Engine {
    /// Seals these objects and brings their bytes into segments. Returns those that wait to be published; those that
    /// cannot be stored are failures and keep what they have. The caller holds the flush lock.
    pub(crate) fn flush_objects(
        &self,
        objects: &[Arc<Object>],
        failures: &mut Failures,
    ) -> Vec<Arc<Object>> {
        let mut sealed = Vec::with_capacity(objects.len());
        let mut batch = Batch::new(self);
        let mut waiting: Vec<Arc<Object>> = Vec::new();
        for object in objects {
            let (compression, pieces) = match self.seal(object) {
                Ok(Some(sealed)) => sealed,
                Ok(None) => continue,
                Err(error) => {
                    failures.insert(object.id, error);
                    continue;
                }
            };
            for (start, bytes) in pieces {
                let item = batch.pack(object.id, compression, start, bytes);
                if !batch.fits(&item) {
                    self.flush_batch(&mut batch, &mut waiting, failures);
                }
                batch.add(item);
                waiting.push(Arc::clone(object));
            }
            sealed.push(Arc::clone(object));
        }
        if !batch.is_empty() {
            self.flush_batch(&mut batch, &mut waiting, failures);
        }
        sealed.retain(|object| !failures.contains_key(&object.id));
        sealed
    }

    /// Stores a batch whose extents belong to `objects`, and empties both.
    fn flush_batch(
        &self,
        batch: &mut Batch<'_>,
        objects: &mut Vec<Arc<Object>>,
        failures: &mut Failures,
    ) {
        // What is nearly a stripe by itself does not belong among the small ones.
        let lane = if batch.items.len() == 1 && batch.used >= EXTENT_MAX / 2 {
            Lane::Stream(0)
        } else {
            Lane::Small
        };
        let mut placed = Vec::with_capacity(objects.len());
        let appended = batch.append(lane, &mut placed);
        assert!(
            placed.len() == objects.len() || appended.is_err(),
            "every extent of a batch has its object"
        );
        let mut objects = objects.drain(..);
        for (placed, object) in placed.into_iter().zip(&mut objects) {
            self.put_placed(&object, placed);
        }
        if let Err(error) = appended {
            failures.extend(objects.map(|object| (object.id, error.clone())));
        }
    }

    fn put_placed(&self, object: &Object, placed: Placed) {
        let mut state = object.state.lock();
        if let Some(sealed) = &mut state.sealed {
            sealed.layer.replace(placed.start, placed.piece);
        } else {
            // The object died while its bytes were on their way.
            self.orphan_piece(&placed.piece, placed.len);
        }
        self.settle(&mut state);
    }

    /// Moves the pending layer over to the sealed one. Returns the bytes that need a segment and how they are to be
    /// compressed, or None if nothing changed.
    fn seal(&self, object: &Object) -> Result<Option<(Compression, Pieces)>> {
        let Some(mut state) = self.attached(object)? else {
            return Ok(None);
        };
        if state.is_clean() {
            self.release_if_clean(object, &mut state);
            return Ok(None);
        }
        let pieces = self.seal_state(object.id, &mut state)?;
        Ok(Some((state.compression, pieces)))
    }

    fn seal_state(&self, id: ObjectId, state: &mut State) -> Result<Pieces> {
        let mut dropped = Vec::new();
        let pending = std::mem::take(&mut state.pending);
        let mut layer = match state.sealed.take() {
            Some(mut sealed) => {
                sealed.layer.cover(pending, &mut dropped);
                sealed.layer
            }
            None => pending,
        };
        self.orphan(&dropped);
        layer.freeze();
        let inline = self.stays_inline(state, &layer);
        let filled = if inline {
            Ok(())
        } else {
            self.fill_from_inline(id, state, &mut layer)
        };
        let frozen = |(start, entry): (u64, &Entry)| match &entry.piece {
            Piece::Frozen(bytes) => Some((start, bytes.clone())),
            Piece::Buffer { .. } | Piece::Extent { .. } | Piece::Hole => None,
        };
        let pieces = if inline {
            Vec::new()
        } else {
            layer.iter().filter_map(frozen).collect()
        };
        state.seals += 1;
        state.sealed = Some(Sealed {
            layer,
            head: state.head,
            session: state.session,
            serial: state.seals,
            filled: filled.is_ok(),
            synced: false,
        });
        state.changed = false;
        filled.map(|()| pieces)
    }

    /// Small content lives in a row of its own, as long as no extents were made for it.
    pub(super) fn stays_inline(&self, state: &State, layer: &Layer) -> bool {
        let size = state.head.size;
        let streamed = layer
            .iter()
            .any(|(_, entry)| matches!(entry.piece, Piece::Extent { .. }));
        let mapped = state.published.head.size > 0 && !state.published.inline;
        size == 0 || (size <= self.options.inline_max as u64 && !mapped && !streamed)
    }

    /// What the inline row holds and the layer does not hide needs a place in a segment.
    fn fill_from_inline(&self, id: ObjectId, state: &State, layer: &mut Layer) -> Result<()> {
        if !state.published.inline {
            return Ok(());
        }
        let content = self
            .get(rows::INLINE, &rows::object_key(id))?
            .unwrap_or_default();
        let end = (content.len() as u64).min(state.head.size);
        for (start, end) in super::read::gaps(layer, 0, end) {
            let range = to_index(start)..to_index(end);
            let entry = Entry {
                end,
                session: state.session,
                piece: Piece::Frozen(content.slice(range)),
            };
            layer.insert(start, entry, &mut Vec::new());
        }
        Ok(())
    }
}

fn to_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

pub(super) fn collect_segments(layer: &Layer, segments: &mut Vec<SegmentId>) {
    for (_, entry) in layer.iter() {
        if let Piece::Extent { address, .. } = &entry.piece
            && segments.last() != Some(&address.segment)
        {
            segments.push(address.segment);
        }
    }
}

#[cfg(test)]
mod tests;
