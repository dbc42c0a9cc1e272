//! Reading and writing through handles.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;

use strongroom_device::Timestamp;
use strongroom_store::{Aspect, ObjectId};

use crate::apple::MacStream;
use crate::grants::Conflict;
use crate::locks::LockOwner;
use crate::rows::AttrFlags;
use crate::types::FILE_MAX;
use crate::vfs::put_attr;
use crate::{AccessMask, DosAttributes, FileKind, Handle, Result, Vfs, VfsError};

/// The offset that means the end of the file.
pub const APPEND: u64 = u64::MAX;

impl Vfs {
    /// Reads from `offset`; short only at the end of the data (MS-FSA 2.1.5.3).
    ///
    /// Errors: `LockConflict`, `AccessDenied`, `IsDirectory`, `Corrupt` for data that cannot be had: never wrong bytes.
    pub fn read(&self, handle: &Handle, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.read_as(handle, LockOwner::default(), offset, buffer)
    }

    /// [`Vfs::read`] by one of several lock owners of a handle.
    pub fn read_as(
        &self,
        handle: &Handle,
        owner: LockOwner,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize> {
        check_read(handle, owner, offset, buffer.len())?;
        Ok(self
            .store
            .at(handle.view())
            .read(handle.object(), offset, buffer)?)
    }

    /// [`Vfs::read`] of at most `len` bytes into room that `room` makes of the size asked of it: where much is wanted, no
    /// more than is there.
    pub fn read_into<'a>(
        &self,
        handle: &Handle,
        offset: u64,
        len: usize,
        room: impl FnOnce(usize) -> &'a mut [u8],
    ) -> Result<usize> {
        check_read(handle, LockOwner::default(), offset, len)?;
        let (object, reading) = (handle.object(), self.store.at(handle.view()));
        let there = if len > LOOK_FIRST {
            let left = reading.head(object)?.size.saturating_sub(offset);
            len.min(usize::try_from(left).unwrap_or(usize::MAX))
        } else {
            len
        };
        Ok(reading.read(object, offset, room(there))?)
    }

    /// Writes all of `data` (MS-FSA 2.1.5.4); at the end of the file for [`APPEND`], and always there for handles with
    /// the right to append alone. Durable within a second, or on return for write-through handles.
    ///
    /// Errors: `LockConflict`, `AccessDenied`, `NoSpace`, `QuotaExceeded`, `InvalidRange`.
    pub async fn write(&self, handle: &Handle, offset: u64, data: &[u8]) -> Result<()> {
        self.write_as(handle, LockOwner::default(), offset, data)
            .await
    }

    /// [`Vfs::write`] by one of several lock owners of a handle.
    pub async fn write_as(
        &self,
        handle: &Handle,
        owner: LockOwner,
        offset: u64,
        data: &[u8],
    ) -> Result<()> {
        require_data(handle)?;
        handle.require_any(AccessMask::WRITE_DATA | AccessMask::APPEND_DATA)?;
        handle.require_writable_share()?;
        self.contend(handle, Conflict::WriteBegins).await;
        let appends = offset == APPEND || !handle.granted.intersects(AccessMask::WRITE_DATA);
        if appends {
            let _end = handle.node.end.lock().await;
            let end = self.store.head(handle.object())?.size;
            // Without the right to write elsewhere, nothing but the end can be meant.
            if offset != APPEND && offset < end {
                return Err(VfsError::AccessDenied);
            }
            let at = if offset == APPEND { end } else { offset };
            self.write_at(handle, owner, at, data).await?;
        } else {
            self.write_at(handle, owner, offset, data).await?;
        }
        if handle.options.write_through {
            self.flush_data(handle).await
        } else {
            Ok(())
        }
    }

    async fn write_at(
        &self,
        handle: &Handle,
        owner: LockOwner,
        offset: u64,
        data: &[u8],
    ) -> Result<()> {
        let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
        offset
            .checked_add(len)
            .filter(|end| *end <= FILE_MAX)
            .ok_or(VfsError::InvalidRange)?;
        handle
            .node
            .locks
            .check_io(handle, owner, offset, len, true)?;
        if data.is_empty() {
            return Ok(());
        }
        self.guard_write(handle, offset, data)?;
        self.charge_growth(handle, offset, len)?;
        let mtime = self.write_time(handle);
        let (session, object) = (handle.session(), handle.object());
        let compression = handle.compression;
        let store = &self.store;
        let work = store.write_compressed(session, object, offset, data, mtime, compression);
        self.change_data(handle, true, work).await?;
        if handle.stream != 0 {
            self.weigh_info(handle, offset, data);
        }
        Ok(())
    }

    /// Writes the first bytes of a stream that was just made, whatever its open may do.
    pub(crate) async fn write_stream_start(&self, handle: &Handle, data: &[u8]) -> Result<()> {
        let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.charge_growth(handle, 0, len)?;
        let mtime = Some(self.timestamp());
        let work = self
            .store
            .write(handle.session(), handle.object(), 0, data, mtime);
        self.change_data(handle, true, work).await
    }

    /// Waits for a change of the data. Each of its steps finds the handle open, and closing waits for the step, so that
    /// nothing is written to a file that has gone.
    async fn change_data(
        &self,
        handle: &Handle,
        resized: bool,
        work: impl Future<Output = strongroom_store::Result<()>>,
    ) -> Result<()> {
        handle.node.end_instant();
        let mut work = pin!(work);
        let changed = poll_fn(|context| {
            let _open = handle.at_work.read();
            if handle.is_closed() {
                return Poll::Ready(Err(VfsError::Closed));
            }
            let done = work.as_mut().poll(context);
            done.map(|done| {
                done.map_err(VfsError::from)
                    .and_then(|()| self.wrote(handle, resized))
            })
        })
        .await;
        // Even what failed may have changed a part.
        handle.node.end_instant();
        self.written(handle);
        changed
    }

    /// The time that a write leaves; None where the handle keeps it as it is.
    pub(crate) fn write_time(&self, handle: &Handle) -> Option<Timestamp> {
        (!handle.frozen.lock().modified).then(|| self.timestamp())
    }

    /// Notes once in memory that the data changed; the row is written when the handle closes.
    pub(crate) fn wrote(&self, handle: &Handle, resized: bool) -> Result<()> {
        if resized {
            handle.resized.store(true, Ordering::Release);
        }
        handle.wrote.store(true, Ordering::Release);
        let mut state = handle.node.lock();
        state.dirty = true;
        if handle.stream != 0 {
            state.set_void(handle.stream, false);
        }
        if state.attr.flags.has(AttrFlags::OWN_MODIFIED) && !handle.frozen.lock().modified {
            let mut attr = state.attr.clone();
            attr.flags.set(AttrFlags::OWN_MODIFIED, false);
            let mut txn = self.store.txn(handle.session());
            put_attr(&mut txn, handle.node.inode, &mut attr);
            txn.commit()?;
            state.attr = attr;
        }
        Ok(())
    }

    /// Makes all that this file holds, and every change of names so far, durable.
    pub async fn flush(&self, handle: &Handle) -> Result<()> {
        handle.require_any(AccessMask::WRITE_DATA | AccessMask::APPEND_DATA)?;
        if !handle.view().is_now() {
            return Ok(());
        }
        self.flush_data(handle).await
    }

    pub(crate) async fn flush_data(&self, handle: &Handle) -> Result<()> {
        self.settle(handle, &mut *handle.lock_open()?)?;
        Ok(self.store.sync(&[handle.object()]).await?)
    }

    /// FileEndOfFileInformation (MS-FSA 2.1.5.15.4).
    pub async fn set_size(&self, handle: &Handle, size: u64) -> Result<()> {
        require_data(handle)?;
        handle.require(AccessMask::WRITE_DATA)?;
        handle.require_writable_share()?;
        if size > FILE_MAX {
            return Err(VfsError::InvalidParameter);
        }
        self.contend(handle, Conflict::WriteBegins).await;
        let object = handle.object();
        let before = self.store.head(object)?.size;
        let (from, to) = (before.min(size), before.max(size));
        handle
            .node
            .locks
            .check_io(handle, LockOwner::default(), from, to - from, true)?;
        if before == size {
            return Ok(());
        }
        let empties = size == 0 && handle.stream != 0;
        if size < before {
            self.guard_cut(handle)?;
            self.doubt_charge(&handle.node, &mut handle.node.lock())?;
        } else {
            self.charge_growth(handle, size, 0)?;
        }
        let mtime = self.write_time(handle);
        let work = self.store.truncate(handle.session(), object, size, mtime);
        self.change_data(handle, true, work).await?;
        if empties && MacStream::of(&handle.stream_name()) == MacStream::Resource {
            self.empty_means_gone(handle);
        }
        Ok(())
    }

    /// FileAllocationInformation: cuts a file that is longer; growing only checks that there is room.
    pub async fn set_allocation(&self, handle: &Handle, allocation: u64) -> Result<()> {
        require_data(handle)?;
        handle.require(AccessMask::WRITE_DATA)?;
        handle.require_writable_share()?;
        let size = self.store.head(handle.object())?.size;
        if allocation < size {
            return self.set_size(handle, allocation).await;
        }
        if allocation > FILE_MAX {
            return Err(VfsError::InvalidParameter);
        }
        self.contend(handle, Conflict::WriteBegins).await;
        if allocation - size > self.store.space()?.available {
            return Err(VfsError::NoSpace);
        }
        self.written(handle);
        Ok(())
    }

    /// FSCTL_SET_ZERO_DATA (MS-FSA 2.1.5.10.40): the range reads as zeroes and takes no space; the size stays.
    pub async fn zero_range(&self, handle: &Handle, offset: u64, len: u64) -> Result<()> {
        require_data(handle)?;
        handle.require(AccessMask::WRITE_DATA)?;
        handle.require_writable_share()?;
        offset
            .checked_add(len)
            .filter(|end| *end <= FILE_MAX)
            .ok_or(VfsError::InvalidParameter)?;
        self.contend(handle, Conflict::WriteBegins).await;
        handle
            .node
            .locks
            .check_io(handle, LockOwner::default(), offset, len, true)?;
        let object = handle.object();
        let size = self.store.head(object)?.size;
        let len = len.min(size.saturating_sub(offset));
        if len == 0 {
            return Ok(());
        }
        self.doubt_charge(&handle.node, &mut handle.node.lock())?;
        let mtime = self.write_time(handle);
        let work = self
            .store
            .zero(handle.session(), object, offset, len, mtime);
        self.change_data(handle, false, work).await
    }

    /// FSCTL_QUERY_ALLOCATED_RANGES: (offset, length) of what holds data, in order. A file that is not sparse is all data.
    pub fn allocated_ranges(
        &self,
        handle: &Handle,
        offset: u64,
        len: u64,
    ) -> Result<Vec<(u64, u64)>> {
        require_data(handle)?;
        handle.require(AccessMask::READ_DATA)?;
        let (object, reading) = (handle.object(), self.store.at(handle.view()));
        let end = offset.saturating_add(len).min(reading.head(object)?.size);
        if offset >= end {
            return Ok(Vec::new());
        }
        if !handle
            .node
            .lock()
            .attr
            .dos
            .contains(DosAttributes::SPARSE_FILE)
        {
            return Ok(vec![(offset, end - offset)]);
        }
        Ok(reading.allocated_ranges(object, offset, end - offset)?)
    }

    /// FSCTL_SET_SPARSE.
    pub fn set_sparse(&self, handle: &Handle, sparse: bool) -> Result<()> {
        require_data(handle)?;
        handle.require_any(
            AccessMask::WRITE_DATA | AccessMask::APPEND_DATA | AccessMask::WRITE_ATTRIBUTES,
        )?;
        handle.require_writable_share()?;
        let mut state = handle.lock_open()?;
        let mut attr = state.attr.clone();
        attr.dos = if sparse {
            attr.dos.union(DosAttributes::SPARSE_FILE)
        } else {
            attr.dos.without(DosAttributes::SPARSE_FILE)
        };
        self.charge_for(&handle.node, &mut state, &attr)?;
        attr.charged = state.attr.charged;
        attr.version = state.attr.version;
        let mut txn = self.store.txn(handle.session());
        put_attr(&mut txn, handle.node.inode, &mut attr);
        txn.note(handle.node.inode, Aspect::Attributes);
        txn.commit()?;
        state.attr = attr;
        self.settle_charge(&handle.node, &mut state)
    }

    /// The data of a file, for those that keep no handle (`flush` of many at once).
    pub async fn sync_files(&self, files: &[strongroom_store::Inode]) -> Result<()> {
        let objects: Vec<_> = files.iter().map(|inode| ObjectId::data(*inode)).collect();
        Ok(self.store.sync(&objects).await?)
    }
}

pub(crate) fn require_data(handle: &Handle) -> Result<()> {
    handle.check_open()?;
    if handle.kind() == FileKind::Directory {
        Err(VfsError::IsDirectory)
    } else {
        Ok(())
    }
}

/// A read of more bytes first looks how many there are.
const LOOK_FIRST: usize = 8 << 10;

fn check_read(handle: &Handle, owner: LockOwner, offset: u64, len: usize) -> Result<()> {
    require_data(handle)?;
    handle.require_any(AccessMask::READ_DATA | AccessMask::EXECUTE)?;
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    let locks = &handle.node.locks;
    locks.check_io(handle, owner, offset, len, false)
}
