use strongroom_device::sim::Moment;

use super::*;
use crate::ErrorKind;

/// What a run was told is durable.
#[derive(Debug, Default)]
struct Promises {
    created: bool,
    epochs: u32,
    extents: Vec<(Address, u64, usize)>,
}

/// Creates a pool, opens it twice and appends; stops at the first error.
fn run(env: &Arc<SimEnv>, all: &[Arc<SimDevice>], layout: Layout) -> (Promises, Result<()>) {
    let mut promises = Promises::default();
    let outcome = try_run(env, all, layout, &mut promises);
    (promises, outcome)
}

fn try_run(
    env: &Arc<SimEnv>,
    all: &[Arc<SimDevice>],
    layout: Layout,
    promises: &mut Promises,
) -> Result<()> {
    drop(Pool::create(as_env(env), as_devices(all), layout)?);
    promises.created = true;
    for round in 0..2u64 {
        let pool = open(env, all)?;
        pool.begin_epoch(Txg(round), &[])?;
        promises.epochs += 1;
        for n in 0..4 {
            let seed = round * 10 + n;
            let len = if n == 2 { 120_000 } else { 3000 };
            let address = append_one(&pool, seed, &pattern(seed, len))?;
            pool.sync_segments(&[address.segment])?;
            promises.extents.push((address, seed, len));
        }
        pool.close()?;
    }
    Ok(())
}

/// Everything promised is there after the power is back.
fn check(env: &Arc<SimEnv>, all: &[Arc<SimDevice>], layout: Layout, promises: &Promises) {
    let all: Vec<Arc<SimDevice>> = all.iter().map(|disk| disk.reopen()).collect();
    if !promises.created {
        let blank = all.iter().all(|disk| Pool::is_blank(&**disk).unwrap());
        assert!(blank, "a creation that was cut off can be repeated");
        new_pool(env, &all, layout);
        return;
    }
    let pool = open(env, &all).unwrap();
    let sequence = pool.last_epoch().map_or(0, |epoch| epoch.sequence);
    assert!(
        sequence >= promises.epochs,
        "{sequence} < {}",
        promises.epochs
    );
    for &(address, seed, len) in &promises.extents {
        assert_eq!(read(&pool, address, len).unwrap(), pattern(seed, len));
    }
    let status = pool.status();
    assert_eq!(
        status.repaired_fragments, 0,
        "what was synced is whole on every disk"
    );
    assert!(
        status
            .disks
            .iter()
            .all(|disk| disk.state == crate::DiskState::Member),
        "{status:?}"
    );
    let ends: Vec<_> = promises
        .extents
        .iter()
        .map(|(a, _, _)| (a.segment, u32::MAX))
        .collect();
    pool.begin_epoch(Txg(9), &ends).unwrap();
    let next = append_synced(&pool, 99, &pattern(99, 9000)).unwrap();
    assert_eq!(read(&pool, next, 9000).unwrap(), pattern(99, 9000));
    for &(address, seed, len) in &promises.extents {
        assert_eq!(read(&pool, address, len).unwrap(), pattern(seed, len));
    }
}

fn cut_everywhere(count: usize, layout: Layout) {
    let env = SimEnv::new(1);
    run(&env, &disks(&env, count), layout).1.unwrap();
    let syncs = env.syncs();
    assert!(syncs > 20, "{syncs}");
    for number in 0..syncs {
        for (moment, salt) in [(Moment::Before, 0), (Moment::During, 1), (Moment::After, 2)] {
            let env = SimEnv::new(number * 3 + salt);
            let all = disks(&env, count);
            env.cut_at_sync(number, moment);
            let (promises, outcome) = run(&env, &all, layout);
            assert!(outcome.is_err(), "the cut at sync {number} shows");
            check(&env, &all, layout, &promises);
        }
    }
}

#[test]
fn a_power_cut_at_any_sync_loses_nothing_promised() {
    cut_everywhere(1, Layout::SINGLE);
    cut_everywhere(2, Layout::MIRROR);
    cut_everywhere(3, THREE_WAY);
}

/// The harness must notice a sync that is left out, or it proves nothing.
#[test]
fn a_left_out_sync_of_a_segment_is_caught() {
    let env = SimEnv::new(1);
    let all = disks(&env, 1);
    run(&env, &all, Layout::SINGLE).1.unwrap();
    let caught = (0..env.syncs()).any(|skipped| {
        (0..3).any(|seed| {
            let env = SimEnv::new(seed);
            let all = disks(&env, 1);
            env.skip_sync(skipped);
            let (promises, outcome) = run(&env, &all, Layout::SINGLE);
            outcome.unwrap();
            env.cut_power();
            let all: Vec<_> = all.iter().map(|disk| disk.reopen()).collect();
            let Ok(pool) = open(&env, &all) else {
                return true;
            };
            promises.extents.iter().any(|&(address, seed, len)| {
                read(&pool, address, len).map_or(true, |back| back != pattern(seed, len))
            })
        })
    });
    assert!(caught);
}

fn trace(seed: u64) -> u64 {
    let env = SimEnv::new(seed);
    let all = disks(&env, 2);
    run(&env, &all, Layout::MIRROR).1.unwrap();
    env.cut_power();
    let all: Vec<_> = all.iter().map(|disk| disk.reopen()).collect();
    open(&env, &all).unwrap().begin_epoch(Txg(3), &[]).unwrap();
    env.trace_hash()
}

#[test]
fn one_seed_gives_one_trace() {
    assert_eq!(trace(11), trace(11));
    assert_ne!(trace(11), trace(12));
}

#[test]
fn what_lies_beyond_a_recorded_end_is_void() {
    let env = SimEnv::new(1);
    let all = disks(&env, 1);
    let pool = new_pool(&env, &all, Layout::SINGLE);
    let kept = append_synced(&pool, 1, &pattern(1, 5000)).unwrap();
    let void = append_synced(&pool, 2, &pattern(2, 5000)).unwrap();
    drop(pool);
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(1), &[(kept.segment, void.stripe)])
        .unwrap();
    for pool in [pool, open(&env, &all).unwrap()] {
        assert_eq!(read(&pool, kept, 5000).unwrap(), pattern(1, 5000));
        assert!(is_corrupt(&read(&pool, void, 5000)));
        assert_eq!(pool.stripes(kept.segment).unwrap().len(), 1);
        assert_eq!(
            pool.last_epoch().unwrap().segment_ends,
            [(kept.segment, void.stripe)]
        );
    }
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(2), &[]).unwrap();
    let next = append_synced(&pool, 3, &pattern(3, 5000)).unwrap();
    assert_ne!(
        next.segment, kept.segment,
        "a segment of an earlier opening takes no more"
    );
}

#[test]
fn an_epoch_that_only_some_members_have_was_never_begun() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    drop(new_pool(&env, &all, Layout::MIRROR));
    // The next record reaches both copies of the first disk and none of the second.
    let copies: Vec<_> = ["epochs.0", "epochs.1"]
        .map(|p| all[1].contents(p).unwrap())
        .into();
    open(&env, &all).unwrap().begin_epoch(Txg(1), &[]).unwrap();
    for (path, bytes) in ["epochs.0", "epochs.1"].into_iter().zip(&copies) {
        all[1].replace(path, bytes);
    }
    let pool = open(&env, &all).unwrap();
    assert!(
        pool.status()
            .disks
            .iter()
            .all(|disk| disk.state == crate::DiskState::Member)
    );
    pool.begin_epoch(Txg(2), &[]).unwrap();
    assert_eq!(all[0].contents("epochs.0"), all[1].contents("epochs.1"));
}

#[test]
fn a_full_disk_cannot_begin_an_epoch_and_says_so() {
    let env = SimEnv::new(1);
    let all = disks(&env, 1);
    drop(new_pool(&env, &all, Layout::SINGLE));
    all[0].set_capacity(4096);
    let pool = open(&env, &all).unwrap();
    // The record fits into the last block of the chain.
    pool.begin_epoch(Txg(1), &[]).unwrap();
    let error = append_one(&pool, 1, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
}
