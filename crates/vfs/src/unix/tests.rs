//! The rules of POSIX by ids, on the simulated disk of the other tests.

use std::collections::BTreeSet;

use super::{Make, New, NodeType, Removed, SetTime, UnixChange, UnixOpen};
use crate::tests::World;
use crate::{AccessMask, Credentials, Export, FileTime, Inode, NewShare, SessionId, Sid, VfsError};

fn unix_user(id: u32, groups: &[u32]) -> Credentials {
    let mut all = vec![Sid::unix_group(id), Sid::EVERYONE, Sid::AUTHENTICATED_USERS];
    all.extend(groups.iter().map(|group| Sid::unix_group(*group)));
    Credentials {
        user: Sid::unix_user(id),
        primary_group: Sid::unix_group(id),
        groups: all,
        admin: false,
        session: SessionId(u64::from(id)),
    }
}

fn root() -> Credentials {
    Credentials {
        admin: true,
        ..unix_user(0, &[])
    }
}

impl World {
    fn make(
        &self,
        who: &Credentials,
        directory: Inode,
        name: &str,
        what: New<'_>,
        mode: u32,
    ) -> Inode {
        let unix = self.vfs.unix(who, &self.share);
        let made = self.wait(unix.make(directory, name.as_bytes(), Make::new(what, mode)));
        made.unwrap().0.inode()
    }

    fn change(&self, who: &Credentials, inode: Inode, change: UnixChange) -> crate::Result<()> {
        let unix = self.vfs.unix(who, &self.share);
        self.wait(unix.change(inode, &change, None))
    }

    fn listed(&self, who: &Credentials, directory: Inode, page: usize) -> Vec<String> {
        let unix = self.vfs.unix(who, &self.share);
        let (mut names, mut cookie) = (Vec::new(), 0);
        loop {
            let mut left = page;
            let at_end = unix.list(directory, cookie, &mut |entry| {
                if left == 0 {
                    return Ok(false);
                }
                left -= 1;
                cookie = entry.cookie;
                names.push(String::from_utf8(entry.name).unwrap());
                Ok(true)
            });
            if at_end.unwrap() {
                return names;
            }
        }
    }
}

#[test]
fn every_kind_of_file_is_made_and_found_as_it_was() {
    let world = World::new(1);
    let (who, top) = (unix_user(7, &[]), world.share.root);
    for (name, what, is) in [
        ("file", New::File, NodeType::File),
        ("directory", New::Directory, NodeType::Directory),
        ("a:b", New::Symlink(b"../x\\y"), NodeType::Symlink),
        ("fifo", New::Special(NodeType::Fifo), NodeType::Fifo),
    ] {
        let inode = world.make(&who, top, name, what, 0o640);
        let unix = world.vfs.unix(&who, &world.share);
        assert_eq!(unix.find(top, name.as_bytes()).unwrap().inode, inode);
        let look = world.vfs.look(inode).unwrap();
        assert_eq!(look.what, is);
        if is != NodeType::Symlink {
            assert_eq!(look.mode, 0o640, "{name}");
        }
        assert_eq!(
            (look.owner, look.group),
            (Sid::unix_user(7), Sid::unix_group(7))
        );
    }
    let unix = world.vfs.unix(&who, &world.share);
    let link = unix.find(top, b"a:b").unwrap().inode;
    assert_eq!(unix.read_link(link).unwrap(), b"../x\\y");
    assert_eq!(world.vfs.look(link).unwrap().stat.size, 6);
}

#[test]
fn an_exclusive_creation_asked_for_twice_is_one() {
    let world = World::new(2);
    let who = unix_user(7, &[]);
    let unix = world.vfs.unix(&who, &world.share);
    let make = |verifier| {
        let mut make = Make::new(New::File, 0o600);
        make.verifier = Some(verifier);
        world.wait(unix.make(world.share.root, b"f", make))
    };
    let first = make([1; 8]).unwrap().0.inode();
    assert_eq!(make([1; 8]).unwrap().0.inode(), first);
    assert!(matches!(make([2; 8]), Err(VfsError::Exists)));
}

#[test]
fn only_the_owner_changes_modes_and_times_and_only_root_owners() {
    let world = World::new(3);
    let (owner, other) = (unix_user(7, &[20]), unix_user(8, &[]));
    let file = world.make(&owner, world.share.root, "f", New::File, 0o666);
    let mode = |mode| UnixChange {
        mode: Some(mode),
        ..UnixChange::default()
    };
    let refused = |result| assert!(matches!(result, Err(VfsError::PrivilegeNotHeld)));
    refused(world.change(&other, file, mode(0o600)));
    world.change(&owner, file, mode(0o4711)).unwrap();
    assert_eq!(world.vfs.look(file).unwrap().mode, 0o4711);
    let group = |group| UnixChange {
        group: Some(Sid::unix_group(group)),
        ..UnixChange::default()
    };
    refused(world.change(&owner, file, group(21)));
    world.change(&owner, file, group(20)).unwrap();
    let look = world.vfs.look(file).unwrap();
    assert_eq!((look.group, look.mode), (Sid::unix_group(20), 0o711));
    let give = UnixChange {
        owner: Some(Sid::unix_user(8)),
        ..UnixChange::default()
    };
    refused(world.change(&owner, file, give));
    world.change(&root(), file, give).unwrap();
    assert_eq!(world.vfs.look(file).unwrap().owner, Sid::unix_user(8));
    let times = UnixChange {
        modified: Some(SetTime::To(FileTime::from_unix(5, 0))),
        ..UnixChange::default()
    };
    refused(world.change(&owner, file, times));
    world.change(&other, file, times).unwrap();
    let modified = world.vfs.look(file).unwrap().stat.modified;
    assert_eq!(modified, FileTime::from_unix(5, 0));
}

#[test]
fn writing_shows_in_the_count_of_changes_each_time_it_is_asked_for() {
    let world = World::new(4);
    let who = unix_user(7, &[]);
    let file = world.make(&who, world.share.root, "f", New::File, 0o644);
    let unix = world.vfs.unix(&who, &world.share);
    let handle = world.wait(unix.open(file, UnixOpen::once(AccessMask::WRITE_DATA)));
    let handle = handle.unwrap();
    let mut seen = BTreeSet::from([world.vfs.look(file).unwrap().change]);
    for offset in 0..3 {
        world.wait(unix.write(&handle, offset, b"x")).unwrap();
        assert!(seen.insert(world.vfs.look(file).unwrap().change));
    }
    assert!(!seen.insert(world.vfs.look(file).unwrap().change));
}

#[test]
fn names_go_by_the_rules_of_their_directory() {
    let world = World::new(5);
    let (owner, other, top) = (unix_user(7, &[]), unix_user(8, &[]), world.share.root);
    let sticky = world.make(&root(), top, "tmp", New::Directory, 0o1777);
    world.make(&owner, sticky, "mine", New::File, 0o666);
    world.make(&other, sticky, "theirs", New::File, 0o666);
    let by = |who| world.vfs.unix(who, &world.share);
    let denied = |result| assert!(matches!(result, Err(VfsError::AccessDenied)));
    denied(world.wait(by(&other).remove(sticky, b"mine", Removed::File)));
    denied(world.wait(by(&other).rename((sticky, b"mine"), (sticky, b"x"))));
    denied(world.wait(by(&other).rename((sticky, b"theirs"), (sticky, b"mine"))));
    world
        .wait(by(&owner).rename((sticky, b"mine"), (sticky, b"x")))
        .unwrap();
    let file = by(&owner).find(sticky, b"x").unwrap().inode;
    world.wait(by(&owner).link(file, sticky, b"y")).unwrap();
    // Two names of one file: a rename leaves both.
    world
        .wait(by(&owner).rename((sticky, b"x"), (sticky, b"y")))
        .unwrap();
    assert_eq!(world.vfs.look(file).unwrap().stat.links, 2);
    let directory = world.wait(by(&owner).remove(top, b"tmp", Removed::File));
    assert!(matches!(directory, Err(VfsError::IsDirectory)));
    let by_root = root();
    let full = world.wait(by(&by_root).remove(top, b"tmp", Removed::Directory));
    assert!(matches!(full, Err(VfsError::NotEmpty)));
    for name in [&b"x"[..], b"y"] {
        world
            .wait(by(&owner).remove(sticky, name, Removed::File))
            .unwrap();
    }
    assert!(matches!(world.vfs.look(file), Err(VfsError::Closed)));
}

#[test]
fn a_directory_has_a_link_for_each_directory_in_it() {
    let world = World::new(8);
    let (who, top) = (unix_user(7, &[]), world.share.root);
    let a = world.make(&who, top, "a", New::Directory, 0o755);
    let b = world.make(&who, top, "b", New::Directory, 0o755);
    let links = |inode| world.vfs.look(inode).unwrap().stat.links;
    assert_eq!([links(a), links(b)], [2, 2]);
    world.make(&who, a, "c", New::Directory, 0o755);
    world.make(&who, a, "file", New::File, 0o644);
    assert_eq!([links(a), links(b)], [3, 2]);
    let unix = world.vfs.unix(&who, &world.share);
    world.wait(unix.rename((a, b"c"), (b, b"c"))).unwrap();
    assert_eq!([links(a), links(b)], [2, 3]);
    world.make(&who, a, "c", New::Directory, 0o755);
    world.wait(unix.rename((a, b"c"), (b, b"c"))).unwrap();
    assert_eq!([links(a), links(b)], [2, 3]);
    world
        .wait(unix.remove(b, b"c", Removed::Directory))
        .unwrap();
    assert_eq!(links(b), 2);
}

#[test]
fn a_listing_goes_on_behind_names_that_are_gone() {
    let world = World::new(6);
    let (who, top) = (unix_user(7, &[]), world.share.root);
    let directory = world.make(&who, top, "d", New::Directory, 0o755);
    let made: BTreeSet<String> = (0..700).map(|n| format!("n{n}")).collect();
    for name in &made {
        world.make(&who, directory, name, New::File, 0o600);
    }
    let listed = world.listed(&who, directory, 100);
    assert_eq!(listed[..2], [".", ".."]);
    assert_eq!(listed.len(), 702);
    assert_eq!(listed[2..].iter().cloned().collect::<BTreeSet<_>>(), made);
    // All of a page are removed before the next is asked for, as `rm -r` does.
    let unix = world.vfs.unix(&who, &world.share);
    let (mut cookie, mut gone) = (0, 0);
    loop {
        let mut page = Vec::new();
        let at_end = unix.list(directory, cookie, &mut |entry| {
            page.push(entry.name);
            cookie = entry.cookie;
            Ok(page.len() < 64)
        });
        let at_end = at_end.unwrap();
        for name in page.iter().filter(|name| !name.starts_with(b".")) {
            world
                .wait(unix.remove(directory, name, Removed::File))
                .unwrap();
            gone += 1;
        }
        if at_end {
            break;
        }
    }
    assert_eq!(gone, 700);
    assert_eq!(world.listed(&who, directory, 10), [".", ".."]);
}

#[test]
fn exports_are_kept_with_the_share_and_ids_are_never_used_again() {
    let world = World::new(7);
    let exports: Vec<Export> = vec!["10.0.0.0/8:ro".parse().unwrap(), "*".parse().unwrap()];
    let share = world.vfs.add_share(NewShare {
        name: "unix".into(),
        exports: exports.clone(),
        ..NewShare::default()
    });
    let id = share.unwrap().id;
    let world = world.reopen();
    assert_eq!(world.vfs.share("unix").unwrap().exports, exports);
    assert_eq!(world.vfs.share_by_id(id).unwrap().name, "unix");
    world.vfs.remove_share("unix").unwrap();
    let next = world.vfs.add_share(NewShare {
        name: "next".into(),
        ..NewShare::default()
    });
    assert!(next.unwrap().id.0 > id.0);
}

#[test]
fn the_past_is_found_by_ids_and_nobody_changes_it() {
    let world = World::new(40);
    let (who, top) = (unix_user(7, &[]), world.share.root);
    let directory = world.make(&who, top, "d", New::Directory, 0o755);
    let file = world.make(&who, directory, "f", New::File, 0o644);
    let write = |data: &[u8]| {
        let unix = world.vfs.unix(&who, &world.share);
        let open = UnixOpen::once(AccessMask::WRITE_DATA);
        let handle = world.wait(unix.open(file, open)).unwrap();
        world.wait(world.vfs.write(&handle, 0, data)).unwrap();
        world.close(&handle);
        world.wait(world.vfs.store().sync_all()).unwrap();
        world.env.advance(std::time::Duration::from_millis(2_500));
    };
    write(b"then");
    world
        .wait(world.vfs.create_snapshot(&world.share, "s"))
        .unwrap();
    write(b"now, and longer");
    world.make(&who, directory, "later", New::File, 0o644);
    let unix = world.vfs.unix(&who, &world.share);
    assert!(!world.listed(&who, top, 10).contains(&".history".to_owned()));
    let history = unix.find(top, b".history").unwrap();
    let at_history = history.view.unwrap();
    let unix = world.vfs.unix_at(&who, &world.share, &at_history);
    assert_eq!(unix.look(history.inode).unwrap().what, NodeType::Directory);
    let mut names = Vec::new();
    let listed = unix.list(history.inode, 0, &mut |entry| {
        names.push(String::from_utf8(entry.name).unwrap());
        Ok(true)
    });
    assert!(listed.unwrap());
    assert!(
        names.contains(&"s".to_owned()) && names.len() > 3,
        "{names:?}"
    );
    assert!(matches!(
        unix.find(history.inode, b"none"),
        Err(VfsError::NotFound)
    ));
    let root = unix.find(history.inode, b"s").unwrap();
    assert_eq!(root.inode, top);
    let then = root.view.unwrap();
    let unix = world.vfs.unix_at(&who, &world.share, &then);
    assert_eq!(unix.find(top, b"..").unwrap().inode, history.inode);
    assert_eq!(unix.find(top, b"d").unwrap().inode, directory);
    assert!(matches!(
        unix.find(directory, b"later"),
        Err(VfsError::NotFound)
    ));
    let mut names = Vec::new();
    let listed = unix.list(directory, 0, &mut |entry| {
        names.push(String::from_utf8(entry.name).unwrap());
        Ok(true)
    });
    assert!(listed.unwrap());
    assert_eq!(names, [".", "..", "f"]);
    assert_eq!(unix.look(file).unwrap().stat.size, 4);
    assert_ne!(then.id(file), file);
    let handle = world
        .wait(unix.open(file, UnixOpen::once(AccessMask::READ_DATA)))
        .unwrap();
    assert_eq!(world.content(&handle).unwrap(), b"then");
    assert_eq!(handle.unix_id(), then.id(file));
    world.close(&handle);
    let refused = |done: crate::Result<()>| {
        assert!(
            matches!(done, Err(VfsError::ReadOnly | VfsError::AccessDenied)),
            "{done:?}"
        );
    };
    let opened = world.wait(unix.open(file, UnixOpen::once(AccessMask::WRITE_DATA)));
    refused(opened.map(|_| ()));
    let made = world.wait(unix.make(directory, b"x", Make::new(New::File, 0o644)));
    refused(made.map(|_| ()));
    refused(world.wait(unix.remove(directory, b"f", Removed::Any)));
    refused(world.wait(unix.rename((directory, b"f"), (directory, b"g"))));
    refused(world.wait(unix.link(file, directory, b"g")));
    let change = UnixChange {
        size: Some(0),
        ..UnixChange::default()
    };
    refused(world.wait(unix.change(file, &change, None)));
    // The same instant, by what a client keeps of it.
    let again = world
        .vfs
        .unix_view(&world.share, then.instant().unwrap())
        .unwrap();
    assert_eq!(again.id(file), then.id(file));
}
