//! Power cuts at every sync point, and planted bugs that the harness must find.

use std::time::Duration;

use strongroom_device::sim::{Moment, Rng};

use super::World;
use super::model::{Model, run};
use crate::Planted;

const STEPS: usize = 60;

/// Runs the workload with a cut at one sync point, reopens, checks, and goes on once more. Returns what is wrong, or
/// whether the cut was reached.
fn scenario(
    seed: u64,
    disks: usize,
    cut: Option<(u64, Moment)>,
    planted: Planted,
) -> Result<(bool, u64), String> {
    let mut world = World::new(seed, disks);
    world.options.planted = planted;
    let store = world.create();
    if let Some((at, moment)) = cut {
        world.env.cut_at_sync(world.env.syncs() + at, moment);
    }
    let before = world.env.syncs();
    let (mut model, mut rng) = (Model::new(), Rng::new(seed));
    run(&world, &store, &mut model, &mut rng, STEPS);
    let passed = world.env.syncs() - before;
    world.crash(store);
    let store = world
        .open()
        .map_err(|error| format!("cannot open: {error}"))?;
    model.check(&store)?;
    model.adopt(&store);
    run(&world, &store, &mut model, &mut rng, STEPS / 3);
    model.assert_newest(&store);
    world.env.advance(Duration::from_secs(5));
    model.assert_newest(&store);
    world.crash(store);
    let store = world
        .open()
        .map_err(|error| format!("cannot open again: {error}"))?;
    model.check(&store)?;
    Ok((
        cut.is_some_and(|(at, _)| at < passed),
        world.env.trace_hash(),
    ))
}

fn cut_everywhere(seed: u64, disks: usize, moment: Moment) {
    for at in 0.. {
        let result = scenario(seed, disks, Some((at, moment)), Planted::default());
        match result {
            Ok((true, _)) => {}
            Ok((false, _)) => {
                assert!(at > 10, "the workload has sync points");
                return;
            }
            Err(wrong) => panic!("seed {seed}, {moment:?} sync {at}: {wrong}"),
        }
    }
}

#[test]
fn a_cut_before_any_sync_loses_nothing_acknowledged() {
    cut_everywhere(11, 1, Moment::Before);
}

#[test]
fn a_cut_during_any_sync_loses_nothing_acknowledged() {
    cut_everywhere(12, 1, Moment::During);
}

#[test]
fn a_cut_after_any_sync_loses_nothing_acknowledged() {
    cut_everywhere(13, 1, Moment::After);
}

#[test]
fn a_cut_during_any_sync_of_a_mirror_loses_nothing_acknowledged() {
    cut_everywhere(14, 2, Moment::During);
}

/// More of them on request.
fn seeds() -> u64 {
    std::env::var("STRONGROOM_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(40)
}

#[test]
fn cuts_at_many_seeds_lose_nothing_acknowledged() {
    for seed in 100..100 + seeds() {
        let mut rng = Rng::new(seed);
        let at = rng.below(60) as u64;
        let moment = [Moment::Before, Moment::During, Moment::After][rng.below(3)];
        let disks = 1 + rng.below(2);
        if let Err(wrong) = scenario(seed, disks, Some((at, moment)), Planted::default()) {
            panic!("seed {seed}, {disks} disks, {moment:?} sync {at}: {wrong}");
        }
    }
}

#[test]
fn one_seed_twice_gives_equal_traces() {
    let run = || scenario(21, 1, Some((9, Moment::During)), Planted::default()).unwrap();
    assert_eq!(run(), run());
}

fn is_found(planted: Planted) -> bool {
    (200..230).any(|seed| scenario(seed, 1, Some((12, Moment::Before)), planted).is_err())
}

#[test]
fn finds_a_commit_that_did_not_sync_the_log() {
    assert!(is_found(Planted {
        skip_log_sync: true,
        ..Planted::default()
    }));
}

#[test]
fn finds_extents_named_before_their_segments_were_synced() {
    assert!(is_found(Planted {
        skip_segment_sync: true,
        ..Planted::default()
    }));
}
