//! What a scrub of the segments did so far, as its row keeps it and as people are told.

use strongroom_device::Timestamp;
use strongroom_pool::codec::{Reader, Truncated, Writer};
use strongroom_pool::{LostPart, SegmentId};

use crate::{Inode, ObjectId, Result, StoreError};

/// Parts and ranges that are remembered one by one; of more only the number.
pub(super) const REMEMBERED_MAX: usize = 500;

/// Bytes of a file, or of its past, that nothing gives any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostRange {
    pub object: ObjectId,
    pub offset: u64,
    pub len: u64,
    /// Only older states of the file have it.
    pub past: bool,
}

/// How the scrub of all segments stands, or how the last one ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    pub running: bool,
    /// None if there never was one.
    pub began: Option<Timestamp>,
    /// None if it runs, or was stopped.
    pub ended: Option<Timestamp>,
    pub stopped: bool,
    pub failed: Option<String>,
    pub segments_done: u64,
    pub segments: u64,
    /// Bytes read and compared, on all disks.
    pub bytes: u64,
    /// Fragments that were damaged or missing where they should be.
    pub bad: u64,
    /// Those that were made anew from the others.
    pub repaired: u64,
    /// File data that could not be, once it has ended; the first 500 ranges.
    pub lost: Vec<LostRange>,
    /// Ranges in all.
    pub lost_ranges: u64,
}

/// The state of a scrub between two steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) began: Timestamp,
    /// 0 while it runs.
    pub(super) ended: Timestamp,
    /// What was appended to later segments is newer than the scrub.
    pub(super) last: SegmentId,
    /// Where it goes on.
    pub(super) segment: SegmentId,
    pub(super) block: u32,
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) bytes: u64,
    pub(super) bad: u64,
    pub(super) repaired: u64,
    pub(super) parts: Vec<LostPart>,
    /// Parts that were not remembered.
    pub(super) more_parts: u64,
    pub(super) lost: Vec<LostRange>,
    pub(super) lost_ranges: u64,
}

impl Report {
    pub(super) fn status(&self) -> ScrubStatus {
        let time = |at: Timestamp| Some(at).filter(|at| at.0 > 0);
        ScrubStatus {
            began: time(self.began),
            ended: time(self.ended),
            segments_done: self.done,
            segments: self.total,
            bytes: self.bytes,
            bad: self.bad,
            repaired: self.repaired,
            lost: self.lost.clone(),
            lost_ranges: self.lost_ranges,
            ..ScrubStatus::default()
        }
    }

    pub(super) fn lose(&mut self, part: LostPart) {
        if self.parts.len() < REMEMBERED_MAX {
            self.parts.push(part);
        } else {
            self.more_parts += 1;
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(1).u64(self.began.0).u64(self.ended.0);
        out.u64(self.last.0).u64(self.segment.0).u32(self.block);
        for number in [
            self.done,
            self.total,
            self.bytes,
            self.bad,
            self.repaired,
            self.more_parts,
            self.lost_ranges,
        ] {
            out.varint(number);
        }
        out.varint(self.parts.len() as u64);
        for part in &self.parts {
            out.u64(part.segment.0);
            out.u32(part.stripes.start).u32(part.stripes.end);
            out.u32(part.payload.start).u32(part.payload.end);
        }
        out.varint(self.lost.len() as u64);
        for range in &self.lost {
            out.u64(range.object.inode.0).u32(range.object.stream);
            out.u64(range.offset).u64(range.len);
            out.u8(u8::from(range.past));
        }
        out.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        match Self::read(&mut reader) {
            Ok(Some(report)) if reader.is_empty() => Ok(report),
            Ok(_) | Err(_) => Err(StoreError::Corrupt {
                what: "damaged row of a scrub".into(),
            }),
        }
    }

    fn read(reader: &mut Reader<'_>) -> std::result::Result<Option<Self>, Truncated> {
        if reader.u8()? != 1 {
            return Ok(None);
        }
        let mut report = Self {
            began: Timestamp(reader.u64()?),
            ended: Timestamp(reader.u64()?),
            last: SegmentId(reader.u64()?),
            segment: SegmentId(reader.u64()?),
            block: reader.u32()?,
            done: reader.varint()?,
            total: reader.varint()?,
            bytes: reader.varint()?,
            bad: reader.varint()?,
            repaired: reader.varint()?,
            more_parts: reader.varint()?,
            lost_ranges: reader.varint()?,
            ..Self::default()
        };
        for _ in 0..reader.varint()? {
            report.parts.push(LostPart {
                segment: SegmentId(reader.u64()?),
                stripes: reader.u32()?..reader.u32()?,
                payload: reader.u32()?..reader.u32()?,
            });
        }
        for _ in 0..reader.varint()? {
            let object = ObjectId {
                inode: Inode(reader.u64()?),
                stream: reader.u32()?,
            };
            report.lost.push(LostRange {
                object,
                offset: reader.u64()?,
                len: reader.u64()?,
                past: reader.u8()? == 1,
            });
        }
        Ok(Some(report))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_as_it_was_and_is_refused_when_cut() {
        let object = ObjectId {
            inode: Inode(9),
            stream: 2,
        };
        let report = Report {
            began: Timestamp(5),
            last: SegmentId(77),
            segment: SegmentId(70),
            block: 12,
            done: 300,
            total: 1 << 40,
            bytes: u64::MAX,
            bad: 3,
            repaired: 2,
            parts: vec![LostPart {
                segment: SegmentId(70),
                stripes: 12..13,
                payload: 16_384..32_768,
            }],
            lost: vec![LostRange {
                object,
                offset: 4096,
                len: 7,
                past: true,
            }],
            lost_ranges: 1,
            ..Report::default()
        };
        let bytes = report.encode();
        assert_eq!(Report::decode(&bytes).unwrap(), report);
        for len in 0..bytes.len() {
            assert!(Report::decode(&bytes[..len]).is_err());
        }
    }
}
