//! Undo: what some client sessions changed is put back, and nothing else.
//!
//! The log of changes tells, for each file and aspect (content, name, attributes and rights), who changed it last. Where
//! these sessions did, the aspect goes back to what it was before their unbroken run of changes, so that what others did
//! before stays. Where somebody else changed it later, their work stays, and for content the older one can be placed
//! beside. What these sessions made is removed, unless others have written to it since; what they deleted comes back.
//! Everything is done by the operations that clients use, in one session, so an undo can be undone.

mod putting_back;

use std::collections::{BTreeSet, HashMap};

use strongroom_store::{Aspect, Inode, LoggedChange, ObjectId, SessionId, Txg, View};

use self::putting_back::{Step, leaving};
use crate::differences::{differs, joined_path};
use crate::rewind::Work;
use crate::rows;
use crate::works::Unfinished;
use crate::{FileTime, Result, SessionInfo, Share, Sid, Stat, Vfs, VfsError};

/// Values looked at of one row.
const OF_ROW: usize = 65_536;

/// What is to be undone, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UndoWanted {
    pub sessions: BTreeSet<SessionId>,
    /// Only what was changed from then on.
    pub since: Option<FileTime>,
    /// Where somebody else wrote later, place the older content beside; else leave it out.
    pub keep_both: bool,
    pub dry_run: bool,
}

/// What an undo did, or would do.
#[derive(Debug, Clone, Default)]
pub struct Undone {
    /// Deleted files that came back.
    pub restored: u64,
    /// Files of theirs that went.
    pub removed: u64,
    /// Files whose content or attributes went back.
    pub changed: u64,
    pub renamed: u64,
    pub bytes: u64,
    /// Files that somebody else changed later: left alone, or with older content beside.
    pub kept: Vec<String>,
    pub beside: Vec<String>,
    pub failed: Vec<(String, VfsError)>,
    /// Somebody stopped it; the same command does the rest.
    pub stopped: bool,
    pub session: Option<SessionId>,
}

/// Parts of a file that are undone apart from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Content,
    Name,
    Rest,
}

const PARTS: [Part; 3] = [Part::Content, Part::Name, Part::Rest];

fn part_of(aspect: &Aspect) -> Part {
    match aspect {
        Aspect::Data { .. } | Aspect::Stream => Part::Content,
        Aspect::Name => Part::Name,
        Aspect::Attributes | Aspect::Acl | Aspect::ExtendedAttributes => Part::Rest,
    }
}

/// What is known of one part while changes are read from the newest to the oldest.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    /// The first group of their last unbroken run of changes.
    first: Option<Txg>,
    /// Somebody else changed it after them.
    overtaken: bool,
    /// Somebody else changed it before them, so the run has ended.
    closed: bool,
    /// The newest change was somebody else's.
    others: bool,
}

impl Run {
    fn take(&mut self, change: &LoggedChange, theirs: bool) {
        match (theirs, self.first.is_some()) {
            (true, _) if !self.closed => {
                self.first = Some(change.txg);
                self.overtaken |= self.others;
            }
            (false, true) => self.closed = true,
            (false, false) => self.others = true,
            (true, _) => {}
        }
    }

    /// Where to go back to; None where nothing is to be undone.
    fn open(&self) -> Option<Txg> {
        self.first.filter(|_| !self.overtaken)
    }
}

type Runs = HashMap<Inode, [Run; 3]>;

/// One file to be put back.
struct Item {
    inode: Inode,
    runs: [Run; 3],
    /// What is there now, and under which path.
    now: Option<(String, Stat)>,
    /// What was there before them.
    then: Option<(String, Stat)>,
    view: View,
    /// Both are as good as the same: an earlier undo has been here.
    is_back: bool,
    /// It had other names before them, and gets those back.
    moved: bool,
}

/// One name of a file in a view.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    directory: Inode,
    name: String,
    path: String,
}

impl Item {
    fn run(&self, part: Part) -> Run {
        self.runs[part as usize]
    }

    fn path(&self) -> String {
        let known = self.now.as_ref().or(self.then.as_ref());
        known.map_or_else(
            || format!("file {}", self.inode.0),
            |(path, _)| path.clone(),
        )
    }
}

impl Vfs {
    /// Sessions of a user or from an address that had not ended before `since`.
    pub fn sessions_of(
        &self,
        user: Option<&str>,
        address: Option<&str>,
        since: FileTime,
    ) -> Result<BTreeSet<SessionId>> {
        let mut found = BTreeSet::new();
        for id in 1..self.sessions.next_id() {
            let Some(record) = self.session(SessionId(id))? else {
                continue;
            };
            let info = &record.info;
            let same_user =
                |user: &str| crate::names::fold(user) == crate::names::fold(&info.user_name);
            let same_address = |address: &str| {
                let rest = info.address.strip_prefix(address);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            };
            let over = record.ended.is_some_and(|ended| ended < since);
            if !over && user.is_none_or(same_user) && address.is_none_or(same_address) {
                found.insert(SessionId(id));
            }
        }
        Ok(found)
    }

    /// Puts back what sessions changed in a share. What goes wrong with single files is in the report.
    ///
    /// Errors: `ReadOnly` for a share that nobody changes; `Forgotten` where their changes are older than the window in
    /// which every second is kept.
    pub async fn undo(&self, share: &Share, wanted: &UndoWanted) -> Result<Undone> {
        if share.read_only {
            return Err(VfsError::ReadOnly);
        }
        if wanted.dry_run {
            let mut report = Undone::default();
            let items = self.items_of(share, wanted, None, &mut report)?;
            items.iter().for_each(|item| report.plan(item, wanted));
            return Ok(report);
        }
        let session = self.begin_session(&SessionInfo {
            user: Sid::LOCAL_SYSTEM,
            user_name: "undo".to_owned(),
            address: String::new(),
            protocol: "Strongroom undo".to_owned(),
        })?;
        let work = Unfinished::Undo {
            share: share.id,
            wanted: wanted.clone(),
        };
        self.unfinished(session, &work)?;
        self.undo_in(share, wanted, session).await
    }

    /// What is to be put back, folders before what is in them. Changes of `own`, an undo that was interrupted, are none.
    fn items_of(
        &self,
        share: &Share,
        wanted: &UndoWanted,
        own: Option<SessionId>,
        report: &mut Undone,
    ) -> Result<Vec<Item>> {
        let runs = self.runs_of(share, wanted, own)?;
        let mut items = Vec::new();
        for (inode, runs) in runs {
            match self.item(share, wanted, inode, runs) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => {}
                Err(VfsError::Forgotten) => {
                    let path = format!("file {}", inode.0);
                    report.failed.push((path, VfsError::Forgotten));
                }
                Err(error) => return Err(error),
            }
        }
        items.sort_by_key(Item::path);
        Ok(items)
    }

    /// Undoes in a session that was begun, perhaps before a crash: it goes on with what is not as it was yet.
    pub(crate) async fn undo_in(
        &self,
        share: &Share,
        wanted: &UndoWanted,
        session: SessionId,
    ) -> Result<Undone> {
        let running = self.running("undo", &share.name, session);
        let mut report = Undone::default();
        let items = self.items_of(share, wanted, Some(session), &mut report)?;
        running.expect(items.len() * Step::ALL.len());
        report.session = Some(session);
        let mut work = Work::new(self, share, View::Now, session);
        let mut leaving = leaving(&items);
        for step in Step::ALL {
            let mut all: Vec<&Item> = items.iter().collect();
            if step == Step::Remove {
                all.reverse();
            }
            for item in all {
                // Names that have begun to change places all get there.
                if step != Step::Rename && running.is_stopped() {
                    report.stopped = true;
                    break;
                }
                running.step();
                work.past = item.view.clone();
                let done = work
                    .undo(step, item, wanted, (&mut report, &mut leaving))
                    .await;
                if let Err(error) = done {
                    report.failed.push((item.path(), error));
                }
            }
            if report.stopped {
                break;
            }
        }
        self.end_session(session)?;
        self.finished(session)?;
        self.store.sync_all().await?;
        Ok(report)
    }

    /// What these sessions changed, from the log of changes.
    fn runs_of(&self, share: &Share, wanted: &UndoWanted, own: Option<SessionId>) -> Result<Runs> {
        let mut runs = Runs::new();
        let oldest = match wanted.since {
            Some(since) => self
                .view_at(share, FileTime(since.0.saturating_sub(10_000_000)))
                .ok()
                .and_then(|view| view.instant()),
            None => None,
        };
        let oldest = oldest.map_or(Txg(0), |oldest| oldest.txg);
        let mut before = Txg(u64::MAX);
        loop {
            let changes = self.store.changes_before(before)?;
            let Some(last) = changes.last() else { break };
            before = last.txg;
            let counts =
                |change: &&LoggedChange| change.txg > oldest && own != Some(change.session);
            for change in changes.iter().filter(counts) {
                let theirs = wanted.sessions.contains(&change.session);
                let part = part_of(&change.aspect) as usize;
                runs.entry(change.inode).or_default()[part].take(change, theirs);
            }
            if before <= oldest {
                break;
            }
        }
        runs.retain(|_, parts| parts.iter().any(|run| run.first.is_some()));
        Ok(runs)
    }

    fn item(
        &self,
        share: &Share,
        wanted: &UndoWanted,
        inode: Inode,
        runs: [Run; 3],
    ) -> Result<Option<Item>> {
        let first = runs.iter().filter_map(Run::open).min();
        let any = runs.iter().filter_map(|run| run.first).min();
        let Some(txg) = first.or(any) else {
            return Ok(None);
        };
        let txg = self.before_gap(&wanted.sessions, inode, txg)?;
        let view = self.store.view_before(txg)?;
        let now = self.known(share, &View::Now, inode)?;
        let then = self.known(share, &view, inode)?;
        if now.is_none() && then.is_none() {
            // Made and gone again, or of another share.
            return Ok(None);
        }
        if then.is_none() && !self.was_made_by(&wanted.sessions, inode, txg)? {
            return Err(VfsError::Forgotten);
        }
        let is_back = match (&now, &then) {
            (Some((_, now)), Some((_, then))) => {
                !differs(now, then) && self.same_file((&View::Now, inode), (&view, inode))?
            }
            _ => false,
        };
        let moved = match (&now, &then) {
            (Some((_, now)), Some((_, then))) if runs[Part::Name as usize].open().is_some() => {
                let several = now.links > 1 || then.links > 1;
                self.has_moved(share, &view, inode, several)?
            }
            _ => false,
        };
        Ok(Some(Item {
            is_back,
            moved,
            inode,
            runs,
            now,
            then,
            view,
        }))
    }

    /// Closing a file that was written changes its attributes before the log tells of the writing. What these sessions alone
    /// did about then may have left no value behind, so it is gone back to where there is one.
    fn before_gap(&self, sessions: &BTreeSet<SessionId>, inode: Inode, txg: Txg) -> Result<Txg> {
        let key = rows::inode_key(inode);
        let values = self.store.values_of(rows::ATTRIBUTES, &key, OF_ROW)?;
        let before = values.iter().find(|value| value.began < txg);
        let Some((ended, by)) = before.and_then(|value| value.ended) else {
            return Ok(txg);
        };
        if ended >= txg || !sessions.contains(&by) {
            return Ok(txg);
        }
        // Nobody else may have written meanwhile, or their work would go with it.
        let heads = self.store.versions_of(ObjectId::data(inode), OF_ROW)?;
        let others = heads.iter().any(|head| {
            head.began >= ended && head.began < txg && !sessions.contains(&head.began_by)
        });
        if others {
            return Err(VfsError::Forgotten);
        }
        Ok(ended)
    }

    /// Path and attributes of an inode below a share in a view.
    fn known(&self, share: &Share, view: &View, inode: Inode) -> Result<Option<(String, Stat)>> {
        let Some(node) = self.node_in(view, inode)? else {
            return Ok(None);
        };
        let state = node.lock();
        if state.gone {
            return Ok(None);
        }
        let head = self.head_of(view, inode, &state.attr)?;
        let stat = crate::stat::stat_of(inode, &state.attr, head);
        drop(state);
        Ok(self
            .path_below(share, view, inode)?
            .map(|path| (path, stat)))
    }

    /// The path by which a file or folder is reached from a share's root in a view; of several the first.
    fn path_below(&self, share: &Share, view: &View, inode: Inode) -> Result<Option<String>> {
        let (mut at, mut names) = (inode, Vec::new());
        while at != share.root {
            let (parent, name) = match self.first_name(view, at) {
                Ok(found) => found,
                Err(VfsError::NotFound) => return Ok(None),
                Err(error) => return Err(error),
            };
            if parent == at || names.len() > crate::types::PATH_MAX {
                return Ok(None);
            }
            names.push(name);
            at = parent;
        }
        let joined = names.iter().rev();
        Ok(Some(joined.fold(String::new(), |path, name| {
            joined_path(&path, name)
        })))
    }

    /// All names of a file below a share in a view.
    fn places_of(&self, share: &Share, view: &View, inode: Inode) -> Result<Vec<Place>> {
        let Some(node) = self.node_in(view, inode)? else {
            return Ok(Vec::new());
        };
        let links = self.links_of(view, inode, &node.lock().attr)?;
        let mut places = Vec::new();
        for link in links {
            if let Some(above) = self.path_below(share, view, link.directory)? {
                places.push(Place {
                    path: joined_path(&above, &link.name),
                    directory: link.directory,
                    name: link.name,
                });
            }
        }
        Ok(places)
    }

    /// Whether a file has other names than it had, in the same folders or others.
    fn has_moved(&self, share: &Share, then: &View, inode: Inode, several: bool) -> Result<bool> {
        let names = |view: &View| -> Result<BTreeSet<(Inode, String)>> {
            if !several {
                return Ok(BTreeSet::from([self.first_name(view, inode)?]));
            }
            let places = self.places_of(share, view, inode)?.into_iter();
            Ok(places.map(|place| (place.directory, place.name)).collect())
        };
        Ok(names(&View::Now)? != names(then)?)
    }

    /// Whether the first that is known of a file is its making, in or after a group, or what the same sessions made of it
    /// within the second: they alone leave no value behind then.
    fn was_made_by(&self, sessions: &BTreeSet<SessionId>, inode: Inode, txg: Txg) -> Result<bool> {
        let key = rows::inode_key(inode);
        let values = self.store.values_of(rows::ATTRIBUTES, &key, OF_ROW)?;
        let Some(oldest) = values.last() else {
            return Ok(false);
        };
        Ok(oldest.began >= txg && sessions.contains(&oldest.began_by))
    }
}

impl Undone {
    /// What would be done with a file.
    fn plan(&mut self, item: &Item, wanted: &UndoWanted) {
        match (&item.now, &item.then) {
            (Some(_), None) if item.is_others() => self.kept.push(item.path()),
            (Some(_), None) => self.removed += 1,
            (None, Some((_, then))) => {
                self.restored += 1;
                self.bytes += then.size;
            }
            (Some((path, _)), Some((_, then))) => {
                self.renamed += u64::from(item.moved);
                if item.is_back {
                    return;
                }
                if item.overtaken() && wanted.keep_both {
                    self.beside.push(path.clone());
                } else if item.overtaken() {
                    self.kept.push(path.clone());
                } else if item.goes_back() {
                    self.changed += 1;
                    self.bytes += then.size;
                }
            }
            (None, None) => {}
        }
    }
}

impl Item {
    /// Theirs by birth, but somebody else has written to it since.
    fn is_others(&self) -> bool {
        PARTS.iter().any(|part| {
            let run = self.run(*part);
            run.overtaken || (run.first.is_none() && run.others)
        })
    }

    fn overtaken(&self) -> bool {
        self.run(Part::Content).overtaken
    }

    /// Whether content or attributes are to be put back, and are not yet as they were.
    fn goes_back(&self) -> bool {
        let open = |part| self.run(part).open().is_some();
        !self.is_back && (open(Part::Content) || open(Part::Rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_unbroken_run_is_undone() {
        let change = |txg| LoggedChange {
            txg: Txg(txg),
            inode: Inode(1),
            aspect: Aspect::Name,
            session: SessionId(1),
        };
        // Newest first: theirs, theirs, another's, theirs.
        let mut run = Run::default();
        for (txg, theirs) in [(9, true), (8, true), (5, false), (3, true)] {
            run.take(&change(txg), theirs);
        }
        assert_eq!(run.open(), Some(Txg(8)));
        let mut run = Run::default();
        for (txg, theirs) in [(9, false), (8, true), (5, true)] {
            run.take(&change(txg), theirs);
        }
        assert_eq!((run.open(), run.first), (None, Some(Txg(5))));
        assert!(run.overtaken);
    }
}
