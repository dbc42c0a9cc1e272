//! Disks that vanish without an error: a directory that was deleted or unmounted takes writes to files that are open
//! already, and nobody will ever find them again.

use strongroom_device::{Device, DeviceError};

use crate::label::LABEL_FILES;
use crate::pool::Pool;

impl Pool {
    /// Looks whether each member is still where it was, and sets aside those that are not. To be called every second or
    /// so; costs a look at a directory for each disk.
    pub fn look_after_disks(&self) {
        for disk in self.disks.live() {
            let Some(device) = disk.live() else { continue };
            if let Err(error) = is_there(&**device) {
                tracing::error!(device = device.name(), %error, "a disk is gone");
                // That writing then stops is logged there and told to whoever writes.
                if let Err(error) = self.set_aside_disk(&disk, &error) {
                    tracing::error!(%error, "without it");
                }
            }
        }
    }
}

/// Either copy of the label will do: one alone may be damaged.
fn is_there(device: &dyn Device) -> Result<(), DeviceError> {
    let mut last = Ok(());
    for path in LABEL_FILES {
        match device.open(path) {
            Ok(_) => return Ok(()),
            // Some other shortage says nothing about the disk.
            Err(error @ (DeviceError::NotFound { .. } | DeviceError::Io { .. })) => {
                last = Err(error);
            }
            Err(DeviceError::Exists { .. } | DeviceError::NoSpace { .. }) => return Ok(()),
        }
    }
    last
}
