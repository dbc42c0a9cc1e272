//! Ranges that several objects own.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use strongroom_device::sim::Rng;
use strongroom_pool::{Address, SegmentId};

use super::model::{Model, run};
use super::{SESSION, World, key, object, pattern, read_all};
use crate::rows::{
    EXTENTS, ExtentRow, HISTORY, HistoryRow, REFERENCES, STRIPES, Stored, StripeRow, address_key,
    decode_number, decode_stripe_key,
};
use crate::{CloneRange, HistoryOptions, Result, Retention, SessionId, Store, View};

fn range(source: u64, from: u64, to: u64, len: u64) -> CloneRange {
    CloneRange {
        source: object(source),
        from,
        to,
        len,
    }
}

fn try_clone(world: &World, store: &Store, target: u64, range: CloneRange) -> Result<u64> {
    world.block_on(store.clone_range(SESSION, object(target), range, None))
}

fn clone(world: &World, store: &Store, target: u64, range: CloneRange) {
    assert_eq!(try_clone(world, store, target, range).unwrap(), range.len);
}

fn delete(store: &Store, inode: u64) {
    let mut txn = store.txn(SESSION);
    txn.delete_object(object(inode));
    txn.commit().unwrap();
}

/// Bytes that stripes hold, dead ones that were not given back among them.
fn stored(store: &Store) -> u64 {
    let engine = store.engine();
    let segments = engine.pool.segments().unwrap();
    let held = segments.iter().map(|segment| {
        let stripes = engine.pool.contents(segment.id).unwrap().stripes;
        let kept = stripes.iter().filter(|stripe| !stripe.punched);
        kept.map(|stripe| u64::from(stripe.blocks) * 4096)
            .sum::<u64>()
    });
    held.sum()
}

/// Counts by hand how often each extent is named, now or in the past, and compares with what the index says.
fn check_counts(store: &Store) {
    let snapshot = store.engine().index.snapshot();
    let mut rows: HashMap<Address, (u64, u64)> = HashMap::new();
    let mut count = |payload: &[u8]| {
        let row = ExtentRow::decode(payload).unwrap();
        let entry = rows.entry(row.address).or_default();
        entry.0 += 1;
        entry.1 = u64::from(row.stored()).next_multiple_of(4096);
    };
    let mut present = |value: &[u8]| {
        count(
            &Stored::decode(Bytes::copy_from_slice(value))
                .unwrap()
                .payload,
        )
    };
    snapshot
        .scan(EXTENTS, &[], None, &mut |_, value| {
            present(value);
            Ok(true)
        })
        .unwrap();
    snapshot
        .scan(
            HISTORY,
            &[EXTENTS.0],
            Some(&[EXTENTS.0 + 1]),
            &mut |_, value| {
                HistoryRow::decode(value)?.payload.map(&mut count);
                Ok(true)
            },
        )
        .unwrap();
    let mut live: HashMap<(SegmentId, u32), u64> = HashMap::new();
    for (address, (named, bytes)) in &rows {
        let counted = snapshot.get(REFERENCES, &address_key(*address)).unwrap();
        let counted = counted.map_or(1, |value| decode_number(&value).unwrap());
        assert_eq!(counted, *named, "{address:?}");
        *live.entry((address.segment, address.stripe)).or_default() += bytes;
    }
    let mut listed = HashMap::new();
    snapshot
        .scan(STRIPES, &[], None, &mut |key, value| {
            let row = StripeRow::decode(value)?;
            if row.live > 0 {
                listed.insert(decode_stripe_key(key)?, row.live);
            }
            Ok(true)
        })
        .unwrap();
    assert_eq!(listed, live);
}

const LEN: u64 = (3 << 20) + 12_345;

#[test]
fn a_clone_reads_as_its_source_and_stores_nothing() {
    let mut world = World::new(81, 1);
    let store = world.create();
    let bytes = pattern(1, LEN as usize);
    world.write(&store, 5000, 0, &bytes);
    world.block_on(store.sync_all()).unwrap();
    let before = stored(&store);
    clone(&world, &store, 5001, range(5000, 0, 0, LEN));
    assert!(read_all(&store, object(5001)).unwrap() == bytes);
    assert_eq!(
        store.head(object(5001)).unwrap().allocated,
        store.head(object(5000)).unwrap().allocated,
        "each is told what it maps"
    );
    world.block_on(store.sync_all()).unwrap();
    assert_eq!(stored(&store), before);
    world.env.advance(Duration::from_secs(5));
    check_counts(&store);
    world.crash(store);
    let store = world.open().unwrap();
    assert!(read_all(&store, object(5001)).unwrap() == bytes);
    check_counts(&store);
}

#[test]
fn a_clone_takes_what_was_written_a_moment_ago() {
    let mut world = World::new(82, 1);
    let store = world.create();
    let bytes = pattern(1, 200_000);
    world.write(&store, 5000, 0, &bytes);
    world.write(&store, 5001, 0, &pattern(2, 70_000));
    clone(&world, &store, 5001, range(5000, 50_000, 60_000, 100_000));
    let mut expected = pattern(2, 60_000);
    expected.extend_from_slice(&bytes[50_000..150_000]);
    assert!(read_all(&store, object(5001)).unwrap() == expected);
    world.block_on(store.sync(&[])).unwrap();
    world.crash(store);
    let store = world.open().unwrap();
    assert!(read_all(&store, object(5000)).unwrap() == bytes);
    assert!(read_all(&store, object(5001)).unwrap() == expected);
}

#[test]
fn owners_change_and_die_without_each_other() {
    let mut world = World::new(83, 1);
    world.options.history = None;
    let store = world.create();
    let bytes = pattern(1, LEN as usize);
    world.write(&store, 5000, 0, &bytes);
    clone(&world, &store, 5001, range(5000, 0, 0, LEN));
    clone(&world, &store, 5002, range(5001, 4096, 0, 1 << 20));
    world.env.advance(Duration::from_secs(5));
    let mut changed = bytes.clone();
    changed[100_000..400_000].copy_from_slice(&pattern(2, 300_000));
    world.write(&store, 5001, 100_000, &changed[100_000..400_000]);
    delete(&store, 5000);
    world.env.advance(Duration::from_secs(10));
    check_counts(&store);
    assert!(read_all(&store, object(5001)).unwrap() == changed);
    assert!(read_all(&store, object(5002)).unwrap() == bytes[4096..4096 + (1 << 20)]);
    delete(&store, 5001);
    world.env.advance(Duration::from_secs(10));
    check_counts(&store);
    assert!(read_all(&store, object(5002)).unwrap() == bytes[4096..4096 + (1 << 20)]);
    delete(&store, 5002);
    for name in ["a", "b"] {
        world.env.advance(Duration::from_secs(70));
        world.put(&store, &key(5, name), b"one");
    }
    world.env.advance(Duration::from_secs(10));
    check_counts(&store);
    assert_eq!(stored(&store), 0, "the last owner is gone");
}

#[test]
fn an_extent_stays_while_the_past_of_an_owner_names_it() {
    let mut world = World::new(84, 1);
    world.options.history = Some(HistoryOptions {
        retention: Retention::window(Duration::from_secs(600)),
    });
    let store = world.create();
    world.write(&store, 5000, 0, &pattern(1, 1 << 20));
    clone(&world, &store, 5001, range(5000, 0, 0, 1 << 20));
    world.env.advance(Duration::from_secs(5));
    world.write(&store, 5001, 0, &pattern(2, 1 << 20));
    world.env.advance(Duration::from_secs(5));
    delete(&store, 5000);
    world.env.advance(Duration::from_secs(100));
    check_counts(&store);
    let engine = store.engine();
    assert_eq!(engine.punched.load(Ordering::Relaxed), 0);
    world.env.advance(Duration::from_secs(900));
    world.put(&store, &key(5, "a"), b"one");
    world.env.advance(Duration::from_secs(100));
    check_counts(&store);
    assert!(
        engine.punched.load(Ordering::Relaxed) > 0,
        "the window has passed"
    );
    assert!(read_all(&store, object(5001)).unwrap() == pattern(2, 1 << 20));
}

#[test]
fn a_range_goes_to_another_place_of_its_own_object() {
    let world = World::new(85, 1);
    let store = world.create();
    let mut bytes = pattern(1, 1 << 20);
    world.write(&store, 5000, 0, &bytes);
    clone(&world, &store, 5000, range(5000, 10_000, 500_000, 300_000));
    bytes.copy_within(10_000..310_000, 500_000);
    assert!(read_all(&store, object(5000)).unwrap() == bytes);
    clone(&world, &store, 5000, range(5000, 400_000, 0, 200_000));
    bytes.copy_within(400_000..600_000, 0);
    assert!(read_all(&store, object(5000)).unwrap() == bytes);
    let onto = try_clone(&world, &store, 5000, range(5000, 0, 100, 4096));
    assert!(onto.is_err(), "a range onto itself");
    world.env.advance(Duration::from_secs(5));
    check_counts(&store);
}

#[test]
fn holes_are_cloned_as_holes_and_hide_what_was_there() {
    let world = World::new(86, 1);
    let store = world.create();
    world.write(&store, 5000, 1 << 20, &pattern(1, 100_000));
    world.write(&store, 5001, 0, &pattern(2, 2 << 20));
    world.block_on(store.sync_all()).unwrap();
    clone(&world, &store, 5001, range(5000, 0, 0, (1 << 20) + 50_000));
    let mut expected = vec![0; 1 << 20];
    expected.extend_from_slice(&pattern(1, 50_000));
    expected.extend_from_slice(&pattern(2, 2 << 20)[(1 << 20) + 50_000..]);
    assert!(read_all(&store, object(5001)).unwrap() == expected);
    let holes = store.allocated_ranges(object(5001), 0, 1 << 20).unwrap();
    assert!(holes.is_empty(), "{holes:?}");
}

#[test]
fn small_files_are_left_to_be_copied() {
    let world = World::new(87, 1);
    let store = world.create();
    world.write(&store, 5000, 0, b"small");
    world.write(&store, 5001, 0, &pattern(1, 100_000));
    let cloned = |target, range| try_clone(&world, &store, target, range).unwrap();
    assert_eq!(cloned(5002, range(5000, 0, 0, 5)), 0);
    assert_eq!(
        cloned(5000, range(5001, 0, 3, 100)),
        0,
        "it keeps a part of its row"
    );
    assert_eq!(cloned(5000, range(5001, 0, 0, 100_000)), 100_000);
    assert!(read_all(&store, object(5000)).unwrap() == pattern(1, 100_000));
    assert_eq!(
        cloned(5002, range(5001, 100_000, 0, 5)),
        0,
        "beyond the end"
    );
}

#[test]
fn many_small_extents_go_in_several_steps() {
    let world = World::new(88, 1);
    let store = world.create();
    let mut bytes = Vec::new();
    for n in 0..5000 {
        let piece = pattern(n, 4096);
        world.write(&store, 5000, n * 8192, &piece);
        bytes.extend_from_slice(&piece);
        bytes.resize(bytes.len() + 4096, 0);
    }
    bytes.truncate(bytes.len() - 4096);
    let (mut at, mut steps) = (0, 0);
    while at < bytes.len() as u64 {
        let step = range(5000, at, at, bytes.len() as u64 - at);
        let cloned = try_clone(&world, &store, 5001, step).unwrap();
        assert!(cloned > 0);
        (at, steps) = (at + cloned, steps + 1);
    }
    assert!(steps > 1);
    assert!(read_all(&store, object(5001)).unwrap() == bytes);
    world.env.advance(Duration::from_secs(5));
    check_counts(&store);
}

#[test]
fn counts_are_exact_after_a_mixed_life_with_crashes() {
    for seed in 300..308 {
        let mut world = World::new(seed, 1);
        world.options.history = (seed % 2 == 0).then(HistoryOptions::default);
        let mut store = world.create();
        let (mut model, mut rng) = (Model::new(), Rng::new(seed));
        for _ in 0..3 {
            run(&world, &store, &mut model, &mut rng, 80);
            world.env.advance(Duration::from_secs(5));
            check_counts(&store);
            model.assert_newest(&store);
            world.crash(store);
            store = world.open().unwrap();
            model.check(&store).unwrap();
            model.adopt(&store);
        }
    }
}

#[test]
fn another_sessions_clone_is_its_own_change() {
    let world = World::new(89, 1);
    let store = world.create();
    world.write(&store, 5000, 0, &pattern(1, 100_000));
    world.write(&store, 5001, 0, &pattern(2, 100_000));
    world.env.advance(Duration::from_secs(5));
    let wanted = store.clone_range(SessionId(8), object(5001), range(5000, 0, 0, 100_000), None);
    assert_eq!(world.block_on(wanted).unwrap(), 100_000);
    world.env.advance(Duration::from_secs(5));
    check_counts(&store);
    let snapshot = store.engine().index.snapshot();
    let mut ended = Vec::new();
    snapshot
        .scan(
            HISTORY,
            &[EXTENTS.0],
            Some(&[EXTENTS.0 + 1]),
            &mut |_, value| {
                ended.push(HistoryRow::decode(value)?.ended_by);
                Ok(true)
            },
        )
        .unwrap();
    assert_eq!(ended, [SessionId(8)]);
}

/// The newest instant that can be gone back to.
fn newest(store: &Store) -> View {
    let all = store
        .instants(
            crate::Realm(0),
            strongroom_device::Timestamp(0),
            strongroom_device::Timestamp(u64::MAX),
            usize::MAX,
        )
        .unwrap();
    store
        .view_at(crate::Realm(0), *all.last().unwrap())
        .unwrap()
}

fn clone_past(world: &World, store: &Store, target: u64, range: CloneRange, view: &View) -> u64 {
    let wanted = store.clone_past(SESSION, object(target), range, view, None);
    world.block_on(wanted).unwrap()
}

#[test]
fn what_was_is_cloned_and_stays_when_the_past_is_thinned() {
    let mut world = World::new(90, 1);
    world.options.history = Some(HistoryOptions {
        retention: Retention::window(Duration::from_secs(60)),
    });
    let store = world.create();
    let bytes = pattern(1, LEN as usize);
    world.write(&store, 5000, 0, &bytes);
    world.block_on(store.sync_all()).unwrap();
    world.env.advance(Duration::from_secs(5));
    let then = newest(&store);
    world.write(&store, 5000, 0, &pattern(2, LEN as usize));
    world.block_on(store.sync_all()).unwrap();
    world.env.advance(Duration::from_secs(5));
    let before = stored(&store);
    assert_eq!(
        clone_past(&world, &store, 5001, range(5000, 0, 0, LEN), &then),
        LEN
    );
    // Back into the file itself as well, of which a part is written over meanwhile.
    assert_eq!(
        clone_past(&world, &store, 5000, range(5000, 0, 0, LEN), &then),
        LEN
    );
    drop(then);
    world.block_on(store.sync_all()).unwrap();
    assert_eq!(stored(&store), before, "nothing was copied");
    world.crash(store);
    let store = world.open().unwrap();
    world.env.advance(Duration::from_secs(5));
    check_counts(&store);
    for name in ["a", "b", "c"] {
        world.env.advance(Duration::from_secs(100));
        world.put(&store, &key(5, name), b"one");
    }
    check_counts(&store);
    for inode in [5000, 5001] {
        assert!(read_all(&store, object(inode)).unwrap() == bytes, "{inode}");
    }
    delete(&store, 5000);
    delete(&store, 5001);
    for name in ["a", "b", "c"] {
        world.env.advance(Duration::from_secs(100));
        world.put(&store, &key(5, name), b"two");
    }
    check_counts(&store);
    assert_eq!(stored(&store), 0, "the last owner is gone");
}

#[test]
fn counts_are_exact_when_the_past_is_cloned_again_and_again() {
    for seed in 310..326 {
        let mut world = World::new(seed, 1);
        world.options.history = Some(HistoryOptions {
            retention: Retention::window(Duration::from_secs(30)),
        });
        let mut store = world.create();
        let mut rng = Rng::new(seed);
        let mut now: HashMap<u64, Vec<u8>> = HashMap::new();
        let mut known: Vec<(View, HashMap<u64, Vec<u8>>)> = Vec::new();
        let mut cloned = 0;
        for round in 0..60 {
            let inode = 5000 + rng.below(4) as u64;
            if let Some((view, then)) = known.get(rng.below(known.len().max(1)))
                && rng.chance(60)
            {
                let source = 5000 + rng.below(4) as u64;
                if let Some(bytes) = then.get(&source) {
                    let len = bytes.len() as u64;
                    let whole = range(source, 0, 0, len);
                    let done = clone_past(&world, &store, inode, whole, view);
                    cloned += u64::from(done > 0);
                    let target = now.entry(inode).or_default();
                    let done = usize::try_from(done).unwrap();
                    target.resize(target.len().max(done), 0);
                    target[..done].copy_from_slice(&bytes[..done]);
                }
            } else {
                let bytes = pattern(round, 100_000 + rng.below(400_000));
                world.write(&store, inode, 0, &bytes);
                let target = now.entry(inode).or_default();
                target.resize(target.len().max(bytes.len()), 0);
                target[..bytes.len()].copy_from_slice(&bytes);
            }
            if rng.chance(30) {
                world.block_on(store.sync_all()).unwrap();
                world.env.advance(Duration::from_millis(1_500));
                known.push((newest(&store), now.clone()));
            }
            if rng.chance(10) {
                // Views are let go, and thinning goes on without them.
                known.clear();
                world.env.advance(Duration::from_secs(70));
            }
            if rng.chance(8) {
                world.block_on(store.sync_all()).unwrap();
                known.clear();
                world.crash(store);
                store = world.open().unwrap();
            }
        }
        assert!(cloned > 3, "seed {seed}: {cloned}");
        world.block_on(store.sync_all()).unwrap();
        drop(known);
        world.env.advance(Duration::from_secs(5));
        check_counts(&store);
        for (inode, bytes) in &now {
            assert!(
                read_all(&store, object(*inode)).unwrap() == *bytes,
                "seed {seed}, {inode}"
            );
        }
    }
}
