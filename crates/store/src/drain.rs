//! The feeder's task: takes durable groups from the overlay to the index in large runs, then lets the overlay and the
//! log forget them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_device::EnvExt as _;

use crate::engine::{Engine, Group};
use crate::feed::{self, FeedOptions, RowChain, Run, TxgInfo};
use crate::overlay::OwnedChain;
use crate::{ErrorKind, Result, Txg};

/// The load has ended when no group was closed for so long.
const QUIET: Duration = Duration::from_millis(1200);
/// A trickle of changes is fed this often.
const AGE_MAX: Duration = Duration::from_secs(10);
/// Runs that may fail one after the other before writing stops.
const FAILURES_MAX: u64 = 8;
const POLL: Duration = Duration::from_millis(250);

/// What the feeder does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Feed(Txg),
    Wait,
    Sleep,
}

impl Engine {
    /// Feeds until the store stops.
    pub(crate) async fn run_feeder(self: Arc<Self>) {
        let mut failures = 0;
        while !self.stopping() {
            match self.next_feed() {
                Next::Sleep => self.wake.feeder.notified().await,
                Next::Wait => self.nap(POLL, &self.wake.feeder).await,
                Next::Feed(up_to) => {
                    let result = self.feed_up_to(up_to).await;
                    failures = match &result {
                        Ok(()) => 0,
                        // Room may be made; until then the log keeps what the index lacks.
                        Err(error) if error.kind() == ErrorKind::NoSpace => failures.max(1),
                        Err(_) => failures + 1,
                    };
                    if failures == FAILURES_MAX {
                        // The log would grow without end, and the next opening would take as long.
                        self.fail(
                            "the index takes no more changes; see the messages before".into(),
                        );
                        return;
                    }
                    if failures > 0 {
                        let pause = Duration::from_secs(failures.min(30));
                        self.nap(pause, &self.wake.feeder).await;
                    }
                }
            }
        }
    }

    /// Feeds one run, on a thread that may block.
    pub(crate) async fn feed_up_to(self: &Arc<Self>, up_to: Txg) -> Result<()> {
        let engine = Arc::clone(self);
        let result = self.env.run_blocking(move || engine.feed(up_to)).await;
        if let Err(error) = &result {
            if error.kind() == ErrorKind::NoSpace {
                self.give_ballast();
            }
            tracing::error!(%error, "cannot feed the index; the log keeps what it lacks");
        }
        result
    }

    fn next_feed(&self) -> Next {
        let feedable = self.feedable();
        let groups = self.groups.lock();
        let (Some(first), Some(last)) = (groups.front(), groups.back()) else {
            return Next::Sleep;
        };
        let now = self.env.now().0;
        let since = |time: u64| Duration::from_nanos(now.saturating_sub(time));
        let rows: usize = groups.iter().map(|group| group.rows).sum();
        let due = rows >= self.options.feed_rows_max / 3
            || since(last.time.0) >= QUIET
            || since(first.time.0) >= AGE_MAX
            || self.level() >= 500
            || self.hungry.load(Ordering::Acquire);
        match self.run_end(groups.iter(), feedable) {
            Some(end) if due => Next::Feed(end),
            Some(_) | None => Next::Wait,
        }
    }

    /// Where a run of about the wanted size ends; None if nothing can be fed.
    fn run_end<'a>(&self, groups: impl Iterator<Item = &'a Group>, feedable: Txg) -> Option<Txg> {
        let mut rows = 0;
        let mut end = None;
        for group in groups.take_while(|group| group.txg <= feedable) {
            end = Some(group.txg);
            rows += group.rows;
            if rows >= self.options.feed_rows_max {
                break;
            }
        }
        end
    }

    /// Feeds everything up to `up_to`, then forgets it.
    pub(crate) fn feed(&self, up_to: Txg) -> Result<()> {
        let _feeding = self.feeding.lock();
        let held = self.index.last_txg();
        if !self.take_groups(held).is_empty() {
            // A write that was reported as failed had taken effect.
            self.is_fed(held);
        }
        if up_to <= held {
            return Ok(());
        }
        let chains = self.overlay.collect(up_to);
        let groups: Vec<Group> = self.take_groups(up_to);
        match self.apply_run(&chains, &groups) {
            Ok(()) => {
                self.is_fed(up_to);
                Ok(())
            }
            Err(error) => {
                let mut waiting = self.groups.lock();
                for group in groups.into_iter().rev() {
                    waiting.push_front(group);
                }
                drop(waiting);
                // Where the pool takes no more writes, nobody knows what of the index is durable: the log must stay.
                self.stop_with_pool()?;
                Err(error)
            }
        }
    }

    /// Overlay and log need not hold these groups any more.
    fn is_fed(&self, up_to: Txg) {
        self.hungry.store(false, Ordering::Release);
        self.overlay.forget(up_to);
        self.recent.lock().retain(|group| group.txg > up_to);
        self.log.recycle(up_to);
        self.died.store(true, Ordering::Release);
        self.wake.cleaner.notify_one();
        self.wake.fed.notify_one();
    }

    fn take_groups(&self, up_to: Txg) -> Vec<Group> {
        let mut groups = self.groups.lock();
        let count = groups.iter().take_while(|group| group.txg <= up_to).count();
        groups.drain(..count).collect()
    }

    fn apply_run(&self, chains: &[OwnedChain], groups: &[Group]) -> Result<()> {
        let rows: Vec<RowChain<'_>> = chains
            .iter()
            .map(|chain| RowChain {
                table: chain.table,
                key: &chain.key,
                versions: &chain.versions,
            })
            .collect();
        let txgs: Vec<TxgInfo<'_>> = groups
            .iter()
            .map(|group| TxgInfo {
                txg: group.txg,
                time: group.time,
                changes: &group.changes,
            })
            .collect();
        let dead: Vec<_> = groups
            .iter()
            .flat_map(|group| group.dead.iter().copied())
            .collect();
        let options = FeedOptions {
            history: self.options.history.is_some(),
        };
        let run = Run {
            rows: &rows,
            txgs: &txgs,
            dead: &dead,
        };
        let fed = feed::feed(self.index.as_ref(), options, &run);
        self.note_dead(&fed, |fed| fed.dead);
        let fed = fed?;
        self.fed_rows
            .fetch_add(rows.len() as u64, Ordering::Relaxed);
        tracing::debug!(
            rows = rows.len(),
            last = fed.last.0,
            history = fed.history_rows,
            "fed the index"
        );
        Ok(())
    }
}
