//! LOCK, LOCKT and LOCKU (RFC 8881, 18.10 to 18.12).

use strongroom_vfs::{InTheWay, LockOwner, LockRange};

use super::open::{READ, WRITE};
use crate::v4::compound::{Compound, DONE};
use crate::v4::state::{Found, LockState};
use crate::v4::types::{OwnerName, Stateid, range_len};
use crate::v4::{Failure, Op, Status};
use crate::xdr::{Decoder, Encoder, Xdr, XdrError};

/// READ_LT, WRITE_LT, and the same for those who would wait.
fn is_exclusive(kind: u32) -> Result<bool, XdrError> {
    match kind {
        1 | 3 => Ok(false),
        2 | 4 => Ok(true),
        _ => Err(XdrError::Invalid("a lock is of no known kind")),
    }
}

fn range(exclusive: bool, offset: u64, len: u64) -> Result<LockRange, Status> {
    Ok(LockRange {
        offset,
        len: range_len(offset, len)?,
        exclusive,
    })
}

/// locker4
enum Locker<'a> {
    New { open: Stateid, owner: OwnerName<'a> },
    Known(Stateid),
}

/// In version 4.0 a client is named with its owners.
fn name(c: &mut Compound<'_, '_>, client: u64) -> Result<(), Status> {
    if c.minor == 0 {
        let client = super::minor_0::known(c, client)?;
        client.renew(c.now());
        c.named = Some(client);
    }
    Ok(())
}

fn locker<'a>(from: &mut Decoder<'a>) -> Result<Locker<'a>, XdrError> {
    if !from.bool()? {
        let id = Stateid::decode(from)?;
        from.u32()?;
        return Ok(Locker::Known(id));
    }
    from.u32()?;
    let open = Stateid::decode(from)?;
    from.u32()?;
    from.u64()?;
    let owner = OwnerName::decode(from)?;
    Ok(Locker::New { open, owner })
}

pub(crate) fn lock(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let exclusive = is_exclusive(from.u32()?)?;
    let reclaim = from.bool()?;
    let range = range(exclusive, from.u64()?, from.u64()?);
    let locker = locker(from)?;
    let range = range?;
    let inode = c.target()?.id();
    let client = c.client()?;
    if !reclaim {
        c.state().may_open(client, c.now())?;
    } else if !c.state().may_reclaim(client, c.now()) {
        return Err(Status::NO_GRACE.into());
    }
    let state = match locker {
        Locker::Known(id) => match client.find(&c.meant(id)?)? {
            Found::Lock(lock) => lock,
            Found::Open(_) | Found::Delegation(_) => return Err(Status::BAD_STATEID.into()),
        },
        Locker::New { open, owner } => {
            let open = client.find_open(&c.meant(open)?)?;
            client.lock_state(owner.0, &open, c.new_other()?, c.state().next())?
        }
    };
    if state.open.inode != inode {
        return Err(Status::BAD_STATEID.into());
    }
    let access = if exclusive { WRITE } else { READ };
    state.open.handle(access)?;
    let handle = state.open.any_handle()?;
    let vfs = &c.request.server.vfs;
    let mut taken = vfs.lock_posix(&handle, state.number, range);
    if matches!(taken, Ok(Some(_))) && c.state().end_expired(c.now()) {
        taken = vfs.lock_posix(&handle, state.number, range);
    }
    match taken? {
        None => {
            let id = state.advance();
            id.encode(to);
            c.stateid = Some(id);
            DONE
        }
        Some(in_the_way) => {
            denied(c, &in_the_way, to);
            Err(Failure::Told(Status::DENIED))
        }
    }
}

/// LOCK4denied: whose lock it is as far as it is this client's; others' names are their own business.
fn denied(c: &Compound<'_, '_>, lock: &InTheWay, to: &mut Encoder) {
    let LockRange {
        offset,
        len,
        exclusive,
    } = lock.range;
    let to_the_end = offset.checked_add(len).is_none_or(|end| end == u64::MAX);
    to.u64(offset).u64(if to_the_end { u64::MAX } else { len });
    to.u32(if exclusive { 2 } else { 1 });
    let client = c.client().ok();
    let owner = client.and_then(|client| Some((client.id, client.lock_owner(lock.owner)?)));
    match owner {
        Some((client, owner)) => to.u64(client).opaque(&owner),
        None => to.u64(0).opaque(b"other"),
    };
}

pub(crate) fn lockt(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let exclusive = is_exclusive(from.u32()?)?;
    let range = range(exclusive, from.u64()?, from.u64()?);
    let (client, owner) = (from.u64()?, OwnerName::decode(from)?);
    let range = range?;
    name(c, client)?;
    let target = c.target()?;
    let vfs = &c.request.server.vfs;
    super::open::must_be_file(c, &target)?;
    let number = c.client()?.lock_number(owner.0, target.id());
    // A number that nobody has, where the owner holds nothing.
    let number = number.unwrap_or(LockOwner(u64::MAX));
    match vfs.test_posix(target.inode, number, range)? {
        None => DONE,
        Some(in_the_way) => {
            denied(c, &in_the_way, to);
            Err(Failure::Told(Status::DENIED))
        }
    }
}

pub(crate) fn locku(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    is_exclusive(from.u32()?)?;
    let _sequence = from.u32()?;
    let id = c.meant(Stateid::decode(from)?)?;
    let (offset, len) = (from.u64()?, from.u64()?);
    let len = range_len(offset, len)?;
    let state = match c.client()?.find(&id)? {
        Found::Lock(lock) => lock,
        Found::Open(_) | Found::Delegation(_) => return Err(Status::BAD_STATEID.into()),
    };
    if state.open.inode != c.target()?.id() {
        return Err(Status::BAD_STATEID.into());
    }
    unlock(c, &state, offset, len)?;
    let id = state.advance();
    id.encode(to);
    c.stateid = Some(id);
    DONE
}

fn unlock(c: &Compound<'_, '_>, state: &LockState, offset: u64, len: u64) -> Result<(), Status> {
    let handle = state.open.any_handle()?;
    let vfs = &c.request.server.vfs;
    Ok(vfs.unlock_posix(&handle, state.number, offset, len)?)
}
