//! OPLOCK_BREAK acknowledgements (MS-SMB2 3.3.5.22).

use strongroom_vfs::grants::{Grant, GrantKey, NotAcknowledged};

use crate::server::answer::{Acknowledged, Answer, Body, Step};
use crate::server::caching::{CacheHolder, lease_of, level_of, rights_of_lease, rights_of_level};
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::wire::NtStatus;
use crate::wire::create::OplockLevel;
use crate::wire::oplock::{LeaseBreakAck, OplockBreak, OplockBreakRequest};

pub(crate) fn run(request: &Request) -> Step {
    Step::Answer(acknowledge(request))
}

fn acknowledge(request: &Request) -> Answer {
    match request.decode::<OplockBreakRequest>()? {
        OplockBreakRequest::Oplock(ack) => oplock(request, ack),
        OplockBreakRequest::Lease(ack) => lease(request, ack),
    }
}

/// MS-SMB2 3.3.5.22.1.
fn oplock(request: &Request, ack: OplockBreak) -> Answer {
    let open = request.session()?.open(ack.file_id);
    let open = open.ok_or(NtStatus::FILE_CLOSED)?;
    let grant = file_of(&open)?.handle.grant().cloned();
    match ack.level {
        OplockLevel::None | OplockLevel::LevelII => {}
        OplockLevel::Lease => return Err(NtStatus::INVALID_PARAMETER.into()),
        OplockLevel::Exclusive | OplockLevel::Batch | OplockLevel::Unknown(_) => {
            return Err(NtStatus::INVALID_OPLOCK_PROTOCOL.into());
        }
    }
    let oplock = grant.filter(|grant| matches!(grant.key(), GrantKey::Open(_)));
    let grant = oplock.ok_or(NtStatus::INVALID_OPLOCK_PROTOCOL)?;
    let hushed = CacheHolder::of(&grant).map(|holder| holder.hush());
    let kept = request
        .conn
        .server
        .vfs
        .acknowledge(&grant, rights_of_level(ack.level))
        .map_err(|_| NtStatus::INVALID_OPLOCK_PROTOCOL)?;
    let response = OplockBreakRequest::Oplock(OplockBreak {
        level: level_of(kept),
        file_id: ack.file_id,
    });
    Ok(Body::OplockBreak(Box::new(Acknowledged {
        response,
        hushed,
    })))
}

/// MS-SMB2 3.3.5.22.2.
fn lease(request: &Request, ack: LeaseBreakAck) -> Answer {
    let grant = lease_under(request, &ack)?;
    let hushed = CacheHolder::of(&grant).map(|holder| holder.hush());
    let kept = request
        .conn
        .server
        .vfs
        .acknowledge(&grant, rights_of_lease(ack.state))
        .map_err(|error| match error {
            NotAcknowledged::NotBreaking => NtStatus::UNSUCCESSFUL,
            NotAcknowledged::TooMuch => NtStatus::REQUEST_NOT_ACCEPTED,
        })?;
    let response = OplockBreakRequest::Lease(LeaseBreakAck {
        flags: 0,
        key: ack.key,
        state: lease_of(kept),
    });
    Ok(Body::OplockBreak(Box::new(Acknowledged {
        response,
        hushed,
    })))
}

fn lease_under(request: &Request, ack: &LeaseBreakAck) -> Result<std::sync::Arc<Grant>, Failure> {
    let negotiated = request.conn.negotiated.get();
    let negotiated = negotiated.ok_or(NtStatus::INVALID_PARAMETER)?;
    let key = GrantKey::Chosen {
        owner: negotiated.client_guid.0,
        name: ack.key.0,
    };
    let grant = request.conn.server.vfs.grant(key);
    grant.ok_or_else(|| NtStatus::OBJECT_NAME_NOT_FOUND.into())
}
