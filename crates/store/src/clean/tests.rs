//! Cleaning beside writers and on disks that err.

use std::cell::Cell;
use std::sync::Arc;

use strongroom_device::sim::{Fault, Injection, Operation};
use strongroom_pool::{Address, ExtentTag, Lane};

use crate::data::Published;
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
    let publish = |number: usize| {
        let mut published = Published::default();
        let txg = engine.join();
        engine
            .publish(&sealed[number], *txg, &mut published)
            .unwrap();
        drop(txg);
        engine.sync_segments(&published.segments).unwrap();
    };
    publish(0);
    world.block_on(store.sync(&[])).unwrap();
    let mut txn = store.txn(SESSION);
    txn.delete_object(object(1));
    txn.commit().unwrap();
    world.block_on(store.sync(&[])).unwrap();
    engine.feed(engine.feedable()).unwrap();
    publish(1);
    world.block_on(store.sync(&[])).unwrap();
    drop((engine, sealed));
    world.crash(store);
    let store = world.open().unwrap();
    let engine = Arc::clone(store.engine());
    let round = engine.list_dead().unwrap();
    assert_eq!(round.listed.len(), 1);
    engine.feed(engine.feedable()).unwrap();
    engine.punch_listed(&round).unwrap();
    assert!(read_all(&store, object(2)).unwrap() == pattern(2, LEN as usize));
}
