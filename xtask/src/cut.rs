//! A wire that can be cut: a relay in front of the server, whose connections end in the middle of whatever goes over
//! them, as those of a laptop that is carried out of the room.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

/// A relay to one server; it ends with its connections when this is dropped.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    scissors: broadcast::Sender<()>,
    relay: tokio::task::JoinHandle<()>,
}

impl Wire {
    pub async fn to(server: SocketAddr) -> Result<Wire> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (scissors, _) = broadcast::channel(1);
        let relay = tokio::spawn(accept(listener, server, scissors.clone()));
        Ok(Wire {
            address,
            scissors,
            relay,
        })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all of its connections on the spot.
    pub fn cut(&self) {
        // Fails only where there is no connection.
        self.scissors.send(()).ok();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.relay.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, scissors: broadcast::Sender<()>) {
    while let Ok((client, _)) = listener.accept().await {
        let cut = scissors.subscribe();
        tokio::spawn(relay(client, server, cut));
    }
}

/// Both sides see the connection reset or ended, whichever way the kernel tells them.
async fn relay(mut client: TcpStream, server: SocketAddr, mut cut: broadcast::Receiver<()>) {
    let Ok(mut upstream) = TcpStream::connect(server).await else {
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
}
