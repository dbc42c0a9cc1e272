//! Disks that were set aside come back by themselves.

use std::time::Duration;

use parking_lot::Mutex;
use strongroom_device::sim::{Fault, Injection, Operation};
use strongroom_device::{DeviceError, takes_writes};

use super::changes::{disk, shards};
use super::*;
use crate::tests::layouts::{WIDE, check, fill};
use crate::{DiskState, Reopen};

/// Opens disks anew, as they are found.
#[derive(Debug)]
struct Bays {
    disks: Mutex<Vec<Arc<SimDevice>>>,
    remounted: bool,
}

impl Reopen for Bays {
    fn reopen(&self, name: &str) -> std::result::Result<Arc<dyn Device>, DeviceError> {
        let mut disks = self.disks.lock();
        let slot = disks.iter_mut().find(|disk| disk.name() == name).unwrap();
        takes_writes(&**slot)?;
        *slot = slot.reattach(self.remounted);
        Ok(Arc::clone(slot) as Arc<dyn Device>)
    }
}

fn with_bays(pool: &Pool, all: &[Arc<SimDevice>], remounted: bool) -> Arc<Bays> {
    let bays = Arc::new(Bays {
        disks: Mutex::new(all.to_vec()),
        remounted,
    });
    pool.set_reopen(Arc::clone(&bays) as Arc<dyn Reopen>);
    bays
}

fn fail(disk: &SimDevice, operation: Operation, path: &str, times: u64) {
    disk.inject(Injection {
        operation,
        path: path.to_owned(),
        skip: 0,
        times,
        fault: Fault::Io,
    });
}

/// So many seconds of a pool in use, with log and index following.
fn pass(env: &Arc<SimEnv>, pool: &Pool, seconds: u64) {
    for _ in 0..seconds {
        env.advance(Duration::from_secs(1));
        for _ in 0..30 {
            pool.copies_follow(pool.epoch());
            if pool.upkeep_step().unwrap() == UpkeepStep::Idle {
                break;
            }
        }
    }
}

fn state(pool: &Pool, disk: usize) -> (DiskState, String) {
    let status = pool.status().disks.swap_remove(disk);
    (status.state, status.reason.unwrap_or_default())
}

#[test]
fn a_disk_that_works_again_is_brought_up_to_date() {
    for remounted in [false, true] {
        let env = SimEnv::new(1);
        let all = disks(&env, 6);
        let pool = new_pool(&env, &all, WIDE);
        let bays = with_bays(&pool, &all, remounted);
        let mut filled = fill(&pool, 1);
        all[2].set_broken(true);
        filled.extend(fill(&pool, 2));
        pass(&env, &pool, 60);
        assert_eq!(state(&pool, 2).0, DiskState::SetAside);
        assert_eq!(pool.upkeep_status().survives, 1);
        filled.extend(fill(&pool, 3));
        all[2].set_broken(false);
        pass(&env, &pool, 61);
        assert_eq!(state(&pool, 2).0, DiskState::Member);
        assert_eq!(pool.upkeep_status().survives, 2);
        check(&pool, &filled);
        // It is as good as the others.
        for lost in [0, 5] {
            bays.disks.lock()[lost].set_broken(true);
        }
        check(&pool, &filled);
    }
}

#[test]
fn a_disk_that_keeps_failing_is_left_alone_until_somebody_adds_it() {
    let env = SimEnv::new(2);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, THREE_WAY);
    let bays = with_bays(&pool, &all, false);
    let mut filled = fill(&pool, 1);
    for time in 1..=3 {
        let bad = Arc::clone(&bays.disks.lock()[1]);
        fail(&bad, Operation::Sync, "segments", 1);
        filled.extend(fill(&pool, 10 + time));
        assert_eq!(state(&pool, 1).0, DiskState::SetAside, "time {time}");
        pass(&env, &pool, 30);
    }
    let (found, why) = state(&pool, 1);
    assert_eq!(found, DiskState::SetAside);
    assert!(
        why.contains("failed 3 times within 1 hour") && why.contains("replace it"),
        "{why}"
    );
    pass(&env, &pool, 300);
    assert_eq!(state(&pool, 1), (found, why));
    let device = bays.reopen("disk1").unwrap();
    pool.add_disk(device, crate::DiskOptions::default())
        .unwrap();
    pass(&env, &pool, 30);
    assert_eq!(state(&pool, 1).0, DiskState::Member);
    check(&pool, &filled);
}

#[test]
fn a_disk_that_vanishes_again_and_again_comes_back_each_time() {
    let env = SimEnv::new(3);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, THREE_WAY);
    let bays = with_bays(&pool, &all, true);
    let mut filled = fill(&pool, 1);
    for time in 1..=5 {
        let there = Arc::clone(&bays.disks.lock()[1]);
        let away = disk(&env, "disk1", 1);
        // Nothing is mounted there.
        let labels = ["label.0", "label.1"].map(|path| there.contents(path).unwrap());
        for path in ["label.0", "label.1"] {
            there.delete(path).unwrap();
        }
        pool.look_after_disks();
        assert_eq!(state(&pool, 1).0, DiskState::SetAside, "time {time}");
        bays.disks.lock()[1] = away;
        filled.extend(fill(&pool, 10 + time));
        pass(&env, &pool, 100);
        assert_eq!(state(&pool, 1).0, DiskState::SetAside, "time {time}");
        for (path, label) in ["label.0", "label.1"].iter().zip(&labels) {
            there.create(path, 0).unwrap().write_at(0, label).unwrap();
            there.open(path).unwrap().sync().unwrap();
        }
        there.sync_dir("").unwrap();
        bays.disks.lock()[1] = there;
        pass(&env, &pool, 61);
        assert_eq!(state(&pool, 1).0, DiskState::Member, "time {time}");
        check(&pool, &filled);
    }
}

/// After a sync that failed the kernel shows bytes that never reached the disk, and calls the next sync a success.
#[test]
fn memory_is_not_believed_of_a_disk_whose_sync_failed() {
    let env = SimEnv::new(4);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let bays = with_bays(&pool, &all, false);
    let mut filled = fill(&pool, 1);
    fail(&all[1], Operation::Sync, "segments/", 1);
    filled.extend(fill(&pool, 2));
    assert_eq!(state(&pool, 1).0, DiskState::SetAside);
    pass(&env, &pool, 60);
    assert_eq!(state(&pool, 1).0, DiskState::Member);
    assert_eq!(pool.upkeep_status().survives, 1);
    env.cut_power();
    let alone = bays.disks.lock()[1].reopen();
    drop(pool);
    let pool = open(&env, &[alone]).unwrap();
    check(&pool, &filled);
}

#[test]
fn another_disk_at_the_path_of_one_that_failed_is_not_touched() {
    let env = SimEnv::new(5);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, THREE_WAY);
    let bays = with_bays(&pool, &all, false);
    fill(&pool, 1);
    all[1].set_broken(true);
    fill(&pool, 2);
    let other = disk(&env, "disk1", 1);
    drop(new_pool(&env, &[Arc::clone(&other)], Layout::SINGLE));
    let before = other.paths();
    bays.disks.lock()[1] = other;
    pass(&env, &pool, 100);
    let other = Arc::clone(&bays.disks.lock()[1]);
    assert_eq!(other.paths(), before);
    assert!(shards(&other).is_empty());
    assert_eq!(state(&pool, 1).0, DiskState::SetAside);
}

#[test]
fn a_disk_whose_contents_were_made_good_comes_back_all_the_same_but_not_one_that_was_replaced() {
    for replaced in [false, true] {
        let env = SimEnv::new(6);
        let all = disks(&env, 3);
        let pool = new_pool(&env, &all, Layout::MIRROR);
        let bays = with_bays(&pool, &all, true);
        let mut filled = fill(&pool, 1);
        all[1].set_broken(true);
        for seed in 2..6 {
            filled.extend(fill(&pool, seed));
            pool.seal(filled.last().unwrap().0.segment).unwrap();
        }
        if replaced {
            let options = crate::DiskOptions::default();
            let new = disk(&env, "new", 9) as Arc<dyn Device>;
            let old = pool.find_disk("disk1").unwrap();
            pool.replace_disk(old, new, options).unwrap();
        }
        pass(&env, &pool, 100);
        assert_eq!(pool.upkeep_status().survives, 1);
        assert_eq!(state(&pool, 1).0, DiskState::Retired);
        all[1].set_broken(false);
        pass(&env, &pool, 100);
        let expected = if replaced {
            DiskState::Retired
        } else {
            DiskState::Member
        };
        assert_eq!(state(&pool, 1).0, expected);
        check(&pool, &filled);
        bays.disks.lock()[0].set_broken(true);
        check(&pool, &filled);
    }
}
