//! Setting security descriptors (MS-SMB2 3.3.5.21.3).

use strongroom_vfs::acl::{SecurityDescriptor, SecurityParts};

use crate::server::open::FileOpen;
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
    request
        .conn
        .server
        .vfs
        .set_security(&file.handle, parts, &descriptor)
        .await?;
    Ok(())
}
