//! The next start: every persistent open is made again, for its client to come back to.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use strongroom_store::{Inode, ObjectId, View};

use super::{KeptGrant, LOCK, MARK, OPEN, Persistent, Record};
use crate::close::mark;
use crate::grants::{GrantHolder, GrantKey, GrantRequest, GrantRights, GrantWish};
use crate::node::{LinkRef, Node};
use crate::open::{Admission, Opening};
use crate::quota::next_key;
use crate::{
    CreateAction, Credentials, Handle, LockOwner, LockRange, OpenRequest, PosixOpen, Result, Share,
    Vfs, VfsError, rows,
};

pub(super) const BATCH: usize = 256;

/// Whose a persistent open is.
#[derive(Debug)]
pub struct Claim {
    pub credentials: Credentials,
    /// Who hears of breaks of what it had been granted; None gives that up.
    pub holder: Option<Arc<dyn GrantHolder>>,
}

/// An open that was made again. Its client is away.
#[derive(Debug)]
pub struct Revived {
    pub id: u64,
    pub handle: Arc<Handle>,
    /// What the open had done when it was first made.
    pub action: CreateAction,
    pub data: Vec<u8>,
    /// The last value of each mark that [`Vfs::keep_locks`] was given.
    pub marks: Vec<(u32, u8)>,
}

/// The rows of one open.
#[derive(Debug, Default)]
struct Rows {
    record: Option<Bytes>,
    locks: BTreeMap<LockRange, u32>,
    marks: Vec<(u32, u8)>,
    keys: Vec<rows::Key>,
}

/// The objects that are open under more than one key.
type Shared = HashSet<ObjectId>;

impl Vfs {
    /// Makes every persistent open again, with its share modes, byte-range locks and what it may still be granted. To be
    /// called once, before any client can open anything. `whose` tells for an open's id and data whose it is; what is
    /// nobody's any more is forgotten, as is what lost its share or its file.
    pub fn revive(
        &self,
        whose: &mut dyn FnMut(u64, &[u8]) -> Option<Claim>,
    ) -> Result<Vec<Revived>> {
        let mut wanted = Vec::new();
        for (id, rows) in self.persistent_rows()? {
            let record = rows.record.as_deref().map(Record::decode);
            match record {
                Some(Ok(record)) => wanted.push((id, rows, record)),
                Some(Err(error)) => {
                    tracing::warn!(%error, id, "a persistent handle is lost");
                    self.forget_rows(&rows)?;
                }
                None => self.forget_rows(&rows)?,
            }
        }
        let shared = shared(wanted.iter().map(|(_, _, record)| record));
        let mut revived = Vec::new();
        for (id, rows, record) in wanted {
            let claim = whose(id, &record.data);
            let again = match claim {
                Some(claim) => self.revive_one(id, &rows, record, claim, &shared)?,
                None => None,
            };
            match again {
                Some(again) => revived.push(again),
                None => self.forget_rows(&rows)?,
            }
        }
        Ok(revived)
    }

    /// All rows, by the id of the open that they are of.
    fn persistent_rows(&self) -> Result<BTreeMap<u64, Rows>> {
        let (mut start, end) = (rows::inode_key(Inode(0)), rows::inode_key(Inode(1)));
        let mut all: BTreeMap<u64, Rows> = BTreeMap::new();
        loop {
            let page = self.store.scan(rows::PERSISTENT, &start, &end, BATCH)?;
            let Some((last, _)) = page.last() else {
                return Ok(all);
            };
            start = next_key(last);
            for (key, value) in &page {
                let id = key.get(8..16).and_then(|id| id.try_into().ok());
                let open = all.entry(u64::from_be_bytes(id.unwrap_or_default()));
                open.or_default().take(key, value);
            }
        }
    }

    fn forget_rows(&self, rows: &Rows) -> Result<()> {
        let mut txn = self.persistent_txn();
        for key in &rows.keys {
            txn.delete(rows::PERSISTENT, key.clone());
        }
        Ok(txn.commit().map(drop)?)
    }

    fn revive_one(
        &self,
        id: u64,
        rows: &Rows,
        record: Record,
        claim: Claim,
        shared: &Shared,
    ) -> Result<Option<Revived>> {
        let share = self.share_by_id(record.share);
        let Some(share) = share.filter(|share| share.continuously_available) else {
            return Ok(None);
        };
        let Some(node) = self.node_in(&View::Now, record.inode)? else {
            return Ok(None);
        };
        let Some(link) = self.link_again(&node, &record)? else {
            return Ok(None);
        };
        let again = Again {
            share: &share,
            node: &node,
            link,
            claim,
            alone: !shared.contains(&object_of(&record)),
        };
        let (action, data) = (record.action, record.data.clone());
        let open = Persistent::new(id, record, BTreeMap::new());
        let Some(handle) = self.open_again(again, open)? else {
            return Ok(None);
        };
        self.lock_again(&handle, &rows.locks);
        Ok(Some(Revived {
            id,
            handle,
            action,
            data,
            marks: rows.marks.clone(),
        }))
    }

    /// The name that it was opened by, or one that it has today.
    fn link_again(&self, node: &Node, record: &Record) -> Result<Option<Arc<LinkRef>>> {
        let same = {
            let state = node.lock();
            self.still_named(&node.view, node.inode, &state.attr, &record.link)?
        };
        if same {
            return Ok(Some(Arc::new(record.link.clone())));
        }
        match self.own_link(node) {
            Err(VfsError::NotFound) => Ok(None),
            link => link.map(Some),
        }
    }

    fn open_again(&self, again: Again<'_>, open: Arc<Persistent>) -> Result<Option<Arc<Handle>>> {
        let record = open.kept.lock().record.clone();
        let request = again.request(&record);
        let path = crate::names::ParsedPath::parse("")?;
        let opening = Opening::new(&again.claim.credentials, &request, &path);
        let node = again.node;
        let mut state = node.lock();
        let there = record.stream == 0
            || self
                .find_stream(&node.view, node.inode, &state.attr, &record.stream_name)?
                .is_some_and(|(stream, _)| stream == record.stream);
        if state.gone || !there {
            return Ok(None);
        }
        if let Some(key) = request.grant.key() {
            self.grant_keys.reserve(&key, object_of(&record))?;
        }
        let admission = Admission {
            node,
            link: Arc::clone(&again.link),
            stream: record.stream,
            stream_name: &record.stream_name,
            granted: record.granted,
            persistent: Some(open),
        };
        let handle = self.admit(&opening, admission, &mut state);
        if record.delete_pending {
            mark(&mut state, record.stream, &again.link);
        }
        let mut opens = state.opens.iter_mut();
        if let Some(entry) = opens.find(|entry| entry.handle == handle.id) {
            entry.away = true;
        }
        drop(state);
        Ok(Some(handle))
    }

    fn lock_again(&self, handle: &Handle, locks: &BTreeMap<LockRange, u32>) {
        let locked = &handle.node.locks;
        for (range, count) in locks {
            for _ in 0..*count {
                if let Err(error) = locked.lock(handle, LockOwner::default(), &[*range]) {
                    tracing::warn!(%error, ?range, "a lock of a persistent handle is lost");
                    break;
                }
            }
        }
        if let Some(open) = &handle.persistent {
            open.kept.lock().locks.clone_from(locks);
        }
    }
}

/// An open about to be made again.
struct Again<'a> {
    share: &'a Share,
    node: &'a Arc<Node>,
    link: Arc<LinkRef>,
    claim: Claim,
    /// Nobody else comes back to what it has open.
    alone: bool,
}

impl<'a> Again<'a> {
    fn request(&self, record: &Record) -> OpenRequest<'a> {
        OpenRequest {
            share_access: record.share_access,
            options: record.options,
            grant: self.grant(record),
            parent_grant: record.parent_grant,
            posix: record.posix.then(PosixOpen::default),
            ..OpenRequest::new(self.share, "")
        }
    }

    /// As all come back at the same moment, what only one may have is nobody's.
    fn grant(&self, record: &Record) -> GrantRequest {
        let (Some(kept), Some(holder)) = (record.grant, &self.claim.holder) else {
            return GrantRequest::None;
        };
        let KeptGrant { key, mut rights } = kept;
        if !self.alone {
            rights.write = false;
            rights.handle &= key.is_some();
        }
        if !rights.read {
            rights = GrantRights::NONE;
        }
        GrantRequest::Wanted(GrantWish {
            key,
            rights,
            directories: false,
            holder: Arc::clone(holder),
        })
    }
}

impl Rows {
    /// What stands in no form that this version knows is only remembered, to be forgotten with the rest.
    fn take(&mut self, key: &[u8], value: &Bytes) {
        self.keys.push(rows::Key::from_slice(key));
        let kind = key.get(16).copied();
        let rest = key.get(17..).unwrap_or_default();
        match kind {
            Some(OPEN) => self.record = Some(value.clone()),
            Some(LOCK) => {
                if let (Some(range), Ok(count)) = (range_of(rest), <[u8; 4]>::try_from(&**value)) {
                    self.locks.insert(range, u32::from_le_bytes(count));
                }
            }
            Some(MARK) => {
                if let (Ok(index), [value]) = (<[u8; 4]>::try_from(rest), &**value) {
                    self.marks.push((u32::from_be_bytes(index), *value));
                }
            }
            Some(_) | None => {}
        }
    }
}

fn range_of(rest: &[u8]) -> Option<LockRange> {
    let (offset, rest) = rest.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let [exclusive] = rest else { return None };
    Some(LockRange {
        offset: u64::from_be_bytes(*offset),
        len: u64::from_be_bytes(*len),
        exclusive: *exclusive != 0,
    })
}

fn object_of(record: &Record) -> ObjectId {
    ObjectId {
        inode: record.inode,
        stream: record.stream,
    }
}

fn shared<'a>(records: impl Iterator<Item = &'a Record>) -> Shared {
    let mut first: std::collections::HashMap<ObjectId, Option<GrantKey>> = Default::default();
    let mut shared = Shared::new();
    for record in records {
        let key = record.grant.and_then(|grant| grant.key);
        let before = first.insert(object_of(record), key);
        if before.is_some_and(|before| before.is_none() || before != key) {
            shared.insert(object_of(record));
        }
    }
    shared
}
