//! One file system under every protocol: names, inodes, access control, streams, locks, grants, change notices, quotas.
//!
//! The vfs knows no protocol and no socket. It gives meaning to the rows and objects of the store.

mod access;
pub mod acl;
mod apple;
mod attributes;
mod cloned;
mod close;
mod contend;
mod copy;
mod copyfile;
mod data;
mod differences;
mod directory;
mod eas;
mod error;
mod export;
pub mod grants;
mod guard;
mod handle;
mod history;
mod list;
mod locks;
mod log;
mod lost;
pub mod names;
mod node;
mod offload;
mod open;
mod past;
mod persistent;
mod posix;
mod quota;
mod reclaims;
mod rename;
mod reparse;
mod request;
mod rewind;
mod rows;
mod schedules;
mod secrets;
mod security;
mod sessions;
mod shares;
mod short;
mod snapshots;
mod stat;
mod streams;
#[cfg(test)]
mod tests;
mod time;
mod types;
mod undo;
pub mod unix;
mod versions;
mod vfs;
pub mod watch;
mod works;

pub use access::{AccessMask, Credentials, DosAttributes, ShareAccess};
pub use apple::{AFP_INFO_LEN, AppleAttributes, is_afp_info};
pub use copy::COPY_MAX;
pub use data::APPEND;
pub use differences::{Difference, DifferenceKind};
pub use error::{Result, SymlinkStop, VfsError};
pub use export::{Export, Squash};
pub use guard::{Alarm, AlarmAction};
pub use handle::{Handle, HandleId};
pub use history::{instant_name, time_of_name};
pub use locks::{InTheWay, LockOwner, LockRange, LockWait};
pub use log::{EventKind, HistoryEvent, LogFilter};
pub use lost::LostFile;
pub use offload::{DataInstant, InstantCopy};
pub use persistent::{Claim, PersistentWish, Revived};
pub use posix::{Posix, PosixChange};
pub use quota::{QuotaInfo, QuotaOf};
pub use request::{
    CaseMode, CreateAction, CreateOptions, Disposition, MadeWith, OpenRequest, Opened, PosixOpen,
};
pub use rewind::Rewound;
pub use schedules::SnapshotSchedule;
pub use secrets::Secret;
pub use snapshots::Snapshot;
pub use strongroom_device::Timestamp;
pub use strongroom_identity::{Sid, SidError};
pub use strongroom_store::{Inode, Instant, Retention, SessionId, Txg, View};
pub use time::{CivilTime, FileTime};
pub use types::{
    DirCursor, DirEntry, EA_TOTAL_MAX, ExtendedAttribute, FILE_MAX, FileKind, LINKS_MAX, LinkInfo,
    NAME_MAX, NewShare, PATH_MAX, REPARSE_TAG_SYMLINK, ReparseData, SessionInfo, SessionRecord,
    SetTimes, Share, ShareChange, ShareId, Stat, StreamInfo, TimeFlags, VolumeInfo,
};
pub use undo::{UndoWanted, Undone};
pub use vfs::Vfs;
pub use watch::{NoticeBudget, Watch, WatchAction, WatchEvent, WatchFilter, WatchOutcome};
pub use works::WorkStatus;
