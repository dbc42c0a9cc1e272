//! One file system under every protocol: names, inodes, access control, streams, locks, grants, change notices, quotas.
//!
//! The vfs knows no protocol and no socket. It gives meaning to the rows and objects of the store.
#![allow(unused, reason = "signatures first")]

mod access;
pub mod acl;
mod error;
pub mod grants;
pub mod locks;
mod request;
mod stub;
mod time;
mod types;
pub mod watch;

pub use access::{AccessMask, Credentials, DosAttributes, ShareAccess};
pub use error::{Result, SymlinkStop, VfsError};
pub use locks::{LockOwner, LockRange, LockWait};
pub use request::{CaseMode, CreateAction, CreateOptions, Disposition, OpenRequest, Opened};
pub use strongroom_identity::{Sid, SidError};
pub use strongroom_store::{Inode, SessionId};
pub use time::FileTime;
pub use types::{
    DirCursor, DirEntry, EA_TOTAL_MAX, ExtendedAttribute, FILE_MAX, FileKind, LINKS_MAX, LinkInfo,
    NAME_MAX, NewShare, PATH_MAX, REPARSE_TAG_SYMLINK, ReparseData, SessionInfo, SessionRecord,
    SetTimes, Share, ShareId, Stat, StreamInfo, TimeFlags, VolumeInfo,
};
pub use watch::{Watch, WatchAction, WatchEvent, WatchFilter, WatchOutcome};

/// Names one open; never reused while the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandleId(pub u64);
/// An open.
#[derive(Debug)]
pub struct Handle {}
/// The file system.
#[derive(Debug)]
pub struct Vfs {}
