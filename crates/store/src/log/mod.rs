//! The log: preallocated, recycled files, the same bytes on every copy.
//!
//! A copy's file `<dir>/<slot>` is used again and again under new sequence numbers; a frame says its own sequence and
//! offset, so that what an earlier use left behind is known. See [`frame`] for the bytes and [`recover`] for reading.

pub(crate) mod frame;
mod members;
pub(crate) mod recover;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_device::{Device, DeviceError, DeviceFile, Timestamp};
use strongroom_pool::crypt::Cipher;
use strongroom_pool::{EpochId, Home, Pool, PoolId, Txg};

pub(crate) use members::NotFollowed;

use crate::log::frame::{ALIGNMENT, BODY_MAX, HEADER_LEN, Header, Position};

/// One copy's files.
#[derive(Debug)]
pub(crate) struct LogCopy {
    pub(crate) home: Home,
    files: Mutex<BTreeMap<u32, Arc<dyn DeviceFile>>>,
    /// Slots known to be there for good with all their space.
    ready: Mutex<BTreeSet<u32>>,
}

impl LogCopy {
    pub(crate) fn new(home: Home) -> Self {
        Self {
            home,
            files: Mutex::default(),
            ready: Mutex::default(),
        }
    }

    pub(crate) fn path(&self, slot: u32) -> String {
        format!("{}/{slot:05}", self.home.dir)
    }

    pub(crate) fn device(&self) -> &Arc<dyn Device> {
        &self.home.device
    }

    /// The slots that exist.
    pub(crate) fn slots(&self) -> Result<Vec<u32>, DeviceError> {
        let names = self.home.device.list(&self.home.dir)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(crate) fn file(&self, slot: u32) -> Result<Arc<dyn DeviceFile>, DeviceError> {
        let mut files = self.files.lock();
        if let Some(file) = files.get(&slot) {
            return Ok(Arc::clone(file));
        }
        let file = self.home.device.open(&self.path(slot))?;
        files.insert(slot, Arc::clone(&file));
        Ok(file)
    }

    /// Opens the file, or makes it, with its space, durably.
    pub(crate) fn file_or_create(
        &self,
        slot: u32,
        len: u64,
    ) -> Result<Arc<dyn DeviceFile>, DeviceError> {
        let file = match self.file(slot) {
            Err(DeviceError::NotFound { .. }) => {
                let file = self.home.device.create(&self.path(slot), len)?;
                self.files.lock().insert(slot, Arc::clone(&file));
                file
            }
            found => found?,
        };
        if !self.ready.lock().contains(&slot) {
            self.make_ready(&*file, len)?;
            self.ready.lock().insert(slot);
        }
        Ok(file)
    }

    /// Removes what an earlier use of the directory left, before a copy begins there anew.
    pub(crate) fn clear(&self) -> Result<(), DeviceError> {
        for name in self.home.device.list(&self.home.dir)? {
            let path = format!("{}/{name}", self.home.dir);
            match self.home.device.delete(&path) {
                Ok(()) | Err(DeviceError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Making the file may have been cut off, now or before a crash.
    fn make_ready(&self, file: &dyn DeviceFile, len: u64) -> Result<(), DeviceError> {
        if file.len()? < len {
            file.preallocate(0, len)?;
            file.set_len(len)?;
            file.sync()?;
        }
        self.home.device.sync_dir(&self.home.dir)
    }
}

/// Frames encoded for one file, in order.
#[derive(Debug)]
pub(crate) struct FileWrite {
    slot: u32,
    offset: u64,
    frames: Vec<Vec<u8>>,
}

/// What one commit writes; the same for every copy.
#[derive(Debug)]
pub(crate) struct Prepared {
    writes: Vec<FileWrite>,
    file_len: u64,
}

impl Prepared {
    /// Writes and syncs on one copy.
    pub(crate) fn write(&self, copy: &LogCopy, skip_sync: bool) -> Result<(), DeviceError> {
        for write in &self.writes {
            let file = copy.file_or_create(write.slot, self.file_len)?;
            let slices: Vec<IoSlice<'_>> = write
                .frames
                .iter()
                .map(|frame| IoSlice::new(frame))
                .collect();
            file.write_vectored_at(write.offset, &slices)?;
            if !skip_sync {
                file.sync()?;
            }
        }
        Ok(())
    }
}

/// A file with frames that the index may not hold yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UsedFile {
    pub(crate) slot: u32,
    /// The last group with a frame in it.
    pub(crate) last_txg: Txg,
}

/// Where the log goes on.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) sequence: u64,
    pub(crate) offset: u64,
    pub(crate) previous: u64,
    /// Oldest first; the last is the one being written.
    pub(crate) used: VecDeque<UsedFile>,
    pub(crate) free: Vec<u32>,
    pub(crate) next_slot: u32,
}

/// The writing side.
#[derive(Debug)]
pub(crate) struct Log {
    pool_id: PoolId,
    cipher: Option<Arc<Cipher>>,
    /// The one whose members hold the copies; none at first.
    epoch: Mutex<EpochId>,
    file_len: u64,
    files_max: u32,
    copies: Mutex<Vec<Arc<LogCopy>>>,
    tail: Mutex<Tail>,
}

impl Log {
    pub(crate) fn new(
        pool: &Pool,
        cipher: Option<Arc<Cipher>>,
        copies: Vec<Arc<LogCopy>>,
        tail: Tail,
        file_len: u64,
        files_max: u32,
    ) -> Self {
        Self {
            pool_id: pool.id(),
            cipher,
            epoch: Mutex::default(),
            file_len,
            files_max,
            copies: Mutex::new(copies),
            tail: Mutex::new(tail),
        }
    }

    pub(crate) fn copies(&self) -> Vec<Arc<LogCopy>> {
        self.copies.lock().clone()
    }

    /// Bytes of log in use and the most there may be, in one copy.
    pub(crate) fn usage(&self) -> (u64, u64) {
        let tail = self.tail.lock();
        let before = tail.used.len().saturating_sub(1) as u64 * self.file_len;
        (
            before + tail.offset,
            u64::from(self.files_max) * self.file_len,
        )
    }

    /// Bytes that one copy may yet take of its disk.
    pub(crate) fn growth(&self) -> u64 {
        let files = self.files_max.saturating_sub(self.tail.lock().next_slot);
        u64::from(files) * self.file_len
    }

    /// Cuts a record into frames and takes their places.
    pub(crate) fn prepare(
        &self,
        txg: Txg,
        time: Timestamp,
        durable: Txg,
        body: &[Vec<u8>],
    ) -> Prepared {
        let mut tail = self.tail.lock();
        let mut cutter = Cutter::new(body);
        let mut prepared = Prepared {
            writes: Vec::new(),
            file_len: self.file_len,
        };
        let mut number = 0;
        loop {
            let room = self.room(&mut tail, txg);
            let parts = cutter.take(room.min(BODY_MAX));
            let header = Header {
                number,
                last: cutter.is_empty(),
                body_len: total(&parts),
                encrypted: self.cipher.is_some() && !parts.is_empty(),
                ..self.header(&tail, txg, time, durable)
            };
            self.place(&mut tail, &mut prepared, &header, &parts);
            number += 1;
            if cutter.is_empty() {
                return prepared;
            }
        }
    }

    /// A frame that says only that `durable` and all before it are safe.
    pub(crate) fn prepare_watermark(&self, durable: Txg, time: Timestamp) -> Prepared {
        let mut tail = self.tail.lock();
        let mut prepared = Prepared {
            writes: Vec::new(),
            file_len: self.file_len,
        };
        self.room(&mut tail, durable);
        let header = Header {
            watermark_only: true,
            last: true,
            ..self.header(&tail, durable, time, durable)
        };
        self.place(&mut tail, &mut prepared, &header, &[]);
        prepared
    }

    fn header(&self, tail: &Tail, txg: Txg, time: Timestamp, durable: Txg) -> Header {
        Header {
            epoch: self.epoch(),
            txg,
            number: 0,
            last: false,
            watermark_only: false,
            body_len: 0,
            position: Position {
                sequence: tail.sequence,
                offset: tail.offset,
            },
            previous: tail.previous,
            durable,
            time,
            pool: self.pool_id,
            encrypted: false,
        }
    }

    /// Goes on to the next file where this one is full; returns the room for one body.
    fn room(&self, tail: &mut Tail, txg: Txg) -> usize {
        if tail.offset + ALIGNMENT > self.file_len || tail.used.is_empty() {
            let slot = tail.free.pop().unwrap_or_else(|| {
                tail.next_slot += 1;
                tail.next_slot - 1
            });
            tail.sequence += 1;
            tail.offset = 0;
            tail.used.push_back(UsedFile {
                slot,
                last_txg: txg,
            });
        }
        usize::try_from(self.file_len - tail.offset).unwrap_or(usize::MAX) - HEADER_LEN
    }

    fn place(&self, tail: &mut Tail, prepared: &mut Prepared, header: &Header, parts: &[&[u8]]) {
        let (bytes, hash) = header.encode(parts, self.cipher.as_deref());
        let offset = tail.offset;
        tail.previous = hash;
        tail.offset += bytes.len() as u64;
        assert!(tail.offset <= self.file_len, "a frame lies within its file");
        let Some(used) = tail.used.back_mut() else {
            return;
        };
        used.last_txg = header.txg;
        match prepared.writes.last_mut() {
            Some(write) if write.slot == used.slot => write.frames.push(bytes),
            _ => prepared.writes.push(FileWrite {
                slot: used.slot,
                offset,
                frames: vec![bytes],
            }),
        }
    }

    /// Gives back the files that hold nothing after `held`.
    pub(crate) fn recycle(&self, held: Txg) {
        let mut tail = self.tail.lock();
        while tail.used.len() > 1 && tail.used.front().is_some_and(|file| file.last_txg <= held) {
            if let Some(file) = tail.used.pop_front() {
                tail.free.push(file.slot);
            }
        }
    }
}

fn total(parts: &[&[u8]]) -> u32 {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Cuts a list of buffers into pieces of given sizes, without copying.
struct Cutter<'a> {
    rest: VecDeque<&'a [u8]>,
}

impl<'a> Cutter<'a> {
    fn new(body: &'a [Vec<u8>]) -> Self {
        Self {
            rest: body
                .iter()
                .map(Vec::as_slice)
                .filter(|part| !part.is_empty())
                .collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, mut room: usize) -> Vec<&'a [u8]> {
        let mut parts = Vec::new();
        while room > 0 {
            let Some(part) = self.rest.pop_front() else {
                break;
            };
            let (now, later) = part.split_at(part.len().min(room));
            room -= now.len();
            parts.push(now);
            if !later.is_empty() {
                self.rest.push_front(later);
            }
        }
        parts
    }
}
