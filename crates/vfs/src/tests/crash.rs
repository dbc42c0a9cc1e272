//! After a power cut the tree is a state that existed, and what was flushed is there.

use std::collections::BTreeMap;
use std::time::Duration;

use strongroom_device::sim::Rng;

use super::*;

/// Names with the link count, size and mark of what they name.
type Tree = BTreeMap<String, (u32, u64, Vec<u8>)>;

fn tree(world: &World) -> Tree {
    let mut tree = Tree::new();
    for directory in ["a", "b"] {
        let Ok((handle, _)) = world.open(directory, |r| r.disposition = Disposition::Open) else {
            continue;
        };
        for entry in world
            .vfs
            .list(&handle, &mut DirCursor::default(), "*", 1_000)
            .unwrap()
        {
            if !entry.stat.is_directory {
                let path = format!("{directory}\\{}", entry.name);
                let data = world.get(&path).unwrap();
                tree.insert(path, (entry.stat.links, entry.stat.inode.0, data));
            }
        }
    }
    tree
}

/// Changes of names only: every state of the tree is that of a moment between two of them.
fn change(world: &World, rng: &mut Rng, round: usize) {
    let name = |rng: &mut Rng| format!("{}\\n{}", ["a", "b"][rng.below(2)], rng.below(6));
    let (from, to) = (name(rng), name(rng));
    match rng.below(4) {
        0 => drop(
            world
                .open(&from, |_| {})
                .map(|(handle, _)| world.close(&handle)),
        ),
        1 => drop(world.remove(&from)),
        2 | 3 => {
            if let Ok((handle, _)) = world.open(&from, |r| r.disposition = Disposition::Open) {
                if round.is_multiple_of(2) {
                    drop(world.wait(world.vfs.rename(&handle, &to, true)));
                } else {
                    drop(world.wait(world.vfs.link(&handle, &to, true)));
                }
                world.close(&handle);
            }
        }
        _ => unreachable!("below four"),
    }
}

#[test]
fn after_a_power_cut_the_tree_is_one_that_existed() {
    for seed in 0..8 {
        let mut rng = Rng::new(seed);
        let mut world = World::new(200 + seed);
        world.close(&world.directory("a"));
        world.close(&world.directory("b"));
        world.wait(world.vfs.store().sync_all()).unwrap();
        let mut states = vec![tree(&world)];
        let mut flushed = 0;
        for round in 0..40 {
            change(&world, &mut rng, round);
            states.push(tree(&world));
            if rng.chance(10) {
                world.wait(world.vfs.store().sync_all()).unwrap();
                flushed = states.len() - 1;
            } else if rng.chance(10) {
                world.env.advance(Duration::from_millis(700));
            }
        }
        world = world.crash();
        let found = tree(&world);
        let at = states.iter().rposition(|state| *state == found);
        let at = at.unwrap_or_else(|| panic!("seed {seed}: {found:?} never was"));
        // States repeat: the newest equal one must not be older than the flush.
        assert!(
            at >= flushed,
            "seed {seed}: state {at} is older than the flushed {flushed}"
        );
        let links: u32 = found.values().map(|(links, ..)| *links).max().unwrap_or(0);
        for (path, (count, inode, _)) in &found {
            let names = found
                .values()
                .filter(|(_, other, _)| other == inode)
                .count();
            assert_eq!(*count as usize, names, "links of {path}, at most {links}");
        }
    }
}

#[test]
fn flushed_data_is_there_after_a_power_cut_at_any_moment() {
    for seed in 0..6 {
        let world = World::new(300 + seed);
        let handle = world.file("f");
        let data = vec![seed.to_le_bytes()[0]; 1 << (10 + 2 * seed)];
        world.wait(world.vfs.write(&handle, 0, &data)).unwrap();
        world.wait(world.vfs.flush(&handle)).unwrap();
        world
            .wait(world.vfs.write(&handle, 0, b"not flushed"))
            .unwrap();
        world.put("later", b"x");
        std::mem::forget(handle);
        let world = world.crash();
        let found = world.get("f").unwrap();
        assert_eq!(found.len(), data.len());
        assert!(found == data || found[..11] == *b"not flushed");
    }
}

#[test]
fn write_through_is_durable_on_return() {
    let world = World::new(320);
    let (handle, _) = world
        .open("f", |request| request.options.write_through = true)
        .unwrap();
    world.wait(world.vfs.write(&handle, 0, b"kept")).unwrap();
    std::mem::forget(handle);
    assert_eq!(world.crash().get("f").unwrap(), b"kept");
}

#[test]
fn ids_are_not_used_again_after_a_crash() {
    let mut world = World::new(330);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..5 {
        for n in 0..20 {
            let handle = world.file(&format!("f{round}-{n}"));
            assert!(seen.insert(handle.inode().0), "used twice");
            world.close(&handle);
        }
        if round % 2 == 0 {
            world.wait(world.vfs.store().sync_all()).unwrap();
        }
        let kept = world.names(&world.root()).len();
        world = world.crash();
        if round % 2 == 0 {
            assert_eq!(world.names(&world.root()).len(), kept);
        }
    }
}
