//! Changes to one object that its rows do not tell yet: disjoint ranges, each with where its bytes are.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use strongroom_pool::Address;

use crate::packing::Packing;
use crate::record;
use crate::{ObjectId, SessionId};

/// Where the bytes of a range are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// In memory, may grow. The first `logged` bytes ride in the log.
    Buffer { data: Vec<u8>, logged: usize },
    /// In memory, on its way to a segment.
    Frozen(Bytes),
    /// In a segment, from byte `start` of an extent of `whole` bytes.
    Extent {
        address: Address,
        start: u32,
        whole: u32,
        packing: Option<Packing>,
    },
    /// Nowhere: it reads as zeroes and hides what the rows say.
    Hole,
}

/// A range's end, who wrote it, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) end: u64,
    pub(crate) session: SessionId,
    pub(crate) piece: Piece,
}

/// See the module's description. The key is the range's start; a range is never empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layer {
    map: BTreeMap<u64, Entry>,
    buffered: usize,
    load: Load,
}

/// What ranges take while they wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Bytes of memory, about.
    pub(crate) memory: usize,
    /// Bytes that they will take in segments: each begins on a block of its own.
    pub(crate) space: usize,
}

impl std::ops::AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.memory += other.memory;
        self.space += other.space;
    }
}

impl std::ops::SubAssign for Load {
    fn sub_assign(&mut self, other: Self) {
        self.memory -= other.memory;
        self.space -= other.space;
    }
}

/// What a range costs in memory beside its bytes.
const ENTRY_MEMORY: usize = 128;

impl Entry {
    fn load(&self) -> Load {
        let buffered = self.piece.buffered();
        Load {
            memory: ENTRY_MEMORY + buffered,
            space: buffered.next_multiple_of(4096),
        }
    }
}

impl Piece {
    pub(crate) fn buffered(&self) -> usize {
        match self {
            Self::Buffer { data, .. } => data.len(),
            Self::Frozen(data) => data.len(),
            Self::Extent { .. } | Self::Hole => 0,
        }
    }

    /// Cuts off what lies from `at` (bytes from the start) on, and returns it.
    fn split_off(&mut self, at: u64) -> Self {
        let index = usize::try_from(at).unwrap_or(usize::MAX);
        match self {
            Self::Buffer { data, logged } => {
                let rest_logged = logged.saturating_sub(index);
                *logged = (*logged).min(index);
                Self::Buffer {
                    data: data.split_off(index),
                    logged: rest_logged,
                }
            }
            Self::Frozen(data) => Self::Frozen(data.split_off(index)),
            Self::Extent {
                address,
                start,
                whole,
                packing,
            } => {
                let moved = u32::try_from(at).ok().and_then(|at| start.checked_add(at));
                let start = moved.unwrap_or(*whole);
                Self::Extent {
                    address: *address,
                    start,
                    whole: *whole,
                    packing: *packing,
                }
            }
            Self::Hole => Self::Hole,
        }
    }
}

impl Layer {
    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Bytes held in memory.
    pub(crate) fn buffered(&self) -> usize {
        self.buffered
    }

    pub(crate) fn load(&self) -> Load {
        self.load
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        self.map.iter().map(|(start, entry)| (*start, entry))
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (u64, Entry)> {
        self.map.into_iter()
    }

    /// Ranges that overlap `start..end`, in order.
    pub(crate) fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let before = self.map.range(..start).next_back();
        let first = before
            .filter(|(_, entry)| entry.end > start)
            .map(|(at, _)| *at);
        let from = first.unwrap_or(start);
        self.map
            .range(from..end.max(from))
            .map(|(at, entry)| (*at, entry))
    }

    /// Makes `start..end` free of ranges, splitting those that reach beyond. What falls out goes to `dropped`.
    pub(crate) fn carve(&mut self, start: u64, end: u64, dropped: &mut Vec<(u64, Entry)>) {
        if start >= end {
            return;
        }
        self.split_at(start);
        self.split_at(end);
        let bounds = (Bound::Included(start), Bound::Excluded(end));
        let inside: Vec<u64> = self.map.range(bounds).map(|(at, _)| *at).collect();
        for at in inside {
            if let Some(entry) = self.map.remove(&at) {
                self.buffered -= entry.piece.buffered();
                self.load -= entry.load();
                dropped.push((at, entry));
            }
        }
    }

    /// After this no range reaches over `at`.
    fn split_at(&mut self, at: u64) {
        let Some((start, entry)) = self.map.range_mut(..at).next_back() else {
            return;
        };
        if entry.end <= at {
            return;
        }
        self.load -= entry.load();
        let rest = Entry {
            end: entry.end,
            session: entry.session,
            piece: entry.piece.split_off(at - start),
        };
        entry.end = at;
        self.load += entry.load();
        self.load += rest.load();
        self.map.insert(at, rest);
    }

    /// Puts a range over whatever was there.
    pub(crate) fn insert(&mut self, start: u64, entry: Entry, dropped: &mut Vec<(u64, Entry)>) {
        assert!(start < entry.end, "a range is not empty");
        self.carve(start, entry.end, dropped);
        self.buffered += entry.piece.buffered();
        self.load += entry.load();
        self.map.insert(start, entry);
    }

    /// Lays a newer layer over this one.
    pub(crate) fn cover(&mut self, newer: Layer, dropped: &mut Vec<(u64, Entry)>) {
        if self.map.is_empty() {
            *self = newer;
            return;
        }
        for (start, entry) in newer.map {
            self.insert(start, entry, dropped);
        }
    }

    /// Says where the bytes of a range are now.
    pub(crate) fn replace(&mut self, start: u64, piece: Piece) {
        if let Some(entry) = self.map.get_mut(&start) {
            self.buffered = self.buffered - entry.piece.buffered() + piece.buffered();
            self.load -= entry.load();
            entry.piece = piece;
            self.load += entry.load();
        }
    }

    pub(crate) fn get_mut(&mut self, start: u64) -> Option<&mut Entry> {
        self.map.get_mut(&start)
    }

    /// The buffer of `session` that ends at `at`, with its start.
    pub(crate) fn buffer_ending_at(&self, at: u64, session: SessionId) -> Option<(u64, usize)> {
        let (start, entry) = self.map.range(..at).next_back()?;
        match &entry.piece {
            Piece::Buffer { data, .. } if entry.end == at && entry.session == session => {
                Some((*start, data.len()))
            }
            Piece::Buffer { .. } | Piece::Frozen(_) | Piece::Extent { .. } | Piece::Hole => None,
        }
    }

    /// Grows the buffer at `start` by bytes; the caller has carved their place free.
    pub(crate) fn extend(&mut self, start: u64, bytes: &[u8]) {
        let Some(entry) = self.map.get_mut(&start) else {
            return;
        };
        self.load -= entry.load();
        if let Piece::Buffer { data, .. } = &mut entry.piece {
            // A stream's buffer grows to its full size in two steps, not in twenty.
            if data.capacity() < data.len() + bytes.len() && data.len() >= 64 << 10 {
                data.reserve_exact(crate::data::EXTENT_MAX - data.len());
            }
            data.extend_from_slice(bytes);
            entry.end += bytes.len() as u64;
            self.buffered += bytes.len();
        }
        self.load += entry.load();
    }

    /// Overwrites inside one buffer of this session; false if there is no such.
    pub(crate) fn overwrite(&mut self, at: u64, bytes: &[u8], session: SessionId) -> bool {
        let Some((start, entry)) = self.map.range_mut(..=at).next_back() else {
            return false;
        };
        let inside = at + bytes.len() as u64 <= entry.end && entry.session == session;
        let from = usize::try_from(at - start).unwrap_or(usize::MAX);
        match &mut entry.piece {
            Piece::Buffer { data, logged } if inside => {
                data[from..from + bytes.len()].copy_from_slice(bytes);
                *logged = (*logged).min(from);
                true
            }
            Piece::Buffer { .. } | Piece::Frozen(_) | Piece::Extent { .. } | Piece::Hole => false,
        }
    }

    /// Lets everything in memory that the log does not hold ride in a record.
    pub(crate) fn log_all(&mut self, record: &mut Vec<u8>, object: ObjectId) {
        for (start, entry) in &mut self.map {
            if let Piece::Buffer { data, logged } = &mut entry.piece
                && *logged < data.len()
            {
                let offset = start + *logged as u64;
                record::payload(record, entry.session, object, offset, &data[*logged..]);
                *logged = data.len();
            }
        }
    }

    /// Ends growth: all buffers become bytes that can be shared.
    pub(crate) fn freeze(&mut self) {
        for entry in self.map.values_mut() {
            if let Piece::Buffer { data, .. } = &mut entry.piece {
                entry.piece = Piece::Frozen(Bytes::from(std::mem::take(data)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
