//! One copy's files, and how the copies are found, chosen and brought level when the index is opened.

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use strongroom_device::{DeviceError, DeviceFile, Env};

use strongroom_pool::crypt::Cipher;

use super::records::{self, RecordHead, Replayed};
use super::sums::sum_of;
use super::{FailureHook, Health, PAGE, PAGE_U64, PageHome, PageStore, Written};
use crate::{Result, StoreError};

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    /// It failed, or its disk is no member any more.
    Out,
    /// Pages go to it; it lacks older ones.
    Joining,
    /// It has all pages; the next record makes it whole.
    Whole,
    /// It is read and has all records.
    Serving,
}

/// The files of one copy.
#[derive(Debug)]
pub(super) struct PageCopy {
    home: PageHome,
    stage: AtomicU8,
    pub(super) pages: Arc<dyn DeviceFile>,
    pub(super) sums: [Arc<dyn DeviceFile>; 2],
}

impl fmt::Display for PageCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.home.device.name(), self.home.dir)
    }
}

type DeviceResult<T> = std::result::Result<T, DeviceError>;

fn open_or_create(home: &PageHome, name: &str) -> DeviceResult<Arc<dyn DeviceFile>> {
    let path = format!("{}/{name}", home.dir);
    match home.device.open(&path) {
        Err(DeviceError::NotFound { .. }) => home.device.create(&path, 0),
        other => other,
    }
}

impl PageCopy {
    pub(super) fn open(home: &PageHome, stage: Stage) -> DeviceResult<Self> {
        let pages = open_or_create(home, "pages")?;
        let sums = [
            open_or_create(home, "sums.0")?,
            open_or_create(home, "sums.1")?,
        ];
        home.device.sync_dir(&home.dir)?;
        Ok(Self {
            home: home.clone(),
            stage: AtomicU8::new(stage as u8),
            pages,
            sums,
        })
    }

    pub(super) fn stage(&self) -> Stage {
        let stage = self.stage.load(Ordering::SeqCst);
        let all = [Stage::Joining, Stage::Whole, Stage::Serving];
        let known = all.into_iter().find(|known| *known as u8 == stage);
        known.unwrap_or(Stage::Out)
    }

    pub(super) fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::SeqCst);
    }

    pub(super) fn serves(&self) -> bool {
        self.stage() == Stage::Serving
    }

    pub(super) fn home(&self) -> &PageHome {
        &self.home
    }

    pub(super) fn lies_at(&self, home: &PageHome) -> bool {
        self.home.is(home)
    }

    /// Reads a page; false when it is not the one with this checksum.
    pub(super) fn read_page(&self, page: u64, sum: u64, out: &mut [u8]) -> DeviceResult<bool> {
        let read = self.pages.read_at(page * PAGE_U64, out)?;
        Ok(read == PAGE && sum_of(out) == sum)
    }

    pub(super) fn write_run(&self, page: u64, run: &[IoSlice<'_>]) -> DeviceResult<()> {
        self.pages.write_vectored_at(page * PAGE_U64, run)
    }

    /// Appends a record and makes it durable.
    pub(super) fn append(&self, area: usize, at: u64, record: &[u8]) -> DeviceResult<()> {
        self.sums[area].write_at(at, record)?;
        self.sums[area].sync()
    }

    /// Begins a record file anew with a checkpoint and makes it durable.
    pub(super) fn begin_area(&self, area: usize, checkpoint: &[u8]) -> DeviceResult<()> {
        self.sums[area].set_len(0)?;
        self.append(area, 0, checkpoint)
    }

    /// Makes it blank: what an earlier life left must not be taken for newer.
    pub(super) fn clear(&self) -> DeviceResult<()> {
        for file in self.sums.iter().chain([&self.pages]) {
            file.set_len(0)?;
            file.sync()?;
        }
        Ok(())
    }

    /// The newest state that this copy knows of, and the file that leads to it.
    fn newest(&self, cipher: Option<&Cipher>) -> Result<Option<(usize, Replayed)>> {
        let mut best: Option<(usize, Replayed)> = None;
        for area in 0..2 {
            let bytes = read_all(&*self.sums[area])?;
            let Some(state) = records::replay(&bytes, &format!("{self}/sums.{area}"), cipher)?
            else {
                continue;
            };
            if best
                .as_ref()
                .is_none_or(|(_, known)| state.head.sequence > known.head.sequence)
            {
                best = Some((area, state));
            }
        }
        Ok(best)
    }
}

fn read_all(file: &dyn DeviceFile) -> DeviceResult<Vec<u8>> {
    const STEP: usize = 1 << 20;
    let mut bytes = Vec::new();
    loop {
        let at = bytes.len();
        bytes.resize(at + STEP, 0);
        let read = file.read_at(at as u64, &mut bytes[at..])?;
        bytes.truncate(at + read);
        if read < STEP {
            return Ok(bytes);
        }
    }
}

/// What one copy brings to an opening.
struct Found {
    copy: usize,
    area: usize,
    state: Replayed,
}

impl PageStore {
    /// Opens the copies: the newest state wins and the others are brought level. `create` makes an empty store where
    /// there is none.
    ///
    /// # Errors
    /// Nothing readable on any copy, a newer format, or no copy that works.
    pub(in crate::index) fn open(
        env: Arc<dyn Env>,
        homes: &[PageHome],
        failed: FailureHook,
        health: Arc<Health>,
        cipher: Option<Arc<Cipher>>,
        create: bool,
    ) -> Result<Arc<Self>> {
        let store = Self::attach(env, homes, failed, health, cipher)?;
        let mut found = store.survey()?;
        found.sort_by_key(|found| std::cmp::Reverse(found.state.head.sequence));
        let level = store.level(&found);
        let mut found = found.into_iter();
        match found.next() {
            // Making it was cut off before redb's own header was whole: it is begun again, under higher numbers.
            Some(best) if create && !best.state.head.first.starts_with(b"redb") => {
                let mut written = store.written.lock();
                written.area = best.area;
                written.generation = best.state.head.generation;
                written.sequence = best.state.head.sequence;
                store.checkpoint(&mut written)?;
            }
            Some(best) => store.adopt(best, &found.collect::<Vec<_>>(), level)?,
            None if create => store.checkpoint(&mut store.written.lock())?,
            None => {
                let what = "the index: no readable checkpoint on any copy".into();
                return Err(StoreError::Corrupt { what });
            }
        }
        Ok(Arc::new(store))
    }

    fn attach(
        env: Arc<dyn Env>,
        homes: &[PageHome],
        failed: FailureHook,
        health: Arc<Health>,
        cipher: Option<Arc<Cipher>>,
    ) -> Result<Self> {
        let mut copies = Vec::new();
        let mut last = StoreError::Invalid {
            what: "the index has no home".into(),
        };
        for home in homes.iter().filter(|home| !health.is_out(home)) {
            match PageCopy::open(home, Stage::Serving) {
                Ok(copy) => copies.push(Arc::new(copy)),
                Err(full @ DeviceError::NoSpace { .. }) => return Err(full.into()),
                Err(error) => {
                    health.out.lock().push(home.clone());
                    if !failed(&home.device, &error) {
                        return Err(StoreError::Offline {
                            why: error.to_string(),
                        });
                    }
                    last = error.into();
                }
            }
        }
        if copies.is_empty() {
            Err(last)
        } else {
            Ok(Self::new(env, copies, failed, health, cipher))
        }
    }

    fn survey(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for (number, copy) in self.copies.load().iter().enumerate() {
            match copy.newest(self.cipher.as_deref()) {
                Ok(Some((area, state))) => found.push(Found {
                    copy: number,
                    area,
                    state,
                }),
                Ok(None) => {}
                Err(StoreError::Device(error)) => drop(self.lose_copy(copy, error)?),
                Err(other) => return Err(other),
            }
        }
        Ok(found)
    }

    /// True when every copy in service ends in the same record at the same place.
    fn level(&self, found: &[Found]) -> bool {
        let in_service = self.copies_from(Stage::Serving).len();
        let same = |pair: &[Found]| match pair {
            [a, b] => {
                a.area == b.area && a.state.end == b.state.end && a.state.head == b.state.head
            }
            _ => true,
        };
        found.len() == in_service && found.windows(2).all(same)
    }

    fn adopt(&self, best: Found, others: &[Found], level: bool) -> Result<()> {
        let RecordHead {
            generation,
            sequence,
            len,
            first,
            ..
        } = best.state.head.clone();
        let pages = len / PAGE_U64;
        for page in 0..pages {
            let sum = best.state.sums.get(page);
            if sum != 0 {
                self.seals.set(page, best.state.seals.get(page));
                self.sums.set(page, sum);
            }
        }
        self.len.store(len, Ordering::Release);
        let mut written = self.written.lock();
        *written = Written {
            durable_first: first.clone(),
            first,
            len,
            kept: pages,
            durable_len: len,
            generation,
            sequence,
            area: best.area,
            area_end: best.state.end,
            unsynced: false,
        };
        if level {
            return Ok(());
        }
        let copies = self.copies.load_full();
        let serving = copies.iter().enumerate().filter(|(_, copy)| copy.serves());
        for (number, copy) in serving {
            // A crash between the records of two copies leaves one a single record behind, its pages complete: both
            // copies' pages are synced before the first record.
            let behind =
                |other: &Found| other.copy == number && other.state.head.sequence + 1 >= sequence;
            if number != best.copy && !others.iter().any(behind) {
                self.bring_level(number, copy, pages)?;
            }
        }
        self.checkpoint(&mut written)
    }

    /// Writes what a copy lacks from the others; its own checksum of a page says whether it has it.
    fn bring_level(&self, number: usize, copy: &PageCopy, pages: u64) -> Result<()> {
        tracing::warn!(copy = %copy, "a copy of the index is out of date; it is made anew");
        let mut buffer = [0; PAGE];
        for page in 1..pages {
            let sum = self.sums.get(page);
            if sum == 0 || matches!(copy.read_page(page, sum, &mut buffer), Ok(true)) {
                continue;
            }
            let copies = self.copies.load();
            let mut others = copies
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != number);
            if others.any(|(_, other)| matches!(other.read_page(page, sum, &mut buffer), Ok(true)))
                && let Err(error) = copy.write_run(page, &[IoSlice::new(&buffer)])
            {
                self.lose_copy(copy, error)?;
                return Ok(());
            }
        }
        if let Err(error) = copy.pages.sync() {
            self.lose_copy(copy, error)?;
        }
        Ok(())
    }
}
