//! Create contexts: what a request adds, and the answers (MS-SMB2 3.3.5.9.1 to 3.3.5.9.14).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the caller chose by the kind of context before"
)]

use strongroom_vfs::acl::SecurityDescriptor;
use strongroom_vfs::{ExtendedAttribute, Handle, PosixOpen, Share, Stat};

use crate::server::apple::Asked;
use crate::server::caching::AppInstance;
use crate::server::posix;
use crate::server::request::Request;
use crate::server::status::{Failure, status_of};
use crate::wire::create_context::{
    CreateContexts, DURABLE_FLAG_PERSISTENT, Lease, RequestContext, ResponseContext,
};
use crate::wire::fscc::ea::FullEa;
use crate::wire::{FileId, FileTime, Guid, NtStatus};

/// What the contexts of a request ask for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) security: Option<SecurityDescriptor>,
    pub(crate) eas: Vec<ExtendedAttribute>,
    pub(crate) allocation: u64,
    pub(crate) lease: Option<Lease>,
    pub(crate) durable: Option<DurableWish>,
    pub(crate) reconnect: Option<Reconnect>,
    pub(crate) app_instance: Option<Guid>,
    app_version: Option<(u64, u64)>,
    /// The state of the past that is meant.
    pub(crate) timewarp: Option<FileTime>,
    /// POSIX semantics, with the mode of what is made.
    pub(crate) posix: Option<PosixOpen>,
    apple: Option<Asked>,
    maximal_access: Option<Option<FileTime>>,
    on_disk_id: bool,
}

/// A durable handle that is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DurableWish {
    V1,
    V2 {
        timeout_ms: u32,
        create_guid: Guid,
        persistent: bool,
    },
}

/// A durable handle whose client comes back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reconnect {
    V1(FileId),
    V2 {
        file_id: FileId,
        create_guid: Guid,
        persistent: bool,
    },
}

impl Wanted {
    pub(crate) fn of(request: &Request, contexts: &CreateContexts<'_>) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        for context in contexts.requests() {
            wanted.take(&context?)?;
        }
        wanted.check_durable()?;
        if request.is_posix() {
            wanted.settle_posix(request.who()?.credentials.admin);
        } else {
            wanted.posix = None;
        }
        Ok(wanted)
    }

    /// With POSIX semantics a descriptor is a way to spell mode and owners.
    fn settle_posix(&mut self, admin: bool) {
        if let Some(posix) = &mut self.posix {
            let (mode, owners) = posix::new_file(self.security.as_ref(), admin);
            posix.mode = mode.or(posix.mode);
            self.security = owners;
        }
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
            RequestContext::Posix { mode } => {
                let mode = posix::mode_of_context(*mode);
                self.posix = Some(PosixOpen {
                    mode,
                    ..PosixOpen::default()
                });
            }
            RequestContext::Lease(lease) => self.lease = Some(*lease),
            RequestContext::DurableRequest
            | RequestContext::DurableRequestV2 { .. }
            | RequestContext::DurableReconnect(_)
            | RequestContext::DurableReconnectV2 { .. } => self.take_durable(context)?,
            RequestContext::AppInstanceId(id) => self.app_instance = Some(*id),
            RequestContext::AppInstanceVersion { high, low } => {
                self.app_version = Some((*high, *low));
            }
            RequestContext::Timewarp(time) => self.timewarp = Some(*time),
            RequestContext::AaplQuery {
                bitmap,
                client_capabilities,
            } => {
                let (bitmap, capabilities) = (*bitmap, *client_capabilities);
                self.apple = Some(Asked::Query {
                    bitmap,
                    capabilities,
                });
            }
            RequestContext::AaplResolveId { file_id } => {
                self.apple = Some(Asked::ResolveId(*file_id));
            }
            RequestContext::Unknown { .. } => {}
        }
        Ok(())
    }

    /// At most one of each kind.
    fn take_durable(&mut self, context: &RequestContext<'_>) -> Result<(), Failure> {
        let (wish, back) = match context {
            RequestContext::DurableRequest => (Some(DurableWish::V1), None),
            RequestContext::DurableRequestV2 {
                timeout_ms,
                create_guid,
                flags,
            } => {
                let wish = DurableWish::V2 {
                    timeout_ms: *timeout_ms,
                    create_guid: *create_guid,
                    persistent: flags & DURABLE_FLAG_PERSISTENT != 0,
                };
                (Some(wish), None)
            }
            RequestContext::DurableReconnect(file_id) => (None, Some(Reconnect::V1(*file_id))),
            RequestContext::DurableReconnectV2 {
                file_id,
                create_guid,
                flags,
            } => {
                let back = Reconnect::V2 {
                    file_id: *file_id,
                    create_guid: *create_guid,
                    persistent: flags & DURABLE_FLAG_PERSISTENT != 0,
                };
                (None, Some(back))
            }
            _ => (None, None),
        };
        let twice = (wish.is_some() && self.durable.is_some())
            || (back.is_some() && self.reconnect.is_some());
        if twice {
            return Err(NtStatus::INVALID_PARAMETER.into());
        }
        self.durable = wish.or(self.durable);
        self.reconnect = back.or(self.reconnect);
        Ok(())
    }

    /// The two versions do not go together (MS-SMB2 3.3.5.9.6, 3.3.5.9.7, 3.3.5.9.10, 3.3.5.9.12); the first version's
    /// request beside its reconnect is not looked at.
    fn check_durable(&self) -> Result<(), Failure> {
        match (&self.durable, &self.reconnect) {
            (None, _) | (_, None) | (Some(DurableWish::V1), Some(Reconnect::V1(_))) => Ok(()),
            (Some(_), Some(_)) => Err(NtStatus::INVALID_PARAMETER.into()),
        }
    }

    pub(crate) fn app(&self) -> Option<AppInstance> {
        let version = self.app_version;
        self.app_instance.map(|id| AppInstance { id, version })
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
    if let Some(asked) = wanted.apple {
        answers.push_response(&asked.answer(request, share)?);
    }
    if wanted.posix.is_some() {
        let known = request.conn.server.vfs.posix(handle)?;
        let attributes = posix::attributes(stat, &known);
        answers.push_response(&ResponseContext::Posix(attributes));
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
    let who = request.who()?;
    let credentials = &who.credentials;
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
