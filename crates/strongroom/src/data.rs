//! The server's own directory: the lock, the control socket, and the list of the pool's disks.
//!
//! ```text
//! DIR/lock           held while a server runs
//! DIR/control.sock   the administration interface, for its owner only
//! DIR/disks          one path a line, absolute; where the pool was last opened
//! DIR/disk-0         the pool's only disk, where no --disk was given
//! ```

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::failure::{Failure, Kind, Result};

const LOCK: &str = "lock";
const SOCKET: &str = "control.sock";
const DISKS: &str = "disks";
const ONLY_DISK: &str = "disk-0";
/// A socket's address has 108 bytes with its closing zero (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// The directory, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory where it is absent, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<DataDirectory> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| Failure::path("make the data directory", path, &error))?;
        let path = path
            .canonicalize()
            .map_err(|error| Failure::path("find the data directory", path, &error))?;
        let lock = take_lock(&path)?;
        Ok(DataDirectory { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The disk that a pool has when none is named.
    pub(crate) fn only_disk(&self) -> PathBuf {
        self.path.join(ONLY_DISK)
    }

    /// The disks that were written down; None before there was a pool.
    pub(crate) fn disks(&self) -> Result<Option<Vec<PathBuf>>> {
        let path = self.path.join(DISKS);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.lines().map(PathBuf::from).collect())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::path("read", &path, &error)),
        }
    }

    /// Writes down where the pool's disks are, for the next start.
    pub(crate) fn remember_disks(&self, disks: &[PathBuf]) -> Result<()> {
        let path = self.path.join(DISKS);
        let text: String = disks
            .iter()
            .map(|disk| format!("{}\n", disk.display()))
            .collect();
        replace_file(&self.path, &path, text.as_bytes())
            .map_err(|error| Failure::path("write", &path, &error))
    }
}

/// Whole and durable, or as it was before.
fn replace_file(directory: &Path, path: &Path, content: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

fn take_lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| Failure::path("open", &path, &error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Failure::new(
            Kind::Locked,
            format!(
                "another server is running on {}: stop it first, or name another --data directory",
                directory.display()
            ),
        )),
        Err(error) => Err(Failure::path("lock", &path, &error.into())),
    }
}

/// A path to the control socket that fits into a socket address, with what must stay open for it to be valid.
#[derive(Debug)]
pub(crate) struct SocketPath {
    path: PathBuf,
    _directory: Option<File>,
}

impl SocketPath {
    pub(crate) fn of(data: &Path) -> std::io::Result<SocketPath> {
        let path = data.join(SOCKET);
        if path.as_os_str().len() <= SOCKET_PATH_MAX {
            return Ok(SocketPath {
                path,
                _directory: None,
            });
        }
        // The kernel resolves a descriptor's link to the directory, however long its path is.
        let directory = File::open(data)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()));
        Ok(SocketPath {
            path,
            _directory: Some(directory),
        })
    }

    pub(crate) fn as_path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_second_server() {
        let place = tempfile::tempdir().unwrap();
        let first = DataDirectory::lock(place.path()).unwrap();
        let second = DataDirectory::lock(place.path()).unwrap_err();
        assert_eq!(second.exit_code(), 7);
        drop(first);
        assert!(DataDirectory::lock(place.path()).is_ok());
    }

    #[test]
    fn remembers_its_disks() {
        let place = tempfile::tempdir().unwrap();
        let data = DataDirectory::lock(place.path()).unwrap();
        assert_eq!(data.disks().unwrap(), None);
        let disks = vec![PathBuf::from("/mnt/a b"), PathBuf::from("/mnt/c")];
        data.remember_disks(&disks).unwrap();
        assert_eq!(data.disks().unwrap(), Some(disks));
    }

    #[test]
    fn a_long_path_still_has_a_socket() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        let socket = SocketPath::of(&deep).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(socket.as_path()).unwrap();
        assert!(deep.join(SOCKET).exists());
    }
}
