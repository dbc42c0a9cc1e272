//! NFS 4.0: no sessions; owners whose requests come in turn.

use super::version_4::{Answer, Session, compound, op};
use super::{Client, World};
use crate::rpc::NFS;
use crate::v4::types::Stateid;
use crate::xdr::{Decoder, Encoder, Xdr};

const BAD_SEQID: u32 = 10_026;
const BAD_STATEID: u32 = 10_025;
const STALE_CLIENTID: u32 = 10_022;
const STALE_STATEID: u32 = 10_023;
const LOCKS_HELD: u32 = 10_037;

struct Known {
    client: Client,
    id: u64,
}

fn set_client_id(owner: &[u8], verifier: [u8; 8]) -> Encoder {
    op(35, |to| {
        to.fixed(&verifier).opaque(owner).u32(0x4000_0000);
        to.opaque(b"tcp").opaque(b"192.0.2.1.3.3").u32(1);
    })
}

fn confirm(id: u64, verifier: [u8; 8]) -> Encoder {
    op(36, |to| {
        to.u64(id).fixed(&verifier);
    })
}

impl Client {
    fn v4_0(&mut self, operations: &[Encoder]) -> Answer {
        Answer::new(&self.ask(NFS, 4, 1, &compound(0, operations)))
    }

    fn introduce_0(&mut self, owner: &[u8], verifier: [u8; 8]) -> (u64, [u8; 8]) {
        let answer = self.v4_0(&[set_client_id(owner, verifier)]);
        assert_eq!(answer.status, 0);
        let mut from = Decoder::new(&answer.bytes[8..]);
        (from.u64().unwrap(), from.fixed().unwrap())
    }

    fn known(mut self, owner: &[u8]) -> Known {
        let (id, verifier) = self.introduce_0(owner, [1; 8]);
        assert_eq!(self.v4_0(&[confirm(id, verifier)]).status, 0);
        Known { client: self, id }
    }
}

impl Known {
    /// Opens or makes a file: its stateid and whether it is to be confirmed.
    fn open(&mut self, owner: &[u8], sequence: u32) -> Result<(Stateid, bool), u32> {
        let [root, share] = Session::root();
        let open = op(18, |to| {
            to.u32(sequence).u32(3).u32(0).u64(self.id).opaque(owner);
            to.u32(1).u32(0);
            to.u32(2).u32(0).u32(2).opaque(&0o644u32.to_be_bytes());
            to.u32(0).opaque(b"f");
        });
        let answer = self.client.v4_0(&[root, share, open]);
        if answer.status != 0 {
            return Err(answer.status);
        }
        let mut from = Decoder::new(&answer.bytes[24..]);
        let id = Stateid::decode(&mut from).unwrap();
        from.fixed::<20>().unwrap();
        Ok((id, from.u32().unwrap() & 2 != 0))
    }

    fn on_f(&mut self, operation: Encoder) -> Answer {
        self.client.v4_0(&Session::on(b"f", operation))
    }

    fn confirmed(&mut self, owner: &[u8]) -> Stateid {
        let (id, unconfirmed) = self.open(owner, 7).unwrap();
        assert!(unconfirmed);
        let confirm = op(20, |to| {
            id.encode(to);
            to.u32(8);
        });
        let answer = self.on_f(confirm);
        assert_eq!(answer.status, 0);
        Stateid::decode(&mut Decoder::new(&answer.bytes[32..])).unwrap()
    }
}

fn close(id: &Stateid, sequence: u32) -> Encoder {
    op(4, |to| {
        to.u32(sequence);
        id.encode(to);
    })
}

fn lock(id: &Stateid, client: u64, sequences: (u32, u32)) -> Encoder {
    op(12, |to| {
        to.u32(2).bool(false).u64(0).u64(10).bool(true);
        to.u32(sequences.0);
        id.encode(to);
        to.u32(sequences.1).u64(client).opaque(b"locker");
    })
}

#[test]
fn a_file_is_opened_confirmed_read_and_closed_and_the_last_request_may_come_twice() {
    let mut known = World::new().client().known(b"client");
    let id = known.confirmed(b"owner");
    let write = op(38, |to| {
        id.encode(to);
        to.u64(0).u32(2).opaque(b"hello");
    });
    assert_eq!(known.on_f(write).status, 0);
    assert_eq!(known.on_f(close(&id, 11)).status, BAD_SEQID);
    let first = known.on_f(close(&id, 9));
    assert_eq!(first.status, 0);
    let second = known.on_f(close(&id, 9));
    assert_eq!((second.status, second.bytes), (0, first.bytes));
    assert_eq!(known.on_f(close(&id, 10)).status, BAD_STATEID);
    // The owner is known now.
    let (_, unconfirmed) = known.open(b"owner", 10).unwrap();
    assert!(!unconfirmed);
}

#[test]
fn an_open_that_comes_twice_is_done_once() {
    let mut known = World::new().client().known(b"client");
    known.confirmed(b"owner");
    let first = known.open(b"owner", 9).unwrap();
    assert_eq!(known.open(b"owner", 9).unwrap(), first);
    assert_ne!(known.open(b"owner", 10).unwrap(), first);
    assert_eq!(known.open(b"owner", 9).unwrap_err(), BAD_SEQID);
}

#[test]
fn owners_of_locks_have_numbers_of_their_own_and_are_released_when_they_hold_nothing() {
    let mut known = World::new().client().known(b"client");
    let (client, id) = (known.id, known.confirmed(b"owner"));
    let locked = known.on_f(lock(&id, client, (9, 100)));
    assert_eq!(locked.status, 0);
    let held = Stateid::decode(&mut Decoder::new(&locked.bytes[32..])).unwrap();
    let release = op(39, |to| {
        to.u64(client).opaque(b"locker");
    });
    assert_eq!(
        known.client.v4_0(std::slice::from_ref(&release)).status,
        LOCKS_HELD
    );
    let unlock = |sequence| {
        op(14, |to| {
            to.u32(2).u32(sequence);
            held.encode(to);
            to.u64(0).u64(10);
        })
    };
    assert_eq!(known.on_f(unlock(100)).status, BAD_SEQID);
    assert_eq!(known.on_f(unlock(101)).status, 0);
    assert_eq!(known.client.v4_0(&[release]).status, 0);
}

#[test]
fn ids_are_confirmed_by_who_asked_for_them_and_stale_ones_are_known() {
    let world = World::new();
    let mut client = world.client();
    let (id, verifier) = client.introduce_0(b"client", [1; 8]);
    assert_eq!(client.v4_0(&[confirm(id, [0; 8])]).status, STALE_CLIENTID);
    assert_eq!(
        client.v4_0(&[confirm(id ^ 1, verifier)]).status,
        STALE_CLIENTID
    );
    let renew = op(30, |to| {
        to.u64(id);
    });
    assert_eq!(
        client.v4_0(std::slice::from_ref(&renew)).status,
        STALE_CLIENTID
    );
    assert_eq!(client.v4_0(&[confirm(id, verifier)]).status, 0);
    assert_eq!(client.v4_0(&[confirm(id, verifier)]).status, 0);
    assert_eq!(client.v4_0(&[renew]).status, 0);
    let read = op(25, |to| {
        Stateid {
            sequence: 1,
            other: [9; 12],
        }
        .encode(to);
        to.u64(0).u32(1);
    });
    let mut known = Known { client, id };
    known.open(b"owner", 1).unwrap();
    assert_eq!(known.on_f(read).status, STALE_STATEID);
}

#[test]
fn operations_of_sessions_are_unknown_and_a_new_life_takes_the_place_of_the_old() {
    let world = World::new();
    let mut known = world.client().known(b"client");
    assert_eq!(known.client.v4_0(&[op(42, |_| {})]).status, 10_044);
    let id = known.confirmed(b"owner");
    let (new, verifier) = known.client.introduce_0(b"client", [2; 8]);
    assert_eq!(known.client.v4_0(&[confirm(new, verifier)]).status, 0);
    // 10011: expired, as the client of that stateid is no more.
    assert_eq!(known.on_f(close(&id, 9)).status, 10_011);
}
