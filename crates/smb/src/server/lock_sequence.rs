//! Which LOCK requests an open has carried out, so that one whose answer was lost is not carried out twice
//! (MS-SMB2 3.3.5.14).

use std::sync::Arc;

use parking_lot::Mutex;

/// Indexes begin at one.
const INDEXES: usize = 64;
/// Sequence numbers have four bits; this is none.
const UNUSED: u8 = u8::MAX;

/// Open.LockSequenceArray; shared by all incarnations of a durable open.
#[derive(Debug, Clone, Default)]
pub(crate) struct LockSequences(Arc<Mutex<Option<Box<[u8; INDEXES]>>>>);

impl LockSequences {
    /// Whether the request was carried out before. What had the index so far counts no more.
    pub(crate) fn is_replay(&self, index: u32, number: u8) -> bool {
        let mut array = self.0.lock();
        let Some(slot) = slot(&mut array, index) else {
            return false;
        };
        let replay = *slot == number;
        if !replay {
            *slot = UNUSED;
        }
        replay
    }

    pub(crate) fn succeeded(&self, index: u32, number: u8) {
        let mut array = self.0.lock();
        if let Some(slot) = slot(&mut array, index) {
            *slot = number;
        }
    }
}

fn slot(array: &mut Option<Box<[u8; INDEXES]>>, index: u32) -> Option<&mut u8> {
    let at = usize::try_from(index).ok()?.checked_sub(1)?;
    if at >= INDEXES {
        return None;
    }
    array
        .get_or_insert_with(|| Box::new([UNUSED; INDEXES]))
        .get_mut(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_succeeded_until_the_index_is_used_anew() {
        let sequences = LockSequences::default();
        assert!(!sequences.is_replay(1, 3));
        sequences.succeeded(1, 3);
        assert!(sequences.is_replay(1, 3));
        assert!(!sequences.is_replay(2, 3));
        assert!(!sequences.is_replay(1, 4), "a new one");
        assert!(!sequences.is_replay(1, 3), "which did not succeed");
    }

    #[test]
    fn indexes_out_of_range_are_not_kept() {
        let sequences = LockSequences::default();
        for index in [0, 65, u32::MAX] {
            sequences.succeeded(index, 1);
            assert!(!sequences.is_replay(index, 1));
        }
    }
}
