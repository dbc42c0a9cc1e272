//! Which file each key is for: a key chosen by a holder means one file at a time (MS-SMB2 3.3.5.9.8).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_store::ObjectId;

use super::{Grant, GrantKey};
use crate::{Result, VfsError};

const SHARDS: usize = 16;

#[derive(Debug)]
pub(crate) struct Keys {
    shards: [Mutex<HashMap<GrantKey, Entry>>; SHARDS],
}

#[derive(Debug)]
struct Entry {
    object: ObjectId,
    grant: Option<Arc<Grant>>,
    /// Opens on their way to the grant.
    reserved: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Keys {
    fn shard(&self, key: &GrantKey) -> &Mutex<HashMap<GrantKey, Entry>> {
        let mixed = match key {
            GrantKey::Chosen { owner, name } => name.iter().chain(owner).fold(0, |sum, byte| {
                usize::rotate_left(sum, 3) ^ usize::from(*byte)
            }),
            GrantKey::Open(_) => 0,
        };
        let [first, ..] = &self.shards;
        self.shards.get(mixed % SHARDS).unwrap_or(first)
    }

    /// The grant that is held under a key.
    pub(crate) fn find(&self, key: &GrantKey) -> Option<Arc<Grant>> {
        self.shard(key).lock().get(key)?.grant.clone()
    }

    /// Whether the key is free, or means this file already; no file that exists for None.
    pub(crate) fn allows(&self, key: &GrantKey, object: Option<ObjectId>) -> bool {
        let shard = self.shard(key).lock();
        shard
            .get(key)
            .is_none_or(|entry| Some(entry.object) == object)
    }

    /// Takes the key for a file. To be followed by [`Self::fill`] or [`Self::give_back`].
    pub(crate) fn reserve(&self, key: &GrantKey, object: ObjectId) -> Result<()> {
        let mut shard = self.shard(key).lock();
        let entry = shard.entry(*key).or_insert(Entry {
            object,
            grant: None,
            reserved: 0,
        });
        if entry.object != object {
            return Err(VfsError::InvalidParameter);
        }
        entry.reserved += 1;
        Ok(())
    }

    /// The reserved key has its grant.
    pub(crate) fn fill(&self, grant: &Arc<Grant>) {
        let mut shard = self.shard(&grant.key).lock();
        if let Some(entry) = shard.get_mut(&grant.key) {
            entry.reserved = entry.reserved.saturating_sub(1);
            entry.grant = Some(Arc::clone(grant));
        }
    }

    /// The open under the reserved key came to nothing.
    pub(crate) fn give_back(&self, key: &GrantKey) {
        let mut shard = self.shard(key).lock();
        if let Some(entry) = shard.get_mut(key) {
            entry.reserved = entry.reserved.saturating_sub(1);
            if entry.reserved == 0 && entry.grant.is_none() {
                shard.remove(key);
            }
        }
    }

    /// The grant is over.
    pub(crate) fn forget(&self, grant: &Arc<Grant>) {
        let mut shard = self.shard(&grant.key).lock();
        let Some(entry) = shard.get_mut(&grant.key) else {
            return;
        };
        if entry
            .grant
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(held, grant))
        {
            entry.grant = None;
            if entry.reserved == 0 {
                shard.remove(&grant.key);
            }
        }
    }
}
