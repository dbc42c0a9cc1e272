//! Administration: one set of handlers behind two doors.
//!
//! ```text
//!  command line            browser, scripts
//!      │ socket, owner only     │ HTTPS: a cookie's session or a token
//!      │                        ├── console   pages, made from what the handlers answer
//!      ▼                        ▼
//!  api        every act once: a path, who may, what it takes and gives
//!      ▼
//!  vfs, store, pool, identity
//! ```
//!
//! A door says who comes ([`Caller`]); each endpoint says who may ([`endpoint::Access`]) and every change is written to the
//! log of acts ([`audit`]). Nothing in here opens a listening socket: the program hands over connections.

pub mod api;
pub mod audit;
mod caller;
mod certificate;
mod console;
pub mod endpoint;
mod https;
mod people;
mod problem;
mod rows;
mod sessions;
mod setup;
mod state;
mod tokens;
mod totp;
pub mod types;
pub mod when;
pub mod words;

pub use caller::{Caller, Role, Scope, Who};
pub use certificate::{Certificate, CertificateError};
pub use https::{Door, serve};
pub use problem::Problem;
pub use rows::RowsError;
pub use state::{AddDisk, Parts, State};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails says where")]
mod tests;
