//! A directory on an ordinary file system as a disk.
use std::path::Path;
use std::sync::Arc;
use crate::{Device, DeviceFile, Env, Result, Space};

/// One directory.
#[derive(Debug)]
pub struct RealDevice;

#[expect(unused_variables, reason = "bodies follow")]
impl RealDevice {
    /// The directory must exist and be writable.
    pub fn open(env: Arc<dyn Env>, path: &Path) -> Result<Arc<RealDevice>> { unimplemented!() }
    /// Locks the directory against a second server until the lock is dropped.
    pub fn lock(&self) -> Result<DeviceLock> { unimplemented!() }
}
/// Held while a server uses the directory.
#[derive(Debug)]
pub struct DeviceLock;
#[expect(unused_variables, reason = "bodies follow")]
impl Device for RealDevice {
    fn name(&self) -> &str { unimplemented!() }
    fn failure_domain(&self) -> u64 { unimplemented!() }
    fn create(&self, path: &str, preallocate: u64) -> Result<Arc<dyn DeviceFile>> { unimplemented!() }
    fn open(&self, path: &str) -> Result<Arc<dyn DeviceFile>> { unimplemented!() }
    fn delete(&self, path: &str) -> Result<()> { unimplemented!() }
    fn list(&self, dir: &str) -> Result<Vec<String>> { unimplemented!() }
    fn sync_dir(&self, dir: &str) -> Result<()> { unimplemented!() }
    fn space(&self) -> Result<Space> { unimplemented!() }
}
