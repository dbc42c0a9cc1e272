//! What POSIX clients expect: modes, owners, names that go at once.

use std::sync::Arc;

use super::{World, admin, user};
use crate::{
    AccessMask, CaseMode, CreateOptions, Credentials, Disposition, Handle, OpenRequest,
    PosixChange, PosixOpen, Result, Sid, VfsError,
};

/// Makes the request one of a POSIX client.
fn posix(request: &mut OpenRequest<'_>, mode: u32) {
    request.case = CaseMode::Exact;
    request.posix = Some(PosixOpen {
        mode: Some(mode),
        ..PosixOpen::default()
    });
}

fn make(world: &World, who: &Credentials, path: &str, mode: u32) -> Arc<Handle> {
    let made = world.open_as(who, path, |request| {
        posix(request, mode);
        request.disposition = Disposition::Create;
    });
    made.unwrap().0
}

fn make_directory(world: &World, who: &Credentials, path: &str, mode: u32) -> Arc<Handle> {
    let made = world.open_as(who, path, |request| {
        posix(request, mode);
        request.disposition = Disposition::Create;
        request.options.directory = true;
    });
    made.unwrap().0
}

/// As `unlink` and `rmdir` of a Linux client.
fn unlink(world: &World, who: &Credentials, path: &str) -> Result<()> {
    let (handle, _) = world.open_as(who, path, |request| {
        posix(request, 0);
        request.disposition = Disposition::Open;
        request.access = AccessMask::DELETE;
        request.options = CreateOptions {
            delete_on_close: true,
            open_reparse_point: true,
            ..CreateOptions::default()
        };
    })?;
    world.wait(world.vfs.close(&handle))
}

fn rename(world: &World, who: &Credentials, from: &str, to: &str) -> Result<()> {
    let (handle, _) = world.open_as(who, from, |request| {
        posix(request, 0);
        request.disposition = Disposition::Open;
        request.access = AccessMask::DELETE;
    })?;
    let renamed = world.wait(world.vfs.rename(&handle, to, true));
    world.close(&handle);
    renamed
}

#[test]
fn a_mode_given_at_creation_is_the_mode() {
    let world = World::new(1);
    for (name, mode) in [
        ("a", 0o640),
        ("b", 0),
        ("c", 0o777),
        ("d", 0o6754),
        ("e", 0o027),
    ] {
        let file = make(&world, &admin(), name, mode);
        let known = world.vfs.posix(&file).unwrap();
        assert_eq!(known.mode, mode, "{name}");
        assert_eq!(known.owner, admin().user);
        let listed = world.vfs.posix_of(&file, file.inode()).unwrap().unwrap();
        assert_eq!(listed, known);
        let directory = make_directory(&world, &admin(), &format!("in-{name}"), mode);
        assert_eq!(world.vfs.posix(&directory).unwrap().mode, mode);
    }
    let world = world.reopen();
    let file = world
        .open_as(&admin(), "d", |request| posix(request, 0))
        .unwrap()
        .0;
    assert_eq!(world.vfs.posix(&file).unwrap().mode, 0o6754);
}

#[test]
fn a_directory_with_the_set_group_id_bit_passes_on_its_group() {
    let world = World::new(2);
    let directory = make_directory(&world, &admin(), "shared", 0o2775);
    let change = PosixChange {
        group: Some(Sid::unix_group(77)),
        ..PosixChange::default()
    };
    world
        .wait(world.vfs.set_posix(&directory, change))
        .unwrap_err();
    world.close(&directory);
    let (directory, _) = world
        .open_as(&admin(), "shared", |request| {
            posix(request, 0);
            request.access = AccessMask::WRITE_OWNER | AccessMask::READ_ATTRIBUTES;
        })
        .unwrap();
    world.wait(world.vfs.set_posix(&directory, change)).unwrap();
    assert_eq!(world.vfs.posix(&directory).unwrap().mode, 0o2775);
    let file = make(&world, &admin(), "shared\\file", 0o664);
    let below = make_directory(&world, &admin(), "shared\\below", 0o755);
    let (file, below) = (
        world.vfs.posix(&file).unwrap(),
        world.vfs.posix(&below).unwrap(),
    );
    assert_eq!((file.group, file.mode), (Sid::unix_group(77), 0o664));
    assert_eq!((below.group, below.mode), (Sid::unix_group(77), 0o2755));
}

#[test]
fn a_new_owner_gets_what_the_mode_says() {
    let world = World::new(3);
    let file = make(&world, &admin(), "file", 0o740);
    world.close(&file);
    let (file, _) = world
        .open_as(&admin(), "file", |request| {
            posix(request, 0);
            request.access = AccessMask::WRITE_OWNER | AccessMask::WRITE_DAC;
        })
        .unwrap();
    for (owner, group) in [(1000, 100), (1001, 100), (1000, 7)] {
        let change = PosixChange {
            mode: None,
            owner: Some(Sid::unix_user(owner)),
            group: Some(Sid::unix_group(group)),
        };
        world.wait(world.vfs.set_posix(&file, change)).unwrap();
        let known = world.vfs.posix(&file).unwrap();
        let expected = (0o740, Sid::unix_user(owner), Sid::unix_group(group));
        assert_eq!((known.mode, known.owner, known.group), expected);
    }
}

#[test]
fn only_administrators_give_files_away() {
    let world = World::new(4);
    let all = |request: &mut OpenRequest<'_>| {
        posix(request, 0o600);
        request.access = AccessMask::FILE_ALL;
    };
    let file = world.open("file", all).unwrap().0;
    let change = PosixChange {
        owner: Some(Sid::unix_user(1)),
        ..PosixChange::default()
    };
    let given = world.wait(world.vfs.set_posix(&file, change));
    assert!(matches!(given, Err(VfsError::InvalidOwner)), "{given:?}");
}

#[test]
fn an_administrator_is_root() {
    let world = World::new(5);
    let file = make(&world, &user(1000), "private", 0);
    world.close(&file);
    let open = |request: &mut OpenRequest<'_>| {
        posix(request, 0);
        request.disposition = Disposition::Open;
    };
    assert!(world.open_as(&user(1001), "private", open).is_err());
    assert!(world.open_as(&admin(), "private", open).is_ok());
}

#[test]
fn an_unlinked_name_is_gone_while_others_have_the_file_open() {
    let world = World::new(6);
    world.put("file", b"old");
    let reader = world.file("file");
    unlink(&world, &user(1000), "file").unwrap();
    assert!(!world.exists("file"));
    assert_eq!(world.content(&reader).unwrap(), b"old");
    assert_eq!(world.vfs.stat(&reader).unwrap().links, 0);
    world.put("file", b"new");
    world.close(&reader);
    assert_eq!(world.get("file").unwrap(), b"new");
}

#[test]
fn a_file_marked_for_deletion_by_a_name_that_is_gone_keeps_its_others() {
    let world = World::new(8);
    world.put("file", b"old");
    let (handle, _) = world
        .open_as(&user(1000), "file", |request| {
            request.disposition = Disposition::Open;
            request.access = AccessMask::DELETE.union(AccessMask::WRITE_ATTRIBUTES);
            request.share_access = crate::ShareAccess::ALL;
        })
        .unwrap();
    world.wait(world.vfs.link(&handle, "other", false)).unwrap();
    unlink(&world, &user(1000), "file").unwrap();
    world.wait(world.vfs.set_delete(&handle, true)).unwrap();
    world.wait(world.vfs.close(&handle)).unwrap();
    assert!(!world.exists("file"));
    assert_eq!(world.get("other").unwrap(), b"old");
    let again = world.file("other");
    assert!(!world.vfs.stat(&again).unwrap().delete_pending);
}

#[test]
fn an_unlinked_file_with_readers_is_purged_after_a_crash() {
    let world = World::new(7);
    world.put("file", b"old");
    let reader = world.file("file");
    let inode = reader.inode();
    unlink(&world, &user(1000), "file").unwrap();
    world.wait(world.vfs.store().sync_all()).unwrap();
    let world = world.crash();
    assert!(world.vfs.posix_of(&world.root(), inode).unwrap().is_none());
    drop(reader);
}

#[test]
fn the_deletion_that_windows_asked_for_waits_for_windows() {
    let world = World::new(8);
    world.put("file", b"x");
    let windows = world.file("file");
    let linux = world
        .open("file", |request| {
            posix(request, 0);
            request.access = AccessMask::FILE_READ;
        })
        .unwrap()
        .0;
    world.wait(world.vfs.set_delete(&windows, true)).unwrap();
    world.close(&linux);
    let again = world.open("file", |_| {});
    assert!(matches!(again, Err(VfsError::DeletePending)), "{again:?}");
    world.close(&windows);
    assert!(!world.exists("file"));
}

#[test]
fn rename_replaces_an_open_file_and_an_empty_directory() {
    let world = World::new(9);
    world.put("new", b"new");
    world.put("old", b"old");
    let reader = world.file("old");
    rename(&world, &user(1000), "new", "old").unwrap();
    assert_eq!(world.get("old").unwrap(), b"new");
    assert_eq!(world.content(&reader).unwrap(), b"old");
    for name in ["from", "to", "full", "full\\below"] {
        world.close(&world.directory(name));
    }
    rename(&world, &user(1000), "from", "to").unwrap();
    assert!(!world.exists("from"));
    let full = rename(&world, &user(1000), "to", "full");
    assert!(matches!(full, Err(VfsError::NotEmpty)), "{full:?}");
    let onto_file = rename(&world, &user(1000), "to", "old");
    assert!(
        matches!(onto_file, Err(VfsError::NotDirectory)),
        "{onto_file:?}"
    );
    let onto_directory = rename(&world, &user(1000), "old", "to");
    assert!(
        matches!(onto_directory, Err(VfsError::IsDirectory)),
        "{onto_directory:?}"
    );
}

#[test]
fn a_directory_moves_with_open_files_below() {
    let world = World::new(10);
    world.close(&world.directory("here"));
    world.put("here\\file", b"x");
    let file = world.file("here\\file");
    rename(&world, &user(1000), "here", "there").unwrap();
    assert_eq!(world.vfs.path(&file).unwrap(), "there\\file");
    assert_eq!(world.get("there\\file").unwrap(), b"x");
}

#[test]
fn names_that_differ_in_case_stand_side_by_side() {
    let world = World::new(11);
    for name in ["readme", "README"] {
        world.close(&make(&world, &user(1000), name, 0o644));
    }
    rename(&world, &user(1000), "readme", "ReadMe").unwrap();
    let mut names = world.names(&world.root());
    names.sort();
    assert_eq!(names, ["README", "ReadMe"]);
}

#[test]
fn whoever_may_write_to_a_directory_may_take_names_out_unless_it_is_sticky() {
    let world = World::new(12);
    for (directory, mode) in [("open", 0o777), ("sticky", 0o1777), ("closed", 0o755)] {
        world.close(&make_directory(&world, &user(1000), directory, mode));
        for (name, owner) in [("theirs", user(1000)), ("mine", user(1001))] {
            let path = format!("{directory}\\{name}");
            let maker = if directory == "closed" {
                user(1000)
            } else {
                owner
            };
            world.close(&make(&world, &maker, &path, 0o600));
        }
    }
    let gone = |path: &str| unlink(&world, &user(1001), path).is_ok();
    assert!(gone("open\\theirs") && gone("open\\mine"));
    assert!(!gone("sticky\\theirs") && gone("sticky\\mine"));
    assert!(!gone("closed\\theirs"));
}
