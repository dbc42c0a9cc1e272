//! Credits and bounds.

use super::client::Client;
use super::world::{PASSWORD, USER, World};
use crate::server::{Disconnect, Refused};
use crate::wire::negotiate::Dialect;
use crate::wire::notify::{ChangeNotifyRequest, CompletionFilter, NotifyFlags};
use crate::wire::read::{ReadFlags, ReadRequest};
use crate::wire::simple::Empty;
use crate::wire::{Command, FileId, NtStatus};

#[test]
fn a_message_id_is_used_once() {
    let world = World::new();
    let mut client = world.signed_in();
    let message = client.message(Command::Echo, &Empty);
    client.send(message.clone()).unwrap();
    assert_eq!(client.answer().unwrap().status(), NtStatus::SUCCESS);
    assert_eq!(client.send(message), Err(Disconnect::Sequence));
}

#[test]
fn a_message_id_beyond_the_granted_ones_ends_the_connection() {
    let world = World::new();
    let mut client = world.signed_in();
    client.next_id += 100_000;
    let message = client.message(Command::Echo, &Empty);
    assert_eq!(client.send(message), Err(Disconnect::Sequence));
}

#[test]
fn a_client_never_holds_more_credits_than_allowed() {
    let world = World::with(|config| config.limits.credits = 32);
    let mut client = world.signed_in();
    let mut held: u16 = 0;
    for _ in 0..100 {
        let answer = client.ask(Command::Echo, &Empty);
        held = (held + answer.header.credits).saturating_sub(1);
        assert!(held <= 32);
    }
    // Leaving ids out uses the credits up.
    client.next_id += 33;
    let message = client.message(Command::Echo, &Empty);
    assert_eq!(client.send(message), Err(Disconnect::Sequence));
}

fn read(file_id: FileId, length: u32) -> ReadRequest<'static> {
    ReadRequest {
        padding: 0,
        flags: ReadFlags::NONE,
        length,
        offset: 0,
        file_id,
        minimum_count: 0,
        channel: 0,
        remaining_bytes: 0,
        channel_info: &[],
    }
}

#[test]
fn large_reads_must_be_paid_for() {
    let world = World::new();
    let mut client = world.connected();
    let file = client.create("f");
    let unpaid = client.ask(Command::Read, &read(file, 65_537));
    assert_eq!(unpaid.status(), NtStatus::INVALID_PARAMETER);
    let paid = client.ask(Command::Read, &read(file, 65_536));
    assert_eq!(paid.status(), NtStatus::END_OF_FILE);
}

#[test]
fn connections_beyond_the_limit_are_refused() {
    let world = World::with(|config| config.limits.connections = 2);
    let (_one, _two) = (world.client(), world.client());
    let refused = world.server.connect("192.0.2.1:1".parse().unwrap());
    assert_eq!(refused.err(), Some(Refused::TooManyConnections));
}

#[test]
fn sessions_beyond_the_limit_are_refused() {
    let world = World::with(|config| config.limits.sessions_per_connection = 1);
    let mut client = world.client();
    client.negotiate(&[Dialect::Smb210]);
    client.log_on(USER, PASSWORD).unwrap();
    client.session_id.0 = 0;
    client.keys = None;
    assert_eq!(
        client.log_on(USER, PASSWORD),
        Err(NtStatus::REQUEST_NOT_ACCEPTED)
    );
}

#[test]
fn trees_and_opens_beyond_the_limit_are_refused() {
    let world = World::with(|config| {
        config.limits.trees_per_session = 2;
        config.limits.opens_per_session = 2;
    });
    let mut client = world.connected();
    client.tree_connect("files").unwrap();
    let third = client.tree_connect("files").unwrap_err();
    assert_eq!(third, NtStatus::INSUFFICIENT_RESOURCES);
    let first = client.create("a");
    client.create("b");
    let refused = client.try_create(&Client::create_request("c"));
    assert_eq!(refused, Err(NtStatus::TOO_MANY_OPENED_FILES));
    client.close(first);
    client.create("c");
}

#[test]
fn waits_beyond_the_limit_are_refused() {
    let world = World::with(|config| config.limits.waiting_per_connection = 1);
    let mut client = world.connected();
    let file_id = client.open_directory("d");
    let watch = ChangeNotifyRequest {
        flags: NotifyFlags::NONE,
        output_buffer_length: 4096,
        file_id,
        filter: CompletionFilter::FILE_NAME,
    };
    assert_eq!(
        client.ask(Command::ChangeNotify, &watch).status(),
        NtStatus::PENDING
    );
    let second = client.ask(Command::ChangeNotify, &watch);
    assert_eq!(second.status(), NtStatus::INSUFFICIENT_RESOURCES);
}
