//! A file of nothing on each disk that has a copy of the log. It goes when the disk is full to the last byte, by others
//! that write there too, so that an opening can record itself and what is deleted can be written down.

use std::sync::Arc;

use strongroom_device::{Device, DeviceError};
use strongroom_pool::Pool;

use crate::engine::Engine;

/// What changes take beside a new file for each copy of the log, and the part of a small disk.
const CHANGES_MAX: u64 = 4 << 20;
const PART: u64 = 64;
/// It is made anew where so many times its length are free.
const ROOM: u64 = 4;
const NAME: &str = "ballast";

/// The directories for it, one a disk.
fn places(pool: &Pool) -> Vec<(Arc<dyn Device>, String)> {
    let mut places: Vec<(Arc<dyn Device>, String)> = Vec::new();
    for home in pool.homes("log") {
        if !places
            .iter()
            .any(|(device, _)| Arc::ptr_eq(device, &home.device))
        {
            places.push((home.device, home.dir));
        }
    }
    places
}

/// Removes it from all disks; true if there was one.
pub(crate) fn drop_ballast(pool: &Pool) -> bool {
    let mut dropped = false;
    for (device, dir) in places(pool) {
        let gone = device.delete(&format!("{dir}/{NAME}"));
        // A disk that cannot do this fails at what it is needed for, too, and that is judged there.
        if gone.and_then(|()| device.sync_dir(&dir)).is_ok() {
            tracing::warn!(device = device.name(), "full: the ballast was given up");
            dropped = true;
        }
    }
    dropped
}

fn keep(device: &dyn Device, dir: &str, log: u64) -> Result<bool, DeviceError> {
    if device.list(dir)?.iter().any(|name| name == NAME) {
        return Ok(true);
    }
    let space = device.space()?;
    let len = log + (space.total / PART).min(CHANGES_MAX);
    if space.free < ROOM * len {
        return Ok(false);
    }
    let file = device.create(&format!("{dir}/{NAME}"), len)?;
    file.preallocate(0, len)?;
    file.set_len(len)?;
    file.sync()?;
    device.sync_dir(dir)?;
    Ok(true)
}

impl Engine {
    /// Sees to it that there is ballast, where there is room.
    pub(crate) fn keep_ballast(&self) {
        let epoch = self.pool.epoch();
        let mut kept = self.ballast.lock();
        if *kept == Some(epoch) {
            return;
        }
        let mut all = true;
        let homes = self.pool.homes("log");
        for (device, dir) in places(&self.pool) {
            let here = homes
                .iter()
                .filter(|home| Arc::ptr_eq(&home.device, &device));
            let log = here.count() as u64 * self.options.log_file;
            all &= keep(&*device, &dir, log).unwrap_or_else(|error| {
                tracing::warn!(%error, "no ballast");
                false
            });
        }
        *kept = Some(epoch).filter(|_| all);
    }

    /// A disk is full: gives up the ballast.
    pub(crate) fn give_ballast(&self) {
        let mut kept = self.ballast.lock();
        if drop_ballast(&self.pool) {
            *kept = None;
        }
    }
}
