//! File times at the resolution that clients keep: 100 nanoseconds since 1601.

use strongroom_device::Timestamp;

/// 100-nanosecond ticks between 1601-01-01 and 1970-01-01.
const UNIX_EPOCH: u64 = 116_444_736_000_000_000;
const TICKS_PER_SECOND: u64 = 10_000_000;

/// A time in 100-nanosecond ticks since 1601-01-01T00:00:00Z (MS-DTYP 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime(pub u64);

impl FileTime {
    /// Whole seconds since 1970, negative before it, and nanoseconds within the second.
    pub fn to_unix(self) -> (i64, u32) {
        let ticks = i128::from(self.0) - i128::from(UNIX_EPOCH);
        let per_second = i128::from(TICKS_PER_SECOND);
        let seconds = i64::try_from(ticks.div_euclid(per_second)).unwrap_or(i64::MAX);
        let nanoseconds = u32::try_from(ticks.rem_euclid(per_second) * 100).unwrap_or(0);
        (seconds, nanoseconds)
    }

    /// Saturates outside the range that 64 bits of ticks can hold.
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Self {
        let ticks = i128::from(seconds) * i128::from(TICKS_PER_SECOND)
            + i128::from(nanoseconds / 100)
            + i128::from(UNIX_EPOCH);
        Self(u64::try_from(ticks.max(0)).unwrap_or(u64::MAX))
    }

    /// None where the store's time cannot hold it exactly: before 1970 or after 2554.
    pub(crate) fn to_timestamp(self) -> Option<Timestamp> {
        let ticks = self.0.checked_sub(UNIX_EPOCH)?;
        ticks.checked_mul(100).map(Timestamp)
    }
}

impl From<Timestamp> for FileTime {
    fn from(time: Timestamp) -> Self {
        Self(time.0 / 100 + UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_times_round_trip_before_and_after_1970() {
        for (seconds, nanoseconds) in [(0, 0), (-1, 999_999_900), (1_700_000_000, 100), (-86400, 0)]
        {
            assert_eq!(
                FileTime::from_unix(seconds, nanoseconds).to_unix(),
                (seconds, nanoseconds)
            );
        }
    }

    #[test]
    fn only_times_the_store_can_hold_are_given_to_it() {
        assert_eq!(FileTime(0).to_timestamp(), None);
        assert_eq!(FileTime(u64::MAX).to_timestamp(), None);
        let time = FileTime::from_unix(1_700_000_000, 123_456_700);
        assert_eq!(time.to_timestamp().map(FileTime::from), Some(time));
    }
}
