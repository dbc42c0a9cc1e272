//! One open file of a directory.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{self, Advice, FallocateFlags};
use rustix::io::{Errno, ReadWriteFlags, preadv, preadv2, pwritev};

use super::{Shared, allocate, io_error};
use crate::{DeviceError, DeviceFile, Result};

/// Slices the kernel takes in one call.
const IOV_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct RealFile {
    shared: Arc<Shared>,
    path: String,
    fd: OwnedFd,
}

impl RealFile {
    pub(super) fn new(shared: Arc<Shared>, path: &str, fd: OwnedFd) -> Self {
        Self {
            shared,
            path: path.to_owned(),
            fd,
        }
    }

    fn error(&self, operation: &'static str, errno: Errno) -> DeviceError {
        self.shared.error(operation, &self.path, errno)
    }

    /// Reads until the buffers are full or the file ends.
    fn read_to_end(
        &self,
        offset: u64,
        mut buffers: &mut [IoSliceMut<'_>],
    ) -> rustix::io::Result<usize> {
        let mut done = 0;
        while !buffers.is_empty() {
            let window = buffers.len().min(IOV_MAX);
            match preadv(&self.fd, &mut buffers[..window], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => {
                    done += read;
                    IoSliceMut::advance_slices(&mut buffers, read);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }

    fn write_all(&self, offset: u64, buffers: &[IoSlice<'_>]) -> rustix::io::Result<()> {
        let total: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if buffers.len() <= IOV_MAX {
            match pwritev(&self.fd, buffers, offset) {
                Ok(written) if written == total => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.write_in_pieces(offset, buffers)
    }

    /// The long way: for more slices than one call takes, and after a short write.
    fn write_in_pieces(&self, offset: u64, buffers: &[IoSlice<'_>]) -> rustix::io::Result<()> {
        let mut owned: Vec<IoSlice<'_>> = buffers.to_vec();
        let mut rest = owned.as_mut_slice();
        let mut at = offset;
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let window = rest.len().min(IOV_MAX);
            match pwritev(&self.fd, &rest[..window], at) {
                Ok(0) => return Err(Errno::IO),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

impl DeviceFile for RealFile {
    fn len(&self) -> Result<u64> {
        let stat = fs::fstat(&self.fd).map_err(|errno| self.error("stat", errno))?;
        u64::try_from(stat.st_size).map_err(|_| self.error("stat", Errno::OVERFLOW))
    }

    fn read_cached(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> usize {
        let window = buffers.len().min(IOV_MAX);
        let buffers = &mut buffers[..window];
        // Whatever the reason for falling short, the blocking call finds it out again.
        preadv2(&self.fd, buffers, offset, ReadWriteFlags::NOWAIT).unwrap_or(0)
    }

    fn read_ahead(&self, offset: u64, len: u64) {
        let Some(len) = std::num::NonZeroU64::new(len) else {
            return;
        };
        // What is there already is found so more quickly than by asking the kernel to walk the whole range.
        let mut byte = [0];
        if self.read_cached(offset, &mut [IoSliceMut::new(&mut byte)]) == 1 {
            return;
        }
        // The read that follows tells what is wrong.
        if let Err(errno) = fs::fadvise(&self.fd, offset, Some(len), Advice::WillNeed) {
            tracing::trace!(path = self.path, %errno, "no reading ahead");
        }
    }

    fn read_vectored_at(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let wanted: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let inline = self.read_cached(offset, buffers);
        if inline == wanted {
            return Ok(inline);
        }
        let mut rest = buffers;
        IoSliceMut::advance_slices(&mut rest, inline);
        let mut outcome = Ok(0);
        self.shared
            .env
            .block_in_place(&mut || outcome = self.read_to_end(offset + inline as u64, rest));
        let blocked = outcome.map_err(|errno| self.error("read", errno))?;
        Ok(inline + blocked)
    }

    fn write_vectored_at(&self, offset: u64, buffers: &[IoSlice<'_>]) -> Result<()> {
        self.write_all(offset, buffers)
            .map_err(|errno| self.error("write", errno))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        fs::ftruncate(&self.fd, len).map_err(|errno| self.error("set length of", errno))
    }

    fn preallocate(&self, offset: u64, len: u64) -> Result<()> {
        allocate(&self.fd, offset, len).map_err(|errno| self.error("preallocate", errno))
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fs::fallocate(&self.fd, mode, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.write_zeroes(offset, len),
            other => other.map_err(|errno| self.error("punch", errno)),
        }
    }

    fn uncache(&self) -> Result<()> {
        fs::fadvise(&self.fd, 0, None, Advice::DontNeed)
            .map_err(|errno| self.error("drop the cache of", errno))
    }

    fn sync(&self) -> Result<()> {
        self.shared
            .sync_once(&self.path, || fs::fdatasync(&self.fd))
    }
}

impl RealFile {
    /// What a punch means on a file system that has none: the space stays taken, the bytes are zero.
    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        static ZEROES: [u8; 65_536] = [0; 65_536];
        let end = self.len()?.min(offset.saturating_add(len));
        let mut at = offset;
        while at < end {
            let piece = usize::try_from(end - at)
                .unwrap_or(ZEROES.len())
                .min(ZEROES.len());
            self.write_all(at, &[IoSlice::new(&ZEROES[..piece])])
                .map_err(|errno| self.error("punch", errno))?;
            at += piece as u64;
        }
        Ok(())
    }
}

impl Shared {
    /// What a lock file says about its holder; for messages only.
    pub(super) fn held_error(&self, path: &str, holder: &str) -> DeviceError {
        let message = format!("another server uses this directory ({holder}); stop it first");
        io_error(&self.name, "lock", path, &message)
    }
}
