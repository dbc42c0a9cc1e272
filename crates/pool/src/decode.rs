//! Computing what a shard held from the other shards of its stripe.
//!
//! Only shards of the same stripe are put together: those whose headers agree on everything but the shard itself. A
//! fragment of an append that failed and was repeated, or of an older generation, is never mixed in.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;
use strongroom_device::DeviceFile;

use crate::fragment::{Header, SUM_UNIT, Table, never, sum_pieces};
use crate::geometry::{Part, shard_len};
use crate::pool::Pool;
use crate::read::{BadCopy, BadShards, read_header, read_verified};
use crate::segment::{Segment, Shard};

/// A shard that can be read, with its verified header.
pub(crate) struct Source {
    pub(crate) shard: Arc<Shard>,
    pub(crate) file: Arc<dyn DeviceFile>,
    pub(crate) table: Arc<Table>,
}

/// A fragment that can be written.
pub(crate) struct Fragment {
    /// Without checksums, which depend on where it is written.
    pub(crate) header: Header,
    /// Empty if the stripe was punched.
    pub(crate) data: Vec<u8>,
    /// Checksummed blocks whose bytes are lost, in order.
    pub(crate) lost: Vec<usize>,
}

/// Buffers for decoding, kept from one stripe to the next.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// The stripe that the header to be written is of; None for the one that most shards have.
    pub(crate) identity: Option<u64>,
    sources: Vec<Vec<u8>>,
    pub(crate) targets: Vec<Vec<u8>>,
}

impl Room {
    fn resize(&mut self, sources: usize, targets: usize, len: usize) {
        self.sources.resize_with(sources, Vec::new);
        self.targets.resize_with(targets, Vec::new);
        let all = self.sources.iter_mut().chain(&mut self.targets);
        all.for_each(|buffer| buffer.resize(len, 0));
    }
}

impl Pool {
    /// Fills parts of lost data shards from the other shards of the stripe. Sources that turn out bad join `bad`.
    pub(crate) fn decode_parts(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        lost: &mut [Part<'_>],
        bad: &mut BadShards,
    ) -> std::result::Result<(), String> {
        for part in lost {
            let unit = SUM_UNIT as u64;
            let first = part.from / unit * unit;
            let end = (part.from + part.len() as u64).next_multiple_of(unit);
            let decoded = self.decode(segment, stripe, part.shard, first..end, bad, None)?;
            let mut rest = &decoded[usize::try_from(part.from - first).unwrap_or(0)..];
            for piece in &mut part.pieces {
                let Some((now, later)) = rest.split_at_checked(piece.len()) else {
                    return Err("beyond the end of the stripe".into());
                };
                piece.copy_from_slice(now);
                rest = later;
            }
        }
        Ok(())
    }

    /// The bytes `range` of a shard's data, which begins and ends at checksummed blocks or beyond the end.
    fn decode(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        wanted: u8,
        range: std::ops::Range<u64>,
        bad: &mut BadShards,
        identity: Option<u64>,
    ) -> std::result::Result<Vec<u8>, String> {
        let mut room = Room {
            identity,
            ..Room::default()
        };
        self.decode_shards(segment, stripe, &[wanted], range, bad, &mut room)?;
        Ok(room.targets.swap_remove(0))
    }

    /// The same range of several shards, given in order, into the targets of `room`. Each source is read once.
    pub(crate) fn decode_shards(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        wanted: &[u8],
        range: std::ops::Range<u64>,
        bad: &mut BadShards,
        room: &mut Room,
    ) -> std::result::Result<(), String> {
        loop {
            let sources = self.sources(segment, stripe, wanted, room.identity, bad)?;
            // Parity is as long as the longest shard.
            let longest = sources.iter().map(|source| source.table.data_len).max();
            let end = range.end.min(u64::from(longest.unwrap_or(0)));
            let len = usize::try_from(end.saturating_sub(range.start)).unwrap_or(0);
            room.resize(sources.len(), wanted.len(), len);
            let failed = read_sources(&sources, range.start, &mut room.sources);
            if failed.is_empty() {
                let present: SmallVec<[u8; 16]> =
                    sources.iter().map(|source| source.shard.shard).collect();
                let slices: Vec<&[u8]> = room.sources.iter().map(Vec::as_slice).collect();
                let mut targets: Vec<&mut [u8]> =
                    room.targets.iter_mut().map(Vec::as_mut_slice).collect();
                let plan = self.code.plan(&present, wanted);
                plan.apply(&slices, &mut targets);
                return Ok(());
            }
            bad.extend(failed);
        }
    }

    /// As many shards of one stripe as decoding takes, in order, not those that are bad or wanted.
    fn sources(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        wanted: &[u8],
        identity: Option<u64>,
        bad: &mut BadShards,
    ) -> std::result::Result<Vec<Source>, String> {
        let mut stripes: BTreeMap<u64, Vec<Source>> = BTreeMap::new();
        for shard in segment.live_shards() {
            let number = shard.shard;
            if wanted.contains(&number) || bad.iter().any(|(known, _)| *known == number) {
                continue;
            }
            match self.source(segment, &shard, stripe) {
                Ok(source) if identity.is_some_and(|known| known != source.table.identity) => {
                    let why = "it is of another stripe".to_owned();
                    bad.push((number, BadCopy::Bytes(why)));
                }
                Ok(source) => stripes
                    .entry(source.table.identity)
                    .or_default()
                    .push(source),
                Err(BadCopy::Punched) => return Err("the stripe was given back".into()),
                Err(why) => bad.push((shard.shard, why)),
            }
        }
        let data = usize::from(self.layout.data);
        let most = stripes
            .into_values()
            .max_by_key(Vec::len)
            .unwrap_or_default();
        if most.len() < data {
            let found = most.len();
            return Err(format!("{found} good shards of {data} that are needed"));
        }
        let mut chosen = most;
        chosen.truncate(data);
        Ok(chosen)
    }

    pub(crate) fn source(
        &self,
        segment: &Arc<Segment>,
        shard: &Arc<Shard>,
        stripe: u32,
    ) -> std::result::Result<Source, BadCopy> {
        let file = segment.file(shard, &self.handles)?;
        let table = self.table(&*file, &shard.place(self.id, segment.id, stripe))?;
        if table.punched {
            return Err(BadCopy::Punched);
        }
        Ok(Source {
            shard: Arc::clone(shard),
            file,
            table,
        })
    }

    /// The whole fragment that shard `wanted` should hold, computed from the others; where none of them is good as a
    /// whole, block by block from wherever each block is good.
    pub(crate) fn compute_fragment(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        wanted: u8,
        bad: &mut BadShards,
    ) -> std::result::Result<Fragment, String> {
        let others = self.header_of_others(segment, stripe, Some(wanted), bad);
        // One that is bad somewhere in its data may be the only one with a good header.
        let header = others
            .or_else(|_| self.header_of_others(segment, stripe, None, &mut BadShards::new()))?
            .for_shard(wanted);
        if header.punched {
            return Ok(Fragment::whole(header, Vec::new()));
        }
        let len = shard_len(self.layout, wanted, header.payload_len as usize);
        let identity = header.identity();
        let decoded = self.decode(segment, stripe, wanted, 0..len as u64, bad, Some(identity));
        let mut data =
            decoded.or_else(|_| self.salvage_fragment(segment, stripe, wanted, len, identity))?;
        data.resize(len, 0);
        Ok(Fragment::whole(header, data))
    }

    /// The header of the last attempt that any of the other shards has: an attempt in the same place was only made after
    /// the one before had failed. Without attempts, the header that most have. A stripe that one of them says was given
    /// back is given back.
    pub(crate) fn header_of_others(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        wanted: Option<u8>,
        bad: &mut BadShards,
    ) -> std::result::Result<Header, String> {
        let mut stripes: BTreeMap<u64, (usize, Header)> = BTreeMap::new();
        for shard in segment.live_shards() {
            let number = shard.shard;
            if wanted == Some(number) || bad.iter().any(|(known, _)| *known == number) {
                continue;
            }
            match self.header_of(segment, &shard, stripe) {
                Ok((header, _)) => {
                    let entry = stripes.entry(header.identity());
                    let (count, known) = entry.or_insert_with(|| (0, header.clone()));
                    *count += 1;
                    known.punched |= header.punched;
                }
                Err(why) => bad.push((shard.shard, why)),
            }
        }
        let most = stripes
            .into_values()
            .max_by_key(|(count, header)| (header.attempt, *count));
        most.map(|(_, header)| header)
            .ok_or_else(|| "no good header on any other shard".into())
    }

    pub(crate) fn header_of(
        &self,
        segment: &Arc<Segment>,
        shard: &Shard,
        stripe: u32,
    ) -> std::result::Result<(Header, crate::fragment::Place), BadCopy> {
        let file = segment.file(shard, &self.handles)?;
        let place = shard.place(self.id, segment.id, stripe);
        Ok((read_header(&*file, &place)?, place))
    }
}

/// Reads the same range of all sources; a shard that ends early reads as zeroes behind its end, as it was encoded.
fn read_sources(sources: &[Source], from: u64, buffers: &mut [Vec<u8>]) -> BadShards {
    let mut failed = BadShards::new();
    for (source, buffer) in sources.iter().zip(buffers) {
        let there = u64::from(source.table.data_len).saturating_sub(from);
        let there = usize::try_from(there)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        buffer[there..].fill(0);
        if there == 0 {
            continue;
        }
        let mut pieces = [&mut buffer[..there]];
        if let Err(why) = read_verified(&*source.file, &source.table, from, &mut pieces) {
            failed.push((source.shard.shard, why));
        }
    }
    failed
}

impl Fragment {
    fn whole(header: Header, data: Vec<u8>) -> Self {
        let lost = Vec::new();
        Self { header, data, lost }
    }

    /// One of which each checksummed block is what `block` gives, or lost.
    pub(crate) fn of_blocks(
        header: Header,
        mut block: impl FnMut(usize) -> Option<Vec<u8>>,
    ) -> Self {
        let len = header.data_len as usize;
        let mut fragment = Self::whole(header, vec![0; len]);
        for (number, target) in fragment.data.chunks_mut(SUM_UNIT).enumerate() {
            match block(number) {
                // Parity is computed over blocks as long as the longest shard's.
                Some(bytes) if bytes.len() >= target.len() => {
                    target.copy_from_slice(&bytes[..target.len()]);
                }
                Some(_) | None => fragment.lost.push(number),
            }
        }
        fragment
    }

    /// Whether nothing of its data is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.lost.len() == self.header.sums.len()
    }

    /// Bytes that are written of it.
    pub(crate) fn len(&self) -> u64 {
        (self.header.len() + self.data.len()) as u64
    }

    /// Writes it where it belongs: data first, so that a good header never stands before data that is not there.
    pub(crate) fn write(
        &mut self,
        file: &dyn DeviceFile,
        place: &crate::fragment::Place,
    ) -> std::result::Result<(), strongroom_device::DeviceError> {
        let header = &mut self.header;
        let data_offset = place.file_offset() + header.len() as u64;
        if !header.punched {
            header.sums = sum_pieces(place.data_seed(header.epoch), data_offset, &[&self.data]);
            for block in &self.lost {
                if let Some(sum) = header.sums.get_mut(*block) {
                    *sum = never(*sum);
                }
            }
            if !self.data.is_empty() {
                file.write_at(data_offset, &self.data)?;
            }
        }
        file.write_at(place.file_offset(), &header.encode(place))?;
        if header.punched {
            file.punch(data_offset, u64::from(header.data_len))?;
        }
        Ok(())
    }
}
