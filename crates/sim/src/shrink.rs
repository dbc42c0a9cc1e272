//! A failing run with fewer operations.

use std::time::{Duration, Instant};

use crate::{Failure, Options, run};

/// Tries with ever fewer operations for at most `limit`; returns the shortest failure found.
pub fn shrink(failure: Failure, options: &Options, limit: Duration) -> Failure {
    let begun = Instant::now();
    let mut best = failure;
    let mut step = best.operations / 2;
    while step > 0 && begun.elapsed() < limit {
        let operations = best.operations - step;
        let shorter = Options {
            operations: Some(operations),
            ..*options
        };
        match run(best.seed, &shorter) {
            Err(failure) => {
                best = failure;
                best.operations = best.operations.min(operations);
                step = step.min(best.operations / 2);
            }
            Ok(_) => step /= 2,
        }
    }
    best
}
