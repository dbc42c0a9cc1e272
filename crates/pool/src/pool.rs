//! The open pool: its parts, and how it comes to be.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use strongroom_device::{Device, Env};

use crate::append::LaneState;
use crate::crypt::{Cipher, WrappedKey};
use crate::disk::{Disk, Disks};
use crate::epoch::{Chain, EPOCH_FILES, EpochKind, EpochRecord};
use crate::headers::HeaderCache;
use crate::homes::HomeKey;
use crate::label::{Label, MAX_DISKS, read_label, write_label};
use crate::open::{not_made_good, survey};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::recall::{Recalls, Reopen};
use crate::reed_solomon::Code;
use crate::sealed::Openers;
use crate::segment::{Handles, ReturnedShard, SEGMENT_DIR, SegmentTable, find_segments};
use crate::upkeep::Upkeep;
use crate::{
    DiskId, EpochId, EpochInfo, EpochTerm, Lane, Layout, NewPassphrase, OpenOptions, Planted,
    PoolError, PoolId, Result,
};

/// An open pool. Everything is a plain call from any thread; what may wait for a disk does so inside
/// [`Env::block_in_place`].
#[derive(Debug)]
pub struct Pool {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) id: PoolId,
    pub(crate) layout: Layout,
    pub(crate) code: Code,
    pub(crate) disks: Disks,
    /// The epoch chain; held while an epoch is written.
    pub(crate) chain: Mutex<Chain>,
    /// The epoch that appends are made under.
    pub(crate) current: RwLock<Current>,
    /// Why writing is impossible, or None.
    pub(crate) stopped: RwLock<Option<String>>,
    pub(crate) segments: SegmentTable,
    pub(crate) next_segment: AtomicU32,
    pub(crate) lanes: [Mutex<LaneState>; LANES],
    pub(crate) planted: Planted,
    pub(crate) headers: HeaderCache,
    pub(crate) handles: Handles,
    pub(crate) counters: Counters,
    pub(crate) activity: Activity,
    /// Files that a rebuild left behind, to be removed when an epoch begins.
    pub(crate) leftovers: Mutex<Vec<(Arc<Disk>, String)>>,
    pub(crate) closed: AtomicBool,
    /// What is owed to disks is made good.
    pub(crate) has_upkeep: bool,
    /// Disks whose contents are not made good: lost, or back and not yet level. Locked after the chain.
    pub(crate) owed: Mutex<BTreeSet<DiskId>>,
    /// Where the copies of log and index are known to lie: device and directory. Locked after the chain.
    pub(crate) followed: Mutex<Vec<HomeKey>>,
    /// The newest epoch is on some members only, as others had no room for it.
    pub(crate) torn_epoch: AtomicBool,
    /// Shards of disks that were taken back, which upkeep does not know of yet.
    pub(crate) arrived: Mutex<Vec<ReturnedShard>>,
    /// How disks that were set aside are opened anew.
    pub(crate) reopen: OnceLock<Arc<dyn Reopen>>,
    /// When disks that were set aside are asked again. Locked last.
    pub(crate) recalls: Mutex<Recalls>,
    /// How long work in the background was at it.
    pub(crate) pace: Mutex<Pace>,
    /// Held while disks are added, removed, replaced or taken back.
    pub(crate) changing: Mutex<()>,
    /// What upkeep works on; held during a step.
    pub(crate) upkeep: Mutex<Upkeep>,
    pub(crate) progress: Mutex<Progress>,
    /// As labels say it; None of a pool that is not encrypted.
    pub(crate) keys: Mutex<Option<WrappedKey>>,
    pub(crate) encrypted: bool,
    /// Once it was unlocked.
    pub(crate) cipher: OnceLock<Arc<Cipher>>,
    pub(crate) openers: Openers,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Current {
    pub(crate) epoch: EpochId,
    /// 0 until an epoch was begun by this opening.
    pub(crate) sequence: u32,
}

/// Bytes that clients moved, so that work in the background knows when to stand back.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    read: AtomicU64,
    written: AtomicU64,
}

impl Activity {
    pub(crate) fn read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Bytes so far.
    pub(crate) fn total(&self) -> u64 {
        self.read.load(Ordering::Relaxed) + self.written.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bad_fragments: AtomicU64,
    pub(crate) repaired_fragments: AtomicU64,
    pub(crate) lost_reads: AtomicU64,
    pub(crate) rebuilt_shards: AtomicU64,
}

pub(crate) const LANES: usize = 6;
const STREAM_LANES: usize = 4;
/// Copies of log and index that the widest layout has.
pub(crate) const HOMES_MAX: usize = 5;

impl Lane {
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Small => 0,
            Self::Compact => 1,
            Self::Stream(number) => 2 + usize::from(number) % STREAM_LANES,
        }
    }
}

impl Pool {
    /// Makes labels on blank devices. Durable on return.
    ///
    /// # Errors
    /// Refuses devices that are not blank, layouts that this version cannot write, and too few devices.
    pub fn create(
        env: Arc<dyn Env>,
        devices: Vec<Arc<dyn Device>>,
        layout: Layout,
    ) -> Result<Arc<Self>> {
        Self::create_with(env, devices, layout, None)
    }

    /// [`Pool::create`] of a pool that is encrypted if a passphrase is given, and unlocked then.
    pub fn create_with(
        env: Arc<dyn Env>,
        devices: Vec<Arc<dyn Device>>,
        layout: Layout,
        passphrase: Option<&NewPassphrase>,
    ) -> Result<Arc<Self>> {
        check_layout(layout, devices.len())?;
        for device in &devices {
            if let Some(found) = contents(&**device)? {
                return Err(PoolError::NotBlank {
                    device: device.name().to_owned(),
                    found,
                });
            }
        }
        let random = || {
            let mut bytes = [0; 16];
            env.fill_random(&mut bytes);
            bytes
        };
        let pool = PoolId(random());
        let disks: Vec<DiskId> = devices.iter().map(|_| DiskId(random())).collect();
        let created_ns = env.now().0;
        let keys = passphrase
            .map(|new| new.first_key(&*env, pool))
            .transpose()?;
        for (device, disk) in devices.iter().zip(&disks) {
            let label = Label {
                pool,
                disk: *disk,
                layout,
                created_ns,
                disks: disks.clone(),
                role: None,
                keys: keys.clone(),
            };
            if keys.is_some() && !label.has_room_for("") {
                return Err(PoolError::Invalid(
                    "too many disks for an encrypted pool".into(),
                ));
            }
            write_label(&**device, &label)?;
        }
        warn_of_shared_domains(&devices);
        let pool = Self::open(env, devices)?;
        if let Some(new) = passphrase {
            pool.unlock(new.passphrase())?;
        }
        Ok(pool)
    }

    /// Reads labels and epochs and decides which disks are members. Writes nothing.
    ///
    /// # Errors
    /// Name the disk and say what to do; see [`PoolError`].
    pub fn open(env: Arc<dyn Env>, devices: Vec<Arc<dyn Device>>) -> Result<Arc<Self>> {
        Self::open_with(env, devices, OpenOptions::default())
    }

    /// [`Pool::open`] with options.
    pub fn open_with(
        env: Arc<dyn Env>,
        devices: Vec<Arc<dyn Device>>,
        options: OpenOptions,
    ) -> Result<Arc<Self>> {
        let opened = survey(devices)?;
        let layout = opened.label.layout;
        check_layout(layout, opened.label.disks.len())?;
        let found = find_segments(&opened.disks, layout.width());
        opened.refuse_too_few(&options)?;
        for (segment, end) in opened.chain.segment_ends() {
            if let Some(segment) = found.table.get(segment) {
                segment.set_end(end);
            }
        }
        let epoch = opened
            .chain
            .newest()
            .map(|newest| newest.info.id)
            .unwrap_or_default();
        let owed = not_made_good(&opened.chain, &opened.disks);
        Ok(Arc::new(Self {
            env,
            id: opened.label.pool,
            layout,
            code: Code::new(layout),
            disks: Disks::new(opened.disks),
            chain: Mutex::new(opened.chain),
            current: RwLock::new(Current { epoch, sequence: 0 }),
            stopped: RwLock::new(None),
            segments: found.table,
            next_segment: AtomicU32::new(0),
            lanes: std::array::from_fn(|_| Mutex::default()),
            planted: options.planted,
            headers: HeaderCache::new(options.max_cached_headers),
            handles: Handles::new(options.max_open_files / layout.width()),
            counters: Counters::default(),
            activity: Activity::default(),
            leftovers: Mutex::new(found.leftovers),
            closed: AtomicBool::new(false),
            has_upkeep: options.upkeep,
            owed: Mutex::new(owed),
            followed: Mutex::default(),
            torn_epoch: AtomicBool::new(false),
            arrived: Mutex::default(),
            reopen: OnceLock::new(),
            recalls: Mutex::default(),
            pace: Mutex::default(),
            changing: Mutex::default(),
            upkeep: Mutex::new(Upkeep::with(found.returned)),
            progress: Mutex::default(),
            encrypted: opened.keys.is_some(),
            keys: Mutex::new(opened.keys),
            cipher: OnceLock::new(),
            openers: Openers::default(),
        }))
    }

    /// True if the device holds no pool, or only one that was never used because its creation was cut off.
    ///
    /// # Errors
    /// When the device cannot be read, or holds a newer format.
    pub fn is_blank(device: &dyn Device) -> Result<bool> {
        Ok(contents(device)?.is_none())
    }

    pub fn id(&self) -> PoolId {
        self.id
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The newest epoch recorded; None only before the first one.
    pub fn last_epoch(&self) -> Option<EpochInfo> {
        self.chain.lock().newest().map(|record| record.info.clone())
    }

    /// All epochs, oldest first, each with how far what was written under it counts.
    pub fn epoch_terms(&self) -> Vec<EpochTerm> {
        let chain = self.chain.lock();
        let mut last_txg = None;
        let term = |record: &EpochRecord| {
            let term = EpochTerm {
                id: record.info.id,
                sequence: record.info.sequence,
                last_txg,
            };
            if record.kind == EpochKind::Opening {
                last_txg = Some(record.info.last_txg);
            }
            term
        };
        let mut terms: Vec<EpochTerm> = chain.line.iter().rev().map(term).collect();
        terms.reverse();
        terms
    }

    /// The epoch that appends are made under.
    pub fn epoch(&self) -> EpochId {
        self.current.read().epoch
    }
}

fn check_layout(layout: Layout, disks: usize) -> Result<()> {
    if !layout.is_possible() {
        return Err(PoolError::UnsupportedLayout { layout });
    }
    if disks < layout.width() {
        return Err(PoolError::TooFewDisks {
            layout,
            needed: layout.width(),
            given: disks,
        });
    }
    if disks > MAX_DISKS {
        return Err(PoolError::Invalid(format!(
            "{disks} disks given; a pool has at most {MAX_DISKS}"
        )));
    }
    Ok(())
}

/// Names what makes a device not blank. A label alone stores nothing yet, so a creation that was cut off may be repeated.
pub(crate) fn contents(device: &dyn Device) -> Result<Option<String>> {
    if let Err(error @ (PoolError::NewerFormat { .. } | PoolError::Device(_))) = read_label(device)
    {
        return Err(error);
    }
    let files = device.list("")?;
    if let Some(epochs) = files
        .iter()
        .find(|name| EPOCH_FILES.contains(&name.as_str()))
    {
        return Ok(Some(format!("a pool ({epochs})")));
    }
    let homes = (0..HOMES_MAX).flat_map(|copy| [format!("log/{copy}"), format!("index/{copy}")]);
    for dir in homes.chain([SEGMENT_DIR.to_owned()]) {
        if let Some(name) = device.list(&dir)?.first() {
            return Ok(Some(format!("part of a pool ({dir}/{name})")));
        }
    }
    Ok(None)
}

fn warn_of_shared_domains(devices: &[Arc<dyn Device>]) {
    for (index, device) in devices.iter().enumerate() {
        let twin = devices[..index]
            .iter()
            .find(|d| d.failure_domain() == device.failure_domain());
        if let Some(twin) = twin {
            let (first, second) = (twin.name(), device.name());
            tracing::warn!(
                first,
                second,
                "these share one block device and would fail together"
            );
        }
    }
}
