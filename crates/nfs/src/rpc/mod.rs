//! ONC RPC version 2 (RFC 5531): calls, replies, credentials, and records on a stream.

mod auth;
mod call;
mod record;
mod reply;

pub use auth::{Auth, AuthSys};
pub use call::{Call, Message};
pub(crate) use record::mark;
pub use record::{RECORD_MAX, RecordError, Records};
pub use reply::{AcceptStat, AuthStat, Reply};

/// The programs that are served.
pub const PORTMAP: u32 = 100_000;
pub const NFS: u32 = 100_003;
pub const MOUNT: u32 = 100_005;
pub const NLM: u32 = 100_021;
pub const NSM: u32 = 100_024;
