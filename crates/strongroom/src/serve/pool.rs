//! Which disks, and whether they hold a pool or are to become one.
//!
//! A missing label means an unmounted disk far more often than an empty one. So only two cases make a new pool: the
//! default data directory, absent or empty; and disks that are named on the command line and empty together with an
//! absent or empty data directory. Everything else without a label is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_device::{Device, Env, RealDevice};
use strongroom_pool::{NewPassphrase, Pool};

use crate::cli::{DEFAULT_DATA, ServeOptions};
use crate::data::DataDirectory;
use crate::disks::Directories;
use crate::failure::{Failure, Kind, Result};
use crate::serve::layout;

/// The pool's disks as the command line and the data directory tell them.
#[derive(Debug)]
pub(crate) struct Disks<'a> {
    options: &'a ServeOptions,
    named: Vec<PathBuf>,
    /// A pool may be made here.
    may_create: bool,
}

impl Disks<'_> {
    /// Decides before anything is written, the data directory included.
    pub(crate) fn find<'a>(data: &Path, options: &'a ServeOptions) -> Result<Disks<'a>> {
        let data_is_blank = is_blank(data)?;
        let is_default = data == Path::new(DEFAULT_DATA);
        if data_is_blank && options.disks.is_empty() && !is_default {
            return Err(no_pool(data));
        }
        let named = options.disks.iter().map(absolute).collect::<Result<_>>()?;
        Ok(Disks {
            options,
            named,
            may_create: data_is_blank,
        })
    }

    /// Opens the pool, or makes it. True if it was made.
    pub(crate) fn open(
        &self,
        env: &Arc<dyn Env>,
        data: &DataDirectory,
        directories: &Directories,
    ) -> Result<(Arc<Pool>, bool)> {
        let remembered = data.disks()?;
        // Without the list of disks nothing was ever served: a first start was cut short, and may go on.
        let may_create = self.may_create || (remembered.is_none() && self.is_first_start(data));
        let paths = self.paths(data, remembered);
        let devices = self.devices(env, directories, &paths, may_create)?;
        if may_create && all_blank(&devices)? {
            let layout = layout::choose(self.options, &devices)?;
            tracing::info!(%layout, disks = devices.len(), "making a new pool");
            let passphrase = self.new_passphrase()?;
            let pool = Pool::create_with(Arc::clone(env), devices, layout, passphrase.as_ref())?;
            return Ok((pool, true));
        }
        let pool = Pool::open(Arc::clone(env), devices)?;
        layout::refuse_another(self.options, pool.layout())?;
        self.unlock(&pool)?;
        // Labels without an epoch: making the pool was cut short before anything was stored.
        let is_new = pool.last_epoch().is_none();
        Ok((pool, is_new))
    }

    fn new_passphrase(&self) -> Result<Option<NewPassphrase>> {
        let source = &self.options.passphrase;
        let prompt = "A passphrase for the new pool, without which nobody can read it: ";
        self.options
            .encrypt
            .then(|| source.get_new(prompt))
            .transpose()
    }

    fn unlock(&self, pool: &Pool) -> Result<()> {
        if !pool.is_encrypted() {
            return match self.options.encrypt {
                false => Ok(()),
                true => Err(Failure::new(
                    Kind::Storage,
                    "the pool is not encrypted, which is chosen when a pool is made: start without --encrypt",
                )),
            };
        }
        let passphrase = self.options.passphrase.get("The pool's passphrase: ")?;
        Ok(pool.unlock(passphrase.as_bytes())?)
    }

    /// The next start finds the disks without being told.
    pub(crate) fn remember(
        &self,
        data: &DataDirectory,
        directories: &Directories,
        pool: &Pool,
    ) -> Result<()> {
        let paths = self.paths(data, data.disks()?);
        data.remember_disks(&paths)?;
        directories.remember(pool, None)
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
        directories: &Directories,
        paths: &[PathBuf],
        may_create: bool,
    ) -> Result<Vec<Arc<dyn Device>>> {
        let mut devices = Vec::new();
        let mut failures = Vec::new();
        for path in paths {
            match self.device(env, directories, path, paths.len() > 1, may_create)? {
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

    fn device(
        &self,
        env: &Arc<dyn Env>,
        directories: &Directories,
        path: &Path,
        several: bool,
        may_create: bool,
    ) -> Result<Found> {
        if may_create {
            fs::create_dir_all(path)
                .map_err(|error| Failure::path("make the disk's directory", path, &error))?;
        }
        if !path.is_dir() {
            return Ok(Found::Unmounted(not_there(path)));
        }
        // Asked before the lock, which leaves a file: an unmounted disk's mount point stays as empty as it is.
        if !may_create && Pool::is_blank(RealDevice::open(Arc::clone(env), path)?.as_ref())? {
            return Ok(Found::Unmounted(unlabelled(path)));
        }
        Ok(Found::Device(directories.open(path, several)?))
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
            ..ServeOptions::default()
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
        let options = named(&[&disk]);
        let may_create = || Disks::find(&data, &options).unwrap().may_create;
        assert!(may_create());
        fs::create_dir(&data).unwrap();
        assert!(may_create());
        fs::write(data.join("lock"), "").unwrap();
        assert!(!may_create());
    }
}
