//! Thinning of the past and reaping of the dead, in bounded steps, for the store's cleaning job.

use std::time::Duration;

use strongroom_device::Timestamp;
use strongroom_pool::Address;

use crate::feed::DeadStripe;
use crate::index::{Index, Snapshot};
use crate::{Result, SessionId};

/// How dense the kept instants are, by their age. Each span counts from now; a level is off when its span does not
/// reach beyond the finer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Every second of this long a past.
    pub(crate) every_second: Duration,
    /// One instant a minute, hour, day, month (30 days) this far back.
    pub(crate) every_minute: Duration,
    pub(crate) every_hour: Duration,
    pub(crate) every_day: Duration,
    pub(crate) every_month: Duration,
}

impl Schedule {
    /// Every second of `window`, and nothing older.
    pub(crate) fn window(window: Duration) -> Self {
        Self {
            every_second: window,
            every_minute: Duration::ZERO,
            every_hour: Duration::ZERO,
            every_day: Duration::ZERO,
            every_month: Duration::ZERO,
        }
    }
}

/// What one call may do at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Rows looked at or removed.
    pub(crate) rows: usize,
    /// Space is short: also take values inside the window, the shortest-lived first.
    pub(crate) pressure: bool,
}

/// What a call gave back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Freed {
    pub(crate) rows: u64,
    pub(crate) extents: Vec<Address>,
    pub(crate) dead_stripes: Vec<DeadStripe>,
    /// There is more to do now.
    pub(crate) more: bool,
    /// Pressure found nothing left that may go: the writer that makes most must be refused.
    pub(crate) exhausted: bool,
}

/// Removes what is past the schedule, reaps graves, and under pressure thins inside the window. One index write.
pub(crate) fn thin(
    index: &dyn Index,
    schedule: &Schedule,
    now: Timestamp,
    budget: Budget,
) -> Result<Freed> {
    let _ = (index, schedule, now, budget);
    unimplemented!()
}

/// The client session that made the most history, and how many bytes.
pub(crate) fn largest_maker(snapshot: &dyn Snapshot) -> Result<Option<(SessionId, u64)>> {
    let _ = snapshot;
    unimplemented!()
}

/// Bytes of extents, before mirroring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Extents that are referred to at all, rounded up to 4 KiB.
    pub(crate) live: u64,
    /// Of these, what the present maps.
    pub(crate) present: u64,
    /// What only history and graves hold.
    pub(crate) history: u64,
}

/// Space by what holds it.
pub(crate) fn usage(snapshot: &dyn Snapshot) -> Result<Usage> {
    let _ = snapshot;
    unimplemented!()
}
