//! The Linux kernel's own SMB client at work on a share, in guests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::kernel::suites::{Cases, FSX, PJDFSTEST};
use crate::kernel::{Guest, JOB_POINT, Mount, Network, Outcome, Security};
use crate::server::Server;

/// POSIX semantics by the extensions of SMB 3.1.1.
pub const POSIX: [&str; 2] = ["posix", "modefromsid"];

/// The options of a mount whose users and modes are those of the machine that mounts: owners and modes go by number,
/// and what the client's kernel cannot make on the server it keeps as files with a meaning of its own. Kernel 6.1 shows
/// owners and special files only so, not with the extensions.
///
/// The client keeps attributes for a second, and for longer with a lease, which POSIX does not allow for; it does neither
/// where it is asked not to.
pub const NUMBERS: [&str; 6] = [
    "modefromsid",
    "idsfromsid",
    "mfsymlinks",
    "sfu",
    "actimeo=0",
    "nolease",
];

/// One line a case that is expected to fail, with the reason.
pub const LEDGER: &str = include_str!("../../pjdfstest.tsv");

/// Weights of fsx's operations: all that the client's kernel knows on a share.
const FSX_CONFIG: &str = "[weights]\nclose_open = 0.3\ninvalidate = 0.5\nfsync = 0.2\nfdatasync = 0.2\nsendfile = 0.5\n\
    posix_fadvise = 0.3\n";

/// Only the features that Linux has; nobody and daemon are users of every Debian. The guest's directory for temporary
/// files is on another file system.
const PJDFSTEST_CONFIG: &str = "[features]\nsecondary_fs = \"/run/tmp\"\nposix_fallocate = {}\nrename_ctime = {}\nutime_now = {}\nutimensat = {}\n\
    [settings]\nnaptime = NAPTIME\nallow_remount = REMOUNT\n\
    [dummy_auth]\nentries = [[\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"]]\n";

const TRACE_LIMIT: Duration = Duration::from_secs(120);

/// A guest that has the share mounted.
pub fn guest(number: u8, security: Security, options: &[&str]) -> Guest {
    Guest {
        mount: Some(Mount::smb(security, options)),
        ..Guest::new(number)
    }
}

/// Runs fsx with each seed, one after the other in one guest.
pub fn fsx(network: &Network, guest: &Guest, seeds: &[u64], operations: u64) -> Result<()> {
    let program = FSX.program()?;
    let mut script = format!("cat >/run/fsx.toml <<'END'\n{FSX_CONFIG}END\n");
    for seed in seeds {
        writeln!(
            script,
            "echo seed {seed}; {} -f /run/fsx.toml -N {operations} -S {seed} -P /run/tmp fsx-{seed} || exit 1; rm fsx-{seed}*",
            program.display()
        )?;
    }
    let limit = Duration::from_secs(240 + seeds.len() as u64 * operations / 20);
    guest.run(network, &script, limit)?.succeeded()?;
    Ok(())
}

/// What the suite's cases may take for granted.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// After so many seconds a change shows, and times differ.
    pub nap: &'static str,
    /// The mount may be made read-only for a while.
    pub remounts: bool,
}

/// A busy guest has its clock a little behind.
pub const NUMBERS_SETTINGS: Settings = Settings {
    nap: "1.1",
    remounts: true,
};

/// Runs the cases of pjdfstest whose names contain one of `filter`; all where that is empty.
pub fn pjdfstest(
    network: &Network,
    guest: &Guest,
    filter: &[&str],
    settings: Settings,
    limit: Duration,
) -> Result<Cases> {
    let program = PJDFSTEST.program()?;
    let mut script = String::new();
    let mut run = |remounts: bool, filter: &str| {
        let config = PJDFSTEST_CONFIG
            .replace("NAPTIME", settings.nap)
            .replace("REMOUNT", &remounts.to_string());
        let program = program.display();
        writeln!(
            script,
            "cat >/run/pjdfstest.toml <<'END'\n{config}END\n\
             {program} -c /run/pjdfstest.toml {filter} >>{JOB_POINT}/report"
        )
    };
    if settings.remounts {
        // First, as other cases leave files open behind them, and such a mount stays writable.
        run(true, "erofs")?;
    }
    run(false, &filter.join(" "))?;
    script.push_str("true\n");
    let running = guest.boot(network, &script)?;
    let report = running.job().join("report");
    let outcome = running.wait_and(limit, || std::fs::read_to_string(&report))?;
    let cases = Cases::read(&outcome.1.context("pjdfstest left no report")?);
    ensure!(
        cases.total() > 0,
        "pjdfstest ran no case: {}",
        outcome.0.stderr
    );
    Ok(cases)
}

/// What a mount does, step by step: runs a script in a guest and shows what it printed, the client's counts of requests
/// before and after, and with `/proc/fs/cifs/cifsFYI` written by the script, what the client's kernel logged.
pub fn trace(directory: &Path, options: &[String], script: &str) -> Result<()> {
    let network = Network::enter(&[])?;
    let server = Server::create_for_guests(directory)?;
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let script = format!(
        "echo 0 >/proc/fs/cifs/Stats\n{script}\ncode=$?\ncat /proc/fs/cifs/Stats\nexit $code\n"
    );
    let outcome = guest(1, Security::Signed, &options).run(&network, &script, TRACE_LIMIT)?;
    let Outcome {
        code,
        stdout,
        stderr,
        kernel_log,
        ..
    } = outcome;
    println!("{stdout}\n{stderr}\n{kernel_log}\nended with {code}");
    server.stop()
}

/// The cases that are expected to fail, with their reasons.
pub fn ledger(text: &str) -> Result<BTreeMap<&str, &str>> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| line.split_once('\t').context("a line without a reason"))
        .collect()
}

/// Fails for a case that failed or passed against the ledger.
pub fn check(cases: &Cases, expected: &str) -> Result<()> {
    let expected = ledger(expected)?;
    let passed: BTreeSet<&str> = cases.passed.iter().map(String::as_str).collect();
    let mut surprises = String::new();
    for (case, said) in &cases.failed {
        if !expected.contains_key(case.as_str()) {
            writeln!(surprises, "{case} failed: {said}")?;
        }
    }
    for case in expected.keys().filter(|case| passed.contains(*case)) {
        writeln!(surprises, "{case} passed, which the ledger does not expect")?;
    }
    ensure!(surprises.is_empty(), "{surprises}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expected_failure_has_its_reason() {
        assert!(
            ledger(LEDGER)
                .unwrap()
                .values()
                .all(|reason| !reason.is_empty())
        );
    }
}
