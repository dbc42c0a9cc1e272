//! What the handlers speak about.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use strongroom_device::Env;
use strongroom_identity::Identity;
use strongroom_pool::{DiskId, DiskOptions, Pool};
use strongroom_store::Store;
use strongroom_vfs::Vfs;
use tokio::sync::{Semaphore, watch};

use crate::audit::Audit;
use crate::people::People;
use crate::rows::RowsError;
use crate::sessions::Sessions;
use crate::setup::Setup;
use crate::tokens::Tokens;

/// Makes a directory a disk of the pool, in place of another one if that is named. Who owns directories and their locks
/// is the program.
pub trait AddDisk: Send + Sync + std::fmt::Debug {
    /// Errors: why not, in words; then nothing was changed.
    fn add(
        &self,
        pool: &Pool,
        path: &Path,
        replaced: Option<&str>,
        options: DiskOptions,
    ) -> Result<DiskId, String>;
}

/// What the program has, handed over.
#[derive(Debug)]
pub struct Parts {
    pub env: Arc<dyn Env>,
    pub pool: Arc<Pool>,
    pub store: Arc<Store>,
    pub vfs: Arc<Vfs>,
    pub identity: Arc<Identity>,
    pub directories: Arc<dyn AddDisk>,
    pub smb: Arc<strongroom_smb::Server>,
    pub smb_address: SocketAddr,
    /// With where it is served.
    pub nfs: Option<(Arc<strongroom_nfs::Server>, SocketAddr)>,
    /// What others call this machine.
    pub host: String,
}

/// What the handlers speak about.
#[derive(Debug)]
pub struct State {
    pub env: Arc<dyn Env>,
    pub pool: Arc<Pool>,
    pub store: Arc<Store>,
    pub vfs: Arc<Vfs>,
    pub identity: Arc<Identity>,
    pub directories: Arc<dyn AddDisk>,
    pub smb: Arc<strongroom_smb::Server>,
    pub smb_address: SocketAddr,
    pub nfs: Option<(Arc<strongroom_nfs::Server>, SocketAddr)>,
    pub host: String,
    /// Told when a share was added or removed.
    pub shares_changed: watch::Sender<()>,
    pub started: Instant,
    pub(crate) audit: Audit,
    pub(crate) people: People,
    pub(crate) sessions: Sessions,
    pub(crate) setup: Setup,
    pub(crate) tokens: Tokens,
    /// Hashing a password takes 19 MiB: only so many at a time.
    pub(crate) hashing: Semaphore,
}

/// Passwords that are hashed at the same time.
const HASHES_AT_ONCE: usize = 2;

impl State {
    /// Reads what is kept for administration.
    pub fn open(parts: Parts) -> Result<Arc<State>, RowsError> {
        let store = &parts.store;
        Ok(Arc::new(State {
            audit: Audit::open(Arc::clone(store))?,
            people: People::open(Arc::clone(store))?,
            sessions: Sessions::default(),
            setup: Setup::open(Arc::clone(store), &*parts.env)?,
            tokens: Tokens::open(Arc::clone(store))?,
            hashing: Semaphore::new(HASHES_AT_ONCE),
            env: parts.env,
            pool: parts.pool,
            store: parts.store,
            vfs: parts.vfs,
            identity: parts.identity,
            directories: parts.directories,
            smb: parts.smb,
            smb_address: parts.smb_address,
            nfs: parts.nfs,
            host: parts.host,
            shares_changed: watch::Sender::default(),
            started: Instant::now(),
        }))
    }

    /// The code that the console's first page asks for; None once the server is set up.
    pub fn setup_code(&self) -> Option<String> {
        self.setup.code()
    }

    /// Seconds since 1970.
    pub(crate) fn now_s(&self) -> u64 {
        self.env.now().seconds()
    }
}
