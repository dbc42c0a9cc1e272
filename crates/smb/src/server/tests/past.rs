//! Previous versions from end to end.

use std::time::Duration;

use strongroom_vfs::{FileTime as VfsTime, time_of_name};

use super::client::Client;
use super::files::{read, write};
use super::world::World;
use crate::wire::create::{CreateDisposition, CreateOptions, CreateRequest};
use crate::wire::create_context::RequestContext;
use crate::wire::ioctl::{FsctlCode, IOCTL_IS_FSCTL, IoctlRequest, IoctlResponse};
use crate::wire::{Command, FileId, FileTime, NtStatus};

/// Labels of the versions of what is open.
fn versions(client: &mut Client, file_id: FileId) -> Vec<String> {
    let request = IoctlRequest {
        code: FsctlCode::SrvEnumerateSnapshots,
        file_id,
        input: &[],
        max_input_response: 0,
        max_output_response: 65_536,
        flags: IOCTL_IS_FSCTL,
    };
    let answer = client.ask(Command::Ioctl, &request);
    assert_eq!(answer.status(), NtStatus::SUCCESS);
    let output = answer.decode::<IoctlResponse<'_>>().output.to_vec();
    let number = |at: usize| u32::from_le_bytes(output[at..at + 4].try_into().unwrap());
    assert_eq!(number(0), number(4), "all of them fit");
    let units: Vec<u16> = output[12..]
        .as_chunks::<2>()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit))
        .collect();
    let text = String::from_utf16(&units).unwrap();
    let labels = text.split('\0').filter(|label| !label.is_empty());
    labels.map(str::to_owned).collect()
}

/// Lets pass what it takes until what is there can be gone back to.
fn settle(world: &World) {
    world.env.advance(Duration::from_millis(2_300));
}

fn open_at(client: &mut Client, name: &str, label: &str) -> Result<FileId, NtStatus> {
    let mut request = CreateRequest {
        disposition: CreateDisposition::Open,
        ..Client::create_request(name)
    };
    let VfsTime(time) = time_of_name(label).unwrap();
    request
        .contexts
        .push_request(&RequestContext::Timewarp(FileTime(time)));
    client.try_create(&request)
}

#[test]
fn versions_are_listed_opened_and_never_changed() {
    let world = World::new();
    let mut client = world.connected();
    let file = client.create("f");
    for content in [&b"first"[..], b"second", b"third!!"] {
        assert_eq!(write(&mut client, file, 0, content), NtStatus::SUCCESS);
        settle(&world);
        settle(&world);
    }
    let labels = versions(&mut client, file);
    assert_eq!(labels.len(), 2, "{labels:?}");
    for (label, content) in labels.iter().zip([&b"second"[..], b"first"]) {
        let past = open_at(&mut client, "f", label).unwrap();
        assert_eq!(read(&mut client, past, 100).unwrap(), content);
        let written = write(&mut client, past, 0, b"x");
        assert_eq!(written, NtStatus::MEDIA_WRITE_PROTECTED);
        client.close(past);
        for path in [
            format!("{label}\\f"),
            format!(".history\\{}\\f", name_of(label)),
        ] {
            let past = client.create(&path);
            assert_eq!(read(&mut client, past, 100).unwrap(), content);
            client.close(past);
        }
    }
    assert_eq!(read(&mut client, file, 100).unwrap(), b"third!!");
}

/// As `.history` spells an instant for those that cannot write a colon.
fn name_of(label: &str) -> String {
    let parts: Vec<_> = label[5..].split(['.', '-']).collect();
    let [year, month, day, hour, minute, second] = parts[..] else {
        unreachable!("a label has six numbers")
    };
    format!("{year}-{month}-{day}T{hour}.{minute}.{second}Z")
}

#[test]
fn a_file_that_was_deleted_is_found_in_its_folder() {
    let world = World::new();
    let mut client = world.connected();
    let folder = client.open_directory("d");
    let file = client.create("d\\f");
    write(&mut client, file, 0, b"lost");
    client.close(file);
    settle(&world);
    settle(&world);
    let delete = CreateRequest {
        options: CreateOptions::DELETE_ON_CLOSE,
        ..Client::create_request("d\\f")
    };
    let file = client.try_create(&delete).unwrap();
    client.close(file);
    settle(&world);
    settle(&world);
    let labels = versions(&mut client, folder);
    let newest = labels.first().unwrap();
    let past = open_at(&mut client, "d\\f", newest).unwrap();
    assert_eq!(read(&mut client, past, 100).unwrap(), b"lost");
    let new = open_at(&mut client, "d\\g", newest);
    assert_eq!(new, Err(NtStatus::OBJECT_NAME_NOT_FOUND));
}
