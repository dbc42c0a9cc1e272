//! The holder of a grant: a client with an oplock on an open, or with a lease shared by several opens. It passes breaks
//! on to the client (MS-SMB2 3.3.4.6, 3.3.4.7).

use std::any::Any;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use strongroom_vfs::grants::{Broken, Grant, GrantHolder, GrantRights};

use super::{lease_of, level_of};
use crate::server::Server;
use crate::server::connection::Conn;
use crate::server::reply::Reply;
use crate::server::session::Session;
use crate::wire::create_context::{Lease, LeaseV2};
use crate::wire::header::{Header, HeaderFlags};
use crate::wire::oplock::{LeaseBreakNotification, OplockBreak};
use crate::wire::{Codec, Command, FileId, MessageId};

/// The message id of what nobody asked for.
const UNSOLICITED: MessageId = MessageId(u64::MAX);
/// SMB2_NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED.
const ACK_REQUIRED: u32 = 1;
/// What a notification takes, with its header.
const NOTICE_BYTES: usize = 128;

#[derive(Debug)]
pub(crate) struct CacheHolder {
    server: Weak<Server>,
    /// As it was asked for first; None for an oplock.
    lease: Option<Lease>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    epoch: u16,
    /// Answers on their way that the client must see before it hears of breaks.
    hushed: usize,
    waiting: Vec<Notice>,
    /// The opens under the grant; one for an oplock.
    links: Vec<Link>,
}

/// How the client is reached through one of its opens.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) file_id: FileId,
    pub(crate) session: Weak<Session>,
    /// Of a share whose traffic is encrypted.
    pub(crate) encrypt: bool,
}

/// A break on its way to the client.
#[derive(Debug, Clone, Copy)]
struct Notice {
    broken: Broken,
    epoch: u16,
}

impl CacheHolder {
    pub(crate) fn new(server: &Arc<Server>, lease: Option<Lease>) -> Arc<Self> {
        let epoch = lease.and_then(|lease| lease.v2).map_or(0, |v2| v2.epoch);
        Arc::new(Self {
            server: Arc::downgrade(server),
            lease,
            state: Mutex::new(State {
                epoch,
                hushed: 0,
                waiting: Vec::new(),
                links: Vec::new(),
            }),
        })
    }

    /// The holder of a grant that this server made.
    pub(crate) fn of(grant: &Grant) -> Option<Arc<Self>> {
        let holder = Arc::clone(grant.holder()) as Arc<dyn Any + Send + Sync>;
        holder.downcast().ok()
    }

    /// The lease's part of a response, as of now; None for an oplock.
    pub(crate) fn lease(&self) -> Option<Lease> {
        let lease = self.lease?;
        let epoch = self.state.lock().epoch;
        let v2 = lease.v2.map(|v2| LeaseV2 { epoch, ..v2 });
        Some(Lease { v2, ..lease })
    }

    /// Another open, or one that came back under another id.
    pub(crate) fn add(&self, link: Link) {
        let mut state = self.state.lock();
        state
            .links
            .retain(|held| held.file_id.persistent != link.file_id.persistent);
        state.links.push(link);
    }

    pub(crate) fn remove(&self, file_id: FileId) {
        let mut state = self.state.lock();
        state.links.retain(|held| held.file_id != file_id);
    }

    #[cfg(test)]
    pub(crate) fn links(&self) -> usize {
        self.state.lock().links.len()
    }

    /// Breaks wait until an answer is on its way, so that a client never hears of the break of what it does not know it
    /// has, or of the next step before the answer to its acknowledgement.
    pub(crate) fn hush(self: &Arc<Self>) -> Hushed {
        self.state.lock().hushed += 1;
        Hushed(Arc::clone(self))
    }

    fn speak(&self) {
        let mut state = self.state.lock();
        state.hushed = state.hushed.saturating_sub(1);
        if state.hushed == 0 {
            for notice in std::mem::take(&mut state.waiting) {
                self.send(&mut state, notice);
            }
        }
    }

    fn send(&self, state: &mut State, notice: Notice) {
        let reached = state.links.iter().find_map(|link| {
            let session = link.session.upgrade()?;
            let conn = self.connection(link, &session)?;
            Some((link, session, conn))
        });
        if let Some((link, session, conn)) = reached {
            self.send_to(link, &session, &conn, notice);
        } else {
            // Should the client come back just now, it hears of it then.
            self.nobody_hears(state);
            state.waiting.push(notice);
        }
    }

    /// The connection that has been there longest comes first. A lease is the client's, so any of its connections will do
    /// on which the same user has signed in (MS-SMB2 3.3.4.7), unless the notice must be encrypted for its session.
    fn connection(&self, link: &Link, session: &Session) -> Option<Arc<Conn>> {
        let own = session.connections();
        let open = |conn: &Arc<Conn>| !conn.outbox.is_closed();
        let client = own.first()?.negotiated.get()?.client_guid;
        let encrypted = link.encrypt || session.encrypts();
        if self.lease.is_some() && !encrypted {
            let (server, who) = (self.server.upgrade()?, session.who()?);
            let same = |conn: &Arc<Conn>| open(conn) && conn.is_of(&who.credentials.user);
            let mut of_client = server.connections_of(client).into_iter();
            return of_client.find(same);
        }
        own.into_iter().find(open)
    }

    /// A client that is not there cannot give anything back: what it left open for its return is closed
    /// (MS-SMB2 3.3.4.6, 3.3.4.7). Opens that are being torn down end the grant by themselves.
    fn nobody_hears(&self, state: &State) {
        let Some(server) = self.server.upgrade() else {
            return;
        };
        let opens = state.links.iter().map(|link| link.file_id.persistent);
        server.durables.expire(&server, opens);
    }

    fn send_to(&self, link: &Link, session: &Session, conn: &Conn, notice: Notice) {
        let header = Header {
            credit_charge: 0,
            credits: 0,
            flags: HeaderFlags::SERVER_TO_REDIR,
            ..Header::request(Command::OplockBreak, UNSOLICITED)
        };
        let mut reply = Reply::new(NOTICE_BYTES);
        let begun = reply.begin(&header);
        self.encode(link, notice, reply.body());
        reply.complete(begun, None);
        let encrypt = link.encrypt || session.encrypts();
        reply.send(&conn.outbox, encrypt.then_some(session));
        tracing::trace!(connection = conn.id, broken = ?notice.broken, "told of a break");
    }

    fn encode(&self, link: &Link, Notice { broken, epoch }: Notice, out: &mut Vec<u8>) {
        let Some(lease) = &self.lease else {
            let level = level_of(broken.to);
            let file_id = link.file_id;
            return OplockBreak { level, file_id }.encode(out);
        };
        let notification = LeaseBreakNotification {
            new_epoch: if lease.v2.is_some() { epoch } else { 0 },
            flags: if broken.must_answer { ACK_REQUIRED } else { 0 },
            key: lease.key,
            current: lease_of(broken.from),
            new: lease_of(broken.to),
        };
        notification.encode(out);
    }
}

impl GrantHolder for CacheHolder {
    fn granted(&self, _rights: GrantRights) {
        let mut state = self.state.lock();
        state.epoch = state.epoch.wrapping_add(1);
    }

    fn broken(&self, broken: Broken) {
        let mut state = self.state.lock();
        if !broken.further {
            state.epoch = state.epoch.wrapping_add(1);
        }
        let epoch = state.epoch;
        let notice = Notice { broken, epoch };
        if state.hushed > 0 {
            state.waiting.push(notice);
        } else {
            self.send(&mut state, notice);
        }
    }
}

/// Keeps a holder's breaks back until it is dropped.
#[derive(Debug)]
pub(crate) struct Hushed(Arc<CacheHolder>);

impl Drop for Hushed {
    fn drop(&mut self) {
        self.0.speak();
    }
}
