//! Requests that wait: interim answers, cancelling, and what ends a wait.

use super::client::{Answer, Client};
use super::world::World;
use crate::wire::fscc::notify::{NotifyAction, NotifyEntry};
use crate::wire::header::Header;
use crate::wire::info::Buffer;
use crate::wire::lock::{LockElement, LockFlags, LockRequest};
use crate::wire::notify::{ChangeNotifyRequest, CompletionFilter, NotifyFlags};
use crate::wire::simple::Empty;
use crate::wire::{Codec, Command, FileId, MessageId, NtStatus, Route};

fn watch(file_id: FileId) -> ChangeNotifyRequest {
    ChangeNotifyRequest {
        flags: NotifyFlags::NONE,
        output_buffer_length: 4096,
        file_id,
        filter: CompletionFilter::FILE_NAME,
    }
}

fn lock(file_id: FileId, flags: LockFlags) -> LockRequest {
    let locks = vec![LockElement {
        offset: 0,
        length: 10,
        flags,
    }];
    LockRequest {
        sequence_number: 0,
        sequence_index: 0,
        file_id,
        locks,
    }
}

/// Sends a request that must wait; its interim answer and its message id.
fn wait_for<'a>(client: &mut Client, command: Command, body: &impl Codec<'a>) -> (Answer, u64) {
    let id = client.next_id;
    let message = client.message(command, body);
    client.send(message).unwrap();
    let interim = client.answer().unwrap();
    assert_eq!(interim.status(), NtStatus::PENDING);
    assert!(matches!(interim.header.route, Route::Async { .. }));
    (interim, id)
}

fn cancel(client: &mut Client, interim: &Answer, id: u64) {
    let mut header = client.header(Command::Cancel);
    header.message_id = MessageId(id);
    header.route = interim.header.route;
    header.credits = 0;
    let mut message = Vec::new();
    Header::encode(&header, &mut message);
    Empty.encode(&mut message);
    client.send(message).unwrap();
}

#[test]
fn a_change_answers_the_notify() {
    let world = World::new();
    let mut client = world.connected();
    let directory = client.open_directory("d");
    let (interim, _) = wait_for(&mut client, Command::ChangeNotify, &watch(directory));
    assert!(interim.header.credits > 0);
    let file = client.create("d\\new.txt");
    let answer = client.answer().unwrap();
    assert_eq!(answer.status(), NtStatus::SUCCESS);
    assert_eq!(
        (answer.header.route, answer.header.credits),
        (interim.header.route, 0)
    );
    let entries = NotifyEntry::decode_list(answer.decode::<Buffer<'_>>().data).unwrap();
    let added = NotifyEntry {
        action: NotifyAction::Added,
        name: "new.txt".to_owned(),
    };
    assert_eq!(entries, [added]);
    client.close(file);
}

#[test]
fn a_notify_can_be_cancelled() {
    let world = World::new();
    let mut client = world.connected();
    let directory = client.open_directory("d");
    let (interim, id) = wait_for(&mut client, Command::ChangeNotify, &watch(directory));
    cancel(&mut client, &interim, id);
    assert_eq!(client.answer().unwrap().status(), NtStatus::CANCELLED);
    assert_eq!(client.close(directory), NtStatus::SUCCESS);
}

#[test]
fn closing_the_directory_ends_the_notify() {
    let world = World::new();
    let mut client = world.connected();
    let directory = client.open_directory("d");
    wait_for(&mut client, Command::ChangeNotify, &watch(directory));
    let statuses = [client.close(directory), client.wait().status()];
    assert!(statuses.contains(&NtStatus::SUCCESS));
    assert!(statuses.contains(&NtStatus::NOTIFY_CLEANUP));
}

#[test]
fn a_lock_waits_for_the_other_to_go() {
    let world = World::new();
    let (mut one, mut two) = (world.connected(), world.connected());
    let (first, second) = (one.create("l"), two.create("l"));
    let answer = one.ask(Command::Lock, &lock(first, LockFlags::EXCLUSIVE));
    assert_eq!(answer.status(), NtStatus::SUCCESS);
    let now = LockFlags::EXCLUSIVE | LockFlags::FAIL_IMMEDIATELY;
    let refused = two.ask(Command::Lock, &lock(second, now));
    assert_eq!(refused.status(), NtStatus::LOCK_NOT_GRANTED);
    wait_for(&mut two, Command::Lock, &lock(second, LockFlags::EXCLUSIVE));
    assert_eq!(
        one.ask(Command::Lock, &lock(first, LockFlags::UNLOCK))
            .status(),
        NtStatus::SUCCESS
    );
    assert_eq!(two.wait().status(), NtStatus::SUCCESS);
}

#[test]
fn a_waiting_lock_can_be_cancelled() {
    let world = World::new();
    let (mut one, mut two) = (world.connected(), world.connected());
    let (first, second) = (one.create("l"), two.create("l"));
    one.ask(Command::Lock, &lock(first, LockFlags::EXCLUSIVE));
    let (interim, id) = wait_for(&mut two, Command::Lock, &lock(second, LockFlags::SHARED));
    cancel(&mut two, &interim, id);
    assert_eq!(two.answer().unwrap().status(), NtStatus::CANCELLED);
}

#[test]
fn a_client_that_vanishes_gives_its_locks_back() {
    let world = World::new();
    let (mut one, mut two) = (world.connected(), world.connected());
    let (first, second) = (one.create("l"), two.create("l"));
    one.ask(Command::Lock, &lock(first, LockFlags::EXCLUSIVE));
    wait_for(&mut two, Command::Lock, &lock(second, LockFlags::EXCLUSIVE));
    one.disconnect();
    assert_eq!(two.wait().status(), NtStatus::SUCCESS);
    assert_eq!(world.server.status().connections, 1);
}

#[test]
fn shutting_down_ends_every_connection() {
    let world = World::new();
    let mut client = world.connected();
    let directory = client.open_directory("d");
    wait_for(&mut client, Command::ChangeNotify, &watch(directory));
    world.env.block_on(world.server.shutdown());
    assert!(client.answer().is_none() && client.is_closed());
    assert_eq!(world.server.status().opens, 0);
    assert!(
        world
            .server
            .connect("192.0.2.1:1".parse().unwrap())
            .is_err()
    );
}
