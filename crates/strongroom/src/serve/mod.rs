//! `strongroom serve`: wires the floors together, owns the sockets, and takes everything down again in order.

mod address;
mod announce;
mod banner;
mod connection;
mod console;
mod control;
mod dialer;
mod first;
mod interfaces;
#[cfg(feature = "kerberos")]
mod kerberos;
mod layout;
mod listen;
mod low_water;
mod nfs;
mod output;
mod pool;
#[cfg(feature = "quic")]
mod quic;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom_admin::{Parts, State, api, words};
use strongroom_device::{Env, TokioEnv};
use strongroom_discovery::{Discovery, Host};
use strongroom_identity::Identity;
use strongroom_pool::{Pool, Reopen};
use strongroom_smb::{Server, ServerConfig};
use strongroom_store::{Store, StoreOptions};
use strongroom_vfs::Vfs;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::ServeOptions;
use crate::data::DataDirectory;
use crate::disks::Directories;
use crate::failure::{Failure, Kind, Result};

/// Serves until a signal asks it to stop.
pub(crate) fn run(data: &Path, options: &ServeOptions) -> Result<()> {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| internal("start the program's threads", &error))?;
    runtime.block_on(serve(data, options))
}

async fn serve(data: &Path, options: &ServeOptions) -> Result<()> {
    // Installed before anything is opened, so that a signal always means an orderly end.
    let mut stop = Stop::new()?;
    let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
    let disks = pool::Disks::find(data, options)?;
    let data = Arc::new(DataDirectory::lock(data)?);
    let listener = listen::bind(options.smb).await?;
    let floors = Floors::open(&env, &data, &disks, options).await?;
    let mut config = floors.smb_config(listener.address());
    config.offload = options.smb_offload;
    #[cfg(feature = "kerberos")]
    let config = kerberos::with(&options.kerberos, config)?;
    let smb = floors.smb(&env, config);
    let handles = smb.revive().map_err(|error| {
        Failure::new(
            Kind::Internal,
            format!("cannot take up persistent handles: {error}"),
        )
    })?;
    if handles > 0 {
        tracing::info!(handles, "persistent handles wait for their clients");
    }
    let nfs = nfs::start(&floors, &env, options).await?;
    #[cfg(feature = "quic")]
    let quic = quic::start(&options.quic, &smb)?;
    let state = floors.state(&env, &smb, listener.address(), nfs.as_ref())?;
    let shares = state.shares_changed.subscribe();
    let control = control::start(data.path(), &state)?;
    let console = console::start(data.path(), &state, options).await?;
    resume_works(&floors.vfs);
    banner::print(
        data.path(),
        &listener,
        floors.password.as_ref().map(|secret| secret.as_str()),
        &floors.explanation()?,
        console
            .as_ref()
            .map(|console| (console, state.setup_code())),
    );
    let discovery = if options.no_discovery {
        Discovery::default()
    } else {
        Discovery::start(floors.host(listener.address()), Arc::clone(&env)).await
    };
    let announcing = announce::Announcing::start(discovery, &floors, shares);
    let watching = tokio::spawn(watch::disks(Arc::clone(&floors.pool)));
    let room = tokio::spawn(watch::room(Arc::clone(floors.vfs.store())));
    let accepting = tokio::spawn(listen::accept(listener, Arc::clone(&smb)));
    stop.requested().await;
    tracing::info!("stopping");
    accepting.abort();
    announcing.stop().await;
    control.abort();
    if let Some(console) = console {
        console.stop();
    }
    watching.abort();
    room.abort();
    if let Some(nfs) = nfs {
        nfs.stop();
    }
    let ending = end(&floors, &smb);
    tokio::select! {
        ended = ending => ended?,
        () = stop.requested() => tracing::warn!("stopped at once; nothing acknowledged is lost"),
    }
    #[cfg(feature = "quic")]
    if let Some(quic) = quic {
        quic::stop(quic).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Bytes of the index's cache for each fragment header in the pool's, which takes a tenth of that.
const CACHE_A_HEADER: u64 = 4096;
/// With less, even the upper pages of a small index are read again and again.
const INDEX_CACHE_MIN: u64 = 8 << 20;

fn store_options(options: &ServeOptions) -> StoreOptions {
    let default = StoreOptions::default();
    StoreOptions {
        history: default.history.filter(|_| !options.no_history),
        index_cache: usize::try_from(options.index_cache.max(INDEX_CACHE_MIN))
            .unwrap_or(default.index_cache),
        ..default
    }
}

/// The floors of one open pool.
#[derive(Debug)]
struct Floors {
    pool: Arc<Pool>,
    store: Arc<Store>,
    vfs: Arc<Vfs>,
    identity: Arc<Identity>,
    directories: Arc<Directories>,
    /// Set on the first start only.
    password: Option<first::Password>,
    is_new: bool,
}

impl Floors {
    async fn open(
        env: &Arc<dyn Env>,
        data: &Arc<DataDirectory>,
        disks: &pool::Disks<'_>,
        options: &ServeOptions,
    ) -> Result<Floors> {
        let started = Instant::now();
        let limit = Duration::from_secs(options.disk_timeout.into());
        let directories = Arc::new(Directories::new(env, data, limit));
        let (pool, is_new) = disks.open(env, data, &directories)?;
        let reopen: Arc<dyn Reopen> = directories.clone();
        pool.set_reopen(reopen);
        let headers = options.index_cache / CACHE_A_HEADER;
        pool.set_cached_headers(usize::try_from(headers).unwrap_or(usize::MAX));
        let options = store_options(options);
        let (env_store, env_vfs) = (Arc::clone(env), Arc::clone(env));
        let (store, vfs);
        if is_new {
            store = Store::create(env_store, Arc::clone(&pool), options)?;
            vfs = Vfs::create(Arc::clone(&store), env_vfs)?;
        } else {
            store = Store::open(env_store, Arc::clone(&pool), options)?;
            vfs = Vfs::open_store(Arc::clone(&store), env_vfs)?;
        }
        let identity = Identity::open(Arc::clone(&store), Arc::clone(env))?;
        let password = first::set_up(env.as_ref(), &store, &vfs, &identity).await?;
        disks.remember(data, &directories, &pool)?;
        let milliseconds = started.elapsed().as_millis();
        tracing::info!(pool = %pool.id(), layout = %pool.layout(), milliseconds, "pool open");
        Ok(Floors {
            pool,
            store,
            vfs,
            identity,
            directories,
            password,
            is_new,
        })
    }

    /// What the layout means, on the first start.
    fn explanation(&self) -> Result<Vec<String>> {
        if !self.is_new {
            return Ok(Vec::new());
        }
        let pool = api::pool::document(&self.pool)?;
        let lines = [words::layout(&pool), words::survival(&pool)];
        let room = words::size(self.vfs.store().space()?.available);
        let room = format!("{room} can be written; the rest is kept for log, index and cleaning");
        let lines = lines.into_iter().chain(words::usable(&pool));
        Ok(lines.chain([room]).collect())
    }

    fn smb_config(&self, listening: std::net::SocketAddr) -> ServerConfig {
        let mut config = ServerConfig::new(address::netbios_name(), self.pool.id().0);
        config.interfaces = interfaces::of(listening);
        config
    }

    fn smb(&self, env: &Arc<dyn Env>, config: ServerConfig) -> Arc<Server> {
        let (vfs, identity) = (Arc::clone(&self.vfs), Arc::clone(&self.identity));
        Server::new(config, vfs, identity, Arc::clone(env))
    }

    /// What the computers around are told.
    fn host(&self, listening: std::net::SocketAddr) -> Host {
        Host {
            name: address::netbios_name(),
            workgroup: strongroom_smb::WORKGROUP.to_owned(),
            id: self.pool.id().0,
            listening,
        }
    }

    fn state(
        &self,
        env: &Arc<dyn Env>,
        smb: &Arc<Server>,
        smb_address: std::net::SocketAddr,
        nfs: Option<&nfs::Running>,
    ) -> Result<Arc<State>> {
        let directories = Arc::clone(&self.directories);
        Ok(State::open(Parts {
            env: Arc::clone(env),
            nfs: nfs.map(|nfs| (Arc::clone(&nfs.server), nfs.address)),
            pool: Arc::clone(&self.pool),
            store: Arc::clone(&self.store),
            vfs: Arc::clone(&self.vfs),
            identity: Arc::clone(&self.identity),
            directories,
            smb: Arc::clone(smb),
            smb_address,
            host: address::netbios_name(),
        })?)
    }
}

/// Rewinds and undos that the last end cut off go on, beside everything else.
fn resume_works(vfs: &Arc<Vfs>) {
    let (vfs, runtime) = (Arc::clone(vfs), tokio::runtime::Handle::current());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = runtime.block_on(vfs.resume_works()) {
            tracing::warn!(%error, "interrupted rewinds and undos do not go on");
        }
    });
}

/// Clients that hold their handles open do not keep the server from stopping for longer than this.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// From the top floor down: no more requests, then everything durable and in the index.
async fn end(floors: &Floors, smb: &Server) -> Result<()> {
    if tokio::time::timeout(CLIENT_PATIENCE, smb.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some clients' files were still open");
    }
    floors.store.close().await?;
    floors.pool.close()?;
    Ok(())
}

/// The signals that ask a server to stop.
#[derive(Debug)]
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Stop> {
        let listen = |kind| signal(kind).map_err(|error| internal("listen for signals", &error));
        Ok(Stop {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Every client's connection and many segment files are open at once; the usual 1,024 are soon used up.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, "the limit of open files stays low");
    }
}

fn internal(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Internal, format!("cannot {what}: {error}"))
}
