//! One disk is one directory on its own file system, or a simulated one.
//!
//! Every byte of pool I/O passes through [`Device`] and [`DeviceFile`], and faults come in nowhere else.
//! Clock, entropy, spawning and blocking work come in through [`Env`].

mod bounded;
mod env;
mod real;
mod shadow;
pub mod sim;
mod tokio_env;

pub use bounded::BoundedDevice;
pub use env::{BoxFuture, Env, EnvExt, Timestamp};
pub use real::{DeviceLock, RealDevice};
pub use shadow::ShadowDevice;
pub use tokio_env::TokioEnv;

use std::fmt::Debug;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

/// What a device cannot do, and what the caller may do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeviceError {
    /// The name is not there.
    #[error("{device}: {path} does not exist")]
    NotFound { device: String, path: String },
    /// Created exclusively, and it is there already.
    #[error("{device}: {path} exists already")]
    Exists { device: String, path: String },
    /// No room; deleting helps.
    #[error("{device}: no space left while writing {path}")]
    NoSpace { device: String, path: String },
    /// The disk failed. The caller sets it aside; it never retries a failed sync.
    #[error("{device}: {operation} {path}: {message}")]
    Io {
        device: String,
        operation: &'static str,
        path: String,
        message: String,
    },
}

pub type Result<T> = std::result::Result<T, DeviceError>;

/// Bytes that a device can hold and still take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    pub free: u64,
}

/// One disk. Paths are relative, `/`-separated, of plain ASCII components; directories are made as needed.
pub trait Device: Send + Sync + Debug {
    /// What a person calls it in messages: the directory's path.
    fn name(&self) -> &str;
    /// Devices with equal domains share one block device, be it by different partitions, and die together.
    fn failure_domain(&self) -> u64;
    /// A number that moves whenever the disk got something done, whoever asked for it; None where that cannot be known.
    /// Never waits for the disk.
    fn progress(&self) -> Option<u64> {
        None
    }
    /// Makes a new empty file, with `preallocate` bytes of space behind it. Durable after [`Device::sync_dir`].
    fn create(&self, path: &str, preallocate: u64) -> Result<Arc<dyn DeviceFile>>;
    fn open(&self, path: &str) -> Result<Arc<dyn DeviceFile>>;
    /// Durable after [`Device::sync_dir`].
    fn delete(&self, path: &str) -> Result<()>;
    /// Gives a file another name in the same directory, in place of a file that has it. After a crash it has one of the two
    /// names; the new one for sure after [`Device::sync_dir`]. What is open stays open.
    fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// The files directly in `dir`, sorted, without the directory's name. An absent directory is empty.
    fn list(&self, dir: &str) -> Result<Vec<String>>;
    /// Makes creations, deletions and new names in `dir` (and `dir` itself) durable.
    fn sync_dir(&self, dir: &str) -> Result<()>;
    fn space(&self) -> Result<Space>;
}

/// One open file of a device.
pub trait DeviceFile: Send + Sync + Debug {
    fn len(&self) -> Result<u64>;
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills as much of the buffers from `offset` on as can be had without waiting for the disk; returns how many bytes
    /// from their start those are. Fewer than asked for mean nothing else.
    fn read_cached(&self, _offset: u64, _buffers: &mut [IoSliceMut<'_>]) -> usize {
        0
    }
    /// Has the disk begin to bring a range into memory, if it is not there yet. Waits for nothing; a hint that may do
    /// nothing.
    fn read_ahead(&self, _offset: u64, _len: u64) {}
    /// Fills the buffers from `offset`; returns fewer bytes only at the end of the file.
    /// Answers from the page cache inline; where that fails it blocks inside [`Env::block_in_place`].
    fn read_vectored_at(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> Result<usize>;
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.read_vectored_at(offset, &mut [IoSliceMut::new(buffer)])
    }
    /// Writes everything at `offset`, growing the file as needed.
    fn write_vectored_at(&self, offset: u64, buffers: &[IoSlice<'_>]) -> Result<()>;
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<()> {
        self.write_vectored_at(offset, &[IoSlice::new(buffer)])
    }
    fn set_len(&self, len: u64) -> Result<()>;
    /// Takes space for a range without changing the length, so that later writes there need less of it. A hint: it may
    /// do nothing.
    fn preallocate(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }
    /// Gives the space of a range back; it reads as zeroes, the length stays.
    fn punch(&self, offset: u64, len: u64) -> Result<()>;
    /// Makes the file's data and length durable. Never called again on this file after it failed.
    fn sync(&self) -> Result<()>;
    /// Has later reads ask the disk for what was synced, or should have been: after a sync that failed the kernel may show
    /// bytes from memory that never reached it.
    fn uncache(&self) -> Result<()> {
        Ok(())
    }
}

/// Whether a disk takes writes and makes them durable.
///
/// # Errors
/// Of the operation that failed.
pub fn takes_writes(device: &dyn Device) -> Result<()> {
    const PROBE: &str = "probe";
    let remove = || match device.delete(PROBE) {
        Ok(()) | Err(DeviceError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    };
    remove()?;
    let file = device.create(PROBE, 0)?;
    file.write_at(0, &[0x5A; 4096])?;
    file.sync()?;
    device.sync_dir("")?;
    remove()
}
