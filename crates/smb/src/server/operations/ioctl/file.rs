//! Sparse files and what else is cheap (MS-FSCC 2.3).

use strongroom_vfs::AccessMask;

use super::{Output, room};
use crate::server::open::FileOpen;
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::wire::fscc::fsctl::{
    CompressionState, Range, ZeroData, decode_set_sparse, encode_ranges,
};
use crate::wire::ioctl::IoctlRequest;
use crate::wire::{Codec, NtStatus};

/// Sizes and offsets are signed on the wire.
const OFFSET_MAX: u64 = i64::MAX as u64;

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
