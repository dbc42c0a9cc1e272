//! COMPOUND: operations one after the other until one fails (RFC 8881, 16.2).

use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use strongroom_device::Env;
use strongroom_vfs::Inode;
use strongroom_vfs::grants::waits_for_holder;
use strongroom_vfs::unix::Unix;

use super::ops;
use super::state::{Client, Found, Principal, Session, State, Turn};
use super::types::{ChangeInfo, Stateid};
use super::{Failure, Op, Place4, Status};
use crate::rpc::{AcceptStat, Auth};
use crate::server::{Done, Request, Target};
use crate::xdr::{Decoder, Encoder, Opaque, Xdr, length};

const NULL: u32 = 0;
const COMPOUND: u32 = 1;
const OPEN: u32 = 18;
const SETATTR: u32 = 34;
const TAG_MAX: usize = 1_024;
/// The head of an accepted reply.
const RPC_HEAD: usize = 24;
/// Operations of one compound, whatever its session allows.
pub(crate) const OPERATIONS_MAX: u32 = 128;
/// How long the holder of a delegation or a lease is waited for before the client is asked to try again.
const HOLDER_TIME: Duration = Duration::from_secs(3);

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
    /// In version 4.0, the client that the operation at work names.
    pub(crate) named: Option<Arc<Client>>,
    /// In version 4.0, whether the owner that has its turn is confirmed.
    pub(crate) confirmed: bool,
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
        named: None,
        confirmed: false,
        sum: hasher.finish(),
    };
    let refused = match (minor, count) {
        (0..=2, 0..=OPERATIONS_MAX) => None,
        (0..=2, _) => Some(Status::RESOURCE),
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
                let status = self.known(number, status);
                to.truncate(status_at + 4);
                to.patch_u32(status_at, status.0);
                to.patch_u32(start, status.0);
                if number == SETATTR {
                    // What was set is told whatever became of it.
                    to.u32(0);
                }
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
            _ if self.minor == 0 => Ok(()),
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
        let env = Arc::clone(&self.request.server.env);
        let work = Box::pin(ops::dispatch(self, number, from, to));
        patient(&*env, work).await?;
        Ok(Next::On)
    }

    /// A status as the minor version knows it.
    fn known(&self, number: u32, status: Status) -> Status {
        match status {
            Status::WRONG_TYPE if self.minor == 0 && number == OPEN => Status::SYMLINK,
            Status::WRONG_TYPE if self.minor == 0 => Status::INVAL,
            status => status,
        }
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

    /// The caller, whose own changes call back none of its client's delegations.
    pub(crate) fn unix<'t>(&'t self, target: &'t Target) -> Unix<'t> {
        let key = self.client().ok().map(|client| client.key());
        target.unix(&self.request.server.vfs).by(key)
    }

    /// The client of the session.
    pub(crate) fn client(&self) -> Result<&Arc<Client>, Status> {
        if self.minor == 0 {
            return self.named.as_ref().ok_or(Status::BAD_STATEID);
        }
        let sequence = self.sequence.as_ref().ok_or(Status::OP_NOT_IN_SESSION)?;
        Ok(&sequence.session.client)
    }

    /// The client that a stateid was given to; in version 4.0 nothing else says so.
    pub(crate) fn client_of(&self, id: &Stateid) -> Result<Arc<Client>, Status> {
        if self.minor > 0 {
            return self.client().cloned();
        }
        let [boot, client] = [0, 4].map(|at| {
            let bytes = id.other.get(at..).and_then(|rest| rest.first_chunk());
            u32::from_be_bytes(bytes.copied().unwrap_or_default())
        });
        if boot != self.state().boot() {
            return Err(Status::STALE_STATEID);
        }
        let client = self
            .state()
            .client(u64::from(boot) << 32 | u64::from(client));
        let client = client.map_err(|_| Status::EXPIRED)?;
        client.renew(self.now());
        Ok(client)
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
        let found = self.client_of(&id)?.find(&id)?;
        if found.inode() == inode {
            Ok(Some(found))
        } else {
            Err(Status::BAD_STATEID)
        }
    }

    /// Names a new open or lock.
    pub(crate) fn new_other(&self) -> Result<[u8; 12], Status> {
        let mut other = [0; 12];
        let client = self.client()?;
        let id = client.id & 0xFFFF_FFFF;
        other[..4].copy_from_slice(&self.state().boot().to_be_bytes());
        loop {
            let number = id << 32 | (self.state().next() & 0xFFFF_FFFF);
            other[4..].copy_from_slice(&number.to_be_bytes());
            if !client.knows(&other) {
                return Ok(other);
            }
        }
    }

    pub(crate) fn change_before(&self, directory: &Target) -> Result<(u64, u64), Status> {
        let look = directory.look(&self.request.server.vfs)?;
        Ok((look.change, look.stat.version))
    }

    /// What an operation did to a directory; for sure only where nothing else can have happened meanwhile.
    pub(crate) fn change_info(
        &self,
        directory: &Target,
        (before, version): (u64, u64),
    ) -> Result<ChangeInfo, Status> {
        let look = directory.look(&self.request.server.vfs)?;
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

/// An operation that waits for somebody to give back what it holds has done nothing yet: after a while its client is asked
/// to come again, so that it has its slot for other things.
async fn patient(env: &dyn Env, mut work: impl Future<Output = Op> + Unpin) -> Op {
    let mut late = None;
    poll_fn(|context| {
        waits_for_holder();
        if let Poll::Ready(done) = Pin::new(&mut work).poll(context) {
            return Poll::Ready(done);
        }
        if !waits_for_holder() {
            return Poll::Pending;
        }
        let late = late.get_or_insert_with(|| env.sleep(HOLDER_TIME));
        late.as_mut()
            .poll(context)
            .map(|()| Err(Status::DELAY.into()))
    })
    .await
}

/// The result of an operation that says nothing more.
pub(crate) const DONE: Op = Ok(());
