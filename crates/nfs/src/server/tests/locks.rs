//! Locks of version 3, beside those of version 4.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use strongroom_device::BoxFuture;

use super::version_4::Session;
use super::{Client, World};
use crate::rpc::{NLM, NSM};
use crate::server::Dialer;
use crate::xdr::{Decoder, Encoder};

const TEST: u32 = 1;
const LOCK: u32 = 2;
const CANCEL: u32 = 3;
const UNLOCK: u32 = 4;
const GRANTED: u32 = 0;
const DENIED: u32 = 1;
const BLOCKED: u32 = 3;
const GRACE: u32 = 4;
const STALE: u32 = 7;

type Made = (IpAddr, (u32, u32, u32), Vec<u8>);

/// Calls that were made: to whom, what, with which arguments; each is answered with its cookie and success.
#[derive(Debug, Default)]
struct Calls(Mutex<Vec<Made>>);

impl Dialer for Calls {
    fn call(
        &self,
        to: IpAddr,
        procedure: (u32, u32, u32),
        arguments: Vec<u8>,
    ) -> BoxFuture<Option<Bytes>> {
        let cookie = Decoder::new(&arguments)
            .opaque(64, "cookie")
            .map(<[u8]>::to_vec);
        self.0.lock().push((to, procedure, arguments));
        let mut answer = Encoder::default();
        answer.opaque(&cookie.unwrap_or_default()).u32(GRANTED);
        Box::pin(async move { Some(Bytes::from(answer.into_vec())) })
    }

    fn name(&self) -> String {
        "server".to_owned()
    }
}

fn lock(to: &mut Encoder, file: &[u8], process: i32, range: (u64, u64)) {
    to.opaque(b"host")
        .opaque(file)
        .opaque(b"owner")
        .i32(process);
    to.u64(range.0).u64(range.1);
}

impl Client {
    fn nlm(&mut self, procedure: u32, fill: impl FnOnce(&mut Encoder)) -> (u32, Vec<u8>) {
        let mut to = Encoder::default();
        to.opaque(b"cookie");
        fill(&mut to);
        let answer = self.ask(NLM, 4, procedure, to.as_slice());
        let mut from = Decoder::new(&answer);
        assert_eq!(from.opaque(64, "cookie"), Ok(&b"cookie"[..]));
        (from.u32().unwrap(), from.rest().to_vec())
    }

    fn take_lock(
        &mut self,
        file: &[u8],
        process: i32,
        range: (u64, u64),
        how: (bool, bool),
    ) -> u32 {
        let (block, reclaim) = how;
        let taken = self.nlm(LOCK, |to| {
            to.bool(block).bool(true);
            lock(to, file, process, range);
            to.bool(reclaim).i32(1);
        });
        taken.0
    }

    fn free(&mut self, file: &[u8], process: i32, range: (u64, u64)) -> u32 {
        self.nlm(UNLOCK, |to| lock(to, file, process, range)).0
    }
}

/// A file's handle.
fn file(world: &World) -> Vec<u8> {
    let mut session = world.client().session(1, b"maker");
    session.open(b"f", b"owner", 3, 0).unwrap();
    let get = super::version_4::op(10, |_| {});
    let answer = session.ask(&Session::on(b"f", get));
    assert_eq!(answer.status, 0);
    let mut from = Decoder::new(&answer.bytes[32..]);
    from.opaque(128, "handle").unwrap().to_vec()
}

const WAITS: (bool, bool) = (true, false);
const AT_ONCE: (bool, bool) = (false, false);

#[test]
fn locks_of_one_process_keep_another_and_version_4_out() {
    let world = World::new();
    let (file, mut client) = (file(&world), world.client());
    assert_eq!(client.take_lock(&file, 1, (10, 10), AT_ONCE), GRANTED);
    assert_eq!(client.take_lock(&file, 2, (0, 0), AT_ONCE), DENIED);
    assert_eq!(client.take_lock(&file, 1, (0, 0), AT_ONCE), GRANTED);
    let (stat, holder) = client.nlm(TEST, |to| {
        to.bool(false);
        lock(to, &file, 2, (5, 1));
    });
    assert_eq!(stat, DENIED);
    let mut from = Decoder::new(&holder);
    assert_eq!((from.bool(), from.i32()), (Ok(true), Ok(1)));
    assert_eq!(from.opaque(64, "owner"), Ok(&b"owner"[..]));
    assert_eq!((from.u64(), from.u64()), (Ok(0), Ok(0)));
    let mut session = world.client().session(1, b"four");
    let id = session.open(b"f", b"o", 3, 0).unwrap();
    let locked = super::version_4::lock(&id, b"l", 0, 5);
    assert_eq!(
        session.ask(&Session::on(b"f", locked.clone())).status,
        10_010
    );
    assert_eq!(client.free(&file, 1, (0, 0)), GRANTED);
    assert_eq!(session.ask(&Session::on(b"f", locked)).status, 0);
    assert_eq!(client.take_lock(&file, 2, (0, 0), AT_ONCE), DENIED);
    assert_eq!(client.take_lock(b"no handle", 2, (0, 0), AT_ONCE), STALE);
}

#[test]
fn who_waits_for_a_lock_is_called_when_it_has_it() {
    let world = World::new();
    let calls = Arc::new(Calls::default());
    world
        .server
        .dial_by(Arc::clone(&calls) as Arc<dyn Dialer>)
        .unwrap();
    let (file, mut client) = (file(&world), world.client());
    assert_eq!(client.take_lock(&file, 1, (0, 10), AT_ONCE), GRANTED);
    assert_eq!(client.take_lock(&file, 2, (0, 10), WAITS), BLOCKED);
    assert_eq!(client.take_lock(&file, 3, (0, 10), WAITS), BLOCKED);
    // One of them does not want it any more.
    let cancelled = client.nlm(CANCEL, |to| {
        to.bool(true).bool(true);
        lock(to, &file, 3, (0, 10));
    });
    assert_eq!(cancelled.0, GRANTED);
    world.env.advance(Duration::from_secs(1));
    assert!(calls.0.lock().is_empty());
    assert_eq!(client.free(&file, 1, (0, 10)), GRANTED);
    world.env.advance(Duration::from_secs(1));
    let made = std::mem::take(&mut *calls.0.lock());
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].0, "192.0.2.1".parse::<IpAddr>().unwrap());
    assert_eq!(made[0].1, (NLM, 4, 5));
    assert_eq!(client.take_lock(&file, 1, (0, 10), AT_ONCE), DENIED);
    assert_eq!(client.free(&file, 2, (0, 10)), GRANTED);
    assert_eq!(client.take_lock(&file, 1, (0, 10), AT_ONCE), GRANTED);
}

#[test]
fn a_machine_that_started_again_holds_nothing() {
    let world = World::new();
    let (file, mut client) = (file(&world), world.client());
    assert_eq!(client.take_lock(&file, 1, (0, 10), AT_ONCE), GRANTED);
    let mut to = Encoder::default();
    to.opaque(b"host").i32(3);
    assert!(client.ask(NSM, 1, 6, to.as_slice()).is_empty());
    assert_eq!(client.take_lock(&file, 2, (0, 10), AT_ONCE), GRANTED);
}

#[test]
fn after_a_restart_locks_are_claimed_back_before_others_are_given() {
    let world = World::new();
    let (file, mut client) = (file(&world), world.client());
    assert_eq!(client.take_lock(&file, 1, (0, 10), AT_ONCE), GRANTED);
    let world = world.restarted();
    let calls = Arc::new(Calls::default());
    world
        .server
        .dial_by(Arc::clone(&calls) as Arc<dyn Dialer>)
        .unwrap();
    world.env.run_until_idle();
    assert_eq!(calls.0.lock()[0].1, (NSM, 1, 6));
    let mut client = world.client();
    assert_eq!(client.take_lock(&file, 2, (0, 10), AT_ONCE), GRACE);
    assert_eq!(client.take_lock(&file, 1, (0, 10), (false, true)), GRANTED);
    world.env.advance(Duration::from_secs(91));
    assert_eq!(client.take_lock(&file, 2, (0, 10), AT_ONCE), DENIED);
    assert_eq!(client.take_lock(&file, 2, (20, 10), (false, true)), GRACE);
}
