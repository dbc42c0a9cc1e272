//! Security descriptors (MS-SMB2 3.3.5.20.3).

use strongroom_vfs::acl::SecurityParts;

use super::room;
use crate::server::open::FileOpen;
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::wire::info::QueryInfoRequest;
use crate::wire::{NtStatus, Put};

pub(super) fn query(
    request: &Request,
    file: &FileOpen,
    wanted: &QueryInfoRequest<'_>,
    out: &mut Vec<u8>,
) -> Result<NtStatus, Failure> {
    let parts = SecurityParts(wanted.additional_information);
    let descriptor = request.conn.server.vfs.security(&file.handle, parts)?;
    let bytes = descriptor.to_bytes();
    if bytes.len() > room(wanted) {
        return Err(Failure::too_small(bytes.len()));
    }
    out.put(&bytes);
    Ok(NtStatus::SUCCESS)
}
