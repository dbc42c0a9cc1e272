//! Kerberos tickets are judged by MIT krb5's GSS-API with a keytab (RFC 2743, RFC 2744, RFC 4121).
//!
//! Why not a crate: ARCHITECTURE.md, "Kerberos is judged by MIT krb5". What is needed of the library is eleven functions;
//! they stand in `mit.rs`, the only unsafe code here. Nothing of it is there without the feature `mit`.

#[cfg(feature = "mit")]
mod mit;

mod pac;

pub use pac::{PacError, groups};

#[cfg(feature = "mit")]
pub use mit::Keytab;
