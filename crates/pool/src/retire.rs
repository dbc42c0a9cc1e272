//! Disks that leave a pool, spares, and what has to move because of them.

use std::sync::Arc;

use strongroom_device::DeviceError;

use crate::admit::forget;
use crate::disk::Disk;
use crate::label::{Role, read_label, write_label};
use crate::placement::choose;
use crate::pool::Pool;
use crate::rebuild::Wanted;
use crate::segment::{Segment, Shard};
use crate::upkeep::Candidates;
use crate::{DiskId, DiskState, PoolError, Result, UpkeepStep, UpkeepTask};

impl Pool {
    /// Takes a disk out: nothing new is put on it from now on, what it holds moves to the others in the background, and
    /// then it is no member any more and holds no label.
    ///
    /// # Errors
    /// Name the disk, and nothing is changed: it is not in service, too few disks or too little room would be left for the
    /// layout, or another disk leaves or returns just now.
    pub fn remove_disk(&self, id: DiskId) -> Result<()> {
        let _changing = self.begin_change()?;
        let disk = self.known_disk(id)?;
        if disk.is_leaving() {
            return Ok(());
        }
        if !disk.is_live() {
            let disk = disk.name();
            return Err(PoolError::NotInService { disk });
        }
        self.refuse_leaving(&disk, 0)?;
        self.refuse_without_room(&disk)?;
        self.begin_emptying(&disk)
    }

    /// Makes a disk a spare, which holds nothing until another fails and it takes over; or makes a spare one like the
    /// others.
    ///
    /// # Errors
    /// As [`Pool::remove_disk`].
    pub fn set_spare(&self, id: DiskId, spare: bool) -> Result<()> {
        let _changing = self.begin_change()?;
        let disk = self.known_disk(id)?;
        if !disk.is_live() {
            let disk = disk.name();
            return Err(PoolError::NotInService { disk });
        }
        if disk.is_spare() == spare {
            return Ok(());
        }
        if spare {
            self.refuse_leaving(&disk, 0)?;
            self.refuse_without_room(&disk)?;
        }
        let role = Role {
            spare,
            stands_for: DiskId::default(),
            ..disk.role()
        };
        self.write_role(&disk, role)
    }

    /// `more` disks are about to be added.
    pub(crate) fn refuse_leaving(&self, disk: &Arc<Disk>, more: usize) -> Result<()> {
        let disks = self.disks.all();
        let name = disk.name();
        if let Some(other) = disks
            .iter()
            .find(|other| other.is_live() && other.is_leaving())
        {
            let why = format!(
                "{} is being emptied; one disk leaves after the other",
                other.name()
            );
            return Err(PoolError::Busy { disk: name, why });
        }
        if !self.is_followed() {
            let why = "log and index are being moved to other disks; try again in a moment".into();
            return Err(PoolError::Busy { disk: name, why });
        }
        if !self.owed.lock().is_empty() {
            let why = "not all data has its full redundancy; wait until it is made good".into();
            return Err(PoolError::Busy { disk: name, why });
        }
        let left = self.takers() - usize::from(disk.takes_shards()) + more;
        let needed = self.layout.width();
        if left < needed {
            return Err(PoolError::WouldBreakLayout {
                disk: name,
                layout: self.layout,
                needed,
                left,
            });
        }
        Ok(())
    }

    fn refuse_without_room(&self, disk: &Arc<Disk>) -> Result<()> {
        let mut needed = 0;
        for segment in self.segments.all() {
            if segment
                .live_shards()
                .iter()
                .any(|shard| Arc::ptr_eq(&shard.disk, disk))
            {
                needed += self.len_of(segment.id)?.unwrap_or(0);
            }
        }
        let others = self.by_room()?;
        let others = others.iter().filter(|(_, other)| !Arc::ptr_eq(other, disk));
        let free = others.fold(0u64, |sum, (free, _)| sum.saturating_add(*free));
        if free < needed {
            let disk = disk.name();
            return Err(PoolError::NoRoomElsewhere { disk, needed, free });
        }
        Ok(())
    }

    /// Its label says that it leaves, so that another opening goes on with it.
    pub(crate) fn begin_emptying(&self, disk: &Arc<Disk>) -> Result<()> {
        let before = disk.role();
        let role = Role {
            leaving: true,
            spare: false,
            ..before.clone()
        };
        self.write_role(disk, role)?;
        let mut chain = self.chain.lock();
        disk.begin_leaving();
        // The epoch has the copies of log and index move, too.
        let planned = self.plan_members(&mut chain);
        drop(chain);
        if let Err(error) = planned {
            // Without an epoch nobody would move them: it stays.
            if let Err(error) = self.write_role(disk, before.clone()) {
                tracing::error!(%error, device = disk.name(), "its label says that it leaves");
            }
            disk.set_role(before);
            disk.begin_leaving();
            return Err(error);
        }
        tracing::info!(device = disk.name(), "a disk is being emptied");
        Ok(())
    }

    fn write_role(&self, disk: &Arc<Disk>, role: Role) -> Result<()> {
        let written = disk
            .live_or_error("write", "label")
            .map_err(PoolError::from);
        let written = written.and_then(|device| {
            let mut label = read_label(&**device)?.label;
            label.role = Some(role.clone());
            write_label(&**device, &label)
        });
        match written {
            Ok(()) => {
                disk.set_role(role);
                Ok(())
            }
            Err(PoolError::Device(error @ DeviceError::Io { .. })) if disk.is_live() => {
                self.set_aside_disk(disk, &error)?;
                Err(error.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Has a spare take the place of each disk that is lost for now.
    pub(crate) fn promote_spares(&self) -> Result<()> {
        let owed = self.owed.lock().clone();
        if owed.is_empty() {
            return Ok(());
        }
        let disks = self.disks.all();
        for lost in owed {
            // One that is back, or about to be, needs nobody in its place.
            let returns = |disk: &Arc<Disk>| {
                disk.is_live() || (disk.device.is_some() && disk.state() == DiskState::Stale)
            };
            let back = self.disks.find(lost).is_some_and(|disk| returns(&disk));
            let covered = disks
                .iter()
                .any(|disk| disk.is_live() && disk.role().stands_for == lost);
            if back || covered {
                continue;
            }
            let mut spares = disks
                .iter()
                .filter(|disk| disk.is_live() && disk.is_spare());
            let Some(spare) = spares.find(|disk| !disk.is_leaving()) else {
                return Ok(());
            };
            let role = Role {
                spare: false,
                stands_for: lost,
                ..spare.role()
            };
            tracing::warn!(spare = spare.name(), %lost, "a spare takes the place of a lost disk");
            if let Err(error) = self.write_role(spare, role) {
                tracing::error!(%error, "a spare cannot take over");
                self.refuse_if_stopped()?;
            }
        }
        Ok(())
    }

    /// Moves one shard from a disk that is to be empty, or takes an empty one out.
    /// An empty one waits while no epoch is to be begun.
    pub(crate) fn empty_next(&self, epochs_rest: bool) -> Result<UpkeepStep> {
        let disks = self.disks.all();
        let emptied = |disk: &&Arc<Disk>| {
            disk.is_live() && !disk.is_fresh() && (disk.is_leaving() || disk.is_spare())
        };
        for disk in disks.iter().filter(emptied) {
            if disk.is_leaving() {
                self.wait_for_placements();
            }
            let mut left = 0;
            let mut found = Vec::new();
            self.segments.each(|segment| {
                found.extend(shard_on(segment, disk).map(|_| segment.id));
            });
            found.sort_unstable();
            for id in &found {
                left += self.len_of(*id)?.unwrap_or(0);
            }
            if found.is_empty() {
                if disk.is_leaving() && self.is_followed() && !epochs_rest {
                    self.take_out(disk)?;
                    return Ok(UpkeepStep::Changed);
                }
                continue;
            }
            let task = UpkeepTask::Emptying;
            let now = self.env.monotonic();
            self.progress
                .lock()
                .go_on(now, task, Some(disk.name()), left);
            for id in found {
                if let Some(bytes) = self.move_shard(id, disk, None)? {
                    self.progress.lock().advance(self.env.monotonic(), bytes);
                    return Ok(UpkeepStep::Worked { bytes });
                }
            }
        }
        Ok(UpkeepStep::Idle)
    }

    /// Appends that chose their disks before this call have made their segments on return.
    fn wait_for_placements(&self) {
        for lane in &self.lanes {
            drop(lane.lock());
        }
    }

    /// A disk that leaves and still holds something.
    pub(crate) fn unfinished_leaver(&self) -> Option<String> {
        let disks = self.disks.all();
        let leaves = |disk: &&Arc<Disk>| disk.is_live() && disk.is_leaving();
        let disk = disks.iter().find(leaves)?;
        let (name, mut damaged) = (disk.name(), 0u32);
        self.segments.each(|segment| {
            let kept = segment.is_damaged() && shard_on(segment, disk).is_some();
            damaged += u32::from(kept);
        });
        Some(match damaged {
            0 => format!("room on other disks for what {name} holds"),
            _ => format!(
                "{damaged} segments of {name} are damaged, and what is left of them stays there: delete the files that a scrub names"
            ),
        })
    }

    /// Moves the shard of a segment that lies on `from` to another disk, or to `to`. Returns its bytes; None if there is no
    /// place for it.
    pub(crate) fn move_shard(
        &self,
        id: crate::SegmentId,
        from: &Arc<Disk>,
        to: Option<&Arc<Disk>>,
    ) -> Result<Option<u64>> {
        let Some(segment) = self.segments.get(id) else {
            return Ok(Some(0));
        };
        if self.seal(id).is_err() {
            return Ok(Some(0));
        }
        let _held = segment.upkeep.lock();
        let same = self
            .segments
            .get(id)
            .is_some_and(|now| Arc::ptr_eq(&now, &segment));
        let (true, Some(shard)) = (same, shard_on(&segment, from)) else {
            return Ok(Some(0));
        };
        if segment.is_damaged() {
            return Ok(None);
        }
        let Some(len) = self.len_of(id)? else {
            return Ok(None);
        };
        let live = segment.live_shards();
        let others = live.iter().filter(|other| other.shard != shard.shard);
        let others: Vec<Arc<Disk>> = others.map(|other| Arc::clone(&other.disk)).collect();
        let candidates = self.by_room()?.into_iter().filter(|(free, disk)| {
            let used = others
                .iter()
                .chain([from])
                .any(|other| Arc::ptr_eq(other, disk));
            let wanted = to.is_none_or(|to| Arc::ptr_eq(to, disk));
            *free >= len && !used && wanted
        });
        let candidates: Candidates = candidates.collect();
        let Some(disk) = choose(&candidates, &others, 1).pop() else {
            return Ok(None);
        };
        let wanted = [Wanted {
            shard: shard.shard,
            disk,
        }];
        let made = self.make_shards(&segment, &wanted)?;
        self.note_made(&made);
        Ok((made.shards > 0).then_some(made.bytes))
    }

    /// An empty disk is no member any more, and forgets that it was one.
    fn take_out(&self, disk: &Arc<Disk>) -> Result<()> {
        let _changing = self.changing.lock();
        let mut chain = self.chain.lock();
        if !disk.leave(DiskState::Retired, "it was taken out of the pool") {
            return Ok(());
        }
        if let Err(error) = self.plan_members(&mut chain) {
            // It stays a member until an epoch says otherwise, and this is tried again.
            if let (Some(device), Some(id)) = (&disk.device, disk.id) {
                let again = Arc::new(Disk::fresh(Arc::clone(device), id, disk.role()));
                again.begin_leaving();
                again.is_established();
                self.disks.replace(|disks| {
                    let mut same = disks.iter_mut().filter(|other| Arc::ptr_eq(other, disk));
                    if let Some(slot) = same.next() {
                        *slot = again;
                    }
                });
            }
            return Err(error);
        }
        drop(chain);
        tracing::info!(device = disk.name(), "disk taken out");
        if let Some(device) = &disk.device {
            forget(&**device);
        }
        Ok(())
    }
}

fn shard_on(segment: &Segment, disk: &Arc<Disk>) -> Option<Arc<Shard>> {
    let mut live = segment.live_shards().into_iter();
    live.find(|shard| Arc::ptr_eq(&shard.disk, disk))
}
