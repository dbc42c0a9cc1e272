//! Disks that vanish without a word: files that are open go on working after the directory with their names is gone.

use std::sync::Arc;
use std::time::Duration;

use strongroom_device::DeviceError;

use crate::Result;
use crate::disk::Disk;
use crate::label::LABEL_FILES;
use crate::pool::Pool;

/// How often the disks of a pool in use are looked for.
const EVERY: Duration = Duration::from_secs(3);

/// When that was done last, and how much clients had moved by then.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Probed {
    at: Duration,
    moved: u64,
}

impl Pool {
    /// Sets disks aside that have lost their labels. A pool that nobody uses is left alone, and so is a disk that is the
    /// last one.
    pub(crate) fn probe(&self, probed: &mut Probed) -> Result<()> {
        let (now, moved) = (self.env.monotonic(), self.activity.total());
        if moved == probed.moved || now.saturating_sub(probed.at) < EVERY {
            return Ok(());
        }
        *probed = Probed { at: now, moved };
        for disk in self.disks.live() {
            if let Some(error) = vanished(&disk).filter(|_| self.can_lose(&disk)) {
                self.set_aside_disk(&disk, &error)?;
            }
        }
        Ok(())
    }
}

/// The error of a disk that has neither copy of its label.
fn vanished(disk: &Arc<Disk>) -> Option<DeviceError> {
    let device = disk.live()?;
    let mut last = None;
    for path in LABEL_FILES {
        match device.open(path) {
            Ok(_) => return None,
            Err(error) => last = Some(error),
        }
    }
    last
}
