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
//! In an encrypted pool the format version is 2: each checksum is followed by nonce (12) and tag (16) of its page, and
//! page 0 by those of the record, which bind all that the record says.
//!
//! Each record's sequence is one above that of the record before. Two files take turns: a file that has grown enough is
//! followed by a checkpoint of the next generation in the other, so the old one stays whole until the new one is synced.

use strongroom_pool::codec::{Reader, Truncated, Writer};
use strongroom_pool::crypt::Cipher;

use super::PAGE;
use super::seals::{NO_SEAL, PageSeal, SEAL_LEN, SealTable, open_record, seal_record};
use super::sums::{PAGES_MAX, SumTable};
use crate::StoreError;

const MAGIC: u32 = u32::from_le_bytes(*b"SRIX");
const PLAIN_VERSION: u32 = 1;
const SEALED_VERSION: u32 = 2;
pub(super) const VERSION: u32 = SEALED_VERSION;
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

fn start(kind: u32, head: &RecordHead, count: usize, sealed: bool) -> Writer {
    let version = if sealed {
        SEALED_VERSION
    } else {
        PLAIN_VERSION
    };
    let more = if sealed { SEAL_LEN } else { 0 };
    let mut out = Writer::with_capacity(64 + head.first.len() + count * (12 + more));
    out.u32(MAGIC)
        .u32(version)
        .u32(kind)
        .u64(head.generation)
        .u64(head.sequence);
    out.u64(head.len).u64(head.kept);
    out.u32(u32::try_from(head.first.len() + more).unwrap_or(u32::MAX));
    out.u32(u32::try_from(count).unwrap_or(u32::MAX));
    out
}

/// Puts page 0 between the fields and the list.
fn finish(mut out: Writer, head: &RecordHead, list: &[u8], cipher: Option<&Cipher>) -> Vec<u8> {
    let mut first = head.first.clone();
    if let Some(cipher) = cipher {
        let bound = [out.as_slice(), list].concat();
        let seal = seal_record(cipher, head.sequence, &bound, &mut first);
        out.bytes(&first).bytes(&seal);
    } else {
        out.bytes(&first);
    }
    out.bytes(list);
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, out.as_slice());
    out.u64(sum);
    out.into_bytes()
}

/// A record of these changed pages.
pub(super) fn encode_changes(
    head: &RecordHead,
    pages: &[(u64, u64, PageSeal)],
    cipher: Option<&Cipher>,
) -> Vec<u8> {
    let out = start(CHANGES, head, pages.len(), cipher.is_some());
    let mut list = Writer::new();
    for (page, sum, seal) in pages {
        let page = u32::try_from(*page).unwrap_or(u32::MAX);
        list.u32(page).u64(*sum);
        if cipher.is_some() {
            list.bytes(seal);
        }
    }
    finish(out, head, list.as_slice(), cipher)
}

/// A record of all pages of `sums`.
pub(super) fn encode_checkpoint(
    head: &RecordHead,
    sums: impl ExactSizeIterator<Item = (u64, PageSeal)>,
    cipher: Option<&Cipher>,
) -> Vec<u8> {
    let out = start(CHECKPOINT, head, sums.len(), cipher.is_some());
    let mut list = Writer::new();
    for (sum, seal) in sums {
        list.u64(sum);
        if cipher.is_some() {
            list.bytes(&seal);
        }
    }
    finish(out, head, list.as_slice(), cipher)
}

/// The state that a record file leads to.
#[derive(Default)]
pub(super) struct Replayed {
    pub(super) head: RecordHead,
    pub(super) sums: SumTable,
    pub(super) seals: SealTable,
    /// Bytes up to the end of the last good record.
    pub(super) end: u64,
}

/// Replays a record file. None when it does not begin with a whole checkpoint.
///
/// # Errors
/// A newer format.
pub(super) fn replay(
    bytes: &[u8],
    what: &str,
    cipher: Option<&Cipher>,
) -> Result<Option<Replayed>, StoreError> {
    refuse_newer(bytes, what)?;
    let mut state = Replayed::default();
    let mut rest = bytes;
    while let Ok(used) = take_record(rest, &mut state, cipher) {
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
fn take_record(
    bytes: &[u8],
    state: &mut Replayed,
    cipher: Option<&Cipher>,
) -> Result<usize, Truncated> {
    let mut r = Reader::new(bytes);
    let (version, more) = match cipher {
        Some(_) => (SEALED_VERSION, SEAL_LEN),
        None => (PLAIN_VERSION, 0),
    };
    if r.u32()? != MAGIC || r.u32()? != version {
        return Err(Truncated);
    }
    let kind = r.u32()?;
    let (generation, sequence, len, kept) = (r.u64()?, r.u64()?, r.u64()?, r.u64()?);
    let first_len = usize::try_from(r.u32()?).map_err(|_| Truncated)?;
    let count = usize::try_from(r.u32()?).map_err(|_| Truncated)?;
    let fields = bytes.len() - r.remaining();
    let first = r.bytes(first_len)?;
    let entry = more + if kind == CHECKPOINT { 8 } else { 12 };
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
    if !fits || first_len > PAGE + more || pages > PAGES_MAX || kept > pages {
        return Err(Truncated);
    }
    let first = match cipher {
        None => first.to_vec(),
        Some(cipher) => reveal(cipher, sequence, &bytes[..fields], first, list)?,
    };
    state.sums.clear(kept, state.head.len / PAGE as u64);
    state.head = RecordHead {
        generation,
        sequence,
        len,
        kept,
        first,
    };
    take_list(kind, list, pages, state, cipher.is_some())?;
    Ok(used + 8)
}

/// Page 0 of an encrypted pool's record, whose fields and list are as they were written.
fn reveal(
    cipher: &Cipher,
    sequence: u64,
    fields: &[u8],
    first: &[u8],
    list: &[u8],
) -> Result<Vec<u8>, Truncated> {
    let (first, seal) = first.split_last_chunk::<SEAL_LEN>().ok_or(Truncated)?;
    let mut first = first.to_vec();
    let bound = [fields, list].concat();
    open_record(cipher, sequence, &bound, seal, &mut first).map_err(|_| Truncated)?;
    Ok(first)
}

fn take_list(
    kind: u32,
    list: &[u8],
    pages: u64,
    state: &Replayed,
    sealed: bool,
) -> Result<(), Truncated> {
    let mut r = Reader::new(list);
    let mut next = 0;
    while !r.is_empty() {
        let page = if kind == CHECKPOINT {
            next
        } else {
            u64::from(r.u32()?)
        };
        let sum = r.u64()?;
        let seal = if sealed { r.array()? } else { NO_SEAL };
        if page < pages {
            state.sums.set(page, sum);
            state.seals.set(page, seal);
        }
        next += 1;
    }
    Ok(())
}
