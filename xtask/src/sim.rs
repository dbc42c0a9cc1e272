//! `cargo xtask sim`: seeds of the simulator, side by side, and how to replay the one that fails.

use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use strongroom_sim::{Canary, Failure, Options, Report, run, shrink};

/// How long a failing seed is tried again with fewer operations.
const SHRINK_MAX: Duration = Duration::from_secs(20);
/// Lines of a failing run that are shown.
const LINES_SHOWN: usize = 40;

/// `A..B`, or one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    pub from: u64,
    pub to: u64,
}

impl FromStr for Seeds {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| text.parse().with_context(|| format!("{text}: not a seed"));
        let seeds = match text.split_once("..") {
            Some((from, to)) => Self {
                from: number(from)?,
                to: number(to)?,
            },
            None => {
                let from = number(text)?;
                Self { from, to: from + 1 }
            }
        };
        anyhow::ensure!(seeds.from < seeds.to, "no seeds in {text}");
        Ok(seeds)
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seeds: Seeds,
    /// Ends after this long, however many seeds are left.
    pub limit: Option<Duration>,
    pub operations: Option<u64>,
    pub canary: Option<String>,
    /// Shows the whole story of each run.
    pub verbose: bool,
    pub threads: usize,
}

/// Runs the seeds; an error names the first that failed and the command that replays it.
pub fn sim(plan: &Plan) -> Result<()> {
    let canary = plan.canary.as_deref().map(canary).transpose()?;
    let options = Options {
        canary,
        operations: plan.operations,
    };
    let begun = Instant::now();
    let (next, failed) = (AtomicU64::new(plan.seeds.from), AtomicBool::new(false));
    let outcome = Mutex::new(Outcome::default());
    let over = || {
        failed.load(Ordering::Acquire) || plan.limit.is_some_and(|limit| begun.elapsed() > limit)
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(|| {
                while !over() {
                    let seed = next.fetch_add(1, Ordering::AcqRel);
                    if seed >= plan.seeds.to {
                        return;
                    }
                    let result = run(seed, &options);
                    failed.fetch_or(result.is_err(), Ordering::AcqRel);
                    let mut outcome = outcome.lock().unwrap_or_else(|held| held.into_inner());
                    outcome.add(seed, result, plan.seeds);
                }
            });
        }
    });
    let outcome = outcome
        .into_inner()
        .unwrap_or_else(|held| held.into_inner());
    let took = begun.elapsed().as_secs_f64();
    let Outcome {
        seeds,
        operations,
        time,
        failure,
    } = outcome;
    println!(
        "{seeds} seeds, {operations} operations, {:.0} s of virtual time in {took:.0} s",
        time.as_secs_f64()
    );
    match failure {
        None => Ok(()),
        Some(failure) => report(plan, &options, failure),
    }
}

#[derive(Debug, Default)]
struct Outcome {
    seeds: u64,
    operations: u64,
    time: Duration,
    /// The one with the lowest seed.
    failure: Option<Failure>,
}

impl Outcome {
    fn add(&mut self, seed: u64, result: Result<Report, Failure>, seeds: Seeds) {
        self.seeds += 1;
        match result {
            Ok(report) => {
                self.operations += report.operations;
                self.time += report.time;
                if seeds.to - seeds.from <= 10 {
                    println!("seed {seed}: trace {:016x}", report.trace);
                }
            }
            Err(failure) => {
                let lower = self
                    .failure
                    .as_ref()
                    .is_none_or(|held| failure.seed < held.seed);
                if lower {
                    self.failure = Some(failure);
                }
            }
        }
    }
}

fn canary(name: &str) -> Result<Canary> {
    let known: Vec<_> = Canary::ALL.iter().map(|canary| canary.name()).collect();
    Canary::named(name).with_context(|| format!("no canary {name}; there are {known:?}"))
}

fn report(plan: &Plan, options: &Options, failure: Failure) -> Result<()> {
    let failure = if plan.verbose {
        failure
    } else {
        shrink(failure, options, SHRINK_MAX)
    };
    let shown = if plan.verbose {
        failure.story.len()
    } else {
        LINES_SHOWN
    };
    let from = failure.story.len().saturating_sub(shown);
    for line in failure.story.get(from..).unwrap_or_default() {
        println!("{line}");
    }
    let mut command = format!(
        "cargo xtask sim --seeds {} --operations {}",
        failure.seed, failure.operations
    );
    if let Some(canary) = options.canary {
        command.push_str(&format!(" --canary {}", canary.name()));
    }
    println!("\nreplay, with the whole story: {command} --verbose");
    bail!("seed {}: {}", failure.seed, failure.what)
}
