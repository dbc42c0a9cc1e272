//! Snapshots by schedule: one every so often, of which the newest are kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_store::{Inode, Store};

use crate::history::instant_name;
use crate::quota::next_key;
use crate::rows::{self, Reader, Writer};
use crate::{FileTime, Result, Share, ShareId, Vfs, VfsError};

const VERSION: u8 = 1;
const BATCH: usize = 256;
/// How often it is looked whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What names of snapshots by schedule begin with.
const PREFIX: &str = "auto ";
/// 100 ns units of a second.
const SECOND: u64 = 10_000_000;

/// When snapshots of a share are made by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotSchedule {
    /// From one to the next, in seconds; at whole multiples of it since 1970, in UTC.
    pub every_s: u64,
    /// Newest ones that are kept; older ones go unless they are held or locked.
    pub keep: u32,
}

/// All schedules, with the number of the last period that has its snapshot.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    by_share: Mutex<BTreeMap<ShareId, (SnapshotSchedule, u64)>>,
    running: std::sync::atomic::AtomicBool,
}

impl Schedules {
    pub(crate) fn load(store: &Store) -> Result<Self> {
        let mut by_share = BTreeMap::new();
        let (mut start, end) = (rows::inode_key(Inode(0)), rows::end_of(Inode(0)));
        loop {
            let page = store.scan(rows::SCHEDULES, &start, &end, BATCH)?;
            let Some((last, _)) = page.last() else { break };
            start = next_key(last);
            for (key, row) in &page {
                let share = key.get(8..).and_then(|id| id.first_chunk());
                let share = share.ok_or_else(|| VfsError::Corrupt("a schedule's key".into()))?;
                by_share.insert(ShareId(u32::from_be_bytes(*share)), decode(row)?);
            }
        }
        Ok(Self {
            by_share: Mutex::new(by_share),
            running: false.into(),
        })
    }
}

impl Vfs {
    /// The schedule by which snapshots of a share are made.
    pub fn snapshot_schedule(&self, share: &Share) -> Option<SnapshotSchedule> {
        let schedules = self.schedules.by_share.lock();
        schedules.get(&share.id).map(|(schedule, _)| *schedule)
    }

    /// Makes snapshots of a share by a schedule from now on, or none with None. Durable on return.
    ///
    /// Errors: `InvalidParameter` for less than a minute between two, or none to keep.
    pub async fn set_snapshot_schedule(
        &self,
        share: &Share,
        schedule: Option<SnapshotSchedule>,
    ) -> Result<()> {
        if schedule.is_some_and(|schedule| schedule.every_s < 60 || schedule.keep == 0) {
            return Err(VfsError::InvalidParameter);
        }
        {
            let mut schedules = self.schedules.by_share.lock();
            match schedule {
                Some(schedule) => {
                    let entry = (schedule, period(schedule, self.now()));
                    self.put_schedule(share.id, Some(entry))?;
                    schedules.insert(share.id, entry);
                }
                None => {
                    self.put_schedule(share.id, None)?;
                    schedules.remove(&share.id);
                }
            }
        }
        self.follow_schedules();
        Ok(self.store.sync_all().await?)
    }

    /// Goes by the schedules that there are until the file system is dropped.
    pub(crate) fn follow_schedules(&self) {
        let schedules = &self.schedules;
        if schedules.by_share.lock().is_empty()
            || schedules
                .running
                .swap(true, std::sync::atomic::Ordering::AcqRel)
        {
            return;
        }
        let (weak, env) = (self.weak(), Arc::clone(&self.env));
        let following = async move {
            loop {
                env.sleep(LOOK_EVERY).await;
                let Some(vfs) = weak.upgrade() else { return };
                if let Err(error) = vfs.make_due_snapshots().await {
                    tracing::warn!(%error, "a snapshot by schedule failed; it is tried again");
                }
            }
        };
        self.env.spawn("vfs snapshot schedule", Box::pin(following));
    }

    async fn make_due_snapshots(&self) -> Result<()> {
        let now = self.now();
        let all = self.schedules.by_share.lock().clone();
        for (id, (schedule, last)) in all {
            let due = period(schedule, now);
            if due == last {
                continue;
            }
            let Some(share) = self.share_by_id(id) else {
                self.put_schedule(id, None)?;
                self.schedules.by_share.lock().remove(&id);
                continue;
            };
            self.make_scheduled(&share, now).await?;
            // Kept in memory first: one that was made must not be made again because the row could not be written.
            if let Some(entry) = self.schedules.by_share.lock().get_mut(&id) {
                entry.1 = due;
            }
            self.put_schedule(id, Some((schedule, due)))?;
            self.drop_old_scheduled(&share, schedule.keep).await?;
        }
        Ok(())
    }

    async fn make_scheduled(&self, share: &Share, now: FileTime) -> Result<()> {
        let time = FileTime(now.0 - now.0 % SECOND);
        let name = format!("{PREFIX}{}", instant_name(time).replace(':', "."));
        match self.create_snapshot(share, &name).await {
            Ok(_) | Err(VfsError::Exists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn drop_old_scheduled(&self, share: &Share, keep: u32) -> Result<()> {
        let all = self.snapshots(share)?;
        let scheduled: Vec<_> = all
            .iter()
            .filter(|snapshot| snapshot.name.starts_with(PREFIX))
            .collect();
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let excess = scheduled.len().saturating_sub(keep);
        for snapshot in scheduled.into_iter().take(excess) {
            if snapshot.held || snapshot.locked_until.is_some() {
                continue;
            }
            match self.delete_snapshot(share, &snapshot.name).await {
                // Somebody was faster, or holds it meanwhile.
                Ok(()) | Err(VfsError::NotFound | VfsError::CannotDelete) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn put_schedule(&self, share: ShareId, entry: Option<(SnapshotSchedule, u64)>) -> Result<()> {
        let key = rows::key_of(Inode(0), &share.0.to_be_bytes());
        let mut txn = self.small_txn();
        match entry {
            Some(entry) => txn.put(rows::SCHEDULES, key, encode(entry)),
            None => txn.delete(rows::SCHEDULES, key),
        }
        txn.commit()?;
        Ok(())
    }
}

/// The number of the period that a time lies in.
fn period(schedule: SnapshotSchedule, now: FileTime) -> u64 {
    let seconds = u64::try_from(now.to_unix().0).unwrap_or(0);
    seconds / schedule.every_s.max(1)
}

fn encode((schedule, last): (SnapshotSchedule, u64)) -> Vec<u8> {
    let mut row = Writer::with_capacity(21);
    row.u8(VERSION)
        .u64(schedule.every_s)
        .u32(schedule.keep)
        .u64(last);
    row.0
}

fn decode(row: &[u8]) -> Result<(SnapshotSchedule, u64)> {
    let mut reader = Reader::new(row, "schedules");
    if reader.u8()? != VERSION {
        return Err(reader.corrupt());
    }
    let schedule = SnapshotSchedule {
        every_s: reader.u64()?,
        keep: reader.u32()?,
    };
    let last = reader.u64()?;
    reader.end()?;
    Ok((schedule, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_cut_ones_are_refused() {
        let schedule = SnapshotSchedule {
            every_s: 3_600,
            keep: 24,
        };
        let row = encode((schedule, 77));
        assert_eq!(decode(&row).unwrap(), (schedule, 77));
        for len in 0..row.len() {
            assert!(decode(&row[..len]).is_err(), "{len} bytes");
        }
    }
}
