//! The directories that are the pool's disks: opened, locked against other servers, and written down for the next start.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_admin::AddDisk;
use strongroom_device::{
    BoundedDevice, Device, DeviceError, DeviceLock, Env, RealDevice, takes_writes,
};
use strongroom_pool::{DiskId, DiskOptions, DiskState, DiskStatus, Pool, PoolError, Reopen};

use crate::data::DataDirectory;
use crate::failure::{Failure, Kind, Result};

/// What a server keeps to open more disks.
#[derive(Debug)]
pub(crate) struct Directories {
    env: Arc<dyn Env>,
    data: Arc<DataDirectory>,
    /// How long a disk is waited for.
    limit: Duration,
    /// Held so that no second server uses the disks through another data directory.
    locks: Arc<Locks>,
    /// Disks that are being opened anew. One that hangs answers late or never, so there is one attempt at a time.
    attempts: Mutex<HashMap<PathBuf, Receiver<Attempt>>>,
}

type Locks = Mutex<Vec<(PathBuf, DeviceLock)>>;
type Attempt = std::result::Result<Arc<RealDevice>, DeviceError>;

/// How long a disk that was set aside is waited for when it is asked again.
const PATIENCE: Duration = Duration::from_secs(1);

impl Directories {
    pub(crate) fn new(env: &Arc<dyn Env>, data: &Arc<DataDirectory>, limit: Duration) -> Self {
        Self {
            env: Arc::clone(env),
            data: Arc::clone(data),
            limit,
            locks: Arc::default(),
            attempts: Mutex::default(),
        }
    }

    /// Opens and locks a directory. A disk of several is waited for no longer than the limit.
    pub(crate) fn open(&self, path: &Path, is_one_of_several: bool) -> Result<Arc<dyn Device>> {
        let device = RealDevice::open(Arc::clone(&self.env), path)?;
        let lock = device.lock()?;
        self.locks.lock().push((path.to_owned(), lock));
        Ok(if is_one_of_several {
            BoundedDevice::new(Arc::clone(&self.env), device, self.limit)
        } else {
            device
        })
    }

    /// Makes a directory a disk of the pool; in place of `replaced`, if that is given.
    ///
    /// # Errors
    /// The directory or the pool refuses; then nothing was changed.
    fn add(
        &self,
        pool: &Pool,
        path: &Path,
        replaced: Option<&str>,
        options: DiskOptions,
    ) -> Result<DiskId> {
        let was_empty = fs::read_dir(path)
            .map_err(|error| Failure::path("use the disk", path, &error))?
            .next()
            .is_none();
        if self.locks.lock().iter().any(|(known, _)| known == path) {
            self.forget(path);
        }
        let device = self.open(path, true)?;
        let added = match replaced {
            None => pool.add_disk(device, options),
            Some(old) => pool
                .find_disk(old)
                .and_then(|old| pool.replace_disk(old, device, options)),
        };
        match added {
            Ok(id) => {
                self.remember(pool, Some(path))?;
                Ok(id)
            }
            Err(error) => {
                self.undo(path, was_empty);
                Err(refused(&error))
            }
        }
    }

    fn forget(&self, path: &Path) {
        self.locks.lock().retain(|(known, _)| known != path);
    }

    /// Leaves a directory as it was found.
    fn undo(&self, path: &Path, was_empty: bool) {
        self.forget(path);
        if was_empty && let Err(error) = fs::remove_file(path.join("lock")) {
            tracing::warn!(%error, "a lock file is left behind");
        }
    }

    /// Writes down where the disks are, for the next start; those that were taken out are no longer among them.
    pub(crate) fn remember(&self, pool: &Pool, new: Option<&Path>) -> Result<()> {
        let status = pool.status();
        let missing = |disk: &DiskStatus| disk.state == DiskState::Missing;
        let all_found = !status.disks.iter().any(missing);
        // Where no disk is missing, a directory that is none holds nothing that is waited for.
        let belongs = |path: &PathBuf| {
            let name = path.display().to_string();
            let mut disks = status.disks.iter();
            let disk = disks.find(|disk| disk.name == name);
            disk.map_or(!all_found, |disk| disk.state != DiskState::Retired)
        };
        let mut paths = self.data.disks()?.unwrap_or_default();
        paths.extend(new.map(Path::to_owned));
        paths.retain(belongs);
        let mut seen = std::collections::BTreeSet::new();
        paths.retain(|path| seen.insert(path.clone()));
        self.data.remember_disks(&paths)
    }
}

impl AddDisk for Directories {
    fn add(
        &self,
        pool: &Pool,
        path: &Path,
        replaced: Option<&str>,
        options: DiskOptions,
    ) -> std::result::Result<DiskId, String> {
        Directories::add(self, pool, path, replaced, options).map_err(|failure| failure.to_string())
    }
}

impl Reopen for Directories {
    fn reopen(&self, name: &str) -> std::result::Result<Arc<dyn Device>, DeviceError> {
        let path = PathBuf::from(name);
        let mut attempts = self.attempts.lock();
        let attempt = attempts
            .entry(path.clone())
            .or_insert_with(|| self.attempt(path.clone()));
        let device = match attempt.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Timeout) => return Err(silent(name)),
            Err(RecvTimeoutError::Disconnected) => Err(silent(name)),
            Ok(outcome) => outcome,
        };
        attempts.remove(&path);
        Ok(BoundedDevice::new(
            Arc::clone(&self.env),
            device?,
            self.limit,
        ))
    }
}

impl Directories {
    /// Opens a directory anew on a thread that may be given up.
    fn attempt(&self, path: PathBuf) -> Receiver<Attempt> {
        let (sender, receiver) = channel();
        let (env, locks) = (Arc::clone(&self.env), Arc::clone(&self.locks));
        std::thread::spawn(move || {
            let outcome = open_anew(&env, &locks, &path);
            // Nobody may be waiting any more.
            sender.send(outcome).ok();
        });
        receiver
    }
}

/// A mount point without its disk is left as it is.
fn open_anew(env: &Arc<dyn Env>, locks: &Locks, path: &Path) -> Attempt {
    let device = RealDevice::open(Arc::clone(env), path)?;
    let blank = Pool::is_blank(&*device).map_err(|error| unusable(path, &error.to_string()))?;
    if blank {
        return Err(unusable(path, "nothing of a pool is there"));
    }
    let mut held = locks.lock();
    // What is mounted there now may be another file system than before.
    let locked = |(known, lock): &(PathBuf, DeviceLock)| known == path && lock.is_of(&device);
    if !held.iter().any(locked) {
        let lock = device.lock()?;
        held.retain(|(known, _)| known != path);
        held.push((path.to_owned(), lock));
    }
    drop(held);
    takes_writes(&*device)?;
    Ok(device)
}

fn silent(name: &str) -> DeviceError {
    unusable(Path::new(name), "it does not answer yet")
}

fn unusable(path: &Path, why: &str) -> DeviceError {
    DeviceError::Io {
        device: path.display().to_string(),
        operation: "open",
        path: ".".to_owned(),
        message: why.to_owned(),
    }
}

/// What the pool will not do with its disks.
pub(crate) fn refused(error: &PoolError) -> Failure {
    let how = if matches!(error, PoolError::SharedDevice { .. }) {
        " with --allow-shared-device"
    } else {
        ""
    };
    Failure::new(Kind::Refused, format!("{error}{how}"))
}
