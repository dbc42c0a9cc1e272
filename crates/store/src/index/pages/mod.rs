//! Checksummed pages on two or more copies: the storage that redb stands on.
//!
//! A file `pages` per copy holds page `n` at byte `4096 n`, without trailer. A 64-bit checksum of every page is held in
//! memory and kept per copy in `sums.0` and `sums.1` (see [`records`]): a checkpoint, then one record a sync. Page 0 is
//! redb's header; it is kept in those records only, so that changing it is atomic.
//!
//! A sync writes the changed pages to every copy, syncs them, then appends and syncs the record. redb is copy-on-write:
//! what the last record shows is never overwritten, so a crash anywhere leaves that state whole.

mod copies;
mod join;
mod read;
mod records;
mod seals;
mod sums;
mod sync;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use strongroom_device::{Device, DeviceError, Env};
use strongroom_pool::crypt::Cipher;

use crate::{Result, StoreError};
use copies::{PageCopy, Stage};
use seals::{PageSeal, SealTable};
use sums::SumTable;

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;
const PAGE_U64: u64 = 4096;
const SHARDS: usize = 64;
/// Changed pages held in memory before they are written out ahead of the sync.
const SPILL_PAGES: usize = 16_384;

/// Where one copy of the index lies.
#[derive(Debug, Clone)]
pub(crate) struct PageHome {
    pub(crate) device: Arc<dyn Device>,
    /// A directory of its own, such as `index/0`.
    pub(crate) dir: String,
}

impl PageHome {
    /// Whether it is the same directory of the same device. Another device may have the same name: a new disk in the place
    /// of one that was lost.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.device, &other.device) && self.dir == other.dir
    }
}

/// Told that an operation on a device failed and that its copy is out of service. False when nothing may be written
/// any more.
pub(crate) type FailureHook = Arc<dyn Fn(&Arc<dyn Device>, &DeviceError) -> bool + Send + Sync>;

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

/// Counters and verdicts that outlive one opening.
#[derive(Debug, Default)]
pub(super) struct Health {
    bad: AtomicU64,
    repaired: AtomicU64,
    lost: AtomicU64,
    /// Where copies failed; they stay out of service.
    out: Mutex<Vec<PageHome>>,
}

impl Health {
    fn is_out(&self, home: &PageHome) -> bool {
        self.out.lock().iter().any(|out| out.is(home))
    }
}

/// A page written since the last record.
#[derive(Debug)]
struct Pending {
    sum: u64,
    seal: PageSeal,
    /// As it is stored; None once it was written out.
    data: Option<Arc<[u8]>>,
}

/// What only the writer touches.
#[derive(Debug, Default)]
struct Written {
    /// redb's header: page 0 as far as it was written.
    first: Vec<u8>,
    len: u64,
    /// The shortest that the file was since the last record.
    kept: u64,
    durable_first: Vec<u8>,
    durable_len: u64,
    generation: u64,
    sequence: u64,
    /// Which of the two record files is appended to, and where it ends.
    area: usize,
    area_end: u64,
    /// Pages went out since the files were last synced.
    unsynced: bool,
}

/// One opening of the pages. A failure ends it for good; the index then opens another on the same files.
pub(super) struct PageStore {
    env: Arc<dyn Env>,
    copies: ArcSwap<Vec<Arc<PageCopy>>>,
    failed: FailureHook,
    health: Arc<Health>,
    sums: SumTable,
    cipher: Option<Arc<Cipher>>,
    seals: SealTable,
    pending: Vec<RwLock<HashMap<u64, Pending>>>,
    pending_pages: AtomicUsize,
    buffered_pages: AtomicUsize,
    written: Mutex<Written>,
    len: AtomicU64,
    /// False once another opening took over.
    current: AtomicBool,
    /// An error was given to redb, which has latched it.
    faulted: AtomicBool,
}

impl std::fmt::Debug for PageStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageStore")
            .field("copies", &self.copies)
            .field("len", &self.len)
            .finish()
    }
}

impl PageStore {
    fn new(
        env: Arc<dyn Env>,
        copies: Vec<Arc<PageCopy>>,
        failed: FailureHook,
        health: Arc<Health>,
        cipher: Option<Arc<Cipher>>,
    ) -> Self {
        Self {
            env,
            copies: ArcSwap::from_pointee(copies),
            failed,
            health,
            sums: SumTable::default(),
            cipher,
            seals: SealTable::default(),
            pending: (0..SHARDS).map(|_| RwLock::default()).collect(),
            pending_pages: AtomicUsize::new(0),
            buffered_pages: AtomicUsize::new(0),
            written: Mutex::default(),
            len: AtomicU64::new(0),
            current: AtomicBool::new(true),
            faulted: AtomicBool::new(false),
        }
    }

    fn shard(&self, page: u64) -> &RwLock<HashMap<u64, Pending>> {
        let shard = (page >> 4) % SHARDS as u64;
        &self.pending[usize::try_from(shard).unwrap_or(0)]
    }

    /// Ends this opening: nothing is written through it any more.
    pub(super) fn retire(&self) {
        let _written = self.written.lock();
        self.current.store(false, Ordering::SeqCst);
    }

    /// True once redb was given an error.
    pub(super) fn faulted(&self) -> bool {
        self.faulted.load(Ordering::SeqCst)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn status(&self) -> PageStatus {
        let count = |good: bool| {
            let copies = self.copies.load();
            let copies = copies.iter().filter(|copy| !good || copy.serves());
            u32::try_from(copies.count()).unwrap_or(u32::MAX)
        };
        PageStatus {
            copies_good: count(true),
            copies: count(false),
            bad: self.health.bad.load(Ordering::Relaxed),
            repaired: self.health.repaired.load(Ordering::Relaxed),
            lost: self.health.lost.load(Ordering::Relaxed),
        }
    }

    /// The copies that have come at least so far.
    fn copies_from(&self, least: Stage) -> Vec<Arc<PageCopy>> {
        let copies = self.copies.load();
        let chosen = copies.iter().filter(|copy| copy.stage() >= least);
        chosen.cloned().collect()
    }

    /// Does `operation` side by side on every copy that has come at least so far. A copy that fails goes out of service.
    ///
    /// # Errors
    /// No copy is left, writing must stop, or there is no space.
    fn on_copies(
        &self,
        least: Stage,
        operation: impl Fn(&PageCopy) -> std::result::Result<(), DeviceError> + Sync,
    ) -> Result<()> {
        let copies = self.copies_from(least);
        let mut outcomes: Vec<_> = copies.iter().map(|_| Ok(())).collect();
        let works = copies.iter().zip(&mut outcomes);
        let mut works: Vec<_> = works
            .map(|(copy, outcome)| || *outcome = operation(copy))
            .collect();
        let mut calls: Vec<&mut (dyn FnMut() + Send)> = works
            .iter_mut()
            .map(|work| work as &mut (dyn FnMut() + Send))
            .collect();
        self.env.run_all(&mut calls);
        let mut last = StoreError::Offline {
            why: "no copy of the index is in service".into(),
        };
        let mut done = 0;
        for (copy, outcome) in copies.iter().zip(outcomes) {
            match outcome {
                Ok(()) => done += usize::from(copy.serves()),
                Err(error) => last = self.lose_copy(copy, error)?,
            }
        }
        if done == 0 { Err(last) } else { Ok(()) }
    }

    /// # Errors
    /// Writing must stop, or the disk is not lost but full.
    fn lose_copy(&self, copy: &PageCopy, error: DeviceError) -> Result<StoreError> {
        if matches!(error, DeviceError::NoSpace { .. }) {
            if copy.serves() {
                return Err(error.into());
            }
            // The others do not wait for a copy that was only being made.
            copy.set_stage(Stage::Out);
            return Ok(error.into());
        }
        tracing::error!(copy = %copy, %error, "a copy of the index is out of service");
        copy.set_stage(Stage::Out);
        self.health.out.lock().push(copy.home().clone());
        if (self.failed)(&copy.home().device, &error) {
            Ok(error.into())
        } else {
            Err(StoreError::Offline {
                why: error.to_string(),
            })
        }
    }

    fn current(&self) -> Result<()> {
        if self.current.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(StoreError::Offline {
                why: "this opening of the index has ended".into(),
            })
        }
    }
}

/// What redb holds of one opening.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<PageStore>);

impl Backend {
    fn latch<T>(&self, result: Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            self.0.faulted.store(true, Ordering::SeqCst);
            io::Error::other(error)
        })
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.latch(self.0.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.latch(self.0.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.latch(self.0.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.latch(self.0.write(offset, data))
    }
}
