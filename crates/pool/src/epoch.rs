//! The epoch chain: who was there. Two copies a disk (`epochs.0`, `epochs.1`), each the concatenation of records, whose
//! lengths are multiples of 512 bytes; little-endian:
//!
//! ```text
//! offset size
//!      0    8  magic "SREPOCH\0"
//!      8    4  record version, 1
//!     12    4  length L of the record, a multiple of 512
//!     16   16  pool id
//!     32   16  epoch id
//!     48   16  parent's id, zeroes in the first record
//!     64    4  sequence, the parent's plus one
//!     68    4  kind: 0 the pool was opened, 1 its members changed
//!     72    8  last accepted transaction group
//!     80    8  time, ns since 1970
//!     88    2  number of members a
//!     90    2  number of absent disks b
//!     92    4  number of segment ends c
//!     96 16*a  members
//!      … 16*b  absent disks: of the pool, but not caught up
//!      … 12*c  segment ends: segment id (8), blocks of 4096 bytes (4)
//!      …       zeroes
//!    L-8    8  checksum of bytes 0..L-8
//! ```
//!
//! A record is appended to copy 0 of every member and synced, then to copy 1. The epoch holds once all members have it;
//! a member without the newest record proves that nothing was acknowledged under it.

use std::collections::HashMap;

use strongroom_device::{Device, DeviceError};

use crate::checksum::{Seed, checksum};
use crate::codec::{Reader, Truncated, Writer};
use crate::label::{MAX_DISKS, open_or_create, read_small_file};
use crate::{DiskId, EpochId, EpochInfo, PoolError, PoolId, Result, SegmentId, Txg};

pub(crate) const EPOCH_FILES: [&str; 2] = ["epochs.0", "epochs.1"];
const MAGIC: &[u8; 8] = b"SREPOCH\0";
const VERSION: u32 = 1;
const UNIT: usize = 512;
const FIXED_LEN: usize = 96;
/// A record of many thousand segment ends is still far below this.
const MAX_RECORD: usize = 1 << 20;
/// More than 500,000 openings.
const MAX_CHAIN: usize = 256 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EpochKind {
    Opening,
    Membership,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EpochRecord {
    pub(crate) kind: EpochKind,
    pub(crate) time_ns: u64,
    pub(crate) info: EpochInfo,
}

fn seed(pool: PoolId) -> Seed {
    let (low, high) = halves(pool.0);
    Seed::of(&[u64::from_le_bytes(*MAGIC), low, high])
}

pub(crate) fn halves(id: [u8; 16]) -> (u64, u64) {
    let whole = u128::from_le_bytes(id);
    let low = whole & u128::from(u64::MAX);
    (
        u64::try_from(low).unwrap_or(0),
        u64::try_from(whole >> 64).unwrap_or(0),
    )
}

impl EpochRecord {
    pub(crate) fn encode(&self, pool: PoolId) -> Vec<u8> {
        let info = &self.info;
        let body = FIXED_LEN
            + 16 * (info.members.len() + info.absent.len())
            + 12 * info.segment_ends.len()
            + 8;
        let len = body.next_multiple_of(UNIT);
        assert!(len <= MAX_RECORD, "far fewer segments are open at once");
        let small = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let wide = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let mut out = Writer::with_capacity(len);
        out.bytes(MAGIC).u32(VERSION).u32(wide(len)).bytes(&pool.0);
        out.bytes(&info.id.0)
            .bytes(&info.parent.0)
            .u32(info.sequence);
        out.u32(match self.kind {
            EpochKind::Opening => 0,
            EpochKind::Membership => 1,
        });
        out.u64(info.last_txg.0).u64(self.time_ns);
        out.u16(small(info.members.len()))
            .u16(small(info.absent.len()));
        out.u32(wide(info.segment_ends.len()));
        for disk in info.members.iter().chain(&info.absent) {
            out.bytes(&disk.0);
        }
        for (segment, blocks) in &info.segment_ends {
            out.u64(segment.0).u32(*blocks);
        }
        out.pad_to(UNIT);
        let mut bytes = out.into_bytes();
        bytes.resize(len, 0);
        let sum = checksum(seed(pool), &bytes[..len - 8]);
        bytes[len - 8..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The record at the start of `bytes` and its length; None if there is no good one.
    pub(crate) fn decode(pool: PoolId, bytes: &[u8]) -> Option<(Self, usize)> {
        let mut reader = Reader::new(bytes);
        if reader.array().ok()? != *MAGIC || reader.u32().ok()? != VERSION {
            return None;
        }
        let len = usize::try_from(reader.u32().ok()?).ok()?;
        if !(UNIT..=MAX_RECORD).contains(&len) || !len.is_multiple_of(UNIT) {
            return None;
        }
        let (body, sum) = bytes.get(..len)?.split_last_chunk::<8>()?;
        if u64::from_le_bytes(*sum) != checksum(seed(pool), body) {
            return None;
        }
        let record = Self::decode_fields(pool, Reader::new(body)).ok()?;
        Some((record, len))
    }

    fn decode_fields(pool: PoolId, mut reader: Reader<'_>) -> std::result::Result<Self, Truncated> {
        reader.skip(16)?;
        if reader.array()? != pool.0 {
            return Err(Truncated);
        }
        let id = EpochId(reader.array()?);
        let parent = EpochId(reader.array()?);
        let sequence = reader.u32()?;
        let kind = match reader.u32()? {
            0 => EpochKind::Opening,
            1 => EpochKind::Membership,
            _ => return Err(Truncated),
        };
        let last_txg = Txg(reader.u64()?);
        let time_ns = reader.u64()?;
        let (members, absent) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
        let ends = reader.count(12)?;
        if members == 0 || members + absent > 2 * MAX_DISKS || sequence == 0 {
            return Err(Truncated);
        }
        let members = read_disks(&mut reader, members)?;
        let absent = read_disks(&mut reader, absent)?;
        let mut segment_ends = Vec::with_capacity(ends.min(reader.remaining() / 12));
        for _ in 0..ends {
            segment_ends.push((SegmentId(reader.u64()?), reader.u32()?));
        }
        let info = EpochInfo {
            id,
            parent,
            sequence,
            members,
            absent,
            last_txg,
            segment_ends,
        };
        Ok(Self {
            kind,
            time_ns,
            info,
        })
    }
}

fn read_disks(
    reader: &mut Reader<'_>,
    count: usize,
) -> std::result::Result<Vec<DiskId>, Truncated> {
    (0..count).map(|_| reader.array().map(DiskId)).collect()
}

/// The good records in one copy of a chain. Damage is stepped over; what is lost there the other copies have.
pub(crate) fn parse_chain(pool: PoolId, bytes: &[u8]) -> Vec<EpochRecord> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match EpochRecord::decode(pool, rest) {
            Some((record, len)) => {
                records.push(record);
                at += len;
            }
            None => at += UNIT,
        }
    }
    records
}

/// Both copies of one disk, joined.
pub(crate) fn read_chain(device: &dyn Device, pool: PoolId) -> Result<Vec<EpochRecord>> {
    let mut records = Vec::new();
    let mut failure = None;
    let mut bytes_seen = 0;
    for path in EPOCH_FILES {
        match read_small_file(device, path, MAX_CHAIN) {
            Ok(bytes) => {
                bytes_seen += bytes.len();
                records.extend(parse_chain(pool, &bytes));
            }
            Err(DeviceError::NotFound { .. }) => {}
            Err(error) => failure = Some(error),
        }
    }
    records.sort_by_key(|record| record.info.sequence);
    records.dedup();
    match failure {
        Some(error) if records.is_empty() => Err(error.into()),
        // A first record that never became whole was never acknowledged; more than that was damaged.
        _ if records.is_empty() && bytes_seen > 4 * MAX_FIRST => Err(PoolError::CorruptEpochs {
            device: device.name().to_owned(),
            detail: "no record can be read".into(),
        }),
        _ => Ok(records),
    }
}

/// No first record of the largest pool is longer.
const MAX_FIRST: usize = 8192;

/// Every record known from any disk, and the line from the first to the newest.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// From sequence 1 on, without a gap.
    pub(crate) line: Vec<EpochRecord>,
    /// The line as it stands in a chain file.
    bytes: Vec<u8>,
}

impl Chain {
    /// Follows the parents of `newest`. None if a record is missing.
    pub(crate) fn follow(
        pool: PoolId,
        newest: &EpochRecord,
        records: &HashMap<EpochId, EpochRecord>,
    ) -> Option<Self> {
        let mut line = vec![newest.clone()];
        while let Some(last) = line.last().filter(|last| last.info.sequence > 1) {
            let parent = records.get(&last.info.parent)?;
            if parent.info.sequence + 1 != last.info.sequence {
                return None;
            }
            line.push(parent.clone());
        }
        line.reverse();
        let bytes = line.iter().flat_map(|record| record.encode(pool)).collect();
        Some(Self { line, bytes })
    }

    pub(crate) fn newest(&self) -> Option<&EpochRecord> {
        self.line.last()
    }

    pub(crate) fn contains(&self, id: EpochId) -> bool {
        self.position(id).is_some()
    }

    pub(crate) fn position(&self, id: EpochId) -> Option<usize> {
        self.line.iter().rposition(|record| record.info.id == id)
    }

    /// The line with one more record, not yet written anywhere.
    pub(crate) fn extended(&self, pool: PoolId, record: EpochRecord) -> Self {
        let mut bytes = self.bytes.clone();
        bytes.extend(record.encode(pool));
        let mut line = self.line.clone();
        line.push(record);
        Self { line, bytes }
    }

    /// Makes one copy on one disk hold exactly this line, durably. Only what differs is written, so that a sound copy
    /// is appended to and nothing of it is put at risk.
    pub(crate) fn write_copy(
        &self,
        device: &dyn Device,
        path: &str,
    ) -> std::result::Result<(), DeviceError> {
        let file = open_or_create(device, path)?;
        let len = usize::try_from(file.len()?)
            .unwrap_or(MAX_CHAIN)
            .min(MAX_CHAIN);
        let mut present = vec![0; len];
        let read = file.read_at(0, &mut present)?;
        present.truncate(read);
        let same = present
            .chunks(UNIT)
            .zip(self.bytes.chunks(UNIT))
            .take_while(|(a, b)| a == b)
            .count()
            * UNIT;
        let rest = &self.bytes[same.min(self.bytes.len())..];
        if !rest.is_empty() {
            file.write_at(same as u64, rest)?;
        }
        file.set_len(self.bytes.len() as u64)?;
        file.sync()?;
        device.sync_dir("")
    }

    /// Ends of segments, from all epochs.
    pub(crate) fn segment_ends(&self) -> HashMap<SegmentId, u32> {
        let mut ends = HashMap::new();
        for (segment, blocks) in self
            .line
            .iter()
            .flat_map(|record| &record.info.segment_ends)
        {
            let end = ends.entry(*segment).or_insert(*blocks);
            *end = (*blocks).min(*end);
        }
        ends
    }
}
