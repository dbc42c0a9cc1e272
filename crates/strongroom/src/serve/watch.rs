//! Looks after the disks, and the room on them, while the server runs.

use std::sync::Arc;
use std::time::Duration;

use strongroom_pool::Pool;
use strongroom_store::Store;
use tokio::time::MissedTickBehavior;

use crate::fullness::Fullness;

/// A disk that is gone is noticed within about this time, also while nobody works.
const EVERY: Duration = Duration::from_secs(1);

/// Room does not go faster than this matters.
const ROOM_EVERY: Duration = Duration::from_secs(10);

/// Never returns. Says in the log when room becomes short, and when there is some again.
pub(crate) async fn room(store: Arc<Store>) {
    let mut clock = tokio::time::interval(ROOM_EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Fullness::Roomy;
    loop {
        clock.tick().await;
        // Where it cannot be told, what is wrong is told elsewhere.
        let Ok(space) = store.space() else { continue };
        let now = Fullness::of(space.used, space.available);
        match (now.cmp(&before), now) {
            (std::cmp::Ordering::Greater, Fullness::Full) => tracing::error!("the pool is {now}"),
            (std::cmp::Ordering::Greater, _) => tracing::warn!("the pool is {now}"),
            (std::cmp::Ordering::Less, Fullness::Roomy) => {
                tracing::info!("the pool has room again");
            }
            _ => {}
        }
        before = now;
    }
}

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
