//! Disks that are added, taken out, replaced, or wait as spares.

use super::*;
use crate::tests::layouts::{WIDE, check, fill};
use crate::{DiskOptions, DiskState, ErrorKind, UpkeepTask};

/// Does all that there is to do, with log and index following at once.
pub(super) fn upkeep(pool: &Pool) -> u64 {
    let mut worked = 0;
    for _ in 0..10_000 {
        pool.copies_follow(pool.epoch());
        match pool.upkeep_step().unwrap() {
            UpkeepStep::Idle => return worked,
            UpkeepStep::Worked { bytes } => worked += bytes,
            UpkeepStep::Changed => {}
        }
    }
    panic!("upkeep does not end: {:?}", pool.upkeep_status());
}

pub(super) fn disk(env: &Arc<SimEnv>, name: &str, domain: u64) -> Arc<SimDevice> {
    SimDevice::new(env, name, domain)
}

fn add(pool: &Pool, disk: &Arc<SimDevice>) -> Result<crate::DiskId> {
    pool.add_disk(Arc::clone(disk) as Arc<dyn Device>, DiskOptions::default())
}

pub(super) fn shards(disk: &SimDevice) -> Vec<String> {
    let paths = disk.paths().into_iter();
    paths.filter(|path| path.starts_with("segments/")).collect()
}

fn state(pool: &Pool, name: &str) -> DiskState {
    let disks = pool.status().disks;
    disks
        .into_iter()
        .find(|disk| disk.name == name)
        .unwrap()
        .state
}

/// Nothing on the disks, nor in the pool, was changed by what is done.
fn changes_nothing(
    pool: &Pool,
    disks: &[&Arc<SimDevice>],
    what: impl FnOnce() -> PoolError,
) -> PoolError {
    let contents = |disk: &Arc<SimDevice>| {
        let paths = disk.paths().into_iter();
        paths
            .map(|path| (disk.contents(&path), path))
            .collect::<Vec<_>>()
    };
    let before: Vec<_> = disks.iter().map(|disk| contents(disk)).collect();
    let status = format!("{:?}", pool.status());
    let error = what();
    let after: Vec<_> = disks.iter().map(|disk| contents(disk)).collect();
    assert!(before == after, "{error}: the disks were changed");
    assert_eq!(status, format!("{:?}", pool.status()));
    error
}

#[test]
fn a_disk_is_added_to_a_running_pool_and_used() {
    let env = SimEnv::new(1);
    let mut all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let mut filled = fill(&pool, 1);
    let new = disk(&env, "new", 9);
    let id = add(&pool, &new).unwrap();
    assert_eq!(pool.find_disk("new").unwrap(), id);
    assert_eq!(pool.find_disk(&id.to_string()[..6]).unwrap(), id);
    for seed in 2..8 {
        filled.extend(fill(&pool, seed));
        pool.seal(filled.last().unwrap().0.segment).unwrap();
    }
    assert!(!shards(&new).is_empty());
    check(&pool, &filled);
    drop(pool);
    all.push(new);
    // In any order, and without any two of them.
    all.reverse();
    for gone in 0..6 {
        let mut some = all.clone();
        some.remove(gone + 1);
        some.remove(gone);
        let pool = open(&env, &some).unwrap();
        check(&pool, &filled);
    }
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(4), &[]).unwrap();
    assert!(
        pool.status()
            .disks
            .iter()
            .all(|disk| disk.state == DiskState::Member)
    );
    check(&pool, &filled);
}

#[test]
fn refuses_disks_that_cannot_be_added_by_name_and_changes_nothing() {
    let env = SimEnv::new(2);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, Layout { data: 2, parity: 1 });
    let other = disk(&env, "other", 7);
    drop(new_pool(&env, &[Arc::clone(&other)], Layout::SINGLE));
    let error = changes_nothing(&pool, &[&other, &all[0]], || {
        add(&pool, &other).unwrap_err()
    });
    assert!(
        matches!(&error, PoolError::NotBlank { device, .. } if device == "other"),
        "{error}"
    );
    let error = changes_nothing(&pool, &[&all[1]], || add(&pool, &all[1]).unwrap_err());
    assert!(
        matches!(&error, PoolError::InUse { device, .. } if device == "disk1"),
        "{error}"
    );
    let twin = disk(&env, "twin", 1);
    let error = changes_nothing(&pool, &[&twin, &all[1]], || add(&pool, &twin).unwrap_err());
    assert!(
        error
            .to_string()
            .contains("twin shares a block device with disk1"),
        "{error}"
    );
    assert!(pool.find_disk("nowhere").is_err());
    let options = DiskOptions {
        allow_shared_device: true,
        ..DiskOptions::default()
    };
    pool.add_disk(twin as Arc<dyn Device>, options).unwrap();
}

#[test]
fn a_disk_that_fails_while_it_is_added_leaves_the_pool_as_it_was() {
    for operations in 0..60 {
        let env = SimEnv::new(3);
        let all = disks(&env, 1);
        let pool = new_pool(&env, &all, Layout::SINGLE);
        let filled = fill(&pool, 1);
        let bad = disk(&env, "bad", 9);
        bad.inject(strongroom_device::sim::Injection {
            operation: strongroom_device::sim::Operation::Any,
            path: String::new(),
            skip: operations,
            times: u64::MAX,
            fault: strongroom_device::sim::Fault::Io,
        });
        let added = add(&pool, &bad);
        assert!(pool.status().writable);
        let more = append_synced(&pool, 9, &pattern(9, 5000)).unwrap();
        drop(pool);
        let pool = open(&env, &all);
        if added.is_ok() {
            assert!(operations > 10, "it cannot have been added");
            return;
        }
        let pool = pool.unwrap();
        pool.begin_epoch(Txg(9), &[]).unwrap();
        check(&pool, &filled);
        assert_eq!(read(&pool, more, 5000).unwrap(), pattern(9, 5000));
        assert_eq!(pool.upkeep_status().lost_disks.len(), 0);
    }
    panic!("it takes fewer operations");
}

#[test]
fn a_disk_is_emptied_and_taken_out() {
    let env = SimEnv::new(4);
    let all = disks(&env, 7);
    let pool = new_pool(&env, &all, WIDE);
    let mut filled = fill(&pool, 1);
    filled.extend(fill(&pool, 2));
    let leaver = all
        .iter()
        .position(|disk| !shards(disk).is_empty())
        .unwrap();
    let name = format!("disk{leaver}");
    pool.copies_follow(pool.epoch());
    pool.remove_disk(pool.find_disk(&name).unwrap()).unwrap();
    assert!(pool.status().disks[leaver].leaving);
    filled.extend(fill(&pool, 3));
    upkeep(&pool);
    assert_eq!(state(&pool, &name), DiskState::Retired);
    assert!(all[leaver].paths().is_empty(), "{:?}", all[leaver].paths());
    check(&pool, &filled);
    let mut rest = all.clone();
    rest.remove(leaver);
    drop(pool);
    for first in 0..6 {
        for second in first + 1..6 {
            let some = rest
                .iter()
                .enumerate()
                .filter(|(n, _)| *n != first && *n != second);
            let some: Vec<_> = some.map(|(_, disk)| Arc::clone(disk)).collect();
            check(&open(&env, &some).unwrap(), &filled);
        }
    }
    // It is blank, and may serve another pool.
    assert!(Pool::is_blank(&*all[leaver]).unwrap());
}

#[test]
fn refuses_removals_that_break_the_layout_and_changes_nothing() {
    let env = SimEnv::new(5);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    fill(&pool, 1);
    pool.copies_follow(pool.epoch());
    let id = pool.find_disk("disk3").unwrap();
    let everything: Vec<_> = all.iter().collect();
    let error = changes_nothing(&pool, &everything, || pool.remove_disk(id).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Refused);
    let text = error.to_string();
    assert!(text.contains("disk3") && text.contains("4+2"), "{text}");
    let error = changes_nothing(&pool, &everything, || pool.set_spare(id, true).unwrap_err());
    assert!(
        matches!(error, PoolError::WouldBreakLayout { left: 5, .. }),
        "{error}"
    );
    let error = pool.remove_disk(crate::DiskId([7; 16])).unwrap_err();
    assert!(matches!(error, PoolError::UnknownDisk { .. }), "{error}");
    add(&pool, &disk(&env, "new", 9)).unwrap();
    let error = pool.remove_disk(id);
    assert!(error.is_ok(), "{error:?}");
    let other = pool.find_disk("disk4").unwrap();
    assert!(matches!(
        pool.remove_disk(other),
        Err(PoolError::Busy { .. })
    ));
}

#[test]
fn refuses_a_replacement_that_is_too_small_and_changes_nothing() {
    let env = SimEnv::new(6);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, Layout { data: 2, parity: 1 });
    for n in 0..3 {
        append_synced(&pool, n, &pattern(n, 1 << 20)).unwrap();
    }
    pool.copies_follow(pool.epoch());
    let id = pool.find_disk("disk1").unwrap();
    let small = disk(&env, "small", 9);
    small.set_capacity(1 << 20);
    let replace = |device: &Arc<SimDevice>| {
        let device = Arc::clone(device) as Arc<dyn Device>;
        pool.replace_disk(id, device, DiskOptions::default())
    };
    let error = changes_nothing(&pool, &[&small, &all[1]], || replace(&small).unwrap_err());
    assert!(error.to_string().contains("small is too small"), "{error}");
    all[1].set_broken(true);
    append_synced(&pool, 9, &pattern(9, 1 << 20)).unwrap();
    let error = changes_nothing(&pool, &[&small], || replace(&small).unwrap_err());
    assert!(matches!(error, PoolError::TooSmall { .. }), "{error}");
    replace(&disk(&env, "large", 10)).unwrap();
}

#[test]
fn a_disk_in_service_is_replaced() {
    let env = SimEnv::new(7);
    let mut all = disks(&env, 3);
    let pool = new_pool(&env, &all, Layout { data: 2, parity: 1 });
    let mut filled = fill(&pool, 1);
    pool.copies_follow(pool.epoch());
    let new = disk(&env, "new", 9);
    let old = pool.find_disk("disk0").unwrap();
    pool.replace_disk(
        old,
        Arc::clone(&new) as Arc<dyn Device>,
        DiskOptions::default(),
    )
    .unwrap();
    filled.extend(fill(&pool, 2));
    upkeep(&pool);
    assert!(all[0].paths().is_empty());
    all[0] = new;
    drop(pool);
    for gone in 0..3 {
        let mut some = all.clone();
        some.remove(gone);
        check(&open(&env, &some).unwrap(), &filled);
    }
}

#[test]
fn a_spare_takes_over_by_itself() {
    let env = SimEnv::new(8);
    let mut all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let mut filled = fill(&pool, 1);
    let spare = disk(&env, "spare", 9);
    let options = DiskOptions {
        spare: true,
        ..DiskOptions::default()
    };
    pool.add_disk(Arc::clone(&spare) as Arc<dyn Device>, options)
        .unwrap();
    filled.extend(fill(&pool, 2));
    upkeep(&pool);
    assert!(shards(&spare).is_empty());
    assert!(pool.status().disks[6].spare);
    drop(pool);
    all.push(Arc::clone(&spare));
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(4), &[]).unwrap();
    assert!(pool.status().disks[6].spare, "the label says so");
    all[2].set_broken(true);
    filled.extend(fill(&pool, 3));
    assert_eq!(pool.upkeep_status().survives, 1);
    upkeep(&pool);
    assert_eq!(pool.upkeep_status().survives, 2);
    assert!(!pool.status().disks[6].spare);
    assert_eq!(state(&pool, "disk2"), DiskState::Retired);
    assert!(!shards(&spare).is_empty());
    for broken in [0, 6] {
        all[broken].set_broken(true);
        check(&pool, &filled);
    }
    assert!(pool.status().writable);
}

#[test]
fn a_disk_becomes_a_spare_and_one_like_the_others_again() {
    let env = SimEnv::new(9);
    let all = disks(&env, 4);
    let pool = new_pool(&env, &all, Layout { data: 2, parity: 1 });
    let filled = fill(&pool, 1);
    pool.copies_follow(pool.epoch());
    let full = all
        .iter()
        .position(|disk| !shards(disk).is_empty())
        .unwrap();
    let id = pool.find_disk(&format!("disk{full}")).unwrap();
    pool.set_spare(id, true).unwrap();
    upkeep(&pool);
    assert!(shards(&all[full]).is_empty());
    check(&pool, &filled);
    pool.set_spare(id, false).unwrap();
    assert!(!pool.status().disks[full].spare);
    drop(pool);
    check(&open(&env, &all).unwrap(), &filled);
}

#[test]
fn load_is_spread_until_disks_are_about_equally_full() {
    let env = SimEnv::new(10);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    all.iter().for_each(|disk| disk.set_capacity(40 << 20));
    let mut filled = Vec::new();
    for seed in 0..12 {
        let bytes = pattern(seed, 1 << 20);
        let address = append_synced(&pool, seed, &bytes).unwrap();
        filled.push((address, bytes));
        pool.seal(address.segment).unwrap();
    }
    assert_eq!(upkeep(&pool), 0, "nothing to be gained");
    let new = disk(&env, "new", 9);
    new.set_capacity(40 << 20);
    add(&pool, &new).unwrap();
    let moved = upkeep(&pool);
    assert!(moved > 0);
    assert!(upkeep(&pool) == 0, "it ends");
    assert_eq!(pool.upkeep_status().task, UpkeepTask::Idle);
    let free = |disk: &SimDevice| disk.space().unwrap().free >> 20;
    let frees = [free(&all[0]), free(&all[1]), free(&new)];
    let apart = frees.iter().max().unwrap() - frees.iter().min().unwrap();
    assert!(apart <= 4, "{frees:?}");
    check(&pool, &filled);
}
