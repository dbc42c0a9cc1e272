//! Layouts with parity: every byte comes back whatever is lost within the budget.

use strongroom_device::sim::{Fault, Injection, Operation, Rng};

use super::*;
use crate::DiskState;

pub(super) const WIDE: Layout = Layout { data: 4, parity: 2 };

/// Extents of one stripe, with their bytes.
fn append_many(pool: &Pool, lane: Lane, bytes: &[Vec<u8>]) -> Vec<Address> {
    let slices: Vec<Vec<&[u8]>> = bytes
        .iter()
        .map(|bytes| bytes.chunks(30_001).collect())
        .collect();
    let extents: Vec<(ExtentTag, &[&[u8]])> = slices
        .iter()
        .zip(bytes)
        .zip(0..)
        .map(|((slices, bytes), inode)| (tag(inode, bytes.len()), slices.as_slice()))
        .collect();
    let addresses = pool.append(lane, Txg(3), &extents).unwrap();
    pool.sync_segments(&[addresses[0].segment]).unwrap();
    addresses
}

/// Stripes of several shapes.
pub(super) fn fill(pool: &Pool, seed: u64) -> Vec<(Address, Vec<u8>)> {
    let mut rng = Rng::new(seed);
    let mut all = Vec::new();
    for lengths in [
        vec![1],
        vec![4096],
        vec![65_536],
        vec![65_537],
        vec![3000, 60_000, 10_000, 64_000, 5],
        vec![1 << 20],
        vec![300_000, 70_000, 20_000],
    ] {
        let bytes: Vec<Vec<u8>> = lengths
            .into_iter()
            .map(|len| pattern(rng.next_u64(), len))
            .collect();
        let addresses = append_many(pool, Lane::Small, &bytes);
        all.extend(addresses.into_iter().zip(bytes));
    }
    all
}

pub(super) fn check(pool: &Pool, all: &[(Address, Vec<u8>)]) {
    let mut rng = Rng::new(9);
    for (address, bytes) in all {
        assert_eq!(&read(pool, *address, bytes.len()).unwrap(), bytes);
        for _ in 0..3 {
            let start = rng.below(bytes.len());
            let len = 1 + rng.below(bytes.len() - start);
            let mut part = vec![0; len];
            pool.read(*address, u32::try_from(start).unwrap(), &mut part)
                .unwrap();
            assert_eq!(part, bytes[start..start + len]);
        }
    }
}

fn pick(disks: &[Arc<SimDevice>], gone: &[usize]) -> Vec<Arc<SimDevice>> {
    let kept = (0..disks.len()).filter(|index| !gone.contains(index));
    kept.map(|index| Arc::clone(&disks[index])).collect()
}

#[test]
fn bytes_come_back_in_all_kinds_of_layouts() {
    for (data, parity) in [(2, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 2), (16, 4)] {
        let layout = Layout { data, parity };
        let env = SimEnv::new(1);
        let all = disks(&env, layout.width());
        let pool = new_pool(&env, &all, layout);
        let filled = fill(&pool, 1);
        check(&pool, &filled);
        assert_eq!(pool.homes("log").len(), layout.copies());
        drop(pool);
        let pool = open(&env, &all).unwrap();
        pool.begin_epoch(Txg(4), &[]).unwrap();
        check(&pool, &filled);
        assert_eq!(pool.status().bad_fragments, 0, "{layout}");
        let listed: usize = pool
            .segments()
            .unwrap()
            .iter()
            .map(|segment| pool.contents(segment.id).unwrap())
            .map(|contents| {
                assert!(contents.complete);
                contents
                    .stripes
                    .iter()
                    .map(|stripe| stripe.extents.len())
                    .sum::<usize>()
            })
            .sum();
        assert_eq!(listed, filled.len());
    }
}

#[test]
fn an_extent_that_fits_into_a_unit_lies_on_one_shard() {
    let env = SimEnv::new(1);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    for (address, bytes) in fill(&pool, 2) {
        let (first, last) = (
            address.offset,
            address.offset + u32::try_from(bytes.len()).unwrap() - 1,
        );
        if bytes.len() <= 65_536 {
            assert_eq!(first / 65_536, last / 65_536, "{} bytes", bytes.len());
        }
    }
}

#[test]
fn any_two_disks_of_four_and_two_may_be_missing() {
    let env = SimEnv::new(2);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let filled = fill(&pool, 3);
    drop(pool);
    for first in 0..6 {
        for second in first + 1..6 {
            let pool = open(&env, &pick(&all, &[first, second])).unwrap();
            check(&pool, &filled);
        }
    }
    let few = open(&env, &pick(&all, &[0, 1, 2]));
    assert!(matches!(
        few,
        Err(PoolError::NotEnoughDisks {
            needed: 4,
            present: 3,
            ..
        })
    ));
}

#[test]
fn disks_that_fail_under_way_are_set_aside_and_writers_go_on() {
    let env = SimEnv::new(3);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let mut filled = fill(&pool, 4);
    for broken in [1, 4] {
        all[broken].set_broken(true);
        check(&pool, &filled);
        filled.extend(fill(&pool, 5));
        check(&pool, &filled);
    }
    let status = pool.status();
    for index in [1, 4] {
        assert_eq!(status.disks[index].state, DiskState::SetAside);
    }
    assert!(status.writable);
    all[0].set_broken(true);
    let error = append_synced(&pool, 1, &pattern(1, 100_000)).unwrap_err();
    assert!(matches!(error, PoolError::WritingStopped { .. }), "{error}");
    drop(pool);
    all.iter().for_each(|disk| disk.set_broken(false));
    let pool = open(&env, &all).unwrap();
    check(&pool, &filled);
}

#[test]
fn a_read_repairs_up_to_two_bad_shards_of_a_stripe() {
    let env = SimEnv::new(4);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let bytes = pattern(1, 1 << 20);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    // A read does not look at parity while the data is good.
    let data: Vec<&Arc<SimDevice>> = all
        .iter()
        .filter(|disk| (0..4).any(|shard| shard_file(disk).ends_with(&format!(".{shard}.0"))))
        .collect();
    let len = data[0].contents(&shard_file(data[0])).unwrap().len();
    let mut rng = Rng::new(5);
    for _ in 0..60 {
        for _ in 0..2 {
            let disk = data[rng.below(4)];
            disk.flip(&shard_file(disk), rng.below(len) as u64, 1 << rng.below(8));
        }
        assert!(read(&pool, address, bytes.len()).unwrap() == bytes);
    }
    assert!(pool.status().repaired_fragments > 0);
}

#[test]
fn more_bad_shards_than_parity_are_an_error_and_never_wrong_bytes() {
    let env = SimEnv::new(5);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let bytes = pattern(1, 1 << 20);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    for disk in &all[..3] {
        assert!(disk.flip(&shard_file(disk), 5000, 1));
    }
    assert!(is_corrupt(&read(&pool, address, bytes.len())));
    assert_eq!(pool.status().lost_reads, 1);
}

#[test]
fn a_repeated_append_is_never_mixed_with_the_one_that_failed() {
    let env = SimEnv::new(6);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    append_synced(&pool, 1, &pattern(1, 9000)).unwrap();
    all[5].inject(Injection {
        operation: Operation::Write,
        path: "segments".to_owned(),
        skip: 0,
        times: 1,
        fault: Fault::NoSpace,
    });
    let bytes = pattern(3, 200_000);
    assert!(append_one(&pool, 2, &pattern(2, 200_000)).is_err());
    let address = append_synced(&pool, 2, &bytes).unwrap();
    assert_eq!(read(&pool, address, bytes.len()).unwrap(), bytes);
}

#[test]
fn a_full_disk_beside_others_with_room_is_passed_over() {
    let env = SimEnv::new(7);
    let all = disks(&env, 4);
    let pool = new_pool(&env, &all, Layout { data: 2, parity: 1 });
    let first = append_synced(&pool, 1, &pattern(1, 9000)).unwrap();
    let holder = all.iter().find(|disk| {
        disk.paths()
            .iter()
            .any(|path| path.starts_with("segments/"))
    });
    holder.unwrap().set_capacity(60_000);
    for n in 0..10 {
        let bytes = pattern(n, 200_000);
        let address = append_synced(&pool, n, &bytes).unwrap();
        assert_ne!(address.segment, first.segment);
        assert_eq!(read(&pool, address, bytes.len()).unwrap(), bytes);
    }
}

#[test]
fn punching_a_wide_stripe_gives_its_space_back() {
    let env = SimEnv::new(8);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let address = append_synced(&pool, 1, &pattern(1, 1 << 20)).unwrap();
    let next = append_synced(&pool, 2, &pattern(2, 1 << 20)).unwrap();
    let before = pool.space().unwrap().raw_free;
    let blocks = pool.stripes(address.segment).unwrap()[0].blocks;
    pool.punch_stripe(address.segment, address.stripe, blocks)
        .unwrap();
    assert!(pool.space().unwrap().raw_free >= before + (3 << 19) - 8192);
    assert!(is_corrupt(&read(&pool, address, 10)));
    assert_eq!(read(&pool, next, 1 << 20).unwrap(), pattern(2, 1 << 20));
    assert_eq!(pool.status().repaired_fragments, 0);
}
