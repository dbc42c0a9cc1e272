//! Sparse files and what else is cheap (MS-FSCC 2.3).

use strongroom_vfs::AccessMask;

use super::{OFFSET_MAX, Output, room};
use crate::server::open::FileOpen;
use crate::server::past;
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::server::tree::Root;
use crate::wire::fscc::fsctl::{
    CompressionState, FileRegion, Range, SnapshotArray, ZeroData, decode_set_sparse, decode_trim,
    encode_file_regions, encode_ranges,
};
use crate::wire::ioctl::IoctlRequest;
use crate::wire::{Codec, NtStatus, Put};

fn check_data_file(file: &FileOpen) -> Result<(), Failure> {
    if file.handle.is_directory() {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    Ok(())
}

/// MS-FSA 2.1.5.10.36.
pub(super) fn set_sparse(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open)?;
    check_data_file(file)?;
    let rights = AccessMask::WRITE_DATA
        .union(AccessMask::APPEND_DATA)
        .union(AccessMask::WRITE_ATTRIBUTES);
    if !file.handle.granted().intersects(rights) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    request
        .conn
        .server
        .vfs
        .set_sparse(&file.handle, decode_set_sparse(wanted.input))?;
    Ok((NtStatus::SUCCESS, Vec::new()))
}

/// MS-FSA 2.1.5.10.37.
pub(super) async fn set_zero_data(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open)?;
    check_data_file(file)?;
    let range = ZeroData::decode(wanted.input)?;
    if range.offset > range.beyond || range.beyond > OFFSET_MAX {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    if !file.handle.granted().contains(AccessMask::WRITE_DATA) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let len = range.beyond - range.offset;
    if len > 0 {
        request
            .conn
            .server
            .vfs
            .zero_range(&file.handle, range.offset, len)
            .await?;
    }
    Ok((NtStatus::SUCCESS, Vec::new()))
}

/// MS-FSA 2.1.5.10.22.
pub(super) fn query_allocated_ranges(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open)?;
    check_data_file(file)?;
    let range = Range::decode(wanted.input)?;
    let end = range.offset.checked_add(range.length);
    if end.is_none_or(|end| end > OFFSET_MAX) {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    if !file.handle.granted().contains(AccessMask::READ_DATA) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let found =
        request
            .conn
            .server
            .vfs
            .allocated_ranges(&file.handle, range.offset, range.length)?;
    let ranges: Vec<_> = found
        .into_iter()
        .map(|(offset, length)| Range { offset, length })
        .collect();
    let mut out = Vec::new();
    if encode_ranges(&ranges, room(wanted), &mut out) {
        Ok((NtStatus::SUCCESS, out))
    } else if out.is_empty() {
        Err(NtStatus::BUFFER_TOO_SMALL.into())
    } else {
        Ok((NtStatus::BUFFER_OVERFLOW, out))
    }
}

/// Compression is the pool's affair; as clients see it, nothing is compressed.
pub(super) fn get_compression(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    file_of(&open)?;
    let state = CompressionState { format: 0 }.to_vec();
    if room(wanted) < state.len() {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    Ok((NtStatus::SUCCESS, state))
}

/// What is not compressed may be said not to be; more than that is not offered (MS-FSCC 2.3.66).
pub(super) fn set_compression(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open)?;
    let asked = CompressionState::decode(wanted.input)?;
    let rights = AccessMask::WRITE_DATA.union(AccessMask::WRITE_ATTRIBUTES);
    if !file.handle.granted().intersects(rights) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    match asked.format {
        0 => Ok((NtStatus::SUCCESS, Vec::new())),
        _ => Err(NtStatus::NOT_SUPPORTED.into()),
    }
}

/// Ranges of one FSCTL_FILE_LEVEL_TRIM.
const TRIMS_MAX: usize = 1024;

/// MS-FSCC 2.3.75: what the client needs no more becomes holes. The answer says how many ranges did.
pub(super) async fn trim(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open)?;
    check_data_file(file)?;
    let ranges = decode_trim(wanted.input)?;
    let valid = |range: &Range| {
        let end = range.offset.checked_add(range.length);
        end.is_some_and(|end| end <= OFFSET_MAX)
    };
    if ranges.is_empty() || ranges.len() > TRIMS_MAX || !ranges.iter().all(valid) {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    let vfs = &request.conn.server.vfs;
    for range in &ranges {
        vfs.zero_range(&file.handle, range.offset, range.length)
            .await?;
    }
    let mut out = Vec::new();
    if room(wanted) >= 4 {
        out.put_u32(u32::try_from(ranges.len()).unwrap_or(u32::MAX));
    }
    Ok((NtStatus::SUCCESS, out))
}

/// FILE_REGION_USAGE_VALID_CACHED_DATA (MS-FSCC 2.3.55.1).
const VALID_CACHED_DATA: u32 = 1;
/// The head of the answer, before its regions.
const REGIONS_HEAD: usize = 16;

/// FSCTL_QUERY_FILE_REGIONS (MS-FSCC 2.3.55): every byte up to the end of the file is valid.
pub(super) fn query_file_regions(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open)?;
    check_data_file(file)?;
    let asked = if wanted.input.is_empty() {
        FileRegion {
            offset: 0,
            length: OFFSET_MAX,
            usage: VALID_CACHED_DATA,
        }
    } else {
        FileRegion::decode(wanted.input)?
    };
    let end = asked.offset.checked_add(asked.length);
    let end = end.filter(|end| *end <= OFFSET_MAX && asked.usage & VALID_CACHED_DATA != 0);
    let end = end.ok_or(NtStatus::INVALID_PARAMETER)?;
    if room(wanted) < REGIONS_HEAD {
        return Err(NtStatus::BUFFER_TOO_SMALL.into());
    }
    let size = request.conn.server.vfs.stat(&file.handle)?.size;
    let region = FileRegion {
        length: end.min(size).saturating_sub(asked.offset),
        usage: VALID_CACHED_DATA,
        ..asked
    };
    let regions = if region.length > 0 {
        &[region][..]
    } else {
        &[]
    };
    let mut out = Vec::new();
    if encode_file_regions(regions, room(wanted), &mut out) {
        Ok((NtStatus::SUCCESS, out))
    } else {
        Ok((NtStatus::BUFFER_OVERFLOW, out))
    }
}

/// FSCTL_SRV_ENUMERATE_SNAPSHOTS (MS-SMB2 3.3.5.15.1): the instants at which what is open was another.
pub(super) fn enumerate_snapshots(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open)?;
    if room(wanted) < SnapshotArray::LEN_MIN {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    let labels = match &request.tree()?.root {
        Root::Share(share) => past::labels(&request.conn.server.vfs, share, &file.handle)?,
        Root::Pipes => Vec::new(),
    };
    let mut out = Vec::new();
    SnapshotArray { labels }.encode(room(wanted), &mut out);
    Ok((NtStatus::SUCCESS, out))
}
