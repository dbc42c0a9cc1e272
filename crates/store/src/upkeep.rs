//! Has the pool look after its disks while clients work.

use std::sync::Arc;
use std::time::Duration;

use strongroom_device::EnvExt as _;
use strongroom_pool::UpkeepStep;

use crate::engine::Engine;

/// How often it is looked whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Engine {
    /// Brings disks back, makes good what was lost, empties and fills disks, until the store stops.
    pub(crate) async fn run_upkeep(self: Arc<Self>) {
        while !self.stopping() {
            self.nap(LOOK_EVERY, &self.wake.upkeep).await;
            while !self.stopping() && self.failure().is_none() {
                let engine = Arc::clone(&self);
                let step = self.env.run_blocking(move || engine.pool.upkeep_step());
                match step.await {
                    Ok(UpkeepStep::Idle) => break,
                    Ok(UpkeepStep::Changed) => {
                        // Log and index follow before anything else changes.
                        self.wake.keeper.notify_one();
                        break;
                    }
                    // It stands back for busy clients by itself.
                    Ok(UpkeepStep::Worked { .. }) => {}
                    Err(error) => {
                        tracing::warn!(%error, "the upkeep of the pool was interrupted");
                        break;
                    }
                }
            }
        }
    }
}
