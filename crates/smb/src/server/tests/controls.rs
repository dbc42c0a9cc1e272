//! IOCTLs from end to end.

use super::client::Client;
use super::files::{read, set, write};
use super::world::World;
use crate::server::Interface;
use crate::wire::create::CreateRequest;
use crate::wire::fscc::file::EndOfFileInfo;
use crate::wire::fscc::fsctl::{
    CopyChunk, CopyChunkRequest, CopyChunkResponse, DuplicateExtents, IntegrityInfo, PipeWait,
    ResumeKey,
};
use crate::wire::info::FileInfoClass;
use crate::wire::ioctl::{FsctlCode, IOCTL_IS_FSCTL, IoctlRequest, IoctlResponse};
use crate::wire::{Codec, Command, FileId, NtStatus, Utf16};

pub(super) fn control(
    client: &mut Client,
    code: FsctlCode,
    file_id: FileId,
    input: &[u8],
    room: u32,
) -> (NtStatus, Vec<u8>) {
    let request = IoctlRequest {
        code,
        file_id,
        input,
        max_input_response: 0,
        max_output_response: room,
        flags: IOCTL_IS_FSCTL,
    };
    let answer = client.ask(Command::Ioctl, &request);
    let output = IoctlResponse::decode(&answer.body).map(|response| response.output.to_vec());
    (answer.status(), output.unwrap_or_default())
}

pub(super) fn key(client: &mut Client, file: FileId) -> [u8; 24] {
    let (status, output) = control(client, FsctlCode::SrvRequestResumeKey, file, &[], 32);
    assert_eq!(status, NtStatus::SUCCESS);
    ResumeKey::decode(&output).unwrap().key
}

pub(super) fn copy(
    client: &mut Client,
    source_key: [u8; 24],
    target: FileId,
    chunks: &[(u64, u64, u32)],
) -> (NtStatus, CopyChunkResponse) {
    let chunk = |(source, target, length): &(u64, u64, u32)| CopyChunk {
        source: *source,
        target: *target,
        length: *length,
    };
    let request = CopyChunkRequest {
        source_key,
        chunks: chunks.iter().map(chunk).collect(),
    };
    let (status, output) = control(
        client,
        FsctlCode::SrvCopyChunk,
        target,
        &request.to_vec(),
        12,
    );
    (
        status,
        CopyChunkResponse::decode(&output).unwrap_or_default(),
    )
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n / 251).to_le_bytes()[0] ^ n.to_le_bytes()[0])
        .collect()
}

#[test]
fn chunks_are_copied_to_where_they_are_wanted() {
    let world = World::new();
    let mut client = world.connected();
    let (source, target) = (client.create("from"), client.create("to"));
    let bytes = pattern(300_000);
    for (n, part) in bytes.chunks(60_000).enumerate() {
        let offset = n as u64 * 60_000;
        assert_eq!(write(&mut client, source, offset, part), NtStatus::SUCCESS);
    }
    let key = key(&mut client, source);
    let chunks = [(100, 0, 200_000), (0, 200_000, 7)];
    let (status, response) = copy(&mut client, key, target, &chunks);
    assert_eq!(status, NtStatus::SUCCESS);
    assert_eq!((response.chunks, response.chunk_bytes), (2, 0));
    assert_eq!(response.total_bytes, 200_007);
    let found = read(&mut client, target, 60_000).unwrap();
    assert!(found == bytes[100..60_100]);
}

#[test]
fn a_copy_past_the_limits_is_told_them() {
    let world = World::new();
    let mut client = world.connected();
    let file = client.create("f");
    let key = key(&mut client, file);
    let (status, response) = copy(&mut client, key, file, &[(0, 0, u32::MAX)]);
    assert_eq!(status, NtStatus::INVALID_PARAMETER);
    assert_eq!(response.chunks, 256);
    assert_eq!(response.chunk_bytes, 1 << 20);
    assert_eq!(response.total_bytes, 16 << 20);
}

#[test]
fn copies_of_what_is_not_there_or_not_readable_are_refused() {
    let world = World::new();
    let mut client = world.connected();
    let (source, target) = (client.create("from"), client.create("to"));
    write(&mut client, source, 0, b"0123456789");
    let good = key(&mut client, source);
    let mut bad = good;
    bad[20] = 1;
    let (status, _) = copy(&mut client, bad, target, &[(0, 0, 4)]);
    assert_eq!(status, NtStatus::OBJECT_NAME_NOT_FOUND);
    let (status, done) = copy(&mut client, good, target, &[(0, 0, 4), (7, 4, 4)]);
    assert_eq!(status, NtStatus::INVALID_VIEW_SIZE);
    assert_eq!((done.chunks, done.total_bytes), (1, 4));
    assert_eq!(read(&mut client, target, 20).unwrap(), b"0123");
    let blind = client
        .try_create(&CreateRequest {
            desired_access: 0x0000_0002,
            ..Client::create_request("to")
        })
        .unwrap();
    let (status, _) = copy(&mut client, good, blind, &[(0, 0, 4)]);
    assert_eq!(status, NtStatus::ACCESS_DENIED);
    let blind_key = key(&mut client, blind);
    let (status, _) = copy(&mut client, blind_key, target, &[(0, 0, 4)]);
    assert_eq!(status, NtStatus::ACCESS_DENIED);
    client.close(source);
    let (status, _) = copy(&mut client, good, target, &[(0, 0, 4)]);
    assert_eq!(status, NtStatus::OBJECT_NAME_NOT_FOUND);
}

#[test]
fn a_key_names_nothing_in_another_session() {
    let world = World::new();
    let (mut ada, mut other) = (world.connected(), world.connected());
    let source = ada.create("from");
    write(&mut ada, source, 0, b"secret");
    let key = key(&mut ada, source);
    let target = other.create("to");
    let (status, _) = copy(&mut other, key, target, &[(0, 0, 6)]);
    assert_eq!(status, NtStatus::OBJECT_NAME_NOT_FOUND);
}

fn duplicate(client: &mut Client, asked: (FileId, u64, u64, u64), target: FileId) -> NtStatus {
    let (source, source_offset, target_offset, length) = asked;
    let asked = DuplicateExtents {
        source,
        source_offset,
        target_offset,
        length,
    };
    let code = FsctlCode::DuplicateExtentsToFile;
    control(client, code, target, &asked.to_vec(), 0).0
}

#[test]
fn extents_are_duplicated_where_both_files_reach() {
    let world = World::new();
    let mut client = world.connected();
    let (source, target) = (client.create("from"), client.create("to"));
    let bytes = pattern(60_000);
    write(&mut client, source, 0, &bytes);
    let whole = (source, 0, 0, 57_344);
    assert_eq!(
        duplicate(&mut client, whole, target),
        NtStatus::NOT_SUPPORTED
    );
    let size = EndOfFileInfo {
        end_of_file: 60_000,
    };
    set(&mut client, target, FileInfoClass::EndOfFile, &size);
    assert_eq!(duplicate(&mut client, whole, target), NtStatus::SUCCESS);
    let found = read(&mut client, target, 60_000).unwrap();
    assert!(found[..57_344] == bytes[..57_344] && found[57_344..].iter().all(|byte| *byte == 0));
    let odd = (source, 0, 0, 100);
    assert_eq!(
        duplicate(&mut client, odd, target),
        NtStatus::INVALID_PARAMETER
    );
    let negative = (source, u64::MAX - 4095, 0, 4096);
    assert_eq!(
        duplicate(&mut client, negative, target),
        NtStatus::INVALID_PARAMETER
    );
    let unknown = (
        FileId {
            persistent: 9,
            volatile: 9,
        },
        0,
        0,
        4096,
    );
    assert_eq!(
        duplicate(&mut client, unknown, target),
        NtStatus::INVALID_HANDLE
    );
}

#[test]
fn integrity_is_always_on() {
    let world = World::new();
    let mut client = world.connected();
    let file = client.create("f");
    let get = FsctlCode::GetIntegrityInformation;
    let (status, output) = control(&mut client, get, file, &[], 64);
    assert_eq!(status, NtStatus::SUCCESS);
    assert_eq!(IntegrityInfo::decode(&output).unwrap().algorithm, 2);
    let set = FsctlCode::SetIntegrityInformation;
    let mut with = |algorithm: u16| {
        let mut input = algorithm.to_le_bytes().to_vec();
        input.extend_from_slice(&[0; 6]);
        control(&mut client, set, file, &input, 0).0
    };
    assert_eq!(with(0xFFFF), NtStatus::SUCCESS);
    assert_eq!(with(2), NtStatus::SUCCESS);
    assert_eq!(with(0), NtStatus::NOT_SUPPORTED);
}

#[test]
fn clients_are_told_of_the_addresses_that_the_caller_names() {
    let interface = |index, address: &str| Interface {
        index,
        address: address.parse().unwrap(),
        bits_per_second: 10_000_000_000,
        receive_scaling: true,
    };
    let both = vec![interface(2, "192.0.2.7"), interface(3, "2001:db8::7")];
    let world = World::with(|config| {
        config.interfaces = crate::server::Interfaces::new(move || both.clone());
    });
    let mut client = world.connected();
    let code = FsctlCode::QueryNetworkInterfaceInfo;
    let (status, output) = control(&mut client, code, FileId::ANY, &[], 4096);
    assert_eq!(status, NtStatus::SUCCESS);
    assert_eq!(output.len(), 2 * 152);
    assert_eq!(output[..8], [152, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(output[24..32], [2, 0, 0, 0, 192, 0, 2, 7]);
    let (status, _) = control(&mut client, code, FileId::ANY, &[], 200);
    assert_eq!(status, NtStatus::BUFFER_TOO_SMALL);
    let file = client.create("f");
    let (status, _) = control(&mut client, code, file, &[], 4096);
    assert_eq!(status, NtStatus::INVALID_PARAMETER);
    let mut silent = World::new().connected();
    let (status, _) = control(&mut silent, code, FileId::ANY, &[], 4096);
    assert_eq!(status, NtStatus::NOT_SUPPORTED);
}

#[test]
fn only_pipes_that_are_there_are_waited_for() {
    let world = World::new();
    let mut client = world.signed_in();
    client.tree_connect("IPC$").unwrap();
    let mut wait = |name: &str| {
        let asked = PipeWait {
            timeout: None,
            name: Utf16::from(name),
        };
        control(
            &mut client,
            FsctlCode::PipeWait,
            FileId::ANY,
            &asked.to_vec(),
            0,
        )
        .0
    };
    assert_eq!(wait("srvsvc"), NtStatus::SUCCESS);
    assert_eq!(wait("spoolss"), NtStatus::OBJECT_NAME_NOT_FOUND);
}

#[test]
fn what_is_trimmed_reads_as_zeroes() {
    let world = World::new();
    let mut client = world.connected();
    let file = client.create("f");
    write(&mut client, file, 0, &[1; 20_000]);
    let mut input = vec![0; 4];
    input.extend_from_slice(&1_u32.to_le_bytes());
    input.extend_from_slice(&4096_u64.to_le_bytes());
    input.extend_from_slice(&8192_u64.to_le_bytes());
    let (status, output) = control(&mut client, FsctlCode::FileLevelTrim, file, &input, 4);
    assert_eq!((status, output), (NtStatus::SUCCESS, vec![1, 0, 0, 0]));
    let found = read(&mut client, file, 20_000).unwrap();
    assert!(found[4096..12_288].iter().all(|byte| *byte == 0));
    assert!(
        found[..4096]
            .iter()
            .chain(&found[12_288..])
            .all(|byte| *byte == 1)
    );
    let (status, _) = control(&mut client, FsctlCode::FileLevelTrim, file, &[0; 8], 4);
    assert_eq!(status, NtStatus::INVALID_PARAMETER);
}

#[test]
fn the_valid_region_of_a_file_ends_with_it() {
    let world = World::new();
    let mut client = world.connected();
    let file = client.create("f");
    write(&mut client, file, 0, &[1; 5000]);
    let code = FsctlCode::QueryFileRegions;
    let (status, output) = control(&mut client, code, file, &[], 64);
    assert_eq!(status, NtStatus::SUCCESS);
    assert_eq!(output.len(), 40);
    assert_eq!(output[24..32], 5000_u64.to_le_bytes());
    let (status, output) = control(&mut client, code, file, &[], 16);
    assert_eq!((status, output.len()), (NtStatus::BUFFER_OVERFLOW, 16));
}

#[test]
fn a_new_file_has_no_versions_to_list() {
    let world = World::new();
    let mut client = world.connected();
    let file = client.create("f");
    let code = FsctlCode::SrvEnumerateSnapshots;
    let (status, output) = control(&mut client, code, file, &[], 16);
    assert_eq!((status, &output[..4]), (NtStatus::SUCCESS, &[0; 4][..]));
    let (status, _) = control(&mut client, code, file, &[], 8);
    assert_eq!(status, NtStatus::INVALID_PARAMETER);
}
