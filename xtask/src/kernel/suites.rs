//! Test suites from crates.io that run inside a mount, at pinned versions, built once into the build directory.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::lock;
use crate::server::{target_directory, workspace};

/// A program of crates.io.
#[derive(Debug, Clone, Copy)]
pub struct Suite {
    name: &'static str,
    version: &'static str,
}

/// Random reads, writes, truncations and mappings of one file, compared with a copy in memory.
pub const FSX: Suite = Suite {
    name: "fsx",
    version: "0.3.2",
};

/// What POSIX says of each system call on files.
pub const PJDFSTEST: Suite = Suite {
    name: "pjdfstest",
    version: "0.2.2",
};

impl Suite {
    /// The program's path; builds it where that was not done yet.
    pub fn program(self) -> Result<PathBuf> {
        let _alone = lock(self.name)?;
        let tools = target_directory().join("tools");
        let root = tools.join(format!("{}-{}", self.name, self.version));
        let program = root.join("bin").join(self.name);
        if !program.is_file() {
            println!("installing {} {}", self.name, self.version);
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let status = Command::new(cargo)
                .args(["install", "--locked", "--quiet", "--root"])
                .arg(&root)
                .args(["--version", self.version, self.name])
                .current_dir(workspace())
                .env("CARGO_TARGET_DIR", tools.join("build"))
                .status()?;
            ensure!(
                status.success(),
                "cargo install {} {} ended with {status}",
                self.name,
                self.version
            );
        }
        program
            .canonicalize()
            .with_context(|| program.display().to_string())
    }
}

/// What became of the cases of pjdfstest, by name.
#[derive(Debug, Clone, Default)]
pub struct Cases {
    pub passed: Vec<String>,
    pub skipped: Vec<String>,
    /// With what the case said.
    pub failed: Vec<(String, String)>,
}

impl Cases {
    pub fn total(&self) -> usize {
        self.passed.len() + self.skipped.len() + self.failed.len()
    }

    /// Reads the suite's own report: a line for each case, indented lines for what it said.
    pub fn read(report: &str) -> Cases {
        let mut cases = Cases::default();
        for line in report.lines() {
            let line = plain(line);
            if line.starts_with(['\t', ' ']) {
                if let Some((_, said)) = cases.failed.last_mut() {
                    said.push_str(line.trim());
                    said.push(' ');
                }
                continue;
            }
            let Some((name, verdict)) = line.split_once(char::is_whitespace) else {
                continue;
            };
            match verdict.trim() {
                "ok" => cases.passed.push(name.to_owned()),
                "skipped" => cases.skipped.push(name.to_owned()),
                "FAILED" => cases.failed.push((name.to_owned(), String::new())),
                _ => {}
            }
        }
        cases.forget_skipped();
        cases
    }

    /// What was skipped in one run counts as it went in another.
    fn forget_skipped(&mut self) {
        let (passed, failed) = (&self.passed, &self.failed);
        let ran =
            |case: &String| passed.contains(case) || failed.iter().any(|(one, _)| one == case);
        self.skipped.retain(|case| !ran(case));
    }
}

/// The line without the escape sequences for colours.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1B}') {
        text.push_str(before);
        rest = after.split_once('m').map_or("", |(_, behind)| behind);
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_ran_once_was_not_skipped() {
        let report =
            "a::erofs ok\nb::erofs FAILED\n\twhy\na::erofs skipped\nb::erofs skipped\nc skipped\n";
        let cases = Cases::read(report);
        assert_eq!((cases.passed.len(), cases.failed.len()), (1, 1));
        assert_eq!(cases.skipped, ["c"]);
        assert_eq!(cases.failed[0].1, "why ");
    }

    #[test]
    fn reads_a_report_with_and_without_colours() {
        let report = "\u{1B}[34mchmod::update_ctime::regular\u{1B}[0m   \u{1B}[32mok\u{1B}[0m\n\
            open::a        skipped\n\trequires features: chflags\n\
            link::b   FAILED\n\tassertion failed:\n\t  left\n\nSummary: 1 failed\n";
        let cases = Cases::read(report);
        assert_eq!(cases.passed, ["chmod::update_ctime::regular"]);
        assert_eq!(cases.skipped, ["open::a"]);
        assert_eq!(cases.failed[0].0, "link::b");
        assert_eq!(cases.failed[0].1, "assertion failed: left ");
        assert_eq!(cases.total(), 3);
    }
}
