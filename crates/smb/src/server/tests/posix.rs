//! The POSIX extensions from end to end.

use strongroom_vfs::AccessMask;
use strongroom_vfs::Sid;
use strongroom_vfs::acl::{Ace, AceFlags, Acl, AclSlot, SecurityDescriptor, SecurityParts};

use super::client::{Answer, Client};
use super::world::{PASSWORD, USER, World};
use crate::wire::create::{CreateDisposition, CreateOptions, CreateRequest, CreateResponse};
use crate::wire::create_context::{CreateContexts, RequestContext, ResponseContext, context_name};
use crate::wire::directory::{QueryDirectoryFlags, QueryDirectoryRequest};
use crate::wire::fscc::list::ListReader;
use crate::wire::fscc::posix::{PosixAttributes, PosixEntry, PosixFsInfo, PosixInfo};
use crate::wire::fscc::rename::{RenameFlags, RenameInfo};
use crate::wire::info::{
    Buffer, FileInfoClass, FsInfoClass, InfoType, QueryInfoFlags, QueryInfoRequest, SetInfoRequest,
};
use crate::wire::negotiate::{Dialect, NegotiateResponse};
use crate::wire::negotiate_context::NegotiateContext;
use crate::wire::{Codec, Command, FileId, NtStatus, Utf16};

fn negotiate(client: &mut Client, versions: &[u8]) -> bool {
    let mut request = Client::negotiate_request(&[Dialect::Smb311]);
    request.contexts.push(NegotiateContext::Posix(versions));
    let answer = client.negotiate_with(&request);
    let response: NegotiateResponse<'_> = answer.decode();
    let agreed = NegotiateContext::Posix(context_name::POSIX);
    response.contexts.contains(&agreed)
}

fn connected(world: &World) -> Client {
    let mut client = world.client();
    assert!(negotiate(&mut client, context_name::POSIX));
    client.log_on(USER, PASSWORD).unwrap();
    client.tree_connect("files").unwrap();
    client
}

fn posix(mode: u32) -> CreateContexts<'static> {
    let mut contexts = CreateContexts::default();
    contexts.push_request(&RequestContext::Posix { mode });
    contexts
}

/// Makes or opens, and gives what the answer says of the file.
fn create(
    client: &mut Client,
    request: &CreateRequest<'_>,
) -> Result<(FileId, PosixAttributes), NtStatus> {
    let answer = client.ask(Command::Create, request);
    if answer.status() != NtStatus::SUCCESS {
        return Err(answer.status());
    }
    let response: CreateResponse<'_> = answer.decode();
    let mut contexts = response.contexts.responses();
    let Some(Ok(ResponseContext::Posix(attributes))) = contexts.next() else {
        panic!("no POSIX context in {response:?}");
    };
    Ok((response.file_id, attributes))
}

fn make(client: &mut Client, name: &str, mode: u32) -> FileId {
    let request = CreateRequest {
        disposition: CreateDisposition::Create,
        contexts: posix(0o100_000 | mode),
        ..Client::create_request(name)
    };
    let (file, attributes) = create(client, &request).unwrap();
    assert_eq!((attributes.mode, attributes.links), (mode, 1));
    file
}

fn query(client: &mut Client, file_id: FileId, info_type: InfoType, class: u8) -> Answer {
    let request = QueryInfoRequest {
        info_type,
        class,
        output_buffer_length: 4096,
        additional_information: 0,
        flags: QueryInfoFlags::NONE,
        file_id,
        input: &[],
    };
    client.ask(Command::QueryInfo, &request)
}

fn stat(client: &mut Client, file_id: FileId) -> PosixInfo {
    let answer = query(
        client,
        file_id,
        InfoType::File,
        FileInfoClass::Posix.to_wire(),
    );
    PosixInfo::decode(answer.decode::<Buffer<'_>>().data).unwrap()
}

fn set(client: &mut Client, request: &SetInfoRequest<'_>) -> NtStatus {
    client.ask(Command::SetInfo, request).status()
}

#[test]
fn the_extensions_are_agreed_on_only_in_their_own_version_and_where_they_are_allowed() {
    let world = World::new();
    let later = [[1; 16].as_slice(), context_name::POSIX].concat();
    assert!(negotiate(&mut world.client(), &later));
    assert!(!negotiate(&mut world.client(), &[1; 16]));
    assert!(!negotiate(&mut world.client(), &context_name::POSIX[..15]));
    let closed = World::with(|config| config.posix_extensions = false);
    assert!(!negotiate(&mut closed.client(), context_name::POSIX));
}

#[test]
fn without_them_the_context_is_ignored_and_the_levels_do_not_exist() {
    let world = World::new();
    let mut client = world.connected();
    let request = CreateRequest {
        contexts: posix(0o600),
        ..Client::create_request("a.txt")
    };
    let answer = client.ask(Command::Create, &request);
    let response: CreateResponse<'_> = answer.decode();
    assert!(response.contexts.is_empty());
    for (kind, class) in [
        (InfoType::File, FileInfoClass::Posix.to_wire()),
        (InfoType::FileSystem, FsInfoClass::Posix.to_wire()),
    ] {
        let answer = query(&mut client, response.file_id, kind, class);
        assert_eq!(answer.status(), NtStatus::INVALID_INFO_CLASS);
    }
    assert!(client.try_create(&Client::create_request("A.TXT")).is_ok());
}

#[test]
fn a_file_has_the_mode_it_was_made_with_and_slashes_lead_to_it() {
    let world = World::new();
    let mut client = connected(&world);
    let directory = CreateRequest {
        options: CreateOptions::DIRECTORY_FILE,
        contexts: posix(0o755),
        ..Client::create_request("d")
    };
    create(&mut client, &directory).unwrap();
    let file = make(&mut client, "d/a:b", 0o640);
    let info = stat(&mut client, file);
    assert_eq!((info.posix.mode, info.end_of_file), (0o640, 0));
    assert_ne!(info.inode, 0);
    let twin = make(&mut client, "d/A:b", 0o600);
    assert_ne!(stat(&mut client, twin).inode, info.inode);
    let (again, attributes) = create(
        &mut client,
        &CreateRequest {
            disposition: CreateDisposition::Open,
            contexts: posix(0xFFFF),
            ..Client::create_request("d\\a\u{F022}b")
        },
    )
    .unwrap();
    assert_eq!(stat(&mut client, again).inode, info.inode);
    assert_eq!(attributes.mode, 0o640);
}

#[test]
fn listings_tell_mode_and_owners() {
    let world = World::new();
    let mut client = connected(&world);
    make(&mut client, "one", 0o4711);
    let request = CreateRequest {
        options: CreateOptions::DIRECTORY_FILE,
        disposition: CreateDisposition::Open,
        contexts: posix(0xFFFF),
        ..Client::create_request("")
    };
    let (root, _) = create(&mut client, &request).unwrap();
    let request = QueryDirectoryRequest {
        class: FileInfoClass::Posix,
        flags: QueryDirectoryFlags::NONE,
        file_index: 0,
        file_id: root,
        pattern: Utf16::from("*"),
        output_buffer_length: 4096,
    };
    let answer = client.ask(Command::QueryDirectory, &request);
    let list = ListReader::new(answer.decode::<Buffer<'_>>().data, 8);
    let entries: Vec<PosixEntry> = list
        .map(|entry| PosixEntry::decode(entry.unwrap()).unwrap())
        .collect();
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, [".", "..", "one"]);
    assert_eq!(entries[2].info.posix.mode, 0o4711);
    assert_eq!(entries[1].info.inode, entries[0].info.inode);
}

#[test]
fn a_descriptor_with_numbers_sets_mode_and_owners() {
    let world = World::new();
    let mut client = connected(&world);
    let file = make(&mut client, "one", 0o600);
    let numbered = |kind: u32, id: u32| Sid::new(5, &[88, kind, id]).unwrap();
    let mode = Ace::deny(numbered(3, 0o2751), AccessMask::NONE, AceFlags::default());
    let descriptor = SecurityDescriptor {
        owner: Some(numbered(1, 1000)),
        group: Some(numbered(2, 100)),
        dacl: AclSlot::Present(Acl { aces: vec![mode] }),
        ..SecurityDescriptor::default()
    };
    let parts = SecurityParts::OWNER
        .union(SecurityParts::GROUP)
        .union(SecurityParts::DACL);
    let buffer = descriptor.to_bytes();
    let request = SetInfoRequest {
        info_type: InfoType::Security,
        class: 0,
        additional_information: parts.0,
        file_id: file,
        buffer: &buffer,
    };
    assert_eq!(set(&mut client, &request), NtStatus::SUCCESS);
    let known = stat(&mut client, file).posix;
    assert_eq!(known.mode, 0o2751);
    assert_eq!(known.owner, Sid::unix_user(1000).to_bytes());
    assert_eq!(known.group, Sid::unix_group(100).to_bytes());
}

#[test]
fn rename_with_slashes_replaces_what_is_open() {
    let world = World::new();
    let mut client = connected(&world);
    make(&mut client, "target", 0o600);
    let file = make(&mut client, "source", 0o644);
    let buffer = RenameInfo {
        flags: RenameFlags::REPLACE_IF_EXISTS,
        root_directory: 0,
        name: Utf16::from("target"),
    }
    .to_vec();
    let request = SetInfoRequest {
        info_type: InfoType::File,
        class: FileInfoClass::Rename.to_wire(),
        additional_information: 0,
        file_id: file,
        buffer: &buffer,
    };
    assert_eq!(set(&mut client, &request), NtStatus::SUCCESS);
    let opened = CreateRequest {
        disposition: CreateDisposition::Open,
        contexts: posix(0xFFFF),
        ..Client::create_request("target")
    };
    assert_eq!(create(&mut client, &opened).unwrap().1.mode, 0o644);
}

#[test]
fn the_volume_tells_its_blocks() {
    let world = World::new();
    let mut client = connected(&world);
    let file = make(&mut client, "one", 0o600);
    let answer = query(
        &mut client,
        file,
        InfoType::FileSystem,
        FsInfoClass::Posix.to_wire(),
    );
    let info = PosixFsInfo::decode(answer.decode::<Buffer<'_>>().data).unwrap();
    assert_eq!(info.block_size, 4096);
    assert!(info.blocks >= info.blocks_free && info.blocks_free >= info.blocks_available);
}
