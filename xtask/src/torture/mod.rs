//! Samba's own conformance cases, against a ledger of what is expected of each.
//!
//! `tests/torture-ledger.tsv` holds a line for each case: its name, `pass` or `fail`, and for a failure the reason. A
//! pass that was not expected fails the run too, so that the ledger never lags behind. The run's results are written to
//! `target/torture.tsv`: suite, test, result, reason.
//!
//! Many cases give the server a second or five for what takes it a millisecond, and measure by their own clock. So what
//! surprised is run again at the end, alone, with nothing of the test beside it; what then ends as expected is told.

pub mod case;
pub mod ledger;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use self::case::{AVAILABLE_SHARE, Ending, Outcome, SECOND_USER};
use self::ledger::{Entry, Verdict};
use crate::server::{PASSWORD, Server, target_directory};

/// Which cases are run, and how long each may take.
#[derive(Debug, Clone)]
pub struct Plan {
    pub entries: Vec<Entry>,
    pub limit: Duration,
}

impl Plan {
    /// All cases that do not take long.
    pub fn quick() -> Result<Plan> {
        let mut entries = ledger::read()?;
        entries.retain(|entry| !entry.is_slow());
        let limit = Duration::from_secs(20);
        Ok(Plan { entries, limit })
    }

    /// The cases of these suites, or all of them.
    pub fn of(suites: &[String]) -> Result<Plan> {
        let mut entries = ledger::read()?;
        let known: BTreeSet<String> = entries.iter().map(|one| one.suite().to_owned()).collect();
        for suite in suites {
            ensure!(
                known.contains(suite),
                "there is no suite {suite} in the ledger; there are {}",
                Vec::from_iter(known).join(", ")
            );
        }
        let asked = |entry: &Entry| suites.iter().any(|suite| suite == entry.suite());
        entries.retain(|entry| suites.is_empty() || asked(entry));
        let limit = Duration::from_secs(150);
        Ok(Plan { entries, limit })
    }
}

/// `cargo xtask torture`: two servers of its own, the suites one by one on each.
pub fn command(suites: &[String]) -> Result<()> {
    let plan = Plan::of(suites)?;
    let place = target_directory().join("tests");
    std::fs::create_dir_all(&place)?;
    let place = tempfile::tempdir_in(place)?;
    let new = |name: &str| Server::create(&place.path().join(name), 1);
    let servers = [new("one")?, new("two")?];
    let ran = run(&servers, &plan);
    for server in servers {
        server.stop()?;
    }
    ran
}

/// A case and what came of it.
struct Ran<'a> {
    entry: &'a Entry,
    server: &'a Server,
    outcome: Outcome,
    /// It was run more than once.
    again: bool,
}

impl Ran<'_> {
    fn is_surprise(&self) -> bool {
        let passed = self.outcome.ending == Ending::Success;
        passed != (self.entry.expected == Verdict::Pass)
    }
}

/// Runs the plan's cases and compares. Every server takes a part of the suites, so that cases that meet in a directory
/// never run at the same time.
pub fn run(servers: &[Server], plan: &Plan) -> Result<()> {
    servers.iter().try_for_each(prepare)?;
    let mut all = run_beside(servers, plan)?;
    for ran in all.iter_mut().filter(|ran| ran.is_surprise()) {
        ran.outcome = case::run(ran.server, &ran.entry.case, plan.limit)?;
        ran.again = true;
    }
    let report = write_report(&mut all)?;
    judge(&all, &report)
}

/// What cases want beside a share and an account.
fn prepare(server: &Server) -> Result<()> {
    let words = ["user", "add", SECOND_USER, "--password-stdin"];
    server.admin_with_input(&words, PASSWORD)?;
    server.admin(&["share", "add", "hideunread", "--hide-unreadable"])?;
    let words = ["share", "add", AVAILABLE_SHARE, "--continuously-available"];
    server.admin(&words)?;
    Ok(())
}

/// All servers' parts at the same time.
fn run_beside<'a>(servers: &'a [Server], plan: &'a Plan) -> Result<Vec<Ran<'a>>> {
    let parts: Vec<Result<Vec<Ran<'_>>>> = thread::scope(|scope| {
        let part = |number: usize| {
            let entries = plan.entries.iter();
            let mine = move |entry: &&Entry| part_of(entry, servers.len()) == number;
            let server = &servers[number];
            scope.spawn(move || run_part(server, entries.filter(mine), plan.limit))
        };
        let threads: Vec<_> = (0..servers.len()).map(part).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
            .collect()
    });
    let mut all = Vec::new();
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}

/// Which server runs a case: the same one for all cases of a suite.
fn part_of(entry: &Entry, servers: usize) -> usize {
    entry.suite().bytes().map(usize::from).sum::<usize>() % servers
}

fn run_part<'a>(
    server: &'a Server,
    entries: impl Iterator<Item = &'a Entry>,
    limit: Duration,
) -> Result<Vec<Ran<'a>>> {
    let mut all = Vec::new();
    for entry in entries {
        let outcome = case::run(server, &entry.case, limit)?;
        all.push(Ran {
            entry,
            server,
            outcome,
            again: false,
        });
    }
    Ok(all)
}

/// Where the results are.
fn write_report(all: &mut [Ran<'_>]) -> Result<PathBuf> {
    all.sort_by(|a, b| a.entry.case.cmp(&b.entry.case));
    let mut report = "suite\ttest\tresult\treason\n".to_owned();
    for Ran { entry, outcome, .. } in all.iter() {
        let (suite, test) = (entry.suite(), entry.test());
        let (word, reason) = (outcome.ending.word(), outcome.reason());
        writeln!(report, "{suite}\t{test}\t{word}\t{reason}")?;
    }
    let path = target_directory().join("torture.tsv");
    std::fs::write(&path, report).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn judge(all: &[Ran<'_>], report: &Path) -> Result<()> {
    let passed = |ran: &&Ran<'_>| ran.outcome.ending == Ending::Success;
    let (count, passes) = (all.len(), all.iter().filter(passed).count());
    println!("{passes} of {count} cases pass; {}", report.display());
    let again = all.iter().filter(|ran| ran.again && !ran.is_surprise());
    for ran in again {
        println!(
            "{} ended as expected only when it ran alone",
            ran.entry.case
        );
    }
    let mut surprises = String::new();
    for Ran { entry, outcome, .. } in all.iter().filter(|ran| ran.is_surprise()) {
        let Entry {
            case,
            expected,
            reason,
        } = entry;
        let (ending, said) = (outcome.ending, &outcome.said);
        writeln!(
            surprises,
            "{case}: {ending:?}, expected {expected:?} {reason}\n{said}"
        )?;
    }
    ensure!(
        surprises.is_empty(),
        "surprises among {count} cases:\n{surprises}"
    );
    Ok(())
}
