//! Inodes in memory: one [`Node`] for each inode in use, its state under one lock.
//!
//! Lock order: states by ascending inode id (see [`lock_all`]), then quotas, then watches. The rename lock comes before
//! all states. A cache shard's lock is never held while a state is locked. No lock is held across an await.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use strongroom_store::{Inode, Store, View};

use crate::acl::SecurityDescriptor;
use crate::grants::{GrantKey, Grants};
use crate::locks::RangeLocks;
use crate::rows::{self, Attr};
use crate::{AccessMask, FileKind, HandleId, Result, ShareAccess};

/// One name of a file: where, and how it is spelt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LinkRef {
    pub(crate) directory: Inode,
    pub(crate) name: String,
}

/// An inode in use. While anybody holds one of now, it is the only one of its inode. One of the past never changes, so
/// each look-up makes its own.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) inode: Inode,
    /// The state that it belongs to.
    pub(crate) view: View,
    pub(crate) kind: FileKind,
    pub(crate) grants: Grants,
    pub(crate) locks: RangeLocks,
    /// Held by writers that append, so that the end does not move between its reading and the write.
    pub(crate) end: tokio::sync::Mutex<()>,
    /// The number of this instant of the main stream's data (see [`crate::offload`]), 0 while it has none.
    pub(crate) instant: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) attr: Attr,
    /// Read when first needed.
    pub(crate) security: Option<Arc<SecurityDescriptor>>,
    pub(crate) opens: SmallVec<[OpenEntry; 1]>,
    /// Every name is gone. The rest goes with the last open.
    pub(crate) gone: bool,
    /// Names that go when the last open through them closes.
    pub(crate) pending: Vec<Arc<LinkRef>>,
    /// Streams that go when the last open of them closes.
    pub(crate) pending_streams: Vec<u32>,
    /// Streams that are open, and not there (see [`crate::apple`]).
    pub(crate) void_streams: Vec<u32>,
    /// What the children of a directory share.
    pub(crate) templates: Option<Box<Templates>>,
    /// The data changed and the attribute row does not say so yet.
    pub(crate) dirty: bool,
    /// Directories in a directory, as far as they were counted.
    pub(crate) subdirectories: Subdirectories,
    /// A row in the charging list says that the charge may be off.
    pub(crate) charging: bool,
}

/// How many directories a directory holds, which POSIX tells by its count of links. Counted when first asked for, and
/// kept up from then on; in a very large directory never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Subdirectories {
    #[default]
    NotCounted,
    TooMany,
    Counted(u32),
}

impl Subdirectories {
    pub(crate) fn add(&mut self) {
        if let Self::Counted(count) = self {
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn take(&mut self) {
        if let Self::Counted(count) = self {
            *count = count.saturating_sub(1);
        }
    }
}

/// One open of a node.
#[derive(Debug)]
pub(crate) struct OpenEntry {
    pub(crate) handle: HandleId,
    pub(crate) stream: u32,
    pub(crate) access: AccessMask,
    pub(crate) share: ShareAccess,
    /// Today's name of what was opened.
    pub(crate) link: Arc<LinkRef>,
    /// Of the grant that the open asked for.
    pub(crate) grant_key: Option<GrantKey>,
    /// Its client is away and may come back.
    pub(crate) away: bool,
    /// Stands for what a client may open by itself; its share mode is for others only.
    pub(crate) delegation: bool,
}

/// Security descriptors that a directory keeps for its children.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    /// By slot.
    pub(crate) kept: Vec<Arc<SecurityDescriptor>>,
    /// What recent creations without a descriptor of their own came to.
    pub(crate) recent: VecDeque<Inheritance>,
}

#[derive(Debug, Clone)]
pub(crate) struct Inheritance {
    pub(crate) owner: crate::Sid,
    pub(crate) group: crate::Sid,
    pub(crate) is_directory: bool,
    /// Of a creation with a mode, its permission bits.
    pub(crate) mode: Option<u32>,
    pub(crate) slot: u32,
    pub(crate) descriptor: Arc<SecurityDescriptor>,
}

impl Node {
    pub(crate) fn new(
        inode: Inode,
        attr: Attr,
        security: Option<Arc<SecurityDescriptor>>,
    ) -> Arc<Self> {
        Self::seen(&View::Now, inode, attr, security)
    }

    /// An inode as a view shows it.
    fn seen(
        view: &View,
        inode: Inode,
        attr: Attr,
        security: Option<Arc<SecurityDescriptor>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inode,
            view: view.clone(),
            kind: attr.kind,
            grants: Grants::default(),
            locks: RangeLocks::default(),
            end: tokio::sync::Mutex::new(()),
            instant: AtomicU64::new(0),
            state: Mutex::new(State {
                attr,
                security,
                opens: SmallVec::new(),
                gone: false,
                pending: Vec::new(),
                pending_streams: Vec::new(),
                void_streams: Vec::new(),
                templates: None,
                dirty: false,
                subdirectories: Subdirectories::default(),
                charging: false,
            }),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }
}

impl State {
    /// The open of a handle; None once it is closed.
    pub(crate) fn open_of(&self, handle: HandleId) -> Option<&OpenEntry> {
        self.opens.iter().find(|open| open.handle == handle)
    }

    pub(crate) fn is_pending(&self, link: &LinkRef) -> bool {
        self.pending.iter().any(|pending| **pending == *link)
    }

    pub(crate) fn opens_through<'a>(
        &'a self,
        link: &'a LinkRef,
    ) -> impl Iterator<Item = &'a OpenEntry> {
        self.opens.iter().filter(move |open| *open.link == *link)
    }

    pub(crate) fn opens_of_stream(&self, stream: u32) -> impl Iterator<Item = &OpenEntry> {
        self.opens.iter().filter(move |open| open.stream == stream)
    }
}

/// States locked in the one order.
pub(crate) struct Locked<'a> {
    guards: SmallVec<[(Inode, MutexGuard<'a, State>); 4]>,
}

impl std::fmt::Debug for Locked<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list()
            .entries(self.guards.iter().map(|(inode, _)| inode))
            .finish()
    }
}

/// Locks each node once, in ascending order of inode id.
pub(crate) fn lock_all<'a>(nodes: &[&'a Arc<Node>]) -> Locked<'a> {
    let mut sorted: SmallVec<[&'a Arc<Node>; 4]> = SmallVec::from_slice(nodes);
    sorted.sort_unstable_by_key(|node| node.inode);
    sorted.dedup_by_key(|node| node.inode);
    Locked {
        guards: sorted
            .into_iter()
            .map(|node| (node.inode, node.lock()))
            .collect(),
    }
}

impl Locked<'_> {
    /// The state of one of the nodes that were locked.
    pub(crate) fn of(&mut self, node: &Node) -> &mut State {
        let found = self
            .guards
            .iter_mut()
            .find(|(inode, _)| *inode == node.inode);
        &mut found.expect("the node is among the locked").1
    }
}

const SHARDS: usize = 64;

/// Nodes in use and recently used ones.
#[derive(Debug)]
pub(crate) struct Nodes {
    shards: Vec<Mutex<Shard>>,
    shard_max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    nodes: HashMap<Inode, Arc<Node>>,
    /// The order in which they came, for the sweep.
    order: VecDeque<Inode>,
}

impl Nodes {
    /// Keeps about `max` nodes that nobody uses.
    pub(crate) fn new(max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect();
        Self {
            shards,
            shard_max: max.div_ceil(SHARDS).max(4),
        }
    }

    fn shard(&self, inode: Inode) -> &Mutex<Shard> {
        let mixed = inode.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58;
        &self.shards[usize::try_from(mixed).unwrap_or(0)]
    }

    /// The node, read from its row if need be; None if there is no such inode.
    ///
    /// Reading happens under the shard's lock, so that no second node can come from an older row.
    pub(crate) fn get(&self, store: &Store, inode: Inode) -> Result<Option<Arc<Node>>> {
        let mut shard = self.shard(inode).lock();
        if let Some(node) = shard.nodes.get(&inode) {
            return Ok(Some(Arc::clone(node)));
        }
        let Some(row) = store.get(rows::ATTRIBUTES, &rows::inode_key(inode))? else {
            return Ok(None);
        };
        let node = Node::new(inode, Attr::decode(&row)?, None);
        self.insert_into(&mut shard, &node);
        Ok(Some(node))
    }

    /// The node as a view shows it; None if there was no such inode then.
    pub(crate) fn get_in(
        &self,
        store: &Store,
        view: &View,
        inode: Inode,
    ) -> Result<Option<Arc<Node>>> {
        if view.is_now() {
            return self.get(store, inode);
        }
        let row = store
            .at(view)
            .get(rows::ATTRIBUTES, &rows::inode_key(inode))?;
        let attr = row.map(|row| Attr::decode(&row)).transpose()?;
        Ok(attr.map(|attr| Node::seen(view, inode, attr, None)))
    }

    /// The node, if it is in memory.
    pub(crate) fn peek(&self, inode: Inode) -> Option<Arc<Node>> {
        self.shard(inode).lock().nodes.get(&inode).cloned()
    }

    /// Nodes with grants on them.
    pub(crate) fn with_grants(&self) -> Vec<Arc<Node>> {
        let mut nodes = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let granted = shard.nodes.values().filter(|node| !node.grants.is_idle());
            nodes.extend(granted.cloned());
        }
        nodes
    }

    /// Adds the node of an inode that was just made.
    pub(crate) fn insert(&self, node: &Arc<Node>) {
        self.insert_into(&mut self.shard(node.inode).lock(), node);
    }

    fn insert_into(&self, shard: &mut Shard, node: &Arc<Node>) {
        let before = shard.nodes.insert(node.inode, Arc::clone(node));
        assert!(before.is_none(), "one node an inode");
        shard.order.push_back(node.inode);
        self.sweep(shard);
    }

    /// Forgets the longest known nodes that nobody uses, looking at a few at a time.
    fn sweep(&self, shard: &mut Shard) {
        let excess = shard.order.len().saturating_sub(self.shard_max);
        for _ in 0..excess.min(8) {
            let Some(inode) = shard.order.pop_front() else {
                return;
            };
            let idle = shard
                .nodes
                .get(&inode)
                .map(|node| Arc::strong_count(node) == 1);
            match idle {
                Some(true) => drop(shard.nodes.remove(&inode)),
                Some(false) => shard.order.push_back(inode),
                None => {}
            }
        }
    }

    /// Forgets an inode that is no more.
    pub(crate) fn remove(&self, inode: Inode) {
        self.shard(inode).lock().nodes.remove(&inode);
    }

    /// Directories of everything that is open, apart from opens of `except` itself. No state is locked by the caller.
    pub(crate) fn open_links(&self, except: Inode) -> Vec<Inode> {
        let mut links = Vec::new();
        for shard in &self.shards {
            let used: Vec<_> = {
                let shard = shard.lock();
                let used = shard
                    .nodes
                    .values()
                    .filter(|node| Arc::strong_count(node) > 1);
                used.filter(|node| node.inode != except).cloned().collect()
            };
            for node in used {
                links.extend(node.lock().opens.iter().map(|open| open.link.directory));
            }
        }
        links.sort_unstable();
        links.dedup();
        links
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().nodes.len())
            .sum()
    }
}
