//! Rewinding: a file, a folder or a share becomes again what it was at an instant.
//!
//! It is done by the operations that clients use, in one session of its own: it stands in the log of changes, is shown by
//! the past like any other change, and breaks what clients cache. What cannot be changed as somebody has it open is told
//! and left; done again, it goes on with what is left, for it begins by looking at what differs. Contents are written
//! before times, so what was cut off in the middle differs still.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use strongroom_store::{Inode, ObjectId, SessionId, View};

use crate::acl::{Control, SecurityParts};
use crate::works::{Running, Unfinished};
use crate::{
    AccessMask, Credentials, Difference, DifferenceKind, Disposition, DosAttributes,
    ExtendedAttribute, Handle, OpenRequest, Result, SessionInfo, SetTimes, Share, ShareAccess, Sid,
    Stat, Vfs, VfsError,
};

/// Differences that one rewind takes on.
const DIFFERENCES_MAX: usize = 10_000_000;
/// Bytes copied between two looks at who else wants to run.
const COPY_STEP: u64 = 16 << 20;
/// All that a descriptor has.
const ALL_PARTS: SecurityParts = SecurityParts(
    SecurityParts::OWNER.0 | SecurityParts::GROUP.0 | SecurityParts::DACL.0 | SecurityParts::SACL.0,
);

/// What a rewind did, or would do.
#[derive(Debug, Clone, Default)]
pub struct Rewound {
    /// Files and folders that came back, went, got their content or attributes back, and their names.
    pub restored: u64,
    pub removed: u64,
    pub changed: u64,
    pub renamed: u64,
    /// Bytes of the files that came back or got their content back.
    pub bytes: u64,
    /// What could not be done, and why.
    pub failed: Vec<(String, VfsError)>,
    /// Somebody stopped it; the same command does the rest.
    pub stopped: bool,
    /// The session that it is in the log of changes; none of a dry run.
    pub session: Option<SessionId>,
}

/// One rewind, or undo, on its way.
pub(crate) struct Work<'a> {
    pub(crate) vfs: &'a Vfs,
    pub(crate) share: &'a Share,
    /// Where what it goes back to is found; the share itself but for clones.
    source: &'a Share,
    /// What it goes back to.
    pub(crate) past: View,
    who: Credentials,
    pub(crate) report: Rewound,
    /// Directories whose names changed.
    touched: BTreeSet<String>,
    /// Paths from which something had to make way, and where it is until it gets its own name back.
    aside: HashMap<String, String>,
    /// What files that are gone are now, so that their other names name the same again.
    made: HashMap<Inode, Inode>,
}

impl<'a> Work<'a> {
    /// Work in a share that is to become what another one was.
    pub(crate) fn between(
        vfs: &'a Vfs,
        (source, share): (&'a Share, &'a Share),
        past: View,
        session: SessionId,
    ) -> Self {
        Self {
            source,
            ..Self::new(vfs, share, past, session)
        }
    }

    pub(crate) fn into_report(self) -> Rewound {
        self.report
    }

    pub(crate) fn new(vfs: &'a Vfs, share: &'a Share, past: View, session: SessionId) -> Self {
        Self {
            vfs,
            share,
            source: share,
            past,
            who: system(session),
            report: Rewound {
                session: Some(session),
                ..Rewound::default()
            },
            touched: BTreeSet::new(),
            aside: HashMap::new(),
            made: HashMap::new(),
        }
    }
}

impl Vfs {
    /// Makes what is at and below a path what it was in a view of the past.
    ///
    /// Errors: `NotFound` where it is neither now nor then, `ReadOnly` for a share that nobody changes. What goes wrong
    /// with single files is in the report.
    pub async fn rewind(
        &self,
        share: &Share,
        path: &str,
        past: &View,
        dry_run: bool,
    ) -> Result<Rewound> {
        if dry_run {
            let found = self.differences(share, path, &View::Now, past, DIFFERENCES_MAX)?;
            return Ok(planned(&found));
        }
        if share.read_only {
            return Err(VfsError::ReadOnly);
        }
        let now = self.stat_at(share, &View::Now, path)?;
        if now.is_none() && self.stat_at(share, past, path)?.is_none() {
            return Err(VfsError::NotFound);
        }
        let session = self.begin_session(&SessionInfo {
            user: Sid::LOCAL_SYSTEM,
            user_name: "rewind".to_owned(),
            address: String::new(),
            protocol: "Strongroom rewind".to_owned(),
        })?;
        if let Some(to) = past.instant() {
            let (share, path) = (share.id, path.to_owned());
            self.unfinished(session, &Unfinished::Rewind { share, path, to })?;
        }
        self.rewind_in(share, path, past, session).await
    }

    /// Rewinds in a session that was begun, perhaps before a crash: what is done by then differs no more.
    pub(crate) async fn rewind_in(
        &self,
        share: &Share,
        path: &str,
        past: &View,
        session: SessionId,
    ) -> Result<Rewound> {
        let mut work = Work::new(self, share, past.clone(), session);
        let running = self.running("rewind", &share.name, session);
        let (at, views) = ((share, path), (&View::Now, past));
        let (found, touched) = self.differences_and_touched(at, views, DIFFERENCES_MAX)?;
        work.touched.extend(touched);
        running.expect(found.len());
        work.run(&found, &running).await;
        self.end_session(session)?;
        self.finished(session)?;
        self.store.sync_all().await?;
        Ok(work.report)
    }
}

/// The system itself, which may do everything.
pub(crate) fn system(session: SessionId) -> Credentials {
    Credentials {
        user: Sid::LOCAL_SYSTEM,
        primary_group: Sid::LOCAL_SYSTEM,
        groups: vec![Sid::ADMINISTRATORS, Sid::EVERYONE],
        admin: true,
        session,
    }
}

fn planned(found: &[Difference]) -> Rewound {
    let mut report = Rewound::default();
    for difference in found {
        report.count(difference);
    }
    report
}

impl Rewound {
    fn count(&mut self, difference: &Difference) {
        let (now, then) = &difference.stats;
        let bytes = then.as_ref().map_or(0, |then| then.size);
        match difference.what {
            DifferenceKind::Added => {
                self.restored += 1;
                self.bytes += bytes;
            }
            DifferenceKind::Removed => self.removed += 1,
            DifferenceKind::Renamed => self.renamed += 1,
            DifferenceKind::Changed => {
                self.changed += 1;
                if data_may_differ(now.as_ref(), then.as_ref()) {
                    self.bytes += bytes;
                }
            }
        }
    }
}

/// Whether two states of one file may have other data: whether it was written between.
fn data_may_differ(now: Option<&Stat>, then: Option<&Stat>) -> bool {
    match (now, then) {
        (Some(now), Some(then)) => {
            let state = |stat: &Stat| (stat.inode, stat.size, stat.version);
            !then.is_directory && state(now) != state(then)
        }
        _ => true,
    }
}

impl Work<'_> {
    async fn run(&mut self, found: &[Difference], running: &Running) {
        let removed = |difference: &&Difference| difference.what == DifferenceKind::Removed;
        let folder = |difference: &&Difference| {
            difference
                .stats
                .0
                .as_ref()
                .is_some_and(|now| now.is_directory)
        };
        let gone: Vec<_> = found.iter().rev().filter(removed).collect();
        for difference in gone.iter().filter(|difference| !folder(difference)) {
            if running.is_stopped() {
                self.report.stopped = true;
                return;
            }
            let done = self
                .remove(&difference.path, difference.stats.0.as_ref())
                .await;
            self.note(difference, done);
            running.step();
        }
        for difference in found.iter().filter(|difference| !removed(difference)) {
            // Names that have begun to change places all get there, and folders are where they are to go.
            let done = if !running.is_stopped() {
                self.put_back(difference).await
            } else {
                self.report.stopped = true;
                match self.put_back_name(difference).await {
                    Some(done) => done,
                    None => continue,
                }
            };
            self.note(difference, done);
            running.step();
        }
        // Folders go when what is to be elsewhere has left them, inner ones first; they may have moved meanwhile.
        for difference in gone.iter().filter(|difference| folder(difference)) {
            let done = self.remove_folder(difference.stats.0.as_ref()).await;
            self.note(difference, done);
            running.step();
        }
        for directory in std::mem::take(&mut self.touched).iter().rev() {
            if let Err(error) = self.restore_times(directory).await {
                self.report.failed.push((directory.clone(), error));
            }
        }
    }

    fn note(&mut self, difference: &Difference, done: Result<()>) {
        for path in [Some(&difference.path), difference.old_path.as_ref()] {
            let directory = path.map(|path| path.rsplit_once('\\').map_or("", |(above, _)| above));
            self.touched.extend(directory.map(str::to_owned));
        }
        match done {
            Ok(()) => self.report.count(difference),
            Err(error) => self.report.failed.push((difference.path.clone(), error)),
        }
    }

    async fn put_back(&mut self, difference: &Difference) -> Result<()> {
        let (now, then) = &difference.stats;
        let Some(then) = then else { return Ok(()) };
        match difference.what {
            DifferenceKind::Removed => Ok(()),
            DifferenceKind::Added => self.add(&difference.path, then).await,
            DifferenceKind::Renamed => {
                let old = difference.old_path.as_deref().unwrap_or_default();
                self.rename(then, old, &difference.path).await?;
                self.restore(&difference.path, now.as_ref(), then).await
            }
            DifferenceKind::Changed => self.restore(&difference.path, now.as_ref(), then).await,
        }
    }

    /// What of a difference is done also once somebody has stopped the rewind: nothing that takes long.
    async fn put_back_name(&mut self, difference: &Difference) -> Option<Result<()>> {
        let then = difference.stats.1.as_ref()?;
        match difference.what {
            DifferenceKind::Renamed => {
                let old = difference.old_path.as_deref().unwrap_or_default();
                Some(self.rename(then, old, &difference.path).await)
            }
            DifferenceKind::Added if then.is_directory => {
                Some(self.add(&difference.path, then).await)
            }
            DifferenceKind::Added | DifferenceKind::Changed | DifferenceKind::Removed => None,
        }
    }

    /// A request for all rights, sharing everything; links are opened themselves.
    pub(crate) fn request<'r>(&'r self, path: &'r str) -> OpenRequest<'r> {
        let mut request = OpenRequest {
            access: AccessMask::FILE_ALL | AccessMask::ACCESS_SYSTEM_SECURITY,
            share_access: ShareAccess::ALL,
            ..OpenRequest::new(self.share, path)
        };
        request.options.backup_intent = true;
        request.options.open_reparse_point = true;
        request
    }

    pub(crate) async fn open(&self, request: OpenRequest<'_>) -> Result<Arc<Handle>> {
        Ok(self.vfs.open(&self.who, request).await?.0)
    }

    async fn open_past(&self, path: &str) -> Result<Arc<Handle>> {
        self.open(OpenRequest {
            share: self.source,
            view: self.past.clone(),
            access: AccessMask::FILE_READ | AccessMask::ACCESS_SYSTEM_SECURITY,
            ..self.request(path)
        })
        .await
    }

    /// Opens what is there now for changing it, whatever its attributes say.
    pub(crate) async fn open_now(&self, path: &str, now: Option<&Stat>) -> Result<Arc<Handle>> {
        if now.is_some_and(|now| now.attributes.contains(DosAttributes::READ_ONLY)) {
            let handle = self
                .open(OpenRequest {
                    access: AccessMask::WRITE_ATTRIBUTES,
                    ..self.request(path)
                })
                .await?;
            let done = self
                .vfs
                .set_attributes(&handle, DosAttributes::NORMAL)
                .await;
            self.vfs.close(&handle).await?;
            done?;
        }
        self.open(self.request(path)).await
    }

    pub(crate) async fn remove(&self, path: &str, now: Option<&Stat>) -> Result<()> {
        let handle = self.open_now(path, now).await?;
        let done = self.vfs.set_delete(&handle, true).await;
        self.vfs.close(&handle).await?;
        done
    }

    async fn remove_folder(&self, now: Option<&Stat>) -> Result<()> {
        let Some(now) = now else { return Ok(()) };
        let handle = self.open_inode(now.inode).await?;
        let path = self.vfs.path(&handle)?;
        self.vfs.close(&handle).await?;
        self.remove(&path, Some(now)).await
    }

    /// Something that has no name now: it is made anew, or named again if other names of it are left.
    pub(crate) async fn add(&mut self, path: &str, then: &Stat) -> Result<()> {
        self.make_way(path).await?;
        let here = self.source.id == self.share.id;
        let made = self.made.get(&then.inode).copied();
        let known = made.or(here.then_some(then.inode));
        let left = match known {
            Some(inode) => self.vfs.node_in(&View::Now, inode)?,
            None => None,
        };
        let named = left.is_some_and(|node| {
            let state = node.lock();
            !state.gone && state.attr.links > 0
        });
        if let Some(inode) = known.filter(|_| named && !then.is_directory) {
            return self.link(inode, path).await;
        }
        let mut request = self.request(path);
        request.disposition = Disposition::Create;
        request.options.directory = then.is_directory;
        let handle = self.open(request).await?;
        self.made.insert(then.inode, handle.inode());
        self.vfs.close(&handle).await?;
        self.restore(path, None, then).await
    }

    pub(crate) async fn open_inode(&self, inode: Inode) -> Result<Arc<Handle>> {
        let mut request = self.request("");
        request.file_id = Some(inode);
        request.options.by_file_id = true;
        request.access = AccessMask::FILE_READ | AccessMask::DELETE;
        self.open(request).await
    }

    pub(crate) async fn link(&self, inode: Inode, path: &str) -> Result<()> {
        let handle = self.open_inode(inode).await?;
        let done = self.vfs.link(&handle, path, false).await;
        self.vfs.close(&handle).await?;
        done
    }

    /// Gives a file its name back. It may have it again since the folder above has; whoever has the name makes way, and
    /// gets its own back later.
    async fn rename(&mut self, then: &Stat, old: &str, path: &str) -> Result<()> {
        let aside = self.aside.remove(old);
        let old = aside.as_deref().unwrap_or(old);
        let at_old = self.vfs.stat_at(self.share, &View::Now, old)?;
        let handle = match at_old {
            Some(found) if found.inode == then.inode => {
                let request = OpenRequest {
                    access: AccessMask::FILE_READ | AccessMask::DELETE,
                    ..self.request(old)
                };
                self.open(request).await?
            }
            // The folder above has moved. Of several names nobody knows which one this was; one too many goes next time.
            Some(_) | None if then.links > 1 => {
                self.make_way(path).await?;
                return self.link(then.inode, path).await;
            }
            Some(_) | None => self.open_inode(then.inode).await?,
        };
        let done = self.rename_open(&handle, path).await;
        self.vfs.close(&handle).await?;
        done
    }

    pub(crate) async fn rename_open(&mut self, handle: &Handle, path: &str) -> Result<()> {
        if self.vfs.path(handle)? == path {
            return Ok(());
        }
        match self.vfs.rename(handle, path, false).await {
            Err(VfsError::Exists) => {}
            done => return done,
        }
        self.make_way(path).await?;
        self.vfs.rename(handle, path, false).await
    }

    /// Whatever has a name that another is to get makes way, and gets its own back later.
    pub(crate) async fn make_way(&mut self, path: &str) -> Result<()> {
        let Some(there) = self.vfs.stat_at(self.share, &View::Now, path)? else {
            return Ok(());
        };
        let other = self.open(self.request(path)).await?;
        let aside = format!("{path}.rewound-{}", there.inode.0);
        let moved = self.vfs.rename(&other, &aside, false).await;
        self.vfs.close(&other).await?;
        moved?;
        self.aside.insert(path.to_owned(), aside);
        Ok(())
    }

    /// Everything about a file but its name.
    pub(crate) async fn restore(&self, path: &str, now: Option<&Stat>, then: &Stat) -> Result<()> {
        let past = self.open_past(path).await?;
        let handle = self.open_now(path, now).await?;
        let done = self.restore_open(&handle, &past, then, true).await;
        self.vfs.close(&handle).await?;
        self.vfs.close(&past).await?;
        done
    }

    /// Everything about an open file but its name; content only if asked.
    pub(crate) async fn restore_open(
        &self,
        handle: &Handle,
        past: &Handle,
        then: &Stat,
        content: bool,
    ) -> Result<()> {
        let vfs = self.vfs;
        if content && !then.is_directory && !self.has_data_of(handle, past)? {
            self.copy(past, handle, then.size).await?;
        }
        self.restore_streams(handle, past).await?;
        // What writing leaves behind at the end, as the archive attribute, would come after what is put back here.
        vfs.settle(handle, &mut *handle.lock_open()?)?;
        self.restore_eas(handle, past).await?;
        if then.reparse_tag != 0 && vfs.stat(handle)?.reparse_tag == 0 {
            vfs.set_reparse(handle, &vfs.reparse(past)?).await?;
        }
        let mut descriptor = vfs.security(past, ALL_PARTS)?;
        // Setting a list says by other bits than keeping it that it was inherited.
        for (inherited, requested) in [
            (Control::DACL_AUTO_INHERITED, Control::DACL_AUTO_INHERIT_REQ),
            (Control::SACL_AUTO_INHERITED, Control::SACL_AUTO_INHERIT_REQ),
        ] {
            if descriptor.control.contains(inherited) {
                descriptor.control = descriptor.control.union(requested);
            }
        }
        if vfs.security(handle, ALL_PARTS)? != vfs.security(past, ALL_PARTS)? {
            vfs.set_security(handle, ALL_PARTS, &descriptor).await?;
        }
        self.restore_attributes(handle, then).await
    }

    async fn restore_attributes(&self, handle: &Handle, then: &Stat) -> Result<()> {
        let vfs = self.vfs;
        let sparse = then.attributes.contains(DosAttributes::SPARSE_FILE);
        if sparse && !then.is_directory {
            vfs.set_sparse(handle, true)?;
        }
        let settable = DosAttributes(then.attributes.0 & DosAttributes::SETTABLE.0);
        let attributes = if settable.0 == 0 {
            DosAttributes::NORMAL
        } else {
            settable
        };
        vfs.set_attributes(handle, attributes).await?;
        vfs.set_times(handle, times_of(then)).await
    }

    /// Whether an open file has the data that one of the past has.
    fn has_data_of(&self, handle: &Handle, past: &Handle) -> Result<bool> {
        let (now, then) = (self.vfs.stat(handle)?, self.vfs.stat(past)?);
        if !data_may_differ(Some(&now), Some(&then)) {
            return Ok(true);
        }
        let (now, then) = (
            (handle.view(), handle.object()),
            (past.view(), past.object()),
        );
        Ok(self.vfs.store.same_data(now, then)?)
    }

    pub(crate) async fn copy(&self, past: &Handle, handle: &Handle, size: u64) -> Result<()> {
        self.vfs.set_size(handle, 0).await?;
        let mut done = 0;
        while done < size {
            let step = COPY_STEP.min(size - done);
            self.vfs.copy_range(past, done, handle, done, step).await?;
            done += step;
        }
        Ok(())
    }

    async fn restore_streams(&self, handle: &Handle, past: &Handle) -> Result<()> {
        let vfs = self.vfs;
        let (then, now) = (vfs.streams(past)?, vfs.streams(handle)?);
        let path = vfs.path(handle)?;
        for stream in now.iter().filter(|stream| !stream.name.is_empty()) {
            if !then.iter().any(|kept| kept.name == stream.name) {
                self.remove(&format!("{path}:{}", stream.name), None)
                    .await?;
            }
        }
        for stream in then.iter().filter(|stream| !stream.name.is_empty()) {
            let of_past = vfs.path(past)?;
            let source = self
                .open_past(&format!("{of_past}:{}", stream.name))
                .await?;
            let name = format!("{path}:{}", stream.name);
            let mut request = self.request(&name);
            request.disposition = Disposition::OpenIf;
            let target = self.open(request).await?;
            let head = |handle: &Handle| self.vfs.store.at(handle.view()).head(object_of(handle));
            let same = head(&source)? == head(&target)?;
            let done = if same {
                Ok(())
            } else {
                self.copy(&source, &target, stream.size).await
            };
            vfs.close(&target).await?;
            vfs.close(&source).await?;
            done?;
        }
        Ok(())
    }

    async fn restore_eas(&self, handle: &Handle, past: &Handle) -> Result<()> {
        let (then, now) = (self.vfs.eas(past)?, self.vfs.eas(handle)?);
        if then == now {
            return Ok(());
        }
        let gone = now
            .iter()
            .filter(|ea| !then.iter().any(|kept| kept.name == ea.name));
        let gone = gone.map(|ea| ExtendedAttribute {
            value: Vec::new(),
            ..ea.clone()
        });
        let changes: Vec<_> = gone.chain(then.iter().cloned()).collect();
        self.vfs.set_eas(handle, &changes).await
    }

    /// A folder whose names changed gets the times back that it had then.
    pub(crate) async fn restore_times(&self, directory: &str) -> Result<()> {
        let then = self.vfs.stat_at(self.source, &self.past, directory)?;
        let now = self.vfs.stat_at(self.share, &View::Now, directory)?;
        let (Some(then), Some(now)) = (then, now) else {
            return Ok(());
        };
        if !now.is_directory || !then.is_directory {
            return Ok(());
        }
        let request = OpenRequest {
            access: AccessMask::WRITE_ATTRIBUTES,
            ..self.request(directory)
        };
        let handle = self.open(request).await?;
        let done = self.vfs.set_times(&handle, times_of(&then)).await;
        self.vfs.close(&handle).await?;
        done
    }
}

fn object_of(handle: &Handle) -> ObjectId {
    handle.object()
}

fn times_of(then: &Stat) -> SetTimes {
    SetTimes {
        created: Some(then.created),
        accessed: Some(then.accessed),
        modified: Some(then.modified),
        changed: Some(then.changed),
        // The handle's end must not change them again.
        freeze: crate::TimeFlags {
            accessed: true,
            modified: true,
            changed: true,
        },
        ..SetTimes::default()
    }
}
