//! Which disks the shards of a segment go to: by free space, no failure domain twice while there is another, the same
//! choice for the same pool.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::disk::Disk;
use crate::pool::Pool;
use crate::{Result, SegmentId};

/// What fails as a whole: what a person named, or a block device.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Domain {
    Named(String),
    Block(u64),
}

impl Disk {
    pub(crate) fn domain(&self) -> Option<Domain> {
        let named = self.named_domain();
        if !named.is_empty() {
            return Some(Domain::Named(named));
        }
        let device = self.device.as_ref()?;
        Some(Domain::Block(device.failure_domain()))
    }
}

impl Pool {
    /// Disks for a new segment in the order of its shards, as many as the layout has or as there are. The most room
    /// comes first; which of them gets which shard changes from segment to segment, so that all share the reading.
    pub(crate) fn place_segment(&self, id: SegmentId) -> Result<Vec<Arc<Disk>>> {
        let candidates = self.by_room()?;
        let mut chosen = choose(&candidates, &[], self.layout.width());
        if !chosen.is_empty() {
            let turn = usize::try_from(id.0 % chosen.len() as u64).unwrap_or(0);
            chosen.rotate_left(turn);
        }
        Ok(chosen)
    }

    /// Disks that take shards, with their free space, the roomiest first.
    pub(crate) fn by_room(&self) -> Result<Vec<(u64, Arc<Disk>)>> {
        let mut candidates = Vec::new();
        for (index, disk) in self.disks.all().iter().enumerate() {
            let Some(device) = disk.live().filter(|_| disk.takes_shards()) else {
                continue;
            };
            match device.space() {
                Ok(space) => candidates.push((space.free, index, Arc::clone(disk))),
                Err(error) => self.set_aside_disk(disk, &error)?,
            }
        }
        candidates.sort_by_key(|(free, index, _)| (Reverse(*free), *index));
        let sorted = candidates.into_iter();
        Ok(sorted.map(|(free, _, disk)| (free, disk)).collect())
    }
}

/// The first `count` of the candidates that use each failure domain as rarely as can be.
pub(crate) fn choose(
    candidates: &[(u64, Arc<Disk>)],
    beside: &[Arc<Disk>],
    count: usize,
) -> Vec<Arc<Disk>> {
    let mut load: HashMap<Domain, usize> = HashMap::new();
    for disk in beside {
        if let Some(domain) = disk.domain() {
            *load.entry(domain).or_default() += 1;
        }
    }
    let mut rest: Vec<&Arc<Disk>> = candidates.iter().map(|(_, disk)| disk).collect();
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count && !rest.is_empty() {
        let used = |disk: &Disk| {
            let domain = disk.domain();
            domain.map_or(0, |domain| load.get(&domain).copied().unwrap_or(0))
        };
        // The first of equals, which is the roomiest.
        let best = (0..rest.len()).min_by_key(|index| used(rest[*index]));
        let disk = rest.remove(best.unwrap_or(0));
        if let Some(domain) = disk.domain() {
            *load.entry(domain).or_default() += 1;
        }
        chosen.push(Arc::clone(disk));
    }
    chosen
}
