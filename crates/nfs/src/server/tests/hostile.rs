//! Bytes that no honest client sends: every answer is a refusal, and the server goes on.

use super::version_3::PLAIN;
use super::version_4::{Session, op};
use super::{Client, World};
use crate::rpc::NFS;
use crate::v3::types::*;
use crate::xdr::{Decoder, Encoder, List, Opaque, Xdr};

/// Arguments of every procedure of version 3, well formed.
fn arguments(handle: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let file = Opaque(handle);
    let place = || NameArgs {
        directory: Opaque(handle),
        name: Opaque(b"name"),
    };
    let range = RangeArgs {
        file,
        offset: 1,
        count: 2,
    };
    vec![
        (1, FileArgs { file }.to_xdr()),
        (
            2,
            SetattrArgs {
                file,
                attributes: PLAIN,
                guard: None,
            }
            .to_xdr(),
        ),
        (3, place().to_xdr()),
        (4, AccessArgs { file, access: 63 }.to_xdr()),
        (5, FileArgs { file }.to_xdr()),
        (6, range.to_xdr()),
        (
            7,
            WriteArgs {
                file,
                offset: 0,
                count: 3,
                stable: 0,
                data: Opaque(b"abc"),
            }
            .to_xdr(),
        ),
        (
            8,
            CreateArgs {
                place: place(),
                how: CreateHow::Exclusive([1; 8]),
            }
            .to_xdr(),
        ),
        (
            8,
            CreateArgs {
                place: place(),
                how: CreateHow::Guarded(PLAIN),
            }
            .to_xdr(),
        ),
        (
            9,
            MkdirArgs {
                place: place(),
                attributes: PLAIN,
            }
            .to_xdr(),
        ),
        (
            10,
            SymlinkArgs {
                place: place(),
                attributes: PLAIN,
                target: Opaque(b"t"),
            }
            .to_xdr(),
        ),
        (
            11,
            MknodArgs {
                place: place(),
                what: MknodWhat::Block(PLAIN, 1, 2),
            }
            .to_xdr(),
        ),
        (12, place().to_xdr()),
        (13, place().to_xdr()),
        (
            14,
            RenameArgs {
                from: place(),
                to: place(),
            }
            .to_xdr(),
        ),
        (
            15,
            LinkArgs {
                file,
                place: place(),
            }
            .to_xdr(),
        ),
        (
            16,
            ReaddirArgs {
                directory: file,
                cookie: 0,
                verifier: [0; 8],
                count: 4096,
            }
            .to_xdr(),
        ),
        (
            17,
            ReaddirplusArgs {
                directory: file,
                cookie: 0,
                verifier: [0; 8],
                directory_count: 4096,
                count: 4096,
            }
            .to_xdr(),
        ),
        (18, FileArgs { file }.to_xdr()),
        (19, FileArgs { file }.to_xdr()),
        (20, FileArgs { file }.to_xdr()),
        (21, range.to_xdr()),
    ]
}

/// The status of an accepted call: 0 done, 4 garbage.
fn accepted(client: &mut Client, procedure: u32, args: &[u8]) -> u32 {
    client.xid += 1;
    let record = client.call(NFS, 3, procedure, args);
    let answer = client.exchange(&record).expect("an answer");
    Decoder::new(&answer[20..]).u32().unwrap()
}

#[test]
fn every_cut_of_every_argument_is_garbage() {
    let mut client = World::new().client();
    let root = client.mount("/unix").unwrap();
    for (procedure, args) in arguments(&root) {
        for len in 0..args.len() {
            let stat = accepted(&mut client, procedure, &args[..len]);
            assert_eq!(stat, 4, "procedure {procedure} cut to {len}");
        }
        assert_eq!(accepted(&mut client, procedure, &args), 0, "{procedure}");
    }
}

#[test]
fn lengths_and_counts_beyond_their_limits_are_garbage() {
    let mut client = World::new().client();
    for (procedure, args) in arguments(&[0; 64]) {
        let mut huge = args.clone();
        huge[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(accepted(&mut client, procedure, &huge), 4, "{procedure}");
        huge[..4].copy_from_slice(&65u32.to_be_bytes());
        assert_eq!(accepted(&mut client, procedure, &huge), 4, "{procedure}");
    }
}

#[test]
fn forged_handles_open_nothing() {
    let mut client = World::new().client();
    let mut forged = client.mount("/unix").unwrap();
    forged[15] ^= 1;
    for (procedure, args) in arguments(&forged) {
        client.xid += 1;
        let answer = client.ask(NFS, 3, procedure, &args);
        assert_eq!(Decoder::new(&answer).u32(), Ok(10_001), "{procedure}");
    }
}

/// A source of bytes that differ.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }
}

#[test]
fn calls_with_changed_bytes_leave_the_server_well() {
    let mut client = World::new().client();
    let root = client.mount("/unix").unwrap();
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    for _ in 0..60 {
        for (procedure, args) in arguments(&root) {
            client.xid += 1;
            let mut record = client.call(NFS, 3, procedure, &args);
            for _ in 0..=random.below(3) {
                let at = random.below(record.len());
                record[at] ^= 1 << random.below(8);
            }
            client.exchange(&record);
        }
    }
    assert!(client.mount("/unix").is_ok());
}

/// Arguments of every operation of version 4, well formed but for what they name.
fn operations() -> Vec<Encoder> {
    let id = [0xAB; 16];
    let numbers = [
        3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 21, 22, 23, 24, 25, 26, 27, 28, 29, 31,
        32, 33, 34, 37, 38, 40, 41, 42, 43, 44, 45, 52, 55, 57, 58, 59, 60, 62, 63, 69, 71, 72, 73,
        74, 75,
    ];
    numbers
        .into_iter()
        .map(|number| {
            op(number, |to| {
                to.fixed(&id).u64(1).u64(2).opaque(b"name");
                List::<u32, 8>(vec![1, 2]).encode(to);
                to.opaque(b"values--").u64(0).u64(1);
            })
        })
        .collect()
}

#[test]
fn operations_of_any_bytes_leave_the_server_well() {
    let world = World::new();
    let mut session = world.client().session(2, b"client");
    let mut random = Random(0xFEDC_BA98_7654_3211);
    let root = [
        op(24, |_| {}),
        op(15, |to| {
            to.opaque(b"unix");
        }),
    ];
    for _ in 0..40 {
        for operation in operations() {
            let mut bytes = operation.into_vec();
            for _ in 0..=random.below(6) {
                let at = 4 + random.below(bytes.len() - 4);
                bytes[at] = u8::try_from(random.next() & 0xFF).unwrap() & 0x83;
            }
            bytes.truncate(4 + random.below(bytes.len() - 3));
            let mut hostile = Encoder::default();
            hostile.raw(&bytes);
            let [top, share] = root.clone();
            session.ask(&[top, share, hostile]);
        }
    }
    let mut after = world.client().session(2, b"after");
    assert_eq!(after.ask(&root).status, 0);
    let _: &Session = &session;
}
