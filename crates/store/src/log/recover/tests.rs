//! Frames that a fault left where they do not belong.

use std::time::Duration;

use strongroom_device::Device as _;
use strongroom_device::sim::SimDevice;

use crate::log::frame::{HEADER_LEN, Header};
use crate::record;
use crate::tests::{ROWS, SESSION, World, key, pattern};
use crate::{Key, Store};

/// The log files of one copy with the header of their first frame, by sequence.
fn files(disk: &SimDevice, copy: u8) -> Vec<(String, Header)> {
    let prefix = format!("log/{copy}/");
    let paths = disk.paths().into_iter();
    let mut found: Vec<(String, Header)> = paths
        .filter(|path| path.starts_with(&prefix))
        .filter_map(|path| {
            let bytes = disk.contents(&path).unwrap();
            let (header, _) = Header::parse(bytes.get(..HEADER_LEN)?).ok()?;
            Some((path, header))
        })
        .collect();
    found.sort_by_key(|(_, header)| header.position.sequence);
    found
}

fn newest(disk: &SimDevice, copy: u8) -> (String, Header) {
    files(disk, copy).pop().unwrap()
}

fn write_first_block(disk: &SimDevice, path: &str, block: &[u8]) {
    let mut bytes = disk.contents(path).unwrap();
    bytes[..block.len()].copy_from_slice(block);
    assert!(disk.replace(path, &bytes));
}

/// A store on a mirror, opened twice, whose second opening has acknowledged a row. Returns the first frame of the file
/// that the second opening began, as the first one may have left it: with another row in it.
fn opened_twice() -> (World, Vec<u8>, Vec<u8>, String) {
    let mut world = World::new(91, 2);
    let store = world.create();
    world.put(&store, &key(5, "a"), b"one");
    world.block_on(store.sync(&[])).unwrap();
    let (_, first) = newest(&world.disks[0], 0);
    world.crash(store);
    let store = world.open().unwrap();
    world.put(&store, &key(5, "b"), b"two");
    world.block_on(store.sync(&[])).unwrap();
    world.crash(store);
    let (path, real) = newest(&world.disks[0], 0);
    assert_ne!(real.epoch, first.epoch);
    let mut body = Vec::new();
    let value = bytes::Bytes::from_static(b"void");
    record::row(
        &mut body,
        SESSION,
        ROWS,
        &Key::from(key(5, "void")),
        Some(&value),
    );
    let group = Header {
        epoch: first.epoch,
        body_len: u32::try_from(body.len()).unwrap(),
        last: true,
        ..real
    };
    let watermark = Header {
        epoch: first.epoch,
        txg: crate::Txg(real.txg.0 - 1),
        watermark_only: true,
        body_len: 0,
        last: true,
        ..real
    };
    (
        world,
        group.encode(&[&body], None).0,
        watermark.encode(&[], None).0,
        path,
    )
}

fn assert_recovered(store: &Store) {
    assert!(store.get(ROWS, &key(5, "a")).unwrap().is_some());
    assert!(store.get(ROWS, &key(5, "b")).unwrap().is_some());
    assert!(store.get(ROWS, &key(5, "void")).unwrap().is_none());
}

/// The other copy of a log file.
fn on_copy(path: &str, copy: u8) -> String {
    format!("log/{copy}/{}", path.rsplit('/').next().unwrap())
}

#[test]
fn a_copy_that_lost_the_first_write_of_a_file_does_not_hide_the_file() {
    for lost in [0, 1] {
        let mut world = World::new(90, 2);
        let store = world.create();
        let disk = world.disks[usize::from(lost)].clone();
        let mut old: Vec<(String, Vec<u8>)> = Vec::new();
        let mut round = 0;
        // Until a file is used again.
        let (path, block) = loop {
            round += 1;
            world.put(&store, &key(2000 + round, "a"), &pattern(round, 300_000));
            world.block_on(store.sync(&[])).unwrap();
            let (path, _) = newest(&disk, lost);
            let block = disk.contents(&path).unwrap()[..4096].to_vec();
            let before = old.iter().find(|(other, _)| *other == path).cloned();
            if let Some((path, before)) = before.filter(|(_, before)| *before != block) {
                break (path, before);
            }
            old.push((path, block));
            world.env.advance(Duration::from_secs(5));
        };
        world.crash(store);
        write_first_block(&world.disks[usize::from(lost)], &path, &block);
        let store = world.open().unwrap();
        assert!(store.get(ROWS, &key(2000 + round, "a")).unwrap().is_some());
        assert!(store.status().log_repairs > 0);
    }
}

/// A log file of one copy with these bytes, durable.
fn write_file(disk: &SimDevice, path: &str, bytes: &[u8]) {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(_) => disk.create(path, 0).unwrap(),
    };
    file.set_len(0).unwrap();
    file.write_at(0, bytes).unwrap();
    file.sync().unwrap();
    disk.sync_dir(path.rsplit_once('/').unwrap().0).unwrap();
}

#[test]
fn what_an_earlier_opening_left_void_in_a_later_slot_stays_void() {
    for watermark in [false, true] {
        let (world, group, mark, _) = opened_twice();
        let forged = if watermark { mark } else { group };
        write_file(&world.disks[1], "log/1/00099", &forged);
        assert_recovered(&world.open().unwrap());
    }
}

#[test]
fn what_an_earlier_opening_left_void_in_an_earlier_slot_stays_void() {
    for watermark in [false, true] {
        let (world, group, mark, path) = opened_twice();
        let forged = if watermark { mark } else { group };
        // Slots are looked at in order, so the file of the second opening moves behind the void one.
        for (disk, copy) in world.disks.iter().zip(0..) {
            let real = disk.contents(&on_copy(&path, copy)).unwrap();
            write_file(disk, &format!("log/{copy}/00098"), &real);
            write_file(disk, &on_copy(&path, copy), &forged);
        }
        assert_recovered(&world.open().unwrap());
    }
}

#[test]
fn what_an_earlier_opening_left_void_on_one_copy_of_the_same_slot_stays_void() {
    for copy in [0, 1] {
        for watermark in [false, true] {
            let (world, group, mark, path) = opened_twice();
            let forged = if watermark { mark } else { group };
            let disk = &world.disks[usize::from(copy)];
            write_first_block(disk, &on_copy(&path, copy), &forged);
            assert_recovered(&world.open().unwrap());
        }
    }
}

#[test]
fn what_a_killed_process_left_in_memory_only_is_durable_once_the_log_was_read() {
    for skipped in 0..8 {
        let mut world = World::new(92, 1);
        let store = world.create();
        world.env.skip_sync(world.env.syncs() + skipped);
        // More than one log file, so that files and their names are among what was not synced.
        for n in 0..8 {
            world.put(&store, &key(2000 + n, "a"), &pattern(n, 200_000));
        }
        world.block_on(store.sync(&[])).unwrap();
        world.env.kill_tasks();
        drop(store);
        world.disks = world.disks.iter().map(|disk| disk.reopen()).collect();
        let store = world.open().unwrap();
        world.crash(store);
        let store = world.open().unwrap();
        for n in 0..8 {
            assert!(store.get(ROWS, &key(2000 + n, "a")).unwrap().is_some());
        }
    }
}
