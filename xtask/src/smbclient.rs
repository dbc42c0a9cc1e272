//! Samba's command-line client, as a person or a script uses it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use crate::samba::tool;
use crate::server::{PASSWORD, SHARE, Server, USER};

/// Runs commands on the share `files` as the test's user; fails unless all succeed. Returns what was printed.
pub fn run(server: &Server, commands: &str) -> Result<String> {
    let output = attempt(server, SHARE, PASSWORD, commands)?;
    checked(commands, &output)
}

/// Runs commands and gives whatever came of it.
pub fn attempt(server: &Server, share: &str, password: &str, commands: &str) -> Result<Output> {
    attempt_as(server, share, USER, password, commands)
}

/// The same as another user.
pub fn attempt_as(
    server: &Server,
    share: &str,
    user: &str,
    password: &str,
    commands: &str,
) -> Result<Output> {
    attempt_at(server.address(), share, user, password, commands)
}

/// The same at an address that leads to a server.
pub fn attempt_at(
    address: SocketAddr,
    share: &str,
    user: &str,
    password: &str,
    commands: &str,
) -> Result<Output> {
    let mut command = command(address, share);
    command.args([
        "--user",
        &format!("{user}%{password}"),
        "--command",
        commands,
    ]);
    command.output().context(MISSING)
}

/// Copies everything below a local directory into a directory of the share.
pub fn put_tree(server: &Server, local: &Path, target: &str) -> Result<()> {
    let commands = format!(
        "cd {target}; lcd \"{}\"; recurse ON; prompt OFF; mput *",
        local.display()
    );
    checked(&commands, &attempt(server, SHARE, PASSWORD, &commands)?).map(drop)
}

/// Copies everything below a directory of the share into a local directory.
pub fn get_tree(server: &Server, source: &str, local: &Path) -> Result<()> {
    let commands = format!(
        "cd {source}; lcd \"{}\"; recurse ON; prompt OFF; mget *",
        local.display()
    );
    checked(&commands, &attempt(server, SHARE, PASSWORD, &commands)?).map(drop)
}

const MISSING: &str = "cannot run smbclient (apt install smbclient)";

fn command(address: SocketAddr, share: &str) -> Command {
    let mut command = Command::new(tool("smbclient"));
    command
        .arg(format!("//{}/{share}", address.ip()))
        .args(["--port", &address.port().to_string()])
        .args(["--configfile", "/dev/null", "--debuglevel", "0"]);
    command
}

/// The client's exit code does not tell of every failure; a status in its output does.
fn checked(commands: &str, output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    let failed = !output.status.success()
        || said.contains("NT_STATUS_")
        || complained.contains("NT_STATUS_");
    ensure!(
        !failed,
        "smbclient `{commands}`: {}: {said}{complained}",
        output.status
    );
    Ok(said)
}
