//! NT create, rule by rule (MS-FSA 2.1.5.1).

use super::*;
use crate::{CaseMode, DosAttributes, ExtendedAttribute, ReparseData};

#[test]
fn dispositions_do_what_their_table_says() {
    use CreateAction::{Created, Opened, Overwritten, Superseded};
    // MS-SMB2 2.2.13: (disposition, when it is there, when it is not).
    let table = [
        (Disposition::Supersede, Ok(Superseded), Ok(Created)),
        (Disposition::Open, Ok(Opened), Err("NotFound")),
        (Disposition::Create, Err("Exists"), Ok(Created)),
        (Disposition::OpenIf, Ok(Opened), Ok(Created)),
        (Disposition::Overwrite, Ok(Overwritten), Err("NotFound")),
        (Disposition::OverwriteIf, Ok(Overwritten), Ok(Created)),
    ];
    let world = World::new(1);
    for (disposition, there, not) in table {
        for (exists, expected) in [(true, there), (false, not)] {
            world.put("f", b"data");
            if !exists {
                world.remove("f").unwrap();
            }
            let got = world.open("f", |request| request.disposition = disposition);
            match expected {
                Ok(action) => {
                    let (handle, got) = got.unwrap();
                    assert_eq!(got, action, "{disposition:?}");
                    let kept = action == Opened;
                    assert_eq!(
                        world.vfs.stat(&handle).unwrap().size,
                        if kept { 4 } else { 0 }
                    );
                    world.close(&handle);
                }
                Err(error) => assert_eq!(outcome(got), error, "{disposition:?}"),
            }
        }
    }
}

#[test]
fn kinds_that_do_not_fit_are_refused() {
    let world = World::new(2);
    world.close(&world.directory("d"));
    world.put("f", b"");
    let directory = CreateOptions {
        directory: true,
        ..CreateOptions::default()
    };
    let file = CreateOptions {
        non_directory: true,
        ..CreateOptions::default()
    };
    let both = CreateOptions {
        directory: true,
        ..file
    };
    let any = CreateOptions::default();
    let table = [
        ("d", file, Disposition::Open, "IsDirectory"),
        ("f", directory, Disposition::Open, "NotDirectory"),
        ("f", directory, Disposition::Create, "Exists"),
        ("d", both, Disposition::Open, "InvalidParameter"),
        ("d", directory, Disposition::Overwrite, "InvalidParameter"),
        ("d", directory, Disposition::Supersede, "InvalidParameter"),
        ("d", any, Disposition::OverwriteIf, "Exists"),
        ("", any, Disposition::Overwrite, "AccessDenied"),
        ("f\\", any, Disposition::Open, "NotDirectory"),
        ("new\\", any, Disposition::Create, "InvalidName"),
        ("f::$DATA", any, Disposition::Open, "Ok"),
        ("d::$DATA", any, Disposition::Open, "IsDirectory"),
        ("d::$INDEX_ALLOCATION", any, Disposition::Open, "Ok"),
        ("d:s", directory, Disposition::OpenIf, "NotDirectory"),
        ("d::$DATA", directory, Disposition::Open, "NotDirectory"),
        ("f\\g", any, Disposition::Open, "PathNotFound"),
        ("none\\g", any, Disposition::OpenIf, "PathNotFound"),
        ("d\\none", any, Disposition::Open, "NotFound"),
        ("d\\a*b", any, Disposition::OpenIf, "InvalidName"),
        ("d\\..\\f", any, Disposition::Open, "InvalidName"),
    ];
    for (path, options, disposition, expected) in table {
        let got = world.open(path, |request| {
            request.options = options;
            request.disposition = disposition;
            request.access = AccessMask::FILE_READ;
        });
        assert_eq!(outcome(got), expected, "{path} {options:?} {disposition:?}");
    }
}

#[test]
fn a_file_is_found_by_its_short_name_and_its_long_one_comes_back() {
    let world = World::new(89);
    let short = crate::names::short_name("A Long Name.text").unwrap();
    let open = |path: &str, disposition| {
        world.open(path, |request| {
            request.disposition = disposition;
            request.access = AccessMask::FILE_READ | AccessMask::DELETE;
        })
    };
    let path = |path: &str, disposition| {
        let (handle, _) = open(path, disposition).unwrap();
        let path = world.vfs.path(&handle).unwrap();
        world.wait(world.vfs.close(&handle)).unwrap();
        path
    };
    assert_eq!(
        path("A Long Name.text", Disposition::Create),
        "A Long Name.text"
    );
    assert_eq!(
        path(&short.to_lowercase(), Disposition::Open),
        "A Long Name.text"
    );
    let (handle, _) = open(&short, Disposition::Open).unwrap();
    world.wait(world.vfs.set_delete(&handle, true)).unwrap();
    world.wait(world.vfs.close(&handle)).unwrap();
    assert_eq!(outcome(open(&short, Disposition::Open)), "NotFound");
    assert_eq!(path(&short, Disposition::Create), "A Long Name.text");
    // A name that somebody gave is that name.
    assert_eq!(path("ABCDEF~1.TXT", Disposition::Create), "ABCDEF~1.TXT");
}

#[test]
fn share_modes_exclude_in_both_directions() {
    // MS-FSA 2.1.5.1.2.2.
    let none = ShareAccess::NONE;
    let write = ShareAccess {
        write: true,
        ..none
    };
    let delete = ShareAccess {
        delete: true,
        ..none
    };
    let table = [
        (
            AccessMask::READ_DATA,
            ShareAccess::ALL,
            AccessMask::WRITE_DATA,
            ShareAccess::ALL,
            true,
        ),
        (
            AccessMask::READ_DATA,
            none,
            AccessMask::READ_DATA,
            ShareAccess::ALL,
            false,
        ),
        (
            AccessMask::READ_DATA,
            ShareAccess::READ,
            AccessMask::READ_DATA,
            ShareAccess::READ,
            true,
        ),
        (
            AccessMask::READ_DATA,
            ShareAccess::READ,
            AccessMask::WRITE_DATA,
            ShareAccess::ALL,
            false,
        ),
        (
            AccessMask::WRITE_DATA,
            ShareAccess::ALL,
            AccessMask::READ_DATA,
            ShareAccess::READ,
            false,
        ),
        (
            AccessMask::APPEND_DATA,
            write,
            AccessMask::APPEND_DATA,
            write,
            true,
        ),
        (
            AccessMask::DELETE,
            ShareAccess::ALL,
            AccessMask::READ_DATA,
            ShareAccess::READ,
            false,
        ),
        (AccessMask::DELETE, delete, AccessMask::DELETE, delete, true),
        (
            AccessMask::READ_ATTRIBUTES,
            none,
            AccessMask::WRITE_DATA,
            none,
            true,
        ),
        (
            AccessMask::WRITE_DATA,
            none,
            AccessMask::READ_ATTRIBUTES,
            none,
            true,
        ),
    ];
    let world = World::new(3);
    world.put("f", b"");
    for (first, first_share, second, second_share, allowed) in table {
        let open = |access, share| {
            world.open("f", |request| {
                request.access = access;
                request.share_access = share;
                request.disposition = Disposition::Open;
            })
        };
        let (held, _) = open(first, first_share).unwrap();
        let expected = if allowed { "Ok" } else { "SharingViolation" };
        assert_eq!(
            outcome(open(second, second_share)),
            expected,
            "{first:?} {second:?}"
        );
        world.close(&held);
        assert_eq!(
            outcome(open(second, second_share)),
            "Ok",
            "closing frees it"
        );
    }
}

#[test]
fn overwriting_needs_hidden_and_system_to_be_repeated() {
    // MS-FSA 2.1.5.1.2.
    let world = World::new(4);
    for attribute in [DosAttributes::HIDDEN, DosAttributes::SYSTEM] {
        let (handle, _) = world
            .open("f", |request| request.attributes = attribute)
            .unwrap();
        world.close(&handle);
        let overwrite = |attributes| {
            world.open("f", |request| {
                request.disposition = Disposition::Overwrite;
                request.attributes = attributes;
            })
        };
        assert_eq!(outcome(overwrite(DosAttributes::NORMAL)), "AccessDenied");
        let (handle, _) = overwrite(attribute).unwrap();
        let expected = attribute.union(DosAttributes::ARCHIVE);
        assert_eq!(world.vfs.stat(&handle).unwrap().attributes, expected);
        world.close(&handle);
        world.remove("f").unwrap();
    }
}

#[test]
fn read_only_files_are_neither_written_nor_deleted() {
    let world = World::new(5);
    let make = |request: &mut OpenRequest<'_>| request.attributes = DosAttributes::READ_ONLY;
    let (handle, _) = world.open("f", make).unwrap();
    world
        .wait(world.vfs.write(&handle, 0, b"by its maker"))
        .unwrap();
    world.close(&handle);
    let open = |access| {
        world.open("f", |request| {
            request.access = access;
            request.disposition = Disposition::Open;
        })
    };
    assert_eq!(outcome(open(AccessMask::WRITE_DATA)), "AccessDenied");
    assert_eq!(outcome(open(AccessMask::APPEND_DATA)), "AccessDenied");
    let (handle, _) = open(AccessMask::MAXIMUM_ALLOWED).unwrap();
    assert!(
        !handle
            .granted()
            .intersects(AccessMask::WRITE_DATA | AccessMask::APPEND_DATA)
    );
    assert_eq!(
        outcome(world.wait(world.vfs.set_delete(&handle, true))),
        "CannotDelete"
    );
    world.close(&handle);
    let on_close = world.open("f", |request| {
        request.access = AccessMask::DELETE;
        request.options.delete_on_close = true;
    });
    assert_eq!(outcome(on_close), "CannotDelete");
    let new = world.open("g", |request| {
        request.options.delete_on_close = true;
        request.attributes = DosAttributes::READ_ONLY;
    });
    assert_eq!(outcome(new), "CannotDelete");
}

#[test]
fn a_file_marked_for_deletion_goes_with_its_last_open() {
    let world = World::new(6);
    let first = world.file("f");
    let second = world.file("f");
    world.wait(world.vfs.set_delete(&first, true)).unwrap();
    assert_eq!(outcome(world.open("f", |_| {})), "DeletePending");
    assert!(world.vfs.stat(&second).unwrap().delete_pending);
    world.wait(world.vfs.set_delete(&second, false)).unwrap();
    world.wait(world.vfs.set_delete(&first, true)).unwrap();
    world.close(&first);
    assert_eq!(world.names(&world.root()), ["f"]);
    world
        .wait(world.vfs.write(&second, 0, b"still there"))
        .unwrap();
    world.close(&second);
    assert!(world.names(&world.root()).is_empty());
    assert!(!world.exists("f"));
}

#[test]
fn delete_on_close_needs_the_right_and_works() {
    let world = World::new(7);
    let refused = world.open("f", |request| {
        request.access = AccessMask::FILE_READ;
        request.options.delete_on_close = true;
    });
    assert_eq!(outcome(refused), "AccessDenied");
    let (handle, _) = world
        .open("f", |request| request.options.delete_on_close = true)
        .unwrap();
    assert!(world.exists("f"));
    drop(handle);
    assert!(!world.exists("f"), "dropping a handle closes it");
}

#[test]
fn directories_with_names_are_not_deleted() {
    let world = World::new(8);
    let directory = world.directory("d");
    world.put("d\\f", b"");
    assert_eq!(
        outcome(world.wait(world.vfs.set_delete(&directory, true))),
        "NotEmpty"
    );
    world.remove("d\\f").unwrap();
    world.wait(world.vfs.set_delete(&directory, true)).unwrap();
    assert_eq!(outcome(world.open("d\\g", |_| {})), "DeletePending");
    world.close(&directory);
    assert!(!world.exists("d"));
    assert_eq!(
        outcome(world.wait(world.vfs.set_delete(&world.root(), true))),
        "AccessDenied"
    );
}

#[test]
fn overwriting_takes_streams_and_attributes_of_the_old_file() {
    let world = World::new(9);
    let ea = |name: &str| ExtendedAttribute {
        flags: 0,
        name: name.into(),
        value: b"v".to_vec(),
    };
    let (handle, _) = world
        .open("f", |request| request.eas = vec![ea("OLD")])
        .unwrap();
    world.close(&handle);
    world.put("f:s", b"stream");
    let (handle, _) = world
        .open("f", |request| {
            request.disposition = Disposition::Overwrite;
            request.eas = vec![ea("NEW")];
        })
        .unwrap();
    let names: Vec<_> = world
        .vfs
        .eas(&handle)
        .unwrap()
        .into_iter()
        .map(|ea| ea.name)
        .collect();
    assert_eq!(names, ["NEW"]);
    assert_eq!(world.vfs.streams(&handle).unwrap().len(), 1);
}

#[test]
fn insensitive_opens_prefer_the_exact_name() {
    let world = World::new(10);
    let exact = |path: &str, disposition| {
        world.open(path, |request| {
            request.case = CaseMode::Exact;
            request.disposition = disposition;
        })
    };
    let upper = exact("README", Disposition::Create).unwrap().0;
    let lower = exact("readme", Disposition::Create).unwrap().0;
    assert_eq!(outcome(exact("Readme", Disposition::Open)), "NotFound");
    assert_eq!(world.file("readme").inode(), lower.inode());
    assert_eq!(world.file("README").inode(), upper.inode());
    assert_eq!(
        world.file("ReadMe").inode(),
        upper.inode(),
        "the first in order"
    );
    assert_eq!(
        outcome(world.open("reADME", |r| r.disposition = Disposition::Create)),
        "Exists"
    );
    assert_eq!(world.names(&world.root()), ["README", "readme"]);
    assert_eq!(world.vfs.path(&lower).unwrap(), "readme");
}

#[test]
fn symbolic_links_stop_the_walk_and_tell_where_they_lead() {
    let world = World::new(11);
    let link = world.file("link");
    world
        .wait(
            world
                .vfs
                .set_reparse(&link, &ReparseData::symlink("to\\there")),
        )
        .unwrap();
    world.close(&link);
    for (path, unparsed) in [("link", ""), ("link\\a\\b", "a\\b")] {
        match world.open(path, |_| {}) {
            Err(VfsError::Symlink(stop)) => {
                assert_eq!(
                    (stop.unparsed.as_str(), stop.target.as_str()),
                    (unparsed, "to\\there")
                );
                assert!(stop.relative);
            }
            other => panic!("{}", outcome(other)),
        }
    }
    let (itself, _) = world
        .open("link", |r| r.options.open_reparse_point = true)
        .unwrap();
    assert_eq!(
        world.vfs.stat(&itself).unwrap().kind,
        crate::FileKind::Symlink
    );
    world
        .wait(
            world
                .vfs
                .delete_reparse(&itself, crate::REPARSE_TAG_SYMLINK),
        )
        .unwrap();
    assert!(world.exists("link"));
}

#[test]
fn opening_by_id_finds_files_of_the_share_only() {
    let world = World::new(12);
    let file = world.file("f");
    let by_id = |inode| {
        world.open("", |request| {
            request.options.by_file_id = true;
            request.file_id = Some(inode);
            request.disposition = Disposition::Open;
        })
    };
    assert_eq!(by_id(file.inode()).unwrap().0.inode(), file.inode());
    let other = world
        .vfs
        .add_share(NewShare {
            name: "other".into(),
            ..NewShare::default()
        })
        .unwrap();
    assert_eq!(outcome(by_id(other.root)), "InvalidParameter");
    assert_eq!(outcome(by_id(crate::Inode(u64::MAX))), "InvalidParameter");
}

#[test]
fn opens_relative_to_a_handle_begin_there() {
    let world = World::new(13);
    let directory = world.directory("d");
    let request = OpenRequest {
        base: Some(&directory),
        path: "f",
        ..all(&world.share)
    };
    let (file, _) = world.wait(world.vfs.open(&user(1000), request)).unwrap();
    assert_eq!(world.vfs.path(&file).unwrap(), "d\\f");
    let request = OpenRequest {
        base: Some(&directory),
        path: "",
        ..all(&world.share)
    };
    let (again, _) = world.wait(world.vfs.open(&user(1000), request)).unwrap();
    assert_eq!(again.inode(), directory.inode());
}
