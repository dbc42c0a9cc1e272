//! Segments in memory: which shard lies where, and handles to the files.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use strongroom_device::{DeviceError, DeviceFile};

use crate::disk::Disk;
use crate::fragment::Place;
use crate::{DiskState, PoolId, SegmentId};

pub(crate) const SEGMENT_DIR: &str = "segments";
/// The end of a segment found on disk, until somebody asks its files.
const END_UNKNOWN: u32 = u32::MAX;
const TABLE_PARTS: usize = 16;

/// One shard file.
#[derive(Debug)]
pub(crate) struct Shard {
    /// Index of the disk in the pool.
    pub(crate) disk: usize,
    pub(crate) shard: u8,
    pub(crate) generation: u32,
    file: RwLock<Option<Arc<dyn DeviceFile>>>,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    /// Those that exist, by shard number.
    pub(crate) shards: Vec<Shard>,
    end: AtomicU32,
    open: AtomicBool,
    /// Counts appends; [`Segment::synced`] says up to which they are durable.
    appended: AtomicU64,
    synced: AtomicU64,
    /// Held while syncing, so that callers share one sync.
    pub(crate) sync: Mutex<SyncState>,
}

#[derive(Debug, Default)]
pub(crate) struct SyncState {
    pub(crate) dir_synced: bool,
}

pub(crate) fn shard_path(segment: SegmentId, shard: u8, generation: u32) -> String {
    format!("{SEGMENT_DIR}/{segment}.{shard}.{generation}")
}

/// `<id>.<shard>.<generation>`, exactly as written by [`shard_path`].
pub(crate) fn parse_shard_name(name: &str) -> Option<(SegmentId, u8, u32)> {
    let mut parts = name.split('.');
    let (id, shard, generation) = (parts.next()?, parts.next()?, parts.next()?);
    let id = SegmentId(u64::from_str_radix(id, 16).ok()?);
    let (shard, generation) = (shard.parse().ok()?, generation.parse().ok()?);
    let exact = shard_path(id, shard, generation);
    (exact.strip_prefix("segments/") == Some(name)).then_some((id, shard, generation))
}

impl Shard {
    pub(crate) fn found(disk: usize, shard: u8, generation: u32) -> Self {
        Self {
            disk,
            shard,
            generation,
            file: RwLock::new(None),
        }
    }

    pub(crate) fn created(disk: usize, shard: u8, file: Arc<dyn DeviceFile>) -> Self {
        Self {
            disk,
            shard,
            generation: 0,
            file: RwLock::new(Some(file)),
        }
    }

    pub(crate) fn place(&self, pool: PoolId, segment: SegmentId, stripe: u32) -> Place {
        Place {
            pool,
            segment,
            shard: self.shard,
            generation: self.generation,
            stripe,
        }
    }

    pub(crate) fn path(&self, segment: SegmentId) -> String {
        shard_path(segment, self.shard, self.generation)
    }
}

impl Segment {
    /// One found on disk; sealed for good.
    pub(crate) fn found(id: SegmentId, shards: Vec<Shard>) -> Self {
        Self {
            id,
            shards,
            end: AtomicU32::new(END_UNKNOWN),
            open: AtomicBool::new(false),
            appended: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            sync: Mutex::new(SyncState { dir_synced: true }),
        }
    }

    /// A new one, which takes appends.
    pub(crate) fn created(id: SegmentId, shards: Vec<Shard>) -> Self {
        Self {
            end: AtomicU32::new(0),
            open: AtomicBool::new(true),
            sync: Mutex::default(),
            ..Self::found(id, shards)
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn seal(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// Where the segment ends, in blocks, if that is known.
    pub(crate) fn known_end(&self) -> Option<u32> {
        Some(self.end.load(Ordering::Acquire)).filter(|end| *end != END_UNKNOWN)
    }

    pub(crate) fn set_end(&self, end: u32) {
        self.end.store(end, Ordering::Release);
    }

    /// Counts one append that now ends at `end`.
    pub(crate) fn appended_to(&self, end: u32) {
        self.set_end(end);
        self.appended.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn appends(&self) -> u64 {
        self.appended.load(Ordering::Acquire)
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire) >= self.appends()
    }

    pub(crate) fn set_synced(&self, appends: u64) {
        self.synced.fetch_max(appends, Ordering::AcqRel);
    }

    /// The file of a shard, opened if need be.
    pub(crate) fn file(
        self: &Arc<Self>,
        shard: &Shard,
        disk: &Disk,
        handles: &Handles,
    ) -> Result<Arc<dyn DeviceFile>, DeviceError> {
        if let Some(file) = &*shard.file.read() {
            return Ok(Arc::clone(file));
        }
        let device = disk.live().ok_or_else(|| DeviceError::Io {
            device: disk.name(),
            operation: "open",
            path: shard.path(self.id),
            message: "the disk is set aside".into(),
        })?;
        let file = device.open(&shard.path(self.id))?;
        *shard.file.write() = Some(Arc::clone(&file));
        handles.opened(self);
        Ok(file)
    }

    fn close_files(&self) {
        for shard in &self.shards {
            *shard.file.write() = None;
        }
    }
}

/// Bounds how many segments have open files: the one opened first is closed first, unless appends to it are not yet
/// durable.
#[derive(Debug)]
pub(crate) struct Handles {
    limit: usize,
    queue: Mutex<VecDeque<Arc<Segment>>>,
}

impl Handles {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(8),
            queue: Mutex::default(),
        }
    }

    pub(crate) fn opened(&self, segment: &Arc<Segment>) {
        let mut queue = self.queue.lock();
        queue.push_back(Arc::clone(segment));
        for _ in self.limit..queue.len() {
            let Some(oldest) = queue.pop_front() else {
                return;
            };
            if oldest.is_open() || !oldest.is_synced() {
                queue.push_back(oldest);
            } else {
                oldest.close_files();
            }
        }
    }

    pub(crate) fn forget(&self, segment: SegmentId) {
        self.queue.lock().retain(|other| other.id != segment);
    }
}

/// All segments, in parts with their own locks.
#[derive(Debug, Default)]
pub(crate) struct SegmentTable {
    parts: [RwLock<HashMap<SegmentId, Arc<Segment>>>; TABLE_PARTS],
}

impl SegmentTable {
    fn part(&self, id: SegmentId) -> &RwLock<HashMap<SegmentId, Arc<Segment>>> {
        let index = usize::try_from(id.0 % TABLE_PARTS as u64).unwrap_or(0);
        &self.parts[index]
    }

    pub(crate) fn get(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.part(id).read().get(&id).cloned()
    }

    pub(crate) fn insert(&self, segment: Arc<Segment>) {
        self.part(segment.id).write().insert(segment.id, segment);
    }

    pub(crate) fn remove(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.part(id).write().remove(&id)
    }

    /// All ids, in order.
    pub(crate) fn ids(&self) -> Vec<SegmentId> {
        let of_part =
            |part: &RwLock<HashMap<_, _>>| part.read().keys().copied().collect::<Vec<_>>();
        let mut ids: Vec<SegmentId> = self.parts.iter().flat_map(of_part).collect();
        ids.sort_unstable();
        ids
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Segment>> {
        let mut all: Vec<_> = self
            .parts
            .iter()
            .flat_map(|part| part.read().values().cloned().collect::<Vec<_>>())
            .collect();
        all.sort_unstable_by_key(|segment| segment.id);
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.read().len()).sum()
    }
}

/// Lists the shard files of all members. Of two generations of a shard the higher counts. A disk that fails is no member
/// from here on.
pub(crate) fn find_segments(disks: &[Disk], width: usize) -> SegmentTable {
    let mut found: BTreeMap<SegmentId, BTreeMap<u8, Shard>> = BTreeMap::new();
    for (index, disk) in disks.iter().enumerate() {
        let Some(device) = disk.live() else { continue };
        let names = device.list(SEGMENT_DIR).unwrap_or_else(|error| {
            tracing::error!(device = device.name(), %error, "disk set aside");
            disk.leave(DiskState::Unusable, &error.to_string());
            Vec::new()
        });
        for name in names {
            match parse_shard_name(&name) {
                Some((id, shard, generation)) if usize::from(shard) < width => {
                    let shards = found.entry(id).or_default();
                    let newer = shards
                        .get(&shard)
                        .is_none_or(|known| known.generation < generation);
                    if newer {
                        shards.insert(shard, Shard::found(index, shard, generation));
                    }
                }
                Some(_) | None => {
                    tracing::warn!(
                        device = device.name(),
                        name,
                        "not a shard file of this pool"
                    );
                }
            }
        }
    }
    let table = SegmentTable::default();
    for (id, shards) in found {
        table.insert(Arc::new(Segment::found(id, shards.into_values().collect())));
    }
    table
}
