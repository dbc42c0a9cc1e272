//! One guest: what it is given, its run, and what comes back.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tempfile::TempDir;

use super::network::{Network, Plug};
use crate::samba::tool;
use crate::server::{PASSWORD, USER, target_directory};

/// The code that the guest's first process reports when a mount failed.
const MOUNT_FAILED: i32 = 124;

/// A machine to be booted.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Tells guests of one network apart: 1 to 200.
    pub number: u8,
    pub memory_mib: u32,
    pub mount: Option<Mount>,
    pub disk: Option<Disk>,
}

/// What a guest mounts before its script runs in it.
#[derive(Debug, Clone)]
pub enum Mount {
    /// SMB 3.1.1 as the test's user, at [`Network::SERVER`], port 445.
    Smb {
        share: String,
        security: Security,
        /// Further options of mount.cifs(8), such as `posix`.
        options: Vec<String>,
    },
    Nfs {
        version: NfsVersion,
        port: u16,
        export: String,
        /// Further options of nfs(5).
        options: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Signed,
    Encrypted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NfsVersion {
    /// With the port of the MOUNT protocol; without NLM.
    V3 { mount_port: u16 },
    /// `4.0`, `4.1`, `4.2`.
    V4(&'static str),
}

/// A virtual disk: a file on the host that holds an ext4 file system.
#[derive(Debug, Clone)]
pub struct Disk {
    image: PathBuf,
}

impl Disk {
    /// Makes the file, sparse, and the file system.
    pub fn create(image: &Path, bytes: u64) -> Result<Disk> {
        File::create(image)?.set_len(bytes)?;
        let output = Command::new(tool("mkfs.ext4"))
            .args(["-q", "-F"])
            .arg(image)
            .output()
            .context("cannot run mkfs.ext4 (apt-get install e2fsprogs)")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mkfs.ext4 failed: {said}");
        Ok(Disk {
            image: image.to_owned(),
        })
    }
}

/// What a guest's script did.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// What the guest's kernel logged.
    pub kernel_log: String,
    /// As /proc/mounts had it.
    pub mounted: String,
}

impl Outcome {
    /// What the script printed; fails unless it ended with 0.
    pub fn succeeded(self) -> Result<String> {
        let Outcome {
            code,
            stdout,
            stderr,
            ..
        } = self;
        ensure!(
            code == 0,
            "the guest's script ended with {code}:\n{stdout}\n{stderr}"
        );
        Ok(stdout)
    }
}

impl Guest {
    pub fn new(number: u8) -> Guest {
        Guest {
            number,
            memory_mib: 512,
            mount: None,
            disk: None,
        }
    }

    /// Boots it and hands over at once; its script begins when the mounts stand.
    pub fn boot(&self, network: &Network, script: &str) -> Result<Running> {
        let parent = target_directory().join("guests");
        fs::create_dir_all(&parent)?;
        let job = tempfile::tempdir_in(parent.canonicalize()?)?;
        fs::write(job.path().join("script"), script)?;
        fs::write(job.path().join("settings"), self.settings())?;
        let init = job.path().join("init");
        fs::write(&init, include_str!("init.sh"))?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
        let plug = network.plug(self.number)?;
        let console = File::create(job.path().join("console"))?;
        let child = self.command(job.path(), &plug, console).spawn();
        let child = child.context("cannot run linux.uml (apt-get install user-mode-linux)")?;
        Ok(Running {
            child,
            collected: false,
            job,
            _plug: plug,
        })
    }

    /// Boots it and waits for its end; a guest that takes longer than `limit` is killed, which is an error.
    pub fn run(&self, network: &Network, script: &str, limit: Duration) -> Result<Outcome> {
        self.boot(network, script)?.wait(limit)
    }

    fn command(&self, job: &Path, plug: &Plug, console: File) -> Command {
        let mut command = Command::new(tool("linux.uml"));
        command
            .arg(format!("mem={}M", self.memory_mib))
            .args(["rootfstype=hostfs", "rootflags=/", "ro", "quiet"])
            .args(["con=null", "con0=null,fd:1"])
            .arg(format!("init={}", job.join("init").display()))
            .arg(format!("JOB={}", job.display()))
            .arg(format!(
                "vec0:transport=tap,ifname={},depth=64,gro=1",
                plug.name
            ))
            .arg(format!("uml_dir={}", job.display()))
            .arg("umid=machine");
        if let Some(disk) = &self.disk {
            command.arg(format!("ubd0={}", disk.image.display()));
        }
        // Its helpers are in its process group, so that a kill finds all of them.
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(console)
            .stderr(Stdio::null());
        command
    }

    fn settings(&self) -> String {
        let mut text = String::new();
        let mut set = |name: &str, value: &str| {
            writeln!(text, "{name}='{}'", value.replace('\'', "'\\''")).ok();
        };
        set("GUEST", &self.number.to_string());
        set("ADDRESS", &Network::address_of(self.number).to_string());
        if self.disk.is_some() {
            set("DISK", "1");
        }
        if let Some(mount) = &self.mount {
            let (kind, source, options) = mount.parts();
            set("TYPE", kind);
            set("SOURCE", &source);
            set("OPTIONS", &options);
        }
        text
    }
}

impl Mount {
    /// The test's own share by SMB.
    pub fn smb(security: Security, options: &[&str]) -> Mount {
        Mount::Smb {
            share: crate::server::SHARE.to_owned(),
            security,
            options: options.iter().map(|&option| option.to_owned()).collect(),
        }
    }

    /// The file system's type, what is mounted, and the options.
    fn parts(&self) -> (&'static str, String, String) {
        let server: Ipv4Addr = Network::SERVER;
        match self {
            Mount::Smb {
                share,
                security,
                options,
            } => {
                let mut all = vec![
                    "vers=3.1.1".to_owned(),
                    format!("username={USER}"),
                    format!("password={PASSWORD}"),
                ];
                all.push(match security {
                    Security::Signed => "sign".to_owned(),
                    Security::Encrypted => "seal".to_owned(),
                });
                all.extend(options.iter().cloned());
                ("cifs", format!("//{server}/{share}"), all.join(","))
            }
            Mount::Nfs {
                version,
                port,
                export,
                options,
            } => {
                let mut all = match version {
                    NfsVersion::V3 { mount_port } => {
                        vec![format!(
                            "vers=3,nolock,mountproto=tcp,mountport={mount_port}"
                        )]
                    }
                    NfsVersion::V4(minor) => vec![format!("vers={minor}")],
                };
                all.push(format!("proto=tcp,sec=sys,port={port}"));
                all.extend(options.iter().cloned());
                ("nfs", format!("{server}:{export}"), all.join(","))
            }
        }
    }
}

/// A booted guest; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Its process id may belong to somebody else by now.
    collected: bool,
    job: TempDir,
    _plug: Plug,
}

impl Running {
    /// Waits for its end.
    pub fn wait(self, limit: Duration) -> Result<Outcome> {
        Ok(self.wait_and(limit, || Ok(()))?.0)
    }

    /// Waits for its end, and then does something while the job directory is still there.
    pub fn wait_and<T>(
        mut self,
        limit: Duration,
        finish: impl FnOnce() -> std::io::Result<T>,
    ) -> Result<(Outcome, Option<T>)> {
        let deadline = Instant::now() + limit;
        while !self.has_ended()? {
            if Instant::now() > deadline {
                self.end();
                let said = self.outcome(-1);
                bail!(
                    "the guest did not end within {limit:?}:\n{}\n{}\n{}",
                    said.stdout,
                    said.stderr,
                    self.read("console")
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.end();
        let code = self.read("code").trim().parse();
        let code: i32 = code.map_err(|_| self.broken("ended without a result", "console"))?;
        if code == MOUNT_FAILED && !self.job.path().join("stdout").exists() {
            return Err(self.broken("could not mount", "mounting"));
        }
        Ok((self.outcome(code), finish().ok()))
    }

    /// Ends it as a power cut does: what its kernel had not given to its disk is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// The job directory, which the guest has at [`super::JOB_POINT`].
    pub fn job(&self) -> &Path {
        self.job.path()
    }

    /// What its kernel and its first process printed so far.
    pub fn console(&self) -> String {
        self.read("console")
    }

    /// Whether the machine is down. Its process is not collected by asking, so that its id stays its own.
    pub fn has_ended(&self) -> Result<bool> {
        if self.collected {
            return Ok(true);
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.process()?), options)?.is_some())
    }

    fn process(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.child.id())?).context("a child has an id")
    }

    /// Ends it with all its helpers, which may outlive it by a moment.
    fn end(&mut self) {
        if self.collected {
            return;
        }
        if let Ok(group) = self.process() {
            // Fails only where everything has ended by itself.
            kill_process_group(group, Signal::KILL).ok();
        }
        self.child.wait().ok();
        self.collected = true;
    }

    fn broken(&self, what: &str, file: &str) -> anyhow::Error {
        anyhow::anyhow!(
            "the guest {what}:\n{}\n{}",
            self.read(file),
            self.read("dmesg")
        )
    }

    fn outcome(&self, code: i32) -> Outcome {
        Outcome {
            code,
            stdout: self.read("stdout"),
            stderr: self.read("stderr"),
            kernel_log: self.read("dmesg"),
            mounted: self.read("mounted"),
        }
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.job.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
