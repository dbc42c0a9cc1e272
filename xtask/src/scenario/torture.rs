//! Samba's own conformance cases, against a ledger of what is expected of each.
//!
//! `xtask/smbtorture.tsv` holds a line for each case: its name, `pass` or `fail`, and for a failure the reason and what
//! will bring it. A pass that was not expected fails the run too, so that the ledger never lags behind.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process::Guarded;
use crate::samba::tool;
use crate::server::{PASSWORD, SHARE, Server, USER};

const LEDGER: &str = include_str!("../../smbtorture.tsv");

/// What a case did, or is expected to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
}

/// One line of the ledger.
#[derive(Debug, Clone)]
pub struct Entry {
    pub case: String,
    pub expected: Verdict,
    pub reason: String,
}

/// The ledger, checked: every failure has its reason, no case stands there twice.
pub fn ledger() -> Result<Vec<Entry>> {
    let lines = LEDGER
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let entries: Vec<Entry> = lines.map(parse).collect::<Result<_>>()?;
    let mut cases: Vec<&str> = entries.iter().map(|entry| entry.case.as_str()).collect();
    cases.sort_unstable();
    if let Some(pair) = cases.windows(2).find(|pair| pair[0] == pair[1]) {
        anyhow::bail!("{} stands twice in the ledger", pair[0]);
    }
    Ok(entries)
}

fn parse(line: &str) -> Result<Entry> {
    let mut fields = line.split('\t');
    let case = fields.next().unwrap_or_default().to_owned();
    let expected = match fields.next() {
        Some("pass") => Verdict::Pass,
        Some("fail") => Verdict::Fail,
        other => anyhow::bail!("{case}: {other:?} is neither pass nor fail"),
    };
    let reason = fields.next().unwrap_or_default().to_owned();
    ensure!(
        expected == Verdict::Pass || !reason.is_empty(),
        "{case}: a failure needs its reason"
    );
    Ok(Entry {
        case,
        expected,
        reason,
    })
}

/// Runs the cases of the ledger and compares; `limit` bounds each one. Every server takes a part of the suites, so that
/// cases that meet in a directory never run at the same time.
pub fn run(servers: &[Server], limit: Duration) -> Result<()> {
    let entries = ledger()?;
    let parts: Vec<Result<String>> = thread::scope(|scope| {
        let part = |number: usize| {
            let entries = entries
                .iter()
                .filter(move |entry| part_of(&entry.case, servers.len()) == number);
            let server = &servers[number];
            scope.spawn(move || surprises(server, entries, limit))
        };
        let threads: Vec<_> = (0..servers.len()).map(part).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
            .collect()
    });
    let surprises = parts.into_iter().collect::<Result<String>>()?;
    ensure!(
        surprises.is_empty(),
        "surprises among {} cases:\n{surprises}",
        entries.len()
    );
    Ok(())
}

/// Which server runs a case: the same one for all cases of a suite.
fn part_of(case: &str, servers: usize) -> usize {
    let suite = case.split('.').nth(1).unwrap_or_default();
    suite.bytes().map(usize::from).sum::<usize>() % servers
}

fn surprises<'a>(
    server: &Server,
    entries: impl Iterator<Item = &'a Entry>,
    limit: Duration,
) -> Result<String> {
    let mut surprises = String::new();
    for entry in entries {
        // Cases that depend on time get a second chance on a busy machine.
        let mut outcome = run_case(server, &entry.case, limit)?;
        if outcome.0 != entry.expected {
            outcome = run_case(server, &entry.case, limit)?;
        }
        let (verdict, said) = outcome;
        if verdict != entry.expected {
            let Entry {
                case,
                expected,
                reason,
            } = entry;
            writeln!(
                surprises,
                "{case}: {verdict:?}, expected {expected:?} {reason}\n{said}"
            )?;
        }
    }
    Ok(surprises)
}

/// Runs one case, or a suite as one.
pub fn run_case(server: &Server, case: &str, limit: Duration) -> Result<(Verdict, String)> {
    let address = server.address();
    let output = tempfile::NamedTempFile::new()?;
    // It leaves directories where it runs.
    let place = tempfile::tempdir()?;
    let child = Command::new(tool("smbtorture"))
        .current_dir(place.path())
        .arg(format!("//{}/{SHARE}", address.ip()))
        .arg(format!("--option=smb ports={}", address.port()))
        .args(["--user", &format!("{USER}%{PASSWORD}")])
        .args([
            "--configfile",
            "/dev/null",
            "--option=torture:progress=no",
            case,
        ])
        .stdin(Stdio::null())
        .stdout(output.reopen()?)
        .stderr(output.reopen()?)
        .spawn()
        .context("cannot run smbtorture (apt install samba-testsuite)")?;
    let ended = Guarded::new(child).wait(limit);
    let said = String::from_utf8_lossy(&std::fs::read(output.path())?).into_owned();
    let verdict = match ended {
        Ok(status) if status.success() && all_passed(&said) => Verdict::Pass,
        Ok(_) | Err(_) => Verdict::Fail,
    };
    Ok((verdict, said))
}

/// At least one case ran to success and none to anything else.
fn all_passed(said: &str) -> bool {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in said.lines() {
        if let Some((word, _)) = line.split_once(": ") {
            *counts.entry(word).or_default() += 1;
        }
    }
    let count = |word: &str| counts.get(word).copied().unwrap_or_default();
    count("success") > 0 && count("failure") + count("error") + count("skip") == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_well_formed() {
        assert!(!ledger().unwrap().is_empty());
    }

    #[test]
    fn a_skipped_case_has_not_passed() {
        assert!(all_passed("test: a\nsuccess: a\n"));
        assert!(!all_passed("test: a\nskip: a [\nreason\n]\n"));
        assert!(!all_passed(""));
    }
}
