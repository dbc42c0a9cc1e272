//! A real Linux kernel as a client, or as the machine under the server: User Mode Linux, an ordinary process.
//!
//! ```text
//!   network namespace of the test ─ bridge 10.77.0.1 ─┬─ tap ─ guest 1: 10.77.0.11
//!                  server under test listens here     └─ tap ─ guest 2: 10.77.0.12
//! ```
//! A [`Network`] is made first and entered by the test's thread; what that thread starts from then on lives in it. A
//! [`Guest`] boots in about two seconds, mounts what it was told to, runs one shell script in the mount, and ends; its
//! output and exit code come back as an [`Outcome`]. Guests may run side by side. A guest sees the host's root
//! directory, but can change nothing there: what it writes goes to its job directory, its mounts, and memory.
//!
//! All of it comes from Debian: see [`PACKAGES`]. It needs root, for the namespace and the interfaces.

mod guest;
mod network;
pub mod suites;
mod tools;

pub use guest::{Disk, Guest, Mount, NfsVersion, Outcome, Running, Security};
pub use network::Network;
pub use tools::{PACKAGES, require};

/// Where a guest has its mount.
pub const MOUNT_POINT: &str = "/mnt/share";
/// Where a guest has its virtual disk.
pub const DISK_POINT: &str = "/mnt/disk";
/// Where a guest has its job directory.
pub const JOB_POINT: &str = "/run/job";
