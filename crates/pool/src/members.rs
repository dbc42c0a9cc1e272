//! Epochs begun and disks set aside.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_device::{Device, DeviceError, DeviceFile};

use crate::disk::Disk;
use crate::epoch::{Chain, EPOCH_FILES, EpochKind, EpochRecord};
use crate::label::{Label, read_label, write_copy};
use crate::pool::{Current, Pool};
use crate::scan::delete_durably;
use crate::{
    BLOCK, DiskId, DiskState, EpochId, EpochInfo, ErrorKind, PoolError, Result, SegmentId, Txg,
};

/// An opening leaves one segment a lane open; those that it sealed just before may have a void end, too.
const RECENT_MAX: usize = 64;

impl Pool {
    /// Records and syncs a new epoch on all members: the last accepted transaction group, and for each of `live_ends` how
    /// far the accepted rows reach (in blocks from the start of the segment), where the segment goes on behind that. What
    /// lies beyond is void, and cut off. Appending works from here on.
    ///
    /// # Errors
    /// A member that fails is set aside; an error means that too few are left.
    pub fn begin_epoch(&self, last_txg: Txg, live_ends: &[(SegmentId, u32)]) -> Result<EpochId> {
        let mut chain = self.chain.lock();
        self.cipher_if_encrypted()?;
        self.repair_labels();
        self.level_keys()?;
        let recent = self.left_by(&chain);
        let mut ends = live_ends.to_vec();
        ends.sort_unstable();
        ends.retain(|(segment, end)| self.segment(*segment).is_ok_and(|info| info.blocks > *end));
        self.write_epoch(&mut chain, EpochKind::Opening, last_txg, &ends)?;
        for (segment, end) in &ends {
            if let Some(segment) = self.segments.get(*segment) {
                segment.set_end(*end);
            }
        }
        let epoch = self.current.read().epoch;
        self.disks
            .all()
            .iter()
            .for_each(|disk| disk.begin_leaving());
        drop(chain);
        let cut = ends.into_iter().map(|(segment, _)| segment);
        self.remove_leftovers();
        self.tidy_segments(recent.into_iter().chain(cut).collect());
        Ok(epoch)
    }

    /// The segments that the opening before this one may have left open, or with more in them than was accepted: its
    /// newest. To be asked before an epoch is begun.
    pub fn recent_segments(&self) -> Vec<SegmentId> {
        self.left_by(&self.chain.lock())
    }

    fn left_by(&self, chain: &Chain) -> Vec<SegmentId> {
        let opening = |record: &&EpochRecord| record.kind == EpochKind::Opening;
        let last = chain.line.iter().rev().find(opening);
        let first = last.map_or(0, |record| u64::from(record.info.sequence) << 32);
        let mut recent = self.segments.ids();
        recent.retain(|segment| segment.0 >= first);
        recent.split_off(recent.len().saturating_sub(RECENT_MAX))
    }

    /// Tells that an operation on a device failed: one that [`Pool::homes`] gave, not another of its name. The device is read and written no more; the epoch that says so is
    /// durable on return.
    ///
    /// # Errors
    /// [`PoolError::WritingStopped`] if no usable redundancy remains.
    pub fn set_aside(&self, device: &Arc<dyn Device>, why: &DeviceError) -> Result<()> {
        let disks = self.disks.all();
        let is_it =
            |disk: &&Arc<Disk>| disk.device.as_ref().is_some_and(|d| Arc::ptr_eq(d, device));
        // A disk that was set aside and came back has another device: what the old one still fails at says nothing of it.
        match disks.iter().find(is_it) {
            Some(disk) => self.set_aside_disk(disk, why),
            None => self.refuse_if_stopped(),
        }
    }

    /// As [`Pool::set_aside`].
    pub(crate) fn set_aside_disk(&self, disk: &Disk, why: &DeviceError) -> Result<()> {
        let mut chain = self.chain.lock();
        disk.errors.fetch_add(1, Ordering::Relaxed);
        if disk.live().is_some() && !self.can_lose(disk) {
            // It stays readable: whatever can still be read is worth more than a tidy state.
            return Err(self.stop(&format!("{why}, and no other copy is left")));
        }
        if disk.leave(DiskState::SetAside, &why.to_string()) {
            tracing::error!(device = disk.name(), %why, "disk set aside");
            self.note_failure(disk, why);
            self.owe(disk);
            self.record_members(&mut chain)?;
        }
        self.refuse_if_stopped()
    }

    /// What a lost disk held has to be made good.
    fn owe(&self, disk: &Disk) {
        if let Some(id) = disk.id.filter(|_| !disk.is_fresh()) {
            self.owed.lock().insert(id);
        }
    }

    /// An epoch that says who is left. Before the first epoch of this opening there is nothing to protect by it.
    pub(crate) fn record_members(&self, chain: &mut Chain) -> Result<()> {
        let begun = self.current.read().sequence > 0;
        let Some(newest) = chain.newest().filter(|_| begun) else {
            return Ok(());
        };
        let last_txg = newest.info.last_txg;
        match self.write_members(chain, last_txg) {
            // The disks left do not say that the other one missed what follows.
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                Err(self.stop(&format!("{error}, and a disk was set aside")))
            }
            other => other,
        }
    }

    /// Writes an epoch of members that changed.
    pub(crate) fn write_members(&self, chain: &mut Chain, last_txg: Txg) -> Result<()> {
        self.write_epoch(chain, EpochKind::Membership, last_txg, &[])
    }

    /// Writes one epoch to all members; those that fail are left out and it is tried again with the others. A full disk
    /// has not failed: nothing is begun then.
    fn write_epoch(
        &self,
        chain: &mut Chain,
        kind: EpochKind,
        last_txg: Txg,
        ends: &[(SegmentId, u32)],
    ) -> Result<()> {
        loop {
            self.refuse_if_too_few()?;
            let record = self.next_record(chain, kind, last_txg, ends);
            let current = Current {
                epoch: record.info.id,
                sequence: record.info.sequence,
            };
            // The record may come to be on some disks only; the next one follows it, so that no two lines come to be.
            let extended = chain.extended(self.id, record);
            let before = std::mem::replace(chain, extended);
            let written = self.write_chain(chain);
            if written
                .as_ref()
                .is_err_and(|error| error.kind() == ErrorKind::NoSpace)
            {
                if self.undo_chain(&before) {
                    *chain = before;
                } else {
                    self.torn_epoch.store(true, Ordering::Release);
                }
            }
            if written? {
                *self.current.write() = current;
                self.torn_epoch.store(false, Ordering::Release);
                self.forget_homes();
                tracing::info!(epoch = %current.epoch, sequence = current.sequence, "epoch begun");
                return Ok(());
            }
        }
    }

    /// True if every member has it. A member that fails is set aside.
    fn write_chain(&self, chain: &Chain) -> Result<bool> {
        for path in EPOCH_FILES {
            for disk in self.disks.all().iter() {
                let Some(device) = disk.live() else { continue };
                let Err(error) = chain.write_copy(&**device, path) else {
                    continue;
                };
                if matches!(error, DeviceError::NoSpace { .. }) {
                    return Err(error.into());
                }
                disk.errors.fetch_add(1, Ordering::Relaxed);
                if !self.can_lose(disk) {
                    return Err(self.stop(&format!("{error}, and no other copy is left")));
                }
                tracing::error!(device = device.name(), %error, "disk set aside");
                disk.leave(DiskState::SetAside, &error.to_string());
                self.note_failure(disk, &error);
                self.owe(disk);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes a record off again that not all members had room for. True if it is on none of them any more, durably.
    fn undo_chain(&self, before: &Chain) -> bool {
        EPOCH_FILES.into_iter().all(|path| {
            let live = self.disks.live();
            let mut devices = live.iter().filter_map(|disk| disk.live());
            devices.all(|device| {
                let undone = before.write_copy(&**device, path);
                if let Err(error) = &undone {
                    tracing::warn!(%error, "an epoch that found no room stays in part");
                }
                undone.is_ok()
            })
        })
    }

    fn next_record(
        &self,
        chain: &Chain,
        kind: EpochKind,
        last_txg: Txg,
        ends: &[(SegmentId, u32)],
    ) -> EpochRecord {
        let mut id = EpochId::default();
        self.env.fill_random(&mut id.0);
        let newest = chain.newest().map(|newest| &newest.info);
        let members: Vec<DiskId> = self
            .disks
            .live()
            .iter()
            .filter_map(|disk| disk.id)
            .collect();
        // Also members may be owed: those that came back and are not level yet.
        let absent: Vec<DiskId> = self.owed.lock().iter().copied().collect();
        let info = EpochInfo {
            id,
            parent: newest.map(|newest| newest.id).unwrap_or_default(),
            sequence: newest.map_or(0, |newest| newest.sequence) + 1,
            members,
            absent,
            last_txg,
            segment_ends: ends.to_vec(),
        };
        EpochRecord {
            kind,
            time_ns: self.env.now().0,
            info,
        }
    }

    pub(crate) fn live_count(&self) -> usize {
        self.disks.live().len()
    }

    /// With more disks lost than the layout survives, something acknowledged is missing.
    fn refuse_if_too_few(&self) -> Result<()> {
        let (lost, parity) = (self.lost_count(), usize::from(self.layout.parity));
        if lost <= parity && self.live_count() > 0 {
            return Ok(());
        }
        Err(self.stop(&format!(
            "{lost} disks are lost, layout {} survives {parity}",
            self.layout
        )))
    }

    /// Disks whose contents are not made good.
    pub(crate) fn lost_count(&self) -> usize {
        self.owed.lock().len()
    }

    /// A disk that is owed anyway may go again, and one that holds nothing yet.
    pub(crate) fn can_lose(&self, disk: &Disk) -> bool {
        let owed = self.owed.lock();
        let counted = disk.is_fresh() || disk.id.is_some_and(|id| owed.contains(&id));
        self.live_count() > 1 && (counted || owed.len() < usize::from(self.layout.parity))
    }

    /// Latches the pool: no write succeeds until it is opened again.
    pub(crate) fn stop(&self, reason: &str) -> PoolError {
        tracing::error!(reason, "writing stops");
        let mut stopped = self.stopped.write();
        let reason = stopped.get_or_insert_with(|| reason.to_owned()).clone();
        PoolError::WritingStopped { reason }
    }

    pub(crate) fn refuse_if_stopped(&self) -> Result<()> {
        match &*self.stopped.read() {
            Some(reason) => Err(PoolError::WritingStopped {
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Rewrites damaged copies of labels from the good ones.
    fn repair_labels(&self) {
        let disks = self.disks.all();
        for disk in disks.iter().filter(|disk| !disk.bad_labels.is_empty()) {
            let Some(device) = disk.live() else { continue };
            for path in &disk.bad_labels {
                let repaired = read_label(&**device)
                    .and_then(|found| rewrite_label(&**device, path, &found.label));
                match repaired {
                    Ok(()) => tracing::warn!(device = device.name(), path, "label copy repaired"),
                    Err(error) => {
                        tracing::error!(device = device.name(), path, %error, "label copy not repaired");
                    }
                }
            }
        }
    }

    /// Removes what a rebuild that was cut off, or the move of a shard, left behind. Without it only space is lost.
    fn remove_leftovers(&self) {
        for (disk, path) in std::mem::take(&mut *self.leftovers.lock()) {
            let Some(device) = disk.live() else { continue };
            if let Err(error) = delete_durably(&**device, &path) {
                tracing::warn!(%error, "could not remove what a rebuild left");
            }
        }
    }

    /// Gives back what was preallocated for segments of the last opening and what is void in them, and removes those that
    /// stayed empty.
    fn tidy_segments(&self, segments: BTreeSet<SegmentId>) {
        for segment in segments.into_iter().filter_map(|id| self.segments.get(id)) {
            if segment.is_open() {
                continue;
            }
            let end = segment.known_end().map(|end| u64::from(end) * BLOCK as u64);
            let mut empty = true;
            for shard in segment.live_shards() {
                let trimmed = segment
                    .file(&shard, &self.handles)
                    .and_then(|file| trim(&*file, end));
                empty &= matches!(trimmed, Ok(0));
                if let Err(error) = trimmed {
                    tracing::warn!(%error, segment = %segment.id, "could not trim a shard");
                }
            }
            if empty && let Err(error) = self.delete_segment(segment.id) {
                tracing::warn!(%error, segment = %segment.id, "could not remove an empty segment");
            }
        }
    }
}

/// Cuts a file off at its end. Setting its length to what it is gives back the space behind it, too.
pub(crate) fn trim(
    file: &dyn DeviceFile,
    end: Option<u64>,
) -> std::result::Result<u64, DeviceError> {
    let len = file.len()?;
    let len = end.map_or(len, |end| len.min(end));
    file.set_len(len)?;
    Ok(len)
}

fn rewrite_label(device: &dyn Device, path: &str, label: &Label) -> Result<()> {
    write_copy(device, path, label)?;
    Ok(device.sync_dir("")?)
}
