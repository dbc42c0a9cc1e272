//! What only version 4.0 has: clients without sessions, and owners whose requests come in turn (RFC 7530, 16.18, 16.29,
//! 16.33, 16.34, 16.37).

use std::sync::Arc;

use crate::v4::compound::{Compound, DONE};
use crate::v4::state::{Client, Found, Last, OwnerKind, OwnerPlace, Turns, counts};
use crate::v4::types::{OwnerName, Stateid};
use crate::v4::{Failure, Op, Status};
use crate::xdr::{Decoder, Encoder, Opaque, Xdr};

pub(super) const CLOSE: u32 = 4;
pub(super) const LOCK: u32 = 12;
pub(super) const LOCKU: u32 = 14;
pub(super) const OPEN: u32 = 18;
pub(super) const OPEN_CONFIRM: u32 = 20;
pub(super) const OPEN_DOWNGRADE: u32 = 21;
/// OPEN4_RESULT_CONFIRM
pub(super) const RESULT_CONFIRM: u32 = 2;
/// Of a client that is on its way.
const NETWORK_MAX: usize = 128;

/// Whether an operation has its turn among its owner's.
pub(super) fn has_turn(number: u32) -> bool {
    [CLOSE, LOCK, LOCKU, OPEN, OPEN_CONFIRM, OPEN_DOWNGRADE].contains(&number)
}

/// Whose turn it is.
struct Asker {
    client: Arc<Client>,
    kind: OwnerKind,
    owner: Vec<u8>,
    sequence: u32,
}

/// Does an operation in its turn: the second time that it is asked for it is answered as the first time.
pub(super) async fn in_turn(
    c: &mut Compound<'_, '_>,
    number: u32,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    c.place()?;
    let asker = asker(c, number, &mut from.clone())?;
    asker.client.renew(c.now());
    c.named = Some(Arc::clone(&asker.client));
    let owner = asker.client.owners.get(asker.kind, &asker.owner)?;
    let mut turn = owner.lock_owned().await;
    if number == OPEN && !turn.confirmed {
        // What an owner that was never confirmed asked before is of no account (RFC 7530, 16.18.5).
        if !is_again(turn.last.as_ref(), number, from) {
            turn.sequence = None;
        }
    }
    if let OwnerPlace::Again = turn.place(asker.sequence)? {
        let again = is_again(turn.last.as_ref(), number, from);
        let last = turn.last.clone().filter(|_| again);
        return replay(c, &last.ok_or(Status::BAD_SEQID)?, from, to);
    }
    let (start, rest) = (to.len(), from.rest());
    let locker = if number == LOCK {
        new_locker(c, &mut from.clone())?
    } else {
        None
    };
    let mut locker = match &locker {
        Some((sequence, owner)) => Some((*sequence, Arc::clone(owner).lock_owned().await)),
        None => None,
    };
    if let Some((sequence, locker)) = &locker
        && !matches!(locker.place(*sequence)?, OwnerPlace::New)
    {
        return Err(Status::BAD_SEQID.into());
    }
    c.confirmed = turn.confirmed;
    let done = Box::pin(super::dispatch_one(c, number, from, to)).await;
    let status = match done {
        Ok(()) => Status::OK,
        Err(Failure::Plain(status) | Failure::Told(status)) => status,
    };
    if !counts(status) {
        return done;
    }
    if let Some((sequence, locker)) = &mut locker {
        locker.sequence = Some(*sequence);
    }
    let read = rest.len() - from.rest().len();
    turn.sequence = Some(asker.sequence);
    turn.confirmed = c.confirmed || asker.kind == OwnerKind::Lock;
    turn.last = Some(Last {
        operation: number,
        arguments: rest.get(..read).unwrap_or_default().to_vec(),
        status,
        body: if matches!(done, Err(Failure::Plain(_))) {
            Vec::new()
        } else {
            to.as_slice().get(start..).unwrap_or_default().to_vec()
        },
        place: (number == OPEN).then(|| c.current.clone()).flatten(),
    });
    done
}

/// The owner of locks that an owner of opens brings along, with its own number.
fn new_locker(
    c: &Compound<'_, '_>,
    from: &mut Decoder<'_>,
) -> Result<Option<(u32, Arc<Turns>)>, Status> {
    from.fixed::<24>()?;
    if !from.bool()? {
        return Ok(None);
    }
    from.u32()?;
    Stateid::decode(from)?;
    let sequence = from.u32()?;
    let _client = from.u64()?;
    let owner = OwnerName::decode(from)?;
    let owner = c.client()?.owners.get(OwnerKind::Lock, owner.0)?;
    Ok(Some((sequence, owner)))
}

fn is_again(last: Option<&Last>, number: u32, from: &Decoder<'_>) -> bool {
    last.is_some_and(|last| last.operation == number && from.rest().starts_with(&last.arguments))
}

fn replay(c: &mut Compound<'_, '_>, last: &Last, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    from.skip(last.arguments.len())?;
    to.raw(&last.body);
    if let Some(place) = &last.place {
        c.current = Some(place.clone());
    }
    match last.status {
        Status::OK => DONE,
        status => Err(Failure::Told(status)),
    }
}

/// Reads as much of the arguments as it takes to know whose turn it is.
fn asker(c: &Compound<'_, '_>, number: u32, from: &mut Decoder<'_>) -> Result<Asker, Status> {
    match number {
        OPEN => {
            let sequence = from.u32()?;
            let _modes = (from.u32()?, from.u32()?);
            let client = known(c, from.u64()?)?;
            let owner = OwnerName::decode(from)?.0.to_vec();
            Ok(Asker {
                client,
                kind: OwnerKind::Open,
                owner,
                sequence,
            })
        }
        CLOSE => {
            let sequence = from.u32()?;
            of_open(c, &Stateid::decode(from)?, sequence)
        }
        OPEN_CONFIRM | OPEN_DOWNGRADE => {
            let id = Stateid::decode(from)?;
            of_open(c, &id, from.u32()?)
        }
        LOCKU => {
            from.u32()?;
            let sequence = from.u32()?;
            of_lock(c, &Stateid::decode(from)?, sequence)
        }
        _ => {
            from.fixed::<24>()?;
            if from.bool()? {
                let sequence = from.u32()?;
                of_open(c, &Stateid::decode(from)?, sequence)
            } else {
                let id = Stateid::decode(from)?;
                of_lock(c, &id, from.u32()?)
            }
        }
    }
}

fn of_open(c: &Compound<'_, '_>, id: &Stateid, sequence: u32) -> Result<Asker, Status> {
    let client = c.client_of(id)?;
    let owner = match client.lookup(id) {
        Ok(Found::Open(open)) => open.owner.clone(),
        Ok(Found::Lock(_) | Found::Delegation(_)) => return Err(Status::BAD_STATEID),
        Err(status) => client.owners.who_closed(&id.other).ok_or(status)?,
    };
    Ok(Asker {
        client,
        kind: OwnerKind::Open,
        owner,
        sequence,
    })
}

fn of_lock(c: &Compound<'_, '_>, id: &Stateid, sequence: u32) -> Result<Asker, Status> {
    let client = c.client_of(id)?;
    let owner = match client.lookup(id)? {
        Found::Lock(lock) => lock.owner.clone(),
        Found::Open(_) | Found::Delegation(_) => return Err(Status::BAD_STATEID),
    };
    Ok(Asker {
        client,
        kind: OwnerKind::Lock,
        owner,
        sequence,
    })
}

/// A client that has confirmed its id.
pub(super) fn known(c: &Compound<'_, '_>, id: u64) -> Result<Arc<Client>, Status> {
    let client = c.state().client(id)?;
    if client.is_confirmed() {
        Ok(client)
    } else {
        Err(Status::STALE_CLIENTID)
    }
}

/// RFC 7530, 16.33.5
pub(super) fn set_client_id(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let verifier: [u8; 8] = from.fixed()?;
    let owner = OwnerName::decode(from)?;
    let _program = from.u32()?;
    let network = Opaque::<NETWORK_MAX>::decode(from)?;
    let address = Opaque::<NETWORK_MAX>::decode(from)?;
    let _ident = from.u32()?;
    let (state, principal, now) = (c.state(), c.principal(), c.now());
    let client = match state.confirmed(owner.0) {
        Some(present) if present.principal != principal && present.has_states() => {
            to.opaque(network.0).opaque(address.0);
            return Err(Failure::Told(Status::CLID_INUSE));
        }
        Some(present) if present.verifier == verifier && present.principal == principal => present,
        _ => state.introduce(owner.0, verifier, principal, now)?,
    };
    client.set_old();
    let mut confirm = [0; 8];
    c.request.server.env.fill_random(&mut confirm);
    client.confirming.lock().wanted = Some(confirm);
    to.u64(client.id).fixed(&confirm);
    DONE
}

pub(super) async fn confirm_client_id(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let (id, confirm): (u64, [u8; 8]) = (from.u64()?, from.fixed()?);
    let client = c.state().client(id)?;
    {
        let mut confirming = client.confirming.lock();
        let again = client.is_confirmed() && confirming.shown == Some(confirm);
        if confirming.wanted != Some(confirm) && !again {
            return Err(Status::STALE_CLIENTID.into());
        }
        if client.principal != c.principal() {
            return Err(Status::CLID_INUSE.into());
        }
        confirming.wanted = None;
        confirming.shown = Some(confirm);
    }
    client.renew(c.now());
    if !client.is_confirmed() {
        c.state().confirm(&client);
        // From now on it may hold something that it could claim after the next start.
        c.state().remember(&client)?;
        c.sync_names().await?;
    }
    DONE
}

pub(super) fn renew(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    known(c, from.u64()?)?.renew(c.now());
    DONE
}

pub(super) fn confirm_open(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let id = Stateid::decode(from)?;
    let _sequence = from.u32()?;
    let inode = c.target()?.id();
    let open = c.client()?.find_open(&id)?;
    if open.inode != inode || c.confirmed {
        return Err(Status::BAD_STATEID.into());
    }
    c.confirmed = true;
    open.advance().encode(to);
    DONE
}

/// What an owner of locks holds is given up only by itself.
pub(super) fn release_lock_owner(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let client = known(c, from.u64()?)?;
    let owner = OwnerName::decode(from)?;
    client.renew(c.now());
    let states = client.locks_of(owner.0);
    let vfs = &c.request.server.vfs;
    for state in &states {
        let handle = state.open.any_handle()?;
        if vfs.holds_locks(&handle, state.number) {
            return Err(Status::LOCKS_HELD.into());
        }
    }
    states.iter().for_each(|state| client.forget_lock(state));
    client.owners.forget(OwnerKind::Lock, owner.0);
    DONE
}
