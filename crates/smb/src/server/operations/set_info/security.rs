//! Setting security descriptors (MS-SMB2 3.3.5.21.3).

use strongroom_vfs::PosixChange;
use strongroom_vfs::acl::{SecurityDescriptor, SecurityParts};

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
    let descriptor =
        SecurityDescriptor::from_bytes(wanted.buffer).map_err(strongroom_vfs::VfsError::from)?;
    let (vfs, handle) = (&request.conn.server.vfs, &file.handle);
    let mut left = parts;
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
