//! Which disks, and whether they hold a pool or are to become one.
//!
//! A missing label means an unmounted disk far more often than an empty one. So only two cases make a new pool: the
//! default data directory, absent or empty; and disks that are named on the command line and empty together with an
//! absent or empty data directory. Everything else without a label is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_device::{Device, DeviceLock, Env, RealDevice};
use strongroom_pool::{Layout, Pool};

use crate::cli::{DEFAULT_DATA, ServeOptions};
use crate::data::DataDirectory;
use crate::failure::{Failure, Kind, Result};

/// The pool's disks as the command line and the data directory tell them.
#[derive(Debug)]
pub(crate) struct Disks {
    named: Vec<PathBuf>,
    /// A pool may be made here.
    may_create: bool,
    /// Held so that no second server uses the disks through another data directory.
    locks: std::sync::Mutex<Vec<DeviceLock>>,
}

impl Disks {
    /// Decides before anything is written, the data directory included.
    pub(crate) fn find(data: &Path, options: &ServeOptions) -> Result<Disks> {
        let data_is_blank = is_blank(data)?;
        let is_default = data == Path::new(DEFAULT_DATA);
        if data_is_blank && options.disks.is_empty() && !is_default {
            return Err(no_pool(data));
        }
        let named = options.disks.iter().map(absolute).collect::<Result<_>>()?;
        Ok(Disks {
            named,
            may_create: data_is_blank,
            locks: std::sync::Mutex::default(),
        })
    }

    /// Opens the pool, or makes it. True if it was made.
    pub(crate) fn open(
        &self,
        env: &Arc<dyn Env>,
        data: &DataDirectory,
    ) -> Result<(Arc<Pool>, bool)> {
        let remembered = data.disks()?;
        // Without the list of disks nothing was ever served: a first start was cut short, and may go on.
        let may_create = self.may_create || (remembered.is_none() && self.is_first_start(data));
        let paths = self.paths(data, remembered);
        let devices = self.devices(env, &paths, may_create)?;
        if may_create && all_blank(&devices)? {
            let layout = layout_of(devices.len())?;
            tracing::info!(%layout, disks = devices.len(), "making a new pool");
            return Ok((Pool::create(Arc::clone(env), devices, layout)?, true));
        }
        let pool = Pool::open(Arc::clone(env), devices)?;
        // Labels without an epoch: making the pool was cut short before anything was stored.
        let is_new = pool.last_epoch().is_none();
        Ok((pool, is_new))
    }

    /// The next start finds the disks without being told.
    pub(crate) fn remember(&self, data: &DataDirectory) -> Result<()> {
        let paths = self.paths(data, data.disks()?);
        data.remember_disks(&paths)
    }

    fn paths(&self, data: &DataDirectory, remembered: Option<Vec<PathBuf>>) -> Vec<PathBuf> {
        match remembered {
            _ if !self.named.is_empty() => self.named.clone(),
            Some(disks) if !disks.is_empty() => disks,
            Some(_) | None => vec![data.only_disk()],
        }
    }

    fn is_first_start(&self, data: &DataDirectory) -> bool {
        !self.named.is_empty()
            || Path::new(DEFAULT_DATA)
                .canonicalize()
                .is_ok_and(|default| default == data.path())
    }

    /// A mirror serves on without some of its disks; the pool decides whether those that are there suffice.
    fn devices(
        &self,
        env: &Arc<dyn Env>,
        paths: &[PathBuf],
        may_create: bool,
    ) -> Result<Vec<Arc<dyn Device>>> {
        let mut devices = Vec::new();
        let mut failures = Vec::new();
        for path in paths {
            match self.device(env, path, may_create)? {
                Found::Device(device) => devices.push(device),
                Found::Unmounted(failure) => failures.push(failure),
            }
        }
        if may_create || devices.is_empty() {
            return failures.into_iter().next().map_or(Ok(devices), Err);
        }
        for failure in failures {
            tracing::error!(%failure, "a disk is left out");
        }
        Ok(devices)
    }

    fn device(&self, env: &Arc<dyn Env>, path: &Path, may_create: bool) -> Result<Found> {
        if may_create {
            fs::create_dir_all(path)
                .map_err(|error| Failure::path("make the disk's directory", path, &error))?;
        }
        if !path.is_dir() {
            return Ok(Found::Unmounted(not_there(path)));
        }
        let device = RealDevice::open(Arc::clone(env), path)?;
        // Asked before the lock, which leaves a file: an unmounted disk's mount point stays as empty as it is.
        if !may_create && Pool::is_blank(device.as_ref())? {
            return Ok(Found::Unmounted(unlabelled(path)));
        }
        let lock = device.lock()?;
        self.locks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(lock);
        Ok(Found::Device(device))
    }
}

/// What is at a disk's path.
enum Found {
    Device(Arc<dyn Device>),
    /// Nothing, or an empty directory; with what to say where that is a failure.
    Unmounted(Failure),
}

fn not_there(path: &Path) -> Failure {
    let path = path.display();
    Failure::new(
        Kind::Storage,
        format!(
            "the disk {path} is not there: mount it, or name the pool's disks anew with --disk"
        ),
    )
}

fn unlabelled(path: &Path) -> Failure {
    let path = path.display();
    Failure::new(
        Kind::Storage,
        format!(
            "the disk {path} has no pool label: is it mounted? Nothing was written to it; mount it \
             and start again, or name the pool's disks anew with --disk"
        ),
    )
}

/// Absent, or a directory with nothing in it.
fn is_blank(path: &Path) -> Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Failure::path("read the data directory", path, &error)),
    }
}

fn absolute(path: &PathBuf) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Failure::path("use the disk", path, &error))
}

fn all_blank(devices: &[Arc<dyn Device>]) -> Result<bool> {
    for device in devices {
        if !Pool::is_blank(device.as_ref())? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn layout_of(disks: usize) -> Result<Layout> {
    let parity = disks
        .checked_sub(1)
        .and_then(|parity| u8::try_from(parity).ok());
    match parity {
        Some(parity @ 0..=2) => Ok(Layout { data: 1, parity }),
        Some(_) | None => Err(Failure::new(
            Kind::Storage,
            format!(
                "{disks} disks were named: this version makes pools of one disk, or mirrors of two \
                 or three"
            ),
        )),
    }
}

fn no_pool(data: &Path) -> Failure {
    let data = data.display();
    Failure::new(
        Kind::Storage,
        format!(
            "there is no pool in {data}. If its disk is not mounted, mount it and start again. To \
             make a new pool, name its disks: strongroom serve --data {data} --disk {data}/disk-0"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(disks: &[&Path]) -> ServeOptions {
        ServeOptions {
            disks: disks.iter().map(|disk| disk.to_path_buf()).collect(),
            smb: None,
            no_discovery: false,
            no_history: false,
        }
    }

    #[test]
    fn an_empty_directory_other_than_the_default_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let failure = Disks::find(place.path(), &named(&[])).unwrap_err();
        assert_eq!(failure.exit_code(), 5);
        assert!(failure.to_string().contains("--disk"), "{failure}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn named_disks_may_become_a_pool_only_with_an_empty_data_directory() {
        let place = tempfile::tempdir().unwrap();
        let disk = place.path().join("disk");
        let data = place.path().join("data");
        assert!(Disks::find(&data, &named(&[&disk])).unwrap().may_create);
        fs::create_dir(&data).unwrap();
        assert!(Disks::find(&data, &named(&[&disk])).unwrap().may_create);
        fs::write(data.join("lock"), "").unwrap();
        assert!(!Disks::find(&data, &named(&[&disk])).unwrap().may_create);
    }

    #[test]
    fn two_and_three_disks_make_mirrors() {
        assert_eq!(layout_of(1).unwrap(), Layout::SINGLE);
        assert_eq!(layout_of(2).unwrap(), Layout::MIRROR);
        assert_eq!(layout_of(3).unwrap(), Layout { data: 1, parity: 2 });
        assert!(layout_of(0).is_err());
        assert!(layout_of(4).is_err());
    }
}
