//! A client: one task that does one random operation after another.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_device::Env as _;
use strongroom_device::sim::{Rng, SimEnv};
use strongroom_vfs::{Credentials, Handle, SessionId, Share, Sid, Vfs, VfsError};

use crate::model::{Model, Why};
use crate::ops;

/// What all clients of one life of the machine share.
pub(crate) struct Shared {
    pub(crate) env: Arc<SimEnv>,
    pub(crate) vfs: Arc<Vfs>,
    pub(crate) share: Arc<Share>,
    pub(crate) model: Mutex<Model>,
    /// What happened so far, for people.
    pub(crate) story: Arc<Mutex<Vec<String>>>,
    /// The first thing that was wrong.
    pub(crate) wrong: Mutex<Option<String>>,
    /// Operations that clients may still begin, over all lives.
    pub(crate) left: Arc<AtomicU64>,
    pub(crate) tolerance: Tolerance,
    /// Power cuts when this life began.
    pub(crate) cuts: u64,
    pub(crate) running: AtomicU64,
    pub(crate) stop: AtomicBool,
    /// Handles that nobody closed.
    pub(crate) dangling: Mutex<Vec<Arc<Handle>>>,
}

/// Errors that are no fault of the file system's in this life.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tolerance {
    pub(crate) no_space: bool,
    /// The store may stop writing, or a disk may not answer.
    pub(crate) failing: bool,
    pub(crate) damage: bool,
}

/// One open of a client.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) handle: Arc<Handle>,
    pub(crate) write_through: bool,
}

impl Held {
    pub(crate) fn key(&self) -> u64 {
        self.handle.id().0
    }
}

pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) who: Credentials,
    pub(crate) rng: Rng,
    pub(crate) held: Vec<Held>,
    pub(crate) shared: Arc<Shared>,
}

impl Shared {
    pub(crate) fn power_is_off(&self) -> bool {
        self.env.cuts() != self.cuts
    }

    pub(crate) fn tell(&self, line: String) {
        self.env.trace(&line, &[]);
        let at = self.env.monotonic();
        self.story
            .lock()
            .push(format!("{:>12.6} {line}", at.as_secs_f64()));
    }

    pub(crate) fn accuse(&self, wrong: String) {
        self.tell(format!("WRONG: {wrong}"));
        self.wrong.lock().get_or_insert(wrong);
        self.stop.store(true, Ordering::Release);
    }

    /// Compares what came of an operation with why the model says that it must fail. True if it took effect.
    ///
    /// One that waited on its way may have asked its questions at another time, so of such only effects count.
    pub(crate) fn judge<T>(
        &self,
        what: &str,
        why: &[Why],
        turns: u32,
        result: &Result<T, VfsError>,
    ) -> bool {
        let error = match result {
            Ok(_) => {
                self.tell(format!("{what}: done"));
                if !why.is_empty() && turns == 1 {
                    self.accuse(format!("{what} was done, though it had to fail: {why:?}"));
                }
                return true;
            }
            Err(error) => error,
        };
        let name = name_of(error);
        self.tell(format!("{what}: {error}"));
        let known = why.iter().any(|why| *why == name);
        if !known && turns == 1 && !self.tolerates(&name) {
            self.accuse(format!("{what} failed with {error:?}; expected {why:?}"));
        }
        false
    }

    pub(crate) fn tolerates(&self, name: &str) -> bool {
        let Tolerance {
            no_space,
            failing,
            damage,
        } = self.tolerance;
        self.power_is_off()
            || match name {
                "NoSpace" => no_space,
                "QuotaExceeded" => self.model.lock().quotas,
                "Offline" | "Io" => failing,
                "Corrupt" => damage,
                _ => false,
            }
    }
}

/// The name of an error, as [`Why`] has it.
pub(crate) fn name_of(error: &VfsError) -> String {
    let debug = format!("{error:?}");
    debug.chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// Waits for an operation and counts the turns that it took.
pub(crate) async fn counted<T>(work: impl Future<Output = T>) -> (T, u32) {
    let mut work = pin!(work);
    let mut turns = 0;
    poll_fn(|context| {
        turns += 1;
        match work.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready((value, turns)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Waits for `work` or until `limit` has passed; None if it was the latter.
pub(crate) async fn limited<T>(
    env: &SimEnv,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    let mut limit = env.sleep(limit);
    poll_fn(|context| {
        if let Poll::Ready(value) = work.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        limit.as_mut().poll(context).map(|()| None)
    })
    .await
}

pub(crate) fn user(rid: u32) -> Credentials {
    let domain = Sid::machine([1, 2, 3]);
    Credentials {
        user: domain.with_rid(rid).unwrap(),
        primary_group: domain.with_rid(513).unwrap(),
        groups: vec![
            domain.with_rid(513).unwrap(),
            Sid::EVERYONE,
            Sid::AUTHENTICATED_USERS,
            Sid::USERS,
        ],
        admin: false,
        session: SessionId(u64::from(rid)),
    }
}

pub(crate) fn admin() -> Credentials {
    let mut admin = user(500);
    admin.groups.push(Sid::ADMINISTRATORS);
    admin.admin = true;
    admin
}

impl Client {
    pub(crate) fn new(number: usize, rng: Rng, shared: &Arc<Shared>) -> Self {
        shared.running.fetch_add(1, Ordering::AcqRel);
        Self {
            number,
            who: user(1000 + number as u32),
            rng,
            held: Vec::new(),
            shared: Arc::clone(shared),
        }
    }

    /// Does `steps` operations, or fewer if the power goes.
    pub(crate) async fn run(mut self, steps: usize, leaves_open: bool) {
        for _ in 0..steps {
            let left = self.shared.left.load(Ordering::Acquire);
            if self.over() || left == 0 {
                break;
            }
            self.shared.left.store(left - 1, Ordering::Release);
            ops::step(&mut self).await;
            self.think().await;
        }
        while !leaves_open && !self.over() && !self.held.is_empty() {
            ops::close(&mut self, 0).await;
        }
        let left = self.held.drain(..).map(|held| held.handle);
        self.shared.dangling.lock().extend(left);
        self.shared.running.fetch_sub(1, Ordering::AcqRel);
    }

    fn over(&self) -> bool {
        self.shared.power_is_off() || self.shared.stop.load(Ordering::Acquire)
    }

    async fn think(&mut self) {
        let micros = [1, 1, 1, 300, 20_000, 700_000][self.rng.below(6)];
        self.shared.env.sleep(Duration::from_micros(micros)).await;
    }

    /// The start of each line about this client.
    pub(crate) fn says(&self, what: &str) -> String {
        format!("client {}: {what}", self.number)
    }
}
