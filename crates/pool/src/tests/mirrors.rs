use strongroom_device::sim::{Fault, Injection, Operation};

use super::*;
use crate::DiskState;

fn inject(disk: &SimDevice, operation: Operation, path: &str, times: u64) {
    let (path, fault) = (path.to_owned(), Fault::Io);
    disk.inject(Injection {
        operation,
        path,
        skip: 0,
        times,
        fault,
    });
}

#[test]
fn any_one_disk_of_two_and_any_two_of_three_may_be_missing() {
    for (count, layout) in [(2, Layout::MIRROR), (3, THREE_WAY)] {
        for kept in 0..count {
            let env = SimEnv::new(kept as u64);
            let all = disks(&env, count);
            let pool = new_pool(&env, &all, layout);
            let bytes = pattern(3, 300_000);
            let address = append_synced(&pool, 1, &bytes).unwrap();
            drop(pool);
            let pool = open(&env, &[Arc::clone(&all[kept])]).unwrap();
            assert_eq!(read(&pool, address, bytes.len()).unwrap(), bytes);
            pool.begin_epoch(Txg(1), &[]).unwrap();
            let more = append_synced(&pool, 2, &bytes).unwrap();
            assert_eq!(read(&pool, more, bytes.len()).unwrap(), bytes);
            assert_eq!(pool.homes("log").len(), layout.width());
        }
    }
}

#[test]
fn a_bad_copy_is_read_around_and_repaired() {
    for (count, layout) in [(2, Layout::MIRROR), (3, THREE_WAY)] {
        let env = SimEnv::new(1);
        let all = disks(&env, count);
        let pool = new_pool(&env, &all, layout);
        let bytes = pattern(1, 50_000);
        let address = append_synced(&pool, 1, &bytes).unwrap();
        let first = all
            .iter()
            .find(|disk| shard_file(disk).ends_with(".0.0"))
            .unwrap();
        let path = shard_file(first);
        let sound = first.contents(&path).unwrap();
        assert!(first.flip(&path, 4096 + 20_000, 0x10));
        assert_eq!(read(&pool, address, bytes.len()).unwrap(), bytes);
        assert!(first.contents(&path).unwrap() == sound);
        let status = pool.status();
        assert_eq!((status.bad_fragments, status.repaired_fragments), (1, 1));
        assert!(status.writable);
    }
}

#[test]
fn an_unreadable_sector_is_read_around_and_rewritten() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let bytes = pattern(1, 50_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    inject(&all[0], Operation::Read, "segments", 1);
    assert_eq!(read(&pool, address, bytes.len()).unwrap(), bytes);
    assert_eq!(pool.status().repaired_fragments, 1);
    assert_eq!(pool.status().disks[0].state, DiskState::Member);
}

#[test]
fn a_failed_write_or_sync_sets_the_disk_aside_under_a_new_epoch() {
    for operation in [Operation::Write, Operation::Sync, Operation::Create] {
        let env = SimEnv::new(1);
        let all = disks(&env, 2);
        let pool = new_pool(&env, &all, Layout::MIRROR);
        let first = pool.epoch();
        inject(&all[1], operation, "segments", 1);
        let bytes = pattern(1, 50_000);
        let address = append_synced(&pool, 1, &bytes).unwrap();
        assert_ne!(pool.epoch(), first);
        let last = pool.last_epoch().unwrap();
        assert_eq!(
            (last.parent, last.members.len(), last.absent.len()),
            (first, 1, 1)
        );
        assert_eq!(pool.status().disks[1].state, DiskState::SetAside);
        let next = append_synced(&pool, 2, &bytes).unwrap();
        let lost_its_mirror = operation != Operation::Create;
        assert_eq!(
            next.segment != address.segment,
            lost_its_mirror,
            "it takes no more then"
        );
        assert_eq!(read(&pool, next, bytes.len()).unwrap(), bytes);
        drop(pool);
        // The disk that failed comes back sound, but it missed the epoch.
        let pool = open(&env, &all).unwrap();
        assert_eq!(pool.status().disks[1].state, DiskState::Stale);
        assert_eq!(read(&pool, address, bytes.len()).unwrap(), bytes);
        let alone = open(&env, &[Arc::clone(&all[1])]);
        assert!(
            alone.is_ok(),
            "by itself nothing tells it from the whole pool"
        );
    }
}

#[test]
fn the_last_copy_is_never_set_aside_but_writing_stops() {
    let env = SimEnv::new(1);
    let all = disks(&env, 1);
    let pool = new_pool(&env, &all, Layout::SINGLE);
    let address = append_synced(&pool, 1, b"kept").unwrap();
    append_one(&pool, 2, b"doubtful").unwrap();
    inject(&all[0], Operation::Sync, "segments", 1);
    let error = pool.sync_segments(&[address.segment]).unwrap_err();
    assert!(matches!(error, PoolError::WritingStopped { .. }), "{error}");
    assert!(matches!(
        pool.sync_segments(&[]),
        Err(PoolError::WritingStopped { .. })
    ));
    assert!(matches!(
        append_one(&pool, 3, b"x"),
        Err(PoolError::WritingStopped { .. })
    ));
    assert_eq!(read(&pool, address, 4).unwrap(), b"kept");
    assert!(!pool.status().writable);
}

#[test]
fn a_broken_disk_never_hurts_reads_and_is_set_aside_by_the_repair() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let bytes = pattern(1, 50_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    all[0].set_broken(true);
    assert_eq!(read(&pool, address, bytes.len()).unwrap(), bytes);
    assert_eq!(pool.status().disks[0].state, DiskState::SetAside);
    append_synced(&pool, 2, &bytes).unwrap();
}

#[test]
fn a_disk_that_is_told_of_is_set_aside_once() {
    let env = SimEnv::new(1);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, THREE_WAY);
    let why = strongroom_device::DeviceError::Io {
        device: "disk2".into(),
        operation: "sync",
        path: "log/2/0".into(),
        message: "failed".into(),
    };
    let device = |number: usize| Arc::clone(&all[number]) as Arc<dyn Device>;
    pool.set_aside(&device(2), &why).unwrap();
    let epoch = pool.epoch();
    pool.set_aside(&device(2), &why).unwrap();
    assert_eq!(pool.epoch(), epoch);
    pool.set_aside(&device(1), &why).unwrap();
    let homes = pool.homes("log");
    assert!(homes.iter().all(|home| home.device.name() == "disk0") && homes.len() == 3);
    assert!(matches!(
        pool.set_aside(&device(0), &why),
        Err(PoolError::WritingStopped { .. })
    ));
}

#[test]
fn a_missing_shard_is_read_from_the_other_copy() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let bytes = pattern(1, 50_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    drop(pool);
    all[0].delete(&shard_file(&all[0])).unwrap();
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(1), &[]).unwrap();
    assert_eq!(read(&pool, address, bytes.len()).unwrap(), bytes);
}

fn fill(disk: &SimDevice, path: &str, times: u64) {
    disk.inject(Injection {
        operation: Operation::Write,
        path: path.to_owned(),
        skip: 0,
        times,
        fault: Fault::NoSpace,
    });
}

#[test]
fn an_epoch_that_finds_no_space_is_not_begun_and_no_disk_leaves() {
    let env = SimEnv::new(3);
    let all = disks(&env, 2);
    drop(new_pool(&env, &all, Layout::MIRROR));
    let pool = open(&env, &all).unwrap();
    fill(&all[1], "epochs.1", 1);
    let error = pool.begin_epoch(Txg(1), &[]).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::NoSpace);
    let members = |pool: &Pool| {
        let status = pool.status();
        let member = |disk: &&crate::DiskStatus| disk.state == DiskState::Member;
        status.disks.iter().filter(member).count()
    };
    assert_eq!(members(&pool), 2);
    pool.begin_epoch(Txg(1), &[]).unwrap();
    append_synced(&pool, 1, &pattern(1, 5000)).unwrap();
    drop(pool);
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(1), &[]).unwrap();
    assert_eq!(members(&pool), 2);
}

#[test]
fn writing_stops_when_a_full_disk_cannot_say_that_another_failed() {
    let env = SimEnv::new(4);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, THREE_WAY);
    fill(&all[1], "epochs", u64::MAX);
    all[0].set_broken(true);
    let error = append_synced(&pool, 1, &pattern(1, 5000)).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Offline, "{error}");
    assert!(!pool.status().writable);
    assert_eq!(pool.status().disks[1].state, DiskState::Member);
}
