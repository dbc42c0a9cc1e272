//! Extents that were appended and dropped before any row named them: the index never hears of them, so what they take in
//! their stripes is counted here until the stripes are given back. The sweep after the next opening finds what is
//! forgotten.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_pool::{Address, SegmentId, StripeInfo};

use crate::blocks::Blocks;

/// A stripe's segment and place.
pub(crate) type StripeId = (SegmentId, u32);

/// Extents and stripes that are remembered, each; then the oldest are forgotten.
const REMEMBERED_MAX: usize = 1 << 18;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// Bytes dropped of extents of which the rest may still be named.
    partly: BTreeMap<Address, u64>,
    /// The blocks of extents that were wholly dropped.
    dropped: BTreeMap<StripeId, Blocks>,
    /// Stripes in which more was dropped since cleaning last looked.
    newly: BTreeSet<StripeId>,
}

impl Orphans {
    /// `len` bytes of an extent of `whole` bytes, which takes `stored`, will not be named.
    pub(crate) fn drop_bytes(&mut self, address: Address, (len, whole): (u64, u64), stored: u64) {
        let dropped = self.partly.entry(address).or_default();
        *dropped += len;
        if *dropped < whole {
            if self.partly.len() > REMEMBERED_MAX {
                self.partly.pop_first();
            }
            return;
        }
        self.partly.remove(&address);
        let stripe = (address.segment, address.stripe);
        let blocks = self.dropped.entry(stripe).or_default();
        blocks.insert(address.offset, stored);
        self.newly.insert(stripe);
        if self.dropped.len() > REMEMBERED_MAX
            && let Some((oldest, _)) = self.dropped.pop_first()
        {
            self.newly.remove(&oldest);
        }
    }

    /// Rows name what is left of these extents, so the index counts all of them.
    pub(crate) fn named<'a>(&mut self, extents: impl IntoIterator<Item = &'a Address>) {
        if self.partly.is_empty() {
            return;
        }
        for address in extents {
            self.partly.remove(address);
        }
    }

    /// Bytes of a stripe's extents that were wholly dropped.
    pub(crate) fn dropped(&self, stripe: StripeId) -> u64 {
        self.dropped.get(&stripe).map_or(0, Blocks::bytes)
    }

    /// The blocks of these.
    pub(crate) fn dropped_blocks(&self, stripe: StripeId) -> Blocks {
        self.dropped.get(&stripe).cloned().unwrap_or_default()
    }

    /// Stripes in which more was dropped since this was last asked.
    pub(crate) fn take_newly(&mut self) -> BTreeSet<StripeId> {
        std::mem::take(&mut self.newly)
    }

    /// Forgets the extents of a stripe that was given back.
    pub(crate) fn forget(&mut self, stripe: StripeId) {
        self.dropped.remove(&stripe);
        self.newly.remove(&stripe);
        let at = |offset| Address {
            segment: stripe.0,
            stripe: stripe.1,
            offset,
        };
        let gone = self.partly.range(at(0)..=at(u32::MAX));
        let gone: Vec<Address> = gone.map(|(address, _)| *address).collect();
        for address in gone {
            self.partly.remove(&address);
        }
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.partly.len() + self.dropped.len()
    }
}

/// What the extents of a stripe take in it.
pub(crate) fn payload(info: &StripeInfo) -> u64 {
    let extents = info.extents.iter();
    extents
        .map(|(tag, _)| u64::from(tag.len).next_multiple_of(4096))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stripe: u32, offset: u32) -> Address {
        Address {
            segment: SegmentId(7),
            stripe,
            offset,
        }
    }

    #[test]
    fn an_extent_counts_once_all_of_it_was_dropped() {
        let mut orphans = Orphans::default();
        orphans.drop_bytes(at(1, 0), (4000, 5000), 5000);
        assert_eq!(orphans.dropped((SegmentId(7), 1)), 0);
        assert!(orphans.take_newly().is_empty());
        orphans.drop_bytes(at(1, 0), (1000, 5000), 5000);
        orphans.drop_bytes(at(1, 8192), (10, 10), 10);
        assert_eq!(orphans.dropped((SegmentId(7), 1)), 12_288);
        assert_eq!(orphans.take_newly().len(), 1);
        orphans.forget((SegmentId(7), 1));
        assert_eq!(orphans.remembered(), 0);
    }

    #[test]
    fn an_extent_that_is_named_in_part_is_not_remembered() {
        let mut orphans = Orphans::default();
        orphans.drop_bytes(at(1, 0), (4000, 5000), 5000);
        orphans.drop_bytes(at(1, 8192), (4000, 5000), 5000);
        orphans.named([&at(1, 0)]);
        orphans.forget((SegmentId(7), 1));
        assert_eq!(orphans.remembered(), 0);
    }

    #[test]
    fn when_too_many_are_remembered_the_oldest_go_and_new_ones_still_count() {
        let mut orphans = Orphans::default();
        let max = u32::try_from(REMEMBERED_MAX).unwrap();
        for stripe in 0..max + 2 {
            orphans.drop_bytes(at(stripe, 0), (1, 2), 2);
            orphans.drop_bytes(at(stripe, 4096), (1, 1), 1);
        }
        assert_eq!(orphans.remembered(), 2 * REMEMBERED_MAX);
        assert_eq!(orphans.dropped((SegmentId(7), 1)), 0);
        assert_eq!(orphans.dropped((SegmentId(7), max + 1)), 4096);
    }
}
