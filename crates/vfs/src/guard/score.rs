//! What speaks against one user or one address: which files became noise by it, and what else it did to them.
//!
//! Each piece of evidence has a weight, and all of them fade, so that the rare file that an honest program turns to noise
//! never adds up, while slow attackers still do: at one file in a quarter of an hour the sum passes the limit within a day.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use strongroom_store::Inode;

/// Evidence halves in this time.
const HALF_LIFE: Duration = Duration::from_secs(12 * 3_600);
/// The sum at which an alarm is raised.
pub(crate) const LIMIT: f64 = 30.0;
/// A file that became noise.
const SPOILT: f64 = 1.0;
/// A file that got an ending that its kind does not have. Names alone never make an alarm.
const RENAMED: f64 = 0.25;
const RENAMED_MAX: f64 = LIMIT / 2.0;
/// Files that are remembered, so that none counts twice, and paths that are told.
const FILES_MAX: usize = 4_096;
const PATHS_MAX: usize = 64;
/// Endings whose files are counted apart.
const ENDINGS_MAX: usize = 32;
/// Files of one ending before it counts.
const ENDING_LEAST: u32 = 5;

/// One thing that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence<'a> {
    /// The content became noise, in place or by another file that took the name.
    Spoilt,
    /// A new file was filled with noise.
    NoiseMade,
    /// A file that was no noise was deleted.
    Deleted,
    /// A file got one more ending, this.
    Ending(&'a str),
    /// A file that nobody should touch was changed.
    Decoy,
}

/// Sums for one user or address.
#[derive(Debug, Default)]
pub(crate) struct Account {
    sum: f64,
    renamed: f64,
    /// Of noise made and files deleted the smaller number counts: a copy that replaces its original.
    made: f64,
    deleted: f64,
    last: Duration,
    counted: HashSet<Inode>,
    endings: HashMap<String, u32>,
    paths: Vec<String>,
    decoy: bool,
    /// When the evidence began.
    pub(crate) first: Option<crate::FileTime>,
}

impl Account {
    /// Takes a piece of evidence; true if the limit is passed. The path is asked for only if it is to be told.
    pub(crate) fn take(
        &mut self,
        evidence: Evidence<'_>,
        inode: Inode,
        now: (Duration, crate::FileTime),
        path: impl FnOnce() -> String,
    ) -> bool {
        self.fade(now.0);
        if !self.weigh(evidence, inode) {
            return false;
        }
        self.first.get_or_insert(now.1);
        if self.paths.len() < PATHS_MAX {
            self.paths.push(path());
        }
        self.is_over()
    }

    /// False where nothing was added.
    fn weigh(&mut self, evidence: Evidence<'_>, inode: Inode) -> bool {
        match evidence {
            Evidence::Decoy => {
                self.decoy = true;
                return true;
            }
            Evidence::Ending(ending) => return self.weigh_ending(ending),
            Evidence::Spoilt | Evidence::NoiseMade | Evidence::Deleted => {}
        }
        if self.counted.len() >= FILES_MAX || !self.counted.insert(inode) {
            return false;
        }
        match evidence {
            Evidence::Spoilt => self.sum += SPOILT,
            Evidence::NoiseMade => self.made += SPOILT,
            Evidence::Deleted => self.deleted += SPOILT,
            Evidence::Ending(_) | Evidence::Decoy => {}
        }
        true
    }

    fn weigh_ending(&mut self, ending: &str) -> bool {
        if self.endings.len() >= ENDINGS_MAX && !self.endings.contains_key(ending) {
            return false;
        }
        let count = self.endings.entry(ending.to_owned()).or_default();
        *count += 1;
        if *count < ENDING_LEAST {
            return false;
        }
        self.renamed += RENAMED;
        true
    }

    fn fade(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.last);
        self.last = now;
        let left = 0.5_f64.powf(passed.as_secs_f64() / HALF_LIFE.as_secs_f64());
        for sum in [
            &mut self.sum,
            &mut self.renamed,
            &mut self.made,
            &mut self.deleted,
        ] {
            *sum *= left;
        }
        if passed >= HALF_LIFE && self.total() < 0.5 && self.made < 0.5 && !self.decoy {
            *self = Self {
                last: now,
                ..Self::default()
            };
        }
    }

    /// Whether new noise was made, so that deletions are worth a look.
    pub(crate) fn watches_deletions(&self) -> bool {
        self.made >= 1.0
    }

    fn total(&self) -> f64 {
        self.sum + self.renamed.min(RENAMED_MAX) + self.made.min(self.deleted)
    }

    fn is_over(&self) -> bool {
        self.decoy || self.total() >= LIMIT
    }

    pub(crate) fn touched_decoy(&self) -> bool {
        self.decoy
    }

    /// Files that it speaks of, those first that were first.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.paths.clone()
    }

    /// Files that became noise in place, or whose noisy copies took their place.
    pub(crate) fn files(&self) -> u64 {
        self.counted.len() as u64
    }

    /// How old the last evidence is.
    pub(crate) fn last(&self) -> Duration {
        self.last
    }
}

/// The ending that a rename added or put in the place of another, in lower case; None where it is an everyday one.
pub(crate) fn new_ending(from: &str, to: &str) -> Option<String> {
    let ending = |name: &str| {
        name.rsplit_once('.')
            .map(|(_, ending)| ending.to_lowercase())
    };
    let (old, new) = (ending(from)?, ending(to)?);
    let everyday = EVERYDAY.contains(&new.as_str()) || new.chars().all(|c| c.is_ascii_digit());
    (old != new && !everyday && !new.is_empty()).then_some(new)
}

/// Endings that people and programs give to files that had another.
const EVERYDAY: &[&str] = &[
    "bak",
    "old",
    "orig",
    "tmp",
    "temp",
    "part",
    "partial",
    "crdownload",
    "download",
    "swp",
    "save",
    "txt",
    "md",
    "csv",
    "json",
    "xml",
    "html",
    "htm",
    "log",
    "doc",
    "docx",
    "xls",
    "xlsx",
    "ppt",
    "pptx",
    "odt",
    "ods",
    "odp",
    "pdf",
    "jpg",
    "jpeg",
    "png",
    "gif",
    "tif",
    "tiff",
    "heic",
    "webp",
    "mp3",
    "mp4",
    "mov",
    "mkv",
    "avi",
    "wav",
    "flac",
    "zip",
    "7z",
    "gz",
    "xz",
    "zst",
    "bz2",
    "rar",
    "tar",
    "iso",
    "py",
    "rs",
    "c",
    "h",
    "js",
    "ts",
    "css",
    "db",
    "sqlite",
    "dwg",
    "psd",
    "eml",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileTime;

    fn at(minutes: u64) -> (Duration, FileTime) {
        let time = Duration::from_secs(minutes * 60);
        (time, FileTime(time.as_secs() * 10_000_000))
    }

    fn take(account: &mut Account, evidence: Evidence<'_>, file: u64, minutes: u64) -> bool {
        account.take(evidence, Inode(file), at(minutes), || format!("f{file}"))
    }

    /// Files after which the alarm is raised; None if it never is.
    fn raised(step: u64, files: u64, evidence: Evidence<'_>) -> Option<u64> {
        let mut account = Account::default();
        (0..files).find(|file| take(&mut account, evidence, *file, file * step))
    }

    #[test]
    fn thirty_files_at_once_are_too_many_and_slow_ones_are_found_within_a_day() {
        assert_eq!(raised(0, 100, Evidence::Spoilt), Some(29));
        assert!(raised(1, 100, Evidence::Spoilt).is_some_and(|file| file < 35));
        assert!(raised(15, 200, Evidence::Spoilt).is_some_and(|file| file * 15 < 24 * 60));
        assert_eq!(raised(60, 1_000, Evidence::Spoilt), None);
    }

    #[test]
    fn one_file_counts_once() {
        let mut account = Account::default();
        assert!(!(0..1_000).any(|_| take(&mut account, Evidence::Spoilt, 1, 0)));
    }

    #[test]
    fn copies_count_only_with_the_deletion_of_what_they_replace() {
        assert_eq!(raised(0, 4_000, Evidence::NoiseMade), None);
        assert_eq!(raised(0, 4_000, Evidence::Deleted), None);
        let mut account = Account::default();
        let mut both = (0..100_u64).filter(|file| {
            let made = take(&mut account, Evidence::NoiseMade, 1_000 + file, 0);
            take(&mut account, Evidence::Deleted, *file, 0) || made
        });
        assert_eq!(both.next(), Some(29));
    }

    #[test]
    fn names_alone_raise_no_alarm() {
        assert_eq!(raised(0, 10_000, Evidence::Ending("locked")), None);
        let mut account = Account::default();
        (0..200).for_each(|file| {
            take(&mut account, Evidence::Ending("locked"), file, 0);
        });
        let with_content =
            (1_000..1_100).find(|file| take(&mut account, Evidence::Spoilt, *file, 0));
        assert_eq!(with_content, Some(1_014));
    }

    #[test]
    fn a_decoy_is_enough() {
        assert_eq!(raised(0, 1, Evidence::Decoy), Some(0));
    }

    #[test]
    fn endings_are_told_from_everyday_ones() {
        assert_eq!(
            new_ending("a.docx", "a.docx.Locked").as_deref(),
            Some("locked")
        );
        assert_eq!(new_ending("a.docx", "b.xyz").as_deref(), Some("xyz"));
        for (from, to) in [
            ("a.docx", "b.docx"),
            ("a.jpeg", "a.jpg"),
            ("a.log", "a.log.1"),
            ("a", "a.locked"),
            ("a.c", "a.c.orig"),
        ] {
            assert_eq!(new_ending(from, to), None, "{from} to {to}");
        }
    }
}
