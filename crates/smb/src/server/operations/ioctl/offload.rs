//! Offloaded data transfer: FSCTL_OFFLOAD_READ gives a token for a range, FSCTL_OFFLOAD_WRITE makes the range of another
//! file what the token stands for (MS-FSCC 2.3.41, 2.3.80, MS-FSA 2.1.5.10.18, 2.1.5.10.19). No byte crosses the network.

use std::time::Duration;

use strongroom_vfs::{AccessMask, Handle, InstantCopy, VfsError};

use super::{OFFSET_MAX, Output, room};
use crate::server::offload::{Meaning, Range};
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::wire::fscc::fsctl::{
    OffloadRead, OffloadReadResponse, OffloadToken, OffloadWrite, OffloadWriteResponse,
};
use crate::wire::ioctl::IoctlRequest;
use crate::wire::{Codec, NtStatus};

/// LogicalBytesPerSector: offsets and lengths are whole sectors.
const SECTOR: u64 = 512;
/// What one token stands for, and one write takes, at most; the client asks again for the rest.
const LENGTH_MAX: u64 = 256 << 20;
const READ_LEN: u32 = 32;
const READ_RESPONSE_LEN: u32 = 528;
const WRITE_LEN: u32 = 544;
const WRITE_RESPONSE_LEN: u32 = 16;

pub(super) fn read(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let handle = &file_of(&open)?.handle;
    let asked = OffloadRead::decode(wanted.input)?;
    if asked.size != READ_LEN || room(wanted) < READ_RESPONSE_LEN as usize {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    check_range(handle, asked.offset, asked.length)?;
    if !handle.granted().contains(AccessMask::READ_DATA) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let server = &request.conn.server;
    let (offset, length) = (asked.offset, asked.length.min(LENGTH_MAX));
    let instant = match server.vfs.data_instant(handle, offset, length) {
        Err(VfsError::NotSupported) => {
            return Err(NtStatus::OFFLOAD_READ_FILE_NOT_SUPPORTED.into());
        }
        instant => instant?,
    };
    if offset >= instant.size {
        return Err(NtStatus::END_OF_FILE.into());
    }
    let length = length.min((instant.size - offset).next_multiple_of(SECTOR));
    let range = Range {
        instant,
        offset,
        length,
    };
    let life = Duration::from_millis(asked.time_to_live.into());
    let user = request.who()?.credentials.user;
    let now = server.env.monotonic();
    let response = OffloadReadResponse {
        size: READ_RESPONSE_LEN,
        flags: 0,
        length,
        token: OffloadToken(server.offload.make(&range, &user, now, life)),
    };
    Ok((NtStatus::SUCCESS, response.to_vec()))
}

pub(super) async fn write(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let handle = &file_of(&open)?.handle;
    let asked = OffloadWrite::decode(wanted.input)?;
    if asked.size != WRITE_LEN
        || room(wanted) < WRITE_RESPONSE_LEN as usize
        || asked.transfer_offset % SECTOR != 0
    {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    check_range(handle, asked.offset, asked.length)?;
    if !handle.granted().contains(AccessMask::WRITE_DATA) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let server = &request.conn.server;
    let user = request.who()?.credentials.user;
    let meaning = server
        .offload
        .read(&asked.token.0, &user, server.env.monotonic());
    let meaning = meaning.ok_or(NtStatus::INVALID_TOKEN)?;
    // It never grows the file: clients set its size first.
    let size = server.vfs.stat(handle)?.size;
    if asked.offset >= size {
        return Err(NtStatus::END_OF_FILE.into());
    }
    let left = (size - asked.offset).next_multiple_of(SECTOR);
    let length = asked.length.min(LENGTH_MAX).min(left);
    let length = match meaning {
        Meaning::Zeros => {
            server.vfs.zero_range(handle, asked.offset, length).await?;
            length
        }
        Meaning::Data(range) => copy(request, handle, &range, &asked, length, size).await?,
    };
    let response = OffloadWriteResponse {
        size: WRITE_RESPONSE_LEN,
        flags: 0,
        length,
    };
    Ok((NtStatus::SUCCESS, response.to_vec()))
}

/// What of the range lies behind the source's end is zeros, up to the end of the sector.
async fn copy(
    request: &Request,
    target: &Handle,
    range: &Range,
    asked: &OffloadWrite,
    length: u64,
    target_size: u64,
) -> Result<u64, Failure> {
    let vfs = &request.conn.server.vfs;
    let left = range.length.checked_sub(asked.transfer_offset);
    let left = left.filter(|left| *left > 0);
    let length = length.min(left.ok_or(NtStatus::INVALID_PARAMETER)?);
    let from = range.offset.saturating_add(asked.transfer_offset);
    let wanted = length.min(target_size - asked.offset);
    let data = wanted.min(range.instant.size.saturating_sub(from));
    let who = request.who()?;
    let copied = vfs.copy_instant(
        &who.credentials,
        range.instant,
        from,
        target,
        asked.offset,
        data,
    );
    match copied.await {
        Ok(InstantCopy::Copied) => {}
        Ok(InstantCopy::Over) => return Err(NtStatus::INVALID_TOKEN.into()),
        Err(VfsError::NotSupported) => {
            return Err(NtStatus::OFFLOAD_WRITE_FILE_NOT_SUPPORTED.into());
        }
        Err(error) => return Err(error.into()),
    }
    if wanted > data {
        let at = asked.offset.saturating_add(data);
        vfs.zero_range(target, at, wanted - data).await?;
    }
    Ok(length)
}

fn check_range(handle: &Handle, offset: u64, length: u64) -> Result<(), Failure> {
    let end = offset.checked_add(length).filter(|end| *end <= OFFSET_MAX);
    let whole = offset.is_multiple_of(SECTOR) && length.is_multiple_of(SECTOR);
    if handle.is_directory() || end.is_none() || !whole || length == 0 {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    Ok(())
}
