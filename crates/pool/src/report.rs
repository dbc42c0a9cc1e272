//! Space and state.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_device::{Device, Space};

use crate::disk::Disk;
use crate::pool::Pool;
use crate::{DiskSpace, DiskState, DiskStatus, PoolSpace, PoolStatus, Result};

impl Pool {
    /// Bytes of the members, raw and as the layout leaves them for data.
    pub fn space(&self) -> Result<PoolSpace> {
        self.space_beside(&|_, _| 0)
    }

    /// The same; `kept` tells how many of the free bytes of a disk are for something else than segments.
    pub fn space_beside(&self, kept: &dyn Fn(&Arc<dyn Device>, Space) -> u64) -> Result<PoolSpace> {
        let mut space = PoolSpace::default();
        let (mut totals, mut frees, mut spares) = (Vec::new(), Vec::new(), Vec::new());
        for disk in self.disks.live() {
            let Some(device) = disk.live().filter(|_| disk.takes_shards()) else {
                continue;
            };
            let found = match device.space() {
                Ok(found) => found,
                Err(error) => {
                    self.set_aside_disk(&disk, &error)?;
                    continue;
                }
            };
            space.raw_total = space.raw_total.saturating_add(found.total);
            space.raw_free = space.raw_free.saturating_add(found.free);
            totals.push(found.total);
            frees.push(found.free);
            spares.push(found.free.saturating_sub(kept(device, found)));
        }
        let width = self.layout.width().min(totals.len()).max(1);
        space.usable_total = usable(&totals, width) * u64::from(self.layout.data);
        space.usable_free = usable(&frees, width) * u64::from(self.layout.data);
        space.usable_spare = usable(&spares, width) * u64::from(self.layout.data);
        Ok(space)
    }

    /// Each disk with its space, and how much of that the layout can use.
    fn disk_reports(&self) -> Vec<DiskStatus> {
        let mut disks = self.disks.all().to_vec();
        // One that was taken out and is not there either is no part of the pool any more.
        disks.retain(|disk| disk.device.is_some() || disk.state() != DiskState::Retired);
        let space = |disk: &Disk| disk.live()?.space().ok();
        let spaces: Vec<Option<Space>> = disks.iter().map(|disk| space(disk)).collect();
        let totals: Vec<u64> = disks
            .iter()
            .zip(&spaces)
            .filter(|(disk, _)| disk.takes_shards())
            .filter_map(|(_, space)| space.map(|space| space.total))
            .collect();
        let longest = usable(&totals, self.layout.width().min(totals.len()).max(1));
        let report = |(disk, space): (&Arc<Disk>, Option<Space>)| {
            let used = if disk.takes_shards() { longest } else { 0 };
            DiskStatus {
                space: space.map(|space| DiskSpace {
                    total: space.total,
                    free: space.free,
                    usable: space.total.min(used),
                }),
                ..disk.status()
            }
        };
        disks.iter().zip(spaces).map(report).collect()
    }

    /// A report for people and metrics. Asks the disks for their space.
    pub fn status(&self) -> PoolStatus {
        PoolStatus {
            id: self.id.to_string(),
            layout: self.layout.to_string(),
            epoch: self.epoch().to_string(),
            writable: self.stopped.read().is_none(),
            survives: self.survives(),
            shared: self.shared(),
            disks: self.disk_reports(),
            segments: self.segments.len() as u64,
            bad_fragments: self.counters.bad_fragments.load(Ordering::Relaxed),
            repaired_fragments: self.counters.repaired_fragments.load(Ordering::Relaxed),
            lost_reads: self.counters.lost_reads.load(Ordering::Relaxed),
        }
    }
}

/// The largest shard length that fits `width` times when each disk takes one shard of a segment: the most x with
/// sum(min(room, x)) >= width * x.
fn usable(rooms: &[u64], width: usize) -> u64 {
    let width = width as u64;
    let mut length = rooms
        .iter()
        .fold(0, |sum: u64, room| sum.saturating_add(*room))
        / width;
    loop {
        let fits = rooms
            .iter()
            .fold(0, |sum: u64, room| sum.saturating_add(length.min(*room)))
            / width;
        if fits >= length {
            return length;
        }
        length = fits;
    }
}

#[cfg(test)]
mod tests {
    use super::usable;

    #[test]
    fn the_largest_disk_counts_only_as_far_as_others_pair_with_it() {
        assert_eq!(usable(&[100], 1), 100);
        assert_eq!(usable(&[100, 50], 1), 150);
        assert_eq!(usable(&[100, 50], 2), 50);
        assert_eq!(usable(&[100, 50, 50], 2), 100);
        assert_eq!(usable(&[1000, 50, 50], 2), 100);
        assert_eq!(usable(&[0, 50], 2), 0);
        assert_eq!(usable(&[], 1), 0);
    }
}
