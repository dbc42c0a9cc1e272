//! The past of shares: which instants of a share are kept, by which retention, and the view at one of them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use strongroom_device::Timestamp;
use strongroom_store::{Inode, Instant, LastKnown, Realm, Realms, Retention, Table, View, Whose};

use crate::rows::{self, Attr};
use crate::types::PATH_MAX;
use crate::{FileTime, Result, Share, ShareId, Vfs, VfsError};

/// The store's tables of file data begin here; their keys begin with the inode, as those of the file system do.
const DATA_TABLES: u8 = 200;

/// Shares by their root directories.
pub(crate) type Roots = Arc<RwLock<HashMap<Inode, ShareId>>>;

/// Finds the share that a row belongs to, by the directories above.
#[derive(Debug)]
pub(crate) struct ShareRealms(pub(crate) Roots);

impl Realms for ShareRealms {
    fn whose(
        &self,
        table: Table,
        key: &[u8],
        last_known: LastKnown<'_>,
    ) -> strongroom_store::Result<Whose> {
        let of_files = (rows::ATTRIBUTES.0..=rows::REPARSE.0).contains(&table.0);
        let of_files = of_files || table.0 >= DATA_TABLES;
        let Some(inode) = key.first_chunk().filter(|_| of_files) else {
            return Ok(Whose::All);
        };
        let inode = Inode(u64::from_be_bytes(*inode));
        let mut at = inode;
        for _ in 0..PATH_MAX {
            if let Some(share) = self.0.read().get(&at) {
                return Ok(Whose::Realm(share.realm()));
            }
            let row = last_known(rows::ATTRIBUTES, &rows::inode_key(at))?;
            if row.is_none() && at == inode {
                // Without attributes of some instant nothing leads to what else there was of it then.
                return Ok(Whose::Nobody);
            }
            match row.and_then(|row| Attr::decode(&row).ok()) {
                Some(attr) if attr.parent != at => at = attr.parent,
                Some(_) | None => return Ok(Whose::All),
            }
        }
        Ok(Whose::All)
    }
}

impl ShareId {
    /// What the store calls the share when it comes to its past.
    pub(crate) fn realm(self) -> Realm {
        Realm(self.0)
    }
}

impl Vfs {
    /// How the past of a share is kept.
    pub fn retention(&self, share: &Share) -> Result<Retention> {
        Ok(self.store.retention(share.id.realm())?)
    }

    /// Keeps the past of a share so from now on. What was given up before does not come back.
    pub fn set_retention(&self, share: &Share, retention: &Retention) -> Result<()> {
        Ok(self.store.set_retention(share.id.realm(), retention)?)
    }

    /// The instants of a share that are kept, from one time to another, oldest first; the newest `max` of them.
    pub fn instants(
        &self,
        share: &Share,
        from: FileTime,
        to: FileTime,
        max: usize,
    ) -> Result<Vec<Instant>> {
        let from = from.max(share.created);
        let (from, to) = (store_time(from), store_time(to));
        let mut found = self.store.instants(share.id.realm(), from, to, max)?;
        // Groups of the second in which it was made may be older than it.
        found.retain(|instant| FileTime::from(instant.time) >= share.created);
        Ok(found)
    }

    /// The oldest instant of a share that can be gone back to.
    pub fn oldest_instant(&self, share: &Share) -> Result<Option<Instant>> {
        let all = self.instants(share, FileTime(0), FileTime(u64::MAX), usize::MAX)?;
        Ok(all.first().copied())
    }

    /// A share as it was at a time: at the newest kept instant in or before its second. The view stays whole while it, or
    /// anything opened in it, lives.
    ///
    /// Errors: `Forgotten` where nothing so old is kept.
    pub fn view_at(&self, share: &Share, time: FileTime) -> Result<View> {
        let instant = self
            .store
            .instant_at(share.id.realm(), store_time(time))?
            .ok_or(VfsError::Forgotten)?;
        self.view_of(share, instant)
    }

    /// A share as it was at a kept instant.
    pub fn view_of(&self, share: &Share, instant: Instant) -> Result<View> {
        Ok(self.store.view_at(share.id.realm(), instant)?)
    }
}

/// A time in the store's form; the nearest that it can hold.
fn store_time(time: FileTime) -> Timestamp {
    let beyond = if time.to_unix().0 < 0 { 0 } else { u64::MAX };
    time.to_timestamp().unwrap_or(Timestamp(beyond))
}
