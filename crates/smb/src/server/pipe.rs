//! Opens of the pipes of `IPC$`: what the RPC services see of the server.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_identity::{Group, Sid, SidName, User};

use super::Server;
use super::request::Request;
use super::session::Session;
use super::status::Failure;
use crate::rpc::{Pipe, PipeContext, PipeError, PipeRead, RpcShare, RpcShareKind};
use crate::wire::NtStatus;

/// Pipes answer what Windows does: one message a READ.
pub(crate) struct PipeOpen {
    name: String,
    pipe: Mutex<Pipe>,
}

impl fmt::Debug for PipeOpen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PipeOpen")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl PipeOpen {
    pub(crate) fn open(request: &Request, name: &str) -> Option<Self> {
        let server = Arc::clone(&request.conn.server);
        let session = Arc::clone(request.session().ok()?);
        let pipe = Pipe::open(name, Arc::new(Seen { server, session }))?;
        Some(Self {
            name: name.to_owned(),
            pipe: Mutex::new(pipe),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that the next READ can give.
    pub(crate) fn readable(&self) -> usize {
        self.pipe.lock().available().0
    }

    /// The next message, or as much of it as the client takes.
    pub(crate) fn read(&self, max: usize) -> Result<PipeRead, Failure> {
        let read = self.pipe.lock().read(max).map_err(failure)?;
        read.ok_or_else(|| NtStatus::PIPE_EMPTY.into())
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.pipe.lock().write(bytes).map_err(failure)
    }

    /// FSCTL_PIPE_TRANSCEIVE.
    pub(crate) fn transceive(&self, bytes: &[u8], max: usize) -> Result<PipeRead, Failure> {
        let read = self.pipe.lock().transceive(bytes, max).map_err(failure)?;
        read.ok_or_else(|| NtStatus::PIPE_EMPTY.into())
    }

    /// FSCTL_PIPE_PEEK: bytes of the next message, and of all.
    pub(crate) fn available(&self) -> (usize, usize) {
        self.pipe.lock().available()
    }
}

fn failure(error: PipeError) -> Failure {
    match error {
        PipeError::Broken(_) => NtStatus::PIPE_DISCONNECTED.into(),
        PipeError::Full => NtStatus::PIPE_BUSY.into(),
    }
}

/// What one session may learn of the server.
struct Seen {
    server: Arc<Server>,
    session: Arc<Session>,
}

impl PipeContext for Seen {
    fn server_name(&self) -> String {
        self.server.config.name.to_uppercase()
    }

    fn domain(&self) -> String {
        super::config::WORKGROUP.to_owned()
    }

    fn comment(&self) -> String {
        "Strongroom".to_owned()
    }

    /// The shares that let this user in.
    fn shares(&self) -> Vec<RpcShare> {
        let Some(who) = self.session.who().filter(|who| !who.anonymous) else {
            return Vec::new();
        };
        let mut shares: Vec<_> = self
            .server
            .vfs
            .shares()
            .into_iter()
            .filter(|share| self.server.vfs.may_enter(share, &who.credentials))
            .map(|share| RpcShare {
                name: share.name.clone(),
                kind: RpcShareKind::Disk,
                comment: share.comment.clone(),
                path: String::new(),
            })
            .collect();
        shares.push(RpcShare {
            name: "IPC$".to_owned(),
            kind: RpcShareKind::Ipc,
            comment: "Remote procedure calls".to_owned(),
            path: String::new(),
        });
        shares
    }

    fn unix_time(&self) -> i64 {
        i64::try_from(self.server.env.now().seconds()).unwrap_or(i64::MAX)
    }

    fn user(&self) -> Option<Sid> {
        let who = self.session.who().filter(|who| !who.anonymous)?;
        Some(who.credentials.user)
    }

    fn machine_sid(&self) -> Sid {
        self.server.identity.machine_sid()
    }

    fn sid_name(&self, sid: &Sid) -> Option<SidName> {
        self.server.identity.sid_name(sid)
    }

    fn sid_of(&self, name: &str) -> Option<Sid> {
        self.server.identity.sid_of(name)
    }

    fn users(&self) -> Vec<User> {
        self.server.identity.users()
    }

    fn groups(&self) -> Vec<Group> {
        self.server.identity.groups()
    }
}
