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

/// A time as a calendar and a clock in UTC show it, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CivilTime {
    pub year: i64,
    /// 1 to 12, 1 to 31.
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

const SECONDS_A_DAY: i64 = 86_400;

impl CivilTime {
    /// None for a date or a time that does not exist.
    pub fn to_file_time(self) -> Option<FileTime> {
        let days = days_from_civil(self.year, i64::from(self.month), i64::from(self.day));
        let seconds =
            i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let time = FileTime::from_unix(days.checked_mul(SECONDS_A_DAY)?.checked_add(seconds)?, 0);
        (FileTime::civil(time) == self).then_some(time)
    }
}

/// Days since 1970 of a date of the Gregorian calendar. Years begin in March here, so that the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year.clamp(0, 1 << 20) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = (month + 9).rem_euclid(12);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

impl FileTime {
    /// What a calendar in UTC says, cut to seconds.
    pub fn civil(self) -> CivilTime {
        let (seconds, _) = self.to_unix();
        let days = seconds.div_euclid(SECONDS_A_DAY) + 719_468;
        let of_day = small(seconds.rem_euclid(SECONDS_A_DAY));
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = (shifted + 2).rem_euclid(12) + 1;
        CivilTime {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month: small(month),
            day: small(day_of_year - (153 * shifted + 2) / 5 + 1),
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }
}

/// A part of a date or time, none of which is negative or large.
fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(0)
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
    fn dates_are_those_of_the_calendar() {
        let civil = |year, month, day, hour, minute, second| CivilTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        };
        for (unix, date) in [
            (0, civil(1970, 1, 1, 0, 0, 0)),
            (951_825_599, civil(2000, 2, 29, 11, 59, 59)),
            (951_868_800, civil(2000, 3, 1, 0, 0, 0)),
            (1_795_529_007, civil(2026, 11, 24, 14, 3, 27)),
            (4_107_542_399, civil(2100, 2, 28, 23, 59, 59)),
            (4_107_542_400, civil(2100, 3, 1, 0, 0, 0)),
        ] {
            let time = FileTime::from_unix(unix, 0);
            assert_eq!(time.civil(), date);
            assert_eq!(date.to_file_time(), Some(time));
        }
        for wrong in [
            civil(2026, 2, 29, 0, 0, 0),
            civil(2026, 13, 1, 0, 0, 0),
            civil(2026, 0, 1, 0, 0, 0),
            civil(2026, 1, 1, 24, 0, 0),
            civil(2026, 1, 1, 0, 60, 0),
        ] {
            assert_eq!(wrong.to_file_time(), None, "{wrong:?}");
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
