//! Looks after the disks while the server runs.

use std::sync::Arc;
use std::time::Duration;

use strongroom_pool::Pool;
use tokio::time::MissedTickBehavior;

/// A disk that is gone is noticed within about this time, also while nobody works.
const EVERY: Duration = Duration::from_secs(1);

/// Never returns.
pub(crate) async fn disks(pool: Arc<Pool>) {
    let mut clock = tokio::time::interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let pool = Arc::clone(&pool);
        let looked = tokio::task::spawn_blocking(move || pool.look_after_disks());
        if let Err(error) = looked.await {
            tracing::error!(%error, "looking after the disks failed");
        }
    }
}
