//! Multicast DNS through the crate `mdns-sd`: `_smb._tcp`, which file managers list, `_device-info._tcp`, which chooses
//! the icon in macOS's Finder, and `_adisk._tcp`, by which Time Machine finds shares for backups.

use std::fmt;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};

use crate::{Host, Volume, uuid};

const SMB: &str = "_smb._tcp.local.";
const DEVICE_INFO: &str = "_device-info._tcp.local.";
const ADISK: &str = "_adisk._tcp.local.";
/// Nobody connects to it: the port of the protocol that discards (RFC 863), as is the custom.
const ADISK_PORT: u16 = 9;
/// Of all volumes together: they do not wait for their hardware addresses, and are known by their identifiers.
const ADISK_SYSTEM: &str = "waMa=0,adVF=0x100";
/// Of one volume: by SMB, for Time Machine.
const ADISK_FLAGS: &str = "0x82";
/// Bytes of one string of a TXT record (RFC 6763, section 6.1).
const TXT_MAX: usize = 255;
/// Finder draws a server in a rack.
const MODEL: &str = "RackMac";

pub(crate) struct Announcer {
    daemon: ServiceDaemon,
    /// As others see the server, and its name in `.local`.
    name: String,
    names: Vec<String>,
    /// The record of backups, while there are shares for them.
    adisk: Option<String>,
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
        let mut announcer = Self {
            daemon,
            name: host.name.clone(),
            names: Vec::new(),
            adisk: None,
        };
        let smb = announcer.register(SMB, host.listening.port(), &[])?;
        let model = [("model".to_owned(), MODEL.to_owned())];
        let device = announcer.register(DEVICE_INFO, 0, &model)?;
        announcer.names = vec![smb, device];
        Ok(announcer)
    }

    /// Registers a service, or tells its new properties; returns its full name.
    fn register(
        &self,
        service: &str,
        port: u16,
        properties: &[(String, String)],
    ) -> Result<String, mdns_sd::Error> {
        let local = format!("{}.local.", self.name.to_lowercase());
        let info = ServiceInfo::new(service, &self.name, &local, "", port, properties)?;
        let info = info.enable_addr_auto();
        let name = info.get_fullname().to_owned();
        self.daemon.register(info)?;
        Ok(name)
    }

    /// Shares that take backups; with none of them there is no record.
    pub(crate) fn show_backups(&mut self, volumes: &[Volume]) -> Result<(), mdns_sd::Error> {
        let properties = adisk_properties(volumes);
        // Goodbye first: what is known of the old volumes goes with it.
        if let Some(name) = self.adisk.take() {
            drop(self.daemon.unregister(&name)?);
        }
        if !properties.is_empty() {
            self.adisk = Some(self.register(ADISK, ADISK_PORT, &properties)?);
        }
        Ok(())
    }

    pub(crate) async fn stop(self) {
        for name in self.names.iter().chain(&self.adisk) {
            if let Ok(gone) = self.daemon.unregister(name) {
                gone.recv_async().await.ok();
            }
        }
        if let Ok(ended) = self.daemon.shutdown() {
            ended.recv_async().await.ok();
        }
    }
}

/// One property for all volumes and one for each; none where there are no volumes.
fn adisk_properties(volumes: &[Volume]) -> Vec<(String, String)> {
    let mut disks = Vec::new();
    for volume in volumes {
        let key = format!("dk{}", disks.len());
        let value = format!(
            "adVN={},adVF={ADISK_FLAGS},adVU={}",
            volume.name,
            uuid::text(volume.id)
        );
        if key.len() + 1 + value.len() > TXT_MAX {
            tracing::warn!(share = volume.name, "the name is too long for Time Machine");
            continue;
        }
        disks.push((key, value));
    }
    if !disks.is_empty() {
        disks.push(("sys".to_owned(), ADISK_SYSTEM.to_owned()));
    }
    disks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str) -> Volume {
        Volume {
            name: name.to_owned(),
            id: [1; 16],
        }
    }

    #[test]
    fn every_volume_has_its_property_and_all_have_one_together() {
        let id = "01010101-0101-0101-0101-010101010101";
        let told = adisk_properties(&[volume("one"), volume("two")]);
        let texts: Vec<_> = told
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            texts,
            [
                format!("dk0=adVN=one,adVF=0x82,adVU={id}"),
                format!("dk1=adVN=two,adVF=0x82,adVU={id}"),
                "sys=waMa=0,adVF=0x100".to_owned(),
            ]
        );
        assert!(adisk_properties(&[]).is_empty());
    }

    #[test]
    fn a_name_that_fits_no_record_is_left_out() {
        let told = adisk_properties(&[volume(&"\u{20AC}".repeat(80)), volume("short")]);
        assert_eq!(told.len(), 2);
        assert!(told[0].1.starts_with("adVN=short,"));
        assert!(adisk_properties(&[volume(&"\u{20AC}".repeat(80))]).is_empty());
    }
}
