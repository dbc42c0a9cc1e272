//! Who is asking: users, groups, their SIDs and secrets, kept in the pool.

mod sid;

pub use sid::{MAX_SID_LEN, MAX_SUB_AUTHORITIES, Sid, SidError};
