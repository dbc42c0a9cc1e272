//! The fragment: one shard's part of a stripe. A header of whole 4096-byte blocks, then the data; little-endian:
//!
//! ```text
//! offset size
//!      0    8  magic "SRFRAG\0\0"
//!      8    2  header version, 1
//!     10    2  flags: 1 punched, the data was given back
//!     12    2  blocks of the header h
//!     14    1  data shards k
//!     15    1  parity shards m
//!     16    8  segment id
//!     24    1  shard
//!     25    3  zero
//!     28    4  generation of the shard
//!     32    4  stripe: offset of this header in the shard file, in blocks
//!     36    4  payload length of the stripe in bytes, a multiple of 4096
//!     40    4  data length of this fragment in bytes, a multiple of 4096
//!     44    4  number of extents e
//!     48   16  epoch id
//!     64    8  transaction group
//!     72    4  number of checksums b, one for each 16 KiB of data
//!     76    4  encryption: 0 none; the rest is kept for later
//!     80   12  nonce
//!     92    4  zero
//!     96   16  authentication tag
//!    112   16  pool id
//!    128    8  checksum of bytes 512..4096*h
//!    136    8  attempt: counts the appends to the segment, also those that failed
//!    144  360  zero
//!    504    8  checksum of bytes 0..504
//!    512 48*e  extents: share (8, zero), inode (8), offset in its stream (8), txg (8), stream (4), length (4),
//!              offset in the payload (4), zero (4)
//!      …  8*b  checksums
//!      …       zeroes
//! ```
//!
//! The header is as long on every shard of a stripe; a shard that holds less data than the first is followed by a hole.
//!
//! The first 512 bytes are one sector and have their own checksum, so that marking a fragment as punched replaces one
//! sector and can not be torn.

use std::sync::Arc;

use crate::checksum::{Checksum, Seed, checksum};
use crate::codec::{Reader, Truncated, Writer};
use crate::crypt::{NONCE_LEN, ObjectNonce, TAG_LEN, Tag};
use crate::epoch::halves;
use crate::geometry::{shard_len, stripe_len};
use crate::sealed::{Seal, chunks_of};
use crate::{
    Address, BLOCK, EpochId, ExtentTag, Layout, MAX_STRIPE_PAYLOAD, PoolId, SegmentId, StripeInfo,
    Txg,
};

/// Bytes under one checksum.
pub(crate) const SUM_UNIT: usize = 16 * 1024;
pub(crate) const SECTOR: usize = 512;
const MAGIC: &[u8; 8] = b"SRFRAG\0\0";
const VERSION: u16 = 1;
const FLAG_PUNCHED: u16 = 1;
const EXTENT_LEN: usize = 48;
/// Values of the field that says how the payload is encrypted.
const PLAIN: u32 = 0;
const AES_256_GCM: u32 = 1;
const SECTOR_CHECKED: usize = SECTOR - 8;

/// Which fragment of which pool; read from the place, not from the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pool: PoolId,
    pub(crate) segment: SegmentId,
    pub(crate) shard: u8,
    pub(crate) generation: u32,
    /// In blocks.
    pub(crate) stripe: u32,
}

impl Place {
    fn seed(&self) -> Seed {
        let (low, high) = halves(self.pool.0);
        let shard = u64::from(self.shard) << 32 | u64::from(self.generation);
        Seed::of(&[low, high, self.segment.0, shard])
    }

    fn header_seed(&self) -> Seed {
        self.seed().with(u64::from(self.stripe))
    }

    /// What all checksums of this fragment's data start from.
    pub(crate) fn data_seed(&self, epoch: EpochId) -> Seed {
        let (low, high) = halves(epoch.0);
        self.seed().with(low).with(high)
    }

    pub(crate) fn file_offset(&self) -> u64 {
        u64::from(self.stripe) * BLOCK as u64
    }
}

/// A decoded header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) layout: Layout,
    pub(crate) epoch: EpochId,
    pub(crate) txg: Txg,
    pub(crate) payload_len: u32,
    pub(crate) data_len: u32,
    pub(crate) punched: bool,
    /// Tells a stripe from one that was begun in the same place and failed.
    pub(crate) attempt: u64,
    /// With their offsets in the payload.
    pub(crate) extents: Vec<(ExtentTag, u32)>,
    pub(crate) sums: Vec<u64>,
    /// Of an encrypted stripe.
    pub(crate) seal: Option<Arc<Seal>>,
}

/// Why bytes are not the header that belongs there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadHeader(pub(crate) &'static str);

impl From<Truncated> for BadHeader {
    fn from(_: Truncated) -> Self {
        Self("truncated")
    }
}

/// What the first sector says, before the tables are there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) header_len: usize,
    punched: bool,
    layout: Layout,
    payload_len: u32,
    data_len: u32,
    extents: usize,
    epoch: EpochId,
    txg: Txg,
    sums: usize,
    attempt: u64,
    table_sum: u64,
    /// Nonce and tag of an encrypted stripe.
    sealed: Option<(ObjectNonce, Tag)>,
}

/// Bytes of each header of a stripe with so many extents: there is room for the checksums of its longest shard, and for
/// the tags of all chunks of an encrypted one.
pub(crate) fn header_len(extents: usize, layout: Layout, payload: usize, sealed: bool) -> usize {
    let sums = sums_of(stripe_len(layout, payload));
    let tags = if sealed { chunks_of(payload) } else { 0 };
    (SECTOR + extents * EXTENT_LEN + tags * TAG_LEN + sums * 8).next_multiple_of(BLOCK)
}

pub(crate) fn sums_of(data_len: usize) -> usize {
    data_len.div_ceil(SUM_UNIT)
}

fn narrow16(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn narrow32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Header {
    pub(crate) fn len(&self) -> usize {
        let sealed = self.seal.is_some();
        header_len(
            self.extents.len(),
            self.layout,
            self.payload_len as usize,
            sealed,
        )
    }

    pub(crate) fn encode(&self, place: &Place) -> Vec<u8> {
        let len = self.len();
        let mut out = Writer::with_capacity(len);
        self.encode_fixed(place, len, &mut out);
        out.pad_to(SECTOR);
        for (tag, payload_offset) in &self.extents {
            out.u64(0).u64(tag.inode).u64(tag.offset).u64(tag.txg.0);
            out.u32(tag.stream).u32(tag.len).u32(*payload_offset);
            out.u32(tag.packing);
        }
        for tag in self.seal.iter().flat_map(|seal| &seal.chunks) {
            out.bytes(tag);
        }
        for sum in &self.sums {
            out.u64(*sum);
        }
        let mut bytes = out.into_bytes();
        bytes.resize(len, 0);
        let table_sum = checksum(place.header_seed(), &bytes[SECTOR..]);
        bytes[128..136].copy_from_slice(&table_sum.to_le_bytes());
        seal_sector(place, &mut bytes);
        bytes
    }

    fn encode_fixed(&self, place: &Place, len: usize, out: &mut Writer) {
        out.bytes(MAGIC)
            .u16(VERSION)
            .u16(if self.punched { FLAG_PUNCHED } else { 0 });
        out.u16(narrow16(len / BLOCK))
            .u8(self.layout.data)
            .u8(self.layout.parity);
        out.u64(place.segment.0)
            .u8(place.shard)
            .bytes(&[0; 3])
            .u32(place.generation);
        out.u32(place.stripe)
            .u32(self.payload_len)
            .u32(self.data_len);
        out.u32(narrow32(self.extents.len()))
            .bytes(&self.epoch.0)
            .u64(self.txg.0);
        let seal = self.seal.as_ref();
        out.u32(narrow32(self.sums.len()))
            .u32(seal.map_or(PLAIN, |_| AES_256_GCM))
            .bytes(&seal.map_or([0; NONCE_LEN], |seal| seal.nonce))
            .u32(0)
            .bytes(&seal.map_or([0; TAG_LEN], |seal| seal.tag));
        out.bytes(&place.pool.0).u64(0).u64(self.attempt);
    }

    /// Reads the tables behind a good head. `bytes` is the whole header.
    pub(crate) fn decode(place: &Place, head: &Head, bytes: &[u8]) -> Result<Self, BadHeader> {
        let table = bytes.get(SECTOR..head.header_len).ok_or(Truncated)?;
        if checksum(place.header_seed(), table) != head.table_sum {
            return Err(BadHeader("wrong checksum of its tables"));
        }
        let mut reader = Reader::new(table);
        let mut extents = Vec::with_capacity(head.extents);
        for _ in 0..head.extents {
            extents.push(decode_extent(&mut reader, head.payload_len)?);
        }
        let seal = match head.sealed {
            None => None,
            Some((nonce, tag)) => {
                let chunks = (0..chunks_of(head.payload_len as usize))
                    .map(|_| reader.array())
                    .collect::<Result<_, _>>()?;
                Some(Arc::new(Seal { nonce, tag, chunks }))
            }
        };
        let sums = (0..head.sums)
            .map(|_| reader.u64())
            .collect::<Result<_, _>>()?;
        Ok(Self {
            layout: head.layout,
            epoch: head.epoch,
            txg: head.txg,
            payload_len: head.payload_len,
            data_len: head.data_len,
            punched: head.punched,
            attempt: head.attempt,
            extents,
            sums,
            seal,
        })
    }

    /// Blocks of the stripe on each shard.
    pub(crate) fn stripe_blocks(&self) -> u32 {
        let data = stripe_len(self.layout, self.payload_len as usize);
        narrow32((self.len() + data) / BLOCK)
    }

    /// What all good fragments of one stripe have in common, and those of no other.
    pub(crate) fn identity(&self) -> u64 {
        let (low, high) = halves(self.epoch.0);
        let mut words = vec![
            low,
            high,
            self.txg.0,
            self.attempt,
            u64::from(self.payload_len),
        ];
        words.extend([u64::from(self.layout.data), u64::from(self.layout.parity)]);
        for (tag, offset) in &self.extents {
            words.extend([tag.inode, tag.offset, tag.txg.0]);
            words.extend([tag.stream, tag.len, *offset, tag.packing].map(u64::from));
        }
        if let Some(seal) = &self.seal {
            let tag = seal.nonce.iter().chain(&seal.tag);
            words.extend(tag.map(|byte| u64::from(*byte)));
        }
        words.into_iter().fold(Seed::of(&[]), Seed::with).value()
    }

    /// The header of another shard of the same stripe, without its checksums.
    pub(crate) fn for_shard(&self, shard: u8) -> Self {
        let data_len = shard_len(self.layout, shard, self.payload_len as usize);
        Self {
            data_len: narrow32(data_len),
            sums: vec![0; sums_of(data_len)],
            extents: self.extents.clone(),
            seal: self.seal.clone(),
            ..*self
        }
    }

    pub(crate) fn describe(&self, place: &Place) -> StripeInfo {
        let address = |offset| Address {
            segment: place.segment,
            stripe: place.stripe,
            offset,
        };
        StripeInfo {
            stripe: place.stripe,
            blocks: self.stripe_blocks(),
            txg: self.txg,
            punched: self.punched,
            extents: self
                .extents
                .iter()
                .map(|(tag, offset)| (*tag, address(*offset)))
                .collect(),
        }
    }
}

fn decode_extent(reader: &mut Reader<'_>, payload_len: u32) -> Result<(ExtentTag, u32), BadHeader> {
    reader.skip(8)?;
    let (inode, offset, txg) = (reader.u64()?, reader.u64()?, Txg(reader.u64()?));
    let (stream, len, payload_offset) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let packing = reader.u32()?;
    let end = u64::from(payload_offset) + u64::from(len);
    if end > u64::from(payload_len) || !(payload_offset as usize).is_multiple_of(BLOCK) {
        return Err(BadHeader("an extent outside of the payload"));
    }
    Ok((
        ExtentTag {
            inode,
            stream,
            offset,
            len,
            txg,
            packing,
        },
        payload_offset,
    ))
}

/// Writes the checksum of the first sector.
fn seal_sector(place: &Place, bytes: &mut [u8]) {
    let sum = checksum(place.header_seed(), &bytes[..SECTOR_CHECKED]);
    bytes[SECTOR_CHECKED..SECTOR].copy_from_slice(&sum.to_le_bytes());
}

/// Turns the first sector of a good header into that of a punched one.
pub(crate) fn mark_punched(place: &Place, sector: &mut [u8]) {
    let flags = u16::from_le_bytes([sector[10], sector[11]]) | FLAG_PUNCHED;
    sector[10..12].copy_from_slice(&flags.to_le_bytes());
    seal_sector(place, sector);
}

impl Head {
    /// Checks the first sector against the place it was read from. No count in it is trusted beyond what a stripe holds.
    pub(crate) fn decode(place: &Place, sector: &[u8]) -> Result<Self, BadHeader> {
        let (body, sum) = sector
            .get(..SECTOR)
            .and_then(|sector| sector.split_last_chunk::<8>())
            .ok_or(Truncated)?;
        if body.get(..8) != Some(MAGIC) {
            return Err(BadHeader("no header"));
        }
        if checksum(place.header_seed(), body) != u64::from_le_bytes(*sum) {
            return Err(BadHeader("wrong checksum"));
        }
        let mut reader = Reader::new(body);
        reader.skip(8)?;
        if reader.u16()? != VERSION {
            return Err(BadHeader("unknown version"));
        }
        let head = Self::decode_fields(place, reader)?;
        head.check(place.shard)?;
        Ok(head)
    }

    fn decode_fields(place: &Place, mut reader: Reader<'_>) -> Result<Self, BadHeader> {
        let flags = reader.u16()?;
        let header_len = usize::from(reader.u16()?) * BLOCK;
        let layout = Layout {
            data: reader.u8()?,
            parity: reader.u8()?,
        };
        let segment = SegmentId(reader.u64()?);
        let shard = reader.u8()?;
        reader.skip(3)?;
        let (generation, stripe) = (reader.u32()?, reader.u32()?);
        let (payload_len, data_len, extents) =
            (reader.u32()?, reader.u32()?, reader.u32()? as usize);
        let (epoch, txg) = (EpochId(reader.array()?), Txg(reader.u64()?));
        let sums = reader.u32()? as usize;
        let encryption = reader.u32()?;
        let nonce = reader.array()?;
        reader.skip(4)?;
        let tag = reader.array()?;
        let sealed = match encryption {
            PLAIN => None,
            AES_256_GCM => Some((nonce, tag)),
            _ => {
                return Err(BadHeader(
                    "encrypted in a way that this version cannot read",
                ));
            }
        };
        let found = Place {
            pool: PoolId(reader.array()?),
            segment,
            shard,
            generation,
            stripe,
        };
        if found != *place {
            return Err(BadHeader("belongs elsewhere"));
        }
        let (table_sum, attempt) = (reader.u64()?, reader.u64()?);
        let punched = flags & FLAG_PUNCHED != 0;
        Ok(Self {
            header_len,
            punched,
            layout,
            payload_len,
            data_len,
            extents,
            epoch,
            txg,
            sums,
            attempt,
            table_sum,
            sealed,
        })
    }

    fn check(&self, shard: u8) -> Result<(), BadHeader> {
        let payload_max = MAX_STRIPE_PAYLOAD * usize::from(self.layout.data);
        let (payload, data) = (self.payload_len as usize, self.data_len as usize);
        let good = self.layout.is_possible()
            && usize::from(shard) < self.layout.width()
            && payload <= payload_max
            && payload.is_multiple_of(BLOCK)
            && data == shard_len(self.layout, shard, payload)
            && self.extents <= payload / BLOCK
            && self.sums == sums_of(data)
            && self.header_len
                == header_len(self.extents, self.layout, payload, self.sealed.is_some());
        if good {
            Ok(())
        } else {
            Err(BadHeader("impossible lengths"))
        }
    }
}

/// What reads need of a header, kept in memory.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) data_offset: u64,
    pub(crate) data_len: u32,
    pub(crate) punched: bool,
    pub(crate) identity: u64,
    seed: Seed,
    sums: Box<[u64]>,
    /// A planted bug: any checksum is right.
    pub(crate) trusts: bool,
}

impl Table {
    pub(crate) fn new(place: &Place, header: &Header) -> Arc<Self> {
        Self::trusting(place, header, false)
    }

    pub(crate) fn trusting(place: &Place, header: &Header, trusts: bool) -> Arc<Self> {
        Arc::new(Self {
            trusts,
            data_offset: place.file_offset() + header.len() as u64,
            data_len: header.data_len,
            punched: header.punched,
            identity: header.identity(),
            seed: place.data_seed(header.epoch),
            sums: header.sums.as_slice().into(),
        })
    }

    /// The checksum of block `index` of the data, before any of its bytes.
    pub(crate) fn check(&self, index: usize) -> Checksum {
        Checksum::new(self.block_seed(index))
    }

    /// Whether this is the checksum that block `index` has.
    pub(crate) fn is_right(&self, index: usize, sum: &Checksum) -> bool {
        self.trusts || self.sums.get(index) == Some(&sum.finish())
    }

    fn block_seed(&self, index: usize) -> Seed {
        block_seed(self.seed, self.data_offset, index)
    }
}

fn block_seed(data_seed: Seed, data_offset: u64, index: usize) -> Seed {
    data_seed.with(data_offset + (index * SUM_UNIT) as u64)
}

/// The checksum that stands for a block whose bytes are lost: not that of the bytes that are written in its place.
pub(crate) fn never(sum: u64) -> u64 {
    !sum
}

/// Checksums of data that comes in pieces, without copying it.
pub(crate) fn sum_pieces(data_seed: Seed, data_offset: u64, pieces: &[&[u8]]) -> Vec<u64> {
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut sums = Vec::with_capacity(sums_of(total));
    let mut current = Checksum::new(block_seed(data_seed, data_offset, 0));
    let mut room = SUM_UNIT;
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            if room == 0 {
                sums.push(current.finish());
                current = Checksum::new(block_seed(data_seed, data_offset, sums.len()));
                room = SUM_UNIT;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            current.update(now);
            room -= now.len();
            rest = later;
        }
    }
    if room < SUM_UNIT {
        sums.push(current.finish());
    }
    sums
}
