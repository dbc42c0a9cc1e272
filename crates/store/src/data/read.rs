//! Reading: pending changes, then sealed ones, then the rows; what is nowhere is a hole.

use std::sync::Arc;

use strongroom_pool::Address;

use super::{EXTENT_MAX, Entry, Layer, Piece, State};
use crate::engine::Engine;
use crate::index::Snapshot;
use crate::packing::{Packed, Packing};
use crate::rows::{self, ExtentRow, HeadRow};
use crate::{DataHead, ObjectId, Result, StoreError, View};

/// Rows by file offset, and the snapshot that keeps what they name in place.
type PinnedExtents = (Vec<(u64, ExtentRow)>, Arc<dyn Snapshot>);

/// Bytes of a buffer that lie in a segment.
#[derive(Debug)]
struct Stored {
    address: Address,
    start: u32,
    /// Its whole length and how it is stored, if it is compressed.
    packed: Option<(u32, Packing)>,
    /// Where in the caller's buffer.
    at: usize,
    len: usize,
}

/// The parts of `start..end` that no range of the layer covers.
pub(super) fn gaps(layer: &Layer, start: u64, end: u64) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    let mut at = start;
    for (from, entry) in layer.overlapping(start, end) {
        if from > at {
            gaps.push((at, from));
        }
        at = at.max(entry.end);
    }
    if at < end {
        gaps.push((at, end));
    }
    gaps
}

/// A read in progress: the caller's buffer and what of it is still to be found.
struct Read<'a> {
    offset: u64,
    buffer: &'a mut [u8],
    missing: Vec<(u64, u64)>,
    stored: Vec<Stored>,
}

impl<'a> Read<'a> {
    fn new(offset: u64, buffer: &'a mut [u8]) -> Self {
        let end = offset + buffer.len() as u64;
        Self {
            offset,
            buffer,
            missing: vec![(offset, end)],
            stored: Vec::new(),
        }
    }

    fn index(&self, at: u64) -> usize {
        usize::try_from(at - self.offset).unwrap_or(usize::MAX)
    }

    /// Takes what a layer has.
    fn take(&mut self, layer: &Layer) {
        if layer.is_empty() {
            return;
        }
        for (start, end) in std::mem::take(&mut self.missing) {
            for (from, entry) in layer.overlapping(start, end) {
                self.take_entry(from, entry, start.max(from), end.min(entry.end));
            }
            self.missing.extend(gaps(layer, start, end));
        }
    }

    fn take_entry(&mut self, from: u64, entry: &Entry, start: u64, end: u64) {
        let (at, to) = (self.index(start), self.index(end));
        let skip = usize::try_from(start - from).unwrap_or(usize::MAX);
        let target = &mut self.buffer[at..to];
        match &entry.piece {
            Piece::Buffer { data, .. } => target.copy_from_slice(&data[skip..skip + to - at]),
            Piece::Frozen(data) => target.copy_from_slice(&data[skip..skip + to - at]),
            Piece::Hole => target.fill(0),
            Piece::Extent {
                address,
                start,
                whole,
                packing,
            } => {
                let start = start + u32::try_from(skip).unwrap_or(u32::MAX);
                self.stored.push(Stored {
                    address: *address,
                    start,
                    packed: packing.map(|packing| (*whole, packing)),
                    at,
                    len: to - at,
                });
            }
        }
    }

    /// Zeroes what nothing covers, then takes what the rows map.
    fn take_rows(&mut self, rows: &[(u64, ExtentRow)]) {
        for (start, end) in std::mem::take(&mut self.missing) {
            let (from, to) = (self.index(start), self.index(end));
            let mut at = start;
            for (offset, row) in rows {
                let row_end = offset + u64::from(row.len);
                let (a, b) = (start.max(*offset), end.min(row_end));
                if a >= b {
                    continue;
                }
                self.zero(at, a);
                at = b;
                let start = row.start + u32::try_from(a - offset).unwrap_or(u32::MAX);
                let len = usize::try_from(b - a).unwrap_or(usize::MAX);
                self.stored.push(Stored {
                    address: row.address,
                    start,
                    packed: row.packing.map(|packing| (row.whole, packing)),
                    at: self.index(a),
                    len,
                });
            }
            self.zero(at, end);
            debug_assert!(from <= to);
        }
    }

    fn zero(&mut self, start: u64, end: u64) {
        if start < end {
            let (from, to) = (self.index(start), self.index(end));
            self.buffer[from..to].fill(0);
        }
    }

    fn take_inline(&mut self, content: &[u8]) {
        for (start, end) in std::mem::take(&mut self.missing) {
            let (from, to) = (self.index(start), self.index(end));
            let skip = usize::try_from(start)
                .unwrap_or(usize::MAX)
                .min(content.len());
            let have = (content.len() - skip).min(to - from);
            self.buffer[from..from + have].copy_from_slice(&content[skip..skip + have]);
            self.buffer[from + have..to].fill(0);
        }
    }

    /// Reads from the segments. `pin` is the snapshot that keeps in place what rows named.
    fn fetch(&mut self, engine: &Engine, pin: &dyn Snapshot) -> Result<()> {
        for stored in std::mem::take(&mut self.stored) {
            let target = &mut self.buffer[stored.at..stored.at + stored.len];
            let address = engine.locate(pin, stored.address)?;
            engine.read_extent(address, &stored, target)?;
        }
        Ok(())
    }
}

impl Engine {
    fn read_extent(&self, at: Address, stored: &Stored, target: &mut [u8]) -> Result<()> {
        let fetch = |start: u32, buffer: &mut [u8]| {
            let read = self.pool.read(at, start, buffer);
            read.map_err(StoreError::from)
        };
        match stored.packed {
            None => fetch(stored.start, target),
            Some((whole, packing)) => {
                let packed = Packed { at, packing, whole };
                self.packer.read(&packed, stored.start, target, &fetch)
            }
        }
    }

    /// Fills `buffer` from `offset`; short only at the end of the data.
    pub(crate) fn read(
        &self,
        view: &View,
        id: ObjectId,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize> {
        let read = self.read_now(view, id, offset, buffer)?;
        if read > 0 {
            self.read_on(view, id, offset, read);
        }
        Ok(read)
    }

    fn read_now(&self, view: &View, id: ObjectId, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if view.is_now()
            && let Some(object) = self.objects.get(id)
            && let Some(mut state) = self.attached(&object)?
        {
            let result = self.read_changed(id, &state, offset, buffer);
            self.release_if_clean(&object, &mut state);
            return result;
        }
        self.read_published(view, id, offset, buffer, &|| {})
    }

    /// Reads an object that has no state in memory. `between` runs between its look-ups, where another thread may
    /// publish the object; a past state does not change by that.
    fn read_published(
        &self,
        view: &View,
        id: ObjectId,
        offset: u64,
        buffer: &mut [u8],
        between: &dyn Fn(),
    ) -> Result<usize> {
        loop {
            let seen = self.overlay.published(id.inode);
            let Some(row) = self.head_row(view, id)? else {
                return Ok(0);
            };
            between();
            let len = clamp(row.head.size, offset, buffer.len());
            let mut read = Read::new(offset, &mut buffer[..len]);
            let pin = self.find_rows(view, id, &row, &mut read)?;
            if !view.is_now() || self.overlay.published(id.inode) == seen {
                if let Some(pin) = pin {
                    read.fetch(self, &*pin)?;
                }
                return Ok(len);
            }
        }
    }

    fn read_changed(
        &self,
        id: ObjectId,
        state: &State,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize> {
        let len = clamp(state.head.size, offset, buffer.len());
        let mut read = Read::new(offset, &mut buffer[..len]);
        read.take(&state.pending);
        if let Some(sealed) = &state.sealed {
            read.take(&sealed.layer);
        }
        let pin = self.find_rows(&View::Now, id, &state.published, &mut read)?;
        if !read.stored.is_empty() {
            // What lies in the layers alone needs a pin, too, should the index know of it.
            let pin = pin.unwrap_or_else(|| self.index.snapshot());
            read.fetch(self, &*pin)?;
        }
        Ok(len)
    }

    /// What the layers did not have. What the rows name stays in place while the snapshot is held.
    fn find_rows(
        &self,
        view: &View,
        id: ObjectId,
        head: &HeadRow,
        read: &mut Read<'_>,
    ) -> Result<Option<Arc<dyn Snapshot>>> {
        read.missing.retain(|(start, end)| start < end);
        let (Some(first), Some(last)) = (read.missing.first(), read.missing.last()) else {
            return Ok(None);
        };
        let (start, end) = (first.0, last.1);
        if head.inline {
            let content = self
                .get_in(view, rows::INLINE, &rows::object_key(id))?
                .unwrap_or_default();
            read.take_inline(&content);
            return Ok(None);
        }
        let (rows, pin) = self.extent_rows(view, id, start, end)?;
        read.take_rows(&rows);
        Ok(Some(pin))
    }

    /// The rows that overlap `start..end`, in order, and the snapshot that keeps what they name in place.
    pub(crate) fn extent_rows(
        &self,
        view: &View,
        id: ObjectId,
        start: u64,
        end: u64,
    ) -> Result<PinnedExtents> {
        // No row is longer than the longest extent; most reads begin where a row does, or near it.
        for back in [0, 128 << 10, EXTENT_MAX as u64] {
            let from = start.saturating_sub(back);
            let (rows, pin) = self.extent_rows_from(view, id, from, end)?;
            let reaches = rows.first().is_some_and(|(at, row)| {
                *at == start || (*at < start && at + u64::from(row.len) > start)
            });
            let first = rows
                .iter()
                .position(|(at, row)| at + u64::from(row.len) > start);
            let covered = first.is_some_and(|first| rows[first].0 <= start);
            if reaches || covered || back == EXTENT_MAX as u64 || from == 0 {
                let rows = rows.into_iter().skip(first.unwrap_or(usize::MAX)).collect();
                return Ok((rows, pin));
            }
        }
        Err(StoreError::Invalid {
            what: "no step back reached the longest extent".into(),
        })
    }

    fn extent_rows_from(
        &self,
        view: &View,
        id: ObjectId,
        start: u64,
        end: u64,
    ) -> Result<PinnedExtents> {
        let (from, to) = (rows::extent_key(id, start), rows::extent_key(id, end));
        let (found, pin) = self.scan_in(view, rows::EXTENTS, &from, &to, usize::MAX)?;
        let mut extents = Vec::with_capacity(found.len());
        for (key, value) in found {
            let (_, offset) = rows::decode_extent_key(&key)?;
            extents.push((offset, ExtentRow::decode(&value)?));
        }
        Ok((extents, pin))
    }

    /// The newest head that a view shows; None if the object was never written.
    pub(crate) fn head(&self, view: &View, id: ObjectId) -> Result<Option<DataHead>> {
        if view.is_now()
            && let Some(object) = self.objects.get(id)
        {
            let state = object.state.lock();
            if state.loaded && !state.detached {
                let exists = state.exists || !state.is_clean();
                return Ok(exists.then(|| shown(&state)));
            }
        }
        Ok(self.head_row(view, id)?.map(|row| rounded(row.head)))
    }

    pub(crate) fn is_published(&self, id: ObjectId) -> bool {
        self.objects
            .get(id)
            .is_none_or(|object| object.state.lock().is_clean())
    }

    /// The parts of `offset..offset + len` that hold data, as (offset, length).
    pub(crate) fn allocated_ranges(
        &self,
        view: &View,
        id: ObjectId,
        offset: u64,
        len: u64,
    ) -> Result<Vec<(u64, u64)>> {
        if !view.is_now() {
            let Some(head) = self.head_row(view, id)? else {
                return Ok(Vec::new());
            };
            let end = offset.saturating_add(len).min(head.head.size);
            let mut ranges = Vec::new();
            self.allocated_rows(view, id, &head, (offset.min(end), end), &mut ranges)?;
            return Ok(joined(ranges));
        }
        self.with_object(id, |state| {
            let end = offset.saturating_add(len).min(state.head.size);
            if offset >= end {
                return Ok(Vec::new());
            }
            let mut ranges = Vec::new();
            let mut missing = vec![(offset, end)];
            let sealed = state.sealed.as_ref().map(|sealed| &sealed.layer);
            for layer in std::iter::once(&state.pending).chain(sealed) {
                missing = allocated_in(layer, &missing, &mut ranges);
            }
            for (start, end) in missing {
                self.allocated_rows(&View::Now, id, &state.published, (start, end), &mut ranges)?;
            }
            Ok(joined(ranges))
        })
    }

    fn allocated_rows(
        &self,
        view: &View,
        id: ObjectId,
        head: &HeadRow,
        (start, end): (u64, u64),
        ranges: &mut Vec<(u64, u64)>,
    ) -> Result<()> {
        if head.inline {
            let end = end.min(head.head.size);
            if start < end {
                ranges.push((start, end));
            }
            return Ok(());
        }
        let (rows, _pin) = self.extent_rows(view, id, start, end)?;
        for (at, row) in rows {
            ranges.push((at.max(start), (at + u64::from(row.len)).min(end)));
        }
        Ok(())
    }
}

fn allocated_in(
    layer: &Layer,
    missing: &[(u64, u64)],
    ranges: &mut Vec<(u64, u64)>,
) -> Vec<(u64, u64)> {
    let mut rest = Vec::new();
    for (start, end) in missing {
        for (from, entry) in layer.overlapping(*start, *end) {
            if entry.piece != Piece::Hole {
                ranges.push((from.max(*start), entry.end.min(*end)));
            }
        }
        rest.extend(gaps(layer, *start, *end));
    }
    rest
}

/// Sorts ranges given as (start, end), joins those that touch, and gives them as (start, length).
fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.retain(|(start, end)| start < end);
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match joined.last_mut() {
            Some((from, len)) if *from + *len >= start => *len = (*len).max(end - *from),
            _ => joined.push((start, end - start)),
        }
    }
    joined
}

fn clamp(size: u64, offset: u64, len: usize) -> usize {
    let rest = size.saturating_sub(offset).min(len as u64);
    usize::try_from(rest).unwrap_or(len)
}

/// The newest head, with the space that pending bytes will take.
fn shown(state: &State) -> DataHead {
    let waiting = |layer: &Layer| -> u64 {
        let data = layer.iter().filter(|(_, entry)| entry.piece != Piece::Hole);
        data.map(|(start, entry)| entry.end - start).sum()
    };
    let sealed = state
        .sealed
        .as_ref()
        .map_or(0, |sealed| waiting(&sealed.layer));
    let allocated = state.published.head.allocated + sealed + waiting(&state.pending);
    rounded(DataHead {
        allocated: allocated.min(state.head.size),
        ..state.head
    })
}

fn rounded(head: DataHead) -> DataHead {
    DataHead {
        allocated: head.allocated.next_multiple_of(4096),
        ..head
    }
}

#[cfg(test)]
mod tests;
