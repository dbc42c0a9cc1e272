//! QUERY_INFO (MS-SMB2 3.3.5.20).

mod eas;
mod file;
mod file_system;
mod pipe;
mod security;

use super::negotiate::payload_max;
use super::quota;
use crate::server::answer::Step;
use crate::server::open::{Open, Target};
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::server::tree::Root;
use crate::wire::NtStatus;
use crate::wire::info::{Buffer, InfoType, QueryInfoRequest};

pub(crate) fn run(request: &Request, out: &mut Vec<u8>) -> Step {
    let slot = Buffer::begin(out);
    match query(request, out) {
        Ok(status) => {
            Buffer::finish(slot, out);
            Step::Now(status)
        }
        Err(failure) => failure.into(),
    }
}

fn query(request: &Request, out: &mut Vec<u8>) -> Result<NtStatus, Failure> {
    let wanted: QueryInfoRequest<'_> = request.decode()?;
    request.check_charge(wanted.input.len(), wanted.output_buffer_length)?;
    let open = request.open(wanted.file_id)?;
    let max = request.conn.server.config.max_transact_size;
    let max = request
        .conn
        .negotiated
        .get()
        .map_or(0, |negotiated| payload_max(negotiated, max));
    if wanted.output_buffer_length > max {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    match wanted.info_type {
        InfoType::File => query_file(request, &open, &wanted, out),
        InfoType::FileSystem => match &open.tree.root {
            Root::Share(share) => file_system::query(request, share, &wanted, out),
            Root::Pipes => Err(NtStatus::INVALID_DEVICE_REQUEST.into()),
        },
        InfoType::Security => security::query(request, file_of(&open)?, &wanted, out),
        InfoType::Quota => {
            let room = room(&wanted);
            quota::query(request, file_of(&open)?, wanted.input, room, out)
        }
        InfoType::Unknown(_) => Err(NtStatus::INVALID_PARAMETER.into()),
    }
}

fn query_file(
    request: &Request,
    open: &Open,
    wanted: &QueryInfoRequest<'_>,
    out: &mut Vec<u8>,
) -> Result<NtStatus, Failure> {
    match &open.target {
        Target::File(file) => file::query(request, file, wanted, out),
        Target::Pipe(pipe) => pipe::query(pipe, wanted, out),
    }
}

/// The room at the client, in bytes.
fn room(wanted: &QueryInfoRequest<'_>) -> usize {
    usize::try_from(wanted.output_buffer_length).unwrap_or(0)
}

/// Cuts what was appended since `start` to the client's room.
fn cut(out: &mut Vec<u8>, start: usize, room: usize) -> NtStatus {
    if out.len() <= start + room {
        return NtStatus::SUCCESS;
    }
    out.truncate(start + room);
    NtStatus::BUFFER_OVERFLOW
}
