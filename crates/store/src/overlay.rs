//! The rows that the index does not hold yet, in memory.
//!
//! Sharded by the inode that owns the key. Each shard is an ordered map a table from key to the chain of its versions,
//! oldest first, and gathers the encoded operations of the open transaction group, so that the order of the record is
//! the order in which a key changed. What the index holds is forgotten only after readers can see it there.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{RwLock, RwLockWriteGuard};
use smallvec::SmallVec;

use crate::feed::{Change, DeadObject, Version};
use crate::record;
use crate::rows::{self, HeadRow};
use crate::types::inode_of;
use crate::{Inode, Key, SessionId, Table, Txg, View};

const SHARDS: usize = 64;
/// What a row costs in memory beside its bytes.
const ROW_OVERHEAD: usize = 160;

type Chain = SmallVec<[Version; 1]>;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Overlay {
    shards: Box<[RwLock<Shard>]>,
    rows: AtomicUsize,
    bytes: AtomicUsize,
}

/// What one shard holds.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    tables: Vec<(Table, BTreeMap<Key, Chain>)>,
    open: OpenPart,
    /// Counts publications of file data, each of which changes several rows at once.
    published: u64,
}

/// What a shard gathered for the open group.
#[derive(Debug, Default)]
pub(crate) struct OpenPart {
    /// Encoded operations, see [`crate::record`].
    pub(crate) record: Vec<u8>,
    pub(crate) changes: Vec<Change>,
    pub(crate) dead: Vec<DeadObject>,
    pub(crate) rows: usize,
}

impl OpenPart {
    pub(crate) fn is_empty(&self) -> bool {
        self.record.is_empty()
    }
}

/// All versions of one key up to some group.
#[derive(Debug)]
pub(crate) struct OwnedChain {
    pub(crate) table: Table,
    pub(crate) key: Key,
    pub(crate) versions: Chain,
}

/// What the overlay says of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The newest version.
    Value(Bytes),
    /// The newest version deletes it.
    Deleted,
    /// Ask the index.
    Unknown,
}

impl Overlay {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            rows: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn shard(&self, inode: Inode) -> &RwLock<Shard> {
        // Fibonacci hashing spreads the neighbouring ids of one directory.
        let hash = inode.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        &self.shards[usize::try_from(hash).unwrap_or(0) % SHARDS]
    }

    /// Locks the shard of an inode for several operations in order.
    pub(crate) fn lock(&self, inode: Inode) -> ShardGuard<'_> {
        ShardGuard {
            overlay: self,
            shard: self.shard(inode).write(),
        }
    }

    /// Counts publications in the shard of an inode: rows that were looked up one after the other belong together if it
    /// is the same before and after.
    pub(crate) fn published(&self, inode: Inode) -> u64 {
        self.shard(inode).read().published
    }

    pub(crate) fn get(&self, view: &View, table: Table, key: &[u8]) -> Found {
        let shard = self.shard(inode_of(key)).read();
        match shard.seen(view, table, key) {
            None => Found::Unknown,
            Some(Version { value: None, .. }) => Found::Deleted,
            Some(Version {
                value: Some(value), ..
            }) => Found::Value(value.clone()),
        }
    }

    /// Rows of a range, newest versions that the view shows and deletions, in order, until `limit` values were seen.
    /// `pin` runs before the shard is released: what it loads is consistent with the rows.
    pub(crate) fn range<T>(
        &self,
        view: &View,
        table: Table,
        (start, end): (&[u8], &[u8]),
        limit: usize,
        pin: impl FnOnce() -> T,
    ) -> (Vec<(Key, Option<Bytes>)>, T) {
        let shard = self.shard(inode_of(start)).read();
        let mut found = Vec::new();
        if let Some(map) = shard.table(table)
            && start < end
        {
            let bounds = (Bound::Included(start), Bound::Excluded(end));
            let mut values = 0;
            for (key, chain) in map.range::<[u8], _>(bounds) {
                let Some(version) = seen(view, table, chain) else {
                    continue;
                };
                let value = version.value.clone();
                values += usize::from(value.is_some());
                found.push((key.clone(), value));
                if values == limit {
                    break;
                }
            }
        }
        (found, pin())
    }

    /// Every version of the keys of a range. `pin` runs before the shard is released.
    pub(crate) fn chains<T>(
        &self,
        table: Table,
        (start, end): (&[u8], &[u8]),
        pin: impl FnOnce() -> T,
    ) -> (Vec<(Key, Vec<Version>)>, T) {
        let shard = self.shard(inode_of(start)).read();
        let mut found = Vec::new();
        if let Some(map) = shard.table(table)
            && start < end
        {
            let bounds = (Bound::Included(start), Bound::Excluded(end));
            let chains = map.range::<[u8], _>(bounds);
            found.extend(chains.map(|(key, chain)| (key.clone(), chain.to_vec())));
        }
        (found, pin())
    }

    /// Takes what the shards gathered for the group that closes; the caller holds the gate.
    pub(crate) fn take_open(&self) -> Vec<OpenPart> {
        let take = |shard: &RwLock<Shard>| std::mem::take(&mut shard.write().open);
        self.shards
            .iter()
            .map(take)
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// All chains with versions up to `up_to`, sorted by table and key, cut at that group.
    pub(crate) fn collect(&self, up_to: Txg) -> Vec<OwnedChain> {
        let mut all = Vec::new();
        for shard in &self.shards {
            shard.read().collect(up_to, &mut all);
        }
        all.sort_unstable_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
        all
    }

    /// Forgets what the index holds now; its snapshot was swapped before.
    pub(crate) fn forget(&self, up_to: Txg) {
        for shard in &self.shards {
            let (rows, bytes) = shard.write().forget(up_to);
            self.rows.fetch_sub(rows, Ordering::Relaxed);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// The newest version that a view shows. A head whose bytes only the log has is no state that a past could show, here as
/// in the index.
fn seen<'c>(view: &View, table: Table, chain: &'c Chain) -> Option<&'c Version> {
    if view.is_now() {
        return chain.last();
    }
    let counts = |version: &&Version| {
        let logged =
            table == rows::HEADS && version.value.as_deref().is_some_and(HeadRow::is_logged);
        view.shows(version.txg) && !logged
    };
    chain.iter().rev().find(counts)
}

impl Shard {
    fn table(&self, table: Table) -> Option<&BTreeMap<Key, Chain>> {
        self.tables
            .iter()
            .find(|(id, _)| *id == table)
            .map(|(_, map)| map)
    }

    fn table_mut(&mut self, table: Table) -> &mut BTreeMap<Key, Chain> {
        let position = self.tables.iter().position(|(id, _)| *id == table);
        let position = position.unwrap_or_else(|| {
            self.tables.push((table, BTreeMap::new()));
            self.tables.len() - 1
        });
        &mut self.tables[position].1
    }

    fn seen(&self, view: &View, table: Table, key: &[u8]) -> Option<&Version> {
        seen(view, table, self.table(table)?.get(key)?)
    }

    fn collect(&self, up_to: Txg, all: &mut Vec<OwnedChain>) {
        for (table, map) in &self.tables {
            for (key, chain) in map {
                let versions: Chain = chain
                    .iter()
                    .take_while(|version| version.txg <= up_to)
                    .cloned()
                    .collect();
                if !versions.is_empty() {
                    all.push(OwnedChain {
                        table: *table,
                        key: key.clone(),
                        versions,
                    });
                }
            }
        }
    }

    fn forget(&mut self, up_to: Txg) -> (usize, usize) {
        let (mut rows, mut bytes) = (0, 0);
        for (_, map) in &mut self.tables {
            map.retain(|key, chain| {
                chain.retain(|version| {
                    let keep = version.txg > up_to;
                    if !keep {
                        rows += 1;
                        bytes += cost(key, version.value.as_ref());
                    }
                    keep
                });
                !chain.is_empty()
            });
        }
        (rows, bytes)
    }
}

fn cost(key: &[u8], value: Option<&Bytes>) -> usize {
    ROW_OVERHEAD + key.len() + value.map_or(0, Bytes::len)
}

/// One shard, locked: what goes in joins the open group in this order.
#[derive(Debug)]
pub(crate) struct ShardGuard<'a> {
    overlay: &'a Overlay,
    shard: RwLockWriteGuard<'a, Shard>,
}

impl ShardGuard<'_> {
    /// A row takes a value, or is deleted, in group `txg`; the record of the open group says so.
    pub(crate) fn put(
        &mut self,
        txg: Txg,
        session: SessionId,
        table: Table,
        key: Key,
        value: Option<Bytes>,
    ) {
        record::row(
            &mut self.shard.open.record,
            session,
            table,
            &key,
            value.as_ref(),
        );
        self.shard.open.rows += 1;
        self.load(
            table,
            key,
            Version {
                txg,
                session,
                value,
            },
        );
    }

    /// As [`Self::put`], for rows that the log holds already.
    pub(crate) fn load(&mut self, table: Table, key: Key, version: Version) {
        let added = cost(&key, version.value.as_ref());
        let chain = self.shard.table_mut(table).entry(key).or_default();
        match chain.last_mut() {
            // Each version of an extent's row is a reference to count, and a head that does not count must not take the
            // place of one that does.
            Some(last)
                if last.txg == version.txg
                    && last.session == version.session
                    && !matches!(table, rows::EXTENTS | rows::HEADS) =>
            {
                let old = last.value.as_ref().map_or(0, Bytes::len);
                let new = version.value.as_ref().map_or(0, Bytes::len);
                *last = version;
                self.overlay.bytes.fetch_add(new, Ordering::Relaxed);
                self.overlay.bytes.fetch_sub(old, Ordering::Relaxed);
            }
            _ => {
                debug_assert!(chain.last().is_none_or(|last| last.txg <= version.txg));
                chain.push(version);
                self.overlay.rows.fetch_add(1, Ordering::Relaxed);
                self.overlay.bytes.fetch_add(added, Ordering::Relaxed);
            }
        }
    }

    /// Says that the rows of an object's data change under this guard.
    pub(crate) fn publish(&mut self) {
        self.shard.published += 1;
    }

    pub(crate) fn change(&mut self, change: Change) {
        record::change(&mut self.shard.open.record, &change);
        self.shard.open.changes.push(change);
    }

    pub(crate) fn dead(&mut self, dead: DeadObject) {
        record::dead(&mut self.shard.open.record, &dead);
        self.shard.open.dead.push(dead);
    }

    /// The record being gathered, for operations on file data.
    pub(crate) fn record(&mut self) -> &mut Vec<u8> {
        &mut self.shard.open.record
    }
}

#[cfg(test)]
mod tests;
