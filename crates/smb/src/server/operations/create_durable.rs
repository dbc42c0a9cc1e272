//! CREATE and handles that outlive their connection: asking for one, coming back to one, and replaying the create that
//! made one (MS-SMB2 3.3.5.9.6, 3.3.5.9.7, 3.3.5.9.10, 3.3.5.9.12, 3.3.5.9.13).

use std::sync::Arc;
use std::time::Duration;

use strongroom_vfs::grants::GrantKey;
use strongroom_vfs::{PersistentWish, Share, Sid};

use super::create_caching::{created, lease_wanted};
use super::create_contexts::{DurableWish, Reconnect, Wanted};
use crate::server::answer::{Answer, Body};
use crate::server::caching::{Begun, CreateKey, CreateName, Durable, Pending, Record};
use crate::server::open::{FileOpen, Open, Target};
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::wire::create::{CreateAction, CreateRequest, OplockLevel};
use crate::wire::create_context::{CreateContexts, DURABLE_FLAG_PERSISTENT, ResponseContext};
use crate::wire::header::HeaderFlags;
use crate::wire::{Guid, NtStatus};

/// How long a handle is kept whose client leaves that to the server, with version 2.
const TIMEOUT_BY_DEFAULT: Duration = Duration::from_secs(60);

/// How a CREATE goes on.
pub(crate) enum Course {
    /// It meant an open that is there.
    Answered(Answer),
    Make(Durability),
}

/// Whether the open to be made shall outlive its connection.
#[derive(Debug)]
pub(crate) struct Durability {
    wish: Option<DurableWish>,
    /// What the client calls the create.
    name: Option<CreateName>,
    /// Keeps the client's name for the create until the open has it.
    _pending: Option<Pending>,
}

/// What the durable contexts make of a CREATE.
pub(crate) fn course(
    request: &Request,
    share: &Arc<Share>,
    wanted: &CreateRequest<'_>,
    contexts: &Wanted,
) -> Result<Course, Failure> {
    let plain = |wish| {
        Course::Make(Durability {
            wish,
            name: None,
            _pending: None,
        })
    };
    let key = match contexts.durable {
        Some(DurableWish::V2 { create_guid, .. }) => create_key(request, create_guid),
        wish @ (None | Some(DurableWish::V1)) => return Ok(plain(wish)),
    };
    let Some(key) = key else {
        return Ok(plain(None));
    };
    let server = &request.conn.server;
    let replay = request.header.flags.contains(HeaderFlags::REPLAY_OPERATION);
    match server.durables.begin(server, key, replay)? {
        Begun::New(pending) => Ok(Course::Make(Durability {
            wish: contexts.durable,
            name: Some(CreateName {
                key,
                lease_key: lease_wanted(request, wanted, contexts).map(|lease| lease.key),
            }),
            _pending: Some(pending),
        })),
        Begun::Replayed(open) => {
            let answer = replayed(request, wanted, contexts, &open);
            Ok(Course::Answered(answer))
        }
        Begun::Lost(persistent) => {
            let back = Back {
                persistent,
                by: By::PersistentName(key.guid),
                again: true,
            };
            let answer = take_up(request, share, wanted, contexts, &back);
            Ok(Course::Answered(answer))
        }
    }
}

/// Version 2 came with dialect 3.0.
fn create_key(request: &Request, guid: Guid) -> Option<CreateKey> {
    let negotiated = request.conn.negotiated.get()?;
    negotiated.is_smb3().then_some(CreateKey {
        client: negotiated.client_guid,
        guid,
    })
}

impl Durability {
    /// What makes the open persistent, where the client asks for that, its dialect knows it and the share offers it
    /// (MS-SMB2 3.3.5.9.10).
    pub(crate) fn persistence(
        &self,
        request: &Request,
        share: &Share,
        (path, wanted): (&str, &CreateRequest<'_>),
        contexts: &Wanted,
    ) -> Result<Option<PersistentWish>, Failure> {
        let server = &request.conn.server;
        let Some(DurableWish::V2 {
            timeout_ms,
            persistent: true,
            ..
        }) = self.wish
        else {
            return Ok(None);
        };
        let negotiated = request.conn.negotiated.get();
        let offered = negotiated.is_some_and(|one| one.persistent_handles());
        let limits = &server.config.limits;
        let full = server.vfs.persistent_opens() >= limits.durable_opens;
        let name = self
            .name
            .filter(|_| offered && share.continuously_available && !full);
        let Some(name) = name else {
            return Ok(None);
        };
        let record = Record {
            owner: request.who()?.credentials.user,
            client: name.key.client,
            create: name.key.guid,
            path: path.to_owned(),
            timeout: timeout_of(timeout_ms, limits.durable_timeout),
            options: wanted.options,
            lease: lease_wanted(request, wanted, contexts),
            app: contexts.app(),
        };
        Ok(Some(PersistentWish {
            id: server.next_open_id(),
            data: record.encode(),
        }))
    }

    /// Gives the open the client's name for it, and makes it durable if what it was granted allows it
    /// (MS-SMB2 3.3.5.9.6, 3.3.5.9.10).
    pub(crate) fn apply(
        &self,
        request: &Request,
        share: &Share,
        path: &str,
        contexts: &Wanted,
        owner: Sid,
        file: &mut FileOpen,
    ) {
        file.name = self.name;
        let persistent = file.handle.is_persistent();
        let (Some(wish), Some(negotiated)) = (self.wish, request.conn.negotiated.get()) else {
            return;
        };
        let grant = file.handle.grant();
        let rests = grant.is_some_and(|grant| grant.rights().handle);
        if !persistent && (!rests || file.handle.is_directory()) {
            return;
        }
        let lease_key = grant.and_then(|grant| match grant.key() {
            GrantKey::Chosen { name, .. } => Some(Guid(name)),
            GrantKey::Open(_) => None,
        });
        let longest = request.conn.server.config.limits.durable_timeout;
        let (timeout, create) = match wish {
            DurableWish::V1 => (longest, None),
            DurableWish::V2 { timeout_ms, .. } => (
                timeout_of(timeout_ms, longest),
                self.name.map(|name| name.key),
            ),
        };
        file.durable = Some(Arc::new(Durable {
            owner,
            client: negotiated.client_guid,
            share: share.id,
            path: path.to_owned(),
            lease_key,
            timeout,
            create,
            app: contexts.app().filter(|_| create.is_some()),
            persistent,
        }));
    }
}

fn timeout_of(milliseconds: u32, longest: Duration) -> Duration {
    match milliseconds {
        0 => TIMEOUT_BY_DEFAULT.min(longest),
        some => Duration::from_millis(some.into()).min(longest),
    }
}

/// The context that tells the client that its open is durable.
pub(crate) fn durable_answer(durable: &Durable) -> ResponseContext<'static> {
    if durable.create.is_none() {
        return ResponseContext::Durable;
    }
    let timeout_ms = u32::try_from(durable.timeout.as_millis()).unwrap_or(u32::MAX);
    ResponseContext::DurableV2 {
        timeout_ms,
        flags: if durable.persistent {
            DURABLE_FLAG_PERSISTENT
        } else {
            0
        },
    }
}

/// Ends the opens of the application's earlier instance on another client, before this one could meet them.
pub(crate) async fn supersede(
    request: &Request,
    share: &Share,
    contexts: &Wanted,
) -> Result<(), Failure> {
    let versioned = matches!(contexts.durable, Some(DurableWish::V2 { .. }));
    let (Some(app), true) = (contexts.app(), versioned) else {
        return Ok(());
    };
    let Some(negotiated) = request.conn.negotiated.get() else {
        return Ok(());
    };
    let server = &request.conn.server;
    let found = server
        .durables
        .superseded(app, negotiated.client_guid, share.id)?;
    server.durables.close_superseded(server, found).await;
    Ok(())
}

/// A client that comes back, and what it may come back to.
struct Back {
    persistent: u64,
    by: By,
    /// It never heard of the open, so it is told all that a first answer says.
    again: bool,
}

/// How a client names what it comes back to, beside its id.
#[derive(Debug, Clone, Copy)]
enum By {
    /// Version 1 knows the id only, whichever version the handle was made by (MS-SMB2 3.3.5.9.7).
    Id,
    /// The name of the create, all zeroes where it had none (MS-SMB2 3.3.5.9.12).
    Name(Guid),
    /// The same from a client that knows its handle to be persistent.
    PersistentName(Guid),
}

impl By {
    fn names(self, durable: &Durable) -> bool {
        let name = durable.create.map(|key| key.guid).unwrap_or_default();
        match self {
            Self::Id => true,
            Self::Name(given) => given == name && !durable.persistent,
            Self::PersistentName(given) => given == name,
        }
    }
}

pub(crate) fn reconnect(
    request: &Request,
    share: &Arc<Share>,
    wanted: &CreateRequest<'_>,
    contexts: &Wanted,
    back: Reconnect,
) -> Answer {
    let back = match back {
        Reconnect::V1(file_id) => Back {
            persistent: file_id.persistent,
            by: By::Id,
            again: false,
        },
        Reconnect::V2 {
            file_id,
            create_guid,
            persistent,
        } => Back {
            persistent: file_id.persistent,
            by: if persistent {
                By::PersistentName(create_guid)
            } else {
                By::Name(create_guid)
            },
            again: false,
        },
    };
    take_up(request, share, wanted, contexts, &back)
}

fn take_up(
    request: &Request,
    share: &Arc<Share>,
    wanted: &CreateRequest<'_>,
    contexts: &Wanted,
    back: &Back,
) -> Answer {
    let server = &request.conn.server;
    let who = request.who()?;
    let user = &who.credentials;
    let client = request.conn.negotiated.get().map(|one| one.client_guid);
    // Whatever level is asked for beside it.
    let lease = contexts.lease;
    let name = wanted.name.to_string();
    let now = server.env.monotonic();
    let mut file = server
        .durables
        .take_up(back.persistent, now, |_, durable| {
            // A lease belongs to a client and names its file; an oplock only to the open.
            let same_client = durable.lease_key.is_none() || client == Some(durable.client);
            let same = durable.share == share.id
                && back.by.names(durable)
                && lease.map(|lease| lease.key) == durable.lease_key
                && same_client;
            if !same {
                return Err(NtStatus::OBJECT_NAME_NOT_FOUND);
            }
            if durable.owner != user.user {
                return Err(NtStatus::ACCESS_DENIED);
            }
            if durable.lease_key.is_some() && durable.path != name {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            Ok(())
        })?;
    file.handle.adopt(user.session);
    if !back.again {
        file.action = CreateAction::Opened;
    }
    let target = Target::File(file);
    let entered = request
        .session()?
        .add_open(server, back.persistent, request.tree()?, target);
    let open = entered.map_err(|(target, status)| {
        // Dropping the last reference closes a handle that is not persistent.
        if let Target::File(file) = target
            && file.handle.is_persistent()
        {
            server
                .durables
                .keep_again(server, back.persistent, file, now);
        }
        status
    })?;
    server.vfs.set_away(&file_of(&open)?.handle, false);
    answer_again(request, &open, back.again, None)
}

/// The answer of a create that was made before; with the durable context where the client may not have seen it.
fn answer_again(
    request: &Request,
    open: &Arc<Open>,
    with_durable: bool,
    level: Option<OplockLevel>,
) -> Answer {
    let file = file_of(open)?;
    let stat = request.conn.server.vfs.stat(&file.handle)?;
    let mut contexts = CreateContexts::default();
    if let Some(durable) = file.durable.as_ref().filter(|_| with_durable) {
        contexts.push_response(&durable_answer(durable));
    }
    let mut answer = created(request, open, &stat, contexts)?;
    if let (Body::Create(create), Some(level)) = (&mut answer, level) {
        create.response.oplock = level;
    }
    Ok(answer)
}

/// The same create once more, because its answer was lost (MS-SMB2 3.3.5.9.10).
fn replayed(
    request: &Request,
    wanted: &CreateRequest<'_>,
    contexts: &Wanted,
    open: &Arc<Open>,
) -> Answer {
    let file = file_of(open)?;
    let name = file.name.ok_or(NtStatus::FILE_NOT_AVAILABLE)?;
    if file.handle.credentials().user != request.who()?.credentials.user {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let lease = lease_wanted(request, wanted, contexts);
    if lease.map(|lease| lease.key) != name.lease_key {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    let own = std::ptr::eq(open.session.as_ptr(), Arc::as_ptr(request.session()?));
    if !own {
        return Err(NtStatus::DUPLICATE_OBJECTID.into());
    }
    if lease.is_some() || file.durable.is_none() {
        return answer_again(request, open, true, None);
    }
    // That of a durable open is answered as it is asked for now.
    let lasts = wanted.oplock == OplockLevel::Batch;
    answer_again(request, open, lasts, Some(wanted.oplock))
}
