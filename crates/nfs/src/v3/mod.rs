//! NFS version 3 (RFC 1813).

mod attributes;
mod data;
mod list;
mod lookup;
mod make;
mod remove;
mod status;
pub mod types;
mod volume;

pub(crate) use attributes::access_of;
pub use status::Status;

use strongroom_vfs::unix::Look;

use crate::rpc::AcceptStat;
use crate::server::{CallId, Done, Lost, Request, Seen, Target};
use crate::xdr::{Decoder, Encoder, Xdr};
use types::{Fattr, HANDLE_MAX, Time};

const PROTOCOL: &str = "NFS 3";

/// The procedures that must not be done twice.
const ONCE: [u32; 9] = [
    procedure::SETATTR,
    procedure::CREATE,
    procedure::MKDIR,
    procedure::SYMLINK,
    procedure::MKNOD,
    procedure::REMOVE,
    procedure::RMDIR,
    procedure::RENAME,
    procedure::LINK,
];

mod procedure {
    pub(super) const NULL: u32 = 0;
    pub(super) const GETATTR: u32 = 1;
    pub(super) const SETATTR: u32 = 2;
    pub(super) const LOOKUP: u32 = 3;
    pub(super) const ACCESS: u32 = 4;
    pub(super) const READLINK: u32 = 5;
    pub(super) const READ: u32 = 6;
    pub(super) const WRITE: u32 = 7;
    pub(super) const CREATE: u32 = 8;
    pub(super) const MKDIR: u32 = 9;
    pub(super) const SYMLINK: u32 = 10;
    pub(super) const MKNOD: u32 = 11;
    pub(super) const REMOVE: u32 = 12;
    pub(super) const RMDIR: u32 = 13;
    pub(super) const RENAME: u32 = 14;
    pub(super) const LINK: u32 = 15;
    pub(super) const READDIR: u32 = 16;
    pub(super) const READDIRPLUS: u32 = 17;
    pub(super) const FSSTAT: u32 = 18;
    pub(super) const FSINFO: u32 = 19;
    pub(super) const PATHCONF: u32 = 20;
    pub(super) const COMMIT: u32 = 21;
}

/// Answers one call; None where another is answering the same.
pub(crate) async fn answer(
    request: &Request<'_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Option<Done> {
    if !ONCE.contains(&request.call.procedure) {
        return Some(dispatch(request, from, to).await);
    }
    let peer = request.peer.ip().to_canonical();
    let call = CallId::new(peer, request.call.xid, request.record);
    match request.server.replays.begin(call) {
        Seen::First => {}
        Seen::UnderWay => return None,
        Seen::Answered(answer) => {
            to.raw(&answer);
            return Some(Ok(()));
        }
    }
    let start = to.len();
    let done = dispatch(request, from, to).await;
    let answer = to.as_slice().get(start..).unwrap_or_default();
    request.server.replays.end(call, answer);
    Some(done)
}

async fn dispatch(request: &Request<'_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Done {
    match request.call.procedure {
        procedure::NULL => Ok(()),
        procedure::GETATTR => attributes::getattr(request, arguments(from)?, to),
        procedure::SETATTR => attributes::setattr(request, arguments(from)?, to).await,
        procedure::LOOKUP => lookup::lookup(request, arguments(from)?, to),
        procedure::ACCESS => attributes::access(request, arguments(from)?, to),
        procedure::READLINK => lookup::readlink(request, arguments(from)?, to),
        procedure::READ => data::read(request, arguments(from)?, to).await,
        procedure::WRITE => data::write(request, arguments(from)?, to).await,
        procedure::CREATE => make::create(request, arguments(from)?, to).await,
        procedure::MKDIR => make::mkdir(request, arguments(from)?, to).await,
        procedure::SYMLINK => make::symlink(request, arguments(from)?, to).await,
        procedure::MKNOD => make::mknod(request, arguments(from)?, to).await,
        procedure::REMOVE => remove::remove(request, arguments(from)?, to).await,
        procedure::RMDIR => remove::rmdir(request, arguments(from)?, to).await,
        procedure::RENAME => remove::rename(request, arguments(from)?, to).await,
        procedure::LINK => remove::link(request, arguments(from)?, to).await,
        procedure::READDIR => list::readdir(request, arguments(from)?, to),
        procedure::READDIRPLUS => list::readdirplus(request, arguments(from)?, to),
        procedure::FSSTAT => volume::fsstat(request, arguments(from)?, to),
        procedure::FSINFO => volume::fsinfo(request, arguments(from)?, to),
        procedure::PATHCONF => volume::pathconf(request, arguments(from)?, to),
        procedure::COMMIT => data::commit(request, arguments(from)?, to).await,
        _ => Err(AcceptStat::ProcedureUnavailable),
    }
}

fn arguments<'a, T: Xdr<'a>>(from: &mut Decoder<'a>) -> Result<T, AcceptStat> {
    T::decode(from).map_err(|_| AcceptStat::GarbageArguments)
}

type Handle<'a> = crate::xdr::Opaque<'a, HANDLE_MAX>;

impl Request<'_> {
    fn target3(&self, handle: Handle<'_>) -> Result<Target, Status> {
        self.target(handle.0, PROTOCOL).map_err(|lost| match lost {
            Lost::BadHandle | Lost::Pseudo => Status::BADHANDLE,
            Lost::Stale => Status::STALE,
            Lost::Denied => Status::ACCES,
            Lost::Failed(error) => error.into(),
        })
    }

    fn look3(&self, target: &Target) -> Option<Fattr> {
        let look = target.look(&self.server.vfs).ok()?;
        Some(self.fattr3(target, &look))
    }

    fn fattr3(&self, target: &Target, look: &Look) -> Fattr {
        Fattr::of(
            look,
            target.id(),
            target.share.root.0,
            self.server.callers.numbers(),
        )
    }

    /// What a client may know of a file after its operation.
    fn post_op(&self, target: Result<&Target, Status>, to: &mut Encoder) {
        let attributes = target.ok().and_then(|target| self.look3(target));
        attributes.encode(to);
    }

    /// Every change of names so far is durable on return.
    async fn sync_names(&self) -> Result<(), Status> {
        Ok(self.server.vfs.sync_names().await?)
    }
}

/// Attributes before and after an operation (RFC 1813, 2.6). Those before are told only where nothing else can have
/// happened in between: a client takes its cache for good by them.
#[derive(Debug)]
struct Wcc {
    target: Option<Target>,
    before: Option<Look>,
}

impl Wcc {
    fn begin(request: &Request<'_>, target: &Result<Target, Status>) -> Self {
        let target = target.as_ref().ok().cloned();
        let before = target
            .as_ref()
            .and_then(|target| target.look(&request.server.vfs).ok());
        Self { target, before }
    }

    /// Without the attributes before.
    fn after_only(target: &Result<Target, Status>) -> Self {
        Self {
            target: target.as_ref().ok().cloned(),
            before: None,
        }
    }

    fn end(&self, request: &Request<'_>, to: &mut Encoder) {
        let after = self
            .target
            .as_ref()
            .and_then(|target| target.look(&request.server.vfs).ok());
        let before = self.before.filter(|before| {
            after.is_some_and(|after| {
                after.stat.version == before.stat.version
                    || after.stat.version == before.stat.version + 1
            })
        });
        to.bool(before.is_some());
        if let Some(before) = before {
            to.u64(before.stat.size);
            Time::of(before.stat.modified).encode(to);
            Time::of(before.stat.changed).encode(to);
        }
        let after = self.target.as_ref().zip(after);
        let after = after.map(|(target, look)| request.fattr3(target, &look));
        after.encode(to);
    }
}
