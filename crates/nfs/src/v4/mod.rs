//! NFS version 4.0, 4.1 and 4.2 (RFC 7530, RFC 8881, RFC 7862, RFC 8276).

mod acl;
mod attributes;
pub(crate) mod callback;
mod compound;
mod ops;
mod pseudo;
pub(crate) mod state;
mod status;
pub mod types;

pub(crate) use compound::answer;
pub(crate) use state::State;
pub use status::Status;

use crate::server::Target;

/// Seconds that a client is remembered without hearing from it.
pub(crate) const LEASE_SECONDS: u32 = 90;

/// What the current file handle names.
#[derive(Debug, Clone)]
pub(crate) enum Place4 {
    /// The directory of all exports.
    Pseudo,
    File(Target),
}

/// A failed operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Plain(Status),
    /// The answer goes on behind the status all the same.
    Told(Status),
}

pub(crate) type Op = Result<(), Failure>;

impl<T: Into<Status>> From<T> for Failure {
    fn from(status: T) -> Self {
        Self::Plain(status.into())
    }
}
