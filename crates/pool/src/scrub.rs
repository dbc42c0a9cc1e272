//! Scrubbing: every fragment of every shard is compared with its checksums, and what is bad is made anew from the others
//! before those rot as well.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::ahead::Ahead;
use crate::fragment::{Header, Table};
use crate::pool::Pool;
use crate::read::{BadCopy, BadShards, read_verified};
use crate::segment::{Segment, Shard};
use crate::{PoolError, Result, SegmentId};

/// Bytes of each shard that are compared between two looks at how far to read ahead.
const LOOK: u64 = 4 << 20;

/// Payload that no shard and no parity gives any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostPart {
    pub segment: SegmentId,
    /// Stripes that begin in these blocks: one, or where not even a header is left all that may have been there.
    pub stripes: Range<u32>,
    /// Bytes of their payload.
    pub payload: Range<u32>,
}

/// What a scrub of a part of a segment found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubPart {
    /// Bytes read and compared, on all shards.
    pub bytes: u64,
    /// Fragments that were unreadable, had wrong checksums, or were not those of their stripe.
    pub bad: u64,
    /// Those that were made anew; durable on return.
    pub repaired: u64,
    pub lost: Vec<LostPart>,
    /// The block where the next part begins; None at the end of the segment.
    pub next: Option<u32>,
}

/// A stripe as the first good header tells it.
struct Expected {
    stripe: u32,
    header: Header,
}

/// One shard's look at its fragments.
struct Look {
    shard: Arc<Shard>,
    /// Places in the list of stripes whose fragment is not as expected.
    suspects: Vec<usize>,
    bytes: u64,
}

impl Pool {
    /// Scrubs the stripes of a segment from block `from` on, until about `bytes` of each shard were compared. Disks are
    /// read side by side. Appends may go on; what was appended meanwhile is not looked at.
    ///
    /// # Errors
    /// [`PoolError::NoSegment`]; repairs could not be synced.
    pub fn scrub_segment(&self, segment: SegmentId, from: u32, bytes: u64) -> Result<ScrubPart> {
        let found = self.segments.get(segment);
        let found = found.ok_or(PoolError::NoSegment { segment })?;
        let mut part = ScrubPart::default();
        let (mut at, mut left, mut ahead) = (from, bytes, Ahead::default());
        loop {
            // What is compared now was asked for a step earlier, so that disks and processors work at the same time.
            ahead.reach(self, &found, at);
            let step = left.min(LOOK);
            let stripes = self.expected(&found, at, step, &mut part)?;
            let suspects = self.look_at_all(&found, &stripes, &mut part);
            for expected in suspects.into_iter().filter_map(|index| stripes.get(index)) {
                self.put_right(&found, expected.stripe, &mut part);
            }
            left -= step;
            match part.next {
                Some(next) if left > 0 => at = next,
                _ => break,
            }
        }
        if part.repaired > 0 {
            found.touched();
            self.sync_segments(&[segment])?;
        }
        Ok(part)
    }

    /// The stripes to look at. What has no header on any shard is lost, whatever it was.
    fn expected(
        &self,
        segment: &Arc<Segment>,
        from: u32,
        bytes: u64,
        part: &mut ScrubPart,
    ) -> Result<Vec<Expected>> {
        let end = self.end_of(segment)?;
        let (mut stripes, mut at, mut sum) = (Vec::new(), from, 0);
        let mut damage: Option<Range<u32>> = None;
        while at < end && sum < bytes {
            match self.known_header(segment, at) {
                Some(header) => {
                    self.note_damage(segment, damage.take(), part);
                    let stripe = at;
                    at = at.saturating_add(header.stripe_blocks());
                    sum += u64::from(header.data_len) * u64::from(!header.punched);
                    stripes.push(Expected { stripe, header });
                }
                None => {
                    let begun = damage.map_or(at, |damage| damage.start);
                    at += 1;
                    damage = Some(begun..at);
                }
            }
        }
        self.note_damage(segment, damage, part);
        part.next = Some(at).filter(|at| *at < end);
        Ok(stripes)
    }

    fn note_damage(
        &self,
        segment: &Arc<Segment>,
        damage: Option<Range<u32>>,
        part: &mut ScrubPart,
    ) {
        let Some(stripes) = damage else { return };
        part.bad += segment.live_shards().len() as u64;
        part.lost.push(LostPart {
            segment: segment.id,
            stripes,
            payload: 0..u32::MAX,
        });
    }

    /// The header of a stripe, from the first shard on which it is good.
    fn known_header(&self, segment: &Arc<Segment>, stripe: u32) -> Option<Header> {
        segment.live_shards().iter().find_map(|shard| {
            let (header, _) = self.header_of(segment, shard, stripe).ok()?;
            let known = self.chain.lock().contains(header.epoch);
            known.then_some(header)
        })
    }

    /// Which stripes have a fragment that is not as it should be.
    fn look_at_all(
        &self,
        segment: &Arc<Segment>,
        stripes: &[Expected],
        part: &mut ScrubPart,
    ) -> Vec<usize> {
        let shards = segment.live_shards();
        let look = |shard: &Arc<Shard>| Look {
            shard: Arc::clone(shard),
            suspects: Vec::new(),
            bytes: 0,
        };
        let mut looks: Vec<Look> = shards.iter().map(look).collect();
        let mut works: Vec<_> = looks
            .iter_mut()
            .map(|look| || self.look(segment, stripes, look))
            .collect();
        let mut calls: Vec<&mut (dyn FnMut() + Send)> = works
            .iter_mut()
            .map(|work| work as &mut (dyn FnMut() + Send))
            .collect();
        self.env.run_all(&mut calls);
        drop(works);
        part.bytes += looks.iter().map(|look| look.bytes).sum::<u64>();
        let mut suspects: Vec<usize> = looks.into_iter().flat_map(|look| look.suspects).collect();
        suspects.sort_unstable();
        suspects.dedup();
        suspects
    }

    fn look(&self, segment: &Arc<Segment>, stripes: &[Expected], look: &mut Look) {
        let mut room = Vec::new();
        for (index, expected) in stripes.iter().enumerate() {
            let checked = self.check(segment, &look.shard, expected, &mut room);
            match checked {
                Ok(bytes) => look.bytes += bytes,
                Err(_) => look.suspects.push(index),
            }
        }
    }

    /// Reads one fragment and compares all of it; returns its bytes.
    fn check(
        &self,
        segment: &Arc<Segment>,
        shard: &Shard,
        expected: &Expected,
        room: &mut Vec<u8>,
    ) -> std::result::Result<u64, BadCopy> {
        let (header, place) = self.header_of(segment, shard, expected.stripe)?;
        if header.identity() != expected.header.identity() {
            return Err(BadCopy::Bytes("a fragment of another stripe".into()));
        }
        if header.punched != expected.header.punched {
            return Err(BadCopy::Bytes("given back on some shards only".into()));
        }
        let len = header.data_len as usize;
        if header.punched || len == 0 {
            return Ok(header.len() as u64);
        }
        room.resize(room.len().max(len), 0);
        let table = Table::new(&place, &header);
        let file = segment.file(shard, &self.handles)?;
        read_verified(&*file, &table, 0, &mut [&mut room[..len]])?;
        Ok((header.len() + len) as u64)
    }

    /// Looks once more at a stripe, while nobody else writes to its shards, and makes anew what is bad.
    fn put_right(&self, segment: &Arc<Segment>, stripe: u32, part: &mut ScrubPart) {
        let _upkeep = segment.upkeep.lock();
        self.put_right_held(segment, stripe, part);
    }

    /// As [`Pool::put_right`], for one who holds the segment's upkeep.
    pub(crate) fn put_right_held(&self, segment: &Arc<Segment>, stripe: u32, part: &mut ScrubPart) {
        let Some(header) = self.agreed_header(segment, stripe) else {
            return self.note_damage(segment, Some(stripe..stripe + 1), part);
        };
        let identity = header.identity();
        let payload = header.payload_len as usize;
        let punched = header.punched;
        let expected = Expected { stripe, header };
        let mut bad = BadShards::new();
        let mut room = Vec::new();
        for shard in segment.live_shards() {
            if let Err(why) = self.check(segment, &shard, &expected, &mut room) {
                bad.push((shard.shard, why));
            }
        }
        if bad.is_empty() {
            return;
        }
        self.count_bad(segment, stripe, &bad);
        let mended = self.mend_held(segment, stripe, &bad) as u64;
        part.bad += bad.len() as u64;
        part.repaired += mended;
        if mended == bad.len() as u64 || punched {
            return;
        }
        let remains = self.remains(segment, stripe, identity);
        for payload in remains.map_or_else(|_| Vec::new(), |remains| remains.lost(payload)) {
            part.lost.push(LostPart {
                segment: segment.id,
                stripes: stripe..stripe + 1,
                payload,
            });
        }
    }

    /// The header of the last attempt, and among equals the one that most shards have; given back if any of them says so.
    /// An attempt in the same place was only made after the one before had failed.
    fn agreed_header(&self, segment: &Arc<Segment>, stripe: u32) -> Option<Header> {
        let mut stripes: BTreeMap<u64, (usize, Header)> = BTreeMap::new();
        for shard in segment.live_shards() {
            let Ok((header, _)) = self.header_of(segment, &shard, stripe) else {
                continue;
            };
            if !self.chain.lock().contains(header.epoch) {
                continue;
            }
            let punched = header.punched;
            let entry = stripes.entry(header.identity()).or_insert((0, header));
            entry.0 += 1;
            entry.1.punched |= punched;
        }
        let most = stripes
            .into_values()
            .max_by_key(|(count, header)| (header.attempt, *count, header.txg));
        most.map(|(_, header)| header)
    }
}
