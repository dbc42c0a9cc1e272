//! Oplocks and leases on the wire: what is granted, what clients hear of breaks, and their acknowledgements.

use super::client::{Answer, Client};
use super::world::World;
use crate::wire::create::{
    CreateDisposition, CreateOptions, CreateRequest, CreateResponse, OplockLevel,
};
use crate::wire::create_context::{
    Lease, LeaseFlags, LeaseState, LeaseV2, RequestContext, ResponseContext,
};
use crate::wire::oplock::{LeaseBreakAck, LeaseBreakNotification, OplockBreak};
use crate::wire::write::{WriteFlags, WriteRequest};
use crate::wire::{Command, FileId, Guid, MessageId, NtStatus, Route, SessionId, TreeId};

const R: LeaseState = LeaseState::READ_CACHING;
const RH: LeaseState = LeaseState(3);
const RWH: LeaseState = LeaseState(7);
const NONE: LeaseState = LeaseState::NONE;

pub(super) fn with_oplock(name: &str, oplock: OplockLevel) -> CreateRequest<'static> {
    CreateRequest {
        oplock,
        ..Client::create_request(name)
    }
}

pub(super) fn lease(key: u8, state: LeaseState) -> Lease {
    Lease {
        key: Guid([key; 16]),
        state,
        flags: LeaseFlags::NONE,
        v2: Some(LeaseV2 {
            parent_key: Guid::default(),
            epoch: 100,
        }),
    }
}

pub(super) fn with_lease(name: &str, lease: Lease) -> CreateRequest<'static> {
    let mut request = with_oplock(name, OplockLevel::Lease);
    request.contexts.push_request(&RequestContext::Lease(lease));
    request
}

/// What an open came to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file_id: FileId,
    pub(super) level: OplockLevel,
    pub(super) lease: Option<Lease>,
}

pub(super) fn opened(answer: &Answer) -> Opened {
    assert_eq!(answer.status(), NtStatus::SUCCESS);
    let response: CreateResponse<'_> = answer.decode();
    let lease = response.contexts.responses().find_map(|context| {
        let ResponseContext::Lease(lease) = context.unwrap() else {
            return None;
        };
        Some(lease)
    });
    Opened {
        file_id: response.file_id,
        level: response.oplock,
        lease,
    }
}

pub(super) fn open(client: &mut Client, request: &CreateRequest<'_>) -> Opened {
    opened(&client.ask(Command::Create, request))
}

/// Sends a request without waiting for its answer.
fn begin(client: &mut Client, request: &CreateRequest<'_>) {
    let message = client.message(Command::Create, request);
    client.send(message).unwrap();
}

/// The next message, which nobody asked for.
fn notified(client: &mut Client) -> Answer {
    let notice = client.answer().expect("a notification");
    let header = &notice.header;
    assert_eq!(header.command, Command::OplockBreak);
    assert_eq!(header.message_id, MessageId(u64::MAX));
    assert_eq!(
        (header.session_id, header.tree_id()),
        (SessionId(0), TreeId(0))
    );
    assert!(!notice.signed && header.credits == 0);
    notice
}

fn lease_break(client: &mut Client) -> LeaseBreakNotification {
    notified(client).decode()
}

fn acknowledge(client: &mut Client, key: u8, state: LeaseState) -> Result<LeaseState, NtStatus> {
    let ack = LeaseBreakAck {
        flags: 0,
        key: Guid([key; 16]),
        state,
    };
    let answer = client.ask(Command::OplockBreak, &ack);
    match answer.status() {
        NtStatus::SUCCESS => Ok(answer.decode::<LeaseBreakAck>().state),
        status => Err(status),
    }
}

fn write(client: &mut Client, file_id: FileId) -> NtStatus {
    let request = WriteRequest {
        offset: 0,
        file_id,
        channel: 0,
        remaining_bytes: 0,
        channel_info: &[],
        flags: WriteFlags::NONE,
        data: b"x",
    };
    client.ask(Command::Write, &request).status()
}

#[test]
fn a_batch_oplock_is_broken_before_another_client_opens() {
    let world = World::new();
    let (mut one, mut two) = (world.connected(), world.connected());
    let held = open(&mut one, &with_oplock("f", OplockLevel::Batch));
    assert_eq!(held.level, OplockLevel::Batch);
    begin(&mut two, &with_oplock("f", OplockLevel::Batch));
    let interim = two.answer().unwrap();
    assert_eq!(interim.status(), NtStatus::PENDING);
    let notice: OplockBreak = notified(&mut one).decode();
    assert_eq!(
        (notice.file_id, notice.level),
        (held.file_id, OplockLevel::LevelII)
    );
    assert!(two.answer().is_none(), "it waits");
    let answer = one.ask(Command::OplockBreak, &notice);
    assert_eq!(answer.decode::<OplockBreak>(), notice);
    let other = two.wait();
    assert_eq!(other.header.route, interim.header.route);
    assert_eq!(opened(&other).level, OplockLevel::LevelII);
    let again = one.ask(Command::OplockBreak, &notice);
    assert_eq!(again.status(), NtStatus::INVALID_OPLOCK_PROTOCOL);
}

#[test]
fn a_write_breaks_level_two_and_asks_for_no_answer() {
    let world = World::new();
    let (mut one, mut two) = (world.connected(), world.connected());
    let held = open(&mut one, &with_oplock("f", OplockLevel::LevelII));
    let other = open(&mut two, &with_oplock("f", OplockLevel::None));
    assert_eq!(write(&mut two, other.file_id), NtStatus::SUCCESS);
    let notice: OplockBreak = notified(&mut one).decode();
    assert_eq!(
        (notice.file_id, notice.level),
        (held.file_id, OplockLevel::None)
    );
}

#[test]
fn a_client_that_is_silent_loses_its_oplock() {
    let world = World::new();
    let (mut one, mut two) = (world.connected(), world.connected());
    open(&mut one, &with_oplock("f", OplockLevel::Exclusive));
    begin(&mut two, &with_oplock("f", OplockLevel::None));
    assert_eq!(two.answer().unwrap().status(), NtStatus::PENDING);
    world.env.advance(std::time::Duration::from_secs(34));
    assert!(two.answer().is_none());
    world.env.advance(std::time::Duration::from_secs(2));
    opened(&two.wait());
}

#[test]
fn a_client_that_vanishes_needs_not_answer() {
    let world = World::new();
    let (mut one, mut two) = (world.connected(), world.connected());
    open(&mut one, &with_oplock("f", OplockLevel::Batch));
    begin(&mut two, &with_oplock("f", OplockLevel::Batch));
    assert_eq!(two.answer().unwrap().status(), NtStatus::PENDING);
    one.disconnect();
    assert_eq!(opened(&two.wait()).level, OplockLevel::Batch);
}

#[test]
fn an_open_that_waits_for_a_break_can_be_cancelled() {
    let world = World::new();
    let (mut one, mut two) = (world.connected(), world.connected());
    open(&mut one, &with_oplock("f", OplockLevel::Batch));
    begin(&mut two, &with_oplock("f", OplockLevel::None));
    let interim = two.answer().unwrap();
    let Route::Async { .. } = interim.header.route else {
        panic!("an interim answer is asynchronous");
    };
    let mut header = two.header(Command::Cancel);
    header.message_id = interim.header.message_id;
    header.route = interim.header.route;
    header.credits = 0;
    let mut message = header.to_bytes().to_vec();
    message.extend([4, 0, 0, 0]);
    two.send(message).unwrap();
    assert_eq!(two.answer().unwrap().status(), NtStatus::CANCELLED);
}

#[test]
fn a_lease_is_shared_by_its_key_and_counts_its_changes() {
    let world = World::new();
    let mut client = world.connected();
    let first = open(&mut client, &with_lease("f", lease(1, R)));
    let got = first.lease.unwrap();
    assert_eq!((first.level, got.state), (OplockLevel::Lease, R));
    assert_eq!(got.v2.unwrap().epoch, 101);
    let second = open(&mut client, &with_lease("f", lease(1, RWH)));
    let got = second.lease.unwrap();
    assert_eq!((got.state, got.v2.unwrap().epoch), (RWH, 102));
    let other = client.ask(Command::Create, &with_lease("g", lease(1, R)));
    assert_eq!(other.status(), NtStatus::INVALID_PARAMETER);
}

#[test]
fn a_lease_is_broken_and_acknowledged() {
    let world = World::new();
    let (mut one, mut two) = (world.connected(), world.connected());
    open(&mut one, &with_lease("f", lease(1, RWH)));
    begin(&mut two, &with_lease("f", lease(2, RWH)));
    assert_eq!(two.answer().unwrap().status(), NtStatus::PENDING);
    let notice = lease_break(&mut one);
    let expected = LeaseBreakNotification {
        new_epoch: 102,
        flags: 1,
        key: Guid([1; 16]),
        current: RWH,
        new: RH,
    };
    assert_eq!(notice, expected);
    // Under the same key nothing waits, and the break shows.
    let beside = open(&mut one, &with_lease("f", lease(1, NONE)));
    let got = beside.lease.unwrap();
    assert_eq!((got.state, got.flags), (RWH, LeaseFlags::BREAK_IN_PROGRESS));
    assert_eq!(
        acknowledge(&mut one, 3, RH),
        Err(NtStatus::OBJECT_NAME_NOT_FOUND)
    );
    assert_eq!(
        acknowledge(&mut one, 1, RWH),
        Err(NtStatus::REQUEST_NOT_ACCEPTED)
    );
    assert_eq!(acknowledge(&mut one, 1, RH), Ok(RH));
    assert_eq!(acknowledge(&mut one, 1, RH), Err(NtStatus::UNSUCCESSFUL));
    assert_eq!(opened(&two.wait()).lease.unwrap().state, RH);
}

#[test]
fn a_lease_s_break_is_told_on_the_oldest_connection_of_its_client_and_user() {
    let world = World::new();
    let mut stranger = world.signed_in_as("bob");
    stranger.tree_connect("files").unwrap();
    let (mut old, mut new) = (world.connected(), world.connected());
    let mut other = world.elsewhere("files");
    open(&mut new, &with_lease("f", lease(1, R)));
    let file_id = open(&mut other, &with_oplock("f", OplockLevel::None)).file_id;
    assert_eq!(write(&mut other, file_id), NtStatus::SUCCESS);
    assert_eq!(lease_break(&mut old).key, Guid([1; 16]));
    assert!(new.answer().is_none());
    assert!(stranger.answer().is_none());
    // Where that connection has gone, the next one will do.
    old.disconnect();
    open(&mut new, &with_lease("f", lease(1, R)));
    assert_eq!(write(&mut other, file_id), NtStatus::SUCCESS);
    assert_eq!(lease_break(&mut new).key, Guid([1; 16]));
}

#[test]
fn the_next_step_of_a_break_comes_after_the_answer_to_the_first() {
    let world = World::new();
    let (mut one, mut two) = (world.connected(), world.connected());
    open(&mut one, &with_lease("f", lease(1, RWH)));
    begin(&mut two, &with_oplock("f", OplockLevel::None));
    let mut overwrite = with_oplock("f", OplockLevel::None);
    overwrite.disposition = CreateDisposition::Overwrite;
    begin(&mut two, &overwrite);
    assert_eq!(lease_break(&mut one).new, RH);
    assert_eq!(
        acknowledge(&mut one, 1, RH),
        Ok(RH),
        "the answer comes first"
    );
    let next = lease_break(&mut one);
    assert_eq!((next.current, next.new, next.flags), (RH, R, 1));
    assert_eq!(acknowledge(&mut one, 1, R), Ok(R));
    let last = lease_break(&mut one);
    assert_eq!((last.current, last.new, last.flags), (R, NONE, 0));
}

#[test]
fn leases_need_their_dialect_and_their_level() {
    use crate::wire::negotiate::Dialect;
    let world = World::new();
    let mut client = world.connected();
    let mut request = with_lease("f", lease(1, RWH));
    request.oplock = OplockLevel::None;
    assert!(open(&mut client, &request).lease.is_none());
    let without = open(&mut client, &with_oplock("f", OplockLevel::Lease));
    assert_eq!(without.level, OplockLevel::None);
    for (dialect, v1, v2) in [
        (Dialect::Smb202, false, false),
        (Dialect::Smb210, true, false),
        (Dialect::Smb300, true, true),
    ] {
        let world = World::new();
        let mut client = world.client();
        client.negotiate(&[dialect]);
        client
            .log_on(super::world::USER, super::world::PASSWORD)
            .unwrap();
        client.tree_connect("files").unwrap();
        let second = with_lease("b", lease(2, RWH));
        let first = with_lease(
            "a",
            Lease {
                v2: None,
                ..lease(1, RWH)
            },
        );
        assert_eq!(open(&mut client, &first).lease.is_some(), v1, "{dialect:?}");
        assert_eq!(
            open(&mut client, &second).lease.is_some(),
            v2,
            "{dialect:?}"
        );
    }
}

#[test]
fn a_directory_s_listing_is_leased_and_falls_with_it() {
    let world = World::new();
    let (mut one, mut two) = (world.connected(), world.connected());
    let mut directory = with_lease("d", lease(1, RWH));
    directory.options = CreateOptions::DIRECTORY_FILE;
    let held = open(&mut one, &directory);
    assert_eq!(held.lease.unwrap().state, RH);
    let own = Lease {
        flags: LeaseFlags::PARENT_LEASE_KEY_SET,
        v2: Some(LeaseV2 {
            parent_key: Guid([1; 16]),
            epoch: 0,
        }),
        ..lease(2, RWH)
    };
    let child = open(&mut one, &with_lease("d\\own", own)).lease.unwrap();
    assert_eq!(
        (child.flags, child.v2.unwrap().parent_key),
        (own.flags, Guid([1; 16]))
    );
    assert!(one.answer().is_none(), "its own change");
    two.create("d\\other");
    let notice = lease_break(&mut one);
    assert_eq!((notice.current, notice.new, notice.flags), (RH, NONE, 1));
}

#[test]
fn breaks_are_encrypted_where_the_share_is() {
    let world = World::new();
    let connect = || {
        let mut client = world.signed_in();
        client.encrypts = true;
        client.tree_connect("secret").unwrap();
        client
    };
    let (mut one, mut two) = (connect(), connect());
    open(&mut one, &with_oplock("f", OplockLevel::Batch));
    begin(&mut two, &with_oplock("f", OplockLevel::None));
    assert!(notified(&mut one).encrypted);
}

#[test]
fn links_of_closed_opens_are_forgotten() {
    let world = World::new();
    let mut client = world.connected();
    let kept = open(&mut client, &with_lease("f", lease(1, RH)));
    for _ in 0..3 {
        let more = open(&mut client, &with_lease("f", lease(1, RH)));
        client.close(more.file_id);
    }
    let session = world.server.find_session(client.session_id).unwrap();
    let open = session.open(kept.file_id).unwrap();
    let file = crate::server::request::file_of(&open).unwrap();
    assert_eq!(file.holder.as_ref().unwrap().links(), 1);
}
