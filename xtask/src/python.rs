//! Clients written in Python, from PyPI at pinned versions, in an environment of their own in the build directory.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::lock;
use crate::server::{PASSWORD, SHARE, Server, USER, target_directory, workspace};

/// What pip installs, with all that it depends on.
const REQUIREMENTS: &str = include_str!("../python/requirements.txt");

/// The interpreter that has the packages; makes the environment where that was not done yet.
fn interpreter() -> Result<PathBuf> {
    let _alone = lock("python")?;
    let root = target_directory().join("tools/python");
    let (program, installed) = (root.join("bin/python"), root.join("installed.txt"));
    let current = std::fs::read_to_string(&installed).is_ok_and(|have| have == REQUIREMENTS);
    if !current {
        succeed(
            Command::new("/usr/bin/python3")
                .args(["-m", "venv", "--clear"])
                .arg(&root),
            "python3 -m venv (apt-get install python3-venv)",
        )?;
        succeed(
            Command::new(&program)
                .args(["-m", "pip", "install", "--quiet", "--no-deps"])
                .args(["--disable-pip-version-check", "--requirement"])
                .arg(workspace().join("xtask/python/requirements.txt")),
            "pip install",
        )?;
        std::fs::write(&installed, REQUIREMENTS)?;
    }
    Ok(program)
}

fn succeed(command: &mut Command, what: &str) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {what}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what} failed: {said}");
    Ok(())
}

/// Makes the environment, for those who cannot download anything later.
pub fn prepare() -> Result<()> {
    interpreter().map(drop)
}

/// Runs one of the scripts in `xtask/python` against the server; gives what it printed.
pub fn run(server: &Server, script: &str, read_only: &str) -> Result<String> {
    run_with(server, script, &[SHARE, read_only, USER, PASSWORD])
}

/// The same with these arguments behind the server's address.
pub fn run_with(server: &Server, script: &str, arguments: &[&str]) -> Result<String> {
    let address = server.address();
    let output = Command::new(interpreter()?)
        .arg(workspace().join("xtask/python").join(script))
        .args([&address.ip().to_string(), &address.port().to_string()])
        .args(arguments)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && said.ends_with("done\n"),
        "{script}: {said}{complained}"
    );
    Ok(said)
}
