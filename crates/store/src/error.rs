//! What can go wrong, and what the caller may do about it.

use strongroom_device::DeviceError;
use strongroom_pool::PoolError;

/// A failure of the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No room for this change; deleting always works and gives space back.
    #[error("no space left in the pool")]
    NoSpace,
    /// Stored bytes are damaged and no good copy remains.
    #[error("{what}")]
    Corrupt { what: String },
    /// Nothing can be written any more; reading goes on where it can.
    #[error("the pool takes no more writes: {why}")]
    Offline { why: String },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The request itself is wrong.
    #[error("{what}")]
    Invalid { what: String },
    /// A past state, or a part of one, that is kept no longer.
    #[error("this past is kept no longer")]
    Forgotten,
    /// Made by a newer version of the program.
    #[error("{what} has format version {found}; this program knows up to {known}")]
    Newer {
        what: String,
        found: u32,
        known: u32,
    },
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// What the caller may do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Delete something, then try again.
    NoSpace,
    /// The data cannot be had; nothing else is affected.
    Corrupt,
    /// Writing has stopped until an administrator acts.
    Offline,
    /// The request can never succeed.
    Invalid,
    /// The past that was asked for is kept no longer.
    Forgotten,
    /// A fault of a disk or of the program.
    Internal,
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    /// Groups errors by what the caller may do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSpace | Self::Device(DeviceError::NoSpace { .. }) => ErrorKind::NoSpace,
            Self::Corrupt { .. } | Self::Newer { .. } => ErrorKind::Corrupt,
            Self::Offline { .. } | Self::Closed => ErrorKind::Offline,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Forgotten => ErrorKind::Forgotten,
            Self::Pool(error) => kind_of_pool(error),
            Self::Device(_) => ErrorKind::Internal,
        }
    }
}

/// What the pool's kinds mean to those above the store.
fn kind_of_pool(error: &PoolError) -> ErrorKind {
    match error.kind() {
        strongroom_pool::ErrorKind::NoSpace => ErrorKind::NoSpace,
        strongroom_pool::ErrorKind::Corrupt => ErrorKind::Corrupt,
        strongroom_pool::ErrorKind::Offline | strongroom_pool::ErrorKind::Refused => {
            ErrorKind::Offline
        }
        strongroom_pool::ErrorKind::Invalid => ErrorKind::Internal,
    }
}
