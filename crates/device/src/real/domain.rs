//! Which whole disk a directory lies on, so that two directories that fail together are known for it.
//!
//! The kernel tells a number for each file system. Two partitions of one disk have two of them, so sysfs is asked for the
//! disk behind; a file system without a block device of its own (btrfs has a number for each subvolume) is looked up in
//! the list of mounts. Where nothing more can be found out, the file system's number is the domain.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Dev, major, makedev, minor};

/// Devices stacked on each other at most: partition, encryption, logical volume and some more.
const DEPTH_MAX: usize = 8;
const SYSFS: &str = "/sys/dev/block";

/// The failure domain of a directory on the file system numbered `dev`.
pub(super) fn of(root: &OwnedFd, dev: Dev) -> Dev {
    let block = if major(dev) == 0 {
        mounted_from(root).unwrap_or(dev)
    } else {
        dev
    };
    whole_disk(Path::new(SYSFS), block)
}

/// The file in which the kernel counts the operations of a block device.
pub(super) fn counters(dev: Dev) -> PathBuf {
    Path::new(SYSFS).join(format!("{}:{}/stat", major(dev), minor(dev)))
}

/// Reads, writes, discards and flushes that a block device has completed
/// (Documentation/block/stat.rst of the kernel). None where nothing is counted.
pub(super) fn completed(counters: &Path) -> Option<u64> {
    let text = fs::read_to_string(counters).ok()?;
    let fields: Vec<u64> = text
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let done = [0, 4, 11, 15].map(|at| fields.get(at).copied().unwrap_or(0));
    (!fields.is_empty()).then(|| done.iter().sum())
}

/// The block device that the file system of an open directory was mounted from.
fn mounted_from(root: &OwnedFd) -> Option<Dev> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", root.as_raw_fd())).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let source = mount_source(&mounts, id.trim())?;
    let found = fs::metadata(source).ok()?;
    found.file_type().is_block_device().then(|| found.rdev())
}

/// The source of the mount with this id: the second field behind the dash (proc_pid_mountinfo(5)).
fn mount_source<'a>(mounts: &'a str, id: &str) -> Option<&'a str> {
    let of_id = |line: &&str| line.split(' ').next() == Some(id);
    let line = mounts.lines().find(of_id)?;
    let (_, behind) = line.split_once(" - ")?;
    behind.split(' ').nth(1)
}

/// Follows partitions to their disk, and volumes to the one device that they lie on.
fn whole_disk(sysfs: &Path, dev: Dev) -> Dev {
    let place = sysfs.join(format!("{}:{}", major(dev), minor(dev)));
    let Ok(mut at) = place.canonicalize() else {
        return dev;
    };
    let mut found = dev;
    for _ in 0..DEPTH_MAX {
        let Some(below) = below(&at) else { break };
        let Some(number) = number_of(&below) else {
            break;
        };
        at = below;
        found = number;
    }
    found
}

fn below(at: &Path) -> Option<PathBuf> {
    if at.join("partition").exists() {
        return at.parent().map(Path::to_owned);
    }
    let mut slaves = fs::read_dir(at.join("slaves")).ok()?.flatten();
    let first = slaves.next()?;
    // A volume over several disks is a domain of its own.
    if slaves.next().is_some() {
        return None;
    }
    first.path().canonicalize().ok()
}

fn number_of(at: &Path) -> Option<Dev> {
    let text = fs::read_to_string(at.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree like sysfs: a disk with two partitions, a volume on one of them, and one over both.
    fn sysfs() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let devices = place.path().join("devices");
        let device = |path: &str, number: &str| {
            let at = devices.join(path);
            fs::create_dir_all(at.join("slaves")).unwrap();
            fs::write(at.join("dev"), format!("{number}\n")).unwrap();
            symlink(&at, place.path().join(number)).unwrap();
            at
        };
        let disk = device("sda", "8:0");
        for (name, number) in [("sda1", "8:1"), ("sda2", "8:2")] {
            let part = device(&format!("sda/{name}"), number);
            fs::write(part.join("partition"), "1\n").unwrap();
        }
        let one = device("dm-0", "253:0");
        symlink(disk.join("sda1"), one.join("slaves/sda1")).unwrap();
        let both = device("dm-1", "253:1");
        for part in ["sda1", "sda2"] {
            symlink(disk.join(part), both.join("slaves").join(part)).unwrap();
        }
        place
    }

    #[test]
    fn partitions_and_volumes_of_one_disk_are_one_domain() {
        let place = sysfs();
        let disk = makedev(8, 0);
        for (major, minor) in [(8, 0), (8, 1), (8, 2), (253, 0)] {
            let found = whole_disk(place.path(), makedev(major, minor));
            assert_eq!(found, disk, "{major}:{minor}");
        }
    }

    #[test]
    fn what_cannot_be_followed_stands_for_itself() {
        let place = sysfs();
        for (major, minor) in [(253, 1), (9, 9)] {
            let dev = makedev(major, minor);
            assert_eq!(whole_disk(place.path(), dev), dev);
        }
    }

    #[test]
    fn completed_operations_are_added_up() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("stat");
        let stat = "  100 2 3 4 20 6 7 8 0 10 11 3 13 14 15 1 17\n";
        fs::write(&file, stat).unwrap();
        assert_eq!(completed(&file), Some(124));
        assert_eq!(completed(&place.path().join("none")), None);
    }

    #[test]
    fn the_source_of_a_mount_is_found_by_its_id() {
        let mounts = "22 27 0:21 / /proc rw shared:1 - proc proc rw\n\
                      31 27 0:40 /home /home rw,relatime shared:5 - btrfs /dev/sdb1 rw,subvol=/home\n";
        assert_eq!(mount_source(mounts, "31"), Some("/dev/sdb1"));
        assert_eq!(mount_source(mounts, "3"), None);
    }
}
