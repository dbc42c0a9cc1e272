//! The whole of administration, called as its doors call it.

mod attacks;
mod console;
mod files;
mod roles;
mod signing;
mod world;
