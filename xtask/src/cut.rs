//! A wire that can be cut: a relay in front of the server, whose connections end in the middle of whatever goes over
//! them, as those of a laptop that is carried out of the room.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{broadcast, mpsc};

/// A relay to one server; it ends with its connections when this is dropped.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    scissors: broadcast::Sender<()>,
    /// Ends when the last connection has.
    last: mpsc::Receiver<()>,
    relay: tokio::task::JoinHandle<()>,
}

impl Wire {
    pub async fn to(server: SocketAddr) -> Result<Wire> {
        Wire::from(IpAddr::V4(Ipv4Addr::LOCALHOST), server).await
    }

    /// One that reaches the server from an address of this machine.
    pub async fn from(source: IpAddr, server: SocketAddr) -> Result<Wire> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (scissors, _) = broadcast::channel(1);
        let (held, last) = mpsc::channel(1);
        let relay = tokio::spawn(accept(listener, (source, server), scissors.clone(), held));
        Ok(Wire {
            address,
            scissors,
            last,
            relay,
        })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all of its connections on the spot, and waits until the server has given them up: it has begun by then, or
    /// will never begin, whatever reached it.
    pub async fn cut(mut self, patience: Duration) -> Result<()> {
        self.end();
        tokio::time::timeout(patience, async {
            while self.last.recv().await.is_some() {}
        })
        .await
        .context("the server keeps a connection whose client is gone")
    }

    fn end(&self) {
        self.relay.abort();
        // Fails only where there is no connection.
        self.scissors.send(()).ok();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.end();
    }
}

async fn accept(
    listener: TcpListener,
    ends: (IpAddr, SocketAddr),
    scissors: broadcast::Sender<()>,
    held: mpsc::Sender<()>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let (cut, held) = (scissors.subscribe(), held.clone());
        tokio::spawn(async move {
            relay(client, ends, cut).await;
            drop(held);
        });
    }
}

/// The client sees the connection reset or ended, whichever way the kernel tells it; the server sees it end.
async fn relay(
    mut client: TcpStream,
    (source, server): (IpAddr, SocketAddr),
    mut cut: broadcast::Receiver<()>,
) {
    let Ok(mut upstream) = connect(source, server).await else {
        return;
    };
    let whole = [&client, &upstream].map(|stream| stream.set_nodelay(true));
    if whole.iter().any(Result::is_err) {
        return;
    }
    tokio::select! {
        // However it ends, it has ended.
        _ = copy_bidirectional(&mut client, &mut upstream) => {}
        _ = cut.recv() => {}
    }
    drop(client);
    upstream.shutdown().await.ok();
    let mut rest = vec![0; 1 << 16];
    while matches!(upstream.read(&mut rest).await, Ok(1..)) {}
}

async fn connect(source: IpAddr, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = match source {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(server).await
}
