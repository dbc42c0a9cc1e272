//! nfsstat4 (RFC 8881, 15.1; RFC 7862, 11.1), and the one map from the file system's errors to it.

use strongroom_vfs::VfsError;

use crate::xdr::XdrError;

xdr_open_enum! {
    /// Why an operation failed.
    pub enum Status {
        OK = 0,
        PERM = 1,
        NOENT = 2,
        IO = 5,
        NXIO = 6,
        ACCESS = 13,
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
        BAD_COOKIE = 10_003,
        NOTSUPP = 10_004,
        TOOSMALL = 10_005,
        SERVERFAULT = 10_006,
        BADTYPE = 10_007,
        DELAY = 10_008,
        SAME = 10_009,
        DENIED = 10_010,
        EXPIRED = 10_011,
        LOCKED = 10_012,
        GRACE = 10_013,
        FHEXPIRED = 10_014,
        SHARE_DENIED = 10_015,
        WRONGSEC = 10_016,
        CLID_INUSE = 10_017,
        RESOURCE = 10_018,
        NOFILEHANDLE = 10_020,
        MINOR_VERS_MISMATCH = 10_021,
        STALE_CLIENTID = 10_022,
        STALE_STATEID = 10_023,
        OLD_STATEID = 10_024,
        BAD_STATEID = 10_025,
        BAD_SEQID = 10_026,
        NOT_SAME = 10_027,
        LOCK_RANGE = 10_028,
        SYMLINK = 10_029,
        RESTOREFH = 10_030,
        ATTRNOTSUPP = 10_032,
        NO_GRACE = 10_033,
        RECLAIM_BAD = 10_034,
        RECLAIM_CONFLICT = 10_035,
        BADXDR = 10_036,
        LOCKS_HELD = 10_037,
        OPENMODE = 10_038,
        BADOWNER = 10_039,
        BADCHAR = 10_040,
        BADNAME = 10_041,
        BAD_RANGE = 10_042,
        OP_ILLEGAL = 10_044,
        FILE_OPEN = 10_046,
        ADMIN_REVOKED = 10_047,
        CB_PATH_DOWN = 10_048,
        BADSESSION = 10_052,
        BADSLOT = 10_053,
        COMPLETE_ALREADY = 10_054,
        CONN_NOT_BOUND_TO_SESSION = 10_055,
        SEQ_MISORDERED = 10_063,
        SEQUENCE_POS = 10_064,
        REQ_TOO_BIG = 10_065,
        REP_TOO_BIG = 10_066,
        REP_TOO_BIG_TO_CACHE = 10_067,
        RETRY_UNCACHED_REP = 10_068,
        TOO_MANY_OPS = 10_070,
        OP_NOT_IN_SESSION = 10_071,
        CLIENTID_BUSY = 10_074,
        SEQ_FALSE_RETRY = 10_076,
        BAD_HIGH_SLOT = 10_077,
        NOT_ONLY_OP = 10_081,
        WRONG_CRED = 10_082,
        WRONG_TYPE = 10_083,
        DELEG_REVOKED = 10_087,
        UNION_NOTSUPP = 10_090,
        OFFLOAD_DENIED = 10_091,
        NOXATTR = 10_095,
        XATTR2BIG = 10_096,
    }
}

impl From<XdrError> for Status {
    fn from(_: XdrError) -> Self {
        Self::BADXDR
    }
}

impl From<VfsError> for Status {
    fn from(error: VfsError) -> Self {
        match error {
            VfsError::NotFound | VfsError::PathNotFound => Self::NOENT,
            VfsError::Exists => Self::EXIST,
            VfsError::IsDirectory => Self::ISDIR,
            VfsError::NotDirectory => Self::NOTDIR,
            VfsError::NotEmpty => Self::NOTEMPTY,
            VfsError::AccessDenied | VfsError::CannotDelete => Self::ACCESS,
            VfsError::PrivilegeNotHeld | VfsError::InvalidOwner => Self::PERM,
            VfsError::ReadOnly => Self::ROFS,
            VfsError::SharingViolation => Self::SHARE_DENIED,
            VfsError::InUse => Self::FILE_OPEN,
            VfsError::LockConflict => Self::LOCKED,
            VfsError::LockNotGranted => Self::DENIED,
            VfsError::TooMany | VfsError::Away => Self::DELAY,
            VfsError::RangeNotLocked => Self::LOCK_RANGE,
            VfsError::DeletePending | VfsError::Closed | VfsError::Forgotten => Self::STALE,
            VfsError::InvalidName
            | VfsError::InvalidParameter
            | VfsError::InvalidReparse
            | VfsError::InvalidSecurity
            | VfsError::InvalidEaName
            | VfsError::NotReparsePoint
            | VfsError::NoMoreEntries => Self::INVAL,
            VfsError::Symlink(_) => Self::SYMLINK,
            VfsError::NameTooLong => Self::NAMETOOLONG,
            VfsError::InvalidRange => Self::FBIG,
            VfsError::NoSpace => Self::NOSPC,
            VfsError::QuotaExceeded => Self::DQUOT,
            VfsError::TooManyLinks => Self::MLINK,
            VfsError::NotSameVolume => Self::XDEV,
            VfsError::EaTooLarge => Self::XATTR2BIG,
            VfsError::NoSuchEa => Self::NOXATTR,
            VfsError::NotSupported => Self::NOTSUPP,
            VfsError::Cancelled => Self::DELAY,
            VfsError::Corrupt(_) | VfsError::Offline(_) | VfsError::Io(_) => {
                tracing::error!(%error, "an NFS operation failed");
                Self::IO
            }
        }
    }
}
