//! What a copy remembers of its pages: a checkpoint of all checksums, then one record a sync.
//!
//! ```text
//! record (little-endian)
//!  0  4  magic "SRIX"          4  4  format version         8  4  kind: 0 checkpoint, 1 changes
//! 12  8  generation           20  8  sequence              28  8  length of the page file, bytes
//! 36  8  pages kept: checksums of later pages are forgotten before those below are taken
//! 44  4  bytes of page 0      48  4  checksums that follow
//! 52  ... page 0 as far as it is not zero; then, in a checkpoint, the checksum (8) of pages 0, 1, 2, ...;
//!         in changes, page number (4) and checksum (8); then the CRC-64/NVME (8) of everything before
//! ```
//! Each record's sequence is one above that of the record before. Two files take turns: a file that has grown enough is
//! followed by a checkpoint of the next generation in the other, so the old one stays whole until the new one is synced.

use strongroom_pool::codec::{Reader, Truncated, Writer};

use super::PAGE;
use super::sums::{PAGES_MAX, SumTable};
use crate::StoreError;

const MAGIC: u32 = u32::from_le_bytes(*b"SRIX");
pub(super) const VERSION: u32 = 1;
const CHECKPOINT: u32 = 0;
const CHANGES: u32 = 1;

/// The part of a record that is not a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) generation: u64,
    pub(super) sequence: u64,
    pub(super) len: u64,
    pub(super) kept: u64,
    pub(super) first: Vec<u8>,
}

fn start(kind: u32, head: &RecordHead, count: usize, entry: usize) -> Writer {
    let mut out = Writer::with_capacity(64 + head.first.len() + count * entry);
    out.u32(MAGIC)
        .u32(VERSION)
        .u32(kind)
        .u64(head.generation)
        .u64(head.sequence);
    out.u64(head.len).u64(head.kept);
    out.u32(u32::try_from(head.first.len()).unwrap_or(u32::MAX));
    out.u32(u32::try_from(count).unwrap_or(u32::MAX))
        .bytes(&head.first);
    out
}

fn finish(mut out: Writer) -> Vec<u8> {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, out.as_slice());
    out.u64(sum);
    out.into_bytes()
}

/// A record of these changed pages.
pub(super) fn encode_changes(head: &RecordHead, pages: &[(u64, u64)]) -> Vec<u8> {
    let mut out = start(CHANGES, head, pages.len(), 12);
    for (page, sum) in pages {
        let page = u32::try_from(*page).unwrap_or(u32::MAX);
        out.u32(page).u64(*sum);
    }
    finish(out)
}

/// A record of all pages of `sums`.
pub(super) fn encode_checkpoint(
    head: &RecordHead,
    sums: impl ExactSizeIterator<Item = u64>,
) -> Vec<u8> {
    let mut out = start(CHECKPOINT, head, sums.len(), 8);
    for sum in sums {
        out.u64(sum);
    }
    finish(out)
}

/// The state that a record file leads to.
#[derive(Default)]
pub(super) struct Replayed {
    pub(super) head: RecordHead,
    pub(super) sums: SumTable,
    /// Bytes up to the end of the last good record.
    pub(super) end: u64,
}

/// Replays a record file. None when it does not begin with a whole checkpoint.
///
/// # Errors
/// A newer format.
pub(super) fn replay(bytes: &[u8], what: &str) -> Result<Option<Replayed>, StoreError> {
    refuse_newer(bytes, what)?;
    let mut state = Replayed::default();
    let mut rest = bytes;
    while let Ok(used) = take_record(rest, &mut state) {
        state.end += used as u64;
        rest = &rest[used..];
    }
    Ok((state.end > 0).then_some(state))
}

fn refuse_newer(bytes: &[u8], what: &str) -> Result<(), StoreError> {
    let mut reader = Reader::new(bytes);
    match (reader.u32(), reader.u32()) {
        (Ok(MAGIC), Ok(found)) if found > VERSION => Err(StoreError::Newer {
            what: what.to_string(),
            found,
            known: VERSION,
        }),
        _ => Ok(()),
    }
}

/// Takes one record off the front; tells its length. Nothing of a bad record enters `state`.
fn take_record(bytes: &[u8], state: &mut Replayed) -> Result<usize, Truncated> {
    let mut r = Reader::new(bytes);
    if r.u32()? != MAGIC || r.u32()? != VERSION {
        return Err(Truncated);
    }
    let kind = r.u32()?;
    let (generation, sequence, len, kept) = (r.u64()?, r.u64()?, r.u64()?, r.u64()?);
    let first_len = usize::try_from(r.u32()?).map_err(|_| Truncated)?;
    let count = usize::try_from(r.u32()?).map_err(|_| Truncated)?;
    let first = r.bytes(first_len)?;
    let entry = if kind == CHECKPOINT { 8 } else { 12 };
    let list = r.bytes(count.checked_mul(entry).ok_or(Truncated)?)?;
    let used = bytes.len() - r.remaining();
    if crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &bytes[..used]) != r.u64()? {
        return Err(Truncated);
    }
    let pages = len / PAGE as u64;
    let follows = state.end > 0;
    let fits = if follows {
        kind == CHANGES
            && generation == state.head.generation
            && sequence == state.head.sequence + 1
    } else {
        kind == CHECKPOINT && count as u64 <= pages
    };
    if !fits || first_len > PAGE || pages > PAGES_MAX || kept > pages {
        return Err(Truncated);
    }
    state.sums.clear(kept, state.head.len / PAGE as u64);
    let first = first.to_vec();
    state.head = RecordHead {
        generation,
        sequence,
        len,
        kept,
        first,
    };
    take_list(kind, list, pages, &state.sums)?;
    Ok(used + 8)
}

fn take_list(kind: u32, list: &[u8], pages: u64, sums: &SumTable) -> Result<(), Truncated> {
    let mut r = Reader::new(list);
    let mut next = 0;
    while !r.is_empty() {
        let page = if kind == CHECKPOINT {
            next
        } else {
            u64::from(r.u32()?)
        };
        let sum = r.u64()?;
        if page < pages {
            sums.set(page, sum);
        }
        next += 1;
    }
    Ok(())
}
