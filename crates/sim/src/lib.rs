//! The simulator: the whole stair from device to file system, on simulated disks and a virtual clock, on one thread,
//! from a seed. For tests only.
//!
//! Several clients run random mixes of all operations of the file system against a model of it in memory. The power
//! fails at any step, disks fail as the seed says. After every cut: what was acknowledged as durable is there, names are
//! in a state that existed, each file's bytes are those of a state that existed, no byte is wrong, space adds up, and
//! every segment is as redundant as it claims. `docs/fault-model.md` says what is promised under which faults.
//!
//! The same seed gives the same run to the last bit; [`Report::trace`] tells two runs apart.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a crate for tests only, which counts in small numbers"
)]

mod audit;
mod check;
mod client;
mod machine;
mod model;
mod ops;
mod plan;
mod run;
mod shrink;
#[cfg(test)]
mod tests;

pub use plan::Canary;
pub use run::{Failure, Options, Report, run};
pub use shrink::shrink;
