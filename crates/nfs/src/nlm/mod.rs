//! NLM version 4, the locks of NFS version 3 (The Open Group, C702, chapter 10 and appendix; RFC 1813, appendix II), and
//! what NSM tells of clients that started again.
//!
//! Locks lie in the file system's one table beside those of version 4 and SMB. What the client's kernel asks one call at a
//! time is done; the forms of calls whose answers come as calls of their own are not known.

mod hosts;
mod waiting;

pub(crate) use hosts::{Hosts, address_of};

use std::net::IpAddr;

use strongroom_device::BoxFuture;
use strongroom_vfs::{InTheWay, LockRange, VfsError};

use crate::rpc::{self, AcceptStat};
use crate::server::{Dialer, Done, Lost, Request, Target};
use crate::xdr::{Decoder, Encoder, Opaque, Xdr};

const NULL: u32 = 0;
const TEST: u32 = 1;
const LOCK: u32 = 2;
const CANCEL: u32 = 3;
const UNLOCK: u32 = 4;
pub(crate) const GRANTED: u32 = 5;
const NM_LOCK: u32 = 22;
const FREE_ALL: u32 = 23;
/// SM_STAT and SM_NOTIFY.
const SM_STAT: u32 = 1;
pub(crate) const SM_NOTIFY: u32 = 6;

/// An odd state is that of a monitor that is up.
const STARTED: i32 = 1;

const NAME_MAX: usize = 1_024;
const PROTOCOL: &str = "NFS 3";

type Object<'a> = Opaque<'a, NAME_MAX>;

/// nlm4_stats
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stat {
    Granted = 0,
    Denied = 1,
    NoLocks = 2,
    Blocked = 3,
    GracePeriod = 4,
    ReadOnly = 6,
    StaleHandle = 7,
    TooBig = 8,
    Failed = 9,
}

impl From<VfsError> for Stat {
    fn from(error: VfsError) -> Self {
        match error {
            VfsError::LockNotGranted
            | VfsError::SharingViolation
            | VfsError::LockConflict
            | VfsError::AccessDenied
            | VfsError::InUse
            | VfsError::Away => Self::Denied,
            VfsError::TooMany | VfsError::NoSpace | VfsError::QuotaExceeded => Self::NoLocks,
            VfsError::Closed
            | VfsError::DeletePending
            | VfsError::Forgotten
            | VfsError::NotFound
            | VfsError::PathNotFound => Self::StaleHandle,
            VfsError::InvalidRange => Self::TooBig,
            VfsError::ReadOnly => Self::ReadOnly,
            VfsError::Exists
            | VfsError::IsDirectory
            | VfsError::NotDirectory
            | VfsError::NotEmpty
            | VfsError::PrivilegeNotHeld
            | VfsError::RangeNotLocked
            | VfsError::InvalidName
            | VfsError::NameTooLong
            | VfsError::InvalidParameter
            | VfsError::CannotDelete
            | VfsError::TooManyLinks
            | VfsError::NotSameVolume
            | VfsError::Symlink(_)
            | VfsError::NotReparsePoint
            | VfsError::InvalidReparse
            | VfsError::InvalidSecurity
            | VfsError::InvalidOwner
            | VfsError::InvalidEaName
            | VfsError::EaTooLarge
            | VfsError::NoSuchEa
            | VfsError::NoMoreEntries
            | VfsError::Cancelled
            | VfsError::NotSupported => Self::Failed,
            VfsError::Corrupt(_) | VfsError::Offline(_) | VfsError::Io(_) => {
                tracing::error!(%error, "a lock of NFS 3 failed");
                Self::Failed
            }
        }
    }
}

xdr_struct! {
    /// nlm4_lock
    pub struct Lock<'a> {
        pub caller: Object<'a>,
        pub file: Object<'a>,
        pub owner: Object<'a>,
        pub process: i32,
        pub offset: u64,
        pub len: u64,
    }
}

xdr_struct! {
    /// nlm4_lockargs
    pub struct LockArguments<'a> {
        pub cookie: Object<'a>,
        pub block: bool,
        pub exclusive: bool,
        pub lock: Lock<'a>,
        pub reclaim: bool,
        pub state: i32,
    }
}

xdr_struct! {
    /// nlm4_cancargs
    pub struct CancelArguments<'a> {
        pub cookie: Object<'a>,
        pub block: bool,
        pub exclusive: bool,
        pub lock: Lock<'a>,
    }
}

xdr_struct! {
    /// nlm4_testargs
    pub struct TestArguments<'a> {
        pub cookie: Object<'a>,
        pub exclusive: bool,
        pub lock: Lock<'a>,
    }
}

xdr_struct! {
    /// nlm4_unlockargs
    pub struct UnlockArguments<'a> {
        pub cookie: Object<'a>,
        pub lock: Lock<'a>,
    }
}

impl Lock<'_> {
    /// No length is to the end of whatever the file becomes.
    pub(crate) fn range(&self, exclusive: bool) -> Result<LockRange, Stat> {
        let len = match self.len {
            0 => u64::MAX - self.offset,
            len if self.offset.checked_add(len).is_none() => return Err(Stat::TooBig),
            len => len,
        };
        Ok(LockRange {
            offset: self.offset,
            len,
            exclusive,
        })
    }

    /// Who asks, among its machine's.
    pub(crate) fn who(&self) -> (Vec<u8>, i32) {
        (self.owner.0.to_vec(), self.process)
    }
}

fn arguments<'a, T: Xdr<'a>>(from: &mut Decoder<'a>) -> Result<T, AcceptStat> {
    T::decode(from).map_err(|_| AcceptStat::GarbageArguments)
}

fn target(request: &Request<'_>, lock: &Lock<'_>) -> Result<Target, Stat> {
    let found = request.target(lock.file.0, PROTOCOL);
    found.map_err(|lost| match lost {
        Lost::BadHandle | Lost::Pseudo | Lost::Stale => Stat::StaleHandle,
        Lost::Denied => Stat::Denied,
        Lost::Failed(error) => error.into(),
    })
}

pub(crate) async fn answer(
    request: &Request<'_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Done {
    match request.call.procedure {
        NULL => {}
        TEST => test(request, &arguments(from)?, to),
        LOCK => lock(request, &arguments(from)?, true, to).await,
        NM_LOCK => lock(request, &arguments(from)?, false, to).await,
        CANCEL => {
            let asked: CancelArguments<'_> = arguments(from)?;
            let locks = &request.server.locks;
            locks.cancel(
                peer(request),
                &asked.lock.who(),
                asked.lock.range(asked.exclusive),
            );
            result(to, &asked.cookie, Stat::Granted);
        }
        UNLOCK => {
            let asked: UnlockArguments<'_> = arguments(from)?;
            let done = unlock(request, &asked.lock);
            result(to, &asked.cookie, done.err().unwrap_or(Stat::Granted));
        }
        FREE_ALL => {
            let _name = arguments::<Object<'_>>(from)?;
            free(request);
        }
        _ => return Err(AcceptStat::ProcedureUnavailable),
    }
    Ok(())
}

/// The status monitor of other machines tells that a client started again: what it held is free.
pub(crate) fn answer_monitor(
    request: &Request<'_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Done {
    match request.call.procedure {
        NULL => {}
        // Whoever asks is not watched by this server, which hears of its clients by themselves.
        SM_STAT => {
            to.u32(1).u32(1);
        }
        SM_NOTIFY => {
            arguments::<Object<'_>>(from)?;
            arguments::<i32>(from)?;
            free(request);
        }
        _ => return Err(AcceptStat::ProcedureUnavailable),
    }
    Ok(())
}

/// The machine holds nothing any more, and has nothing to claim back.
fn free(request: &Request<'_>) {
    let peer = peer(request);
    request.server.locks.free(peer);
    if let Err(error) = request.server.vfs.forget_client(&hosts::name_of(peer)) {
        tracing::warn!(%error, "a machine that holds no locks stays on record");
    }
}

/// Tells a machine's status monitor that this server started again (SM_NOTIFY).
pub(crate) fn started_again(dialer: &dyn Dialer, peer: IpAddr) -> BoxFuture<()> {
    let mut to = Encoder::default();
    to.opaque(dialer.name().as_bytes()).i32(STARTED);
    let call = dialer.call(peer, (rpc::NSM, 1, SM_NOTIFY), to.into_vec());
    Box::pin(async move {
        if call.await.is_none() {
            tracing::info!(%peer, "a machine that held locks could not be told of the new start");
        }
    })
}

fn peer(request: &Request<'_>) -> IpAddr {
    request.peer.ip().to_canonical()
}

/// nlm4_res
fn result(to: &mut Encoder, cookie: &Object<'_>, stat: Stat) {
    to.opaque(cookie.0).u32(stat as u32);
}

fn test(request: &Request<'_>, asked: &TestArguments<'_>, to: &mut Encoder) {
    let found = find(request, &asked.lock, asked.exclusive);
    let stat = match &found {
        Ok(None) => Stat::Granted,
        Ok(Some(_)) => Stat::Denied,
        Err(stat) => *stat,
    };
    result(to, &asked.cookie, stat);
    if let Ok(Some(lock)) = found {
        holder(request, &lock, to);
    } else if stat == Stat::Denied {
        let nobody = InTheWay {
            range: LockRange {
                offset: 0,
                len: u64::MAX,
                exclusive: true,
            },
            owner: strongroom_vfs::LockOwner::default(),
        };
        holder(request, &nobody, to);
    }
}

fn find(request: &Request<'_>, lock: &Lock<'_>, exclusive: bool) -> Result<Option<InTheWay>, Stat> {
    let range = lock.range(exclusive)?;
    let target = target(request, lock)?;
    let number = request.server.locks.number(peer(request), &lock.who());
    let number = number.unwrap_or(strongroom_vfs::LockOwner(u64::MAX));
    Ok(request.server.vfs.test_posix(target.inode, number, range)?)
}

/// nlm4_holder. Others' names are their own business.
fn holder(request: &Request<'_>, lock: &InTheWay, to: &mut Encoder) {
    let LockRange {
        offset,
        len,
        exclusive,
    } = lock.range;
    let to_the_end = offset.checked_add(len).is_none_or(|end| end == u64::MAX);
    let own = request.server.locks.who(peer(request), lock.owner);
    let (owner, process) = own.unwrap_or_else(|| (b"other".to_vec(), 0));
    to.bool(exclusive).i32(process).opaque(&owner);
    to.u64(offset).u64(if to_the_end { 0 } else { len });
}

async fn lock(request: &Request<'_>, asked: &LockArguments<'_>, monitored: bool, to: &mut Encoder) {
    let stat = take(request, asked, monitored).await;
    result(to, &asked.cookie, stat.err().unwrap_or(Stat::Granted));
}

async fn take(
    request: &Request<'_>,
    asked: &LockArguments<'_>,
    monitored: bool,
) -> Result<(), Stat> {
    let server = request.server;
    let (peer, range) = (peer(request), asked.lock.range(asked.exclusive)?);
    let target = target(request, &asked.lock)?;
    if server.state.in_grace(server.env.monotonic()) != asked.reclaim {
        return Err(Stat::GracePeriod);
    }
    if server.locks.meet(peer, monitored.then_some(asked.state))? {
        // On record before it holds anything.
        server.vfs.remember_client(&hosts::name_of(peer))?;
        server.vfs.sync_names().await?;
    }
    let file = server.locks.open(server, peer, &target).await?;
    let number = server.locks.own(server, peer, &asked.lock.who())?;
    let mut taken = server.vfs.lock_posix(&file, number, range)?;
    if taken.is_some() && server.state.end_expired(server.env.monotonic()) {
        taken = server.vfs.lock_posix(&file, number, range)?;
    }
    match taken {
        None => Ok(()),
        Some(_) if asked.block => {
            waiting::wait(server, peer, &asked.lock, range, (file, number))?;
            Err(Stat::Blocked)
        }
        Some(_) => Err(Stat::Denied),
    }
}

fn unlock(request: &Request<'_>, lock: &Lock<'_>) -> Result<(), Stat> {
    let range = lock.range(false)?;
    let target = target(request, lock)?;
    let server = request.server;
    server
        .locks
        .unlock(&server.vfs, peer(request), target.inode, &lock.who(), range)?;
    Ok(())
}
