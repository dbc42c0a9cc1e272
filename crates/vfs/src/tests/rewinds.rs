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
    for seed in 0..3 {
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
    let missing = wanted.iter().filter(|line| !found.contains(line));
    let extra = found.iter().filter(|line| !wanted.contains(line));
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
