//! Change notices (MS-FSA 2.1.5.11).

use super::*;
use crate::{DosAttributes, NoticeBudget, VfsError, Watch, WatchAction, WatchFilter, WatchOutcome};

const EVERYTHING: WatchFilter = WatchFilter(0xFFF);

/// What happened since, as action and path.
fn events(watch: &mut Watch) -> Vec<(WatchAction, String)> {
    let mut all = Vec::new();
    while let Some(outcome) = watch.try_next() {
        match outcome {
            WatchOutcome::Events(events) => {
                all.extend(events.into_iter().map(|event| (event.action, event.path)));
            }
            other @ (WatchOutcome::Overflow | WatchOutcome::Deleted | WatchOutcome::Closed) => {
                panic!("{other:?}")
            }
        }
    }
    all
}

fn one(action: WatchAction, path: &str) -> (WatchAction, String) {
    (action, path.to_owned())
}

#[test]
fn names_that_come_go_and_change_are_told() {
    use WatchAction::{Added, Removed, RenamedNew, RenamedOld};
    let world = World::new(51);
    world.close(&world.directory("d"));
    let names = WatchFilter::FILE_NAME.union(WatchFilter::DIR_NAME);
    let root = world.root();
    let mut watch = world
        .vfs
        .watch(&root, names, false, 65_536, &plenty())
        .unwrap();
    world.put("f", b"x");
    let handle = world.file("f");
    world.wait(world.vfs.rename(&handle, "g", false)).unwrap();
    world
        .wait(world.vfs.rename(&handle, "d\\h", false))
        .unwrap();
    world.close(&handle);
    world.remove("d\\h").unwrap();
    world.remove("d").unwrap();
    let expected = [
        one(Added, "f"),
        one(RenamedOld, "f"),
        one(RenamedNew, "g"),
        one(Removed, "g"),
        one(Removed, "d"),
    ];
    assert_eq!(events(&mut watch), expected);
}

#[test]
fn a_recursive_watch_tells_paths_from_where_it_stands() {
    let world = World::new(52);
    world.close(&world.directory("a"));
    world.close(&world.directory("a\\b"));
    let handle = world.directory("a");
    let mut deep = world
        .vfs
        .watch(&handle, EVERYTHING, true, 65_536, &plenty())
        .unwrap();
    let mut flat = world
        .vfs
        .watch(&handle, EVERYTHING, false, 65_536, &plenty())
        .unwrap();
    world.close(&world.file("a\\b\\f"));
    world.close(&world.file("outside"));
    assert_eq!(events(&mut deep), [one(WatchAction::Added, "b\\f")]);
    assert!(events(&mut flat).is_empty());
}

#[test]
fn filters_choose_what_is_told() {
    let world = World::new(53);
    world.put("f", b"x");
    let root = world.root();
    let mut sizes = world
        .vfs
        .watch(&root, WatchFilter::SIZE, false, 65_536, &plenty())
        .unwrap();
    let mut attributes = world
        .vfs
        .watch(&root, WatchFilter::ATTRIBUTES, false, 65_536, &plenty())
        .unwrap();
    let mut streams = world
        .vfs
        .watch(&root, WatchFilter::STREAM_NAME, false, 65_536, &plenty())
        .unwrap();
    let handle = world.file("f");
    world
        .wait(world.vfs.set_attributes(&handle, DosAttributes::HIDDEN))
        .unwrap();
    assert_eq!(events(&mut attributes), [one(WatchAction::Modified, "f")]);
    assert!(events(&mut sizes).is_empty());
    world.wait(world.vfs.write(&handle, 0, b"longer")).unwrap();
    world.close(&handle);
    assert_eq!(events(&mut sizes), [one(WatchAction::Modified, "f")]);
    world.put("f:s", b"x");
    assert_eq!(events(&mut streams), [one(WatchAction::AddedStream, "f:s")]);
}

#[test]
fn more_than_is_kept_is_told_as_overflow_once() {
    let world = World::new(54);
    let root = world.root();
    let mut watch = world
        .vfs
        .watch(&root, EVERYTHING, false, 100, &plenty())
        .unwrap();
    for n in 0..50 {
        world.put(&format!("file{n}"), b"x");
    }
    assert_eq!(watch.try_next(), Some(WatchOutcome::Overflow));
    assert_eq!(watch.try_next(), None);
    world.remove("file1").unwrap();
    assert_eq!(events(&mut watch), [one(WatchAction::Removed, "file1")]);
}

#[test]
fn a_watch_ends_when_another_handle_takes_the_directory_with_it() {
    let world = World::new(56);
    let leaves = |path: &str| {
        let opened = world.open(path, |request| {
            request.options.directory = true;
            request.options.delete_on_close = true;
        });
        world.close(&opened.unwrap().0);
    };
    let handle = world.directory("d");
    let mut watch = world
        .vfs
        .watch(&handle, EVERYTHING, false, 100, &plenty())
        .unwrap();
    world.put("d\\f", b"x");
    events(&mut watch);
    leaves("d");
    assert_eq!(watch.try_next(), None, "it is not empty");
    let handle = world.directory("e");
    let mut watch = world
        .vfs
        .watch(&handle, EVERYTHING, false, 100, &plenty())
        .unwrap();
    leaves("e");
    assert_eq!(watch.try_next(), Some(WatchOutcome::Deleted));
}

#[test]
fn a_watch_ends_with_its_handle_and_with_its_directory() {
    let world = World::new(55);
    let handle = world.directory("d");
    let mut watch = world
        .vfs
        .watch(&handle, EVERYTHING, false, 100, &plenty())
        .unwrap();
    world.wait(world.vfs.set_delete(&handle, true)).unwrap();
    assert_eq!(world.wait(watch.next()), WatchOutcome::Deleted);
    let root = world.root();
    let mut watch = world
        .vfs
        .watch(&root, EVERYTHING, false, 100, &plenty())
        .unwrap();
    world.close(&root);
    assert_eq!(world.wait(watch.next()), WatchOutcome::Closed);
    let file = world.file("f");
    assert_eq!(
        outcome(world.vfs.watch(&file, EVERYTHING, false, 100, &plenty())),
        "InvalidParameter"
    );
    drop(watch);
    assert!(
        world.vfs.watches.is_idle()
            || world
                .vfs
                .watch(&file, EVERYTHING, false, 1, &plenty())
                .is_err()
    );
}

/// More than any test holds.
fn plenty() -> Arc<NoticeBudget> {
    NoticeBudget::new(usize::MAX, usize::MAX)
}

#[test]
fn a_watch_without_room_in_its_budget_says_that_there_was_more_and_others_keep_theirs() {
    let world = World::new(61);
    let root = world.root();
    let all = NoticeBudget::new(100_000, 100);
    let (poor, rich) = (all.below(300, 100), all.below(90_000, 100));
    let watch = |budget| {
        world
            .vfs
            .watch(&root, EVERYTHING, false, 65_536, budget)
            .unwrap()
    };
    let (mut first, mut second) = (watch(&poor), watch(&rich));
    for n in 0..20 {
        world.put(&format!("file-{n}"), b"");
    }
    assert_eq!(first.try_next(), Some(WatchOutcome::Overflow));
    assert_eq!(poor.bytes(), 0);
    assert!(rich.bytes() > 300 && all.bytes() == rich.bytes());
    let Some(WatchOutcome::Events(events)) = second.try_next() else {
        panic!("the other watch lost its notices");
    };
    assert!(events.len() >= 20);
    assert_eq!((rich.bytes(), all.bytes()), (0, 0));
    // With room again, it goes on.
    world.put("one more", b"");
    assert!(matches!(first.try_next(), Some(WatchOutcome::Events(_))));
}

#[test]
fn what_all_hold_together_is_bounded_too() {
    let world = World::new(62);
    let root = world.root();
    let all = NoticeBudget::new(600, 100);
    let (one, two) = (all.below(500, 100), all.below(500, 100));
    let watch = |budget| {
        world
            .vfs
            .watch(&root, EVERYTHING, false, 65_536, budget)
            .unwrap()
    };
    let (mut first, mut second) = (watch(&one), watch(&two));
    for n in 0..20 {
        world.put(&format!("file-{n}"), b"");
    }
    assert!(all.bytes() <= 600);
    let ends = [first.try_next(), second.try_next()];
    assert!(ends.contains(&Some(WatchOutcome::Overflow)), "{ends:?}");
}

#[test]
fn more_watches_than_the_budget_allows_are_refused() {
    let world = World::new(63);
    let root = world.root();
    let all = NoticeBudget::new(1_000, 3);
    let part = all.below(1_000, 2);
    let watch = |budget| world.vfs.watch(&root, EVERYTHING, false, 100, budget);
    let first = watch(&part).unwrap();
    let _second = watch(&part).unwrap();
    assert!(matches!(watch(&part), Err(VfsError::TooMany)));
    let _third = watch(&all).unwrap();
    let other = all.below(1_000, 2);
    assert!(matches!(watch(&other), Err(VfsError::TooMany)));
    assert_eq!(other.watches(), 0);
    drop(first);
    assert!(watch(&other).is_ok());
}
