//! One run: a machine is made, lives several lives under clients and faults, and is checked after each.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_device::Env as _;
use strongroom_device::sim::{Fault, Rng};
use strongroom_pool::Planted;
use strongroom_store::{HistoryOptions, Retention, StoreOptions};
use strongroom_vfs::{
    AccessMask, CaseMode, CreateOptions, Disposition, DosAttributes, OpenRequest, QuotaOf,
    ShareAccess, VfsError,
};

use crate::audit;
use crate::check::{self, Verdict};
use crate::client::{Client, Shared, Tolerance, admin, user};
use crate::machine::{Machine, Stack};
use crate::model::Model;
use crate::plan::{Budget, Canary, End, Life, Plan, Trouble};

/// Turns of tasks in one run; one that needs more has no end.
const TURNS_MAX: u64 = 3_000_000;
/// Virtual time in which the clients of one life must come to their end.
const LIFE_MAX: Duration = Duration::from_secs(4 * 3600);

/// How to run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// A bug to plant.
    pub canary: Option<Canary>,
    /// Operations of clients in all; None as many as the seed says.
    pub operations: Option<u64>,
}

/// A run without a fault of the program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Everything that happened, folded: equal for equal runs.
    pub trace: u64,
    /// Operations of clients.
    pub operations: u64,
    /// Virtual time that passed.
    pub time: Duration,
}

/// A run in which something was wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    pub seed: u64,
    pub what: String,
    /// Operations of clients until then.
    pub operations: u64,
    /// What happened, line by line.
    pub story: Vec<String>,
}

thread_local! {
    /// Where the last panic of this thread was, while it runs a seed.
    static PANICKED: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Runs a seed.
///
/// # Errors
/// What is wrong, with the story of the run.
pub fn run(seed: u64, options: &Options) -> Result<Report, Failure> {
    quiet_panics();
    let story = Arc::new(Mutex::new(Vec::new()));
    let left = Arc::new(AtomicU64::new(options.operations.unwrap_or(u64::MAX)));
    PANICKED.set(Some(None));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        Run::new(seed, options, Arc::clone(&story), Arc::clone(&left)).go()
    }));
    let place = PANICKED.take().flatten();
    let operations = options.operations.unwrap_or(u64::MAX) - left.load(Ordering::Acquire);
    let failed = |what| Failure {
        seed,
        what,
        operations,
        story: std::mem::take(&mut *story.lock()),
    };
    match outcome {
        Ok(Ok((trace, time))) => Ok(Report {
            trace,
            operations,
            time,
        }),
        Ok(Err(what)) => Err(failed(what)),
        Err(panic) => Err(failed(format!(
            "panic at {}: {}",
            place.unwrap_or_default(),
            message_of(&*panic)
        ))),
    }
}

/// Panics of runs are reported by [`run`]; all others as ever.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            let quiet = PANICKED.with_borrow_mut(|panicked| match panicked {
                Some(place) => {
                    place.get_or_insert(
                        info.location()
                            .map_or_else(String::new, |at| at.to_string()),
                    );
                    true
                }
                None => false,
            });
            if !quiet {
                before(info);
            }
        }));
    });
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".into())
}

struct Run {
    plan: Plan,
    machine: Machine,
    rng: Rng,
    story: Arc<Mutex<Vec<String>>>,
    left: Arc<AtomicU64>,
    model: Model,
    /// Damage to data that has one copy stays.
    budget: Budget,
    /// Something changed bytes behind everyone's back.
    silent: bool,
}

fn options_of(plan: &Plan, canary: Option<Canary>) -> StoreOptions {
    let mut options = StoreOptions {
        index_cache: 4 << 20,
        index_readers: 0,
        log_file: 1 << 20,
        log_files_max: 8,
        inline_max: plan.inline_max,
        history: plan.history.then_some(HistoryOptions {
            retention: Retention::window(Duration::from_secs(20)),
        }),
        ..StoreOptions::default()
    };
    if plan.tight {
        options.overlay_rows_max = 400;
        options.overlay_bytes_max = 1 << 20;
        options.dirty_bytes_max = 1 << 20;
        options.feed_rows_max = 100;
    }
    match canary {
        Some(Canary::SkipLogSync) => options.planted.skip_log_sync = true,
        Some(Canary::SkipSegmentSync) => options.planted.skip_segment_sync = true,
        Some(Canary::CutBelowWatermark) => options.planted.cut_below_watermark = true,
        Some(Canary::HalfGroup) => options.planted.half_group = true,
        Some(Canary::FreeEarly) => options.planted.free_early = true,
        Some(Canary::ForgetParity | Canary::TrustChecksums) | None => {}
    }
    options
}

impl Run {
    fn new(
        seed: u64,
        options: &Options,
        story: Arc<Mutex<Vec<String>>>,
        left: Arc<AtomicU64>,
    ) -> Self {
        let plan = Plan::of(seed);
        story.lock().push(format!("{plan:?}"));
        let mut machine = Machine::new(seed, &plan, options_of(&plan, options.canary));
        machine.planted = Planted {
            forget_parity: options.canary == Some(Canary::ForgetParity),
            trust_checksums: options.canary == Some(Canary::TrustChecksums),
            ..Planted::default()
        };
        machine.env.limit_turns(TURNS_MAX);
        Self {
            rng: machine.env.fork_rng(),
            plan,
            machine,
            story,
            left,
            model: Model::default(),
            budget: Budget::Whole,
            silent: false,
        }
    }

    fn tell(&self, line: String) {
        self.machine.env.trace(&line, &[]);
        let at = self.machine.env.monotonic().as_secs_f64();
        self.story.lock().push(format!("{at:>12.6} {line}"));
    }

    fn go(mut self) -> Result<(u64, Duration), String> {
        self.found()?;
        let lives = self.plan.lives.clone();
        for (number, life) in lives.iter().enumerate() {
            self.tell(format!("life {number}: {life:?}"));
            let Some(stack) = self.start(life)? else {
                return Ok(self.end());
            };
            self.live(stack, life)?;
            self.budget = self.budget.max(life.budget);
        }
        self.tell("the last look".into());
        let last = Life::quiet();
        if let Some(stack) = self.start(&last)? {
            // Long enough for what is lost or came back to be made good.
            self.machine.env.advance(Duration::from_secs(30));
            self.look(&stack)?;
            audit::space(&stack, self.budget, self.silent)?;
            // A single disk that was damaged may have lost what nothing can bring back.
            let whole = self.budget == Budget::Whole && !self.silent;
            if whole {
                audit::becomes_whole(&stack, &self.machine.env)?;
            }
            let closed = self.machine.env.block_on(stack.store.close());
            closed.map_err(|error| format!("cannot close: {error}"))?;
            drop(stack);
            self.machine.restart();
            if whole {
                audit::redundancy(&self.machine, &mut self.model)?;
            }
        }
        Ok(self.end())
    }

    fn end(&self) -> (u64, Duration) {
        let env = &self.machine.env;
        (env.trace_hash(), env.monotonic())
    }

    /// A new pool with a few directories, and quotas where there are some.
    fn found(&mut self) -> Result<(), String> {
        let stack = self.machine.create();
        let env = Arc::clone(&self.machine.env);
        let tree = env.block_on(found(&stack, self.plan.quotas))?;
        let found = env.block_on(check::read_back(&stack.vfs, &stack.share));
        let found = found.map_err(|error| error.to_string())?;
        self.model = found.into_model(stack.share.root.0);
        self.model.quotas = self.plan.quotas;
        if let Some(tree) = tree {
            self.model.change(tree, |node| node.tree = tree);
        }
        self.model.synced(self.model.names_now(), &[]);
        let closed = env.block_on(stack.store.close());
        closed.map_err(|error| error.to_string())?;
        self.machine.restart();
        Ok(())
    }

    /// Brings the machine up and checks what is there. None when no more can be said, within what was promised.
    fn start(&mut self, life: &Life) -> Result<Option<Stack>, String> {
        let offline = |trouble: &&Trouble| matches!(trouble, Trouble::Rot { .. } | Trouble::Absent);
        let offline: Vec<_> = life.troubles.iter().filter(offline).cloned().collect();
        self.machine
            .trouble(self.plan.victim, &offline, &mut self.rng);
        let rots = offline
            .iter()
            .any(|trouble| matches!(trouble, Trouble::Rot { .. }));
        self.silent |= rots;
        let mut budget = self.budget;
        if rots {
            budget = budget.max(life.budget.min(Budget::Data));
        }
        let env = Arc::clone(&self.machine.env);
        if let Some(after) = life.cut_recovery {
            env.cut_at_operation(env.operations() + after);
        }
        for attempt in 0..2 {
            let cuts = env.cuts();
            let opened = self.machine.open();
            let stack = match opened {
                Ok(stack) if env.cuts() == cuts => stack,
                _ if env.cuts() != cuts && attempt == 0 => {
                    self.tell("the power failed during recovery".into());
                    self.machine.restart();
                    continue;
                }
                Ok(_) => return Err("the power failed twice".into()),
                Err(_) if budget == Budget::Beyond => return Ok(None),
                Err(error) => return Err(format!("cannot open: {error}")),
            };
            // A cut that recovery did not come to has missed its time.
            env.cut_at_operation(u64::MAX);
            let verdict = env.block_on(check::compare(&stack, &mut self.model, budget))?;
            match verdict {
                Verdict::Sound => {}
                Verdict::Given => return Ok(None),
                Verdict::Damaged(_) if budget == Budget::Beyond => return Ok(None),
                Verdict::Damaged(paths) => {
                    self.tell(format!("damaged: {paths:?}"));
                    env.block_on(self.clear_away(&stack, &paths))?;
                }
            }
            if budget == Budget::Beyond {
                return Ok(None);
            }
            check::quotas(&stack, &self.model)?;
            return Ok(Some(stack));
        }
        Err("the power failed in every attempt".into())
    }

    /// Files and streams whose data is lost are deleted, as one does before they are brought back from elsewhere.
    async fn clear_away(&mut self, stack: &Stack, paths: &[String]) -> Result<(), String> {
        for path in paths {
            let cleared = match path.split_once(':') {
                Some((file, stream)) => self.clear_stream(stack, file, stream).await,
                None => self.clear_file(stack, path).await,
            };
            cleared.map_err(|error| format!("cannot delete {path}, which is damaged: {error}"))?;
        }
        self.model.changed();
        let synced = stack.store.sync_all().await;
        synced.map_err(|error| format!("cannot sync: {error}"))?;
        let names = self.model.names_now();
        self.model.synced(names, &[]);
        Ok(())
    }

    /// The file that has a path by the model.
    fn id_of(&self, path: &str) -> Option<u64> {
        let names = &self.model.names;
        let mut nodes = names.nodes.keys();
        nodes.find(|id| names.path_of(**id) == path).copied()
    }

    async fn clear_file(&mut self, stack: &Stack, path: &str) -> Result<(), VfsError> {
        let Some(id) = self.id_of(path) else {
            return Ok(());
        };
        let node = self.model.node(id).clone();
        for (directory, name) in &node.names {
            let above = self.model.names.path_of(*directory);
            let handle = open_for(stack, &above, AccessMask::READ_ATTRIBUTES).await?;
            let who = admin();
            let removed = stack.vfs.unlink(&who, &handle, name, CaseMode::Exact);
            removed.await?;
            self.model.drop_name(id, &(*directory, name.clone()));
        }
        Ok(())
    }

    async fn clear_stream(
        &mut self,
        stack: &Stack,
        file: &str,
        name: &str,
    ) -> Result<(), VfsError> {
        let path = format!("{file}:{name}");
        let Some(id) = self.id_of(file) else {
            return Ok(());
        };
        self.clear_read_only(stack, file, id).await?;
        let handle = open_for(stack, &path, AccessMask::DELETE).await?;
        stack.vfs.set_delete(&handle, true).await?;
        stack.vfs.close(&handle).await?;
        self.model
            .change(id, |node| node.streams.retain(|_, (held, _)| held != name));
        Ok(())
    }

    /// Nothing of a read-only file can be deleted.
    async fn clear_read_only(
        &mut self,
        stack: &Stack,
        file: &str,
        id: u64,
    ) -> Result<(), VfsError> {
        let attributes = self.model.node(id).attributes;
        if attributes & DosAttributes::READ_ONLY.0 == 0 {
            return Ok(());
        }
        let left = attributes & !DosAttributes::READ_ONLY.0;
        let shown = if left == 0 {
            DosAttributes::NORMAL.0
        } else {
            left
        };
        let handle = open_for(stack, file, AccessMask::WRITE_ATTRIBUTES).await?;
        stack
            .vfs
            .set_attributes(&handle, DosAttributes(shown))
            .await?;
        stack.vfs.close(&handle).await?;
        self.model.change(id, |node| node.attributes = left);
        Ok(())
    }

    /// The file system, while it runs and nobody changes it.
    fn look(&mut self, stack: &Stack) -> Result<(), String> {
        let env = Arc::clone(&self.machine.env);
        let budget = self.budget.min(Budget::Data);
        let verdict = env.block_on(check::compare(stack, &mut self.model, budget))?;
        match verdict {
            Verdict::Sound | Verdict::Given => Ok(()),
            Verdict::Damaged(paths) => Err(format!("damaged while it ran: {paths:?}")),
        }
    }

    fn tolerance(&self, life: &Life) -> Tolerance {
        let mut tolerance = Tolerance {
            damage: self.budget.max(life.budget) > Budget::Whole,
            ..Tolerance::default()
        };
        for trouble in &life.troubles {
            match trouble {
                Trouble::Full { .. } => tolerance.no_space = true,
                Trouble::Inject { fault, .. } => {
                    let fails = matches!(fault, Fault::Io | Fault::Hang(_));
                    tolerance.failing |= fails && self.plan.layout.parity == 0;
                }
                Trouble::Lying | Trouble::Absent | Trouble::Rot { .. } => {}
            }
        }
        tolerance
    }

    /// Lets the clients work until the life ends as it is to end.
    fn live(&mut self, stack: Stack, life: &Life) -> Result<(), String> {
        let online = |trouble: &&Trouble| !matches!(trouble, Trouble::Rot { .. } | Trouble::Absent);
        let online: Vec<_> = life.troubles.iter().filter(online).cloned().collect();
        self.machine
            .trouble(self.plan.victim, &online, &mut self.rng);
        self.silent |= online.iter().any(is_silent);
        let env = Arc::clone(&self.machine.env);
        match life.end {
            End::CutAtSync(number, moment) => env.cut_at_sync(env.syncs() + number, moment),
            End::CutAtOperation(number) => env.cut_at_operation(env.operations() + number),
            End::Close | End::Kill | End::Cut => {}
        }
        self.model.keeps_all = life.budget == Budget::Beyond;
        let shared = self.share(&stack, life);
        for number in 0..self.plan.clients {
            let client = Client::new(number, env.fork_rng(), &shared);
            env.spawn(
                "client",
                Box::pin(client.run(self.plan.steps, life.leaves_open)),
            );
        }
        let stuck = env.block_on(until_over(&shared));
        let wrong = shared.wrong.lock().take();
        if let Some(wrong) = wrong.or(stuck) {
            return Err(wrong);
        }
        // The longest is enough for a disk that was set aside to come back.
        let linger = [0, 5, 1500, 4000, 25_000][self.rng.below(5)];
        env.advance(Duration::from_millis(linger));
        self.finish(stack, life, &shared);
        self.machine.restart();
        shared.dangling.lock().clear();
        self.machine.relieve();
        let wrong = shared.wrong.lock().take();
        self.model = std::mem::take(&mut *shared.model.lock());
        wrong.map_or(Ok(()), Err)
    }

    fn share(&mut self, stack: &Stack, life: &Life) -> Arc<Shared> {
        Arc::new(Shared {
            env: Arc::clone(&self.machine.env),
            vfs: Arc::clone(&stack.vfs),
            share: Arc::clone(&stack.share),
            model: Mutex::new(std::mem::take(&mut self.model)),
            story: Arc::clone(&self.story),
            wrong: Mutex::default(),
            left: Arc::clone(&self.left),
            tolerance: self.tolerance(life),
            cuts: self.machine.env.cuts(),
            running: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            dangling: Mutex::default(),
        })
    }

    /// Ends a life: by the power, by a kill, or in order.
    fn finish(&mut self, stack: Stack, life: &Life, shared: &Shared) {
        let env = Arc::clone(&self.machine.env);
        if shared.power_is_off() {
            self.tell("the power is off".into());
        } else {
            match life.end {
                End::Kill => self.tell("killed".into()),
                End::Close => {
                    let closed = env.block_on(stack.store.close());
                    let mut model = shared.model.lock();
                    let (names, data) = (model.names_now(), model.data.versions());
                    match closed {
                        Ok(()) => {
                            model.synced(names, &data);
                        }
                        Err(error) => {
                            let Tolerance {
                                no_space, failing, ..
                            } = shared.tolerance;
                            if !no_space && !failing {
                                shared.accuse(format!("cannot close: {error}"));
                            }
                        }
                    }
                    self.tell("closed".into());
                }
                End::Cut | End::CutAtSync(..) | End::CutAtOperation(_) => {
                    env.cut_power();
                    self.tell("the power is cut".into());
                }
            }
        }
        if shared.tolerance.failing && !shared.power_is_off() {
            // A disk that failed is seen to with the machine off.
            env.cut_power();
        }
        drop(stack);
    }
}

impl Life {
    /// Nothing happens in it.
    fn quiet() -> Self {
        Self {
            end: End::Close,
            troubles: Vec::new(),
            cut_recovery: None,
            budget: Budget::Whole,
            leaves_open: false,
        }
    }
}

/// Whether a trouble leaves a disk with other bytes than it was given, without a word.
fn is_silent(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Lying => true,
        Trouble::Inject { fault, .. } => matches!(fault, Fault::Lost | Fault::Misdirected),
        Trouble::Full { .. } | Trouble::Absent | Trouble::Rot { .. } => false,
    }
}

impl Drop for Run {
    /// Tasks hold the world that holds them.
    fn drop(&mut self) {
        self.machine.env.kill_tasks();
    }
}

/// Waits until all clients are done or the power is off; says so if that never comes.
async fn until_over(shared: &Shared) -> Option<String> {
    let begun = shared.env.monotonic();
    loop {
        let done = shared.running.load(Ordering::Acquire) == 0;
        if done || shared.power_is_off() || shared.stop.load(Ordering::Acquire) {
            return None;
        }
        if shared.env.monotonic() > begun + LIFE_MAX {
            return Some("clients do not come to their end".into());
        }
        shared.env.sleep(Duration::from_millis(20)).await;
    }
}

/// Opens something that is there, whatever its list says.
async fn open_for(
    stack: &Stack,
    path: &str,
    access: AccessMask,
) -> Result<Arc<strongroom_vfs::Handle>, VfsError> {
    let request = OpenRequest {
        path,
        access,
        options: CreateOptions {
            open_reparse_point: true,
            backup_intent: true,
            ..CreateOptions::default()
        },
        ..OpenRequest::new(&stack.share, "")
    };
    Ok(stack.vfs.open(&admin(), request).await?.0)
}

/// Makes the directories that clients begin with; returns the one that is a quota's.
async fn found(stack: &Stack, quotas: bool) -> Result<Option<u64>, String> {
    let fail = |error: strongroom_vfs::VfsError| error.to_string();
    let mut tree = None;
    for path in ["sub", "sub\\sub", "eta"] {
        let request = OpenRequest {
            path,
            access: AccessMask::FILE_READ,
            share_access: ShareAccess::ALL,
            disposition: Disposition::Create,
            options: CreateOptions {
                directory: true,
                ..CreateOptions::default()
            },
            ..OpenRequest::new(&stack.share, "")
        };
        let opened = stack.vfs.open(&user(1000), request).await;
        let (handle, _) = opened.map_err(fail)?;
        tree = Some(handle.inode());
        stack.vfs.close(&handle).await.map_err(fail)?;
    }
    let Some(tree) = tree.filter(|_| quotas) else {
        return Ok(None);
    };
    let user = QuotaOf::User(user(1001).user);
    stack.vfs.set_quota(user, Some(8 << 20)).map_err(fail)?;
    let set = stack.vfs.set_quota(QuotaOf::Tree(tree), Some(2 << 20));
    set.map_err(fail)?;
    Ok(Some(tree.0))
}
