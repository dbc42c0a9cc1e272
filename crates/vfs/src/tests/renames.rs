//! Renaming and linking (MS-FSA 2.1.5.15.6, 2.1.5.15.11).

use super::*;
use crate::{DosAttributes, LINKS_MAX};

fn rename(world: &World, from: &str, to: &str, replace: bool) -> Result<()> {
    let (handle, _) = world.open(from, |request| request.disposition = Disposition::Open)?;
    let done = world.wait(world.vfs.rename(&handle, to, replace));
    world.close(&handle);
    done
}

#[test]
fn files_move_and_keep_what_they_are() {
    let world = World::new(71);
    world.close(&world.directory("d"));
    world.put("f", b"data");
    let inode = world.file("f").inode();
    rename(&world, "f", "d\\g", false).unwrap();
    assert_eq!(world.get("d\\g").unwrap(), b"data");
    assert!(!world.exists("f"));
    rename(&world, "d\\g", "d\\G", false).unwrap();
    assert_eq!(
        world.names(&world.directory("d")),
        ["G"],
        "a new spelling of the same name"
    );
    let handle = world.file("d\\g");
    assert_eq!(handle.inode(), inode);
    assert_eq!(world.vfs.path(&handle).unwrap(), "d\\G");
}

#[test]
fn replacing_is_refused_as_windows_does() {
    let world = World::new(72);
    world.put("f", b"new");
    world.put("g", b"old");
    world.close(&world.directory("d"));
    world.close(&world.directory("e"));
    assert_eq!(outcome(rename(&world, "f", "g", false)), "Exists");
    assert_eq!(outcome(rename(&world, "f", "d", true)), "AccessDenied");
    assert_eq!(outcome(rename(&world, "d", "g", true)), "AccessDenied");
    assert_eq!(outcome(rename(&world, "d", "e", true)), "AccessDenied");
    let held = world.file("g");
    assert_eq!(outcome(rename(&world, "f", "g", true)), "AccessDenied");
    world
        .wait(world.vfs.set_attributes(&held, DosAttributes::READ_ONLY))
        .unwrap();
    world.close(&held);
    assert_eq!(outcome(rename(&world, "f", "g", true)), "AccessDenied");
    let (handle, _) = world
        .open("g", |r| r.access = AccessMask::WRITE_ATTRIBUTES)
        .unwrap();
    world
        .wait(world.vfs.set_attributes(&handle, DosAttributes::NORMAL))
        .unwrap();
    let old = handle.inode();
    world.close(&handle);
    rename(&world, "f", "g", true).unwrap();
    assert_eq!(world.get("g").unwrap(), b"new");
    assert!(world.vfs.node(old).is_err(), "what was replaced is gone");
}

#[test]
fn other_opens_must_share_deletion() {
    let world = World::new(73);
    world.put("f", b"");
    let (held, _) = world
        .open("f", |request| {
            request.access = AccessMask::READ_ATTRIBUTES;
            request.share_access = ShareAccess::READ;
        })
        .unwrap();
    world.close(&held);
    rename(&world, "f", "g", false).unwrap();
    let (held, _) = world
        .open("g", |request| {
            request.access = AccessMask::READ_DATA;
            request.share_access = ShareAccess {
                delete: false,
                ..ShareAccess::ALL
            };
        })
        .unwrap();
    assert_eq!(outcome(rename(&world, "g", "h", false)), "SharingViolation");
    world.close(&held);
    let (weak, _) = world
        .open("g", |request| request.access = AccessMask::FILE_READ)
        .unwrap();
    assert_eq!(
        outcome(world.wait(world.vfs.rename(&weak, "h", false))),
        "AccessDenied"
    );
}

#[test]
fn directories_move_whole_but_not_into_themselves_nor_with_open_files() {
    let world = World::new(74);
    for path in ["a", "a\\b", "a\\b\\c", "to"] {
        world.close(&world.directory(path));
    }
    world.put("a\\b\\c\\f", b"deep");
    assert_eq!(
        outcome(rename(&world, "a", "a\\b\\c\\a", false)),
        "InvalidParameter"
    );
    assert_eq!(
        outcome(rename(&world, "a", "a\\a", false)),
        "InvalidParameter"
    );
    let open = world.file("a\\b\\c\\f");
    assert_eq!(outcome(rename(&world, "a", "z", false)), "InUse");
    world.close(&open);
    rename(&world, "a", "to\\z", false).unwrap();
    assert_eq!(world.get("to\\z\\b\\c\\f").unwrap(), b"deep");
    let world = world.reopen();
    let handle = world.file("to\\z\\b\\c\\f");
    assert_eq!(world.vfs.path(&handle).unwrap(), "to\\z\\b\\c\\f");
    let root = world.root();
    assert_eq!(
        outcome(world.wait(world.vfs.rename(&root, "x", false))),
        "AccessDenied"
    );
}

#[test]
fn links_share_one_file_until_the_last_name_goes() {
    let world = World::new(75);
    world.close(&world.directory("d"));
    world.put("f", b"one");
    let handle = world.file("f");
    world.wait(world.vfs.link(&handle, "d\\g", false)).unwrap();
    assert_eq!(
        outcome(world.wait(world.vfs.link(&handle, "d\\g", false))),
        "Exists"
    );
    assert_eq!(world.vfs.stat(&handle).unwrap().links, 2);
    world.close(&handle);
    world.put("d\\g", b"two");
    assert_eq!(world.get("f").unwrap(), b"two");
    let through_g = world.file("d\\g");
    world.remove("f").unwrap();
    assert_eq!(world.vfs.path(&through_g).unwrap(), "d\\g");
    assert_eq!(world.vfs.stat(&through_g).unwrap().links, 1);
    world.close(&through_g);
    let world = world.reopen();
    assert_eq!(world.get("d\\g").unwrap(), b"two");
    let directory = world.directory("d");
    assert_eq!(
        outcome(world.wait(world.vfs.link(&directory, "e", false))),
        "IsDirectory"
    );
}

#[test]
fn a_file_has_only_so_many_links() {
    let world = World::new(76);
    let handle = world.file("f");
    for n in 1..LINKS_MAX {
        world
            .wait(world.vfs.link(&handle, &format!("link{n}"), false))
            .unwrap();
    }
    assert_eq!(
        outcome(world.wait(world.vfs.link(&handle, "more", false))),
        "TooManyLinks"
    );
    assert_eq!(world.vfs.links(&handle).unwrap().len(), LINKS_MAX as usize);
}

#[test]
fn a_link_keeps_its_security_when_its_first_directory_goes() {
    let world = World::new(77);
    world.close(&world.directory("d"));
    world.put("d\\f", b"x");
    let handle = world.file("d\\f");
    world.wait(world.vfs.link(&handle, "g", false)).unwrap();
    world.close(&handle);
    world.remove("d\\f").unwrap();
    world.remove("d").unwrap();
    let world = world.reopen();
    assert_eq!(world.get("g").unwrap(), b"x");
}

#[test]
fn a_stream_renamed_through_two_handles_takes_no_other_along() {
    let world = World::new(78);
    world.put("f:a", b"first");
    let (one, two) = (world.file("f:a"), world.file("f:a"));
    world.wait(world.vfs.rename(&one, ":b", false)).unwrap();
    world.put("f:a", b"second");
    world.wait(world.vfs.rename(&two, ":c", false)).unwrap();
    world.close(&one);
    world.close(&two);
    assert_eq!(world.get("f:a").unwrap(), b"second");
    assert_eq!(world.get("f:c").unwrap(), b"first");
    assert!(!world.exists("f:b"));
}

#[test]
fn a_stream_is_not_renamed_while_somebody_objects_to_its_deletion() {
    let world = World::new(79);
    world.put("f:a", b"first");
    let objects = |request: &mut OpenRequest<'_>| {
        request.access = AccessMask::READ_ATTRIBUTES;
        request.share_access.delete = false;
    };
    let (other, _) = world.open("f:a", objects).unwrap();
    let handle = world.file("f:a");
    let refused = world.wait(world.vfs.rename(&handle, ":b", false));
    assert_eq!(outcome(refused), "SharingViolation");
    world.close(&other);
    world.wait(world.vfs.rename(&handle, ":b", false)).unwrap();
}
