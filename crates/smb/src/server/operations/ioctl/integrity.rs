//! FSCTL_GET_INTEGRITY_INFORMATION and FSCTL_SET_INTEGRITY_INFORMATION (MS-FSCC 2.3.19, 2.3.73): every byte is
//! checksummed, and nobody can turn that off.

use strongroom_vfs::AccessMask;

use super::{Output, room};
use crate::server::request::{Request, file_of};
use crate::wire::fscc::fsctl::IntegrityInfo;
use crate::wire::ioctl::IoctlRequest;
use crate::wire::{Codec, NtStatus, Reader};

const CHECKSUM_TYPE_CRC64: u16 = 2;
const CHECKSUM_TYPE_UNCHANGED: u16 = 0xFFFF;
/// One checksum a block of this many bytes, as the pool keeps them.
const CHUNK: u32 = 16 << 10;
const CLUSTER: u32 = 4096;

pub(super) fn get(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    file_of(&open)?;
    let info = IntegrityInfo {
        algorithm: CHECKSUM_TYPE_CRC64,
        flags: 0,
        chunk_size: CHUNK,
        cluster_size: CLUSTER,
    };
    let bytes = info.to_vec();
    if room(wanted) < bytes.len() {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    Ok((NtStatus::SUCCESS, bytes))
}

pub(super) fn set(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open)?;
    let mut input = Reader::new(wanted.input);
    let (algorithm, _reserved, _flags) = (input.u16()?, input.u16()?, input.u32()?);
    let rights = AccessMask::WRITE_DATA.union(AccessMask::WRITE_ATTRIBUTES);
    if !file.handle.granted().intersects(rights) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    match algorithm {
        CHECKSUM_TYPE_CRC64 | CHECKSUM_TYPE_UNCHANGED => Ok((NtStatus::SUCCESS, Vec::new())),
        _ => Err(NtStatus::NOT_SUPPORTED.into()),
    }
}
