//! Whole conversations: bytes in, bytes out, in virtual time, without a socket.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests fail by panicking"
)]

mod apple;
mod caching;
mod client;
mod compounds;
mod compression;
mod controls;
mod durable;
mod files;
mod held;
mod limits;
mod negotiation;
mod offload;
mod past;
mod persistent;
mod posix;
mod sessions;
mod waits;
mod world;
