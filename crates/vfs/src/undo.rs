//! Undo: what some client sessions changed is put back, and nothing else.
//!
//! The log of changes tells, for each file and aspect (content, name, attributes and rights), who changed it last. Where
//! these sessions did, the aspect goes back to what it was before their unbroken run of changes, so that what others did
//! before stays. Where somebody else changed it later, their work stays, and for content the older one can be placed
//! beside. What these sessions made is removed, unless others have written to it since; what they deleted comes back.
//! Everything is done by the operations that clients use, in one session, so an undo can be undone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use strongroom_store::{Aspect, Inode, LoggedChange, ObjectId, SessionId, Txg, View};

use crate::differences::{differs, joined_path};
use crate::rewind::Work;
use crate::rows::{self, Attr};
use crate::works::Unfinished;
use crate::{
    AccessMask, Disposition, FileTime, Handle, OpenRequest, Result, SessionInfo, Share, Sid, Stat,
    Vfs, VfsError,
};

/// Values looked at of one row.
const OF_ROW: usize = 65_536;
/// Names tried for older content beside a file.
const BESIDE_MAX: u32 = 1_000;

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
        running.expect(items.len() * STEPS.len());
        report.session = Some(session);
        let mut work = Work::new(self, share, View::Now, session);
        for step in STEPS {
            let mut all: Vec<&Item> = items.iter().collect();
            if step == Step::Remove {
                all.reverse();
            }
            for item in all {
                running.step();
                work.past = item.view.clone();
                if let Err(error) = work.undo(step, item, wanted, &mut report).await {
                    report.failed.push((item.path(), error));
                }
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
        if then.is_none() && !self.was_made_after(inode, txg)? {
            return Err(VfsError::Forgotten);
        }
        let is_back = match (&now, &then) {
            (Some((_, now)), Some((_, then))) => {
                !differs(now, then) && self.same_file((&View::Now, inode), (&view, inode))?
            }
            _ => false,
        };
        Ok(Some(Item {
            is_back,
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
        let path = joined.fold(String::new(), |path, name| joined_path(&path, name));
        Ok(Some((path, stat)))
    }

    /// Whether the first that is known of a file is its making, in or after a group.
    fn was_made_after(&self, inode: Inode, txg: Txg) -> Result<bool> {
        let key = rows::inode_key(inode);
        let values = self.store.values_of(rows::ATTRIBUTES, &key, OF_ROW)?;
        let Some(oldest) = values.last() else {
            return Ok(false);
        };
        let attr = oldest.value.as_deref().map(Attr::decode).transpose()?;
        // A file that one session makes and changes within a second keeps only the last of that.
        Ok(oldest.began >= txg
            && attr.is_some_and(|attr| attr.version <= 1 || attr.created >= attr.modified))
    }
}

/// In this order: what is in the way goes first, content comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Remove,
    Rename,
    Recreate,
    Restore,
}

const STEPS: [Step; 4] = [Step::Remove, Step::Rename, Step::Recreate, Step::Restore];

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
            (Some((path, _)), Some((old, then))) => {
                self.renamed += u64::from(path != old && item.run(Part::Name).open().is_some());
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

impl Work<'_> {
    async fn undo(
        &mut self,
        step: Step,
        item: &Item,
        wanted: &UndoWanted,
        report: &mut Undone,
    ) -> Result<()> {
        match (step, &item.now, &item.then) {
            (Step::Remove, Some((path, now)), None) => {
                if item.is_others() {
                    report.kept.push(path.clone());
                    return Ok(());
                }
                self.remove(path, Some(now)).await?;
                report.removed += 1;
                Ok(())
            }
            (Step::Rename, Some((path, now)), Some((old, then)))
                if item.run(Part::Name).open().is_some() && path != old =>
            {
                if now.links > 1 || then.links > 1 {
                    // Which of several names they changed cannot be told from the file.
                    return Err(VfsError::TooManyLinks);
                }
                let handle = self.open_inode(item.inode).await?;
                let differs = self.vfs.path(&handle)? != *old;
                let done = self.rename_open(&handle, old).await;
                self.vfs.close(&handle).await?;
                done?;
                report.renamed += u64::from(differs);
                Ok(())
            }
            (Step::Recreate, None, Some((old, then))) => {
                if self.is_back(old, then)? {
                    return Ok(());
                }
                self.recreate(item, old, then).await?;
                report.restored += 1;
                report.bytes += then.size;
                Ok(())
            }
            (Step::Restore, Some((_, now)), Some((_, then))) => {
                self.put_back_parts(item, now, then, wanted, report).await
            }
            _ => Ok(()),
        }
    }

    /// Whether an earlier undo, or somebody else, has brought a file back.
    fn is_back(&self, path: &str, then: &Stat) -> Result<bool> {
        let now = self.vfs.stat_at(self.share, &View::Now, path)?;
        let state = |stat: &Stat| (stat.size, stat.modified, stat.created);
        Ok(
            now.is_some_and(|now| match (now.is_directory, then.is_directory) {
                // What came back into it changed its other time.
                (true, true) => now.created == then.created,
                _ => state(&now) == state(then),
            }),
        )
    }

    async fn past_handle(&self, inode: Inode) -> Result<Arc<Handle>> {
        let mut request = OpenRequest {
            view: self.past.clone(),
            access: AccessMask::FILE_READ | AccessMask::ACCESS_SYSTEM_SECURITY,
            ..self.request("")
        };
        request.file_id = Some(inode);
        request.options.by_file_id = true;
        self.open(request).await
    }

    /// Makes a file anew under a name of its own, and gives it the wanted one, or one like it, when it is whole. What a
    /// crash left half made is made over.
    async fn recreate(&self, item: &Item, path: &str, then: &Stat) -> Result<()> {
        if then.is_directory {
            return self.recreate_directory(item, path, then).await;
        }
        let making = format!("{path}.undo-{}", item.inode.0);
        let mut request = self.request(&making);
        request.disposition = Disposition::OverwriteIf;
        let handle = self.open(request).await?;
        let past = self.past_handle(item.inode).await?;
        let made = async {
            self.restore_open(&handle, &past, then, true).await?;
            let path = self.free_name(path)?;
            self.vfs.rename(&handle, &path, false).await
        };
        let made = made.await;
        self.vfs.close(&past).await?;
        self.vfs.close(&handle).await?;
        made
    }

    async fn recreate_directory(&self, item: &Item, path: &str, then: &Stat) -> Result<()> {
        let path = self.free_name(path)?;
        let mut request = self.request(&path);
        request.disposition = Disposition::Create;
        request.options.directory = true;
        let handle = self.open(request).await?;
        let past = self.past_handle(item.inode).await?;
        let made = self.restore_open(&handle, &past, then, false).await;
        self.vfs.close(&past).await?;
        self.vfs.close(&handle).await?;
        made
    }

    async fn put_back_parts(
        &self,
        item: &Item,
        now: &Stat,
        then: &Stat,
        wanted: &UndoWanted,
        report: &mut Undone,
    ) -> Result<()> {
        if item.is_back {
            return Ok(());
        }
        if item.overtaken() {
            if !wanted.keep_both {
                report.kept.push(item.path());
                return Ok(());
            }
            let handle = self.open_inode(item.inode).await?;
            let path = self.vfs.path(&handle)?;
            self.vfs.close(&handle).await?;
            let beside = self.free_name(&beside_name(&path))?;
            self.recreate(item, &beside, then).await?;
            report.beside.push(beside);
            return Ok(());
        }
        if !item.goes_back() {
            return Ok(());
        }
        let handle = self.open_inode(item.inode).await?;
        let path = self.vfs.path(&handle)?;
        self.vfs.close(&handle).await?;
        let handle = self.open_now(&path, Some(now)).await?;
        let past = self.past_handle(item.inode).await?;
        // Content that they did not write stays, whatever it is.
        let content = item.run(Part::Content).open().is_some();
        let done = self.restore_open(&handle, &past, then, content).await;
        self.vfs.close(&past).await?;
        self.vfs.close(&handle).await?;
        done?;
        report.changed += 1;
        report.bytes += then.size;
        Ok(())
    }

    /// A path that nothing has: this one, or one like it.
    fn free_name(&self, path: &str) -> Result<String> {
        let mut candidate = path.to_owned();
        for number in 2..BESIDE_MAX {
            if self
                .vfs
                .stat_at(self.share, &View::Now, &candidate)?
                .is_none()
            {
                return Ok(candidate);
            }
            candidate = numbered(path, number);
        }
        Err(VfsError::Exists)
    }
}

/// `report.txt` becomes `report (before undo).txt`.
fn beside_name(path: &str) -> String {
    insert(path, " (before undo)")
}

fn numbered(path: &str, number: u32) -> String {
    insert(path, &format!(" ({number})"))
}

/// Puts a text in front of a name's extension.
fn insert(path: &str, text: &str) -> String {
    let (above, name) = path
        .rsplit_once('\\')
        .map_or((None, path), |(above, name)| (Some(above), name));
    let named = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}{text}.{extension}"),
        _ => format!("{name}{text}"),
    };
    above.map_or(named.clone(), |above| joined_path(above, &named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beside_keeps_its_extension() {
        assert_eq!(beside_name("a\\report.txt"), "a\\report (before undo).txt");
        assert_eq!(beside_name(".profile"), ".profile (before undo)");
        assert_eq!(numbered("a\\b", 2), "a\\b (2)");
    }

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
