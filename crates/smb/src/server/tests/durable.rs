//! Handles that outlive their connection.

use std::time::Duration;

use super::caching::{lease, open, opened, with_lease, with_oplock};
use super::client::{Answer, Client};
use super::world::{PASSWORD, USER, World};
use crate::wire::create::{
    CreateAction, CreateDisposition, CreateRequest, CreateResponse, ImpersonationLevel, OplockLevel,
};
use crate::wire::create_context::{LeaseState, RequestContext, ResponseContext};
use crate::wire::header::HeaderFlags;
use crate::wire::lock::{LockElement, LockFlags, LockRequest};
use crate::wire::negotiate::Dialect;
use crate::wire::simple::Empty;
use crate::wire::write::{WriteFlags, WriteRequest};
use crate::wire::{Codec, Command, FileId, Guid, NtStatus};

const RWH: LeaseState = LeaseState(7);
const RH: LeaseState = LeaseState(3);

fn v1(mut request: CreateRequest<'static>) -> CreateRequest<'static> {
    let context = RequestContext::DurableRequest;
    request.contexts.push_request(&context);
    request
}

fn v2(request: CreateRequest<'static>, guid: u8) -> CreateRequest<'static> {
    asking(request, guid, 0)
}

pub(super) fn asking(
    mut request: CreateRequest<'static>,
    guid: u8,
    flags: u32,
) -> CreateRequest<'static> {
    request
        .contexts
        .push_request(&RequestContext::DurableRequestV2 {
            timeout_ms: 0,
            flags,
            create_guid: Guid([guid; 16]),
        });
    request
}

fn back_v1(mut request: CreateRequest<'static>, file_id: FileId) -> CreateRequest<'static> {
    let context = RequestContext::DurableReconnect(file_id);
    request.contexts.push_request(&context);
    request
}

fn back_v2(request: CreateRequest<'static>, file_id: FileId, guid: u8) -> CreateRequest<'static> {
    coming_back(request, file_id, guid, 0)
}

pub(super) fn coming_back(
    mut request: CreateRequest<'static>,
    file_id: FileId,
    guid: u8,
    flags: u32,
) -> CreateRequest<'static> {
    request
        .contexts
        .push_request(&RequestContext::DurableReconnectV2 {
            file_id,
            create_guid: Guid([guid; 16]),
            flags,
        });
    request
}

fn batch(name: &str) -> CreateRequest<'static> {
    with_oplock(name, OplockLevel::Batch)
}

/// The timeout of the durable context in an answer; zero for version 1.
fn durable(answer: &Answer) -> Option<u32> {
    let response: CreateResponse<'_> = answer.decode();
    response
        .contexts
        .responses()
        .find_map(|context| match context.unwrap() {
            ResponseContext::Durable => Some(0),
            ResponseContext::DurableV2 { timeout_ms, .. } => Some(timeout_ms),
            ResponseContext::MaximalAccess { .. }
            | ResponseContext::OnDiskId { .. }
            | ResponseContext::Lease(_)
            | ResponseContext::Aapl(_)
            | ResponseContext::AaplPath { .. }
            | ResponseContext::Posix(_)
            | ResponseContext::Unknown { .. } => None,
        })
}

fn write(client: &mut Client, file_id: FileId, sequence: u16) -> NtStatus {
    let request = WriteRequest {
        offset: 0,
        file_id,
        channel: 0,
        remaining_bytes: 0,
        channel_info: &[],
        flags: WriteFlags::NONE,
        data: b"x",
    };
    let mut message = client.message(Command::Write, &request);
    message[8..10].copy_from_slice(&sequence.to_le_bytes());
    client.send(message).unwrap();
    client.wait().status()
}

fn refusal(client: &mut Client, request: &CreateRequest<'_>) -> NtStatus {
    client.ask(Command::Create, request).status()
}

fn lock(client: &mut Client, file_id: FileId, sequence: (u32, u8)) -> NtStatus {
    let flags = LockFlags::EXCLUSIVE | LockFlags::FAIL_IMMEDIATELY;
    let request = LockRequest {
        sequence_number: sequence.1,
        sequence_index: sequence.0,
        file_id,
        locks: vec![LockElement {
            offset: 0,
            length: 10,
            flags,
        }],
    };
    client.ask(Command::Lock, &request).status()
}

#[test]
fn a_handle_comes_back_on_another_connection() {
    let world = World::new();
    let mut client = world.connected();
    let answer = client.ask(Command::Create, &v1(batch("f")));
    assert_eq!(durable(&answer), Some(0));
    let file_id = opened(&answer).file_id;
    assert_eq!(lock(&mut client, file_id, (0, 0)), NtStatus::SUCCESS);
    client.disconnect();
    assert_eq!(world.server.status().waiting_opens, 1);
    let mut client = world.connected();
    let mut back = back_v1(batch("ignored"), file_id);
    back.impersonation = ImpersonationLevel::Unknown(0x1234_5678);
    let answer = client.ask(Command::Create, &back);
    let back = opened(&answer);
    assert_eq!(back.level, OplockLevel::Batch);
    assert_eq!(back.file_id.persistent, file_id.persistent);
    assert_eq!(write(&mut client, back.file_id, 0), NtStatus::SUCCESS);
    let mut other = world.connected();
    assert_eq!(world.server.status().waiting_opens, 0);
    // It is durable still.
    client.disconnect();
    let answer = other.ask(Command::Create, &back_v1(batch(""), file_id));
    opened(&answer);
}

#[test]
fn only_batch_oplocks_and_leases_for_handles_last() {
    let world = World::new();
    let mut client = world.connected();
    for (level, lasts) in [
        (OplockLevel::None, false),
        (OplockLevel::LevelII, false),
        (OplockLevel::Exclusive, false),
        (OplockLevel::Batch, true),
    ] {
        let answer = client.ask(Command::Create, &v1(with_oplock("o", level)));
        assert_eq!(durable(&answer).is_some(), lasts, "{level:?}");
        client.close(opened(&answer).file_id);
    }
    for (state, lasts) in [
        (LeaseState(1), false),
        (LeaseState(5), false),
        (RH, true),
        (RWH, true),
    ] {
        let request = v2(with_lease("l", lease(1, state)), 1);
        let answer = client.ask(Command::Create, &request);
        assert_eq!(durable(&answer).is_some(), lasts, "{state:?}");
        client.close(opened(&answer).file_id);
    }
}

#[test]
fn a_handle_goes_back_to_who_had_it_and_by_what_it_had() {
    let world = World::new();
    let mut client = world.connected();
    let request = v2(with_lease("f", lease(1, RWH)), 7);
    let file_id = open(&mut client, &request).file_id;
    let mut again = world.connected();
    let good = back_v2(with_lease("f", lease(1, RWH)), file_id, 7);
    assert_eq!(
        refusal(&mut again, &good),
        NtStatus::OBJECT_NAME_NOT_FOUND,
        "in use"
    );
    client.disconnect();
    for wrong in [
        back_v2(with_lease("f", lease(1, RWH)), file_id, 8),
        back_v2(with_lease("f", lease(2, RWH)), file_id, 7),
        back_v2(batch("f"), file_id, 7),
        back_v2(
            with_lease("f", lease(1, RWH)),
            FileId {
                persistent: 3,
                ..file_id
            },
            7,
        ),
    ] {
        assert_eq!(refusal(&mut again, &wrong), NtStatus::OBJECT_NAME_NOT_FOUND);
    }
    let elsewhere = back_v2(with_lease("g", lease(1, RWH)), file_id, 7);
    assert_eq!(refusal(&mut again, &elsewhere), NtStatus::INVALID_PARAMETER);
    let mut stranger = world.elsewhere("files");
    assert_eq!(
        refusal(&mut stranger, &good),
        NtStatus::OBJECT_NAME_NOT_FOUND
    );
    let back = open(&mut again, &good);
    assert_eq!(back.lease.unwrap().state, RWH);
}

#[test]
fn the_two_versions_come_back_to_each_other_s_handles() {
    let world = World::new();
    let mut client = world.connected();
    let second = open(&mut client, &v2(batch("v2"), 7)).file_id;
    let first = open(&mut client, &v1(batch("v1"))).file_id;
    client.disconnect();
    let mut client = world.connected();
    let unnamed = back_v2(batch("v2"), second, 0);
    assert_eq!(
        refusal(&mut client, &unnamed),
        NtStatus::OBJECT_NAME_NOT_FOUND
    );
    open(&mut client, &back_v1(batch("v2"), second));
    open(&mut client, &back_v2(batch("v1"), first, 0));
}

#[test]
fn a_handle_whose_client_stays_away_is_closed() {
    let world = World::new();
    let mut client = world.connected();
    let answer = client.ask(Command::Create, &v2(batch("f"), 1));
    assert_eq!(durable(&answer), Some(60_000));
    let file_id = opened(&answer).file_id;
    client.disconnect();
    world.env.advance(Duration::from_secs(59));
    assert_eq!(world.server.status().waiting_opens, 1);
    world.env.advance(Duration::from_secs(3));
    assert_eq!(world.server.status().waiting_opens, 0);
    let mut client = world.connected();
    let late = back_v2(batch("f"), file_id, 1);
    assert_eq!(refusal(&mut client, &late), NtStatus::OBJECT_NAME_NOT_FOUND);
    // Nobody holds an oplock any more, and the create's name is free again.
    assert_eq!(
        open(&mut client, &v2(batch("f"), 1)).level,
        OplockLevel::Batch
    );
}

#[test]
fn a_break_ends_what_nobody_is_there_to_answer_for() {
    let world = World::new();
    let mut client = world.connected();
    let file_id = open(&mut client, &v1(batch("f"))).file_id;
    client.disconnect();
    let mut other = world.connected();
    let mut answer = other.ask(Command::Create, &batch("f"));
    // Whether the handle was closed before anybody looks depends on whose turn it was.
    if answer.status() == NtStatus::PENDING {
        answer = other.wait();
    }
    assert_eq!(opened(&answer).level, OplockLevel::Batch);
    assert_eq!(world.server.status().waiting_opens, 0);
    let late = back_v1(batch("f"), file_id);
    assert_eq!(refusal(&mut other, &late), NtStatus::OBJECT_NAME_NOT_FOUND);
}

#[test]
fn a_handle_whose_break_is_not_answered_does_not_outlive_its_connection() {
    let world = World::new();
    let (mut client, mut other) = (world.connected(), world.connected());
    open(&mut client, &v1(batch("f")));
    let message = other.message(Command::Create, &batch("f"));
    other.send(message).unwrap();
    assert_eq!(other.answer().unwrap().status(), NtStatus::PENDING);
    client.disconnect();
    assert_eq!(world.server.status().waiting_opens, 0);
    assert_eq!(opened(&other.wait()).level, OplockLevel::Batch);
}

#[test]
fn ranges_locked_without_the_right_to_cache_them_do_not_outlive_the_connection() {
    let world = World::new();
    for (state, lasts) in [(RH, 0), (RWH, 1)] {
        let mut client = world.connected();
        let file_id = open(&mut client, &v1(with_lease("f", lease(1, state)))).file_id;
        assert_eq!(lock(&mut client, file_id, (0, 0)), NtStatus::SUCCESS);
        client.disconnect();
        assert_eq!(world.server.status().waiting_opens, lasts);
    }
}

#[test]
fn logging_off_keeps_handles_and_disconnecting_the_tree_closes_them() {
    let world = World::new();
    let mut client = world.connected();
    open(&mut client, &v1(batch("closed")));
    assert_eq!(
        client.ask(Command::TreeDisconnect, &Empty).status(),
        NtStatus::SUCCESS
    );
    client.tree_connect("files").unwrap();
    let file_id = open(&mut client, &v1(batch("kept"))).file_id;
    assert_eq!(
        client.ask(Command::Logoff, &Empty).status(),
        NtStatus::SUCCESS
    );
    assert_eq!(world.server.status().waiting_opens, 1);
    let mut client = world.connected();
    open(&mut client, &back_v1(batch(""), file_id));
}

#[test]
fn a_client_whose_old_connection_lingers_takes_its_handles_along() {
    let world = World::new();
    let mut before = world.connected();
    let file_id = open(&mut before, &v1(batch("f"))).file_id;
    let mut after = world.client();
    after.negotiate(&[Dialect::Smb311]);
    after
        .log_on_after(USER, PASSWORD, before.session_id)
        .unwrap();
    after.tree_connect("files").unwrap();
    open(&mut after, &back_v1(batch(""), file_id));
}

#[test]
fn the_server_closes_what_waits_when_it_stops() {
    let world = World::new();
    let mut client = world.connected();
    open(&mut client, &v1(batch("f")));
    client.disconnect();
    world.env.block_on(world.server.shutdown());
    assert_eq!(world.server.status().waiting_opens, 0);
}

#[test]
fn no_more_handles_are_kept_than_the_limit_allows() {
    let world = World::with(|config| config.limits.durable_opens = 1);
    let mut client = world.connected();
    open(&mut client, &v1(batch("a")));
    open(&mut client, &v1(batch("b")));
    client.disconnect();
    assert_eq!(world.server.status().waiting_opens, 1);
}

#[test]
fn a_create_that_is_replayed_is_not_done_twice() {
    let world = World::new();
    let mut client = world.connected();
    let first = client.ask(Command::Create, &v2(batch("f"), 1));
    let twice = client.ask(Command::Create, &v2(batch("f"), 1));
    assert_eq!(twice.status(), NtStatus::DUPLICATE_OBJECTID);
    let replay = replay(&mut client, &v2(batch("f"), 1));
    assert_eq!(opened(&replay).file_id, opened(&first).file_id);
    assert_eq!(
        replay.decode::<CreateResponse<'_>>().action,
        CreateAction::Created
    );
    assert_eq!(durable(&replay), Some(60_000));
    client.close(opened(&first).file_id);
    open(&mut client, &v2(batch("f"), 1));
}

fn replay<'a>(client: &mut Client, body: &impl Codec<'a>) -> Answer {
    let mut message = client.message(Command::Create, body);
    let flags = HeaderFlags::REPLAY_OPERATION.bits().to_le_bytes();
    message[16..20].copy_from_slice(&flags);
    client.send(message).unwrap();
    client.wait()
}

#[test]
fn a_create_whose_open_was_used_is_not_replayed_but_done_anew() {
    let world = World::new();
    let mut client = world.connected();
    let first = open(&mut client, &v2(batch("f"), 1));
    assert_eq!(write(&mut client, first.file_id, 0), NtStatus::SUCCESS);
    let mut again = v2(with_oplock("g", OplockLevel::Batch), 1);
    again.disposition = CreateDisposition::Create;
    let answer = replay(&mut client, &again);
    assert_ne!(opened(&answer).file_id, first.file_id);
}

#[test]
fn a_create_that_is_not_durable_is_not_done_twice_either() {
    let world = World::new();
    let mut client = world.connected();
    let request = v2(with_oplock("f", OplockLevel::None), 1);
    let first = client.ask(Command::Create, &request);
    assert_eq!(durable(&first), None);
    let first = opened(&first);
    let twice = client.ask(Command::Create, &request);
    assert_eq!(twice.status(), NtStatus::DUPLICATE_OBJECTID);
    let again = opened(&replay(&mut client, &request));
    assert_eq!((again.file_id, again.level), (first.file_id, first.level));
    client.close(first.file_id);
    assert_ne!(open(&mut client, &request).file_id, first.file_id);
}

#[test]
fn a_replay_is_answered_with_the_oplock_that_it_asks_for() {
    let world = World::new();
    let mut client = world.connected();
    let first = open(&mut client, &v2(batch("f"), 1));
    let answer = replay(&mut client, &v2(with_oplock("f", OplockLevel::None), 1));
    let again = opened(&answer);
    assert_eq!(
        (again.file_id, again.level),
        (first.file_id, OplockLevel::None)
    );
    assert_eq!(durable(&answer), None);
}

#[test]
fn a_create_under_way_is_not_replayed() {
    let world = World::new();
    let (mut client, mut other) = (world.connected(), world.connected());
    open(&mut other, &batch("f"));
    let message = client.message(Command::Create, &v2(batch("f"), 1));
    client.send(message).unwrap();
    assert_eq!(client.answer().unwrap().status(), NtStatus::PENDING);
    let early = replay(&mut client, &v2(batch("f"), 1));
    assert_eq!(early.status(), NtStatus::FILE_NOT_AVAILABLE);
}

#[test]
fn a_create_whose_answer_was_lost_is_replayed_on_a_new_connection() {
    let world = World::new();
    let mut client = world.connected();
    let first = open(&mut client, &v2(batch("f"), 1));
    client.disconnect();
    let mut client = world.connected();
    let again = replay(&mut client, &v2(batch("f"), 1));
    assert_eq!(opened(&again).file_id.persistent, first.file_id.persistent);
    assert_eq!(
        again.decode::<CreateResponse<'_>>().action,
        CreateAction::Created
    );
}

#[test]
fn writes_from_before_a_failed_channel_are_refused() {
    let world = World::new();
    let mut client = world.connected();
    let file_id = client.create("f");
    assert_eq!(write(&mut client, file_id, 0), NtStatus::SUCCESS);
    assert_eq!(write(&mut client, file_id, 1), NtStatus::SUCCESS);
    assert_eq!(write(&mut client, file_id, 0), NtStatus::FILE_NOT_AVAILABLE);
}

#[test]
fn a_lock_request_that_is_repeated_is_not_carried_out_twice() {
    let world = World::new();
    let mut client = world.connected();
    let file_id = open(&mut client, &v2(batch("f"), 1)).file_id;
    assert_eq!(lock(&mut client, file_id, (1, 1)), NtStatus::SUCCESS);
    assert_eq!(lock(&mut client, file_id, (1, 1)), NtStatus::SUCCESS);
    assert_eq!(
        lock(&mut client, file_id, (1, 2)),
        NtStatus::LOCK_NOT_GRANTED
    );
}

#[test]
fn an_application_s_next_instance_takes_the_place_of_the_last() {
    let world = World::new();
    let app = |mut request: CreateRequest<'static>| {
        let context = RequestContext::AppInstanceId(Guid([3; 16]));
        request.contexts.push_request(&context);
        request
    };
    let mut first = world.connected();
    let file_id = open(&mut first, &app(v2(batch("f"), 1))).file_id;
    let mut second = world.elsewhere("files");
    let taken = open(&mut second, &app(v2(batch("f"), 2)));
    assert_eq!(taken.level, OplockLevel::Batch);
    assert!(first.answer().is_none(), "there was nothing to break");
    assert_eq!(first.close(file_id), NtStatus::FILE_CLOSED);
}

#[test]
fn handles_that_wait_for_a_user_who_is_gone_are_closed() {
    const OTHER: &str = "eve";
    let world = World::new();
    let mut client = world.signed_in_as(OTHER);
    client.tree_connect("files").unwrap();
    opened(&client.ask(Command::Create, &v1(batch("hers"))));
    client.disconnect();
    let mut client = world.connected();
    opened(&client.ask(Command::Create, &v1(batch("his"))));
    client.disconnect();
    assert_eq!(world.server.status().waiting_opens, 2);
    world.server.identity.set_disabled(OTHER, true).unwrap();
    world.env.block_on(world.server.apply_changes());
    assert_eq!(world.server.status().waiting_opens, 1);
    world.server.vfs.remove_share("files").unwrap();
    world.env.block_on(world.server.apply_changes());
    assert_eq!(world.server.status().waiting_opens, 0);
}
