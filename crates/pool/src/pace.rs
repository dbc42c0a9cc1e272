//! Work in the background stands back while clients are busy, also in the middle of a segment.

use std::time::Duration;

use crate::pool::Pool;

/// Work for so long between two looks at what clients do.
const SLICE: Duration = Duration::from_millis(20);
/// Clients are busy when they move more than so many bytes a second.
const BUSY: u128 = 1 << 20;
/// For each second of work so many are left to busy clients.
const STAND_BACK: u32 = 3;
/// The longest pause, after one piece that took long.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// After so long without work a new piece begins.
const APART: Duration = Duration::from_secs(1);

/// Where a piece of work began, and what clients had moved by then.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    since: Duration,
    clients: u64,
    /// When somebody asked last.
    last: Duration,
}

impl Pace {
    /// How long to pause now, when clients have moved `clients` bytes so far.
    fn pause(&mut self, now: Duration, clients: u64) -> Option<Duration> {
        let took = now.saturating_sub(self.since);
        let is_new = now.saturating_sub(self.last) > APART;
        self.last = now;
        if is_new {
            (self.since, self.clients) = (now, clients);
            return None;
        }
        if took < SLICE {
            return None;
        }
        let moved = u128::from(clients.saturating_sub(self.clients));
        let is_busy = moved * 1000 > BUSY * took.as_millis();
        let pause = is_busy.then(|| (took * STAND_BACK).min(PAUSE_MAX));
        let ends = now + pause.unwrap_or_default();
        (self.since, self.clients, self.last) = (ends, clients, ends);
        pause
    }
}

impl Pool {
    /// To be called between two small pieces of work in the background: leaves the disks to clients when they are busy.
    pub(crate) fn give_way(&self) {
        let (now, clients) = (self.env.monotonic(), self.activity.total());
        let pause = self.pace.lock().pause(now, clients);
        if let Some(pause) = pause {
            self.env.pause(pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_clients_have_three_quarters_of_the_time() {
        let millis = Duration::from_millis;
        let (mut pace, mut now, mut worked, mut clients) = (Pace::default(), millis(5000), 0, 0);
        for _ in 0..1000 {
            let pause = pace.pause(now, clients).unwrap_or_default();
            now += pause + millis(4);
            worked += 4;
            clients += 2 * (u64::try_from(pause.as_micros()).unwrap() + 4000);
        }
        let share = worked * 100 / (now - millis(5000)).as_millis();
        assert!((20..=30).contains(&share), "{share} percent");
    }

    #[test]
    fn nobody_is_waited_for_who_does_little() {
        let (mut pace, mut now) = (Pace::default(), Duration::from_secs(5));
        for step in 0..1000u64 {
            assert_eq!(pace.pause(now, step * 3000), None, "{step}");
            now += Duration::from_millis(4);
        }
    }

    #[test]
    fn what_was_done_long_ago_is_not_waited_for() {
        let mut pace = Pace::default();
        for at in 1..100 {
            assert_eq!(pace.pause(Duration::from_secs(2 * at), at << 30), None);
        }
    }
}
