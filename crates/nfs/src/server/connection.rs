//! One client's connection: calls in, answers out, in whatever order they are ready.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use bytes::Bytes;
use strongroom_device::BoxFuture;

use super::calls::Calls;
use super::outbox::Shared;
use super::{Outbox, Server};
use crate::rpc::{self, AcceptStat, Auth, AuthStat, Call, Message, Reply};
use crate::xdr::{Decoder, Encoder, XdrError};
use crate::{mount, nlm, portmap, v3, v4};

/// Calls of one connection under way, and the bytes that they may hold.
const CALLS_MAX: usize = 256;
const BYTES_MAX: usize = 32 << 20;
/// The mark before every record.
const MARK: usize = 4;

/// Why a connection is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disconnect {
    #[error("a record is no RPC message: {0}")]
    NotRpc(XdrError),
}

/// The receiving half of one client's connection.
#[derive(Debug)]
pub struct Connection {
    peer: Arc<Peer>,
}

/// A client at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) server: Arc<Server>,
    pub(crate) address: SocketAddr,
    outbox: Arc<Shared>,
    calls: Calls,
}

/// A call with its place in the record.
pub(crate) struct Request<'a> {
    pub(crate) server: &'a Arc<Server>,
    pub(crate) peer: SocketAddr,
    /// The connection that it came by.
    pub(crate) origin: &'a Arc<Peer>,
    pub(crate) call: Call<'a>,
    pub(crate) auth: Auth<'a>,
    /// The whole record.
    pub(crate) record: &'a [u8],
}

impl Connection {
    pub(super) fn new(server: Arc<Server>, address: SocketAddr) -> (Self, Outbox) {
        let outbox = Arc::new(Shared::default());
        let peer = Arc::new(Peer {
            server,
            address,
            outbox: Arc::clone(&outbox),
            calls: Calls::default(),
        });
        (Self { peer }, Outbox::new(outbox))
    }

    /// Whether no further records should be given until some are answered.
    pub fn is_full(&self) -> bool {
        let (calls, bytes) = self.peer.outbox.under_way();
        calls >= CALLS_MAX || bytes >= BYTES_MAX
    }

    /// Whether every call is answered.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.peer.outbox.under_way().0 == 0
    }

    /// Takes one record. What can be answered at once is answered at once.
    ///
    /// Errors: what is no RPC message; the connection is of no use then.
    pub fn receive(&self, record: Bytes) -> Result<(), Disconnect> {
        let mut from = Decoder::new(&record);
        let message = Message::decode(&mut from).map_err(Disconnect::NotRpc)?;
        if let Message::Reply { xid, accepted } = message {
            let results = record.slice_ref(from.rest());
            self.peer.calls.answered(xid, accepted.then_some(results));
            return Ok(());
        }
        self.peer.server.requests.fetch_add(1, Ordering::Relaxed);
        let under_way = self.peer.outbox.begin_call(record.len());
        let peer = Arc::clone(&self.peer);
        let mut work: BoxFuture<()> = Box::pin(async move {
            if let Some(answer) = answer(&peer, &record).await {
                peer.outbox.push(answer);
            }
            drop(under_way);
        });
        let mut context = Context::from_waker(Waker::noop());
        if work.as_mut().poll(&mut context).is_pending() {
            self.peer.server.env.spawn("nfs request", work);
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.peer.outbox.close();
        self.peer.calls.end();
        let connections = &self.peer.server.connections;
        connections.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Peer {
    /// Calls the client by its own connection; the results, or None where it refused the call or is gone. Whoever gives up
    /// drops the call.
    pub(crate) async fn call(&self, write: impl FnOnce(u32, &mut Encoder)) -> Option<Bytes> {
        let waiting = self.calls.begin()?;
        let mut to = Encoder::with_capacity(256);
        to.raw(&[0; MARK]);
        write(waiting.xid, &mut to);
        self.outbox.push(finish(to));
        waiting.results().await
    }

    /// Whether the client is still there.
    pub(crate) fn is_connected(&self) -> bool {
        !self.calls.is_ended()
    }
}

/// The record that answers one; None where nothing is to be answered.
async fn answer(peer: &Arc<Peer>, record: &[u8]) -> Option<Vec<u8>> {
    let mut from = Decoder::new(record);
    let mut to = Encoder::with_capacity(512);
    to.raw(&[0; MARK]);
    match Message::decode(&mut from).ok()? {
        Message::Reply { .. } => return None,
        Message::OtherVersion { xid } => Reply::other_version(&mut to, xid),
        Message::Call(call) => answer_call(peer, call, record, from.rest(), &mut to).await?,
    }
    Some(finish(to))
}

/// Writes the record's mark, now that its length is known.
fn finish(mut to: Encoder) -> Vec<u8> {
    let len = to.len() - MARK;
    to.patch_u32(0, u32::from_be_bytes(rpc::mark(len)));
    to.into_vec()
}

async fn answer_call(
    peer: &Arc<Peer>,
    call: Call<'_>,
    record: &[u8],
    arguments: &[u8],
    to: &mut Encoder,
) -> Option<()> {
    let xid = call.xid;
    let auth = match &call.auth {
        Ok(Auth::Other { .. }) => {
            Reply::unauthorized(to, xid, AuthStat::TooWeak);
            return Some(());
        }
        Ok(auth) => auth.clone(),
        Err(_) => {
            Reply::unauthorized(to, xid, AuthStat::BadCredential);
            return Some(());
        }
    };
    let request = Request {
        server: &peer.server,
        peer: peer.address,
        origin: peer,
        call,
        auth,
        record,
    };
    dispatch(&request, arguments, to).await
}

/// What a program makes of a call: whether it was done, and what is answered.
pub(crate) type Done = Result<(), AcceptStat>;

async fn dispatch(request: &Request<'_>, arguments: &[u8], to: &mut Encoder) -> Option<()> {
    let (xid, start) = (request.call.xid, to.len());
    Reply::accepted(to, xid, AcceptStat::Success);
    let from = &mut Decoder::new(arguments);
    let done = match (request.call.program, request.call.version) {
        (rpc::NFS, 3) => match v3::answer(request, from, to).await {
            Some(done) => done,
            None => return None,
        },
        (rpc::NFS, 4) => v4::answer(request, from, to).await,
        (rpc::NFS, _) => Err(AcceptStat::ProgramMismatch { low: 3, high: 4 }),
        (rpc::MOUNT, version @ (1 | 3)) => mount::answer(request, version, from, to),
        (rpc::MOUNT, _) => Err(AcceptStat::ProgramMismatch { low: 1, high: 3 }),
        (rpc::NLM, 4) => nlm::answer(request, from, to).await,
        (rpc::NLM, _) => Err(AcceptStat::ProgramMismatch { low: 4, high: 4 }),
        (rpc::NSM, 1) => nlm::answer_monitor(request, from, to),
        (rpc::NSM, _) => Err(AcceptStat::ProgramMismatch { low: 1, high: 1 }),
        (rpc::PORTMAP, version @ 2..=4) => portmap::answer(request, version, from, to),
        (rpc::PORTMAP, _) => Err(AcceptStat::ProgramMismatch { low: 2, high: 4 }),
        _ => Err(AcceptStat::ProgramUnavailable),
    };
    if let Err(stat) = done {
        to.truncate(start);
        Reply::accepted(to, xid, stat);
    }
    Some(())
}
