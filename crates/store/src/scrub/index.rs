//! The scrub of the index: every page of every copy.

use std::sync::Arc;

use crate::engine::Engine;
use crate::jobs::{JobKind, Step};
use crate::{Result, StoreError};

/// Pages compared in one step.
const STEP_PAGES: u64 = 1024;

/// Compares [`STEP_PAGES`] pages a step. The cursor is the next page.
#[derive(Debug)]
pub(super) struct IndexScrub {
    engine: Arc<Engine>,
}

impl IndexScrub {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

impl JobKind for IndexScrub {
    fn name(&self) -> &'static str {
        "index scrub"
    }

    fn step(&self, cursor: &[u8]) -> Result<Step> {
        let from = match cursor {
            [] => 1,
            cursor => u64::from_be_bytes(cursor.try_into().map_err(|_| StoreError::Corrupt {
                what: "damaged row of an index scrub".into(),
            })?),
        };
        let next = from.saturating_add(STEP_PAGES);
        let pages = self.engine.index.scrub(from..next)?;
        Ok(if next >= pages {
            Step::Done
        } else {
            Step::More {
                cursor: next.to_be_bytes().to_vec(),
                done: next,
                total: pages,
            }
        })
    }
}
