//! How much room is left, said before it is gone.

use std::fmt;

/// Of what clients can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fullness {
    Roomy,
    /// Less than a twentieth is left.
    Nearly,
    /// Less than a fiftieth is left: large files are refused already.
    Full,
}

impl Fullness {
    pub(crate) fn of(used: u64, available: u64) -> Fullness {
        let all = used.saturating_add(available);
        if available < all / 50 {
            Fullness::Full
        } else if available < all / 20 {
            Fullness::Nearly
        } else {
            Fullness::Roomy
        }
    }
}

impl fmt::Display for Fullness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Fullness::Roomy => "there is room",
            Fullness::Nearly => {
                "nearly full: the past gives way already; delete files or add a disk"
            }
            Fullness::Full => {
                "FULL: what is written is refused; delete files that no snapshot keeps, delete \
                 snapshots, or add a disk"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fiftieth_is_full() {
        assert_eq!(Fullness::of(0, 0), Fullness::Roomy);
        assert_eq!(Fullness::of(900, 100), Fullness::Roomy);
        assert_eq!(Fullness::of(960, 40), Fullness::Nearly);
        assert_eq!(Fullness::of(981, 19), Fullness::Full);
        assert_eq!(Fullness::of(u64::MAX, 0), Fullness::Full);
    }
}
