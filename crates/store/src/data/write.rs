//! Writing, truncating and making holes, in memory and straight into segments.

use strongroom_device::Timestamp;
use strongroom_pool::{Address, ExtentTag, Lane};

use super::{DIRECT_MIN, EXTENT_MAX, Entry, OBJECT_DIRTY_MAX, Piece, State};
use crate::engine::Engine;
use crate::packing::{self, Packing};
use crate::space::Need;
use crate::{Compression, ObjectId, Result, SessionId, StoreError};

/// One change of data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) session: SessionId,
    pub(crate) object: ObjectId,
    pub(crate) mtime: Option<Timestamp>,
}

/// Files end before this; offsets beyond are refused.
pub(crate) const SIZE_MAX: u64 = 1 << 62;

/// What a write may take at most: padding, parity, header and rows.
pub(crate) fn write_cost(len: usize) -> u64 {
    let extents = len.div_ceil(EXTENT_MAX) as u64 + 1;
    (len as u64).next_multiple_of(4096) + extents * 8192
}

impl Engine {
    /// Writes all of `data`.
    pub(crate) fn write(
        &self,
        change: Change,
        compression: Compression,
        offset: u64,
        data: &[u8],
    ) -> Result<()> {
        let end = offset
            .checked_add(data.len() as u64)
            .filter(|end| *end <= SIZE_MAX);
        let end = end.ok_or_else(|| StoreError::Invalid {
            what: "write beyond the largest file".into(),
        })?;
        let promised = self.admit(Need::Data(write_cost(data.len())))?;
        let result = self.with_object(change.object, |state| {
            let mut at = offset;
            state.compression = compression;
            if let Err(error) = self.place(change, state, &mut at, data) {
                self.take_back(change, state, offset..at);
                return Err(error);
            }
            state.head.size = state.head.size.max(end);
            self.touch(change, state);
            self.flush_if_large(change, state)
        });
        drop(promised);
        self.mark_dirty();
        result
    }

    /// Of a write that failed after `placed` nothing stays beyond the end of the file, or it would come to light when
    /// the file grows.
    fn take_back(&self, change: Change, state: &mut State, placed: std::ops::Range<u64>) {
        if placed.is_empty() {
            return;
        }
        if placed.end > state.head.size {
            self.hole(change, state, state.head.size, u64::MAX);
        }
        let mtime = None;
        self.touch(Change { mtime, ..change }, state);
    }

    fn touch(&self, change: Change, state: &mut State) {
        state.session = change.session;
        state.changed = true;
        state.unlogged = true;
        if let Some(mtime) = change.mtime {
            state.head.mtime = mtime;
        }
    }

    /// Long runs go to the segment as they come; what is short is gathered. Moves `offset` on as it goes.
    fn place(
        &self,
        change: Change,
        state: &mut State,
        offset: &mut u64,
        mut data: &[u8],
    ) -> Result<()> {
        while !data.is_empty() {
            let gathered = state.pending.buffer_ending_at(*offset, change.session);
            let before = gathered.map_or(0, |(_, len)| len);
            let room = EXTENT_MAX - before.min(EXTENT_MAX);
            let (now, later) = data.split_at(data.len().min(room));
            if now.len() >= DIRECT_MIN || (before > 0 && before + now.len() >= EXTENT_MAX) {
                self.append_stream(
                    change,
                    state,
                    gathered.map(|(start, _)| start),
                    *offset,
                    now,
                )?;
            } else {
                self.gather(
                    change,
                    state,
                    gathered.map(|(start, _)| start),
                    *offset,
                    now,
                );
            }
            *offset += now.len() as u64;
            data = later;
        }
        Ok(())
    }

    fn gather(
        &self,
        change: Change,
        state: &mut State,
        gathered: Option<u64>,
        offset: u64,
        data: &[u8],
    ) {
        if state.pending.overwrite(offset, data, change.session) {
            return;
        }
        let end = offset + data.len() as u64;
        let mut dropped = Vec::new();
        match gathered {
            Some(start) => {
                state.pending.carve(offset, end, &mut dropped);
                state.pending.extend(start, data);
            }
            None => {
                let piece = Piece::Buffer {
                    data: data.to_vec(),
                    logged: 0,
                };
                let entry = Entry {
                    end,
                    session: change.session,
                    piece,
                };
                state.pending.insert(offset, entry, &mut dropped);
            }
        }
        self.orphan(&dropped);
    }

    /// Appends the buffer at `gathered` (if any, it ends at `offset`) and `data` as one extent.
    fn append_stream(
        &self,
        change: Change,
        state: &mut State,
        gathered: Option<u64>,
        offset: u64,
        data: &[u8],
    ) -> Result<()> {
        let start = gathered.unwrap_or(offset);
        let end = offset + data.len() as u64;
        let lane = Lane::Stream(self.lane(state));
        let head = gathered.and_then(|start| state.pending.get_mut(start));
        let head = head.map_or(&[][..], |entry| match &entry.piece {
            Piece::Buffer { data, .. } => data.as_slice(),
            Piece::Frozen(_) | Piece::Extent { .. } | Piece::Hole => &[],
        });
        let whole = u32::try_from(head.len() + data.len()).unwrap_or(u32::MAX);
        let parts: &[&[u8]] = if head.is_empty() {
            &[data]
        } else {
            &[head, data]
        };
        let mut appended = Ok(None);
        self.env.block_in_place(&mut || {
            let place = (change.object, start, whole);
            appended = self.append_extent(lane, place, state.compression, parts);
        });
        let Some((address, packing)) = appended? else {
            return Ok(());
        };
        let mut dropped = Vec::new();
        let entry = Entry {
            end,
            session: change.session,
            piece: Piece::Extent {
                address,
                start: 0,
                whole,
                packing,
            },
        };
        state.pending.insert(start, entry, &mut dropped);
        self.orphan(&dropped);
        Ok(())
    }

    /// One extent in a stripe of its own, compressed if that pays.
    fn append_extent(
        &self,
        lane: Lane,
        (object, offset, whole): (ObjectId, u64, u32),
        compression: Compression,
        parts: &[&[u8]],
    ) -> Result<Option<(Address, Option<Packing>)>> {
        let packed = self.packer.pack(compression, parts);
        let packing = packed.as_ref().map(|(_, packing)| *packing);
        let tag = ExtentTag {
            inode: object.inode.0,
            stream: object.stream,
            offset,
            len: packing.map_or(whole, |packing| packing.stored),
            txg: self.open_txg(),
            packing: packing::note_of(packing, whole),
        };
        let addresses = match &packed {
            Some((packed, _)) => self.append(lane, &[(tag, &[packed])])?,
            None => self.append(lane, &[(tag, parts)])?,
        };
        Ok(addresses.first().map(|address| (*address, packing)))
    }

    /// One object does not fill the memory that all share: its buffers go to segments early.
    fn flush_if_large(&self, change: Change, state: &mut State) -> Result<()> {
        if state.pending.buffered() < OBJECT_DIRTY_MAX {
            return Ok(());
        }
        let starts: Vec<u64> = state
            .pending
            .iter()
            .filter(|(_, entry)| matches!(entry.piece, Piece::Buffer { .. }))
            .map(|(start, _)| start)
            .collect();
        for chunk in starts.chunks(64) {
            self.flush_buffers(change.object, state, chunk)?;
        }
        Ok(())
    }

    /// Packs buffers of one object into a stripe.
    fn flush_buffers(&self, id: ObjectId, state: &mut State, starts: &[u64]) -> Result<()> {
        let mut batch = super::flush::Batch::new(self);
        let lane = Lane::Stream(self.lane(state));
        for start in starts {
            let Some(entry) = state.pending.get_mut(*start) else {
                continue;
            };
            if let Piece::Buffer { data, .. } = &mut entry.piece {
                let bytes = bytes::Bytes::from(std::mem::take(data));
                entry.piece = Piece::Frozen(bytes.clone());
                batch.add(batch.pack(id, state.compression, *start, bytes));
            }
        }
        let mut placed = Vec::with_capacity(starts.len());
        let appended = batch.append(lane, &mut placed);
        for placed in placed {
            state.pending.replace(placed.start, placed.piece);
        }
        appended
    }

    /// Sets the size. Cutting hides what lay beyond, for ever.
    pub(crate) fn truncate(&self, change: Change, size: u64) -> Result<()> {
        if size > SIZE_MAX {
            return Err(StoreError::Invalid {
                what: "size beyond the largest file".into(),
            });
        }
        let result = self.with_object(change.object, |state| {
            if size < state.head.size {
                self.hole(change, state, size, u64::MAX);
            }
            state.head.size = size;
            self.touch(change, state);
            Ok(())
        });
        self.mark_dirty();
        result
    }

    /// Makes a hole; the size stays.
    pub(crate) fn zero(&self, change: Change, offset: u64, len: u64) -> Result<()> {
        let result = self.with_object(change.object, |state| {
            let end = offset.saturating_add(len).min(state.head.size);
            if offset < end {
                self.hole(change, state, offset, end);
            }
            self.touch(change, state);
            Ok(())
        });
        self.mark_dirty();
        result
    }

    fn hole(&self, change: Change, state: &mut State, start: u64, end: u64) {
        let mut dropped = Vec::new();
        state.pending.carve(start, end, &mut dropped);
        // Where nothing lies below, nothing needs hiding.
        let below = state.sealed.is_some() || start < state.published.head.size;
        if below || state.logged_since.is_some() {
            let entry = Entry {
                end,
                session: change.session,
                piece: Piece::Hole,
            };
            state.pending.insert(start, entry, &mut dropped);
        }
        self.orphan(&dropped);
    }

    pub(crate) fn set_mtime(&self, change: Change) -> Result<()> {
        let result = self.with_object(change.object, |state| {
            self.touch(change, state);
            Ok(())
        });
        self.mark_dirty();
        result
    }
}
