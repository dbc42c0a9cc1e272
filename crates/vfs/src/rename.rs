//! Renaming, linking, and removing a name at once (MS-FSA 2.1.5.15.11, 2.1.5.15.6).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_store::{Aspect, Inode, View};

use crate::acl;
use crate::directory::{forget_link, put_name_row, remember_link, touch_directory};
use crate::grants::Conflict;
use crate::names::{ParsedPath, fold};
use crate::node::{LinkRef, Locked, Node, OpenEntry, State, lock_all};
use crate::open::{restore_times, times_of};
use crate::quota::{Deltas, QuotaOf, signed};
use crate::rows::{NameEntry, NameRow};
use crate::types::LINKS_MAX;
use crate::vfs::put_attr;
use crate::watch::{WatchAction, WatchFilter};
use crate::{AccessMask, CaseMode, Credentials, DosAttributes, Handle, Result, Vfs, VfsError};

/// How often a rename starts anew because names changed under it.
const ATTEMPTS_MAX: usize = 64;

/// Where something is to go.
struct Destination {
    directory: Arc<Node>,
    name: String,
    /// What has the name now.
    present: Option<Present>,
}

struct Present {
    node: Arc<Node>,
    name: String,
}

/// What a replacement needs to know once all is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Done,
    Again,
}

impl Vfs {
    /// Renames what is open: `path` from the share's root, or for a stream `:name`. `replace` as ReplaceIfExists.
    ///
    /// Errors: `Exists`; `AccessDenied` where the target is a directory, read-only or open; `InUse` for a directory
    /// with open files below; `PathNotFound`; `NotSameVolume` for a directory between quota trees;
    /// `InvalidParameter` into itself.
    pub async fn rename(&self, handle: &Handle, path: &str, replace: bool) -> Result<()> {
        self.rename_from(handle, None, path, replace).await
    }

    /// [`Vfs::rename`] with a path that begins at an open directory.
    pub async fn rename_from(
        &self,
        handle: &Handle,
        base: Option<&Handle>,
        path: &str,
        replace: bool,
    ) -> Result<()> {
        self.rename_at(handle, base.map(|base| &base.node), path, replace)
            .await
    }

    /// [`Vfs::rename`] with a path that begins at a directory.
    pub(crate) async fn rename_at(
        &self,
        handle: &Handle,
        base: Option<&Arc<Node>>,
        path: &str,
        replace: bool,
    ) -> Result<()> {
        self.require_delete(handle)?;
        handle.require_writable_share()?;
        self.store.throttle().await;
        if path.starts_with(':') {
            self.contend(handle, Conflict::Name).await;
            return self.rename_stream(handle, path, replace);
        }
        if handle.stream != 0 {
            return Err(VfsError::InvalidParameter);
        }
        if handle.node.inode == handle.root {
            return Err(VfsError::AccessDenied);
        }
        let (node, key) = (&handle.node, handle.grant_key());
        self.contend_on(node, None, key, Conflict::Name).await;
        if node.is_directory() {
            self.contend_below(handle).await?;
        }
        for _ in 0..ATTEMPTS_MAX {
            let to = self.destination(handle, base, path, replace)?;
            if handle.posix
                && to
                    .present
                    .as_ref()
                    .is_some_and(|there| there.node.inode == node.inode)
            {
                // Two names of one file: POSIX leaves both.
                return Ok(());
            }
            if let Some(present) = &to.present
                && present.node.inode != handle.node.inode
            {
                let by = handle.grant_key();
                self.contend_on(&present.node, None, by, Conflict::Name)
                    .await;
            }
            let from = handle.link()?;
            let replaced = to.present.as_ref().map(|present| &*present.node);
            let replaced = replaced.filter(|other| replace && other.inode != node.inode);
            let spoilt = replaced.filter(|other| self.guard_replaced(handle, other));
            if self.rename_once(handle, &to, replace)? == Step::Done {
                let names = (from.name.as_str(), to.name.as_str());
                self.guard_renamed(handle, names, spoilt.map(|other| other.inode));
                return Ok(());
            }
        }
        Err(VfsError::InUse)
    }

    /// Where a name is to come, and what has it.
    fn destination(
        &self,
        handle: &Handle,
        base: Option<&Arc<Node>>,
        path: &str,
        replace: bool,
    ) -> Result<Destination> {
        let parsed = ParsedPath::parse(path)?;
        if parsed.stream.is_some() || parsed.must_be_file {
            return Err(VfsError::InvalidName);
        }
        let (last, before) = parsed.split().ok_or(VfsError::InvalidParameter)?;
        let start = match base {
            Some(base) => Arc::clone(base),
            None => self.node(handle.root)?,
        };
        let directory = self.walk(start, before, &parsed, handle.case())?;
        // Who replaces means what is found under the name; who does not makes one.
        let entry = if replace {
            self.lookup(&View::Now, directory.inode, last, handle.case())?
        } else {
            self.lookup_own_form(&View::Now, directory.inode, last, handle.case())?
        };
        let present = match entry {
            None => None,
            Some(entry) => {
                let node = self.nodes.get(&self.store, entry.inode)?;
                node.map(|node| Present {
                    node,
                    name: entry.name,
                })
            }
        };
        Ok(Destination {
            directory,
            name: last.to_string(),
            present,
        })
    }

    fn rename_once(&self, handle: &Handle, to: &Destination, replace: bool) -> Result<Step> {
        let node = &handle.node;
        let from = handle.link()?;
        let source = self.node(from.directory)?;
        let moves = source.inode != to.directory.inode;
        // Two directories moving into each other at once would make a cycle.
        let _moving = (moves && node.is_directory()).then(|| self.rename_lock.lock());
        if moves && node.is_directory() && self.is_below(&to.directory, node.inode)? {
            return Err(VfsError::InvalidParameter);
        }
        let carries = handle.carries_opens.load(Ordering::Acquire);
        if node.is_directory() && !carries && self.has_opens_below(node)? {
            return Err(VfsError::InUse);
        }
        let target = replaced_by(node, &from, to, replace)?;
        let mut involved = vec![&source, &to.directory, node];
        involved.extend(target.map(|present| &present.node));
        let mut locked = lock_all(&involved);
        if *self.current_link(&mut locked, handle)? != *from {
            return Ok(Step::Again);
        }
        self.check_move(handle, &mut locked, &to.directory, &from)?;
        if let Some(present) = target {
            self.check_replaced(&mut locked, handle, &to.directory, present)?;
        }
        let step = self.move_name(&mut locked, handle, &source, &from, to, target)?;
        drop(locked);
        if step == Step::Done {
            self.tell_moved(handle, &from, to, target.is_some());
        }
        Ok(step)
    }

    fn current_link(&self, locked: &mut Locked<'_>, handle: &Handle) -> Result<Arc<LinkRef>> {
        let state = locked.of(&handle.node);
        state
            .open_of(handle.id)
            .map(|open| Arc::clone(&open.link))
            .ok_or(VfsError::Closed)
    }

    /// Whether the caller may put a name into the directory and the file may move there.
    fn check_move(
        &self,
        handle: &Handle,
        locked: &mut Locked<'_>,
        directory: &Node,
        from: &LinkRef,
    ) -> Result<()> {
        let is_directory = handle.node.is_directory();
        let state = locked.of(&handle.node);
        if state.gone || state.is_pending(from) {
            return Err(VfsError::DeletePending);
        }
        let tree = state.attr.quota_tree;
        if is_directory && handle.posix && from.directory != directory.inode {
            // Its entry for the directory above changes.
            self.require_writable_directory(handle, state)?;
        }
        // Every other open of the file must have agreed to its deletion (MS-FSA 2.1.5.15.11).
        let others = state
            .opens
            .iter()
            .filter(|open| open.handle != handle.id && open.stream == handle.stream);
        let mut disagree = others.filter(|open| !open.share.delete);
        if disagree.next().is_some() {
            return Err(VfsError::SharingViolation);
        }
        let parent = locked.of(directory);
        if parent.gone {
            return Err(VfsError::PathNotFound);
        }
        if !parent.pending.is_empty() {
            return Err(VfsError::DeletePending);
        }
        // A rename opens the target's directory without sharing its deletion.
        if !handle.posix
            && parent
                .opens
                .iter()
                .any(|open| open.handle != handle.id && holds_directory(open))
        {
            return Err(VfsError::SharingViolation);
        }
        if from.directory == directory.inode {
            return Ok(());
        }
        if is_directory && parent.attr.quota_tree != tree {
            return Err(VfsError::NotSameVolume);
        }
        let backup = handle.options.backup_intent || handle.posix;
        self.check_may_add(&handle.credentials, backup, directory, parent, is_directory)
    }

    /// Whether what has the name may be replaced.
    fn check_replaced(
        &self,
        locked: &mut Locked<'_>,
        handle: &Handle,
        directory: &Node,
        present: &Present,
    ) -> Result<()> {
        let parent = self.security_of(directory, locked.of(directory))?;
        let state = locked.of(&present.node);
        if state.attr.dos.contains(DosAttributes::READ_ONLY) {
            return Err(VfsError::AccessDenied);
        }
        self.check_replaced_kind(handle, &present.node)?;
        let link = LinkRef {
            directory: directory.inode,
            name: present.name.clone(),
        };
        let in_use = !handle.posix && state.opens_through(&link).next().is_some();
        if in_use || state.is_pending(&link) {
            return Err(VfsError::AccessDenied);
        }
        if handle.overrides() {
            return Ok(());
        }
        let own = self.security_of(&present.node, state)?;
        if handle.posix {
            let sticky = u32::from(locked.of(directory).attr.mode_bits) & acl::STICKY != 0;
            let user = Some(handle.credentials.user);
            let others = sticky && own.owner != user && parent.owner != user;
            return may(!others && allows_unlink(&parent, &handle.credentials));
        }
        require_deletable(&own, &parent, &handle.credentials)
    }

    fn require_writable_directory(&self, handle: &Handle, state: &mut State) -> Result<()> {
        let own = self.security_of(&handle.node, state)?;
        let allowed = acl::maximal_access(&own, &handle.credentials);
        may(handle.overrides() || allowed.contains(AccessMask::ADD_FILE))
    }

    /// NT replaces no directory; POSIX replaces an empty one by another directory.
    fn check_replaced_kind(&self, handle: &Handle, present: &Node) -> Result<()> {
        match (handle.node.is_directory(), present.is_directory()) {
            (false, false) => Ok(()),
            _ if !handle.posix => Err(VfsError::AccessDenied),
            (true, true) if self.is_empty(present.inode)? => Ok(()),
            (true, true) => Err(VfsError::NotEmpty),
            (true, false) => Err(VfsError::NotDirectory),
            (false, true) => Err(VfsError::IsDirectory),
        }
    }

    /// The change itself, in one transaction. Every node is locked.
    fn move_name(
        &self,
        locked: &mut Locked<'_>,
        handle: &Handle,
        source: &Node,
        from: &LinkRef,
        to: &Destination,
        target: Option<&Present>,
    ) -> Result<Step> {
        let node = &handle.node;
        let now = self.now();
        let mut txn = self.store.txn(handle.session());
        let mut rows = Rows::default();
        let (old_folded, new_folded) = (fold(&from.name), fold(&to.name));
        rows.load(self, source.inode, &old_folded)?;
        rows.load(self, to.directory.inode, &new_folded)?;
        let old = rows.get(source.inode, &old_folded).remove(&from.name);
        if old.is_none_or(|entry| entry.inode != node.inode) {
            return Ok(Step::Again);
        }
        let mut changes = Deltas::new();
        let mut replaced = None;
        if let Some(present) = target {
            if !rows.take(self, to.directory.inode, present)? {
                return Ok(Step::Again);
            }
            let state = locked.of(&present.node);
            let link = LinkRef {
                directory: to.directory.inode,
                name: present.name.clone(),
            };
            replaced =
                Some(self.drop_replaced(&mut txn, &present.node, state, &link, &mut changes)?);
        }
        let row = rows.get(to.directory.inode, &new_folded);
        if row
            .find(&to.name, handle.case())
            .is_some_and(|entry| target.is_none() || entry.name == to.name)
        {
            return Ok(Step::Again);
        }
        row.insert(NameEntry {
            name: to.name.clone(),
            inode: node.inode,
            kind: node.kind,
        })?;
        rows.put(&mut txn);

        let tree = locked.of(&to.directory).attr.quota_tree;
        let state = locked.of(node);
        let kept = (state.attr.clone(), times_of(&state.attr));
        let link = Arc::new(LinkRef {
            directory: to.directory.inode,
            name: to.name.clone(),
        });
        if source.inode != to.directory.inode {
            self.take_security_along(&mut txn, node, state)?;
        }
        forget_link(&mut txn, node.inode, &mut state.attr, from);
        remember_link(&mut txn, node.inode, &mut state.attr, &link);
        if tree != state.attr.quota_tree {
            let charged = signed(state.attr.charged);
            let old_tree = std::mem::replace(&mut state.attr.quota_tree, tree);
            changes.extend(tree_changes(old_tree, tree, charged));
        }
        if !handle.frozen.lock().changed {
            state.attr.changed = now;
        }
        put_attr(&mut txn, node.inode, &mut state.attr);
        txn.note(node.inode, Aspect::Name);
        let mut before = Vec::new();
        for directory in [source, &*to.directory] {
            if before
                .iter()
                .all(|(seen, _): &(Inode, _)| *seen != directory.inode)
            {
                let parent = locked.of(directory);
                before.push((directory.inode, times_of(&parent.attr)));
                touch_directory(&mut txn, directory.inode, parent, now);
            }
        }
        if let Err(error) = self.quotas.commit(txn, changes, true) {
            locked.of(node).attr = kept.0;
            for directory in [source, &*to.directory] {
                if let Some((_, times)) = before.iter().find(|(seen, _)| *seen == directory.inode) {
                    restore_times(&mut locked.of(directory).attr, *times);
                }
            }
            return Err(error);
        }
        if let (Some(present), Some(replaced)) = (target, replaced) {
            self.finish_replaced(locked.of(&present.node), &present.node, replaced);
            if present.node.is_directory() {
                locked.of(&to.directory).subdirectories.take();
            }
        }
        if node.is_directory() {
            locked.of(source).subdirectories.take();
            locked.of(&to.directory).subdirectories.add();
        }
        let state = locked.of(node);
        for open in &mut state.opens {
            if *open.link == *from {
                open.link = Arc::clone(&link);
            }
        }
        for pending in &mut state.pending {
            if **pending == *from {
                *pending = Arc::clone(&link);
            }
        }
        Ok(Step::Done)
    }

    /// Takes one name off a file that is replaced; its directory's row is the caller's. Returns the new attributes, or
    /// None where the whole file goes.
    fn drop_replaced(
        &self,
        txn: &mut strongroom_store::Txn<'_>,
        node: &Node,
        state: &mut State,
        link: &LinkRef,
        changes: &mut Deltas,
    ) -> Result<Option<crate::rows::Attr>> {
        let mut attr = state.attr.clone();
        forget_link(txn, node.inode, &mut attr, link);
        attr.links = attr.links.saturating_sub(1);
        attr.changed = self.now();
        txn.note(node.inode, Aspect::Name);
        if attr.links == 0 && state.opens.is_empty() {
            changes.extend(self.purge(txn, node, state)?);
            return Ok(None);
        }
        if attr.links == 0 {
            self.keep_security(txn, node, state, &mut attr)?;
            txn.put(
                crate::rows::ORPHANS,
                crate::rows::list_key(node.inode.0),
                Vec::new(),
            );
        }
        put_attr(txn, node.inode, &mut attr);
        Ok(Some(attr))
    }

    fn finish_replaced(&self, state: &mut State, node: &Node, attr: Option<crate::rows::Attr>) {
        match attr {
            Some(attr) => {
                state.gone = attr.links == 0;
                state.attr = attr;
            }
            None => {
                state.gone = true;
                state.attr.links = 0;
                self.nodes.remove(node.inode);
            }
        }
    }

    fn tell_moved(&self, handle: &Handle, from: &LinkRef, to: &Destination, replaced: bool) {
        if self.is_unheard() {
            return;
        }
        let (node, by) = (&handle.node, handle.parent_grant);
        let filter = WatchFilter::name(node.is_directory());
        let directory = to.directory.inode;
        if replaced {
            self.tell(by, directory, filter, WatchAction::Removed, &to.name);
        }
        if from.directory == directory {
            self.tell_renamed(by, directory, filter, &from.name, &to.name);
        } else {
            self.tell(by, from.directory, filter, WatchAction::Removed, &from.name);
            self.tell(by, directory, filter, WatchAction::Added, &to.name);
        }
        if !node.is_directory() {
            // As NTFS does it, the file under its new name is told to have changed as well.
            let attributes = WatchFilter::ATTRIBUTES.union(WatchFilter::CREATION);
            self.tell(by, directory, attributes, WatchAction::Modified, &to.name);
        }
    }

    /// Whether anything below a directory is open (MS-FSA 2.1.5.15.11: such a directory cannot be renamed).
    /// Only nodes in memory can be open, so only those are asked.
    fn has_opens_below(&self, directory: &Node) -> Result<bool> {
        for link in self.nodes.open_links(directory.inode) {
            // What is open may have lost its name, and the directory may be gone since: nothing is above it then.
            let below = self
                .node(link)
                .and_then(|above| self.is_below(&above, directory.inode));
            match below {
                Ok(true) => return Ok(true),
                Ok(false) | Err(VfsError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Gives an open file one more name (MS-FSA 2.1.5.15.6).
    ///
    /// Errors: `Exists`, `IsDirectory` for directories, `TooManyLinks`, `AccessDenied`.
    pub async fn link(&self, handle: &Handle, path: &str, replace: bool) -> Result<()> {
        self.link_at(handle, None, path, replace).await
    }

    /// [`Vfs::link`] with a path that begins at a directory.
    pub(crate) async fn link_at(
        &self,
        handle: &Handle,
        base: Option<&Arc<Node>>,
        path: &str,
        replace: bool,
    ) -> Result<()> {
        handle.check_open()?;
        handle.require_writable_share()?;
        if handle.node.is_directory() {
            return Err(VfsError::IsDirectory);
        }
        if handle.stream != 0 {
            return Err(VfsError::InvalidParameter);
        }
        self.store.throttle().await;
        for _ in 0..ATTEMPTS_MAX {
            let to = self.destination(handle, base, path, replace)?;
            if let Some(present) = to.present.as_ref().filter(|_| replace) {
                let by = handle.grant_key();
                self.contend_on(&present.node, None, by, Conflict::Name)
                    .await;
            }
            if self.link_once(handle, &to, replace)? == Step::Done {
                self.tell(
                    handle.parent_grant,
                    to.directory.inode,
                    WatchFilter::FILE_NAME,
                    WatchAction::Added,
                    &to.name,
                );
                return Ok(());
            }
        }
        Err(VfsError::InUse)
    }

    fn link_once(&self, handle: &Handle, to: &Destination, replace: bool) -> Result<Step> {
        let node = &handle.node;
        let target = to.present.as_ref();
        if target.is_some_and(|present| present.node.inode == node.inode) {
            return if replace {
                Ok(Step::Done)
            } else {
                Err(VfsError::Exists)
            };
        }
        let mut involved = vec![&to.directory, node];
        involved.extend(target.map(|present| &present.node));
        let mut locked = lock_all(&involved);
        let parent = locked.of(&to.directory);
        if parent.gone {
            return Err(VfsError::PathNotFound);
        }
        if !parent.pending.is_empty() {
            return Err(VfsError::DeletePending);
        }
        let tree = parent.attr.quota_tree;
        let backup = handle.options.backup_intent || handle.posix;
        self.check_may_add(&handle.credentials, backup, &to.directory, parent, false)?;
        let state = locked.of(node);
        if state.gone || !state.pending.is_empty() {
            return Err(VfsError::DeletePending);
        }
        if state.attr.links >= LINKS_MAX {
            return Err(VfsError::TooManyLinks);
        }
        if state.attr.quota_tree != tree {
            return Err(VfsError::NotSameVolume);
        }
        if let Some(present) = target {
            if !replace {
                return Err(VfsError::Exists);
            }
            self.check_replaced(&mut locked, handle, &to.directory, present)?;
        }
        self.add_name(&mut locked, handle, to)
    }

    fn add_name(&self, locked: &mut Locked<'_>, handle: &Handle, to: &Destination) -> Result<Step> {
        let node = &handle.node;
        let now = self.now();
        let mut txn = self.store.txn(handle.session());
        let folded = fold(&to.name);
        let mut rows = Rows::default();
        rows.load(self, to.directory.inode, &folded)?;
        let mut changes = Deltas::new();
        let mut replaced = None;
        if let Some(present) = &to.present {
            if !rows.take(self, to.directory.inode, present)? {
                return Ok(Step::Again);
            }
            let link = LinkRef {
                directory: to.directory.inode,
                name: present.name.clone(),
            };
            let state = locked.of(&present.node);
            replaced =
                Some(self.drop_replaced(&mut txn, &present.node, state, &link, &mut changes)?);
        }
        let row = rows.get(to.directory.inode, &folded);
        if to.present.is_none() && row.find(&to.name, handle.case()).is_some() {
            return Ok(Step::Again);
        }
        row.insert(NameEntry {
            name: to.name.clone(),
            inode: node.inode,
            kind: node.kind,
        })?;
        rows.put(&mut txn);
        let state = locked.of(node);
        let kept = state.attr.clone();
        self.take_security_along(&mut txn, node, state)?;
        let link = LinkRef {
            directory: to.directory.inode,
            name: to.name.clone(),
        };
        remember_link(&mut txn, node.inode, &mut state.attr, &link);
        state.attr.links += 1;
        state.attr.changed = now;
        put_attr(&mut txn, node.inode, &mut state.attr);
        txn.note(node.inode, Aspect::Name);
        let parent = locked.of(&to.directory);
        let before = times_of(&parent.attr);
        touch_directory(&mut txn, to.directory.inode, parent, now);
        if let Err(error) = self.quotas.commit(txn, changes, false) {
            locked.of(node).attr = kept;
            restore_times(&mut locked.of(&to.directory).attr, before);
            return Err(error);
        }
        if let (Some(present), Some(replaced)) = (&to.present, replaced) {
            self.finish_replaced(locked.of(&present.node), &present.node, replaced);
        }
        Ok(Step::Done)
    }

    /// Removes a name at once, also under open handles, which keep the file until they close (POSIX unlink and rmdir).
    ///
    /// Errors: `NotFound`, `NotEmpty`, `AccessDenied`.
    pub async fn unlink(
        &self,
        credentials: &Credentials,
        directory: &Handle,
        name: &str,
        case: CaseMode,
    ) -> Result<()> {
        directory.check_open()?;
        directory.require_writable_share()?;
        self.store.throttle().await;
        let parent = &directory.node;
        for _ in 0..ATTEMPTS_MAX {
            let entry = self
                .lookup(&View::Now, parent.inode, name, case)?
                .ok_or(VfsError::NotFound)?;
            let Some(node) = self.nodes.get(&self.store, entry.inode)? else {
                continue;
            };
            self.contend_on(&node, None, None, Conflict::Name).await;
            let link = LinkRef {
                directory: parent.inode,
                name: entry.name,
            };
            self.guard_removed(directory.share, credentials.session, &node, &link.name);
            directory.require_writable_share()?;
            match self.unlink_once(credentials, parent, &node, &link) {
                Err(VfsError::NotFound) => {}
                Ok(()) => {
                    self.told_removed(None, &node, &link);
                    return Ok(());
                }
                failed => return failed,
            }
        }
        Err(VfsError::NotFound)
    }

    fn unlink_once(
        &self,
        credentials: &Credentials,
        parent: &Arc<Node>,
        node: &Arc<Node>,
        link: &LinkRef,
    ) -> Result<()> {
        let mut locked = lock_all(&[parent, node]);
        let above = self.security_of(parent, locked.of(parent))?;
        let state = locked.of(node);
        if state.gone {
            return Err(VfsError::NotFound);
        }
        require_deletable(&*self.security_of(node, state)?, &above, credentials)?;
        if node.is_directory() && !self.is_empty(node.inode)? {
            return Err(VfsError::NotEmpty);
        }
        self.remove_locked(&mut locked, parent, node, link, credentials.session)
    }
}

/// What goes when a file takes a name. A new spelling of its own name replaces nothing; another name of the
/// same file cannot be replaced by it.
fn replaced_by<'a>(
    node: &Node,
    from: &LinkRef,
    to: &'a Destination,
    replace: bool,
) -> Result<Option<&'a Present>> {
    let Some(present) = &to.present else {
        return Ok(None);
    };
    let itself = present.node.inode == node.inode;
    if itself && from.directory == to.directory.inode && present.name == from.name {
        return Ok(None);
    }
    match (replace, itself) {
        (false, _) => Err(VfsError::Exists),
        (true, true) => Err(VfsError::AccessDenied),
        (true, false) => Ok(Some(present)),
    }
}

/// Whoever may write to a directory may take names out of it, to POSIX.
fn allows_unlink(parent: &acl::SecurityDescriptor, credentials: &Credentials) -> bool {
    acl::maximal_access(parent, credentials)
        .intersects(AccessMask::ADD_FILE | AccessMask::DELETE_CHILD)
}

fn may(allowed: bool) -> Result<()> {
    if allowed {
        Ok(())
    } else {
        Err(VfsError::AccessDenied)
    }
}

/// DELETE by the file's own list, or DELETE_CHILD by its directory's.
fn require_deletable(
    own: &acl::SecurityDescriptor,
    parent: &acl::SecurityDescriptor,
    credentials: &Credentials,
) -> Result<()> {
    let allowed = acl::maximal_access(own, credentials).contains(AccessMask::DELETE)
        || acl::maximal_access(parent, credentials).contains(AccessMask::DELETE_CHILD);
    may(allowed)
}

fn tree_changes(old: Inode, new: Inode, charged: i64) -> Deltas {
    let mut changes = Deltas::new();
    if old != Inode(0) {
        changes.push((QuotaOf::Tree(old), -charged));
    }
    if new != Inode(0) {
        changes.push((QuotaOf::Tree(new), charged));
    }
    changes
}

/// The rows of names that a rename changes; one where all names fold alike, three where the name that is replaced is
/// spelt in another form.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<(Inode, String, NameRow)>,
}

impl Rows {
    fn load(&mut self, vfs: &Vfs, directory: Inode, folded: &str) -> Result<()> {
        if self
            .rows
            .iter()
            .any(|(inode, name, _)| *inode == directory && name == folded)
        {
            return Ok(());
        }
        self.rows.push((
            directory,
            folded.to_owned(),
            vfs.name_row(&View::Now, directory, folded)?,
        ));
        Ok(())
    }

    fn get(&mut self, directory: Inode, folded: &str) -> &mut NameRow {
        let found = self
            .rows
            .iter_mut()
            .find(|(inode, name, _)| *inode == directory && name == folded);
        &mut found.expect("the row was loaded").2
    }

    /// Takes a present name out of its row; false if it means something else by now.
    fn take(&mut self, vfs: &Vfs, directory: Inode, present: &Present) -> Result<bool> {
        let folded = fold(&present.name);
        self.load(vfs, directory, &folded)?;
        let removed = self.get(directory, &folded).remove(&present.name);
        Ok(removed.is_some_and(|entry| entry.inode == present.node.inode))
    }

    fn put(&self, txn: &mut strongroom_store::Txn<'_>) {
        for (directory, folded, row) in &self.rows {
            put_name_row(txn, *directory, folded, row);
        }
    }
}

/// Whether an open of a directory keeps names from being moved into it. Watchers, which share no deletion, do not.
fn holds_directory(open: &OpenEntry) -> bool {
    open.access.contains(AccessMask::DELETE)
}
