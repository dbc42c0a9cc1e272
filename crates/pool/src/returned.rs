//! A disk that was away comes back: it becomes a member at once, but nothing that it holds is believed.
//!
//! Its shards are first given names that count for nothing, and its copies of log and index are removed. Then it is a
//! member like one that is empty. Shard by shard what it has is compared with the others, what it missed is written, and
//! the shard gets its name back. So each step is durable, and a crash or another absence loses none of the work.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_device::{Device, DeviceError, DeviceFile};

use crate::disk::Disk;
use crate::epoch::Chain;
use crate::fragment::{Header, Place, SUM_UNIT, Table};
use crate::headers::HeaderKey;
use crate::label::{read_label, write_label};
use crate::pool::{HOMES_MAX, Pool};
use crate::read::{BadCopy, BadShards, read_header, read_verified};
use crate::segment::{
    ReturnedShard, SEGMENT_DIR, Segment, Shard, ShardName, returned_path, shard_path,
};
use crate::{BLOCK, DiskId, DiskState, PoolError, Result};

/// What became of a shard of a disk that was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adopted {
    /// It is in its place; so many bytes of it had to be written.
    Whole { written: u64 },
    /// Another disk has the shard by now, or there is no room for what it lacks.
    NotTaken,
    /// Its file, or its segment, is gone.
    Gone,
    /// Its disk failed.
    Failed,
}

impl Pool {
    /// Makes a disk that was away a member again. Its shards are returned for comparison.
    ///
    /// # Errors
    /// The disk fails, or writing has stopped; nothing of it is believed then.
    pub(crate) fn take_back(&self, disk: &Arc<Disk>) -> Result<Vec<ReturnedShard>> {
        let (Some(device), Some(id)) = (&disk.device, disk.id) else {
            let name = disk.name();
            return Err(PoolError::Invalid(format!("{name} has no label")));
        };
        clear_stale(&**device)?;
        // Both copies of the label are made good; one of them was read when the pool was opened.
        let mut label = read_label(&**device)?.label;
        label.keys = self.keys.lock().clone();
        write_label(&**device, &label)?;
        let role = label.role.unwrap_or_default();
        let fresh = Arc::new(Disk::fresh(Arc::clone(device), id, role));
        fresh
            .errors
            .store(disk.errors.load(Ordering::Relaxed), Ordering::Relaxed);
        uncache_chain(&**device)?;
        let mut chain = self.chain.lock();
        self.try_chain(&chain, &**device)?;
        self.disks.replace(|disks| {
            let place = disks.iter().position(|other| other.id == Some(id));
            match place.and_then(|place| disks.get_mut(place)) {
                Some(slot) => *slot = Arc::clone(&fresh),
                None => disks.push(Arc::clone(&fresh)),
            }
        });
        // Before the epoch: its homes do not change under it.
        fresh.begin_leaving();
        let recorded = self.plan_members(&mut chain);
        if let Err(error) = recorded {
            fresh.leave(DiskState::Unusable, &error.to_string());
            return Err(error);
        }
        fresh.is_established();
        drop(chain);
        if !fresh.is_live() {
            let reason = fresh.status().reason.unwrap_or_default();
            return Err(PoolError::Invalid(format!("{}: {reason}", fresh.name())));
        }
        tracing::warn!(device = device.name(), disk = %id, "a disk came back and is brought up to date");
        list_returned(&fresh)
    }

    /// Writes the epochs so far to a disk that is to become a member, so that it is known to take writes.
    pub(crate) fn try_chain(&self, chain: &Chain, device: &dyn Device) -> Result<()> {
        for path in crate::epoch::EPOCH_FILES {
            chain.write_copy(device, path)?;
        }
        Ok(())
    }

    /// Compares a shard of a disk that was away with the others, writes what it missed and puts it in its place. To be
    /// called by who holds the segment's upkeep; the segment is sealed.
    ///
    /// # Errors
    /// Writing has stopped.
    pub(crate) fn adopt(
        &self,
        segment: &Arc<Segment>,
        returned: &ReturnedShard,
    ) -> Result<Adopted> {
        if self.is_superseded(segment, returned) {
            return Ok(Adopted::NotTaken);
        }
        let outcome = self.level(segment, returned);
        match outcome {
            Ok(written) => {
                let disk = Arc::clone(&returned.disk);
                let shard = Shard::found(disk, returned.shard, returned.generation);
                segment.put_shard(Arc::new(shard));
                Ok(Adopted::Whole { written })
            }
            Err(DeviceError::NotFound { .. }) => Ok(Adopted::Gone),
            Err(error @ (DeviceError::Io { .. } | DeviceError::Exists { .. })) => {
                if returned.disk.is_live() {
                    self.set_aside_disk(&returned.disk, &error)?;
                }
                Ok(Adopted::Failed)
            }
            // Its place is made anew where there is room.
            Err(DeviceError::NoSpace { .. }) => Ok(Adopted::NotTaken),
        }
    }

    fn is_superseded(&self, segment: &Segment, returned: &ReturnedShard) -> bool {
        let live = segment.live_shards();
        let taken = |shard: &Arc<Shard>| {
            shard.shard == returned.shard || Arc::ptr_eq(&shard.disk, &returned.disk)
        };
        usize::from(returned.shard) >= self.layout.width() || live.iter().any(taken)
    }

    /// Removes a shard that is of no use any more.
    pub(crate) fn discard_returned(&self, returned: &ReturnedShard) -> Result<Adopted> {
        let path = returned.path();
        let removed = returned
            .disk
            .live_or_error("delete", &path)
            .and_then(|device| device.delete(&path));
        match removed {
            Ok(()) | Err(DeviceError::NotFound { .. }) => Ok(Adopted::Gone),
            Err(error) => {
                if returned.disk.is_live() {
                    self.set_aside_disk(&returned.disk, &error)?;
                }
                Ok(Adopted::Failed)
            }
        }
    }

    /// Makes every fragment what it should be; returns the bytes written.
    fn level(
        &self,
        segment: &Arc<Segment>,
        returned: &ReturnedShard,
    ) -> std::result::Result<u64, DeviceError> {
        let device = returned.disk.live_or_error("open", &returned.path())?;
        let file = device.open(&returned.path())?;
        // What can be written out is; of the rest memory is not believed.
        file.sync()?;
        file.uncache()?;
        let end = self
            .end_of(segment)
            .map_err(|error| lost_end(&returned.disk, &error))?;
        let (mut at, mut written) = (0, 0);
        while at < end {
            self.give_way();
            let (blocks, bytes) = self.level_stripe(segment, returned, &*file, at)?;
            at += blocks;
            written += bytes;
        }
        file.set_len(u64::from(end) * BLOCK as u64)?;
        file.sync()?;
        drop(file);
        let whole = shard_path(segment.id, returned.shard, returned.generation);
        device.rename(&returned.path(), &whole)?;
        device.sync_dir(SEGMENT_DIR)?;
        Ok(written)
    }

    /// One fragment; returns the blocks of its stripe and the bytes written.
    fn level_stripe(
        &self,
        segment: &Arc<Segment>,
        returned: &ReturnedShard,
        file: &dyn DeviceFile,
        stripe: u32,
    ) -> std::result::Result<(u32, u64), DeviceError> {
        let place = returned.place(self, stripe);
        // What was known of the shard before it was away may not be so any more.
        self.headers.remove(HeaderKey::of(&place));
        let own = match read_header(file, &place) {
            Err(BadCopy::Device(error)) => return Err(error),
            Err(_) => None,
            Ok(header) => Some(header),
        };
        let mut bad = BadShards::new();
        let Ok(header) = self.header_of_others(segment, stripe, None, &mut bad) else {
            return self.level_unknown(returned, file, &place, own);
        };
        let blocks = header.stripe_blocks();
        let own = own.filter(|own| own.identity() == header.identity());
        let same = own
            .as_ref()
            .is_some_and(|own| is_right(file, &place, own, &header));
        if same {
            return Ok((blocks, 0));
        }
        match self.compute_fragment(segment, stripe, returned.shard, &mut bad) {
            Ok(mut fragment) => {
                fragment.write(file, &place)?;
                Ok((blocks, fragment.len()))
            }
            Err(why) => {
                tracing::error!(segment = %segment.id, stripe, why, "a stripe of a disk that came back cannot be compared");
                self.note_lost(segment.id, stripe);
                // Of the right stripe what is sound is worth keeping: bad blocks are known by their sums.
                if own.is_some() {
                    return Ok((blocks, 0));
                }
                let mut left = self.partial_fragment(segment, stripe, &header, returned.shard);
                left.write(file, &place)?;
                Ok((blocks, left.len()))
            }
        }
    }

    /// No other disk has a header here. What was accepted while the disk was a member is the only copy; anything else may
    /// never have counted.
    fn level_unknown(
        &self,
        returned: &ReturnedShard,
        file: &dyn DeviceFile,
        place: &Place,
        own: Option<Header>,
    ) -> std::result::Result<(u32, u64), DeviceError> {
        let Some(own) = own else { return Ok((1, 0)) };
        let chain = self.chain.lock();
        let vouched = returned.disk.id.is_some_and(|id| vouches(&chain, id, &own));
        drop(chain);
        if vouched {
            return Ok((own.stripe_blocks(), 0));
        }
        Ok((1, void(file, place)?))
    }
}

/// Whether the disk was a member from when a fragment was written until its group was accepted.
pub(crate) fn vouches(chain: &Chain, disk: DiskId, header: &Header) -> bool {
    let Some(from) = chain.position(header.epoch) else {
        return false;
    };
    let later = chain.line.get(from..).unwrap_or_default();
    let mut member = later
        .iter()
        .take_while(|record| record.info.members.contains(&disk))
        .skip(1);
    member.any(|record| record.info.last_txg >= header.txg)
}

/// The fragment is of the stripe that the others have, as far given back as theirs, and its sums hold.
pub(crate) fn is_right(
    file: &dyn DeviceFile,
    place: &Place,
    own: &Header,
    header: &Header,
) -> bool {
    if own.identity() != header.identity() || own.punched != header.punched {
        return false;
    }
    if own.punched {
        return true;
    }
    let table = Table::new(place, own);
    let mut buffer = vec![0; 16 * SUM_UNIT];
    let mut at = 0;
    while at < u64::from(own.data_len) {
        let left = usize::try_from(u64::from(own.data_len) - at).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        let piece = &mut buffer[..len];
        if read_verified(file, &table, at, &mut [piece]).is_err() {
            return false;
        }
        at += len as u64;
    }
    true
}

/// Makes a header unreadable; returns the bytes written.
fn void(file: &dyn DeviceFile, place: &Place) -> std::result::Result<u64, DeviceError> {
    let zeroes = [0; BLOCK];
    file.write_at(place.file_offset(), &zeroes)?;
    Ok(BLOCK as u64)
}

fn lost_end(disk: &Disk, error: &PoolError) -> DeviceError {
    DeviceError::NotFound {
        device: disk.name(),
        path: error.to_string(),
    }
}

impl ReturnedShard {
    pub(crate) fn path(&self) -> String {
        returned_path(self.segment, self.shard, self.generation)
    }

    pub(crate) fn place(&self, pool: &Pool, stripe: u32) -> Place {
        Place {
            pool: pool.id,
            segment: self.segment,
            shard: self.shard,
            generation: self.generation,
            stripe,
        }
    }
}

/// Of a disk that failed memory may show epochs that it does not have.
fn uncache_chain(device: &dyn Device) -> Result<()> {
    for path in crate::epoch::EPOCH_FILES {
        match device.open(path) {
            Ok(file) => file.uncache()?,
            Err(DeviceError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Takes from all files of a disk that was away the names under which they would be believed. Durable on return.
fn clear_stale(device: &dyn Device) -> Result<()> {
    for copy in 0..HOMES_MAX {
        for role in ["log", "index"] {
            clear_dir(device, &format!("{role}/{copy}"))?;
        }
    }
    for name in device.list(SEGMENT_DIR)? {
        let path = format!("{SEGMENT_DIR}/{name}");
        match ShardName::parse(&name) {
            Some(ShardName::Whole(segment, shard, generation)) => {
                device.rename(&path, &returned_path(segment, shard, generation))?;
            }
            Some(ShardName::Unfinished) => device.delete(&path)?,
            Some(ShardName::Returned(..)) | None => {}
        }
    }
    Ok(device.sync_dir(SEGMENT_DIR)?)
}

/// Removes all files of a directory. Durable on return.
pub(crate) fn clear_dir(device: &dyn Device, dir: &str) -> Result<()> {
    let names = device.list(dir)?;
    if names.is_empty() {
        return Ok(());
    }
    for name in names {
        device.delete(&format!("{dir}/{name}"))?;
    }
    Ok(device.sync_dir(dir)?)
}

fn list_returned(disk: &Arc<Disk>) -> Result<Vec<ReturnedShard>> {
    let names = disk.live_or_error("list", SEGMENT_DIR)?.list(SEGMENT_DIR)?;
    let shard = |name: &String| match ShardName::parse(name) {
        Some(ShardName::Returned(segment, shard, generation)) => Some(ReturnedShard {
            disk: Arc::clone(disk),
            segment,
            shard,
            generation,
        }),
        Some(ShardName::Whole(..) | ShardName::Unfinished) | None => None,
    };
    Ok(names.iter().filter_map(shard).collect())
}
