//! What Macs have beside a file's data, copies of all of it, and names in two forms of Unicode.

use super::*;
use crate::{CaseMode, CreateAction, Handle, QuotaOf, VfsError};

const RESOURCE: &str = "f:AFP_Resource";
const INFO: &str = "f:AFP_AfpInfo";

fn info(kind: &[u8; 8]) -> [u8; 60] {
    let mut info = [0; 60];
    info[..8].copy_from_slice(b"AFP\0\0\x01\0\0");
    info[16..24].copy_from_slice(kind);
    info
}

fn streams(world: &World) -> Vec<String> {
    let file = world.file("f");
    let streams = world.vfs.streams(&file).unwrap();
    world.close(&file);
    streams.into_iter().map(|stream| stream.name).collect()
}

fn made(world: &World, path: &str) -> (std::sync::Arc<Handle>, CreateAction) {
    world.open(path, |_| {}).unwrap()
}

fn is_missing(world: &World, path: &str) -> bool {
    let opened = world.open(path, |request| request.disposition = Disposition::Open);
    matches!(opened, Err(VfsError::NotFound))
}

fn write(world: &World, handle: &Handle, data: &[u8]) {
    world.wait(world.vfs.write(handle, 0, data)).unwrap();
}

#[test]
fn a_resource_fork_without_bytes_is_not_there() {
    let world = World::new(1);
    world.put("f", b"data");
    let (fork, action) = made(&world, RESOURCE);
    assert_eq!(action, CreateAction::Created);
    assert!(is_missing(&world, RESOURCE));
    assert_eq!(streams(&world), [""]);
    write(&world, &fork, b"rsrc");
    assert!(!is_missing(&world, RESOURCE));
    assert_eq!(streams(&world), ["", "AFP_Resource"]);
    world.wait(world.vfs.set_size(&fork, 0)).unwrap();
    assert!(is_missing(&world, RESOURCE));
    // Made anew while the old open is there, it is the same stream.
    let (again, action) = made(&world, RESOURCE);
    assert_eq!(action, CreateAction::Created);
    write(&world, &again, b"new");
    world.close(&again);
    world.close(&fork);
    assert_eq!(world.get(RESOURCE).unwrap(), b"new");
}

#[test]
fn a_resource_fork_that_was_never_written_goes_with_its_last_open() {
    let world = World::new(2);
    world.put("f", b"data");
    let (fork, _) = made(&world, RESOURCE);
    world.close(&fork);
    assert_eq!(streams(&world), [""]);
    let (_, again) = made(&world, RESOURCE);
    assert_eq!(again, CreateAction::Created);
}

#[test]
fn new_finder_information_says_nothing_and_is_not_there() {
    let world = World::new(4);
    world.put("f", b"data");
    let (open, action) = made(&world, INFO);
    assert_eq!(action, CreateAction::Created);
    let mut bytes = [1; 64];
    assert_eq!(world.vfs.read(&open, 0, &mut bytes).unwrap(), 60);
    assert!(crate::is_afp_info(&bytes[..60]) && bytes[16..60].iter().all(|byte| *byte == 0));
    assert_eq!(streams(&world), [""]);
    world.close(&open);
    assert!(is_missing(&world, INFO));
}

#[test]
fn finder_information_made_of_zeros_is_none() {
    let world = World::new(5);
    world.put("f", b"data");
    let (open, _) = made(&world, INFO);
    write(&world, &open, &info(b"TEXTttxt"));
    assert_eq!(streams(&world), ["", "AFP_AfpInfo"]);
    world.close(&open);
    assert_eq!(world.get(INFO).unwrap(), info(b"TEXTttxt"));
    let (open, action) = made(&world, INFO);
    assert_eq!(action, CreateAction::Opened);
    write(&world, &open, &info(&[0; 8]));
    assert_eq!(streams(&world), [""]);
    world.close(&open);
    assert!(is_missing(&world, INFO));
}

#[test]
fn a_stream_whose_emptying_means_its_end_stays_if_it_is_written_to() {
    let world = World::new(6);
    world.put("f", b"data");
    for (after, left) in [(&b""[..], false), (b"more", true)] {
        let (open, _) = made(&world, "f:xattr");
        write(&world, &open, b"value");
        world.wait(world.vfs.set_size(&open, 0)).unwrap();
        world.vfs.empty_means_gone(&open);
        assert!(is_missing(&world, "f:xattr"));
        if !after.is_empty() {
            write(&world, &open, after);
        }
        world.close(&open);
        assert_eq!(is_missing(&world, "f:xattr"), !left);
    }
}

#[test]
fn other_empty_streams_are_there() {
    let world = World::new(7);
    world.put("f", b"data");
    let (open, _) = made(&world, "f:empty");
    world.close(&open);
    assert_eq!(streams(&world), ["", "empty"]);
}

#[test]
fn a_listing_tells_what_a_mac_wants_to_know() {
    let world = World::new(8);
    world.put("f", b"data");
    let (fork, _) = made(&world, RESOURCE);
    write(&world, &fork, b"rsrc");
    let (open, _) = made(&world, INFO);
    write(&world, &open, &info(b"TEXTttxt"));
    let root = world.root();
    let file = world.file("f");
    let told = world
        .vfs
        .apple_attributes_of(&root, &user(1000), file.inode());
    let told = told.unwrap().unwrap();
    assert_eq!(told.resource_fork, 4);
    assert_eq!(told.finder_info[..8], *b"TEXTttxt");
    assert!(told.rights.contains(AccessMask::FILE_READ));
    let gone = world
        .vfs
        .apple_attributes_of(&root, &user(1000), crate::Inode(1 << 40));
    assert_eq!(gone.unwrap(), None);
}

#[test]
fn a_file_is_copied_with_its_streams() {
    let world = World::new(9);
    let long: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    world.put("f", &long);
    world.put("f:one", b"first");
    world.put("f:empty", b"");
    world.put(RESOURCE, b"rsrc");
    world.put(INFO, &info(b"TEXTttxt"));
    world.put("copy", &vec![7; 300_000]);
    world.put("copy:one", b"longer than what comes");
    world.put("copy:own", b"stays");
    let (source, target) = (world.file("f"), world.file("copy"));
    let copied = world.wait(world.vfs.copy_file(&source, &target)).unwrap();
    assert_eq!(copied, 200_000);
    world.close(&target);
    assert!(world.get("copy").unwrap() == long);
    assert_eq!(world.get("copy:one").unwrap(), b"first");
    assert_eq!(world.get("copy:empty").unwrap(), b"");
    assert_eq!(world.get("copy:own").unwrap(), b"stays");
    assert_eq!(world.get("copy:AFP_Resource").unwrap(), b"rsrc");
    assert_eq!(world.get("copy:AFP_AfpInfo").unwrap(), info(b"TEXTttxt"));
    let onto_itself = world.wait(world.vfs.copy_file(&source, &source));
    assert!(matches!(onto_itself, Err(VfsError::InvalidParameter)));
}

#[test]
fn an_id_leads_to_a_path_inside_its_share_only() {
    let world = World::new(10);
    world.close(&world.directory("d"));
    world.put("d\\f", b"x");
    let file = world.file("d\\f");
    let who = user(1000);
    let path = |share: &Share, inode| world.vfs.path_of(share, &who, inode);
    assert_eq!(path(&world.share, file.inode()).unwrap(), "d\\f");
    assert_eq!(path(&world.share, world.share.root).unwrap(), "");
    let other = world.vfs.add_share(NewShare {
        name: "other".into(),
        ..NewShare::default()
    });
    let other = other.unwrap();
    assert!(matches!(
        path(&other, file.inode()),
        Err(VfsError::NotFound)
    ));
    let nothing = path(&world.share, crate::Inode(1 << 40));
    assert!(matches!(nothing, Err(VfsError::NotFound)));
}

const COMPOSED: &str = "caf\u{e9}";
const DECOMPOSED: &str = "cafe\u{301}";

fn names(world: &World) -> Vec<String> {
    let root = world.root();
    let mut cursor = crate::DirCursor::default();
    let entries = world.vfs.list(&root, &mut cursor, "*", 100).unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn a_name_is_found_in_either_form_and_kept_as_it_was_given() {
    for (given, asked) in [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)] {
        let world = World::new(11);
        world.put(given, b"x");
        assert_eq!(world.get(asked).unwrap(), b"x");
        assert_eq!(world.get(&asked.to_uppercase()).unwrap(), b"x");
        assert_eq!(names(&world), [given]);
        let root = world.root();
        let mut cursor = crate::DirCursor::default();
        let found = world.vfs.list(&root, &mut cursor, asked, 10).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, given);
        assert!(
            world
                .vfs
                .list(&root, &mut cursor, asked, 10)
                .unwrap()
                .is_empty()
        );
        let exact = world.open(asked, |request| {
            request.case = CaseMode::Exact;
            request.disposition = Disposition::Open;
        });
        assert!(matches!(exact, Err(VfsError::NotFound)));
        world.remove(asked).unwrap();
        assert!(names(&world).is_empty());
    }
}

#[test]
fn what_makes_a_file_makes_it_beside_a_name_in_the_other_form() {
    let makers = [
        Disposition::Create,
        Disposition::OpenIf,
        Disposition::OverwriteIf,
        Disposition::Supersede,
    ];
    for (given, asked) in [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)] {
        for disposition in makers {
            let world = World::new(14);
            world.put(given, b"x");
            let (made, action) = world
                .open(asked, |request| request.disposition = disposition)
                .unwrap();
            assert_eq!(action, crate::CreateAction::Created);
            write(&world, &made, b"another");
            world.close(&made);
            assert_eq!(world.get(given).unwrap(), b"x");
            assert_eq!(world.get(asked).unwrap(), b"another");
            // Each is now found in its own form.
            let again = world.open(asked, |request| request.disposition = Disposition::Create);
            assert!(matches!(again, Err(VfsError::Exists)));
            world.remove(asked).unwrap();
            assert_eq!(names(&world), [given]);
        }
    }
}

#[test]
fn a_new_stream_belongs_to_the_file_in_either_form() {
    let world = World::new(15);
    world.put(COMPOSED, b"x");
    let stream = format!("{DECOMPOSED}:notes");
    let (made, _) = world
        .open(&stream, |request| request.disposition = Disposition::Create)
        .unwrap();
    world.close(&made);
    assert_eq!(names(&world), [COMPOSED]);
    let stream = world.open(&format!("{COMPOSED}:notes"), |request| {
        request.disposition = Disposition::Open;
    });
    world.close(&stream.unwrap().0);
}

#[test]
fn a_rename_replaces_a_name_in_the_other_form_and_else_comes_beside_it() {
    let world = World::new(12);
    world.put(COMPOSED, b"old");
    world.put("beside", b"beside");
    let beside = world.file("beside");
    world
        .wait(world.vfs.rename(&beside, DECOMPOSED, false))
        .unwrap();
    world.close(&beside);
    assert_eq!(names(&world), [DECOMPOSED, COMPOSED]);
    world.remove(DECOMPOSED).unwrap();
    world.put("new", b"new");
    let file = world.file("new");
    world
        .wait(world.vfs.rename(&file, DECOMPOSED, true))
        .unwrap();
    assert_eq!(names(&world), [DECOMPOSED]);
    assert_eq!(world.get(COMPOSED).unwrap(), b"new");
    // Another form of its own name.
    world
        .wait(world.vfs.rename(&file, COMPOSED, false))
        .unwrap();
    assert_eq!(names(&world), [COMPOSED]);
    world.close(&file);
    world.put("third", b"third");
    let third = world.file("third");
    world
        .wait(world.vfs.link(&third, DECOMPOSED, true))
        .unwrap();
    assert_eq!(world.get(COMPOSED).unwrap(), b"third");
}

#[test]
fn a_share_for_backups_has_the_size_that_it_was_given() {
    let world = World::new(13);
    let share = world.vfs.add_share(NewShare {
        name: "backups".into(),
        time_machine: true,
        size_limit: Some(10 << 20),
        ..NewShare::default()
    });
    let share = share.unwrap();
    assert!(share.time_machine);
    assert_eq!(world.vfs.size_limit(&share).unwrap(), Some(10 << 20));
    assert_eq!(world.vfs.size_limit(&world.share).unwrap(), None);
    let volume = world.vfs.volume(&share, &admin()).unwrap();
    assert_eq!((volume.total, volume.available), (10 << 20, 10 << 20));
    let request = OpenRequest {
        path: "band",
        ..all(&share)
    };
    let (band, _) = world.wait(world.vfs.open(&user(1000), request)).unwrap();
    let data = vec![1; 4 << 20];
    write(&world, &band, &data);
    let full = world.wait(world.vfs.write(&band, 4 << 20, &vec![2; 8 << 20]));
    assert!(
        matches!(full, Err(VfsError::QuotaExceeded | VfsError::NoSpace)),
        "{full:?}"
    );
    world.close(&band);
    let volume = world.vfs.volume(&share, &admin()).unwrap();
    assert_eq!(volume.total, 10 << 20);
    assert!(volume.available <= 6 << 20 && volume.available_to_all <= 6 << 20);
    let limits = world.vfs.quotas().into_iter();
    assert!(
        limits
            .map(|quota| quota.of)
            .any(|of| of == QuotaOf::Tree(share.root))
    );
}
