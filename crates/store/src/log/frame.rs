//! One frame of the log, byte by byte.
//!
//! ```text
//!   0  magic "SRLF"          4
//!   4  version               2   1
//!   6  flags                 2   1 last frame of its record, 2 watermark only, 4 encrypted body
//!   8  epoch                16
//!  24  txg                   8
//!  32  frame number          4   from 0 within the record
//!  36  body length           4
//!  40  file sequence         8   counts log files for ever
//!  48  offset in the file    8
//!  56  hash of the frame before  8
//!  64  durable through       8   this group and all before are on every copy in service
//!  72  time                  8   nanoseconds since 1970
//!  80  nonce                12   of an encrypted body, else zero
//!  92  pool                  4   first bytes of the pool's id
//!  96  tag                  16   of an encrypted body, else zero
//! 112  reserved              8   zero
//! 120  checksum              8   CRC-64/NVME of bytes 0..120 and the body, seeded with sequence and offset
//! 128  body, then zeroes to a multiple of 4096
//! ```

use bytes::Bytes;
use strongroom_device::Timestamp;
use strongroom_pool::checksum::{Checksum, Seed};
use strongroom_pool::codec::Reader;
use strongroom_pool::crypt::{Cipher, NONCE_LEN, ObjectKey, ObjectNonce, Purpose, TAG_LEN, Tag};
use strongroom_pool::{EpochId, PoolId, Txg};

pub(crate) const HEADER_LEN: usize = 128;
/// Frames begin at multiples of this, so that no write touches the page of an acknowledged one.
pub(crate) const ALIGNMENT: u64 = 4096;
/// The longest body of a frame.
pub(crate) const BODY_MAX: usize = (1 << 20) - HEADER_LEN;
const MAGIC: [u8; 4] = *b"SRLF";
pub(crate) const VERSION: u16 = 1;
const LAST: u16 = 1;
const WATERMARK: u16 = 2;
const ENCRYPTED: u16 = 4;
const NONCE_AT: usize = 80;
const TAG_AT: usize = 96;
const CHECKSUM_AT: usize = 120;

/// Where a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) sequence: u64,
    pub(crate) offset: u64,
}

/// A frame without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) epoch: EpochId,
    pub(crate) txg: Txg,
    pub(crate) number: u32,
    pub(crate) last: bool,
    /// Carries nothing but the mark that `txg` is durable.
    pub(crate) watermark_only: bool,
    pub(crate) body_len: u32,
    pub(crate) position: Position,
    pub(crate) previous: u64,
    pub(crate) durable: Txg,
    pub(crate) time: Timestamp,
    pub(crate) pool: PoolId,
    pub(crate) encrypted: bool,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoFrame {
    /// Nothing here that ever was a frame, or damaged beyond telling.
    Damaged,
    /// Made by a newer version.
    Newer(u16),
}

impl Header {
    /// Bytes on disk, padding included.
    pub(crate) fn frame_len(&self) -> u64 {
        padded(self.body_len as usize)
    }

    /// Encodes the frame with its body and padding; returns the bytes and the hash that the next frame carries. An
    /// encrypted pool's body is encrypted on the way.
    pub(crate) fn encode(&self, body: &[&[u8]], cipher: Option<&Cipher>) -> (Vec<u8>, u64) {
        let len: usize = body.iter().map(|part| part.len()).sum();
        assert_eq!(
            len, self.body_len as usize,
            "a frame's header tells its body's length"
        );
        let total = usize::try_from(self.frame_len()).unwrap_or(usize::MAX);
        let mut out = Vec::with_capacity(total);
        self.encode_fields(&mut out);
        for part in body {
            out.extend_from_slice(part);
        }
        if self.encrypted
            && let Some(cipher) = cipher
        {
            self.seal(cipher, &mut out);
        }
        let checksum = self.checksum(&out[..CHECKSUM_AT], &out[HEADER_LEN..]);
        out[CHECKSUM_AT..HEADER_LEN].copy_from_slice(&checksum.to_le_bytes());
        out.resize(total, 0);
        (out, checksum)
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        let flags =
            if self.last { LAST } else { 0 } | if self.watermark_only { WATERMARK } else { 0 };
        let flags = flags | if self.encrypted { ENCRYPTED } else { 0 };
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.epoch.0);
        out.extend_from_slice(&self.txg.0.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.body_len.to_le_bytes());
        for word in [
            self.position.sequence,
            self.position.offset,
            self.previous,
            self.durable.0,
            self.time.0,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&self.pool.0[..4]);
        out.extend_from_slice(&[0; 32]);
        assert_eq!(out.len(), HEADER_LEN, "the header has its fixed length");
    }

    /// The key of one frame. One that is written again in its place has another nonce.
    fn key(&self, cipher: &Cipher, nonce: &ObjectNonce) -> ObjectKey {
        let (low, high) = self.epoch.0.split_at(8);
        let word = |half: &[u8]| {
            half.iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        let place = [
            word(low),
            word(high),
            self.position.sequence,
            self.position.offset,
            self.txg.0,
            u64::from(self.number),
        ];
        cipher.object(Purpose::Log, nonce, &place)
    }

    /// Encrypts the body of a frame and binds it to the fields before it.
    fn seal(&self, cipher: &Cipher, frame: &mut [u8]) {
        let nonce = cipher.nonce();
        let (fields, body) = frame.split_at_mut(HEADER_LEN);
        let tag = self.key(cipher, &nonce).seal(0, &fields[..NONCE_AT], body);
        fields[NONCE_AT..NONCE_AT + NONCE_LEN].copy_from_slice(&nonce);
        fields[TAG_AT..TAG_AT + TAG_LEN].copy_from_slice(&tag);
    }

    /// The body of a verified frame as it was before; None if it was changed, belongs elsewhere, or is not encrypted
    /// though its pool is.
    pub(crate) fn open(&self, frame: &Bytes, cipher: Option<&Cipher>) -> Option<Bytes> {
        let body = frame.slice(HEADER_LEN..);
        let Some(cipher) = cipher.filter(|_| !body.is_empty()) else {
            return (!self.encrypted).then_some(body);
        };
        let nonce: ObjectNonce = frame.get(NONCE_AT..NONCE_AT + NONCE_LEN)?.try_into().ok()?;
        let tag: Tag = frame.get(TAG_AT..TAG_AT + TAG_LEN)?.try_into().ok()?;
        let mut bytes = body.to_vec();
        self.key(cipher, &nonce)
            .open(0, &frame[..NONCE_AT], &tag, &mut bytes)
            .ok()?;
        Some(Bytes::from(bytes))
    }

    fn checksum(&self, fields: &[u8], body: &[u8]) -> u64 {
        let seed = Seed::of(&[self.position.sequence, self.position.offset]);
        let mut checksum = Checksum::new(seed);
        checksum.update(fields);
        checksum.update(body);
        checksum.finish()
    }

    /// Reads the fields alone; nothing is verified but magic, version and bounds.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, u64), NoFrame> {
        let mut reader = Reader::new(bytes);
        let fields = Fields::read(&mut reader).ok_or(NoFrame::Damaged)?;
        if fields.magic != MAGIC {
            return Err(NoFrame::Damaged);
        }
        if fields.version > VERSION {
            return Err(NoFrame::Newer(fields.version));
        }
        let header = fields.header;
        if fields.version != VERSION || header.body_len as usize > BODY_MAX {
            return Err(NoFrame::Damaged);
        }
        Ok((header, fields.checksum))
    }

    /// Verifies a frame with its whole body behind the header; returns its hash.
    pub(crate) fn verify(&self, bytes: &[u8], stored: u64) -> Option<u64> {
        let body = bytes.get(HEADER_LEN..HEADER_LEN + self.body_len as usize)?;
        let found = self.checksum(bytes.get(..CHECKSUM_AT)?, body);
        (found == stored).then_some(stored)
    }
}

struct Fields {
    magic: [u8; 4],
    version: u16,
    header: Header,
    checksum: u64,
}

impl Fields {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let magic = reader.array().ok()?;
        let version = reader.u16().ok()?;
        let flags = reader.u16().ok()?;
        let epoch = EpochId(reader.array().ok()?);
        let txg = Txg(reader.u64().ok()?);
        let (number, body_len) = (reader.u32().ok()?, reader.u32().ok()?);
        let position = Position {
            sequence: reader.u64().ok()?,
            offset: reader.u64().ok()?,
        };
        let (previous, durable) = (reader.u64().ok()?, Txg(reader.u64().ok()?));
        let time = Timestamp(reader.u64().ok()?);
        reader.skip(12).ok()?;
        let mut pool = PoolId::default();
        pool.0[..4].copy_from_slice(reader.bytes(4).ok()?);
        reader.skip(24).ok()?;
        let checksum = reader.u64().ok()?;
        let (last, watermark_only) = (flags & LAST != 0, flags & WATERMARK != 0);
        let encrypted = flags & ENCRYPTED != 0;
        let header = Header {
            epoch,
            txg,
            number,
            last,
            watermark_only,
            body_len,
            position,
            previous,
            durable,
            time,
            pool,
            encrypted,
        };
        Some(Self {
            magic,
            version,
            header,
            checksum,
        })
    }
}

/// A frame's length on disk.
pub(crate) fn padded(body_len: usize) -> u64 {
    ((HEADER_LEN + body_len) as u64).next_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests;
