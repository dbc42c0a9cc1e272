//! Data that is stored shorter than it is.

use std::sync::Arc;
use std::time::Duration;

use super::model::{Model, run};
use super::{SESSION, World, object, pattern, read_all, repeat};
use crate::rows::{self, EXTENTS, ExtentRow, HEADS, HeadRow};
use crate::{Compression, Store, StoreError, View};
use strongroom_device::sim::Rng;

fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = pattern(seed, len);
    repeat(&mut bytes);
    bytes
}

fn write(world: &World, store: &Store, inode: u64, bytes: &[u8], how: Compression) {
    let written = store.write_compressed(SESSION, object(inode), 0, bytes, None, how);
    world.block_on(written).unwrap();
}

fn settle(world: &World, store: &Store) {
    world.block_on(store.sync_all()).unwrap();
    world.env.advance(Duration::from_secs(5));
}

fn rows_of(store: &Store, inode: u64) -> Vec<ExtentRow> {
    let engine = Arc::clone(store.engine());
    let found = engine.extent_rows(&View::Now, object(inode), 0, u64::MAX);
    found.unwrap().0.into_iter().map(|(_, row)| row).collect()
}

fn clean_audit(store: &Store) {
    let audit = store.audit().unwrap();
    assert_eq!(audit.problems, Vec::<String>::new());
    assert_eq!(audit.missing, []);
}

#[test]
fn what_compresses_takes_less_and_reads_back_now_and_after_a_restart() {
    for how in [Compression::Lz4, Compression::Zstd] {
        let world = World::new(301, 2);
        let store = world.create();
        // Streamed, gathered, and several small ones in one stripe.
        let files = [
            (5000, 3_000_000),
            (5001, 200_000),
            (5002, 9000),
            (5003, 9000),
        ];
        for (inode, len) in files {
            write(&world, &store, inode, &text(inode, len), how);
        }
        write(&world, &store, 5004, &pattern(1, 500_000), how);
        settle(&world, &store);
        let space = store.space().unwrap();
        assert!(space.uncompressed > 3_700_000);
        assert!(space.stored < 500_000 + 1_300_000, "{space:?}");
        let check = |store: &Store| {
            for (inode, len) in files {
                assert!(
                    rows_of(store, inode)
                        .iter()
                        .all(|row| row.packing.is_some())
                );
                assert!(read_all(store, object(inode)).unwrap() == text(inode, len));
                let mut some = vec![0; 700];
                let at = len / 2 + 13;
                store.read(object(inode), at as u64, &mut some).unwrap();
                assert!(some == text(inode, len)[at..at + 700]);
            }
            assert!(rows_of(store, 5004).iter().all(|row| row.packing.is_none()));
            assert!(read_all(store, object(5004)).unwrap() == pattern(1, 500_000));
            clean_audit(store);
        };
        check(&store);
        world.block_on(store.close()).unwrap();
        check(&world.open().unwrap());
    }
}

#[test]
fn overwrites_clones_and_holes_in_compressed_extents_add_up() {
    let world = World::new(302, 1);
    let store = world.create();
    let (mut model, mut rng) = (Model::new(), Rng::new(303));
    for _ in 0..6 {
        run(&world, &store, &mut model, &mut rng, 40);
        settle(&world, &store);
        model.assert_newest(&store);
        clean_audit(&store);
    }
    world.block_on(store.close()).unwrap();
    let store = world.open().unwrap();
    model.assert_newest(&store);
    clean_audit(&store);
}

#[test]
fn allocated_bytes_are_those_of_the_file_and_what_they_take_is_counted_apart() {
    let world = World::new(304, 1);
    let store = world.create();
    write(&world, &store, 5000, &text(7, 1 << 20), Compression::Zstd);
    settle(&world, &store);
    assert_eq!(store.head(object(5000)).unwrap().allocated, 1 << 20);
    let head = store.engine().get(HEADS, &rows::object_key(object(5000)));
    let head = HeadRow::decode(&head.unwrap().unwrap()).unwrap();
    assert!(head.held < 400_000, "{head:?}");
    assert_eq!(store.space().unwrap().used_present, head.held);
    let zero = store.zero(SESSION, object(5000), 0, 1 << 19, None);
    world.block_on(zero).unwrap();
    settle(&world, &store);
    let space = store.space().unwrap();
    assert_eq!(space.used_present, head.held.div_ceil(2));
}

#[test]
fn a_compressed_extent_that_rots_is_an_error_and_never_other_bytes() {
    let world = World::new(305, 1);
    let store = world.create();
    let bytes = text(9, 1 << 20);
    write(&world, &store, 5000, &bytes, Compression::Lz4);
    settle(&world, &store);
    let paths = world.disks[0].paths();
    let segment = paths.iter().find(|path| path.starts_with("segments/"));
    world.disks[0].flip(segment.unwrap(), 60_000, 4);
    let read = read_all(&store, object(5000));
    assert!(matches!(read, Err(StoreError::Pool(_))), "{read:?}");
    // What lies in other checksummed blocks is still there.
    let mut some = [0; 500];
    store.read(object(5000), 900_000, &mut some).unwrap();
    assert!(some == bytes[900_000..900_500]);
}

#[test]
fn rows_say_once_and_for_all_how_an_extent_is_stored() {
    let world = World::new(306, 1);
    let store = world.create();
    write(&world, &store, 5000, &text(3, 300_000), Compression::Lz4);
    settle(&world, &store);
    let before = rows_of(&store, 5000);
    // Another setting is for what is written from then on.
    let (id, some) = (object(5000), text(4, 20_000));
    let at = store.write_compressed(SESSION, id, 100_000, &some, None, Compression::Zstd);
    world.block_on(at).unwrap();
    settle(&world, &store);
    let after = rows_of(&store, 5000);
    assert!(after.len() > before.len());
    let packings: Vec<_> = after.iter().map(|row| row.packing).collect();
    assert!(packings.contains(&before[0].packing), "{packings:?}");
    let mut expected = text(3, 300_000);
    expected[100_000..120_000].copy_from_slice(&text(4, 20_000));
    assert!(read_all(&store, object(5000)).unwrap() == expected);
    let snapshot = store.engine().index.snapshot();
    let mut held = 0;
    let mut add = |_: &[u8], value: &[u8]| {
        let header = rows::Header::decode(value)?;
        held += ExtentRow::decode(&value[header.len..])?.held();
        Ok(true)
    };
    snapshot.scan(EXTENTS, &[], None, &mut add).unwrap();
    assert_eq!(store.space().unwrap().used_present, held);
}
