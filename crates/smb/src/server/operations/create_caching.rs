//! The oplocks and leases of CREATE (MS-SMB2 3.3.5.9, 3.3.5.9.8, 3.3.5.9.11).

use std::sync::Arc;

use strongroom_vfs::Stat;
use strongroom_vfs::grants::{GrantHolder, GrantKey, GrantRequest, GrantWish};

use super::create_contexts::Wanted;
use crate::server::answer::{Answer, Body, Created};
use crate::server::caching::{
    CacheHolder, Hushed, Link, lease_of, level_of, rights_of_lease, rights_of_level,
};
use crate::server::open::{FileOpen, Open};
use crate::server::request::{Request, file_of};
use crate::wire::create::{CreateRequest, CreateResponse, OplockLevel};
use crate::wire::create_context::{CreateContexts, Lease, LeaseFlags, LeaseV2, ResponseContext};
use crate::wire::{FileTime, Guid};

/// What a CREATE asks of the grant machine.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    pub(crate) grant: GrantRequest,
    pub(crate) parent: Option<GrantKey>,
    /// A break that comes before the response is told after it.
    _hushed: Option<Hushed>,
}

pub(crate) fn wish(request: &Request, wanted: &CreateRequest<'_>, contexts: &Wanted) -> Wish {
    let Some(negotiated) = request.conn.negotiated.get() else {
        return Wish::default();
    };
    let owner = negotiated.client_guid.0;
    let chosen = |name: Guid| GrantKey::Chosen {
        owner,
        name: name.0,
    };
    let lease = lease_wanted(request, wanted, contexts);
    let parent = lease.and_then(parent_of).map(chosen);
    let rights = match lease {
        Some(lease) => rights_of_lease(lease.state),
        None => rights_of_level(wanted.oplock),
    };
    if lease.is_none() && rights.is_empty() {
        return Wish::default();
    }
    let holder = CacheHolder::new(&request.conn.server, lease);
    let hushed = Some(holder.hush());
    let directories =
        negotiated.directory_leases() && lease.is_some_and(|lease| lease.v2.is_some());
    Wish {
        grant: GrantRequest::Wanted(GrantWish {
            key: lease.map(|lease| chosen(lease.key)),
            rights,
            directories,
            holder: holder as Arc<dyn GrantHolder>,
        }),
        parent,
        _hushed: hushed,
    }
}

/// The lease that the request asks for, in the form of its dialect. Without the level of a lease its context is not
/// looked at.
pub(crate) fn lease_wanted(
    request: &Request,
    wanted: &CreateRequest<'_>,
    contexts: &Wanted,
) -> Option<Lease> {
    let negotiated = request.conn.negotiated.get()?;
    let lease = contexts
        .lease
        .filter(|_| wanted.oplock == OplockLevel::Lease && negotiated.leases())?;
    if lease.v2.is_some() && !negotiated.is_smb3() {
        return None;
    }
    let parent = parent_of(lease);
    let v2 = lease.v2.map(|v2| LeaseV2 {
        parent_key: parent.unwrap_or_default(),
        ..v2
    });
    let flags = if parent.is_some() {
        LeaseFlags::PARENT_LEASE_KEY_SET
    } else {
        LeaseFlags::NONE
    };
    Some(Lease { flags, v2, ..lease })
}

/// The lease key of the directory above, where the client gave one.
fn parent_of(lease: Lease) -> Option<Guid> {
    let given = lease.flags.contains(LeaseFlags::PARENT_LEASE_KEY_SET);
    lease.v2.filter(|_| given).map(|v2| v2.parent_key)
}

/// Answers for an open that is in its session's table.
pub(crate) fn created(
    request: &Request,
    open: &Arc<Open>,
    stat: &Stat,
    mut contexts: CreateContexts<'static>,
) -> Answer {
    let file = file_of(open)?;
    let server = &request.conn.server;
    if let Some(holder) = &file.holder {
        holder.add(Link {
            file_id: open.id,
            session: open.session.clone(),
            encrypt: open.tree.encrypt,
        });
    }
    server.durables.entered(open);
    let Caching {
        level,
        lease,
        hushed,
    } = caching(file);
    if let Some(lease) = lease {
        contexts.push_response(&ResponseContext::Lease(lease));
    }
    let response = CreateResponse {
        oplock: level,
        flags: 0,
        action: file.action,
        created: FileTime(stat.created.0),
        accessed: FileTime(stat.accessed.0),
        written: FileTime(stat.modified.0),
        changed: FileTime(stat.changed.0),
        allocation_size: stat.allocated,
        end_of_file: stat.size,
        file_attributes: stat.attributes.0,
        file_id: open.id,
        contexts,
    };
    Ok(Body::Create(Box::new(Created { response, hushed })))
}

/// What a response says of an open's grant. From then on breaks wait for the response.
struct Caching {
    level: OplockLevel,
    lease: Option<Lease>,
    hushed: Option<Hushed>,
}

fn caching(file: &FileOpen) -> Caching {
    let (Some(grant), Some(holder)) = (file.handle.grant(), &file.holder) else {
        return Caching {
            level: OplockLevel::None,
            lease: None,
            hushed: None,
        };
    };
    grant.look(|view| {
        let lease = holder.lease().map(|lease| Lease {
            state: lease_of(view.rights),
            flags: if view.breaking {
                lease.flags | LeaseFlags::BREAK_IN_PROGRESS
            } else {
                lease.flags
            },
            ..lease
        });
        let level = if lease.is_some() {
            OplockLevel::Lease
        } else {
            level_of(view.rights)
        };
        Caching {
            level,
            lease,
            hushed: Some(holder.hush()),
        }
    })
}
