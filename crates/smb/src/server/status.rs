//! Why a request fails, on the wire; and the one map from the file system's errors to NTSTATUS.

use strongroom_vfs::{SymlinkStop, VfsError};

use crate::wire::codec::len16;
use crate::wire::error::{ErrorResponse, SymlinkError};
use crate::wire::utf16::utf16_len;
use crate::wire::{Codec, NtStatus, Utf16, WireError};

/// A failed request: its status and the data of its ERROR response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: NtStatus,
    data: Option<Vec<u8>>,
}

impl Failure {
    /// STATUS_BUFFER_TOO_SMALL with the number of bytes that would do (MS-SMB2 2.2.2.2).
    pub(crate) fn too_small(wanted: usize) -> Self {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        Self {
            status: NtStatus::BUFFER_TOO_SMALL,
            data: Some(wanted.to_le_bytes().to_vec()),
        }
    }

    fn symlink(stop: &SymlinkStop) -> Self {
        let target = Utf16::from(stop.target.as_str());
        let error = SymlinkError {
            unparsed_len: len16(utf16_len(&stop.unparsed).min(usize::from(u16::MAX))),
            relative: stop.relative,
            substitute: target.clone(),
            print: target,
        };
        let data = error.fits().then(|| error.to_vec());
        Self {
            status: NtStatus::STOPPED_ON_SYMLINK,
            data,
        }
    }

    /// Appends the ERROR response.
    pub(crate) fn encode(&self, in_context: bool, out: &mut Vec<u8>) {
        match &self.data {
            None => ErrorResponse::EMPTY.encode(out),
            Some(data) => ErrorResponse::with_data(data, in_context).encode(out),
        }
    }
}

impl From<NtStatus> for Failure {
    fn from(status: NtStatus) -> Self {
        Self { status, data: None }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        error.status().into()
    }
}

impl From<VfsError> for Failure {
    fn from(error: VfsError) -> Self {
        if let VfsError::Symlink(stop) = &error {
            return Self::symlink(stop);
        }
        if let VfsError::Corrupt(_) | VfsError::Offline(_) | VfsError::Io(_) = &error {
            tracing::error!(%error, "a client's request failed");
        }
        status_of(&error).into()
    }
}

/// Every failure of the file system as a client is told of it. No wildcard: a new error must be thought about.
pub(crate) fn status_of(error: &VfsError) -> NtStatus {
    match error {
        VfsError::NotFound => NtStatus::OBJECT_NAME_NOT_FOUND,
        VfsError::PathNotFound => NtStatus::OBJECT_PATH_NOT_FOUND,
        VfsError::Exists => NtStatus::OBJECT_NAME_COLLISION,
        VfsError::IsDirectory => NtStatus::FILE_IS_A_DIRECTORY,
        VfsError::NotDirectory => NtStatus::NOT_A_DIRECTORY,
        VfsError::NotEmpty => NtStatus::DIRECTORY_NOT_EMPTY,
        VfsError::AccessDenied => NtStatus::ACCESS_DENIED,
        VfsError::PrivilegeNotHeld => NtStatus::PRIVILEGE_NOT_HELD,
        VfsError::ReadOnly => NtStatus::MEDIA_WRITE_PROTECTED,
        VfsError::SharingViolation => NtStatus::SHARING_VIOLATION,
        VfsError::Away => NtStatus::FILE_NOT_AVAILABLE,
        VfsError::LockConflict => NtStatus::FILE_LOCK_CONFLICT,
        VfsError::LockNotGranted => NtStatus::LOCK_NOT_GRANTED,
        VfsError::RangeNotLocked => NtStatus::RANGE_NOT_LOCKED,
        VfsError::DeletePending => NtStatus::DELETE_PENDING,
        VfsError::Closed => NtStatus::FILE_CLOSED,
        VfsError::InvalidName => NtStatus::OBJECT_NAME_INVALID,
        VfsError::NameTooLong => NtStatus::OBJECT_NAME_INVALID,
        VfsError::InvalidParameter => NtStatus::INVALID_PARAMETER,
        VfsError::InvalidRange => NtStatus::INVALID_PARAMETER,
        VfsError::NoSpace => NtStatus::DISK_FULL,
        VfsError::QuotaExceeded => NtStatus::QUOTA_EXCEEDED,
        VfsError::CannotDelete => NtStatus::CANNOT_DELETE,
        VfsError::TooManyLinks => NtStatus::TOO_MANY_LINKS,
        VfsError::NotSameVolume => NtStatus::NOT_SAME_DEVICE,
        VfsError::Symlink(_) => NtStatus::STOPPED_ON_SYMLINK,
        VfsError::NotReparsePoint => NtStatus::NOT_A_REPARSE_POINT,
        VfsError::InvalidReparse => NtStatus::IO_REPARSE_DATA_INVALID,
        VfsError::InvalidSecurity => NtStatus::INVALID_SECURITY_DESCR,
        VfsError::InvalidOwner => NtStatus(0xC000_005A),
        VfsError::InvalidEaName => NtStatus::INVALID_EA_NAME,
        VfsError::EaTooLarge => NtStatus::EA_TOO_LARGE,
        VfsError::NoSuchEa => NtStatus::NONEXISTENT_EA_ENTRY,
        VfsError::NoMoreEntries => NtStatus::NO_MORE_FILES,
        VfsError::InUse => NtStatus::ACCESS_DENIED,
        VfsError::Cancelled => NtStatus::CANCELLED,
        VfsError::NotSupported => NtStatus::NOT_SUPPORTED,
        VfsError::TooMany => NtStatus::INSUFFICIENT_RESOURCES,
        VfsError::Forgotten => NtStatus::OBJECT_NAME_NOT_FOUND,
        VfsError::Corrupt(_) => NtStatus::DATA_ERROR,
        VfsError::Offline(_) => NtStatus::UNEXPECTED_IO_ERROR,
        VfsError::Io(_) => NtStatus::IO_DEVICE_ERROR,
    }
}
