//! What goes wrong in a pool, and what a person or a caller may do about it.

use strongroom_device::DeviceError;

use crate::{DiskId, EpochId, Layout, PoolId, SegmentId};

pub type Result<T> = std::result::Result<T, PoolError>;

/// What the caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Free space, then try again.
    NoSpace,
    /// The bytes are gone; other bytes are still served.
    Corrupt,
    /// A person must bring a disk or mend a command line.
    Refused,
    /// Writing has stopped until the pool is opened again; reading may go on.
    Offline,
    /// The request can never work.
    Invalid,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum PoolError {
    #[error(
        "{device} has no pool label: is the disk mounted? Strongroom never initialises it by itself"
    )]
    NoLabel { device: String },
    #[error(
        "{device} is not empty: it holds {found}; give an empty directory, or open the pool that is there"
    )]
    NotBlank { device: String, found: String },
    #[error(
        "{device}: both copies of the label are damaged ({detail}); replace the disk or restore its label"
    )]
    CorruptLabel { device: String, detail: String },
    #[error(
        "{device} has format version {found}, this program knows up to {known}: use a newer Strongroom"
    )]
    NewerFormat {
        device: String,
        found: u32,
        known: u32,
    },
    #[error(
        "{device} belongs to pool {found}, not to pool {expected} as {other} does: name the disks of one pool only"
    )]
    Foreign {
        device: String,
        found: PoolId,
        other: String,
        expected: PoolId,
    },
    #[error("{first} and {second} are both disk {disk}: one is a copy; take one away")]
    Duplicate {
        first: String,
        second: String,
        disk: DiskId,
    },
    #[error("{device}: both copies of the epoch chain are damaged ({detail})")]
    CorruptEpochs { device: String, detail: String },
    #[error(
        "{first} went on to epoch {first_epoch}, {second} to epoch {second_epoch}, and neither follows the other: they were used apart; open the pool with one of them only"
    )]
    Diverged {
        first: String,
        first_epoch: EpochId,
        second: String,
        second_epoch: EpochId,
    },
    #[error(
        "not enough disks: epoch {epoch} needs {needed} of its {members} members, {present} can be used; {detail}"
    )]
    NotEnoughDisks {
        epoch: EpochId,
        needed: usize,
        members: usize,
        present: usize,
        detail: String,
    },
    #[error("there is no layout {layout}: 1+0 to 16+4 are possible")]
    UnsupportedLayout { layout: Layout },
    #[error("layout {layout} needs at least {needed} disks, {given} given")]
    TooFewDisks {
        layout: Layout,
        needed: usize,
        given: usize,
    },
    #[error("segment {segment}, stripe {stripe}: no good copy ({detail})")]
    Corrupt {
        segment: SegmentId,
        stripe: u32,
        detail: String,
    },
    #[error("segment {segment} does not exist")]
    NoSegment { segment: SegmentId },
    #[error("writing has stopped: {reason}")]
    WritingStopped { reason: String },
    #[error("{device} is in use: it is {what}")]
    InUse { device: String, what: String },
    #[error("no disk of this pool is called {disk}; its disks are in the status")]
    UnknownDisk { disk: String },
    #[error("{disk} is not in service: there is nothing to be moved from it")]
    NotInService { disk: String },
    #[error("{disk} cannot leave now: {why}")]
    Busy { disk: String, why: String },
    #[error("{disk} cannot be added now: {why}")]
    NotNow { disk: String, why: String },
    #[error(
        "{disk} cannot leave: layout {layout} needs {needed} disks, {left} would be left; add one first, or replace it"
    )]
    WouldBreakLayout {
        disk: String,
        layout: Layout,
        needed: usize,
        left: usize,
    },
    #[error(
        "{disk} cannot leave: it holds {needed} bytes, and the other disks have room for {free}"
    )]
    NoRoomElsewhere {
        disk: String,
        needed: u64,
        free: u64,
    },
    #[error("{device} is too small: it has room for {free} bytes, and {replaced} held {needed}")]
    TooSmall {
        device: String,
        free: u64,
        replaced: String,
        needed: u64,
    },
    #[error(
        "{device} shares a block device with {other} and would fail with it; use another disk, or allow it"
    )]
    SharedDevice { device: String, other: String },
    #[error("the pool is encrypted: it takes its passphrase to open it")]
    Locked,
    #[error("this is not the passphrase of the pool; nothing was changed")]
    WrongPassphrase,
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl PoolError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoLabel { .. }
            | Self::NotBlank { .. }
            | Self::CorruptLabel { .. }
            | Self::NewerFormat { .. }
            | Self::Foreign { .. }
            | Self::Duplicate { .. }
            | Self::CorruptEpochs { .. }
            | Self::Diverged { .. }
            | Self::NotEnoughDisks { .. }
            | Self::InUse { .. }
            | Self::NotInService { .. }
            | Self::Busy { .. }
            | Self::NotNow { .. }
            | Self::WouldBreakLayout { .. }
            | Self::NoRoomElsewhere { .. }
            | Self::TooSmall { .. }
            | Self::SharedDevice { .. }
            | Self::Locked
            | Self::WrongPassphrase => ErrorKind::Refused,
            Self::UnknownDisk { .. } => ErrorKind::Invalid,
            Self::UnsupportedLayout { .. } | Self::TooFewDisks { .. } | Self::Invalid(_) => {
                ErrorKind::Invalid
            }
            Self::Corrupt { .. } | Self::NoSegment { .. } => ErrorKind::Corrupt,
            Self::WritingStopped { .. } => ErrorKind::Offline,
            Self::Device(DeviceError::NoSpace { .. }) => ErrorKind::NoSpace,
            Self::Device(_) => ErrorKind::Offline,
        }
    }
}
