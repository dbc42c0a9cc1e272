//! What the store says of itself.

use std::sync::atomic::Ordering;

use crate::engine::Engine;
use crate::{IndexStatus, Result, StoreSpace, StoreStatus, history, thin};

impl Engine {
    pub(crate) fn space_report(&self) -> Result<StoreSpace> {
        let pool = self.ask_for_space()?;
        let snapshot = self.index.snapshot();
        let usage = thin::usage(snapshot.as_ref())?;
        let (total, free) = (pool.usable_total, pool.usable_free);
        let (dead, past) = (self.space.dead(), self.space.past());
        let used = total.saturating_sub(free).saturating_sub(dead + past);
        let available = self.space.available(self.memory.waiting());
        let available = u64::try_from(available).unwrap_or(0).min(total - used);
        Ok(StoreSpace {
            total,
            used,
            available,
            reserved: total - used - available,
            used_present: usage.present,
            used_history: usage.history,
            history_yields: past,
            dead,
            stored: usage.live,
            uncompressed: usage.plain,
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
            history_horizon: history::horizon(snapshot.as_ref())
                .unwrap_or_else(|error| {
                    tracing::warn!(%error, "cannot tell how far the past reaches");
                    None
                })
                .map(|oldest| oldest.time),
            offline: self.failure(),
            log_repairs: self.log_repairs,
            fed_rows: self.fed_rows.load(Ordering::Relaxed),
            compacted_bytes: self.compacted.load(Ordering::Relaxed),
            index: self.index_status(),
        }
    }

    fn index_status(&self) -> IndexStatus {
        let index = self.index.status();
        let homes = u32::try_from(self.pool.homes("index").len());
        IndexStatus {
            bytes: index.bytes,
            copies_good: index.pages.copies_good,
            copies: index.pages.copies.max(homes.unwrap_or(u32::MAX)),
            bad_pages: index.pages.bad,
            repaired_pages: index.pages.repaired,
            lost_pages: index.pages.lost,
            reopened: index.reopened,
        }
    }
}
