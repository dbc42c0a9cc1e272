//! How upkeep comes on: what it does, how much is left and when it will be done.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::pool::Pool;
use crate::{SegmentId, UpkeepStatus, UpkeepTask};

/// The rate is that of so long back, waiting for clients included.
const WINDOW: Duration = Duration::from_secs(60);
/// Steps that are remembered at most within the window.
const SAMPLES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) task: UpkeepTask,
    /// The disk that is emptied.
    pub(crate) disk: Option<String>,
    /// Bytes of shards done and to be done, since there was nothing to do.
    done: u64,
    left: u64,
    /// When how much was done.
    samples: VecDeque<(Duration, u64)>,
    /// Why what is left cannot be done now.
    pub(crate) waiting_for: Option<String>,
    pub(crate) segments_short: u64,
    /// Stripes that too few shards are left of, each counted once.
    lost: BTreeSet<(SegmentId, u32)>,
}

impl Progress {
    /// A task begins, or goes on with so much left.
    pub(crate) fn go_on(
        &mut self,
        now: Duration,
        task: UpkeepTask,
        disk: Option<String>,
        left: u64,
    ) {
        if self.task != task || self.disk != disk {
            self.done = 0;
            self.samples.clear();
            self.samples.push_back((now, 0));
        }
        self.task = task;
        self.disk = disk;
        self.left = left;
        self.waiting_for = None;
    }

    /// As [`Progress::advance`], where so much was expected of it.
    pub(crate) fn finish(&mut self, now: Duration, worked: u64, expected: u64) {
        let left = self.left.saturating_sub(expected);
        self.advance(now, worked);
        self.left = left;
    }

    /// A step is done; `worked` of what was left were bytes to be moved, and those are done now.
    pub(crate) fn advance(&mut self, now: Duration, worked: u64) {
        self.done += worked;
        self.left = self.left.saturating_sub(worked);
        self.samples.push_back((now, self.done));
        let old = |sample: &(Duration, u64)| now.saturating_sub(sample.0) > WINDOW;
        while self.samples.len() > 2
            && (self.samples.len() > SAMPLES_MAX || self.samples.front().is_some_and(old))
        {
            self.samples.pop_front();
        }
    }

    /// Nothing can be done, for this reason if there is something left.
    pub(crate) fn rest(&mut self, waiting_for: Option<String>) {
        self.task = match waiting_for {
            Some(_) => UpkeepTask::Waiting,
            None => UpkeepTask::Idle,
        };
        self.waiting_for = waiting_for;
        self.disk = None;
        if self.task == UpkeepTask::Idle {
            (self.done, self.left) = (0, 0);
        }
        self.samples.clear();
    }

    /// Bytes a second.
    fn rate(&self) -> u64 {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return 0;
        };
        let millis = last.0.saturating_sub(first.0).as_millis();
        let bytes = u128::from(last.1 - first.1) * 1000;
        u64::try_from(bytes.checked_div(millis).unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

impl Pool {
    /// Too few shards are left of a stripe.
    pub(crate) fn note_lost(&self, segment: SegmentId, stripe: u32) {
        self.progress.lock().lost.insert((segment, stripe));
    }

    /// A stripe was mended or given back.
    pub(crate) fn note_found(&self, segment: SegmentId, stripe: u32) {
        self.progress.lock().lost.remove(&(segment, stripe));
    }

    /// A segment is gone, and with it what was lost of it.
    pub(crate) fn note_gone(&self, segment: SegmentId) {
        let mut progress = self.progress.lock();
        progress.lost.retain(|(other, _)| *other != segment);
    }

    /// Stripes that too few shards are left of, as far as upkeep met them.
    pub(crate) fn lost_stripes(&self) -> usize {
        self.progress.lock().lost.len()
    }

    /// How the pool's upkeep comes on, for people.
    pub fn upkeep_status(&self) -> UpkeepStatus {
        let owed = self.owed.lock().clone();
        let name = |id| {
            let disk = self.disks.find(id);
            disk.map_or_else(|| format!("disk {id}"), |disk| disk.name())
        };
        let lost_disks: Vec<String> = owed.into_iter().map(name).collect();
        let lost = u8::try_from(lost_disks.len()).unwrap_or(u8::MAX);
        let progress = self.progress.lock();
        let rate = progress.rate();
        UpkeepStatus {
            task: progress.task,
            disk: progress.disk.clone(),
            survives: self.layout.parity.saturating_sub(lost),
            lost_disks,
            segments_short: progress.segments_short,
            bytes_done: progress.done,
            bytes_total: progress.done + progress.left,
            bytes_per_second: rate,
            seconds_left: progress.left.checked_div(rate),
            waiting_for: progress.waiting_for.clone(),
            rebuilt_shards: self.counters.rebuilt_shards.load(Ordering::Relaxed),
            lost_stripes: progress.lost.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let mut progress = Progress::default();
        progress.go_on(seconds(0), UpkeepTask::Restoring, None, 100_000);
        assert_eq!(progress.rate(), 0);
        for second in 1..=200 {
            let worked = if second <= 100 { 100 } else { 300 };
            progress.advance(seconds(second), worked);
        }
        assert_eq!((progress.rate(), progress.left), (300, 60_000));
        progress.go_on(seconds(201), UpkeepTask::Restoring, None, 50_000);
        assert_eq!((progress.done, progress.left), (40_000, 50_000));
        progress.rest(None);
        assert_eq!((progress.done, progress.left, progress.rate()), (0, 0, 0));
    }
}
