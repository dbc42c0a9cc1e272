//! One module a command. Each takes an admitted request and says what comes of it.

pub(crate) mod change_notify;
pub(crate) mod close;
pub(crate) mod create;
mod create_caching;
mod create_contexts;
mod create_durable;
pub(crate) mod echo;
pub(crate) mod flush;
pub(crate) mod ioctl;
pub(crate) mod lock;
pub(crate) mod logoff;
pub(crate) mod negotiate;
mod negotiate_contexts;
pub(crate) mod oplock_break;
pub(crate) mod query_directory;
pub(crate) mod query_info;
mod quota;
pub(crate) mod read;
mod session_bind;
pub(crate) mod session_setup;
pub(crate) mod set_info;
pub(crate) mod tree_connect;
pub(crate) mod tree_disconnect;
pub(crate) mod write;
