//! Snapshots: they show what was there when they were made, whatever is thinned, in whatever order others go.

use std::time::Duration;

use strongroom_device::sim::Rng;

use super::*;
use crate::{FileTime, Retention, View};

fn snapshot(world: &World, name: &str) -> Result<crate::Snapshot> {
    world.wait(world.vfs.create_snapshot(&world.share, name))
}

fn delete(world: &World, name: &str) -> Result<()> {
    world.wait(world.vfs.delete_snapshot(&world.share, name))
}

fn view(world: &World, name: &str) -> View {
    let snapshot = world.vfs.snapshot(&world.share, name).unwrap();
    world.vfs.view_of(&world.share, snapshot.instant).unwrap()
}

/// Content of a file in a view; None if there is none.
fn content(world: &World, view: &View, path: &str) -> Option<Vec<u8>> {
    let opened = world.open(path, |request| {
        request.view = view.clone();
        request.disposition = Disposition::Open;
        request.access = AccessMask::FILE_READ;
    });
    let (handle, _) = opened.ok()?;
    let content = world.content(&handle).unwrap();
    world.close(&handle);
    Some(content)
}

/// Lets the cleaner thin what may be thinned by now.
fn thin(world: &World) {
    for round in 0..3 {
        // A change without content.
        world.close(&world.file(&format!("wakes the cleaner {round}")));
        world.remove(&format!("wakes the cleaner {round}")).unwrap();
        world.env.advance(Duration::from_secs(70));
    }
}

fn window(seconds: u64) -> Retention {
    Retention::window(Duration::from_secs(seconds))
}

#[test]
fn a_snapshot_shows_what_was_there_and_neither_thinning_nor_a_crash_takes_it() {
    let mut world = World::new(600);
    world.vfs.set_retention(&world.share, &window(30)).unwrap();
    world.put("f", &[1; 102_400]);
    world.put("g", b"deleted later");
    let first = snapshot(&world, "first").unwrap();
    // In the same second, so that the snapshot alone keeps what was.
    world.put("f", &[2; 49_152]);
    world.remove("g").unwrap();
    snapshot(&world, "Second").unwrap();
    world.put("f", &[3; 69_632]);
    assert_eq!(outcome(snapshot(&world, "FIRST")), "Exists");
    thin(&world);
    for _ in 0..2 {
        let then = view(&world, "first");
        assert_eq!(content(&world, &then, "f"), Some(vec![1; 102_400]));
        assert_eq!(content(&world, &then, "g").unwrap(), b"deleted later");
        let then = view(&world, "second");
        assert_eq!(content(&world, &then, "f"), Some(vec![2; 49_152]));
        assert_eq!(content(&world, &then, "g"), None);
        drop(then);
        world = world.crash();
        thin(&world);
    }
    let names: Vec<_> = world.vfs.snapshots(&world.share).unwrap();
    let names: Vec<_> = names.into_iter().map(|snapshot| snapshot.name).collect();
    assert_eq!(names, ["first", "Second"]);
    delete(&world, "first").unwrap();
    assert_eq!(outcome(delete(&world, "first")), "NotFound");
    let gone = world.vfs.view_of(&world.share, first.instant);
    assert_eq!(outcome(gone), "Forgotten");
    thin(&world);
    let then = view(&world, "second");
    assert_eq!(content(&world, &then, "f"), Some(vec![2; 49_152]));
    drop(then);
    delete(&world, "second").unwrap();
    thin(&world);
    assert_eq!(world.vfs.store().space().unwrap().used_history, 0);
    assert_eq!(world.get("f").unwrap(), [3; 69_632]);
}

#[test]
fn snapshots_go_in_any_order_and_the_others_stay_as_they_were() {
    for seed in 0..4 {
        let mut rng = Rng::new(seed);
        let mut world = World::new(610 + seed);
        world.vfs.set_retention(&world.share, &window(20)).unwrap();
        let mut kept = Vec::new();
        for round in 0..8_u8 {
            let mut files = Vec::new();
            for file in 0..4_u8 {
                let path = format!("f{file}");
                if rng.chance(60) {
                    world.put(&path, &vec![round; 4096 * (1 + rng.below(20))]);
                } else if rng.chance(40) {
                    drop(world.remove(&path));
                }
                files.push(world.get(&path).ok());
            }
            snapshot(&world, &format!("s{round}")).unwrap();
            kept.push((round, files));
            world.env.advance(Duration::from_secs(rng.below(40) as u64));
        }
        while !kept.is_empty() {
            let (round, _) = kept.swap_remove(rng.below(kept.len()));
            delete(&world, &format!("s{round}")).unwrap();
            thin(&world);
            if rng.chance(30) {
                world = world.crash();
            }
            for (round, files) in &kept {
                let then = view(&world, &format!("s{round}"));
                for (file, expected) in files.iter().enumerate() {
                    let found = content(&world, &then, &format!("f{file}"));
                    assert!(found == *expected, "seed {seed}, s{round}, f{file}");
                }
            }
        }
        thin(&world);
        assert_eq!(world.vfs.store().space().unwrap().used_history, 0);
    }
}

#[test]
fn a_snapshot_of_one_share_keeps_nothing_of_another() {
    let world = World::new(620);
    world.vfs.set_retention(&world.share, &window(20)).unwrap();
    let other = crate::NewShare {
        name: "other".into(),
        ..crate::NewShare::default()
    };
    let other = world.vfs.add_share(other).unwrap();
    world.vfs.set_retention(&other, &window(20)).unwrap();
    world.put("f", &[1; 102_400]);
    world
        .wait(world.vfs.create_snapshot(&other, "only of the other"))
        .unwrap();
    world.put("f", &[2; 8_192]);
    thin(&world);
    assert_eq!(world.vfs.store().space().unwrap().used_history, 0);
    assert!(world.vfs.snapshots(&world.share).unwrap().is_empty());
}

#[test]
fn what_is_held_or_locked_is_deleted_by_nobody() {
    let mut world = World::new(630);
    snapshot(&world, "s").unwrap();
    let hold = |world: &World, hold| world.wait(world.vfs.hold_snapshot(&world.share, "s", hold));
    hold(&world, true).unwrap();
    assert_eq!(outcome(delete(&world, "s")), "CannotDelete");
    hold(&world, false).unwrap();
    let until = |world: &World, seconds: u64| {
        FileTime(FileTime::from(world.env.now()).0 + seconds * 10_000_000)
    };
    let lock = |world: &World, date| world.wait(world.vfs.lock_snapshot(&world.share, "s", date));
    let date = until(&world, 600);
    lock(&world, date).unwrap();
    let known = world.vfs.snapshot(&world.share, "s").unwrap();
    assert_eq!(known.locked_until, Some(date));
    assert_eq!(outcome(delete(&world, "s")), "CannotDelete");
    let shorter = lock(&world, until(&world, 300));
    assert_eq!(outcome(shorter), "InvalidParameter");
    assert_eq!(outcome(world.vfs.remove_share("files")), "CannotDelete");
    // Half of the time passes, and the machine is off for an hour of its clock.
    world.env.advance(Duration::from_secs(300));
    world = world.crash();
    world.env.move_clock(Duration::from_secs(3600));
    assert_eq!(outcome(delete(&world, "s")), "CannotDelete");
    world.env.advance(Duration::from_secs(200));
    assert_eq!(outcome(delete(&world, "s")), "CannotDelete");
    // What a crash took of the time counted is at most a minute.
    world.env.advance(Duration::from_secs(170));
    delete(&world, "s").unwrap();
}

#[test]
fn a_snapshot_of_the_past_takes_nothing_from_one_of_now() {
    for (seed, pause) in (0..).zip([0, 30, 300, 900]) {
        let mut world = World::new(760 + seed);
        world.put("f", b"oldest");
        world.wait(world.vfs.store().sync_all()).unwrap();
        world.env.advance(Duration::from_millis(2_500));
        let past = super::past::at(&world, *super::past::instants(&world).last().unwrap());
        world.put("f", b"then");
        let share = Arc::clone(&world.share);
        world
            .wait(world.vfs.create_snapshot(&share, "now"))
            .unwrap();
        world
            .wait(world.vfs.create_snapshot_of(&share, "past", &past))
            .unwrap();
        drop(past);
        world.env.advance(Duration::from_millis(pause));
        for n in 0..20 {
            world.put("f", format!("later {n}").as_bytes());
            world.wait(world.vfs.store().sync_all()).unwrap();
        }
        if seed % 2 == 1 {
            world = world.crash();
        }
        world.env.advance(Duration::from_secs(90));
        for (name, content) in [("now", &b"then"[..]), ("past", b"oldest")] {
            let snapshot = world.vfs.snapshot(&share, name).unwrap();
            let view = world.vfs.view_of(&share, snapshot.instant).unwrap();
            let (handle, _) = world
                .open_as(&admin(), "f", |request| {
                    request.view = view.clone();
                    request.disposition = Disposition::Open;
                    request.access = AccessMask::FILE_READ;
                })
                .unwrap();
            assert_eq!(
                world.content(&handle).unwrap(),
                content,
                "seed {seed}, {name}"
            );
            world.close(&handle);
        }
    }
}

#[test]
fn snapshots_are_made_by_schedule_and_the_newest_are_kept() {
    let mut world = World::new(770);
    let share = Arc::clone(&world.share);
    let schedule = crate::SnapshotSchedule {
        every_s: 120,
        keep: 3,
    };
    let wrong = crate::SnapshotSchedule {
        keep: 0,
        ..schedule
    };
    let refused = world.vfs.set_snapshot_schedule(&share, Some(wrong));
    assert_eq!(outcome(world.wait(refused)), "InvalidParameter");
    let set = world.vfs.set_snapshot_schedule(&share, Some(schedule));
    world.wait(set).unwrap();
    let names = |world: &World| -> Vec<String> {
        let all = world.vfs.snapshots(&share).unwrap().into_iter();
        all.map(|snapshot| snapshot.name).collect()
    };
    world.env.advance(Duration::from_secs(130));
    let first = names(&world);
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(first[0].starts_with("auto "), "{first:?}");
    let held = world.vfs.hold_snapshot(&share, &first[0], true);
    world.wait(held).unwrap();
    world
        .wait(world.vfs.create_snapshot(&share, "by hand"))
        .unwrap();
    world.env.advance(Duration::from_secs(240));
    assert_eq!(names(&world).len(), 4);
    // While nothing runs none is made; afterwards one, not one for each that was missed.
    world = world.reopen();
    world.env.advance(Duration::from_secs(590));
    let later = names(&world);
    assert!(later.contains(&first[0]), "it is held: {later:?}");
    assert!(later.contains(&"by hand".to_owned()));
    assert_eq!(later.len(), 5, "{later:?}");
    world
        .wait(world.vfs.set_snapshot_schedule(&share, None))
        .unwrap();
    world.env.advance(Duration::from_secs(300));
    assert_eq!(names(&world), later);
    assert_eq!(world.vfs.snapshot_schedule(&share), None);
}
