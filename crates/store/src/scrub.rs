//! The index is scrubbed now and then: every page of every copy is compared with its checksum, and what one copy has lost
//! is written anew from another, before that one rots as well.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use strongroom_device::Timestamp;

use crate::engine::Engine;
use crate::jobs::{JobId, JobKind, Jobs, Step};
use crate::rows;
use crate::{Result, StoreError};

/// The row that says when the index was last scrubbed, in nanoseconds since 1970.
const SCRUBBED_KEY: [u8; 16] = *b"\0\0\0\0\0\0\0\0scrubbed";
/// From one scrub to the next.
const EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Pages compared in one step.
const STEP_PAGES: u64 = 1024;

/// Compares [`STEP_PAGES`] pages a step. The cursor is the next page.
#[derive(Debug)]
struct IndexScrub {
    engine: Arc<Engine>,
}

/// Starts scrubs of the index, by hand and when they are due.
#[derive(Debug)]
pub(crate) struct Scrubs {
    kind: Arc<dyn JobKind>,
    engine: Arc<Engine>,
    jobs: Arc<Jobs>,
    /// When the last one began, once that is known.
    last: Mutex<Option<Timestamp>>,
}

impl Scrubs {
    pub(crate) fn new(engine: Arc<Engine>, jobs: Arc<Jobs>) -> Self {
        let kind = Arc::new(IndexScrub {
            engine: Arc::clone(&engine),
        });
        let last = Mutex::default();
        Self {
            kind,
            engine,
            jobs,
            last,
        }
    }

    /// Goes on with a scrub that the last closing or crash cut off.
    pub(crate) fn resume(&self) -> Result<()> {
        self.jobs.register(&self.kind).map(drop)
    }

    pub(crate) fn start(&self) -> Result<JobId> {
        self.jobs.start(&self.kind, Vec::new())
    }

    /// Starts one if the last was long ago.
    pub(crate) fn start_if_due(&self) -> Result<()> {
        let now = self.engine.env.now();
        let mut last = self.last.lock();
        let known = match *last {
            Some(known) => known,
            None => self.load(now)?,
        };
        *last = Some(known);
        if Duration::from_nanos(now.0.saturating_sub(known.0)) >= EVERY {
            // The next one is due long after this one, even if it is cancelled.
            *last = Some(now);
            self.note(now);
            self.start()?;
        }
        Ok(())
    }

    /// The time of the last one; of a new store the first is due when the time has passed once.
    fn load(&self, now: Timestamp) -> Result<Timestamp> {
        match self.engine.get(rows::SETTINGS, &SCRUBBED_KEY)? {
            Some(last) => rows::decode_number(&last).map(Timestamp),
            None => {
                self.note(now);
                Ok(now)
            }
        }
    }

    fn note(&self, now: Timestamp) {
        let row = Bytes::from(rows::encode_number(now.0));
        self.engine.put_row(rows::SETTINGS, SCRUBBED_KEY, Some(row));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobState;
    use crate::tests::{ROWS, World, key, pattern};

    #[test]
    fn a_scrub_that_is_due_repairs_pages_that_nobody_read() {
        let world = World::new(121, 2);
        let store = world.create();
        for n in 0..50 {
            world.put(&store, &key(2000 + n, "a"), &pattern(n, 20_000));
        }
        world.env.advance(Duration::from_secs(10));
        assert_eq!(store.status().overlay_rows, 0);
        assert!(
            store
                .jobs()
                .list()
                .iter()
                .all(|job| job.kind != "index scrub")
        );
        // The tail of the file is what the rows above are in.
        let disk = &world.disks[1];
        let len = disk.contents("index/1/pages").unwrap().len() as u64;
        for page in len / 8192..len / 4096 {
            disk.flip("index/1/pages", page * 4096 + 99, 1);
        }
        let every = u64::try_from(EVERY.as_nanos()).unwrap();
        let long_ago = Timestamp(world.env().now().0 - every);
        let scrubs = &store.scrubs;
        *scrubs.last.lock() = Some(long_ago);
        world.env.advance(Duration::from_secs(10));
        let jobs = store.jobs().list();
        let mut scrubbed = jobs.iter().filter(|job| job.kind == "index scrub");
        assert_eq!(scrubbed.next().unwrap().state, JobState::Done);
        assert!(scrubbed.next().is_none(), "once is enough");
        let index = store.status().index;
        assert!(
            index.bad_pages > 10 && index.repaired_pages == index.bad_pages,
            "{index:?}"
        );
        assert_eq!(
            (index.copies_good, index.copies, index.lost_pages),
            (2, 2, 0)
        );
        store.scrub_index().unwrap();
        world.env.advance(Duration::from_secs(10));
        assert_eq!(store.status().index.bad_pages, index.bad_pages);
        assert!(store.get(ROWS, &key(2049, "a")).unwrap().is_some());
    }
}
