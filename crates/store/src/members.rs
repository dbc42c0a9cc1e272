//! What follows the members of the pool: the copies of log and index.

use std::sync::Arc;
use std::time::Duration;

use strongroom_device::{DeviceError, EnvExt as _};
use strongroom_pool::EpochId;

use crate::commit::Wanted;
use crate::engine::Engine;
use crate::log::{LogCopy, NotFollowed};
use crate::scrub::Scrubs;
use crate::{Result, StoreError};

/// How long a copy that was lost with its disk is missing at most before a new one is begun.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Engine {
    /// Looks after the copies, also while nobody commits, until the store stops.
    pub(crate) async fn run_keeper(self: Arc<Self>, scrubs: Arc<Scrubs>) {
        if let Err(error) = scrubs.resume() {
            tracing::warn!(%error, "cannot go on with a scrub");
        }
        // The copies are where they were at opening, and disks may have been lost since.
        let mut indexed = EpochId::default();
        while !self.stopping() {
            self.nap(LOOK_EVERY, &self.wake.keeper).await;
            if self.stopping() || self.failure().is_some() {
                continue;
            }
            if let Err(error) = scrubs.start_if_due() {
                tracing::warn!(%error, "cannot begin a scrub");
            }
            let epoch = self.pool.epoch();
            if indexed != epoch && self.follow_with_index().await {
                indexed = epoch;
            }
            if self.log.epoch() != epoch
                && let Err(error) = self.request(Wanted::Watermark).await
            {
                tracing::warn!(%error, "a copy of the log could not be made anew");
            }
            if indexed == epoch && self.log.epoch() == epoch {
                self.copies_follow(epoch);
            }
        }
    }

    /// Every copy of log and index is where the members of `epoch` have them.
    fn copies_follow(&self, epoch: EpochId) {
        self.pool.copies_follow(epoch);
        self.wake.upkeep.notify_one();
    }

    /// True if every copy of the index lies on a member of the pool.
    async fn follow_with_index(self: &Arc<Self>) -> bool {
        let engine = Arc::clone(self);
        let homed = self.env.run_blocking(move || {
            let homes = crate::open::index_homes(&engine.pool);
            engine.index.rehome(homes)
        });
        match homed.await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "a copy of the index could not be made anew");
                false
            }
        }
    }

    /// Sees to it that every copy of the log lies on a member of the pool and holds all that is in use. To be called by
    /// whoever writes to the log: before its frames are cut, and before they count as durable.
    ///
    /// # Errors
    /// `NoSpace` when a new copy finds no room; `Offline` when no copy is left.
    pub(crate) fn follow_members(&self) -> Result<()> {
        loop {
            let epoch = self.pool.epoch();
            if self.log.epoch() == epoch {
                return Ok(());
            }
            let followed = self.log.follow(epoch, self.pool.homes("log"));
            match followed {
                Ok(()) => {}
                Err(NotFollowed::NoneLeft) => {
                    return Err(self.fail("no copy of the log lies on a disk that is left".into()));
                }
                Err(NotFollowed::Copy(_, DeviceError::NoSpace { .. })) => {
                    self.wake.cleaner.notify_one();
                    return Err(StoreError::NoSpace);
                }
                Err(NotFollowed::Copy(copy, error) | NotFollowed::Source(copy, error)) => {
                    self.log_copy_failed(&copy, &error)?;
                }
            }
        }
    }

    /// Sets the device aside that failed; an error if nothing is left to write on.
    pub(crate) fn log_copy_failed(&self, copy: &LogCopy, error: &DeviceError) -> Result<()> {
        let device = copy.device();
        tracing::error!(device = device.name(), %error, "a log copy failed");
        let left = self.pool.set_aside(device, error);
        left.map_err(|lost| self.fail(lost.to_string()))
    }
}
