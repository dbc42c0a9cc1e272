//! Cleaning beside writers and on disks that err.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use strongroom_device::Device as _;
use strongroom_device::sim::{Fault, Injection, Operation};
use strongroom_pool::{Address, ExtentTag, Lane};

use crate::Store;
use crate::data::{Object, Published};
use crate::engine::Engine;
use crate::tests::{SESSION, World, flush, object, pattern, read_all};

const LEN: u32 = 100_000;

/// One extent in a stripe of its own.
fn append(engine: &Engine, inode: u64) -> Address {
    let bytes = pattern(inode, LEN as usize);
    let tag = ExtentTag {
        inode,
        stream: 0,
        offset: 0,
        len: LEN,
        txg: engine.open_txg(),
        packing: 0,
    };
    engine.append(Lane::Small, &[(tag, &[&bytes])]).unwrap()[0]
}

fn read(engine: &Engine, inode: u64, address: Address) {
    let mut bytes = vec![0; LEN as usize];
    engine.pool.read(address, 0, &mut bytes).unwrap();
    assert!(bytes == pattern(inode, LEN as usize));
}

#[test]
fn a_stripe_that_seals_its_segment_while_that_is_cleaned_stays() {
    let world = World::new(71, 1);
    let store = world.create();
    let engine = Arc::clone(store.engine());
    let dead = append(&engine, 1);
    let late = Cell::new(None);
    engine
        .punch(dead.segment, &|_| {
            late.set(Some(append(&engine, 2)));
            engine.pool.seal(dead.segment).unwrap();
            true
        })
        .unwrap();
    let late = late.get().unwrap();
    assert_eq!(late.segment, dead.segment);
    read(&engine, 2, late);
}

#[test]
fn a_segment_with_a_header_that_cannot_be_read_stays() {
    let world = World::new(72, 1);
    let store = world.create();
    let engine = Arc::clone(store.engine());
    let alive = append(&engine, 1);
    let dead = append(&engine, 2);
    engine.pool.seal(alive.segment).unwrap();
    world.disks[0].inject(Injection {
        operation: Operation::Read,
        path: "segments/".into(),
        skip: 0,
        times: 1,
        fault: Fault::Io,
    });
    let seen = engine
        .punch(alive.segment, &|info| info.stripe == dead.stripe)
        .unwrap();
    assert!(!seen.unwrap().contains(&alive.stripe));
    read(&engine, 1, alive);
}

#[test]
fn a_sealed_segment_without_live_stripes_goes() {
    let world = World::new(73, 1);
    let store = world.create();
    let engine = Arc::clone(store.engine());
    let dead = append(&engine, 1);
    engine.punch(dead.segment, &|_| true).unwrap();
    assert_eq!(engine.pool.segments().unwrap().len(), 1, "it is open");
    engine.pool.seal(dead.segment).unwrap();
    engine.punch(dead.segment, &|_| true).unwrap();
    assert!(engine.pool.segments().unwrap().is_empty());
}

fn publish(engine: &Engine, sealed: &Arc<Object>) {
    let mut published = Published::default();
    let txg = engine.join();
    engine.publish(sealed, *txg, &mut published).unwrap();
    drop(txg);
    engine.sync_segments(&published.segments).unwrap();
}

fn delete(world: &World, store: &Store, inode: u64) {
    let mut txn = store.txn(SESSION);
    txn.delete_object(object(inode));
    txn.commit().unwrap();
    world.block_on(store.sync(&[])).unwrap();
}

#[test]
fn a_dead_stripe_that_must_wait_holds_up_none_behind_it() {
    let mut world = World::new(75, 1);
    world.options.history = None;
    let store = world.create();
    let engine = Arc::clone(store.engine());
    for inode in [1, 2] {
        world.write(&store, inode, 0, &pattern(inode, LEN as usize));
    }
    // Both lie in one stripe; the first is dead, the second waits to be named.
    let sealed = flush(&engine, &engine.objects.all());
    publish(&engine, &sealed[0]);
    delete(&world, &store, 1);
    engine.feed(engine.feedable()).unwrap();
    world.write(&store, 3, 0, &pattern(3, LEN as usize));
    let other = flush(&engine, &[engine.objects.get(object(3)).unwrap()]);
    publish(&engine, &other[0]);
    delete(&world, &store, 3);
    engine.feed(engine.feedable()).unwrap();
    assert_eq!(engine.list_dead(None, 9).unwrap().page.listed.len(), 2);
    engine.punch_dead(1).unwrap();
    let listed = engine.list_dead(None, 9).unwrap().page.listed;
    assert_eq!(listed.len(), 1, "the one behind was given back");
    publish(&engine, &sealed[1]);
    assert!(read_all(&store, object(2)).unwrap() == pattern(2, LEN as usize));
}

#[test]
fn what_is_dropped_and_named_by_turns_is_forgotten() {
    let mut world = World::new(76, 1);
    world.options.history = None;
    let store = world.create();
    let engine = Arc::clone(store.engine());
    for round in 0..20 {
        // Half of an extent is overwritten before it is published, half after.
        for offset in [0, 150_000] {
            world.write(&store, 9, offset, &pattern(round, 300_000));
        }
        world.block_on(store.sync(&[object(9)])).unwrap();
        world.env.advance(std::time::Duration::from_secs(3));
    }
    delete(&world, &store, 9);
    world.env.advance(std::time::Duration::from_secs(10));
    assert_eq!(engine.orphans.lock().remembered(), 0);
}

#[test]
fn a_stripe_named_by_the_tail_of_the_log_stays_after_a_crash() {
    let mut world = World::new(74, 1);
    world.options.history = None;
    let store = world.create();
    let engine = Arc::clone(store.engine());
    for inode in [1, 2] {
        let bytes = pattern(inode, LEN as usize);
        let written = store.write(SESSION, object(inode), 0, &bytes, None);
        world.block_on(written).unwrap();
    }
    // Both lie in one stripe; the first dies before the second is named, and only the first reaches the index.
    let sealed = flush(&engine, &engine.objects.all());
    publish(&engine, &sealed[0]);
    world.block_on(store.sync(&[])).unwrap();
    delete(&world, &store, 1);
    engine.feed(engine.feedable()).unwrap();
    publish(&engine, &sealed[1]);
    world.block_on(store.sync(&[])).unwrap();
    drop((engine, sealed));
    world.crash(store);
    let store = world.open().unwrap();
    let engine = Arc::clone(store.engine());
    let round = engine.list_dead(None, 100).unwrap();
    assert_eq!(round.page.listed.len(), 1);
    engine.feed(engine.feedable()).unwrap();
    engine.punch_listed(&round).unwrap();
    assert!(read_all(&store, object(2)).unwrap() == pattern(2, LEN as usize));
}

/// A store in its second life, all of whose stripes were made in the first and swept.
fn second_life(world: &mut World) -> Arc<Store> {
    world.options.history = None;
    let store = world.create();
    for inode in 1..9 {
        world.write(&store, inode, 0, &pattern(inode, LEN as usize));
        world.block_on(store.sync_all()).unwrap();
    }
    world.env.advance(Duration::from_secs(5));
    world.crash(store);
    let store = world.open().unwrap();
    world.env.advance(Duration::from_secs(10));
    assert!(store.audit().unwrap().leaked.is_empty());
    store
}

#[test]
fn what_was_given_back_stays_given_back_after_a_power_cut() {
    for seed in 80..90 {
        let mut world = World::new(seed, 1);
        let store = second_life(&mut world);
        for inode in 1..5 {
            delete(&world, &store, inode);
        }
        world.env.advance(Duration::from_secs(70));
        assert_eq!(
            store.engine().index.snapshot().last_txg(),
            store.durable_txg()
        );
        world.crash(store);
        let store = world.open().unwrap();
        world.env.advance(Duration::from_secs(10));
        let audit = store.audit().unwrap();
        assert!(audit.leaked.is_empty(), "seed {seed}: {:?}", audit.leaked);
        assert!(audit.missing.is_empty() && audit.problems.is_empty());
    }
}

#[test]
fn a_segment_whose_deletion_was_cut_off_goes() {
    let mut world = World::new(91, 2);
    let store = second_life(&mut world);
    let engine = Arc::clone(store.engine());
    let before: Vec<_> = world.disks[1].paths();
    let shards = before.iter().filter(|path| path.starts_with("segments/"));
    let shards: Vec<_> = shards
        .map(|path| (path.clone(), world.disks[1].contents(path).unwrap()))
        .collect();
    for inode in 1..9 {
        delete(&world, &store, inode);
    }
    world.env.advance(Duration::from_secs(70));
    world.block_on(store.close()).unwrap();
    drop((engine, store));
    // One disk got to delete its shards, the other did not.
    for (path, bytes) in &shards {
        if world.disks[1].contents(path).is_none() {
            let file = world.disks[1].create(path, 0).unwrap();
            file.write_at(0, bytes).unwrap();
            file.sync().unwrap();
        }
    }
    world.disks[1].sync_dir("segments").unwrap();
    world.env.kill_tasks();
    world.disks = world.disks.iter().map(|disk| disk.reopen()).collect();
    let store = world.open().unwrap();
    let found = store.engine().pool.segment_ids().len();
    world.env.advance(Duration::from_secs(10));
    assert!(found > store.engine().pool.segment_ids().len());
    assert!(store.audit().unwrap().leaked.is_empty());
}
