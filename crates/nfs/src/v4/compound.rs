//! COMPOUND: operations one after the other until one fails (RFC 8881, 16.2).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use strongroom_vfs::Inode;

use super::ops;
use super::state::{Client, Found, Principal, Session, State, Turn};
use super::types::{ChangeInfo, Stateid};
use super::{Failure, Op, Place4, Status};
use crate::rpc::{AcceptStat, Auth};
use crate::server::{Done, Request, Target};
use crate::xdr::{Decoder, Encoder, Opaque, Xdr, length};

const NULL: u32 = 0;
const COMPOUND: u32 = 1;
const TAG_MAX: usize = 1_024;
/// The head of an accepted reply.
const RPC_HEAD: usize = 24;
/// Operations of one compound, whatever its session allows.
pub(crate) const OPERATIONS_MAX: u32 = 128;
/// NFS4ERR_RESOURCE: only for what no session can be asked about.
const RESOURCE: Status = Status(10_018);

/// A compound on its way.
pub(crate) struct Compound<'a, 'r> {
    pub(crate) request: &'a Request<'r>,
    pub(crate) minor: u32,
    pub(crate) count: u32,
    /// Which operation is at work.
    pub(crate) at: u32,
    pub(crate) current: Option<Place4>,
    pub(crate) saved: Option<Place4>,
    pub(crate) stateid: Option<Stateid>,
    pub(crate) saved_stateid: Option<Stateid>,
    pub(crate) sequence: Option<Sequence>,
    /// A sum over the whole compound, to know a request again.
    sum: u64,
}

/// The slot that a compound uses.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) session: Arc<Session>,
    pub(crate) slot: u32,
    pub(crate) keep: bool,
}

/// What an operation leads to besides its result.
enum Next {
    On,
    /// The whole answer is one that was given before.
    Replay(Vec<u8>),
}

pub(crate) async fn answer(
    request: &Request<'_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Done {
    match request.call.procedure {
        NULL => Ok(()),
        COMPOUND => compound(request, from, to).await,
        _ => Err(AcceptStat::ProcedureUnavailable),
    }
}

async fn compound(request: &Request<'_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Done {
    let garbage = |_| AcceptStat::GarbageArguments;
    let mut hasher = DefaultHasher::new();
    from.rest().hash(&mut hasher);
    let tag = Opaque::<TAG_MAX>::decode(from).map_err(garbage)?;
    let (minor, count) = (from.u32().map_err(garbage)?, from.u32().map_err(garbage)?);
    let start = to.len();
    to.u32(0).opaque(tag.0);
    let done_at = to.len();
    to.u32(0);
    let mut compound = Compound {
        request,
        minor,
        count,
        at: 0,
        current: None,
        saved: None,
        stateid: None,
        saved_stateid: None,
        sequence: None,
        sum: hasher.finish(),
    };
    let refused = match (minor, count) {
        (1 | 2, 0..=OPERATIONS_MAX) => None,
        (1 | 2, _) => Some(RESOURCE),
        _ => Some(Status::MINOR_VERS_MISMATCH),
    };
    if let Some(status) = refused {
        to.patch_u32(start, status.0);
        return Ok(());
    }
    if let Some(replay) = compound.run(from, start, done_at, to).await {
        to.truncate(start);
        to.raw(&replay);
        return Ok(());
    }
    if let Some(sequence) = &compound.sequence {
        let answer = to.as_slice().get(start..).unwrap_or_default();
        let Sequence {
            session,
            slot,
            keep,
        } = sequence;
        session.end(*slot, answer, *keep);
    }
    Ok(())
}

impl Compound<'_, '_> {
    /// Does one operation after the other; the answer to a request that was done before, where this is one.
    async fn run(
        &mut self,
        from: &mut Decoder<'_>,
        start: usize,
        done_at: usize,
        to: &mut Encoder,
    ) -> Option<Vec<u8>> {
        let mut done = 0;
        for at in 0..self.count {
            self.at = at;
            let Ok(number) = from.u32() else {
                to.patch_u32(start, Status::BADXDR.0);
                break;
            };
            let known = ops::is_known(number, self.minor);
            to.u32(if known { number } else { ops::ILLEGAL });
            let status_at = to.len();
            to.u32(0);
            let result = match self.check_place(number) {
                _ if !known => Err(Status::OP_ILLEGAL.into()),
                Ok(()) => self.step(number, from, to).await,
                Err(status) => Err(status.into()),
            };
            done += 1;
            let status = match result {
                Ok(Next::Replay(answer)) => return Some(answer),
                Ok(Next::On) => self.check_size(to.len() - start).err(),
                Err(Failure::Told(status)) => {
                    to.patch_u32(status_at, status.0);
                    to.patch_u32(start, status.0);
                    break;
                }
                Err(Failure::Plain(status)) => Some(status),
            };
            if let Some(status) = status {
                to.truncate(status_at + 4);
                to.patch_u32(status_at, status.0);
                to.patch_u32(start, status.0);
                break;
            }
        }
        to.patch_u32(done_at, done);
        None
    }

    /// Whether an operation may stand where it does (RFC 8881, 2.10.6 and 18.46.3).
    fn check_place(&self, number: u32) -> Result<(), Status> {
        let first = self.at == 0;
        match number {
            ops::SEQUENCE if !first => Err(Status::SEQUENCE_POS),
            ops::SEQUENCE => Ok(()),
            _ if !first && self.sequence.is_some() => Ok(()),
            ops::EXCHANGE_ID
            | ops::CREATE_SESSION
            | ops::BIND_CONN_TO_SESSION
            | ops::DESTROY_SESSION
            | ops::DESTROY_CLIENTID
                if first =>
            {
                if self.count == 1 {
                    Ok(())
                } else {
                    Err(Status::NOT_ONLY_OP)
                }
            }
            _ => Err(Status::OP_NOT_IN_SESSION),
        }
    }

    async fn step(
        &mut self,
        number: u32,
        from: &mut Decoder<'_>,
        to: &mut Encoder,
    ) -> Result<Next, Failure> {
        if number == ops::SEQUENCE {
            return match ops::session::sequence(self, from, to)? {
                Turn::New => Ok(Next::On),
                Turn::Replay(answer) => Ok(Next::Replay(answer)),
            };
        }
        // Boxed, as the operations together would make every compound's future large.
        Box::pin(ops::dispatch(self, number, from, to)).await?;
        Ok(Next::On)
    }

    fn check_size(&self, bytes: usize) -> Result<(), Status> {
        let Some(Sequence { session, keep, .. }) = &self.sequence else {
            return Ok(());
        };
        // With what stands before it in the record.
        let bytes = length(bytes + RPC_HEAD);
        if bytes > session.fore.response {
            Err(Status::REP_TOO_BIG)
        } else if *keep && bytes > session.fore.cached {
            Err(Status::REP_TOO_BIG_TO_CACHE)
        } else {
            Ok(())
        }
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    pub(crate) fn state(&self) -> &State {
        &self.request.server.state
    }

    pub(crate) fn now(&self) -> Duration {
        self.request.server.env.monotonic()
    }

    pub(crate) fn principal(&self) -> Principal {
        match &self.request.auth {
            Auth::Sys(sys) => Principal {
                flavor: 1,
                user: sys.user,
            },
            Auth::None | Auth::Other { .. } => Principal::default(),
        }
    }

    /// The client of the session.
    pub(crate) fn client(&self) -> Result<&Arc<Client>, Status> {
        let sequence = self.sequence.as_ref().ok_or(Status::OP_NOT_IN_SESSION)?;
        Ok(&sequence.session.client)
    }

    pub(crate) fn place(&self) -> Result<&Place4, Status> {
        self.current.as_ref().ok_or(Status::NOFILEHANDLE)
    }

    /// The current file; the directory of all exports takes no changes and has no data.
    pub(crate) fn target(&self) -> Result<Target, Status> {
        match self.place()? {
            Place4::File(target) => Ok(target.clone()),
            Place4::Pseudo => Err(Status::ROFS),
        }
    }

    pub(crate) fn saved_target(&self) -> Result<Target, Status> {
        match self.saved.as_ref().ok_or(Status::NOFILEHANDLE)? {
            Place4::File(target) => Ok(target.clone()),
            Place4::Pseudo => Err(Status::ROFS),
        }
    }

    /// A stateid as it is meant: the one that says "the current" is what this compound brought forth.
    pub(crate) fn meant(&self, id: Stateid) -> Result<Stateid, Status> {
        if id == Stateid::CURRENT {
            self.stateid.ok_or(Status::BAD_STATEID)
        } else {
            Ok(id)
        }
    }

    /// What a stateid of the session's client names, for the current file. None for the special ones.
    pub(crate) fn found(&self, id: Stateid, inode: Inode) -> Result<Option<Found>, Status> {
        let id = self.meant(id)?;
        if id.is_special() {
            return Ok(None);
        }
        let found = self.client()?.find(&id)?;
        if found.open().inode == inode {
            Ok(Some(found))
        } else {
            Err(Status::BAD_STATEID)
        }
    }

    /// Names a new open or lock.
    pub(crate) fn new_other(&self) -> Result<[u8; 12], Status> {
        let mut other = [0; 12];
        let client = self.client()?.id;
        other[..4].copy_from_slice(&self.state().boot().to_be_bytes());
        let number = self.state().next() ^ client.rotate_left(40);
        other[4..].copy_from_slice(&number.to_be_bytes());
        Ok(other)
    }

    pub(crate) fn change_before(&self, directory: Inode) -> Result<(u64, u64), Status> {
        let look = self.request.server.vfs.look(directory)?;
        Ok((look.change, look.stat.version))
    }

    /// What an operation did to a directory; for sure only where nothing else can have happened meanwhile.
    pub(crate) fn change_info(
        &self,
        directory: Inode,
        (before, version): (u64, u64),
    ) -> Result<ChangeInfo, Status> {
        let look = self.request.server.vfs.look(directory)?;
        let after = look.change;
        let atomic = look.stat.version == version || look.stat.version == version + 1;
        Ok(ChangeInfo {
            atomic,
            before,
            after,
        })
    }

    pub(crate) async fn sync_names(&self) -> Result<(), Status> {
        Ok(self.request.server.vfs.sync_names().await?)
    }
}

/// The result of an operation that says nothing more.
pub(crate) const DONE: Op = Ok(());
