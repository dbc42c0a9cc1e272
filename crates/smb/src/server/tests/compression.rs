//! Compressed requests and answers.

use super::client::Client;
use super::world::{PASSWORD, USER, World};
use crate::compress::{self, Form};
use crate::server::Disconnect;
use crate::wire::negotiate::{Dialect, NegotiateResponse};
use crate::wire::negotiate_context::{CompressionAlgorithm, NegotiateContext};
use crate::wire::read::{ReadFlags, ReadRequest, ReadResponse};
use crate::wire::write::{WriteFlags, WriteRequest};
use crate::wire::{Command, FileId, NtStatus};

const ALL: [CompressionAlgorithm; 4] = [
    CompressionAlgorithm::PatternV1,
    CompressionAlgorithm::Lz77,
    CompressionAlgorithm::Lz77Huffman,
    CompressionAlgorithm::Lznt1,
];

fn negotiate(client: &mut Client, chained: bool, algorithms: &[CompressionAlgorithm]) -> NtStatus {
    let mut request = Client::negotiate_request(&[Dialect::Smb311]);
    request.contexts.push(NegotiateContext::Compression {
        flags: u32::from(chained),
        algorithms: algorithms.to_vec(),
    });
    client.negotiate_with(&request).status()
}

fn connected(world: &World, chained: bool) -> Client {
    let mut client = world.client();
    assert_eq!(negotiate(&mut client, chained, &ALL), NtStatus::SUCCESS);
    client.log_on(USER, PASSWORD).unwrap();
    client.tree_connect("files").unwrap();
    client
}

fn text() -> Vec<u8> {
    let mut bytes = b"the same words over and over, ".repeat(1500);
    bytes.resize(60_000, 0);
    bytes
}

fn write_message(client: &mut Client, file_id: FileId, data: &[u8]) -> Vec<u8> {
    let request = WriteRequest {
        offset: 0,
        file_id,
        channel: 0,
        remaining_bytes: 0,
        channel_info: &[],
        flags: WriteFlags::NONE,
        data,
    };
    let mut message = client.message(Command::Write, &request);
    client.keys.as_ref().unwrap().signing.sign(&mut message);
    message
}

fn read(client: &mut Client, file_id: FileId, flags: ReadFlags) -> Vec<u8> {
    let request = ReadRequest {
        padding: 0,
        flags,
        length: 60_000,
        offset: 0,
        file_id,
        minimum_count: 0,
        channel: 0,
        remaining_bytes: 0,
        channel_info: &[],
    };
    let answer = client.ask(Command::Read, &request);
    assert!(answer.signed || answer.encrypted);
    answer.decode::<ReadResponse<'_>>().data.to_vec()
}

#[test]
fn compressed_writes_are_stored_and_answers_are_compressed_when_asked() {
    for chained in [false, true] {
        let world = World::new();
        let mut client = connected(&world, chained);
        let form = client.form.clone().unwrap();
        assert_eq!(form.chained, chained);
        let file = client.create("f");
        let message = write_message(&mut client, file, &text());
        let frame = compress::compress(&form, &message, 112).unwrap();
        assert!(frame.len() < 10_000);
        client.deliver(&frame).unwrap();
        assert_eq!(client.wait().status(), NtStatus::SUCCESS);
        assert!(read(&mut client, file, ReadFlags::NONE) == text());
        assert_eq!(client.compressed, 0);
        assert!(read(&mut client, file, ReadFlags::COMPRESSED) == text());
        assert_eq!(client.compressed, 1);
        client.encrypts = true;
        assert!(read(&mut client, file, ReadFlags::COMPRESSED) == text());
        assert_eq!(client.compressed, 2);
    }
}

#[test]
fn a_message_is_compressed_first_and_encrypted_then() {
    let world = World::new();
    let mut client = connected(&world, true);
    let file = client.create("f");
    let form = client.form.clone().unwrap();
    let message = write_message(&mut client, file, &text());
    let frame = compress::compress(&form, &message, 112).unwrap();
    client.encrypts = true;
    client.send(frame).unwrap();
    assert_eq!(client.wait().status(), NtStatus::SUCCESS);
    assert!(read(&mut client, file, ReadFlags::NONE) == text());
}

#[test]
fn what_is_not_well_formed_ends_the_connection() {
    let world = World::new();
    let form = Form {
        chained: true,
        algorithms: ALL.to_vec(),
    };
    let mut client = connected(&world, true);
    let file = client.create("f");
    let message = write_message(&mut client, file, &text());
    let frame = compress::compress(&form, &message, 112).unwrap();
    let cut = client.deliver(&frame[..frame.len() - 9]);
    assert_eq!(cut, Err(Disconnect::Malformed));
    // Neither SMB1 nor another compressed or encrypted frame may be inside.
    for magic in [b"\xffSMB", b"\xfcSMB", b"\xfdSMB"] {
        let mut client = connected(&world, true);
        let mut inner = message.clone();
        inner[..4].copy_from_slice(magic);
        let frame = compress::compress(&form, &inner, 112).unwrap();
        assert_eq!(client.deliver(&frame), Err(Disconnect::Malformed));
    }
}

#[test]
fn nothing_compressed_is_taken_where_nothing_was_agreed_on() {
    let world = World::new();
    let form = Form {
        chained: true,
        algorithms: ALL.to_vec(),
    };
    let mut client = world.connected();
    let file = client.create("f");
    let message = write_message(&mut client, file, &text());
    let frame = compress::compress(&form, &message, 112).unwrap();
    assert_eq!(client.deliver(&frame), Err(Disconnect::Malformed));
    let mut fresh = world.client();
    assert_eq!(fresh.deliver(&frame), Err(Disconnect::Negotiation));
}

#[test]
fn the_answer_names_what_both_know() {
    let agreed = |world: &World, chained, offered: &[CompressionAlgorithm]| {
        let mut client = world.client();
        let mut request = Client::negotiate_request(&[Dialect::Smb311]);
        request.contexts.push(NegotiateContext::Compression {
            flags: u32::from(chained),
            algorithms: offered.to_vec(),
        });
        let answer = client.negotiate_with(&request);
        let response: NegotiateResponse<'_> = answer.decode();
        let found = response.contexts.into_iter().find_map(|context| {
            let NegotiateContext::Compression { flags, algorithms } = context else {
                return None;
            };
            Some((flags, algorithms))
        });
        found.unwrap()
    };
    use CompressionAlgorithm::{Lz4, Lz77, Lznt1, PatternV1, Unknown};
    let world = World::new();
    assert_eq!(
        agreed(&world, true, &[Lz4, Unknown(9), PatternV1, Lznt1]),
        (1, vec![Lz4, PatternV1, Lznt1])
    );
    assert_eq!(agreed(&world, false, &[PatternV1, Lz77]), (0, vec![Lz77]));
    assert_eq!(
        agreed(&world, true, &[Unknown(9)]),
        (0, vec![CompressionAlgorithm::None])
    );
    let off = World::with(|config| config.compression = false);
    assert_eq!(
        agreed(&off, true, &[Lz77]),
        (0, vec![CompressionAlgorithm::None])
    );
    let mut client = world.client();
    assert_eq!(
        negotiate(&mut client, true, &[]),
        NtStatus::INVALID_PARAMETER
    );
}
