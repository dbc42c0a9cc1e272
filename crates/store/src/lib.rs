//! Transaction groups: a mirrored log, an overlay, an index, extents, the past and its thinning.

mod error;
mod feed;
mod history;
mod index;
mod jobs;
mod rows;
mod store;
mod thin;
mod txn;
mod types;

pub use error::{ErrorKind, Result, StoreError};
pub use jobs::Jobs;
pub use store::Store;
pub use strongroom_pool::Txg;
pub use txn::Txn;
pub use types::{
    Aspect, DataHead, HistoryOptions, Inode, Key, ObjectId, Planted, SessionId, StoreOptions,
    StoreSpace, StoreStatus, Table,
};
