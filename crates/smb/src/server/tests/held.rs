//! What one client can make the server hold.

use super::client::Client;
use super::world::World;
use crate::server::open::Open;
use crate::wire::lock::{LockElement, LockFlags, LockRequest};
use crate::wire::notify::{ChangeNotifyRequest, CompletionFilter, NotifyFlags};
use crate::wire::read::{ReadFlags, ReadRequest, ReadResponse};
use crate::wire::simple::Empty;
use crate::wire::write::{WriteFlags, WriteRequest};
use crate::wire::{Codec, Command, FileId, NtStatus};

const MIB: usize = 1 << 20;

/// A message that pays for `charge` times 64 KiB and asks for many credits.
fn paid<'a>(client: &mut Client, command: Command, body: &impl Codec<'a>, charge: u16) -> Vec<u8> {
    let mut message = client.message(command, body);
    client.next_id += u64::from(charge) - 1;
    message[6..8].copy_from_slice(&charge.to_le_bytes());
    message[14..16].copy_from_slice(&4_000u16.to_le_bytes());
    message
}

fn rich(world: &World) -> Client {
    let mut client = world.connected();
    let echo = paid(&mut client, Command::Echo, &Empty, 1);
    client.send(echo).unwrap();
    client.wait();
    client
}

fn write(file_id: FileId, offset: u64, data: &[u8]) -> WriteRequest<'_> {
    WriteRequest {
        offset,
        file_id,
        channel: 0,
        remaining_bytes: 0,
        channel_info: &[],
        flags: WriteFlags::NONE,
        data,
    }
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
fn reads_of_one_frame_stop_where_their_answer_is_full() {
    let world = World::new();
    let mut client = rich(&world);
    let file = client.create("sparse");
    let end = write(file, 32 << 20, b"x");
    assert_eq!(client.ask(Command::Write, &end).status(), NtStatus::SUCCESS);
    let one = |client: &mut Client| paid(client, Command::Read, &read(file, 8 << 20), 128);
    let messages = [one(&mut client), one(&mut client), one(&mut client)];
    client.send_related(&messages).unwrap();
    let answers: Vec<_> = std::iter::from_fn(|| client.answer()).collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status()).collect();
    let full = NtStatus::INSUFFICIENT_RESOURCES;
    assert_eq!(statuses, [NtStatus::SUCCESS, full, full]);
    let data = answers[0].decode::<ReadResponse<'_>>().data;
    assert_eq!(data.len(), 8 * MIB);
    assert_eq!(
        client.ask(Command::Echo, &Empty).status(),
        NtStatus::SUCCESS
    );
}

#[test]
fn writes_that_wait_for_room_stop_the_reader_and_give_it_free_again() {
    let world = World::busy();
    let mut client = rich(&world);
    let file = client.create("f");
    let data = vec![7; 8 * MIB];
    let first = write(file, 0, &data[..8192]);
    assert_eq!(
        client.ask(Command::Write, &first).status(),
        NtStatus::SUCCESS
    );
    let mut sent = 0;
    while !client.is_full() {
        let request = write(file, sent << 23, &data);
        let message = paid(&mut client, Command::Write, &request, 128);
        client.send_at_once(message).unwrap();
        sent += 1;
        assert!(sent < 10, "waiting frames are counted");
    }
    assert_eq!(sent, 4);
    for _ in 0..sent {
        let mut answer = client.wait();
        while answer.status() == NtStatus::PENDING {
            answer = client.wait();
        }
        assert_eq!(answer.status(), NtStatus::SUCCESS);
    }
    assert!(!client.is_full());
}

fn waits_on<T>(world: &World, file: FileId, look: impl Fn(&Open) -> T) -> T {
    let sessions = world.server.all_sessions();
    let open = sessions.iter().find_map(|session| session.open(file));
    look(&open.unwrap())
}

#[test]
fn a_wait_that_is_refused_leaves_nothing_behind() {
    let world = World::new();
    let mut client = world.connected();
    let directory = client.open_directory("d");
    let watch = ChangeNotifyRequest {
        flags: NotifyFlags::NONE,
        output_buffer_length: 4096,
        file_id: directory,
        filter: CompletionFilter::FILE_NAME,
    };
    let messages = [
        client.message(Command::ChangeNotify, &watch),
        client.message(Command::Echo, &Empty),
    ];
    client.send_related(&messages).unwrap();
    assert_eq!(client.answer().unwrap().status(), NtStatus::INTERNAL_ERROR);
    client.answer().unwrap();
    assert_eq!(waits_on(&world, directory, |open| open.waits.len()), 0);

    let (mut other, locks) = (world.connected(), |file_id| LockRequest {
        sequence_number: 0,
        sequence_index: 0,
        file_id,
        locks: vec![LockElement {
            offset: 0,
            length: 10,
            flags: LockFlags::EXCLUSIVE,
        }],
    });
    let held = other.create("l");
    other.ask(Command::Lock, &locks(held));
    let file = client.create("l");
    let messages = [
        client.message(Command::Lock, &locks(file)),
        client.message(Command::Echo, &Empty),
    ];
    client.send_related(&messages).unwrap();
    assert_eq!(waits_on(&world, file, |open| open.waits.len()), 0);
}
