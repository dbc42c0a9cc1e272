//! OPLOCK_BREAK acknowledgements (MS-SMB2 3.3.5.22). No oplock or lease is granted, so none can be acknowledged.

use crate::server::answer::Step;
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::wire::oplock::OplockBreakRequest;
use crate::wire::{FileId, NtStatus};

pub(crate) fn run(request: &Request) -> Step {
    refuse(request).into()
}

fn refuse(request: &Request) -> Failure {
    match request.decode::<OplockBreakRequest>() {
        Err(error) => error.into(),
        Ok(OplockBreakRequest::Lease(_)) => NtStatus::OBJECT_NAME_NOT_FOUND.into(),
        Ok(OplockBreakRequest::Oplock(ack)) => {
            let known = |id: FileId| request.session().is_ok_and(|s| s.open(id).is_some());
            let status = if known(ack.file_id) {
                NtStatus::INVALID_OPLOCK_PROTOCOL
            } else {
                NtStatus::FILE_CLOSED
            };
            status.into()
        }
    }
}
