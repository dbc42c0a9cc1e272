//! Steps of two commits taken in turns, as two threads may take them.

use super::SealedLayers;
use crate::data::Published;
use crate::tests::{SESSION, World, flush, object, pattern};

/// More than rides in a record, less than goes to a segment as it comes.
const LEN: usize = 100_000;

#[test]
fn a_layer_sealed_anew_while_the_old_one_was_synced_is_not_taken_for_synced() {
    let world = World::new(61, 1);
    let store = world.create();
    let engine = store.engine();
    let id = object(9);
    let write = |seed, offset| {
        let bytes = pattern(seed, LEN);
        let written = store.write(SESSION, id, offset, &bytes, None);
        world.block_on(written).unwrap();
    };
    write(1, 0);
    let objects = engine.objects.all();
    let mut periodic = SealedLayers::default();
    periodic.add(flush(engine, &objects));
    engine.sync_segments(periodic.segments()).unwrap();
    // Before the periodic commit says so, a commit on demand seals the object anew and appends to the segment.
    write(2, LEN as u64);
    let sealed = flush(engine, &objects);
    periodic.mark_synced();
    let mut published = Published::default();
    let txg = engine.join();
    engine.publish(&sealed[0], *txg, &mut published).unwrap();
    assert_eq!(
        published.segments,
        periodic.segments(),
        "what is published must be synced first"
    );
}

#[test]
fn a_layer_that_stayed_as_it_was_synced_is_not_synced_again() {
    let world = World::new(62, 1);
    let store = world.create();
    let engine = store.engine();
    let bytes = pattern(1, LEN);
    let written = store.write(SESSION, object(9), 0, &bytes, None);
    world.block_on(written).unwrap();
    let mut periodic = SealedLayers::default();
    periodic.add(flush(engine, &engine.objects.all()));
    engine.sync_segments(periodic.segments()).unwrap();
    periodic.mark_synced();
    let mut published = Published::default();
    let txg = engine.join();
    for object in periodic.into_objects() {
        engine.publish(&object, *txg, &mut published).unwrap();
    }
    assert!(published.segments.is_empty());
}
