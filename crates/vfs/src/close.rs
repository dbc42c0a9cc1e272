//! Closing, and what goes with the last open (MS-FSA 2.1.5.4).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_store::{Aspect, Inode, ObjectId, SessionId, Txn, View};

use crate::directory::touch_directory;
use crate::grants::{Conflict, GrantKey};
use crate::node::{LinkRef, Node, OpenEntry, State, lock_all};
use crate::quota::{deltas, signed};
use crate::rows::{self, AttrFlags, SdRef};
use crate::vfs::put_attr;
use crate::watch::{WatchAction, WatchFilter};
use crate::{DosAttributes, Handle, Result, Vfs, VfsError};

/// Rows removed at once when a directory's descriptors go.
const TEMPLATES_BATCH: usize = 128;

/// What is left to do after an open is off the list.
#[derive(Debug, Default)]
struct Leaving {
    link: Option<Arc<LinkRef>>,
    /// The open took its directory's name with it, while others still have it open.
    doomed: bool,
    remove_name: bool,
    purge: bool,
}

impl Vfs {
    /// Ends an open: its locks, its share modes, and the file itself where it was marked for deletion and this was the
    /// last open of it. A second close does nothing.
    pub async fn close(&self, handle: &Handle) -> Result<()> {
        self.close_now(handle)
    }

    pub(crate) fn close_now(&self, handle: &Handle) -> Result<()> {
        if !handle.mark_closed() {
            return Ok(());
        }
        let closed = self.close_marked(handle);
        self.release_grant(handle);
        // Last: a crash before this ends the open again, one after it finds nothing left to do.
        let closed = closed.and(self.forget_persistent(handle));
        if let Err(error) = self.settle_published() {
            // Of another file, which stays in the list.
            tracing::warn!(%error, "a charge was not put right");
        }
        closed
    }

    fn close_marked(&self, handle: &Handle) -> Result<()> {
        let node = &handle.node;
        node.locks.release(handle.id);
        if handle.wrote.load(Ordering::Acquire) {
            self.guard_close(handle);
        }
        if node.is_directory() {
            self.watches.handle_closed(node.inode, handle.id);
        }
        let leaving = self.leave(handle)?;
        let Some(link) = leaving.link else {
            return Ok(());
        };
        if leaving.doomed {
            self.watches.directory_deleted(node.inode);
        }
        if handle.wrote.load(Ordering::Acquire) {
            self.tell_written(handle, &link);
        }
        if leaving.remove_name {
            return self.remove_last(handle, &link);
        }
        if leaving.purge {
            let mut state = node.lock();
            return self.purge_gone(node, &mut state, handle.session());
        }
        Ok(())
    }

    /// Takes the open off the file's list and writes down what it left behind.
    fn leave(&self, handle: &Handle) -> Result<Leaving> {
        let node = &handle.node;
        let mut state = node.lock();
        let Some(at) = state.opens.iter().position(|open| open.handle == handle.id) else {
            return Ok(Leaving::default());
        };
        let OpenEntry { link, .. } = state.opens.remove(at);
        let mut doomed = false;
        if handle.delete_on_close.load(Ordering::Acquire) && !state.gone {
            mark(&mut state, handle.stream, &link);
            doomed = handle.is_directory() && self.is_empty(node.inode)?;
        }
        let goes = state.pending_streams.contains(&handle.stream) || state.is_void(handle.stream);
        if handle.stream != 0 && goes && state.opens_of_stream(handle.stream).next().is_none() {
            self.finish_stream(handle, &mut state)?;
        }
        let at_once = handle.stream == 0 && handle.unlinks.load(Ordering::Acquire);
        let remove_name =
            state.is_pending(&link) && (at_once || state.opens_through(&link).next().is_none());
        let purge = state.gone && state.opens.is_empty();
        if !remove_name && !purge && !state.gone {
            self.settle(handle, &mut state)?;
        }
        Ok(Leaving {
            link: Some(link),
            doomed,
            remove_name,
            purge,
        })
    }

    /// Writes what writing left behind in memory: the change time, the archive attribute, the charge.
    pub(crate) fn settle(&self, handle: &Handle, state: &mut State) -> Result<()> {
        let node = &handle.node;
        if !state.dirty && state.charging && state.opens.is_empty() {
            // Charged ahead for a write that failed.
            return self.settle_charge(node, state);
        }
        if !state.dirty {
            return Ok(());
        }
        let mut attr = state.attr.clone();
        attr.dos = attr.dos.union(DosAttributes::ARCHIVE);
        if !handle.frozen.lock().changed {
            attr.changed = self.now();
        }
        // Always, as the count of changes rises even where the client keeps all times still.
        let mut txn = self.store.txn(handle.session());
        // What was written has its place; a close must not fail for want of more.
        txn.draw_on_reserve();
        put_attr(&mut txn, node.inode, &mut attr);
        txn.commit()?;
        state.attr = attr;
        state.dirty = false;
        if state.opens.is_empty() || self.quotas.is_counting() {
            self.settle_charge(node, state)?;
        }
        Ok(())
    }

    fn tell_written(&self, handle: &Handle, link: &LinkRef) {
        if self.is_unheard() {
            return;
        }
        let by = handle.parent_grant;
        let resized = handle.resized.load(Ordering::Acquire);
        if handle.stream == 0 {
            let size = if resized {
                WatchFilter::SIZE
            } else {
                WatchFilter(0)
            };
            let filter = WatchFilter::LAST_WRITE
                .union(size)
                .union(WatchFilter::ATTRIBUTES);
            self.tell(
                by,
                link.directory,
                filter,
                WatchAction::Modified,
                &link.name,
            );
        } else {
            let size = if resized {
                WatchFilter::STREAM_SIZE
            } else {
                WatchFilter(0)
            };
            let path = format!("{}:{}", link.name, handle.stream_name());
            let filter = WatchFilter::STREAM_WRITE.union(size);
            self.tell(
                by,
                link.directory,
                filter,
                WatchAction::ModifiedStream,
                &path,
            );
        }
    }

    /// Removes a name that was marked, now that its last open is closed or that of a POSIX client which marked it, and
    /// the file with its last name, as far as nobody has it open.
    /// A directory that was filled meanwhile stays, and so does what a session marked that may change nothing any more.
    fn remove_last(&self, handle: &Handle, link: &Arc<LinkRef>) -> Result<()> {
        let node = &handle.node;
        let directory = self.node(link.directory)?;
        self.guard_removed(handle.share, handle.session(), node, &link.name);
        let mut locked = lock_all(&[&directory, node]);
        let state = locked.of(node);
        let waits =
            !handle.unlinks.load(Ordering::Acquire) && state.opens_through(link).next().is_some();
        if !state.is_pending(link) || waits {
            return Ok(());
        }
        let kept = node.is_directory() && !self.is_empty(node.inode)?;
        if kept || handle.is_fenced() {
            state.pending.retain(|pending| pending != link);
            return Ok(());
        }
        let removed = self.remove_locked(&mut locked, &directory, node, link, handle.session());
        if matches!(removed, Err(VfsError::NotFound)) {
            // A POSIX client removed the name while the file was open by it, and the file has others.
            let state = locked.of(node);
            state.pending.retain(|pending| pending != link);
            return Ok(());
        }
        drop(locked);
        removed?;
        self.told_removed(handle.parent_grant, node, link);
        Ok(())
    }

    pub(crate) fn told_removed(&self, by: Option<GrantKey>, node: &Node, link: &LinkRef) {
        let is_directory = node.is_directory();
        if is_directory {
            self.watches.directory_deleted(node.inode);
        }
        self.tell(
            by,
            link.directory,
            WatchFilter::name(is_directory),
            WatchAction::Removed,
            &link.name,
        );
    }

    /// Removes one name in one transaction; with the last name everything that nobody has open.
    /// The states of directory and node are locked.
    pub(crate) fn remove_locked(
        &self,
        locked: &mut crate::node::Locked<'_>,
        directory: &Node,
        node: &Node,
        link: &LinkRef,
        session: SessionId,
    ) -> Result<()> {
        let now = self.now();
        let mut txn = self.store.txn(session);
        let state = locked.of(node);
        let mut attr = state.attr.clone();
        self.remove_name(&mut txn, node.inode, &mut attr, link)?;
        attr.changed = now;
        txn.note(node.inode, Aspect::Name);
        let last = attr.links == 0;
        let purged = last && state.opens.is_empty();
        let mut changes = crate::quota::Deltas::new();
        if purged {
            changes = self.purge(&mut txn, node, state)?;
        } else {
            if last {
                self.keep_security(&mut txn, node, state, &mut attr)?;
                txn.put(rows::ORPHANS, rows::list_key(node.inode.0), Vec::new());
            }
            put_attr(&mut txn, node.inode, &mut attr);
        }
        let parent = locked.of(directory);
        let before = crate::open::times_of(&parent.attr);
        touch_directory(&mut txn, directory.inode, parent, now);
        if let Err(error) = self.quotas.commit(txn, changes, false) {
            crate::open::restore_times(&mut locked.of(directory).attr, before);
            return Err(error);
        }
        if node.is_directory() {
            locked.of(directory).subdirectories.take();
        }
        let state = locked.of(node);
        state.attr = attr;
        state.gone = last;
        state.pending.retain(|pending| **pending != *link);
        if purged {
            self.nodes.remove(node.inode);
        }
        Ok(())
    }

    /// The rest of a file whose names are gone and whose last open was closed.
    fn purge_gone(&self, node: &Node, state: &mut State, session: SessionId) -> Result<()> {
        if !state.opens.is_empty() {
            return Ok(());
        }
        let mut txn = self.store.txn(session);
        txn.delete(rows::ORPHANS, rows::list_key(node.inode.0));
        let changes = self.purge(&mut txn, node, state)?;
        self.quotas.commit(txn, changes, false)?;
        self.nodes.remove(node.inode);
        Ok(())
    }

    /// Deletes every row of an inode but its names, and its data. Returns what its charge leaves.
    pub(crate) fn purge(
        &self,
        txn: &mut Txn<'_>,
        node: &Node,
        state: &mut State,
    ) -> Result<crate::quota::Deltas> {
        let inode = node.inode;
        let mut attr = state.attr.clone();
        let mut changes = crate::quota::Deltas::new();
        if attr.charged != 0 {
            let owner = self.security_of(node, state)?.owner;
            changes = deltas(owner, &attr, -signed(attr.charged));
        }
        if self.quotas.is_counting() {
            txn.delete(rows::CHARGING, rows::list_key(inode.0));
        }
        if attr.flags.has(AttrFlags::STREAMS) {
            for (id, name) in self.stream_rows(&View::Now, inode)? {
                crate::streams::delete_stream(txn, inode, id, &name);
            }
        }
        self.drop_eas(txn, inode, &mut attr)?;
        if attr.reparse_tag != 0 {
            txn.delete(rows::REPARSE, rows::inode_key(inode));
        }
        if attr.security == SdRef::Own {
            txn.delete(rows::SECURITY, rows::own_security_key(inode));
        }
        if node.is_directory() {
            self.drop_templates(txn, inode)?;
        } else {
            txn.delete_object(ObjectId::data(inode));
        }
        txn.delete(rows::ATTRIBUTES, rows::inode_key(inode));
        Ok(changes)
    }

    fn drop_templates(&self, txn: &mut Txn<'_>, directory: Inode) -> Result<()> {
        let (start, end) = (rows::key_of(directory, &[1]), rows::key_of(directory, &[2]));
        for (key, _) in self
            .store
            .scan(rows::SECURITY, &start, &end, TEMPLATES_BATCH)?
        {
            txn.delete(rows::SECURITY, key);
        }
        Ok(())
    }

    /// Files without a name that were open when the last run ended.
    pub(crate) fn finish_orphans(&self) -> Result<()> {
        for inode in self.listed(rows::ORPHANS)? {
            match self.nodes.get(&self.store, inode)? {
                Some(node) => self.purge_gone(&node, &mut node.lock(), SessionId::SYSTEM)?,
                None => {
                    let mut txn = self.store.txn(SessionId::SYSTEM);
                    txn.delete(rows::ORPHANS, rows::list_key(inode.0));
                    txn.commit()?;
                }
            }
        }
        Ok(())
    }

    /// Marks what is open for deletion with its last open, or takes the mark back (MS-FSA 2.1.5.15.3).
    ///
    /// Errors: `CannotDelete` for read-only files and roots, `NotEmpty`, `AccessDenied` without DELETE.
    pub async fn set_delete(&self, handle: &Handle, delete: bool) -> Result<()> {
        self.require_delete(handle)?;
        handle.require_writable_share()?;
        if delete {
            self.contend(handle, Conflict::Name).await;
        }
        let node = &handle.node;
        handle
            .unlinks
            .store(handle.posix && delete, Ordering::Release);
        let mut state = node.lock();
        let link = state
            .open_of(handle.id)
            .map(|open| Arc::clone(&open.link))
            .ok_or(VfsError::Closed)?;
        if !delete {
            state.pending_streams.retain(|id| *id != handle.stream);
            if handle.stream == 0 {
                state.pending.retain(|pending| *pending != link);
            }
            return self.record_delete(handle, false);
        }
        if state.attr.dos.contains(DosAttributes::READ_ONLY) || node.inode == handle.root {
            return Err(VfsError::CannotDelete);
        }
        if handle.stream == 0 && node.is_directory() && !self.is_empty(node.inode)? {
            return Err(VfsError::NotEmpty);
        }
        self.record_delete(handle, true)?;
        mark(&mut state, handle.stream, &link);
        drop(state);
        if handle.is_directory() {
            self.watches.directory_deleted(node.inode);
        }
        Ok(())
    }
}

/// Marks a name, or a stream, for deletion.
pub(crate) fn mark(state: &mut State, stream: u32, link: &Arc<LinkRef>) {
    if stream != 0 {
        if !state.pending_streams.contains(&stream) {
            state.pending_streams.push(stream);
        }
    } else if !state.is_pending(link) && !state.gone {
        state.pending.push(Arc::clone(link));
    }
}
