//! The one engine for long work: start, progress, cancel, and resume after a restart.
//!
//! Work goes in steps. After each step its cursor and progress are a row of the store, so that a job goes on where it
//! was once its kind is registered again. Steps run on a thread that may block, one at a time for each job.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use strongroom_device::EnvExt as _;
use strongroom_pool::codec::{Reader, Truncated, Writer};

use crate::engine::Engine;
use crate::rows;
use crate::{Result, StoreError};

/// One run of long work. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is more; `cursor` says where the next step goes on.
    More {
        cursor: Vec<u8>,
        done: u64,
        total: u64,
    },
    Done,
}

/// A kind of long work.
pub trait JobKind: Send + Sync + Debug {
    /// Names it in the store's rows; at most 255 bytes, never changed.
    fn name(&self) -> &'static str;
    /// Does a bounded piece of work. `cursor` is what [`Jobs::start`] was given, then what the step before returned.
    /// A step may be run twice after a crash.
    fn step(&self, cursor: &[u8]) -> Result<Step>;
    /// How long the disks are left to others before the next step.
    fn pause(&self) -> Duration {
        Duration::ZERO
    }
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    Running,
    Done,
    Cancelled,
    Failed(String),
}

/// One job, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    pub id: JobId,
    pub kind: String,
    pub state: JobState,
    pub done: u64,
    pub total: u64,
}

#[derive(Debug)]
struct Job {
    status: Mutex<JobStatus>,
    cancelled: AtomicBool,
}

impl Job {
    fn note_progress(&self, done: u64, total: u64) {
        let mut status = self.status.lock();
        (status.done, status.total) = (done, total);
    }
}

/// Long work of one store.
#[derive(Debug)]
pub struct Jobs {
    engine: Arc<Engine>,
    known: Arc<Mutex<BTreeMap<JobId, Arc<Job>>>>,
}

/// Finished jobs that are still listed.
const FINISHED_MAX: usize = 100;

impl Jobs {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            known: Arc::default(),
        }
    }

    /// Resumes what was running of this kind when the store was last closed or crashed. Returns the resumed jobs.
    pub fn register(&self, kind: &Arc<dyn JobKind>) -> Result<Vec<JobId>> {
        let mut resumed = Vec::new();
        for (id, row) in self.rows()? {
            if row.kind == kind.name() && !self.known.lock().contains_key(&id) {
                self.run(id, Arc::clone(kind), row);
                resumed.push(id);
            }
        }
        Ok(resumed)
    }

    /// Begins a job. It is durable with the next commit.
    pub fn start(&self, kind: &Arc<dyn JobKind>, cursor: Vec<u8>) -> Result<JobId> {
        self.engine.writable()?;
        let id = JobId(self.engine.allocate_inode(crate::Inode(0)).0);
        let row = JobRow {
            kind: kind.name().to_owned(),
            cursor,
            done: 0,
            total: 0,
        };
        self.engine
            .put_row(rows::JOBS, job_key(id), Some(row.encode()));
        self.run(id, Arc::clone(kind), row);
        Ok(id)
    }

    /// Asks a job to end after its current step. False if it is not running.
    pub fn cancel(&self, id: JobId) -> bool {
        let known = self.known.lock();
        let Some(job) = known.get(&id) else {
            return false;
        };
        let running = job.status.lock().state == JobState::Running;
        job.cancelled.store(true, Ordering::Release);
        running
    }

    pub fn status(&self, id: JobId) -> Option<JobStatus> {
        self.known
            .lock()
            .get(&id)
            .map(|job| job.status.lock().clone())
    }

    /// Jobs that run, and the last that ended.
    pub fn list(&self) -> Vec<JobStatus> {
        self.known
            .lock()
            .values()
            .map(|job| job.status.lock().clone())
            .collect()
    }

    fn rows(&self) -> Result<Vec<(JobId, JobRow)>> {
        let (start, end) = (job_key(JobId(0)), job_key(JobId(u64::MAX)));
        let (found, _) = self
            .engine
            .scan_pinned(rows::JOBS, &start, &end, usize::MAX)?;
        found
            .iter()
            .map(|(key, value)| Ok((decode_key(key)?, JobRow::decode(value)?)))
            .collect()
    }

    fn run(&self, id: JobId, kind: Arc<dyn JobKind>, row: JobRow) {
        let status = JobStatus {
            id,
            kind: row.kind.clone(),
            state: JobState::Running,
            done: row.done,
            total: row.total,
        };
        let job = Arc::new(Job {
            status: Mutex::new(status),
            cancelled: AtomicBool::new(false),
        });
        self.remember(id, Arc::clone(&job));
        let engine = Arc::clone(&self.engine);
        let task = run_job(engine, job, id, kind, row);
        self.engine.spawn_counted("store job", task);
    }

    fn remember(&self, id: JobId, job: Arc<Job>) {
        let mut known = self.known.lock();
        let finished = |job: &Arc<Job>| job.status.lock().state != JobState::Running;
        while known.len() >= FINISHED_MAX {
            let oldest = known
                .iter()
                .find(|(_, job)| finished(job))
                .map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            known.remove(&oldest);
        }
        known.insert(id, job);
    }
}

async fn run_job(
    engine: Arc<Engine>,
    job: Arc<Job>,
    id: JobId,
    kind: Arc<dyn JobKind>,
    mut row: JobRow,
) {
    let state = loop {
        if engine.stopping() {
            // The row stays: the job goes on after the next opening.
            return;
        }
        if job.cancelled.load(Ordering::Acquire) {
            break JobState::Cancelled;
        }
        let (stepping, cursor) = (Arc::clone(&kind), row.cursor.clone());
        let step = move || {
            let step = AssertUnwindSafe(|| stepping.step(&cursor));
            catch_unwind(step).unwrap_or_else(|_| Err(panicked()))
        };
        match engine.env.run_blocking(step).await {
            Ok(Step::More {
                cursor,
                done,
                total,
            }) => {
                row = JobRow {
                    cursor,
                    done,
                    total,
                    kind: row.kind,
                };
                job.note_progress(done, total);
                engine.put_row(rows::JOBS, job_key(id), Some(row.encode()));
                rest(&engine, kind.pause()).await;
            }
            Ok(Step::Done) => break JobState::Done,
            Err(StoreError::Closed) => return,
            Err(error) => break JobState::Failed(error.to_string()),
        }
    };
    engine.put_row(rows::JOBS, job_key(id), None);
    job.status.lock().state = state;
}

/// Sleeps, in short pieces so that a closing store does not wait for it.
async fn rest(engine: &Engine, pause: Duration) {
    let until = engine.env.monotonic() + pause;
    while !engine.stopping() {
        let left = until.saturating_sub(engine.env.monotonic());
        if left.is_zero() {
            return;
        }
        engine.env.sleep(left.min(Duration::from_millis(200))).await;
    }
}

fn panicked() -> StoreError {
    StoreError::Invalid {
        what: "a step of the job panicked; see the messages before".into(),
    }
}

fn job_key(id: JobId) -> [u8; 16] {
    let mut key = [0; 16];
    key[8..].copy_from_slice(&id.0.to_be_bytes());
    key
}

fn decode_key(key: &[u8]) -> Result<JobId> {
    let id = key.get(8..).and_then(|id| id.try_into().ok());
    id.map(|id| JobId(u64::from_be_bytes(id)))
        .ok_or_else(damaged)
}

fn damaged() -> StoreError {
    StoreError::Corrupt {
        what: "damaged row of a job".into(),
    }
}

/// A job's row: version, kind, cursor, done, total.
#[derive(Debug, Clone, PartialEq, Eq)]
struct JobRow {
    kind: String,
    cursor: Vec<u8>,
    done: u64,
    total: u64,
}

impl JobRow {
    fn encode(&self) -> Bytes {
        let mut out = Writer::new();
        out.u8(1).blob(self.kind.as_bytes()).blob(&self.cursor);
        out.varint(self.done).varint(self.total);
        Bytes::from(out.into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let mut read = || -> std::result::Result<Option<Self>, Truncated> {
            let version = reader.u8()?;
            let kind = String::from_utf8(reader.blob()?.to_vec()).map_err(|_| Truncated)?;
            let cursor = reader.blob()?.to_vec();
            let (done, total) = (reader.varint()?, reader.varint()?);
            Ok((version == 1).then_some(Self {
                kind,
                cursor,
                done,
                total,
            }))
        };
        read().ok().flatten().ok_or_else(damaged)
    }
}

#[cfg(test)]
mod tests;
