//! Transaction groups: a mirrored log, an overlay, an index, extents, the past and its thinning.

mod audit;
mod ballast;
mod blocks;
mod clean;
mod commit;
mod compact;
mod data;
mod drain;
mod engine;
mod error;
mod feed;
mod history;
mod index;
mod inodes;
mod jobs;
mod keep;
mod lists;
mod log;
mod members;
mod open;
mod orphans;
mod overlay;
mod packing;
mod reading;
mod record;
mod report;
mod room;
mod rows;
mod scrub;
mod space;
mod store;
mod sweep;
mod thin;
mod txn;
mod types;
mod upkeep;
mod values;
mod view;

#[doc(hidden)]
pub use audit::Audit;
pub use error::{ErrorKind, Result, StoreError};
pub use jobs::{JobId, JobKind, JobState, JobStatus, Jobs, Step};
pub use keep::{LastKnown, Pin, Realms, Whose};
pub use reading::Reading;
pub use scrub::{LostRange, ScrubStatus};
pub use store::Store;
pub use strongroom_pool::Txg;
pub use txn::Txn;
pub use types::{
    Aspect, CloneRange, Compression, DataHead, HistoryOptions, IndexStatus, Inode, Key, ObjectId,
    Planted, Realm, Retention, SessionId, StoreOptions, StoreSpace, StoreStatus, Table,
};
pub use values::{LoggedChange, PastValue};
pub use view::{Instant, Past, View};

#[cfg(test)]
mod tests;
