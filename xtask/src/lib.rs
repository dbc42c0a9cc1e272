//! What the project's checks are made of: drivers for the server, for Samba and for an SMB client.
//!
//! `cargo xtask` is the front end; the interoperability tests in `xtask/tests` use the same parts.

pub mod bench;
pub mod client;
pub mod cpu;
pub mod process;
pub mod samba;
pub mod server;
