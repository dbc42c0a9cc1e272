//! A retention, and how far back each of its levels really reaches.

use std::time::Duration;

use strongroom_pool::codec::Reader;

use crate::rows::put_varint;
use crate::{Result, Retention, StoreError};

/// How far apart, in seconds, the instants of each level are, finest first.
const WIDTHS: [u64; 5] = [1, 60, 3600, 86_400, 30 * 86_400];

/// See the module's description. Seconds throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// How old the instants of each level may become.
    spans: [u64; 5],
    /// Before these a level has nothing, as an earlier retention had given it up by then.
    floors: [u64; 5],
}

impl Schedule {
    pub(crate) fn new(retention: &Retention) -> Self {
        Self {
            spans: retention.spans().map(|span| span.as_secs()),
            floors: [0; 5],
        }
    }

    pub(crate) fn retention(&self) -> Retention {
        let [second, minute, hour, day, month] = self.spans.map(Duration::from_secs);
        Retention {
            every_second: second,
            every_minute: minute,
            every_hour: hour,
            every_day: day,
            every_month: month,
        }
    }

    /// Seconds in which every instant is kept.
    pub(crate) fn window(&self) -> u64 {
        self.spans[0]
    }

    /// What takes its place from `now` on. A level that is to reach further back begins with what there is.
    pub(crate) fn followed_by(&self, retention: &Retention, now: u64) -> Self {
        let mut next = Self::new(retention);
        let mut reach = u64::MAX;
        for level in 0..WIDTHS.len() {
            let oldest = now.saturating_sub(self.spans[level]);
            reach = reach.min(oldest.max(self.floors[level]));
            let longer = next.spans[level] > self.spans[level];
            next.floors[level] = if longer { reach } else { self.floors[level] };
        }
        next
    }

    /// Until which second an instant is kept, looked at from `now`, if the next one is of second `next`; None if it is not.
    pub(crate) fn keeps(&self, now: u64, second: u64, next: Option<u64>) -> Option<u64> {
        let age = now.saturating_sub(second);
        let counts = |level: &usize| age <= self.spans[*level] && second >= self.floors[*level];
        let level = (0..WIDTHS.len()).find(counts)?;
        let width = WIDTHS[level];
        let last = next.is_none_or(|next| next / width != second / width);
        last.then(|| second.saturating_add(self.spans[level]))
    }

    /// Spans, then floors, as varints.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        for number in self.spans.iter().chain(&self.floors) {
            put_varint(&mut out, *number);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let mut five = || {
            let mut numbers = [0; 5];
            for number in &mut numbers {
                *number = reader.varint().ok()?;
            }
            Some(numbers)
        };
        let (spans, floors) = (five(), five());
        match (spans, floors) {
            (Some(spans), Some(floors)) if reader.is_empty() => Ok(Self { spans, floors }),
            _ => Err(StoreError::Corrupt {
                what: "index: damaged retention row".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn schedule() -> Schedule {
        Schedule::new(&Retention {
            every_second: Duration::from_secs(60),
            every_minute: Duration::from_secs(HOUR),
            every_hour: Duration::ZERO,
            every_day: Duration::ZERO,
            every_month: Duration::ZERO,
        })
    }

    #[test]
    fn the_last_instant_of_each_minute_is_kept_behind_the_window() {
        let (schedule, now) = (schedule(), 100 * HOUR);
        assert_eq!(schedule.keeps(now, now - 60, Some(now - 59)), Some(now));
        let minute = now - 120;
        assert_eq!(schedule.keeps(now, minute, Some(minute + 5)), None);
        let kept = schedule.keeps(now, minute + 5, Some(minute + 60));
        assert_eq!(kept, Some(minute + 5 + HOUR));
        assert_eq!(schedule.keeps(now, now - HOUR - 1, None), None);
    }

    #[test]
    fn a_longer_window_promises_nothing_that_was_given_up() {
        let now = 100 * HOUR;
        let long = Retention::window(Duration::from_secs(10 * HOUR));
        let longer = schedule().followed_by(&long, now);
        assert_eq!(longer.keeps(now, now - 61, Some(now - 60)), None);
        assert!(longer.keeps(now, now - 60, Some(now - 59)).is_some());
        let later = now + 5 * HOUR;
        assert!(longer.keeps(later, now + 1, Some(now + 2)).is_some());
        assert_eq!(Schedule::decode(&longer.encode()).unwrap(), longer);
        let row = longer.encode();
        assert!(Schedule::decode(&row[..row.len() - 1]).is_err());
    }

    #[test]
    fn a_coarse_level_that_is_new_begins_with_what_finer_ones_kept() {
        let now = 100 * HOUR;
        let mut retention = schedule().retention();
        retention.every_hour = Duration::from_secs(50 * HOUR);
        let next = schedule().followed_by(&retention, now);
        let later = now + 2 * HOUR;
        assert!(next.keeps(later, now - HOUR, Some(now)).is_some());
        assert_eq!(next.keeps(later, now - HOUR - 1, Some(now)), None);
    }
}
