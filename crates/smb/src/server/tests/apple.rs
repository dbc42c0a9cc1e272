//! What macOS asks of a server, from end to end.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one answer among all"
)]

use super::client::{Answer, Client};
use super::controls::{control, copy, key};
use super::files::{read, set, write};
use super::world::World;
use crate::wire::create::{CreateRequest, CreateResponse};
use crate::wire::create_context::{AaplResponse, RequestContext, ResponseContext};
use crate::wire::directory::{QueryDirectoryFlags, QueryDirectoryRequest};
use crate::wire::fscc::file::EndOfFileInfo;
use crate::wire::fscc::fsctl::{CopyChunkRequest, CopyChunkResponse};
use crate::wire::fscc::rename::RenameInfo;
use crate::wire::info::{Buffer, FileInfoClass, InfoType, SetInfoRequest};
use crate::wire::ioctl::FsctlCode;
use crate::wire::{Codec, Command, FileId, NtStatus, Utf16};

fn with(name: &str, context: &RequestContext<'static>) -> CreateRequest<'static> {
    let mut request = Client::create_request(name);
    request.contexts.push_request(context);
    request
}

fn query(name: &str, bitmap: u64, client_capabilities: u64) -> CreateRequest<'static> {
    let query = RequestContext::AaplQuery {
        bitmap,
        client_capabilities,
    };
    with(name, &query)
}

/// The client says that it is a Mac that knows listings.
fn become_mac(client: &mut Client) {
    let answer = client.ask(Command::Create, &query("mac", 1, 7));
    assert_eq!(answer.status(), NtStatus::SUCCESS);
    let response: CreateResponse<'_> = answer.decode();
    client.close(response.file_id);
}

fn told(answer: &Answer) -> Option<AaplResponse<'static>> {
    let response: CreateResponse<'_> = answer.decode();
    let mut contexts = response.contexts.responses();
    contexts.find_map(|context| match context.unwrap() {
        ResponseContext::Aapl(told) => Some(AaplResponse {
            model: told.model.map(Utf16::into_owned),
            ..told
        }),
        _ => None,
    })
}

#[test]
fn each_part_of_the_query_is_answered_when_it_is_asked() {
    let world = World::new();
    let mut client = world.connected();
    let all = told(&client.ask(Command::Create, &query("f", 7, 7))).unwrap();
    assert_eq!(all.server_capabilities, Some(15));
    assert_eq!(all.volume_capabilities, Some(5));
    assert_eq!(all.model.unwrap().to_string(), "RackMac3");
    let model = told(&client.ask(Command::Create, &query("g", 4, 0))).unwrap();
    assert_eq!(
        (model.server_capabilities, model.volume_capabilities),
        (None, None)
    );
    let plain = client.ask(Command::Create, &Client::create_request("h"));
    assert_eq!(told(&plain), None);
}

#[test]
fn an_id_is_resolved_to_a_path() {
    let world = World::new();
    let mut client = world.connected();
    client.open_directory("d");
    let file = client.create("d\\f");
    let inode = world
        .server
        .vfs
        .share("files")
        .map(|share| share.root.0)
        .unwrap();
    let mut path = |id: u64| {
        let context = RequestContext::AaplResolveId { file_id: id };
        let answer = client.ask(Command::Create, &with("other", &context));
        let response: CreateResponse<'_> = answer.decode();
        client.close(response.file_id);
        response
            .contexts
            .responses()
            .find_map(|one| match one.unwrap() {
                ResponseContext::AaplPath { status, path } => Some((status, path.to_string())),
                _ => None,
            })
    };
    assert_eq!(path(inode), Some((NtStatus::SUCCESS, String::new())));
    // Inodes are given out one after the other.
    let found =
        (inode..inode + 100).find(|id| path(*id) == Some((NtStatus::SUCCESS, "d\\f".into())));
    assert!(found.is_some());
    let (status, nothing) = path(u64::MAX).unwrap();
    assert_ne!(status, NtStatus::SUCCESS);
    assert_eq!(nothing, "");
    client.close(file);
}

fn info(kind: &[u8; 8]) -> [u8; 60] {
    let mut info = [0; 60];
    info[..8].copy_from_slice(b"AFP\0\0\x01\0\0");
    info[16..24].copy_from_slice(kind);
    info[24..26].copy_from_slice(&[0x40, 0x01]);
    info[40..42].copy_from_slice(&[0x80, 0x02]);
    info
}

/// The one entry of a listing with this name.
fn entry(client: &mut Client, name: &str) -> Vec<u8> {
    let root = client.open_directory("");
    let request = QueryDirectoryRequest {
        class: FileInfoClass::IdBothDirectory,
        flags: QueryDirectoryFlags::NONE,
        file_index: 0,
        file_id: root,
        pattern: Utf16::from(name),
        output_buffer_length: 1 << 16,
    };
    let answer = client.ask(Command::QueryDirectory, &request);
    let bytes = answer.decode::<Buffer<'_>>().data.to_vec();
    client.close(root);
    bytes
}

#[test]
fn listings_tell_macs_alone_of_rights_forks_and_the_finder() {
    let world = World::new();
    let mut client = world.connected();
    client.create("f");
    let fork = client.create("f:AFP_Resource");
    assert_eq!(write(&mut client, fork, 0, b"rsrc"), NtStatus::SUCCESS);
    let finder = client.create("f:AFP_AfpInfo");
    assert_eq!(
        write(&mut client, finder, 0, &info(b"TEXTttxt")),
        NtStatus::SUCCESS
    );
    let before = entry(&mut client, "f");
    assert_eq!(before[64..70], [0; 6]);
    become_mac(&mut client);
    let after = entry(&mut client, "f");
    assert_eq!(after[64..68], 0x001F_01FF_u32.to_le_bytes());
    assert_eq!(after[68], 24);
    assert_eq!(after[70..78], 4_u64.to_le_bytes());
    assert_eq!(after[78..86], *b"TEXTttxt");
    assert_eq!(after[86..90], [0x40, 0x01, 0x80, 0x02]);
    let mode = u16::from_le_bytes([after[94], after[95]]);
    assert_eq!(mode & 0o170_000, 0o100_000);
    // Ids and names stand where they stood.
    assert_eq!(after[96..], before[96..]);
}

#[test]
fn finder_information_is_written_as_a_whole() {
    let world = World::new();
    let mut client = world.connected();
    client.create("f");
    let finder = client.create("f:AFP_AfpInfo");
    let good = info(b"TEXTttxt");
    let mut odd = good;
    odd[3] = 1;
    for (offset, data) in [
        (0, &good[..59]),
        (1, &good[..]),
        (0, &odd[..]),
        (0, &b"x"[..]),
    ] {
        let status = write(&mut client, finder, offset, data);
        assert_eq!(status, NtStatus::INVALID_PARAMETER);
    }
    assert_eq!(write(&mut client, finder, 0, &good), NtStatus::SUCCESS);
    set(
        &mut client,
        finder,
        FileInfoClass::EndOfFile,
        &EndOfFileInfo { end_of_file: 1 },
    );
    assert_eq!(read(&mut client, finder, 100).unwrap(), good);
    let larger = EndOfFileInfo { end_of_file: 61 };
    let request = SetInfoRequest {
        info_type: InfoType::File,
        class: FileInfoClass::EndOfFile.to_wire(),
        additional_information: 0,
        file_id: finder,
        buffer: &larger.to_vec(),
    };
    let refused = client.ask(Command::SetInfo, &request).status();
    assert_eq!(refused, NtStatus(0xC000_0099));
}

#[test]
fn no_chunks_are_the_whole_file_to_macs_and_nothing_to_others() {
    let world = World::new();
    let mut client = world.connected();
    let source = client.create("from");
    assert_eq!(write(&mut client, source, 0, b"data"), NtStatus::SUCCESS);
    let stream = client.create("from:xattr");
    assert_eq!(write(&mut client, stream, 0, b"value"), NtStatus::SUCCESS);
    client.close(stream);
    let target = client.create("to");
    let source_key = key(&mut client, source);
    let (status, done) = copy(&mut client, source_key, target, &[]);
    assert_eq!((status, done.total_bytes), (NtStatus::SUCCESS, 0));
    become_mac(&mut client);
    let (status, done) = copy(&mut client, source_key, target, &[]);
    assert_eq!((status, done.total_bytes), (NtStatus::SUCCESS, 4));
    assert_eq!(read(&mut client, target, 10).unwrap(), b"data");
    let copied = client.create("to:xattr");
    assert_eq!(read(&mut client, copied, 10).unwrap(), b"value");
    let whole = CopyChunkRequest {
        source_key,
        chunks: Vec::new(),
    };
    let onto_itself = control(
        &mut client,
        FsctlCode::SrvCopyChunk,
        source,
        &whole.to_vec(),
        12,
    );
    assert_eq!(onto_itself.0, NtStatus::INVALID_PARAMETER);
    assert!(CopyChunkResponse::decode(&onto_itself.1).is_err());
}

#[test]
fn an_emptied_stream_is_gone_for_macs_alone() {
    let world = World::new();
    let mut client = world.connected();
    client.create("f");
    for (mac, there) in [(false, true), (true, false)] {
        if mac {
            become_mac(&mut client);
        }
        let stream = client.create("f:xattr");
        write(&mut client, stream, 0, b"value");
        set(
            &mut client,
            stream,
            FileInfoClass::EndOfFile,
            &EndOfFileInfo { end_of_file: 0 },
        );
        client.close(stream);
        assert_eq!(open(&mut client, "f:xattr").is_ok(), there);
    }
}

fn open(client: &mut Client, name: &str) -> Result<FileId, NtStatus> {
    client.try_create(&CreateRequest {
        disposition: crate::wire::create::CreateDisposition::Open,
        ..Client::create_request(name)
    })
}

#[test]
fn macs_rename_folders_with_open_files_in_them() {
    let world = World::new();
    let mut client = world.connected();
    let folder = client.open_directory("d");
    client.create("d\\f");
    let rename = |client: &mut Client| {
        let info = RenameInfo {
            flags: crate::wire::fscc::rename::RenameFlags::NONE,
            root_directory: 0,
            name: Utf16::from("e"),
        };
        let request = SetInfoRequest {
            info_type: InfoType::File,
            class: FileInfoClass::Rename.to_wire(),
            additional_information: 0,
            file_id: folder,
            buffer: &info.to_vec(),
        };
        client.ask(Command::SetInfo, &request).status()
    };
    assert_eq!(rename(&mut client), NtStatus::ACCESS_DENIED);
    become_mac(&mut client);
    assert_eq!(rename(&mut client), NtStatus::SUCCESS);
    assert!(open(&mut client, "e\\f").is_ok());
}
