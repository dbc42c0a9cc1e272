//! Undo: what some sessions changed goes back, and what others did stays.

use std::collections::BTreeSet;
use std::time::Duration;

use strongroom_device::sim::Rng;

use super::past::{at, instants, tree};
use super::*;
use crate::{UndoWanted, Undone, View};

/// A client session like those that protocols begin.
fn session(world: &World, name: &str) -> Credentials {
    let info = crate::SessionInfo {
        user: user(1000).user,
        user_name: name.to_owned(),
        address: format!("192.0.2.{}:50000", name.len()),
        protocol: "SMB 3.1.1".to_owned(),
    };
    Credentials {
        session: world.vfs.begin_session(&info).unwrap(),
        ..admin()
    }
}

fn put(world: &World, who: &Credentials, path: &str, data: &[u8]) {
    let request = |request: &mut OpenRequest<'_>| request.disposition = Disposition::OverwriteIf;
    let (handle, _) = world.open_as(who, path, request).unwrap();
    world.wait(world.vfs.write(&handle, 0, data)).unwrap();
    world.close(&handle);
}

/// Writes in place, as what encrypts files does.
fn overwrite(world: &World, who: &Credentials, path: &str, data: &[u8]) {
    let (handle, _) = world.open_as(who, path, |_| {}).unwrap();
    world.wait(world.vfs.write(&handle, 0, data)).unwrap();
    world.close(&handle);
}

fn rename(world: &World, who: &Credentials, from: &str, to: &str) {
    let (handle, _) = world.open_as(who, from, |_| {}).unwrap();
    world.wait(world.vfs.rename(&handle, to, false)).unwrap();
    world.close(&handle);
}

fn delete(world: &World, who: &Credentials, path: &str) {
    let (handle, _) = world.open_as(who, path, |_| {}).unwrap();
    world.wait(world.vfs.set_delete(&handle, true)).unwrap();
    world.close(&handle);
}

fn undo(world: &World, who: &Credentials, keep_both: bool, dry_run: bool) -> Undone {
    let wanted = UndoWanted {
        sessions: BTreeSet::from([who.session]),
        since: None,
        keep_both,
        dry_run,
    };
    world.wait(world.vfs.undo(&world.share, &wanted)).unwrap()
}

fn pass(world: &World) {
    world.wait(world.vfs.store().sync_all()).unwrap();
    world.env.advance(Duration::from_millis(1_700));
}

/// Path, and all that counts, of everything.
fn shape(world: &World, view: &View) -> Vec<(String, String)> {
    let all = tree(world, view).into_iter();
    all.map(|(path, known)| (path, known.shape())).collect()
}

#[test]
fn everything_that_one_session_did_goes_back_and_only_that() {
    for quick in [false, true] {
        let mut world = World::new(800);
        let (good, bad) = (session(&world, "good"), session(&world, "bad"));
        world.close(&world.directory("d"));
        for n in 0..20_u8 {
            put(&world, &good, &format!("d\\f{n}"), &[n; 30_000]);
        }
        pass(&world);
        let then = at(&world, *instants(&world).last().unwrap());
        let before = shape(&world, &then);
        drop(then);
        for n in 0..20_u8 {
            let path = format!("d\\f{n}");
            if n % 4 == 3 {
                put(&world, &bad, &format!("{path}.locked"), &[0xEE; 30_100]);
                delete(&world, &bad, &path);
            } else {
                overwrite(&world, &bad, &path, &[0xEE; 30_100]);
                rename(&world, &bad, &path, &format!("{path}.locked"));
            }
            if n % 5 == 0 && !quick {
                pass(&world);
            }
        }
        put(&world, &bad, "README", b"pay");
        put(&world, &good, "d\\new", b"work of the same minute");
        pass(&world);
        if quick {
            world = world.crash();
        }
        let planned = undo(&world, &bad, true, true);
        let done = undo(&world, &bad, true, false);
        assert!(done.failed.is_empty(), "{:?}", done.failed);
        assert_eq!((done.restored, done.removed), (5, 6));
        assert_eq!((planned.restored, planned.removed), (5, 6));
        assert_eq!(done.renamed, 15);
        assert_eq!(world.get("d\\new").unwrap(), b"work of the same minute");
        delete(&world, &good, "d\\new");
        let contents = |shape: &[(String, String)]| -> Vec<String> {
            shape.iter().map(|(path, _)| path.clone()).collect()
        };
        let after = shape(&world, &View::Now);
        assert_eq!(contents(&after), contents(&before));
        for n in 0..20_u8 {
            assert_eq!(world.get(&format!("d\\f{n}")).unwrap(), vec![n; 30_000]);
        }
        let again = undo(&world, &bad, true, false);
        assert_eq!((again.restored, again.removed, again.changed), (0, 0, 0));
    }
}

#[test]
fn what_somebody_else_wrote_later_stays_and_the_older_content_stands_beside() {
    let world = World::new(810);
    let (good, bad) = (session(&world, "good"), session(&world, "bad"));
    put(&world, &good, "prices.csv", b"the old list");
    put(&world, &good, "other", b"other");
    pass(&world);
    put(&world, &bad, "prices.csv", b"rubbish");
    put(&world, &bad, "other", b"rubbish");
    pass(&world);
    put(&world, &good, "prices.csv", b"written anew");
    pass(&world);
    let kept = undo(&world, &bad, false, true);
    assert_eq!(kept.kept, ["prices.csv"]);
    let done = undo(&world, &bad, true, false);
    assert!(done.failed.is_empty(), "{:?}", done.failed);
    assert_eq!(done.beside, ["prices (before undo).csv"]);
    assert_eq!(world.get("prices.csv").unwrap(), b"written anew");
    assert_eq!(
        world.get("prices (before undo).csv").unwrap(),
        b"the old list"
    );
    assert_eq!(world.get("other").unwrap(), b"other");
    // The undo is a session, too.
    let undone = Credentials {
        session: done.session.unwrap(),
        ..admin()
    };
    pass(&world);
    let back = undo(&world, &undone, true, false);
    assert!(back.failed.is_empty(), "{:?}", back.failed);
    assert_eq!(world.get("other").unwrap(), b"rubbish");
    assert!(!world.exists("prices (before undo).csv"));
}

#[test]
fn random_sessions_leave_what_others_did() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let world = World::new(820 + seed);
        let who: Vec<_> = ["a", "bb", "ccc"].map(|name| session(&world, name)).into();
        // Each keeps to files of its own, but for the bad one, which goes everywhere at the end.
        let mut wanted = std::collections::BTreeMap::new();
        for _ in 0..60 {
            let owner = rng.below(2);
            let path = format!("{owner}-{}", rng.below(6));
            let data = vec![u8::try_from(rng.below(250)).unwrap(); 1 + rng.below(60_000)];
            if rng.chance(20) {
                if wanted.remove(&path).is_some() {
                    delete(&world, &who[owner], &path);
                }
            } else {
                put(&world, &who[owner], &path, &data);
                wanted.insert(path, data);
            }
            if rng.chance(25) {
                pass(&world);
            }
        }
        // What is overwritten before it was ever committed was no state of the file.
        pass(&world);
        let bad = &who[2];
        for path in wanted.keys() {
            match rng.below(4) {
                0 => delete(&world, bad, path),
                1 => overwrite(&world, bad, path, &[0xEE; 70_000]),
                2 => put(&world, bad, path, b"cut"),
                _ => rename(&world, bad, path, &format!("{path}.x")),
            }
            if rng.chance(20) {
                pass(&world);
            }
        }
        put(&world, bad, "note", b"note");
        pass(&world);
        let done = undo(&world, bad, true, false);
        assert!(done.failed.is_empty(), "seed {seed}: {:?}", done.failed);
        let names: Vec<_> = wanted.keys().cloned().collect();
        assert_eq!(world.names(&world.root()), names, "seed {seed}");
        for (path, data) in &wanted {
            assert!(world.get(path).unwrap() == *data, "seed {seed}, {path}");
        }
    }
}

/// Lets a future wait so often at most; true if it came to its end.
fn run_some(world: &World, work: impl Future<Output = ()>, mut waits: u64) -> bool {
    let mut work = std::pin::pin!(work);
    world.wait(std::future::poll_fn(move |context| {
        use std::task::Poll;
        match work.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if waits == 0 => Poll::Ready(false),
            Poll::Pending => {
                waits -= 1;
                Poll::Pending
            }
        }
    }))
}

/// Undoes and rewinds in part, as far as a crash lets them, then goes on.
#[test]
fn what_a_crash_cuts_off_goes_on_and_is_whole() {
    for (seed, rewinds) in (0..12).zip([false, true].into_iter().cycle()) {
        let mut world = World::new(860 + seed);
        let good = session(&world, "good");
        for n in 0..30_u8 {
            put(&world, &good, &format!("f{n}"), &[n; 90_000]);
        }
        pass(&world);
        let then = *instants(&world).last().unwrap();
        let bad = session(&world, "bad");
        for n in 0..30_u8 {
            let path = format!("f{n}");
            match n % 3 {
                0 => overwrite(&world, &bad, &path, &[0xEE; 91_000]),
                1 => rename(&world, &bad, &path, &format!("{path}.x")),
                _ => delete(&world, &bad, &path),
            }
        }
        put(&world, &bad, "note", b"note");
        pass(&world);
        let wanted = UndoWanted {
            sessions: BTreeSet::from([bad.session]),
            since: None,
            keep_both: true,
            dry_run: false,
        };
        let (vfs, share) = (Arc::clone(&world.vfs), Arc::clone(&world.share));
        let steps = 1 + seed * 9;
        let work = async {
            if rewinds {
                let past = vfs.view_of(&share, then).unwrap();
                drop(vfs.rewind(&share, "", &past, false).await);
            } else {
                drop(vfs.undo(&share, &wanted).await);
            }
        };
        // Some of it is done, and some of that is durable.
        let done = run_some(&world, work, steps);
        drop(vfs);
        if seed % 4 < 2 {
            world.wait(world.vfs.store().sync_all()).unwrap();
        }
        world = world.crash();
        let resumed = world.wait(world.vfs.resume_works()).unwrap();
        assert!(done || resumed <= 1);
        if resumed == 0 && !done {
            // Not even its beginning was durable.
            let again = world.wait(world.vfs.undo(&world.share, &wanted)).unwrap();
            assert!(again.failed.is_empty(), "{:?}", again.failed);
        }
        let mut names: Vec<_> = (0..30_u8).map(|n| format!("f{n}")).collect();
        names.sort();
        assert_eq!(world.names(&world.root()), names, "seed {seed}");
        for n in 0..30_u8 {
            let found = world.get(&format!("f{n}")).unwrap();
            assert!(found == vec![n; 90_000], "seed {seed}, f{n}");
        }
        assert_eq!(world.wait(world.vfs.resume_works()).unwrap(), 0);
    }
}

fn link(world: &World, who: &Credentials, from: &str, to: &str) {
    let (handle, _) = world.open_as(who, from, |_| {}).unwrap();
    world.wait(world.vfs.link(&handle, to, false)).unwrap();
    world.close(&handle);
}

fn links(world: &World, path: &str) -> (u64, u32) {
    let (handle, _) = world.open_as(&admin(), path, |_| {}).unwrap();
    let stat = world.vfs.stat(&handle).unwrap();
    world.close(&handle);
    (stat.inode.0, stat.links)
}

#[test]
fn all_names_of_a_file_come_back_whatever_was_done_to_them() {
    for case in 0..5 {
        let world = World::new(880 + case);
        let (good, bad) = (session(&world, "good"), session(&world, "bad"));
        world.close(&world.directory("d"));
        put(&world, &good, "f", &[7; 30_000]);
        link(&world, &good, "f", "d\\g");
        pass(&world);
        match case {
            // One name is another, one is gone.
            0 => {
                rename(&world, &bad, "d\\g", "d\\h");
                delete(&world, &bad, "f");
            }
            // All are gone.
            1 => {
                delete(&world, &bad, "f");
                delete(&world, &bad, "d\\g");
            }
            // There is one more.
            2 => link(&world, &bad, "f", "d\\more"),
            // They have changed places, and the case of one.
            3 => {
                rename(&world, &bad, "f", "x");
                rename(&world, &bad, "d\\g", "F");
                rename(&world, &bad, "x", "d\\g");
            }
            // The folder has moved, too.
            _ => {
                rename(&world, &bad, "d", "e");
                rename(&world, &bad, "e\\g", "g");
            }
        }
        pass(&world);
        let done = undo(&world, &bad, true, false);
        assert!(done.failed.is_empty(), "case {case}: {:?}", done.failed);
        assert_eq!(world.names(&world.root()), ["d", "f"], "case {case}");
        let (directory, _) = world.open_as(&admin(), "d", |_| {}).unwrap();
        assert_eq!(world.names(&directory), ["g"], "case {case}");
        world.close(&directory);
        assert_eq!(links(&world, "f"), links(&world, "d\\g"), "case {case}");
        assert_eq!(links(&world, "f").1, 2, "case {case}");
        assert_eq!(world.get("f").unwrap(), vec![7; 30_000]);
        assert!(done.beside.is_empty(), "case {case}: {:?}", done.beside);
    }
}

#[test]
fn what_they_made_goes_under_all_of_its_names() {
    let world = World::new(886);
    let bad = session(&world, "bad");
    pass(&world);
    put(&world, &bad, "f", b"theirs");
    link(&world, &bad, "f", "g");
    pass(&world);
    let done = undo(&world, &bad, true, false);
    assert!(done.failed.is_empty(), "{:?}", done.failed);
    assert_eq!(done.removed, 1);
    assert!(world.names(&world.root()).is_empty());
}

#[test]
fn a_name_that_somebody_else_has_now_is_theirs() {
    let world = World::new(887);
    let (good, bad) = (session(&world, "good"), session(&world, "bad"));
    put(&world, &good, "a.txt", b"before");
    pass(&world);
    rename(&world, &bad, "a.txt", "b");
    pass(&world);
    put(&world, &good, "a.txt", b"new work");
    pass(&world);
    let done = undo(&world, &bad, true, false);
    assert!(done.failed.is_empty(), "{:?}", done.failed);
    assert_eq!(done.beside, ["a (2).txt"]);
    assert_eq!(world.names(&world.root()), ["a (2).txt", "a.txt"]);
    assert_eq!(world.get("a.txt").unwrap(), b"new work");
    assert_eq!(world.get("a (2).txt").unwrap(), b"before");
}

#[test]
fn names_that_were_exchanged_are_exchanged_back() {
    let world = World::new(888);
    let (good, bad) = (session(&world, "good"), session(&world, "bad"));
    put(&world, &good, "a", b"a");
    put(&world, &good, "b", b"b");
    pass(&world);
    rename(&world, &bad, "a", "x");
    rename(&world, &bad, "b", "a");
    rename(&world, &bad, "x", "b");
    pass(&world);
    let done = undo(&world, &bad, true, false);
    assert!(done.failed.is_empty(), "{:?}", done.failed);
    assert_eq!(world.names(&world.root()), ["a", "b"]);
    assert_eq!(world.get("a").unwrap(), b"a");
    assert_eq!(world.get("b").unwrap(), b"b");
}

#[test]
fn a_name_goes_back_where_others_have_moved_its_folder() {
    let world = World::new(889);
    let (good, bad) = (session(&world, "good"), session(&world, "bad"));
    world.close(&world.directory("d"));
    put(&world, &good, "d\\f", b"f");
    put(&world, &good, "d\\g", b"g");
    pass(&world);
    rename(&world, &bad, "d\\f", "d\\f.locked");
    delete(&world, &bad, "d\\g");
    pass(&world);
    rename(&world, &good, "d", "e");
    pass(&world);
    let done = undo(&world, &bad, true, false);
    assert!(done.failed.is_empty(), "{:?}", done.failed);
    assert_eq!(world.get("e\\f").unwrap(), b"f");
    assert_eq!(world.get("e\\g").unwrap(), b"g");
}

/// Stops the work that runs after so many waits, and lets it come to its end.
fn stopped_after<T>(world: &World, work: impl Future<Output = T>, waits: u64) -> T {
    let mut work = std::pin::pin!(work);
    let vfs = Arc::clone(&world.vfs);
    let mut left = waits;
    world.wait(std::future::poll_fn(move |context| {
        if left == 0 {
            for work in vfs.works() {
                assert!(vfs.stop_work(work.session));
            }
        }
        left = left.saturating_sub(1);
        work.as_mut().poll(context)
    }))
}

#[test]
fn what_is_stopped_leaves_whole_files_and_the_same_command_does_the_rest() {
    let mut stopped = 0;
    for (seed, rewinds) in (0..16).zip([false, true].into_iter().cycle()) {
        let world = World::new(890 + seed);
        let (good, bad) = (session(&world, "good"), session(&world, "bad"));
        let name = |n: u8| format!("f{n:02}");
        for n in 0..30_u8 {
            put(&world, &good, &name(n), &[n; 90_000]);
        }
        pass(&world);
        let then = *instants(&world).last().unwrap();
        for n in (0..30_u8).step_by(3) {
            // Two change places, the third is spoilt.
            rename(&world, &bad, &name(n), "x");
            rename(&world, &bad, &name(n + 1), &name(n));
            rename(&world, &bad, "x", &name(n + 1));
            overwrite(&world, &bad, &name(n + 2), &[0xEE; 91_000]);
        }
        pass(&world);
        let wanted = UndoWanted {
            sessions: BTreeSet::from([bad.session]),
            keep_both: true,
            ..UndoWanted::default()
        };
        let run = async || {
            if rewinds {
                let past = world.vfs.view_of(&world.share, then).unwrap();
                let done = world.vfs.rewind(&world.share, "", &past, false).await;
                let done = done.unwrap();
                (done.stopped, done.failed)
            } else {
                let done = world.vfs.undo(&world.share, &wanted).await.unwrap();
                (done.stopped, done.failed)
            }
        };
        let (was_stopped, failed) = stopped_after(&world, run(), seed / 2);
        assert!(failed.is_empty(), "seed {seed}: {failed:?}");
        stopped += u32::from(was_stopped);
        let names: Vec<_> = (0..30_u8).map(name).collect();
        assert_eq!(world.names(&world.root()), names, "seed {seed}");
        for n in 0..30_u8 {
            let found = world.get(&name(n)).unwrap();
            let known = found == vec![found[0]; found.len()];
            assert!(known, "seed {seed}: {} is of two states", name(n));
        }
        assert_eq!(world.wait(world.vfs.resume_works()).unwrap(), 0);
        let (again, failed) = world.wait(run());
        assert!(!again && failed.is_empty(), "seed {seed}: {failed:?}");
        for n in 0..30_u8 {
            let found = world.get(&name(n)).unwrap();
            assert!(found == vec![n; 90_000], "seed {seed}, {}", name(n));
        }
    }
    assert!(stopped > 4, "only {stopped} were stopped");
}
