//! Log and index when disks of the pool are set aside.

use std::sync::Arc;
use std::time::Duration;

use strongroom_device::Device;
use strongroom_device::sim::{Fault, Injection, Operation, SimDevice};

use super::{ROWS, World, key, object, pattern, read_all};
use crate::{ErrorKind, Store};

fn fail(disk: &SimDevice, operation: Operation, path: &str, times: u64, fault: Fault) {
    disk.inject(Injection {
        operation,
        path: path.into(),
        skip: 0,
        times,
        fault,
    });
}

/// Has the pool set a disk aside that nothing but file data was written to.
fn lose_for_segments(world: &World, store: &Store, disk: usize) {
    fail(
        &world.disks[disk],
        Operation::Write,
        "segments/",
        u64::MAX,
        Fault::Io,
    );
    for inode in 9.. {
        world.write(store, inode, 0, &pattern(inode, 300_000));
        if store.engine().pool.status().disks[disk].state != strongroom_pool::DiskState::Member {
            return;
        }
        assert!(inode < 20, "the disk is one of those written to");
    }
}

/// Nothing of one copy of the log can be read any more.
fn wipe_log(disk: &SimDevice, dir: &str) {
    let paths = disk.paths().into_iter();
    let mut wiped = 0;
    for path in paths.filter(|path| path.starts_with(dir)) {
        let len = disk.contents(&path).unwrap().len();
        disk.replace(&path, &vec![0; len]);
        wiped += 1;
    }
    assert!(wiped > 0, "{dir} is a copy");
}

#[test]
fn a_disk_that_fails_for_file_data_takes_no_copy_of_the_log_with_it() {
    // Of three disks two hold the log; of two the one left holds both copies.
    for (disks, other, dir) in [(3, 1, "log/1"), (2, 1, "log/1"), (3, 2, "log/0")] {
        let mut world = World::new(101, disks);
        let store = world.create();
        // Long enough for more than one log file.
        for n in 0..8 {
            world.put(&store, &key(5, &format!("before{n}")), &pattern(n, 200_000));
        }
        world.block_on(store.sync(&[])).unwrap();
        lose_for_segments(&world, &store, 0);
        world.put(&store, &key(5, "after"), b"two");
        world.block_on(store.sync(&[])).unwrap();
        assert_eq!(store.status().indexed_txg, 0, "the log is all there is");
        world.crash(store);
        world.disks[0].set_broken(true);
        wipe_log(&world.disks[other], dir);
        let store = world.open().unwrap();
        for n in 0..8 {
            let row = store.get(ROWS, &key(5, &format!("before{n}"))).unwrap();
            assert!(row.unwrap() == pattern(n, 200_000));
        }
        assert!(store.get(ROWS, &key(5, "after")).unwrap().is_some());
    }
}

#[test]
fn a_new_copy_of_the_log_that_finds_no_room_holds_up_commits_until_there_is_some() {
    let world = World::new(102, 3);
    let store = world.create();
    world.put(&store, &key(5, "a"), b"one");
    world.block_on(store.sync(&[])).unwrap();
    fail(
        &world.disks[2],
        Operation::Create,
        "log/0/0",
        2,
        Fault::NoSpace,
    );
    lose_for_segments(&world, &store, 0);
    world.put(&store, &key(5, "b"), b"two");
    for _ in 0..2 {
        let error = world.block_on(store.sync(&[])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
    }
    world.block_on(store.sync(&[])).unwrap();
    assert!(store.status().offline.is_none());
}

#[test]
fn a_log_copy_that_fails_in_the_first_commit_of_an_opening_is_left_out() {
    let mut world = World::new(103, 3);
    let store = world.create();
    world.put(&store, &key(5, "a"), b"one");
    world.write(&store, 9, 0, &pattern(1, 5000));
    world.block_on(store.sync(&[object(9)])).unwrap();
    world.crash(store);
    fail(
        &world.disks[0],
        Operation::Write,
        "log/",
        u64::MAX,
        Fault::Io,
    );
    let store = world.open().unwrap();
    assert!(store.get(ROWS, &key(5, "a")).unwrap().is_some());
    assert!(read_all(&store, object(9)).unwrap() == pattern(1, 5000));
    world.put(&store, &key(5, "b"), b"two");
    world.block_on(store.sync(&[])).unwrap();
    assert!(store.status().offline.is_none());
}

#[test]
fn copies_follow_while_nobody_commits() {
    let mut world = World::new(104, 3);
    let store = world.create();
    world.put(&store, &key(5, "a"), b"one");
    world.env.advance(Duration::from_secs(5));
    assert_eq!(store.status().overlay_rows, 0, "the index has it all");
    let error = strongroom_device::DeviceError::Io {
        device: "disk0".into(),
        operation: "read",
        path: "segments".into(),
        message: "a scrub found the disk gone".into(),
    };
    let device = Arc::clone(&world.disks[0]) as Arc<dyn Device>;
    store.engine().pool.set_aside(&device, &error).unwrap();
    world.env.advance(Duration::from_secs(5));
    world.crash(store);
    world.disks[0].set_broken(true);
    for path in world.disks[1].paths() {
        if path.starts_with("log/") || path.starts_with("index/") {
            let len = world.disks[1].contents(&path).unwrap().len();
            world.disks[1].replace(&path, &vec![0; len]);
        }
    }
    let store = world.open().unwrap();
    assert!(store.get(ROWS, &key(5, "a")).unwrap().is_some());
}

#[test]
fn a_copy_of_the_log_is_not_ended_by_a_read_that_fails_once() {
    for skip in [0, 3, 8] {
        let mut world = World::new(106, 3);
        let store = world.create();
        for n in 0..8 {
            world.put(&store, &key(5, &format!("before{n}")), &pattern(n, 200_000));
        }
        world.block_on(store.sync(&[])).unwrap();
        world.disks[1].inject(Injection {
            operation: Operation::Read,
            path: "log/".into(),
            skip,
            times: 1,
            fault: Fault::Io,
        });
        lose_for_segments(&world, &store, 0);
        world.put(&store, &key(5, "after"), b"two");
        world.block_on(store.sync(&[])).unwrap();
        assert_eq!(store.status().indexed_txg, 0, "the log is all there is");
        world.crash(store);
        world.disks[0].set_broken(true);
        wipe_log(&world.disks[1], "log/1");
        let store = world.open().unwrap();
        for n in 0..8 {
            let row = store.get(ROWS, &key(5, &format!("before{n}"))).unwrap();
            assert!(row.unwrap() == pattern(n, 200_000));
        }
    }
}

#[test]
fn a_new_copy_of_the_log_has_what_stands_behind_damage() {
    let world = World::new(107, 3);
    let store = world.create();
    for n in 0..8 {
        world.put(&store, &key(5, &format!("row{n}")), &pattern(n, 100_000));
        world.block_on(store.sync(&[])).unwrap();
    }
    // Bytes of the third group; the disk with the other copy is lost before anybody sees it.
    assert!(world.disks[1].flip("log/1/00000", 250_000, 1));
    lose_for_segments(&world, &store, 0);
    world.put(&store, &key(5, "after"), b"two");
    world.block_on(store.sync(&[])).unwrap();
    assert_eq!(store.status().indexed_txg, 0, "the log is all there is");
    let old = world.disks[1].contents("log/1/00000").unwrap();
    let new = world.disks[2].contents("log/0/00000").unwrap();
    assert!(old[..800_000] == new[..800_000]);
}
