//! Copies inside the server.

use super::*;
use crate::{COPY_MAX, DosAttributes, LockOwner, LockRange, QuotaOf};

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n / 251).to_le_bytes()[0] ^ n.to_le_bytes()[0])
        .collect()
}

fn copy(
    world: &World,
    (source, from): (&Handle, u64),
    (target, to): (&Handle, u64),
    len: u64,
) -> Result<()> {
    world.wait(world.vfs.copy_range(source, from, target, to, len))
}

/// Bytes in the pool's segments.
fn stored(world: &World) -> usize {
    let paths = world.disk.paths();
    let segments = paths.iter().filter(|path| path.starts_with("segments/"));
    segments
        .map(|path| world.disk.contents(path).map_or(0, |bytes| bytes.len()))
        .sum()
}

const LEN: usize = 5_000_000;

#[test]
fn a_copy_is_the_source_and_survives_it() {
    let world = World::new(91);
    world.put("from", &pattern(LEN));
    let (source, target) = (world.file("from"), world.file("to"));
    copy(&world, (&source, 0), (&target, 0), LEN as u64).unwrap();
    world.close(&source);
    world.remove("from").unwrap();
    assert!(world.content(&target).unwrap() == pattern(LEN));
    world.wait(world.vfs.flush(&target)).unwrap();
    world.close(&target);
    let world = world.crash();
    assert!(world.get("to").unwrap() == pattern(LEN));
}

#[test]
fn a_copy_takes_space_of_the_quota_but_none_of_the_pool() {
    let world = World::new(92);
    world.put("from", &pattern(LEN));
    let who = QuotaOf::User(user(1000).user);
    world.vfs.set_quota(who, Some(3 * LEN as u64)).unwrap();
    world.wait(world.vfs.store().sync_all()).unwrap();
    let before = stored(&world);
    let (source, target) = (world.file("from"), world.file("to"));
    copy(&world, (&source, 0), (&target, 0), LEN as u64).unwrap();
    world.close(&target);
    world.wait(world.vfs.store().sync_all()).unwrap();
    let used = world.vfs.quotas().into_iter().find(|quota| quota.of == who);
    let unit = |len: usize| (len as u64).next_multiple_of(4096);
    assert_eq!(used.unwrap().used, 2 * unit(LEN));
    let grown = stored(&world) - before;
    assert!(grown < 1 << 20, "{grown} bytes");
    let (again, third) = (world.file("from"), world.file("third"));
    let twice = copy(&world, (&again, 0), (&third, 0), LEN as u64)
        .and_then(|()| copy(&world, (&again, 0), (&third, LEN as u64), LEN as u64));
    assert_eq!(outcome(twice), "QuotaExceeded");
}

#[test]
fn overlapping_ranges_of_one_file_come_out_right() {
    let world = World::new(93);
    let mut data = pattern(400_000);
    world.put("f", &data);
    let handle = world.file("f");
    copy(&world, (&handle, 0), (&handle, 1000), 300_000).unwrap();
    data.copy_within(..300_000, 1000);
    assert!(world.content(&handle).unwrap() == data);
    copy(&world, (&handle, 5000), (&handle, 0), 200_000).unwrap();
    data.copy_within(5000..205_000, 0);
    assert!(world.content(&handle).unwrap() == data);
    copy(&world, (&handle, 0), (&handle, 400_000), 100_000).unwrap();
    data.extend_from_within(..100_000);
    assert!(world.content(&handle).unwrap() == data);
}

#[test]
fn rights_locks_and_ends_of_files_hold_for_copies() {
    let world = World::new(94);
    world.put("from", &pattern(200_000));
    let (source, target) = (world.file("from"), world.file("to"));
    let beyond = copy(&world, (&source, 100_001), (&target, 0), 100_000);
    assert_eq!(outcome(beyond), "InvalidRange");
    let far = copy(&world, (&source, 0), (&target, crate::FILE_MAX), 100_000);
    assert_eq!(outcome(far), "InvalidRange");
    let reader = |request: &mut OpenRequest<'_>| request.access = AccessMask::FILE_READ;
    let (reader, _) = world.open("to", reader).unwrap();
    let unwritable = copy(&world, (&source, 0), (&reader, 0), 100_000);
    assert_eq!(outcome(unwritable), "AccessDenied");
    let other = world.file("from");
    let range = LockRange {
        offset: 150_000,
        len: 1,
        exclusive: true,
    };
    let ranges = [range];
    world
        .vfs
        .lock(&other, LockOwner::default(), &ranges)
        .unwrap();
    let locked = copy(&world, (&source, 0), (&target, 0), 200_000);
    assert_eq!(outcome(locked), "LockConflict");
    copy(&world, (&source, 0), (&target, 0), 150_000).unwrap();
    world.close(&target);
    let closed = copy(&world, (&source, 0), (&target, 0), 100_000);
    assert_eq!(outcome(closed), "Closed");
}

#[test]
fn only_those_that_may_append_copy_to_the_end() {
    let world = World::new(95);
    world.put("from", &pattern(100_000));
    world.put("to", b"head");
    let source = world.file("from");
    let (target, _) = world
        .open("to", |request| {
            request.access = AccessMask::APPEND_DATA | AccessMask::READ_DATA;
        })
        .unwrap();
    let over = copy(&world, (&source, 0), (&target, 0), 100_000);
    assert_eq!(outcome(over), "AccessDenied");
    copy(&world, (&source, 0), (&target, 4), 100_000).unwrap();
    assert!(world.content(&target).unwrap()[4..] == pattern(100_000));
}

#[test]
fn a_long_copy_of_a_sparse_file_keeps_its_holes() {
    let world = World::new(96);
    let (source, target) = (world.file("from"), world.file("to"));
    for handle in [&source, &target] {
        world.vfs.set_sparse(handle, true).unwrap();
    }
    let at = 70 * COPY_MAX;
    world
        .wait(world.vfs.write(&source, at, &pattern(100_000)))
        .unwrap();
    copy(&world, (&source, 0), (&target, 0), at + 100_000).unwrap();
    let stat = world.vfs.stat(&target).unwrap();
    assert_eq!(stat.size, at + 100_000);
    assert!(stat.allocated < 200_000, "{} bytes", stat.allocated);
    assert!(stat.attributes.contains(DosAttributes::SPARSE_FILE));
    let mut tail = vec![0; 100_000];
    world.vfs.read(&target, at, &mut tail).unwrap();
    assert!(tail == pattern(100_000));
}
