//! Flipped bytes anywhere: the right bytes, or a clean error; never wrong ones.

use std::time::Duration;

use strongroom_device::sim::Rng;

use super::model::{Model, run};
use super::{ROWS, World, key};
use crate::StoreError;

/// A crashed world with a full log tail and a fed index, and what must be in it.
fn damaged_world(seed: u64) -> (World, Model) {
    let mut world = World::new(seed, 1);
    let store = world.create();
    let (mut model, mut rng) = (Model::new(), Rng::new(seed));
    run(&world, &store, &mut model, &mut rng, 40);
    world.env.advance(Duration::from_secs(5));
    run(&world, &store, &mut model, &mut rng, 40);
    world.block_on(store.sync_all()).unwrap();
    model.adopt(&store);
    world.crash(store);
    (world, model)
}

#[test]
fn a_flip_in_any_file_gives_the_right_bytes_or_a_clean_error() {
    let (pristine, model) = damaged_world(31);
    let mut rng = Rng::new(32);
    let paths = pristine.disks[0].paths();
    for n in 0..150 {
        let path = &paths[n % paths.len()];
        let len = pristine.disks[0].contents(path).unwrap().len();
        if len == 0 {
            continue;
        }
        let disk = pristine.disks[0].duplicate("copy");
        let offset = rng.below(len) as u64;
        disk.flip(path, offset, 1 << rng.below(8));
        let world = World {
            disks: vec![disk],
            ..pristine.same()
        };
        check_damaged(&world, &model, path, offset);
    }
}

fn check_damaged(world: &World, model: &Model, path: &str, offset: u64) {
    let mirrored = !path.starts_with("segments");
    match world.open() {
        Ok(store) => {
            let wrong = model.check(&store).err();
            let clean = wrong
                .as_ref()
                .is_none_or(|wrong| !wrong.contains("no state"));
            assert!(clean, "{path} at {offset}: {wrong:?}");
            assert!(
                !mirrored || wrong.is_none(),
                "{path} at {offset}: {wrong:?}"
            );
            world.env.kill_tasks();
        }
        Err(error) => panic!("{path} at {offset}: one flip keeps the pool from opening: {error}"),
    }
}

#[test]
fn refuses_a_log_damaged_on_every_copy_below_a_watermark() {
    let mut world = World::new(33, 1);
    // The bytes that are damaged are found by what they say.
    world.encrypted = false;
    let store = world.create();
    world.put(&store, &key(5, "a"), b"one");
    world.block_on(store.sync(&[])).unwrap();
    // The lone watermark protects the last commit; the feeder has not run yet.
    world.put(&store, &key(5, "b"), b"two");
    world.block_on(store.sync(&[])).unwrap();
    world.crash(store);
    let first = &b"\x01\x01\x07"[..];
    damage_row(&world, first);
    match world.open().map(|_| ()) {
        Err(StoreError::Corrupt { what }) => {
            assert!(what.contains("log/") && what.contains("offset"), "{what}");
        }
        other => panic!("accepted a damaged log: {other:?}"),
    }
    world.options.planted.cut_below_watermark = true;
    let store = world.open().unwrap();
    assert_eq!(
        store.get(ROWS, &key(5, "a")).unwrap(),
        None,
        "the planted bug loses a sync"
    );
}

/// Flips the same byte in every copy of the log, where these bytes first stand.
fn damage_row(world: &World, needle: &[u8]) {
    let disk = &world.disks[0];
    for path in disk.paths().iter().filter(|path| path.starts_with("log/")) {
        let bytes = disk.contents(path).unwrap();
        let at = bytes
            .windows(needle.len())
            .position(|window| window == needle);
        if let Some(at) = at {
            disk.flip(path, at as u64, 0x40);
        }
    }
}

#[test]
fn the_last_commit_is_protected_by_a_lone_watermark() {
    let mut world = World::new(34, 1);
    world.options.txg_interval = Duration::from_millis(100);
    let store = world.create();
    world.put(&store, &key(5, "a"), b"one");
    world.block_on(store.sync(&[])).unwrap();
    world.env.advance(Duration::from_millis(400));
    assert_eq!(store.status().indexed_txg, 0, "the feeder has not run yet");
    world.crash(store);
    damage_row(&world, b"\x01\x01\x07");
    assert!(matches!(
        world.open().map(|_| ()),
        Err(StoreError::Corrupt { .. })
    ));
}
