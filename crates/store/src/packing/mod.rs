//! Extents that are stored shorter than they are.
//!
//! An extent is compressed in chunks of 64 KiB, each for itself, so that a small read unpacks one of them. It is tried on
//! a small part first, and stays as it is unless that saves an eighth and at least one block of the disk.
//!
//! ```text
//! 0   4n  stored length of each of the n chunks; a chunk that did not get shorter has its own length
//!      …  the chunks, one after the other
//! ```

mod cache;
mod codec;

use std::borrow::Cow;
use std::ops::Range;

use parking_lot::Mutex;
use strongroom_pool::{Address, ExtentTag};

use crate::{Compression, Result, StoreError};
use cache::ChunkCache;
pub(crate) use codec::Codec;
use codec::Contexts;

/// Bytes that are compressed together.
pub(crate) const CHUNK: usize = 64 << 10;
/// Shorter ones take one block however short they get.
const EXTENT_MIN: usize = 4097;
/// Bytes of the part that compression is tried on.
const SAMPLE_MIN: usize = 4 << 10;
const SAMPLE_MAX: usize = 16 << 10;
/// Contexts kept for later; one more is made for each further thread, and forgotten.
const IDLE_MAX: usize = 8;
/// Extents stored in so few bytes are read in one go.
const WHOLE_MAX: u32 = 32 << 10;

/// How an extent is stored that is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) codec: Codec,
    /// Bytes that it takes in its stripe; fewer than it has.
    pub(crate) stored: u32,
}

/// What a tag says of an extent that is compressed: the codec in the upper 8 bits, its own length in the others.
pub(crate) fn note_of(packing: Option<Packing>, whole: u32) -> u32 {
    packing.map_or(0, |packing| u32::from(packing.codec.number()) << 24 | whole)
}

/// Bytes of an extent before it was compressed, as its tag tells.
pub(crate) fn plain_len(tag: &ExtentTag) -> u32 {
    match tag.packing {
        0 => tag.len,
        note => note & 0xFF_FFFF,
    }
}

/// Whether an extent is worth storing in `stored` bytes instead of `plain`.
fn pays(stored: usize, plain: usize) -> bool {
    let blocks = plain.div_ceil(4096);
    stored.div_ceil(4096) + (blocks / 8).max(1) <= blocks
}

/// Compresses and unpacks; keeps what that takes between two uses.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    idle: Mutex<Vec<Contexts>>,
    cache: ChunkCache,
}

/// A compressed extent that is read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed {
    /// Where it lies.
    pub(crate) at: Address,
    pub(crate) packing: Packing,
    /// Its own bytes.
    pub(crate) whole: u32,
}

/// Fills a buffer with stored bytes of an extent, from an offset on.
type Fetch<'a> = &'a dyn Fn(u32, &mut [u8]) -> Result<()>;

impl Packer {
    fn with_contexts<T>(&self, work: impl FnOnce(&mut Contexts) -> T) -> T {
        let idle = self.idle.lock().pop();
        let mut contexts = idle.unwrap_or_default();
        let done = work(&mut contexts);
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(contexts);
        }
        done
    }

    /// The bytes that an extent, given in pieces, is stored in; None if it stays as it is.
    pub(crate) fn pack(
        &self,
        compression: Compression,
        pieces: &[&[u8]],
    ) -> Option<(Vec<u8>, Packing)> {
        let codec = Codec::of(compression)?;
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        if len < EXTENT_MIN {
            return None;
        }
        let longest = pieces.iter().max_by_key(|piece| piece.len())?;
        self.with_contexts(|contexts| {
            if !contexts.shortens(codec, sample(longest)) {
                return None;
            }
            let plain = match pieces {
                [one] => Cow::Borrowed(*one),
                several => Cow::Owned(several.concat()),
            };
            let packed = pack_chunks(contexts, codec, &plain)?;
            let stored = u32::try_from(packed.len()).ok()?;
            Some((packed, Packing { codec, stored }))
        })
    }

    /// Reads `target.len()` bytes from byte `start` of a compressed extent.
    ///
    /// # Errors
    /// `Corrupt` when what is stored is no such extent: never wrong bytes, and never more memory than the extent has.
    pub(crate) fn read(
        &self,
        from: &Packed,
        start: u32,
        target: &mut [u8],
        fetch: Fetch<'_>,
    ) -> Result<()> {
        if target.is_empty() || self.read_cached(from, start, target) {
            return Ok(());
        }
        let wanted = Wanted::new(from, start, target.len())?;
        let stored = wanted.fetch(from, fetch)?;
        self.with_contexts(|contexts| self.unpack(contexts, from, &wanted, &stored, target))
    }

    /// True if one chunk that was unpacked of late has all of it.
    fn read_cached(&self, from: &Packed, start: u32, target: &mut [u8]) -> bool {
        let (chunk, within) = (start as usize / CHUNK, start as usize % CHUNK);
        let Some(bytes) = self.cache.get((from.at, chunk)) else {
            return false;
        };
        let Some(found) = bytes.get(within..within + target.len()) else {
            return false;
        };
        target.copy_from_slice(found);
        true
    }

    fn unpack(
        &self,
        contexts: &mut Contexts,
        from: &Packed,
        wanted: &Wanted,
        stored: &Stored,
        target: &mut [u8],
    ) -> Result<()> {
        let damaged = || damaged(from);
        let mut rest = target;
        for chunk in wanted.chunks.clone() {
            let len = chunk_len(from.whole, chunk);
            let bytes = stored.chunk(chunk).ok_or_else(damaged)?;
            let skip = wanted.start.saturating_sub(chunk * CHUNK);
            let take = (len - skip).min(rest.len());
            let (now, later) = std::mem::take(&mut rest).split_at_mut(take);
            if take == len {
                contexts.unpack(from.packing.codec, bytes, now)
            } else {
                let mut whole = vec![0; len];
                let unpacked = contexts.unpack(from.packing.codec, bytes, &mut whole);
                now.copy_from_slice(&whole[skip..skip + take]);
                if unpacked.is_some() {
                    self.cache.insert((from.at, chunk), whole.into());
                }
                unpacked
            }
            .ok_or_else(damaged)?;
            rest = later;
        }
        Ok(())
    }
}

/// The part in the middle that compression is tried on.
fn sample(bytes: &[u8]) -> &[u8] {
    let len = (bytes.len() / 8).clamp(SAMPLE_MIN, SAMPLE_MAX);
    let len = len.min(bytes.len());
    let from = (bytes.len() - len) / 2;
    &bytes[from..from + len]
}

/// None as soon as it is clear that it does not pay.
fn pack_chunks(contexts: &mut Contexts, codec: Codec, plain: &[u8]) -> Option<Vec<u8>> {
    let chunks = plain.chunks(CHUNK);
    let mut packed = vec![0; 4 * chunks.len()];
    packed.reserve(plain.len() / 2);
    for (number, chunk) in chunks.enumerate() {
        let before = packed.len();
        contexts.pack(codec, chunk, &mut packed);
        if !pays(packed.len(), plain.len()) {
            return None;
        }
        let len = u32::try_from(packed.len() - before).ok()?;
        packed[4 * number..4 * number + 4].copy_from_slice(&len.to_le_bytes());
    }
    Some(packed)
}

fn chunk_len(whole: u32, chunk: usize) -> usize {
    (whole as usize).saturating_sub(chunk * CHUNK).min(CHUNK)
}

fn damaged(from: &Packed) -> StoreError {
    let Address {
        segment,
        stripe,
        offset,
    } = from.at;
    StoreError::Corrupt {
        what: format!(
            "the compressed extent at {offset} of stripe {stripe} of segment {segment} cannot be unpacked"
        ),
    }
}

/// Which chunks a read is about.
struct Wanted {
    /// In the extent.
    start: usize,
    chunks: Range<usize>,
    /// Of the whole extent.
    count: usize,
}

impl Wanted {
    fn new(from: &Packed, start: u32, len: usize) -> Result<Self> {
        let start = start as usize;
        let end = start + len;
        let count = (from.whole as usize).div_ceil(CHUNK);
        if end > from.whole as usize || (from.packing.stored as usize) < 5 * count {
            return Err(damaged(from));
        }
        Ok(Self {
            start,
            chunks: start / CHUNK..end.div_ceil(CHUNK),
            count,
        })
    }

    /// Reads the table and the chunks; all of the extent where that is little more.
    fn fetch(&self, from: &Packed, fetch: Fetch<'_>) -> Result<Stored> {
        let whole = from.packing.stored;
        let table_len = u32::try_from(4 * self.count).unwrap_or(u32::MAX);
        if whole <= WHOLE_MAX || self.chunks.len() * 2 > self.count {
            let mut bytes = vec![0; whole as usize];
            fetch(0, &mut bytes)?;
            let places = places(from, &bytes)?;
            return Ok(Stored {
                places,
                first: 0,
                bytes,
            });
        }
        let mut table = vec![0; table_len as usize];
        fetch(0, &mut table)?;
        let places = places(from, &table)?;
        let range = places.get(self.chunks.clone()).unwrap_or_default();
        let (Some(first), Some(last)) = (range.first(), range.last()) else {
            return Err(damaged(from));
        };
        let (first, end) = (first.start, last.end);
        let mut bytes = vec![0; (end - first) as usize];
        fetch(first, &mut bytes)?;
        Ok(Stored {
            places,
            first,
            bytes,
        })
    }
}

/// Where each chunk lies in the stored bytes, which the table must account for exactly.
fn places(from: &Packed, table: &[u8]) -> Result<Vec<Range<u32>>> {
    let count = (from.whole as usize).div_ceil(CHUNK);
    let mut at = u32::try_from(4 * count).unwrap_or(u32::MAX);
    let mut places = Vec::with_capacity(count);
    for (chunk, len) in table.as_chunks::<4>().0.iter().take(count).enumerate() {
        let len = u32::from_le_bytes(*len);
        if len == 0 || len as usize > chunk_len(from.whole, chunk) {
            return Err(damaged(from));
        }
        // Both are far below the largest number.
        places.push(at..at + len);
        at += len;
    }
    if places.len() == count && at == from.packing.stored {
        Ok(places)
    } else {
        Err(damaged(from))
    }
}

/// Stored bytes that were read.
struct Stored {
    places: Vec<Range<u32>>,
    /// Where they begin.
    first: u32,
    bytes: Vec<u8>,
}

impl Stored {
    fn chunk(&self, chunk: usize) -> Option<&[u8]> {
        let place = self.places.get(chunk)?;
        let from = place.start.checked_sub(self.first)? as usize;
        self.bytes.get(from..from + place.len())
    }
}

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
