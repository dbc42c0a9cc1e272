//! Handles that outlive the server.

use std::time::Duration;

use super::caching::{lease, open, opened, with_lease, with_oplock};
use super::client::{Answer, Client};
use super::durable::{asking, coming_back};
use super::world::{PASSWORD, USER, World};
use crate::wire::create::{
    CreateAction, CreateDisposition, CreateRequest, CreateResponse, OplockLevel, ShareAccess,
};
use crate::wire::create_context::{
    DURABLE_FLAG_PERSISTENT, LeaseState, RequestContext, ResponseContext,
};
use crate::wire::header::HeaderFlags;
use crate::wire::lock::{LockElement, LockFlags, LockRequest};
use crate::wire::negotiate::{Capabilities, Dialect};
use crate::wire::tree::{ShareCapabilities, TreeConnectResponse};
use crate::wire::write::{WriteFlags, WriteRequest};
use crate::wire::{Command, FileId, Guid, NtStatus};

const RWH: LeaseState = LeaseState(7);

fn connected(world: &World) -> Client {
    let mut client = world.client();
    let mut request = Client::negotiate_request(&[Dialect::Smb311]);
    request.capabilities |= Capabilities::PERSISTENT_HANDLES;
    client.negotiate_with(&request);
    client.log_on(USER, PASSWORD).unwrap();
    client.tree_connect("kept").unwrap();
    client
}

fn lasting(request: CreateRequest<'static>, guid: u8) -> CreateRequest<'static> {
    asking(request, guid, DURABLE_FLAG_PERSISTENT)
}

fn back(request: CreateRequest<'static>, file_id: FileId, guid: u8) -> CreateRequest<'static> {
    coming_back(request, file_id, guid, DURABLE_FLAG_PERSISTENT)
}

/// The flags of the durable context in an answer.
fn flags(answer: &Answer) -> Option<u32> {
    let response: CreateResponse<'_> = answer.decode();
    let mut contexts = response.contexts.responses();
    contexts.find_map(|context| {
        let ResponseContext::DurableV2 { flags, .. } = context.unwrap() else {
            return None;
        };
        Some(flags)
    })
}

fn existing(name: &str) -> CreateRequest<'static> {
    CreateRequest {
        disposition: CreateDisposition::Open,
        ..with_oplock(name, OplockLevel::None)
    }
}

fn lock(client: &mut Client, file_id: FileId, sequence: (u32, u8), flags: LockFlags) -> NtStatus {
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

fn write(client: &mut Client, file_id: FileId, data: &[u8]) -> NtStatus {
    let request = WriteRequest {
        offset: 0,
        file_id,
        channel: 0,
        remaining_bytes: 0,
        channel_info: &[],
        flags: WriteFlags::NONE,
        data,
    };
    client.ask(Command::Write, &request).status()
}

fn refusal(client: &mut Client, request: &CreateRequest<'_>) -> NtStatus {
    client.ask(Command::Create, request).status()
}

#[test]
fn persistence_needs_a_share_that_offers_it_and_a_client_that_knows_it() {
    let world = World::new();
    let mut client = connected(&world);
    let plain = client.ask(Command::Create, &lasting(existing_or_new("a"), 1));
    assert_eq!(
        flags(&plain),
        Some(DURABLE_FLAG_PERSISTENT),
        "without any oplock"
    );
    let answer = client.tree_connect("files").unwrap();
    let files: TreeConnectResponse = answer.decode();
    assert_eq!(files.capabilities, ShareCapabilities::NONE);
    let request = lasting(with_oplock("a", OplockLevel::Batch), 2);
    let elsewhere = client.ask(Command::Create, &request);
    assert_eq!(flags(&elsewhere), Some(0), "durable only");
    let mut simple = world.elsewhere("kept");
    let request = lasting(with_oplock("b", OplockLevel::Batch), 1);
    let answer = simple.ask(Command::Create, &request);
    assert_eq!(
        flags(&answer),
        Some(0),
        "the client never said that it knows"
    );
    let answer = simple.tree_connect("kept").unwrap();
    let kept: TreeConnectResponse = answer.decode();
    assert_eq!(
        kept.capabilities,
        ShareCapabilities::CONTINUOUS_AVAILABILITY
    );
}

fn existing_or_new(name: &str) -> CreateRequest<'static> {
    with_oplock(name, OplockLevel::None)
}

#[test]
fn a_handle_with_its_lock_and_its_lease_is_there_after_a_power_cut() {
    let world = World::new();
    let mut client = connected(&world);
    let exclusive = LockFlags::EXCLUSIVE | LockFlags::FAIL_IMMEDIATELY;
    let mut request = lasting(with_lease("f", lease(1, RWH)), 7);
    request.share_access = ShareAccess::READ;
    let first = open(&mut client, &request);
    assert_eq!(
        write(&mut client, first.file_id, b"kept"),
        NtStatus::SUCCESS
    );
    assert_eq!(
        lock(&mut client, first.file_id, (1, 5), exclusive),
        NtStatus::SUCCESS
    );
    std::mem::forget(client);
    let world = world.power_fails();
    assert_eq!(world.server.status().waiting_opens, 1);
    let mut other = world.elsewhere("kept");
    assert_eq!(
        refusal(&mut other, &existing("f")),
        NtStatus::FILE_NOT_AVAILABLE
    );
    let mut client = connected(&world);
    let again = client.ask(
        Command::Create,
        &back(with_lease("f", lease(1, RWH)), first.file_id, 7),
    );
    let again = opened(&again);
    assert_eq!(again.file_id.persistent, first.file_id.persistent);
    let kept = again.lease.unwrap();
    assert_eq!(kept.state, RWH);
    assert!(kept.v2.unwrap().epoch > first.lease.unwrap().v2.unwrap().epoch);
    assert_eq!(
        lock(&mut client, again.file_id, (1, 5), exclusive),
        NtStatus::SUCCESS,
        "the same request, sent again"
    );
    assert_eq!(
        lock(&mut client, again.file_id, (2, 1), exclusive),
        NtStatus::LOCK_NOT_GRANTED,
        "another one"
    );
    assert_eq!(
        lock(&mut client, again.file_id, (2, 2), LockFlags::UNLOCK),
        NtStatus::SUCCESS
    );
    assert_eq!(
        lock(&mut client, again.file_id, (3, 1), exclusive),
        NtStatus::SUCCESS
    );
    assert_eq!(client.close(again.file_id), NtStatus::SUCCESS);
    assert_eq!(refusal(&mut other, &existing("f")), NtStatus::SUCCESS);
    let world = world.power_fails();
    assert_eq!(world.server.status().waiting_opens, 0, "it was closed");
}

#[test]
fn a_handle_that_nobody_comes_back_to_goes_in_time() {
    let world = World::new();
    let mut client = connected(&world);
    let mut request = lasting(with_oplock("f", OplockLevel::Batch), 1);
    request.share_access = ShareAccess::NONE;
    open(&mut client, &request);
    std::mem::forget(client);
    let world = world.power_fails();
    let mut other = world.elsewhere("kept");
    world.env.advance(Duration::from_secs(58));
    assert_eq!(
        refusal(&mut other, &existing("f")),
        NtStatus::FILE_NOT_AVAILABLE
    );
    world.env.advance(Duration::from_secs(4));
    assert_eq!(refusal(&mut other, &existing("f")), NtStatus::SUCCESS);
    let world = world.power_fails();
    assert_eq!(world.server.status().waiting_opens, 0);
}

#[test]
fn a_client_that_lost_its_connection_only_is_not_asked_to_give_anything_up() {
    let world = World::new();
    let mut client = connected(&world);
    let first = open(&mut client, &lasting(with_lease("f", lease(1, RWH)), 1));
    client.disconnect();
    let mut other = world.elsewhere("kept");
    assert_eq!(
        refusal(&mut other, &existing("f")),
        NtStatus::FILE_NOT_AVAILABLE
    );
    let mut client = connected(&world);
    let again = client.ask(
        Command::Create,
        &back(with_lease("f", lease(1, RWH)), first.file_id, 1),
    );
    assert_eq!(opened(&again).lease.unwrap().state, RWH);
}

#[test]
fn a_handle_goes_back_only_to_who_knows_what_it_is() {
    let world = World::new();
    let mut client = connected(&world);
    let first = open(&mut client, &lasting(existing_or_new("f"), 1));
    std::mem::forget(client);
    let world = world.power_fails();
    let mut client = connected(&world);
    let mut unaware = existing("f");
    unaware
        .contexts
        .push_request(&RequestContext::DurableReconnectV2 {
            file_id: first.file_id,
            create_guid: Guid([1; 16]),
            flags: 0,
        });
    for wrong in [back(existing("f"), first.file_id, 2), unaware] {
        assert_eq!(
            refusal(&mut client, &wrong),
            NtStatus::OBJECT_NAME_NOT_FOUND
        );
    }
    world.add_user("grace");
    let mut grace = world.client();
    grace.negotiate(&[Dialect::Smb311]);
    grace.log_on("grace", PASSWORD).unwrap();
    grace.tree_connect("kept").unwrap();
    let right = back(existing("f"), first.file_id, 1);
    assert_eq!(refusal(&mut grace, &right), NtStatus::ACCESS_DENIED);
    opened(&client.ask(Command::Create, &right));
}

#[test]
fn a_create_whose_answer_was_lost_with_the_server_is_replayed() {
    let world = World::new();
    let mut client = connected(&world);
    let mut request = lasting(existing_or_new("f"), 1);
    request.disposition = CreateDisposition::Create;
    let first = open(&mut client, &request);
    std::mem::forget(client);
    let world = world.power_fails();
    let mut client = connected(&world);
    assert_eq!(refusal(&mut client, &request), NtStatus::DUPLICATE_OBJECTID);
    let mut message = client.message(Command::Create, &request);
    let replayed = HeaderFlags::REPLAY_OPERATION.bits().to_le_bytes();
    message[16..20].copy_from_slice(&replayed);
    client.send(message).unwrap();
    let answer = client.wait();
    assert_eq!(opened(&answer).file_id.persistent, first.file_id.persistent);
    assert_eq!(flags(&answer), Some(DURABLE_FLAG_PERSISTENT));
    let response: CreateResponse<'_> = answer.decode();
    assert_eq!(response.action, CreateAction::Created);
}

#[test]
fn an_orderly_restart_keeps_handles_as_well() {
    let world = World::new();
    let mut client = connected(&world);
    let first = open(&mut client, &lasting(existing_or_new("f"), 1));
    let world = world.restarts();
    assert_eq!(world.server.status().waiting_opens, 1);
    let mut client = connected(&world);
    opened(&client.ask(Command::Create, &back(existing("f"), first.file_id, 1)));
}

#[test]
fn an_application_s_next_instance_takes_over_after_the_restart() {
    let world = World::new();
    let mut client = connected(&world);
    let app = |mut request: CreateRequest<'static>, low: u64| {
        let id = RequestContext::AppInstanceId(Guid([3; 16]));
        request.contexts.push_request(&id);
        let version = RequestContext::AppInstanceVersion { high: 1, low };
        request.contexts.push_request(&version);
        request.share_access = ShareAccess::NONE;
        request
    };
    open(&mut client, &app(lasting(existing_or_new("f"), 1), 5));
    std::mem::forget(client);
    let world = world.power_fails();
    let mut other = world.elsewhere("kept");
    let older = app(lasting(existing_or_new("f"), 2), 4);
    assert_eq!(refusal(&mut other, &older), NtStatus::FILE_FORCED_CLOSED);
    let newer = app(lasting(existing_or_new("f"), 3), 6);
    opened(&other.ask(Command::Create, &newer));
    assert_eq!(world.server.status().waiting_opens, 0);
}

#[test]
fn what_a_share_answers_that_is_continuously_available_survives() {
    let world = World::new();
    let mut client = connected(&world);
    let file_id = client.create("plain");
    assert_eq!(client.close(file_id), NtStatus::SUCCESS);
    std::mem::forget(client);
    let world = world.power_fails();
    let mut client = connected(&world);
    assert_eq!(refusal(&mut client, &existing("plain")), NtStatus::SUCCESS);
}
