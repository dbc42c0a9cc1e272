use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{JobKind, JobRow, JobState, Step};
use crate::tests::World;
use crate::{Result, StoreError};

/// Counts to a hundred, or fails at a step.
#[derive(Debug, Default)]
struct Count {
    steps: AtomicU64,
    fail_at: Option<u64>,
}

impl JobKind for Count {
    fn name(&self) -> &'static str {
        "count"
    }

    fn step(&self, cursor: &[u8]) -> Result<Step> {
        let at = u64::from(cursor.first().copied().unwrap_or(0));
        self.steps.fetch_add(1, Ordering::Relaxed);
        if self.fail_at == Some(at) {
            return Err(StoreError::Invalid {
                what: "cannot count on".into(),
            });
        }
        if at == 100 {
            return Ok(Step::Done);
        }
        Ok(Step::More {
            cursor: vec![u8::try_from(at + 1).unwrap()],
            done: at + 1,
            total: 100,
        })
    }
}

#[test]
fn a_job_runs_to_its_end_and_is_not_resumed() {
    let mut world = World::new(1, 1);
    let store = world.create();
    let kind: Arc<dyn JobKind> = Arc::new(Count::default());
    let id = store.jobs().start(&kind, Vec::new()).unwrap();
    world.env.advance(Duration::from_secs(3));
    let status = store.jobs().status(id).unwrap();
    assert_eq!(
        (status.state, status.done, status.total),
        (JobState::Done, 100, 100)
    );
    world.crash(store);
    let store = world.open().unwrap();
    assert!(store.jobs().register(&kind).unwrap().is_empty());
}

#[test]
fn a_job_goes_on_where_it_was_after_a_crash() {
    let mut world = World::new(2, 1);
    let store = world.create();
    let first = Arc::new(Count::default());
    let kind: Arc<dyn JobKind> = Arc::clone(&first) as Arc<dyn JobKind>;
    let id = store.jobs().start(&kind, vec![40]).unwrap();
    world.block_on(store.sync(&[])).unwrap();
    world.crash(store);
    let store = world.open().unwrap();
    let second = Arc::new(Count::default());
    let kind: Arc<dyn JobKind> = Arc::clone(&second) as Arc<dyn JobKind>;
    let resumed = store.jobs().register(&kind).unwrap();
    assert!(resumed == [id] || first.steps.load(Ordering::Relaxed) > 60);
    world.env.advance(Duration::from_secs(1));
    if let Some(id) = resumed.first() {
        assert_eq!(store.jobs().status(*id).unwrap().state, JobState::Done);
        assert!(second.steps.load(Ordering::Relaxed) <= 61);
    }
}

#[test]
fn a_cancelled_or_failed_job_says_so_and_stays_ended() {
    let world = World::new(3, 1);
    let store = world.create();
    let kind: Arc<dyn JobKind> = Arc::new(Count::default());
    let id = store.jobs().start(&kind, Vec::new()).unwrap();
    assert!(store.jobs().cancel(id));
    let failing: Arc<dyn JobKind> = Arc::new(Count {
        fail_at: Some(3),
        ..Count::default()
    });
    let failed = store.jobs().start(&failing, Vec::new()).unwrap();
    world.env.advance(Duration::from_secs(2));
    assert_eq!(store.jobs().status(id).unwrap().state, JobState::Cancelled);
    let state = store.jobs().status(failed).unwrap().state;
    assert!(matches!(state, JobState::Failed(why) if why.contains("cannot count")));
    assert!(!store.jobs().cancel(failed));
    assert!(store.jobs().rows().unwrap().is_empty());
}

/// Has a broken invariant.
#[derive(Debug)]
struct Broken;

impl JobKind for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn step(&self, cursor: &[u8]) -> Result<Step> {
        assert!(!cursor.is_empty(), "an invariant");
        Ok(Step::Done)
    }
}

#[test]
fn a_job_that_panics_has_failed_and_holds_up_nothing() {
    let world = World::new(4, 1);
    let store = world.create();
    let kind: Arc<dyn JobKind> = Arc::new(Broken);
    let id = store.jobs().start(&kind, Vec::new()).unwrap();
    world.env.advance(Duration::from_secs(2));
    let state = store.jobs().status(id).unwrap().state;
    assert!(matches!(state, JobState::Failed(why) if why.contains("panicked")));
    assert!(store.jobs().rows().unwrap().is_empty());
    world.block_on(store.close()).unwrap();
}

#[test]
fn a_damaged_row_is_an_error() {
    let row = JobRow {
        kind: "count".into(),
        cursor: vec![1, 2],
        done: 3,
        total: 4,
    };
    let bytes = row.encode();
    assert_eq!(JobRow::decode(&bytes).unwrap(), row);
    for len in 0..bytes.len() {
        assert!(JobRow::decode(&bytes[..len]).is_err());
    }
}
