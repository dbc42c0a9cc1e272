#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "tests"
)]

use std::sync::Arc;

use strongroom_device::sim::{Fault, Injection, Moment, Operation, Rng, SimDevice, SimEnv};
use strongroom_device::{Device, Env};
use strongroom_pool::Txg;

use super::{Index, IndexOptions, PageHome, RedbIndex};
use crate::rows::{SETTINGS, number_key};
use crate::{Result, StoreError, Table};

const OPTIONS: IndexOptions = IndexOptions {
    cache: 1 << 20,
    readers: 0,
    cipher: None,
};

/// Two copies on two simulated disks.
struct Disks(Arc<SimEnv>, Vec<Arc<SimDevice>>);

impl Disks {
    fn new(env: &Arc<SimEnv>) -> Self {
        let disk = |n| SimDevice::new(env, &format!("disk{n}"), n);
        Self(Arc::clone(env), (0..2).map(disk).collect())
    }

    fn homes(&self) -> Vec<PageHome> {
        let home = |(device, n): (&Arc<SimDevice>, usize)| PageHome {
            device: Arc::clone(device) as Arc<dyn Device>,
            dir: format!("index/{n}"),
        };
        self.1.iter().zip(0..).map(home).collect()
    }

    fn create(&self) -> Result<Arc<RedbIndex>> {
        let env = Arc::clone(&self.0) as Arc<dyn Env>;
        RedbIndex::create(env, self.homes(), Arc::new(|_, _| true), OPTIONS)
    }

    fn open(&self) -> Result<Arc<RedbIndex>> {
        let env = Arc::clone(&self.0) as Arc<dyn Env>;
        RedbIndex::open(env, self.homes(), Arc::new(|_, _| true), OPTIONS)
    }

    fn reopen(&self) -> Self {
        let disks = self.1.iter().map(|disk| disk.reopen()).collect();
        Self(Arc::clone(&self.0), disks)
    }
}

/// Writes group `txg`: rows spread over the tree, all of which say `txg`.
fn step(index: &dyn Index, txg: u64) -> Result<()> {
    index.write(&mut |write| {
        for n in 0..40_u64 {
            let key = number_key(n * 7919 % 4096);
            write.insert(SETTINGS, &key, &value(txg, n), &mut Vec::new())?;
        }
        write.insert(Table(1), &number_key(txg), b"group", &mut Vec::new())?;
        write.set_last_txg(Txg(txg))
    })
}

fn value(txg: u64, n: u64) -> Vec<u8> {
    [txg.to_le_bytes(), n.to_le_bytes()].concat().repeat(12)
}

/// Every row must be of the group that the index says it holds.
fn check(index: &dyn Index) -> u64 {
    let snapshot = index.snapshot();
    let txg = snapshot.last_txg().0;
    let mut rows = 0;
    for n in 0..40_u64 {
        let found = snapshot
            .get(SETTINGS, &number_key(n * 7919 % 4096))
            .unwrap();
        rows += usize::from(found.is_some());
        assert!(
            found.is_none_or(|found| found == value(txg, n)),
            "row {n} at group {txg}"
        );
    }
    assert_eq!(rows, if txg == 0 { 0 } else { 40 });
    let mut groups = 0;
    snapshot
        .scan(Table(1), &[], None, &mut |_, _| {
            groups += 1;
            Ok(true)
        })
        .unwrap();
    assert_eq!(groups, txg);
    txg
}

#[test]
fn keeps_rows_over_a_restart() {
    let disks = Disks::new(&SimEnv::new(1));
    let index = disks.create().unwrap();
    for txg in 1..=5 {
        step(&*index, txg).unwrap();
    }
    assert_eq!(check(&*index), 5);
    drop(index);
    assert_eq!(check(&*disks.reopen().open().unwrap()), 5);
}

#[test]
fn a_failed_change_leaves_nothing() {
    let disks = Disks::new(&SimEnv::new(1));
    let index = disks.create().unwrap();
    step(&*index, 1).unwrap();
    let failed = index.write(&mut |write| {
        write.insert(SETTINGS, b"x", b"y", &mut Vec::new())?;
        Err(StoreError::Closed)
    });
    assert!(matches!(failed, Err(StoreError::Closed)));
    assert_eq!(index.snapshot().get(SETTINGS, b"x").unwrap(), None);
    step(&*index, 2).unwrap();
    assert_eq!((check(&*index), index.status().reopened), (2, 0));
}

#[test]
fn a_snapshot_stays_and_is_known_while_it_is_held() {
    let disks = Disks::new(&SimEnv::new(1));
    let index = disks.create().unwrap();
    step(&*index, 1).unwrap();
    let held = index.snapshot();
    for txg in 2..=20 {
        step(&*index, txg).unwrap();
    }
    assert_eq!(
        held.get(SETTINGS, &number_key(0)).unwrap().unwrap(),
        value(1, 0)
    );
    assert_eq!(index.oldest_held().last_txg(), Txg(1));
    drop(held);
    let held = index.snapshot();
    index
        .write(&mut |write| {
            write
                .remove(Table(1), &number_key(1), &mut Vec::new())
                .map(drop)
        })
        .unwrap();
    let oldest = index.oldest_held();
    assert_eq!((oldest.last_txg(), index.last_txg()), (Txg(20), Txg(20)));
    assert!(oldest.get(Table(1), &number_key(1)).unwrap().is_some());
    drop((held, oldest));
    let oldest = index.oldest_held();
    assert!(oldest.get(Table(1), &number_key(1)).unwrap().is_none());
}

/// Runs groups until the power is cut at sync number `cut`; tells the last group that was acknowledged.
fn run_to_cut(seed: u64, cut: u64, moment: Moment) -> (Disks, u64, bool) {
    let env = SimEnv::new(seed);
    let disks = Disks::new(&env);
    env.cut_at_sync(cut, moment);
    let mut done = 0;
    let Ok(index) = disks.create() else {
        return (disks.reopen(), 0, true);
    };
    for txg in 1..=6 {
        if step(&*index, txg).is_err() {
            drop(index);
            return (disks.reopen(), done, true);
        }
        done = txg;
    }
    env.cut_power();
    drop(index);
    (disks.reopen(), done, false)
}

#[test]
fn a_power_cut_at_any_sync_leaves_an_exact_group() {
    for moment in [Moment::Before, Moment::During, Moment::After] {
        for cut in 0.. {
            let (disks, done, was_cut) = run_to_cut(cut + 77, cut, moment);
            let index = disks.create().unwrap();
            let found = check(&*index);
            assert!(
                found == done || found == done + 1,
                "cut {cut}: {found} after {done}"
            );
            step(&*index, found + 1).unwrap();
            check(&*index);
            if !was_cut {
                break;
            }
        }
    }
}

#[test]
fn a_skipped_page_sync_is_caught() {
    let lost = (0..60).any(|skip| {
        let env = SimEnv::new(skip);
        let disks = Disks::new(&env);
        env.skip_sync(skip);
        let index = disks.create().unwrap();
        (1..=6).for_each(|txg| step(&*index, txg).unwrap());
        env.cut_power();
        drop(index);
        let disks = disks.reopen();
        disks
            .open()
            .is_ok_and(|index| index.scrub(0..u64::MAX).is_ok() && index.status().pages.bad > 0)
    });
    assert!(lost, "the simulation does not notice a missing sync");
}

fn filled(env: &Arc<SimEnv>) -> Disks {
    let disks = Disks::new(env);
    let index = disks.create().unwrap();
    (1..=6).for_each(|txg| step(&*index, txg).unwrap());
    drop(index);
    disks.reopen()
}

#[test]
fn flips_in_one_copy_are_read_around_and_repaired() {
    let mut rng = Rng::new(5);
    for round in 0..40 {
        let disks = filled(&SimEnv::new(round));
        let disk = &disks.1[rng.below(2)];
        let path = disk
            .paths()
            .into_iter()
            .find(|path| path.contains("pages"))
            .unwrap();
        let len = disk.contents(&path).unwrap().len();
        for _ in 0..200 {
            disk.flip(&path, rng.below(len) as u64, 1 << rng.below(8));
        }
        let index = disks.open().unwrap();
        assert_eq!(check(&*index), 6);
        index.scrub(0..u64::MAX).unwrap();
        let status = index.status().pages;
        assert!(
            status.repaired > 0 && status.repaired == status.bad && status.lost == 0,
            "{status:?}"
        );
        index.scrub(0..u64::MAX).unwrap();
        assert_eq!(index.status().pages, status, "repaired once, good for ever");
    }
}

#[test]
fn flips_in_the_records_of_one_copy_are_harmless() {
    let mut rng = Rng::new(6);
    for round in 0..40 {
        let disks = filled(&SimEnv::new(round));
        let n = rng.below(2);
        for area in 0..2 {
            let path = format!("index/{n}/sums.{area}");
            let len = disks.1[n].contents(&path).unwrap().len();
            for _ in 0..5 {
                disks.1[n].flip(&path, rng.below(len.max(1)) as u64, 1 << rng.below(8));
            }
        }
        let index = disks.open().unwrap();
        assert_eq!(check(&*index), 6);
    }
}

#[test]
fn a_page_bad_on_both_copies_is_an_error_and_the_rest_goes_on() {
    let disks = filled(&SimEnv::new(3));
    let len = disks.1[0].contents("index/0/pages").unwrap().len() as u64;
    let index = disks.open().unwrap();
    check(&*index);
    drop(index);
    let mut errors = 0;
    for page in 1..len / 4096 {
        let copies = disks.1.iter().map(|disk| disk.duplicate("copy")).collect();
        let disks = Disks(Arc::clone(&disks.0), copies);
        for n in 0..2 {
            disks.1[n].flip(&format!("index/{n}/pages"), page * 4096 + 17, 4);
        }
        let Ok(index) = disks.open() else {
            errors += 1;
            continue;
        };
        let snapshot = index.snapshot();
        for n in 0..40_u64 {
            match snapshot.get(SETTINGS, &number_key(n * 7919 % 4096)) {
                Ok(found) => assert_eq!(found.unwrap(), value(6, n)),
                Err(StoreError::Corrupt { .. }) => errors += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(errors > 0);
}

#[test]
fn a_missing_copy_is_made_anew() {
    let env = SimEnv::new(3);
    let mut disks = filled(&env);
    disks.1[0] = SimDevice::new(&env, "new", 9);
    let index = disks.open().unwrap();
    assert_eq!(check(&*index), 6);
    drop(index);
    disks = disks.reopen();
    disks.1[1] = SimDevice::new(&env, "newer", 10);
    assert_eq!(check(&*disks.open().unwrap()), 6);
}

#[test]
fn a_copy_that_missed_groups_is_brought_level() {
    let env = SimEnv::new(3);
    let disks = filled(&env);
    let index = disks.open().unwrap();
    disks.1[0].set_broken(true);
    (7..=9).for_each(|txg| step(&*index, txg).unwrap());
    assert_eq!(index.status().pages.copies_good, 1);
    drop(index);
    disks.1[0].set_broken(false);
    let disks = disks.reopen();
    assert_eq!(check(&*disks.open().unwrap()), 9);
    disks.1[1].set_broken(true);
    assert_eq!(check(&*disks.open().unwrap()), 9);
}

#[test]
fn goes_on_after_a_full_disk() {
    let disks = filled(&SimEnv::new(3));
    let index = disks.open().unwrap();
    let held = index.snapshot();
    disks.1[0].inject(Injection {
        operation: Operation::Write,
        path: "pages".into(),
        skip: 0,
        times: 1,
        fault: Fault::NoSpace,
    });
    // One retry on the reopened index is part of the write, so a fault that passes is not noticed.
    step(&*index, 7).unwrap();
    assert_eq!(check(&*index), 7);
    assert!(index.status().reopened > 0);
    assert!(held.get(SETTINGS, &number_key(0)).is_ok());
}

#[test]
fn refuses_a_newer_format() {
    let disks = filled(&SimEnv::new(3));
    for n in 0..2 {
        for area in 0..2 {
            let path = format!("index/{n}/sums.{area}");
            let mut bytes = disks.1[n].contents(&path).unwrap();
            if bytes.len() > 8 {
                bytes[4] = 99;
                disks.1[n].replace(&path, &bytes);
            }
        }
    }
    assert!(matches!(
        disks.open(),
        Err(StoreError::Newer { found: 99, .. })
    ));
}

/// Homes on these disks, in order.
fn homes_on(disks: &[(&Arc<SimDevice>, u8)]) -> Vec<PageHome> {
    let home = |(device, n): &(&Arc<SimDevice>, u8)| PageHome {
        device: Arc::clone(device) as Arc<dyn Device>,
        dir: format!("index/{n}"),
    };
    disks.iter().map(home).collect()
}

#[test]
fn a_copy_begun_while_the_index_runs_is_whole() {
    let env = SimEnv::new(3);
    let mut disks = filled(&env);
    let index = disks.open().unwrap();
    let third = SimDevice::new(&env, "third", 9);
    // What an earlier life of the disk left there claims to be newer.
    let other = filled(&SimEnv::new(4));
    for name in ["pages", "sums.0", "sums.1"] {
        let bytes = other.1[0].contents(&format!("index/0/{name}")).unwrap();
        third.create(&format!("index/0/{name}"), 0).unwrap();
        third.replace(&format!("index/0/{name}"), &bytes);
    }
    let homes = homes_on(&[(&third, 0), (&disks.1[1], 1)]);
    index.rehome(homes.clone()).unwrap();
    assert_eq!(index.status().pages.copies_good, 2);
    let before = disks.1[0].operations();
    step(&*index, 7).unwrap();
    index.rehome(homes).unwrap();
    assert_eq!(
        disks.1[0].operations(),
        before,
        "the old copy is left alone"
    );
    assert_eq!(check(&*index), 7);
    drop(index);
    env.cut_power();
    disks.1[0] = third;
    let disks = disks.reopen();
    disks.1[1].set_broken(true);
    assert_eq!(
        check(&*disks.open().unwrap()),
        7,
        "the new copy alone is enough"
    );
}

#[test]
fn a_copy_that_finds_no_space_is_begun_again_later_and_holds_up_nothing() {
    let env = SimEnv::new(3);
    let disks = filled(&env);
    let index = disks.open().unwrap();
    let third = SimDevice::new(&env, "third", 9);
    third.inject(Injection {
        operation: Operation::Write,
        path: "pages".into(),
        skip: 2,
        times: 1,
        fault: Fault::NoSpace,
    });
    let homes = homes_on(&[(&third, 0), (&disks.1[1], 1)]);
    assert!(matches!(
        index.rehome(homes.clone()),
        Err(StoreError::NoSpace)
    ));
    step(&*index, 7).unwrap();
    assert_eq!(index.status().reopened, 0);
    index.rehome(homes).unwrap();
    assert_eq!((check(&*index), index.status().pages.copies_good), (7, 2));
    drop(index);
    let third = Disks(Arc::clone(&env), vec![third.reopen(), disks.1[1].reopen()]);
    third.1[1].set_broken(true);
    assert_eq!(check(&*third.open().unwrap()), 7);
}

#[test]
fn a_power_cut_while_a_copy_is_begun_loses_nothing() {
    for cut in 0..12 {
        let env = SimEnv::new(cut);
        let disks = filled(&env);
        let index = disks.open().unwrap();
        let third = SimDevice::new(&env, "third", 9);
        env.cut_at_sync(env.syncs() + cut, Moment::During);
        let homes = homes_on(&[(&third, 0), (&disks.1[1], 1)]);
        let homed = index.rehome(homes);
        drop(index);
        env.cut_power();
        let disks = Disks(Arc::clone(&env), vec![third.reopen(), disks.1[1].reopen()]);
        assert_eq!(check(&*disks.open().unwrap()), 6);
        if homed.is_ok() {
            disks.1[1].set_broken(true);
            assert_eq!(check(&*disks.open().unwrap()), 6);
        }
    }
}
