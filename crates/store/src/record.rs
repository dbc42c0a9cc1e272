//! The operations inside a log record, encoded.
//!
//! A record is the operations of one transaction group, one after the other, cut into frames by [`crate::log`]. The order of
//! operations on one inode is the order in which they happened. Little-endian; drawn in docs/format.md, "Log".
//!
//! ```text
//! row      1, table u8, session varint, key blob, value blob
//! delete   2, table u8, session varint, key blob
//! change   3, session varint, inode u64, aspect u8 [, offset varint, len varint]
//! dead     4, session varint, inode u64, stream varint
//! payload  5, session varint, inode u64, stream varint, offset varint, bytes blob
//! moved    6, inode u64, stream varint        all payload of this object so far lies in stripes now
//! ```

use bytes::Bytes;
use strongroom_pool::Txg;
use strongroom_pool::codec::{Reader, Truncated};

use crate::feed::{Change, DeadObject};
use crate::{Aspect, Inode, Key, ObjectId, SessionId, Table};

const ROW: u8 = 1;
const DELETE: u8 = 2;
const CHANGE: u8 = 3;
const DEAD: u8 = 4;
const PAYLOAD: u8 = 5;
const MOVED: u8 = 6;

/// One decoded operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Row {
        session: SessionId,
        table: Table,
        key: Key,
        value: Option<Bytes>,
    },
    Change(Change),
    Dead {
        session: SessionId,
        object: ObjectId,
    },
    Payload {
        session: SessionId,
        object: ObjectId,
        offset: u64,
        bytes: Bytes,
    },
    Moved(ObjectId),
}

/// Appends a varint (LEB128).
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn blob(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn row(
    out: &mut Vec<u8>,
    session: SessionId,
    table: Table,
    key: &[u8],
    value: Option<&Bytes>,
) {
    out.reserve(24 + key.len() + value.map_or(0, Bytes::len));
    out.push(if value.is_some() { ROW } else { DELETE });
    out.push(table.0);
    varint(out, session.0);
    blob(out, key);
    if let Some(value) = value {
        blob(out, value);
    }
}

pub(crate) fn change(out: &mut Vec<u8>, change: &Change) {
    out.push(CHANGE);
    varint(out, change.session.0);
    out.extend_from_slice(&change.inode.0.to_le_bytes());
    match change.aspect {
        Aspect::Name => out.push(0),
        Aspect::Data { offset, len } => {
            out.push(1);
            varint(out, offset);
            varint(out, len);
        }
        Aspect::Attributes => out.push(2),
        Aspect::Acl => out.push(3),
        Aspect::Stream => out.push(4),
        Aspect::ExtendedAttributes => out.push(5),
    }
}

fn object(out: &mut Vec<u8>, object: ObjectId) {
    out.extend_from_slice(&object.inode.0.to_le_bytes());
    varint(out, u64::from(object.stream));
}

pub(crate) fn dead(out: &mut Vec<u8>, dead: &DeadObject) {
    out.push(DEAD);
    varint(out, dead.session.0);
    object(out, dead.object);
}

pub(crate) fn payload(
    out: &mut Vec<u8>,
    session: SessionId,
    of: ObjectId,
    offset: u64,
    bytes: &[u8],
) {
    out.push(PAYLOAD);
    varint(out, session.0);
    object(out, of);
    varint(out, offset);
    blob(out, bytes);
}

pub(crate) fn moved(out: &mut Vec<u8>, of: ObjectId) {
    out.push(MOVED);
    object(out, of);
}

/// Decodes all operations of a record in order; stops at the first that is not one.
pub(crate) fn decode(
    bytes: &Bytes,
    visit: &mut dyn FnMut(Operation),
) -> std::result::Result<(), Truncated> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        visit(operation(bytes, &mut reader)?);
    }
    Ok(())
}

fn operation(all: &Bytes, reader: &mut Reader<'_>) -> std::result::Result<Operation, Truncated> {
    let kind = reader.u8()?;
    match kind {
        ROW | DELETE => {
            let table = Table(reader.u8()?);
            let session = SessionId(reader.varint()?);
            let key = Key::from(reader.blob()?);
            let value = if kind == ROW {
                Some(all.slice_ref(reader.blob()?))
            } else {
                None
            };
            Ok(Operation::Row {
                session,
                table,
                key,
                value,
            })
        }
        CHANGE => {
            let session = SessionId(reader.varint()?);
            let inode = Inode(reader.u64()?);
            Ok(Operation::Change(Change {
                inode,
                aspect: aspect(reader)?,
                session,
            }))
        }
        DEAD => {
            let session = SessionId(reader.varint()?);
            Ok(Operation::Dead {
                session,
                object: object_id(reader)?,
            })
        }
        PAYLOAD => {
            let session = SessionId(reader.varint()?);
            let object = object_id(reader)?;
            let offset = reader.varint()?;
            let bytes = all.slice_ref(reader.blob()?);
            offset.checked_add(bytes.len() as u64).ok_or(Truncated)?;
            Ok(Operation::Payload {
                session,
                object,
                offset,
                bytes,
            })
        }
        MOVED => Ok(Operation::Moved(object_id(reader)?)),
        _ => Err(Truncated),
    }
}

fn object_id(reader: &mut Reader<'_>) -> std::result::Result<ObjectId, Truncated> {
    let inode = Inode(reader.u64()?);
    let stream = u32::try_from(reader.varint()?).map_err(|_| Truncated)?;
    Ok(ObjectId { inode, stream })
}

fn aspect(reader: &mut Reader<'_>) -> std::result::Result<Aspect, Truncated> {
    Ok(match reader.u8()? {
        0 => Aspect::Name,
        1 => Aspect::Data {
            offset: reader.varint()?,
            len: reader.varint()?,
        },
        2 => Aspect::Attributes,
        3 => Aspect::Acl,
        4 => Aspect::Stream,
        5 => Aspect::ExtendedAttributes,
        _ => return Err(Truncated),
    })
}

/// A decoded record of one group.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) txg: Txg,
    pub(crate) time: strongroom_device::Timestamp,
    pub(crate) body: Bytes,
}

#[cfg(test)]
mod tests;
