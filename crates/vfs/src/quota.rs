//! Quotas by user and by marked directory.
//!
//! Every file's attribute row says what it is charged with; a quota's row says the sum over its files, changed in the
//! same transaction, so that the two always agree. While a file grows its charge runs ahead of it, and what is cut off
//! or closed is charged for at once, though a crash may still bring the old data back. A row in the charging list says
//! so from before the change until the data is published; what is listed at a start is charged for anew. Nothing is
//! counted until the first quota is set; then all files are walked once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use strongroom_store::{Inode, ObjectId, SessionId, Store, Txn, View};

use crate::node::{Node, State};
use crate::rows::{self, Attr, AttrFlags, NameRow, Reader, Writer};
use crate::vfs::put_attr;
use crate::{Handle, Result, Sid, Vfs, VfsError};

/// No limit, only counting.
const UNLIMITED: u64 = u64::MAX;
/// How far a charge runs ahead of a growing file, where the limit allows it.
const AHEAD: u64 = 1 << 20;
/// Key and values of the row that says whether anything is counted.
const ACCOUNTING_KEY: u64 = 1;
const OFF: u64 = 0;
const WALKING: u64 = 1;
const ON: u64 = 2;
/// Closed files that wait for their data to be published. What comes beyond is seen to at the next start.
const UNPUBLISHED_MAX: usize = 65_536;
/// How many of them a close sees to: more than the one that it may add.
const UNPUBLISHED_STEP: usize = 2;
/// Names read at once while walking.
const WALK_BATCH: usize = 256;
/// Rows read at once from the lists of what a crash left.
const LIST_BATCH: usize = 1_024;

/// Whose use is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaOf {
    /// Everything that a user owns.
    User(Sid),
    /// Everything below a directory.
    Tree(Inode),
}

/// A quota as an administrator sees it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaInfo {
    pub of: QuotaOf,
    /// None counts without limiting.
    pub limit: Option<u64>,
    pub used: u64,
}

#[derive(Debug)]
struct Quota {
    limit: AtomicU64,
    /// As in the row. Held while a transaction that changes it commits, so that rows follow in order.
    used: Mutex<u64>,
}

/// All quotas, in memory.
#[derive(Debug)]
pub(crate) struct Quotas {
    accounting: AtomicBool,
    /// The walk that counts everything once did not come to its end.
    unfinished: AtomicBool,
    all: RwLock<HashMap<QuotaOf, Arc<Quota>>>,
    /// Closed files in the charging list whose data was not published yet, the oldest first.
    unpublished: Mutex<VecDeque<Inode>>,
}

/// Changes of use that go with a transaction.
pub(crate) type Deltas = SmallVec<[(QuotaOf, i64); 2]>;

impl Quotas {
    pub(crate) fn load(store: &Store) -> Result<Self> {
        let state = match store.get(rows::COUNTERS, &rows::list_key(ACCOUNTING_KEY))? {
            Some(row) => Reader::new(&row, "counters").u64()?,
            None => OFF,
        };
        let mut all = HashMap::new();
        let mut start = rows::inode_key(Inode(0));
        loop {
            let page = store.scan(rows::QUOTAS, &start, &rows::end_of(Inode(0)), LIST_BATCH)?;
            let Some((last, _)) = page.last() else { break };
            start = next_key(last);
            for (key, row) in &page {
                let (limit, used) = decode(row)?;
                let quota = Quota {
                    limit: AtomicU64::new(limit),
                    used: Mutex::new(used),
                };
                all.insert(of_key(key)?, Arc::new(quota));
            }
        }
        Ok(Self {
            accounting: AtomicBool::new(state != OFF),
            unfinished: AtomicBool::new(state == WALKING),
            all: RwLock::new(all),
            unpublished: Mutex::default(),
        })
    }

    pub(crate) fn is_counting(&self) -> bool {
        self.accounting.load(Ordering::Acquire)
    }

    fn get(&self, of: QuotaOf) -> Arc<Quota> {
        if let Some(quota) = self.all.read().get(&of) {
            return Arc::clone(quota);
        }
        let mut all = self.all.write();
        let new = || {
            Arc::new(Quota {
                limit: AtomicU64::new(UNLIMITED),
                used: Mutex::new(0),
            })
        };
        Arc::clone(all.entry(of).or_insert_with(new))
    }

    /// Commits a transaction with the changes of use that it makes.
    ///
    /// Errors: `QuotaExceeded` where `enforce` and a limit would be passed; nothing is changed then.
    pub(crate) fn commit(&self, mut txn: Txn<'_>, mut deltas: Deltas, enforce: bool) -> Result<()> {
        deltas.retain(|(_, delta)| *delta != 0);
        if deltas.is_empty() || !self.is_counting() {
            txn.commit()?;
            return Ok(());
        }
        deltas.sort_unstable_by_key(|(of, _)| *of);
        let quotas: SmallVec<[(QuotaOf, Arc<Quota>, i64); 2]> = deltas
            .iter()
            .map(|(of, delta)| (*of, self.get(*of), *delta))
            .collect();
        let mut held = SmallVec::<[_; 2]>::new();
        for (of, quota, delta) in &quotas {
            let used = quota.used.lock();
            let after = used.saturating_add_signed(*delta);
            let limit = quota.limit.load(Ordering::Acquire);
            if enforce && *delta > 0 && after > limit {
                return Err(VfsError::QuotaExceeded);
            }
            txn.put(rows::QUOTAS, key_for(*of), encode(limit, after));
            held.push((used, after));
        }
        txn.commit()?;
        for (mut used, after) in held {
            *used = after;
        }
        Ok(())
    }

    fn wait_for(&self, inode: Inode) {
        let mut unpublished = self.unpublished.lock();
        if unpublished.len() < UNPUBLISHED_MAX {
            unpublished.push_back(inode);
        }
    }

    fn next_unpublished(&self) -> Option<Inode> {
        self.unpublished.lock().pop_front()
    }

    /// The most that a user or tree may have; `u64::MAX` without a limit.
    pub(crate) fn limit(&self, of: QuotaOf) -> u64 {
        let all = self.all.read();
        all.get(&of)
            .map_or(UNLIMITED, |quota| quota.limit.load(Ordering::Acquire))
    }

    /// What a user or tree can still write.
    pub(crate) fn left(&self, of: QuotaOf) -> u64 {
        match self.all.read().get(&of) {
            Some(quota) => quota
                .limit
                .load(Ordering::Acquire)
                .saturating_sub(*quota.used.lock()),
            None => UNLIMITED,
        }
    }
}

/// What changes when `bytes` more (or less) are charged for a file.
pub(crate) fn deltas(owner: Option<Sid>, attr: &Attr, bytes: i64) -> Deltas {
    let mut deltas = Deltas::new();
    if let Some(owner) = owner {
        deltas.push((QuotaOf::User(owner), bytes));
    }
    if attr.quota_tree != Inode(0) {
        deltas.push((QuotaOf::Tree(attr.quota_tree), bytes));
    }
    deltas
}

pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Vfs {
    /// Every quota there is.
    pub fn quotas(&self) -> Vec<QuotaInfo> {
        let all = self.quotas.all.read();
        let info = |(of, quota): (&QuotaOf, &Arc<Quota>)| {
            let limit = quota.limit.load(Ordering::Acquire);
            QuotaInfo {
                of: *of,
                limit: (limit != UNLIMITED).then_some(limit),
                used: *quota.used.lock(),
            }
        };
        let mut infos: Vec<_> = all.iter().map(info).collect();
        infos.sort_unstable_by_key(|info| info.of);
        infos
    }

    /// Sets or removes a limit. The first quota begins the counting: all files are walked once; a directory's
    /// first limit walks what is below it.
    ///
    /// Errors: `NotDirectory`; `InvalidParameter` for a directory inside another marked one.
    pub fn set_quota(&self, of: QuotaOf, limit: Option<u64>) -> Result<()> {
        self.begin_counting()?;
        if let QuotaOf::Tree(directory) = of {
            self.mark_tree(directory)?;
        }
        let quota = self.quotas.get(of);
        let used = quota.used.lock();
        let limit = limit.unwrap_or(UNLIMITED);
        let mut txn = self.store.txn(SessionId::SYSTEM);
        txn.put(rows::QUOTAS, key_for(of), encode(limit, *used));
        txn.commit()?;
        quota.limit.store(limit, Ordering::Release);
        Ok(())
    }

    fn begin_counting(&self) -> Result<()> {
        let counting = self.quotas.accounting.swap(true, Ordering::AcqRel);
        if counting && !self.quotas.unfinished.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        self.put_accounting(WALKING)?;
        self.shares()
            .iter()
            .try_for_each(|share| self.recharge_tree(share.root, None))?;
        self.put_accounting(ON)
    }

    fn put_accounting(&self, state: u64) -> Result<()> {
        let mut txn = self.store.txn(SessionId::SYSTEM);
        let value = state.to_le_bytes().to_vec();
        txn.put(rows::COUNTERS, rows::list_key(ACCOUNTING_KEY), value);
        txn.commit()?;
        Ok(())
    }

    /// Makes a directory the root of a quota tree, and all below it members.
    fn mark_tree(&self, directory: Inode) -> Result<()> {
        let node = self.node(directory)?;
        if !node.is_directory() {
            return Err(VfsError::NotDirectory);
        }
        {
            let state = node.lock();
            if state.attr.quota_tree != Inode(0) && state.attr.quota_tree != directory {
                return Err(VfsError::InvalidParameter);
            }
        }
        self.recharge_tree(directory, Some(directory))
    }

    /// Charges everything below a directory for what it takes, and makes it a member of a tree.
    fn recharge_tree(&self, top: Inode, tree: Option<Inode>) -> Result<()> {
        self.recharge(top, tree)?;
        let mut directories = vec![top];
        while let Some(directory) = directories.pop() {
            let mut start = rows::inode_key(directory);
            loop {
                let page =
                    self.store
                        .scan(rows::NAMES, &start, &rows::end_of(directory), WALK_BATCH)?;
                let Some((last, _)) = page.last() else { break };
                start = next_key(last);
                for (_, row) in &page {
                    for entry in NameRow::decode(row)?.entries {
                        self.recharge(entry.inode, tree)?;
                        if entry.kind == crate::FileKind::Directory {
                            directories.push(entry.inode);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn recharge(&self, inode: Inode, tree: Option<Inode>) -> Result<()> {
        // What went meanwhile needs no charge.
        let Some(node) = self.nodes.get(&self.store, inode)? else {
            return Ok(());
        };
        let mut state = node.lock();
        let moves = tree.filter(|tree| state.attr.quota_tree != *tree);
        if let Some(tree) = moves {
            let mut attr = state.attr.clone();
            let old = std::mem::replace(&mut attr.quota_tree, tree);
            let charged = signed(attr.charged);
            let mut deltas = Deltas::new();
            deltas.push((QuotaOf::Tree(tree), charged));
            if old != Inode(0) {
                deltas.push((QuotaOf::Tree(old), -charged));
            }
            let mut txn = self.store.txn(SessionId::SYSTEM);
            put_attr(&mut txn, inode, &mut attr);
            self.quotas.commit(txn, deltas, false)?;
            state.attr = attr;
        }
        self.settle_charge(&node, &mut state)
    }

    /// Charges ahead for a write of `len` bytes, or a new size where `len` is 0. The limits are enforced here.
    pub(crate) fn charge_growth(&self, handle: &Handle, offset: u64, len: u64) -> Result<()> {
        if !self.quotas.is_counting() {
            return Ok(());
        }
        let node = &handle.node;
        let mut state = handle.lock_open()?;
        let size = self.store.head(handle.object())?.size;
        let growth = if state.attr.dos.contains(crate::DosAttributes::SPARSE_FILE) {
            // What it takes grows wherever nothing was before, which it does not pay to look for.
            len
        } else {
            offset.saturating_add(len).saturating_sub(size)
        };
        if growth == 0 {
            return Ok(());
        }
        let taken = self.taken(node, &state.attr)?;
        let needed = taken
            .saturating_add(growth)
            .saturating_sub(state.attr.charged);
        if needed == 0 {
            return Ok(());
        }
        let ahead = self.charge(node, &mut state, needed.saturating_add(AHEAD));
        match ahead {
            Err(VfsError::QuotaExceeded) => self.charge(node, &mut state, needed),
            done => done,
        }
    }

    fn charge(&self, node: &Node, state: &mut State, bytes: u64) -> Result<()> {
        let owner = self.security_of(node, state)?.owner;
        let mut attr = state.attr.clone();
        attr.charged = attr.charged.saturating_add(bytes);
        let mut txn = self.store.txn(SessionId::SYSTEM);
        put_attr(&mut txn, node.inode, &mut attr);
        txn.put(rows::CHARGING, rows::list_key(node.inode.0), Vec::new());
        let deltas = deltas(owner, &attr, signed(bytes));
        self.quotas.commit(txn, deltas, true)?;
        state.attr = attr;
        state.charging = true;
        Ok(())
    }

    /// Charges for what a file takes once its attributes are `next`. Its state is locked.
    pub(crate) fn charge_for(&self, node: &Node, state: &mut State, next: &Attr) -> Result<()> {
        if !self.quotas.is_counting() {
            return Ok(());
        }
        let needed = self.taken(node, next)?.saturating_sub(state.attr.charged);
        if needed == 0 {
            return Ok(());
        }
        self.charge(node, state, needed)
    }

    /// Says in the charging list that the charge of a file may be off, before its data shrinks.
    pub(crate) fn doubt_charge(&self, node: &Node, state: &mut State) -> Result<()> {
        if !self.quotas.is_counting() || state.charging {
            return Ok(());
        }
        let mut txn = self.store.txn(SessionId::SYSTEM);
        txn.draw_on_reserve();
        txn.put(rows::CHARGING, rows::list_key(node.inode.0), Vec::new());
        txn.commit()?;
        state.charging = true;
        Ok(())
    }

    /// The data of a file and of its streams.
    fn objects_of(&self, node: &Node, attr: &Attr) -> Result<Vec<ObjectId>> {
        let mut objects = vec![ObjectId::data(node.inode)];
        if attr.flags.has(AttrFlags::STREAMS) {
            let streams = self.stream_rows(&View::Now, node.inode)?;
            objects.extend(streams.iter().map(|(id, _)| Self::stream_object(node, *id)));
        }
        Ok(objects)
    }

    /// Bytes that all streams of a file take.
    fn taken(&self, node: &Node, attr: &Attr) -> Result<u64> {
        let heads = self.store.heads(&self.objects_of(node, attr)?)?;
        let sparse = attr.dos.contains(crate::DosAttributes::SPARSE_FILE);
        Ok(heads
            .iter()
            .map(|head| crate::stat::allocation(head.size, head.allocated, sparse))
            .sum())
    }

    /// Makes the charge what the file takes. The state is locked.
    pub(crate) fn settle_charge(&self, node: &Node, state: &mut State) -> Result<()> {
        if !self.quotas.is_counting() {
            return Ok(());
        }
        // Asked first: what is published meanwhile is listed in vain, which costs little.
        let objects = self.objects_of(node, &state.attr)?;
        let lasts = objects.iter().all(|id| self.store.is_published(*id));
        let taken = self.taken(node, &state.attr)?;
        if !lasts && state.opens.is_empty() {
            self.quotas.wait_for(node.inode);
        }
        if taken == state.attr.charged && state.charging != lasts {
            return Ok(());
        }
        let owner = self.security_of(node, state)?.owner;
        let mut attr = state.attr.clone();
        let change = signed(taken).saturating_sub(signed(attr.charged));
        attr.charged = taken;
        let mut txn = self.store.txn(SessionId::SYSTEM);
        txn.draw_on_reserve();
        put_attr(&mut txn, node.inode, &mut attr);
        let key = rows::list_key(node.inode.0);
        if lasts {
            txn.delete(rows::CHARGING, key);
        } else {
            txn.put(rows::CHARGING, key, Vec::new());
        }
        let deltas = deltas(owner, &attr, change);
        self.quotas.commit(txn, deltas, false)?;
        state.attr = attr;
        state.charging = !lasts;
        Ok(())
    }

    /// Takes closed files off the charging list whose data was published meanwhile. No state may be locked.
    pub(crate) fn settle_published(&self) -> Result<()> {
        if !self.quotas.is_counting() {
            return Ok(());
        }
        for _ in 0..UNPUBLISHED_STEP {
            let Some(inode) = self.quotas.next_unpublished() else {
                break;
            };
            let Some(node) = self.nodes.get(&self.store, inode)? else {
                continue;
            };
            let mut state = node.lock();
            if state.opens.is_empty() {
                // The list knows it, though the node may have been forgotten and loaded again.
                state.charging = true;
                self.settle_charge(&node, &mut state)?;
            }
        }
        Ok(())
    }

    /// Puts charges right that ran ahead when the last run ended.
    pub(crate) fn finish_charges(&self) -> Result<()> {
        for inode in self.listed(rows::CHARGING)? {
            match self.nodes.get(&self.store, inode)? {
                Some(node) => {
                    let mut state = node.lock();
                    state.charging = true;
                    self.settle_charge(&node, &mut state)?;
                }
                None => {
                    let mut txn = self.store.txn(SessionId::SYSTEM);
                    txn.delete(rows::CHARGING, rows::list_key(inode.0));
                    txn.commit()?;
                }
            }
        }
        if self.quotas.unfinished.load(Ordering::Acquire) {
            self.begin_counting()
        } else {
            Ok(())
        }
    }

    /// The inodes in a list of the whole file system.
    pub(crate) fn listed(&self, table: strongroom_store::Table) -> Result<Vec<Inode>> {
        let mut inodes = Vec::new();
        let mut start = rows::inode_key(Inode(0));
        loop {
            let page = self
                .store
                .scan(table, &start, &rows::end_of(Inode(0)), LIST_BATCH)?;
            let Some((last, _)) = page.last() else {
                return Ok(inodes);
            };
            start = next_key(last);
            for (key, _) in &page {
                let id = key.get(8..).and_then(|rest| rest.first_chunk());
                let id = id.ok_or_else(|| {
                    VfsError::Corrupt("a row of a list is not well formed".into())
                })?;
                inodes.push(Inode(u64::from_be_bytes(*id)));
            }
        }
    }
}

/// The least key after this one.
pub(crate) fn next_key(key: &[u8]) -> rows::Key {
    let mut next = rows::Key::from_slice(key);
    next.push(0);
    next
}

fn key_for(of: QuotaOf) -> rows::Key {
    match of {
        QuotaOf::User(sid) => {
            let mut rest = vec![b'u'];
            sid.encode(&mut rest);
            rows::key_of(Inode(0), &rest)
        }
        QuotaOf::Tree(inode) => {
            let mut rest = vec![b't'];
            rest.extend(inode.0.to_be_bytes());
            rows::key_of(Inode(0), &rest)
        }
    }
}

fn of_key(key: &[u8]) -> Result<QuotaOf> {
    let corrupt = || VfsError::Corrupt("a row of quotas is not well formed".into());
    let (kind, id) = key
        .get(8..)
        .and_then(|rest| rest.split_first())
        .ok_or_else(corrupt)?;
    match kind {
        b'u' => Sid::from_bytes(id)
            .map(QuotaOf::User)
            .map_err(|_| corrupt()),
        b't' => {
            let id = id.first_chunk().ok_or_else(corrupt)?;
            Ok(QuotaOf::Tree(Inode(u64::from_be_bytes(*id))))
        }
        _ => Err(corrupt()),
    }
}

fn encode(limit: u64, used: u64) -> Vec<u8> {
    let mut row = Writer::with_capacity(16);
    row.u64(limit).u64(used);
    row.0
}

fn decode(row: &[u8]) -> Result<(u64, u64)> {
    let mut reader = Reader::new(row, "quotas");
    Ok((reader.u64()?, reader.u64()?))
}
