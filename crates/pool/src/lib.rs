//! Many disks as one: labels, epochs and membership, segments of checksummed stripes, mirrors.

pub mod checksum;
pub mod codec;
mod error;
mod types;

pub use error::{ErrorKind, PoolError, Result};
pub use types::{
    Address, DiskId, DiskState, DiskStatus, EpochId, EpochInfo, ExtentTag, Home, Lane, Layout,
    PoolId, PoolSpace, PoolStatus, SegmentId, SegmentInfo, StripeInfo, Txg,
};

use std::sync::Arc;

use strongroom_device::{Device, DeviceError, Env};

/// Payload bytes of one stripe for each data shard.
pub const MAX_STRIPE_PAYLOAD: usize = 1 << 20;
/// Extents start at multiples of this, and lengths are padded to it.
pub const BLOCK: usize = 4096;

/// How to open a pool.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Open with fewer members than there were, if nothing acknowledged can be missing.
    pub allow_degraded: bool,
    /// Segment files held open at once.
    pub max_open_files: usize,
    /// Fragment headers held in memory.
    pub max_cached_headers: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { allow_degraded: true, max_open_files: 512, max_cached_headers: 65_536 }
    }
}

/// An open pool.
#[derive(Debug)]
pub struct Pool {
    _private: (),
}

#[expect(unused_variables, clippy::missing_panics_doc, reason = "bodies follow")]
impl Pool {
    pub fn create(env: Arc<dyn Env>, devices: Vec<Arc<dyn Device>>, layout: Layout) -> Result<Arc<Pool>> {
        unimplemented!()
    }
    pub fn open(env: Arc<dyn Env>, devices: Vec<Arc<dyn Device>>) -> Result<Arc<Pool>> {
        unimplemented!()
    }
    pub fn open_with(env: Arc<dyn Env>, devices: Vec<Arc<dyn Device>>, options: OpenOptions) -> Result<Arc<Pool>> {
        unimplemented!()
    }
    /// True if the device has no label and no pool files.
    pub fn is_blank(device: &dyn Device) -> Result<bool> {
        unimplemented!()
    }
    pub fn id(&self) -> PoolId {
        unimplemented!()
    }
    pub fn layout(&self) -> Layout {
        unimplemented!()
    }
    pub fn last_epoch(&self) -> Option<EpochInfo> {
        unimplemented!()
    }
    pub fn begin_epoch(&self, last_txg: Txg, live_ends: &[(SegmentId, u32)]) -> Result<EpochId> {
        unimplemented!()
    }
    pub fn epoch(&self) -> EpochId {
        unimplemented!()
    }
    pub fn homes(&self, role: &str) -> Vec<Home> {
        unimplemented!()
    }
    pub fn set_aside(&self, device: &str, why: &DeviceError) -> Result<()> {
        unimplemented!()
    }
    pub fn append(&self, lane: Lane, txg: Txg, extents: &[(ExtentTag, &[&[u8]])]) -> Result<Vec<Address>> {
        unimplemented!()
    }
    pub fn sync_segments(&self, segments: &[SegmentId]) -> Result<()> {
        unimplemented!()
    }
    pub fn read(&self, address: Address, start: u32, buffer: &mut [u8]) -> Result<()> {
        unimplemented!()
    }
    pub fn seal(&self, segment: SegmentId) -> Result<()> {
        unimplemented!()
    }
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        unimplemented!()
    }
    pub fn stripes(&self, segment: SegmentId) -> Result<Vec<StripeInfo>> {
        unimplemented!()
    }
    pub fn punch_stripe(&self, segment: SegmentId, stripe: u32, blocks: u32) -> Result<()> {
        unimplemented!()
    }
    pub fn delete_segment(&self, segment: SegmentId) -> Result<()> {
        unimplemented!()
    }
    pub fn space(&self) -> Result<PoolSpace> {
        unimplemented!()
    }
    pub fn status(&self) -> PoolStatus {
        unimplemented!()
    }
    pub fn close(&self) -> Result<()> {
        unimplemented!()
    }
}
