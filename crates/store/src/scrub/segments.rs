//! The scrub of the segments: every fragment on every disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use strongroom_device::Timestamp;
use strongroom_pool::{PoolError, SegmentId};

use super::report::{Report, ScrubStatus};
use crate::engine::Engine;
use crate::jobs::{JobKind, Step};
use crate::{Result, rows};

/// The row that says how the last one ended.
const REPORT_KEY: [u8; 17] = *b"\0\0\0\0\0\0\0\0scrub end";
/// Bytes of each shard compared in one step.
const STEP_BYTES: u64 = 32 << 20;
/// Segments looked at in one step.
const STEP_SEGMENTS: usize = 64;
/// Clients that move more than this in the time of a step are waited for.
const BUSY: u64 = 1 << 20;
/// While they do, a scrub takes one part in so many of the time.
const SHARE_WHEN_BUSY: u32 = 4;

/// The cursor is the whole [`Report`], so that a step that is done is counted once.
#[derive(Debug)]
pub(super) struct SegmentScrub {
    engine: Arc<Engine>,
    /// Of the one that runs, or of the last.
    report: Mutex<Report>,
    /// Bytes that clients had moved when a step last ended.
    moved: AtomicU64,
    pause: Mutex<Duration>,
}

impl SegmentScrub {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            report: Mutex::default(),
            moved: AtomicU64::new(0),
            pause: Mutex::default(),
        }
    }

    /// Learns how the last one ended.
    pub(super) fn recall(&self) -> Result<()> {
        if let Some(row) = self.engine.get(rows::SETTINGS, &REPORT_KEY)? {
            *self.report.lock() = Report::decode(&row)?;
        }
        Ok(())
    }

    pub(super) fn status(&self) -> ScrubStatus {
        self.report.lock().status()
    }

    /// The cursor of a scrub of all that there is now.
    pub(super) fn begin(&self) -> Vec<u8> {
        let segments = self.engine.pool.segment_ids();
        let report = Report {
            began: self.engine.env.now(),
            last: segments.last().copied().unwrap_or_default(),
            total: segments.len() as u64,
            ..Report::default()
        };
        let cursor = report.encode();
        *self.report.lock() = report;
        cursor
    }

    /// Scrubs on from where the report stands; false when there is nothing left.
    fn advance(&self, report: &mut Report) -> Result<bool> {
        let mut segments = self.engine.pool.segment_ids();
        segments.retain(|id| *id <= report.last);
        report.total = segments.len() as u64;
        let first = segments.partition_point(|id| *id < report.segment);
        report.done = first as u64;
        let (mut left, begun) = (STEP_BYTES, report.bytes);
        for segment in segments.into_iter().skip(first).take(STEP_SEGMENTS) {
            if left == 0 || self.engine.stopping() {
                return Ok(true);
            }
            if report.segment != segment {
                report.segment = segment;
                report.block = 0;
            }
            let part = match self.engine.pool.scrub_segment(segment, report.block, left) {
                Ok(part) => part,
                // Everything in it died meanwhile.
                Err(PoolError::NoSegment { .. }) => Default::default(),
                Err(error) => return Err(error.into()),
            };
            report.bytes += part.bytes;
            report.bad += part.bad;
            report.repaired += part.repaired;
            part.lost.into_iter().for_each(|part| report.lose(part));
            match part.next {
                Some(block) => {
                    // Damaged bytes are not counted, so there may seem to be time left: the segment comes first.
                    report.block = block;
                    return Ok(true);
                }
                None => {
                    report.segment = SegmentId(segment.0 + 1);
                    report.block = 0;
                    report.done += 1;
                }
            }
            left = STEP_BYTES.saturating_sub(report.bytes - begun);
        }
        Ok(report.done < report.total)
    }

    fn finish(&self, report: &mut Report) -> Result<()> {
        self.engine.name_lost(report)?;
        report.ended = self.engine.env.now().max(Timestamp(1));
        let (bad, repaired, lost) = (report.bad, report.repaired, report.lost_ranges);
        tracing::info!(bytes = report.bytes, bad, repaired, lost, "scrub ended");
        let row = Bytes::from(report.encode());
        self.engine.put_row(rows::SETTINGS, REPORT_KEY, Some(row));
        Ok(())
    }

    /// Leaves the disks to clients while these are at work.
    fn note_pace(&self, took: Duration) {
        let moved = self.engine.pool.client_bytes();
        let before = self.moved.swap(moved, Ordering::Relaxed);
        let busy = moved.saturating_sub(before) > BUSY;
        *self.pause.lock() = if busy {
            took * (SHARE_WHEN_BUSY - 1)
        } else {
            Duration::ZERO
        };
    }
}

impl JobKind for SegmentScrub {
    fn name(&self) -> &'static str {
        "scrub"
    }

    fn step(&self, cursor: &[u8]) -> Result<Step> {
        let begun = self.engine.env.monotonic();
        let mut report = Report::decode(cursor)?;
        let more = self.advance(&mut report)?;
        if !more {
            self.finish(&mut report)?;
        }
        self.note_pace(self.engine.env.monotonic().saturating_sub(begun));
        *self.report.lock() = report.clone();
        Ok(if more {
            Step::More {
                cursor: report.encode(),
                done: report.done,
                total: report.total,
            }
        } else {
            Step::Done
        })
    }

    fn pause(&self) -> Duration {
        *self.pause.lock()
    }
}
