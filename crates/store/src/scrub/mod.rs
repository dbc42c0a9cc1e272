//! Scrubs: what is stored is compared with its checksums now and then, and what one copy has lost is made anew from the
//! others, before those rot as well.

mod index;
mod lost;
mod report;
mod segments;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use strongroom_device::Timestamp;

use crate::engine::Engine;
use crate::jobs::{JobId, JobKind, JobState, Jobs};
use crate::{Result, rows};
use index::IndexScrub;
use segments::SegmentScrub;

pub use report::{LostRange, ScrubStatus};

/// When something was last scrubbed without being asked, and what does it.
#[derive(Debug)]
struct Timed {
    kind: Arc<dyn JobKind>,
    /// The row that says when one last began, in nanoseconds since 1970.
    key: &'static [u8],
    /// From one scrub to the next.
    every: Duration,
    /// When the last one began, once that is known.
    last: Mutex<Option<Timestamp>>,
}

/// Starts scrubs, by hand and when they are due.
#[derive(Debug)]
pub(crate) struct Scrubs {
    engine: Arc<Engine>,
    jobs: Arc<Jobs>,
    index: Timed,
    segments: Timed,
    scrub: Arc<SegmentScrub>,
    /// The job that scrubs segments.
    running: Mutex<Option<JobId>>,
}

const INDEX_KEY: &[u8] = b"\0\0\0\0\0\0\0\0scrubbed";
const SEGMENTS_KEY: &[u8] = b"\0\0\0\0\0\0\0\0scrub due";
/// The index is small, and all depends on it.
const INDEX_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Reading everything takes a day on large disks.
const SEGMENTS_EVERY: Duration = Duration::from_secs(30 * 24 * 3600);

impl Scrubs {
    pub(crate) fn new(engine: Arc<Engine>, jobs: Arc<Jobs>) -> Self {
        let scrub = Arc::new(SegmentScrub::new(Arc::clone(&engine)));
        let timed = |kind, key, every| Timed {
            kind,
            key,
            every,
            last: Mutex::default(),
        };
        let index = Arc::new(IndexScrub::new(Arc::clone(&engine)));
        Self {
            index: timed(index, INDEX_KEY, INDEX_EVERY),
            segments: timed(
                Arc::clone(&scrub) as Arc<dyn JobKind>,
                SEGMENTS_KEY,
                SEGMENTS_EVERY,
            ),
            scrub,
            engine,
            jobs,
            running: Mutex::default(),
        }
    }

    /// Goes on with scrubs that the last closing or crash cut off.
    pub(crate) fn resume(&self) -> Result<()> {
        self.jobs.register(&self.index.kind)?;
        self.scrub.recall()?;
        let mut running = self.running.lock();
        let resumed = self.jobs.register(&self.segments.kind)?;
        *running = running.or(resumed.first().copied());
        Ok(())
    }

    pub(crate) fn start_index(&self) -> Result<JobId> {
        self.jobs.start(&self.index.kind, Vec::new())
    }

    /// Starts a scrub of everything; one that runs already goes on.
    pub(crate) fn start(&self) -> Result<JobId> {
        let mut running = self.running.lock();
        if let Some(job) = running.filter(|job| self.runs(*job)) {
            return Ok(job);
        }
        self.start_index()?;
        let job = self.jobs.start(&self.segments.kind, self.scrub.begin())?;
        *running = Some(job);
        Ok(job)
    }

    /// Ends the scrub of segments after its current step; false if none runs.
    pub(crate) fn stop(&self) -> bool {
        let running = *self.running.lock();
        running.is_some_and(|job| self.jobs.cancel(job))
    }

    fn runs(&self, job: JobId) -> bool {
        let status = self.jobs.status(job);
        status.is_some_and(|status| status.state == JobState::Running)
    }

    pub(crate) fn status(&self) -> ScrubStatus {
        let job = *self.running.lock();
        let state = job.and_then(|job| self.jobs.status(job));
        let mut status = self.scrub.status();
        status.running = false;
        match state.map(|status| status.state) {
            Some(JobState::Running) => status.running = true,
            Some(JobState::Cancelled) => status.stopped = true,
            Some(JobState::Failed(why)) => status.failed = Some(why),
            Some(JobState::Done) | None => {}
        }
        status
    }

    /// Starts those whose last was long ago.
    pub(crate) fn start_if_due(&self) -> Result<()> {
        if self.is_due(&self.index)? {
            self.start_index()?;
        }
        if self.is_due(&self.segments)? {
            self.start()?;
        }
        Ok(())
    }

    /// True once each time; the next one is due long after this one, even if it is cancelled.
    fn is_due(&self, timed: &Timed) -> Result<bool> {
        let now = self.engine.env.now();
        let mut last = timed.last.lock();
        let known = match *last {
            Some(known) => known,
            None => self.load(timed, now)?,
        };
        *last = Some(known);
        let due = Duration::from_nanos(now.0.saturating_sub(known.0)) >= timed.every;
        if due {
            *last = Some(now);
            self.note(timed, now);
        }
        Ok(due)
    }

    /// The time of the last one; of a new store the first is due when the time has passed once.
    fn load(&self, timed: &Timed, now: Timestamp) -> Result<Timestamp> {
        match self.engine.get(rows::SETTINGS, timed.key)? {
            Some(last) => rows::decode_number(&last).map(Timestamp),
            None => {
                self.note(timed, now);
                Ok(now)
            }
        }
    }

    fn note(&self, timed: &Timed, now: Timestamp) {
        let row = Bytes::from(rows::encode_number(now.0));
        self.engine.put_row(rows::SETTINGS, timed.key, Some(row));
    }
}

#[cfg(test)]
mod tests;
