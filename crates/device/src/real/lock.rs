//! The lock of a directory: one server at a time.

use std::os::fd::OwnedFd;

use rustix::fs::{self, AtFlags, FlockOperation, OFlags};
use rustix::io::Errno;

use super::Shared;
use crate::Result;

const LOCK_FILE: &str = "lock";

/// Held while a server uses the directory; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct DeviceLock {
    file: OwnedFd,
}

impl DeviceLock {
    /// Whether this is the lock of the directory as it is found now.
    pub fn is_of(&self, device: &super::RealDevice) -> bool {
        let held = fs::fstat(&self.file);
        let there = fs::statat(&device.shared.root, LOCK_FILE, AtFlags::SYMLINK_NOFOLLOW);
        match (held, there) {
            (Ok(held), Ok(there)) => (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino),
            _ => false,
        }
    }

    pub(super) fn take(shared: &Shared) -> Result<Self> {
        let fail = |operation, errno| shared.error(operation, LOCK_FILE, errno);
        let file = shared
            .open_file(LOCK_FILE, OFlags::CREATE | OFlags::NOFOLLOW)
            .map_err(|errno| fail("open", errno))?;
        match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(shared.held_error(LOCK_FILE, &holder(&file))),
            Err(errno) => return Err(fail("lock", errno)),
        }
        let text = format!("process {}\n", rustix::process::getpid().as_raw_nonzero());
        fs::ftruncate(&file, 0).map_err(|errno| fail("write", errno))?;
        rustix::io::pwrite(&file, text.as_bytes(), 0).map_err(|errno| fail("write", errno))?;
        Ok(Self { file })
    }
}

fn holder(file: &OwnedFd) -> String {
    let mut bytes = [0; 64];
    let len = rustix::io::pread(file, &mut bytes, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..len]);
    let text = text.trim();
    if text.is_empty() {
        "process unknown".to_owned()
    } else {
        text.to_owned()
    }
}
