use std::path::Path;

use strongroom_device::RealDevice;
use strongroom_device::sim::{Fault, Injection, Operation};

use super::*;

fn real_devices(env: &Arc<SimEnv>, dirs: &[&Path]) -> Vec<Arc<dyn Device>> {
    let open = |dir: &&Path| RealDevice::open(as_env(env), dir).unwrap() as Arc<dyn Device>;
    dirs.iter().map(open).collect()
}

fn round_trip(env: &Arc<SimEnv>, dirs: &[&Path], layout: Layout) {
    let pool = Pool::create(as_env(env), real_devices(env, dirs), layout).unwrap();
    assert!(pool.last_epoch().is_none());
    pool.begin_epoch(Txg(0), &[]).unwrap();
    let small = pattern(1, 3000);
    let large = pattern(2, 1 << 20);
    let first = append_synced(&pool, 1, &small).unwrap();
    let slices: Vec<&[u8]> = large.chunks(100_000).collect();
    let extents = [(tag(2, large.len()), slices.as_slice())];
    let second = pool.append(Lane::Stream(1), Txg(2), &extents).unwrap()[0];
    assert_ne!(first.segment, second.segment);
    assert_eq!(read(&pool, first, 3000).unwrap(), small);
    pool.close().unwrap();
    drop(pool);

    let pool = Pool::open(as_env(env), real_devices(env, dirs)).unwrap();
    assert_eq!(pool.last_epoch().unwrap().sequence, 1);
    pool.begin_epoch(Txg(2), &[]).unwrap();
    assert_eq!(read(&pool, first, 3000).unwrap(), small);
    assert_eq!(read(&pool, second, large.len()).unwrap(), large);
    for (start, len) in [
        (0, 1),
        (16_383, 2),
        (16_384, 16_384),
        (50_000, 70_001),
        (1_048_575, 1),
    ] {
        let mut bytes = vec![0; len];
        pool.read(second, u32::try_from(start).unwrap(), &mut bytes)
            .unwrap();
        assert_eq!(bytes, large[start..start + len]);
    }
}

#[test]
fn bytes_come_back_after_reopening_real_directories() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let env = SimEnv::new(1);
    round_trip(&env, &[dirs[0].path()], Layout::SINGLE);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    round_trip(&env, &[dirs[0].path(), dirs[1].path()], Layout::MIRROR);
}

#[test]
fn a_stripe_holds_many_extents_and_describes_them() {
    let env = SimEnv::new(1);
    let disks = disks(&env, 1);
    let pool = new_pool(&env, &disks, Layout::SINGLE);
    let bytes: Vec<Vec<u8>> = (0..256).map(|n| pattern(n, 4096)).collect();
    let slices: Vec<[&[u8]; 1]> = bytes.iter().map(|bytes| [bytes.as_slice()]).collect();
    let extents: Vec<(ExtentTag, &[&[u8]])> = slices
        .iter()
        .zip(0..)
        .map(|(slices, inode)| (tag(inode, 4096), slices.as_slice()))
        .collect();
    let addresses = pool.append(Lane::Small, Txg(9), &extents).unwrap();
    for (address, bytes) in addresses.iter().zip(&bytes) {
        assert_eq!(&read(&pool, *address, 4096).unwrap(), bytes);
    }
    let next = append_one(&pool, 1000, &[1; 5000]).unwrap();
    let stripes = pool.stripes(next.segment).unwrap();
    assert_eq!(stripes.len(), 2);
    assert_eq!(stripes[0].txg, Txg(9));
    let expected: Vec<_> = extents.iter().map(|(tag, _)| *tag).zip(addresses).collect();
    assert_eq!(stripes[0].extents, expected);
    assert_eq!(stripes[1].extents, [(tag(1000, 5000), next)]);
    assert_eq!(stripes[0].blocks, next.stripe);
}

#[test]
fn a_full_segment_is_sealed_and_another_opened() {
    let env = SimEnv::new(1);
    let disks = disks(&env, 1);
    let pool = new_pool(&env, &disks, Layout::SINGLE);
    let bytes = vec![5; 1 << 20];
    let addresses: Vec<Address> = (0..65)
        .map(|n| append_one(&pool, n, &bytes).unwrap())
        .collect();
    assert_eq!(addresses[0].segment, addresses[63].segment);
    assert_ne!(addresses[0].segment, addresses[64].segment);
    let segments = pool.segments().unwrap();
    assert_eq!(
        segments
            .iter()
            .map(|segment| segment.open)
            .collect::<Vec<_>>(),
        [false, true]
    );
    for n in 0..1001 {
        append_one(&pool, n, &[1]).unwrap();
    }
    assert_eq!(pool.segments().unwrap().len(), 3);
}

#[test]
fn appending_needs_an_epoch_and_sane_lengths() {
    let env = SimEnv::new(1);
    let disks = disks(&env, 1);
    let pool = Pool::create(as_env(&env), as_devices(&disks), Layout::SINGLE).unwrap();
    assert!(matches!(
        append_one(&pool, 1, b"x"),
        Err(PoolError::Invalid(_))
    ));
    pool.begin_epoch(Txg(0), &[]).unwrap();
    assert!(matches!(
        append_one(&pool, 1, b""),
        Err(PoolError::Invalid(_))
    ));
    let large = vec![0; (1 << 20) + 1];
    assert!(matches!(
        append_one(&pool, 1, &large),
        Err(PoolError::Invalid(_))
    ));
    let slices: &[&[u8]] = &[b"four"];
    let wrong = pool.append(Lane::Small, Txg(1), &[(tag(1, 5), slices)]);
    assert!(matches!(wrong, Err(PoolError::Invalid(_))));
}

#[test]
fn punching_gives_space_back_and_keeps_neighbours() {
    let env = SimEnv::new(1);
    let disks = disks(&env, 2);
    let pool = new_pool(&env, &disks, Layout::MIRROR);
    let (one, two) = (pattern(1, 100_000), pattern(2, 100_000));
    let first = append_synced(&pool, 1, &one).unwrap();
    let second = append_synced(&pool, 2, &two).unwrap();
    let before = pool.space().unwrap().raw_free;
    let blocks = pool.stripes(first.segment).unwrap()[0].blocks;
    pool.punch_stripe(first.segment, first.stripe, blocks)
        .unwrap();
    assert!(pool.space().unwrap().raw_free >= before + 2 * 96 * 1024);
    assert!(is_corrupt(&read(&pool, first, 10)));
    assert_eq!(read(&pool, second, two.len()).unwrap(), two);
    let stripes = pool.stripes(first.segment).unwrap();
    assert_eq!(
        stripes
            .iter()
            .map(|stripe| stripe.punched)
            .collect::<Vec<_>>(),
        [true, false]
    );
    assert_eq!(pool.status().repaired_fragments, 0);
    pool.punch_stripe(first.segment, first.stripe, blocks)
        .unwrap();
    pool.delete_segment(first.segment).unwrap();
    assert!(matches!(
        read(&pool, second, 1),
        Err(PoolError::NoSegment { .. })
    ));
    assert!(
        !disks[0]
            .paths()
            .iter()
            .any(|path| path.starts_with("segments/"))
    );
}

#[test]
fn a_full_disk_refuses_an_append_and_the_pool_goes_on() {
    let env = SimEnv::new(1);
    let disks = disks(&env, 2);
    let pool = new_pool(&env, &disks, Layout::MIRROR);
    let kept = append_synced(&pool, 1, &pattern(1, 5000)).unwrap();
    let fault = Fault::NoSpace;
    let path = "segments".to_owned();
    disks[1].inject(Injection {
        operation: Operation::Write,
        path,
        skip: 0,
        times: 1,
        fault,
    });
    let refused = append_one(&pool, 2, &pattern(2, 50_000)).unwrap_err();
    assert_eq!(refused.kind(), crate::ErrorKind::NoSpace);
    let next = append_synced(&pool, 3, &pattern(3, 5000)).unwrap();
    assert_eq!(read(&pool, kept, 5000).unwrap(), pattern(1, 5000));
    assert_eq!(read(&pool, next, 5000).unwrap(), pattern(3, 5000));
    // No other stripe is put where the refused one may lie on some disks.
    assert_eq!(pool.stripes(kept.segment).unwrap().len(), 1);
    assert_ne!(next.segment, kept.segment);
}

#[test]
fn homes_are_two_at_least_and_on_different_disks_first() {
    let env = SimEnv::new(1);
    let homes = |count, layout| {
        let pool = new_pool(&env, &disks(&env, count), layout);
        let homes = pool.homes("log");
        homes
            .iter()
            .map(|home| format!("{}:{}:{}", home.device.name(), home.dir, home.copy))
            .collect::<Vec<_>>()
    };
    assert_eq!(homes(1, Layout::SINGLE), ["disk0:log/0:0", "disk0:log/1:1"]);
    assert_eq!(homes(2, Layout::MIRROR), ["disk0:log/0:0", "disk1:log/1:1"]);
    assert_eq!(
        homes(3, THREE_WAY),
        ["disk0:log/0:0", "disk1:log/1:1", "disk2:log/2:2"]
    );
}

#[test]
fn lanes_append_side_by_side_from_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    let env = SimEnv::new(1);
    let pool = Pool::create(
        as_env(&env),
        real_devices(&env, &[dir.path()]),
        Layout::SINGLE,
    )
    .unwrap();
    pool.begin_epoch(Txg(0), &[]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..6u8 {
            let pool = &pool;
            scope.spawn(move || {
                for n in 0..30 {
                    let bytes = pattern(u64::from(thread) * 100 + n, 10_000);
                    let slices: &[&[u8]] = &[&bytes];
                    let extents = [(tag(n, bytes.len()), slices)];
                    let lane = Lane::Stream(thread);
                    let address = pool.append(lane, Txg(1), &extents).unwrap()[0];
                    pool.sync_segments(&[address.segment]).unwrap();
                    assert_eq!(read(pool, address, bytes.len()).unwrap(), bytes);
                }
            });
        }
    });
}

#[test]
fn few_open_files_serve_many_segments() {
    let env = SimEnv::new(1);
    let disks = disks(&env, 1);
    drop(new_pool(&env, &disks, Layout::SINGLE));
    let options = crate::OpenOptions {
        max_open_files: 8,
        max_cached_headers: 16,
        ..crate::OpenOptions::default()
    };
    let pool = Pool::open_with(as_env(&env), as_devices(&disks), options).unwrap();
    pool.begin_epoch(Txg(0), &[]).unwrap();
    let mut addresses = Vec::new();
    for n in 0..40 {
        let address = append_synced(&pool, n, &pattern(n, 5000)).unwrap();
        pool.seal(address.segment).unwrap();
        addresses.push(address);
    }
    assert_eq!(pool.segments().unwrap().len(), 40);
    let read_all = || {
        for (address, seed) in addresses.iter().zip(0..) {
            assert_eq!(read(&pool, *address, 5000).unwrap(), pattern(seed, 5000));
        }
    };
    (0..2).for_each(|_| read_all());
    assert!(pool.headers.len() <= 16);
    pool.set_cached_headers(1024);
    read_all();
    assert_eq!(pool.headers.len(), 40);
    // A smaller limit holds from the next insertion on, in each part.
    pool.set_cached_headers(16);
    for n in 40..140 {
        let address = append_synced(&pool, n, &pattern(n, 5000)).unwrap();
        assert_eq!(read(&pool, address, 5000).unwrap(), pattern(n, 5000));
    }
    assert!(pool.headers.len() <= 16);
}

#[test]
fn segments_that_stayed_empty_are_removed_at_the_next_opening() {
    let env = SimEnv::new(1);
    let disks = disks(&env, 1);
    let pool = new_pool(&env, &disks, Layout::SINGLE);
    let address = append_synced(&pool, 1, b"x").unwrap();
    drop(pool);
    disks[0].replace(&shard_file(&disks[0]), b"");
    let pool = open(&env, &disks).unwrap();
    pool.begin_epoch(Txg(0), &[]).unwrap();
    assert!(matches!(
        read(&pool, address, 1),
        Err(PoolError::NoSegment { .. })
    ));
    assert!(pool.segments().unwrap().is_empty());
}
