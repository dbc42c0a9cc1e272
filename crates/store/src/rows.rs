//! Keys and values of the store's own tables, byte by byte. `docs/format.md`, "Index", draws them.
//!
//! A row of a table that clients change carries a header: the transaction group and the client session that wrote it.
//! Tables that the feeder derives have none. Every decoder takes hostile bytes and answers with an error.

use bytes::Bytes;
use strongroom_device::Timestamp;
use strongroom_pool::codec::{Reader, Truncated};
use strongroom_pool::{Address, SegmentId, Txg};

use crate::blocks::Blocks;
use crate::feed::{Change, DeadObject, DeadStripe};
use crate::packing::{Codec, Packing};
use crate::{Aspect, DataHead, Inode, ObjectId, Realm, Result, SessionId, StoreError, Table};

/// The format of everything in the index; kept in [`META`]. A newer one is refused, and an older one made this one when
/// it is opened. Since version 2 extents may be compressed.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// Object → [`HeadRow`].
pub(crate) const HEADS: Table = Table(200);
/// (Object, file offset) → [`ExtentRow`].
pub(crate) const EXTENTS: Table = Table(201);
/// Object → the whole content of a small object.
pub(crate) const INLINE: Table = Table(202);
/// Long work; header, no history.
pub(crate) const JOBS: Table = Table(203);
/// The store's own numbers, such as the high-water mark of inode ids; header, no history.
pub(crate) const SETTINGS: Table = Table(204);
/// Pin → [`PinRow`]; header, no history.
pub(crate) const PINS: Table = Table(205);
/// Realm → [`Schedule`]; header, no history.
pub(crate) const RETENTIONS: Table = Table(206);
/// Address → count of rows naming the extent, only above one.
pub(crate) const REFERENCES: Table = Table(210);
/// (Segment, stripe) → [`StripeRow`], until the stripe is given back.
pub(crate) const STRIPES: Table = Table(211);
/// Second → the last transaction group of it.
pub(crate) const INSTANTS: Table = Table(212);
/// (Txg, chunk) → changes.
pub(crate) const CHANGES: Table = Table(213);
/// (Table, key, txg that ended it) → [`HistoryRow`].
pub(crate) const HISTORY: Table = Table(214);
/// (Txg of death, object) → [`GraveRow`].
pub(crate) const GRAVES: Table = Table(215);
/// (Txg of death, segment, stripe) → nothing.
pub(crate) const DEAD_STRIPES: Table = Table(216);
/// Version, last txg, byte counts.
pub(crate) const META: Table = Table(217);
/// (Second in which to look again, txg, chunk) → keys of [`HISTORY`].
pub(crate) const EXPIRY: Table = Table(219);
/// Name of an extent that cleaning has moved (its first address, which rows say) → where it lies.
pub(crate) const MOVED: Table = Table(220);
/// Where a moved extent lies → its name.
pub(crate) const MOVED_NAMES: Table = Table(221);
/// Client session → bytes of history that it made.
pub(crate) const MAKERS: Table = Table(218);

/// (Pin, chunk) → keys of [`HISTORY`] and [`GRAVES`] that the pin alone keeps.
pub(crate) const PINNED: Table = Table(222);

/// Rows of this table move to history when they are replaced or removed.
pub(crate) fn keeps_history(table: Table) -> bool {
    matches!(table.0, 1..=119 | 200..=202)
}

/// A read of one field.
type Parse<T> = std::result::Result<T, Truncated>;

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt {
        what: format!("index: damaged {what} row"),
    }
}

fn truncated(what: &'static str) -> impl FnOnce(Truncated) -> StoreError {
    move |_| corrupt(what)
}

/// Reads one whole value: `read` must use up all bytes.
fn whole<'a, T>(
    what: &'static str,
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Parse<T>,
) -> Result<T> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader).map_err(truncated(what))?;
    if reader.is_empty() {
        Ok(value)
    } else {
        Err(corrupt(what))
    }
}

fn u32_of(reader: &mut Reader<'_>) -> Parse<u32> {
    u32::try_from(reader.varint()?).map_err(|_| Truncated)
}

fn be_u64(reader: &mut Reader<'_>) -> Parse<u64> {
    reader.array().map(u64::from_be_bytes)
}

fn be_u32(reader: &mut Reader<'_>) -> Parse<u32> {
    reader.array().map(u32::from_be_bytes)
}

/// Appends a LEB128 number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// A row's value with who wrote it and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) txg: Txg,
    pub(crate) session: SessionId,
    pub(crate) payload: Bytes,
}

impl Stored {
    pub(crate) fn decode(bytes: Bytes) -> Result<Self> {
        let header = Header::decode(&bytes)?;
        Ok(Self {
            txg: header.txg,
            session: header.session,
            payload: bytes.slice(header.len..),
        })
    }
}

/// The head of a stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) txg: Txg,
    pub(crate) session: SessionId,
    /// Bytes that it takes; the payload follows.
    pub(crate) len: usize,
}

impl Header {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let mut read = || -> Parse<_> { Ok((reader.varint()?, reader.varint()?)) };
        let (txg, session) = read().map_err(truncated("header of a"))?;
        let len = bytes.len() - reader.remaining();
        Ok(Self {
            txg: Txg(txg),
            session: SessionId(session),
            len,
        })
    }
}

/// Writes a stored value into `out`, which is emptied before.
pub(crate) fn encode_stored(out: &mut Vec<u8>, txg: Txg, session: SessionId, payload: &[u8]) {
    out.clear();
    put_varint(out, txg.0);
    put_varint(out, session.0);
    out.extend_from_slice(payload);
}

/// Key of [`HEADS`] and [`INLINE`], and the head of a key of [`EXTENTS`]: inode, stream, big-endian.
pub(crate) fn object_key(object: ObjectId) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&object.inode.0.to_be_bytes());
    key[8..].copy_from_slice(&object.stream.to_be_bytes());
    key
}

pub(crate) fn decode_object_key(key: &[u8]) -> Result<ObjectId> {
    whole("object", key, |r| {
        Ok(ObjectId {
            inode: Inode(be_u64(r)?),
            stream: be_u32(r)?,
        })
    })
}

/// Key of [`EXTENTS`]: inode, stream, file offset, big-endian.
pub(crate) fn extent_key(object: ObjectId, offset: u64) -> [u8; 20] {
    let mut key = [0; 20];
    key[..12].copy_from_slice(&object_key(object));
    key[12..].copy_from_slice(&offset.to_be_bytes());
    key
}

pub(crate) fn decode_extent_key(key: &[u8]) -> Result<(ObjectId, u64)> {
    whole("extent", key, |r| {
        Ok((
            ObjectId {
                inode: Inode(be_u64(r)?),
                stream: be_u32(r)?,
            },
            be_u64(r)?,
        ))
    })
}

/// What is known of an object's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HeadRow {
    pub(crate) head: DataHead,
    /// The content is in [`INLINE`].
    pub(crate) inline: bool,
    /// Bytes that belong to it ride in the log and in no row yet. The log and the overlay have such heads, the index
    /// never: a later one, which the log has too, takes its place.
    pub(crate) logged: bool,
    /// What the allocated bytes take where some are compressed.
    pub(crate) held: u64,
}

const HEAD_INLINE: u8 = 1;
const HEAD_LOGGED: u8 = 2;
const HEAD_HELD: u8 = 4;

impl HeadRow {
    /// Flags, then size, allocated, mtime as varints, and what the allocated bytes take where that differs.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(28);
        let inline = if self.inline { HEAD_INLINE } else { 0 };
        let logged = if self.logged { HEAD_LOGGED } else { 0 };
        let packed = self.held != self.head.allocated;
        out.push(inline | logged | if packed { HEAD_HELD } else { 0 });
        put_varint(&mut out, self.head.size);
        put_varint(&mut out, self.head.allocated);
        put_varint(&mut out, self.head.mtime.0);
        if packed {
            put_varint(&mut out, self.held);
        }
        out
    }

    /// Whether an encoded head has [`HeadRow::logged`].
    pub(crate) fn is_logged(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|flags| flags & HEAD_LOGGED != 0)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        whole("data head", bytes, |r| {
            let flags = r.u8()?;
            if flags & !(HEAD_INLINE | HEAD_LOGGED | HEAD_HELD) != 0 {
                return Err(Truncated);
            }
            let (size, allocated, mtime) = (r.varint()?, r.varint()?, Timestamp(r.varint()?));
            let held = match flags & HEAD_HELD {
                0 => allocated,
                _ => r.varint()?,
            };
            Ok(Self {
                held,
                head: DataHead {
                    size,
                    allocated,
                    mtime,
                },
                inline: flags & HEAD_INLINE != 0,
                logged: flags & HEAD_LOGGED != 0,
            })
        })
    }
}

/// A range of a file's bytes and where they lie. What no row covers is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtentRow {
    pub(crate) address: Address,
    /// Where in the extent this range begins, in bytes.
    pub(crate) start: u32,
    /// Bytes of the range.
    pub(crate) len: u32,
    /// Bytes of the whole extent.
    pub(crate) whole: u32,
    /// How it is stored, if it is compressed.
    pub(crate) packing: Option<Packing>,
    /// This row is the first reference that its extent ever had. Exactly one version in the life of an extent says so;
    /// splits, clones and moves of it do not.
    pub(crate) fresh: bool,
}

const EXTENT_FRESH: u8 = 1;
const EXTENT_PACKED: u8 = 2;

impl ExtentRow {
    /// Bytes that the whole extent takes in its stripe, before padding.
    pub(crate) fn stored(&self) -> u32 {
        self.packing.map_or(self.whole, |packing| packing.stored)
    }

    /// Its part of them: what the range costs.
    pub(crate) fn held(&self) -> u64 {
        let stored = u64::from(self.len) * u64::from(self.stored());
        stored.div_ceil(u64::from(self.whole.max(1)))
    }

    /// Flags, then segment, stripe, offset, start, len, whole as varints; of a compressed one the codec and the stored
    /// length follow.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(28);
        let fresh = if self.fresh { EXTENT_FRESH } else { 0 };
        let packed = self.packing.map_or(0, |_| EXTENT_PACKED);
        out.push(fresh | packed);
        put_varint(&mut out, self.address.segment.0);
        for number in [
            self.address.stripe,
            self.address.offset,
            self.start,
            self.len,
            self.whole,
        ] {
            put_varint(&mut out, u64::from(number));
        }
        if let Some(Packing { codec, stored }) = self.packing {
            out.push(codec.number());
            put_varint(&mut out, u64::from(stored));
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let row = whole("extent", bytes, |r| {
            let flags = r.u8()?;
            if flags & !(EXTENT_FRESH | EXTENT_PACKED) != 0 {
                return Err(Truncated);
            }
            let segment = SegmentId(r.varint()?);
            let address = Address {
                segment,
                stripe: u32_of(r)?,
                offset: u32_of(r)?,
            };
            let (start, len, whole) = (u32_of(r)?, u32_of(r)?, u32_of(r)?);
            let packing = match flags & EXTENT_PACKED {
                0 => None,
                _ => Some(Packing {
                    codec: Codec::from_number(r.u8()?).ok_or(Truncated)?,
                    stored: u32_of(r)?,
                }),
            };
            Ok(Self {
                address,
                start,
                len,
                whole,
                packing,
                fresh: flags & EXTENT_FRESH != 0,
            })
        })?;
        let end = row.start.checked_add(row.len);
        let longer = |packing: Packing| {
            packing.stored >= row.whole || row.whole as usize > crate::data::EXTENT_MAX
        };
        if row.len == 0 || end.is_none_or(|end| end > row.whole) || row.packing.is_some_and(longer)
        {
            return Err(corrupt("extent"));
        }
        Ok(row)
    }
}

/// Key of [`REFERENCES`]: segment, stripe, offset, big-endian.
pub(crate) fn address_key(address: Address) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&address.segment.0.to_be_bytes());
    key[8..12].copy_from_slice(&address.stripe.to_be_bytes());
    key[12..].copy_from_slice(&address.offset.to_be_bytes());
    key
}

/// Takes a key of [`REFERENCES`] apart; [`MOVED`] and [`MOVED_NAMES`] have it as key and as value.
pub(crate) fn decode_address(key: &[u8]) -> Result<Address> {
    whole("address", key, |r| {
        Ok(Address {
            segment: SegmentId(be_u64(r)?),
            stripe: be_u32(r)?,
            offset: be_u32(r)?,
        })
    })
}

/// Key of [`STRIPES`]: segment, stripe, big-endian.
pub(crate) fn stripe_key(segment: SegmentId, stripe: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&segment.0.to_be_bytes());
    key[8..].copy_from_slice(&stripe.to_be_bytes());
    key
}

pub(crate) fn decode_stripe_key(key: &[u8]) -> Result<(SegmentId, u32)> {
    whole("stripe", key, |r| Ok((SegmentId(be_u64(r)?), be_u32(r)?)))
}

/// How much of a stripe is in use, and what of it was once named and is not any more. What is in neither was not named
/// yet: a stripe may be given back only when its freed bytes account for all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StripeRow {
    pub(crate) live: u64,
    pub(crate) freed: u64,
    /// The blocks of the freed bytes.
    pub(crate) gone: Blocks,
}

impl StripeRow {
    /// Live bytes, freed bytes, as varints, then the freed blocks.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40);
        put_varint(&mut out, self.live);
        put_varint(&mut out, self.freed);
        self.gone.encode(&mut out);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let mut read = || -> Parse<_> { Ok((reader.varint()?, reader.varint()?)) };
        let (live, freed) = read().map_err(truncated("stripe"))?;
        let gone = Blocks::decode(reader.rest()).ok_or_else(|| corrupt("stripe"))?;
        Ok(Self { live, freed, gone })
    }

    /// An extent of this stripe is named by nobody any more.
    pub(crate) fn free(&mut self, offset: u32, len: u64) {
        self.freed = self.freed.saturating_add(len.next_multiple_of(4096));
        self.gone.insert(offset, len);
    }
}

/// Key of [`DEAD_STRIPES`].
pub(crate) fn dead_stripe_key(dead: DeadStripe) -> [u8; 20] {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&dead.txg.0.to_be_bytes());
    key[8..].copy_from_slice(&stripe_key(dead.segment, dead.stripe));
    key
}

pub(crate) fn decode_dead_stripe_key(key: &[u8]) -> Result<DeadStripe> {
    whole("dead stripe", key, |r| {
        Ok(DeadStripe {
            txg: Txg(be_u64(r)?),
            segment: SegmentId(be_u64(r)?),
            stripe: be_u32(r)?,
        })
    })
}

/// Key of [`INSTANTS`] (the second) and of [`MAKERS`] (the session).
pub(crate) fn number_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

pub(crate) fn decode_number_key(key: &[u8]) -> Result<u64> {
    whole("number", key, be_u64)
}

/// A value that is one number.
pub(crate) fn encode_number(number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    put_varint(&mut out, number);
    out
}

pub(crate) fn decode_number(bytes: &[u8]) -> Result<u64> {
    whole("number", bytes, Reader::varint)
}

/// The last group of a second: the group, then its exact time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InstantRow {
    pub(crate) txg: Txg,
    pub(crate) time: Timestamp,
}

impl InstantRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        put_varint(&mut out, self.txg.0);
        put_varint(&mut out, self.time.0);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        whole("instant", bytes, |r| {
            Ok(Self {
                txg: Txg(r.varint()?),
                time: Timestamp(r.varint()?),
            })
        })
    }
}

/// Key of [`CHANGES`].
pub(crate) fn change_key(txg: Txg, chunk: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&txg.0.to_be_bytes());
    key[8..].copy_from_slice(&chunk.to_be_bytes());
    key
}

pub(crate) fn decode_change_key(key: &[u8]) -> Result<(Txg, u32)> {
    whole("change", key, |r| Ok((Txg(be_u64(r)?), be_u32(r)?)))
}

const ASPECT_NAME: u8 = 0;
const ASPECT_DATA: u8 = 1;
const ASPECT_ATTRIBUTES: u8 = 2;
const ASPECT_ACL: u8 = 3;
const ASPECT_STREAM: u8 = 4;
const ASPECT_EXTENDED_ATTRIBUTES: u8 = 5;

/// Appends one change: aspect, inode, session, and a data range for data.
pub(crate) fn encode_change(out: &mut Vec<u8>, change: &Change) {
    let (aspect, range) = match change.aspect {
        Aspect::Name => (ASPECT_NAME, None),
        Aspect::Data { offset, len } => (ASPECT_DATA, Some((offset, len))),
        Aspect::Attributes => (ASPECT_ATTRIBUTES, None),
        Aspect::Acl => (ASPECT_ACL, None),
        Aspect::Stream => (ASPECT_STREAM, None),
        Aspect::ExtendedAttributes => (ASPECT_EXTENDED_ATTRIBUTES, None),
    };
    out.push(aspect);
    put_varint(out, change.inode.0);
    put_varint(out, change.session.0);
    if let Some((offset, len)) = range {
        put_varint(out, offset);
        put_varint(out, len);
    }
}

fn decode_change(r: &mut Reader<'_>) -> Parse<Change> {
    let aspect = r.u8()?;
    let (inode, session) = (Inode(r.varint()?), SessionId(r.varint()?));
    let aspect = match aspect {
        ASPECT_NAME => Aspect::Name,
        ASPECT_DATA => Aspect::Data {
            offset: r.varint()?,
            len: r.varint()?,
        },
        ASPECT_ATTRIBUTES => Aspect::Attributes,
        ASPECT_ACL => Aspect::Acl,
        ASPECT_STREAM => Aspect::Stream,
        ASPECT_EXTENDED_ATTRIBUTES => Aspect::ExtendedAttributes,
        _ => return Err(Truncated),
    };
    Ok(Change {
        inode,
        aspect,
        session,
    })
}

pub(crate) fn decode_changes(bytes: &[u8]) -> Result<Vec<Change>> {
    let mut reader = Reader::new(bytes);
    let mut changes = Vec::new();
    while !reader.is_empty() {
        changes.push(decode_change(&mut reader).map_err(truncated("change"))?);
    }
    Ok(changes)
}

/// Key of [`GRAVES`].
pub(crate) fn grave_key(txg: Txg, object: ObjectId) -> [u8; 20] {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&txg.0.to_be_bytes());
    key[8..].copy_from_slice(&object_key(object));
    key
}

/// What a grave says: who died, when, at whose hand, and what space it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GraveRow {
    pub(crate) dead: DeadObject,
    pub(crate) allocated: u64,
}

impl GraveRow {
    /// The value; the key is [`grave_key`].
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        put_varint(&mut out, self.dead.session.0);
        put_varint(&mut out, self.allocated);
        out
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        let (txg, object) = whole("grave", key, |r| {
            let txg = Txg(be_u64(r)?);
            Ok((
                txg,
                ObjectId {
                    inode: Inode(be_u64(r)?),
                    stream: be_u32(r)?,
                },
            ))
        })?;
        whole("grave", value, |r| {
            let session = SessionId(r.varint()?);
            Ok(Self {
                dead: DeadObject {
                    txg,
                    session,
                    object,
                },
                allocated: r.varint()?,
            })
        })
    }
}

/// Key of [`HISTORY`]: the table, the row's own key, the group that ended the value, and the value's place among those
/// that this group ended, all big-endian.
pub(crate) fn history_key(out: &mut Vec<u8>, table: Table, key: &[u8], ended: Txg, place: u16) {
    out.push(table.0);
    out.extend_from_slice(key);
    out.extend_from_slice(&ended.0.to_be_bytes());
    out.extend_from_slice(&place.to_be_bytes());
}

/// A key of [`HISTORY`], taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistoryKey<'a> {
    pub(crate) table: Table,
    pub(crate) key: &'a [u8],
    pub(crate) ended: Txg,
    pub(crate) place: u16,
}

impl<'a> HistoryKey<'a> {
    pub(crate) fn decode(key: &'a [u8]) -> Result<Self> {
        let parts = || {
            let (table, rest) = key.split_first()?;
            let (rest, place) = rest.split_last_chunk::<2>()?;
            let (key, ended) = rest.split_last_chunk::<8>()?;
            let ended = Txg(u64::from_be_bytes(*ended));
            Some(Self {
                table: Table(*table),
                key,
                ended,
                place: u16::from_be_bytes(*place),
            })
        };
        parts().ok_or_else(|| corrupt("history"))
    }
}

/// A value that was: flags, the session that ended it, then the value as it was stored, with its header. A thinned one
/// has its header only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistoryRow<'a> {
    pub(crate) ended_by: SessionId,
    pub(crate) began: Txg,
    pub(crate) began_by: SessionId,
    /// None when the value was given up.
    pub(crate) payload: Option<&'a [u8]>,
}

const HISTORY_THINNED: u8 = 1;

/// Appends a history value made from the value as it was stored.
pub(crate) fn encode_history(out: &mut Vec<u8>, ended_by: SessionId, stored: &[u8]) {
    out.push(0);
    put_varint(out, ended_by.0);
    out.extend_from_slice(stored);
}

impl<'a> HistoryRow<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let mut read = || -> Parse<_> { Ok((reader.u8()?, SessionId(reader.varint()?))) };
        let (flags, ended_by) = read().map_err(truncated("history"))?;
        let stored = reader.rest();
        let header = Header::decode(stored)?;
        let payload = stored.get(header.len..).unwrap_or_default();
        let payload = match flags {
            0 => Some(payload),
            HISTORY_THINNED if payload.is_empty() => None,
            _ => return Err(corrupt("history")),
        };
        Ok(Self {
            ended_by,
            began: header.txg,
            began_by: header.session,
            payload,
        })
    }

    /// The value of the row once its payload is given up.
    pub(crate) fn thinned(&self) -> Vec<u8> {
        let mut out = vec![HISTORY_THINNED];
        put_varint(&mut out, self.ended_by.0);
        put_varint(&mut out, self.began.0);
        put_varint(&mut out, self.began_by.0);
        out
    }
}

/// Key of [`EXPIRY`]: second, group, chunk, big-endian.
pub(crate) fn expiry_key(second: u64, txg: Txg, chunk: u32) -> [u8; 20] {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&second.to_be_bytes());
    key[8..16].copy_from_slice(&txg.0.to_be_bytes());
    key[16..].copy_from_slice(&chunk.to_be_bytes());
    key
}

pub(crate) fn decode_expiry_key(key: &[u8]) -> Result<(u64, Txg, u32)> {
    whole("expiry", key, |r| {
        Ok((be_u64(r)?, Txg(be_u64(r)?), be_u32(r)?))
    })
}

/// Key of [`PINS`] and [`RETENTIONS`]: eight zero bytes, as if inode 0 owned it, then the number.
pub(crate) fn list_key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn decode_list_key(key: &[u8]) -> Result<u64> {
    whole("list", key, |r| {
        be_u64(r)?;
        be_u64(r)
    })
}

/// Before the first and behind the last key that [`list_key`] makes.
pub(crate) fn list_bounds() -> ([u8; 16], [u8; 17]) {
    let mut end = [0xFF; 17];
    end[..8].fill(0);
    (list_key(0), end)
}

/// Key of [`PINNED`]: pin, chunk, big-endian.
pub(crate) fn pinned_key(pin: u64, chunk: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&pin.to_be_bytes());
    key[8..].copy_from_slice(&chunk.to_be_bytes());
    key
}

pub(crate) fn decode_pinned_key(key: &[u8]) -> Result<(u64, u32)> {
    whole("pinned", key, |r| Ok((be_u64(r)?, be_u32(r)?)))
}

/// A group that thinning leaves as it was, for one realm or, with realm 0, for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PinRow {
    pub(crate) realm: Realm,
    pub(crate) txg: Txg,
    pub(crate) time: Timestamp,
}

impl PinRow {
    /// Realm, group, time, as varints.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        put_varint(&mut out, u64::from(self.realm.0));
        put_varint(&mut out, self.txg.0);
        put_varint(&mut out, self.time.0);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        whole("pin", bytes, |r| {
            Ok(Self {
                realm: Realm(u32_of(r)?),
                txg: Txg(r.varint()?),
                time: Timestamp(r.varint()?),
            })
        })
    }
}

/// Appends one key of [`HISTORY`], or the number of [`GRAVES`] and a key of it, to a list of [`EXPIRY`] or [`PINNED`].
pub(crate) fn encode_expiry(out: &mut Vec<u8>, history_key: &[u8]) {
    put_varint(out, history_key.len() as u64);
    out.extend_from_slice(history_key);
}

/// The history keys of a list.
pub(crate) fn decode_expiry(bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let mut reader = Reader::new(bytes);
    let mut keys = Vec::new();
    while !reader.is_empty() {
        keys.push(reader.blob().map_err(truncated("expiry"))?);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests;
