//! IOCTL (MS-SMB2 3.3.5.15).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "codes from the wire are open: what is not served is refused as one"
)]

mod copy_chunk;
mod duplicate_extents;
mod file;
mod integrity;
mod network_interfaces;
mod object_id;
mod offload;
mod pipe;
mod reparse;
mod validate_negotiate;

use crate::server::answer::{Answer, Body, Step};
use crate::server::lasting;
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::wire::NtStatus;
use crate::wire::ioctl::{FsctlCode, IOCTL_IS_FSCTL, IoctlRequest};

/// STATUS_FS_DRIVER_REQUIRED: what is answered where DFS is not spoken (MS-SMB2 3.3.5.15.2).
const FS_DRIVER_REQUIRED: NtStatus = NtStatus(0xC000_019C);
/// Sizes and offsets are signed on the wire.
const OFFSET_MAX: u64 = i64::MAX as u64;

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
    if changes(wanted.code)
        && let Ok(open) = request.open(wanted.file_id)
    {
        lasting::settle(&request.conn.server, &open).await?;
    }
    Ok(Body::Ioctl(
        status,
        wanted.code,
        request.resolve(wanted.file_id).unwrap_or(wanted.file_id),
        output,
    ))
}

/// Whether a control may leave something behind that a client must not lose.
fn changes(code: FsctlCode) -> bool {
    matches!(
        code,
        FsctlCode::SrvCopyChunk
            | FsctlCode::SrvCopyChunkWrite
            | FsctlCode::DuplicateExtentsToFile
            | FsctlCode::DuplicateExtentsToFileEx
            | FsctlCode::OffloadWrite
            | FsctlCode::SetSparse
            | FsctlCode::SetZeroData
            | FsctlCode::FileLevelTrim
            | FsctlCode::SetReparsePoint
            | FsctlCode::DeleteReparsePoint
    )
}

async fn control(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    match wanted.code {
        FsctlCode::ValidateNegotiateInfo => validate_negotiate::run(request, wanted),
        FsctlCode::DfsGetReferrals | FsctlCode::DfsGetReferralsEx => Err(FS_DRIVER_REQUIRED.into()),
        FsctlCode::PipeTransceive | FsctlCode::PipePeek => pipe::run(request, wanted),
        FsctlCode::PipeWait => pipe::wait(request, wanted),
        FsctlCode::SrvRequestResumeKey => copy_chunk::request_resume_key(request, wanted),
        FsctlCode::SrvCopyChunk | FsctlCode::SrvCopyChunkWrite => {
            copy_chunk::copy_chunk(request, wanted).await
        }
        FsctlCode::DuplicateExtentsToFile => duplicate_extents::run(request, wanted).await,
        FsctlCode::DuplicateExtentsToFileEx => duplicate_extents::run_ex(request, wanted).await,
        FsctlCode::OffloadRead if request.conn.server.config.offload => {
            offload::read(request, wanted)
        }
        FsctlCode::OffloadWrite if request.conn.server.config.offload => {
            offload::write(request, wanted).await
        }
        FsctlCode::SrvEnumerateSnapshots => file::enumerate_snapshots(request, wanted),
        FsctlCode::QueryNetworkInterfaceInfo => network_interfaces::run(request, wanted),
        FsctlCode::SetSparse => file::set_sparse(request, wanted),
        FsctlCode::SetZeroData => file::set_zero_data(request, wanted).await,
        FsctlCode::QueryAllocatedRanges => file::query_allocated_ranges(request, wanted),
        FsctlCode::QueryFileRegions => file::query_file_regions(request, wanted),
        FsctlCode::FileLevelTrim => file::trim(request, wanted).await,
        FsctlCode::GetCompression => file::get_compression(request, wanted),
        FsctlCode::SetCompression => file::set_compression(request, wanted),
        FsctlCode::GetIntegrityInformation => integrity::get(request, wanted),
        FsctlCode::SetIntegrityInformation => integrity::set(request, wanted),
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
        FsctlCode::LmrRequestResiliency => NtStatus::NOT_SUPPORTED.into(),
        _ => match request.open(wanted.file_id) {
            Ok(_) => NtStatus::INVALID_DEVICE_REQUEST.into(),
            Err(failure) => failure,
        },
    }
}

fn room(wanted: &IoctlRequest<'_>) -> usize {
    usize::try_from(wanted.max_output_response).unwrap_or(0)
}
