//! A directory on an ordinary file system as a disk.

mod domain;
mod file;
mod lock;
#[cfg(test)]
mod tests;

pub use lock::DeviceLock;

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{self, Access, AtFlags, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::{Device, DeviceError, DeviceFile, Env, Result, Space};
use file::RealFile;

/// One directory. Files in it are reached relative to a descriptor of it, so that a mount over the path, or a rename of
/// it, never mixes two disks.
#[derive(Debug)]
pub struct RealDevice {
    shared: Arc<Shared>,
    domain: u64,
    /// Where the kernel counts what the block device has done.
    counters: PathBuf,
}

/// What the device and its open files have in common.
#[derive(Debug)]
struct Shared {
    env: Arc<dyn Env>,
    name: String,
    root: OwnedFd,
    /// Directories whose own entry is known to be durable.
    durable_dirs: Mutex<HashSet<String>>,
    /// Paths whose sync failed once. The kernel may have dropped their pages and will report success the next time, so
    /// they are never synced again.
    failed_syncs: Mutex<HashSet<String>>,
}

impl RealDevice {
    /// The directory must exist and be writable.
    pub fn open(env: Arc<dyn Env>, path: &Path) -> Result<Arc<Self>> {
        let name = path.display().to_string();
        let fail = |operation, errno| translate(&name, operation, ".", errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => io_error(
                &name,
                "open",
                ".",
                "the directory does not exist; create it",
            ),
            Errno::NOTDIR => io_error(&name, "open", ".", "this is not a directory"),
            other => fail("open", other),
        })?;
        refuse_read_only(&root, &name)?;
        let stat = fs::fstat(&root).map_err(|errno| fail("stat", errno))?;
        let domain = domain::of(&root, stat.st_dev);
        let shared = Shared {
            env,
            name,
            root,
            durable_dirs: Mutex::default(),
            failed_syncs: Mutex::default(),
        };
        Ok(Arc::new(Self {
            shared: Arc::new(shared),
            domain,
            counters: domain::counters(domain),
        }))
    }

    /// Locks the directory against a second server until the lock is dropped.
    ///
    /// # Errors
    /// [`DeviceError::Io`] that names the process holding it.
    pub fn lock(&self) -> Result<DeviceLock> {
        DeviceLock::take(&self.shared)
    }
}

fn refuse_read_only(root: &OwnedFd, name: &str) -> Result<()> {
    let space = fs::fstatvfs(root).map_err(|errno| translate(name, "statvfs", ".", errno))?;
    if space.f_flag.contains(fs::StatVfsMountFlags::RDONLY) {
        return Err(io_error(
            name,
            "open",
            ".",
            "the file system is mounted read-only",
        ));
    }
    fs::accessat(
        root,
        ".",
        Access::WRITE_OK | Access::EXEC_OK,
        AtFlags::EACCESS,
    )
    .map_err(|_| {
        io_error(
            name,
            "open",
            ".",
            "this user may not write in the directory; change its owner or mode",
        )
    })
}

impl Shared {
    fn error(&self, operation: &'static str, path: &str, errno: Errno) -> DeviceError {
        translate(&self.name, operation, path, errno)
    }

    fn open_file(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let mode = Mode::RUSR | Mode::WUSR;
        fs::openat(
            &self.root,
            path,
            flags | OFlags::RDWR | OFlags::CLOEXEC,
            mode,
        )
    }

    /// Makes `dir` and its parents; those there already are as good.
    fn make_dirs(&self, dir: &str) -> Result<()> {
        let ends = dir.match_indices('/').map(|(at, _)| at).chain([dir.len()]);
        for end in ends.filter(|&end| end > 0) {
            let part = &dir[..end];
            match fs::mkdirat(&self.root, part, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.error("create directory", part, errno)),
            }
        }
        Ok(())
    }

    fn sync_one_dir(&self, dir: &str) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = if dir.is_empty() { "." } else { dir };
        let fd = fs::openat(&self.root, path, flags, Mode::empty())
            .map_err(|errno| self.error("open directory", path, errno))?;
        self.sync_once(path, || fs::fsync(fd.as_fd()))
    }

    /// Runs a sync unless one of this path failed before.
    fn sync_once(&self, path: &str, sync: impl Fn() -> rustix::io::Result<()>) -> Result<()> {
        if self.failed_syncs.lock().contains(path) {
            return Err(io_error(
                &self.name,
                "sync",
                path,
                "an earlier sync failed; its data may be lost",
            ));
        }
        let mut outcome = Ok(());
        self.env.block_in_place(&mut || outcome = sync());
        outcome.map_err(|errno| {
            self.failed_syncs.lock().insert(path.to_owned());
            // Also a full disk is a failed disk here: the pages may be gone.
            io_error(&self.name, "sync", path, &errno.to_string())
        })
    }
}

impl Device for RealDevice {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn failure_domain(&self) -> u64 {
        self.domain
    }

    fn progress(&self) -> Option<u64> {
        domain::completed(&self.counters)
    }

    fn create(&self, path: &str, preallocate: u64) -> Result<Arc<dyn DeviceFile>> {
        check_path(path);
        if let Some((dir, _)) = path.rsplit_once('/') {
            self.shared.make_dirs(dir)?;
        }
        let fd = self
            .shared
            .open_file(path, OFlags::CREATE | OFlags::EXCL)
            .map_err(|errno| self.shared.error("create", path, errno))?;
        let file = RealFile::new(Arc::clone(&self.shared), path, fd);
        if let Err(error) = file.preallocate(0, preallocate) {
            // The name would stand in the way of the next attempt.
            if let Err(errno) = fs::unlinkat(&self.shared.root, path, AtFlags::empty()) {
                tracing::warn!(device = %self.shared.name, path, %errno, "could not remove an unused file");
            }
            return Err(error);
        }
        Ok(Arc::new(file))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DeviceFile>> {
        check_path(path);
        let fd = self
            .shared
            .open_file(path, OFlags::NOFOLLOW)
            .map_err(|errno| self.shared.error("open", path, errno))?;
        Ok(Arc::new(RealFile::new(Arc::clone(&self.shared), path, fd)))
    }

    fn delete(&self, path: &str) -> Result<()> {
        check_path(path);
        fs::unlinkat(&self.shared.root, path, AtFlags::empty())
            .map_err(|errno| self.shared.error("delete", path, errno))?;
        self.shared.failed_syncs.lock().remove(path);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        check_path(from);
        check_path(to);
        fs::renameat(&self.shared.root, from, &self.shared.root, to)
            .map_err(|errno| self.shared.error("rename", from, errno))?;
        // A sync that failed was one of this file, whatever it is called.
        let mut failed = self.shared.failed_syncs.lock();
        if failed.remove(from) {
            failed.insert(to.to_owned());
        } else {
            failed.remove(to);
        }
        Ok(())
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let path = if dir.is_empty() { "." } else { dir };
        let mut names = match read_dir(&self.shared.root, path) {
            Ok(names) => names,
            Err(Errno::NOENT) => Vec::new(),
            Err(errno) => return Err(self.shared.error("list", path, errno)),
        };
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        if !dir.is_empty() {
            check_path(dir);
            self.shared.make_dirs(dir)?;
        }
        self.shared.sync_one_dir(dir)?;
        let mut child = dir;
        while !child.is_empty() && !self.shared.durable_dirs.lock().contains(child) {
            let parent = child.rsplit_once('/').map_or("", |(parent, _)| parent);
            self.shared.sync_one_dir(parent)?;
            self.shared.durable_dirs.lock().insert(child.to_owned());
            child = parent;
        }
        Ok(())
    }

    fn space(&self) -> Result<Space> {
        let found = fs::fstatvfs(&self.shared.root)
            .map_err(|errno| self.shared.error("statvfs", ".", errno))?;
        // Blocks kept for root are of no use to a server that runs as another user.
        let total = found
            .f_blocks
            .saturating_sub(found.f_bfree.saturating_sub(found.f_bavail));
        Ok(Space {
            total: total.saturating_mul(found.f_frsize),
            free: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }
}

fn read_dir(root: &OwnedFd, path: &str) -> rustix::io::Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = fs::openat(root, path, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(&dir)? {
        let entry = entry?;
        // Names that are not ours to write are not ours to read either.
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            let stat = fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            kind = FileType::from_raw_mode(stat.st_mode);
        }
        if kind == FileType::RegularFile {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Paths come from our own code only, so a bad one is a broken invariant and not an input error.
fn check_path(path: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let good = path
        .split('/')
        .all(|part| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain));
    assert!(good, "not a device path: {path:?}");
}

fn io_error(device: &str, operation: &'static str, path: &str, message: &str) -> DeviceError {
    DeviceError::Io {
        device: device.to_owned(),
        operation,
        path: path.to_owned(),
        message: message.to_owned(),
    }
}

fn translate(device: &str, operation: &'static str, path: &str, errno: Errno) -> DeviceError {
    let (device_owned, path_owned) = (device.to_owned(), path.to_owned());
    match errno {
        Errno::NOENT => DeviceError::NotFound {
            device: device_owned,
            path: path_owned,
        },
        Errno::EXIST => DeviceError::Exists {
            device: device_owned,
            path: path_owned,
        },
        Errno::NOSPC | Errno::DQUOT => DeviceError::NoSpace {
            device: device_owned,
            path: path_owned,
        },
        other => io_error(device, operation, path, &other.to_string()),
    }
}

/// Takes space without changing the length; file systems that cannot are left alone.
fn allocate(fd: &OwnedFd, offset: u64, len: u64) -> rustix::io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    match fs::fallocate(fd, FallocateFlags::KEEP_SIZE, offset, len) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno),
    }
}
