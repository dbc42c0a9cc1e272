//! Copies by token (FSCTL_OFFLOAD_READ, FSCTL_OFFLOAD_WRITE) from end to end.

use super::client::Client;
use super::controls::control;
use super::files::{read, set, write};
use super::world::World;
use crate::wire::create::{CreateDisposition, CreateRequest};
use crate::wire::fscc::file::EndOfFileInfo;
use crate::wire::fscc::fsctl::{
    OFFLOAD_TOKEN_LEN, OffloadRead, OffloadReadResponse, OffloadToken, OffloadWrite,
    OffloadWriteResponse, ZeroData,
};
use crate::wire::info::FileInfoClass;
use crate::wire::ioctl::FsctlCode;
use crate::wire::{Codec, FileId, NtStatus};

type Token = [u8; OFFLOAD_TOKEN_LEN];

fn world() -> World {
    World::with(|config| config.offload = true)
}

fn offload_read(
    client: &mut Client,
    file: FileId,
    offset: u64,
    length: u64,
) -> Result<(u64, Token), NtStatus> {
    let asked = OffloadRead {
        size: 32,
        flags: 0,
        time_to_live: 0,
        offset,
        length,
    };
    let code = FsctlCode::OffloadRead;
    match control(client, code, file, &asked.to_vec(), 528) {
        (NtStatus::SUCCESS, output) => {
            let response = OffloadReadResponse::decode(&output).unwrap();
            assert_eq!((output.len(), response.size), (528, 528));
            Ok((response.length, response.token.0))
        }
        (status, _) => Err(status),
    }
}

fn offload_write(
    client: &mut Client,
    file: FileId,
    token: &Token,
    (offset, length, transfer_offset): (u64, u64, u64),
) -> Result<u64, NtStatus> {
    let asked = OffloadWrite {
        size: 544,
        flags: 0,
        offset,
        length,
        transfer_offset,
        token: OffloadToken(*token),
    };
    let code = FsctlCode::OffloadWrite;
    match control(client, code, file, &asked.to_vec(), 16) {
        (NtStatus::SUCCESS, output) => {
            let response = OffloadWriteResponse::decode(&output).unwrap();
            assert_eq!((output.len(), response.size), (16, 16));
            Ok(response.length)
        }
        (status, _) => Err(status),
    }
}

fn file(client: &mut Client, name: &str, content: &[u8]) -> FileId {
    let file = client.create(name);
    for (number, part) in content.chunks(60_000).enumerate() {
        let offset = number as u64 * 60_000;
        assert_eq!(write(client, file, offset, part), NtStatus::SUCCESS);
    }
    file
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251).to_le_bytes()[0]).collect()
}

#[test]
fn a_range_comes_by_its_token_and_no_file_grows() {
    let world = world();
    let mut client = world.connected();
    let bytes = pattern(300_000);
    let source = file(&mut client, "from", &bytes);
    let target = file(&mut client, "to", &[]);
    let (length, token) = offload_read(&mut client, source, 0, 1 << 20).unwrap();
    assert_eq!(length, 300_032, "whole sectors");
    let whole = (0, 1 << 20, 0);
    let empty = offload_write(&mut client, target, &token, whole);
    assert_eq!(empty, Err(NtStatus::END_OF_FILE));
    let size = EndOfFileInfo {
        end_of_file: 299_000,
    };
    set(&mut client, target, FileInfoClass::EndOfFile, &size);
    let written = offload_write(&mut client, target, &token, whole);
    assert_eq!(written, Ok(299_008));
    assert!(read(&mut client, target, 60_000).unwrap() == bytes[..60_000]);
    // A part, to elsewhere: as often as one likes.
    let part = offload_write(&mut client, target, &token, (1024, 2048, 512));
    assert_eq!(part, Ok(2048));
    let found = read(&mut client, target, 4096).unwrap();
    assert!(found[..1024] == bytes[..1024]);
    assert!(found[1024..3072] == bytes[512..2560]);
    assert!(found[3072..] == bytes[3072..4096]);
    let beyond = offload_write(&mut client, target, &token, (0, 512, 300_032));
    assert_eq!(beyond, Err(NtStatus::INVALID_PARAMETER));
}

#[test]
fn behind_the_end_of_the_source_its_last_sector_is_zeros() {
    let world = world();
    let mut client = world.connected();
    let source = file(&mut client, "from", &[1; 1000]);
    let target = file(&mut client, "to", &[2; 1536]);
    let (length, token) = offload_read(&mut client, source, 512, 4096).unwrap();
    assert_eq!(length, 512);
    let written = offload_write(&mut client, target, &token, (512, 4096, 0));
    assert_eq!(written, Ok(512));
    let found = read(&mut client, target, 4096).unwrap();
    let expected = [&[2; 512][..], &[1; 488], &[0; 24], &[2; 512]].concat();
    assert!(found == expected);
}

#[test]
fn a_token_is_void_once_the_data_is_another() {
    let changes: [fn(&mut Client, FileId); 4] = [
        |client, file| assert_eq!(write(client, file, 0, b"x"), NtStatus::SUCCESS),
        |client, file| {
            let size = EndOfFileInfo { end_of_file: 7000 };
            set(client, file, FileInfoClass::EndOfFile, &size);
        },
        |client, file| {
            let range = ZeroData {
                offset: 0,
                beyond: 512,
            };
            let zeroed = control(client, FsctlCode::SetZeroData, file, &range.to_vec(), 0);
            assert_eq!(zeroed.0, NtStatus::SUCCESS);
        },
        |client, _| {
            let anew = CreateRequest {
                disposition: CreateDisposition::Overwrite,
                ..Client::create_request("from")
            };
            client.try_create(&anew).unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let world = world();
        let mut client = world.connected();
        let source = file(&mut client, "from", &[1; 8192]);
        let target = file(&mut client, "to", &[2; 8192]);
        let (length, token) = offload_read(&mut client, source, 0, 8192).unwrap();
        let range = (0, length, 0);
        assert_eq!(
            offload_write(&mut client, target, &token, range),
            Ok(length)
        );
        change(&mut client, source);
        let late = offload_write(&mut client, target, &token, range);
        assert_eq!(late, Err(NtStatus::INVALID_TOKEN), "change {number}");
    }
}

#[test]
fn a_copy_into_the_source_ends_its_instant_and_one_into_itself_is_refused() {
    let world = world();
    let mut client = world.connected();
    let (first, second) = (
        file(&mut client, "a", &[1; 8192]),
        file(&mut client, "b", &[2; 8192]),
    );
    let (length, one) = offload_read(&mut client, first, 0, 8192).unwrap();
    let (_, two) = offload_read(&mut client, second, 0, 8192).unwrap();
    let range = (0, length, 0);
    let itself = offload_write(&mut client, first, &one, range);
    assert_eq!(itself, Err(NtStatus::OFFLOAD_WRITE_FILE_NOT_SUPPORTED));
    assert_eq!(offload_write(&mut client, first, &two, range), Ok(length));
    let late = offload_write(&mut client, second, &one, range);
    assert_eq!(late, Err(NtStatus::INVALID_TOKEN));
    assert_eq!(read(&mut client, first, 10).unwrap(), [2; 10]);
}

#[test]
fn zeros_need_no_source() {
    let world = world();
    let mut client = world.connected();
    let target = file(&mut client, "to", &[2; 8192]);
    let mut token = [0; OFFLOAD_TOKEN_LEN];
    token[..4].copy_from_slice(&[0xFF, 0xFF, 0x00, 0x01]);
    let written = offload_write(&mut client, target, &token, (512, 1024, 0));
    assert_eq!(written, Ok(1024));
    let found = read(&mut client, target, 8192).unwrap();
    assert!(found[..512] == [2; 512] && found[512..1536] == [0; 1024]);
    assert!(found[1536..] == [2; 6656]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = world();
    let mut client = world.connected();
    let source = file(&mut client, "from", &[1; 8192]);
    for (offset, length) in [
        (1, 512),
        (0, 513),
        (0, 0),
        (u64::MAX - 511, 512),
        (512, 1 << 63),
    ] {
        let refused = offload_read(&mut client, source, offset, length);
        assert_eq!(refused, Err(NtStatus::INVALID_PARAMETER));
    }
    let past = offload_read(&mut client, source, 8192, 512);
    assert_eq!(past, Err(NtStatus::END_OF_FILE));
    let forged = offload_write(&mut client, source, &[7; OFFLOAD_TOKEN_LEN], (0, 512, 0));
    assert_eq!(forged, Err(NtStatus::INVALID_TOKEN));
    let stream = file(&mut client, "from:notes", &[1; 8192]);
    let refused = offload_read(&mut client, stream, 0, 512);
    assert_eq!(refused, Err(NtStatus::OFFLOAD_READ_FILE_NOT_SUPPORTED));
    for length in 0..32 {
        let (status, _) = control(
            &mut client,
            FsctlCode::OffloadRead,
            source,
            &[32; 32][..length],
            528,
        );
        assert!(status.is_error(), "{length} bytes");
    }
}

#[test]
fn it_is_off_until_somebody_turns_it_on() {
    let world = World::new();
    let mut client = world.connected();
    let source = file(&mut client, "from", &[1; 8192]);
    let refused = offload_read(&mut client, source, 0, 8192);
    assert_eq!(refused, Err(NtStatus::INVALID_DEVICE_REQUEST));
}
