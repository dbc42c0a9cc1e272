//! Many disks as one: labels, epochs and membership, segments of checksummed stripes, mirrors.

mod admit;
mod ahead;
mod append;
mod balance;
mod check;
pub mod checksum;
pub mod codec;
pub mod crypt;
mod decode;
mod disk;
mod epoch;
mod error;
mod fragment;
mod geometry;
mod headers;
mod homes;
mod label;
mod members;
mod mend;
mod open;
mod pace;
mod parity;
mod placement;
mod pool;
mod probe;
mod progress;
mod read;
mod rebuild;
mod recall;
pub mod reed_solomon;
mod report;
mod rescue;
mod retire;
mod returned;
mod salvage;
mod scan;
mod scrub;
mod sealed;
mod segment;
mod survival;
mod sync;
#[cfg(test)]
mod tests;
mod types;
mod unlock;
mod upkeep;
mod watch;

pub use check::{BadPart, SegmentCheck};
pub use error::{ErrorKind, PoolError, Result};
pub use pool::Pool;
pub use recall::Reopen;
pub use scrub::{LostPart, ScrubPart};
pub use survival::{shared_devices, survived_failures};
pub use types::{
    Address, DiskId, DiskOptions, DiskSpace, DiskState, DiskStatus, EpochId, EpochInfo, EpochTerm,
    ExtentTag, Home, Lane, Layout, PoolId, PoolSpace, PoolStatus, SegmentContents, SegmentId,
    SegmentInfo, StripeInfo, Txg, UpkeepStatus, UpkeepStep, UpkeepTask,
};
pub use unlock::NewPassphrase;

/// Payload bytes of one stripe for each data shard.
pub const MAX_STRIPE_PAYLOAD: usize = 1 << 20;
/// Extents start at multiples of this, and lengths are padded to it.
pub const BLOCK: usize = 4096;

/// How to open a pool.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Open with fewer members than there were, if nothing acknowledged can be missing.
    pub allow_degraded: bool,
    /// Segment files held open at once.
    pub max_open_files: usize,
    /// Fragment headers held in memory.
    pub max_cached_headers: usize,
    /// Make good what was lost, empty and fill disks. Not wanted where a pool is only looked at.
    pub upkeep: bool,
    pub planted: Planted,
}

/// Bugs that the simulator must find. All off but in its tests.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Planted {
    /// Parity is left as zeroes.
    pub forget_parity: bool,
    /// Data is taken for good whatever its checksum says.
    pub trust_checksums: bool,
    /// A stripe that found no room is followed by another in the same place.
    pub repeat_in_place: bool,
    /// Data is written without checksums; with the one before, the benchmark's way to tell what they cost.
    pub forget_checksums: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            allow_degraded: true,
            max_open_files: 512,
            max_cached_headers: 65_536,
            upkeep: true,
            planted: Planted::default(),
        }
    }
}
