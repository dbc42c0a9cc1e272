//! Segments in memory: which shard lies where, and handles to the files.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use strongroom_device::{DeviceError, DeviceFile};

use crate::disk::Disk;
use crate::fragment::Place;
use crate::{DiskState, PoolId, SegmentId};

pub(crate) const SEGMENT_DIR: &str = "segments";
const UNFINISHED: &str = ".new";
const RETURNED: &str = ".old";
/// The end of a segment found on disk, until somebody asks its files.
const END_UNKNOWN: u32 = u32::MAX;
const TABLE_PARTS: usize = 16;

/// One shard file.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) disk: Arc<Disk>,
    pub(crate) shard: u8,
    pub(crate) generation: u32,
    file: RwLock<Option<Arc<dyn DeviceFile>>>,
}

/// The shards of a segment by their numbers; None where there is none.
pub(crate) type Shards = Arc<[Option<Arc<Shard>>]>;

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    /// Replaced as a whole when a shard moves, so that readers hold no lock.
    shards: RwLock<Shards>,
    end: AtomicU32,
    open: AtomicBool,
    /// A shard could not be moved without loss. Until something is mended or given back, that is not tried again.
    damaged: AtomicBool,
    /// Counts appends and other changes; [`Segment::synced`] says up to which they are durable.
    appended: AtomicU64,
    synced: AtomicU64,
    /// Held while syncing, so that callers share one sync.
    pub(crate) sync: Mutex<SyncState>,
    /// Held while shards are written other than by appending: punched, repaired, rebuilt, deleted.
    pub(crate) upkeep: Mutex<()>,
}

#[derive(Debug, Default)]
pub(crate) struct SyncState {
    pub(crate) dir_synced: bool,
}

pub(crate) fn shard_path(segment: SegmentId, shard: u8, generation: u32) -> String {
    format!("{SEGMENT_DIR}/{segment}.{shard}.{generation}")
}

/// What a shard is called until all of it is there.
pub(crate) fn unfinished_path(segment: SegmentId, shard: u8, generation: u32) -> String {
    format!("{}{UNFINISHED}", shard_path(segment, shard, generation))
}

/// What a shard of a disk that was away is called until it was compared with its peers.
pub(crate) fn returned_path(segment: SegmentId, shard: u8, generation: u32) -> String {
    format!("{}{RETURNED}", shard_path(segment, shard, generation))
}

/// What the name of a file in the directory of segments says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShardName {
    Whole(SegmentId, u8, u32),
    /// Being made anew.
    Unfinished,
    /// Of a disk that was away.
    Returned(SegmentId, u8, u32),
}

impl ShardName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if let Some(whole) = name.strip_suffix(UNFINISHED) {
            return parse_shard_name(whole).map(|_| Self::Unfinished);
        }
        if let Some(whole) = name.strip_suffix(RETURNED) {
            let (segment, shard, generation) = parse_shard_name(whole)?;
            return Some(Self::Returned(segment, shard, generation));
        }
        let (segment, shard, generation) = parse_shard_name(name)?;
        Some(Self::Whole(segment, shard, generation))
    }
}

/// `<id>.<shard>.<generation>`, exactly as written by [`shard_path`].
fn parse_shard_name(name: &str) -> Option<(SegmentId, u8, u32)> {
    let mut parts = name.split('.');
    let (id, shard, generation) = (parts.next()?, parts.next()?, parts.next()?);
    let id = SegmentId(u64::from_str_radix(id, 16).ok()?);
    let (shard, generation) = (shard.parse().ok()?, generation.parse().ok()?);
    let exact = shard_path(id, shard, generation);
    (exact.strip_prefix("segments/") == Some(name)).then_some((id, shard, generation))
}

impl Shard {
    pub(crate) fn found(disk: Arc<Disk>, shard: u8, generation: u32) -> Self {
        Self {
            disk,
            shard,
            generation,
            file: RwLock::new(None),
        }
    }

    pub(crate) fn created(
        disk: Arc<Disk>,
        shard: u8,
        generation: u32,
        file: Option<Arc<dyn DeviceFile>>,
    ) -> Self {
        Self {
            disk,
            shard,
            generation,
            file: RwLock::new(file),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.disk.is_live()
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
    pub(crate) fn found(id: SegmentId, width: usize, shards: Vec<Shard>) -> Self {
        let mut slots = vec![None; width];
        for shard in shards {
            let slot = usize::from(shard.shard);
            slots[slot] = Some(Arc::new(shard));
        }
        Self {
            id,
            shards: RwLock::new(slots.into()),
            end: AtomicU32::new(END_UNKNOWN),
            open: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            appended: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            sync: Mutex::new(SyncState { dir_synced: true }),
            upkeep: Mutex::default(),
        }
    }

    /// A new one, which takes appends.
    pub(crate) fn created(id: SegmentId, width: usize, shards: Vec<Shard>) -> Self {
        Self {
            end: AtomicU32::new(0),
            open: AtomicBool::new(true),
            sync: Mutex::default(),
            ..Self::found(id, width, shards)
        }
    }

    pub(crate) fn shards(&self) -> Shards {
        Arc::clone(&self.shards.read())
    }

    /// Whether a shard is in its place.
    pub(crate) fn has(&self, shard: &Arc<Shard>) -> bool {
        let shards = self.shards();
        let mut there = shards.iter().flatten();
        there.any(|other| Arc::ptr_eq(other, shard))
    }

    /// Those on members, by number.
    pub(crate) fn live_shards(&self) -> SmallVec<[Arc<Shard>; 6]> {
        let shards = self.shards();
        let live = shards.iter().flatten().filter(|shard| shard.is_live());
        live.cloned().collect()
    }

    /// Shards of the layout that no member has.
    pub(crate) fn missing(&self) -> usize {
        let shards = self.shards();
        let live = |shard: &&Option<Arc<Shard>>| shard.as_ref().is_some_and(|s| s.is_live());
        shards.len() - shards.iter().filter(live).count()
    }

    /// Puts a shard in its place; returns the one that was there.
    pub(crate) fn put_shard(&self, shard: Arc<Shard>) -> Option<Arc<Shard>> {
        let mut held = self.shards.write();
        let mut list = held.to_vec();
        let slot = usize::from(shard.shard);
        let before = list[slot].replace(shard);
        *held = list.into();
        before
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn seal(&self) {
        self.open.store(false, Ordering::Release);
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    pub(crate) fn set_damaged(&self, damaged: bool) {
        self.damaged.store(damaged, Ordering::Release);
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

    /// Something was written other than by appending; the next sync makes it durable, too.
    pub(crate) fn touched(&self) {
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
        handles: &Handles,
    ) -> Result<Arc<dyn DeviceFile>, DeviceError> {
        if let Some(file) = &*shard.file.read() {
            return Ok(Arc::clone(file));
        }
        let path = shard.path(self.id);
        let file = shard.disk.live_or_error("open", &path)?.open(&path)?;
        *shard.file.write() = Some(Arc::clone(&file));
        handles.opened(self);
        Ok(file)
    }

    fn close_files(&self) {
        for shard in self.shards().iter().flatten() {
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

    /// Calls for each of them, in no order.
    pub(crate) fn each(&self, mut visit: impl FnMut(&Segment)) {
        for part in &self.parts {
            part.read().values().for_each(|segment| visit(segment));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.read().len()).sum()
    }
}

/// What the members' directories of segments hold.
#[derive(Debug, Default)]
pub(crate) struct FoundSegments {
    pub(crate) table: SegmentTable,
    /// Files that a rebuild left behind, unfinished or superseded: the disk and the name.
    pub(crate) leftovers: Vec<(Arc<Disk>, String)>,
    /// Shards of disks that were away, to be compared with their peers.
    pub(crate) returned: Vec<ReturnedShard>,
}

/// A shard of a disk that was away. Nothing of it is believed by itself.
#[derive(Debug, Clone)]
pub(crate) struct ReturnedShard {
    pub(crate) disk: Arc<Disk>,
    pub(crate) segment: SegmentId,
    pub(crate) shard: u8,
    pub(crate) generation: u32,
}

/// Lists the shard files of all members. Of two generations of a shard the higher counts. A disk that fails is no member
/// from here on.
pub(crate) fn find_segments(disks: &[Arc<Disk>], width: usize) -> FoundSegments {
    let mut found: BTreeMap<SegmentId, BTreeMap<u8, Shard>> = BTreeMap::new();
    let mut leftovers = Vec::new();
    let mut returned = Vec::new();
    for disk in disks {
        let Some(device) = disk.live() else { continue };
        let names = device.list(SEGMENT_DIR).unwrap_or_else(|error| {
            tracing::error!(device = device.name(), %error, "disk set aside");
            disk.leave(DiskState::Unusable, &error.to_string());
            Vec::new()
        });
        for name in names {
            match ShardName::parse(&name) {
                Some(ShardName::Whole(id, shard, generation)) if usize::from(shard) < width => {
                    let shards = found.entry(id).or_default();
                    let new = Shard::found(Arc::clone(disk), shard, generation);
                    let older = match shards.get(&shard) {
                        Some(known) if known.generation >= generation => Some(new),
                        Some(_) | None => shards.insert(shard, new),
                    };
                    leftovers.extend(older.map(|older| {
                        let path = older.path(id);
                        (older.disk, path)
                    }));
                }
                Some(ShardName::Unfinished) => {
                    leftovers.push((Arc::clone(disk), format!("{SEGMENT_DIR}/{name}")));
                }
                Some(ShardName::Returned(segment, shard, generation)) => {
                    returned.push(ReturnedShard {
                        disk: Arc::clone(disk),
                        segment,
                        shard,
                        generation,
                    });
                }
                Some(ShardName::Whole(..)) | None => {
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
        let shards = shards.into_values().collect();
        table.insert(Arc::new(Segment::found(id, width, shards)));
    }
    FoundSegments {
        table,
        leftovers,
        returned,
    }
}
