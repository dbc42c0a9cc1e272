//! Ids, keys and the small public values of the store.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use smallvec::SmallVec;
use strongroom_device::Timestamp;

/// A client session, as the vfs records it. 0 is the system itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub u64);

impl SessionId {
    pub const SYSTEM: Self = Self(0);
}

/// A file or directory. Never reused. 0 names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Inode(pub u64);

/// One byte stream of a file: stream 0 is the file's data, others are named streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    pub inode: Inode,
    pub stream: u32,
}

impl ObjectId {
    /// The file's own data.
    pub fn data(inode: Inode) -> Self {
        Self { inode, stream: 0 }
    }
}

/// Names a table of rows: the vfs uses 1..=99, identity 100..=119, administration 120..=139 (which keep no past), the
/// store's own begin at 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub u8);

/// What a change touched, for the change log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    Name,
    Data { offset: u64, len: u64 },
    Attributes,
    Acl,
    Stream,
    ExtendedAttributes,
}

/// A row's key. Its first eight bytes are the big-endian id of the inode that owns the row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(SmallVec<[u8; 40]>);

impl Key {
    /// The inode that owns the row: the key's first eight bytes (missing ones are zero).
    pub fn inode(&self) -> Inode {
        inode_of(&self.0)
    }
}

/// The inode that owns a key.
pub(crate) fn inode_of(key: &[u8]) -> Inode {
    let mut id = [0; 8];
    let len = key.len().min(8);
    id[..len].copy_from_slice(&key[..len]);
    Inode(u64::from_be_bytes(id))
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({})", self.0.escape_ascii())
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl<const N: usize> From<[u8; N]> for Key {
    fn from(bytes: [u8; N]) -> Self {
        Self(SmallVec::from_slice(&bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Key {
    fn from(bytes: &[u8; N]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(SmallVec::from_slice(&bytes))
    }
}

impl From<&Vec<u8>> for Key {
    fn from(bytes: &Vec<u8>) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl From<SmallVec<[u8; 40]>> for Key {
    fn from(bytes: SmallVec<[u8; 40]>) -> Self {
        Self(bytes)
    }
}

impl From<&bytes::Bytes> for Key {
    fn from(bytes: &bytes::Bytes) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl From<bytes::Bytes> for Key {
    fn from(bytes: bytes::Bytes) -> Self {
        Self(SmallVec::from_slice(&bytes))
    }
}

/// What is known of an object's data without reading it. An absent object is all zeroes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataHead {
    /// Bytes to the end of the data.
    pub size: u64,
    /// Bytes of space that the data occupies, before mirroring.
    pub allocated: u64,
    /// When the data was last written.
    pub mtime: Timestamp,
}

/// How the bytes of an object are stored that are written from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// As they are.
    #[default]
    Off,
    /// Fast: it costs little, and saves a third to a half of text and of tables.
    Lz4,
    /// Saves more, and costs several times as much when writing.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Off => "off",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd),
            other => Err(format!("{other} is none of lz4, zstd and off")),
        }
    }
}

/// A range of an object that is to be a range of another one, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloneRange {
    pub source: ObjectId,
    /// First byte in the source.
    pub from: u64,
    /// First byte in the target.
    pub to: u64,
    /// Bytes.
    pub len: u64,
}

/// A part of the file system whose past is kept by rules of its own, as those above number them; they say which rows
/// belong to it. 0 is the whole pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Realm(pub u32);

/// How dense the instants are that are kept, by their age. Each span counts from now; a level is off when its span does
/// not reach beyond the finer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Every second of this long a past.
    pub every_second: Duration,
    /// One instant a minute, hour, day, month (30 days) this far back.
    pub every_minute: Duration,
    pub every_hour: Duration,
    pub every_day: Duration,
    pub every_month: Duration,
}

/// A day.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Retention {
    fn default() -> Self {
        Self {
            every_second: DAY,
            every_minute: DAY * 7,
            every_hour: DAY * 30,
            every_day: DAY * 365,
            every_month: DAY * 365 * 5,
        }
    }
}

impl Retention {
    /// Every second of `window`, and nothing older.
    pub fn window(window: Duration) -> Self {
        Self {
            every_second: window,
            every_minute: Duration::ZERO,
            every_hour: Duration::ZERO,
            every_day: Duration::ZERO,
            every_month: Duration::ZERO,
        }
    }

    pub(crate) fn spans(&self) -> [Duration; 5] {
        [
            self.every_second,
            self.every_minute,
            self.every_hour,
            self.every_day,
            self.every_month,
        ]
    }
}

/// How much past is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistoryOptions {
    /// Where no part of the file system says otherwise.
    pub retention: Retention,
}

/// How a store runs. The default is what production uses.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The longest that a change stays uncommitted.
    pub txg_interval: Duration,
    /// Files up to this many bytes live in the index.
    pub inline_max: usize,
    /// None keeps no past.
    pub history: Option<HistoryOptions>,
    /// Memory for the index's pages, in bytes.
    pub index_cache: usize,
    /// Threads that read ahead for the feeder; 0 in a simulation.
    pub index_readers: usize,
    /// One log file, in bytes; rounded up to 1 MiB.
    pub log_file: u64,
    /// How many log files there may be in one copy.
    pub log_files_max: u32,
    /// Rows that the overlay holds before writers wait.
    pub overlay_rows_max: usize,
    /// Bytes that the overlay holds before writers wait.
    pub overlay_bytes_max: usize,
    /// Bytes of written, unpublished file data in memory before writers wait.
    pub dirty_bytes_max: usize,
    /// Rows in one run to the index; from a third of it on a run pays for its fixed cost.
    pub feed_rows_max: usize,
    /// Faults planted for the harness; none in production.
    pub planted: Planted,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            txg_interval: Duration::from_secs(1),
            inline_max: 2048,
            history: Some(HistoryOptions::default()),
            index_cache: 256 << 20,
            index_readers: 8,
            log_file: 16 << 20,
            log_files_max: 48,
            overlay_rows_max: 600_000,
            overlay_bytes_max: 192 << 20,
            dirty_bytes_max: 128 << 20,
            feed_rows_max: 60_000,
            planted: Planted::default(),
        }
    }
}

/// Bugs that the crash harness must find, or the harness is broken. Only tests set them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[doc(hidden)]
pub struct Planted {
    /// Acknowledges commits without syncing the log.
    pub skip_log_sync: bool,
    /// Names extents whose segments were not synced.
    pub skip_segment_sync: bool,
    /// Takes damage at or below the watermark for a torn tail.
    pub cut_below_watermark: bool,
    /// Recovers the last group of the log in half.
    pub half_group: bool,
    /// Gives a stripe back as soon as any extent in it is free.
    pub free_early: bool,
}

/// Bytes, as the layout leaves them for data. `used`, `available` and `reserved` are all of `total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreSpace {
    pub total: u64,
    /// What stays in use: files, the past that is not given up, log, index, and what else lies on the disks.
    pub used: u64,
    /// What clients can still write. Some of it may have to be cleaned first, which a write waits for.
    pub available: u64,
    /// Kept for deletions, for the growth of log and index, for cleaning, and for writes that were accepted and not yet
    /// stored.
    pub reserved: u64,
    /// What files of now hold. Bytes that several share count for each, up to all that is held.
    pub used_present: u64,
    /// What only the past holds.
    pub used_history: u64,
    /// Of the past, what is given up when it is needed, and so counts as available.
    pub history_yields: u64,
    /// What nobody names any more and was not given back yet, and so counts as available.
    pub dead: u64,
    /// What the data of files of now and of the past takes, and what it would take if none of it were compressed; bytes
    /// that several share count once.
    pub stored: u64,
    pub uncompressed: u64,
}

impl StoreSpace {
    /// The size that clients see: without what is reserved.
    pub fn for_clients(&self) -> u64 {
        self.used + self.available
    }
}

/// What the store is doing.
#[derive(Debug, Clone, Default)]
pub struct StoreStatus {
    pub open_txg: u64,
    pub durable_txg: u64,
    pub indexed_txg: u64,
    pub overlay_rows: usize,
    pub overlay_bytes: usize,
    pub dirty_bytes: usize,
    pub log_bytes: u64,
    pub log_bytes_max: u64,
    /// The oldest instant that can be gone back to.
    pub history_horizon: Option<Timestamp>,
    /// Set when nothing can be written any more, with the reason.
    pub offline: Option<String>,
    /// Damaged log frames repaired from another copy since opening.
    pub log_repairs: u64,
    /// Rows given to the index since opening.
    pub fed_rows: u64,
    /// Bytes that cleaning copied since opening, to give space back.
    pub compacted_bytes: u64,
    pub index: IndexStatus,
}

/// How the index's copies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexStatus {
    /// Bytes of one copy.
    pub bytes: u64,
    /// Copies in service, and those there should be.
    pub copies_good: u32,
    pub copies: u32,
    /// Pages found bad on one copy since opening, and those written anew from another.
    pub bad_pages: u64,
    pub repaired_pages: u64,
    /// Pages that were asked for and bad on every copy.
    pub lost_pages: u64,
    /// Times the index was opened anew after an unreadable page.
    pub reopened: u64,
}
