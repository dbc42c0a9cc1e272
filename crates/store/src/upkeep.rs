//! Has the pool look after its disks while clients work, and stand back when they are busy.

use std::sync::Arc;
use std::time::Duration;

use strongroom_device::EnvExt as _;
use strongroom_pool::UpkeepStep;

use crate::engine::Engine;

/// How often it is looked whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Clients are busy when they move more than so many bytes a second.
const BUSY: u64 = 1 << 20;
/// For each second of work so many are left to busy clients.
const STAND_BACK: u32 = 3;
/// The longest wait between two steps.
const STAND_BACK_MAX: Duration = Duration::from_secs(10);

impl Engine {
    /// Brings disks back, makes good what was lost, empties and fills disks, until the store stops.
    pub(crate) async fn run_upkeep(self: Arc<Self>) {
        while !self.stopping() {
            self.nap(LOOK_EVERY, &self.wake.upkeep).await;
            while !self.stopping() && self.failure().is_none() {
                let (begun, clients) = (self.env.monotonic(), self.pool.client_bytes());
                let engine = Arc::clone(&self);
                let step = self.env.run_blocking(move || engine.pool.upkeep_step());
                match step.await {
                    Ok(UpkeepStep::Idle) => break,
                    Ok(UpkeepStep::Changed) => {
                        // Log and index follow before anything else changes.
                        self.wake.keeper.notify_one();
                        break;
                    }
                    Ok(UpkeepStep::Worked { .. }) => self.stand_back(begun, clients).await,
                    Err(error) => {
                        tracing::warn!(%error, "the upkeep of the pool was interrupted");
                        break;
                    }
                }
            }
        }
    }

    /// Waits as long as the last step and clients in its time ask for.
    async fn stand_back(&self, begun: Duration, clients: u64) {
        let took = self.env.monotonic().saturating_sub(begun);
        let moved = u128::from(self.pool.client_bytes() - clients);
        if moved * 1000 <= u128::from(BUSY) * took.as_millis() {
            return;
        }
        let wait = took.saturating_mul(STAND_BACK).min(STAND_BACK_MAX);
        self.nap(wait, &self.wake.upkeep).await;
    }
}
