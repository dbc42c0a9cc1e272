//! A private Samba to compare with: own directories, port and account, on the loopback interface only.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::{Guarded, free_address, wait_for_port};

/// How the peer is configured; the files are in `xtask/samba`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    AsItComes,
    Tuned,
}

impl Setup {
    pub fn name(self) -> &'static str {
        match self {
            Setup::AsItComes => "as it comes",
            Setup::Tuned => "tuned",
        }
    }

    fn options(self) -> &'static str {
        match self {
            Setup::AsItComes => "",
            Setup::Tuned => include_str!("../samba/tuned.conf"),
        }
    }
}

const TEMPLATE: &str = include_str!("../samba/smb.conf");
pub const PASSWORD: &str = "only-on-loopback";

/// A running Samba with one share `files`; it ends and its directories go when this is dropped.
#[derive(Debug)]
pub struct Samba {
    process: Guarded,
    address: SocketAddr,
    user: String,
    _private: TempDir,
}

impl Samba {
    /// Starts `smbd` serving the directory `share`, which is made.
    pub fn start(setup: Setup, share: &Path) -> Result<Samba> {
        fs::create_dir_all(share)?;
        let private = tempfile::Builder::new().prefix("smbd").tempdir()?;
        for name in ["lock", "state", "cache", "pid", "ncalrpc"] {
            fs::create_dir(private.path().join(name))?;
        }
        let port = free_address()?.port();
        let user = current_user()?;
        let config = write_config(setup, private.path(), share, port, &user)?;
        add_account(&config, &user)?;
        let process = spawn(&config)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_for_port(address, Duration::from_secs(20)).context("smbd does not answer")?;
        Ok(Samba {
            process,
            address,
            user,
            _private: private,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// What `smbd --version` says.
    pub fn version() -> Result<String> {
        let output = Command::new(tool("smbd"))
            .arg("--version")
            .output()
            .context("smbd")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// Ends the per-connection children too: dropping alone would leave them to finish by themselves.
impl Drop for Samba {
    fn drop(&mut self) {
        self.process.terminate(Duration::from_secs(5)).ok();
    }
}

/// A tool's path; system daemons are not on every user's `PATH`.
pub fn tool(name: &str) -> PathBuf {
    let places = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&places)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|place| place.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

fn write_config(
    setup: Setup,
    private: &Path,
    share: &Path,
    port: u16,
    user: &str,
) -> Result<PathBuf> {
    let text = TEMPLATE
        .replace("{tuning}", setup.options())
        .replace("{port}", &port.to_string())
        .replace("{private}", &private.display().to_string())
        .replace("{share}", &share.canonicalize()?.display().to_string())
        .replace("{user}", user);
    let path = private.join("smb.conf");
    fs::write(&path, text)?;
    Ok(path)
}

fn add_account(config: &Path, user: &str) -> Result<()> {
    let mut child = Command::new(tool("smbpasswd"))
        .arg("-c")
        .arg(config)
        .args(["-s", "-a", user])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run smbpasswd (apt install samba)")?;
    let mut input = child.stdin.take().context("smbpasswd has an input")?;
    writeln!(input, "{PASSWORD}\n{PASSWORD}")?;
    drop(input);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "smbpasswd could not add {user}: {said}"
    );
    Ok(())
}

fn spawn(config: &Path) -> Result<Guarded> {
    let child = Command::new(tool("smbd"))
        .args(["--foreground", "--no-process-group", "--configfile"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // smbd ends its whole process group when it stops; without one of its own that would be ours.
        .process_group(0)
        .spawn()
        .context("cannot run smbd (apt install samba)")?;
    Ok(Guarded::new(child))
}

fn current_user() -> Result<String> {
    let output = Command::new("id").arg("-un").output().context("id -un")?;
    ensure!(output.status.success(), "id -un failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
