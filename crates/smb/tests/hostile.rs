//! Hostile bytes: each decoder on every message cut at every byte, and on mutated messages.
//!
//! A new message goes into `hostile/corpus.rs`, a new decoder into `hostile/families.rs`; all tests
//! here then cover it. The fuzz targets in `fuzz/` run the same families.

#![expect(
    unsafe_code,
    reason = "a global allocator that counts cannot be written without"
)]
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "every call is passed on unchanged"
)]

#[path = "hostile/corpus.rs"]
mod corpus;
#[path = "hostile/families.rs"]
mod families;
#[path = "hostile/mutate.rs"]
mod mutate;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use corpus::samples;
use families::FAMILIES;
use mutate::Mutator;

/// Mutations of each sample: some seconds for all of them in an unoptimised build.
const ROUNDS: usize = 300;

thread_local! {
    /// The largest allocation of this thread since it was set to zero.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note(size: usize) {
    // During the end of a thread there is nothing left to count in.
    let _gone = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs `work` on `bytes` and checks that no allocation was out of proportion to them.
fn bounded<T>(name: &str, bytes: &[u8], work: impl FnOnce(&[u8]) -> T) -> T {
    LARGEST.set(0);
    let result = work(bytes);
    let largest = LARGEST.get();
    let allowed = 8192 + 64 * bytes.len();
    assert!(
        largest <= allowed,
        "{name}: {largest} bytes allocated for {}",
        bytes.len()
    );
    result
}

#[test]
fn every_message_survives_a_round_trip() {
    for sample in samples() {
        assert_eq!(
            (sample.decode)(&sample.bytes).as_ref(),
            Some(&sample.shown),
            "{}",
            sample.name
        );
        assert_eq!(
            (sample.again)(&sample.bytes).as_ref(),
            Some(&sample.bytes),
            "{}",
            sample.name
        );
    }
}

/// A cut message is refused, unless what was cut off carries no meaning.
#[test]
fn refuses_every_message_cut_at_every_byte() {
    for sample in samples() {
        for end in 0..sample.bytes.len() {
            let cut = sample.bytes[..end].to_vec();
            let decoded = bounded(sample.name, &cut, sample.decode);
            let lossless = decoded.is_none_or(|shown| shown == sample.shown);
            assert!(
                lossless,
                "{} cut to {end} bytes is another message",
                sample.name
            );
        }
    }
}

#[test]
fn cut_messages_harm_no_decoder_of_any_family() {
    for sample in samples() {
        for end in 0..sample.bytes.len() {
            let cut = sample.bytes[..end].to_vec();
            FAMILIES
                .iter()
                .for_each(|family| bounded(family.name, &cut, family.run));
        }
    }
}

#[test]
fn mutated_messages_harm_no_decoder() {
    let samples = samples();
    for (index, sample) in (0u64..).zip(&samples) {
        let mut mutator = Mutator::new(index + 1);
        for _ in 0..ROUNDS {
            let other = &samples[mutator.below(samples.len())].bytes;
            let mut bytes = sample.bytes.clone();
            mutator.mutate(&mut bytes, other);
            bounded(sample.name, &bytes, sample.decode);
            FAMILIES
                .iter()
                .for_each(|family| bounded(family.name, &bytes, family.run));
        }
    }
}

/// Length and count fields that announce gigabytes in a message of a hundred bytes.
#[test]
fn length_fields_full_of_ones_allocate_nothing() {
    for sample in samples() {
        for at in 0..sample.bytes.len() {
            let mut bytes = sample.bytes.clone();
            bytes
                .iter_mut()
                .skip(at)
                .take(4)
                .for_each(|byte| *byte = 0xFF);
            bounded(sample.name, &bytes, sample.decode);
        }
    }
}
