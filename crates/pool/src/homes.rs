//! Which disks have the copies of mirrored files, log and index.
//!
//! The copies lie on the first disks in service, in the order in which disks came to the pool, so that after any loss
//! within the budget one of those that hold a copy is among the homes again: an opening finds the log without being told
//! where it was. A directory's number follows from its disk's place in the list, which never shrinks.

use std::sync::Arc;

use crate::disk::Disk;
use crate::pool::Pool;
use crate::{DiskId, EpochId, Home};

/// Disk and directory of a copy.
pub(crate) type HomeKey = (DiskId, u8);

impl Pool {
    /// Homes for mirrored files (`role` is "log" or "index"): one more than disks may fail and at least two, on different
    /// disks as far as there are that many. A new home's directory may hold what an earlier use left.
    pub fn homes(&self, role: &str) -> Vec<Home> {
        let home = |(disk, copy): (Arc<Disk>, u8)| {
            Some(Home {
                dir: format!("{role}/{copy}"),
                device: Arc::clone(disk.device.as_ref()?),
                copy,
            })
        };
        self.home_places().into_iter().filter_map(home).collect()
    }

    fn home_places(&self) -> Vec<(Arc<Disk>, u8)> {
        let disks = self.disks.all();
        let live = |leaving: bool| -> Vec<(usize, Arc<Disk>)> {
            // Places are those that the next opening finds: it puts what has no id last.
            let known = disks.iter().filter(|disk| disk.id.is_some());
            let live = known.enumerate();
            live.filter(|(_, disk)| disk.is_live() && (leaving || !disk.is_leaving()))
                .map(|(place, disk)| (place, Arc::clone(disk)))
                .collect()
        };
        let mut live_disks = live(false);
        if live_disks.is_empty() {
            live_disks = live(true);
        }
        let copies = self.layout.copies();
        let count = live_disks.len().max(1);
        let home = |copy: usize| {
            let (place, disk) = live_disks.get(copy % count)?;
            // The second copy on one disk has the next number.
            let number = (place + copy / count) % copies;
            Some((Arc::clone(disk), u8::try_from(number).unwrap_or(u8::MAX)))
        };
        (0..copies).filter_map(home).collect()
    }

    fn home_keys(&self) -> Vec<HomeKey> {
        let places = self.home_places().into_iter();
        places
            .map(|(disk, copy)| (disk.id.unwrap_or_default(), copy))
            .collect()
    }

    /// Told by the store: every copy of log and index lies at the homes of `epoch`'s members, whole. Disks are brought
    /// back and taken out only when that is so.
    pub fn copies_follow(&self, epoch: EpochId) {
        let _chain = self.chain.lock();
        if self.current.read().epoch == epoch {
            *self.followed.lock() = self.home_keys();
        }
    }

    /// To be called when an epoch begins. Where its homes are others, the copies are known to follow only once the store
    /// says so, also if a later epoch has the old ones again.
    pub(crate) fn forget_homes(&self) {
        let homes = self.home_keys();
        let mut followed = self.followed.lock();
        if *followed != homes {
            followed.clear();
        }
    }

    /// Whether the copies lie where they should.
    pub(crate) fn is_followed(&self) -> bool {
        *self.followed.lock() == self.home_keys()
    }
}
