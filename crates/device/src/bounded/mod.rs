//! A disk that answers within a bounded time, or counts as failed.
//!
//! A disk that hangs keeps whoever asks it in the kernel, for minutes or for ever, and no signal helps. So the disk is
//! asked by threads of its own, which can be given up: every call waits for its answer no longer than a limit. From then
//! on the disk fails all operations at once, so that its owner sets it aside and goes on with the others. What the
//! threads were given is theirs: what is written is copied, what is read comes through a buffer.
//!
//! What memory answers is asked on the caller's own thread ([`DeviceFile::read_cached`]).

mod file;
#[cfg(test)]
mod tests;
mod workers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Device, DeviceError, DeviceFile, Env, Result, Space};
use file::BoundedFile;
use workers::{Outcome, Workers};

/// A device whose operations end.
pub struct BoundedDevice {
    shared: Arc<Shared>,
}

/// What the device and its open files have in common.
struct Shared {
    env: Arc<dyn Env>,
    inner: Arc<dyn Device>,
    workers: Arc<Workers>,
    limit: Duration,
}

impl fmt::Debug for BoundedDevice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BoundedDevice({:?})", self.shared.inner)
    }
}

impl BoundedDevice {
    /// No operation of it takes longer than `limit`, or four times that where the disk is seen to be at work.
    pub fn new(env: Arc<dyn Env>, inner: Arc<dyn Device>, limit: Duration) -> Arc<Self> {
        let device = Arc::clone(&inner);
        let progress = Box::new(move || device.progress());
        let workers = Workers::new(inner.name(), limit, progress);
        let shared = Shared {
            env,
            inner,
            workers,
            limit,
        };
        Arc::new(Self {
            shared: Arc::new(shared),
        })
    }
}

impl Shared {
    /// Runs an operation on one of the disk's threads and waits for it.
    fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &str,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match self.workers.run(&*self.env, work) {
            Outcome::Answered(answer) => answer,
            Outcome::Hung => Err(self.hung(operation, path)),
        }
    }

    fn hung(&self, operation: &'static str, path: &str) -> DeviceError {
        DeviceError::Io {
            device: self.inner.name().to_owned(),
            operation,
            path: path.to_owned(),
            message: format!("the disk hangs: it did not answer for {:?}", self.limit),
        }
    }

    fn file(self: &Arc<Self>, path: &str, inner: Arc<dyn DeviceFile>) -> Arc<dyn DeviceFile> {
        Arc::new(BoundedFile::new(Arc::clone(self), path, inner))
    }

    /// Runs an operation of the device itself.
    fn on_device<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &str,
        work: impl FnOnce(&dyn Device, &str) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (device, owned) = (Arc::clone(&self.inner), path.to_owned());
        self.call(operation, path, move || work(&*device, &owned))
    }
}

impl Device for BoundedDevice {
    fn name(&self) -> &str {
        self.shared.inner.name()
    }

    fn failure_domain(&self) -> u64 {
        self.shared.inner.failure_domain()
    }

    fn progress(&self) -> Option<u64> {
        self.shared.inner.progress()
    }

    fn create(&self, path: &str, preallocate: u64) -> Result<Arc<dyn DeviceFile>> {
        let create = move |device: &dyn Device, path: &str| device.create(path, preallocate);
        let file = self.shared.on_device("create", path, create)?;
        Ok(self.shared.file(path, file))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DeviceFile>> {
        let file = self
            .shared
            .on_device("open", path, |device, path| device.open(path))?;
        Ok(self.shared.file(path, file))
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.shared
            .on_device("delete", path, |device, path| device.delete(path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let to = to.to_owned();
        let rename = move |device: &dyn Device, from: &str| device.rename(from, &to);
        self.shared.on_device("rename", from, rename)
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.shared
            .on_device("list", dir, |device, dir| device.list(dir))
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        self.shared
            .on_device("sync", dir, |device, dir| device.sync_dir(dir))
    }

    fn space(&self) -> Result<Space> {
        self.shared
            .on_device("statvfs", ".", |device, _| device.space())
    }
}
