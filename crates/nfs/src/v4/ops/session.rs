//! Clients and their sessions (RFC 8881, 18.33 to 18.37, 18.46, 18.48, 18.50, 18.51).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::v4::callback;
use crate::v4::compound::{Compound, DONE, OPERATIONS_MAX, Sequence};
use crate::v4::state::{
    Backchannel, CACHED_MAX, Client, Found, Limits, SLOTS_MAX, Security, Session, SessionId, State,
    Turn, lease,
};
use crate::v4::types::{OwnerName, Stateid, skip_list};
use crate::v4::{Op, Status};
use crate::xdr::{Decoder, Encoder, List, Opaque, Xdr, XdrError, length};

const CONFIRMED_R: u32 = 0x8000_0000;
const UPD_CONFIRMED_REC_A: u32 = 0x4000_0000;
const USE_NON_PNFS: u32 = 0x0001_0000;
/// The bits of EXCHANGE_ID's flags that there are.
const FLAGS: u32 = 0xC017_0103;
const SP4_NONE: u32 = 0;
const CONN_BACK_CHAN: u32 = 2;
/// channel_dir_from_client4
const FORE: u32 = 1;
const BACK: u32 = 2;
const FORE_OR_BOTH: u32 = 3;
const BACK_OR_BOTH: u32 = 7;
/// The flags of RFC 8881, 18.46.1.
const CB_PATH_DOWN: u32 = 1;
const RECALLABLE_STATE_REVOKED: u32 = 0x40;
const CB_PATH_DOWN_SESSION: u32 = 0x200;
const BACKCHANNEL_FAULT: u32 = 0x400;
/// Persistent, with a backchannel, over RDMA: what may be asked for.
const CREATE_FLAGS: u32 = 7;
/// The most of a request and of an answer: data, and what stands around it.
const MESSAGE_MAX: u32 = (1 << 20) + (32 << 10);
/// Less is not worth a session (RFC 8881, 18.36.3).
const MESSAGE_MIN: u32 = 256;
/// What an answer to SEQUENCE alone takes, with all that stands around it.
const SEQUENCE_ANSWER: u32 = 24 + 12 + 8 + 36;

xdr_struct! {
    pub(crate) struct ChannelAttributes {
        header_padding: u32,
        request_max: u32,
        response_max: u32,
        cached_max: u32,
        operations: u32,
        requests: u32,
        rdma: List<u32, 1>,
    }
}

fn state_protection(from: &mut Decoder<'_>) -> Result<(), Status> {
    // Other protection needs a credential that nobody can take over, which AUTH_SYS is not.
    match from.u32()? {
        SP4_NONE => Ok(()),
        _ => Err(Status::INVAL),
    }
}

fn implementation(from: &mut Decoder<'_>) -> Result<(), XdrError> {
    skip_list(from, 1, |from| {
        Opaque::<1024>::decode(from)?;
        Opaque::<1024>::decode(from)?;
        from.i64()?;
        from.u32().map(drop)
    })
}

pub(crate) fn exchange_id(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let verifier: [u8; 8] = from.fixed()?;
    let owner = OwnerName::decode(from)?;
    let flags = from.u32()?;
    state_protection(from)?;
    implementation(from)?;
    if flags & !FLAGS != 0 || flags & CONFIRMED_R != 0 {
        return Err(Status::INVAL.into());
    }
    let update = flags & UPD_CONFIRMED_REC_A != 0;
    let client = introduce(c, owner.0, verifier, update)?;
    let confirmed = if client.is_confirmed() {
        CONFIRMED_R
    } else {
        0
    };
    let next = client.created.lock().0.wrapping_add(1);
    to.u64(client.id).u32(next).u32(USE_NON_PNFS | confirmed);
    to.u32(SP4_NONE);
    let id = c.request.server.config.id;
    // The server's owner and scope are the pool's: the same at every address and after every start.
    to.u64(0).opaque(&id).opaque(&id).u32(0);
    DONE
}

/// The table of RFC 8881, 18.35.4.
fn introduce(
    c: &Compound<'_, '_>,
    owner: &[u8],
    verifier: [u8; 8],
    update: bool,
) -> Result<Arc<Client>, Status> {
    let (state, principal, now) = (c.state(), c.principal(), c.now());
    let Some(present) = state.confirmed(owner) else {
        return if update {
            Err(Status::NOENT)
        } else {
            state.introduce(owner, verifier, principal, now)
        };
    };
    let same = present.principal == principal;
    match (update, same, present.verifier == verifier) {
        (true, _, false) => Err(Status::NOT_SAME),
        (true, false, true) => Err(Status::PERM),
        (false, false, _) if present.has_states() => Err(Status::CLID_INUSE),
        (false, false, _) => {
            state.forget(present.id);
            state.introduce(owner, verifier, principal, now)
        }
        (true, true, true) | (false, true, true) => Ok(present),
        (false, ..) => state.introduce(owner, verifier, principal, now),
    }
}

pub(crate) fn create(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let (id, sequence, flags) = (from.u64()?, from.u32()?, from.u32()?);
    let fore = ChannelAttributes::decode(from)?;
    let back = ChannelAttributes::decode(from)?;
    let program = from.u32()?;
    let security = securities(from)?;
    let client = c.state().client(id)?;
    if !client.is_confirmed() && c.now().saturating_sub(client.renewed()) > lease() {
        c.state().forget(id);
        return Err(Status::STALE_CLIENTID.into());
    }
    let mut created = client.created.lock();
    if sequence == created.0 && !created.1.is_empty() {
        to.raw(&created.1);
        return DONE;
    }
    if sequence != created.0.wrapping_add(1) {
        return Err(Status::SEQ_MISORDERED.into());
    }
    if client.principal != c.principal() {
        return Err(Status::CLID_INUSE.into());
    }
    if flags & !CREATE_FLAGS != 0 {
        return Err(Status::INVAL.into());
    }
    let way = Backchannel::new(program, security, limits(&back)?);
    let limits = limits(&fore)?;
    let session = c.state().new_session_id(id);
    let session = Session::new(session, Arc::clone(&client), limits, way, c.minor);
    let session = c.state().add_session(session)?;
    if !client.is_confirmed() {
        c.state().confirm(&client);
    }
    client.renew(c.now());
    if flags & CONN_BACK_CHAN != 0 {
        session.back.bind(c.request.origin);
    }
    let mut answer = Encoder::default();
    answer.fixed(&session.id).u32(sequence);
    answer.u32(flags & CONN_BACK_CHAN);
    channel(&limits).encode(&mut answer);
    back.encode(&mut answer);
    *created = (sequence, answer.into_vec());
    to.raw(&created.1);
    DONE
}

/// The first way of several to make calls out that is known here.
fn securities(from: &mut Decoder<'_>) -> Result<Security, XdrError> {
    let mut first = None;
    skip_list(from, 16, |from| {
        let given = security_parameters(from)?;
        first = first.take().or(given);
        Ok(())
    })?;
    Ok(first.unwrap_or(Security::None))
}

/// callback_sec_parms4
fn security_parameters(from: &mut Decoder<'_>) -> Result<Option<Security>, XdrError> {
    match from.u32()? {
        0 => Ok(Some(Security::None)),
        1 => {
            let given = crate::rpc::AuthSys::decode(from)?;
            Ok(Some(Security::Sys(given.to_xdr())))
        }
        6 => {
            from.u32()?;
            Opaque::<1024>::decode(from)?;
            Opaque::<1024>::decode(from)?;
            Ok(None)
        }
        _ => Err(XdrError::Invalid("a callback is secured in no known way")),
    }
}

fn limits(asked: &ChannelAttributes) -> Result<Limits, Status> {
    if asked.request_max < MESSAGE_MIN || asked.response_max < MESSAGE_MIN {
        return Err(Status::TOOSMALL);
    }
    Ok(Limits {
        request: asked.request_max.min(MESSAGE_MAX),
        response: asked.response_max.min(MESSAGE_MAX),
        cached: asked.cached_max.min(CACHED_MAX),
        operations: asked.operations.clamp(1, OPERATIONS_MAX),
        requests: asked.requests.clamp(1, SLOTS_MAX),
    })
}

fn channel(limits: &Limits) -> ChannelAttributes {
    ChannelAttributes {
        header_padding: 0,
        request_max: limits.request,
        response_max: limits.response,
        cached_max: limits.cached,
        operations: limits.operations,
        requests: limits.requests,
        rdma: List(Vec::new()),
    }
}

pub(crate) fn sequence(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Result<Turn, Status> {
    let id: SessionId = from.fixed()?;
    let (sequence, slot, _highest) = (from.u32()?, from.u32()?, from.u32()?);
    let keep = from.bool()?;
    let session = c.state().session(&id)?;
    if c.count > session.fore.operations {
        return Err(Status::TOO_MANY_OPS);
    }
    let request_max = usize::try_from(session.fore.request).unwrap_or(usize::MAX);
    if c.request.record.len() > request_max {
        return Err(Status::REQ_TOO_BIG);
    }
    if keep && session.fore.cached < SEQUENCE_ANSWER {
        return Err(Status::REP_TOO_BIG_TO_CACHE);
    }
    let turn = session.begin(slot, sequence, c.sum())?;
    session.client.renew(c.now());
    let last = session.slots() - 1;
    to.fixed(&id).u32(sequence).u32(slot).u32(last).u32(last);
    to.u32(trouble(c.state(), &session));
    if let Turn::New = turn {
        c.sequence = Some(Sequence {
            session,
            slot,
            keep,
        });
    }
    Ok(turn)
}

/// sr_status_flags: what is wrong that the client should know of.
fn trouble(state: &State, session: &Session) -> u32 {
    let mut flags = 0;
    if session.back.is_faulty() {
        flags |= BACKCHANNEL_FAULT;
    }
    if session.back.is_missed() {
        flags |= CB_PATH_DOWN_SESSION;
        if !state.can_call(session.client.id) {
            flags |= CB_PATH_DOWN;
        }
    }
    if session.client.has_revoked() {
        flags |= RECALLABLE_STATE_REVOKED;
    }
    flags
}

pub(crate) fn bind_conn(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let id: SessionId = from.fixed()?;
    let (direction, _rdma) = (from.u32()?, from.bool()?);
    let session = c.state().session(&id)?;
    // Every connection is one for requests; a client that asks for both directions gets both.
    let direction = match direction {
        FORE => FORE,
        BACK => BACK,
        FORE_OR_BOTH | BACK_OR_BOTH => FORE | BACK,
        _ => return Err(Status::INVAL.into()),
    };
    if direction & BACK != 0 {
        session.back.bind(c.request.origin);
    }
    session.client.renew(c.now());
    to.fixed(&id).u32(direction).bool(false);
    DONE
}

pub(crate) fn destroy(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let id: SessionId = from.fixed()?;
    let session = c.state().session(&id)?;
    if session.client.principal != c.principal() {
        return Err(Status::PERM.into());
    }
    c.state().remove_session(&id)?;
    DONE
}

pub(crate) fn destroy_clientid(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let client = c.state().client(from.u64()?)?;
    if client.has_states() || c.state().has_sessions(client.id) {
        return Err(Status::CLIENTID_BUSY.into());
    }
    c.state().forget(client.id);
    DONE
}

pub(crate) async fn reclaim_complete(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let one_file_system = from.bool()?;
    if one_file_system {
        c.place()?;
        return DONE;
    }
    if c.client()?.reclaim_complete.swap(true, Ordering::AcqRel) {
        return Err(Status::COMPLETE_ALREADY.into());
    }
    c.state().complete(c.client()?)?;
    // On record before it opens anything.
    c.sync_names().await?;
    DONE
}

pub(crate) fn backchannel_ctl(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let program = from.u32()?;
    let security = securities(from)?;
    let sequence = c.sequence.as_ref().ok_or(Status::OP_NOT_IN_SESSION)?;
    sequence.session.back.change(program, security);
    callback::probe(c.request.server, &sequence.session);
    DONE
}

pub(crate) fn test_stateid(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let ids = List::<Stateid, 1024>::decode(from)?;
    let client = c.client()?;
    to.u32(length(ids.0.len()));
    for id in ids.0 {
        client.find(&id).err().unwrap_or(Status::OK).encode(to);
    }
    DONE
}

pub(crate) fn free_stateid(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let id = c.meant(Stateid::decode(from)?)?;
    let client = c.client()?;
    match client.lookup(&id)? {
        Found::Open(_) => Err(Status::LOCKS_HELD.into()),
        Found::Delegation(delegation) if delegation.is_revoked() => {
            client.forget_delegation(&delegation);
            DONE
        }
        Found::Delegation(_) => Err(Status::LOCKS_HELD.into()),
        Found::Lock(lock) => {
            client.find(&id)?;
            let handle = lock.open.any_handle()?;
            if c.request.server.vfs.holds_locks(&handle, lock.number) {
                return Err(Status::LOCKS_HELD.into());
            }
            client.forget_lock(&lock);
            DONE
        }
    }
}
