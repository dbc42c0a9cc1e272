//! A stripe put together block by block. Shards that are bad in different places make each other good, though none of
//! them is good as a whole.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::decode::{Fragment, Source};
use crate::fragment::{Header, SUM_UNIT};
use crate::geometry::{Part, UNIT, shard_len, spread};
use crate::pool::Pool;
use crate::read::{BadCopy, BadShards, read_verified};
use crate::segment::Segment;

/// What can be read of one stripe.
pub(crate) struct Remains<'a> {
    pool: &'a Pool,
    /// By shard; None where the header is bad or the shard missing.
    sources: Vec<Option<Source>>,
    /// Bytes of the longest fragment.
    longest: usize,
}

impl Pool {
    /// Opens all shards of a place that are of the stripe with this identity.
    ///
    /// # Errors
    /// The stripe was given back.
    pub(crate) fn remains(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        identity: u64,
    ) -> std::result::Result<Remains<'_>, String> {
        let mut sources: Vec<Option<Source>> = Vec::new();
        sources.resize_with(self.layout.width(), || None);
        let mut longest = 0;
        for shard in segment.live_shards() {
            match self.source(segment, &shard, stripe) {
                Ok(source) if source.table.identity == identity => {
                    longest = longest.max(source.table.data_len as usize);
                    let slot = usize::from(source.shard.shard);
                    sources[slot] = Some(source);
                }
                Err(BadCopy::Punched) => return Err("the stripe was given back".into()),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Remains {
            pool: self,
            sources,
            longest,
        })
    }

    /// Reads a range of a stripe's payload, each block from wherever it is good.
    pub(crate) fn read_salvaged(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        from: u64,
        buffer: &mut [u8],
    ) -> std::result::Result<(), String> {
        let header = self.header_of_others(segment, stripe, None, &mut BadShards::new())?;
        let remains = self.remains(segment, stripe, header.identity())?;
        if self.layout.data == 1 {
            let pieces = SmallVec::from_iter([buffer]);
            let shard = 0;
            return remains.fill(&mut Part {
                shard,
                from,
                pieces,
            });
        }
        let mut parts = spread(self.layout, from, buffer);
        parts.iter_mut().try_for_each(|part| remains.fill(part))
    }

    /// All `len` bytes of a fragment's data, of the stripe with this identity.
    pub(crate) fn salvage_fragment(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        wanted: u8,
        len: usize,
        identity: u64,
    ) -> std::result::Result<Vec<u8>, String> {
        let mut data = vec![0; len];
        let pieces = SmallVec::from_iter([&mut data[..]]);
        let remains = self.remains(segment, stripe, identity)?;
        remains.fill(&mut Part {
            shard: wanted,
            from: 0,
            pieces,
        })?;
        Ok(data)
    }

    /// What is left of the fragment that shard `wanted` should hold of this stripe: blocks that nothing gives any more are
    /// marked, so that they are never taken for good.
    pub(crate) fn partial_fragment(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        header: &Header,
        wanted: u8,
    ) -> Fragment {
        let remains = self.remains(segment, stripe, header.identity()).ok();
        let block = |number: usize| remains.as_ref()?.recover(wanted, number);
        Fragment::of_blocks(header.for_shard(wanted), block)
    }
}

impl Remains<'_> {
    fn fill(&self, part: &mut Part<'_>) -> std::result::Result<(), String> {
        let mut at = usize::try_from(part.from).unwrap_or(usize::MAX);
        for piece in &mut part.pieces {
            let mut rest = &mut **piece;
            while !rest.is_empty() {
                let (block, inside) = (at / SUM_UNIT, at % SUM_UNIT);
                let bytes = self.recover(part.shard, block);
                let bytes = bytes
                    .ok_or_else(|| format!("block {block} of shard {} is lost", part.shard))?;
                let there = bytes.get(inside..).unwrap_or_default();
                if there.is_empty() {
                    return Err("beyond the end of the stripe".into());
                }
                let len = there.len().min(rest.len());
                let (now, later) = rest.split_at_mut(len);
                now.copy_from_slice(&there[..len]);
                rest = later;
                at += len;
            }
        }
        Ok(())
    }

    /// A block as it stands on a shard, if it is good there. Behind the end of a short fragment are zeroes, as parity was
    /// computed.
    fn block(&self, shard: usize, block: usize) -> Option<Vec<u8>> {
        let source = self.sources.get(shard)?.as_ref()?;
        let at = block * SUM_UNIT;
        let mut bytes = vec![0; self.longest.saturating_sub(at).min(SUM_UNIT)];
        let there = (source.table.data_len as usize).saturating_sub(at);
        let there = there.min(bytes.len());
        if there > 0 {
            let mut pieces = [&mut bytes[..there]];
            read_verified(&*source.file, &source.table, at as u64, &mut pieces).ok()?;
        }
        Some(bytes)
    }

    /// A block of a shard, from itself or from the others.
    pub(crate) fn recover(&self, wanted: u8, block: usize) -> Option<Vec<u8>> {
        if let Some(own) = self.block(usize::from(wanted), block) {
            return Some(own);
        }
        let needed = usize::from(self.pool.layout.data);
        let (mut present, mut sources) = (SmallVec::<[u8; 16]>::new(), Vec::new());
        for (shard, number) in (0..self.sources.len()).zip(0u8..) {
            if number == wanted || present.len() == needed {
                continue;
            }
            if let Some(bytes) = self.block(shard, block) {
                present.push(number);
                sources.push(bytes);
            }
        }
        if present.len() < needed {
            return None;
        }
        let slices: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        let mut target = vec![0; slices.first()?.len()];
        let plan = self.pool.code.plan(&present, &[wanted]);
        plan.apply(&slices, &mut [&mut target]);
        Some(target)
    }

    /// The parts of a payload of so many bytes that nothing gives any more, in order, joined where they touch.
    pub(crate) fn lost(&self, payload: usize) -> Vec<std::ops::Range<u32>> {
        let layout = self.pool.layout;
        let mut lost: Vec<(usize, usize)> = Vec::new();
        for shard in 0..layout.data {
            let len = shard_len(layout, shard, payload);
            for block in 0..len.div_ceil(SUM_UNIT) {
                if self.recover(shard, block).is_none() {
                    let at = block * SUM_UNIT;
                    let start = if layout.data == 1 {
                        at
                    } else {
                        let unit = at / UNIT * usize::from(layout.data) + usize::from(shard);
                        unit * UNIT + at % UNIT
                    };
                    lost.push((start, start + (len - at).min(SUM_UNIT)));
                }
            }
        }
        lost.sort_unstable();
        joined(&lost)
    }
}

fn joined(sorted: &[(usize, usize)]) -> Vec<std::ops::Range<u32>> {
    let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let mut joined: Vec<std::ops::Range<u32>> = Vec::new();
    for (start, end) in sorted {
        match joined.last_mut() {
            Some(last) if last.end == narrow(*start) => last.end = narrow(*end),
            _ => joined.push(narrow(*start)..narrow(*end)),
        }
    }
    joined
}
