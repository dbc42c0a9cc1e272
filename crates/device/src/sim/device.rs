//! A disk in memory with the contract of a real one.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::disk::{Change, Disk, FileData, SPACE_BLOCK, parent};
use super::env::{Moment, SimEnv, SyncFate};
use super::rng::{Rng, fold};
use crate::{Device, DeviceError, DeviceFile, Result, Space};

/// Kinds of operations, for [`Injection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Any,
    Create,
    Open,
    Delete,
    Rename,
    List,
    Read,
    /// Writes, punches and changes of length.
    Write,
    Sync,
}

/// What goes wrong with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Io,
    NoSpace,
    /// It works, after so long.
    Slow(Duration),
    /// It fails, after so long: what a kernel makes of a disk that does not answer.
    Hang(Duration),
    /// A write that never reaches the medium, though its caller and readers of the cache see it; a sync that does
    /// nothing. Other operations are not touched.
    Lost,
    /// A write that reaches the medium in a place where other bytes were. Other operations are not touched.
    Misdirected,
    /// One bit of what is read is wrong; the medium is not. Other operations are not touched.
    Flip,
}

/// Faults to come: of the operations that match, `skip` pass first, then `times` meet it.
#[derive(Debug, Clone)]
pub struct Injection {
    pub operation: Operation,
    /// Part of the path; empty matches all.
    pub path: String,
    pub skip: u64,
    pub times: u64,
    pub fault: Fault,
}

/// A simulated disk. Cheap to reopen; a handle from before a power cut fails for ever.
pub struct SimDevice {
    shared: Arc<Shared>,
}

struct Shared {
    env: Arc<SimEnv>,
    name: String,
    domain: u64,
    life: u64,
    state: Mutex<State>,
    hung: Mutex<bool>,
    answers: Condvar,
}

#[derive(Clone)]
struct State {
    disk: Disk,
    capacity: u64,
    operations: u64,
    injections: Vec<Injection>,
    broken: bool,
    lying: bool,
}

impl fmt::Debug for SimDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDevice({})", self.shared.name)
    }
}

impl SimDevice {
    /// A blank disk of 1 TiB.
    pub fn new(env: &Arc<SimEnv>, name: &str, domain: u64) -> Arc<Self> {
        let state = State {
            disk: Disk::default(),
            capacity: 1 << 40,
            operations: 0,
            injections: Vec::new(),
            broken: false,
            lying: false,
        };
        Self::with_state(env, name, domain, state)
    }

    fn with_state(env: &Arc<SimEnv>, name: &str, domain: u64, state: State) -> Arc<Self> {
        let shared = Shared {
            env: Arc::clone(env),
            name: name.to_owned(),
            domain,
            life: env.life(),
            state: Mutex::new(state),
            hung: Mutex::new(false),
            answers: Condvar::new(),
        };
        Arc::new(Self {
            shared: Arc::new(shared),
        })
    }

    /// The disk as it is found when power is back: what was synced, and of the rest what the seed lets survive.
    /// Without a cut before, it is the disk as a new process finds it after the old one died: nothing is lost.
    pub fn reopen(&self) -> Arc<Self> {
        let env = &self.shared.env;
        let mut state = self.shared.state.lock().clone();
        if env.life() != self.shared.life {
            state.disk.survive(&mut env.fork_rng());
        }
        state.injections.clear();
        state.lying = false;
        Self::with_state(env, &self.shared.name, self.shared.domain, state)
    }

    /// The disk opened anew while the machine runs on; it works again, and the old handles fail for ever. `remounted`: its
    /// file system was away meanwhile, and of what was not synced the seed decides what is left.
    pub fn reattach(&self, remounted: bool) -> Arc<Self> {
        let mut state = self.shared.state.lock();
        let mut new = state.clone();
        state.broken = true;
        new.broken = false;
        if remounted {
            new.disk.survive(&mut self.shared.env.fork_rng());
        }
        new.disk.forget_failed_syncs();
        Self::with_state(&self.shared.env, &self.shared.name, self.shared.domain, new)
    }

    /// An independent copy of what readers see now, as a blunt tool would copy the disk.
    pub fn duplicate(&self, name: &str) -> Arc<Self> {
        let state = self.shared.state.lock().clone();
        Self::with_state(&self.shared.env, name, self.shared.domain, state)
    }

    /// Fails operations from here on.
    pub fn inject(&self, injection: Injection) {
        self.shared.state.lock().injections.push(injection);
    }

    /// Every operation fails from here on, or works again.
    pub fn set_broken(&self, broken: bool) {
        self.shared.state.lock().broken = broken;
    }

    /// Keeps whoever asks it, until it is set free. For real threads only: the one of a simulation would wait for ever.
    pub fn set_hung(&self, hung: bool) {
        *self.shared.hung.lock() = hung;
        self.shared.answers.notify_all();
    }

    /// From here on syncs report success and do nothing, or work again.
    pub fn set_lying(&self, lying: bool) {
        self.shared.state.lock().lying = lying;
    }

    /// Changes the size of the disk.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.state.lock().capacity = bytes;
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.shared.state.lock().operations
    }

    /// Flips the bits of `mask` in one byte, durably and behind everyone's back. False if there is no such byte.
    pub fn flip(&self, path: &str, offset: u64, mask: u8) -> bool {
        self.with_bytes(path, |bytes| {
            let byte = usize::try_from(offset)
                .ok()
                .and_then(|offset| bytes.get_mut(offset));
            byte.map(|byte| *byte ^= mask).is_some()
        })
    }

    /// Replaces a file's bytes, durably and behind everyone's back. False if there is no such file.
    pub fn replace(&self, path: &str, new: &[u8]) -> bool {
        self.with_bytes(path, |bytes| {
            bytes.clear();
            bytes.extend_from_slice(new);
            true
        })
    }

    fn with_bytes(&self, path: &str, mut change: impl FnMut(&mut Vec<u8>) -> bool) -> bool {
        let mut state = self.shared.state.lock();
        let Some(&id) = state.disk.names.get(path) else {
            return false;
        };
        let Some(file) = state.disk.files.get_mut(&id) else {
            return false;
        };
        change(&mut file.durable);
        change(&mut file.live)
    }

    /// A file's bytes as readers see them.
    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.shared.state.lock();
        let id = state.disk.names.get(path)?;
        state.disk.files.get(id).map(|file| file.live.clone())
    }

    /// All files, with their directories.
    pub fn paths(&self) -> Vec<String> {
        self.shared
            .state
            .lock()
            .disk
            .names
            .keys()
            .cloned()
            .collect()
    }
}

impl Shared {
    fn io_error(&self, operation: &'static str, path: &str, message: &str) -> DeviceError {
        DeviceError::Io {
            device: self.name.clone(),
            operation,
            path: path.to_owned(),
            message: message.to_owned(),
        }
    }

    fn not_found(&self, path: &str) -> DeviceError {
        DeviceError::NotFound {
            device: self.name.clone(),
            path: path.to_owned(),
        }
    }

    fn no_space(&self, path: &str) -> DeviceError {
        DeviceError::NoSpace {
            device: self.name.clone(),
            path: path.to_owned(),
        }
    }

    /// Begins an operation: counts it, traces it, and lets it fail if it is to. Returns a fault that the operation has
    /// to show itself.
    fn enter(
        &self,
        kind: Operation,
        verb: &'static str,
        path: &str,
        words: &[u64],
    ) -> Result<Option<Fault>> {
        self.answers.wait_while(&mut self.hung.lock(), |hung| *hung);
        let mut state = self.state.lock();
        state.operations += 1;
        let trace = fold(fold(0, self.name.as_bytes()), path.as_bytes());
        self.env.trace(verb, &[trace]);
        self.env.trace("", words);
        if self.env.life() == self.life && self.env.pass_operation() {
            self.env.cut_power();
        }
        if self.env.life() != self.life {
            return Err(self.io_error(verb, path, "the power is off"));
        }
        if state.broken {
            return Err(self.io_error(verb, path, "the disk is broken"));
        }
        let fault = state.injected(kind, path);
        match fault {
            Some(Fault::Io) => Err(self.io_error(verb, path, "injected fault")),
            Some(Fault::NoSpace) => Err(self.no_space(path)),
            Some(Fault::Hang(time)) => {
                self.env.pass(time);
                Err(self.io_error(verb, path, "no answer"))
            }
            Some(Fault::Slow(time)) => {
                self.env.pass(time);
                Ok(None)
            }
            Some(Fault::Lost | Fault::Misdirected | Fault::Flip) | None => Ok(fault),
        }
    }

    /// What becomes of a sync.
    fn sync_fate(&self, fault: Option<Fault>) -> SyncFate {
        let fate = self.env.pass_sync();
        let lies = fault == Some(Fault::Lost) || self.state.lock().lying;
        match fate {
            SyncFate::Done if lies => SyncFate::Skipped,
            SyncFate::Done | SyncFate::Skipped | SyncFate::Cut(_) => fate,
        }
    }
}

impl State {
    fn injected(&mut self, kind: Operation, path: &str) -> Option<Fault> {
        for injection in &mut self.injections {
            let matches = injection.operation == Operation::Any || injection.operation == kind;
            if !matches || !path.contains(&injection.path) {
                continue;
            }
            if injection.skip > 0 {
                injection.skip -= 1;
            } else if injection.times > 0 {
                injection.times -= 1;
                return Some(injection.fault);
            }
        }
        None
    }

    fn free_blocks(&self) -> u64 {
        self.capacity.saturating_sub(self.disk.used()) / SPACE_BLOCK
    }
}

impl Device for SimDevice {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn failure_domain(&self) -> u64 {
        self.shared.domain
    }

    fn create(&self, path: &str, preallocate: u64) -> Result<Arc<dyn DeviceFile>> {
        self.shared.enter(Operation::Create, "create", path, &[])?;
        let mut state = self.shared.state.lock();
        if state.disk.names.contains_key(path) {
            return Err(DeviceError::Exists {
                device: self.shared.name.clone(),
                path: path.to_owned(),
            });
        }
        if state.free_blocks() == 0 {
            return Err(self.shared.no_space(path));
        }
        let id = state.disk.create(path);
        drop(state);
        // As on real file systems, it is made all the same when there is not that much room.
        drop(take_ahead(&self.shared, id, path, (0, preallocate)));
        Ok(self.handle(path, id))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DeviceFile>> {
        self.shared.enter(Operation::Open, "open", path, &[])?;
        let state = self.shared.state.lock();
        let id = state
            .disk
            .names
            .get(path)
            .ok_or_else(|| self.shared.not_found(path))?;
        Ok(self.handle(path, *id))
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.shared.enter(Operation::Delete, "delete", path, &[])?;
        let deleted = self.shared.state.lock().disk.delete(path);
        if deleted {
            Ok(())
        } else {
            Err(self.shared.not_found(path))
        }
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let words = [fold(0, to.as_bytes())];
        self.shared
            .enter(Operation::Rename, "rename", from, &words)?;
        let renamed = self.shared.state.lock().disk.rename(from, to);
        if renamed {
            Ok(())
        } else {
            Err(self.shared.not_found(from))
        }
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.shared.enter(Operation::List, "list", dir, &[])?;
        let state = self.shared.state.lock();
        let names = state.disk.names.keys().filter(|path| parent(path) == dir);
        Ok(names
            .filter_map(|path| path.rsplit('/').next())
            .map(str::to_owned)
            .collect())
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        let fault = self.shared.enter(Operation::Sync, "sync_dir", dir, &[])?;
        let fate = self.shared.sync_fate(fault);
        match fate {
            SyncFate::Done | SyncFate::Cut(Moment::After) => {
                self.shared.state.lock().disk.sync_dir(dir);
            }
            SyncFate::Cut(Moment::Before) => self.shared.state.lock().disk.lose_dir(dir),
            SyncFate::Cut(Moment::During) | SyncFate::Skipped => {}
        }
        self.finish_sync(fate, dir)
    }

    fn space(&self) -> Result<Space> {
        self.shared.enter(Operation::Any, "space", "", &[])?;
        let state = self.shared.state.lock();
        Ok(Space {
            total: state.capacity,
            free: state.free_blocks() * SPACE_BLOCK,
        })
    }
}

impl SimDevice {
    fn handle(&self, path: &str, id: u64) -> Arc<dyn DeviceFile> {
        Arc::new(SimFile {
            shared: Arc::clone(&self.shared),
            path: path.to_owned(),
            id,
        })
    }

    fn finish_sync(&self, fate: SyncFate, path: &str) -> Result<()> {
        finish_sync(&self.shared, fate, path)
    }
}

fn finish_sync(shared: &Shared, fate: SyncFate, path: &str) -> Result<()> {
    match fate {
        SyncFate::Done | SyncFate::Skipped => Ok(()),
        SyncFate::Cut(_) => {
            shared.env.cut_power();
            Err(shared.io_error("sync", path, "the power went off"))
        }
    }
}

struct SimFile {
    shared: Arc<Shared>,
    path: String,
    id: u64,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFile({}/{})", self.shared.name, self.path)
    }
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut FileData) -> T) -> Result<T> {
        let mut state = self.shared.state.lock();
        let file = state.disk.files.get_mut(&self.id);
        file.map(act)
            .ok_or_else(|| self.shared.not_found(&self.path))
    }

    fn change(&self, change: Change, words: &[u64]) -> Result<()> {
        let fault = self
            .shared
            .enter(Operation::Write, "write", &self.path, words)?;
        if let Change::Write { offset, bytes } = &change {
            let free = self.shared.state.lock().free_blocks();
            if self.with(|file| file.new_blocks(*offset, bytes.len()))? > free {
                return Err(self.shared.no_space(&self.path));
            }
        }
        match (fault, &change) {
            (Some(Fault::Lost), Change::Write { .. }) => self.with(|file| file.lose(change)),
            (Some(Fault::Misdirected), Change::Write { bytes, .. }) => {
                let mut state = self.shared.state.lock();
                state.disk.misdirect(bytes, &mut self.shared.env.fork_rng());
                drop(state);
                self.with(|file| file.lose(change))
            }
            _ => self.with(|file| file.change(change)),
        }
    }

    fn sync_now(&self, fate: SyncFate) -> Result<()> {
        match fate {
            SyncFate::Done | SyncFate::Cut(Moment::After) => self.with(FileData::make_durable),
            SyncFate::Cut(Moment::Before) => self.with(|file| file.pending.clear()),
            SyncFate::Cut(Moment::During) | SyncFate::Skipped => Ok(()),
        }
    }
}

/// Takes space for a range of a file, offset and length, if there is that much.
fn take_ahead(shared: &Shared, id: u64, path: &str, range: (u64, u64)) -> Result<()> {
    let mut state = shared.state.lock();
    let free = state.free_blocks();
    let Some(file) = state.disk.files.get_mut(&id) else {
        return Err(shared.not_found(path));
    };
    let (offset, len) = (to_usize(range.0), to_usize(range.1));
    if file.new_blocks(offset, len) > free {
        return Err(shared.no_space(path));
    }
    file.take(offset, len);
    Ok(())
}

/// Turns one bit among the first `len` bytes of the buffers.
fn flip_one(buffers: &mut [IoSliceMut<'_>], len: usize, rng: &mut Rng) {
    if len == 0 {
        return;
    }
    let mut at = rng.below(len);
    for buffer in buffers {
        if let Some(byte) = buffer.get_mut(at) {
            *byte ^= 1 << rng.below(8);
            return;
        }
        at -= buffer.len();
    }
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("a simulated file fits in memory")
}

impl DeviceFile for SimFile {
    fn len(&self) -> Result<u64> {
        self.shared.enter(Operation::Any, "len", &self.path, &[])?;
        self.with(|file| file.live.len() as u64)
    }

    fn read_vectored_at(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let fault = self
            .shared
            .enter(Operation::Read, "read", &self.path, &[offset])?;
        let read = self.with(|file| {
            let mut rest = file.live.get(to_usize(offset)..).unwrap_or_default();
            let mut done = 0;
            for buffer in &mut *buffers {
                let take = buffer.len().min(rest.len());
                buffer[..take].copy_from_slice(&rest[..take]);
                rest = &rest[take..];
                done += take;
            }
            done
        })?;
        if fault == Some(Fault::Flip) {
            flip_one(buffers, read, &mut self.shared.env.fork_rng());
        }
        Ok(read)
    }

    fn write_vectored_at(&self, offset: u64, buffers: &[IoSlice<'_>]) -> Result<()> {
        let bytes: Vec<u8> = buffers
            .iter()
            .flat_map(|buffer| buffer.iter().copied())
            .collect();
        let hash = fold(0, &bytes);
        self.change(
            Change::Write {
                offset: to_usize(offset),
                bytes,
            },
            &[offset, hash],
        )
    }

    fn uncache(&self) -> Result<()> {
        self.shared
            .enter(Operation::Any, "uncache", &self.path, &[])?;
        self.with(FileData::uncache)
    }

    fn preallocate(&self, offset: u64, len: u64) -> Result<()> {
        self.shared
            .enter(Operation::Any, "preallocate", &self.path, &[offset, len])?;
        take_ahead(&self.shared, self.id, &self.path, (offset, len))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.change(Change::SetLen(to_usize(len)), &[len])
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        let change = Change::Punch {
            offset: to_usize(offset),
            len: to_usize(len),
        };
        self.change(change, &[offset, len])
    }

    fn sync(&self) -> Result<()> {
        if self.with(|file| file.sync_failed)? {
            return Err(self
                .shared
                .io_error("sync", &self.path, "an earlier sync failed"));
        }
        let fault = match self.shared.enter(Operation::Sync, "sync", &self.path, &[]) {
            Ok(fault) => fault,
            Err(error) => {
                self.with(FileData::fail_sync)?;
                return Err(error);
            }
        };
        let fate = self.shared.sync_fate(fault);
        self.sync_now(fate)?;
        finish_sync(&self.shared, fate, &self.path)
    }
}
