//! One open file of a bounded device.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use super::Shared;
use crate::{DeviceFile, Result};

pub(super) struct BoundedFile {
    shared: Arc<Shared>,
    path: String,
    /// None only while it is being dropped.
    inner: Option<Arc<dyn DeviceFile>>,
}

impl fmt::Debug for BoundedFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "BoundedFile({}/{})",
            self.shared.inner.name(),
            self.path
        )
    }
}

impl BoundedFile {
    pub(super) fn new(shared: Arc<Shared>, path: &str, inner: Arc<dyn DeviceFile>) -> Self {
        Self {
            shared,
            path: path.to_owned(),
            inner: Some(inner),
        }
    }

    fn inner(&self) -> &Arc<dyn DeviceFile> {
        self.inner
            .as_ref()
            .expect("the file is open until it is dropped")
    }

    fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&dyn DeviceFile) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = Arc::clone(self.inner());
        self.shared
            .call(operation, &self.path, move || work(&*file))
    }
}

impl Drop for BoundedFile {
    /// Closing may wait for the disk, too: the last close of a deleted file gives its space back.
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.shared.workers.leave(Box::new(move || drop(inner)));
        }
    }
}

impl DeviceFile for BoundedFile {
    fn len(&self) -> Result<u64> {
        self.call("stat", |file| file.len())
    }

    fn read_cached(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> usize {
        self.inner().read_cached(offset, buffers)
    }

    fn read_ahead(&self, offset: u64, len: u64) {
        let mut byte = [0];
        if self.read_cached(offset, &mut [IoSliceMut::new(&mut byte)]) == 1 {
            return;
        }
        let file = Arc::clone(self.inner());
        // A disk that hangs is told of by the read that follows.
        self.shared
            .workers
            .leave(Box::new(move || file.read_ahead(offset, len)));
    }

    fn read_vectored_at(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        if self.shared.workers.is_hung() {
            return Err(self.shared.hung("read", &self.path));
        }
        let wanted: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let inline = self.inner().read_cached(offset, buffers);
        if inline == wanted {
            return Ok(inline);
        }
        let (from, len) = (offset + inline as u64, wanted - inline);
        let rest = self.call("read", move |file| {
            let mut bytes = vec![0; len];
            let read = file.read_at(from, &mut bytes)?;
            bytes.truncate(read);
            Ok(bytes)
        })?;
        let mut left = buffers;
        IoSliceMut::advance_slices(&mut left, inline);
        let mut source = rest.as_slice();
        for buffer in left {
            let (now, later) = source.split_at(source.len().min(buffer.len()));
            buffer[..now.len()].copy_from_slice(now);
            source = later;
        }
        Ok(inline + rest.len())
    }

    fn write_vectored_at(&self, offset: u64, buffers: &[IoSlice<'_>]) -> Result<()> {
        let mut bytes = Vec::with_capacity(buffers.iter().map(|buffer| buffer.len()).sum());
        for buffer in buffers {
            bytes.extend_from_slice(buffer);
        }
        self.call("write", move |file| file.write_at(offset, &bytes))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.call("set length of", move |file| file.set_len(len))
    }

    fn preallocate(&self, offset: u64, len: u64) -> Result<()> {
        self.call("preallocate", move |file| file.preallocate(offset, len))
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.call("punch", move |file| file.punch(offset, len))
    }

    fn sync(&self) -> Result<()> {
        self.call("sync", |file| file.sync())
    }

    fn uncache(&self) -> Result<()> {
        self.call("drop the cache of", |file| file.uncache())
    }
}
