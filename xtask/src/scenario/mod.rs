//! Whole stories told to the real program. The tests run them small, `cargo xtask soak` at length.

pub mod attack;
pub mod churn;
pub mod flips;
pub mod growth;
pub mod hung_disk;
pub mod idle;
pub mod kernel_kill;
pub mod kernel_nfs;
pub mod kernel_smb;
pub mod kill;
pub mod lost_disks;
pub mod real_input;
pub mod rot;
