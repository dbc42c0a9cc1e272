//! One case of `smbtorture` against one server.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Guarded;
use crate::samba::tool;
use crate::server::{PASSWORD, SHARE, Server, USER};

/// A second account, which some cases want.
pub const SECOND_USER: &str = "second";

/// A share whose clients may have handles that outlive the server.
pub const AVAILABLE_SHARE: &str = "available";
/// Cases that show nothing on other shares.
const ON_AVAILABLE_SHARE: [&str; 2] = [
    "smb2.durable-v2-open.persistent-open-",
    "smb2.replay.replay5",
];

fn share_of(case: &str) -> &'static str {
    let available = ON_AVAILABLE_SHARE.iter().any(|one| case.starts_with(one));
    if available { AVAILABLE_SHARE } else { SHARE }
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Success,
    Failure,
    Skip,
    Timeout,
}

impl Ending {
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Skip => "skip",
            Self::Timeout => "timeout",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Outcome {
    pub ending: Ending,
    /// Everything that the program said.
    pub said: String,
}

impl Outcome {
    /// Why it did not succeed, on one line.
    pub fn reason(&self) -> String {
        let after = |word: &str| {
            let mut lines = self.said.lines();
            lines.find(|line| line.starts_with(word))?;
            lines.next().map(|line| line.replace('\t', " "))
        };
        let found = ["failure: ", "error: ", "skip: "]
            .into_iter()
            .find_map(after);
        match self.ending {
            Ending::Success | Ending::Timeout => String::new(),
            Ending::Failure | Ending::Skip => found.unwrap_or_default(),
        }
    }
}

/// Runs one case, or a suite as one.
pub fn run(server: &Server, case: &str, limit: Duration) -> Result<Outcome> {
    run_with(server, case, &[], limit)
}

/// The same with options for the case, as `torture:name=value`.
pub fn run_with(
    server: &Server,
    case: &str,
    options: &[String],
    limit: Duration,
) -> Result<Outcome> {
    let address = server.address();
    let output = tempfile::NamedTempFile::new()?;
    // It leaves directories where it runs.
    let place = tempfile::tempdir()?;
    let child = Command::new(tool("smbtorture"))
        .current_dir(place.path())
        .arg(format!("//{}/{}", address.ip(), share_of(case)))
        .arg(format!("--option=smb ports={}", address.port()))
        .args(["--user", &format!("{USER}%{PASSWORD}")])
        .args(["--configfile", "/dev/null", "--option=torture:progress=no"])
        .arg(format!("--option=torture:user2name={SECOND_USER}"))
        .arg(format!("--option=torture:user2password={PASSWORD}"))
        .args(options.iter().map(|option| format!("--option={option}")))
        .arg(case)
        .stdin(Stdio::null())
        .stdout(output.reopen()?)
        .stderr(output.reopen()?)
        .spawn()
        .context("cannot run smbtorture (apt install samba-testsuite)")?;
    let ended = Guarded::new(child).wait(limit);
    let said = String::from_utf8_lossy(&std::fs::read(output.path())?).into_owned();
    let ending = match ended {
        Ok(status) => ending_of(&said, status.success()),
        Err(_) => Ending::Timeout,
    };
    Ok(Outcome { ending, said })
}

/// Success is at least one case that succeeded and none that did anything else.
fn ending_of(said: &str, clean: bool) -> Ending {
    let count = |word: &str| {
        let lines = said.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(first, _)| *first == word).count()
    };
    let bad = count("failure") + count("error");
    match (clean, bad, count("skip"), count("success")) {
        (true, 0, 0, 1..) => Ending::Success,
        (_, 0, 1.., _) => Ending::Skip,
        _ => Ending::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_case_has_not_passed() {
        assert_eq!(ending_of("test: a\nsuccess: a\n", true), Ending::Success);
        assert_eq!(ending_of("test: a\nsuccess: a\n", false), Ending::Failure);
        let skipped = "test: a\nskip: a [\nreason\n]\n";
        assert_eq!(ending_of(skipped, true), Ending::Skip);
        assert_eq!(ending_of("", true), Ending::Failure);
        let both = "success: a\nfailure: b [\nwhy\n]\n";
        assert_eq!(ending_of(both, true), Ending::Failure);
    }

    #[test]
    fn a_failure_tells_its_first_line() {
        let said = "test: a\nfailure: a [\nwrong\tstatus\nmore\n]\n".to_owned();
        let ending = ending_of(&said, false);
        assert_eq!(Outcome { ending, said }.reason(), "wrong status");
    }
}
