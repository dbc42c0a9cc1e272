//! Full disks, full memory, and opening with a full overlay.

use std::time::Duration;

use super::{ROWS, SESSION, World, key, object, pattern, read_all};
use crate::{ErrorKind, StoreError};

const CAPACITY: u64 = 96 << 20;

#[test]
fn a_full_pool_refuses_writers_serves_readers_and_gives_space_back() {
    let mut world = World::new(41, 1);
    world.options.history = None;
    world.disks[0].set_capacity(CAPACITY);
    let store = world.create();
    let bytes = pattern(1, 1 << 20);
    let mut written = Vec::new();
    let refused = loop {
        let id = object(5000 + written.len() as u64);
        match world.block_on(store.write(SESSION, id, 0, &bytes, None)) {
            Ok(()) => written.push(id),
            Err(error) => break error,
        }
        assert!(written.len() < 200, "a bounded disk fills up");
    };
    assert!(matches!(refused, StoreError::NoSpace), "{refused}");
    assert!(
        written.len() > 40,
        "most of the disk is usable: {}",
        written.len()
    );
    world.block_on(store.sync_all()).unwrap();
    assert!(read_all(&store, written[3]).unwrap() == bytes);
    let mut txn = store.txn(SESSION);
    txn.put(ROWS, key(5, "full"), vec![0; 1 << 20]);
    assert_eq!(txn.commit().unwrap_err().kind(), ErrorKind::NoSpace);
    for id in &written[..written.len() / 2] {
        let mut txn = store.txn(SESSION);
        txn.delete_object(*id);
        txn.commit().unwrap();
    }
    world.env.advance(Duration::from_secs(30));
    let id = object(9000);
    for round in 0..10 {
        let written = world.block_on(store.write(SESSION, id, round << 20, &bytes, None));
        assert!(written.is_ok(), "deleting gave space back: {written:?}");
    }
    assert!(store.status().offline.is_none());
}

#[test]
fn memory_stays_bounded_under_a_flood_of_small_writes() {
    let mut world = World::new(42, 1);
    world.options.overlay_rows_max = 2000;
    world.options.dirty_bytes_max = 4 << 20;
    world.options.feed_rows_max = 500;
    let store = world.create();
    for n in 0..3000 {
        world.block_on(store.throttle());
        world.put(&store, &key(n, "name"), b"value");
        let id = object(10_000 + n);
        world
            .block_on(store.write(SESSION, id, 0, &[n as u8; 3000], None))
            .unwrap();
        let status = store.status();
        assert!(
            status.overlay_rows < 4000 + 2000,
            "{} rows",
            status.overlay_rows
        );
        assert!(
            status.dirty_bytes <= (4 << 20) + 3000,
            "{} bytes",
            status.dirty_bytes
        );
    }
}

#[test]
fn a_failing_disk_stops_writing_and_says_so() {
    let world = World::new(43, 1);
    let store = world.create();
    world.put(&store, &key(5, "a"), b"one");
    world.block_on(store.sync(&[])).unwrap();
    world.put(&store, &key(5, "b"), b"two");
    world.disks[0].inject(strongroom_device::sim::Injection {
        operation: strongroom_device::sim::Operation::Sync,
        path: "log/".into(),
        skip: 0,
        times: u64::MAX,
        fault: strongroom_device::sim::Fault::Io,
    });
    let error = world.block_on(store.sync(&[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Offline, "{error}");
    let mut txn = store.txn(SESSION);
    txn.put(ROWS, key(5, "c"), vec![0]);
    assert_eq!(txn.commit().unwrap_err().kind(), ErrorKind::Offline);
    assert!(
        store.get(ROWS, &key(5, "a")).unwrap().is_some(),
        "reading goes on"
    );
    assert!(store.status().offline.is_some());
}
