//! Credits and bounds.

use super::client::Client;
use super::world::{PASSWORD, USER, World};
use crate::server::{Disconnect, Refused};
use crate::wire::close::{CloseFlags, CloseRequest};
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

#[test]
fn watches_beyond_the_limit_of_a_session_are_refused_and_others_have_theirs() {
    let world = World::with(|config| config.limits.watches_per_session = 2);
    let (mut greedy, mut other) = (world.connected(), world.connected());
    let watch = |client: &mut Client, name: &str| {
        let file_id = client.open_directory(name);
        let watch = ChangeNotifyRequest {
            flags: NotifyFlags::NONE,
            output_buffer_length: 4096,
            file_id,
            filter: CompletionFilter::FILE_NAME,
        };
        (file_id, client.ask(Command::ChangeNotify, &watch).status())
    };
    let (first, status) = watch(&mut greedy, "a");
    assert_eq!(status, NtStatus::PENDING);
    assert_eq!(watch(&mut greedy, "b").1, NtStatus::PENDING);
    assert_eq!(watch(&mut greedy, "c").1, NtStatus::INSUFFICIENT_RESOURCES);
    assert_eq!(watch(&mut other, "c").1, NtStatus::PENDING);
    let message = greedy.message(Command::Close, &close(first));
    greedy.send(message).unwrap();
    // The waiting request ends as well.
    let mut ends = vec![greedy.wait().status(), greedy.wait().status()];
    ends.sort_unstable_by_key(|status| status.0);
    assert_eq!(ends, [NtStatus::SUCCESS, NtStatus::NOTIFY_CLEANUP]);
    assert_eq!(watch(&mut greedy, "c").1, NtStatus::PENDING);
}

fn close(file_id: FileId) -> CloseRequest {
    CloseRequest {
        flags: CloseFlags::NONE,
        file_id,
    }
}

#[test]
fn notices_that_nobody_fetches_are_bounded_for_each_session() {
    let world = World::with(|config| config.limits.notify_bytes_per_session = 1000);
    let (mut lazy, mut other) = (world.connected(), world.connected());
    let notify = |client: &mut Client, file_id| {
        let watch = ChangeNotifyRequest {
            flags: NotifyFlags::NONE,
            output_buffer_length: 65_536,
            file_id,
            filter: CompletionFilter::FILE_NAME,
        };
        client.ask(Command::ChangeNotify, &watch).status()
    };
    let folder = lazy.open_directory("d");
    assert_eq!(notify(&mut lazy, folder), NtStatus::PENDING);
    let seen = other.open_directory("d");
    assert_eq!(notify(&mut other, seen), NtStatus::PENDING);
    let mut writer = world.connected();
    for n in 0..100 {
        writer.create(&format!("d\\file-{n}"));
        while other.answer().is_some() {
            // Who fetches hears of everything.
            assert_eq!(notify(&mut other, seen), NtStatus::PENDING);
        }
    }
    assert_eq!(lazy.wait().status(), NtStatus::SUCCESS);
    assert_eq!(notify(&mut lazy, folder), NtStatus::NOTIFY_ENUM_DIR);
    assert_eq!(notify(&mut lazy, folder), NtStatus::PENDING);
}

#[test]
fn opens_beyond_the_limit_of_the_server_are_refused() {
    let world = World::with(|config| config.limits.opens = 3);
    let (mut one, mut two) = (world.connected(), world.connected());
    let first = one.create("a");
    one.create("b");
    two.create("c");
    let refused = two.try_create(&Client::create_request("d"));
    assert_eq!(refused, Err(NtStatus::INSUFF_SERVER_RESOURCES));
    one.close(first);
    two.create("d");
    two.disconnect();
    one.create("e");
    one.create("f");
}
