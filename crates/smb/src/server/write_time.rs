//! When a file was written, as the client that writes it is told.
//!
//! Clients of Windows servers expect that the time of a write shows late and seldom, so that their own caches of it do
//! not fall with every write: two seconds after the first write through an open, then not again until the client
//! flushes, sets something, or closes the file, which counts as written then. Everybody else sees the exact time.

use std::time::Duration;

use parking_lot::Mutex;
use strongroom_vfs::FileTime;

/// How late the first write shows.
const DELAY: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(crate) struct WriteTime(Mutex<Shown>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Shown {
    /// The file's own time.
    #[default]
    Exact,
    /// The time from before the first write, until the monotonic time when that shows.
    Before { modified: FileTime, until: Duration },
    /// The time of the first write, although there were others.
    First(FileTime),
}

impl WriteTime {
    /// A write is about to be done; `modified` looks the file's time up, which few writes need.
    pub(crate) fn writes(&self, now: Duration, modified: impl FnOnce() -> Option<FileTime>) {
        let mut shown = self.0.lock();
        match *shown {
            Shown::Exact => {
                if let Some(modified) = modified() {
                    let until = now + DELAY;
                    *shown = Shown::Before { modified, until };
                }
            }
            Shown::Before { until, .. } if now >= until => {
                *shown = modified().map_or(Shown::Exact, Shown::First);
            }
            Shown::Before { .. } | Shown::First(_) => {}
        }
    }

    /// The client asked for what was written to count.
    pub(crate) fn settle(&self) {
        *self.0.lock() = Shown::Exact;
    }

    /// What the client is told where the file's own time is `exact`.
    pub(crate) fn shown(&self, now: Duration, exact: FileTime) -> FileTime {
        match *self.0.lock() {
            Shown::Before { modified, until } if now < until => modified,
            Shown::Exact | Shown::Before { .. } => exact,
            Shown::First(modified) => modified,
        }
    }

    /// The file is closed with writes that never showed.
    pub(crate) fn is_hiding(&self) -> bool {
        matches!(*self.0.lock(), Shown::First(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE: FileTime = FileTime(1);
    const FIRST: FileTime = FileTime(2);
    const SECOND: FileTime = FileTime(3);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_write_shows_late_and_the_second_only_when_asked_for() {
        let time = WriteTime::default();
        assert_eq!(time.shown(at(9), MADE), MADE);
        time.writes(at(10), || Some(MADE));
        assert_eq!(time.shown(at(11), FIRST), MADE);
        assert_eq!(time.shown(at(12), FIRST), FIRST);
        time.writes(at(13), || Some(FIRST));
        assert_eq!(time.shown(at(60), SECOND), FIRST);
        assert!(time.is_hiding());
        time.settle();
        assert_eq!(time.shown(at(61), SECOND), SECOND);
        assert!(!time.is_hiding());
    }

    #[test]
    fn writes_in_quick_succession_show_as_one() {
        let time = WriteTime::default();
        time.writes(at(10), || Some(MADE));
        time.writes(at(11), || panic!("nothing to look up"));
        assert_eq!(time.shown(at(12), SECOND), SECOND);
        assert!(!time.is_hiding());
    }
}
