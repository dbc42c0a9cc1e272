//! Failures as a person meets them: what is wrong, what to do, and an exit code for scripts.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use strongroom_admin::RowsError;
use strongroom_identity::IdentityError;
use strongroom_pool::PoolError;
use strongroom_store::StoreError;
use strongroom_vfs::VfsError;

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Classes of failures, by exit code. The command line's help lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A fault of the program or of the machine.
    Internal = 1,
    /// The server refused the request.
    Refused = 3,
    /// No server is running on the data directory.
    NoServer = 4,
    /// The disks or the data directory cannot be used.
    Storage = 5,
    /// The address cannot be listened on.
    Address = 6,
    /// Another server has the data directory.
    Locked = 7,
    /// A check found damage.
    Damaged = 8,
}

/// What went wrong, in one message.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.kind as u8
    }

    /// An operation on a path failed, for which the system gave a reason.
    pub(crate) fn path(what: &str, path: &Path, error: &std::io::Error) -> Failure {
        let advice = advice(error.kind());
        let path = path.display();
        Failure::new(
            Kind::Storage,
            format!("cannot {what} {path} ({error}){advice}"),
        )
    }
}

/// What a person can do about a system's refusal.
fn advice(kind: ErrorKind) -> &'static str {
    if kind == ErrorKind::PermissionDenied {
        ": give this user the right to write there, or name another directory"
    } else if kind == ErrorKind::ReadOnlyFilesystem {
        ": it is mounted read-only; mount it for writing, or name another directory"
    } else if kind == ErrorKind::StorageFull {
        ": free some space there, or name another directory"
    } else {
        ""
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Failure {
        Failure::new(Kind::Storage, error.to_string())
    }
}

impl From<strongroom_device::DeviceError> for Failure {
    fn from(error: strongroom_device::DeviceError) -> Failure {
        Failure::new(Kind::Storage, error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::new(Kind::Storage, error.to_string())
    }
}

impl From<VfsError> for Failure {
    fn from(error: VfsError) -> Failure {
        Failure::new(Kind::Storage, error.to_string())
    }
}

impl From<RowsError> for Failure {
    fn from(error: RowsError) -> Failure {
        Failure::new(Kind::Storage, error.to_string())
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Failure {
        Failure::new(Kind::Storage, error.to_string())
    }
}
