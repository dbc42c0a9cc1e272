//! Stores on encrypted pools: nothing that clients wrote or named can be found on the disks.

use std::time::Duration;

use strongroom_pool::Pool;

use super::{SESSION, World, key, object, pattern, read_all};
use crate::{Store, StoreError};

const NAME: &str = "the merger with the brewery";
const CONTENT: &[u8] = b"forty thousand for the left wing of the house";

fn world() -> World {
    let mut world = World::new(400, 2);
    world.encrypted = true;
    world
}

fn write(world: &World, store: &Store, inode: u64, bytes: &[u8]) {
    let written = store.write(SESSION, object(inode), 0, bytes, None);
    world.block_on(written).unwrap();
}

fn find(world: &World, wanted: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for disk in &world.disks {
        for path in disk.paths() {
            let bytes = disk.contents(&path).unwrap();
            if bytes.windows(wanted.len()).any(|window| window == wanted) {
                found.push(path);
            }
        }
    }
    found
}

/// Names and content that pass through log, index, history, inline data and segments.
fn fill(world: &World, store: &Store) {
    world.put(store, &key(2000, NAME), NAME.as_bytes());
    write(world, store, 5000, CONTENT);
    write(world, store, 5001, &CONTENT.repeat(4000));
    world
        .block_on(store.sync(&[object(5000), object(5001)]))
        .unwrap();
    world.env.advance(Duration::from_secs(3));
    world.put(store, &key(2000, NAME), b"another value");
    write(world, store, 5000, &CONTENT.repeat(3));
    world.block_on(store.sync_all()).unwrap();
    world.env.advance(Duration::from_secs(3));
    world.put(store, &key(2001, NAME), NAME.as_bytes());
    write(world, store, 5001, CONTENT);
    world.block_on(store.sync_all()).unwrap();
}

#[test]
fn names_and_content_are_nowhere_on_the_disks() {
    for encrypted in [true, false] {
        let mut world = world();
        world.encrypted = encrypted;
        let store = world.create();
        fill(&world, &store);
        world.block_on(store.close()).unwrap();
        for wanted in [NAME.as_bytes(), &CONTENT[..20]] {
            // Without encryption they are found, or this looks in the wrong places.
            assert_eq!(find(&world, wanted).is_empty(), encrypted);
        }
        assert_eq!(find(&world, super::PASSPHRASE), Vec::<String>::new());
    }
}

#[test]
fn a_cut_of_the_power_loses_nothing_that_was_acknowledged() {
    let mut world = world();
    let store = world.create();
    fill(&world, &store);
    world.crash(store);
    let store = world.open().unwrap();
    assert!(read_all(&store, object(5001)).unwrap().starts_with(CONTENT));
    let value = store.get(super::ROWS, &key(2001, NAME)).unwrap();
    assert_eq!(value.as_deref(), Some(NAME.as_bytes()));
    write(&world, &store, 5002, &pattern(3, 300_000));
    world.block_on(store.close()).unwrap();
    let store = world.open().unwrap();
    assert!(read_all(&store, object(5002)).unwrap() == pattern(3, 300_000));
    assert_eq!(store.audit().unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_store_on_a_locked_pool_is_refused_and_nothing_changes() {
    let world = world();
    let store = world.create();
    world.block_on(store.close()).unwrap();
    let all = || -> Vec<Vec<u8>> {
        let disk = &world.disks[0];
        disk.paths()
            .iter()
            .map(|path| disk.contents(path).unwrap())
            .collect()
    };
    let before = all();
    let pool = Pool::open(world.env(), world.devices()).unwrap();
    assert!(pool.unlock(b"another one").is_err());
    let opened = Store::open(world.env(), pool, world.options.clone());
    assert!(matches!(opened, Err(StoreError::Pool(_))), "{opened:?}");
    assert!(all() == before);
}
