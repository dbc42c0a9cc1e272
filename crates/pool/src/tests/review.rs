//! What a review of changes of disks found.

use strongroom_device::sim::{Fault, Injection, Operation};

use super::changes::{disk, shards, upkeep};
use super::*;
use crate::tests::layouts::{WIDE, check, fill};
use crate::{DiskOptions, DiskState, OpenOptions, Planted};

pub(super) fn add(pool: &Pool, disk: &Arc<SimDevice>) -> Result<crate::DiskId> {
    pool.add_disk(Arc::clone(disk) as Arc<dyn Device>, DiskOptions::default())
}

pub(super) fn replace(pool: &Pool, old: &str, new: &Arc<SimDevice>, options: DiskOptions) {
    let old = pool.find_disk(old).unwrap();
    pool.replace_disk(old, Arc::clone(new) as Arc<dyn Device>, options)
        .unwrap();
}

#[test]
fn a_new_disk_at_the_path_of_a_lost_one_is_set_aside_when_it_fails() {
    let env = SimEnv::new(1);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, THREE_WAY);
    let mut filled = fill(&pool, 1);
    all[1].set_broken(true);
    filled.extend(fill(&pool, 2));
    let new = disk(&env, "disk1", 9);
    replace(&pool, "disk1", &new, DiskOptions::default());
    upkeep(&pool);
    assert_eq!(pool.upkeep_status().survives, 2);
    let id = pool.find_disk("disk1").unwrap();
    new.inject(Injection {
        operation: Operation::Sync,
        path: "segments".to_owned(),
        skip: 0,
        times: 1,
        fault: Fault::Io,
    });
    filled.extend(fill(&pool, 3));
    assert_eq!(pool.upkeep_status().survives, 1, "the sync failed");
    let newest = pool.last_epoch().unwrap();
    assert!(newest.absent.contains(&id) && !newest.members.contains(&id));
    check(&pool, &filled);
}

#[test]
fn a_move_that_would_lose_what_is_left_of_a_damaged_stripe_is_given_up() {
    let env = SimEnv::new(2);
    let all = disks(&env, 1);
    let pool = new_pool(&env, &all, Layout::SINGLE);
    let bytes = pattern(1, 200_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    pool.seal(address.segment).unwrap();
    let sound = append_synced(&pool, 2, &bytes).unwrap();
    let path = shards(&all[0])[0].clone();
    all[0].flip(&path, 4096 + 100_000, 1);
    add(&pool, &disk(&env, "new", 9)).unwrap();
    pool.copies_follow(pool.epoch());
    pool.remove_disk(pool.find_disk("disk0").unwrap()).unwrap();
    upkeep(&pool);
    let mut first = vec![0; 50_000];
    pool.read(address, 0, &mut first).unwrap();
    assert!(first == bytes[..50_000]);
    assert!(shards(&all[0]) == [path], "{:?}", shards(&all[0]));
    let why = pool.upkeep_status().waiting_for.unwrap();
    assert!(why.contains("damaged"), "{why}");
    assert_eq!(pool.upkeep_status().lost_stripes, 1);
    assert!(read(&pool, sound, 200_000).unwrap() == bytes);
    // Once it is given back nothing holds the disk.
    let blocks = pool.stripe(address.segment, address.stripe).unwrap().blocks;
    pool.punch_stripe(address.segment, address.stripe, blocks)
        .unwrap();
    upkeep(&pool);
    assert!(all[0].paths().is_empty(), "{:?}", all[0].paths());
}

#[test]
fn a_disk_that_cannot_be_read_for_now_is_not_emptied_of_it() {
    let env = SimEnv::new(3);
    let all = disks(&env, 1);
    let pool = new_pool(&env, &all, Layout::SINGLE);
    let bytes = pattern(1, 50_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    add(&pool, &disk(&env, "new", 9)).unwrap();
    pool.copies_follow(pool.epoch());
    pool.remove_disk(pool.find_disk("disk0").unwrap()).unwrap();
    all[0].inject(Injection {
        operation: Operation::Read,
        path: "segments".to_owned(),
        skip: 0,
        times: 1,
        fault: Fault::Io,
    });
    upkeep(&pool);
    assert!(!shards(&all[0]).is_empty());
    assert!(read(&pool, address, 50_000).unwrap() == bytes);
}

/// A pool that writes a stripe in the place of one that found no room, as early versions did.
pub(super) fn pool_that_repeats(
    env: &Arc<SimEnv>,
    disks: &[Arc<SimDevice>],
    layout: Layout,
) -> Arc<Pool> {
    drop(Pool::create(as_env(env), as_devices(disks), layout).unwrap());
    let options = OpenOptions {
        planted: Planted {
            repeat_in_place: true,
            ..Planted::default()
        },
        ..OpenOptions::default()
    };
    let pool = Pool::open_with(as_env(env), as_devices(disks), options).unwrap();
    pool.begin_epoch(Txg(0), &[]).unwrap();
    pool
}

/// Three copies; one lost a write and shows an attempt that failed, another is lost.
#[test]
fn a_shard_is_made_anew_from_the_stripe_that_its_header_is_of() {
    for seed in 0..12 {
        let env = SimEnv::new(seed);
        let all = disks(&env, 3);
        let pool = pool_that_repeats(&env, &all, THREE_WAY);
        append_synced(&pool, 1, &pattern(1, 9000)).unwrap();
        let with = |shard: &str| {
            let found = all.iter().position(|disk| shards(disk)[0].ends_with(shard));
            found.unwrap()
        };
        let (first, second, third) = (with(".0.0"), with(".1.0"), with(".2.0"));
        all[third].inject(Injection {
            operation: Operation::Write,
            path: "segments".to_owned(),
            skip: 0,
            times: 1,
            fault: Fault::NoSpace,
        });
        assert!(append_one(&pool, 2, &pattern(seed + 2, 50_000)).is_err());
        let stale = all[first].contents(&shards(&all[first])[0]).unwrap();
        let told = append_synced(&pool, 2, &pattern(99, 50_000)).unwrap();
        pool.close().unwrap();
        drop(pool);
        let path = shards(&all[first])[0].clone();
        all[first].replace(&path, &stale);
        let _ = second;
        let some: Vec<_> = [first, second].map(|n| Arc::clone(&all[n])).into();
        let pool = open(&env, &some).unwrap();
        pool.begin_epoch(Txg(4), &[]).unwrap();
        let new = disk(&env, "new", 9);
        add(&pool, &new).unwrap();
        upkeep(&pool);
        drop(pool);
        let pool = open(&env, &[new]);
        let found = pool.map(|pool| read(&pool, told, 50_000).unwrap());
        assert!(found.unwrap() == pattern(99, 50_000), "seed {seed}");
    }
}

#[test]
fn homes_are_where_the_next_opening_looks() {
    let env = SimEnv::new(4);
    let all = disks(&env, 3);
    let layout = Layout { data: 2, parity: 1 };
    drop(new_pool(&env, &all, layout));
    // An empty disk at the path of one that is gone.
    let empty = disk(&env, "disk1", 8);
    let given = [Arc::clone(&all[0]), empty, Arc::clone(&all[2])];
    let pool = open(&env, &given).unwrap();
    pool.begin_epoch(Txg(1), &[]).unwrap();
    let new = disk(&env, "new", 9);
    replace(&pool, &pool.disk_missing(), &new, DiskOptions::default());
    upkeep(&pool);
    all[2].set_broken(true);
    fill(&pool, 1);
    let homes = |pool: &Pool| {
        let homes = pool.homes("log").into_iter();
        homes
            .map(|home| (home.device.name().to_owned(), home.dir))
            .collect::<Vec<_>>()
    };
    let before = homes(&pool);
    assert_eq!(before.len(), 2);
    drop(pool);
    let pool = open(&env, &[Arc::clone(&all[0]), new]).unwrap();
    assert_eq!(homes(&pool), before);
}

impl Pool {
    /// The id of the disk that is not there.
    fn disk_missing(&self) -> String {
        let disks = self.status().disks;
        let mut missing = disks.iter().filter(|disk| disk.state == DiskState::Missing);
        missing.next().unwrap().id.clone()
    }
}

#[test]
fn a_disk_that_was_used_apart_is_refused_while_the_pool_is_open_too() {
    let env = SimEnv::new(5);
    let all = disks(&env, 2);
    drop(new_pool(&env, &all, Layout::MIRROR));
    let pool = open(&env, &all[1..]).unwrap();
    pool.begin_epoch(Txg(1), &[]).unwrap();
    let told = append_synced(&pool, 1, &pattern(1, 9000)).unwrap();
    drop(pool);
    let pool = open(&env, &all[..1]).unwrap();
    pool.begin_epoch(Txg(1), &[]).unwrap();
    append_synced(&pool, 2, &pattern(2, 9000)).unwrap();
    pool.copies_follow(pool.epoch());
    let refused = add(&pool, &all[1]);
    assert!(
        matches!(&refused, Err(PoolError::Diverged { second, .. }) if second == "disk1"),
        "{refused:?}"
    );
    upkeep(&pool);
    drop(pool);
    let pool = open(&env, &all[1..]).unwrap();
    assert!(read(&pool, told, 9000).unwrap() == pattern(1, 9000));
}

#[test]
fn a_full_member_does_not_stop_writing_when_a_disk_comes_back() {
    let env = SimEnv::new(6);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let filled = fill(&pool, 1);
    all[5].set_broken(true);
    let more = fill(&pool, 2);
    all[5].set_broken(false);
    add(&pool, &all[5]).unwrap();
    pool.copies_follow(pool.epoch());
    all[0].inject(Injection {
        operation: Operation::Write,
        path: "epochs".to_owned(),
        skip: 0,
        times: 1,
        fault: Fault::NoSpace,
    });
    pool.upkeep_step().unwrap();
    assert!(pool.status().writable);
    assert_ne!(pool.status().disks[5].state, DiskState::Member);
    add(&pool, &all[5]).unwrap();
    upkeep(&pool);
    assert_eq!(pool.status().disks[5].state, DiskState::Member);
    check(&pool, &filled);
    check(&pool, &more);
}

#[test]
fn a_disk_that_takes_the_place_of_another_is_no_spare() {
    let env = SimEnv::new(7);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let filled = fill(&pool, 1);
    all[1].set_broken(true);
    fill(&pool, 2);
    let options = DiskOptions {
        spare: true,
        ..DiskOptions::default()
    };
    replace(&pool, "disk1", &disk(&env, "new", 9), options);
    upkeep(&pool);
    assert_eq!(pool.upkeep_status().survives, 1);
    check(&pool, &filled);
}

#[test]
fn homes_that_changed_twice_are_not_taken_for_followed() {
    let env = SimEnv::new(8);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    all[1].set_broken(true);
    fill(&pool, 1);
    pool.copies_follow(pool.epoch());
    all[1].set_broken(false);
    add(&pool, &all[1]).unwrap();
    assert_eq!(pool.upkeep_step().unwrap(), UpkeepStep::Changed);
    assert!(!pool.is_followed());
    all[1].set_broken(true);
    fill(&pool, 2);
    assert!(!pool.is_followed(), "the log is at one home of the two");
    pool.copies_follow(pool.epoch());
    assert!(pool.is_followed());
}

#[test]
fn an_emptying_that_no_epoch_says_is_not_begun() {
    let env = SimEnv::new(9);
    let all = disks(&env, 4);
    let pool = new_pool(&env, &all, Layout { data: 2, parity: 1 });
    pool.copies_follow(pool.epoch());
    all[2].inject(Injection {
        operation: Operation::Write,
        path: "epochs".to_owned(),
        skip: 0,
        times: 1,
        fault: Fault::NoSpace,
    });
    let id = pool.find_disk("disk0").unwrap();
    assert!(pool.remove_disk(id).is_err());
    assert!(!pool.status().disks[0].leaving);
    let label = crate::label::read_label(&*all[0]).unwrap();
    assert!(label.label.role.is_none_or(|role| !role.leaving));
    assert!(label.bad_copies.is_empty());
}

#[test]
fn two_good_labels_that_differ_are_made_one() {
    let env = SimEnv::new(10);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::SINGLE);
    let plain = all[1].contents("label.1").unwrap();
    let id = pool.find_disk("disk1").unwrap();
    pool.copies_follow(pool.epoch());
    pool.set_spare(id, true).unwrap();
    drop(pool);
    // The power went between the two copies.
    all[1].replace("label.1", &plain);
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(1), &[]).unwrap();
    let copies = ["label.0", "label.1"].map(|path| all[1].contents(path).unwrap());
    assert_eq!(copies[0], copies[1]);
}

#[test]
fn the_right_stripe_of_a_disk_that_comes_back_is_kept_as_far_as_it_is_sound() {
    let env = SimEnv::new(11);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let bytes = pattern(1, 200_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    drop(pool);
    let pool = open(&env, &all[..1]).unwrap();
    pool.begin_epoch(Txg(1), &[]).unwrap();
    drop(pool);
    all[0].flip(&shards(&all[0])[0], 4096 + 10_000, 1);
    all[1].flip(&shards(&all[1])[0], 4096 + 150_000, 1);
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(1), &[]).unwrap();
    upkeep(&pool);
    for (from, len) in [(0, 20_000), (140_000, 30_000)] {
        let mut found = vec![0; len];
        pool.read(address, u32::try_from(from).unwrap(), &mut found)
            .unwrap();
        assert!(found == bytes[from..from + len]);
    }
}
