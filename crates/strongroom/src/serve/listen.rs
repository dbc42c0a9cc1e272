//! Where SMB is served, and taking connections up.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use strongroom_smb::Server;
use tokio::net::{TcpListener, TcpStream};

use super::connection;
use crate::failure::{Failure, Kind, Result};

const STANDARD_PORT: u16 = 445;
/// Tried in turn where the standard port cannot be had.
const HIGH_PORTS: std::ops::RangeInclusive<u16> = 4450..=4459;

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    why_high: Option<String>,
}

impl Listener {
    fn new(socket: TcpListener, why_high: Option<String>) -> Result<Listener> {
        let address = socket.local_addr().map_err(|error| {
            Failure::new(
                Kind::Address,
                format!("cannot tell what is listened on: {error}"),
            )
        })?;
        Ok(Listener {
            socket,
            address,
            why_high,
        })
    }

    /// The address bound, with the port that the system chose where none was given.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Why it is not the standard port, where nobody asked for another.
    pub(crate) fn why_high(&self) -> Option<&str> {
        self.why_high.as_deref()
    }
}

/// Binds what was asked for, or the standard port, or a high one.
pub(crate) async fn bind(asked: Option<SocketAddr>) -> Result<Listener> {
    match asked {
        Some(address) => {
            let socket = TcpListener::bind(address)
                .await
                .map_err(|e| refused(address, &e, "--smb"))?;
            Listener::new(socket, None)
        }
        None => bind_default().await,
    }
}

async fn bind_default() -> Result<Listener> {
    let why = match bind_everywhere(STANDARD_PORT).await {
        Ok(socket) => return Listener::new(socket, None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            "only root may use it; `setcap cap_net_bind_service=+ep` on the program allows it too"
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            "another program uses it; is Samba running?"
        }
        Err(error) => {
            return Err(refused(
                (Ipv6Addr::UNSPECIFIED, STANDARD_PORT).into(),
                &error,
                "--smb",
            ));
        }
    };
    for port in HIGH_PORTS {
        if let Ok(socket) = bind_everywhere(port).await {
            return Listener::new(socket, Some(why.to_owned()));
        }
    }
    let (first, last) = (HIGH_PORTS.start(), HIGH_PORTS.end());
    Err(Failure::new(
        Kind::Address,
        format!("ports 445 and {first} to {last} are all taken: choose one with --smb ADDR:PORT"),
    ))
}

/// All addresses of both families, or of the fourth version only where the system has no sixth.
pub(super) async fn bind_everywhere(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error)
            if error.kind() == ErrorKind::AddrNotAvailable
                || error.kind() == ErrorKind::Unsupported
                || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
}

pub(super) fn refused(address: SocketAddr, error: &std::io::Error, word: &str) -> Failure {
    let kind = error.kind();
    let advice = if kind == ErrorKind::AddrInUse {
        "another program uses it; stop that one or choose another port with"
    } else if kind == ErrorKind::PermissionDenied {
        "only root may use ports below 1024; choose a higher one with"
    } else if kind == ErrorKind::AddrNotAvailable {
        "it is no address of this machine; choose one that is with"
    } else {
        "choose another with"
    };
    Failure::new(
        Kind::Address,
        format!("cannot listen on {address} ({error}): {advice} {word} ADDR:PORT"),
    )
}

/// How long to wait when the system has no resources for another connection.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);

/// Takes connections up until the task is aborted.
pub(crate) async fn accept(listener: Listener, server: Arc<Server>) {
    loop {
        match listener.socket.accept().await {
            Ok((stream, peer)) => take_up(&server, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(OUT_OF_RESOURCES).await;
            }
        }
    }
}

fn take_up(server: &Arc<Server>, stream: TcpStream, peer: SocketAddr) {
    // Dropping the stream tells the client.
    if let Some(halves) = admit(server, peer) {
        tokio::spawn(connection::run(stream, peer, halves));
    }
}

/// The server's side of a new connection, if it may have one more.
pub(super) fn admit(server: &Arc<Server>, peer: SocketAddr) -> Option<connection::Halves> {
    match server.connect(peer) {
        Ok((connection, outbox)) => Some(connection::Halves {
            connection,
            outbox,
            logon_timeout: server.config().limits.logon_timeout,
        }),
        Err(reason) => {
            tracing::warn!(%peer, %reason, "connection refused");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_refused_with_what_to_do() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let failure = bind(Some(taken.local_addr().unwrap())).await.unwrap_err();
        assert_eq!(failure.exit_code(), 6);
        assert!(failure.to_string().contains("--smb ADDR:PORT"), "{failure}");
    }

    #[tokio::test]
    async fn a_chosen_port_is_told() {
        let listener = bind(Some((Ipv4Addr::LOCALHOST, 0).into())).await.unwrap();
        assert_ne!(listener.address().port(), 0);
        assert!(listener.why_high().is_none());
    }
}
