//! Finding files by their 8.3 names, which no row knows: only a name that looks made and is not there otherwise is worth
//! a walk through its directory.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_store::{Inode, View};

use crate::names::{may_be_made, short_name};
use crate::quota::next_key;
use crate::rows::{self, NameEntry, NameRow};
use crate::{CaseMode, Result, Vfs};

/// Name rows read at once.
const BATCH: usize = 512;
/// How long a name comes back with a file that is made anew by its 8.3 name, as programs do that save by replacing
/// (MS-FSA 2.1.1.1, the tunnel cache; Windows waits as long).
const REMEMBERED_FOR: Duration = Duration::from_secs(15);
const REMEMBERED_MAX: usize = 64;

/// Long names of files that were found by their 8.3 names lately.
#[derive(Debug, Default)]
pub(crate) struct ShortNames(Mutex<VecDeque<Remembered>>);

#[derive(Debug)]
struct Remembered {
    directory: Inode,
    short: String,
    long: String,
    until: Duration,
}

impl ShortNames {
    fn remember(&self, remembered: Remembered) {
        let mut all = self.0.lock();
        all.retain(|one| one.directory != remembered.directory || one.short != remembered.short);
        if all.len() == REMEMBERED_MAX {
            all.pop_front();
        }
        all.push_back(remembered);
    }

    fn long(&self, directory: Inode, short: &str, now: Duration) -> Option<String> {
        let mut all = self.0.lock();
        all.retain(|one| one.until > now);
        let mut same = all
            .iter()
            .filter(|one| one.directory == directory && one.short.eq_ignore_ascii_case(short));
        same.next().map(|one| one.long.clone())
    }
}

impl Vfs {
    /// What a name means in a directory to somebody who opens it, be it an 8.3 name.
    pub(crate) fn lookup_to_open(
        &self,
        view: &View,
        directory: Inode,
        name: &str,
        case: CaseMode,
    ) -> Result<Option<NameEntry>> {
        let found = self.lookup(view, directory, name, case)?;
        self.or_short(found, view, directory, name, case)
    }

    /// As [`Self::lookup_to_open`] for somebody who makes what is not there.
    pub(crate) fn lookup_to_make(
        &self,
        view: &View,
        directory: Inode,
        name: &str,
        case: CaseMode,
    ) -> Result<Option<NameEntry>> {
        let found = self.lookup_own_form(view, directory, name, case)?;
        self.or_short(found, view, directory, name, case)
    }

    fn or_short(
        &self,
        found: Option<NameEntry>,
        view: &View,
        directory: Inode,
        name: &str,
        case: CaseMode,
    ) -> Result<Option<NameEntry>> {
        if found.is_some() || case == CaseMode::Exact || !may_be_made(name) {
            return Ok(found);
        }
        let mut found = Ok(None);
        self.env.block_in_place(&mut || {
            found = self.find_short(view, directory, name);
        });
        let found = found?;
        if let Some(entry) = &found {
            self.short_names.remember(Remembered {
                directory,
                short: name.to_ascii_uppercase(),
                long: entry.name.clone(),
                until: self.env.monotonic() + REMEMBERED_FOR,
            });
        }
        Ok(found)
    }

    /// The name under which something is made: the long one, where the file that had it was just known by this one.
    pub(crate) fn name_to_make(&self, directory: Inode, name: &str, case: CaseMode) -> String {
        let long = if case == CaseMode::Insensitive && may_be_made(name) {
            let now = self.env.monotonic();
            self.short_names.long(directory, name, now)
        } else {
            None
        };
        long.unwrap_or_else(|| name.to_owned())
    }

    /// The one name of the directory whose 8.3 name this is.
    fn find_short(&self, view: &View, directory: Inode, short: &str) -> Result<Option<NameEntry>> {
        let mut found = None;
        let mut start = rows::inode_key(directory);
        let end = rows::end_of(directory);
        loop {
            let page = self.store.at(view).scan(rows::NAMES, &start, &end, BATCH)?;
            let Some((last, _)) = page.last() else {
                return Ok(found);
            };
            start = next_key(last);
            for (_, row) in &page {
                for entry in NameRow::decode(row)?.entries {
                    let made = short_name(&entry.name);
                    if made.is_some_and(|made| made.eq_ignore_ascii_case(short))
                        && found.replace(entry).is_some()
                    {
                        return Ok(None);
                    }
                }
            }
        }
    }
}
