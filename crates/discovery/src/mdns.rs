//! Multicast DNS through the crate `mdns-sd`: `_smb._tcp`, which file managers list, and `_device-info._tcp`, which
//! chooses the icon in macOS's Finder.

use std::fmt;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};

use crate::Host;

const SMB: &str = "_smb._tcp.local.";
const DEVICE_INFO: &str = "_device-info._tcp.local.";
/// Finder draws a server in a rack.
const MODEL: &str = "RackMac";

pub(crate) struct Announcer {
    daemon: ServiceDaemon,
    names: Vec<String>,
}

impl fmt::Debug for Announcer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(&self.names).finish()
    }
}

impl Announcer {
    pub(crate) fn start(host: &Host) -> Result<Self, mdns_sd::Error> {
        let daemon = ServiceDaemon::new()?;
        let address = host.listening.ip();
        if !address.is_unspecified() {
            daemon.disable_interface(IfKind::All)?;
            daemon.enable_interface(IfKind::Addr(address))?;
        }
        let mut names = Vec::new();
        for (service, port, properties) in [
            (SMB, host.listening.port(), &[][..]),
            (DEVICE_INFO, 0, &[("model", MODEL)][..]),
        ] {
            let local = format!("{}.local.", host.name.to_lowercase());
            let info = ServiceInfo::new(service, &host.name, &local, "", port, properties)?;
            let info = info.enable_addr_auto();
            names.push(info.get_fullname().to_owned());
            daemon.register(info)?;
        }
        Ok(Self { daemon, names })
    }

    pub(crate) async fn stop(self) {
        for name in &self.names {
            if let Ok(gone) = self.daemon.unregister(name) {
                gone.recv_async().await.ok();
            }
        }
        if let Ok(ended) = self.daemon.shutdown() {
            ended.recv_async().await.ok();
        }
    }
}
