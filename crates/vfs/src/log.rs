//! Who changed what, when, and from where.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use strongroom_store::{Aspect, Inode, Instant, LoggedChange, ObjectId, SessionId, Txg, View};

use crate::differences::joined_path;
use crate::names::fold;
use crate::rows::{self, Attr, NameRow};
use crate::{FileTime, Result, SessionRecord, Share, Vfs, VfsError};

/// Values looked at of one row.
const OF_ROW: usize = 4_096;
/// Changes looked at for one question.
const LOOKED_AT_MAX: usize = 4_000_000;

/// What happened to a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    Created,
    Deleted,
    Renamed,
    Written,
    Attributes,
    Security,
    Streams,
    ExtendedAttributes,
}

impl fmt::Display for EventKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Renamed => "renamed",
            Self::Written => "written",
            Self::Attributes => "attributes",
            Self::Security => "security",
            Self::Streams => "streams",
            Self::ExtendedAttributes => "extended attributes",
        })
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEvent {
    /// To the second inside the window in which every second is kept.
    pub time: FileTime,
    pub what: EventKind,
    /// Today's path, or the last one that is known, from the share's root with `/`.
    pub path: String,
    pub session: SessionId,
    /// Empty for the system itself.
    pub user: String,
    pub address: String,
    pub protocol: String,
}

/// Which lines are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogFilter {
    pub since: Option<FileTime>,
    pub until: Option<FileTime>,
    /// A user's name, without case.
    pub user: Option<String>,
    /// A client's address, with or without its port.
    pub address: Option<String>,
    pub session: Option<SessionId>,
    pub max: usize,
}

/// A log being put together.
struct Reader<'a> {
    vfs: &'a Vfs,
    share: &'a Share,
    filter: &'a LogFilter,
    instants: Vec<Instant>,
    sessions: HashMap<SessionId, Option<SessionRecord>>,
    parents: HashMap<Inode, Option<(Inode, String)>>,
    events: Vec<HistoryEvent>,
}

impl Vfs {
    /// What was done to a file, or in and below a directory, newest first, as far back as the log of changes reaches.
    ///
    /// Errors: `NotFound` for a path that is not there and never was as far as is known.
    pub fn history_log(
        &self,
        share: &Share,
        path: &str,
        filter: &LogFilter,
    ) -> Result<Vec<HistoryEvent>> {
        let instants = self.instants(share, FileTime(0), FileTime(u64::MAX), usize::MAX)?;
        let mut reader = Reader {
            vfs: self,
            share,
            filter,
            instants,
            sessions: HashMap::new(),
            parents: HashMap::new(),
            events: Vec::new(),
        };
        let meant = self.meant_by(share, path)?;
        let directory = match self.stat_at(share, &View::Now, path)? {
            Some(stat) => stat.is_directory,
            None => false,
        };
        if directory {
            reader.read_tree(path)?;
        } else {
            reader.read_files(&meant)?;
        }
        Ok(reader.events)
    }

    /// Every file that a path's last name meant, as far as is known.
    fn meant_by(&self, share: &Share, path: &str) -> Result<BTreeSet<Inode>> {
        let Some((above, name)) = split_last(path) else {
            return Ok([share.root].into());
        };
        let above = self.stat_at(share, &View::Now, above)?;
        let above = above.ok_or(VfsError::PathNotFound)?;
        let key = rows::key_of(above.inode, fold(name).as_bytes());
        let mut meant = BTreeSet::new();
        for value in self.store.values_of(rows::NAMES, &key, OF_ROW)? {
            if let Some(row) = &value.value {
                let entries = NameRow::decode(row)?.entries;
                meant.extend(entries.into_iter().map(|entry| entry.inode));
            }
        }
        if meant.is_empty() {
            return Err(VfsError::NotFound);
        }
        Ok(meant)
    }

    /// Directory and name of an inode, as they are or were last.
    fn last_name(&self, inode: Inode) -> Result<Option<(Inode, String)>> {
        let values = self
            .store
            .values_of(rows::ATTRIBUTES, &rows::inode_key(inode), 1)?;
        let Some(row) = values.first().and_then(|value| value.value.as_ref()) else {
            return Ok(None);
        };
        let attr = Attr::decode(row)?;
        if attr.name.is_empty() && values[0].ended.is_none() {
            return self.first_name_of(&View::Now, inode, &attr).map(Some);
        }
        Ok(Some((attr.parent, attr.name.to_string())))
    }
}

fn split_last(path: &str) -> Option<(&str, &str)> {
    if path.is_empty() {
        return None;
    }
    Some(path.rsplit_once('\\').unwrap_or(("", path)))
}

impl Reader<'_> {
    fn is_full(&self) -> bool {
        self.events.len() >= self.filter.max
    }

    /// When a group was closed, to the second; None where that is not wanted.
    fn time_of(&self, txg: Txg) -> FileTime {
        let place = self.instants.partition_point(|instant| instant.txg < txg);
        match self.instants.get(place) {
            Some(instant) => instant.time.into(),
            None => self.vfs.now(),
        }
    }

    fn session(&mut self, id: SessionId) -> Result<Option<SessionRecord>> {
        if let Some(known) = self.sessions.get(&id) {
            return Ok(known.clone());
        }
        let record = self.vfs.session(id)?;
        self.sessions.insert(id, record.clone());
        Ok(record)
    }

    /// Whether a line may be wanted, before anything is looked up for it.
    fn wants(&mut self, txg: Txg, session: SessionId) -> Result<bool> {
        let time = self.time_of(txg);
        let filter = self.filter;
        let second = 10_000_000;
        let early = filter.since.is_some_and(|since| time < since);
        let late = filter.until.is_some_and(|until| time.0 >= until.0 + second);
        if early || late || filter.session.is_some_and(|wanted| wanted != session) {
            return Ok(false);
        }
        if filter.user.is_none() && filter.address.is_none() {
            return Ok(true);
        }
        let Some(record) = self.session(session)? else {
            return Ok(false);
        };
        let user = |wanted: &String| fold(wanted) == fold(&record.info.user_name);
        let address = |wanted: &String| {
            let rest = record.info.address.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        Ok(filter.user.as_ref().is_none_or(user) && filter.address.as_ref().is_none_or(address))
    }

    /// All changes below a directory, from the log of changes.
    fn read_tree(&mut self, path: &str) -> Result<()> {
        let below = path.replace('\\', "/");
        let (mut before, mut looked_at) = (Txg(u64::MAX), 0);
        while !self.is_full() && looked_at < LOOKED_AT_MAX {
            let changes = self.vfs.store.changes_before(before)?;
            let Some(last) = changes.last() else { break };
            before = last.txg;
            looked_at += changes.len();
            for change in changes {
                if self.is_full() {
                    break;
                }
                self.add_change(&change, &below)?;
            }
            let since = self.filter.since;
            if since.is_some_and(|since| self.time_of(before) < since) {
                break;
            }
        }
        Ok(())
    }

    fn add_change(&mut self, change: &LoggedChange, below: &str) -> Result<()> {
        if !self.wants(change.txg, change.session)? {
            return Ok(());
        }
        let Some(path) = self.path_of(change.inode)? else {
            return Ok(());
        };
        let inside = below.is_empty()
            || path == below
            || path
                .strip_prefix(below)
                .is_some_and(|rest| rest.starts_with('/'));
        if inside {
            let what = self.kind_of(change)?;
            self.add(change.txg, change.session, what, path)?;
        }
        Ok(())
    }

    fn kind_of(&self, change: &LoggedChange) -> Result<EventKind> {
        Ok(match change.aspect {
            Aspect::Name => self.kind_of_naming(change.inode, change.txg)?,
            Aspect::Data { .. } => EventKind::Written,
            Aspect::Attributes => EventKind::Attributes,
            Aspect::Acl => EventKind::Security,
            Aspect::Stream => EventKind::Streams,
            Aspect::ExtendedAttributes => EventKind::ExtendedAttributes,
        })
    }

    /// A name that came or went: with its file, or to another name.
    fn kind_of_naming(&self, inode: Inode, txg: Txg) -> Result<EventKind> {
        let key = rows::inode_key(inode);
        let values = self.vfs.store.values_of(rows::ATTRIBUTES, &key, OF_ROW)?;
        let gone = values
            .first()
            .is_some_and(|newest| newest.ended.is_some_and(|(ended, _)| ended == txg));
        let made = values.last().is_some_and(|oldest| {
            oldest.began == txg && self.attr_is_first(oldest.value.as_deref())
        });
        Ok(match (gone, made) {
            (true, _) => EventKind::Deleted,
            (false, true) => EventKind::Created,
            (false, false) => EventKind::Renamed,
        })
    }

    /// Whether an attribute row is the first that its file ever had.
    fn attr_is_first(&self, row: Option<&[u8]>) -> bool {
        let attr = row.and_then(|row| Attr::decode(row).ok());
        attr.is_some_and(|attr| attr.version <= 1)
    }

    /// All that happened to some files, from their own rows.
    fn read_files(&mut self, files: &BTreeSet<Inode>) -> Result<()> {
        let mut found = Vec::new();
        for inode in files {
            let key = rows::inode_key(*inode);
            let values = self.vfs.store.values_of(rows::ATTRIBUTES, &key, OF_ROW)?;
            for (number, value) in values.into_iter().enumerate() {
                let first = self.attr_is_first(value.value.as_deref());
                let what = if first {
                    EventKind::Created
                } else {
                    EventKind::Attributes
                };
                found.push((value.began, value.began_by, what, *inode));
                // They come newest first; with the newest the file has gone.
                if let Some((txg, session)) = value.ended.filter(|_| number == 0) {
                    found.push((txg, session, EventKind::Deleted, *inode));
                }
            }
            let heads = self.vfs.store.versions_of(ObjectId::data(*inode), OF_ROW)?;
            for value in heads {
                found.push((value.began, value.began_by, EventKind::Written, *inode));
            }
        }
        found.sort_by_key(|(txg, ..)| std::cmp::Reverse(*txg));
        for (txg, session, what, inode) in found {
            if self.is_full() {
                break;
            }
            if self.wants(txg, session)?
                && let Some(path) = self.path_of(inode)?
            {
                self.add(txg, session, what, path)?;
            }
        }
        Ok(())
    }

    /// The path from the share's root; None for what is not below it.
    fn path_of(&mut self, inode: Inode) -> Result<Option<String>> {
        let (mut at, mut names) = (inode, Vec::new());
        while at != self.share.root {
            let step = match self.parents.get(&at) {
                Some(known) => known.clone(),
                None => {
                    let step = self.vfs.last_name(at)?;
                    self.parents.insert(at, step.clone());
                    step
                }
            };
            match step {
                Some((parent, name)) if parent != at && names.len() < crate::types::PATH_MAX => {
                    names.push(name);
                    at = parent;
                }
                Some(_) | None => return Ok(None),
            }
        }
        let joined = names.iter().rev();
        let path = joined.fold(String::new(), |path, name| joined_path(&path, name));
        Ok(Some(path.replace('\\', "/")))
    }

    fn add(&mut self, txg: Txg, session: SessionId, what: EventKind, path: String) -> Result<()> {
        let record = self.session(session)?;
        let (user, address, protocol) = record.map_or_else(Default::default, |record| {
            let info = record.info;
            (info.user_name, info.address, info.protocol)
        });
        let event = HistoryEvent {
            time: self.time_of(txg),
            what,
            path,
            session,
            user,
            address,
            protocol,
        };
        // A second of writing is one line.
        if self.events.last() != Some(&event) {
            self.events.push(event);
        }
        Ok(())
    }
}
