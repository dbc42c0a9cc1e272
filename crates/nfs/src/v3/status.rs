//! nfsstat3 (RFC 1813, 2.6), and the one map from the file system's errors to it.

use strongroom_vfs::VfsError;

xdr_open_enum! {
    /// Why a procedure failed.
    pub enum Status {
        OK = 0,
        PERM = 1,
        NOENT = 2,
        IO = 5,
        ACCES = 13,
        EXIST = 17,
        XDEV = 18,
        NOTDIR = 20,
        ISDIR = 21,
        INVAL = 22,
        FBIG = 27,
        NOSPC = 28,
        ROFS = 30,
        MLINK = 31,
        NAMETOOLONG = 63,
        NOTEMPTY = 66,
        DQUOT = 69,
        STALE = 70,
        BADHANDLE = 10_001,
        NOT_SYNC = 10_002,
        BAD_COOKIE = 10_003,
        NOTSUPP = 10_004,
        TOOSMALL = 10_005,
        SERVERFAULT = 10_006,
        BADTYPE = 10_007,
        /// The client asks again later.
        JUKEBOX = 10_008,
    }
}

impl From<VfsError> for Status {
    fn from(error: VfsError) -> Self {
        match error {
            VfsError::NotFound | VfsError::PathNotFound | VfsError::NoSuchEa => Self::NOENT,
            VfsError::Exists => Self::EXIST,
            VfsError::IsDirectory => Self::ISDIR,
            VfsError::NotDirectory => Self::NOTDIR,
            VfsError::NotEmpty => Self::NOTEMPTY,
            VfsError::AccessDenied
            | VfsError::SharingViolation
            | VfsError::CannotDelete
            | VfsError::InUse => Self::ACCES,
            VfsError::PrivilegeNotHeld | VfsError::InvalidOwner => Self::PERM,
            VfsError::ReadOnly => Self::ROFS,
            VfsError::LockConflict
            | VfsError::LockNotGranted
            | VfsError::TooMany
            | VfsError::Away => Self::JUKEBOX,
            VfsError::DeletePending | VfsError::Closed | VfsError::Forgotten => Self::STALE,
            VfsError::InvalidName
            | VfsError::InvalidParameter
            | VfsError::RangeNotLocked
            | VfsError::Symlink(_)
            | VfsError::NotReparsePoint
            | VfsError::InvalidReparse
            | VfsError::InvalidSecurity
            | VfsError::InvalidEaName
            | VfsError::NoMoreEntries => Self::INVAL,
            VfsError::NameTooLong => Self::NAMETOOLONG,
            VfsError::InvalidRange => Self::FBIG,
            VfsError::NoSpace | VfsError::EaTooLarge => Self::NOSPC,
            VfsError::QuotaExceeded => Self::DQUOT,
            VfsError::TooManyLinks => Self::MLINK,
            VfsError::NotSameVolume => Self::XDEV,
            VfsError::NotSupported => Self::NOTSUPP,
            VfsError::Cancelled | VfsError::Corrupt(_) | VfsError::Offline(_) | VfsError::Io(_) => {
                tracing::error!(%error, "an NFS request failed");
                Self::IO
            }
        }
    }
}
