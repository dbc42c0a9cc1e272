//! A disk seen through a sheet of glass: what is written stays in memory, what lies below is never touched.
//!
//! A check of a pool that is to change nothing opens it like a server, which repairs and notes down: on shadows of its
//! disks that harms nothing. Memory holds what was written, in blocks.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Device, DeviceError, DeviceFile, Result, Space};

const BLOCK: usize = 4096;

/// A device whose changes are forgotten with it.
#[derive(Debug)]
pub struct ShadowDevice {
    inner: Arc<dyn Device>,
    /// What was opened, made or deleted; None is deleted.
    files: Mutex<BTreeMap<String, Option<Arc<Shadow>>>>,
}

impl ShadowDevice {
    pub fn new(inner: Arc<dyn Device>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            files: Mutex::default(),
        })
    }

    fn not_found(&self, path: &str) -> DeviceError {
        DeviceError::NotFound {
            device: self.inner.name().to_owned(),
            path: path.to_owned(),
        }
    }

    /// The file as it is now, opened below if it was not yet looked at.
    fn find(&self, path: &str) -> Result<Arc<Shadow>> {
        let mut files = self.files.lock();
        match files.get(path) {
            Some(Some(file)) => return Ok(Arc::clone(file)),
            Some(None) => return Err(self.not_found(path)),
            None => {}
        }
        let base = self.inner.open(path)?;
        let file = Arc::new(Shadow::over(base)?);
        files.insert(path.to_owned(), Some(Arc::clone(&file)));
        Ok(file)
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Device for ShadowDevice {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn failure_domain(&self) -> u64 {
        self.inner.failure_domain()
    }

    fn progress(&self) -> Option<u64> {
        self.inner.progress()
    }

    fn create(&self, path: &str, _preallocate: u64) -> Result<Arc<dyn DeviceFile>> {
        match self.find(path) {
            Ok(_) => Err(DeviceError::Exists {
                device: self.inner.name().to_owned(),
                path: path.to_owned(),
            }),
            Err(DeviceError::NotFound { .. }) => {
                let file = Arc::new(Shadow::empty());
                let mut files = self.files.lock();
                files.insert(path.to_owned(), Some(Arc::clone(&file)));
                Ok(file)
            }
            Err(error) => Err(error),
        }
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DeviceFile>> {
        Ok(self.find(path)?)
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.find(path)?;
        self.files.lock().insert(path.to_owned(), None);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let file = self.find(from)?;
        let mut files = self.files.lock();
        files.insert(from.to_owned(), None);
        files.insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let mut names = self.inner.list(dir)?;
        for (path, file) in self
            .files
            .lock()
            .iter()
            .filter(|(path, _)| parent(path) == dir)
        {
            let name = path.rsplit('/').next().unwrap_or(path);
            names.retain(|known| known != name);
            if file.is_some() {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, _dir: &str) -> Result<()> {
        Ok(())
    }

    fn space(&self) -> Result<Space> {
        self.inner.space()
    }
}

/// One file: what lies below, and the blocks that were written since.
struct Shadow {
    base: Option<Arc<dyn DeviceFile>>,
    state: Mutex<State>,
}

struct State {
    len: u64,
    /// Bytes of the base that still count.
    base_len: u64,
    /// None is a block of zeroes.
    blocks: BTreeMap<u64, Option<Box<[u8; BLOCK]>>>,
}

impl fmt::Debug for Shadow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Shadow({:?})", self.base)
    }
}

impl Shadow {
    fn empty() -> Self {
        let state = State {
            len: 0,
            base_len: 0,
            blocks: BTreeMap::new(),
        };
        Self {
            base: None,
            state: Mutex::new(state),
        }
    }

    fn over(base: Arc<dyn DeviceFile>) -> Result<Self> {
        let len = base.len()?;
        let state = State {
            len,
            base_len: len,
            blocks: BTreeMap::new(),
        };
        Ok(Self {
            base: Some(base),
            state: Mutex::new(state),
        })
    }

    /// Reads what lies below into a buffer that lies in one piece there; zeroes behind its end.
    fn read_base(&self, state: &State, offset: u64, buffer: &mut [u8]) -> Result<()> {
        buffer.fill(0);
        let there = state.base_len.saturating_sub(offset);
        let there = usize::try_from(there)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if there > 0
            && let Some(base) = &self.base
        {
            base.read_at(offset, &mut buffer[..there])?;
        }
        Ok(())
    }

    fn read(&self, state: &State, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let (first, last) = (
            offset / BLOCK as u64,
            (offset + buffer.len() as u64).div_ceil(BLOCK as u64),
        );
        self.read_base(state, offset, buffer)?;
        for (number, block) in state.blocks.range(first..last) {
            let start = number * BLOCK as u64;
            let (from, to) = (
                start.max(offset),
                (start + BLOCK as u64).min(offset + buffer.len() as u64),
            );
            let part = &mut buffer[within(from, offset)..within(to, offset)];
            match block {
                Some(bytes) => part.copy_from_slice(&bytes[within(from, start)..within(to, start)]),
                None => part.fill(0),
            }
        }
        Ok(())
    }

    /// Replaces a range that lies in one block.
    fn patch(&self, state: &mut State, offset: u64, bytes: &[u8]) -> Result<()> {
        let number = offset / BLOCK as u64;
        let start = number * BLOCK as u64;
        let mut block = Box::new([0; BLOCK]);
        if bytes.len() < BLOCK {
            self.read(state, start, &mut block[..])?;
        }
        let at = within(offset, start);
        block[at..at + bytes.len()].copy_from_slice(bytes);
        state.blocks.insert(number, Some(block));
        Ok(())
    }

    fn write(&self, state: &mut State, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = BLOCK - within(offset % BLOCK as u64, 0);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.patch(state, offset, now)?;
            offset += now.len() as u64;
            bytes = later;
        }
        state.len = state.len.max(offset);
        Ok(())
    }

    /// Makes a range zero.
    fn clear(&self, state: &mut State, offset: u64, end: u64) -> Result<()> {
        const ZEROES: [u8; BLOCK] = [0; BLOCK];
        let mut at = offset;
        while at < end {
            let next = (at / BLOCK as u64 + 1) * BLOCK as u64;
            if at.is_multiple_of(BLOCK as u64) && next <= end {
                state.blocks.insert(at / BLOCK as u64, None);
            } else {
                self.patch(state, at, &ZEROES[..within(next.min(end), at)])?;
            }
            at = next;
        }
        Ok(())
    }
}

/// The distance of two offsets of which the first is not before the second, and close.
fn within(at: u64, start: u64) -> usize {
    usize::try_from(at - start).expect("both lie in one buffer")
}

impl DeviceFile for Shadow {
    fn len(&self) -> Result<u64> {
        Ok(self.state.lock().len)
    }

    fn read_vectored_at(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let state = self.state.lock();
        let mut at = offset;
        for buffer in buffers {
            let there = usize::try_from(state.len.saturating_sub(at)).unwrap_or(usize::MAX);
            let there = there.min(buffer.len());
            self.read(&state, at, &mut buffer[..there])?;
            at += there as u64;
        }
        Ok(within(at, offset))
    }

    fn write_vectored_at(&self, offset: u64, buffers: &[IoSlice<'_>]) -> Result<()> {
        let mut state = self.state.lock();
        let mut at = offset;
        for buffer in buffers {
            self.write(&mut state, at, buffer)?;
            at += buffer.len() as u64;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut state = self.state.lock();
        if len < state.len {
            // What grows back later is zero.
            let end = len.next_multiple_of(BLOCK as u64);
            self.clear(&mut state, len, end)?;
            state.base_len = state.base_len.min(len);
            state.blocks.split_off(&(end / BLOCK as u64));
        }
        state.len = len;
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        let mut state = self.state.lock();
        let end = offset.saturating_add(len).min(state.len);
        self.clear(&mut state, offset, end)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Rng, SimDevice, SimEnv};

    fn disk() -> Arc<SimDevice> {
        SimDevice::new(&SimEnv::new(1), "disk", 1)
    }

    #[test]
    fn nothing_below_is_touched() {
        let below = disk();
        let file = below.create("d/old", 0).unwrap();
        file.write_at(0, &[7; 10_000]).unwrap();
        below.create("d/gone", 0).unwrap();
        let shadow = ShadowDevice::new(Arc::clone(&below) as Arc<dyn Device>);
        let seen = shadow.open("d/old").unwrap();
        seen.write_at(5_000, &[8; 100]).unwrap();
        seen.punch(0, 4_096).unwrap();
        seen.set_len(9_000).unwrap();
        shadow.delete("d/gone").unwrap();
        shadow
            .create("d/new", 0)
            .unwrap()
            .write_at(3, b"x")
            .unwrap();
        shadow.create("d/unnamed", 0).unwrap();
        shadow.rename("d/unnamed", "d/named").unwrap();
        shadow.sync_dir("d").unwrap();
        assert_eq!(shadow.list("d").unwrap(), ["named", "new", "old"]);
        assert!(matches!(
            shadow.open("d/gone"),
            Err(DeviceError::NotFound { .. })
        ));
        assert!(matches!(
            shadow.create("d/old", 0),
            Err(DeviceError::Exists { .. })
        ));
        assert_eq!(shadow.open("d/old").unwrap().len().unwrap(), 9_000);
        assert_eq!(below.contents("d/old").unwrap(), [7; 10_000]);
        assert_eq!(below.list("d").unwrap(), ["gone", "old"]);
    }

    #[test]
    fn random_changes_are_seen_as_on_a_disk() {
        let (below, model) = (disk(), disk());
        for disk in [&below, &model] {
            let file = disk.create("f", 0).unwrap();
            file.write_at(
                0,
                &(0..30_000u32)
                    .map(|n| n.to_le_bytes()[0] | 1)
                    .collect::<Vec<_>>(),
            )
            .unwrap();
        }
        let shadow = ShadowDevice::new(below as Arc<dyn Device>);
        let (one, other) = (shadow.open("f").unwrap(), model.open("f").unwrap());
        let mut rng = Rng::new(5);
        for round in 0..400_u32 {
            let (at, len) = (rng.below(40_000) as u64, rng.below(9_000) as u64);
            for file in [&one, &other] {
                match round % 4 {
                    0 => file.set_len(at).unwrap(),
                    1 => file.punch(at, len).unwrap(),
                    _ => file
                        .write_at(at, &vec![round.to_le_bytes()[0]; within(len, 0)])
                        .unwrap(),
                }
            }
            assert_eq!(one.len().unwrap(), other.len().unwrap(), "round {round}");
            let read = |file: &Arc<dyn DeviceFile>| {
                let mut bytes = vec![9; 60_000];
                let read = file.read_at(1_000, &mut bytes).unwrap();
                bytes.truncate(read);
                bytes
            };
            assert!(read(&one) == read(&other), "round {round}");
        }
    }
}
