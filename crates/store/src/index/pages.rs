//! Checksummed pages on two or more copies.

use std::sync::Arc;

use strongroom_device::{Device, DeviceError};

/// Where one copy of the index lies.
#[derive(Debug, Clone)]
pub(crate) struct PageHome {
    pub(crate) device: Arc<dyn Device>,
    /// A directory of its own, such as `index/0`.
    pub(crate) dir: String,
}

/// Told that an operation on a device failed and that its copy is out of service. False when nothing may be written
/// any more.
pub(crate) type FailureHook = Arc<dyn Fn(&str, &DeviceError) -> bool + Send + Sync>;

/// Counters of the page store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PageStatus {
    /// Copies in service, and in all.
    pub(crate) copies_good: u32,
    pub(crate) copies: u32,
    /// Pages found bad on one copy, and those written anew from another.
    pub(crate) bad: u64,
    pub(crate) repaired: u64,
    /// Pages bad on every copy when they were asked for.
    pub(crate) lost: u64,
}
