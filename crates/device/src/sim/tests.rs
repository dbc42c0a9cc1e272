use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::{Device, DeviceError, Env, EnvExt};

fn disk(seed: u64) -> (Arc<SimEnv>, Arc<SimDevice>) {
    let env = SimEnv::new(seed);
    let device = SimDevice::new(&env, "disk", 1);
    (env, device)
}

fn inject(device: &SimDevice, operation: Operation, skip: u64, fault: Fault) {
    device.inject(Injection {
        operation,
        path: String::new(),
        skip,
        times: 1,
        fault,
    });
}

#[test]
fn synced_bytes_survive_every_cut() {
    for seed in 0..50 {
        let (env, device) = disk(seed);
        let file = device.create("d/f", 0).unwrap();
        file.write_at(0, &[7; 5000]).unwrap();
        file.sync().unwrap();
        device.sync_dir("d").unwrap();
        file.write_at(5000, &[9; 5000]).unwrap();
        env.cut_power();
        assert!(file.read_at(0, &mut [0]).is_err());
        let bytes = device.reopen().contents("d/f").unwrap();
        assert_eq!(bytes[..5000], [7; 5000]);
        assert!(bytes[5000..].iter().all(|&byte| byte == 9 || byte == 0));
    }
}

#[test]
fn unsynced_writes_are_lost_torn_or_kept() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let (env, device) = disk(seed);
        let file = device.create("f", 0).unwrap();
        device.sync_dir("").unwrap();
        file.write_at(0, &[1; 2048]).unwrap();
        env.cut_power();
        let bytes = device.reopen().contents("f").unwrap();
        let kept = bytes.iter().filter(|&&byte| byte == 1).count();
        assert_eq!(kept % 512, 0);
        seen.insert(kept);
    }
    assert!(
        seen.contains(&0) && seen.contains(&2048) && seen.len() > 2,
        "{seen:?}"
    );
}

#[test]
fn unsynced_names_may_vanish_or_come_back() {
    let outcomes: std::collections::BTreeSet<(bool, bool)> = (0..60)
        .map(|seed| {
            let (env, device) = disk(seed);
            device.create("old", 0).unwrap();
            device.sync_dir("").unwrap();
            device.create("new", 0).unwrap();
            device.delete("old").unwrap();
            env.cut_power();
            let after = device.reopen();
            (
                after.contents("old").is_some(),
                after.contents("new").is_some(),
            )
        })
        .collect();
    assert_eq!(outcomes.len(), 4);
}

#[test]
fn a_planned_cut_comes_at_its_sync() {
    for (moment, expected) in [(Moment::Before, 0), (Moment::After, 100)] {
        let (env, device) = disk(3);
        let file = device.create("f", 0).unwrap();
        device.sync_dir("").unwrap();
        env.cut_at_sync(1, moment);
        file.write_at(0, &[1; 100]).unwrap();
        assert!(file.sync().is_err());
        assert!(device.list("").is_err());
        assert_eq!(device.reopen().contents("f").unwrap().len(), expected);
        assert_eq!(env.syncs(), 2);
    }
}

#[test]
fn a_skipped_sync_loses_data() {
    let lost = (0..20).any(|seed| {
        let (env, device) = disk(seed);
        let file = device.create("f", 0).unwrap();
        device.sync_dir("").unwrap();
        env.skip_sync(1);
        file.write_at(0, &[1; 100]).unwrap();
        file.sync().unwrap();
        env.cut_power();
        device.reopen().contents("f").unwrap().is_empty()
    });
    assert!(lost);
}

#[test]
fn a_failed_sync_drops_dirty_pages_and_latches() {
    let (env, device) = disk(1);
    let file = device.create("f", 0).unwrap();
    device.sync_dir("").unwrap();
    file.write_at(0, &[1; 100]).unwrap();
    inject(&device, Operation::Sync, 0, Fault::Io);
    assert!(file.sync().is_err());
    assert!(file.sync().is_err());
    env.cut_power();
    assert!(device.reopen().contents("f").unwrap().is_empty());
}

#[test]
fn faults_come_at_the_operation_they_are_planned_for() {
    let (_env, device) = disk(1);
    let file = device.create("f", 0).unwrap();
    inject(&device, Operation::Write, 1, Fault::NoSpace);
    file.write_at(0, b"a").unwrap();
    assert!(matches!(
        file.write_at(1, b"b"),
        Err(DeviceError::NoSpace { .. })
    ));
    file.write_at(1, b"b").unwrap();
    device.set_broken(true);
    assert!(matches!(device.list(""), Err(DeviceError::Io { .. })));
}

#[test]
fn a_full_disk_refuses_growth_and_deletion_helps() {
    let (_env, device) = disk(1);
    device.set_capacity(8192);
    let file = device.create("f", 0).unwrap();
    file.write_at(0, &[1; 8192]).unwrap();
    assert!(matches!(
        file.write_at(8192, b"x"),
        Err(DeviceError::NoSpace { .. })
    ));
    file.write_at(0, b"overwritten").unwrap();
    file.punch(0, 4096).unwrap();
    assert_eq!(device.space().unwrap().free, 4096);
    device.delete("f").unwrap();
    assert_eq!(device.space().unwrap().free, 8192);
}

#[test]
fn tasks_run_in_virtual_time() {
    let env = SimEnv::new(5);
    let count = Arc::new(AtomicU64::new(0));
    let (ticker, counter) = (Arc::clone(&env), Arc::clone(&count));
    env.spawn(
        "ticker",
        Box::pin(async move {
            for _ in 0..10 {
                ticker.sleep(Duration::from_secs(60)).await;
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }),
    );
    env.advance(Duration::from_secs(150));
    assert_eq!(count.load(Ordering::Relaxed), 2);
    env.block_on(env.sleep(Duration::from_secs(3600)));
    assert_eq!(count.load(Ordering::Relaxed), 10);
    assert_eq!(env.block_on(env.run_blocking(|| 42)), 42);
    assert_eq!(env.monotonic(), Duration::from_secs(3750));
}

fn trace_of(seed: u64) -> u64 {
    let (env, device) = disk(seed);
    for index in 0..5u64 {
        let (env, device) = (Arc::clone(&env), Arc::clone(&device));
        let task_env = Arc::clone(&env);
        env.spawn(
            "writer",
            Box::pin(async move {
                let file = device.create(&format!("f{index}"), 0).unwrap();
                for _ in 0..5 {
                    let random = task_env.random_u64();
                    task_env.sleep(Duration::from_micros(random % 100)).await;
                    file.write_at(random % 1000, &random.to_le_bytes()).unwrap();
                }
            }),
        );
    }
    env.advance(Duration::from_secs(1));
    env.cut_power();
    let survivors = device.reopen();
    for path in survivors.paths() {
        env.trace(&path, &[survivors.contents(&path).unwrap().len() as u64]);
    }
    env.trace_hash()
}

#[test]
fn one_seed_gives_one_trace() {
    assert_eq!(trace_of(7), trace_of(7));
    assert_ne!(trace_of(7), trace_of(8));
}

#[test]
fn a_lost_write_is_seen_until_the_power_goes() {
    let (env, device) = disk(1);
    let file = device.create("f", 0).unwrap();
    device.sync_dir("").unwrap();
    file.write_at(0, &[1; 100]).unwrap();
    file.sync().unwrap();
    inject(&device, Operation::Write, 0, Fault::Lost);
    file.write_at(50, &[2; 100]).unwrap();
    file.sync().unwrap();
    assert_eq!(device.contents("f").unwrap()[50..150], [2; 100]);
    env.cut_power();
    let bytes = device.reopen().contents("f").unwrap();
    assert_eq!(bytes[..100], [1; 100]);
    assert_eq!(bytes[100..], [0; 50]);
}

#[test]
fn a_misdirected_write_destroys_something_else() {
    let (env, device) = disk(1);
    let (file, other) = (
        device.create("f", 0).unwrap(),
        device.create("g", 0).unwrap(),
    );
    device.sync_dir("").unwrap();
    other.write_at(0, &[7; 4096]).unwrap();
    other.sync().unwrap();
    inject(&device, Operation::Write, 0, Fault::Misdirected);
    file.write_at(0, &[1; 100]).unwrap();
    file.sync().unwrap();
    env.cut_power();
    let after = device.reopen();
    assert_eq!(after.contents("f").unwrap(), [0; 100]);
    assert_eq!(
        after.contents("g").unwrap()[..101],
        [[1; 100].as_slice(), &[7]].concat()
    );
}

#[test]
fn a_lying_disk_keeps_nothing_for_sure() {
    let lost = (0..20).any(|seed| {
        let (env, device) = disk(seed);
        let file = device.create("f", 0).unwrap();
        device.sync_dir("").unwrap();
        device.set_lying(true);
        file.write_at(0, &[1; 100]).unwrap();
        file.sync().unwrap();
        env.cut_power();
        device.reopen().contents("f").unwrap().is_empty()
    });
    assert!(lost);
}

#[test]
fn a_wrong_bit_is_read_once() {
    let (_env, device) = disk(1);
    let file = device.create("f", 0).unwrap();
    file.write_at(0, &[0; 100]).unwrap();
    inject(&device, Operation::Read, 0, Fault::Flip);
    let mut buffer = [0; 100];
    file.read_at(0, &mut buffer).unwrap();
    assert_eq!(buffer.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    file.read_at(0, &mut buffer).unwrap();
    assert_eq!(buffer, [0; 100]);
}

#[test]
fn slow_and_hung_disks_take_virtual_time() {
    let (env, device) = disk(1);
    inject(
        &device,
        Operation::Create,
        0,
        Fault::Slow(Duration::from_secs(2)),
    );
    inject(
        &device,
        Operation::List,
        0,
        Fault::Hang(Duration::from_secs(30)),
    );
    device.create("f", 0).unwrap();
    assert_eq!(env.monotonic(), Duration::from_secs(2));
    assert!(device.list("").is_err());
    assert_eq!(env.monotonic(), Duration::from_secs(32));
}

#[test]
fn a_planned_cut_comes_at_its_operation() {
    let (env, device) = disk(1);
    env.cut_at_operation(1);
    let file = device.create("f", 0).unwrap();
    assert!(file.write_at(0, b"x").is_err());
    assert!(device.list("").is_err());
    assert_eq!(env.cuts(), 1);
}

#[test]
fn a_new_name_comes_and_the_old_one_goes_in_one() {
    let outcomes: std::collections::BTreeSet<bool> = (0..40)
        .map(|seed| {
            let (env, device) = disk(seed);
            let file = device.create("d/old", 0).unwrap();
            file.write_at(0, b"kept").unwrap();
            file.sync().unwrap();
            device.sync_dir("d").unwrap();
            device.rename("d/old", "d/new").unwrap();
            assert_eq!(device.paths(), ["d/new"]);
            env.cut_power();
            let after = device.reopen();
            let paths = after.paths();
            assert_eq!(paths.len(), 1, "{paths:?}");
            assert_eq!(after.contents(&paths[0]).unwrap(), b"kept");
            paths[0] == "d/new"
        })
        .collect();
    assert_eq!(outcomes.len(), 2, "both happen");
}

#[test]
fn a_synced_new_name_survives_and_takes_the_place_of_another_file() {
    for seed in 0..20 {
        let (env, device) = disk(seed);
        for (path, bytes) in [("old", b"first"), ("new", b"other")] {
            let file = device.create(path, 0).unwrap();
            file.write_at(0, bytes).unwrap();
            file.sync().unwrap();
        }
        device.rename("old", "new").unwrap();
        device.sync_dir("").unwrap();
        env.cut_power();
        let after = device.reopen();
        assert_eq!(after.paths(), ["new"]);
        assert_eq!(after.contents("new").unwrap(), b"first");
    }
    let (_, device) = disk(1);
    let missing = device.rename("a", "b");
    assert!(matches!(missing, Err(DeviceError::NotFound { .. })));
}
