//! Transaction groups: a mirrored log, an overlay, an index, extents, the past and its thinning.

mod error;
mod jobs;
mod store;
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
