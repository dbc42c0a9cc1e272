//! File data as kept instants show it.

use std::time::Duration;

use strongroom_device::Timestamp;
use strongroom_device::sim::Rng;
use strongroom_pool::Txg;

use super::{SESSION, World, object, pattern};
use crate::{ObjectId, Realm, Store};

/// An object's content after a group, or None if it was not there.
fn content_at(store: &Store, id: ObjectId, at: Txg) -> Option<Vec<u8>> {
    let view = store.engine().any_past(at);
    let past = store.at(&view);
    let head = past.head_if_exists(id).unwrap()?;
    let mut content = vec![0xaa; usize::try_from(head.size).unwrap()];
    let read = past.read(id, 0, &mut content).unwrap();
    assert_eq!(read, content.len());
    Some(content)
}

/// The groups of all kept instants.
fn instants(store: &Store) -> Vec<Txg> {
    let all = store.instants(Realm(0), Timestamp(0), Timestamp(u64::MAX), usize::MAX);
    all.unwrap()
        .into_iter()
        .map(|instant| instant.txg)
        .collect()
}

#[test]
fn bytes_that_rode_in_the_record_appear_in_the_past_with_the_group_that_moved_them() {
    let mut world = World::new(111, 1);
    let store = world.create();
    let (old, new) = (pattern(1, 5000), pattern(2, 9000));
    world.write(&store, 9, 0, &old);
    world.env.advance(Duration::from_millis(1700));
    // The periodic commit that moves the bytes falls into the next second.
    world.write(&store, 9, 0, &new);
    world.write(&store, 10, 0, &new);
    world
        .block_on(store.sync(&[object(9), object(10)]))
        .unwrap();
    let synced = store.durable_txg();
    world.env.advance(Duration::from_secs(10));
    assert_eq!(store.status().overlay_rows, 0);
    assert!(instants(&store).contains(&synced), "its second kept it");
    assert!(content_at(&store, object(9), synced).unwrap() == old);
    assert!(content_at(&store, object(10), synced).is_none());
    let newest = store.durable_txg();
    assert!(content_at(&store, object(9), newest).unwrap() == new);
    world.crash(store);
    let store = world.open().unwrap();
    assert!(content_at(&store, object(10), newest).unwrap() == new);
}

#[test]
fn every_kept_instant_shows_a_state_of_the_file_that_was() {
    for seed in 0..12 {
        let world = World::new(seed, 1);
        let store = world.create();
        let mut rng = Rng::new(seed);
        let id = object(9);
        let (mut now, mut states) = (Vec::new(), vec![Vec::new()]);
        for _ in 0..60 {
            let (at, len) = (rng.below(12_000), 1 + rng.below(9000));
            match rng.below(5) {
                0 => {
                    now.resize(at, 0);
                    let cut = store.truncate(SESSION, id, at as u64, None);
                    world.block_on(cut).unwrap();
                }
                _ => {
                    let bytes = pattern(rng.below(1 << 20) as u64, len);
                    if now.len() < at + len {
                        now.resize(at + len, 0);
                    }
                    now[at..at + len].copy_from_slice(&bytes);
                    world.write(&store, 9, at as u64, &bytes);
                }
            }
            states.push(now.clone());
            if rng.below(2) == 0 {
                world.block_on(store.sync(&[id])).unwrap();
            }
            let pause = [0, 200, 900, 2500][rng.below(4)];
            world.env.advance(Duration::from_millis(pause));
        }
        world.env.advance(Duration::from_secs(15));
        let instants = instants(&store);
        assert!(instants.len() > 10);
        for at in instants {
            if let Some(content) = content_at(&store, id, at) {
                assert!(states.contains(&content), "seed {seed}, group {}", at.0);
            }
        }
        assert!(content_at(&store, id, store.durable_txg()).unwrap() == now);
    }
}
