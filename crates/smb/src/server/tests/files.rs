//! Files and directories from end to end.

use super::client::Client;
use super::world::World;
use crate::wire::create::CreateResponse;
use crate::wire::create_context::{CreateContexts, RequestContext, ResponseContext};
use crate::wire::directory::{QueryDirectoryFlags, QueryDirectoryRequest};
use crate::wire::fscc::directory::decode_entries;
use crate::wire::fscc::file::{DispositionInfo, EndOfFileInfo};
use crate::wire::info::{Buffer, FileInfoClass, InfoType, SetInfoRequest};
use crate::wire::read::{ReadFlags, ReadRequest, ReadResponse};
use crate::wire::simple::Empty;
use crate::wire::write::{WriteFlags, WriteRequest, WriteResponse};
use crate::wire::{Codec, Command, FileId, FileTime, NtStatus, Utf16};

pub(super) fn write(client: &mut Client, file_id: FileId, offset: u64, data: &[u8]) -> NtStatus {
    let request = WriteRequest {
        offset,
        file_id,
        channel: 0,
        remaining_bytes: 0,
        channel_info: &[],
        flags: WriteFlags::NONE,
        data,
    };
    let answer = client.ask(Command::Write, &request);
    if answer.status() == NtStatus::SUCCESS {
        let count = usize::try_from(answer.decode::<WriteResponse>().count).unwrap();
        assert_eq!(count, data.len());
    }
    answer.status()
}

pub(super) fn read(client: &mut Client, file_id: FileId, length: u32) -> Result<Vec<u8>, NtStatus> {
    let request = ReadRequest {
        padding: 0,
        flags: ReadFlags::NONE,
        length,
        offset: 0,
        file_id,
        minimum_count: 0,
        channel: 0,
        remaining_bytes: 0,
        channel_info: &[],
    };
    let answer = client.ask(Command::Read, &request);
    match answer.status() {
        NtStatus::SUCCESS => Ok(answer.decode::<ReadResponse<'_>>().data.to_vec()),
        status => Err(status),
    }
}

pub(super) fn set<'a>(
    client: &mut Client,
    file_id: FileId,
    class: FileInfoClass,
    info: &impl Codec<'a>,
) {
    let buffer = info.to_vec();
    let request = SetInfoRequest {
        info_type: InfoType::File,
        class: class.to_wire(),
        additional_information: 0,
        file_id,
        buffer: &buffer,
    };
    assert_eq!(
        client.ask(Command::SetInfo, &request).status(),
        NtStatus::SUCCESS
    );
}

fn list(client: &mut Client, file_id: FileId, pattern: &str, room: u32) -> Vec<String> {
    let class = FileInfoClass::IdBothDirectory;
    let mut names = Vec::new();
    loop {
        let request = QueryDirectoryRequest {
            class,
            flags: QueryDirectoryFlags::NONE,
            file_index: 0,
            file_id,
            pattern: Utf16::from(pattern),
            output_buffer_length: room,
        };
        let answer = client.ask(Command::QueryDirectory, &request);
        if answer.status() != NtStatus::SUCCESS {
            let expected = if names.is_empty() {
                NtStatus::NO_SUCH_FILE
            } else {
                NtStatus::NO_MORE_FILES
            };
            assert_eq!(answer.status(), expected);
            return names;
        }
        let entries = decode_entries(class, answer.decode::<Buffer<'_>>().data).unwrap();
        names.extend(entries.into_iter().map(|entry| entry.name));
    }
}

#[test]
fn what_was_written_is_read() {
    let world = World::new();
    let mut client = world.connected();
    let file = client.create("f.bin");
    assert_eq!(write(&mut client, file, 3, b"hello"), NtStatus::SUCCESS);
    assert_eq!(read(&mut client, file, 100).unwrap(), b"\0\0\0hello");
    assert_eq!(read(&mut client, file, 4).unwrap(), b"\0\0\0h");
    set(
        &mut client,
        file,
        FileInfoClass::EndOfFile,
        &EndOfFileInfo { end_of_file: 0 },
    );
    assert_eq!(read(&mut client, file, 4), Err(NtStatus::END_OF_FILE));
    assert_eq!(client.close(file), NtStatus::SUCCESS);
    assert_eq!(write(&mut client, file, 0, b"x"), NtStatus::FILE_CLOSED);
    assert_eq!(client.close(file), NtStatus::FILE_CLOSED);
}

#[test]
fn listings_go_on_where_they_stopped() {
    let world = World::new();
    let mut client = world.connected();
    let directory = client.open_directory("d");
    let mut expected = vec![".".to_owned(), "..".to_owned()];
    for number in 0..40 {
        let name = format!("file-{number:02}.txt");
        let file = client.create(&format!("d\\{name}"));
        client.close(file);
        expected.push(name);
    }
    let mut names = list(&mut client, directory, "*", 600);
    names.sort();
    assert_eq!(names, expected);
    let directory = client.open_directory("d");
    assert_eq!(
        list(&mut client, directory, "FILE-1?.txt", 65_536).len(),
        10
    );
    let directory = client.open_directory("d");
    assert!(list(&mut client, directory, "absent", 65_536).is_empty());
}

#[test]
fn what_is_gone_when_a_listing_goes_on_is_not_listed() {
    let world = World::new();
    let mut client = world.connected();
    let directory = client.open_directory("d");
    for number in 0..40 {
        let file = client.create(&format!("d\\file-{number:02}.txt"));
        client.close(file);
    }
    let first = query(
        &mut client,
        directory,
        QueryDirectoryFlags::RETURN_SINGLE_ENTRY,
    );
    assert_eq!(first, ["."]);
    for number in 0..39 {
        let file = client.create(&format!("d\\file-{number:02}.txt"));
        let info = DispositionInfo {
            delete_pending: true,
        };
        set(&mut client, file, FileInfoClass::Disposition, &info);
        client.close(file);
    }
    let rest = query(&mut client, directory, QueryDirectoryFlags::NONE);
    assert_eq!(rest, ["..", "file-39.txt"]);
}

/// The names in the next answer.
fn query(client: &mut Client, file_id: FileId, flags: QueryDirectoryFlags) -> Vec<String> {
    let class = FileInfoClass::IdBothDirectory;
    let request = QueryDirectoryRequest {
        class,
        flags,
        file_index: 0,
        file_id,
        pattern: Utf16::from("*"),
        output_buffer_length: 65_536,
    };
    let answer = client.ask(Command::QueryDirectory, &request);
    let entries = decode_entries(class, answer.decode::<Buffer<'_>>().data).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_file_marked_for_deletion_goes_with_its_last_close() {
    let world = World::new();
    let mut client = world.connected();
    let file = client.create("f");
    set(
        &mut client,
        file,
        FileInfoClass::Disposition,
        &DispositionInfo {
            delete_pending: true,
        },
    );
    let again = client.try_create(&Client::create_request("f"));
    assert_eq!(again, Err(NtStatus::DELETE_PENDING));
    client.close(file);
    let root = client.open_directory("");
    assert!(!list(&mut client, root, "*", 4096).contains(&"f".to_owned()));
}

#[test]
fn create_contexts_are_answered_or_left_out() {
    let world = World::new();
    let mut client = world.connected();
    let mut contexts = CreateContexts::default();
    contexts.push_request(&RequestContext::MaximalAccess(None));
    contexts.push_request(&RequestContext::OnDiskId);
    contexts.push_request(&RequestContext::DurableRequest);
    contexts.push_request(&RequestContext::Unknown {
        name: b"what",
        data: b"ever",
    });
    let mut request = Client::create_request("f");
    request.contexts = contexts;
    let answer = client.ask(Command::Create, &request);
    let response: CreateResponse<'_> = answer.decode();
    let answers: Vec<_> = response.contexts.responses().map(Result::unwrap).collect();
    assert_eq!(answers.len(), 2);
    let maximal = ResponseContext::MaximalAccess {
        status: NtStatus::SUCCESS,
        access: 0x1F_01FF,
    };
    assert_eq!(answers[0], maximal);
    assert!(matches!(answers[1], ResponseContext::OnDiskId { file, .. } if file != 0));
}

#[test]
fn what_is_older_than_the_past_is_not_there() {
    let world = World::new();
    let mut client = world.connected();
    let mut request = Client::create_request("f");
    request
        .contexts
        .push_request(&RequestContext::Timewarp(FileTime(133_000_000_000_000_000)));
    assert_eq!(
        client.try_create(&request),
        Err(NtStatus::OBJECT_NAME_NOT_FOUND)
    );
}

#[test]
fn logging_off_closes_everything() {
    let world = World::new();
    let mut client = world.connected();
    client.create("f");
    assert_eq!(world.server.sessions().len(), 1);
    assert_eq!(
        client.ask(Command::Logoff, &Empty).status(),
        NtStatus::SUCCESS
    );
    let status = world.server.status();
    assert_eq!((status.sessions, status.opens), (0, 0));
    assert_eq!(
        client.ask(Command::Logoff, &Empty).status(),
        NtStatus::USER_SESSION_DELETED
    );
}

#[test]
fn a_disconnected_tree_is_gone_with_its_opens() {
    let world = World::new();
    let mut client = world.connected();
    client.create("f");
    assert_eq!(
        client.ask(Command::TreeDisconnect, &Empty).status(),
        NtStatus::SUCCESS
    );
    assert_eq!(world.server.status().opens, 0);
    let again = client.ask(Command::TreeDisconnect, &Empty);
    assert_eq!(again.status(), NtStatus::NETWORK_NAME_DELETED);
}
