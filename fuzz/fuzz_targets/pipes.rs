//! RPC over named pipes.

#![no_main]

#[path = "../../crates/smb/tests/hostile/families.rs"]
#[expect(dead_code, reason = "each target runs one of the families")]
mod families;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| families::pipes(bytes));
