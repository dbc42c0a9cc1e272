//! Quotas by user and by marked directory.

use super::*;
use crate::{QuotaInfo, QuotaOf};

const KIB: u64 = 1024;

fn used(world: &World, of: QuotaOf) -> u64 {
    let found = world.vfs.quotas().into_iter().find(|quota| quota.of == of);
    found.map_or(0, |quota: QuotaInfo| quota.used)
}

fn write(world: &World, who: &Credentials, path: &str, len: u64) -> Result<()> {
    let (handle, _) = world.open_as(who, path, |_| {})?;
    let done = world.wait(
        world
            .vfs
            .write(&handle, 0, &vec![1; usize::try_from(len).unwrap()]),
    );
    world.close(&handle);
    done
}

#[test]
fn a_users_limit_holds_for_what_the_user_owns() {
    let world = World::new(61);
    let (anna, bert) = (user(1001), user(1002));
    let of = QuotaOf::User(anna.user);
    write(&world, &anna, "before", 100 * KIB).unwrap();
    world.vfs.set_quota(of, Some(500 * KIB)).unwrap();
    assert_eq!(used(&world, of), 100 * KIB, "what was there is counted");
    write(&world, &anna, "a", 300 * KIB).unwrap();
    assert_eq!(used(&world, of), 400 * KIB);
    assert_eq!(
        outcome(write(&world, &anna, "b", 200 * KIB)),
        "QuotaExceeded"
    );
    write(&world, &bert, "c", 600 * KIB).unwrap();
    let volume = world.vfs.volume(&world.share, &anna).unwrap();
    assert_eq!(volume.available, 100 * KIB);
    assert!(world.vfs.volume(&world.share, &bert).unwrap().available > 600 * KIB);
    world.remove("before").unwrap();
    assert_eq!(used(&world, of), 300 * KIB);
    write(&world, &anna, "b", 200 * KIB).unwrap();
    assert_eq!(used(&world, of), 500 * KIB);
}

#[test]
fn a_trees_limit_holds_below_it() {
    let world = World::new(62);
    let tree = world.directory("tree");
    world.close(&world.directory("tree\\sub"));
    write(&world, &user(1001), "tree\\sub\\f", 64 * KIB).unwrap();
    let of = QuotaOf::Tree(tree.inode());
    // An open with the right to delete the directory keeps files from being moved into it.
    world.close(&tree);
    world.vfs.set_quota(of, Some(128 * KIB)).unwrap();
    assert_eq!(used(&world, of), 64 * KIB);
    assert_eq!(
        outcome(write(&world, &user(1002), "tree\\sub\\g", 128 * KIB)),
        "QuotaExceeded"
    );
    write(&world, &user(1002), "outside", 256 * KIB).unwrap();
    // A file that moves in or out takes its charge along; a directory does not move between trees.
    let handle = world.file("tree\\sub\\f");
    world.wait(world.vfs.rename(&handle, "f", false)).unwrap();
    assert_eq!(used(&world, of), 0);
    world
        .wait(world.vfs.rename(&handle, "tree\\f", false))
        .unwrap();
    assert_eq!(used(&world, of), 64 * KIB);
    world.close(&handle);
    let sub = world.directory("tree\\sub");
    let moved = world.wait(world.vfs.rename(&sub, "sub", false));
    assert_eq!(outcome(moved), "NotSameVolume");
    let big = world.file("outside");
    let moved = world.wait(world.vfs.rename(&big, "tree\\big", false));
    assert_eq!(outcome(moved), "QuotaExceeded");
    assert_eq!(world.vfs.path(&big).unwrap(), "outside");
}

#[test]
fn what_is_used_is_exact_after_a_crash() {
    let world = World::new(63);
    let anna = user(1001);
    let of = QuotaOf::User(anna.user);
    world.vfs.set_quota(of, Some(100 << 20)).unwrap();
    write(&world, &anna, "closed", 64 * KIB).unwrap();
    world.wait(world.vfs.store().sync_all()).unwrap();
    let (handle, _) = world.open_as(&anna, "open", |_| {}).unwrap();
    world
        .wait(world.vfs.write(&handle, 0, &[7; 128 << 10]))
        .unwrap();
    assert!(used(&world, of) > 192 * KIB, "the charge runs ahead");
    world.wait(world.vfs.flush(&handle)).unwrap();
    std::mem::forget(handle);
    let world = world.crash();
    assert_eq!(used(&world, of), 192 * KIB);
    assert!(world.vfs.listed(crate::rows::CHARGING).unwrap().is_empty());
    world.remove("open").unwrap();
    world.remove("closed").unwrap();
    assert_eq!(used(&world, of), 0);
    let world = world.reopen();
    assert_eq!(used(&world, of), 0);
}

#[test]
fn what_a_crash_takes_back_is_not_charged_for() {
    let world = World::new(69);
    let anna = user(1001);
    let of = QuotaOf::User(anna.user);
    world.vfs.set_quota(of, Some(100 << 20)).unwrap();
    write(&world, &anna, "cut", 300 * KIB).unwrap();
    write(&world, &anna, "emptied", 200 * KIB).unwrap();
    world.wait(world.vfs.store().sync_all()).unwrap();
    // The names and charges below are durable with the next flush; the data of these files need not be.
    write(&world, &anna, "new", 64 * KIB).unwrap();
    let cut = world.open_as(&anna, "cut", |_| {}).unwrap().0;
    world.wait(world.vfs.set_size(&cut, 0)).unwrap();
    world.close(&cut);
    let emptied = world.open_as(&anna, "emptied", |request| {
        request.disposition = Disposition::OverwriteIf;
    });
    world.close(&emptied.unwrap().0);
    let (flushed, _) = world.open_as(&anna, "flushed", |_| {}).unwrap();
    world.wait(world.vfs.flush(&flushed)).unwrap();
    world.close(&flushed);
    let world = world.crash();
    let taken: u64 = ["cut", "emptied", "new", "flushed"]
        .iter()
        .filter_map(|path| world.open_as(&anna, path, |_| {}).ok())
        .map(|(handle, _)| {
            let taken = world.vfs.stat(&handle).unwrap().allocated;
            world.close(&handle);
            taken
        })
        .sum();
    assert_eq!(used(&world, of), taken);
}

#[test]
fn the_charging_list_empties_as_data_is_published() {
    let world = World::new(70);
    let anna = user(1001);
    let of = QuotaOf::User(anna.user);
    world.vfs.set_quota(of, Some(100 << 20)).unwrap();
    for n in 0..20 {
        write(&world, &anna, &format!("f{n}"), 64 * KIB).unwrap();
    }
    assert!(!world.vfs.listed(crate::rows::CHARGING).unwrap().is_empty());
    for n in 0..20 {
        world.wait(world.vfs.store().sync_all()).unwrap();
        write(&world, &anna, &format!("g{n}"), 0).unwrap();
    }
    assert!(world.vfs.listed(crate::rows::CHARGING).unwrap().is_empty());
    assert_eq!(used(&world, of), 20 * 64 * KIB);
}

/// A user with a limit of 500 KiB.
fn limited(seed: u64) -> (World, Credentials, QuotaOf) {
    let (world, anna) = (World::new(seed), user(1001));
    let of = QuotaOf::User(anna.user);
    world.vfs.set_quota(of, Some(500 * KIB)).unwrap();
    (world, anna, of)
}

#[test]
fn a_size_that_is_set_is_charged_like_one_that_is_written() {
    let (world, anna, of) = limited(64);
    let (handle, _) = world.open_as(&anna, "f", |_| {}).unwrap();
    let grown = world.wait(world.vfs.set_size(&handle, 600 * KIB));
    assert_eq!(outcome(grown), "QuotaExceeded");
    world.wait(world.vfs.set_size(&handle, 400 * KIB)).unwrap();
    assert!(used(&world, of) >= 400 * KIB);
    world.wait(world.vfs.set_size(&handle, 100 * KIB)).unwrap();
    world.close(&handle);
    assert_eq!(used(&world, of), 100 * KIB);
}

#[test]
fn what_fills_the_holes_of_a_sparse_file_is_charged() {
    let (world, anna, of) = limited(65);
    let (handle, _) = world.open_as(&anna, "f", |_| {}).unwrap();
    world.vfs.set_sparse(&handle, true).unwrap();
    world.wait(world.vfs.set_size(&handle, 1 << 30)).unwrap();
    let data = vec![7; 256 << 10];
    world.wait(world.vfs.write(&handle, 0, &data)).unwrap();
    let more = world.wait(world.vfs.write(&handle, 512 * KIB, &data));
    assert_eq!(outcome(more), "QuotaExceeded");
    let dense = world.vfs.set_sparse(&handle, false);
    assert_eq!(outcome(dense), "QuotaExceeded");
    world.close(&handle);
    assert_eq!(used(&world, of), 256 * KIB);
}

#[test]
fn streams_that_go_or_are_emptied_give_their_charge_back() {
    let (world, anna, of) = limited(66);
    write(&world, &anna, "f", 4 * KIB).unwrap();
    write(&world, &anna, "f:gone", 64 * KIB).unwrap();
    write(&world, &anna, "f:emptied", 64 * KIB).unwrap();
    write(&world, &anna, "f:replaced", 64 * KIB).unwrap();
    assert_eq!(used(&world, of), 196 * KIB);
    world.remove("f:gone").unwrap();
    assert_eq!(used(&world, of), 132 * KIB);
    let overwrite = |request: &mut OpenRequest<'_>| request.disposition = Disposition::Overwrite;
    let (emptied, _) = world.open_as(&anna, "f:emptied", overwrite).unwrap();
    assert_eq!(used(&world, of), 68 * KIB);
    world
        .wait(world.vfs.rename(&emptied, ":replaced", true))
        .unwrap();
    assert_eq!(used(&world, of), 4 * KIB);
}

#[test]
fn nobody_makes_a_group_the_owner_to_be_charged_for_nothing() {
    let (world, anna, of) = limited(67);
    let takes = |request: &mut OpenRequest<'_>| {
        request.access = AccessMask::FILE_ALL;
    };
    let (handle, _) = world.open_as(&anna, "f", takes).unwrap();
    world
        .wait(world.vfs.write(&handle, 0, &[7; 8 << 10]))
        .unwrap();
    for group in [crate::Sid::EVERYONE, crate::Sid::USERS] {
        let sd = crate::acl::SecurityDescriptor {
            owner: Some(group),
            ..Default::default()
        };
        let parts = crate::acl::SecurityParts::OWNER;
        let set = world.wait(world.vfs.set_security(&handle, parts, &sd));
        assert_eq!(outcome(set), "InvalidOwner");
        let made = world.open_as(&anna, "g", |request| request.security = Some(sd.clone()));
        assert_eq!(outcome(made), "InvalidOwner");
    }
    world.close(&handle);
    assert_eq!(used(&world, of), 8 * KIB);
}
