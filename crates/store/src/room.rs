//! Room on the disks for what clients write.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_device::Device;
use strongroom_pool::PoolSpace;

use crate::Result;
use crate::engine::Engine;
use crate::space::{self, Need, Promise};

/// A write waits so long at most for cleaning to make room for it.
const ROOM_ROUNDS: u32 = 600;
const ROOM_PAUSE: Duration = Duration::from_millis(25);

impl Engine {
    /// Promises space for a write, asking the disks anew before saying no.
    pub(crate) fn admit(&self, need: Need) -> Result<Promise<'_>> {
        self.writable()?;
        let waiting = self.memory.waiting();
        if let Ok(promise) = self.space.admit(need, waiting) {
            return Ok(promise);
        }
        self.refresh_space();
        let promise = self.space.admit(need, waiting);
        if promise.is_err() {
            self.wake.cleaner.notify_one();
        }
        promise
    }

    /// Waits while space for a write is there but must be cleaned first, or may be once what was deleted until now was
    /// looked at.
    pub(crate) async fn make_room(&self, bytes: u64) {
        let (seen, mut rounds) = (self.open_txg(), self.cleanings.load(Ordering::Acquire));
        let mut copied = self.compacted.load(Ordering::Relaxed);
        for _ in 0..ROOM_ROUNDS {
            if self.has_room(bytes) || self.writable().is_err() {
                return;
            }
            self.refresh_space();
            let now = self.compacted.load(Ordering::Relaxed);
            if std::mem::replace(&mut copied, now) != now {
                rounds = self.cleanings.load(Ordering::Acquire);
            }
            let looked = self.cleanings.load(Ordering::Acquire) >= rounds + 2
                && (self.index.last_txg() >= seen || self.groups.lock().is_empty());
            if self.has_room(bytes) || (looked && !self.will_have_room(bytes)) {
                return;
            }
            self.hungry.store(true, Ordering::Release);
            self.wake.hurry.notify_one();
            self.wake.feeder.notify_one();
            self.wake.cleaner.notify_one();
            self.env.sleep(ROOM_PAUSE).await;
        }
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.space.fits(bytes, self.memory.waiting()) && self.will_have_room(bytes)
    }

    fn will_have_room(&self, bytes: u64) -> bool {
        let available = self.space.available(self.memory.waiting());
        available >= i64::try_from(bytes).unwrap_or(i64::MAX)
    }

    pub(crate) fn refresh_space(&self) {
        if let Err(error) = self.ask_for_space() {
            tracing::warn!(%error, "cannot ask for free space");
        }
    }

    /// Asks the disks for their space.
    pub(crate) fn ask_for_space(&self) -> Result<PoolSpace> {
        let (logs, growth) = (self.log.copies(), self.log.growth());
        let indexes = self.pool.homes("index");
        let kept = |device: &Arc<dyn Device>, disk| {
            let logs = logs
                .iter()
                .filter(|copy| Arc::ptr_eq(copy.device(), device));
            let indexes = indexes
                .iter()
                .filter(|home| Arc::ptr_eq(&home.device, device));
            space::kept_on(disk, logs.count(), growth, indexes.count())
        };
        let found = self.pool.space_beside(&kept)?;
        self.space.refresh(found);
        Ok(found)
    }
}
