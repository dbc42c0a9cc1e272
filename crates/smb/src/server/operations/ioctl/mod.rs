//! IOCTL (MS-SMB2 3.3.5.15).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "codes from the wire are open: what is not served is refused as one"
)]

mod file;
mod object_id;
mod reparse;
mod validate_negotiate;

use crate::server::answer::{Answer, Body, Step};
use crate::server::open::Target;
use crate::server::pipe::PipeOpen;
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::wire::ioctl::{FsctlCode, IOCTL_IS_FSCTL, IoctlRequest};
use crate::wire::{NtStatus, Put};

/// STATUS_FS_DRIVER_REQUIRED: what is answered where DFS is not spoken (MS-SMB2 3.3.5.15.2).
const FS_DRIVER_REQUIRED: NtStatus = NtStatus(0xC000_019C);
const PIPE_CONNECTED: u32 = 3;

pub(crate) fn run(request: Request) -> Step {
    Step::Later(Box::pin(ioctl(request)))
}

/// What a control gives back: its status and its output.
type Output = Result<(NtStatus, Vec<u8>), Failure>;

async fn ioctl(request: Request) -> Answer {
    let wanted: IoctlRequest<'_> = request.decode()?;
    let expected = wanted.max_output_response.max(wanted.max_input_response);
    request.check_charge(wanted.input.len(), expected)?;
    if wanted.flags != IOCTL_IS_FSCTL {
        return Err(NtStatus::NOT_SUPPORTED.into());
    }
    let max = request.conn.server.config.max_transact_size;
    if expected > max || wanted.input.len() > usize::try_from(max).unwrap_or(usize::MAX) {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    let (status, output) = control(&request, &wanted).await?;
    Ok(Body::Ioctl(
        status,
        wanted.code,
        request.resolve(wanted.file_id).unwrap_or(wanted.file_id),
        output,
    ))
}

async fn control(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    match wanted.code {
        FsctlCode::ValidateNegotiateInfo => validate_negotiate::run(request, wanted),
        FsctlCode::DfsGetReferrals | FsctlCode::DfsGetReferralsEx => Err(FS_DRIVER_REQUIRED.into()),
        FsctlCode::PipeTransceive | FsctlCode::PipePeek => pipe(request, wanted),
        FsctlCode::PipeWait => Ok((NtStatus::SUCCESS, Vec::new())),
        FsctlCode::SetSparse => file::set_sparse(request, wanted),
        FsctlCode::SetZeroData => file::set_zero_data(request, wanted).await,
        FsctlCode::QueryAllocatedRanges => file::query_allocated_ranges(request, wanted),
        FsctlCode::GetCompression => file::get_compression(request, wanted),
        FsctlCode::GetReparsePoint => reparse::get(request, wanted),
        FsctlCode::SetReparsePoint => reparse::set(request, wanted).await,
        FsctlCode::DeleteReparsePoint => reparse::delete(request, wanted).await,
        FsctlCode::CreateOrGetObjectId | FsctlCode::GetObjectId => object_id::get(request, wanted),
        FsctlCode::IsPathnameValid | FsctlCode::FilesystemGetStatistics => {
            file_of(&*request.open(wanted.file_id)?)?;
            Err(NtStatus::NOT_SUPPORTED.into())
        }
        // The rest of MS-SMB2 2.2.31 and MS-FSCC 2.3, and what nobody knows.
        _ => Err(unsupported(request, wanted)),
    }
}

/// What a file system does not know gets STATUS_INVALID_DEVICE_REQUEST, once its open is found (MS-SMB2 3.3.5.15).
fn unsupported(request: &Request, wanted: &IoctlRequest<'_>) -> Failure {
    match wanted.code {
        FsctlCode::QueryNetworkInterfaceInfo
        | FsctlCode::LmrRequestResiliency
        | FsctlCode::SetCompression => NtStatus::NOT_SUPPORTED.into(),
        _ => match request.open(wanted.file_id) {
            Ok(_) => NtStatus::INVALID_DEVICE_REQUEST.into(),
            Err(failure) => failure,
        },
    }
}

fn room(wanted: &IoctlRequest<'_>) -> usize {
    usize::try_from(wanted.max_output_response).unwrap_or(0)
}

fn pipe(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let Target::Pipe(pipe) = &open.target else {
        return Err(NtStatus::INVALID_DEVICE_REQUEST.into());
    };
    if wanted.code == FsctlCode::PipePeek {
        return peek(pipe);
    }
    let read = pipe.transceive(wanted.input, room(wanted))?;
    let status = if read.more {
        NtStatus::BUFFER_OVERFLOW
    } else {
        NtStatus::SUCCESS
    };
    Ok((status, read.data))
}

/// FSCTL_PIPE_PEEK reply (MS-FSCC 2.3.46): state, bytes, messages, length of the next one; no data.
fn peek(pipe: &PipeOpen) -> Output {
    let (next, all) = pipe.available();
    let mut out = Vec::with_capacity(16);
    out.put_u32(PIPE_CONNECTED);
    out.put_u32(u32::try_from(all).unwrap_or(u32::MAX));
    out.put_u32(u32::from(all > 0));
    out.put_u32(u32::try_from(next).unwrap_or(u32::MAX));
    Ok((NtStatus::SUCCESS, out))
}
