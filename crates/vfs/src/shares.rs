//! Shares: directories offered to clients, as rows.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use strongroom_store::{Compression, Inode, SessionId, Store};

use crate::names::{fold, utf16_len};
use crate::past::Roots;
use crate::quota::{QuotaOf, next_key};
use crate::rows::{self, Reader, Writer};
use crate::stat::UNIT;
use crate::{
    Credentials, Export, FileTime, NewShare, Result, Share, ShareChange, ShareId, Sid, Vfs,
    VfsError, VolumeInfo,
};

/// The longest name of a share that all clients take (MS-SRVS 2.2.4.22 allows 80).
const SHARE_NAME_MAX: usize = 80;
const COMMENT_MAX: usize = 256;
const USERS_MAX: usize = 1_024;
const SHARES_BATCH: usize = 256;
const LAST_ID_KEY: u64 = 4;
const VERSION: u8 = 1;
/// With a list of exports behind the users.
const VERSION_EXPORTS: u8 = 2;
const EXPORTS_MAX: usize = 256;

/// All shares, in memory, by folded name.
#[derive(Debug)]
pub(crate) struct Shares {
    by_name: RwLock<HashMap<String, Arc<Share>>>,
    by_id: RwLock<HashMap<u32, Arc<Share>>>,
    pub(crate) roots: Roots,
    /// Held while one is added or removed.
    changing: Mutex<()>,
}

impl Shares {
    pub(crate) fn load(store: &Store) -> Result<Self> {
        let (mut by_name, mut by_id) = (HashMap::new(), HashMap::new());
        let mut roots = HashMap::new();
        let mut start = rows::inode_key(Inode(0));
        loop {
            let page = store.scan(rows::SHARES, &start, &rows::end_of(Inode(0)), SHARES_BATCH)?;
            let Some((last, _)) = page.last() else { break };
            start = next_key(last);
            for (_, row) in &page {
                let share = Arc::new(decode(row)?);
                roots.insert(share.root, share.id);
                by_id.insert(share.id.0, Arc::clone(&share));
                by_name.insert(fold(&share.name), share);
            }
        }
        Ok(Self {
            by_name: RwLock::new(by_name),
            by_id: RwLock::new(by_id),
            roots: Arc::new(RwLock::new(roots)),
            changing: Mutex::new(()),
        })
    }
}

impl Vfs {
    /// Every share, in the order of their names.
    pub fn shares(&self) -> Vec<Arc<Share>> {
        let mut shares: Vec<_> = self.shares.by_name.read().values().cloned().collect();
        shares.sort_by(|a, b| a.name.cmp(&b.name));
        shares
    }

    /// Names of shares are compared without case.
    pub fn share(&self, name: &str) -> Option<Arc<Share>> {
        self.shares.by_name.read().get(&fold(name)).cloned()
    }

    /// The share with an id that was given out before.
    pub fn share_by_id(&self, id: ShareId) -> Option<Arc<Share>> {
        self.shares.by_id.read().get(&id.0).cloned()
    }

    /// Makes a share with a new, empty root directory. Durable within a second, or by [`strongroom_store::Store::sync_all`].
    ///
    /// Errors: `Exists`, `InvalidName`, `NameTooLong`, `InvalidParameter` for more than 1,024 users.
    pub fn add_share(&self, new: NewShare) -> Result<Arc<Share>> {
        let limit = new.size_limit;
        let share = self.make_share(new)?;
        if let Some(limit) = limit
            && let Err(error) = self.set_quota(QuotaOf::Tree(share.root), Some(limit))
        {
            self.remove_share(&share.name)?;
            return Err(error);
        }
        Ok(share)
    }

    fn make_share(&self, new: NewShare) -> Result<Arc<Share>> {
        check_share(&new)?;
        let _changing = self.shares.changing.lock();
        let key = fold(&new.name);
        if self.shares.by_name.read().contains_key(&key) {
            return Err(VfsError::Exists);
        }
        let mut txn = self.store.txn(SessionId::SYSTEM);
        let root = self.make_root(&mut txn);
        let id = self.next_share_id()?;
        let NewShare {
            name,
            comment,
            read_only,
            users,
            encrypt,
            hide_unreadable,
            time_machine,
            size_limit: _,
            continuously_available,
            exports,
            compression,
        } = new;
        let created = self.now();
        let share = Share {
            id,
            name,
            root,
            comment,
            read_only,
            users,
            encrypt,
            hide_unreadable,
            time_machine,
            continuously_available,
            exports,
            compression,
            created,
        };
        let last = u64::from(id.0).to_le_bytes().to_vec();
        txn.put(rows::COUNTERS, rows::list_key(LAST_ID_KEY), last);
        txn.put(
            rows::SHARES,
            rows::list_key(u64::from(id.0)),
            encode(&share),
        );
        txn.commit()?;
        let share = Arc::new(share);
        let by_id = &self.shares.by_id;
        by_id.write().insert(share.id.0, Arc::clone(&share));
        self.shares.roots.write().insert(root, id);
        self.shares.by_name.write().insert(key, Arc::clone(&share));
        Ok(share)
    }

    /// An id that no share had before: clients keep ids over the end of their share.
    fn next_share_id(&self) -> Result<ShareId> {
        let kept = self
            .store
            .get(rows::COUNTERS, &rows::list_key(LAST_ID_KEY))?;
        let last = match kept {
            Some(row) => Reader::new(&row, "counters").u64()?,
            None => 0,
        };
        let last = u32::try_from(last).map_err(|_| VfsError::TooMany)?;
        let shares = self.shares.by_id.read();
        let present = shares.keys().copied().max().unwrap_or(0);
        let next = last.max(present).checked_add(1);
        Ok(ShareId(next.ok_or(VfsError::TooMany)?))
    }

    /// Changes a share. Files that are open go on as they were opened.
    ///
    /// Errors: `NotFound`.
    pub fn change_share(&self, name: &str, change: ShareChange) -> Result<Arc<Share>> {
        let _changing = self.shares.changing.lock();
        let mut share = Share::clone(&*self.share(name).ok_or(VfsError::NotFound)?);
        if let Some(compression) = change.compression {
            share.compression = compression;
        }
        let mut txn = self.store.txn(SessionId::SYSTEM);
        let key = rows::list_key(u64::from(share.id.0));
        txn.put(rows::SHARES, key, encode(&share));
        txn.commit()?;
        let share = Arc::new(share);
        let (by_id, by_name) = (&self.shares.by_id, &self.shares.by_name);
        by_id.write().insert(share.id.0, Arc::clone(&share));
        by_name.write().insert(fold(name), Arc::clone(&share));
        Ok(share)
    }

    /// How what is written to files of a share is compressed.
    pub(crate) fn compression(&self, share: &Share) -> Compression {
        let now = self.share_by_id(share.id);
        now.map_or(share.compression, |now| now.compression)
    }

    /// Stops offering a share. Its files stay in the pool, where an administrator's later work finds them by its root.
    ///
    /// Errors: `NotFound`; `CannotDelete` while a snapshot of it is held or locked.
    pub fn remove_share(&self, name: &str) -> Result<()> {
        let _changing = self.shares.changing.lock();
        let share = self.share(name).ok_or(VfsError::NotFound)?;
        if self.has_kept_snapshots(&share)? {
            return Err(VfsError::CannotDelete);
        }
        let mut txn = self.store.txn(SessionId::SYSTEM);
        txn.delete(rows::SHARES, rows::list_key(u64::from(share.id.0)));
        txn.commit()?;
        self.shares.by_id.write().remove(&share.id.0);
        self.shares.by_name.write().remove(&fold(name));
        self.shares.roots.write().remove(&share.root);
        Ok(())
    }

    /// Whether a share lets these credentials in. Administrators always may enter.
    pub fn may_enter(&self, share: &Share, credentials: &Credentials) -> bool {
        let listed = |users: &Vec<Sid>| users.iter().any(|user| credentials.is(user));
        credentials.admin || share.users.as_ref().is_none_or(listed)
    }

    /// The size that a share was made with, if it was made with one.
    pub fn size_limit(&self, share: &Share) -> Result<Option<u64>> {
        let tree = self.node(share.root)?.lock().attr.quota_tree;
        let limit = self.quotas.limit(QuotaOf::Tree(tree));
        Ok((tree == share.root && limit != u64::MAX).then_some(limit))
    }

    /// A share as a volume. What is available is what this caller can still write: space, quotas, read-only shares.
    pub fn volume(&self, share: &Share, credentials: &Credentials) -> Result<VolumeInfo> {
        let space = self.store.space()?;
        let by_user = self.quotas.left(QuotaOf::User(credentials.user));
        let tree = self.node(share.root)?.lock().attr.quota_tree;
        let (limit, by_tree) = if tree == Inode(0) {
            (u64::MAX, u64::MAX)
        } else {
            let tree = QuotaOf::Tree(tree);
            (self.quotas.limit(tree), self.quotas.left(tree))
        };
        let low = u32::try_from(share.root.0 & 0xFFFF_FFFF).unwrap_or(0);
        Ok(VolumeInfo {
            label: share.name.clone(),
            serial: low.wrapping_mul(0x9E37_79B1).rotate_left(16) ^ share.id.0,
            id: share.root.0,
            created: share.created,
            total: space.for_clients().min(limit),
            available: space.available.min(by_user).min(by_tree),
            available_to_all: space.available.min(by_tree),
            unit: u32::try_from(UNIT).unwrap_or(u32::MAX),
        })
    }
}

fn check_share(new: &NewShare) -> Result<()> {
    if utf16_len(&new.name) > SHARE_NAME_MAX || utf16_len(&new.comment) > COMMENT_MAX {
        return Err(VfsError::NameTooLong);
    }
    let illegal = |c: char| c < ' ' || "\"/\\[]:|<>+=;,*?".contains(c);
    let reserved = ["IPC$", "ADMIN$", "PRINT$"].contains(&fold(&new.name).as_str());
    let blank = new.name.trim() != new.name || new.name.is_empty();
    if blank || reserved || new.name.chars().any(illegal) || new.name == "." || new.name == ".." {
        return Err(VfsError::InvalidName);
    }
    if new
        .users
        .as_ref()
        .is_some_and(|users| users.len() > USERS_MAX)
    {
        return Err(VfsError::InvalidParameter);
    }
    if new.exports.len() > EXPORTS_MAX || new.exports.iter().any(|export| !export.is_valid()) {
        return Err(VfsError::InvalidParameter);
    }
    Ok(())
}

const READ_ONLY: u8 = 1;
const ENCRYPT: u8 = 2;
const LISTED_USERS: u8 = 4;
const HIDE_UNREADABLE: u8 = 8;
const COMPRESS_LZ4: u8 = 16;
const COMPRESS_ZSTD: u8 = 32;
const TIME_MACHINE: u8 = 128;
const CONTINUOUSLY_AVAILABLE: u8 = 64;

fn encode(share: &Share) -> Vec<u8> {
    let mut flags = 0;
    flags |= if share.read_only { READ_ONLY } else { 0 };
    flags |= if share.encrypt { ENCRYPT } else { 0 };
    flags |= if share.users.is_some() {
        LISTED_USERS
    } else {
        0
    };
    flags |= if share.hide_unreadable {
        HIDE_UNREADABLE
    } else {
        0
    };
    flags |= match share.compression {
        Compression::Off => 0,
        Compression::Lz4 => COMPRESS_LZ4,
        Compression::Zstd => COMPRESS_ZSTD,
    };
    flags |= if share.time_machine { TIME_MACHINE } else { 0 };
    flags |= if share.continuously_available {
        CONTINUOUSLY_AVAILABLE
    } else {
        0
    };
    let mut row = Writer::with_capacity(128);
    let version = if share.exports.is_empty() {
        VERSION
    } else {
        VERSION_EXPORTS
    };
    row.u8(version)
        .u8(flags)
        .u32(share.id.0)
        .u64(share.root.0)
        .u64(share.created.0);
    row.long_text(&share.name).long_text(&share.comment);
    let users = share.users.as_deref().unwrap_or_default();
    row.u16(u16::try_from(users.len()).unwrap_or(u16::MAX));
    for user in users {
        user.encode(&mut row.0);
    }
    if version == VERSION_EXPORTS {
        row.u16(u16::try_from(share.exports.len()).unwrap_or(u16::MAX));
        for export in &share.exports {
            export.encode(&mut row);
        }
    }
    row.0
}

fn decode(row: &[u8]) -> Result<Share> {
    let mut reader = Reader::new(row, "shares");
    let version = reader.u8()?;
    if version != VERSION && version != VERSION_EXPORTS {
        return Err(reader.corrupt());
    }
    let flags = reader.u8()?;
    let id = ShareId(reader.u32()?);
    let root = Inode(reader.u64()?);
    let created = FileTime(reader.u64()?);
    let (name, comment) = (reader.long_text()?, reader.long_text()?);
    let count = reader.u16()?;
    let corrupt = || VfsError::Corrupt("a row of shares is not well formed".into());
    let mut rest = reader.rest();
    let mut users = Vec::new();
    for _ in 0..count {
        let user = Sid::from_bytes(rest).map_err(|_| corrupt())?;
        rest = rest.get(user.encoded_len()..).ok_or_else(corrupt)?;
        users.push(user);
    }
    let exports = if version == VERSION_EXPORTS {
        Export::decode_all(&mut Reader::new(rest, "shares"))?
    } else {
        Vec::new()
    };
    Ok(Share {
        id,
        name,
        root,
        comment,
        read_only: flags & READ_ONLY != 0,
        users: (flags & LISTED_USERS != 0).then_some(users),
        encrypt: flags & ENCRYPT != 0,
        hide_unreadable: flags & HIDE_UNREADABLE != 0,
        time_machine: flags & TIME_MACHINE != 0,
        continuously_available: flags & CONTINUOUSLY_AVAILABLE != 0,
        exports,
        compression: match flags & (COMPRESS_LZ4 | COMPRESS_ZSTD) {
            0 => Compression::Off,
            COMPRESS_LZ4 => Compression::Lz4,
            COMPRESS_ZSTD => Compression::Zstd,
            _ => return Err(corrupt()),
        },
        created,
    })
}
