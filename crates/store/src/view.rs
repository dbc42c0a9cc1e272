//! Which state is read: now, or one that was. Every read takes a [`View`]; there is one code for both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use strongroom_device::Timestamp;
use strongroom_pool::Txg;

use crate::engine::Engine;
use crate::{Realm, Result, StoreError};

/// A moment of the past: what was there once a transaction group was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    pub txg: Txg,
    /// When that group was closed.
    pub time: Timestamp,
}

/// Which state is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum View {
    #[default]
    Now,
    At(Past),
}

impl View {
    pub fn is_now(&self) -> bool {
        matches!(self, Self::Now)
    }

    /// The moment that is looked at; None for now.
    pub fn instant(&self) -> Option<Instant> {
        match self {
            Self::Now => None,
            Self::At(past) => Some(past.instant()),
        }
    }

    /// Whether what group `txg` wrote belongs to the state.
    pub(crate) fn shows(&self, txg: Txg) -> bool {
        self.instant().is_none_or(|instant| txg <= instant.txg)
    }
}

/// A kept instant that is being looked at. Nothing that it shows is thinned as long as it lives; cheap to clone.
#[derive(Debug, Clone)]
pub struct Past(Arc<Held>);

impl Past {
    pub fn instant(&self) -> Instant {
        self.0.instant
    }
}

impl PartialEq for Past {
    fn eq(&self, other: &Self) -> bool {
        self.instant() == other.instant()
    }
}

impl Eq for Past {}

#[derive(Debug)]
struct Held {
    instant: Instant,
    /// It is kept for itself, not only as near to a group as can be had.
    kept: bool,
    holds: Arc<Holds>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.holds.held.lock();
        if let Some(count) = held.get_mut(&self.instant.txg) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.instant.txg);
            }
        }
    }
}

/// Instants that are being looked at, and how far thinning has come.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    held: Mutex<BTreeMap<Txg, usize>>,
    /// The last second of which thinning may have removed something.
    thinned_to: AtomicU64,
}

impl Holds {
    fn hold(self: &Arc<Self>, instant: Instant, kept: bool) -> Past {
        *self.held.lock().entry(instant.txg).or_default() += 1;
        Past(Arc::new(Held {
            instant,
            kept,
            holds: Arc::clone(self),
        }))
    }

    /// Says that thinning is about to go as far as the end of a second, and tells which groups it must spare, ascending.
    pub(crate) fn begin_thinning(&self, second: Option<u64>) -> Vec<Txg> {
        if let Some(second) = second {
            self.thinned_to.fetch_max(second, Ordering::SeqCst);
        }
        // Who holds an instant after this sees how far thinning goes, and waits for its end.
        self.held.lock().keys().copied().collect()
    }

    fn may_be_thinned(&self, instant: Instant) -> bool {
        instant.time.seconds() <= self.thinned_to.load(Ordering::SeqCst)
    }
}

impl Engine {
    /// Holds an instant for looking at a realm as it was.
    ///
    /// # Errors
    /// `Forgotten` when it is kept no longer.
    pub(crate) fn past(&self, realm: Realm, instant: Instant) -> Result<Past> {
        let past = self.holds.hold(instant, true);
        if self.holds.may_be_thinned(instant) {
            let _no_thinning = self.feeding.lock();
            let second = instant.time.seconds();
            let kept = self.kept_instants(realm, second..=second, usize::MAX)?;
            if !kept.contains(&instant) {
                return Err(StoreError::Forgotten);
            }
        }
        Ok(past)
    }

    /// Holds what was there just before a group of the window in which every second is kept. Of rows that one session alone
    /// changed about then it may show less than there was; what another session changed then, it shows.
    ///
    /// # Errors
    /// `Forgotten` when the group is older than the window.
    pub(crate) fn before(&self, txg: Txg) -> Result<Past> {
        let time = self.time_about(txg)?;
        let before = Instant {
            txg: Txg(txg.0.saturating_sub(1)),
            time,
        };
        let past = self.holds.hold(before, false);
        if self.holds.may_be_thinned(past.instant()) {
            return Err(StoreError::Forgotten);
        }
        Ok(past)
    }

    /// A kept instant, wholly in the index, that is as near before what is looked at as can be had. What was there at
    /// other moments, or what the index does not know yet, may be forgotten before anything made of it is known.
    pub(crate) fn settled(&self, past: &Past) -> Result<Option<Past>> {
        let instant = past.instant();
        let settled = if past.0.kept {
            Some(past.clone())
        } else {
            let kept = self.instant_before(instant)?;
            let held = kept.map(|kept| self.holds.hold(kept, true));
            held.filter(|held| !self.holds.may_be_thinned(held.instant()))
        };
        let indexed = self.index.last_txg();
        Ok(settled.filter(|settled| settled.instant().txg <= indexed))
    }

    #[cfg(test)]
    pub(crate) fn any_past(&self, txg: Txg) -> View {
        let time = Timestamp(u64::MAX);
        View::At(self.holds.hold(Instant { txg, time }, false))
    }
}
