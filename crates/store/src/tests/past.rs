//! File data as kept instants show it.

use std::time::Duration;

use strongroom_device::sim::Rng;
use strongroom_pool::Txg;

use super::{SESSION, World, object, pattern};
use crate::history::{Past, get_at, scan_at};
use crate::rows::{self, EXTENTS, ExtentRow, HEADS, HeadRow, INLINE, INSTANTS, InstantRow};
use crate::{ObjectId, Store};

fn row(past: Past) -> Option<Vec<u8>> {
    match past {
        Past::Absent => None,
        Past::Value(stored) => Some(stored.payload.to_vec()),
        Past::Thinned => panic!("nothing is thinned here"),
    }
}

/// An object's content after a group, or None if it was not there.
fn content_at(store: &Store, id: ObjectId, at: Txg) -> Option<Vec<u8>> {
    let engine = store.engine();
    let snapshot = engine.index.snapshot();
    let key = rows::object_key(id);
    let head = row(get_at(&*snapshot, HEADS, &key, at).unwrap())?;
    let head = HeadRow::decode(&head).unwrap();
    let mut content = vec![0; head.head.size as usize];
    if head.inline {
        let inline = row(get_at(&*snapshot, INLINE, &key, at).unwrap()).unwrap();
        let len = inline.len().min(content.len());
        content[..len].copy_from_slice(&inline[..len]);
        return Some(content);
    }
    let (start, end) = (rows::extent_key(id, 0), rows::extent_key(id, u64::MAX));
    for (key, past) in scan_at(&*snapshot, EXTENTS, &start, &end, at, usize::MAX).unwrap() {
        let Some(extent) = row(past) else { continue };
        let extent = ExtentRow::decode(&extent).unwrap();
        let from = rows::decode_extent_key(&key).unwrap().1 as usize;
        let to = from + extent.len as usize;
        assert!(to <= content.len(), "a row beyond the end");
        let target = &mut content[from..to];
        engine
            .pool
            .read(extent.address, extent.start, target)
            .unwrap();
    }
    Some(content)
}

/// The groups of all kept instants.
fn instants(store: &Store) -> Vec<Txg> {
    let snapshot = store.engine().index.snapshot();
    let mut instants = Vec::new();
    let mut note = |_: &[u8], value: &[u8]| {
        instants.push(InstantRow::decode(value)?.txg);
        Ok(true)
    };
    snapshot.scan(INSTANTS, &[], None, &mut note).unwrap();
    instants
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
