//! Reading: one call to the kernel, every byte verified, another copy where one is bad, and the bad one mended.

use std::cell::Cell;
use std::io::IoSliceMut;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;
use strongroom_device::{DeviceError, DeviceFile};

use crate::fragment::{BadHeader, Head, Header, Place, SECTOR, SUM_UNIT, Table, sum_pieces};
use crate::headers::HeaderKey;
use crate::pool::Pool;
use crate::segment::{Segment, Shard};
use crate::{Address, BLOCK, PoolError, Result};

thread_local! {
    /// Room for the parts of checksummed blocks that were not asked for.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Why one copy did not answer.
#[derive(Debug)]
pub(crate) enum BadCopy {
    Device(DeviceError),
    Bytes(String),
    /// The data was given back; no copy has it.
    Punched,
}

impl From<DeviceError> for BadCopy {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl From<BadHeader> for BadCopy {
    fn from(error: BadHeader) -> Self {
        Self::Bytes(format!("header: {}", error.0))
    }
}

impl std::fmt::Display for BadCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::Bytes(what) => f.write_str(what),
            Self::Punched => f.write_str("punched"),
        }
    }
}

impl Pool {
    /// Reads `buffer.len()` bytes of the extent at `address`, from `start` bytes into it.
    ///
    /// # Errors
    /// [`PoolError::Corrupt`] if no copy is good; the buffer's contents are then undefined. A bad copy beside a good one
    /// is counted, logged and rewritten.
    pub fn read(&self, address: Address, start: u32, buffer: &mut [u8]) -> Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let segment = self
            .segments
            .get(address.segment)
            .ok_or(PoolError::NoSegment {
                segment: address.segment,
            })?;
        if segment.known_end().is_some_and(|end| address.stripe >= end) {
            return Err(self.lost(address, "beyond the end of the segment".into()));
        }
        let from = u64::from(address.offset) + u64::from(start);
        let mut bad: SmallVec<[(usize, BadCopy); 3]> = SmallVec::new();
        for index in self.reading_order(&segment, address.stripe) {
            match self.read_copy(
                &segment,
                &segment.shards[index],
                address.stripe,
                from,
                buffer,
            ) {
                Ok(()) => {
                    if !bad.is_empty() {
                        self.mend(&segment, address.stripe, &bad, index);
                    }
                    return Ok(());
                }
                Err(why) => bad.push((index, why)),
            }
        }
        self.count_bad(&segment, address.stripe, &bad);
        let reasons: Vec<String> = bad.iter().map(|(_, why)| why.to_string()).collect();
        Err(self.lost(address, reasons.join("; ")))
    }

    fn lost(&self, address: Address, detail: String) -> PoolError {
        let Address {
            segment,
            stripe,
            offset,
        } = address;
        self.counters.lost_reads.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%segment, stripe, offset, detail, "no good copy of an extent");
        PoolError::Corrupt {
            segment,
            stripe,
            detail,
        }
    }

    /// Live copies, beginning with another one from stripe to stripe, so that mirrors share the load.
    fn reading_order(&self, segment: &Segment, stripe: u32) -> SmallVec<[usize; 3]> {
        let count = segment.shards.len();
        let first = if count > 1 {
            (stripe as usize / 256) % count
        } else {
            0
        };
        let turn = (0..count).map(|step| (first + step) % count);
        turn.filter(|index| self.disks[segment.shards[*index].disk].live().is_some())
            .collect()
    }

    fn read_copy(
        &self,
        segment: &Arc<Segment>,
        shard: &Shard,
        stripe: u32,
        from: u64,
        buffer: &mut [u8],
    ) -> std::result::Result<(), BadCopy> {
        let disk = &self.disks[shard.disk];
        let file = segment.file(shard, disk, &self.handles)?;
        let place = shard.place(self.id, segment.id, stripe);
        let table = self.table(&*file, &place)?;
        read_verified(&*file, &table, from, buffer)
    }

    /// The header's table, from memory or from the disk.
    fn table(
        &self,
        file: &dyn DeviceFile,
        place: &Place,
    ) -> std::result::Result<Arc<Table>, BadCopy> {
        let key = HeaderKey {
            segment: place.segment,
            stripe: place.stripe,
            shard: place.shard,
        };
        if let Some(table) = self.headers.get(key) {
            return Ok(table);
        }
        let table = Table::new(place, &read_header(file, place)?);
        self.headers.insert(key, Arc::clone(&table));
        Ok(table)
    }

    fn count_bad(&self, segment: &Segment, stripe: u32, bad: &[(usize, BadCopy)]) {
        for (index, why) in bad {
            let shard = &segment.shards[*index];
            let disk = &self.disks[shard.disk];
            self.counters.bad_fragments.fetch_add(1, Ordering::Relaxed);
            disk.errors.fetch_add(1, Ordering::Relaxed);
            let (segment, shard) = (segment.id, shard.shard);
            tracing::warn!(%segment, stripe, shard, device = disk.name(), %why, "bad copy of a fragment");
        }
    }

    /// Rewrites bad copies from the good one. The read was answered already, so a failure here is only logged.
    fn mend(&self, segment: &Arc<Segment>, stripe: u32, bad: &[(usize, BadCopy)], good: usize) {
        self.count_bad(segment, stripe, bad);
        for (index, _) in bad {
            let shard = &segment.shards[*index];
            match self.rewrite(segment, stripe, shard, &segment.shards[good]) {
                Ok(()) => {
                    self.counters
                        .repaired_fragments
                        .fetch_add(1, Ordering::Relaxed);
                    let (segment, shard) = (segment.id, shard.shard);
                    tracing::warn!(%segment, stripe, shard, "fragment repaired from another copy");
                }
                Err(BadCopy::Device(error @ DeviceError::Io { .. })) => {
                    // A disk that takes no writes is of no use; that the pool then stops is logged there.
                    if let Err(error) = self.set_aside(&self.disks[shard.disk].name(), &error) {
                        tracing::error!(%error, "while repairing a fragment");
                    }
                }
                Err(why) => {
                    let (segment, shard) = (segment.id, shard.shard);
                    tracing::error!(%segment, stripe, shard, %why, "fragment not repaired");
                }
            }
        }
    }

    /// Writes the whole fragment of `bad` anew. The good copy is verified in full first.
    fn rewrite(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        bad: &Shard,
        good: &Shard,
    ) -> std::result::Result<(), BadCopy> {
        let source = segment.file(good, &self.disks[good.disk], &self.handles)?;
        let source_place = good.place(self.id, segment.id, stripe);
        let mut header = read_header(&*source, &source_place)?;
        let table = Table::new(&source_place, &header);
        let mut data = vec![0; header.data_len as usize];
        read_verified(&*source, &table, 0, &mut data)?;
        let place = bad.place(self.id, segment.id, stripe);
        let data_offset = place.file_offset() + header.len() as u64;
        header.sums = sum_pieces(place.data_seed(header.epoch), data_offset, &[&data]);
        let target = segment.file(bad, &self.disks[bad.disk], &self.handles)?;
        target.write_at(data_offset, &data)?;
        target.write_at(place.file_offset(), &header.encode(&place))?;
        let key = HeaderKey {
            segment: segment.id,
            stripe,
            shard: bad.shard,
        };
        self.headers.insert(key, Table::new(&place, &header));
        Ok(())
    }
}

/// Reads and checks a whole header.
pub(crate) fn read_header(
    file: &dyn DeviceFile,
    place: &Place,
) -> std::result::Result<Header, BadCopy> {
    let mut bytes = vec![0; BLOCK];
    let read = file.read_at(place.file_offset(), &mut bytes)?;
    bytes.truncate(read);
    let head = Head::decode(place, bytes.get(..SECTOR).unwrap_or_default())?;
    if head.header_len > BLOCK {
        bytes.resize(head.header_len, 0);
        let rest = bytes.get_mut(read..).unwrap_or_default();
        let more = file.read_at(place.file_offset() + read as u64, rest)?;
        bytes.truncate(read + more);
    }
    Ok(Header::decode(place, &head, &bytes)?)
}

/// Reads data from `from` on, widened to whole checksummed blocks, with one call.
fn read_verified(
    file: &dyn DeviceFile,
    table: &Table,
    from: u64,
    buffer: &mut [u8],
) -> std::result::Result<(), BadCopy> {
    if table.punched {
        return Err(BadCopy::Punched);
    }
    let data_len = u64::from(table.data_len);
    let to = from + buffer.len() as u64;
    if to > data_len {
        return Err(BadCopy::Bytes(format!(
            "bytes {from} to {to} of a fragment of {data_len}"
        )));
    }
    let unit = SUM_UNIT as u64;
    let first = from / unit * unit;
    let end = to.next_multiple_of(unit).min(data_len);
    let before = usize::try_from(from - first).unwrap_or(0);
    let after = usize::try_from(end - to).unwrap_or(0);
    SCRATCH.with(|cell| {
        let mut scratch = cell.take();
        if scratch.len() < before + after {
            scratch.resize(2 * SUM_UNIT, 0);
        }
        let (head, rest) = scratch.split_at_mut(before);
        let span = Span {
            offset: first,
            head,
            body: buffer,
            tail: &mut rest[..after],
        };
        let outcome = span.read(file, table);
        cell.set(scratch);
        outcome
    })
}

/// Whole blocks: what was asked for, and what is needed around it to check it.
struct Span<'a> {
    /// In the fragment's data; where a block starts.
    offset: u64,
    head: &'a mut [u8],
    body: &'a mut [u8],
    tail: &'a mut [u8],
}

impl Span<'_> {
    fn read(self, file: &dyn DeviceFile, table: &Table) -> std::result::Result<(), BadCopy> {
        let total = self.head.len() + self.body.len() + self.tail.len();
        let mut slices: SmallVec<[IoSliceMut<'_>; 3]> = SmallVec::new();
        for part in [&mut *self.head, &mut *self.body, &mut *self.tail] {
            if !part.is_empty() {
                slices.push(IoSliceMut::new(part));
            }
        }
        let read = file.read_vectored_at(table.data_offset + self.offset, &mut slices)?;
        if read < total {
            return Err(BadCopy::Bytes(format!(
                "the file ends {} bytes early",
                total - read
            )));
        }
        drop(slices);
        self.verify(table, total)
    }

    fn verify(&self, table: &Table, total: usize) -> std::result::Result<(), BadCopy> {
        let first = usize::try_from(self.offset / SUM_UNIT as u64).unwrap_or(usize::MAX);
        for (step, start) in (0..total).step_by(SUM_UNIT).enumerate() {
            let end = (start + SUM_UNIT).min(total);
            if !table.verify(first + step, &self.pieces(start, end)) {
                let block = first + step;
                return Err(BadCopy::Bytes(format!("wrong checksum of block {block}")));
            }
        }
        Ok(())
    }

    /// The bytes from `start` to `end` of head, body and tail laid end to end.
    fn pieces(&self, start: usize, end: usize) -> [&[u8]; 3] {
        let mut at = 0;
        [&*self.head, &*self.body, &*self.tail].map(|part| {
            let low = start.saturating_sub(at).min(part.len());
            let high = end.saturating_sub(at).min(part.len());
            at += part.len();
            &part[low..high]
        })
    }
}
