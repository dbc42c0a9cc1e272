//! What is lost is made good, and what comes back is brought up to date.

use strongroom_device::sim::{Fault, Injection, Moment, Operation, Rng};

use super::changes::{disk, shards, upkeep};
use super::review::pool_that_repeats;
use super::*;
use crate::tests::layouts::{WIDE, check, fill};
use crate::{DiskOptions, DiskState};

fn add(pool: &Pool, disk: &Arc<SimDevice>) -> Result<crate::DiskId> {
    pool.add_disk(Arc::clone(disk) as Arc<dyn Device>, DiskOptions::default())
}

#[test]
fn two_disks_are_lost_replaced_and_rebuilt_and_then_two_others_are_lost() {
    let env = SimEnv::new(1);
    let mut all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let mut filled = fill(&pool, 1);
    // Those with copies of log and index.
    for broken in [0, 1] {
        all[broken].set_broken(true);
        filled.extend(fill(&pool, 2));
    }
    assert_eq!(pool.upkeep_status().survives, 0);
    upkeep(&pool);
    let waits = pool.upkeep_status().waiting_for.unwrap();
    assert!(waits.contains("another disk"), "{waits}");
    for (old, name) in [(0, "new0"), (1, "new1")] {
        let new = disk(&env, name, 10 + old as u64);
        let id = pool.find_disk(&format!("disk{old}")).unwrap();
        let device = Arc::clone(&new) as Arc<dyn Device>;
        pool.replace_disk(id, device, DiskOptions::default())
            .unwrap();
        all[old] = new;
    }
    filled.extend(fill(&pool, 3));
    upkeep(&pool);
    let status = pool.upkeep_status();
    assert_eq!((status.survives, status.lost_stripes), (2, 0), "{status:?}");
    assert!(pool.last_epoch().unwrap().absent.is_empty());
    for broken in [2, 3] {
        all[broken].set_broken(true);
        check(&pool, &filled);
        filled.extend(fill(&pool, 4));
    }
    check(&pool, &filled);
    drop(pool);
    let rest = all.iter().enumerate().filter(|(n, _)| !(2..4).contains(n));
    let rest: Vec<_> = rest.map(|(_, disk)| Arc::clone(disk)).collect();
    check(&open(&env, &rest).unwrap(), &filled);
}

#[test]
fn the_least_protected_segments_come_first() {
    let env = SimEnv::new(2);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let both = fill(&pool, 1)[0].0.segment;
    pool.seal(both).unwrap();
    all[0].set_broken(true);
    let one = fill(&pool, 2).last().unwrap().0.segment;
    all[1].set_broken(true);
    fill(&pool, 3);
    let news = [disk(&env, "new0", 10), disk(&env, "new1", 11)];
    // Its shards tell which segment was made whole.
    add(&pool, &news[0]).unwrap();
    add(&pool, &news[1]).unwrap();
    pool.upkeep_step().unwrap();
    for new in &news {
        let made = shards(new);
        assert_eq!(made.len(), 1, "{made:?}");
        assert!(made[0].contains(&both.to_string()), "{made:?}");
    }
    assert_ne!(both, one);
}

#[test]
fn a_disk_that_comes_back_gets_what_it_missed_and_nothing_else() {
    for (count, layout) in [(2, Layout::MIRROR), (6, WIDE)] {
        let env = SimEnv::new(3);
        let all = disks(&env, count);
        let pool = new_pool(&env, &all, layout);
        let mut filled = fill(&pool, 1);
        let punched = filled[2].0;
        drop(pool);
        let away = &all[0];
        let known = shards(away);
        let pool = open(&env, &all[1..]).unwrap();
        pool.begin_epoch(Txg(3), &[]).unwrap();
        filled.extend(fill(&pool, 2));
        let blocks = pool.stripe(punched.segment, punched.stripe).unwrap().blocks;
        pool.punch_stripe(punched.segment, punched.stripe, blocks)
            .unwrap();
        filled.retain(|(address, _)| {
            (address.segment, address.stripe) != (punched.segment, punched.stripe)
        });
        drop(pool);
        let pool = open(&env, &all).unwrap();
        pool.begin_epoch(Txg(4), &[]).unwrap();
        assert_eq!(pool.status().disks[0].state, DiskState::Stale);
        upkeep(&pool);
        assert_eq!(pool.status().disks[0].state, DiskState::Member);
        assert_eq!(pool.upkeep_status().survives, layout.parity);
        assert!(
            known.iter().all(|path| away.contents(path).is_some()),
            "kept as they were"
        );
        drop(pool);
        let pool = open(&env, &all[..count - usize::from(layout.parity)]).unwrap();
        check(&pool, &filled);
        let stripe = pool.stripe(punched.segment, punched.stripe).unwrap();
        assert!(stripe.punched);
    }
}

#[test]
fn shards_of_a_disk_that_was_away_are_read_again_only_where_they_are_needed() {
    let env = SimEnv::new(4);
    let all = disks(&env, 7);
    let pool = new_pool(&env, &all, WIDE);
    let mut filled = fill(&pool, 1);
    let away = all
        .iter()
        .position(|disk| !shards(disk).is_empty())
        .unwrap();
    let known = shards(&all[away]);
    all[away].set_broken(true);
    filled.extend(fill(&pool, 2));
    upkeep(&pool);
    assert!(
        pool.last_epoch().unwrap().absent.is_empty(),
        "made good on the seventh"
    );
    all[away].set_broken(false);
    drop(pool);
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(4), &[]).unwrap();
    assert_eq!(pool.status().disks[away].state, DiskState::Retired);
    upkeep(&pool);
    assert_eq!(shards(&all[away]), known, "it is left alone");
    pool.copies_follow(pool.epoch());
    add(&pool, &all[away]).unwrap();
    assert!(shards(&all[away]).iter().all(|path| path.ends_with(".old")));
    filled.extend(fill(&pool, 3));
    upkeep(&pool);
    assert!(
        shards(&all[away])
            .iter()
            .all(|path| !path.ends_with(".old")),
        "and nothing is left of it once it was compared"
    );
    check(&pool, &filled);
}

#[test]
fn a_disk_comes_back_while_the_pool_is_open() {
    let env = SimEnv::new(5);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let mut filled = fill(&pool, 1);
    all[1].set_broken(true);
    filled.extend(fill(&pool, 2));
    all[1].set_broken(false);
    upkeep(&pool);
    assert_eq!(
        pool.status().disks[1].state,
        DiskState::SetAside,
        "not by itself"
    );
    add(&pool, &all[1]).unwrap();
    filled.extend(fill(&pool, 3));
    upkeep(&pool);
    assert_eq!(pool.status().disks[1].state, DiskState::Member);
    filled.extend(fill(&pool, 4));
    drop(pool);
    check(&open(&env, &all[1..]).unwrap(), &filled);
}

/// An append that failed on one disk and was repeated: a disk that has the first attempt only comes back.
#[test]
fn a_stripe_of_another_attempt_is_not_believed() {
    let env = SimEnv::new(6);
    let mut all = disks(&env, 2);
    let pool = pool_that_repeats(&env, &all, Layout::MIRROR);
    append_synced(&pool, 1, &pattern(1, 9000)).unwrap();
    if shards(&all[0])[0].ends_with(".1.0") {
        all.swap(0, 1);
    }
    let [first, second] = [&all[0], &all[1]];
    second.inject(Injection {
        operation: Operation::Write,
        path: "segments".to_owned(),
        skip: 0,
        times: 1,
        fault: Fault::NoSpace,
    });
    assert!(append_one(&pool, 2, &pattern(2, 50_000)).is_err());
    let path = shards(first)[0].clone();
    let stale = first.contents(&path).unwrap();
    let told = append_synced(&pool, 2, &pattern(3, 50_000)).unwrap();
    assert_eq!(
        shards(first),
        std::slice::from_ref(&path),
        "in the same place"
    );
    drop(pool);
    first.replace(&path, &stale);
    let alone = open(&env, &all[..1]).unwrap();
    let found = read(&alone, told, 50_000).unwrap();
    assert!(found == pattern(2, 50_000), "it is whole in itself");
    drop(alone);
    let pool = open(&env, &all[1..]).unwrap();
    pool.begin_epoch(Txg(5), &[]).unwrap();
    drop(pool);
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(6), &[]).unwrap();
    upkeep(&pool);
    drop(pool);
    let alone = open(&env, &all[..1]).unwrap();
    assert!(read(&alone, told, 50_000).unwrap() == pattern(3, 50_000));
}

#[test]
fn a_disk_that_returns_and_goes_again_is_lost_once() {
    let env = SimEnv::new(7);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let mut filled = fill(&pool, 1);
    drop(pool);
    let pool = open(&env, &all[..1]).unwrap();
    pool.begin_epoch(Txg(3), &[]).unwrap();
    filled.extend(fill(&pool, 2));
    drop(pool);
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(4), &[]).unwrap();
    pool.copies_follow(pool.epoch());
    pool.upkeep_step().unwrap();
    assert_eq!(pool.status().disks[1].state, DiskState::Member);
    filled.extend(fill(&pool, 3));
    let begun = shards(&all[1]);
    assert!(begun.iter().any(|path| path.ends_with(".old")), "{begun:?}");
    drop(pool);
    assert!(open(&env, &all[1..]).is_err(), "it lacks what it missed");
    let pool = open(&env, &all[..1]).unwrap();
    check(&pool, &filled);
    pool.begin_epoch(Txg(5), &[]).unwrap();
    filled.extend(fill(&pool, 4));
    drop(pool);
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(6), &[]).unwrap();
    upkeep(&pool);
    assert!(shards(&all[1]).iter().all(|path| !path.ends_with(".old")));
    drop(pool);
    check(&open(&env, &all[1..]).unwrap(), &filled);
}

#[test]
fn what_is_damaged_elsewhere_is_mended_on_the_way() {
    let env = SimEnv::new(8);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let filled = fill(&pool, 1);
    let mut rng = Rng::new(1);
    let with = |shard: &str| {
        let found = all.iter().position(|disk| shards(disk)[0].ends_with(shard));
        found.unwrap()
    };
    let (damaged, broken) = (with(".1.0"), with(".3.0"));
    let path = shards(&all[damaged])[0].clone();
    let len = all[damaged].contents(&path).unwrap().len();
    for _ in 0..20 {
        all[damaged].flip(&path, rng.below(len) as u64, 1);
    }
    all[broken].set_broken(true);
    fill(&pool, 2);
    add(&pool, &disk(&env, "new", 9)).unwrap();
    upkeep(&pool);
    let status = pool.status();
    assert!(status.repaired_fragments > 0);
    assert_eq!(pool.upkeep_status().lost_stripes, 0);
    check(&pool, &filled);
}

/// The life of a pool with every kind of change. Stops at the first error; what was promised until then is in `filled`.
fn eventful(
    env: &Arc<SimEnv>,
    all: &[Arc<SimDevice>],
    filled: &mut Vec<(Address, Vec<u8>)>,
) -> Result<()> {
    let layout = Layout { data: 2, parity: 1 };
    let pool = Pool::create(as_env(env), as_devices(&all[..3]), layout)?;
    pool.begin_epoch(Txg(0), &[])?;
    append_some(&pool, 1, filled)?;
    drop(pool);
    let pool = Pool::open(as_env(env), as_devices(&all[1..3]))?;
    pool.begin_epoch(Txg(1), &[])?;
    append_some(&pool, 2, filled)?;
    drop(pool);
    let pool = Pool::open(as_env(env), as_devices(&all[..3]))?;
    pool.begin_epoch(Txg(2), &[])?;
    steps(&pool)?;
    append_some(&pool, 3, filled)?;
    add(&pool, &all[3])?;
    append_some(&pool, 4, filled)?;
    pool.copies_follow(pool.epoch());
    pool.remove_disk(pool.find_disk("disk2")?)?;
    steps(&pool)?;
    append_some(&pool, 5, filled)
}

fn append_some(pool: &Pool, seed: u64, filled: &mut Vec<(Address, Vec<u8>)>) -> Result<()> {
    for n in 0..2 {
        let bytes = pattern(seed * 10 + n, 9000 + 90_000 * usize::try_from(n).unwrap());
        let address = append_synced(pool, seed, &bytes)?;
        filled.push((address, bytes));
    }
    Ok(())
}

fn steps(pool: &Pool) -> Result<()> {
    for _ in 0..200 {
        pool.copies_follow(pool.epoch());
        if pool.upkeep_step()? == UpkeepStep::Idle {
            return Ok(());
        }
    }
    panic!("upkeep ends");
}

fn after_a_cut(number: u64, moment: Moment) -> bool {
    let env = SimEnv::new(number);
    let mut all = disks(&env, 4);
    let mut filled = Vec::new();
    env.cut_at_sync(number, moment);
    if eventful(&env, &all, &mut filled).is_ok() {
        return false;
    }
    all = all.iter().map(|disk| disk.reopen()).collect();
    if filled.is_empty() {
        return true;
    }
    // A disk that no label is left on, or none yet, is no part of it.
    let ours = |disk: &&Arc<SimDevice>| crate::label::read_label(&***disk).is_ok();
    let ours: Vec<_> = all.iter().filter(ours).cloned().collect();
    let pool = open(&env, &ours).unwrap();
    for (address, bytes) in &filled {
        assert_eq!(&read(&pool, *address, bytes.len()).unwrap(), bytes);
    }
    // What nobody was told of is void, as the store says of it.
    let named = |id: &crate::SegmentId| filled.iter().any(|(address, _)| address.segment == *id);
    let void = pool.recent_segments().into_iter().filter(|id| !named(id));
    let void: Vec<_> = void.map(|id| (id, 0)).collect();
    pool.begin_epoch(Txg(9), &void).unwrap();
    steps(&pool).unwrap();
    append_some(&pool, 9, &mut filled).unwrap();
    steps(&pool).unwrap();
    let status = pool.status();
    let members = status
        .disks
        .iter()
        .filter(|disk| disk.state == DiskState::Member);
    let members: Vec<_> = members.map(|disk| disk.name.clone()).collect();
    assert!(members.len() >= 3, "cut at {number} {moment:?}: {status:?}");
    let survives = pool.upkeep_status();
    assert_eq!(
        survives.survives, 1,
        "cut at {number} {moment:?}: {survives:?} {status:?}"
    );
    drop(pool);
    for gone in &members {
        let some = ours.iter().filter(|disk| disk.name() != gone);
        let some: Vec<_> = some.cloned().collect();
        let pool = open(&env, &some).unwrap();
        for (address, bytes) in &filled {
            let back = read(&pool, *address, bytes.len());
            assert_eq!(
                &back.unwrap(),
                bytes,
                "cut at {number} {moment:?}, without {gone}"
            );
        }
    }
    true
}

#[test]
fn a_power_cut_at_any_sync_of_any_change_loses_nothing() {
    let mut number = 0;
    while after_a_cut(number, Moment::During) {
        after_a_cut(number, Moment::Before);
        after_a_cut(number, Moment::After);
        number += 1;
    }
    assert!(number > 150, "{number}");
}
