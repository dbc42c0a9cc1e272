//! Child processes that never outlive the test that started them.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::server::target_directory;

/// A child that is killed when dropped.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
}

impl Guarded {
    pub fn new(child: Child) -> Guarded {
        Guarded { child }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the process to end, as `kill PID` does, and waits for it.
    pub fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(patience)
    }

    /// Ends the process on the spot, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id())?;
        kill_process(Pid::from_raw(id).context("a child has an id")?, signal)?;
        Ok(())
    }

    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("process {} did not end within {patience:?}", self.id())
    }

    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both fail only where the process has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A loopback address whose port was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Waits until something accepts connections at `address`.
pub fn wait_for_port(address: SocketAddr, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
        if Instant::now() > deadline {
            bail!("nothing accepts connections at {address} after {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Keeps other processes of the tests from making the same tool at the same time, until it is dropped.
pub fn lock(tool: &str) -> Result<File> {
    let tools = target_directory().join("tools");
    std::fs::create_dir_all(&tools)?;
    let file = File::create(tools.join(format!("{tool}.lock")))?;
    file.lock()?;
    Ok(file)
}

/// True when running as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
