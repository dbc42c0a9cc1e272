//! Rewinding: what was there then is there again, and the rewind itself can be gone back behind.

use std::time::Duration;

use strongroom_device::sim::Rng;

use super::past::{at, instants, live, tree};
use super::*;
use crate::View;

/// What counts of a tree after a rewind: ids and counts of changes are the present's own.
fn shape(world: &World, view: &View) -> Vec<(String, String)> {
    let all = tree(world, view).into_iter();
    let line = |(path, known): (String, super::past::Known)| (path, known.shape());
    all.map(line).collect()
}

#[test]
fn a_share_is_again_what_it_was_and_the_rewind_can_be_rewound() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let world = World::new(700 + seed);
        let mut states = std::collections::BTreeMap::new();
        super::past::move_directory(&world, &mut rng);
        live(&world, &mut rng, &mut states, 6);
        world.env.advance(Duration::from_millis(1_500));
        let then = at(&world, *instants(&world).last().unwrap());
        live(&world, &mut rng, &mut states, 6);
        world.env.advance(Duration::from_millis(1_500));
        let before = at(&world, *instants(&world).last().unwrap());
        let rewind = |past: &View, dry| world.wait(world.vfs.rewind(&world.share, "", past, dry));
        let planned = rewind(&then, true).unwrap();
        assert_eq!(
            shape(&world, &View::Now),
            shape(&world, &before),
            "a dry run"
        );
        let done = rewind(&then, false).unwrap();
        assert!(done.failed.is_empty(), "seed {seed}: {:?}", done.failed);
        assert_eq!(
            (done.restored, done.removed, done.renamed),
            (planned.restored, planned.removed, planned.renamed)
        );
        let (found, wanted) = (shape(&world, &View::Now), shape(&world, &then));
        assert!(
            found == wanted,
            "seed {seed}: {}",
            difference(&found, &wanted)
        );
        // Nothing is left to do.
        let again = rewind(&then, true).unwrap();
        assert_eq!((again.restored, again.removed, again.renamed), (0, 0, 0));
        let back = rewind(&before, false).unwrap();
        assert!(back.failed.is_empty(), "seed {seed}: {:?}", back.failed);
        let (found, wanted) = (shape(&world, &View::Now), shape(&world, &before));
        assert!(
            found == wanted,
            "seed {seed}: {}",
            difference(&found, &wanted)
        );
    }
}

fn difference(found: &[(String, String)], wanted: &[(String, String)]) -> String {
    // The ends of a line tell enough; its middle is the file's content.
    let short = |(path, line): &(String, String)| {
        let chars: Vec<_> = line.chars().collect();
        let ends = [
            0..chars.len().min(130),
            chars.len().saturating_sub(170)..chars.len(),
        ];
        (
            path.clone(),
            ends.map(|end| {
                chars
                    .get(end)
                    .unwrap_or_default()
                    .iter()
                    .collect::<String>()
            }),
        )
    };
    let missing = wanted
        .iter()
        .filter(|line| !found.contains(line))
        .map(short);
    let extra = found
        .iter()
        .filter(|line| !wanted.contains(line))
        .map(short);
    format!(
        "missing {:?}, extra {:?}",
        missing.collect::<Vec<_>>(),
        extra.collect::<Vec<_>>()
    )
}

#[test]
fn names_that_changed_places_change_back() {
    let world = World::new(710);
    world.put("a", b"first");
    world.put("b", b"second");
    world.wait(world.vfs.store().sync_all()).unwrap();
    world.env.advance(Duration::from_millis(1_500));
    let then = at(&world, *instants(&world).last().unwrap());
    for (from, to) in [("a", "c"), ("b", "a"), ("c", "b")] {
        let handle = world.file(from);
        world.wait(world.vfs.rename(&handle, to, false)).unwrap();
        world.close(&handle);
    }
    assert_eq!(world.get("a").unwrap(), b"second");
    let done = world.wait(world.vfs.rewind(&world.share, "", &then, false));
    assert!(done.unwrap().failed.is_empty());
    assert_eq!(world.get("a").unwrap(), b"first");
    assert_eq!(world.get("b").unwrap(), b"second");
    assert_eq!(world.names(&world.root()), ["a", "b"]);
}

/// What encrypts files may keep their sizes and set all their times back.
#[test]
fn content_comes_back_though_size_and_times_say_that_nothing_changed() {
    let world = World::new(712);
    world.put("f", b"then");
    world.put("g", b"then");
    world.wait(world.vfs.store().sync_all()).unwrap();
    world.env.advance(Duration::from_millis(1_500));
    let then = at(&world, *instants(&world).last().unwrap());
    for round in 0..3 {
        // The second time it is another file that was put back, the third time the same again.
        let handle = world.file("f");
        let stat = world.vfs.stat(&handle).unwrap();
        if round == 1 {
            world.close(&handle);
            world.remove("f").unwrap();
            let back = world.wait(world.vfs.rewind(&world.share, "", &then, false));
            assert_eq!(back.unwrap().restored, 1);
        } else {
            world.close(&handle);
        }
        let handle = world.file("f");
        world.wait(world.vfs.write(&handle, 0, b"rot!")).unwrap();
        let times = crate::SetTimes {
            modified: Some(stat.modified),
            accessed: Some(stat.accessed),
            changed: Some(stat.changed),
            freeze: crate::TimeFlags {
                accessed: true,
                modified: true,
                changed: true,
            },
            ..crate::SetTimes::default()
        };
        world.wait(world.vfs.set_times(&handle, times)).unwrap();
        world.close(&handle);
        world.env.advance(Duration::from_millis(1_500));
        let done = world.wait(world.vfs.rewind(&world.share, "", &then, false));
        let done = done.unwrap();
        assert!(done.failed.is_empty(), "{:?}", done.failed);
        assert_eq!((done.changed, done.bytes), (1, 4), "round {round}");
        assert_eq!(world.get("f").unwrap(), b"then");
        let again = world.wait(world.vfs.rewind(&world.share, "", &then, true));
        assert_eq!(again.unwrap().changed, 0, "round {round}");
    }
}

#[test]
fn one_file_comes_back_and_nothing_else_changes() {
    let world = World::new(711);
    world.put("f", b"then");
    world.put("g", b"then");
    world.wait(world.vfs.store().sync_all()).unwrap();
    world.env.advance(Duration::from_millis(1_500));
    let then = at(&world, *instants(&world).last().unwrap());
    world.remove("f").unwrap();
    world.put("g", b"now");
    let done = world.wait(world.vfs.rewind(&world.share, "f", &then, false));
    assert_eq!(done.unwrap().restored, 1);
    assert_eq!(world.get("f").unwrap(), b"then");
    assert_eq!(world.get("g").unwrap(), b"now");
    let neither = world.wait(world.vfs.rewind(&world.share, "h", &then, false));
    assert_eq!(outcome(neither), "NotFound");
}

#[test]
fn a_clone_is_the_share_as_it_was_and_goes_its_own_way() {
    for seed in 0..8 {
        let mut rng = Rng::new(seed);
        let mut world = World::new(730 + seed);
        let mut states = std::collections::BTreeMap::new();
        super::past::move_directory(&world, &mut rng);
        live(&world, &mut rng, &mut states, 6);
        world.env.advance(Duration::from_millis(1_500));
        let then = at(&world, *instants(&world).last().unwrap());
        let wanted = shape(&world, &then);
        live(&world, &mut rng, &mut states, 6);
        let now = shape(&world, &View::Now);
        let new = |name: &str| crate::NewShare {
            name: name.to_owned(),
            ..crate::NewShare::default()
        };
        let made = world.vfs.clone_share(&world.share, &then, new("clone"));
        let (clone, report) = world.wait(made).unwrap();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        let again = world.vfs.clone_share(&world.share, &then, new("clone"));
        assert_eq!(outcome(world.wait(again)), "Exists");
        let source = std::mem::replace(&mut world.share, clone);
        let (found, wanted) = (shape(&world, &View::Now), wanted);
        assert!(
            found == wanted,
            "seed {seed}: {}",
            difference(&found, &wanted)
        );
        live(&world, &mut rng, &mut states, 3);
        world.share = source;
        assert!(
            shape(&world, &View::Now) == now,
            "seed {seed}: the source changed"
        );
    }
}
