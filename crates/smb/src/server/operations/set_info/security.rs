//! Setting security descriptors (MS-SMB2 3.3.5.21.3).

use strongroom_vfs::acl::{SecurityDescriptor, SecurityParts};
use strongroom_vfs::{Handle, PosixChange, Vfs};

use crate::server::open::FileOpen;
use crate::server::posix;
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::wire::info::SetInfoRequest;

pub(super) async fn set(
    request: &Request,
    file: &FileOpen,
    wanted: &SetInfoRequest<'_>,
) -> Result<(), Failure> {
    let parts = SecurityParts(wanted.additional_information);
    let mut descriptor =
        SecurityDescriptor::from_bytes(wanted.buffer).map_err(strongroom_vfs::VfsError::from)?;
    let (vfs, handle) = (&request.conn.server.vfs, &file.handle);
    let mut left = parts;
    if request.session()?.is_apple() && !handle.is_posix() && parts.contains(SecurityParts::DACL) {
        return set_from_mac(vfs, handle, parts, &mut descriptor).await;
    }
    if handle.is_posix() {
        let (change, others) = posix::change_of(&descriptor, parts);
        if change != PosixChange::default() {
            vfs.set_posix(handle, change).await?;
        }
        left = others;
    }
    if left == SecurityParts::default() && parts != left {
        return Ok(());
    }
    vfs.set_security(handle, left, &descriptor).await?;
    Ok(())
}

/// A Mac brings back the list that it was told, with what it changed of the list or of the mode. A list of nothing but
/// mode and owners is none.
async fn set_from_mac(
    vfs: &Vfs,
    handle: &Handle,
    parts: SecurityParts,
    descriptor: &mut SecurityDescriptor,
) -> Result<(), Failure> {
    let (numbered, mode) = posix::take_numbers(descriptor);
    let before = vfs.posix(handle)?.mode;
    let empty = descriptor.dacl.acl().is_some_and(|acl| acl.aces.is_empty());
    let mut left = parts;
    if numbered && empty {
        left = SecurityParts(parts.0 & !SecurityParts::DACL.0);
    }
    if left != SecurityParts::default() {
        vfs.set_security(handle, left, descriptor).await?;
    }
    if mode.is_some_and(|mode| mode != before) {
        let change = PosixChange {
            mode,
            ..PosixChange::default()
        };
        vfs.set_posix(handle, change).await?;
    }
    Ok(())
}
