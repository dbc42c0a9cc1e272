//! The server's side of MS-SMB2 (section 3.3): state of connections, sessions, tree connects and opens.
//!
//! A caller owns the sockets: it reads frames, gives each to [`Connection::receive`], and writes what
//! [`Outbox::drain`] gives back. Requests that memory can answer are answered inside `receive`; those that wait run
//! as tasks of the `Env` and put their answer in the outbox later.

mod config;
mod outbox;

pub use config::{EncryptionPolicy, Limits, ServerConfig};
pub use outbox::{Frame, Outbox};

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use strongroom_device::{Env, Timestamp};
use strongroom_identity::Identity;
use strongroom_vfs::Vfs;

/// One SMB server over one vfs.
#[derive(Debug)]
pub struct Server {}

impl Server {
    pub fn new(
        _config: ServerConfig,
        _vfs: Arc<Vfs>,
        _identity: Arc<Identity>,
        _env: Arc<dyn Env>,
    ) -> Arc<Self> {
        unimplemented!()
    }

    pub fn config(&self) -> &ServerConfig {
        unimplemented!()
    }

    /// Takes up a connection from `peer`; the caller then owns both halves.
    pub fn connect(self: &Arc<Self>, _peer: SocketAddr) -> Result<(Connection, Outbox), Refused> {
        unimplemented!()
    }

    pub fn status(&self) -> ServerStatus {
        unimplemented!()
    }

    pub fn connections(&self) -> Vec<ConnectionStatus> {
        unimplemented!()
    }

    pub fn sessions(&self) -> Vec<SessionStatus> {
        unimplemented!()
    }

    /// Refuses what is new, ends every connection (their outboxes close) and waits until all handles are closed.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
}

/// Why no connection was taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the server holds as many connections as it may")]
    TooManyConnections,
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
    #[error("the connection has ended")]
    Closed,
}

/// The receiving half of one client's connection.
#[derive(Debug)]
pub struct Connection {}

impl Connection {
    /// Takes one frame (without its 4 bytes of transport header). Never blocks; answers go to the outbox, most of
    /// them before this returns. On `Err` the caller closes the socket and calls [`Connection::closed`].
    pub fn receive(&self, _frame: BytesMut) -> Result<(), Disconnect> {
        unimplemented!()
    }

    /// Cancels what waits, closes every handle and ends the sessions, in a task of its own. Dropping does the same.
    pub fn closed(self) {}
}

/// Totals for the status page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerStatus {
    pub connections: usize,
    pub sessions: usize,
    pub opens: usize,
    pub requests: u64,
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
    /// As "AES-128-GCM"; empty while nothing is encrypted.
    pub encryption: &'static str,
    pub trees: usize,
    pub opens: usize,
    pub since: Timestamp,
}
