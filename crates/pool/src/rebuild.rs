//! Shards made anew: those that were lost with their disk, and those that move to another.
//!
//! A shard is written under a name that counts for nothing, made durable, and only then given its own name and put in its
//! place. So a crash leaves the segment as it was, with a file to be removed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_device::{DeviceError, DeviceFile};

use crate::ahead::Ahead;
use crate::decode::Room;
use crate::disk::Disk;
use crate::fragment::{Header, Place, sum_pieces};
use crate::geometry::shard_len;
use crate::pool::Pool;
use crate::read::{BadCopy, BadShards, read_verified};
use crate::scan::delete_durably;
use crate::segment::{SEGMENT_DIR, Segment, Shard, shard_path, unfinished_path};
use crate::{BLOCK, Result};

/// A shard to be made anew, and the disk that it goes to.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) shard: u8,
    pub(crate) disk: Arc<Disk>,
}

/// One on its way.
struct Making {
    shard: u8,
    generation: u32,
    disk: Arc<Disk>,
    file: Arc<dyn DeviceFile>,
    /// The one whose place it takes, if that is still in service.
    before: Option<Arc<Shard>>,
}

/// What became of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) shards: usize,
    /// Bytes of shards, holes included.
    pub(crate) bytes: u64,
}

impl Pool {
    /// Makes shards of a sealed segment anew. To be called by who holds the segment's upkeep.
    ///
    /// # Errors
    /// A disk that fails is set aside, and the shards for other disks are made; an error means that writing has stopped.
    /// A full disk is passed over.
    pub(crate) fn make_shards(&self, segment: &Arc<Segment>, wanted: &[Wanted]) -> Result<Made> {
        let end = self.end_of(segment)?;
        let mut making = Vec::new();
        for wanted in wanted {
            making.extend(self.begin_shard(segment, wanted)?);
        }
        // The code's plans are kept by shards in order.
        making.sort_by_key(|making| making.shard);
        let mut made = Made::default();
        let mut room = Room::default();
        let moves = making.iter().any(|making| making.before.is_some());
        let (mut at, mut ahead) = (0, Ahead::default());
        while at < end && !making.is_empty() {
            self.give_way();
            ahead.reach(self, segment, at);
            match self.remake_stripe(segment, at, &mut making, &mut room)? {
                Remade::Whole(blocks) => at += blocks,
                Remade::Lost(blocks) => {
                    self.note_lost(segment.id, at);
                    at += blocks;
                    if moves {
                        // What can still be read of the stripe is in the shard that would go.
                        segment.set_damaged(true);
                        making
                            .iter()
                            .for_each(|making| self.discard(segment, making));
                        return Ok(made);
                    }
                }
                // Damage that was there before; the next header is found by looking at every block.
                Remade::NoHeader => at += 1,
            }
        }
        let len = u64::from(end) * BLOCK as u64;
        for making in making {
            if self.finish_shard(segment, making, len)? {
                made.shards += 1;
                made.bytes += len;
            }
        }
        Ok(made)
    }

    fn begin_shard(&self, segment: &Arc<Segment>, wanted: &Wanted) -> Result<Option<Making>> {
        let shards = segment.shards();
        let known = shards.get(usize::from(wanted.shard));
        let known = known.and_then(Option::as_ref);
        // A generation of a disk that is away may be unknown. It was made in an earlier epoch, so it is lower.
        let sequence = self.current.read().sequence;
        let generation = known.map_or(0, |shard| shard.generation + 1).max(sequence);
        let path = unfinished_path(segment.id, wanted.shard, generation);
        let created = wanted
            .disk
            .live_or_error("create", &path)
            .and_then(|device| match device.delete(&path) {
                Ok(()) | Err(DeviceError::NotFound { .. }) => device.create(&path, 0),
                Err(error) => Err(error),
            });
        match created {
            Ok(file) => Ok(Some(Making {
                shard: wanted.shard,
                generation,
                disk: Arc::clone(&wanted.disk),
                file,
                before: known.filter(|shard| shard.is_live()).cloned(),
            })),
            Err(error) => self.target_failed(&wanted.disk, &error).map(|()| None),
        }
    }

    /// A full disk has not failed.
    fn target_failed(&self, disk: &Disk, error: &DeviceError) -> Result<()> {
        if matches!(error, DeviceError::NoSpace { .. }) {
            tracing::warn!(%error, "no room for a shard");
            return Ok(());
        }
        if disk.is_live() {
            self.set_aside_disk(disk, error)?;
        }
        Ok(())
    }

    /// Writes one stripe's fragments to the files of `making`; those that fail are left out.
    fn remake_stripe(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        making: &mut Vec<Making>,
        room: &mut Room,
    ) -> Result<Remade> {
        let mut bad = BadShards::new();
        let Ok(header) = self.header_of_others(segment, stripe, None, &mut bad) else {
            let unread = bad.iter().any(|(_, why)| matches!(why, BadCopy::Device(_)));
            return Ok(if unread {
                Remade::Lost(1)
            } else {
                Remade::NoHeader
            });
        };
        let blocks = header.stripe_blocks();
        let computed = if header.punched {
            Ok(())
        } else {
            self.remake_data(segment, stripe, &header, making, &mut bad, room)
        };
        bad.retain(|(_, why)| !matches!(why, BadCopy::Missing | BadCopy::Punched));
        if !bad.is_empty() {
            self.count_bad(segment, stripe, &bad);
            self.mend_held(segment, stripe, &bad);
        }
        if let Err(why) = &computed {
            tracing::error!(segment = %segment.id, stripe, why, "a stripe cannot be made anew");
            if making.iter().any(|making| making.before.is_some()) {
                return Ok(Remade::Lost(blocks));
            }
        }
        let mut failed = Vec::new();
        for (number, making) in making.iter().enumerate() {
            let place = making.place(self, segment, stripe);
            let written = if computed.is_ok() {
                let data = room.targets.get(number).map_or(&[][..], Vec::as_slice);
                write_fragment(&*making.file, &place, &header, data)
            } else {
                // What is left of it has its copies again; the rest may be on a disk that is away.
                let mut left = self.partial_fragment(segment, stripe, &header, making.shard);
                left.write(&*making.file, &place)
            };
            failed.extend(written.err().map(|error| (number, error)));
        }
        for (number, error) in failed.into_iter().rev() {
            let making = making.remove(number);
            self.target_failed(&making.disk, &error)?;
            self.discard(segment, &making);
        }
        Ok(match computed {
            Ok(()) => Remade::Whole(blocks),
            Err(_) => Remade::Lost(blocks),
        })
    }

    /// The data of the fragments, each in its target of `room`: copied from the shard that moves, or computed.
    fn remake_data(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        header: &Header,
        making: &[Making],
        bad: &mut BadShards,
        room: &mut Room,
    ) -> std::result::Result<(), String> {
        if let [one] = making
            && let Some(before) = &one.before
            && !bad.iter().any(|(number, _)| *number == one.shard)
        {
            match self.copy_data(segment, stripe, header, before, room) {
                Ok(()) => return Ok(()),
                Err(why) => bad.push((one.shard, why)),
            }
        }
        let wanted: Vec<u8> = making.iter().map(|making| making.shard).collect();
        let len = shard_len(self.layout, 0, header.payload_len as usize);
        room.identity = Some(header.identity());
        self.decode_shards(segment, stripe, &wanted, 0..len as u64, bad, room)
    }

    fn copy_data(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        header: &Header,
        from: &Arc<Shard>,
        room: &mut Room,
    ) -> std::result::Result<(), BadCopy> {
        let file = segment.file(from, &self.handles)?;
        let table = self.table(&*file, &from.place(self.id, segment.id, stripe))?;
        if table.identity != header.identity() {
            return Err(BadCopy::Bytes("it is of another stripe".into()));
        }
        room.targets.resize_with(1, Vec::new);
        let target = &mut room.targets[0];
        target.resize(table.data_len as usize, 0);
        if target.is_empty() {
            return Ok(());
        }
        read_verified(&*file, &table, 0, &mut [target])
    }

    /// Makes a whole shard durable and puts it in its place. False if its disk failed.
    fn finish_shard(&self, segment: &Arc<Segment>, making: Making, len: u64) -> Result<bool> {
        let unfinished = unfinished_path(segment.id, making.shard, making.generation);
        let path = shard_path(segment.id, making.shard, making.generation);
        let synced = making.file.set_len(len).and_then(|()| making.file.sync());
        let named = synced.and_then(|()| {
            let device = making.disk.live_or_error("rename", &unfinished)?;
            device.rename(&unfinished, &path)?;
            device.sync_dir(SEGMENT_DIR)
        });
        if let Err(error) = named {
            self.target_failed(&making.disk, &error)?;
            self.discard(segment, &making);
            return Ok(false);
        }
        let shard = Shard::found(making.disk, making.shard, making.generation);
        segment.put_shard(Arc::new(shard));
        if let Some(before) = making.before {
            self.drop_shard(segment, &before);
        }
        Ok(true)
    }

    /// Removes the file of a shard whose place another took. Without it only space is lost: the higher generation counts.
    fn drop_shard(&self, segment: &Arc<Segment>, shard: &Shard) {
        let Some(device) = shard.disk.live() else {
            return;
        };
        if let Err(error) = delete_durably(&**device, &shard.path(segment.id)) {
            tracing::warn!(%error, "could not remove a shard that was moved");
        }
    }

    fn discard(&self, segment: &Arc<Segment>, making: &Making) {
        let path = unfinished_path(segment.id, making.shard, making.generation);
        let Some(device) = making.disk.live() else {
            return;
        };
        match device.delete(&path) {
            Ok(()) | Err(DeviceError::NotFound { .. }) => {}
            Err(error) => tracing::warn!(%error, "could not remove an unfinished shard"),
        }
    }

    /// Adds to the counts of shards made anew.
    pub(crate) fn note_made(&self, made: &Made) {
        let shards = made.shards as u64;
        self.counters
            .rebuilt_shards
            .fetch_add(shards, Ordering::Relaxed);
    }
}

/// What became of one stripe.
enum Remade {
    /// Blocks of it.
    Whole(u32),
    Lost(u32),
    NoHeader,
}

impl Making {
    fn place(&self, pool: &Pool, segment: &Segment, stripe: u32) -> Place {
        Place {
            pool: pool.id,
            segment: segment.id,
            shard: self.shard,
            generation: self.generation,
            stripe,
        }
    }
}

/// Writes header and data with one call; the file has no name that counts yet, so their order does not matter.
fn write_fragment(
    file: &dyn DeviceFile,
    place: &Place,
    header: &Header,
    data: &[u8],
) -> std::result::Result<(), DeviceError> {
    let mut header = header.for_shard(place.shard);
    if header.punched {
        return file.write_at(place.file_offset(), &header.encode(place));
    }
    // Decoding gives every shard the length of the longest.
    let data = data.get(..header.data_len as usize).unwrap_or(data);
    let data_offset = place.file_offset() + header.len() as u64;
    header.sums = sum_pieces(place.data_seed(header.epoch), data_offset, &[data]);
    let encoded = header.encode(place);
    let slices = [&encoded, data].map(std::io::IoSlice::new);
    let used = if data.is_empty() { 1 } else { 2 };
    file.write_vectored_at(place.file_offset(), &slices[..used])
}
