//! Shows the server to the computers around it: to macOS and Linux by multicast DNS (RFC 6762, RFC 6763), to Windows,
//! under Network, by WS-Discovery.
//!
//! Nothing else of the server depends on it: where the network does not let it, a warning says so and files are served
//! all the same.

mod mdns;
mod uuid;
mod wsd;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use strongroom_device::Env;

/// Windows finds servers at this port of SMB only.
const STANDARD_PORT: u16 = 445;
/// Everybody was told goodbye after this time, or will find out.
const GOODBYE: Duration = Duration::from_secs(1);

/// What others are told.
#[derive(Debug, Clone)]
pub struct Host {
    /// As it is shown; also its name in `.local`.
    pub name: String,
    pub workgroup: String,
    /// The same over all starts; becomes a UUID.
    pub id: [u8; 16],
    /// Where SMB is served. At an unspecified address it is announced on every network but the loopback one, at another
    /// on the network of that address.
    pub listening: SocketAddr,
}

/// A share that takes backups of Macs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Of the share.
    pub name: String,
    /// The same for as long as there is the share; becomes a UUID.
    pub id: [u8; 16],
}

/// The announcements of one server, until they are stopped.
#[derive(Debug, Default)]
pub struct Discovery {
    mdns: Option<mdns::Announcer>,
    wsd: Option<wsd::Announcer>,
}

impl Discovery {
    /// Announces the server. A server that is reached from its own machine only has nobody to tell.
    pub async fn start(host: Host, env: Arc<dyn Env>) -> Self {
        if host.listening.ip().is_loopback() {
            return Self::default();
        }
        let mdns = mdns::Announcer::start(&host)
            .inspect_err(|error| tracing::warn!(%error, "not announced by multicast DNS"));
        let wsd = if host.listening.port() == STANDARD_PORT {
            wsd::Announcer::start(host, env)
                .await
                .inspect_err(|error| tracing::warn!(%error, "not announced to Windows"))
                .ok()
        } else {
            None
        };
        Self {
            mdns: mdns.ok(),
            wsd,
        }
    }

    /// Tells Macs which shares take their backups, in place of what they were told before.
    pub fn show_backups(&mut self, volumes: &[Volume]) {
        if let Some(mdns) = &mut self.mdns
            && let Err(error) = mdns.show_backups(volumes)
        {
            tracing::warn!(%error, "Macs were not told which shares take their backups");
        }
    }

    /// Tells everybody that the server goes.
    pub async fn stop(self) {
        let goodbye = async {
            if let Some(wsd) = self.wsd {
                wsd.stop().await;
            }
            if let Some(mdns) = self.mdns {
                mdns.stop().await;
            }
        };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            tracing::debug!("not everybody was told that the server goes");
        }
    }
}
