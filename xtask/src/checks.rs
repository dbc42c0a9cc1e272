//! `cargo xtask test`: everything that must hold before a change is taken, from a fresh clone.
//!
//! What is missing is installed where that is possible, else said. A check whose tool is missing fails.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::kernel;
use crate::process::is_root;
use crate::samba::tool;
use crate::server::{target_directory, workspace};

/// Tools from Debian: the command, and the package that brings it.
const SYSTEM_TOOLS: [(&str, &str); 8] = [
    ("smbclient", "smbclient"),
    ("smbd", "samba"),
    ("smbpasswd", "samba-common-bin"),
    ("smbtorture", "samba-testsuite"),
    ("krb5kdc", "krb5-kdc"),
    ("kadmin.local", "krb5-admin-server"),
    ("kinit", "krb5-user"),
    ("krb5-config", "libkrb5-dev"),
];

/// Python finds its own module.
const VENV: &str = "/usr/share/doc/python3-venv";

/// The tests that drive the release build; all others are unit tests and simulations.
const INTEROPERABILITY: &str = "package(xtask) and kind(test)";

/// Runs all checks, cheapest first.
pub fn run() -> Result<()> {
    let start = Instant::now();
    step("tools", install_tools)?;
    step("format", || cargo(&["fmt", "--all", "--check"]))?;
    step("licences, bans, sources", || {
        cargo(&["deny", "check", "bans", "licenses", "sources"])
    })?;
    step("advisories", advisories)?;
    step("clippy", || {
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ])
    })?;
    step("unit tests and simulations", || {
        let rest = format!("not ({INTEROPERABILITY})");
        cargo(&["nextest", "run", "--workspace", "--locked", "-E", &rest])
    })?;
    step("clippy and tests with all features", || {
        let packages = [
            "--package",
            "strongroom",
            "--package",
            "strongroom-kerberos",
        ];
        let features = [
            "--features",
            "strongroom/kerberos,strongroom/quic",
            "--locked",
        ];
        let clippy = [&["clippy", "--all-targets"], &packages[..], &features];
        cargo(&[&clippy.concat()[..], &["--", "-D", "warnings"]].concat())?;
        let test = ["nextest", "run", "--package", "strongroom-kerberos"];
        cargo(&[&test[..], &["--features", "mit", "--locked"]].concat())
    })?;
    step("release build with all features", crate::features::build)?;
    step("release build", || {
        cargo(&["build", "--release", "--locked", "--package", "strongroom"])
    })?;
    step("interoperability tests", interoperability)?;
    println!("all checks passed in {} s", start.elapsed().as_secs());
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("== {name}");
    let start = Instant::now();
    work().with_context(|| format!("{name}: failed"))?;
    println!("== {name}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs cargo in the workspace with its output shown.
pub fn cargo(arguments: &[&str]) -> Result<()> {
    let status = cargo_command().args(arguments).status()?;
    ensure!(
        status.success(),
        "`cargo {}` ended with {status}",
        arguments.join(" ")
    );
    Ok(())
}

fn cargo_command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// The tests are built for debugging, the program that they drive is the release build.
fn interoperability() -> Result<()> {
    let program = target_directory().join("release/strongroom");
    let status = cargo_command()
        .args([
            "nextest",
            "run",
            "--package",
            "xtask",
            "--locked",
            "--no-fail-fast",
            "-E",
            INTEROPERABILITY,
        ])
        .env("STRONGROOM_BIN", program)
        .status()?;
    ensure!(
        status.success(),
        "the interoperability tests ended with {status}"
    );
    Ok(())
}

/// The advisory database is on the network; where that cannot be reached, this is said and not a failure.
fn advisories() -> Result<()> {
    let fetched = cargo_command()
        .args(["deny", "fetch", "db"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if fetched.success() {
        return cargo(&["deny", "check", "advisories"]);
    }
    println!("not checked: the database of security advisories cannot be reached from here");
    Ok(())
}

fn install_tools() -> Result<()> {
    let mut missing: Vec<&str> = SYSTEM_TOOLS
        .iter()
        .chain(&kernel::PACKAGES)
        .filter(|(command, _)| !tool(command).is_file())
        .map(|(_, package)| *package)
        .collect();
    if !Path::new(VENV).exists() {
        missing.push("python3-venv");
    }
    if !missing.is_empty() {
        install_packages(&missing)?;
    }
    install_cargo_tool("nextest", "cargo-nextest")?;
    install_cargo_tool("deny", "cargo-deny")
}

fn install_packages(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !is_root() || !Path::new("/usr/bin/apt-get").exists() {
        bail!("missing: {list}. On Debian: sudo apt-get install {list}");
    }
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status()?;
    ensure!(
        status.success(),
        "`apt-get {}` ended with {status}",
        arguments.join(" ")
    );
    Ok(())
}

/// Built without optimisation: that takes a third of the time, and these tools are not what is slow here.
fn install_cargo_tool(command: &str, package: &str) -> Result<()> {
    let found = cargo_command()
        .args([command, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if found.success() {
        return Ok(());
    }
    println!("installing {package}");
    let status = cargo_command()
        .args(["install", "--locked", "--debug", "--quiet", package])
        .env("CARGO_TARGET_DIR", target_directory().join("tools"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .status()?;
    ensure!(
        status.success(),
        "cargo install {package} ended with {status}"
    );
    Ok(())
}
