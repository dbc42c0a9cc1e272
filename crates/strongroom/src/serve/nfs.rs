//! Where NFS is served, and one client's connection: records from the socket to the server, answers back.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use strongroom_device::Env;
use strongroom_nfs::rpc::Records;
use strongroom_nfs::{Connection, Outbox, Server, ServerConfig};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::output::Output;
use super::{Floors, connection, listen};
use crate::cli::ServeOptions;
use crate::failure::Result;

const PORT: u16 = 2049;
const PORTMAP_PORT: u16 = 111;
/// How long to wait when the system has no resources for another connection.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);
/// Room for a read of many small records.
const READ_BYTES: usize = 64 << 10;
/// Unsent answers beyond which no calls are read.
const UNSENT_MAX: usize = 16 << 20;

/// The server with its sockets.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) server: Arc<Server>,
    pub(super) address: SocketAddr,
    accepting: Vec<JoinHandle<()>>,
}

impl Running {
    /// Takes up no more connections.
    pub(super) fn stop(self) {
        self.accepting.iter().for_each(JoinHandle::abort);
        self.server.shutdown();
    }
}

/// Binds what was asked for; a standard port that was not asked for is left alone where it cannot be had.
pub(super) async fn start(
    floors: &Floors,
    env: &Arc<dyn Env>,
    options: &ServeOptions,
) -> Result<Option<Running>> {
    let Some(socket) = bind(options.nfs, PORT, "NFS is not served").await? else {
        return Ok(None);
    };
    let address = match socket.local_addr() {
        Ok(address) => address,
        Err(error) => return Err(super::internal("tell what is listened on", &error)),
    };
    let config = ServerConfig::new(floors.pool.id().0, address.port());
    let (vfs, identity) = (Arc::clone(&floors.vfs), Arc::clone(&floors.identity));
    let server = Server::new(config, vfs, identity, Arc::clone(env)).await?;
    let name = super::address::host_name();
    server.dial_by(Arc::new(super::dialer::Sockets::new(name)))?;
    let mut accepting = vec![tokio::spawn(accept(socket, Arc::clone(&server)))];
    let why = "the portmapper is left to others";
    if (options.nfs.is_none() || options.portmap.is_some())
        && let Some(socket) = bind(options.portmap, PORTMAP_PORT, why).await?
    {
        accepting.push(tokio::spawn(accept(socket, Arc::clone(&server))));
    }
    tracing::info!(%address, "serving NFS");
    Ok(Some(Running {
        server,
        address,
        accepting,
    }))
}

async fn bind(asked: Option<SocketAddr>, port: u16, without: &str) -> Result<Option<TcpListener>> {
    match asked {
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Ok(Some(
                bound.map_err(|e| listen::refused(address, &e, "--nfs"))?,
            ))
        }
        None => match listen::bind_everywhere(port).await {
            Ok(socket) => Ok(Some(socket)),
            Err(error) => {
                tracing::info!(port, %error, "{without}");
                Ok(None)
            }
        },
    }
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => take_up(&server, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(OUT_OF_RESOURCES).await;
            }
        }
    }
}

fn take_up(server: &Arc<Server>, stream: TcpStream, peer: SocketAddr) {
    match server.connect(peer) {
        Some((connection, outbox)) => {
            tokio::spawn(run(stream, peer, connection, outbox));
        }
        // Dropping the stream tells the client.
        None => tracing::warn!(%peer, "connection refused: there are too many"),
    }
}

/// Serves the connection to its end.
async fn run(mut stream: TcpStream, peer: SocketAddr, connection: Connection, outbox: Outbox) {
    tracing::debug!(%peer, "connected");
    let ended = match connection::prepare(&stream) {
        Ok(()) => {
            let (reader, writer) = stream.split();
            let mut pump = Pump {
                reader,
                writer,
                connection: &connection,
                outbox: &outbox,
                records: Records::default(),
                input: BytesMut::new(),
                output: Output::default(),
                drained: VecDeque::new(),
            };
            pump.run().await
        }
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => tracing::debug!(%peer, "disconnected"),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(%peer, %error, "disconnected");
        }
        Err(error) => tracing::debug!(%peer, %error, "disconnected"),
    }
}

/// Moves bytes in both directions.
struct Pump<'a> {
    reader: ReadHalf<'a>,
    writer: WriteHalf<'a>,
    connection: &'a Connection,
    outbox: &'a Outbox,
    records: Records,
    input: BytesMut,
    output: Output<Vec<u8>>,
    drained: VecDeque<Vec<u8>>,
}

impl Pump<'_> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            self.take_records()?;
            let open = self.fill();
            self.output.send_ready(&mut self.writer).await?;
            if !open && self.output.is_empty() {
                return Ok(());
            }
            if !self.wait().await? {
                return Ok(());
            }
        }
    }

    /// Whether the client may be heard: it takes its answers, and not too much of what it asked for waits.
    fn may_take(&self) -> bool {
        self.output.bytes() < UNSENT_MAX && !self.connection.is_full()
    }

    fn take_records(&mut self) -> io::Result<()> {
        while self.may_take() {
            let Some(record) = self.records.next(&mut self.input).map_err(invalid)? else {
                return Ok(());
            };
            self.connection.receive(record).map_err(invalid)?;
            self.fill();
        }
        Ok(())
    }

    /// Takes over what the server has ready; false once it has closed the connection.
    fn fill(&mut self) -> bool {
        let open = self.outbox.drain(&mut self.drained);
        self.output.add(self.drained.drain(..));
        open
    }

    /// Until there is something to read, room to write, or another answer. False at the end of the stream.
    async fn wait(&mut self) -> io::Result<bool> {
        let may_read = self.may_take();
        if may_read {
            let missing = self.records.missing(&self.input);
            self.input.reserve(missing.max(READ_BYTES));
        }
        let Pump {
            reader,
            writer,
            outbox,
            input,
            output,
            ..
        } = self;
        tokio::select! {
            biased;
            read = reader.read_buf(input), if may_read => Ok(read? > 0),
            sent = output.send_some(writer) => sent.map(|()| true),
            () = outbox.ready() => Ok(true),
        }
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
