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
