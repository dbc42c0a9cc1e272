//! Long work after an opening: what earlier openings appended and never published, or dropped and never gave back.
//!
//! A crash leaves stripes that no row names. Once the index holds every group of before this opening, a stripe of an
//! older segment without live bytes is dead, unless it is listed for the cleaner already.

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

/// Sweeps the segments of earlier openings, one a step. The cursor is the last segment swept.
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
        if jobs.register(&kind)?.is_empty() && !self.unswept()?.is_empty() {
            jobs.start(&kind, Vec::new())?;
        }
        Ok(())
    }

    /// Segments of earlier openings, all of them sealed, that no sweep has seen.
    fn unswept(&self) -> Result<Vec<SegmentId>> {
        let swept = match self.get(rows::SETTINGS, &SWEPT_KEY)? {
            Some(row) => rows::decode_number(&row)?,
            None => 0,
        };
        // The upper half of a segment's id is the epoch that made it.
        let epochs = swept..self.opened_sequence;
        let mut ids = self.pool.segment_ids();
        ids.retain(|segment| epochs.contains(&(segment.0 >> 32)));
        Ok(ids)
    }

    /// Gives back the stripes that no row names, now or as far as a reader looks back. The cleaner has its own list.
    fn sweep_segment(&self, segment: SegmentId) -> Result<()> {
        let mut spared = BTreeSet::new();
        for snapshot in [self.index.oldest_held(), self.index.snapshot()] {
            spare(&*snapshot, segment, &mut spared)?;
        }
        self.punch(segment, &|info| !spared.contains(&info.stripe))?;
        Ok(())
    }
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
        let all = self.engine.unswept()?;
        let total = all.len() as u64;
        let Some(next) = all.iter().find(|id| after.is_none_or(|after| **id > after)) else {
            let row = rows::encode_number(self.engine.opened_sequence);
            self.engine
                .put_row(rows::SETTINGS, SWEPT_KEY, Some(Bytes::from(row)));
            return Ok(Step::Done);
        };
        self.engine.sweep_segment(*next)?;
        let done = all.iter().filter(|id| *id <= next).count() as u64;
        Ok(Step::More {
            cursor: next.0.to_be_bytes().to_vec(),
            done,
            total,
        })
    }
}
