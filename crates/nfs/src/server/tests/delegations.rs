//! Delegations: given with opens, called back when others are in want of the file, by whatever protocol.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_device::Env;
use strongroom_vfs::grants::{Broken, GrantHolder, GrantKey, GrantRequest, GrantRights, GrantWish};
use strongroom_vfs::{AccessMask, OpenRequest, ShareAccess, Vfs};

use super::World;
use super::version_4::{Session, op};
use crate::v4::types::Stateid;
use crate::xdr::{Decoder, Encoder, Opaque, Xdr};

const READ: u32 = 1;
const BOTH: u32 = 3;
const WANT_READ: u32 = 0x100;
const WANT_WRITE: u32 = 0x200;
const WANT_NO: u32 = 0x400;

/// What an open brought: the delegation's kind and stateid.
struct Opened {
    kind: u32,
    delegation: Option<Stateid>,
    why: u32,
}

impl Session {
    fn open_wishing(&mut self, access: u32) -> Opened {
        let answer = self.ask(&Self::opening(b"f", b"owner", access, 0));
        assert_eq!(answer.status, 0);
        let mut from = Decoder::new(&answer.bytes[24..]);
        Stateid::decode(&mut from).unwrap();
        // change_info4, flags, the attributes that were set.
        from.fixed::<20>().unwrap();
        from.u32().unwrap();
        crate::v4::types::Bitmap::decode(&mut from).unwrap();
        let kind = from.u32().unwrap();
        let delegation = matches!(kind, 1 | 2).then(|| Stateid::decode(&mut from).unwrap());
        let why = from.u32().unwrap_or(0);
        Opened {
            kind,
            delegation,
            why,
        }
    }

    /// Begins a compound that may take its time.
    fn begin(&mut self, operations: &[Encoder]) {
        self.sequence += 1;
        let mut all = vec![self.sequence_op()];
        all.extend_from_slice(operations);
        self.client
            .begin(&super::version_4::compound(self.minor, &all));
    }

    /// The stateid of the CB_RECALL that came in, which is answered with success.
    fn recalled(&mut self) -> Stateid {
        let (xid, record) = self.client.called().expect("a call from the server");
        let mut from = Decoder::new(&record);
        from.opaque(64, "tag").unwrap();
        let (_minor, _ident, count) = (from.u32().unwrap(), from.u32(), from.u32().unwrap());
        assert_eq!((count, from.u32()), (2, Ok(11)));
        let session: [u8; 16] = from.fixed().unwrap();
        assert_eq!(session, self.id);
        let (sequence, slot) = (from.u32().unwrap(), from.u32().unwrap());
        let (_highest, _keep, _lists) = (from.u32(), from.u32(), from.u32());
        assert_eq!(from.u32(), Ok(4));
        let id = Stateid::decode(&mut from).unwrap();
        let mut to = Encoder::default();
        to.u32(0).opaque(b"").u32(2);
        to.u32(11).u32(0).fixed(&session);
        to.u32(sequence).u32(slot).u32(0).u32(0);
        to.u32(4).u32(0);
        self.client.answer(xid, to.as_slice());
        id
    }

    fn give_back(&mut self, id: &Stateid) -> u32 {
        let back = op(8, |to| id.encode(to));
        self.ask(&Self::on(b"f", back)).status
    }

    /// sr_status_flags
    fn flags(&mut self) -> u32 {
        self.sequence += 1;
        let answer = self.client.v4(self.minor, &[self.sequence_op()]);
        assert_eq!(answer.status, 0);
        u32::from_be_bytes(answer.bytes[40..44].try_into().unwrap())
    }
}

fn world() -> (World, Session, Session) {
    let world = World::new();
    let one = world.client().callable(1, b"one");
    let two = world.client().callable(1, b"two");
    (world, one, two)
}

#[test]
fn a_delegation_is_called_back_for_another_s_open_which_waits_for_it() {
    for (access, breaks) in [(READ | WANT_READ, BOTH), (BOTH | WANT_WRITE, READ)] {
        let (world, mut one, mut two) = world();
        let opened = one.open_wishing(access);
        let held = opened.delegation.expect("a delegation");
        // Its own opens are none of its business.
        one.open(b"f", b"other", BOTH, 0).unwrap();
        assert!(one.client.called().is_none());
        two.begin(&Session::opening(b"f", b"o", breaks, 0));
        world.env.run_until_idle();
        assert!(two.client.received().is_none(), "it waits");
        assert_eq!(one.recalled(), held);
        assert_eq!(one.give_back(&held), 0);
        world.env.run_until_idle();
        let answer = two.client.received().expect("an answer");
        assert_eq!(super::version_4::Answer::new(&answer).status, 0);
        assert_eq!(one.give_back(&held), 10_025);
        assert_eq!(one.flags(), 0);
    }
}

#[test]
fn readers_share_delegations_and_a_writer_keeps_them_away() {
    let (_world, mut one, mut two) = world();
    one.open(b"f", b"o", 2 | WANT_NO, 0).unwrap();
    let refused = two.open_wishing(READ | WANT_READ);
    assert_eq!((refused.kind, refused.why), (3, 1));
    let (_world, mut one, mut two) = self::world();
    assert_eq!(one.open_wishing(READ | WANT_READ).kind, 1);
    assert_eq!(two.open_wishing(READ).kind, 1);
    let unwanted = two.open_wishing(READ | WANT_NO);
    assert_eq!((unwanted.kind, unwanted.why), (3, 0));
}

#[test]
fn reads_and_writes_by_a_delegation_are_those_of_its_holder() {
    let (_world, mut one, mut two) = world();
    let held = one.open_wishing(BOTH | WANT_WRITE).delegation.unwrap();
    let write = op(38, |to| {
        held.encode(to);
        to.u64(0).u32(2).opaque(b"data");
    });
    assert_eq!(one.ask(&Session::on(b"f", write.clone())).status, 0);
    // Not another's.
    assert_eq!(two.ask(&Session::on(b"f", write)).status, 10_025);
    assert!(one.client.called().is_none());
}

#[test]
fn who_does_not_give_back_loses_it_and_hears_so() {
    let (world, mut one, mut two) = world();
    let held = one.open_wishing(READ | WANT_READ).delegation.unwrap();
    let opening = Session::opening(b"f", b"o", 2, 0);
    let mut status = 10_008;
    for _ in 0..60 {
        status = two.ask(&opening).status;
        one.flags();
        if status != 10_008 {
            break;
        }
        world.env.advance(Duration::from_secs(5));
    }
    assert_eq!(status, 0);
    let read = op(25, |to| {
        held.encode(to);
        to.u64(0).u32(1);
    });
    assert_eq!(one.ask(&Session::on(b"f", read)).status, 10_087);
    // Beside it that it did not answer.
    assert_eq!(one.flags(), 0x241);
    let free = op(45, |to| held.encode(to));
    assert_eq!(one.ask(&[free]).status, 0);
    assert_eq!(one.flags(), 0x201);
}

#[test]
fn nobody_who_cannot_be_called_gets_a_delegation() {
    let world = World::new();
    let mut mute = world.client().session(1, b"mute");
    let refused = mute.open_wishing(READ | WANT_READ);
    assert_eq!((refused.kind, refused.why), (3, 2));
    assert_eq!(mute.flags(), 0);
}

#[test]
fn removing_renaming_and_chmod_by_others_call_a_delegation_back() {
    for change in 0..3 {
        let (world, mut one, mut two) = world();
        let held = one.open_wishing(READ | WANT_READ).delegation.unwrap();
        let [root, share] = Session::root();
        let operations = match change {
            0 => vec![
                root,
                share,
                op(28, |to| {
                    to.opaque(b"f");
                }),
            ],
            1 => vec![
                root,
                share,
                op(32, |_| {}),
                op(29, |to| {
                    to.opaque(b"f").opaque(b"g");
                }),
            ],
            _ => {
                let set = op(34, |to| {
                    Stateid::ANONYMOUS.encode(to);
                    to.u32(2).u32(0).u32(2).opaque(&0o600u32.to_be_bytes());
                });
                Session::on(b"f", set).to_vec()
            }
        };
        two.begin(&operations);
        world.env.run_until_idle();
        assert_eq!(one.recalled(), held, "{change}");
        assert_eq!(one.give_back(&held), 0);
        world.env.run_until_idle();
        let answer = two.client.received().expect("an answer");
        let answer = super::version_4::Answer::new(&answer);
        assert_eq!(answer.status, 0, "{change}");
    }
}

/// The holder of a lease.
#[derive(Debug, Default)]
struct Lease(Mutex<Vec<Broken>>);

impl GrantHolder for Lease {
    fn granted(&self, _: GrantRights) {}

    fn broken(&self, broken: Broken) {
        self.0.lock().push(broken);
    }
}

/// An open as SMB makes it, with a lease; what came of it appears when it is done.
fn lease_behind(
    world: &World,
    access: AccessMask,
    lease: &Arc<Lease>,
) -> Arc<Mutex<Option<strongroom_vfs::Result<strongroom_vfs::Opened>>>> {
    let slot = Arc::new(Mutex::new(None));
    let (filled, vfs, holder) = (
        Arc::clone(&slot),
        Arc::clone(&world.server.vfs),
        Arc::clone(lease),
    );
    let task = async move {
        let vfs: &Vfs = &vfs;
        let share = vfs.share("unix").unwrap();
        let wish = GrantWish {
            key: Some(GrantKey::Chosen {
                owner: [1; 16],
                name: [2; 16],
            }),
            rights: GrantRights::ALL,
            directories: false,
            holder,
        };
        let request = OpenRequest {
            access,
            share_access: ShareAccess::ALL,
            grant: GrantRequest::Wanted(wish),
            ..OpenRequest::new(&share, "f")
        };
        let root = super::root(vfs);
        *filled.lock() = Some(vfs.open(&root, request).await);
    };
    world.env.spawn("open by SMB", Box::pin(task));
    world.env.run_until_idle();
    slot
}

#[test]
fn an_open_by_smb_calls_a_delegation_back_and_an_open_by_nfs_breaks_a_lease() {
    let (world, mut one, _two) = world();
    let held = one.open_wishing(BOTH | WANT_WRITE).delegation.unwrap();
    let close = op(4, |to| {
        to.u32(0);
        one.open(b"f", b"owner", BOTH, 0).unwrap().encode(to);
    });
    assert_eq!(one.ask(&Session::on(b"f", close)).status, 0);
    let lease = Arc::new(Lease::default());
    let opened = lease_behind(&world, AccessMask::READ_DATA, &lease);
    assert!(opened.lock().is_none(), "it waits");
    assert_eq!(one.recalled(), held);
    assert_eq!(one.give_back(&held), 0);
    world.env.run_until_idle();
    let (handle, _) = opened.lock().take().unwrap().unwrap();
    let grant = Arc::clone(handle.grant().unwrap());
    assert_eq!(grant.rights(), GrantRights::ALL);
    // The reverse: the lease is broken by an open, which waits, and leaves no delegation for writing.
    one.begin(&Session::opening(b"f", b"o", BOTH | WANT_WRITE, 0));
    world.env.run_until_idle();
    assert!(one.client.received().is_none(), "it waits");
    let broken = std::mem::take(&mut *lease.0.lock());
    assert!(broken[0].from.write && !broken[0].to.write && broken[0].must_answer);
    let left = GrantRights {
        write: false,
        ..GrantRights::ALL
    };
    world.server.vfs.acknowledge(&grant, left).unwrap();
    world.env.run_until_idle();
    let answer = one.client.received().expect("an answer");
    assert_eq!(super::version_4::Answer::new(&answer).status, 0);
}

#[test]
fn what_a_writer_has_not_written_yet_is_seen_by_others() {
    let (world, mut one, mut two) = world();
    one.open_wishing(BOTH | WANT_WRITE).delegation.unwrap();
    // The size.
    let look = op(9, |to| {
        to.u32(1).u32(1 << 4);
    });
    two.begin(&Session::on(b"f", look));
    world.env.run_until_idle();
    let (xid, record) = one.client.called().expect("a call from the server");
    let mut from = Decoder::new(&record);
    from.opaque(64, "tag").unwrap();
    for _ in 0..4 {
        from.u32().unwrap();
    }
    let session: [u8; 16] = from.fixed().unwrap();
    let (sequence, slot) = (from.u32().unwrap(), from.u32().unwrap());
    for _ in 0..3 {
        from.u32().unwrap();
    }
    assert_eq!(from.u32(), Ok(3));
    Opaque::<128>::decode(&mut from).unwrap();
    let mut to = Encoder::default();
    to.u32(0).opaque(b"").u32(2);
    to.u32(11).u32(0).fixed(&session);
    to.u32(sequence).u32(slot).u32(0).u32(0);
    let mut values = Encoder::default();
    values.u64(77).u64(4_711);
    to.u32(3).u32(0).u32(1).u32(0x18).opaque(values.as_slice());
    one.client.answer(xid, to.as_slice());
    world.env.run_until_idle();
    let answer = super::version_4::Answer::new(&two.client.received().unwrap());
    assert_eq!(answer.status, 0);
    let size = answer.bytes.last_chunk::<8>().unwrap();
    assert_eq!(u64::from_be_bytes(*size), 4_711);
}
