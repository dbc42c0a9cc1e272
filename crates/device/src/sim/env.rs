//! The simulated world: one thread, virtual time, seeded choices, one power supply.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::rng::{Rng, fold};
use crate::{BoxFuture, Env, Timestamp};

/// 2026-01-01T00:00:00Z, where virtual time begins.
const BEGINNING_NS: u64 = 1_767_225_600_000_000_000;

/// The future given to [`SimEnv::block_on`] is a task like the others.
const MAIN: u64 = 0;

/// When a planned power cut comes, seen from the sync it was planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing that this sync was to make durable survives.
    Before,
    /// Parts of it survive.
    During,
    /// All of it survives, though the caller never learns of it.
    After,
}

/// A deterministic world. Made as an `Arc`, and handed to what is tested as its `Env`.
pub struct SimEnv {
    this: Weak<SimEnv>,
    world: Mutex<World>,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

struct World {
    rng: Rng,
    trace: u64,
    now: Duration,
    /// How far the clock on the wall is ahead of the time that passed.
    ahead: Duration,
    next_task: u64,
    next_timer: u64,
    tasks: BTreeMap<u64, BoxFuture<()>>,
    timers: BTreeMap<(Duration, u64), Waker>,
    power: Power,
    /// Turns of tasks that are left; None is without end.
    turns: Option<u64>,
}

/// What all devices of the machine share.
#[derive(Debug, Default)]
struct Power {
    /// Counts cuts; a device of an earlier life is dead.
    life: u64,
    syncs: u64,
    cut_at: Option<(u64, Moment)>,
    skip: Option<u64>,
    /// Operations of all devices.
    operations: u64,
    cut_at_operation: Option<u64>,
}

impl fmt::Debug for SimEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimEnv")
    }
}

struct TaskWaker {
    task: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().insert(self.task);
    }
}

impl SimEnv {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            world: Mutex::new(World {
                rng: Rng::new(seed),
                trace: seed,
                now: Duration::ZERO,
                ahead: Duration::ZERO,
                next_task: MAIN + 1,
                next_timer: 0,
                tasks: BTreeMap::new(),
                timers: BTreeMap::new(),
                power: Power::default(),
                turns: None,
            }),
            ready: Arc::default(),
        })
    }

    /// Runs until `future` is done; time jumps to the next timer whenever nothing else can run.
    ///
    /// # Panics
    /// When neither a task nor a timer could ever finish it.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        self.ready.lock().insert(MAIN);
        loop {
            match self.next_ready() {
                Some(MAIN) => {
                    let poll = future
                        .as_mut()
                        .poll(&mut Context::from_waker(&self.waker(MAIN)));
                    if let Poll::Ready(value) = poll {
                        return value;
                    }
                }
                Some(task) => self.run_task(task),
                None => assert!(
                    self.next_timer(None),
                    "deadlock: nothing can wake the future"
                ),
            }
        }
    }

    /// Runs tasks until all of them wait; time stands still.
    pub fn run_until_idle(&self) {
        while let Some(task) = self.next_ready() {
            self.run_task(task);
        }
    }

    /// Lets `duration` pass, with everything that happens in it.
    pub fn advance(&self, duration: Duration) {
        let until = self.world.lock().now + duration;
        self.run_until_idle();
        while self.next_timer(Some(until)) {
            self.run_until_idle();
        }
        // A slow disk may have taken more than that.
        let mut world = self.world.lock();
        world.now = world.now.max(until);
    }

    /// Sets the clock on the wall forward; no time passes.
    pub fn move_clock(&self, ahead: Duration) {
        self.world.lock().ahead += ahead;
    }

    /// Drops all tasks and timers where they stand, as the death of the process does.
    pub fn kill_tasks(&self) {
        let (tasks, timers) = {
            let mut world = self.world.lock();
            (
                std::mem::take(&mut world.tasks),
                std::mem::take(&mut world.timers),
            )
        };
        // Destructors may call back into this world.
        drop(tasks);
        drop(timers);
        self.ready.lock().clear();
    }

    /// Adds an event to the trace.
    pub fn trace(&self, event: &str, words: &[u64]) {
        let mut world = self.world.lock();
        let mut trace = fold(world.trace, event.as_bytes());
        for word in words {
            trace = fold(trace, &word.to_le_bytes());
        }
        world.trace = trace;
    }

    /// Everything that happened so far, folded.
    pub fn trace_hash(&self) -> u64 {
        self.world.lock().trace
    }

    /// A generator whose choices follow from the seed and from what happened so far.
    pub fn fork_rng(&self) -> Rng {
        Rng::new(self.world.lock().rng.next_u64())
    }

    /// Sync points (file or directory, on any device) passed so far.
    pub fn syncs(&self) -> u64 {
        self.world.lock().power.syncs
    }

    /// Plans a power cut at the sync point with this number, counted from 0.
    pub fn cut_at_sync(&self, number: u64, moment: Moment) {
        self.world.lock().power.cut_at = Some((number, moment));
    }

    /// Operations on any device so far.
    pub fn operations(&self) -> u64 {
        self.world.lock().power.operations
    }

    /// Plans a power cut at the device operation with this number, counted from 0: it fails, and so does all after it.
    pub fn cut_at_operation(&self, number: u64) {
        self.world.lock().power.cut_at_operation = Some(number);
    }

    /// Whether the power went since a device was made or reopened.
    pub fn cuts(&self) -> u64 {
        self.life()
    }

    /// Lets tasks have this many turns from here on, so that one that never rests is found.
    ///
    /// # Panics
    /// [`SimEnv::block_on`], [`SimEnv::advance`] and [`SimEnv::run_until_idle`] do, once they are used up.
    pub fn limit_turns(&self, turns: u64) {
        self.world.lock().turns = Some(turns);
    }

    /// Time that a device takes while all else waits.
    pub(super) fn pass(&self, duration: Duration) {
        self.world.lock().now += duration;
    }

    /// Counts an operation of a device; true if the power goes off at it.
    pub(super) fn pass_operation(&self) -> bool {
        let power = &mut self.world.lock().power;
        let number = power.operations;
        power.operations += 1;
        power.cut_at_operation == Some(number)
    }

    /// Plants a bug: the sync with this number, counted from 0, reports success and does nothing.
    pub fn skip_sync(&self, number: u64) {
        self.world.lock().power.skip = Some(number);
    }

    /// Cuts the power: every device fails from here on; see [`super::SimDevice::reopen`].
    pub fn cut_power(&self) {
        let mut world = self.world.lock();
        world.power.life += 1;
        world.power.cut_at = None;
        world.power.cut_at_operation = None;
    }

    pub(super) fn life(&self) -> u64 {
        self.world.lock().power.life
    }

    /// Counts a sync point and tells what becomes of it.
    pub(super) fn pass_sync(&self) -> SyncFate {
        let power = &mut self.world.lock().power;
        let number = power.syncs;
        power.syncs += 1;
        if power.skip == Some(number) {
            return SyncFate::Skipped;
        }
        match power.cut_at {
            Some((at, moment)) if at == number => SyncFate::Cut(moment),
            Some(_) | None => SyncFate::Done,
        }
    }

    fn waker(&self, task: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker {
            task,
            ready: Arc::clone(&self.ready),
        }))
    }

    /// One of those ready, as the seed chooses.
    fn next_ready(&self) -> Option<u64> {
        let mut world = self.world.lock();
        let mut ready = self.ready.lock();
        if ready.is_empty() {
            return None;
        }
        if let Some(turns) = &mut world.turns {
            assert!(*turns > 0, "no end: the tasks have used up their turns");
            *turns -= 1;
        }
        let index = world.rng.below(ready.len());
        let task = ready.iter().nth(index).copied()?;
        ready.remove(&task);
        world.trace = fold(world.trace, &task.to_le_bytes());
        Some(task)
    }

    fn run_task(&self, task: u64) {
        let Some(mut future) = self.world.lock().tasks.remove(&task) else {
            return;
        };
        let poll = future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker(task)));
        if poll.is_pending() {
            self.world.lock().tasks.insert(task, future);
        }
    }

    /// Moves time to the next timer, if it is not after `until`, and wakes it.
    fn next_timer(&self, until: Option<Duration>) -> bool {
        let waker = {
            let mut world = self.world.lock();
            let Some(entry) = world.timers.first_entry() else {
                return false;
            };
            let at = entry.key().0;
            if until.is_some_and(|until| at > until) {
                return false;
            }
            let waker = entry.remove();
            world.now = world.now.max(at);
            waker
        };
        waker.wake();
        true
    }
}

/// What becomes of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SyncFate {
    Done,
    Skipped,
    Cut(Moment),
}

impl Env for SimEnv {
    fn now(&self) -> Timestamp {
        let clock = {
            let world = self.world.lock();
            world.now + world.ahead
        };
        let since = u64::try_from(clock.as_nanos()).unwrap_or(u64::MAX);
        Timestamp(BEGINNING_NS.saturating_add(since))
    }

    fn monotonic(&self) -> Duration {
        self.world.lock().now
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        self.world.lock().rng.fill(buffer);
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<()>) {
        self.trace(name, &[]);
        let mut world = self.world.lock();
        let id = world.next_task;
        world.next_task += 1;
        world.tasks.insert(id, task);
        self.ready.lock().insert(id);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        let at = self.world.lock().now + duration;
        let sleep = Sleep {
            env: self.this.clone(),
            at,
        };
        Box::pin(sleep)
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()> {
        let done = Arc::new(Mutex::new(Done::default()));
        let finished = Arc::clone(&done);
        self.spawn(
            "unblock",
            Box::pin(async move {
                work();
                let waker = {
                    let mut done = finished.lock();
                    done.finished = true;
                    done.waker.take()
                };
                if let Some(waker) = waker {
                    waker.wake();
                }
            }),
        );
        Box::pin(WaitFor { done })
    }

    fn pause(&self, duration: Duration) {
        self.pass(duration);
    }

    fn block_in_place(&self, work: &mut dyn FnMut()) {
        work();
    }
}

struct Sleep {
    env: Weak<SimEnv>,
    at: Duration,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(env) = self.env.upgrade() else {
            return Poll::Pending;
        };
        let mut world = env.world.lock();
        if world.now >= self.at {
            return Poll::Ready(());
        }
        let timer = world.next_timer;
        world.next_timer += 1;
        world
            .timers
            .insert((self.at, timer), context.waker().clone());
        Poll::Pending
    }
}

#[derive(Default)]
struct Done {
    finished: bool,
    waker: Option<Waker>,
}

struct WaitFor {
    done: Arc<Mutex<Done>>,
}

impl Future for WaitFor {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut done = self.done.lock();
        if done.finished {
            return Poll::Ready(());
        }
        done.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
