//! The server's side of MS-SMB2 (section 3.3): state of connections, sessions, tree connects and opens.
//!
//! A caller owns the sockets: it reads frames, gives each to [`Connection::receive`], and writes what
//! [`Outbox::drain`] gives back. Requests that memory can answer are answered inside `receive`; those that wait run
//! as tasks of the `Env` and put their answer in the outbox later.

mod answer;
mod apple;
mod buffers;
mod caching;
mod channel;
mod config;
mod connection;
mod dispatch;
mod exchange;
mod lasting;
mod listing;
mod lock_sequence;
mod negotiated;
mod offload;
mod open;
mod operations;
mod outbox;
mod past;
mod pipe;
mod posix;
mod reply;
mod request;
mod session;
mod session_channel;
mod slab;
mod status;
#[cfg(test)]
mod tests;
mod tree;
mod waiting;
mod who;
mod window;
mod write_time;

pub use config::{EncryptionPolicy, Interface, Interfaces, Limits, ServerConfig, WORKGROUP};
pub use outbox::{Frame, Outbox};

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::BytesMut;
use parking_lot::Mutex;
use strongroom_device::{Env, EnvExt, Timestamp};
use strongroom_identity::Identity;
use strongroom_vfs::{NoticeBudget, Vfs};
use tokio::sync::Notify;

use self::buffers::Buffers;
use self::connection::Conn;
use self::negotiated::Negotiated;
use self::session::Session;
use crate::auth::AcceptorConfig;
use crate::wire::{Guid, SessionId};

/// One SMB server over one vfs.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    vfs: Arc<Vfs>,
    identity: Arc<Identity>,
    env: Arc<dyn Env>,
    acceptor: Arc<AcceptorConfig>,
    /// For sessions that are established: they may be given up to nobody in particular.
    acceptor_again: Arc<AcceptorConfig>,
    buffers: Arc<Buffers>,
    next_open_id: AtomicU64,
    durables: caching::Durables,
    offload: offload::Tokens,
    /// What change notices of all sessions may hold.
    notices: Arc<NoticeBudget>,
    /// Opens of all sessions.
    opens: Arc<AtomicUsize>,
    table: Mutex<Table>,
    /// Told when a connection has gone.
    gone: Notify,
}

/// Touched when connections and sessions come and go, never for other requests.
#[derive(Debug, Default)]
struct Table {
    connections: HashMap<u64, Arc<Conn>>,
    sessions: HashMap<u64, Weak<Session>>,
    /// The connections of each client, the oldest first, once they have negotiated.
    by_client: HashMap<Guid, Vec<Arc<Conn>>>,
    /// How many connections each client's network has.
    by_network: HashMap<IpAddr, usize>,
    last_connection: u64,
    /// Of connections that have ended.
    past_traffic: Traffic,
    shutting_down: bool,
}

/// What went over connections.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) requests: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl Traffic {
    fn and(self, other: Traffic) -> Traffic {
        Traffic {
            requests: self.requests + other.requests,
            received: self.received + other.received,
            sent: self.sent + other.sent,
        }
    }
}

impl Table {
    fn forget_client_of(&mut self, conn: &Conn) {
        let Some(client) = conn.negotiated.get().map(|one| one.client_guid) else {
            return;
        };
        if let Some(conns) = self.by_client.get_mut(&client) {
            conns.retain(|other| other.id != conn.id);
            if conns.is_empty() {
                self.by_client.remove(&client);
            }
        }
    }
}

impl Server {
    pub fn new(
        config: ServerConfig,
        vfs: Arc<Vfs>,
        identity: Arc<Identity>,
        env: Arc<dyn Env>,
    ) -> Arc<Self> {
        let acceptor = AcceptorConfig {
            ntlm: config.ntlm,
            kerberos: config.kerberos.clone(),
            ..AcceptorConfig::standalone(&config.name)
        };
        let acceptor_again = AcceptorConfig {
            anonymous: true,
            ..acceptor.clone()
        };
        // Ids of one run must mean nothing to the next one, to which clients may bring them.
        let first_open_id = env.random_u64() >> 2;
        let notices = NoticeBudget::new(config.limits.notify_bytes, usize::MAX);
        let offload = offload::Tokens::new(&*env);
        Arc::new(Self {
            config,
            vfs,
            identity,
            env,
            offload,
            acceptor: Arc::new(acceptor),
            acceptor_again: Arc::new(acceptor_again),
            buffers: Arc::default(),
            next_open_id: AtomicU64::new(first_open_id),
            durables: caching::Durables::default(),
            notices,
            opens: Arc::default(),
            table: Mutex::default(),
            gone: Notify::new(),
        })
    }

    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Takes up a connection from `peer`; the caller then owns both halves.
    pub fn connect(self: &Arc<Self>, peer: SocketAddr) -> Result<(Connection, Outbox), Refused> {
        let mut table = self.table.lock();
        if table.shutting_down {
            return Err(Refused::ShuttingDown);
        }
        if table.connections.len() >= self.config.limits.connections {
            return Err(Refused::TooManyConnections);
        }
        let network = network_of(peer.ip());
        let from_there = table.by_network.get(&network).copied().unwrap_or(0);
        if from_there >= self.config.limits.connections_per_address {
            return Err(Refused::TooManyFromAddress);
        }
        table.by_network.insert(network, from_there + 1);
        table.last_connection += 1;
        let id = table.last_connection;
        let conn = Arc::new(Conn::new(self, id, peer));
        table.connections.insert(id, Arc::clone(&conn));
        let outbox = Outbox::new(Arc::clone(&conn.outbox));
        Ok((Connection { conn }, outbox))
    }

    pub fn status(&self) -> ServerStatus {
        let connections = self.all_connections();
        let sessions = self.all_sessions();
        let past = self.table.lock().past_traffic;
        let traffic = connections
            .iter()
            .fold(past, |sum, conn| sum.and(conn.traffic()));
        ServerStatus {
            connections: connections.len(),
            sessions: sessions.len(),
            opens: sessions.iter().map(|session| session.open_count()).sum(),
            waiting_opens: self.durables.len(),
            requests: connections.iter().map(|conn| conn.requests()).sum(),
            requests_ever: traffic.requests,
            received: traffic.received,
            sent: traffic.sent,
        }
    }

    pub fn connections(&self) -> Vec<ConnectionStatus> {
        self.all_connections()
            .iter()
            .map(|conn| conn.status())
            .collect()
    }

    pub fn sessions(&self) -> Vec<SessionStatus> {
        let sessions = self.all_sessions();
        sessions.iter().filter_map(|one| one.status()).collect()
    }

    /// To be called after accounts or shares have changed. Ends the sessions of users who are gone or disabled, and tree
    /// connects of shares that are gone or closed to their users, with all files and locks that they hold, those too that
    /// wait for their clients to come back; gives all others the rights that they have now. Requests that begin after the change see it even before this is called.
    pub async fn apply_changes(self: &Arc<Self>) {
        for session in self.all_sessions() {
            session.apply_changes(self).await;
        }
        self.durables.apply_changes(self).await;
    }

    /// Refuses what is new, ends every connection (their outboxes close) and waits until all handles are closed, those
    /// too that wait for their clients to come back.
    pub async fn shutdown(&self) {
        self.table.lock().shutting_down = true;
        for conn in self.all_connections() {
            conn.close();
        }
        loop {
            let gone = self.gone.notified();
            if self.table.lock().connections.is_empty() {
                break;
            }
            gone.await;
        }
        self.durables.close(self).await;
    }

    fn all_connections(&self) -> Vec<Arc<Conn>> {
        self.table.lock().connections.values().cloned().collect()
    }

    fn all_sessions(&self) -> Vec<Arc<Session>> {
        let table = self.table.lock();
        table.sessions.values().filter_map(Weak::upgrade).collect()
    }

    fn forget_connection(&self, id: u64) {
        let mut table = self.table.lock();
        if let Some(conn) = table.connections.remove(&id) {
            table.past_traffic = table.past_traffic.and(conn.traffic());
            table.forget_client_of(&conn);
            let network = network_of(conn.peer.ip());
            if let Some(count) = table.by_network.get_mut(&network) {
                *count -= 1;
                if *count == 0 {
                    table.by_network.remove(&network);
                }
            }
        }
        drop(table);
        self.gone.notify_waiters();
        self.gone.notify_one();
    }

    /// A connection has told whose it is.
    fn client_is_known(&self, conn: &Arc<Conn>, client: Guid) {
        let mut table = self.table.lock();
        // It may have ended meanwhile.
        if table.connections.contains_key(&conn.id) {
            let conns = table.by_client.entry(client).or_default();
            let at = conns.partition_point(|other| other.id < conn.id);
            conns.insert(at, Arc::clone(conn));
        }
    }

    /// The connections of a client, the oldest first.
    fn connections_of(&self, client: Guid) -> Vec<Arc<Conn>> {
        let table = self.table.lock();
        table.by_client.get(&client).cloned().unwrap_or_default()
    }

    /// A session under an id that no other has; the caller enters it in its connection.
    fn new_session(&self, conn: &Arc<Conn>, negotiated: &Negotiated) -> Arc<Session> {
        let mut table = self.table.lock();
        let id = loop {
            // There are clients that keep 32 bits of it.
            let id = self.env.random_u64() >> 32;
            // Zero means "none yet".
            if id != 0 && !table.sessions.contains_key(&id) {
                break SessionId(id);
            }
        };
        let (now, limits) = (self.env.now(), &self.config.limits);
        let session = Arc::new(Session::new(id, conn, negotiated, now, limits));
        table.sessions.insert(id.0, Arc::downgrade(&session));
        session
    }

    fn find_session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.table
            .lock()
            .sessions
            .get(&id.0)
            .and_then(Weak::upgrade)
    }

    /// Ends a session whose request is being refused.
    fn end_later(self: &Arc<Self>, session: Arc<Session>) {
        let server = Arc::clone(self);
        let work = async move { session.end(&server).await };
        self.env.spawn("smb session end", Box::pin(work));
    }

    fn forget_session(&self, id: SessionId) {
        self.table.lock().sessions.remove(&id.0);
    }

    /// What is known of an open by other names goes when it is closed.
    fn forget_open(&self, open: &open::Open) {
        if let open::Target::File(file) = &open.target {
            file.holder.iter().for_each(|holder| holder.remove(open.id));
            self.durables.left(open);
        }
    }

    /// Ends an open that is in a session's table, whoever uses it.
    async fn close_open(&self, open: &Arc<open::Open>) {
        if let Some(session) = open.session.upgrade()
            && session.remove_open(open.id).is_some()
        {
            session::close_all(self, vec![Arc::clone(open)]).await;
        }
    }

    /// The persistent half of a FileId; unique while the server runs.
    fn next_open_id(&self) -> u64 {
        self.next_open_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// Whom connections are counted for: one address of IPv4, one network of IPv6, as a host has all addresses of its
/// network at hand there.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Why no connection was taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the server holds as many connections as it may")]
    TooManyConnections,
    #[error("this address has as many connections as one may have")]
    TooManyFromAddress,
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Why the connection must be closed now, without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disconnect {
    #[error("the frame is no SMB message")]
    NotSmb,
    #[error("the message is malformed")]
    Malformed,
    #[error("the message id is outside the granted window or was used before")]
    Sequence,
    #[error("the message could not be decrypted")]
    Decryption,
    #[error("the negotiation was tampered with or done twice")]
    Negotiation,
    #[error("too many requests in one frame")]
    TooManyRequests,
    #[error("the frame is larger than a client may send here")]
    TooLarge,
    #[error("the connection has ended")]
    Closed,
}

/// The receiving half of one client's connection.
#[derive(Debug)]
pub struct Connection {
    conn: Arc<Conn>,
}

impl Connection {
    /// Takes one frame (without its 4 bytes of transport header). Never blocks; answers go to the outbox, most of
    /// them before this returns. On `Err` the caller closes the socket and calls [`Connection::closed`].
    pub fn receive(&self, frame: BytesMut) -> Result<(), Disconnect> {
        self.conn.receive(frame)
    }

    /// The largest frame that is taken now, without the 4 bytes of transport header. A reader ends the connection when
    /// a header announces more.
    pub fn frame_max(&self) -> usize {
        self.conn.frame_max()
    }

    /// Somebody has signed in on this connection. One on which nobody has is to be closed after
    /// [`Limits::logon_timeout`].
    pub fn is_signed_in(&self) -> bool {
        self.conn.is_signed_in()
    }

    /// So much of this client waits to be carried out that no more frames should be read for now. The outbox becomes
    /// ready when this may have changed.
    pub fn is_full(&self) -> bool {
        self.conn.is_full()
    }

    /// Cancels what waits, closes every handle and ends the sessions, in a task of its own. Dropping does the same.
    pub fn closed(self) {}
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.conn.close();
    }
}

/// Totals for the status page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerStatus {
    pub connections: usize,
    pub sessions: usize,
    pub opens: usize,
    /// Opens that wait for their clients to come back.
    pub waiting_opens: usize,
    /// Requests of the connections that are there now.
    pub requests: u64,
    /// Requests, and bytes of frames in and out, since the server started.
    pub requests_ever: u64,
    pub received: u64,
    pub sent: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionStatus {
    pub id: u64,
    pub peer: SocketAddr,
    /// As "3.1.1"; empty before negotiation.
    pub dialect: &'static str,
    pub sessions: usize,
    pub since: Timestamp,
    pub requests: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    pub id: u64,
    pub user: String,
    pub peer: SocketAddr,
    pub dialect: &'static str,
    /// As "AES-128-GMAC".
    pub signing: &'static str,
    /// As "AES-128-GCM"; empty while nothing can be encrypted.
    pub encryption: &'static str,
    pub trees: usize,
    pub opens: usize,
    pub since: Timestamp,
}
