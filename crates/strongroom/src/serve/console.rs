//! The door for people: the console and the API over HTTPS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use strongroom_admin::{Certificate, Door, State};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{address, listen};
use crate::cli::ServeOptions;
use crate::failure::{Failure, Kind, Result};

const STANDARD_PORT: u16 = 443;
/// Tried in turn where the standard port cannot be had.
const HIGH_PORTS: std::ops::RangeInclusive<u16> = 4430..=4439;

/// The console while it is served.
#[derive(Debug)]
pub(super) struct Console {
    pub(super) address: SocketAddr,
    /// Of the certificate, SHA-256.
    pub(super) fingerprint: String,
    pub(super) self_signed: bool,
    accepting: JoinHandle<()>,
}

impl Console {
    /// Takes up no more connections.
    pub(super) fn stop(self) {
        self.accepting.abort();
    }
}

/// None where nobody wants it.
pub(super) async fn start(
    data: &Path,
    state: &Arc<State>,
    options: &ServeOptions,
) -> Result<Option<Console>> {
    if options.no_https {
        return Ok(None);
    }
    let listener = bind(options.https).await?;
    let address = listener
        .local_addr()
        .map_err(|error| super::internal("tell what is listened on", &error))?;
    let certificate = Certificate::of(data, &state.host, &address::reachable());
    let certificate =
        certificate.map_err(|error| Failure::new(Kind::Storage, error.to_string()))?;
    let (fingerprint, self_signed) = (
        certificate.fingerprint().to_owned(),
        certificate.is_self_signed(),
    );
    let serving = strongroom_admin::serve(listener, certificate, Door::new(state));
    tracing::info!(%address, "serving the console");
    Ok(Some(Console {
        address,
        fingerprint,
        self_signed,
        accepting: tokio::spawn(serving),
    }))
}

/// What was asked for, or the standard port, a high one, or any that is free: whoever starts a server is told which.
async fn bind(asked: Option<SocketAddr>) -> Result<TcpListener> {
    if let Some(asked) = asked {
        let bound = TcpListener::bind(asked).await;
        return bound.map_err(|error| listen::refused(asked, &error, "--https"));
    }
    for port in std::iter::once(STANDARD_PORT).chain(HIGH_PORTS).chain([0]) {
        if let Ok(socket) = listen::bind_everywhere(port).await {
            return Ok(socket);
        }
    }
    let none = Failure::new(
        Kind::Address,
        "no port for the console can be had: choose one with --https ADDR:PORT, or say --no-https",
    );
    Err(none)
}

impl Console {
    /// What a person types into a browser, for each address of this machine.
    pub(super) fn links(&self) -> Vec<String> {
        let bound = self.address.ip();
        let addresses = if bound.is_unspecified() {
            address::reachable()
        } else {
            vec![bound]
        };
        let port = match self.address.port() {
            STANDARD_PORT => String::new(),
            port => format!(":{port}"),
        };
        let link = |address: IpAddr| match address {
            IpAddr::V4(address) if address == Ipv4Addr::LOCALHOST => {
                format!("https://localhost{port}/")
            }
            IpAddr::V4(address) => format!("https://{address}{port}/"),
            IpAddr::V6(address) => format!("https://[{address}]{port}/"),
        };
        addresses.into_iter().map(link).collect()
    }
}
