//! Named streams: their rows, their listing, their end.

use strongroom_store::{Aspect, Inode, ObjectId, Txn, View};

use crate::names::{check_stream_name, fold};
use crate::node::{Node, State};
use crate::rows::{self, Attr, AttrFlags, Reader, Writer};
use crate::vfs::put_attr;
use crate::watch::{WatchAction, WatchFilter};
use crate::{AccessMask, FileKind, Handle, Result, StreamInfo, Vfs, VfsError};

/// Streams that one file may have.
const STREAMS_MAX: usize = 4_096;

impl Vfs {
    /// A stream's id and name, found without case.
    pub(crate) fn find_stream(
        &self,
        view: &View,
        inode: Inode,
        attr: &Attr,
        name: &str,
    ) -> Result<Option<(u32, String)>> {
        if !attr.flags.has(AttrFlags::STREAMS) {
            return Ok(None);
        }
        let row = self
            .store
            .at(view)
            .get(rows::STREAMS, &stream_key(inode, name))?;
        row.map(|row| decode_stream(&row)).transpose()
    }

    /// Gives a file a stream, if one is asked for, and returns its id; 0 if none is.
    pub(crate) fn make_stream(
        &self,
        txn: &mut Txn<'_>,
        inode: Inode,
        attr: &mut Attr,
        name: Option<&str>,
    ) -> Result<u32> {
        let Some(name) = name else { return Ok(0) };
        if attr.flags.has(AttrFlags::STREAMS)
            && self.stream_rows(&View::Now, inode)?.len() >= STREAMS_MAX
        {
            return Err(VfsError::TooMany);
        }
        let id = attr.next_stream;
        attr.next_stream = id.checked_add(1).ok_or(VfsError::TooMany)?;
        attr.flags.set(AttrFlags::STREAMS, true);
        put_stream(txn, inode, id, name);
        txn.note(inode, Aspect::Stream);
        Ok(id)
    }

    /// Every stream's id and name.
    pub(crate) fn stream_rows(&self, view: &View, inode: Inode) -> Result<Vec<(u32, String)>> {
        let (start, end) = (rows::inode_key(inode), rows::end_of(inode));
        let rows = self
            .store
            .at(view)
            .scan(rows::STREAMS, &start, &end, STREAMS_MAX + 1)?;
        rows.iter().map(|(_, row)| decode_stream(row)).collect()
    }

    /// Removes every stream; those that are open go when they are closed.
    pub(crate) fn drop_streams(
        &self,
        txn: &mut Txn<'_>,
        node: &Node,
        state: &mut State,
        attr: &mut Attr,
    ) -> Result<()> {
        if !attr.flags.has(AttrFlags::STREAMS) {
            return Ok(());
        }
        self.doubt_charge(node, state)?;
        let inode = node.inode;
        let mut left = false;
        for (id, name) in self.stream_rows(&View::Now, inode)? {
            if state.opens_of_stream(id).next().is_some() {
                left = true;
                if !state.pending_streams.contains(&id) {
                    state.pending_streams.push(id);
                }
            } else {
                delete_stream(txn, inode, id, &name);
            }
        }
        attr.flags.set(AttrFlags::STREAMS, left);
        Ok(())
    }

    /// Removes a stream whose last open was closed. The state is locked.
    pub(crate) fn finish_stream(&self, handle: &Handle, state: &mut State) -> Result<()> {
        let inode = handle.node.inode;
        state.pending_streams.retain(|id| *id != handle.stream);
        state.set_void(handle.stream, false);
        let rows = self.stream_rows(&View::Now, inode)?;
        let Some((_, name)) = rows.into_iter().find(|(id, _)| *id == handle.stream) else {
            return Ok(());
        };
        self.doubt_charge(&handle.node, state)?;
        let mut attr = state.attr.clone();
        let mut txn = self.store.txn(handle.session());
        delete_stream(&mut txn, inode, handle.stream, &name);
        attr.changed = self.now();
        put_attr(&mut txn, inode, &mut attr);
        txn.note(inode, Aspect::Stream);
        txn.commit()?;
        state.attr = attr;
        self.settle_charge(&handle.node, state)
    }

    /// The streams of a file (MS-FSCC 2.4.43); the data stream first, with an empty name; directories have none.
    pub fn streams(&self, handle: &Handle) -> Result<Vec<StreamInfo>> {
        handle.check_open()?;
        let node = &handle.node;
        let named = {
            let state = node.lock();
            let has = state.attr.flags.has(AttrFlags::STREAMS);
            let mut rows = if has {
                self.stream_rows(&node.view, node.inode)?
            } else {
                Vec::new()
            };
            rows.retain(|(id, _)| !state.is_void(*id));
            rows
        };
        let mut streams = Vec::with_capacity(named.len() + 1);
        if node.kind != FileKind::Directory {
            streams.push((0, String::new()));
        }
        streams.extend(named);
        let objects: Vec<_> = streams
            .iter()
            .map(|(id, _)| ObjectId {
                inode: node.inode,
                stream: *id,
            })
            .collect();
        let heads = self.store.at(&node.view).heads(&objects)?;
        let infos = streams
            .into_iter()
            .zip(heads)
            .map(|((_, name), head)| StreamInfo {
                name,
                size: head.size,
                allocated: crate::stat::allocation(head.size, head.allocated, false),
            });
        Ok(infos.collect())
    }

    /// Renames an open stream; `name` as `:stream` or `:stream:$DATA`. The data stream has no name to change.
    pub(crate) fn rename_stream(&self, handle: &Handle, name: &str, replace: bool) -> Result<()> {
        let path = crate::names::ParsedPath::parse(name)?;
        let (Some(new), true) = (path.stream, path.components.is_empty()) else {
            return Err(VfsError::InvalidParameter);
        };
        if handle.stream == 0 {
            return Err(VfsError::NotSupported);
        }
        check_stream_name(new)?;
        let inode = handle.node.inode;
        let mut state = handle.lock_open()?;
        // Every other open of the stream must have agreed to its deletion, as for files (MS-FSA 2.1.5.15.11).
        let disagrees =
            |open: &crate::node::OpenEntry| open.handle != handle.id && !open.share.delete;
        if state.opens_of_stream(handle.stream).any(disagrees) {
            return Err(VfsError::SharingViolation);
        }
        // What the handle was opened by may be another stream's name by now.
        let named = self.stream_rows(&View::Now, inode)?;
        let old = named.into_iter().find(|(id, _)| *id == handle.stream);
        let (_, old) = old.ok_or(VfsError::Closed)?;
        let mut attr = state.attr.clone();
        let mut txn = self.store.txn(handle.session());
        if let Some((id, name)) = self.find_stream(&View::Now, inode, &attr, new)?
            && id != handle.stream
        {
            if !replace {
                return Err(VfsError::Exists);
            }
            if state.opens_of_stream(id).next().is_some() {
                return Err(VfsError::InUse);
            }
            self.doubt_charge(&handle.node, &mut state)?;
            delete_stream(&mut txn, inode, id, &name);
        }
        txn.delete(rows::STREAMS, stream_key(inode, &old));
        put_stream(&mut txn, inode, handle.stream, new);
        state.set_void(handle.stream, false);
        attr.changed = self.now();
        put_attr(&mut txn, inode, &mut attr);
        txn.note(inode, Aspect::Stream);
        txn.commit()?;
        state.attr = attr;
        *handle.stream_name.lock() = new.into();
        // A stream that had the name is gone.
        self.settle_charge(&handle.node, &mut state)?;
        drop(state);
        self.tell_stream(handle, WatchAction::ModifiedStream)
    }

    /// Tells watchers of a stream's coming, going or changing.
    pub(crate) fn tell_stream(&self, handle: &Handle, action: WatchAction) -> Result<()> {
        if self.is_unheard() {
            return Ok(());
        }
        let filter = match action {
            WatchAction::ModifiedStream => {
                WatchFilter::STREAM_SIZE.union(WatchFilter::STREAM_WRITE)
            }
            WatchAction::Added
            | WatchAction::Removed
            | WatchAction::Modified
            | WatchAction::RenamedOld
            | WatchAction::RenamedNew
            | WatchAction::AddedStream
            | WatchAction::RemovedStream => WatchFilter::STREAM_NAME,
        };
        let link = handle.link()?;
        let path = format!("{}:{}", link.name, handle.stream_name());
        self.tell(handle.parent_grant, link.directory, filter, action, &path);
        Ok(())
    }

    /// Whether a handle may have its stream renamed or deleted.
    pub(crate) fn require_delete(&self, handle: &Handle) -> Result<()> {
        handle.require(AccessMask::DELETE)
    }
}

fn stream_key(inode: Inode, name: &str) -> rows::Key {
    rows::key_of(inode, fold(name).as_bytes())
}

fn put_stream(txn: &mut Txn<'_>, inode: Inode, id: u32, name: &str) {
    let mut row = Writer::default();
    row.u32(id).long_text(name);
    txn.put(rows::STREAMS, stream_key(inode, name), row.0);
}

pub(crate) fn delete_stream(txn: &mut Txn<'_>, inode: Inode, id: u32, name: &str) {
    txn.delete(rows::STREAMS, stream_key(inode, name));
    txn.delete_object(ObjectId { inode, stream: id });
}

fn decode_stream(row: &[u8]) -> Result<(u32, String)> {
    let mut reader = Reader::new(row, "streams");
    let id = reader.u32()?;
    let name = reader.long_text()?;
    reader.end()?;
    Ok((id, name))
}
