//! Security descriptors (MS-SMB2 3.3.5.20.3).

use strongroom_identity::Numbers;
use strongroom_vfs::acl::SecurityParts;

use super::room;
use crate::server::open::FileOpen;
use crate::server::posix;
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
    let server = &request.conn.server;
    let mut descriptor = server.vfs.security(&file.handle, parts)?;
    let for_mac = request.session()?.is_apple() && !file.handle.is_posix();
    if for_mac && parts.contains(SecurityParts::DACL) {
        let numbers = Numbers::new(server.identity.machine_sid());
        posix::tell_numbers(&mut descriptor, &server.vfs.posix(&file.handle)?, &numbers);
    }
    let bytes = descriptor.to_bytes();
    if bytes.len() > room(wanted) {
        return Err(Failure::too_small(bytes.len()));
    }
    out.put(&bytes);
    Ok(NtStatus::SUCCESS)
}
