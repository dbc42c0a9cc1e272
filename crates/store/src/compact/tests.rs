//! Stripes that are half dead are emptied; names and bytes stay.

use std::sync::Arc;
use std::time::Duration;

use strongroom_device::sim::{Fault, Injection, Moment, Operation, Rng};

use super::{Next, Plan};
use crate::engine::Engine;
use crate::rows::{self, MOVED, MOVED_NAMES};
use crate::tests::{ROWS, SESSION, World, key, object, pattern, read_all};
use crate::{Compression, ErrorKind, Store, StoreError, View};

const LEN: usize = 20_000;

fn world(seed: u64) -> World {
    let mut world = World::new(seed, 1);
    world.options.history = None;
    world
}

/// Small files, many to a stripe, all in the index.
fn fill(world: &World, store: &Store, inodes: std::ops::Range<u64>) {
    for inode in inodes {
        world.write(store, inode, 0, &pattern(inode, LEN));
    }
    world.block_on(store.sync_all()).unwrap();
    world.env.advance(Duration::from_secs(3));
}

fn delete(store: &Store, inode: u64) {
    let mut txn = store.txn(SESSION);
    txn.delete_object(object(inode));
    txn.put(ROWS, key(inode, "gone"), b"x".to_vec());
    txn.commit().unwrap();
}

fn assert_alive(store: &Store, inodes: impl IntoIterator<Item = u64>) {
    for inode in inodes {
        let read = read_all(store, object(inode)).unwrap();
        assert!(read == pattern(inode, LEN), "file {inode}");
    }
}

/// Rows of a table that begins with an address.
fn count(engine: &Engine, table: crate::Table) -> usize {
    let mut rows = 0;
    let mut note = |_: &[u8], _: &[u8]| {
        rows += 1;
        Ok(true)
    };
    engine
        .index
        .snapshot()
        .scan(table, &[], None, &mut note)
        .unwrap();
    rows
}

/// Bytes that the shard files take.
fn stored(store: &Store) -> u64 {
    let pool = &store.engine().pool;
    let space = pool.space().unwrap();
    space.raw_total - space.raw_free
}

#[test]
fn half_of_the_small_files_deleted_give_their_space_back() {
    let mut world = world(131);
    let store = world.create();
    world.env.advance(Duration::from_secs(5));
    // So that it is worth something.
    world.disks[0].set_capacity(256 << 20);
    let before = stored(&store);
    fill(&world, &store, 2000..4000);
    let full = stored(&store) - before;
    let mut rng = Rng::new(1);
    let (dead, alive): (Vec<u64>, Vec<u64>) = (2000..4000).partition(|_| rng.chance(50));
    dead.iter().for_each(|inode| delete(&store, *inode));
    world.env.advance(Duration::from_secs(180));
    let left = stored(&store) - before;
    let freed = full * dead.len() as u64 / 2000;
    assert!(
        full - left >= freed * 9 / 10,
        "{} of {freed} bytes came back",
        full - left
    );
    assert_alive(&store, alive.iter().copied());
    let copied = store.status().compacted_bytes;
    assert!(
        copied > 0 && copied <= freed * 12 / 10,
        "{copied} copied for {freed}"
    );
    // Names live on over a restart, and go with their files.
    world.crash(store);
    let store = world.open().unwrap();
    assert_alive(&store, alive.iter().copied());
    let engine = Arc::clone(store.engine());
    let moved = count(&engine, MOVED);
    assert!(moved > 0 && moved == count(&engine, MOVED_NAMES));
    alive.iter().for_each(|inode| delete(&store, *inode));
    world.env.advance(Duration::from_secs(180));
    assert_eq!((count(&engine, MOVED), count(&engine, MOVED_NAMES)), (0, 0));
    assert_eq!(count(&engine, rows::STRIPES), 0);
    let segments = engine.pool.segment_ids().len();
    assert!(
        segments <= 2,
        "{segments} segments are left, none of them full"
    );
}

#[test]
fn compressed_files_are_moved_as_they_are_stored() {
    let world = world(139);
    let store = world.create();
    world.disks[0].set_capacity(96 << 20);
    let text = |inode| {
        let mut bytes = pattern(inode, 4 * LEN);
        crate::tests::repeat(&mut bytes);
        bytes
    };
    for inode in 2000..3000 {
        let (id, how) = (object(inode), Compression::Zstd);
        let bytes = text(inode);
        let written = store.write_compressed(SESSION, id, 0, &bytes, None, how);
        world.block_on(written).unwrap();
    }
    world.block_on(store.sync_all()).unwrap();
    world.env.advance(Duration::from_secs(3));
    let before = store.space().unwrap();
    assert!(before.stored < before.uncompressed / 2);
    (2000..3000)
        .skip(1)
        .step_by(2)
        .for_each(|inode| delete(&store, inode));
    world.env.advance(Duration::from_secs(180));
    let moved = count(store.engine(), MOVED);
    assert!(moved > 100, "{moved} moved");
    let space = store.space().unwrap();
    assert_eq!(space.stored, before.stored / 2);
    for inode in (2000..3000).step_by(2) {
        assert!(read_all(&store, object(inode)).unwrap() == text(inode));
    }
    assert_eq!(store.audit().unwrap().problems, Vec::<String>::new());
    world.block_on(store.close()).unwrap();
    let store = world.open().unwrap();
    assert!(read_all(&store, object(2000)).unwrap() == text(2000));
}

#[test]
fn what_was_moved_is_moved_again_and_keeps_its_name() {
    let world = world(132);
    let store = world.create();
    world.disks[0].set_capacity(96 << 20);
    fill(&world, &store, 2000..3000);
    let mut alive: Vec<u64> = (2000..3000).collect();
    let mut copied = 0;
    for _ in 0..3 {
        for inode in alive.iter().skip(1).step_by(2) {
            delete(&store, *inode);
        }
        alive = alive.into_iter().step_by(2).collect();
        world.env.advance(Duration::from_secs(180));
        let now = store.status().compacted_bytes;
        assert!(now > copied);
        copied = now;
        assert_alive(&store, alive.iter().copied());
    }
    assert_eq!(count(store.engine(), MOVED), alive.len());
    // A moved file is written over in part.
    for inode in &alive {
        world.write(&store, *inode, 5000, b"new");
    }
    world.block_on(store.sync_all()).unwrap();
    world.env.advance(Duration::from_secs(180));
    for inode in &alive {
        let mut bytes = pattern(*inode, LEN);
        bytes[5000..5003].copy_from_slice(b"new");
        assert!(read_all(&store, object(*inode)).unwrap() == bytes);
    }
}

/// A round as when space is short.
fn compact(engine: &Engine) -> crate::Result<Next> {
    *engine.compaction.lock() = Plan::default();
    engine
        .died
        .store(true, std::sync::atomic::Ordering::Relaxed);
    engine.compact(Some(u64::MAX))
}

/// A store in which half of every stripe is dead, and the files that live. The disk is so large that nothing is done.
fn half_dead(world: &World) -> (Arc<Store>, Vec<u64>) {
    let store = world.create();
    fill(world, &store, 2000..2400);
    let (dead, alive): (Vec<u64>, Vec<u64>) = (2000..2400).partition(|inode| inode % 2 == 0);
    dead.iter().for_each(|inode| delete(&store, *inode));
    // What is dead is reaped once a minute.
    world.env.advance(Duration::from_secs(130));
    assert_eq!(store.status().compacted_bytes, 0);
    (store, alive)
}

#[test]
fn a_reader_of_an_older_state_finds_the_bytes_where_they_were() {
    let world = world(133);
    let (store, alive) = half_dead(&world);
    let engine = store.engine();
    let id = object(alive[7]);
    let (rows, pin) = engine.extent_rows(&View::Now, id, 0, LEN as u64).unwrap();
    assert_eq!(compact(engine).unwrap(), Next::Now);
    engine.clean().unwrap();
    assert!(store.status().compacted_bytes > 0);
    let mut bytes = vec![0; LEN];
    let at = engine.locate(&*pin, rows[0].1.address).unwrap();
    assert_eq!(at, rows[0].1.address);
    engine.pool.read(at, 0, &mut bytes).unwrap();
    assert!(bytes == pattern(alive[7], LEN));
    drop(pin);
    engine.clean().unwrap();
    assert!(
        engine.pool.read(at, 0, &mut bytes).is_err(),
        "given back now"
    );
    assert_alive(&store, alive);
}

#[test]
fn what_dies_while_it_is_copied_is_dead_in_its_new_place() {
    let world = world(134);
    let (store, alive) = half_dead(&world);
    let engine = store.engine();
    let mut plan = engine.survey(Some(u64::MAX)).unwrap();
    let batch = engine.gather_living(&mut plan).unwrap();
    assert_eq!(batch.len(), alive.len());
    for inode in &alive[..50] {
        delete(&store, *inode);
    }
    world.env.advance(Duration::from_secs(130));
    engine.move_extents(&batch).unwrap();
    assert_eq!(count(engine, MOVED), alive.len() - 50);
    world.env.advance(Duration::from_secs(10));
    assert_alive(&store, alive[50..].iter().copied());
    for inode in &alive[50..] {
        delete(&store, *inode);
    }
    world.env.advance(Duration::from_secs(180));
    assert_eq!(
        count(engine, rows::STRIPES),
        0,
        "all of it was accounted for"
    );
}

/// Gives up what is dead without letting the periodic commit publish anything.
fn reap(world: &World, engine: &Engine) {
    world
        .block_on(engine.request(crate::commit::Wanted::Watermark))
        .unwrap();
    engine.feed(engine.feedable()).unwrap();
    let rules = crate::keep::Rules::only(&crate::Retention::window(Duration::ZERO));
    let budget = crate::thin::Budget {
        rows: 1000,
        pressure: true,
    };
    let later = strongroom_device::Timestamp(world.env().now().0 + 5_000_000_000);
    let terms = crate::thin::Terms {
        rules: &rules,
        spared: &[],
        realms: None,
        now: later.seconds(),
    };
    crate::thin::thin(engine.index.as_ref(), &terms, budget).unwrap();
}

#[test]
fn a_stripe_with_bytes_that_no_row_names_yet_is_left_alone() {
    let world = world(135);
    let store = world.create();
    for inode in 2000..2020 {
        world.write(&store, inode, 0, &pattern(inode, LEN));
    }
    let engine = store.engine();
    let sealed = crate::tests::flush(engine, &engine.objects.all());
    let publish = |sealed: &[Arc<crate::data::Object>]| {
        let mut published = crate::data::Published::default();
        for object in sealed {
            let txg = engine.join();
            engine.publish(object, *txg, &mut published).unwrap();
        }
        engine.sync_segments(&published.segments).unwrap();
        world.block_on(store.sync(&[])).unwrap();
    };
    publish(&sealed[..10]);
    for inode in 2000..2008 {
        delete(&store, inode);
    }
    reap(&world, engine);
    let mut plan = engine.survey(Some(u64::MAX)).unwrap();
    assert_eq!(plan.candidates.len(), 1);
    assert!(engine.gather_living(&mut plan).unwrap().is_empty());
    publish(&sealed[10..]);
    assert_alive(&store, 2008..2020);
}

#[test]
fn a_full_disk_ends_a_round_and_loses_nothing() {
    let world = world(136);
    let (store, alive) = half_dead(&world);
    let engine = store.engine();
    world.disks[0].inject(Injection {
        operation: Operation::Write,
        path: "segments/".into(),
        skip: 2,
        times: 1,
        fault: Fault::NoSpace,
    });
    let error = compact(engine).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(matches!(error, StoreError::NoSpace));
    assert_eq!(count(engine, MOVED), 0);
    assert_alive(&store, alive.iter().copied());
    delete(&store, 2001);
    world.disks[0].set_capacity(128 << 20);
    world.env.advance(Duration::from_secs(180));
    assert!(store.status().compacted_bytes > 0, "it is tried again");
    assert_alive(&store, alive.into_iter().skip(1));
}

#[test]
fn a_power_cut_at_any_sync_of_a_compaction_loses_nothing() {
    for moment in [Moment::Before, Moment::During, Moment::After] {
        let mut reached = true;
        let mut cut = 0;
        while reached {
            let mut world = world(200 + cut);
            let (store, alive) = half_dead(&world);
            let begun = world.env.syncs();
            world.env.cut_at_sync(begun + cut, moment);
            // Whatever it says: the power may be off.
            drop(compact(store.engine()));
            drop(store.engine().clean());
            reached = world.env.syncs() > begun + cut;
            world.crash(store);
            let store = world.open().unwrap();
            assert_alive(&store, alive.iter().copied());
            world.env.advance(Duration::from_secs(180));
            assert_alive(&store, alive.iter().copied());
            alive.iter().for_each(|inode| delete(&store, *inode));
            world.env.advance(Duration::from_secs(180));
            assert_eq!(count(store.engine(), rows::STRIPES), 0);
            cut += 1;
        }
        assert!(cut > 4, "the compaction has sync points: {cut}");
    }
}

#[test]
fn the_harness_finds_copies_that_were_named_before_they_were_synced() {
    let lost = (0..20).any(|seed| {
        let mut world = world(300 + seed);
        world.options.planted.skip_segment_sync = false;
        let (store, alive) = half_dead(&world);
        let mut plan = store.engine().survey(Some(u64::MAX)).unwrap();
        let batch = store.engine().gather_living(&mut plan).unwrap();
        // The first sync is that of the new segment.
        world.env.skip_sync(world.env.syncs());
        store.engine().move_extents(&batch).unwrap();
        world.crash(store);
        let store = world.open().unwrap();
        alive
            .iter()
            .any(|inode| read_all(&store, object(*inode)).is_err())
    });
    assert!(lost);
}
