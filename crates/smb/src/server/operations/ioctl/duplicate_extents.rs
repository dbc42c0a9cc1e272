//! FSCTL_DUPLICATE_EXTENTS_TO_FILE and its _EX form (MS-FSCC 2.3.7 to 2.3.10, MS-FSA 2.1.5.10.4): a range of one file
//! becomes a range of another.

use strongroom_vfs::{AccessMask, DosAttributes, Handle};

use super::{OFFSET_MAX, Output};
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::wire::fscc::fsctl::{DuplicateExtents, DuplicateExtentsEx};
use crate::wire::ioctl::IoctlRequest;
use crate::wire::{Codec, NtStatus};

/// Offsets and lengths are whole clusters.
const CLUSTER: u64 = 4096;
/// StructureSize of the _EX form.
const EX_SIZE: u64 = 0x30;

pub(super) async fn run(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let asked = DuplicateExtents::decode(wanted.input)?;
    duplicate(request, wanted, &asked).await
}

/// The one flag asks that the source stay still while a long range is taken, which is not promised here.
pub(super) async fn run_ex(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let asked = DuplicateExtentsEx::decode(wanted.input)?;
    if asked.structure_size != EX_SIZE {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    if asked.flags != 0 {
        return Err(NtStatus::NOT_SUPPORTED.into());
    }
    duplicate(request, wanted, &asked.extents).await
}

async fn duplicate(
    request: &Request,
    wanted: &IoctlRequest<'_>,
    asked: &DuplicateExtents,
) -> Output {
    let target = request.open(wanted.file_id)?;
    let target = &file_of(&target)?.handle;
    let source = request.session()?.open(asked.source);
    let source = source.ok_or(NtStatus::INVALID_HANDLE)?;
    let source = &file_of(&source)?.handle;
    if !source.granted().contains(AccessMask::READ_DATA)
        || !target.granted().contains(AccessMask::WRITE_DATA)
    {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    check_ranges(source, target, asked)?;
    if asked.length > 0 {
        check_files(request, source, target, asked)?;
        let vfs = &request.conn.server.vfs;
        let (from, to, len) = (asked.source_offset, asked.target_offset, asked.length);
        vfs.copy_range(source, from, target, to, len).await?;
    }
    Ok((NtStatus::SUCCESS, Vec::new()))
}

fn check_ranges(source: &Handle, target: &Handle, asked: &DuplicateExtents) -> Result<(), Failure> {
    let numbers = [asked.source_offset, asked.target_offset, asked.length];
    let whole = numbers.iter().all(|number| number % CLUSTER == 0);
    let end = |start: u64| {
        start
            .checked_add(asked.length)
            .filter(|end| *end <= OFFSET_MAX)
    };
    let ends = (end(asked.source_offset), end(asked.target_offset));
    let (Some(source_end), Some(target_end), true) = (ends.0, ends.1, whole) else {
        return Err(NtStatus::INVALID_PARAMETER.into());
    };
    let same = source.inode() == target.inode() && source.stream_name() == target.stream_name();
    let overlap = asked.source_offset < target_end && asked.target_offset < source_end;
    if same && overlap {
        return Err(NtStatus::NOT_SUPPORTED.into());
    }
    Ok(())
}

/// Both ranges lie within their files, and holes go only where there may be some.
fn check_files(
    request: &Request,
    source: &Handle,
    target: &Handle,
    asked: &DuplicateExtents,
) -> Result<(), Failure> {
    let vfs = &request.conn.server.vfs;
    let (from, to) = (vfs.stat(source)?, vfs.stat(target)?);
    let beyond = |start: u64, size: u64| start + asked.length > size.next_multiple_of(CLUSTER);
    let sparse = |stat: &strongroom_vfs::Stat| stat.attributes.contains(DosAttributes::SPARSE_FILE);
    if beyond(asked.source_offset, from.size)
        || beyond(asked.target_offset, to.size)
        || (sparse(&from) && !sparse(&to))
    {
        return Err(NtStatus::NOT_SUPPORTED.into());
    }
    Ok(())
}
