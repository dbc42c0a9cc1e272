//! READ (MS-SMB2 3.3.5.12). The file system reads into the response.

use std::sync::atomic::Ordering;

use strongroom_vfs::{AccessMask, Vfs, VfsError};

use super::negotiate::payload_max;
use crate::server::answer::Step;
use crate::server::open::{FileOpen, Target};
use crate::server::pipe::PipeOpen;
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::wire::read::{ReadRequest, ReadResponse, ReadSlot};
use crate::wire::{Codec, NtStatus};

/// No offset lies beyond.
const OFFSET_MAX: u64 = i64::MAX as u64;

pub(crate) fn run(request: &Request, out: &mut Vec<u8>) -> Step {
    match read(request, out) {
        Ok(status) => Step::Now(status),
        Err(failure) => failure.into(),
    }
}

fn read(request: &Request, out: &mut Vec<u8>) -> Result<NtStatus, Failure> {
    let wanted: ReadRequest<'_> = request.decode()?;
    request.check_charge(0, wanted.length)?;
    let open = request.open(wanted.file_id)?;
    if wanted.length > read_max(request) || wanted.channel != 0 {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    match &open.target {
        Target::File(file) => read_file(request, file, &wanted, out),
        Target::Pipe(pipe) => read_pipe(pipe, &wanted, out),
    }
}

fn read_max(request: &Request) -> u32 {
    let configured = request.conn.server.config.max_read_size;
    request
        .conn
        .negotiated
        .get()
        .map_or(0, |negotiated| payload_max(negotiated, configured))
}

fn read_file(
    request: &Request,
    file: &FileOpen,
    wanted: &ReadRequest<'_>,
    out: &mut Vec<u8>,
) -> Result<NtStatus, Failure> {
    if file.handle.is_directory() {
        return Err(NtStatus::INVALID_DEVICE_REQUEST.into());
    }
    let reading = AccessMask::READ_DATA.union(AccessMask::EXECUTE);
    if !file.handle.granted().intersects(reading) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    if wanted.offset > OFFSET_MAX || wanted.offset + u64::from(wanted.length) > OFFSET_MAX {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    let length = usize::try_from(wanted.length).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let (vfs, buffers) = (&request.conn.server.vfs, &request.conn.server.buffers);
    let slot = ReadSlot::begin(out);
    let (begun, room) = (&slot, &mut *out);
    let count = vfs
        .read_into(&file.handle, wanted.offset, length, move |count| {
            buffers.lengthen(room, count);
            begun.payload(room)
        })
        .inspect_err(|error| report_damage(vfs, file, error))?;
    let minimum = usize::try_from(wanted.minimum_count).unwrap_or(usize::MAX);
    if (count == 0 && length > 0) || count < minimum {
        return Err(NtStatus::END_OF_FILE.into());
    }
    slot.finish(out, count);
    file.position
        .store(wanted.offset + count as u64, Ordering::Relaxed);
    Ok(NtStatus::SUCCESS)
}

/// An administrator must be told which file is damaged, not only which block.
fn report_damage(vfs: &Vfs, file: &FileOpen, error: &VfsError) {
    if matches!(error, VfsError::Corrupt(_)) {
        let path = vfs.path(&file.handle).unwrap_or_default();
        tracing::error!(path = ?path, inode = file.handle.inode().0, %error, "a file is damaged");
    }
}

/// A message of the pipe that does not fit stays there in part, for the next READ.
fn read_pipe(
    pipe: &PipeOpen,
    wanted: &ReadRequest<'_>,
    out: &mut Vec<u8>,
) -> Result<NtStatus, Failure> {
    let length = usize::try_from(wanted.length).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let read = pipe.read(length)?;
    ReadResponse {
        data_remaining: 0,
        data: &read.data,
    }
    .encode(out);
    Ok(if read.more {
        NtStatus::BUFFER_OVERFLOW
    } else {
        NtStatus::SUCCESS
    })
}
