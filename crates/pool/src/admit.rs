//! Disks that come to a pool: new ones, spares, replacements, and those that were away while it is open.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use strongroom_device::Device;

use crate::disk::Disk;
use crate::epoch::{Chain, EPOCH_FILES, read_chain};
use crate::label::{LABEL_FILES, Label, MAX_DISKS, Role, read_label, write_label};
use crate::pool::{HOMES_MAX, Pool, contents};
use crate::returned::clear_dir;
use crate::segment::{SEGMENT_DIR, ShardName};
use crate::{DiskId, DiskOptions, DiskState, PoolError, Result};

/// What a device that is to be added holds.
enum Holds {
    Nothing,
    /// A disk of this pool that is not in service, and what it held is not made good.
    Away(Arc<Disk>),
    /// A disk that was of this pool. What it held was made anew, maybe but for stripes that only it has now.
    Former(DiskId),
    /// What this pool has no use for: of a disk whose adding was cut off.
    Leftovers,
}

impl Pool {
    /// Adds a disk while the pool is in use: new segments use it at once, and load is spread in the background. A disk of
    /// this pool that was away is brought up to date instead.
    ///
    /// Returns the disk's id; the epoch that names it is durable.
    ///
    /// # Errors
    /// Name the disk, and nothing is changed: it is in use already, holds a pool or anything else, shares a block device
    /// with another (unless that is allowed), cannot be written, or the pool has as many disks as can be.
    pub fn add_disk(&self, device: Arc<dyn Device>, options: DiskOptions) -> Result<DiskId> {
        let _changing = self.begin_change()?;
        match self.look_at(&*device)? {
            Holds::Away(disk) => {
                if let Some(id) = disk.id {
                    self.recalls.lock().forgive(id);
                }
                self.note_return(device, &disk)
            }
            Holds::Former(id) => {
                self.refuse_unfit(&*device, &options)?;
                self.readmit(device, id, options, DiskId::default())
            }
            Holds::Leftovers => {
                self.refuse_unfit(&*device, &options)?;
                wipe(&*device)?;
                self.admit(device, options, DiskId::default())
            }
            Holds::Nothing => {
                self.refuse_unfit(&*device, &options)?;
                self.admit(device, options, DiskId::default())
            }
        }
    }

    /// Puts a new disk in the place of one that is lost, or that is then emptied and taken out.
    ///
    /// Returns the new disk's id; what the old one held is moved or made anew in the background.
    ///
    /// # Errors
    /// As [`Pool::add_disk`]; an unknown disk; one whose contents were made good already; a new one without room for what
    /// the old one held.
    pub fn replace_disk(
        &self,
        old: DiskId,
        device: Arc<dyn Device>,
        options: DiskOptions,
    ) -> Result<DiskId> {
        let _changing = self.begin_change()?;
        // It takes data in the other one's place.
        let options = DiskOptions {
            spare: false,
            ..options
        };
        let old_disk = self.known_disk(old)?;
        let lost = self.owed.lock().contains(&old);
        if !old_disk.is_live() && !lost {
            return Err(PoolError::NotInService {
                disk: old_disk.name(),
            });
        }
        if old_disk.is_live() {
            self.refuse_leaving(&old_disk, 1)?;
        }
        let holds = self.look_at(&*device)?;
        if let Holds::Away(disk) = &holds {
            return Err(PoolError::InUse {
                device: device.name().to_owned(),
                what: format!("{} of this pool, which was away", disk.name()),
            });
        }
        self.refuse_unfit(&*device, &options)?;
        let needed = self.held_by(&old_disk)?;
        let free = device.space()?.free;
        if free < needed {
            return Err(PoolError::TooSmall {
                device: device.name().to_owned(),
                free,
                replaced: old_disk.name(),
                needed,
            });
        }
        if matches!(holds, Holds::Leftovers) {
            wipe(&*device)?;
        }
        let id = match holds {
            Holds::Former(id) => self.readmit(device, id, options, old)?,
            Holds::Away(_) | Holds::Leftovers | Holds::Nothing => {
                self.admit(device, options, old)?
            }
        };
        if old_disk.is_live() {
            self.begin_emptying(&old_disk)?;
        }
        Ok(id)
    }

    /// Changes of the disks come one after the other, and only to an open pool.
    pub(crate) fn begin_change(&self) -> Result<MutexGuard<'_, ()>> {
        let changing = self.changing.lock();
        self.refuse_if_stopped()?;
        if self.current.read().sequence == 0 || self.closed.load(Ordering::Acquire) {
            return Err(PoolError::Invalid("the pool is not open".into()));
        }
        Ok(changing)
    }

    fn look_at(&self, device: &dyn Device) -> Result<Holds> {
        let name = device.name().to_owned();
        let disks = self.disks.all();
        let label = match read_label(device) {
            Ok(found) => Some(found.label),
            Err(PoolError::NoLabel { .. } | PoolError::CorruptLabel { .. }) => None,
            Err(error) => return Err(error),
        };
        let own = label.filter(|label| label.pool == self.id);
        if own.is_some() {
            self.refuse_diverged(device)?;
        }
        if let Some(label) = &own
            && let Some(disk) = disks.iter().find(|disk| disk.id == Some(label.disk))
        {
            if disk.is_live() {
                let what = format!("{} of this pool", disk.name());
                return Err(PoolError::InUse { device: name, what });
            }
            if self.owed.lock().contains(&label.disk) {
                return Ok(Holds::Away(Arc::clone(disk)));
            }
        }
        if disks
            .iter()
            .any(|disk| disk.is_live() && disk.is_named(&name))
        {
            let what = "a disk of this pool".to_owned();
            return Err(PoolError::InUse { device: name, what });
        }
        match contents(device)? {
            _ if let Some(label) = &own => Ok(if self.was_member(label.disk) {
                Holds::Former(label.disk)
            } else {
                Holds::Leftovers
            }),
            None => Ok(Holds::Nothing),
            Some(found) => Err(PoolError::NotBlank {
                device: name,
                found,
            }),
        }
    }

    fn was_member(&self, disk: DiskId) -> bool {
        let chain = self.chain.lock();
        let mut epochs = chain.line.iter();
        epochs.any(|record| record.info.members.contains(&disk))
    }

    /// A disk of this pool with epochs of its own was used apart: what was acknowledged there is on no other disk.
    pub(crate) fn refuse_diverged(&self, device: &dyn Device) -> Result<()> {
        let records = read_chain(device, self.id)?;
        let chain = self.chain.lock();
        let (Some(head), Some(newest)) = (records.last(), chain.newest()) else {
            return Ok(());
        };
        if chain.contains(head.info.id) {
            return Ok(());
        }
        let disks = self.disks.live();
        let first = disks.first().map(|disk| disk.name());
        Err(PoolError::Diverged {
            first: first.unwrap_or_default(),
            first_epoch: newest.info.id,
            second: device.name().to_owned(),
            second_epoch: head.info.id,
        })
    }

    fn refuse_unfit(&self, device: &dyn Device, options: &DiskOptions) -> Result<()> {
        let disks = self.disks.all();
        let known = disks.iter().filter(|disk| disk.id.is_some()).count();
        if known >= MAX_DISKS {
            return Err(PoolError::Invalid(format!(
                "{}: the pool has had {known} disks, which is as many as can be",
                device.name()
            )));
        }
        if !self
            .label_for(DiskId::default(), Role::default())?
            .has_room_for(&options.domain)
        {
            return Err(PoolError::Invalid(format!(
                "{}: the name of its failure domain is too long",
                device.name()
            )));
        }
        if options.allow_shared_device || !options.domain.is_empty() {
            return Ok(());
        }
        let domain = device.failure_domain();
        let shares = |disk: &&Arc<Disk>| {
            disk.live()
                .is_some_and(|other| other.failure_domain() == domain)
        };
        match disks.iter().find(shares) {
            Some(other) => Err(PoolError::SharedDevice {
                device: device.name().to_owned(),
                other: other.name(),
            }),
            None => Ok(()),
        }
    }

    /// The label of a disk that is added: as those of the others, with a role.
    fn label_for(&self, disk: DiskId, role: Role) -> Result<Label> {
        let mut unread = PoolError::Invalid("no disk is in service".into());
        for other in self.disks.live() {
            let Some(device) = other.live() else { continue };
            match read_label(&**device) {
                Ok(found) => {
                    return Ok(Label {
                        disk,
                        created_ns: self.env.now().0,
                        role: Some(role),
                        keys: self.keys.lock().clone(),
                        ..found.label
                    });
                }
                Err(error) => unread = error,
            }
        }
        Err(unread)
    }

    /// Makes a blank device a member. It holds nothing until that is durable.
    fn admit(
        &self,
        device: Arc<dyn Device>,
        options: DiskOptions,
        stands_for: DiskId,
    ) -> Result<DiskId> {
        let mut id = DiskId::default();
        self.env.fill_random(&mut id.0);
        let role = Role {
            spare: options.spare,
            leaving: false,
            stands_for,
            domain: options.domain,
        };
        let label = self.label_for(id, role.clone())?;
        write_label(&*device, &label)?;
        let disk = Arc::new(Disk::fresh(Arc::clone(&device), id, role));
        let mut chain = self.chain.lock();
        self.try_chain(&chain, &*device)?;
        self.disks.replace(|disks| disks.push(Arc::clone(&disk)));
        let before = self.is_followed();
        let planned = self.plan_members(&mut chain);
        if planned.is_err() || !disk.is_live() {
            let failed = disk.status().reason;
            disk.leave(DiskState::Unusable, "it could not be added");
            drop(chain);
            // While some members have an epoch that names it, an opening may look for it.
            if !self.torn_epoch.load(Ordering::Acquire) {
                forget(&*device);
            }
            planned?;
            let reason = failed.unwrap_or_default();
            return Err(PoolError::Invalid(format!(
                "{} cannot be added: {reason}",
                device.name()
            )));
        }
        disk.is_established();
        drop(chain);
        tracing::info!(device = device.name(), disk = %id, spare = disk.is_spare(), followed = before, "disk added");
        Ok(id)
    }

    /// Makes a disk a member again that was of this pool and is not waited for any more. What it has is compared before
    /// any of it is removed.
    fn readmit(
        &self,
        device: Arc<dyn Device>,
        id: DiskId,
        options: DiskOptions,
        stands_for: DiskId,
    ) -> Result<DiskId> {
        if !self.is_followed() {
            let disk = device.name().to_owned();
            let why = "log and index are being moved to other disks; try again in a moment".into();
            return Err(PoolError::NotNow { disk, why });
        }
        let mut label = read_label(&*device)?.label;
        label.role = Some(Role {
            spare: options.spare,
            leaving: false,
            stands_for,
            domain: options.domain,
        });
        write_label(&*device, &label)?;
        let disk = Disk::new(Some(device), Some(id), DiskState::Stale, None);
        let returned = self.take_back(&Arc::new(disk))?;
        self.arrived.lock().extend(returned);
        Ok(id)
    }

    /// The work is done by upkeep, once log and index are where they should be.
    pub(crate) fn note_return(&self, device: Arc<dyn Device>, disk: &Arc<Disk>) -> Result<DiskId> {
        let Some(id) = disk.id else {
            return Err(PoolError::Invalid(format!(
                "{} has no label",
                device.name()
            )));
        };
        let reason = Some("it is about to be brought up to date".to_owned());
        let back = Arc::new(Disk::new(Some(device), Some(id), DiskState::Stale, reason));
        back.set_role(disk.role());
        back.errors
            .store(disk.errors.load(Ordering::Relaxed), Ordering::Relaxed);
        self.disks.replace(|disks| {
            let mut same = disks.iter_mut().filter(|other| other.id == Some(id));
            if let Some(slot) = same.next() {
                *slot = back;
            }
        });
        Ok(id)
    }

    /// Bytes of the shards that a disk holds or held, holes included. Of one that is missing since the pool was opened it
    /// is its part of all that is missing.
    fn held_by(&self, disk: &Arc<Disk>) -> Result<u64> {
        let (mut held, mut missing) = (0u64, 0u64);
        for segment in self.segments.all() {
            let Some(len) = self.len_of(segment.id)? else {
                continue;
            };
            for slot in segment.shards().iter() {
                match slot {
                    Some(shard) if shard.disk.id == disk.id => held += len,
                    Some(_) => {}
                    None => missing += len,
                }
            }
        }
        let unknown = self.lost_count().max(1) as u64;
        Ok(if held == 0 && !disk.is_live() {
            missing / unknown
        } else {
            held
        })
    }

    /// A disk that the pool knows.
    pub(crate) fn known_disk(&self, id: DiskId) -> Result<Arc<Disk>> {
        let unknown = || PoolError::UnknownDisk {
            disk: id.to_string(),
        };
        self.disks.find(id).ok_or_else(unknown)
    }

    /// The disk that a person names: by its path, or by its id or the beginning of it.
    ///
    /// # Errors
    /// None or more than one is named so.
    pub fn find_disk(&self, name: &str) -> Result<DiskId> {
        let unknown = || PoolError::UnknownDisk {
            disk: name.to_owned(),
        };
        let disks = self.disks.all();
        let known = disks
            .iter()
            .filter(|disk| disk.device.is_some() || disk.state() != DiskState::Retired);
        let known: Vec<&Arc<Disk>> = known.collect();
        let named = || known.iter().filter(|disk| disk.is_named(name));
        // A new disk may lie where one lay that is lost or was taken out.
        let by_path = named()
            .find(|disk| disk.is_live())
            .or_else(|| named().next());
        if let Some(id) = by_path.and_then(|disk| disk.id) {
            return Ok(id);
        }
        let wanted = name.to_ascii_lowercase();
        let mut matching = known
            .iter()
            .filter_map(|disk| disk.id)
            .filter(|id| !wanted.is_empty() && id.to_string().starts_with(&wanted));
        let found = matching.next().ok_or_else(unknown)?;
        match matching.next() {
            None => Ok(found),
            Some(_) => Err(PoolError::Invalid(format!(
                "more than one disk's id begins with {name}"
            ))),
        }
    }

    /// An epoch of members that changed as planned. A full disk ends nothing here.
    pub(crate) fn plan_members(&self, chain: &mut Chain) -> Result<()> {
        let last_txg = chain
            .newest()
            .map(|newest| newest.info.last_txg)
            .unwrap_or_default();
        self.write_members(chain, last_txg)
    }
}

/// Removes everything of a pool from a device. Its label goes first, so that it is never taken for a disk with data.
pub(crate) fn wipe(device: &dyn Device) -> Result<()> {
    remove_if_there(device, &LABEL_FILES)?;
    device.sync_dir("")?;
    for copy in 0..HOMES_MAX {
        clear_dir(device, &format!("log/{copy}"))?;
        clear_dir(device, &format!("index/{copy}"))?;
    }
    let names = device.list(SEGMENT_DIR)?;
    let ours = names.iter().filter(|name| ShardName::parse(name).is_some());
    let paths: Vec<String> = ours.map(|name| format!("{SEGMENT_DIR}/{name}")).collect();
    remove_if_there(
        device,
        &paths.iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    device.sync_dir(SEGMENT_DIR)?;
    remove_if_there(device, &EPOCH_FILES)?;
    Ok(device.sync_dir("")?)
}

fn remove_if_there(device: &dyn Device, paths: &[&str]) -> Result<()> {
    for path in paths {
        match device.delete(path) {
            Ok(()) | Err(strongroom_device::DeviceError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// As [`wipe`], for a disk that is not needed any more.
pub(crate) fn forget(device: &dyn Device) {
    if let Err(error) = wipe(device) {
        let device = device.name();
        tracing::warn!(device, %error, "what the pool left on a disk could not be removed");
    }
}
