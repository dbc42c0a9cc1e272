//! Snapshots: named instants of a share that stay as long as they have their name.
//!
//! A snapshot costs one small row, whatever the size of the share: its pin tells the store to thin nothing of what the
//! share was then. One that is held is not deleted by mistake; one that is locked is deleted by nobody before its time.
//! That time is counted while the file system is served, by a clock that the machine's own cannot move.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_device::Env;
use strongroom_store::{Inode, Instant, Pin, SessionId, Store, Txn, View};

use crate::names::{fold, utf16_len};
use crate::quota::next_key;
use crate::rows::{self, Reader, Writer};
use crate::{FileTime, Result, Share, ShareId, Vfs, VfsError};

const VERSION: u8 = 1;
const HELD: u8 = 1;
/// Counters: the first number of a pin that is not taken, and seconds for which the file system was served.
const PIN_KEY: u64 = 5;
const SERVED_KEY: u64 = 6;
/// The longest name of a snapshot, in UTF-16 units.
const SNAPSHOT_NAME_MAX: usize = 255;
const BATCH: usize = 256;
/// While anything is locked, the time served is written down this often; a crash makes locks last that much longer.
const SERVED_EVERY: Duration = Duration::from_secs(60);

/// A named instant of a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub name: String,
    pub instant: Instant,
    pub created: FileTime,
    /// It is not deleted until it is let go.
    pub held: bool,
    /// Until when nobody can delete it, as far as the server runs until then; None once that time is over.
    pub locked_until: Option<FileTime>,
}

/// Numbers of pins, and the time served.
#[derive(Debug)]
pub(crate) struct Snapshots {
    /// Held while one is made or changed; the first number not taken.
    next_pin: Mutex<u64>,
    /// Seconds served by earlier runs.
    served_before: u64,
    started: Duration,
    /// There is a lock whose time must be counted.
    locked: bool,
    /// It is being counted.
    counting: AtomicBool,
}

/// A snapshot's row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    name: String,
    pin: u64,
    created: FileTime,
    held: bool,
    /// In seconds served; 0 for never.
    locked: u64,
    /// The same as a date, as it was asked for.
    date: FileTime,
}

impl Snapshots {
    pub(crate) fn load(store: &Store, env: &dyn Env) -> Result<Self> {
        let counter = |key| match store.get(rows::COUNTERS, &rows::list_key(key))? {
            Some(row) => Reader::new(&row, "counters").u64(),
            None => Ok(0),
        };
        let mut snapshots = Self {
            next_pin: Mutex::new(counter(PIN_KEY)?.max(1)),
            served_before: counter(SERVED_KEY)?,
            started: env.monotonic(),
            locked: false,
            counting: AtomicBool::new(false),
        };
        let (mut start, end) = (rows::inode_key(Inode(0)), rows::end_of(Inode(0)));
        loop {
            let page = store.scan(rows::SNAPSHOTS, &start, &end, BATCH)?;
            let Some((last, _)) = page.last() else { break };
            start = next_key(last);
            for (_, row) in &page {
                snapshots.locked |= decode(row)?.locked > snapshots.served_before;
            }
        }
        Ok(snapshots)
    }

    /// Seconds for which the file system was served, in this run and before.
    fn served(&self, env: &dyn Env) -> u64 {
        let run = env.monotonic().saturating_sub(self.started);
        self.served_before + run.as_secs()
    }
}

impl Vfs {
    /// Keeps a share as it is now under a name: all that was answered before, and in no file half of a later write.
    /// Durable on return.
    ///
    /// Errors: `Exists`, `InvalidName`, `NameTooLong`.
    pub async fn create_snapshot(&self, share: &Share, name: &str) -> Result<Snapshot> {
        check_name(name)?;
        // What was written before is published, so that the instant shows it.
        self.store.sync_all().await?;
        self.put_snapshot(share, name, None, false)?;
        self.store.sync_all().await?;
        self.snapshot(share, name)
    }

    /// Keeps a share as it was in a view of the past under a name. Durable on return.
    ///
    /// Errors: `Exists`, `InvalidName`, `NameTooLong`; `InvalidParameter` for the present.
    pub async fn create_snapshot_of(
        &self,
        share: &Share,
        name: &str,
        view: &View,
    ) -> Result<Snapshot> {
        self.keep_view(share, name, view, false)?;
        self.store.sync_all().await?;
        self.snapshot(share, name)
    }

    /// As [`Vfs::create_snapshot_of`], durable with the next group.
    pub(crate) fn keep_view(
        &self,
        share: &Share,
        name: &str,
        view: &View,
        held: bool,
    ) -> Result<()> {
        check_name(name)?;
        let instant = view.instant().ok_or(VfsError::InvalidParameter)?;
        self.put_snapshot(share, name, Some(instant), held)
    }

    /// Writes the row and the pin of a snapshot: of an instant of the past, which the caller looks at, or of now.
    fn put_snapshot(
        &self,
        share: &Share,
        name: &str,
        instant: Option<Instant>,
        held: bool,
    ) -> Result<()> {
        let mut next_pin = self.snapshots.next_pin.lock();
        if self.snapshot_row(share.id, name)?.is_some() {
            return Err(VfsError::Exists);
        }
        let row = Row {
            name: name.to_owned(),
            pin: *next_pin,
            created: self.now(),
            held,
            locked: 0,
            date: FileTime(0),
        };
        let mut txn = self.small_txn();
        match instant {
            Some(instant) => txn.pin_at(row.pin, share.id.realm(), instant),
            None => txn.pin(row.pin, share.id.realm()),
        }
        txn.put(rows::SNAPSHOTS, snapshot_key(share.id, name), encode(&row));
        let next = *next_pin + 1;
        put_counter(&mut txn, PIN_KEY, next);
        txn.commit()?;
        *next_pin = next;
        Ok(())
    }

    /// The snapshots of a share, oldest first.
    pub fn snapshots(&self, share: &Share) -> Result<Vec<Snapshot>> {
        let pins = self.store.pins()?;
        let mut found = Vec::new();
        let prefix = share_prefix(share.id);
        let (mut start, end) = (prefix.clone(), after_prefix(&prefix));
        loop {
            let page = self.store.scan(rows::SNAPSHOTS, &start, &end, BATCH)?;
            let Some((last, _)) = page.last() else { break };
            start = next_key(last);
            for (_, row) in &page {
                found.push(self.known_snapshot(decode(row)?, &pins)?);
            }
        }
        found.sort_by_key(|snapshot| snapshot.instant.txg);
        Ok(found)
    }

    /// A snapshot by its name, without case. Errors: `NotFound`.
    pub fn snapshot(&self, share: &Share, name: &str) -> Result<Snapshot> {
        let row = self.snapshot_row(share.id, name)?;
        self.known_snapshot(row.ok_or(VfsError::NotFound)?, &self.store.pins()?)
    }

    /// Gives up a snapshot; what only it kept is cleaned up behind.
    ///
    /// Errors: `NotFound`; `CannotDelete` while it is held or locked.
    pub async fn delete_snapshot(&self, share: &Share, name: &str) -> Result<()> {
        {
            let _changing = self.snapshots.next_pin.lock();
            let row = self.snapshot_row(share.id, name)?;
            let row = row.ok_or(VfsError::NotFound)?;
            if row.held || self.is_locked(&row) {
                return Err(VfsError::CannotDelete);
            }
            let mut txn = self.small_txn();
            txn.unpin(row.pin);
            txn.delete(rows::SNAPSHOTS, snapshot_key(share.id, name));
            txn.commit()?;
        }
        Ok(self.store.sync_all().await?)
    }

    /// Holds a snapshot, or lets it go. Errors: `NotFound`.
    pub async fn hold_snapshot(&self, share: &Share, name: &str, hold: bool) -> Result<()> {
        self.change_snapshot(share, name, |row| {
            row.held = hold;
            Ok(())
        })
        .await
    }

    /// Locks a snapshot until a date, as long as the server runs until then: time in which it does not run is added.
    ///
    /// Errors: `NotFound`; `InvalidParameter` for a date that is past, or that would shorten a lock.
    pub async fn lock_snapshot(&self, share: &Share, name: &str, until: FileTime) -> Result<()> {
        let (now, served) = (self.now(), self.snapshots.served(&*self.env));
        let seconds = until.0.saturating_sub(now.0).div_ceil(10_000_000);
        let locked = served + seconds;
        self.change_snapshot(share, name, |row| {
            if seconds == 0 || locked < row.locked {
                return Err(VfsError::InvalidParameter);
            }
            row.locked = locked;
            row.date = until;
            Ok(())
        })
        .await?;
        self.count_served();
        Ok(())
    }

    async fn change_snapshot(
        &self,
        share: &Share,
        name: &str,
        change: impl FnOnce(&mut Row) -> Result<()>,
    ) -> Result<()> {
        {
            let _changing = self.snapshots.next_pin.lock();
            let row = self.snapshot_row(share.id, name)?;
            let mut row = row.ok_or(VfsError::NotFound)?;
            change(&mut row)?;
            let mut txn = self.small_txn();
            txn.put(rows::SNAPSHOTS, snapshot_key(share.id, name), encode(&row));
            let served = self.snapshots.served(&*self.env);
            put_counter(&mut txn, SERVED_KEY, served);
            txn.commit()?;
        }
        Ok(self.store.sync_all().await?)
    }

    /// Goes on counting the time served if anything was locked before.
    pub(crate) fn resume_locks(&self) {
        if self.snapshots.locked {
            self.count_served();
        }
    }

    /// Whether a share has snapshots that nobody may delete now.
    pub(crate) fn has_kept_snapshots(&self, share: &Share) -> Result<bool> {
        let kept = |snapshot: &Snapshot| snapshot.held || snapshot.locked_until.is_some();
        Ok(self.snapshots(share)?.iter().any(kept))
    }

    /// Counts the time served from now on, until the file system is dropped.
    fn count_served(&self) {
        if self.snapshots.counting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (weak, env) = (self.weak(), std::sync::Arc::clone(&self.env));
        let counting = async move {
            loop {
                env.sleep(SERVED_EVERY).await;
                let Some(vfs) = weak.upgrade() else { return };
                if let Err(error) = vfs.write_served() {
                    tracing::warn!(%error, "the time served cannot be written down; locks last longer");
                }
            }
        };
        self.env.spawn("vfs lock clock", Box::pin(counting));
    }

    fn write_served(&self) -> Result<()> {
        let mut txn = self.small_txn();
        put_counter(&mut txn, SERVED_KEY, self.snapshots.served(&*self.env));
        txn.commit()?;
        Ok(())
    }

    /// What a full pool takes as well: few and small rows.
    pub(crate) fn small_txn(&self) -> Txn<'_> {
        let mut txn = self.store.txn(SessionId::SYSTEM);
        txn.draw_on_reserve();
        txn
    }

    fn is_locked(&self, row: &Row) -> bool {
        row.locked > self.snapshots.served(&*self.env)
    }

    fn snapshot_row(&self, share: ShareId, name: &str) -> Result<Option<Row>> {
        let row = self
            .store
            .get(rows::SNAPSHOTS, &snapshot_key(share, name))?;
        row.map(|row| decode(&row)).transpose()
    }

    fn known_snapshot(&self, row: Row, pins: &[Pin]) -> Result<Snapshot> {
        let pin = pins.iter().find(|pin| pin.id == row.pin);
        let pin = pin.ok_or_else(|| VfsError::Corrupt("a snapshot has no pin".into()))?;
        let locked = self.is_locked(&row);
        Ok(Snapshot {
            instant: pin.instant,
            created: row.created,
            held: row.held,
            locked_until: Some(row.date).filter(|_| locked),
            name: row.name,
        })
    }
}

fn check_name(name: &str) -> Result<()> {
    if utf16_len(name) > SNAPSHOT_NAME_MAX {
        return Err(VfsError::NameTooLong);
    }
    let illegal = |c: char| c < ' ' || "\"/\\:|<>*?".contains(c);
    if name.is_empty() || name.trim() != name || name.chars().any(illegal) {
        return Err(VfsError::InvalidName);
    }
    Ok(())
}

fn put_counter(txn: &mut Txn<'_>, key: u64, value: u64) {
    txn.put(
        rows::COUNTERS,
        rows::list_key(key),
        value.to_le_bytes().to_vec(),
    );
}

fn share_prefix(share: ShareId) -> rows::Key {
    rows::key_of(Inode(0), &share.0.to_be_bytes())
}

/// The key behind all that begin so.
fn after_prefix(prefix: &[u8]) -> rows::Key {
    let mut end = rows::Key::from_slice(prefix);
    end.push(0xFF);
    end
}

fn snapshot_key(share: ShareId, name: &str) -> rows::Key {
    let mut key = share_prefix(share);
    key.extend_from_slice(fold(name).as_bytes());
    key
}

fn encode(row: &Row) -> Vec<u8> {
    let mut out = Writer::with_capacity(64);
    out.u8(VERSION)
        .u8(if row.held { HELD } else { 0 })
        .u64(row.pin)
        .u64(row.created.0)
        .u64(row.locked)
        .u64(row.date.0)
        .long_text(&row.name);
    out.0
}

fn decode(row: &[u8]) -> Result<Row> {
    let mut reader = Reader::new(row, "snapshots");
    let (version, flags) = (reader.u8()?, reader.u8()?);
    if version != VERSION || flags & !HELD != 0 {
        return Err(reader.corrupt());
    }
    let row = Row {
        held: flags & HELD != 0,
        pin: reader.u64()?,
        created: FileTime(reader.u64()?),
        locked: reader.u64()?,
        date: FileTime(reader.u64()?),
        name: reader.long_text()?,
    };
    reader.end()?;
    Ok(row)
}
