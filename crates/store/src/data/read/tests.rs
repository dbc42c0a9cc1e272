//! Reads between which another thread publishes.

use std::cell::Cell;
use std::sync::Arc;

use crate::tests::{SESSION, World, object, pattern};
use crate::{ObjectId, View};

/// Reads an object of `before`, over which `after` is written and published in the middle of the read.
fn read_across(before: &[u8], after: &[u8]) -> Vec<u8> {
    let world = World::new(81, 1);
    let store = world.create();
    let engine = Arc::clone(store.engine());
    let id: ObjectId = object(9);
    let write = |bytes: &[u8]| {
        let written = store.write(SESSION, id, 0, bytes, None);
        world.block_on(written).unwrap();
        world.block_on(store.sync_all()).unwrap();
        assert!(engine.objects.get(id).is_none(), "nothing waits in memory");
    };
    write(before);
    let done = Cell::new(false);
    let mut bytes = vec![0xaa; before.len().max(after.len())];
    let len = engine
        .read_published(&View::Now, id, 0, &mut bytes, &|| {
            if !done.replace(true) {
                write(after);
            }
        })
        .unwrap();
    bytes.truncate(len);
    bytes
}

#[test]
fn a_read_while_inline_data_moves_to_a_segment_sees_it_as_it_was_or_is() {
    let (before, after) = (pattern(1, 1000), pattern(2, 100_000));
    assert!(read_across(&before, &after) == after);
}

#[test]
fn a_read_while_a_file_grows_does_not_mix_the_old_size_with_the_new_bytes() {
    let (before, after) = (pattern(1, 100_000), pattern(2, 300_000));
    assert!(read_across(&before, &after) == after);
}
