//! Rows and data, written, read back, synced, reopened.

use std::time::Duration;

use super::{ROWS, SESSION, World, key, object, pattern, read_all};
use crate::{Inode, ObjectId};

#[test]
fn rows_are_read_back_before_and_after_the_index_has_them() {
    let world = World::new(1, 1);
    let store = world.create();
    world.put(&store, &key(5, "a"), b"one");
    world.put(&store, &key(5, "b"), b"two");
    assert_eq!(store.get(ROWS, &key(5, "a")).unwrap().unwrap(), &b"one"[..]);
    world.env.advance(Duration::from_secs(5));
    assert_eq!(
        store.status().overlay_rows,
        0,
        "the feeder has taken the rows"
    );
    assert_eq!(store.get(ROWS, &key(5, "a")).unwrap().unwrap(), &b"one"[..]);
    let mut txn = store.txn(SESSION);
    txn.delete(ROWS, key(5, "a"));
    txn.put(ROWS, key(5, "c"), b"three".to_vec());
    txn.commit().unwrap();
    let rows = store.scan(ROWS, &key(5, ""), &key(6, ""), 10).unwrap();
    let names: Vec<&[u8]> = rows.iter().map(|(key, _)| &key[8..]).collect();
    assert_eq!(names, [b"b", b"c"]);
}

#[test]
fn synced_changes_survive_a_power_cut() {
    let mut world = World::new(2, 1);
    let store = world.create();
    world.put(&store, &key(5, "a"), b"one");
    world.block_on(store.sync(&[])).unwrap();
    world.put(&store, &key(5, "b"), b"two");
    world.crash(store);
    let store = world.open().unwrap();
    assert_eq!(store.get(ROWS, &key(5, "a")).unwrap().unwrap(), &b"one"[..]);
    assert_eq!(store.get(ROWS, &key(5, "b")).unwrap(), None);
}

#[test]
fn data_of_every_size_is_read_back_and_survives() {
    let mut world = World::new(3, 1);
    let store = world.create();
    let sizes = [
        1,
        100,
        2048,
        2049,
        4096,
        65_536,
        65_537,
        1 << 20,
        (3 << 20) + 17,
    ];
    for (n, size) in sizes.iter().enumerate() {
        let bytes = pattern(n as u64, *size);
        world
            .block_on(store.write(SESSION, object(n as u64 + 10), 0, &bytes, None))
            .unwrap();
    }
    let check = |store: &crate::Store| {
        for (n, size) in sizes.iter().enumerate() {
            let read = read_all(store, object(n as u64 + 10)).unwrap();
            assert!(read == pattern(n as u64, *size), "object of {size} bytes");
        }
    };
    check(&store);
    let objects: Vec<ObjectId> = (0..sizes.len()).map(|n| object(n as u64 + 10)).collect();
    world.block_on(store.sync(&objects)).unwrap();
    check(&store);
    world.crash(store);
    let store = world.open().unwrap();
    check(&store);
    world.env.advance(Duration::from_secs(10));
    assert_eq!(store.status().overlay_rows, 0);
    check(&store);
    world.block_on(store.close()).unwrap();
    drop(store);
    let store = world.open().unwrap();
    check(&store);
}

#[test]
fn inode_ids_are_never_given_twice_and_lie_together() {
    let mut world = World::new(4, 1);
    let mut store = world.create();
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..4 {
        let first = store.allocate_inode(Inode(1));
        let second = store.allocate_inode(Inode(1));
        store.allocate_inode(Inode(2));
        assert_eq!(second.0, first.0 + 1);
        for _ in 0..1000 {
            assert!(seen.insert(store.allocate_inode(Inode(3))));
        }
        assert!(seen.insert(first) && seen.insert(second));
        if round % 2 == 0 {
            world.block_on(store.sync(&[])).unwrap();
        }
        world.crash(store);
        store = world.open().unwrap();
    }
}

#[test]
fn an_idle_store_writes_nothing() {
    let world = World::new(5, 1);
    let store = world.create();
    world.put(&store, &key(5, "a"), b"one");
    world.env.advance(Duration::from_secs(100));
    let before = world.disks[0].operations();
    world.env.advance(Duration::from_secs(1000));
    assert_eq!(world.disks[0].operations(), before);
    drop(store);
}

#[test]
fn an_opening_records_where_the_segments_of_the_last_one_end_and_cuts_them_there() {
    let mut world = World::new(6, 2);
    let store = world.create();
    world.write(&store, 9, 0, &pattern(1, 300_000));
    world.block_on(store.sync(&[object(9)])).unwrap();
    let before = store.engine().pool.segments().unwrap();
    // These stripes no row will name: they go to all lanes, so that one of them lies behind the first.
    for inode in 10..14 {
        world.write(&store, inode, 0, &pattern(inode, 300_000));
    }
    let segments = store.engine().pool.segment_ids().len();
    assert!(segments > 1);
    // The process dies, the machine does not: all that was written is there.
    world.env.kill_tasks();
    drop(store);
    world.disks = world.disks.iter().map(|disk| disk.reopen()).collect();
    let store = world.open().unwrap();
    let pool = &store.engine().pool;
    let epoch = pool.last_epoch().unwrap();
    let named = before.iter().map(|info| (info.id, info.blocks));
    let mut ends: Vec<_> = epoch.segment_ends.clone();
    ends.retain(|(_, end)| *end > 0);
    assert_eq!(ends, named.collect::<Vec<_>>());
    assert_eq!(epoch.segment_ends.len(), segments);
    assert_eq!(
        pool.segment_ids(),
        [before[0].id],
        "an empty one is removed"
    );
    for disk in &world.disks {
        let paths = disk.paths().into_iter();
        for path in paths.filter(|path| path.starts_with("segments/")) {
            let len = disk.contents(&path).unwrap().len();
            assert_eq!(len, before[0].blocks as usize * 4096, "{path}");
        }
    }
    assert!(read_all(&store, object(9)).unwrap() == pattern(1, 300_000));
}
