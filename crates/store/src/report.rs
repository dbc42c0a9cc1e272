//! What the store says of itself.

use std::sync::atomic::Ordering;

use crate::engine::Engine;
use crate::{Result, StoreSpace, StoreStatus, history, thin};

impl Engine {
    pub(crate) fn space_report(&self) -> Result<StoreSpace> {
        let pool = self.pool.space()?;
        self.space.refresh(pool);
        let waiting = self.memory.waiting();
        let snapshot = self.index.snapshot();
        let usage = thin::usage(snapshot.as_ref())?;
        let available = u64::try_from(self.space.available(waiting)).unwrap_or(0);
        Ok(StoreSpace {
            total: pool.usable_total.saturating_sub(self.space.kept_back()),
            available,
            used_present: usage.present,
            used_history: usage.history,
            reserved: self.space.promised() + waiting,
        })
    }

    pub(crate) fn status(&self) -> StoreStatus {
        let (log_bytes, log_bytes_max) = self.log.usage();
        let snapshot = self.index.snapshot();
        StoreStatus {
            open_txg: self.open_txg().0,
            durable_txg: self.durable_txg().0,
            indexed_txg: self.index.last_txg().0,
            overlay_rows: self.overlay.rows(),
            overlay_bytes: self.overlay.bytes(),
            dirty_bytes: self.memory.dirty(),
            log_bytes,
            log_bytes_max,
            history_horizon: history::horizon(snapshot.as_ref()).unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot tell how far the past reaches");
                None
            }),
            offline: self.failure(),
            log_repairs: self.log_repairs,
            fed_rows: self.fed_rows.load(Ordering::Relaxed),
        }
    }
}
