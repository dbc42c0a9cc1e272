//! What clients cache: oplocks and leases as grants of the file system (MS-SMB2 3.3.1.4, 3.3.1.12).

mod durable;
mod holder;
mod levels;
mod record;
mod revive;

pub(crate) use durable::{AppInstance, Begun, CreateKey, CreateName, Durable, Durables, Pending};
pub(crate) use holder::{CacheHolder, Hushed, Link};
pub(crate) use levels::{lease_of, level_of, rights_of_lease, rights_of_level};
pub(crate) use record::Record;
