//! Who is asking: users, groups, their SIDs and secrets, kept in the pool.

mod accounts;
mod error;
mod identity;
mod names;
mod numbers;
mod password;
mod rows;
mod secret;
mod sid;
mod throttle;
mod types;
mod well_known;

#[cfg(test)]
mod testing;

pub use error::{IdentityError, NameError, PasswordError, Result};
pub use identity::Identity;
pub use numbers::{Kind, NOBODY, Numbers};
pub use password::generate_password;
pub use secret::NtHash;
pub use sid::{MAX_SID_LEN, MAX_SUB_AUTHORITIES, Sid, SidError};
pub use throttle::{RetryAfter, Throttle};
pub use types::{AccountDomain, AccountKind, Group, NewUser, SidName, Token, User};
