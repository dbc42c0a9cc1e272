//! What a shard that is not needed any more still has alone.
//!
//! While a disk was away its shards were made anew on others, each as far as that could be done: where a stripe could not
//! be read, the new shard has a gap. The old one may hold just that. So none is removed before it was compared.

use std::sync::Arc;

use strongroom_device::{DeviceError, DeviceFile};

use crate::decode::Fragment;
use crate::fragment::{Header, SUM_UNIT, Table};
use crate::headers::HeaderKey;
use crate::pool::Pool;
use crate::read::{BadCopy, BadShards, read_header, read_verified};
use crate::returned::{Adopted, is_right, vouches};
use crate::scrub::ScrubPart;
use crate::segment::{ReturnedShard, Segment, Shard};
use crate::{ErrorKind, PoolError, Result};

/// An old shard, and the one that took its place.
struct Pair<'a> {
    segment: &'a Arc<Segment>,
    old: &'a ReturnedShard,
    old_file: Arc<dyn DeviceFile>,
    /// None while there is none.
    new: Option<Arc<Shard>>,
}

/// Why comparing ended early.
enum Stopped {
    Old(DeviceError),
    New(DeviceError),
    /// It has what nothing else has, and there is no place for that yet.
    Needed,
}

impl Pool {
    /// Gives what only an old shard has to the shard that took its place, and removes it. To be called by who holds the
    /// segment's upkeep.
    ///
    /// # Errors
    /// Writing has stopped.
    pub(crate) fn part_with(&self, segment: &Arc<Segment>, old: &ReturnedShard) -> Result<Adopted> {
        if usize::from(old.shard) >= self.layout.width() {
            return self.discard_returned(old);
        }
        let path = old.path();
        let opened = old.disk.live_or_error("open", &path);
        let old_file = match opened.and_then(|device| device.open(&path)) {
            Ok(file) => file,
            Err(DeviceError::NotFound { .. }) => return Ok(Adopted::Gone),
            Err(error) => return self.old_failed(old, &error),
        };
        if let Err(error) = old_file.uncache() {
            return self.old_failed(old, &error);
        }
        let mut live = segment.live_shards().into_iter();
        let pair = Pair {
            segment,
            old,
            old_file,
            new: live.find(|shard| shard.shard == old.shard),
        };
        match self.rescue(&pair) {
            Ok(()) => self.discard_returned(old),
            Err(Stopped::Needed) => Ok(Adopted::NotTaken),
            Err(Stopped::Old(error)) => self.old_failed(old, &error),
            Err(Stopped::New(error)) => {
                if let (DeviceError::Io { .. }, Some(new)) = (&error, &pair.new)
                    && new.is_live()
                {
                    self.set_aside_disk(&new.disk, &error)?;
                }
                Ok(Adopted::NotTaken)
            }
        }
    }

    fn old_failed(&self, old: &ReturnedShard, error: &DeviceError) -> Result<Adopted> {
        if old.disk.is_live() {
            self.set_aside_disk(&old.disk, error)?;
        }
        Ok(Adopted::Failed)
    }

    fn rescue(&self, pair: &Pair<'_>) -> std::result::Result<(), Stopped> {
        let end = match self.end_of(pair.segment) {
            Ok(end) => end,
            Err(PoolError::Device(error)) => return Err(Stopped::New(error)),
            Err(error) if error.kind() == ErrorKind::Offline => return Err(Stopped::Needed),
            // No other shard of it is there to be asked.
            Err(_) => return Err(Stopped::Needed),
        };
        let (mut at, mut wrote) = (0, false);
        while at < end {
            self.give_way();
            let (blocks, written) = self.rescue_stripe(pair, at)?;
            at += blocks;
            wrote |= written;
        }
        match &pair.new {
            Some(new) if wrote => {
                let file = pair.segment.file(new, &self.handles);
                file.and_then(|file| file.sync()).map_err(Stopped::New)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// One place; returns the blocks of its stripe and whether something of it was saved.
    fn rescue_stripe(
        &self,
        pair: &Pair<'_>,
        stripe: u32,
    ) -> std::result::Result<(u32, bool), Stopped> {
        let segment = pair.segment;
        let own = match read_header(&*pair.old_file, &pair.old.place(self, stripe)) {
            Ok(header) => Some(header),
            Err(BadCopy::Device(error)) => return Err(Stopped::Old(error)),
            Err(_) => None,
        };
        let others = self.header_of_others(segment, stripe, None, &mut BadShards::new());
        let blocks = others.as_ref().map_or(1, Header::stripe_blocks);
        let own = match (&others, own) {
            (Ok(header), Some(own)) if header.identity() == own.identity() => own,
            (Err(_), Some(own)) if self.vouched(pair.old, &own) => own,
            _ => return Ok((blocks, false)),
        };
        let blocks = own.stripe_blocks();
        if own.punched || others.is_ok_and(|header| header.punched) {
            return Ok((blocks, false));
        }
        if self.is_sound(pair, stripe, &own) {
            return Ok((blocks, false));
        }
        let mut left = self.joined(pair, stripe, &own);
        if left.is_empty() {
            return Ok((blocks, false));
        }
        let Some(new) = &pair.new else {
            return Err(Stopped::Needed);
        };
        self.put_fragment(pair, new, stripe, &mut left)
            .map_err(Stopped::New)?;
        tracing::warn!(segment = %segment.id, stripe, shard = new.shard, "saved from a disk that was away");
        // With it the others may be made good as well.
        self.put_right_held(segment, stripe, &mut ScrubPart::default());
        if self.is_sound(pair, stripe, &own) {
            self.note_found(segment.id, stripe);
        }
        Ok((blocks, true))
    }

    fn vouched(&self, old: &ReturnedShard, header: &Header) -> bool {
        let chain = self.chain.lock();
        old.disk.id.is_some_and(|id| vouches(&chain, id, header))
    }

    /// Whether the stripe is there without the old shard: in its place, or as the others give it.
    fn is_sound(&self, pair: &Pair<'_>, stripe: u32, header: &Header) -> bool {
        let in_place = pair.new.as_ref().is_some_and(|new| {
            let place = new.place(self.id, pair.segment.id, stripe);
            let Ok(file) = pair.segment.file(new, &self.handles) else {
                return false;
            };
            let found = read_header(&*file, &place);
            found.is_ok_and(|found| is_right(&*file, &place, &found, header))
        });
        let bad = &mut BadShards::new();
        in_place
            || self
                .compute_fragment(pair.segment, stripe, pair.old.shard, bad)
                .is_ok_and(|fragment| fragment.header.identity() == header.identity())
    }

    /// The fragment, each block from the old shard, or from wherever else it is good.
    fn joined(&self, pair: &Pair<'_>, stripe: u32, own: &Header) -> Fragment {
        let table = Table::new(&pair.old.place(self, stripe), own);
        let remains = self.remains(pair.segment, stripe, own.identity()).ok();
        let len = own.data_len as usize;
        let block = |number: usize| {
            let at = number * SUM_UNIT;
            let mut bytes = vec![0; len.saturating_sub(at).min(SUM_UNIT)];
            let read = read_verified(&*pair.old_file, &table, at as u64, &mut [&mut bytes]);
            match read {
                Ok(()) => Some(bytes),
                Err(_) => remains.as_ref()?.recover(pair.old.shard, number),
            }
        };
        Fragment::of_blocks(own.for_shard(pair.old.shard), block)
    }

    fn put_fragment(
        &self,
        pair: &Pair<'_>,
        new: &Shard,
        stripe: u32,
        fragment: &mut Fragment,
    ) -> std::result::Result<(), DeviceError> {
        let place = new.place(self.id, pair.segment.id, stripe);
        let file = pair.segment.file(new, &self.handles)?;
        self.headers.remove(HeaderKey::of(&place));
        fragment.write(&*file, &place)?;
        pair.segment.touched();
        Ok(())
    }
}
