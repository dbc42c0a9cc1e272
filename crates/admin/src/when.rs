//! Times as people write them: a time of today, how long ago, a date, or both; in the machine's time zone, or with a `Z`.

use std::time::Duration;

use strongroom_vfs::{CivilTime, FileTime};

/// Units of "20 minutes ago" and "24h", with their seconds.
const UNITS: [(&[&str], u64); 7] = [
    (&["s", "sec", "second", "seconds"], 1),
    (&["m", "min", "minute", "minutes"], 60),
    (&["h", "hour", "hours"], 3_600),
    (&["d", "day", "days"], 86_400),
    (&["w", "week", "weeks"], 7 * 86_400),
    (&["month", "months"], 30 * 86_400),
    (&["y", "year", "years"], 365 * 86_400),
];

/// Where and when somebody writes a time.
#[derive(Debug, Clone, Copy)]
pub struct Here {
    /// Seconds since 1970.
    pub now: i64,
    /// How far local time is ahead of UTC at a time, in seconds.
    pub offset: fn(i64) -> i64,
}

impl Here {
    /// This machine, now.
    pub fn machine() -> Here {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = since.map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
        Here {
            now,
            offset: local_offset,
        }
    }

    /// Seconds since 1970 of a time: "14:03:27", "yesterday 14:03", "2026-11-24", "2026-11-24 14:03:27",
    /// "2026-11-24T14:03:27Z", "20 minutes ago", "now". A time of day that is yet to come means yesterday's.
    pub fn parse(&self, text: &str) -> Option<u64> {
        let text = text.trim().to_ascii_lowercase();
        let seconds = if text == "now" {
            Some(self.now)
        } else if let Some(ago) = text.strip_suffix("ago") {
            let ago = parse_duration(ago)?;
            self.now.checked_sub(i64::try_from(ago.as_secs()).ok()?)
        } else {
            self.parse_date(&text)
        };
        seconds.and_then(|seconds| u64::try_from(seconds).ok())
    }

    fn parse_date(&self, text: &str) -> Option<i64> {
        let (text, utc) = match text.strip_suffix('z') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (date, time) = match text.split_once(' ').or_else(|| at_letter(text)) {
            Some((date, time)) => (Some(date.trim()), Some(time.trim())),
            None if text.contains(':') => (None, Some(text)),
            None => (Some(text), None),
        };
        let (hour, minute, second) = match time {
            Some(time) => parse_clock(time)?,
            None => (0, 0, 0),
        };
        let day = match date {
            None | Some("today") => self.day(0),
            Some("yesterday") => self.day(1),
            Some(date) => parse_day(date)?,
        };
        let civil = CivilTime {
            hour,
            minute,
            second,
            ..day
        };
        let found = self.seconds_of(civil, utc)?;
        if date.is_none() && found > self.now {
            return found.checked_sub(86_400);
        }
        Some(found)
    }

    /// The date of some days ago.
    fn day(&self, ago: i64) -> CivilTime {
        let local = self.now + (self.offset)(self.now) - ago * 86_400;
        FileTime::from_unix(local, 0).civil()
    }

    fn seconds_of(&self, civil: CivilTime, utc: bool) -> Option<i64> {
        let (seconds, _) = civil.to_file_time()?.to_unix();
        if utc {
            return Some(seconds);
        }
        // The offset at that time, which is found by the offset about then.
        let about = seconds - (self.offset)(seconds);
        Some(seconds - (self.offset)(about))
    }

    /// A time for people, local.
    pub fn show(&self, seconds: u64) -> String {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let local = seconds.saturating_add((self.offset)(seconds));
        let CivilTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = FileTime::from_unix(local, 0).civil();
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// A date and a time with a `T` between them (RFC 3339).
fn at_letter(text: &str) -> Option<(&str, &str)> {
    let (date, time) = text.split_once('t')?;
    date.starts_with(|c: char| c.is_ascii_digit())
        .then_some((date, time))
}

fn parse_clock(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split(':');
    let mut number = || parts.next().map(|part| part.trim().parse().ok());
    let hour = number()??;
    let minute = number()??;
    let second = match number() {
        Some(second) => second?,
        None => 0,
    };
    parts.next().is_none().then_some((hour, minute, second))
}

fn parse_day(text: &str) -> Option<CivilTime> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    Some(CivilTime {
        year: year.parse().ok()?,
        month: month.parse().ok()?,
        day: day.parse().ok()?,
        hour: 0,
        minute: 0,
        second: 0,
    })
}

/// "20 minutes", "24h", "1 day 6 hours"; a number alone is seconds, and 0 is nothing.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds: u64 = 0;
    let mut seen = false;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let after = after.trim_start();
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (word, after) = after.split_at(letters);
        let word = word.to_ascii_lowercase();
        let unit = match &*word {
            "" => 1,
            word => UNITS.iter().find(|(words, _)| words.contains(&word))?.1,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        seen = true;
        rest = after.trim_start();
    }
    seen.then(|| Duration::from_secs(seconds))
}

/// How far the machine's local time is ahead of UTC at a time.
#[expect(
    unsafe_code,
    reason = "the C library alone knows the machine's time zone, and its call has no safe wrapper here"
)]
fn local_offset(seconds: i64) -> i64 {
    let time: libc::time_t = seconds;
    let mut broken = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to live values of the right types; `localtime_r` writes nothing but `broken`.
    let done = unsafe { libc::localtime_r(&raw const time, broken.as_mut_ptr()) };
    if done.is_null() {
        return 0;
    }
    // SAFETY: all bytes were zero, which is a valid `tm`, or written by the call.
    let broken = unsafe { broken.assume_init() };
    broken.tm_gmtoff
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24 15:30:00 in a zone an hour ahead of UTC.
    const HERE: Here = Here {
        now: 1_795_530_600,
        offset: |_| 3_600,
    };

    #[test]
    fn times_are_read_as_people_mean_them() {
        let now = 1_795_530_600;
        for (text, wanted) in [
            ("now", now),
            ("20 minutes ago", now - 1_200),
            ("1 day 6 hours ago", now - 30 * 3_600),
            ("90s ago", now - 90),
            ("15:03:27", now - 1_593),
            ("15:03", now - 1_620),
            ("today 15:03", now - 1_620),
            ("16:00", now + 1_800 - 86_400),
            ("yesterday 15:30", now - 86_400),
            ("2026-11-24", now - 55_800),
            ("2026-11-24 15:03:27", now - 1_593),
            ("2026-11-24T14:03:27Z", now - 1_593),
            ("2026-11-24T15:03:27", now - 1_593),
        ] {
            assert_eq!(HERE.parse(text), Some(wanted), "{text}");
        }
        for text in [
            "",
            "soon",
            "25:00",
            "2026-13-01",
            "2026-11-24 15",
            "ago",
            "x ago",
        ] {
            assert_eq!(HERE.parse(text), None, "{text}");
        }
        assert_eq!(HERE.show(now), "2026-11-24 15:30:00");
    }

    #[test]
    fn spans_are_read_in_all_units() {
        let seconds = |text| parse_duration(text).map(|span| span.as_secs());
        assert_eq!(seconds("24h"), Some(86_400));
        assert_eq!(seconds("7 days"), Some(604_800));
        assert_eq!(seconds("1h30m"), Some(5_400));
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds(""), None);
        assert_eq!(seconds("5 parsecs"), None);
        assert_eq!(seconds("99999999999999999999 y"), None);
    }
}
