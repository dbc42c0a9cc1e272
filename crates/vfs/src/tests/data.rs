//! Reading, writing, streams, extended attributes, times.

use super::*;
use crate::{APPEND, DosAttributes, ExtendedAttribute, FileTime, SetTimes, TimeFlags};

#[test]
fn data_survives_a_restart() {
    let world = World::new(21);
    let big: Vec<u8> = (0..3_000_000u32)
        .map(|n| (n / 7).to_le_bytes()[0])
        .collect();
    world.put("small", b"small");
    world.put("big", &big);
    world.put("small:stream", b"beside");
    let world = world.reopen();
    assert_eq!(world.get("small").unwrap(), b"small");
    assert_eq!(world.get("big").unwrap(), big);
    assert_eq!(world.get("SMALL:Stream:$DATA").unwrap(), b"beside");
}

#[test]
fn appending_goes_to_the_end_and_nowhere_else() {
    let world = World::new(22);
    world.put("f", b"one");
    let (handle, _) = world
        .open("f", |request| {
            request.access = AccessMask::APPEND_DATA | AccessMask::READ_DATA
        })
        .unwrap();
    world
        .wait(world.vfs.write(&handle, APPEND, b" two"))
        .unwrap();
    assert_eq!(
        outcome(world.wait(world.vfs.write(&handle, 0, b"x"))),
        "AccessDenied"
    );
    assert_eq!(world.content(&handle).unwrap(), b"one two");
}

#[test]
fn ranges_beyond_the_largest_file_are_refused() {
    let world = World::new(23);
    let handle = world.file("f");
    let write = world.vfs.write(&handle, crate::FILE_MAX, b"x");
    assert_eq!(outcome(world.wait(write)), "InvalidRange");
    assert_eq!(
        outcome(world.wait(world.vfs.set_size(&handle, u64::MAX))),
        "InvalidParameter"
    );
    world
        .wait(world.vfs.write(&handle, u64::from(u32::MAX), b""))
        .unwrap();
    assert_eq!(
        world.vfs.stat(&handle).unwrap().size,
        0,
        "an empty write changes nothing"
    );
}

#[test]
fn sparse_files_tell_their_ranges() {
    let world = World::new(24);
    let handle = world.file("f");
    world.vfs.set_sparse(&handle, true).unwrap();
    world
        .wait(world.vfs.write(&handle, 0, &[1; 1 << 17]))
        .unwrap();
    world.wait(world.vfs.set_size(&handle, 1 << 20)).unwrap();
    world
        .wait(world.vfs.zero_range(&handle, 1 << 16, 1 << 16))
        .unwrap();
    let ranges = world.vfs.allocated_ranges(&handle, 0, u64::MAX).unwrap();
    let last = ranges.last().unwrap();
    assert!(last.0 + last.1 <= 1 << 17, "{ranges:?}");
    let data = world.content(&handle).unwrap();
    assert!(data[1 << 16..].iter().all(|byte| *byte == 0));
    assert!(
        world
            .vfs
            .stat(&handle)
            .unwrap()
            .attributes
            .contains(DosAttributes::SPARSE_FILE)
    );
}

#[test]
fn unlinked_files_live_until_they_are_closed() {
    let world = World::new(25);
    world.put("f", b"data");
    let handle = world.file("f");
    let root = world.root();
    world
        .wait(
            world
                .vfs
                .unlink(&user(1000), &root, "f", crate::CaseMode::Exact),
        )
        .unwrap();
    assert!(world.names(&root).is_empty());
    world.put("f", b"another");
    assert_eq!(world.content(&handle).unwrap(), b"data");
    assert!(world.vfs.stat(&handle).unwrap().delete_pending);
    let inode = handle.inode();
    world.close(&handle);
    assert!(world.vfs.node(inode).is_err());
    assert_eq!(world.get("f").unwrap(), b"another");
}

#[test]
fn unlinked_open_files_are_gone_after_a_crash() {
    let world = World::new(26);
    world.put("f", b"data");
    let handle = world.file("f");
    let inode = handle.inode();
    let root = world.root();
    world
        .wait(
            world
                .vfs
                .unlink(&user(1000), &root, "f", crate::CaseMode::Exact),
        )
        .unwrap();
    world.wait(world.vfs.store().sync_all()).unwrap();
    std::mem::forget(handle);
    drop(root);
    let world = world.crash();
    assert!(world.vfs.node(inode).is_err());
    assert!(world.vfs.listed(crate::rows::ORPHANS).unwrap().is_empty());
}

#[test]
fn streams_come_and_go_without_touching_the_file() {
    let world = World::new(27);
    world.put("f", b"main");
    world.put("f:One", b"1");
    world.put("f:two", b"22");
    let handle = world.file("f");
    let streams: Vec<_> = world
        .vfs
        .streams(&handle)
        .unwrap()
        .into_iter()
        .map(|s| (s.name, s.size))
        .collect();
    assert_eq!(
        streams,
        [(String::new(), 4), ("One".into(), 1), ("two".into(), 2)]
    );
    let stream = world.file("f:one");
    assert_eq!(
        outcome(world.wait(world.vfs.rename(&stream, ":two", false))),
        "Exists"
    );
    world
        .wait(world.vfs.rename(&stream, ":three", false))
        .unwrap();
    world.close(&stream);
    assert_eq!(world.get("f:THREE").unwrap(), b"1");
    world.remove("f:two").unwrap();
    assert_eq!(
        outcome(world.open("f:two", |r| r.disposition = Disposition::Open)),
        "NotFound"
    );
    assert_eq!(world.vfs.streams(&handle).unwrap().len(), 2);
    assert_eq!(world.content(&handle).unwrap(), b"main");
    world.close(&world.directory("d"));
    world.put("d:on-directory", b"x");
    assert_eq!(world.get("d:on-directory").unwrap(), b"x");
}

#[test]
fn extended_attributes_are_bounded_and_caseless() {
    let world = World::new(28);
    let handle = world.file("f");
    let ea = |name: &str, len: usize| ExtendedAttribute {
        flags: 0,
        name: name.into(),
        value: vec![7; len],
    };
    let set = |eas: &[ExtendedAttribute]| world.wait(world.vfs.set_eas(&handle, eas));
    set(&[ea("One", 1), ea("two", 2)]).unwrap();
    set(&[ea("ONE", 3)]).unwrap();
    // 4 for the list, 5 for each, names and values.
    assert_eq!(
        world.vfs.stat(&handle).unwrap().ea_size,
        4 + (5 + 3 + 3) + (5 + 3 + 2)
    );
    assert_eq!(outcome(set(&[ea("big", 65_510)])), "EaTooLarge");
    assert_eq!(outcome(set(&[ea("a*b", 1)])), "InvalidEaName");
    set(&[ea("one", 0), ea("TWO", 0)]).unwrap();
    assert_eq!(world.vfs.stat(&handle).unwrap().ea_size, 0);
    assert!(world.vfs.eas(&handle).unwrap().is_empty());
}

#[test]
fn half_a_million_extended_attributes_hold_up_nobody() {
    let world = World::new(28);
    let ea = |n: u32| ExtendedAttribute {
        flags: 0,
        name: format!("n{n}"),
        value: vec![7],
    };
    let many: Vec<_> = (0..500_000).map(ea).collect();
    let begun = std::time::Instant::now();
    let refused = world.open("f", |request| request.eas = many.clone());
    assert_eq!(outcome(refused), "EaTooLarge");
    assert!(!world.exists("f"));
    let handle = world.file("f");
    let set = |eas: &[ExtendedAttribute]| world.wait(world.vfs.set_eas(&handle, eas));
    assert_eq!(outcome(set(&many)), "EaTooLarge");
    set(&many[..4_096]).unwrap();
    set(&many[..4_096]).unwrap();
    assert_eq!(world.vfs.eas(&handle).unwrap().len(), 4_096);
    assert_eq!(outcome(set(&many[4_096..4_097])), "EaTooLarge");
    assert!(begun.elapsed() < std::time::Duration::from_secs(2));
}

#[test]
fn refused_attributes_leave_the_content_that_was_to_be_replaced() {
    let world = World::new(28);
    world.put("f", b"kept");
    let bad = ExtendedAttribute {
        flags: 0,
        name: "a*b".into(),
        value: vec![7],
    };
    let refused = world.open("f", |request| {
        request.disposition = Disposition::OverwriteIf;
        request.eas = vec![bad.clone()];
    });
    assert_eq!(outcome(refused), "InvalidEaName");
    assert_eq!(world.get("f").unwrap(), b"kept");
}

#[test]
fn times_are_kept_exactly_and_freeze() {
    let world = World::new(29);
    let handle = world.file("f");
    let times = [
        0,
        1,
        116_444_735_999_999_999,
        133_000_000_000_000_001,
        i64::MAX as u64,
    ];
    for ticks in times {
        let time = FileTime(ticks);
        let all = SetTimes {
            created: Some(time),
            accessed: Some(time),
            modified: Some(time),
            changed: Some(time),
            ..SetTimes::default()
        };
        world.wait(world.vfs.write(&handle, 0, b"x")).unwrap();
        world.wait(world.vfs.set_times(&handle, all)).unwrap();
        let stat = world.vfs.stat(&handle).unwrap();
        assert_eq!(
            [stat.created, stat.accessed, stat.modified, stat.changed],
            [time; 4]
        );
        // A time that was set is not changed by the same handle.
        world.wait(world.vfs.write(&handle, 0, b"y")).unwrap();
        assert_eq!(world.vfs.stat(&handle).unwrap().modified, time);
    }
    let flags = TimeFlags {
        modified: true,
        ..TimeFlags::default()
    };
    let thaw = SetTimes {
        thaw: flags,
        ..SetTimes::default()
    };
    world.wait(world.vfs.set_times(&handle, thaw)).unwrap();
    world.wait(world.vfs.write(&handle, 0, b"z")).unwrap();
    assert_ne!(
        world.vfs.stat(&handle).unwrap().modified,
        FileTime(i64::MAX as u64)
    );
}

#[test]
fn a_share_that_is_read_only_is_only_read() {
    let world = World::new(30);
    world.put("f", b"data");
    let mut share = (*world.share).clone();
    share.read_only = true;
    let open = |path: &'static str, access, disposition| {
        let request = OpenRequest {
            path,
            access,
            disposition,
            ..all(&share)
        };
        world.wait(world.vfs.open(&user(1000), request))
    };
    assert_eq!(
        outcome(open("f", AccessMask::WRITE_DATA, Disposition::Open)),
        "AccessDenied"
    );
    assert_eq!(
        outcome(open("new", AccessMask::READ_DATA, Disposition::OpenIf)),
        "AccessDenied"
    );
    assert_eq!(
        outcome(open("f", AccessMask::READ_DATA, Disposition::Overwrite)),
        "AccessDenied"
    );
    let (handle, _) = open("f", AccessMask::MAXIMUM_ALLOWED, Disposition::Open).unwrap();
    assert!(
        !handle
            .granted()
            .intersects(AccessMask::FILE_WRITE.without(AccessMask::FILE_READ))
    );
    assert_eq!(world.content(&handle).unwrap(), b"data");
}
