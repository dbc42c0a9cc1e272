//! WS-Discovery (the version of April 2005, which Windows speaks) and the metadata that Windows then asks for over HTTP
//! (DPWS, MS-PBSD).
//!
//! Only those on a network of ours are answered, and no more than [`datagrams::ANSWERS_A_SECOND`] times a second, so
//! that nobody can be flooded with answers to forged questions.

mod datagrams;
mod message;
mod metadata;
mod network;
mod server;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use strongroom_device::Env;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Host;

/// What every message says of the server.
#[derive(Debug)]
struct Device {
    host: Host,
    /// `urn:uuid:` and the server's identifier.
    urn: String,
    env: Arc<dyn Env>,
    /// Grows from start to start.
    instance: u64,
    /// Messages sent so far.
    messages: AtomicU32,
    /// Where metadata is served.
    port: u16,
}

impl Device {
    fn new(host: Host, env: Arc<dyn Env>, port: u16) -> Self {
        let urn = format!("urn:uuid:{}", crate::uuid::text(host.id));
        let instance = env.now().seconds();
        Self {
            host,
            urn,
            env,
            instance,
            messages: AtomicU32::new(0),
            port,
        }
    }

    fn message_id(&self) -> String {
        let mut id = [0; 16];
        self.env.fill_random(&mut id);
        format!("urn:uuid:{}", crate::uuid::text(id))
    }

    fn message_number(&self) -> u32 {
        self.messages
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1)
    }

    /// The path of the metadata.
    fn path(&self) -> String {
        format!("/{}", crate::uuid::text(self.host.id))
    }
}

#[derive(Debug)]
pub(crate) struct Announcer {
    stop: oneshot::Sender<()>,
    datagrams: JoinHandle<()>,
    metadata: JoinHandle<()>,
}

impl Announcer {
    pub(crate) async fn start(host: Host, env: Arc<dyn Env>) -> io::Result<Self> {
        let listener = server::bind(host.listening.ip()).await?;
        let socket = datagrams::bind()?;
        let device = Arc::new(Device::new(host, env, listener.local_addr()?.port()));
        let (stop, stopped) = oneshot::channel();
        let metadata = tokio::spawn(server::serve(listener, Arc::clone(&device)));
        let datagrams = tokio::spawn(datagrams::run(socket, device, stopped));
        Ok(Self {
            stop,
            datagrams,
            metadata,
        })
    }

    pub(crate) async fn stop(self) {
        self.metadata.abort();
        if self.stop.send(()).is_ok() {
            self.datagrams.await.ok();
        }
    }
}
