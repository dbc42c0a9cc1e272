//! The last good copy of something is never removed, wherever it lies.

use strongroom_device::sim::{Fault, Injection, Operation};

use super::changes::{disk, shards, upkeep};
use super::review::{add, pool_that_repeats, replace};
use super::*;
use crate::fragment::SUM_UNIT;
use crate::read::BadShards;
use crate::tests::layouts::{check, fill};
use crate::{DiskOptions, DiskState};

const TWO_AND_ONE: Layout = Layout { data: 2, parity: 1 };

fn full(disk: &SimDevice, times: u64) {
    disk.inject(Injection {
        operation: Operation::Write,
        path: "epochs".to_owned(),
        skip: 0,
        times,
        fault: Fault::NoSpace,
    });
}

/// One disk is away, and a stripe on the other of a mirror is rotten in its second block; a new one was made without it.
struct Mirror {
    env: Arc<SimEnv>,
    all: Vec<Arc<SimDevice>>,
    new: Arc<SimDevice>,
    pool: Arc<Pool>,
    bytes: Vec<u8>,
    address: Address,
    filled: Vec<(Address, Vec<u8>)>,
}

fn mirror(seed: u64) -> Mirror {
    let env = SimEnv::new(seed);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let bytes = pattern(1, 200_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    pool.seal(address.segment).unwrap();
    let mut filled = fill(&pool, 1);
    let path = shards(&all[0])[0].clone();
    all[1].set_broken(true);
    filled.extend(fill(&pool, 2));
    all[0].flip(&path, (BLOCK + SUM_UNIT + 100) as u64, 1);
    let new = disk(&env, "new", 9);
    replace(&pool, "disk1", &new, DiskOptions::default());
    Mirror {
        env,
        all,
        new,
        pool,
        bytes,
        address,
        filled,
    }
}

const BLOCK: usize = crate::BLOCK;

/// As [`upkeep`], while log and index stay where they are.
fn upkeep_alone(pool: &Pool) {
    while pool.upkeep_step().unwrap() != UpkeepStep::Idle {}
}

#[test]
fn what_is_left_of_a_stripe_has_two_copies_again() {
    let world = mirror(1);
    upkeep(&world.pool);
    assert_eq!(world.pool.upkeep_status().lost_stripes, 1);
    assert!(is_corrupt(&read(&world.pool, world.address, 200_000)));
    world.all[0].set_broken(true);
    for (from, len) in [(0, SUM_UNIT), (2 * SUM_UNIT, 200_000 - 2 * SUM_UNIT)] {
        let mut found = vec![0; len];
        let at = u32::try_from(from).unwrap();
        world.pool.read(world.address, at, &mut found).unwrap();
        assert!(found == world.bytes[from..from + len]);
    }
    assert!(is_corrupt(&read(&world.pool, world.address, 200_000)));
    check(&world.pool, &world.filled);
}

#[test]
fn a_disk_that_was_made_good_but_for_some_stripes_is_searched_before_it_is_used_again() {
    for restart in [false, true] {
        let mut world = mirror(2);
        upkeep(&world.pool);
        let lost = &world.pool.status().disks[1];
        assert_eq!(lost.state, DiskState::Retired);
        let why = lost.reason.clone().unwrap();
        assert!(why.contains("1 stripes could not be read"), "{why}");
        world.all[1].set_broken(false);
        if restart {
            drop(world.pool);
            let there = [&world.all[0], &world.new].map(Arc::clone);
            world.pool = open(&world.env, &there).unwrap();
            world.pool.begin_epoch(Txg(4), &[]).unwrap();
            world.pool.copies_follow(world.pool.epoch());
        }
        // What only it has is rotten elsewhere, too.
        let path = shards(&world.all[1])[0].clone();
        world.all[1].flip(&path, (BLOCK + 5 * SUM_UNIT) as u64, 1);
        let id = add(&world.pool, &world.all[1]).unwrap();
        upkeep(&world.pool);
        assert!(read(&world.pool, world.address, 200_000).unwrap() == world.bytes);
        assert_eq!(world.pool.upkeep_status().lost_stripes, 0);
        check(&world.pool, &world.filled);
        let members = world.pool.last_epoch().unwrap().members;
        assert!(members.contains(&id) && members.len() == 3);
        let old = shards(&world.all[1]);
        assert!(old.iter().all(|path| !path.ends_with(".old")), "{old:?}");
        // Its redundancy is whole: without the disk that had it at first.
        world.all[0].set_broken(true);
        assert!(read(&world.pool, world.address, 200_000).unwrap() == world.bytes);
    }
}

#[test]
fn a_shard_that_another_took_the_place_of_gives_what_only_it_has() {
    let world = mirror(3);
    upkeep_alone(&world.pool);
    assert_eq!(world.pool.upkeep_status().lost_disks, ["disk1"]);
    world.all[1].set_broken(false);
    add(&world.pool, &world.all[1]).unwrap();
    upkeep(&world.pool);
    assert!(read(&world.pool, world.address, 200_000).unwrap() == world.bytes);
    assert_eq!(world.pool.upkeep_status().lost_stripes, 0);
    let status = world.pool.upkeep_status();
    assert_eq!((status.survives, status.bytes_total), (1, 0), "{status:?}");
}

#[test]
fn with_what_was_saved_the_other_shards_are_made_good() {
    let env = SimEnv::new(4);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, TWO_AND_ONE);
    let bytes = pattern(1, 400_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    pool.seal(address.segment).unwrap();
    let path = shards(&all[0])[0].clone();
    all[2].set_broken(true);
    fill(&pool, 1);
    all[0].flip(&path, (BLOCK + SUM_UNIT + 100) as u64, 1);
    replace(
        &pool,
        "disk2",
        &disk(&env, "new", 9),
        DiskOptions::default(),
    );
    upkeep(&pool);
    assert!(is_corrupt(&read(&pool, address, 400_000)));
    all[2].set_broken(false);
    add(&pool, &all[2]).unwrap();
    upkeep(&pool);
    assert!(read(&pool, address, 400_000).unwrap() == bytes);
    let part = pool.scrub_segment(address.segment, 0, u64::MAX).unwrap();
    assert_eq!((part.bad, part.lost.len()), (0, 0));
}

#[test]
fn an_epoch_that_finds_no_room_is_on_no_disk() {
    for full_disk in 0..3 {
        let env = SimEnv::new(5);
        let all = disks(&env, 3);
        let pool = new_pool(&env, &all, TWO_AND_ONE);
        let filled = fill(&pool, 1);
        let before = pool.last_epoch();
        full(&all[full_disk], 1);
        let new = disk(&env, "new", 9);
        add(&pool, &new).unwrap_err();
        assert!(new.paths().is_empty(), "{:?}", new.paths());
        assert_eq!(pool.last_epoch(), before);
        drop(pool);
        // Nothing is owed but the one that is gone.
        let pool = open(&env, &all[1..]).unwrap();
        check(&pool, &filled);
        assert_eq!(pool.last_epoch(), before);
    }
}

#[test]
fn an_epoch_that_is_on_some_disks_is_followed_by_one_on_all() {
    let env = SimEnv::new(6);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, TWO_AND_ONE);
    let filled = fill(&pool, 1);
    // Not even taking it off again works.
    full(&all[1], 5);
    let new = disk(&env, "new", 9);
    add(&pool, &new).unwrap_err();
    {
        let copies: Vec<_> = all
            .iter()
            .map(|disk| disk.duplicate(&format!("{disk:?}")))
            .collect();
        let pool = open(&env, &copies[1..]).unwrap();
        check(&pool, &filled);
        let with_new = [&copies[0], &copies[2], &new].map(Arc::clone);
        check(&open(&env, &with_new).unwrap(), &filled);
    }
    for _ in 0..8 {
        pool.copies_follow(pool.epoch());
        pool.upkeep_step().unwrap();
        env.advance(std::time::Duration::from_secs(31));
    }
    let newest = pool.last_epoch().unwrap();
    assert_eq!(newest.members.len(), 3);
    drop(pool);
    let pool = open(&env, &all[..2]).unwrap();
    assert_eq!(pool.last_epoch().unwrap(), newest);
    check(&pool, &filled);
}

#[test]
fn a_full_pool_does_not_grow_its_chain() {
    let env = SimEnv::new(7);
    let all = disks(&env, 4);
    let pool = new_pool(&env, &all, TWO_AND_ONE);
    fill(&pool, 1);
    all[3].set_broken(true);
    all[0].set_broken(false);
    let why = strongroom_device::DeviceError::Io {
        device: "disk3".into(),
        operation: "read",
        path: String::new(),
        message: "failed".into(),
    };
    pool.set_aside(&(Arc::clone(&all[3]) as Arc<dyn Device>), &why)
        .unwrap();
    let records = pool.epoch_terms().len();
    full(&all[0], u64::MAX);
    for _ in 0..100 {
        pool.copies_follow(pool.epoch());
        pool.upkeep_step().unwrap();
        env.advance(std::time::Duration::from_secs(2));
    }
    assert!(pool.status().writable);
    let grown = pool.epoch_terms().len() - records;
    assert!(grown <= 100 * 2 / 30 + 1, "{grown} records");
}

/// A stripe that finds no room on one disk is on the others, and looks whole there.
#[test]
fn a_lost_write_never_shows_a_stripe_that_was_given_up() {
    for layout in [Layout::MIRROR, TWO_AND_ONE] {
        let env = SimEnv::new(8);
        let all = disks(&env, layout.width());
        let pool = new_pool(&env, &all, layout);
        append_synced(&pool, 1, &pattern(1, 9000)).unwrap();
        let with = |shard: &str| {
            let mut all = all.iter();
            all.find(|disk| shards(disk)[0].ends_with(shard)).unwrap()
        };
        let last = format!(".{}.0", layout.width() - 1);
        let (first, last) = (with(".0.0"), with(&last));
        last.inject(Injection {
            operation: Operation::Write,
            path: "segments".to_owned(),
            skip: 0,
            times: 1,
            fault: Fault::NoSpace,
        });
        assert!(append_one(&pool, 2, &pattern(2, 50_000)).is_err());
        for disk in &all {
            let path = "segments".to_owned();
            let times = u64::from(Arc::ptr_eq(disk, first));
            disk.inject(Injection {
                operation: Operation::Write,
                path,
                skip: 0,
                times,
                fault: Fault::Lost,
            });
        }
        let told = append_synced(&pool, 2, &pattern(99, 50_000)).unwrap();
        pool.close().unwrap();
        drop(pool);
        env.cut_power();
        let all: Vec<_> = all.iter().map(|disk| disk.reopen()).collect();
        let pool = open(&env, &all).unwrap();
        assert!(read(&pool, told, 50_000).unwrap() == pattern(99, 50_000));
    }
}

#[test]
fn a_disk_without_room_leaves_no_empty_segments() {
    let env = SimEnv::new(9);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, TWO_AND_ONE);
    all[1].inject(Injection {
        operation: Operation::Write,
        path: "segments".to_owned(),
        skip: 0,
        times: 20,
        fault: Fault::NoSpace,
    });
    for _ in 0..10 {
        append_one(&pool, 1, &pattern(1, 9000)).unwrap_err();
    }
    assert_eq!(pool.segment_ids(), []);
    assert!(all.iter().all(|disk| shards(disk).is_empty()));
}

#[test]
fn a_fragment_is_not_salvaged_from_another_stripe() {
    let env = SimEnv::new(10);
    let all = disks(&env, 3);
    let pool = pool_that_repeats(&env, &all, THREE_WAY);
    append_synced(&pool, 1, &pattern(1, 9000)).unwrap();
    let with = |shard: &str| {
        let mut all = all.iter();
        all.find(|disk| shards(disk)[0].ends_with(shard)).unwrap()
    };
    let (first, second, third) = (with(".0.0"), with(".1.0"), with(".2.0"));
    third.inject(Injection {
        operation: Operation::Write,
        path: "segments".to_owned(),
        skip: 0,
        times: 1,
        fault: Fault::NoSpace,
    });
    append_one(&pool, 2, &pattern(2, 50_000)).unwrap_err();
    let stale = [first, second].map(|disk| disk.contents(&shards(disk)[0]).unwrap());
    let told = append_synced(&pool, 2, &pattern(99, 50_000)).unwrap();
    pool.close().unwrap();
    drop(pool);
    for (disk, stale) in [first, second].into_iter().zip(stale) {
        disk.replace(&shards(disk)[0], &stale);
    }
    let at = u64::from(told.stripe) * BLOCK as u64 + (BLOCK + 100) as u64;
    third.flip(&shards(third)[0], at, 1);
    let pool = open(&env, &all).unwrap();
    let segment = pool.segments.get(told.segment).unwrap();
    let mut bad = BadShards::new();
    let made = pool.compute_fragment(&segment, told.stripe, 0, &mut bad);
    assert!(made.is_err(), "of two stripes");
    let mut bytes = vec![0; 50_000];
    let salvaged = pool.read_salvaged(&segment, told.stripe, u64::from(told.offset), &mut bytes);
    assert!(salvaged.is_err());
}

#[test]
fn what_an_old_device_fails_at_says_nothing_of_a_new_one_at_its_path() {
    let env = SimEnv::new(11);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let old = pool.homes("log").swap_remove(1).device;
    assert_eq!(old.name(), "disk1");
    all[1].set_broken(true);
    fill(&pool, 1);
    let new = disk(&env, "disk1", 9);
    replace(&pool, "disk1", &new, DiskOptions::default());
    upkeep(&pool);
    let late = old.list("").unwrap_err();
    pool.set_aside(&old, &late).unwrap();
    let status = pool.status();
    let members = status.disks.iter();
    let members = members.filter(|disk| disk.state == DiskState::Member);
    assert_eq!(members.count(), 2, "{:?}", status.disks);
    assert_eq!(pool.upkeep_status().survives, 1);
}
