//! The real program under test, in a directory of its own, on a free loopback port.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::client::{Client, Target};
use crate::kernel::Network;
use crate::process::{Guarded, free_address};

pub const USER: &str = "tester";
pub const PASSWORD: &str = "correct horse 7 battery";
pub const SHARE: &str = "files";
/// Served by NFS to guests.
pub const NFS_SHARE: &str = "unix";
pub const NFS_PORT: u16 = 2049;

/// A running Strongroom; killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: Guarded,
    address: SocketAddr,
    data: PathBuf,
    opened_in: Duration,
}

/// How long a start may take before the test gives up; what is promised is far less and checked where it matters.
const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    /// Makes a new pool under `directory` on `disks` disks, `disk-0` and so on, with one account. The number of disks
    /// decides the layout: two or three are a mirror.
    pub fn create(directory: &Path, disks: usize) -> Result<Server> {
        let mut arguments = disk_arguments(directory, disks);
        // Only a test keeps all copies on one disk.
        arguments.push("--allow-shared-device".into());
        let server = Server::start_with(&directory.join("data"), free_address()?, arguments)?;
        server.add_user()?;
        Ok(server)
    }

    /// As [`Server::create`] on these disks, with more words for `serve`.
    pub fn create_on(directory: &Path, disks: &[PathBuf], more: &[&str]) -> Result<Server> {
        let disks = disks.iter().flat_map(|disk| ["--disk".into(), disk.into()]);
        let arguments = more.iter().map(Into::into).chain(disks).collect();
        let server = Server::start_with(&directory.join("data"), free_address()?, arguments)?;
        server.add_user()?;
        Ok(server)
    }

    /// As [`Server::create`] on one disk, keeping no past.
    pub fn create_without_history(directory: &Path) -> Result<Server> {
        let disk = directory.join("disk-0");
        let arguments = vec!["--no-history".into(), "--disk".into(), disk.into()];
        let server = Server::start_with(&directory.join("data"), free_address()?, arguments)?;
        server.add_user()?;
        Ok(server)
    }

    fn add_user(&self) -> Result<()> {
        let words = ["user", "add", USER, "--password-stdin", "--admin"];
        self.admin_with_input(&words, PASSWORD)?;
        Ok(())
    }

    /// As [`Server::create`] on one disk, on the standard port of a loopback address of its own, for clients that cannot
    /// be told another port. Needs root.
    pub fn create_on_standard_port(directory: &Path) -> Result<Server> {
        let number = std::process::id().to_be_bytes();
        let address = SocketAddr::from(([127, 77, number[2], number[3]], 445));
        let arguments = vec!["--disk".into(), directory.join("disk-0").into_os_string()];
        let server = Server::start_with(&directory.join("data"), address, arguments)?;
        server.add_user()?;
        Ok(server)
    }

    /// As [`Server::create`] on one disk, in the network of kernel guests, which the calling thread has entered.
    pub fn create_for_guests(directory: &Path) -> Result<Server> {
        let address = SocketAddr::from((Network::SERVER, 445));
        let arguments = vec!["--disk".into(), directory.join("disk-0").into_os_string()];
        let server = Server::start_with(&directory.join("data"), address, arguments)?;
        server.admin_with_input(
            &["user", "add", USER, "--password-stdin", "--admin"],
            PASSWORD,
        )?;
        Ok(server)
    }

    /// As [`Server::create_for_guests`], serving NFS too, with a share whose guests' roots are believed.
    pub fn create_for_nfs_guests(directory: &Path) -> Result<Server> {
        let smb = SocketAddr::from((Network::SERVER, 445));
        let nfs = SocketAddr::from((Network::SERVER, NFS_PORT));
        let arguments = vec![
            "--disk".into(),
            directory.join("disk-0").into_os_string(),
            "--nfs".into(),
            nfs.to_string().into(),
        ];
        let server = Server::start_with(&directory.join("data"), smb, arguments)?;
        server.add_user()?;
        let export = format!("{}/24:rw:no-root-squash", Network::SERVER);
        server.admin(&["share", "add", NFS_SHARE, "--nfs", &export])?;
        Ok(server)
    }

    /// Starts on a pool made before.
    pub fn start(directory: &Path) -> Result<Server> {
        Server::start_with(&directory.join("data"), free_address()?, Vec::new())
    }

    /// As [`Server::start`], with more words for `serve`.
    pub fn start_with_words(directory: &Path, more: &[&str]) -> Result<Server> {
        let arguments = more.iter().map(Into::into).collect();
        Server::start_with(&directory.join("data"), free_address()?, arguments)
    }

    /// Starts on a copy of a pool, whose disks are named anew.
    pub fn start_moved(directory: &Path, disks: usize) -> Result<Server> {
        let arguments = disk_arguments(directory, disks);
        Server::start_with(&directory.join("data"), free_address()?, arguments)
    }

    /// As [`Server::create_on`] with another build of the program.
    pub fn create_by(
        program: &Path,
        directory: &Path,
        disks: &[PathBuf],
        more: &[&str],
    ) -> Result<Server> {
        let disks = disks.iter().flat_map(|disk| ["--disk".into(), disk.into()]);
        let arguments = more.iter().map(Into::into).chain(disks).collect();
        let server =
            Server::start_by(program, &directory.join("data"), free_address()?, arguments)?;
        server.add_user()?;
        Ok(server)
    }

    fn start_with(
        data: &Path,
        address: SocketAddr,
        arguments: Vec<std::ffi::OsString>,
    ) -> Result<Server> {
        Self::start_by(&program()?, data, address, arguments)
    }

    fn start_by(
        program: &Path,
        data: &Path,
        address: SocketAddr,
        arguments: Vec<std::ffi::OsString>,
    ) -> Result<Server> {
        let log = data.with_extension("log");
        if let Some(parent) = data.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let started = Instant::now();
        let output = File::options().create(true).append(true).open(&log)?;
        let seen = output.metadata()?.len();
        let child = Command::new(program)
            .args(["serve", "--smb", &address.to_string(), "--data"])
            .arg(data)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot run strongroom")?;
        let mut server = Server {
            process: Guarded::new(child),
            address,
            data: data.to_owned(),
            opened_in: Duration::ZERO,
        };
        server.wait_until_open(started, &log, seen)?;
        Ok(server)
    }

    /// The port is bound before the pool is open, so that the printed banner is what counts.
    fn wait_until_open(&mut self, started: Instant, log: &Path, seen: u64) -> Result<()> {
        while !has_banner(log, seen)? {
            if let Some(status) = self.process.has_ended()? {
                bail!("the server ended with {status}:\n{}", tail(log));
            }
            if started.elapsed() > PATIENCE {
                bail!("the server does not start:\n{}", tail(log));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.opened_in = started.elapsed();
        Ok(())
    }

    /// From the start of the program until it served.
    pub fn opened_in(&self) -> Duration {
        self.opened_in
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn process(&self) -> u32 {
        self.process.id()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What the server has written so far to its output and its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }

    pub fn target(&self) -> Target {
        self.target_of(SHARE)
    }

    pub fn target_of(&self, share: &str) -> Target {
        Target {
            address: self.address,
            share: share.to_owned(),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
        }
    }

    pub async fn connect(&self) -> Result<Client> {
        Client::connect(&self.target()).await
    }

    /// Stops it as an init system does; fails if it does not end cleanly.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.terminate(PATIENCE)?;
        ensure!(
            status.success(),
            "the server ended with {status}:\n{}",
            self.log()
        );
        Ok(())
    }

    /// Stops it as a power button does.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()
    }

    pub fn interrupt(mut self) -> Result<()> {
        self.process.signal(Signal::INT)?;
        let status = self.process.wait(PATIENCE)?;
        ensure!(
            status.success(),
            "the server ended with {status}:\n{}",
            self.log()
        );
        Ok(())
    }

    /// Runs an administration command that must succeed.
    pub fn admin(&self, arguments: &[&str]) -> Result<String> {
        succeeded(arguments, run(&self.data, arguments, "")?)
    }

    pub fn admin_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        succeeded(arguments, run(&self.data, arguments, input)?)
    }

    /// Runs an administration command and gives whatever came of it.
    pub fn try_admin(&self, arguments: &[&str], input: &str) -> Result<Output> {
        run(&self.data, arguments, input)
    }

    pub fn status(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.admin(&["status", "--json"])?)?)
    }

    /// True when nothing is left to do in the background for what clients did so far.
    pub fn is_settled(&self) -> Result<bool> {
        Ok(self.status()?["settled"].as_bool().unwrap_or(false))
    }
}

fn disk_arguments(directory: &Path, disks: usize) -> Vec<std::ffi::OsString> {
    let disks = (0..disks).map(|n| directory.join(format!("disk-{n}")));
    disks
        .flat_map(|disk| ["--disk".into(), disk.into_os_string()])
        .collect()
}

/// The release build of the program: `STRONGROOM_BIN` where set, else built here.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("STRONGROOM_BIN") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--package", "strongroom"])
        .current_dir(workspace())
        .status()?;
    ensure!(status.success(), "the release build failed");
    Ok(target_directory().join("release/strongroom"))
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

pub fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |path| workspace().join(path))
}

fn run(data: &Path, arguments: &[&str], input: &str) -> Result<Output> {
    let mut child = Command::new(program()?)
        .arg("--data")
        .arg(data)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut pipe = child.stdin.take().context("the child has an input")?;
    // A command that reads nothing may have closed its input already.
    pipe.write_all(input.as_bytes()).ok();
    drop(pipe);
    Ok(child.wait_with_output()?)
}

fn succeeded(arguments: &[&str], output: Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{}` failed: {said}",
        arguments.join(" ")
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// True once this start, whose output begins at byte `from`, has said where to connect.
fn has_banner(log: &Path, from: u64) -> Result<bool> {
    let bytes = std::fs::read(log)?;
    let new = bytes.get(usize::try_from(from)?..).unwrap_or_default();
    Ok(String::from_utf8_lossy(new).contains("Ctrl-C stops the server."))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(20)..)
        .unwrap_or_default()
        .join("\n")
}
