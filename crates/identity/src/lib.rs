//! Who is asking: users, groups, their SIDs and secrets, kept in the pool.

mod error;
mod identity;
mod password;
mod secret;
mod sid;
mod throttle;
mod types;

pub use error::{IdentityError, NameError, PasswordError, Result};
pub use identity::Identity;
pub use password::generate_password;
pub use secret::NtHash;
pub use sid::{MAX_SID_LEN, MAX_SUB_AUTHORITIES, Sid, SidError};
pub use throttle::{RetryAfter, Throttle};
pub use types::{AccountDomain, AccountKind, Group, NewUser, SidName, Token, User};
