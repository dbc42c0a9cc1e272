//! Disks that were set aside while the pool is in use come back by themselves.
//!
//! A cable, a controller that was reset, a file system that was remounted: most of what makes a disk fail passes. So it is
//! asked again from time to time whether it works, and then brought up to date like one that was away. A disk that keeps
//! failing is left alone: each return costs the others work.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use strongroom_device::{Device, DeviceError};

use crate::disk::Disk;
use crate::label::read_label;
use crate::pool::Pool;
use crate::{DiskId, DiskState, PoolError, Result};

/// A disk is first asked so long after it failed, then after twice that, and so on.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);
/// One that failed so often within the time is not asked any more.
const FAILURES_MAX: usize = 3;
const WITHIN: Duration = Duration::from_secs(3600);

/// Opens disks anew that were set aside.
pub trait Reopen: Send + Sync + Debug {
    /// What lies at the path of a device now, found to take writes. Waits for about a second at most.
    ///
    /// # Errors
    /// It does not work yet.
    fn reopen(&self, name: &str) -> std::result::Result<Arc<dyn Device>, DeviceError>;
}

/// What is known of disks that failed. Times are those of [`strongroom_device::Env::monotonic`].
#[derive(Debug, Default)]
pub(crate) struct Recalls(BTreeMap<DiskId, Recall>);

#[derive(Debug, Default)]
struct Recall {
    next: Duration,
    wait: Duration,
    failures: Vec<Duration>,
}

/// What is to be done about a disk.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Wait,
    Ask,
    /// It failed so often.
    LeaveAlone(usize),
}

impl Recalls {
    /// A disk was set aside; `failed` if it did not just vanish.
    fn note(&mut self, disk: DiskId, now: Duration, failed: bool) {
        let recall = self.0.entry(disk).or_default();
        recall.wait = FIRST;
        recall.next = now + FIRST;
        if failed {
            recall
                .failures
                .retain(|at| now.saturating_sub(*at) < WITHIN);
            recall.failures.push(now);
        }
    }

    fn turn(&mut self, disk: DiskId, now: Duration) -> Turn {
        let recall = self.0.entry(disk).or_default();
        if recall.failures.len() >= FAILURES_MAX {
            return Turn::LeaveAlone(recall.failures.len());
        }
        if now < recall.next {
            return Turn::Wait;
        }
        recall.wait = (recall.wait * 2).clamp(FIRST, LONGEST);
        recall.next = now + recall.wait;
        Turn::Ask
    }

    /// A person says that the disk is to be used again.
    pub(crate) fn forgive(&mut self, disk: DiskId) {
        self.0.remove(&disk);
    }
}

impl Pool {
    /// How disks are opened anew. Without it those that are set aside come back by [`Pool::add_disk`] only. Counts once.
    pub fn set_reopen(&self, reopen: Arc<dyn Reopen>) {
        self.reopen.get_or_init(|| reopen);
    }

    /// How many fragment headers are held in memory from now on.
    pub fn set_cached_headers(&self, max: usize) {
        self.headers.set_limit(max);
    }

    /// To be called when a disk is set aside. What vanished has not failed.
    pub(crate) fn note_failure(&self, disk: &Disk, why: &DeviceError) {
        if let Some(id) = disk.id {
            let failed = matches!(why, DeviceError::Io { .. });
            self.recalls.lock().note(id, self.env.monotonic(), failed);
        }
    }

    /// Asks disks that were set aside whether they work again; those that do are brought back by the next steps. True if
    /// one of them is a member at once.
    pub(crate) fn recall_disks(&self) -> Result<bool> {
        let Some(reopen) = self.reopen.get() else {
            return Ok(false);
        };
        let mut changed = false;
        for disk in self.disks.all().iter() {
            let Some(id) = disk.id.filter(|id| self.may_return(disk, *id)) else {
                continue;
            };
            let turn = self.recalls.lock().turn(id, self.env.monotonic());
            match turn {
                Turn::Wait => {}
                Turn::LeaveAlone(times) => leave_alone(disk, times),
                Turn::Ask => changed |= self.ask(&**reopen, disk, id)?,
            }
        }
        Ok(changed)
    }

    /// It failed while the pool was open, and none has its place. What it held may have been made good meanwhile.
    fn may_return(&self, disk: &Disk, id: DiskId) -> bool {
        let failed = match disk.state() {
            DiskState::SetAside => true,
            DiskState::Retired => self.recalls.lock().0.contains_key(&id),
            DiskState::Member | DiskState::Stale | DiskState::Missing | DiskState::Unusable => {
                false
            }
        };
        failed && !disk.is_live() && disk.device.is_some() && !self.has_substitute(id)
    }

    fn has_substitute(&self, id: DiskId) -> bool {
        let live = self.disks.live();
        live.iter().any(|disk| disk.role().stands_for == id)
    }

    fn ask(&self, reopen: &dyn Reopen, disk: &Arc<Disk>, id: DiskId) -> Result<bool> {
        let device = match reopen.reopen(&disk.name()) {
            Ok(device) => device,
            Err(error) => {
                tracing::debug!(disk = disk.name(), %error, "a disk does not work yet");
                return Ok(false);
            }
        };
        match self.is_that_disk(&*device, id) {
            Ok(true) => {
                tracing::info!(disk = disk.name(), "a disk that was set aside works again");
                self.welcome(device, disk, id)
            }
            Ok(false) => Ok(false),
            Err(error) => {
                tracing::warn!(disk = disk.name(), %error, "what lies at the path of a disk cannot be used");
                Ok(false)
            }
        }
    }

    /// True if it is a member now.
    fn welcome(&self, device: Arc<dyn Device>, disk: &Arc<Disk>, id: DiskId) -> Result<bool> {
        let _changing = self.changing.lock();
        // Somebody may have added it meanwhile.
        let known = self.disks.find(id);
        if !known.is_some_and(|known| Arc::ptr_eq(&known, disk)) {
            return Ok(false);
        }
        if self.owed.lock().contains(&id) {
            return self.note_return(device, disk).map(|_| false);
        }
        if !self.is_followed() {
            return Ok(false);
        }
        let back = Disk::new(Some(device), Some(id), DiskState::Stale, None);
        match self.take_back(&Arc::new(back)) {
            Ok(returned) => {
                self.arrived.lock().extend(returned);
                Ok(true)
            }
            Err(error) => {
                self.note_not_taken_back(id, &error);
                self.refuse_if_stopped().map(|()| false)
            }
        }
    }

    /// A disk that came back failed again before it was a member. It may be asked once more.
    pub(crate) fn note_not_taken_back(&self, id: DiskId, error: &PoolError) {
        let Some(disk) = self.disks.find(id) else {
            return;
        };
        tracing::error!(disk = disk.name(), %error, "a disk that came back cannot be used");
        if let PoolError::Device(error) = error {
            self.note_failure(&disk, error);
        }
        disk.describe(DiskState::SetAside, &error.to_string());
    }

    /// Whether a device holds this disk, with no history of its own.
    fn is_that_disk(&self, device: &dyn Device, id: DiskId) -> Result<bool> {
        let label = match read_label(device) {
            Ok(found) => found.label,
            // Not mounted yet.
            Err(PoolError::NoLabel { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        if (label.pool, label.disk) != (self.id, id) {
            return Ok(false);
        }
        self.refuse_diverged(device).map(|()| true)
    }
}

/// Says so once.
fn leave_alone(disk: &Disk, times: usize) {
    const SAID: &str = "it is left alone";
    let why = disk.status().reason.unwrap_or_default();
    if why.contains(SAID) {
        return;
    }
    let hours = WITHIN.as_secs() / 3600;
    let reason = format!(
        "{why}; it failed {times} times within {hours} hour, so {SAID}: replace it, or add it again"
    );
    tracing::error!(disk = disk.name(), reason, "a disk keeps failing");
    disk.describe(disk.state(), &reason);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_asked_less_and_less_often_and_not_for_ever() {
        let (mut recalls, disk) = (Recalls::default(), DiskId([1; 16]));
        let seconds = Duration::from_secs;
        recalls.note(disk, seconds(100), false);
        let asked: Vec<u64> = (100..400)
            .filter(|at| recalls.turn(disk, seconds(*at)) == Turn::Ask)
            .collect();
        assert_eq!(asked, [105, 115, 135, 175, 235, 295, 355]);
        for (at, turn) in [
            (1000, Turn::Ask),
            (2000, Turn::Ask),
            (5000, Turn::Ask),
            (5100, Turn::LeaveAlone(3)),
        ] {
            recalls.note(disk, seconds(at), true);
            assert_eq!(recalls.turn(disk, seconds(at + 10)), turn, "{at}");
        }
        recalls.forgive(disk);
        assert_eq!(recalls.turn(disk, seconds(5200)), Turn::Ask);
    }
}
