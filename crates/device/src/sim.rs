//! A world and its disks in memory, run from a seed.
//!
//! [`SimEnv`] runs every task on one thread in an order that the seed decides, in virtual time. [`SimDevice`] keeps what
//! was not yet synced apart, so that a power cut can lose, tear or reorder it. Faults that it may be told to show:
//!
//! * a cut of the power of all devices, at once, at the n-th sync point ([`SimEnv::cut_at_sync`]) or at the n-th operation
//!   ([`SimEnv::cut_at_operation`]);
//! * errors, a full disk, an answer that comes late or not at all, a write that is lost or lands elsewhere, a read with
//!   a wrong bit, at the n-th operation ([`SimDevice::inject`]);
//! * a disk that is gone and comes back ([`SimDevice::set_broken`]), one that is full ([`SimDevice::set_capacity`]), one
//!   whose syncs are lies ([`SimDevice::set_lying`]);
//! * flipped bytes ([`SimDevice::flip`]);
//! * a planted bug: one sync that silently does nothing ([`SimEnv::skip_sync`]).
//!
//! Two runs of one seed have equal [`SimEnv::trace_hash`]es, or something in the code asked the real world.

mod device;
mod disk;
mod env;
mod rng;
#[cfg(test)]
mod tests;

pub use device::{Fault, Injection, Operation, SimDevice};
pub use env::{Moment, SimEnv};
pub use rng::Rng;
