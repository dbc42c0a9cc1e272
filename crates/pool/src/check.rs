//! Every shard of a segment read and compared with its checksums, whether anybody asks for the bytes or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fragment::{Header, Table};
use crate::pool::Pool;
use crate::read::{BadCopy, BadShards, read_verified};
use crate::segment::{Segment, Shard};
use crate::{PoolError, Result, SegmentId};

/// What a check of one segment found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentCheck {
    /// Stripes whose data was not given back, and the bytes that were read of them.
    pub stripes: u64,
    pub bytes: u64,
    /// Shards that no disk in service has.
    pub missing: usize,
    /// Parts that are damaged, in order.
    pub bad: Vec<BadPart>,
    /// Stripes that too few good parts are left of.
    pub lost: Vec<u32>,
    /// Blocks at which no part has a readable header, so that nobody knows what they held.
    pub nameless: bool,
}

/// One damaged part of a stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPart {
    pub stripe: u32,
    pub shard: u8,
    /// The name of its disk.
    pub disk: String,
    pub why: String,
}

impl Pool {
    /// Reads all of a segment and compares every block with its checksum. With `mend` damaged parts are made anew from
    /// the others; they are reported all the same.
    ///
    /// # Errors
    /// [`PoolError::NoSegment`]; a disk that cannot tell the length.
    pub fn check_segment(&self, id: SegmentId, mend: bool) -> Result<SegmentCheck> {
        let found = self.segments.get(id);
        let segment = found.ok_or(PoolError::NoSegment { segment: id })?;
        let contents = self.contents(id)?;
        let mut check = SegmentCheck {
            missing: segment.missing(),
            nameless: !contents.complete,
            ..SegmentCheck::default()
        };
        let mut buffer = Vec::new();
        for stripe in contents.stripes.iter().filter(|stripe| !stripe.punched) {
            check.stripes += 1;
            let bad = self.check_stripe(&segment, stripe.stripe, &mut check, &mut buffer);
            if mend && !bad.is_empty() {
                self.mend(&segment, stripe.stripe, &bad);
            }
        }
        Ok(check)
    }

    fn check_stripe(
        &self,
        segment: &Arc<Segment>,
        stripe: u32,
        check: &mut SegmentCheck,
        buffer: &mut Vec<u8>,
    ) -> BadShards {
        let mut bad = BadShards::new();
        let mut good: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for shard in segment.live_shards() {
            match self.check_part(segment, &shard, stripe, buffer) {
                Ok((identity, bytes)) => {
                    check.bytes += bytes;
                    good.entry(identity).or_default().push(shard.shard);
                }
                Err(why) => bad.push((shard.shard, why)),
            }
        }
        // Parts of another stripe that was here before are as good as none.
        let most = good.values().map(Vec::len).max().unwrap_or(0);
        let mut kept = false;
        for shards in good.into_values() {
            if shards.len() == most && !kept {
                kept = true;
                continue;
            }
            let other = || BadCopy::Bytes("of another stripe".into());
            bad.extend(shards.into_iter().map(|shard| (shard, other())));
        }
        if most < usize::from(self.layout.data) {
            check.lost.push(stripe);
        }
        let parts = bad.iter().map(|(shard, why)| BadPart {
            stripe,
            shard: *shard,
            disk: name_of(segment, *shard),
            why: why.to_string(),
        });
        check.bad.extend(parts);
        bad
    }

    /// The identity of the part's stripe, and the bytes of it.
    fn check_part(
        &self,
        segment: &Arc<Segment>,
        shard: &Shard,
        stripe: u32,
        buffer: &mut Vec<u8>,
    ) -> std::result::Result<(u64, u64), BadCopy> {
        // From the disk, whatever memory knows of it.
        let (header, place): (Header, _) = self.header_of(segment, shard, stripe)?;
        let len = header.data_len as usize;
        buffer.resize(len.max(buffer.len()), 0);
        let table = Table::new(&place, &header);
        let file = segment.file(shard, &self.handles)?;
        read_verified(&*file, &table, 0, &mut [&mut buffer[..len]])?;
        Ok((header.identity(), (header.len() + len) as u64))
    }
}

fn name_of(segment: &Segment, shard: u8) -> String {
    let shards = segment.shards();
    let shard = shards.get(usize::from(shard)).and_then(Option::as_ref);
    shard.map_or_else(String::new, |shard| shard.disk.name())
}
