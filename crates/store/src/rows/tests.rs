#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use bytes::Bytes;
use strongroom_device::Timestamp;
use strongroom_device::sim::Rng;
use strongroom_pool::{Address, SegmentId, Txg};

use super::*;
use crate::feed::{Change, DeadObject, DeadStripe};
use crate::{Aspect, DataHead, Inode, ObjectId, SessionId, Table};

const OBJECT: ObjectId = ObjectId {
    inode: Inode(0x1234_5678),
    stream: 3,
};

fn address() -> Address {
    Address {
        segment: SegmentId(1 << 40),
        stripe: 77,
        offset: 8192,
    }
}

fn extent() -> ExtentRow {
    ExtentRow {
        address: address(),
        start: 4096,
        len: 100,
        whole: 65536,
        packing: None,
        fresh: true,
    }
}

fn compressed() -> ExtentRow {
    ExtentRow {
        packing: Some(Packing {
            codec: Codec::Zstd,
            stored: 5000,
        }),
        ..extent()
    }
}

fn head() -> HeadRow {
    let head = DataHead {
        size: 1 << 41,
        allocated: 4096,
        mtime: Timestamp(u64::MAX),
    };
    HeadRow {
        head,
        inline: true,
        logged: true,
        held: 4000,
    }
}

type Decode = fn(&[u8]) -> bool;

/// Every form of bytes that is read back, with its decoder. Each must be taken whole and refused when cut, unless it
/// ends in a payload of any length.
fn all() -> Vec<(&'static str, Vec<u8>, Decode, bool)> {
    let mut changes = Vec::new();
    encode_change(
        &mut changes,
        &Change {
            inode: Inode(900),
            aspect: Aspect::Data {
                offset: 1 << 33,
                len: 512,
            },
            session: SessionId(70000),
        },
    );
    let mut stored = Vec::new();
    encode_stored(&mut stored, Txg(300), SessionId(1 << 50), b"");
    let mut history = Vec::new();
    encode_history(&mut history, SessionId(300), &stored);
    let mut past_key = Vec::new();
    history_key(
        &mut past_key,
        EXTENTS,
        &extent_key(OBJECT, 8192),
        Txg(1000),
        2,
    );
    let mut expiry = Vec::new();
    encode_expiry(&mut expiry, &past_key);
    let dead = DeadStripe {
        txg: Txg(9),
        segment: SegmentId(3),
        stripe: 4,
    };
    let instant = InstantRow {
        txg: Txg(1 << 20),
        time: Timestamp(1 << 60),
    };
    vec![
        (
            "object key",
            object_key(OBJECT).to_vec(),
            |b| decode_object_key(b).is_ok(),
            true,
        ),
        (
            "extent key",
            extent_key(OBJECT, 1 << 35).to_vec(),
            |b| decode_extent_key(b).is_ok(),
            true,
        ),
        (
            "head",
            head().encode(),
            |b| HeadRow::decode(b).is_ok(),
            true,
        ),
        (
            "extent",
            extent().encode(),
            |b| ExtentRow::decode(b).is_ok(),
            true,
        ),
        (
            "compressed extent",
            compressed().encode(),
            |b| ExtentRow::decode(b).is_ok(),
            true,
        ),
        (
            "stripe key",
            stripe_key(SegmentId(5), 6).to_vec(),
            |b| decode_stripe_key(b).is_ok(),
            true,
        ),
        (
            "dead stripe key",
            dead_stripe_key(dead).to_vec(),
            |b| decode_dead_stripe_key(b).is_ok(),
            true,
        ),
        (
            "number key",
            number_key(7).to_vec(),
            |b| decode_number_key(b).is_ok(),
            true,
        ),
        (
            "number",
            encode_number(1 << 40),
            |b| decode_number(b).is_ok(),
            true,
        ),
        (
            "stripe",
            {
                let mut row = StripeRow {
                    live: 1 << 20,
                    ..StripeRow::default()
                };
                row.free(8192, 5000);
                row.encode()
            },
            |b| StripeRow::decode(b).is_ok(),
            false,
        ),
        (
            "instant",
            instant.encode(),
            |b| InstantRow::decode(b).is_ok(),
            true,
        ),
        (
            "change key",
            change_key(Txg(4), 5).to_vec(),
            |b| decode_change_key(b).is_ok(),
            true,
        ),
        (
            "changes",
            changes,
            |b| decode_changes(b).is_ok_and(|c| !c.is_empty()),
            true,
        ),
        (
            "expiry key",
            expiry_key(4, Txg(5), 6).to_vec(),
            |b| decode_expiry_key(b).is_ok(),
            true,
        ),
        (
            "expiry",
            expiry,
            |b| decode_expiry(b).is_ok_and(|keys| !keys.is_empty()),
            true,
        ),
        (
            "stored",
            stored,
            |b| Stored::decode(Bytes::copy_from_slice(b)).is_ok(),
            true,
        ),
        ("history", history, |b| HistoryRow::decode(b).is_ok(), true),
        (
            "history key",
            past_key,
            |b| HistoryKey::decode(b).is_ok(),
            false,
        ),
    ]
}

#[test]
fn refuses_every_value_that_is_cut_short() {
    for (name, bytes, decode, exact) in all() {
        assert!(decode(&bytes), "{name}");
        for len in 0..bytes.len() {
            assert!(!exact || !decode(&bytes[..len]), "{name} cut to {len}");
            // Keys of history end in a part of any length; they must only not panic.
            decode(&bytes[..len]);
        }
    }
}

#[test]
fn takes_no_harm_from_flipped_or_random_bytes() {
    let mut rng = Rng::new(9);
    for (_, bytes, decode, _) in all() {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            decode(&flipped);
        }
        for _ in 0..300 {
            let mut random = vec![0; rng.below(40)];
            rng.fill(&mut random);
            decode(&random);
        }
    }
}

#[test]
fn values_come_back_as_they_were() {
    assert_eq!(HeadRow::decode(&head().encode()).unwrap(), head());
    assert_eq!(ExtentRow::decode(&extent().encode()).unwrap(), extent());
    assert_eq!(
        decode_extent_key(&extent_key(OBJECT, 5)).unwrap(),
        (OBJECT, 5)
    );
    let dead = DeadObject {
        txg: Txg(8),
        session: SessionId(9),
        object: OBJECT,
    };
    let grave = GraveRow {
        dead,
        allocated: 1 << 30,
    };
    assert_eq!(
        GraveRow::decode(&grave_key(Txg(8), OBJECT), &grave.encode()).unwrap(),
        grave
    );
    let aspects = [
        Aspect::Name,
        Aspect::Data {
            offset: 0,
            len: u64::MAX,
        },
        Aspect::Attributes,
        Aspect::Acl,
        Aspect::Stream,
        Aspect::ExtendedAttributes,
    ];
    let mut bytes = Vec::new();
    let changes = aspects.map(|aspect| Change {
        inode: Inode(3),
        aspect,
        session: SessionId(2),
    });
    changes
        .iter()
        .for_each(|change| encode_change(&mut bytes, change));
    assert_eq!(decode_changes(&bytes).unwrap(), changes);
}

#[test]
fn a_history_row_keeps_both_sessions_and_can_be_thinned() {
    let (mut stored, mut history) = (Vec::new(), Vec::new());
    encode_stored(&mut stored, Txg(5), SessionId(6), b"value");
    encode_history(&mut history, SessionId(7), &stored);
    let row = HistoryRow::decode(&history).unwrap();
    assert_eq!(
        (row.ended_by, row.began, row.began_by),
        (SessionId(7), Txg(5), SessionId(6))
    );
    assert_eq!(row.payload, Some(&b"value"[..]));
    let mark = row.thinned();
    assert_eq!(
        HistoryRow::decode(&mark).unwrap(),
        HistoryRow {
            payload: None,
            ..row
        }
    );
}

#[test]
fn refuses_an_extent_row_beyond_its_extent() {
    let beyond = ExtentRow {
        start: 65536,
        ..extent()
    };
    assert!(ExtentRow::decode(&beyond.encode()).is_err());
    assert!(ExtentRow::decode(&ExtentRow { len: 0, ..extent() }.encode()).is_err());
}

#[test]
fn keys_sort_as_their_parts_do() {
    assert!(extent_key(OBJECT, 255) < extent_key(OBJECT, 256));
    let next = ObjectId {
        stream: 4,
        ..OBJECT
    };
    assert!(extent_key(OBJECT, u64::MAX) < extent_key(next, 0));
    assert!(keeps_history(Table(1)) && keeps_history(HEADS) && !keeps_history(JOBS));
}
