//! How many failures a pool survives when some of its disks fail together.

use std::collections::BTreeMap;

use strongroom_device::Device;

use crate::disk::Disk;
use crate::placement::Domain;
use crate::pool::Pool;

/// Failures that are survived when each takes a whole domain with it and `budget` disks may be lost in all: the largest
/// domains fail first. `domains` holds the number of disks of each.
pub fn survived_failures(domains: impl IntoIterator<Item = usize>, budget: usize) -> usize {
    let mut sizes: Vec<usize> = domains.into_iter().filter(|size| *size > 0).collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    let mut lost = 0;
    let fits = |size: &&usize| {
        lost += **size;
        lost <= budget
    };
    sizes.iter().take_while(fits).count()
}

/// The names of devices that share their failure domain with others, by domain, in the order given.
pub fn shared_devices<'a>(devices: impl IntoIterator<Item = &'a dyn Device>) -> Vec<Vec<String>> {
    let mut domains: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for device in devices {
        let names = domains.entry(device.failure_domain()).or_default();
        names.push(device.name().to_owned());
    }
    domains
        .into_values()
        .filter(|names| names.len() > 1)
        .collect()
}

impl Pool {
    /// Failure domains that may fail yet without a loss.
    pub(crate) fn survives(&self) -> usize {
        let mut domains: BTreeMap<Option<Domain>, usize> = BTreeMap::new();
        for disk in self.disks.live() {
            *domains.entry(disk.domain()).or_default() += 1;
        }
        let budget = usize::from(self.layout.parity).saturating_sub(self.lost_count());
        // Whatever the layout, one disk at least must be left.
        survived_failures(domains.into_values(), budget).min(self.live_count().saturating_sub(1))
    }

    /// Members that share a block device.
    pub(crate) fn shared(&self) -> Vec<Vec<String>> {
        let live = self.disks.live();
        let devices = live
            .iter()
            .filter_map(|disk: &std::sync::Arc<Disk>| disk.device.as_deref());
        shared_devices(devices)
    }
}

#[cfg(test)]
mod tests {
    use super::survived_failures;

    #[test]
    fn disks_that_fail_together_are_one_failure() {
        assert_eq!(survived_failures([1; 6], 2), 2);
        assert_eq!(survived_failures([2, 1, 1, 1, 1], 2), 1);
        assert_eq!(survived_failures([2, 2, 2], 2), 1);
        assert_eq!(survived_failures([3, 3], 2), 0);
        assert_eq!(survived_failures([6], 2), 0);
        assert_eq!(survived_failures([1], 0), 0);
        assert_eq!(survived_failures([], 2), 0);
    }
}
