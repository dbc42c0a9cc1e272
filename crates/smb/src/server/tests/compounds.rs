//! Several requests in one frame.

use super::client::Client;
use super::world::World;
use crate::server::Disconnect;
use crate::wire::close::{CloseFlags, CloseRequest, CloseResponse, FlushRequest};
use crate::wire::create::{CreateDisposition, CreateRequest};
use crate::wire::info::{Buffer, InfoType, QueryInfoFlags, QueryInfoRequest};
use crate::wire::simple::Empty;
use crate::wire::{Codec, Command, FileId, NtStatus};

const STANDARD: u8 = 5;

fn close(flags: CloseFlags) -> CloseRequest {
    CloseRequest {
        flags,
        file_id: FileId::ANY,
    }
}

fn query() -> QueryInfoRequest<'static> {
    QueryInfoRequest {
        info_type: InfoType::File,
        class: STANDARD,
        output_buffer_length: 24,
        additional_information: 0,
        flags: QueryInfoFlags::NONE,
        file_id: FileId::ANY,
        input: &[],
    }
}

#[test]
fn create_query_and_close_share_a_frame() {
    let world = World::new();
    let mut client = world.connected();
    let messages = [
        client.message(Command::Create, &Client::create_request("a.txt")),
        client.message(Command::QueryInfo, &query()),
        client.message(Command::Close, &close(CloseFlags::POSTQUERY_ATTRIB)),
    ];
    client.send_related(&messages).unwrap();
    let answers: Vec<_> = std::iter::from_fn(|| client.answer()).collect();
    assert_eq!(answers.len(), 3);
    assert!(
        answers
            .iter()
            .all(|one| one.status() == NtStatus::SUCCESS && one.signed)
    );
    assert_eq!(answers[1].decode::<Buffer<'_>>().data.len(), 24);
    let closed = CloseResponse::decode(&answers[2].body).unwrap();
    assert_eq!(closed.flags, CloseFlags::POSTQUERY_ATTRIB);
    assert_ne!(closed.created.0, 0);
    assert_eq!(world.server.status().opens, 0);
}

#[test]
fn requests_behind_a_failed_create_fail_as_it_did() {
    let world = World::new();
    let mut client = world.connected();
    let open = CreateRequest {
        disposition: CreateDisposition::Open,
        ..Client::create_request("absent")
    };
    let messages = [
        client.message(Command::Create, &open),
        client.message(Command::QueryInfo, &query()),
        client.message(Command::Close, &close(CloseFlags::NONE)),
    ];
    client.send_related(&messages).unwrap();
    for _ in 0..3 {
        assert_eq!(
            client.answer().unwrap().status(),
            NtStatus::OBJECT_NAME_NOT_FOUND
        );
    }
}

#[test]
fn a_flush_that_waits_takes_the_rest_of_the_frame_along() {
    let world = World::new();
    let mut client = world.connected();
    let messages = [
        client.message(Command::Create, &Client::create_request("b.txt")),
        client.message(
            Command::Flush,
            &FlushRequest {
                reserved1: 0,
                file_id: FileId::ANY,
            },
        ),
        client.message(Command::Close, &close(CloseFlags::NONE)),
    ];
    client.send_related(&messages).unwrap();
    for command in [Command::Create, Command::Flush, Command::Close] {
        let answer = client.wait();
        assert_eq!(
            (answer.header.command, answer.status()),
            (command, NtStatus::SUCCESS)
        );
    }
}

#[test]
fn a_frame_cannot_begin_with_a_related_request() {
    let world = World::new();
    let mut client = world.connected();
    let mut message = client.message(Command::Close, &close(CloseFlags::NONE));
    message[16] |= 4;
    client.send(message).unwrap();
    assert_eq!(
        client.answer().unwrap().status(),
        NtStatus::INVALID_PARAMETER
    );
}

#[test]
fn too_many_requests_in_a_frame_end_the_connection() {
    let world = World::with(|config| config.limits.compound_requests = 4);
    let mut client = world.connected();
    let echoes: Vec<_> = (0..5)
        .map(|_| client.message(Command::Echo, &Empty))
        .collect();
    assert_eq!(
        client.send_related(&echoes),
        Err(Disconnect::TooManyRequests)
    );
}

#[test]
fn a_next_command_that_leads_nowhere_ends_the_connection() {
    let world = World::new();
    for next in [1_u32, 32, 68, 4096, u32::MAX] {
        let mut client = world.connected();
        let mut message = client.message(Command::Echo, &Empty);
        message[20..24].copy_from_slice(&next.to_le_bytes());
        assert_eq!(client.send(message), Err(Disconnect::Malformed), "{next}");
    }
}
