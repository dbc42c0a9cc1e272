//! Systematic Reed-Solomon over GF(2^8).
//!
//! The first `k` shards are the data as it is. Parity row `i`, column `j` is the Cauchy matrix `1 / ((k + i) + j)`, each
//! column divided by its entry in the first row, then each row by its entry in the first column. Every square part of
//! such a matrix can be inverted, so any `k` shards give back the others; and the first parity row is all ones, a plain
//! sum. With `k` = 1 all entries are one: parity shards are mirrors.

mod field;
mod kernel;
mod matrix;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::Layout;
use kernel::Kernel;

/// Loss patterns whose matrices are kept; a pool in trouble meets a handful.
const PLANS_MAX: usize = 4096;

/// How some shards follow from others.
#[derive(Debug)]
pub struct Plan {
    /// Row by row, one for each target.
    matrix: Vec<u8>,
    sources: usize,
}

impl Plan {
    /// Fills the targets, which have the length of the sources.
    ///
    /// # Panics
    /// When numbers or lengths are not those that the plan was made for.
    pub fn apply(&self, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        assert_eq!(sources.len(), self.sources, "sources of this plan");
        Kernel::fastest().combine(&self.matrix, sources, targets);
    }
}

/// The code of one layout.
#[derive(Debug)]
pub struct Code {
    data: usize,
    width: usize,
    /// `width` rows of `data` entries: what each shard is the sum of.
    generator: Vec<u8>,
    encoding: Plan,
    /// By the shards there are and those wanted, each a set of bits.
    plans: Mutex<HashMap<(u32, u32), Arc<Plan>>>,
}

impl Code {
    /// # Panics
    /// For layouts beyond 16+4.
    pub fn new(layout: Layout) -> Self {
        assert!(layout.is_possible(), "layout {layout}");
        let (data, width) = (usize::from(layout.data), layout.width());
        let generator = matrix::generator(data, width);
        let encoding = Plan {
            matrix: generator[data * data..].to_vec(),
            sources: data,
        };
        Self {
            data,
            width,
            generator,
            encoding,
            plans: Mutex::default(),
        }
    }

    /// The instructions in use.
    pub fn kernel() -> &'static str {
        Kernel::fastest().name()
    }

    /// Fills all parity shards from all data shards.
    ///
    /// # Panics
    /// When numbers or lengths are wrong.
    pub fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) {
        self.encoding.apply(data, parity);
    }

    /// How the `wanted` shards follow from `k` `present` ones, given in the order in which their bytes will be.
    ///
    /// # Panics
    /// When it is not exactly `k` different shards.
    pub fn plan(&self, present: &[u8], wanted: &[u8]) -> Arc<Plan> {
        let key = (self.set_of(present), self.set_of(wanted));
        assert_eq!(present.len(), self.data, "as many as there is data");
        let ordered = present.is_sorted() && wanted.is_sorted();
        if ordered && let Some(plan) = self.plans.lock().get(&key) {
            return Arc::clone(plan);
        }
        let plan = Arc::new(self.make_plan(present, wanted));
        if ordered {
            let mut plans = self.plans.lock();
            if plans.len() >= PLANS_MAX {
                plans.clear();
            }
            plans.insert(key, Arc::clone(&plan));
        }
        plan
    }

    fn set_of(&self, shards: &[u8]) -> u32 {
        let set = shards.iter().fold(0u32, |set, shard| {
            assert!(usize::from(*shard) < self.width, "a shard of this layout");
            set | 1 << shard
        });
        assert_eq!(set.count_ones() as usize, shards.len(), "no shard twice");
        set
    }

    fn make_plan(&self, present: &[u8], wanted: &[u8]) -> Plan {
        let row = |shard: &u8| {
            let start = usize::from(*shard) * self.data;
            &self.generator[start..start + self.data]
        };
        let square: Vec<u8> = present.iter().flat_map(row).copied().collect();
        let inverse =
            matrix::invert(&square, self.data).expect("any rows of the generator are independent");
        let rows: Vec<u8> = wanted.iter().flat_map(row).copied().collect();
        Plan {
            matrix: matrix::multiply(&rows, &inverse, self.data),
            sources: self.data,
        }
    }
}
