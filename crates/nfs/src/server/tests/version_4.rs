//! NFS 4.1 and 4.2.

use super::{Client, World};
use crate::rpc::NFS;
use crate::v4::types::Stateid;
use crate::xdr::{Decoder, Encoder, Xdr};

const CONN_BACK_CHAN: u32 = 2;

/// A client with a session.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) id: [u8; 16],
    pub(super) sequence: u32,
    pub(super) minor: u32,
}

/// The answer to a compound: its status, and for each operation its number, its status and where its result begins.
pub(super) struct Answer {
    pub(super) status: u32,
    pub(super) count: u32,
    pub(super) bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut from = Decoder::new(bytes);
        let status = from.u32().unwrap();
        from.opaque(64, "tag").unwrap();
        let count = from.u32().unwrap();
        Self {
            status,
            count,
            bytes: from.rest().to_vec(),
        }
    }
}

pub(super) fn compound(minor: u32, operations: &[Encoder]) -> Vec<u8> {
    let mut to = Encoder::default();
    to.opaque(b"").u32(minor);
    to.u32(crate::xdr::length(operations.len()));
    for operation in operations {
        to.raw(operation.as_slice());
    }
    to.into_vec()
}

pub(super) fn op(number: u32, fill: impl FnOnce(&mut Encoder)) -> Encoder {
    let mut to = Encoder::default();
    to.u32(number);
    fill(&mut to);
    to
}

fn channel(to: &mut Encoder) {
    to.u32(0)
        .u32(1 << 20)
        .u32(1 << 20)
        .u32(4096)
        .u32(16)
        .u32(8)
        .u32(0);
}

fn exchange_id(owner: &[u8], verifier: [u8; 8]) -> Encoder {
    op(42, |to| {
        to.fixed(&verifier).opaque(owner).u32(0).u32(0).u32(0);
    })
}

fn create_session(client: u64, sequence: u32, flags: u32) -> Encoder {
    op(43, |to| {
        to.u64(client).u32(sequence).u32(flags);
        channel(to);
        channel(to);
        to.u32(0x4000_0000).u32(1).u32(0);
    })
}

impl Client {
    pub(super) fn v4(&mut self, minor: u32, operations: &[Encoder]) -> Answer {
        Answer::new(&self.ask(NFS, 4, 1, &compound(minor, operations)))
    }

    fn introduce(&mut self, owner: &[u8], verifier: [u8; 8]) -> (u64, u32) {
        let answer = self.v4(1, &[exchange_id(owner, verifier)]);
        assert_eq!(answer.status, 0);
        let mut from = Decoder::new(&answer.bytes[8..]);
        (from.u64().unwrap(), from.u32().unwrap())
    }

    fn new_session(self, minor: u32, owner: &[u8]) -> Session {
        self.new_session_with(minor, owner, 0)
    }

    /// One that can be called back, and so may get delegations.
    pub(super) fn callable(self, minor: u32, owner: &[u8]) -> Session {
        let mut session = self.new_session_with(minor, owner, CONN_BACK_CHAN);
        session.complete();
        session
    }

    fn new_session_with(mut self, minor: u32, owner: &[u8], flags: u32) -> Session {
        let (client, sequence) = self.introduce(owner, [1; 8]);
        let answer = self.v4(minor, &[create_session(client, sequence, flags)]);
        assert_eq!(answer.status, 0);
        Session {
            id: answer.bytes[8..24].try_into().unwrap(),
            client: self,
            sequence: 0,
            minor,
        }
    }

    pub(super) fn session(self, minor: u32, owner: &[u8]) -> Session {
        let mut session = self.new_session(minor, owner);
        session.complete();
        session
    }
}

impl Session {
    pub(super) fn sequence_op(&self) -> Encoder {
        op(53, |to| {
            to.fixed(&self.id)
                .u32(self.sequence)
                .u32(0)
                .u32(0)
                .bool(true);
        })
    }

    pub(super) fn ask(&mut self, operations: &[Encoder]) -> Answer {
        self.sequence += 1;
        let mut all = vec![self.sequence_op()];
        all.extend_from_slice(operations);
        let mut answer = self.client.v4(self.minor, &all);
        // The result of SEQUENCE.
        answer.bytes.drain(..(8 + 36).min(answer.bytes.len()));
        answer
    }

    /// Says that it has claimed all that it had.
    fn complete(&mut self) {
        let complete = op(58, |to| {
            to.bool(false);
        });
        assert_eq!(self.ask(&[complete]).status, 0);
    }

    pub(super) fn root() -> [Encoder; 2] {
        [
            op(24, |_| {}),
            op(15, |to| {
                to.opaque(b"unix");
            }),
        ]
    }

    /// Opens or makes a file in the share's root.
    pub(super) fn opening(name: &[u8], owner: &[u8], access: u32, deny: u32) -> [Encoder; 3] {
        let [root, share] = Self::root();
        let open = op(18, |to| {
            to.u32(0).u32(access).u32(deny).u64(0).opaque(owner);
            // Create, unchecked, with a mode.
            to.u32(1).u32(0);
            to.u32(2).u32(0).u32(2).opaque(&0o644u32.to_be_bytes());
            to.u32(0).opaque(name);
        });
        [root, share, open]
    }

    /// Its stateid.
    pub(super) fn open(
        &mut self,
        name: &[u8],
        owner: &[u8],
        access: u32,
        deny: u32,
    ) -> Result<Stateid, u32> {
        let answer = self.ask(&Self::opening(name, owner, access, deny));
        if answer.status != 0 {
            return Err(answer.status);
        }
        Ok(Stateid::decode(&mut Decoder::new(&answer.bytes[24..])).unwrap())
    }

    pub(super) fn on(name: &[u8], operation: Encoder) -> [Encoder; 4] {
        let [root, share] = Self::root();
        [
            root,
            share,
            op(15, |to| {
                to.opaque(name);
            }),
            operation,
        ]
    }
}

pub(super) fn lock(id: &Stateid, owner: &[u8], offset: u64, len: u64) -> Encoder {
    op(12, |to| {
        to.u32(2).bool(false).u64(offset).u64(len).bool(true).u32(0);
        id.encode(to);
        to.u32(0).u64(0).opaque(owner);
    })
}

#[test]
fn a_file_is_opened_written_read_and_closed() {
    let mut session = World::new().client().session(2, b"client");
    let id = session.open(b"f", b"owner", 3, 0).unwrap();
    let write = op(38, |to| {
        id.encode(to);
        to.u64(0).u32(2).opaque(b"hello");
    });
    assert_eq!(session.ask(&Session::on(b"f", write)).status, 0);
    let read = op(25, |to| {
        id.encode(to);
        to.u64(1).u32(100);
    });
    let answer = session.ask(&Session::on(b"f", read));
    assert_eq!(answer.status, 0);
    let mut from = Decoder::new(&answer.bytes[32..]);
    assert!(from.bool().unwrap());
    assert_eq!(from.opaque(100, "data").unwrap(), b"ello");
    let close = op(4, |to| {
        to.u32(0);
        id.encode(to);
    });
    assert_eq!(session.ask(&Session::on(b"f", close.clone())).status, 0);
    assert_eq!(session.ask(&Session::on(b"f", close)).status, 10_025);
}

#[test]
fn holes_are_read_without_their_zeroes() {
    let mut session = World::new().client().session(2, b"client");
    let id = session.open(b"f", b"owner", 3, 0).unwrap();
    let write = op(38, |to| {
        id.encode(to);
        to.u64(1 << 20).u32(2).opaque(b"data");
    });
    assert_eq!(session.ask(&Session::on(b"f", write)).status, 0);
    let read = op(68, |to| {
        id.encode(to);
        to.u64(0).u32(1 << 20 | 100);
    });
    // The session's answers are no longer than a part of what is asked for.
    let answer = session.ask(&Session::on(b"f", read));
    assert_eq!(answer.status, 0);
    let mut from = Decoder::new(&answer.bytes[32..]);
    assert_eq!((from.bool(), from.u32()), (Ok(false), Ok(1)));
    assert_eq!((from.u32(), from.u64()), (Ok(1), Ok(0)));
    assert!(from.u64().unwrap() > 1 << 19);
    let read = op(68, |to| {
        id.encode(to);
        to.u64((1 << 20) - 100).u32(1_000);
    });
    let answer = session.ask(&Session::on(b"f", read));
    let mut from = Decoder::new(&answer.bytes[32..]);
    assert_eq!(from.bool(), Ok(true));
    assert!(answer.bytes.len() < 32 + 200 + 4_096);
    assert!(answer.bytes.windows(4).any(|bytes| bytes == b"data"));
}

#[test]
fn a_compound_sent_twice_is_answered_twice_and_done_once() {
    let mut session = World::new().client().session(1, b"client");
    session.sequence += 1;
    let [root, share] = Session::root();
    let make = op(6, |to| {
        to.u32(2).opaque(b"d").u32(0).opaque(b"");
    });
    let all = [session.sequence_op(), root, share, make];
    let first = session.client.v4(1, &all);
    let second = session.client.v4(1, &all);
    assert_eq!((first.status, first.count), (0, 4));
    assert_eq!(first.bytes, second.bytes);
}

#[test]
fn share_reservations_keep_others_out() {
    let world = World::new();
    let mut one = world.client().session(1, b"one");
    let mut two = world.client().session(1, b"two");
    one.open(b"f", b"owner", 3, 2).unwrap();
    assert_eq!(two.open(b"f", b"owner", 2, 0), Err(10_015));
    two.open(b"f", b"owner", 1, 0).unwrap();
}

#[test]
fn locks_of_another_owner_are_in_the_way_and_told() {
    let world = World::new();
    let mut one = world.client().session(1, b"one");
    let mut two = world.client().session(1, b"two");
    let first = one.open(b"f", b"owner", 3, 0).unwrap();
    let second = two.open(b"f", b"owner", 3, 0).unwrap();
    let locked = one.ask(&Session::on(b"f", lock(&first, b"l", 10, 10)));
    assert_eq!(locked.status, 0);
    let denied = two.ask(&Session::on(b"f", lock(&second, b"l", 0, u64::MAX)));
    assert_eq!(denied.status, 10_010);
    let mut from = Decoder::new(&denied.bytes[32..]);
    assert_eq!(
        (from.u64(), from.u64(), from.u32()),
        (Ok(10), Ok(10), Ok(2))
    );
    let beside = two.ask(&Session::on(b"f", lock(&second, b"l", 20, 5)));
    assert_eq!(beside.status, 0);
}

#[test]
fn operations_need_a_session_and_sessions_their_place() {
    let world = World::new();
    let mut client = world.client();
    assert_eq!(client.v4(1, &[op(24, |_| {})]).status, 10_071);
    assert_eq!(client.v4(3, &[]).status, 10_021);
    let mut session = client.session(1, b"client");
    let again = session.sequence_op();
    assert_eq!(session.ask(&[again]).status, 10_064);
    assert_eq!(session.ask(&[op(2, |_| {})]).status, 10_044);
    assert_eq!(
        session
            .ask(&[op(9, |to| {
                to.u32(0);
            })])
            .status,
        10_020
    );
}

#[test]
fn a_compound_of_ten_thousand_operations_is_refused() {
    let mut client = World::new().client();
    let operations = vec![op(24, |_| {}); 10_000];
    let answer = client.v4(1, &operations);
    assert_eq!((answer.status, answer.count), (10_018, 0));
    let mut session = client.session(1, b"client");
    let operations = vec![op(24, |_| {}); 20];
    assert_eq!(session.ask(&operations).status, 10_070);
}

#[test]
fn a_restarted_client_loses_what_its_earlier_life_held() {
    let world = World::new();
    let mut before = world.client().session(1, b"client");
    let id = before.open(b"f", b"owner", 3, 3).unwrap();
    let mut client = world.client();
    let (number, sequence) = client.introduce(b"client", [2; 8]);
    // Until the new life is confirmed, the old one goes on.
    let read = op(25, |to| {
        id.encode(to);
        to.u64(0).u32(1);
    });
    assert_eq!(before.ask(&Session::on(b"f", read.clone())).status, 0);
    assert_eq!(
        client.v4(1, &[create_session(number, sequence, 0)]).status,
        0
    );
    assert_eq!(before.ask(&Session::on(b"f", read)).status, 10_052);
    let mut other = world.client().session(1, b"other");
    other.open(b"f", b"owner", 3, 3).unwrap();
}

#[test]
fn stateids_that_were_never_given_out_open_nothing() {
    let mut session = World::new().client().session(1, b"client");
    let id = session.open(b"f", b"owner", 3, 0).unwrap();
    for at in 0..12 {
        let mut forged = id;
        forged.other[at] ^= 1;
        let read = op(25, |to| {
            forged.encode(to);
            to.u64(0).u32(1);
        });
        assert_eq!(session.ask(&Session::on(b"f", read)).status, 10_025, "{at}");
    }
}

/// An open of what was open before the server started again.
fn reclaim() -> Encoder {
    op(18, |to| {
        to.u32(0).u32(3).u32(0).u64(0).opaque(b"owner");
        to.u32(0).u32(1).u32(0);
    })
}

#[test]
fn what_was_open_is_claimed_back_after_a_restart_before_anybody_else_opens() {
    let world = World::new();
    let mut before = world.client().session(1, b"one");
    before.open(b"f", b"owner", 3, 0).unwrap();
    world.client().session(1, b"two");
    drop(before);
    let world = world.restarted();
    let mut one = world.client().new_session(1, b"one");
    let mut two = world.client().new_session(1, b"two");
    let mut stranger = world.client().new_session(1, b"stranger");
    let grace = Err(10_013);
    assert_eq!(one.open(b"f", b"owner", 1, 0), grace);
    assert_eq!(stranger.ask(&Session::on(b"f", reclaim())).status, 10_033);
    assert_eq!(one.ask(&Session::on(b"f", reclaim())).status, 0);
    one.complete();
    stranger.complete();
    assert_eq!(stranger.open(b"f", b"owner", 1, 0), grace);
    // The last one that was waited for.
    two.complete();
    stranger.open(b"f", b"owner", 1, 0).unwrap();
    assert_eq!(one.ask(&Session::on(b"f", reclaim())).status, 10_033);
}

#[test]
fn who_does_not_come_back_is_not_waited_for_longer_than_a_lease() {
    let world = World::new();
    world.client().session(1, b"gone");
    let world = world.restarted();
    let mut session = world.client().session(1, b"client");
    assert_eq!(session.open(b"f", b"owner", 1, 0), Err(10_013));
    world.env.advance(std::time::Duration::from_secs(91));
    session.open(b"f", b"owner", 1, 0).unwrap();
    let world = world.restarted();
    let mut late = world.client().new_session(1, b"gone");
    assert_eq!(late.ask(&Session::on(b"f", reclaim())).status, 10_033);
}
