//! Reading: one call to the kernel for each shard, every byte verified. Where a shard is bad or missing its bytes are
//! computed from the others, and the bad one is mended.

use std::cell::Cell;
use std::io::IoSliceMut;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;
use strongroom_device::{DeviceError, DeviceFile};

use crate::checksum::Checksum;
use crate::fragment::{BadHeader, Head, Header, Place, SECTOR, SUM_UNIT, Table};
use crate::geometry::{Part, first_mirror, spread};
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
    /// No member has this shard.
    Missing,
}

/// Shards that did not answer, and why.
pub(crate) type BadShards = SmallVec<[(u8, BadCopy); 3]>;

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
            Self::Missing => f.write_str("on no disk in service"),
        }
    }
}

impl Pool {
    /// Reads `buffer.len()` bytes of the extent at `address`, from `start` bytes into it.
    ///
    /// # Errors
    /// [`PoolError::Corrupt`] if too few shards are good; the buffer's contents are then undefined. A bad shard that the
    /// others make good is counted, logged and rewritten.
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
        self.activity.read(buffer.len());
        let from = u64::from(address.offset) + u64::from(start);
        let raw = |from: u64, buffer: &mut [u8]| self.read_raw(&segment, address, from, buffer);
        match self.cipher_if_encrypted()? {
            None => raw(from, buffer),
            Some(cipher) => self.read_sealed(&cipher, &segment, address.stripe, from, buffer, &raw),
        }
    }

    /// Reads the payload of a stripe as it is stored.
    fn read_raw(
        &self,
        segment: &Arc<Segment>,
        address: Address,
        from: u64,
        buffer: &mut [u8],
    ) -> Result<()> {
        let (outcome, mut bad) = loop {
            let shards = segment.shards();
            let mut bad = BadShards::new();
            let outcome = if self.layout.data == 1 {
                self.read_mirror(segment, address.stripe, from, buffer, &mut bad)
            } else {
                self.read_spread(segment, address.stripe, from, buffer, &mut bad)
            };
            // A shard that moved meanwhile is not bad: its file is gone.
            if bad.is_empty() || Arc::ptr_eq(&shards, &segment.shards()) {
                break (outcome, bad);
            }
        };
        bad.retain(|(_, why)| !matches!(why, BadCopy::Missing));
        let outcome = outcome.or_else(|why| {
            // Bad here and there, shards may still be good enough together.
            let salvaged = self.read_salvaged(segment, address.stripe, from, buffer);
            salvaged.map_err(|more| format!("{why}; {more}"))
        });
        match outcome {
            Ok(()) if bad.is_empty() => Ok(()),
            Ok(()) => {
                self.mend(segment, address.stripe, &bad);
                Ok(())
            }
            Err(why) => {
                self.count_bad(segment, address.stripe, &bad);
                let reasons = bad.iter().map(|(_, why)| why.to_string());
                let reasons: Vec<String> = reasons.chain([why]).collect();
                Err(self.lost(address, reasons.join("; ")))
            }
        }
    }

    fn lost(&self, address: Address, detail: String) -> PoolError {
        let Address {
            segment,
            stripe,
            offset,
        } = address;
        self.counters.lost_reads.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%segment, stripe, offset, detail, "an extent cannot be read");
        PoolError::Corrupt {
            segment,
            stripe,
            detail,
        }
    }

    /// Asks one copy after the other.
    fn read_mirror(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        from: u64,
        buffer: &mut [u8],
        bad: &mut BadShards,
    ) -> std::result::Result<(), String> {
        let shards = segment.live_shards();
        let first = usize::from(first_mirror(self.layout, stripe));
        for step in 0..shards.len() {
            let shard = &shards[(first + step) % shards.len()];
            let mut part = Part {
                shard: shard.shard,
                from,
                pieces: SmallVec::from_iter([&mut *buffer]),
            };
            match self.read_part(segment, shard, stripe, &mut part) {
                Ok(_) => return Ok(()),
                Err(why) => bad.push((shard.shard, why)),
            }
        }
        Err("no copy is left".into())
    }

    /// Reads each data shard's part, and computes those that are bad or missing.
    fn read_spread(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        from: u64,
        buffer: &mut [u8],
        bad: &mut BadShards,
    ) -> std::result::Result<(), String> {
        let shards = segment.shards();
        let mut lost: SmallVec<[Part<'_>; 2]> = SmallVec::new();
        for mut part in spread(self.layout, from, buffer) {
            let shard = shards[usize::from(part.shard)].as_ref();
            let read = match shard.filter(|shard| shard.is_live()) {
                Some(shard) => self.read_part(segment, shard, stripe, &mut part),
                None => Err(BadCopy::Missing),
            };
            if let Err(why) = read {
                bad.push((part.shard, why));
                lost.push(part);
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        if bad.iter().any(|(_, why)| matches!(why, BadCopy::Punched)) {
            return Err("the stripe was given back".into());
        }
        self.decode_parts(segment, stripe, &mut lost, bad)
    }

    pub(crate) fn read_part(
        &self,
        segment: &Arc<Segment>,
        shard: &Shard,
        stripe: u32,
        part: &mut Part<'_>,
    ) -> std::result::Result<(), BadCopy> {
        let file = segment.file(shard, &self.handles)?;
        let place = shard.place(self.id, segment.id, stripe);
        let table = self.table(&*file, &place)?;
        read_verified(&*file, &table, part.from, &mut part.pieces)
    }

    pub(crate) fn new_table(&self, place: &Place, header: &Header) -> Arc<Table> {
        Table::trusting(place, header, self.planted.trust_checksums)
    }

    /// The header's table, from memory or from the disk.
    pub(crate) fn table(
        &self,
        file: &dyn DeviceFile,
        place: &Place,
    ) -> std::result::Result<Arc<Table>, BadCopy> {
        let key = HeaderKey::of(place);
        if let Some(table) = self.headers.get(key) {
            return Ok(table);
        }
        let table = self.new_table(place, &read_header(file, place)?);
        self.headers.insert(key, Arc::clone(&table));
        Ok(table)
    }

    pub(crate) fn count_bad(&self, segment: &Segment, stripe: u32, bad: &BadShards) {
        let shards = segment.shards();
        for (number, why) in bad {
            self.counters.bad_fragments.fetch_add(1, Ordering::Relaxed);
            let shard = shards.get(usize::from(*number)).and_then(Option::as_ref);
            let device = shard.map(|shard| {
                shard.disk.errors.fetch_add(1, Ordering::Relaxed);
                shard.disk.name()
            });
            let segment = segment.id;
            tracing::warn!(%segment, stripe, shard = number, device, %why, "bad shard of a stripe");
        }
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

/// Reads data from `from` on into pieces one after the other, widened to whole checksummed blocks, with one call.
pub(crate) fn read_verified(
    file: &dyn DeviceFile,
    table: &Table,
    from: u64,
    pieces: &mut [&mut [u8]],
) -> std::result::Result<(), BadCopy> {
    if table.punched {
        return Err(BadCopy::Punched);
    }
    let data_len = u64::from(table.data_len);
    let to = from + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
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
            body: pieces,
            tail: &mut rest[..after],
        };
        let outcome = span.read(file, table);
        cell.set(scratch);
        outcome
    })
}

/// Whole blocks: what was asked for, and what is needed around it to check it.
struct Span<'a, 'b> {
    /// In the fragment's data; where a block starts.
    offset: u64,
    head: &'a mut [u8],
    body: &'a mut [&'b mut [u8]],
    tail: &'a mut [u8],
}

impl Span<'_, '_> {
    fn read(mut self, file: &dyn DeviceFile, table: &Table) -> std::result::Result<(), BadCopy> {
        let mut slices: SmallVec<[IoSliceMut<'_>; 8]> = SmallVec::new();
        let body = self.body.iter_mut().map(|piece| &mut **piece);
        let parts = [&mut *self.head].into_iter().chain(body);
        let mut total = 0;
        for part in parts
            .chain([&mut *self.tail])
            .filter(|part| !part.is_empty())
        {
            total += part.len();
            slices.push(IoSliceMut::new(part));
        }
        let read = file.read_vectored_at(table.data_offset + self.offset, &mut slices)?;
        if read < total {
            return Err(BadCopy::Bytes(format!(
                "the file ends {} bytes early",
                total - read
            )));
        }
        drop(slices);
        if table.trusts {
            return Ok(());
        }
        self.verify(table)
    }

    /// Walks the parts laid end to end, block by block.
    fn verify(&mut self, table: &Table) -> std::result::Result<(), BadCopy> {
        let mut block = usize::try_from(self.offset / SUM_UNIT as u64).unwrap_or(usize::MAX);
        let mut check = table.check(block);
        let mut room = SUM_UNIT;
        let body = self.body.iter().map(|piece| &**piece);
        for part in [&*self.head].into_iter().chain(body).chain([&*self.tail]) {
            let mut rest = part;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(room));
                check.update(now);
                room -= now.len();
                rest = later;
                if room == 0 {
                    table.confirm(block, &check)?;
                    block += 1;
                    check = table.check(block);
                    room = SUM_UNIT;
                }
            }
        }
        if room < SUM_UNIT {
            table.confirm(block, &check)?;
        }
        Ok(())
    }
}

impl Table {
    fn confirm(&self, block: usize, check: &Checksum) -> std::result::Result<(), BadCopy> {
        if self.is_right(block, check) {
            return Ok(());
        }
        Err(BadCopy::Bytes(format!("wrong checksum of block {block}")))
    }
}
