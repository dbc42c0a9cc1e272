//! Names, places and reports of a pool.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use strongroom_device::Device;

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

random_id!(
    /// A pool, for ever.
    PoolId
);
random_id!(
    /// One disk of a pool, wherever it is mounted.
    DiskId
);
random_id!(
    /// One opening of a pool or one change of its members.
    EpochId
);

/// A segment; never used twice. The upper half counts epochs, the lower half segments within one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SegmentId(pub u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentId({self})")
    }
}

/// The number of a transaction group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Txg(pub u64);

/// Data and parity shards of a segment. With one data shard the others are mirrors of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    pub data: u8,
    pub parity: u8,
}

impl Layout {
    /// One copy on one disk.
    pub const SINGLE: Layout = Layout { data: 1, parity: 0 };
    /// Two copies on two disks.
    pub const MIRROR: Layout = Layout { data: 1, parity: 1 };

    /// Shards, and so disks, of one segment.
    pub fn width(self) -> usize {
        usize::from(self.data) + usize::from(self.parity)
    }

    /// Whether there can be such a layout: 1+0 to 16+4.
    pub fn is_possible(self) -> bool {
        (1..=16).contains(&self.data) && self.parity <= 4
    }

    /// The layout that so many disks are best given, if nobody says otherwise: one that survives two failures as soon as
    /// there are four, and from ten on leaves a disk for the rebuilding.
    pub fn for_disks(disks: usize) -> Layout {
        let (data, parity) = match disks {
            0 | 1 => (1, 0),
            2 => (1, 1),
            3 => (1, 2),
            4 => (2, 2),
            5 => (3, 2),
            6 | 7 => (4, 2),
            8 | 9 => (6, 2),
            10 | 11 => (8, 2),
            _ => (8, 3),
        };
        Layout { data, parity }
    }

    /// Copies of what is mirrored whatever the layout, log and index: as many disks may fail as for data, and one
    /// damaged copy is made good even on one disk.
    pub fn copies(self) -> usize {
        (usize::from(self.parity) + 1).max(2)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data, self.parity)
    }
}

impl FromStr for Layout {
    type Err = String;

    /// `K+M`, as [`Layout`] is shown.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('+');
        let parse = |(data, parity): (&str, &str)| {
            let (data, parity) = (data.parse().ok()?, parity.parse().ok()?);
            Some(Layout { data, parity })
        };
        let layout = parts.and_then(parse);
        layout.filter(|layout| layout.is_possible()).ok_or_else(|| {
            "a layout is K+M: 1 to 16 data shards and 0 to 4 of parity, as 4+2".into()
        })
    }
}

/// Where an extent lies; it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub segment: SegmentId,
    /// Offset of the stripe in each shard file, in 4 KiB blocks.
    pub stripe: u32,
    /// Byte offset of the extent in the stripe's payload, a multiple of 4096.
    pub offset: u32,
}

/// What an extent says of itself, so that the index can be rebuilt from segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExtentTag {
    pub inode: u64,
    pub stream: u32,
    pub offset: u64,
    /// Bytes, before padding to 4 KiB.
    pub len: u32,
    pub txg: Txg,
    /// What the floor above notes of how they are packed; 0 for bytes as they are.
    pub packing: u32,
}

/// Streams of appends that do not mix in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Small extents gathered from many files.
    Small,
    /// Large writes; lanes 0 to 3 run side by side.
    Stream(u8),
    /// What cleaning rewrites.
    Compact,
}

/// Where a mirrored file (log, index) has one of its copies.
#[derive(Debug, Clone)]
pub struct Home {
    pub device: Arc<dyn Device>,
    /// For example `log/0`.
    pub dir: String,
    pub copy: u8,
}

/// One record of the epoch chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochInfo {
    pub id: EpochId,
    /// All zero in the first record.
    pub parent: EpochId,
    /// Counts from 1 along the chain.
    pub sequence: u32,
    pub members: Vec<DiskId>,
    /// Disks of the pool that were not there, or failed, and have not caught up.
    pub absent: Vec<DiskId>,
    /// The last accepted transaction group when the epoch began.
    pub last_txg: Txg,
    /// How far segments of the epoch before reach, in 4 KiB blocks; what lies beyond is void.
    pub segment_ends: Vec<(SegmentId, u32)>,
}

/// How far what was written under an epoch counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochTerm {
    pub id: EpochId,
    /// Counts from 1 along the chain.
    pub sequence: u32,
    /// The last group that the next opening accepted; later ones are void. None until there was one.
    pub last_txg: Option<Txg>,
}

/// One segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    pub id: SegmentId,
    pub layout: Layout,
    /// Length of each shard in 4 KiB blocks.
    pub blocks: u32,
    /// Whether it still takes appends.
    pub open: bool,
}

/// One stripe as its header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeInfo {
    /// Offset in each shard file, in 4 KiB blocks.
    pub stripe: u32,
    /// Header and data on each shard, in 4 KiB blocks.
    pub blocks: u32,
    pub txg: Txg,
    /// Its data was given back.
    pub punched: bool,
    pub extents: Vec<(ExtentTag, Address)>,
}

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentContents {
    /// In order. A stripe without a good header on any copy is left out.
    pub stripes: Vec<StripeInfo>,
    /// It took no more appends when the listing began, so that no stripe came after it.
    pub sealed: bool,
    /// Every block of it belongs to one of these stripes.
    pub complete: bool,
}

/// Bytes of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolSpace {
    /// Sums over the members.
    pub raw_total: u64,
    pub raw_free: u64,
    /// What the layout leaves for data.
    pub usable_total: u64,
    pub usable_free: u64,
    /// Of what is free, what is left beside that which is kept for something else.
    pub usable_spare: u64,
}

/// How a disk takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskState {
    /// Read and written.
    Member,
    /// Failed while the pool was open; read for nothing.
    SetAside,
    /// It missed an epoch; read for nothing until it has caught up.
    Stale,
    /// Known to the pool, not among the devices given.
    Missing,
    /// Given, but without a usable label or epoch chain.
    Unusable,
    /// It was taken out of the pool, or all that it held was made good on other disks; read for nothing.
    Retired,
}

/// One disk in a report.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DiskStatus {
    pub name: String,
    /// Hexadecimal; empty when the label could not be read.
    pub id: String,
    pub state: DiskState,
    /// Failed operations since the pool was opened.
    pub errors: u64,
    /// Why it is not a member.
    pub reason: Option<String>,
    /// A member that waits for another disk to fail; it holds no data.
    pub spare: bool,
    /// A member whose shards are moved to other disks, after which it is taken out of the pool.
    pub leaving: bool,
    /// What it shares with others and fails with, as a person named it; empty for nothing.
    pub domain: String,
    /// Bytes; None when it cannot be asked.
    pub space: Option<DiskSpace>,
}

/// Bytes of one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct DiskSpace {
    pub total: u64,
    pub free: u64,
    /// What the layout can use of `total`: the largest disk counts only as far as others pair with it.
    pub usable: u64,
}

/// A report for people and metrics.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PoolStatus {
    pub id: String,
    pub layout: String,
    pub epoch: String,
    /// False once no usable redundancy remains; reads go on.
    pub writable: bool,
    /// Failure domains (disks, unless several lie on one block device) that may fail yet without a loss.
    pub survives: usize,
    /// Disks that share a block device with others, by device.
    pub shared: Vec<Vec<String>>,
    pub disks: Vec<DiskStatus>,
    pub segments: u64,
    /// Bad or unreadable copies met by reads.
    pub bad_fragments: u64,
    /// Those rewritten from a good copy.
    pub repaired_fragments: u64,
    /// Reads that no copy could answer.
    pub lost_reads: u64,
}

/// How a disk is added.
#[derive(Debug, Clone, Default)]
pub struct DiskOptions {
    /// It waits for another disk to fail, and holds nothing until then.
    pub spare: bool,
    /// What it shares with others and fails with (a controller, a shelf); at most 64 bytes, empty for nothing. Without
    /// it the block device counts.
    pub domain: String,
    /// It may lie on the same block device as another disk of the pool, though both fail together.
    pub allow_shared_device: bool,
}

/// What a call of [`crate::Pool::upkeep_step`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpkeepStep {
    /// There is nothing to do, or nothing can be done now.
    Idle,
    /// Bytes of shards that are in their places now, holes included.
    Worked { bytes: u64 },
    /// A disk became a member or is none any more, or nothing is owed any more: log and index follow first.
    Changed,
}

/// What upkeep is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpkeepTask {
    #[default]
    Idle,
    /// What was lost is made good, and what came back is brought up to date.
    Restoring,
    /// A disk that leaves, or became a spare, is emptied.
    Emptying,
    /// Shards move from full disks to empty ones.
    Balancing,
    /// Something is to be done and cannot be; see [`UpkeepStatus::waiting_for`].
    Waiting,
}

/// How upkeep comes on.
#[derive(Debug, Clone, serde::Serialize)]
pub struct UpkeepStatus {
    pub task: UpkeepTask,
    /// The disk that is emptied.
    pub disk: Option<String>,
    /// Disks whose contents are not made good: lost, or back and not yet up to date.
    pub lost_disks: Vec<String>,
    /// How many more disks may fail now without loss.
    pub survives: u8,
    /// Segments that lacked shards when they were last counted.
    pub segments_short: u64,
    /// Of the present task, bytes of shards with their holes.
    pub bytes_done: u64,
    pub bytes_total: u64,
    /// In the last minute, waiting for clients included.
    pub bytes_per_second: u64,
    /// When the present task will be done at that rate; None while it is not known.
    pub seconds_left: Option<u64>,
    /// Why what is left cannot be done now.
    pub waiting_for: Option<String>,
    /// Shards made anew or moved since the pool was opened.
    pub rebuilt_shards: u64,
    /// Stripes met by upkeep that too few shards are left of.
    pub lost_stripes: u64,
}
