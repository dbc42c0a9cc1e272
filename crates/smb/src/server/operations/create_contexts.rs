//! Create contexts: what a request adds, and the answers (MS-SMB2 3.3.5.9.1 to 3.3.5.9.14).
//!
//! Oplocks, leases and durable handles are not granted, so their contexts go unanswered, as the specification wants it
//! of a server that does not grant them.

use strongroom_vfs::acl::SecurityDescriptor;
use strongroom_vfs::{ExtendedAttribute, Handle, Share, Stat};

use crate::server::request::Request;
use crate::server::status::{Failure, status_of};
use crate::wire::create_context::{CreateContexts, RequestContext, ResponseContext};
use crate::wire::fscc::ea::FullEa;
use crate::wire::{FileTime, NtStatus};

/// What the contexts of a request ask for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) security: Option<SecurityDescriptor>,
    pub(crate) eas: Vec<ExtendedAttribute>,
    pub(crate) allocation: u64,
    maximal_access: Option<Option<FileTime>>,
    on_disk_id: bool,
}

impl Wanted {
    pub(crate) fn of(contexts: &CreateContexts<'_>) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        for context in contexts.requests() {
            wanted.take(&context?)?;
        }
        Ok(wanted)
    }

    fn take(&mut self, context: &RequestContext<'_>) -> Result<(), Failure> {
        match context {
            RequestContext::EaBuffer(bytes) => self.eas = eas_of(bytes)?,
            RequestContext::SecurityDescriptor(bytes) => {
                let parsed = SecurityDescriptor::from_bytes(bytes);
                self.security = Some(parsed.map_err(|_| NtStatus::INVALID_PARAMETER)?);
            }
            RequestContext::AllocationSize(bytes) => self.allocation = *bytes,
            RequestContext::MaximalAccess(time) => self.maximal_access = Some(*time),
            RequestContext::OnDiskId => self.on_disk_id = true,
            // No handle outlives its connection, and no past state can be opened.
            RequestContext::DurableReconnect(_)
            | RequestContext::DurableReconnectV2 { .. }
            | RequestContext::Timewarp(_) => return Err(NtStatus::OBJECT_NAME_NOT_FOUND.into()),
            RequestContext::DurableRequest
            | RequestContext::DurableRequestV2 { .. }
            | RequestContext::Lease(_)
            | RequestContext::AppInstanceId(_)
            | RequestContext::AppInstanceVersion { .. }
            | RequestContext::AaplQuery { .. }
            | RequestContext::Posix { .. }
            | RequestContext::Unknown { .. } => {}
        }
        Ok(())
    }
}

/// Larger buffers hold more than a file's attributes may take.
const EA_BUFFER_MAX: usize = 64 << 10;

/// Extended attributes as the file system takes them.
pub(crate) fn eas_of(bytes: &[u8]) -> Result<Vec<ExtendedAttribute>, Failure> {
    if bytes.len() > EA_BUFFER_MAX {
        return Err(NtStatus::EA_TOO_LARGE.into());
    }
    let list = FullEa::decode_list(bytes).map_err(|_| NtStatus::EA_LIST_INCONSISTENT)?;
    list.iter().map(ea_of).collect()
}

fn ea_of(ea: &FullEa<'_>) -> Result<ExtendedAttribute, Failure> {
    let name = str::from_utf8(ea.name).map_err(|_| NtStatus::INVALID_EA_NAME)?;
    Ok(ExtendedAttribute {
        flags: ea.flags,
        name: name.to_owned(),
        value: ea.value.to_vec(),
    })
}

/// The contexts of the response.
pub(crate) fn answer(
    request: &Request,
    share: &Share,
    handle: &Handle,
    stat: &Stat,
    wanted: &Wanted,
) -> Result<CreateContexts<'static>, Failure> {
    let mut answers = CreateContexts::default();
    if let Some(since) = wanted.maximal_access {
        answers.push_response(&maximal_access(request, handle, stat, since)?);
    }
    if wanted.on_disk_id {
        let volume = u64::from(share.id.0);
        answers.push_response(&ResponseContext::OnDiskId {
            file: stat.inode.0,
            volume,
        });
    }
    Ok(answers)
}

/// With a time, only a file that changed since then is looked at (MS-SMB2 3.3.5.9.5).
fn maximal_access(
    request: &Request,
    handle: &Handle,
    stat: &Stat,
    since: Option<FileTime>,
) -> Result<ResponseContext<'static>, Failure> {
    if since.is_some_and(|since| since.0 != 0 && since.0 == stat.modified.0) {
        return Ok(ResponseContext::MaximalAccess {
            status: NtStatus::NONE_MAPPED,
            access: 0,
        });
    }
    let credentials = &request.user()?.credentials;
    let (status, access) = match request.conn.server.vfs.maximal_access(handle, credentials) {
        Ok(access) => (
            NtStatus::SUCCESS,
            access.0 & request.tree()?.maximal_access.0,
        ),
        Err(error) => (status_of(&error), 0),
    };
    Ok(ResponseContext::MaximalAccess { status, access })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_larger_than_all_attributes_of_a_file_is_not_even_decoded() {
        let refused = eas_of(&vec![0xFF; EA_BUFFER_MAX + 1]).unwrap_err();
        assert_eq!(refused.status, NtStatus::EA_TOO_LARGE);
        let malformed = eas_of(&vec![0xFF; EA_BUFFER_MAX]).unwrap_err();
        assert_eq!(malformed.status, NtStatus::EA_LIST_INCONSISTENT);
    }
}
