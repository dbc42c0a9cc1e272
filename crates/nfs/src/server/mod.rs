//! Connections, and what all of them share.

mod callers;
mod calls;
mod connection;
pub(crate) mod exports;
mod handle;
mod outbox;
mod replays;
mod target;
#[cfg(test)]
pub(crate) mod tests;

pub use connection::{Connection, Disconnect};
pub use handle::{HANDLE_LEN, HANDLE_LEN_MAX, Place};
pub use outbox::Outbox;

pub(crate) use callers::{Callers, Numbered};
pub(crate) use connection::{Done, Peer, Request};
pub(crate) use exports::Exported;
pub(crate) use handle::Handles;
pub(crate) use replays::{CallId, Replays, Seen};
pub(crate) use target::{Lost, Target};

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use strongroom_device::{BoxFuture, Env};
use strongroom_identity::Identity;
use strongroom_vfs::{Secret, Vfs, VfsError};

/// What the server is told when it is made.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The pool's id: the same after every start and at every address.
    pub id: [u8; 16],
    /// Where NFS and MOUNT are served, for those who ask the portmapper.
    pub port: u16,
    /// Connections at once.
    pub connections_max: usize,
}

impl ServerConfig {
    pub fn new(id: [u8; 16], port: u16) -> Self {
        Self {
            id,
            port,
            connections_max: 4_096,
        }
    }
}

/// Numbers for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerStatus {
    pub connections: usize,
    pub requests: u64,
}

/// Calls services of clients' machines; who has sockets brings it.
pub trait Dialer: Send + Sync + std::fmt::Debug {
    /// Calls a procedure (program, version, number) at a machine, wherever its portmapper says that the program is; the
    /// results, or None where nobody answers.
    fn call(
        &self,
        to: IpAddr,
        procedure: (u32, u32, u32),
        arguments: Vec<u8>,
    ) -> BoxFuture<Option<Bytes>>;

    /// The name by which other machines know this one.
    fn name(&self) -> String;
}

/// The NFS server of one pool.
#[derive(Debug)]
pub struct Server {
    pub(crate) config: ServerConfig,
    pub(crate) vfs: Arc<Vfs>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) handles: Handles,
    pub(crate) callers: Callers,
    pub(crate) replays: Replays,
    /// Another one after every start: what was written and not committed may be gone.
    pub(crate) write_verifier: [u8; 8],
    pub(crate) mounts: crate::mount::Mounts,
    pub(crate) state: crate::v4::State,
    pub(crate) locks: Arc<crate::nlm::Hosts>,
    dialer: OnceLock<Arc<dyn Dialer>>,
    pub(crate) connections: AtomicUsize,
    pub(crate) requests: AtomicU64,
}

impl Server {
    /// Errors: those of reading or making the pool's key.
    pub async fn new(
        config: ServerConfig,
        vfs: Arc<Vfs>,
        identity: Arc<Identity>,
        env: Arc<dyn Env>,
    ) -> Result<Arc<Self>, VfsError> {
        let secret = vfs.secret(Secret::FileHandles).await?;
        let mut write_verifier = [0; 8];
        env.fill_random(&mut write_verifier);
        let mut boot = [0; 4];
        env.fill_random(&mut boot);
        let boot = u32::from_be_bytes(boot);
        let locks = Arc::<crate::nlm::Hosts>::default();
        let now = env.monotonic();
        let state = crate::v4::State::new(boot, Arc::clone(&vfs), Arc::clone(&locks), now)?;
        Ok(Arc::new(Self {
            config,
            callers: Callers::new(Arc::clone(&vfs), identity),
            vfs,
            env,
            handles: Handles::new(&secret),
            replays: Replays::default(),
            write_verifier,
            mounts: crate::mount::Mounts::default(),
            state,
            locks,
            dialer: OnceLock::new(),
            connections: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
        }))
    }

    /// Takes a client's connection; None where there are too many.
    pub fn connect(self: &Arc<Self>, peer: SocketAddr) -> Option<(Connection, Outbox)> {
        let before = self.connections.fetch_add(1, Ordering::AcqRel);
        if before >= self.config.connections_max {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Connection::new(Arc::clone(self), peer))
    }

    /// Lets the server call its clients' own services, and tells those that held locks by NLM when it ended that they may
    /// claim them back.
    ///
    /// Errors: those of reading who held some.
    pub fn dial_by(self: &Arc<Self>, dialer: Arc<dyn Dialer>) -> Result<(), VfsError> {
        let held = self.vfs.remembered_clients()?;
        for peer in held.iter().filter_map(|name| crate::nlm::address_of(name)) {
            let call = crate::nlm::started_again(&*dialer, peer);
            self.env.spawn("word of a new start", call);
        }
        // Only the first one counts.
        drop(self.dialer.set(dialer));
        Ok(())
    }

    pub(crate) fn dialer(&self) -> Option<&Arc<dyn Dialer>> {
        self.dialer.get()
    }

    pub fn status(&self) -> ServerStatus {
        ServerStatus {
            connections: self.connections.load(Ordering::Acquire),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }

    /// Records that all clients' sessions ended. No connection may be served any more.
    pub fn shutdown(&self) {
        self.state.end_all();
        self.locks.end();
        self.callers.end();
    }
}
