//! The threads of one disk.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::Env;

/// Operations that the disk may work on at once; more wait their turn.
const THREADS_MAX: usize = 64;
/// A thread without work ends after this.
const IDLE: Duration = Duration::from_secs(10);
/// An answer that comes as fast is waited for without telling the runtime.
const SHORT: Duration = Duration::from_micros(200);
/// How many limits a disk has that works but does not get done.
const PATIENCE: u32 = 4;

type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Workers {
    name: String,
    limit: Duration,
    /// Moves while the disk gets work done, where that can be known.
    progress: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    queue: Mutex<Queue>,
    /// There is a job, or the disk hangs.
    work: Condvar,
    hung: AtomicBool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// What came of an operation.
pub(super) enum Outcome<T> {
    Answered(T),
    /// Nothing within the limit, now or earlier.
    Hung,
}

/// Where the answer to one operation comes.
struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

enum State<T> {
    Queued,
    Running {
        since: Instant,
    },
    /// The work panicked, or it is done.
    Done(std::thread::Result<T>),
    Taken,
}

impl Workers {
    pub(super) fn new(
        name: &str,
        limit: Duration,
        progress: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            limit,
            progress,
            queue: Mutex::default(),
            work: Condvar::new(),
            hung: AtomicBool::new(false),
        })
    }

    pub(super) fn is_hung(&self) -> bool {
        self.hung.load(Ordering::Acquire)
    }

    /// Has `work` done by one of the threads.
    pub(super) fn run<T: Send + 'static>(
        self: &Arc<Self>,
        env: &dyn Env,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Outcome<T> {
        let slot = Arc::new(Slot {
            state: Mutex::new(State::Queued),
            changed: Condvar::new(),
        });
        let filled = Arc::clone(&slot);
        let accepted = self.leave(Box::new(move || {
            filled.begin();
            filled.fill(catch_unwind(AssertUnwindSafe(work)));
        }));
        if !accepted {
            return Outcome::Hung;
        }
        if let Some(answer) = slot.wait(SHORT) {
            return Outcome::Answered(answer);
        }
        let mut outcome = Outcome::Hung;
        env.block_in_place(&mut || outcome = self.wait(&slot));
        outcome
    }

    /// Gives the threads work that nobody waits for. False when the disk hangs; what was to be done then never is, and what
    /// it holds is never let go, as that might hang as well.
    pub(super) fn leave(self: &Arc<Self>, job: Job) -> bool {
        let mut queue = self.queue.lock();
        if self.is_hung() {
            drop(queue);
            std::mem::forget(job);
            return false;
        }
        queue.jobs.push_back(job);
        // Who is woken is idle until it runs, so that counting jobs against idle threads never starts too few.
        let missing = queue.jobs.len() > queue.idle && queue.threads < THREADS_MAX;
        if missing {
            queue.threads += 1;
            let workers = Arc::clone(self);
            let named = std::thread::Builder::new().name("disk".into());
            if let Err(error) = named.spawn(move || workers.work()) {
                queue.threads -= 1;
                tracing::error!(device = self.name, %error, "no thread for the disk");
            }
        } else {
            self.work.notify_one();
        }
        true
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    /// The next job; None for a thread that is to end.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if self.is_hung() {
                break;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            queue.idle += 1;
            let waited = self.work.wait_for(&mut queue, IDLE);
            queue.idle -= 1;
            if waited.timed_out() && queue.jobs.is_empty() {
                break;
            }
        }
        queue.threads -= 1;
        None
    }

    /// Waits until the answer is there or the disk hangs.
    fn wait<T>(&self, slot: &Slot<T>) -> Outcome<T> {
        let mut watch = Watch::new(self);
        let asked = Instant::now();
        loop {
            if let Some(answer) = slot.wait(self.slice()) {
                return Outcome::Answered(answer);
            }
            let over = match slot.running_since() {
                Some(since) => watch.is_over(since),
                // Nobody may be waiting for what keeps all the threads.
                None => asked.elapsed() >= self.limit * PATIENCE,
            };
            if over {
                self.give_up();
            }
            if self.is_hung() {
                return Outcome::Hung;
            }
        }
    }

    /// How often a waiting caller looks at the clock.
    fn slice(&self) -> Duration {
        (self.limit / 8).clamp(Duration::from_millis(1), Duration::from_millis(500))
    }

    fn give_up(&self) {
        let mut queue = self.queue.lock();
        if !self.hung.swap(true, Ordering::AcqRel) {
            tracing::error!(device = self.name, limit = ?self.limit, "the disk hangs");
        }
        // Dropping what they hold might hang as well.
        std::mem::take(&mut queue.jobs)
            .into_iter()
            .for_each(std::mem::forget);
        self.work.notify_all();
    }
}

/// How long one operation may still run.
struct Watch<'a> {
    workers: &'a Workers,
    seen: Option<u64>,
    /// When the disk was last seen to have got something done.
    moved: Option<Instant>,
}

impl<'a> Watch<'a> {
    fn new(workers: &'a Workers) -> Self {
        Self {
            workers,
            seen: (workers.progress)(),
            moved: None,
        }
    }

    /// Whether an operation that runs since then has had its time.
    fn is_over(&mut self, since: Instant) -> bool {
        let now = Instant::now();
        let seen = (self.workers.progress)();
        if seen.is_some() && seen != self.seen {
            self.seen = seen;
            self.moved = Some(now);
        }
        let limit = self.workers.limit;
        let alive = self.moved.map_or(since, |moved| moved.max(since));
        now - alive >= limit || now - since >= limit * PATIENCE
    }
}

impl<T> Slot<T> {
    fn begin(&self) {
        *self.state.lock() = State::Running {
            since: Instant::now(),
        };
    }

    fn fill(&self, answer: std::thread::Result<T>) {
        *self.state.lock() = State::Done(answer);
        self.changed.notify_one();
    }

    fn running_since(&self) -> Option<Instant> {
        match &*self.state.lock() {
            State::Running { since } => Some(*since),
            State::Queued | State::Done(_) | State::Taken => None,
        }
    }

    /// The answer, if it comes in time. A panic of the work goes on here.
    fn wait(&self, time: Duration) -> Option<T> {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        loop {
            if matches!(*state, State::Done(_)) {
                let State::Done(answer) = std::mem::replace(&mut *state, State::Taken) else {
                    return None;
                };
                drop(state);
                return Some(answer.unwrap_or_else(|panic| resume_unwind(panic)));
            }
            if self.changed.wait_until(&mut state, until).timed_out()
                && !matches!(*state, State::Done(_))
            {
                return None;
            }
        }
    }
}
