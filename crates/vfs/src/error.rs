//! What can go wrong in the file system, in no protocol's terms.

use strongroom_store::StoreError;

/// A failure of a file system operation. Each protocol maps all of these to its own codes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VfsError {
    /// The last component of the path is not there.
    #[error("no such file")]
    NotFound,
    /// A component before the last is not there.
    #[error("no such directory on the path")]
    PathNotFound,
    /// The name, stream, share or link is there already.
    #[error("exists already")]
    Exists,
    /// A file was wanted and a directory is there.
    #[error("is a directory")]
    IsDirectory,
    /// A directory was wanted and something else is there.
    #[error("is not a directory")]
    NotDirectory,
    #[error("the directory is not empty")]
    NotEmpty,
    #[error("access denied")]
    AccessDenied,
    /// A privilege is needed that the caller does not hold.
    #[error("a required privilege is not held")]
    PrivilegeNotHeld,
    /// The share, or the file by its attribute, takes no changes.
    #[error("read-only")]
    ReadOnly,
    /// Another open excludes this one.
    #[error("another open excludes this one")]
    SharingViolation,
    /// An open excludes this one whose client is away and may come back to it; to be tried again.
    #[error("an open excludes this one, and its client is away")]
    Away,
    /// A byte-range lock of another excludes this read, write or truncation.
    #[error("a byte-range lock excludes this access")]
    LockConflict,
    /// A byte-range lock was not granted.
    #[error("the lock was not granted")]
    LockNotGranted,
    /// The range to unlock is not locked by this owner.
    #[error("the range is not locked")]
    RangeNotLocked,
    /// The file dies when its last open closes.
    #[error("the file is being deleted")]
    DeletePending,
    /// Every name of the file is gone, or the handle is closed.
    #[error("the file or handle is gone")]
    Closed,
    /// A name that no file can have.
    #[error("not a valid name")]
    InvalidName,
    /// Longer than 255 UTF-16 units, or a path beyond 32,760.
    #[error("the name is too long")]
    NameTooLong,
    #[error("invalid parameter")]
    InvalidParameter,
    /// A range that ends beyond the largest file.
    #[error("the range is not valid")]
    InvalidRange,
    #[error("no space left")]
    NoSpace,
    /// The user's or the directory's quota is used up.
    #[error("the quota is used up")]
    QuotaExceeded,
    /// Read-only, a root, or mapped: deletion is refused.
    #[error("cannot be deleted")]
    CannotDelete,
    #[error("too many links")]
    TooManyLinks,
    /// A link or rename between shares, or of a directory between quota trees.
    #[error("not on the same volume")]
    NotSameVolume,
    /// A symbolic link on the path (MS-SMB2 2.2.2.2.1).
    #[error("stopped on a symbolic link")]
    Symlink(Box<SymlinkStop>),
    /// The file is no symbolic link and has no reparse data.
    #[error("not a reparse point")]
    NotReparsePoint,
    /// Reparse data that is not well formed, or of another tag than the present one.
    #[error("invalid reparse data")]
    InvalidReparse,
    /// Security descriptor bytes that are not well formed.
    #[error("invalid security descriptor")]
    InvalidSecurity,
    /// The SID may not be made owner by this caller.
    #[error("this owner may not be assigned")]
    InvalidOwner,
    /// A name of an extended attribute that none can have.
    #[error("invalid name of an extended attribute")]
    InvalidEaName,
    /// More than 64 KiB of extended attributes.
    #[error("the extended attributes are too large")]
    EaTooLarge,
    #[error("no such extended attribute")]
    NoSuchEa,
    /// A listing has come to its end or found nothing.
    #[error("no more entries")]
    NoMoreEntries,
    /// A directory with open files below was to be renamed, or a target that is open replaced.
    #[error("in use by another open")]
    InUse,
    #[error("cancelled")]
    Cancelled,
    #[error("not supported")]
    NotSupported,
    /// Too many opens, locks or watches by one caller.
    #[error("too many resources in use")]
    TooMany,
    /// The past that was asked for is kept no longer.
    #[error("this past is kept no longer")]
    Forgotten,
    /// Stored bytes are damaged and no good copy remains.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// Writing has stopped until an administrator acts.
    #[error("offline: {0}")]
    Offline(String),
    /// A fault of a disk or of the program.
    #[error("input/output error: {0}")]
    Io(String),
}

/// Where a path walk met a symbolic link, and what is left of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymlinkStop {
    /// The path not yet walked, after the link, with `\` between components.
    pub unparsed: String,
    /// Where the link leads, as its creator wrote it.
    pub target: String,
    /// False when the target is absolute.
    pub relative: bool,
}

pub type Result<T> = std::result::Result<T, VfsError>;

impl From<StoreError> for VfsError {
    fn from(error: StoreError) -> Self {
        use strongroom_store::ErrorKind;
        match error.kind() {
            ErrorKind::NoSpace => Self::NoSpace,
            ErrorKind::Corrupt => Self::Corrupt(error.to_string()),
            ErrorKind::Forgotten => Self::Forgotten,
            ErrorKind::Offline => Self::Offline(error.to_string()),
            ErrorKind::Invalid | ErrorKind::Internal => Self::Io(error.to_string()),
        }
    }
}
