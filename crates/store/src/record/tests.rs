use bytes::Bytes;
use strongroom_device::sim::Rng;
use strongroom_pool::Txg;

use super::{Operation, change, dead, decode, moved, payload, row};
use crate::feed::{Change, DeadObject};
use crate::{Aspect, Inode, Key, ObjectId, SessionId, Table};

const SESSION: SessionId = SessionId(300);

fn object() -> ObjectId {
    ObjectId {
        inode: Inode(0x0102_0304),
        stream: 9,
    }
}

/// One of each operation, and its encoding.
fn all() -> (Vec<Operation>, Vec<u8>) {
    let mut out = Vec::new();
    let mut operations = Vec::new();
    for value in [Some(Bytes::from_static(b"value")), None] {
        let key = Key::from(b"\0\0\0\0\0\0\0\x05name");
        row(&mut out, SESSION, Table(3), &key, value.as_ref());
        operations.push(Operation::Row {
            session: SESSION,
            table: Table(3),
            key,
            value,
        });
    }
    let aspects = [
        Aspect::Name,
        Aspect::Data {
            offset: 1 << 40,
            len: 5,
        },
        Aspect::Attributes,
        Aspect::Acl,
        Aspect::Stream,
        Aspect::ExtendedAttributes,
    ];
    for aspect in aspects {
        let line = Change {
            inode: Inode(8),
            aspect,
            session: SESSION,
        };
        change(&mut out, &line);
        operations.push(Operation::Change(line));
    }
    dead(
        &mut out,
        &DeadObject {
            txg: Txg(1),
            session: SESSION,
            object: object(),
        },
    );
    operations.push(Operation::Dead {
        session: SESSION,
        object: object(),
    });
    payload(&mut out, SESSION, object(), 4096, b"bytes");
    let bytes = Bytes::from_static(b"bytes");
    operations.push(Operation::Payload {
        session: SESSION,
        object: object(),
        offset: 4096,
        bytes,
    });
    moved(&mut out, object());
    operations.push(Operation::Moved(object()));
    (operations, out)
}

fn read(bytes: &[u8]) -> (Vec<Operation>, bool) {
    let mut found = Vec::new();
    let whole = decode(&Bytes::copy_from_slice(bytes), &mut |operation| {
        found.push(operation)
    });
    (found, whole.is_ok())
}

#[test]
fn every_operation_is_read_as_it_was_written() {
    let (operations, bytes) = all();
    assert_eq!(read(&bytes), (operations, true));
}

#[test]
fn a_record_cut_anywhere_gives_whole_operations_or_an_error() {
    let (operations, bytes) = all();
    for len in 0..bytes.len() {
        let (found, whole) = read(&bytes[..len]);
        assert!(operations.starts_with(&found), "cut at {len}");
        assert!(found.len() < operations.len() || !whole);
    }
}

#[test]
fn noise_neither_panics_nor_allocates_much() {
    let (_, good) = all();
    let mut rng = Rng::new(5);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len());
            bytes[at] = u8::try_from(rng.below(256)).unwrap();
        }
        let (found, _) = read(&bytes);
        assert!(found.len() <= bytes.len());
    }
}
