//! Reparse points: symbolic links as Windows and Linux clients make them (MS-FSA 2.1.5.10.14, .34, .6).

use strongroom_vfs::{AccessMask, ReparseData};

use super::{Output, room};
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::wire::ioctl::IoctlRequest;
use crate::wire::reparse::REPARSE_MAX;
use crate::wire::{NtStatus, Put, Reader};

/// Tag, length and a reserved field.
const HEADER: usize = 8;
/// Tags without this bit carry a GUID behind the header, and nobody here stores them.
const MICROSOFT: u32 = 0x8000_0000;

pub(super) fn get(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let stored = request.conn.server.vfs.reparse(&file_of(&open)?.handle)?;
    let len = u16::try_from(stored.data.len()).map_err(|_| NtStatus::IO_REPARSE_DATA_INVALID)?;
    let mut out = Vec::with_capacity(HEADER + stored.data.len());
    out.put_u32(stored.tag);
    out.put_u16(len);
    out.put_u16(0);
    out.put(&stored.data);
    if room(wanted) < HEADER {
        return Err(NtStatus::BUFFER_TOO_SMALL.into());
    }
    if out.len() > room(wanted) {
        out.truncate(room(wanted));
        return Ok((NtStatus::BUFFER_OVERFLOW, out));
    }
    Ok((NtStatus::SUCCESS, out))
}

pub(super) async fn set(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open)?;
    check_access(file.handle.granted())?;
    let (tag, data) = parse(wanted.input)?;
    let data = ReparseData {
        tag,
        data: data.to_vec(),
    };
    request
        .conn
        .server
        .vfs
        .set_reparse(&file.handle, &data)
        .await?;
    Ok((NtStatus::SUCCESS, Vec::new()))
}

pub(super) async fn delete(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open)?;
    check_access(file.handle.granted())?;
    let (tag, data) = parse(wanted.input)?;
    if !data.is_empty() {
        return Err(NtStatus::IO_REPARSE_DATA_INVALID.into());
    }
    request
        .conn
        .server
        .vfs
        .delete_reparse(&file.handle, tag)
        .await?;
    Ok((NtStatus::SUCCESS, Vec::new()))
}

fn check_access(granted: AccessMask) -> Result<(), Failure> {
    let rights = AccessMask::WRITE_DATA.union(AccessMask::WRITE_ATTRIBUTES);
    if granted.intersects(rights) {
        Ok(())
    } else {
        Err(NtStatus::ACCESS_DENIED.into())
    }
}

/// Tag and data of a REPARSE_DATA_BUFFER (MS-FSCC 2.1.2.2).
fn parse(input: &[u8]) -> Result<(u32, &[u8]), Failure> {
    let invalid = |_| NtStatus::IO_REPARSE_DATA_INVALID;
    if input.len() > REPARSE_MAX {
        return Err(NtStatus::IO_REPARSE_DATA_INVALID.into());
    }
    let mut reader = Reader::new(input);
    let tag = reader.u32().map_err(invalid)?;
    let len = reader.u16().map_err(invalid)?;
    reader.skip(2).map_err(invalid)?;
    let data = reader.take(usize::from(len)).map_err(invalid)?;
    if reader.left() != 0 || tag & MICROSOFT == 0 {
        return Err(NtStatus::IO_REPARSE_DATA_INVALID.into());
    }
    Ok((tag, data))
}
