//! Long work after an opening: what earlier openings appended and never published, or dropped and never gave back.
//!
//! A crash leaves stripes that no row names. Once the index holds every group of before this opening, a stripe of an
//! older segment without live bytes is dead, unless it is listed for the cleaner already. Each segment is swept once, by
//! the opening after the one that wrote it: what it loses later the cleaner has on its list until that is durable. Only a
//! segment of which no row knows is looked at again.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use strongroom_pool::{SegmentId, Txg};

use crate::Result;
use crate::engine::Engine;
use crate::index::Snapshot;
use crate::jobs::{JobKind, Jobs, Step};
use crate::rows;

/// The row that says up to which epoch segments were swept.
const SWEPT_KEY: [u8; 13] = *b"\0\0\0\0\0\0\0\0swept";

/// Segments swept in one step.
const STEP_SEGMENTS: usize = 16;

/// Sweeps the segments of earlier openings, a few a step. The cursor is the last segment swept.
#[derive(Debug)]
pub(crate) struct Sweep {
    engine: Arc<Engine>,
}

impl Engine {
    /// Starts the sweep once the index has what was recovered, or goes on with an earlier one.
    pub(crate) async fn run_sweep(self: Arc<Self>, jobs: Arc<Jobs>, opened: Txg) {
        while self.index.last_txg() < opened {
            if self.stopping() {
                return;
            }
            self.wake.fed.notified().await;
        }
        if let Err(error) = self.start_sweep(&jobs) {
            tracing::warn!(%error, "cannot sweep segments of earlier openings");
        }
    }

    fn start_sweep(self: &Arc<Self>, jobs: &Jobs) -> Result<()> {
        let kind: Arc<dyn JobKind> = Arc::new(Sweep {
            engine: Arc::clone(self),
        });
        if jobs.register(&kind)?.is_empty() && !self.earlier_segments().is_empty() {
            jobs.start(&kind, Vec::new())?;
        }
        Ok(())
    }

    /// Segments of earlier openings, all of them sealed. The upper half of a segment's id is the epoch that made it.
    fn earlier_segments(&self) -> Vec<SegmentId> {
        let mut ids = self.pool.segment_ids();
        ids.retain(|segment| segment.0 >> 32 < self.opened_sequence);
        ids
    }

    /// Up to which epoch segments were swept.
    fn swept(&self) -> Result<u64> {
        let row = self.get(rows::SETTINGS, &SWEPT_KEY)?;
        row.map_or(Ok(0), |row| rows::decode_number(&row))
    }

    /// Gives back the stripes that no row names, now or as far as a reader looks back. The cleaner has its own list.
    fn sweep_segment(&self, segment: SegmentId) -> Result<()> {
        let mut spared = BTreeSet::new();
        for snapshot in [self.index.oldest_held(), self.index.snapshot()] {
            spare(&*snapshot, segment, &mut spared)?;
        }
        self.pool.trim_segment(segment);
        self.punch(segment, &|info| !spared.contains(&info.stripe))?;
        // The cursor that says it is done may not outlive a power cut that this does not.
        self.sync_segments(&[segment])
    }
}

/// Whether any stripe of a segment has an account.
fn is_known(snapshot: &dyn Snapshot, segment: SegmentId) -> Result<bool> {
    let (start, end) = (
        rows::stripe_key(segment, 0),
        rows::stripe_key(segment, u32::MAX),
    );
    let mut known = false;
    snapshot.scan(rows::STRIPES, &start, Some(&end), &mut |_, _| {
        known = true;
        Ok(false)
    })?;
    Ok(known)
}

/// Adds the stripes of a segment that are alive in a snapshot, or on its list of the dead.
fn spare(snapshot: &dyn Snapshot, segment: SegmentId, spared: &mut BTreeSet<u32>) -> Result<()> {
    let (start, end) = (
        rows::stripe_key(segment, 0),
        rows::stripe_key(segment, u32::MAX),
    );
    // One without live bytes keeps its row until it is given back.
    snapshot.scan(rows::STRIPES, &start, Some(&end), &mut |key, _| {
        spared.insert(rows::decode_stripe_key(key)?.1);
        Ok(true)
    })
}
impl JobKind for Sweep {
    fn name(&self) -> &'static str {
        "sweep"
    }

    fn step(&self, cursor: &[u8]) -> Result<Step> {
        let done: Option<[u8; 8]> = cursor.try_into().ok();
        let after = done.map(|id| SegmentId(u64::from_be_bytes(id)));
        let (engine, all) = (&self.engine, self.engine.earlier_segments());
        let (swept, snapshot) = (engine.swept()?, engine.index.snapshot());
        let first = after.map_or(0, |after| all.partition_point(|id| *id <= after));
        let mut swept_now = 0;
        for (index, segment) in all.iter().enumerate().skip(first) {
            // Of one that no row knows, a deletion was cut off.
            if segment.0 >> 32 < swept && is_known(&*snapshot, *segment)? {
                continue;
            }
            engine.sweep_segment(*segment)?;
            swept_now += 1;
            if swept_now == STEP_SEGMENTS || engine.stopping() {
                return Ok(Step::More {
                    cursor: segment.0.to_be_bytes().to_vec(),
                    done: index as u64 + 1,
                    total: all.len() as u64,
                });
            }
        }
        let row = rows::encode_number(engine.opened_sequence);
        engine.put_row(rows::SETTINGS, SWEPT_KEY, Some(Bytes::from(row)));
        Ok(Step::Done)
    }
}
