//! FSCTL_CREATE_OR_GET_OBJECT_ID and FSCTL_GET_OBJECT_ID (MS-FSA 2.1.5.10.1, 2.1.5.10.12): link tracking on Windows
//! asks for them. Every file has one already, made of the server's GUID, its share and its file id.

use super::{Output, room};
use crate::server::request::{Request, file_of};
use crate::wire::fscc::fsctl::ObjectIdBuffer;
use crate::wire::ioctl::IoctlRequest;
use crate::wire::{Codec, Guid, NtStatus};

pub(super) fn get(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let file = file_of(&open)?;
    let server = request.conn.server.config.guid;
    let inode = file.handle.inode().0.to_le_bytes();
    let share = file.handle.share().0.to_le_bytes();
    let mut object = [0; 16];
    object[..8].copy_from_slice(&inode);
    object[8..].copy_from_slice(&server[..8]);
    let mut volume = server;
    volume[12..].copy_from_slice(&share);
    let answer = ObjectIdBuffer {
        object_id: Guid(object),
        birth_volume: Guid(volume),
        birth_object: Guid(object),
        domain: Guid::default(),
    };
    let bytes = answer.to_vec();
    if room(wanted) < bytes.len() {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    Ok((NtStatus::SUCCESS, bytes))
}
