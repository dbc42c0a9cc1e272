//! The index as one redb tree on checksummed pages.
//!
//! All tables of the store share one tree: a row's key is the table's number, then its own key. redb latches every
//! error; the tree is then opened anew on the same pages, at the last commit, and whoever met the error asks once more.

mod reader;
mod writer;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use redb::{Database, TableDefinition};
use strongroom_device::Env;
use strongroom_pool::Txg;
use strongroom_pool::crypt::Cipher;

use super::pages::{Backend, Health, PageStore};
use super::{FailureHook, Index, IndexStatus, PageHome, Snapshot, WriteTxn};
use crate::rows;
use crate::{Result, StoreError, Table};
use reader::TreeSnapshot;

const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
/// Keys of [`rows::META`].
const META_VERSION: &[u8] = b"version";
const META_LAST: &[u8] = b"last";
/// Rows below which a group is not worth prefetching.
const PREFETCH_MIN: usize = 2048;

#[derive(Debug, Clone)]
pub(crate) struct IndexOptions {
    /// The keys of an encrypted pool.
    pub(crate) cipher: Option<Arc<Cipher>>,
    /// Memory for pages, in bytes.
    pub(crate) cache: usize,
    /// Threads that prefetch before a large group; 0 for none (a simulation must have none).
    pub(crate) readers: usize,
}

/// One opening of the database.
struct Opened {
    generation: u64,
    database: Database,
    pages: Arc<PageStore>,
}

/// What the index and its snapshots share.
struct Shared {
    env: Arc<dyn Env>,
    homes: Mutex<Vec<PageHome>>,
    failed: FailureHook,
    options: IndexOptions,
    health: Arc<Health>,
    opened: ArcSwap<Opened>,
    newest: ArcSwap<TreeSnapshot>,
    /// Held while the database is opened anew.
    opening: Mutex<()>,
    reopened: AtomicU64,
    /// Snapshots that may be held, oldest first.
    pins: Mutex<Vec<Weak<TreeSnapshot>>>,
}

/// The index of a pool.
pub(crate) struct RedbIndex {
    shared: Arc<Shared>,
    writer: Mutex<()>,
}

impl std::fmt::Debug for RedbIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbIndex")
            .field("last_txg", &self.last_txg())
            .finish_non_exhaustive()
    }
}

/// An error of redb; one that our pages gave comes back as it was.
fn engine(error: impl Into<redb::Error>) -> StoreError {
    let error = error.into();
    if let redb::Error::Io(io) = error {
        return io
            .downcast::<StoreError>()
            .unwrap_or_else(|io| StoreError::Corrupt {
                what: format!("index: {io}"),
            });
    }
    StoreError::Corrupt {
        what: format!("index: {error}"),
    }
}

/// Writes the key of the shared tree into `out`.
fn tree_key(out: &mut Vec<u8>, table: Table, key: &[u8]) {
    out.clear();
    out.push(table.0);
    out.extend_from_slice(key);
}

impl RedbIndex {
    /// Makes an empty index on blank homes, or opens what is there already. Durable on return.
    pub(crate) fn create(
        env: Arc<dyn Env>,
        homes: Vec<PageHome>,
        failed: FailureHook,
        options: IndexOptions,
    ) -> Result<Arc<Self>> {
        Self::start(env, homes, failed, options, true)
    }

    /// Opens what is there; a missing or older copy is made anew from the best.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when no copy is readable, [`StoreError::Newer`] for a newer format.
    pub(crate) fn open(
        env: Arc<dyn Env>,
        homes: Vec<PageHome>,
        failed: FailureHook,
        options: IndexOptions,
    ) -> Result<Arc<Self>> {
        Self::start(env, homes, failed, options, false)
    }

    fn start(
        env: Arc<dyn Env>,
        homes: Vec<PageHome>,
        failed: FailureHook,
        options: IndexOptions,
        create: bool,
    ) -> Result<Arc<Self>> {
        let health = Arc::<Health>::default();
        let pages = PageStore::open(
            Arc::clone(&env),
            &homes,
            Arc::clone(&failed),
            Arc::clone(&health),
            options.cipher.clone(),
            create,
        )?;
        let opened = Opened::on(pages, 0, options.cache)?;
        opened.prepare()?;
        let newest = Arc::new(TreeSnapshot::take(&opened, Weak::new())?);
        let shared = Arc::new(Shared {
            env,
            homes: Mutex::new(homes),
            failed,
            options,
            health,
            opened: ArcSwap::from_pointee(opened),
            newest: ArcSwap::new(newest),
            opening: Mutex::new(()),
            reopened: AtomicU64::new(0),
            pins: Mutex::default(),
        });
        shared.publish()?;
        Ok(Arc::new(Self {
            shared,
            writer: Mutex::new(()),
        }))
    }
}

impl Opened {
    fn on(pages: Arc<PageStore>, generation: u64, cache: usize) -> Result<Self> {
        let mut builder = Database::builder();
        builder.set_cache_size(cache);
        let database = builder
            .create_with_backend(Backend(Arc::clone(&pages)))
            .map_err(engine)?;
        Ok(Self {
            generation,
            database,
            pages,
        })
    }

    /// Makes the tree if there is none, brings an older format up to date and refuses a newer one.
    fn prepare(&self) -> Result<()> {
        let mut transaction = self.database.begin_write().map_err(engine)?;
        transaction.set_quick_repair(true);
        let known = {
            let table = transaction.open_table(ROWS).map_err(engine)?;
            let mut writer = writer::TreeWrite::new(table)?;
            writer.format_version()?
        };
        match known {
            Some(rows::FORMAT_VERSION) => transaction.abort().map_err(engine),
            Some(found) if found < rows::FORMAT_VERSION => {
                {
                    let table = transaction.open_table(ROWS).map_err(engine)?;
                    writer::TreeWrite::new(table)?.upgrade()?;
                }
                transaction.commit().map_err(engine)
            }
            Some(found) => {
                let known = rows::FORMAT_VERSION;
                Err(StoreError::Newer {
                    what: "the index".into(),
                    found,
                    known,
                })
            }
            None => {
                {
                    let table = transaction.open_table(ROWS).map_err(engine)?;
                    writer::TreeWrite::new(table)?.set_format_version(rows::FORMAT_VERSION)?;
                }
                transaction.commit().map_err(engine)
            }
        }
    }
}

impl Shared {
    /// Lets new readers see the last commit.
    fn publish(self: &Arc<Self>) -> Result<()> {
        let snapshot = Arc::new(TreeSnapshot::take(
            &self.opened.load(),
            Arc::downgrade(self),
        )?);
        let mut pins = self.pins.lock();
        pins.retain(|held| held.strong_count() > 0);
        pins.push(Arc::downgrade(&snapshot));
        drop(pins);
        self.newest.store(snapshot);
        Ok(())
    }

    /// Opens the database anew, unless somebody did since `generation`.
    fn reopen(self: &Arc<Self>, generation: u64) -> Result<()> {
        let _opening = self.opening.lock();
        let old = self.opened.load_full();
        if old.generation != generation {
            return Ok(());
        }
        old.pages.retire();
        let homes = self.homes.lock().clone();
        let pages = PageStore::open(
            Arc::clone(&self.env),
            &homes,
            Arc::clone(&self.failed),
            Arc::clone(&self.health),
            self.options.cipher.clone(),
            false,
        )?;
        let opened = Opened::on(pages, generation + 1, self.options.cache)?;
        self.opened.store(Arc::new(opened));
        self.reopened.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("the index was opened anew after an error");
        self.publish()
    }
}

impl RedbIndex {
    fn try_write(
        &self,
        opened: &Opened,
        change: &mut dyn FnMut(&mut dyn WriteTxn) -> Result<()>,
    ) -> Result<()> {
        let mut transaction = opened.database.begin_write().map_err(engine)?;
        transaction.set_quick_repair(true);
        let changed = {
            let table = transaction.open_table(ROWS).map_err(engine)?;
            writer::TreeWrite::new(table).and_then(|mut writer| change(&mut writer))
        };
        match changed {
            Ok(()) => transaction.commit().map_err(engine),
            Err(error) => {
                // The change's own error says more than a failure to undo, which opening anew mends.
                if let Err(undo) = transaction.abort() {
                    tracing::warn!(error = %undo, "an index write was not undone cleanly");
                }
                Err(error)
            }
        }
    }
}

impl Index for RedbIndex {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.shared.newest.load_full()
    }

    fn write(&self, change: &mut dyn FnMut(&mut dyn WriteTxn) -> Result<()>) -> Result<()> {
        let _writer = self.writer.lock();
        let opened = self.shared.opened.load_full();
        let result = self.try_write(&opened, change);
        if !opened.pages.faulted() {
            result?;
            return self.shared.publish();
        }
        self.shared.reopen(opened.generation)?;
        let opened = self.shared.opened.load_full();
        let result = self.try_write(&opened, change);
        if opened.pages.faulted() {
            self.shared.reopen(opened.generation)?;
        } else {
            self.shared.publish()?;
        }
        result
    }

    fn last_txg(&self) -> Txg {
        self.shared.newest.load().txg()
    }

    fn oldest_held(&self) -> Arc<dyn Snapshot> {
        // In the order in which they were published; a write that feeds nothing makes a new one of the same group.
        let held = self.shared.pins.lock().iter().find_map(Weak::upgrade);
        held.unwrap_or_else(|| self.shared.newest.load_full())
    }

    fn prefetch(&self, keys: &[(Table, &[u8])]) {
        let readers = self.shared.options.readers;
        let opened = self.shared.opened.load_full();
        if readers == 0
            || keys.len() < PREFETCH_MIN
            || opened.pages.bytes() <= self.shared.options.cache as u64
        {
            return;
        }
        let snapshot = self.shared.newest.load_full();
        std::thread::scope(|scope| {
            for part in keys.chunks(keys.len().div_ceil(readers)) {
                let snapshot = &snapshot;
                scope.spawn(move || {
                    for (table, key) in part {
                        if snapshot.touch(*table, key).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }

    fn rehome(&self, homes: Vec<PageHome>) -> Result<()> {
        let opened = self.shared.opened.load_full();
        if opened.pages.rehome(&homes)? {
            // Any write ends in a record, and with that the new copies are whole.
            self.write(&mut |write| {
                let last = write.last_txg();
                write.set_last_txg(last)
            })?;
        }
        // One that was left out meanwhile found no space.
        if !self.shared.opened.load().pages.serves(&homes) {
            return Err(StoreError::NoSpace);
        }
        *self.shared.homes.lock() = homes;
        Ok(())
    }

    fn scrub(&self, pages: Range<u64>) -> Result<u64> {
        self.shared.opened.load_full().pages.scrub(pages)
    }

    fn status(&self) -> IndexStatus {
        let opened = self.shared.opened.load();
        IndexStatus {
            bytes: opened.pages.bytes(),
            reopened: self.shared.reopened.load(Ordering::Relaxed),
            pages: opened.pages.status(),
        }
    }
}
