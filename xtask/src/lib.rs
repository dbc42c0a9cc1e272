//! What the project's checks are made of: drivers for the server, for Samba and for SMB clients, and whole scenarios.
//!
//! `cargo xtask` is the front end; the interoperability tests in `xtask/tests` use the same parts.

pub mod bench;
pub mod checks;
pub mod client;
pub mod cpu;
pub mod cut;
pub mod disk_image;
pub mod features;
pub mod kerberos;
pub mod kernel;
pub mod process;
pub mod python;
pub mod random;
pub mod samba;
pub mod scenario;
pub mod server;
pub mod sim;
pub mod smbclient;
pub mod soak;
pub mod torture;
