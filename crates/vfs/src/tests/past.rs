//! The past as the file system shows it: every kept instant is what was there then, byte for byte.

use std::collections::BTreeMap;
use std::time::Duration;

use strongroom_device::sim::Rng;
use strongroom_store::{HistoryOptions, StoreOptions};

use super::*;
use crate::acl::SecurityParts;
use crate::{DosAttributes, ExtendedAttribute, FileTime, Instant, LinkInfo, Retention, Stat, View};

/// All that can be known of one name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    stat: Stat,
    content: Vec<u8>,
    streams: Vec<(String, Vec<u8>)>,
    eas: Vec<ExtendedAttribute>,
    security: Vec<u8>,
    links: Vec<LinkInfo>,
    allocated: Vec<(u64, u64)>,
    posix: (u32, Sid),
    path: String,
}

impl Known {
    /// All but what belongs to the present: ids, counts of changes, and what follows from other names.
    pub(super) fn shape(&self) -> String {
        let Stat {
            kind,
            size,
            created,
            modified,
            attributes,
            links,
            ea_size,
            ..
        } = self.stat;
        let content = (&self.content, &self.streams, &self.eas, &self.security);
        let stat = (kind, size, created, modified, attributes, links, ea_size);
        format!("{stat:?} {content:?} {:?} {}", self.posix, self.path)
    }
}

type Tree = BTreeMap<String, Known>;

/// Opens for looking at everything, as a backup does.
fn look(world: &World, view: &View, path: &str) -> Result<Arc<Handle>> {
    let request = |request: &mut OpenRequest<'_>| {
        request.view = view.clone();
        request.disposition = Disposition::Open;
        request.access = AccessMask::FILE_READ;
        request.options.backup_intent = true;
    };
    Ok(world.open_as(&admin(), path, request)?.0)
}

fn known(world: &World, view: &View, path: &str) -> Known {
    let handle = look(world, view, path).unwrap();
    let vfs = &world.vfs;
    let streams = vfs.streams(&handle).unwrap();
    let named = streams.into_iter().filter(|stream| !stream.name.is_empty());
    let streams = named.map(|stream| {
        let opened = look(world, view, &format!("{path}:{}", stream.name)).unwrap();
        let data = world.content(&opened).unwrap();
        assert_eq!(data.len() as u64, stream.size);
        world.close(&opened);
        (stream.name, data)
    });
    let streams = streams.collect();
    let parts = SecurityParts(SecurityParts::OWNER.0 | SecurityParts::DACL.0);
    let is_file = !handle.is_directory();
    let posix = vfs.posix(&handle).unwrap();
    let known = Known {
        stat: vfs.stat(&handle).unwrap(),
        content: if is_file {
            world.content(&handle).unwrap()
        } else {
            Vec::new()
        },
        streams,
        eas: vfs.eas(&handle).unwrap(),
        security: vfs.security(&handle, parts).unwrap().to_bytes(),
        links: vfs.links(&handle).unwrap(),
        allocated: if is_file {
            vfs.allocated_ranges(&handle, 0, u64::MAX).unwrap()
        } else {
            Vec::new()
        },
        posix: (posix.mode, posix.owner),
        path: vfs.path(&handle).unwrap(),
    };
    world.close(&handle);
    known
}

/// Everything below a directory, found by listing.
fn add_below(world: &World, view: &View, directory: &str, tree: &mut Tree) {
    let handle = look(world, view, directory).unwrap();
    let (mut cursor, mut seen) = (DirCursor::default(), Vec::new());
    loop {
        let entries = world.vfs.list(&handle, &mut cursor, "*", 3).unwrap();
        if entries.is_empty() {
            break;
        }
        seen.extend(entries);
    }
    world.close(&handle);
    seen.retain(|entry| entry.name != "." && entry.name != "..");
    for entry in seen {
        let path = match directory {
            "" => entry.name.clone(),
            _ => format!("{directory}\\{}", entry.name),
        };
        let known = known(world, view, &path);
        assert_eq!(known.stat, entry.stat, "{path} listed and opened");
        let is_directory = known.stat.is_directory;
        tree.insert(path.clone(), known);
        if is_directory {
            add_below(world, view, &path, tree);
        }
    }
}

pub(super) fn tree(world: &World, view: &View) -> Tree {
    let mut tree = Tree::new();
    tree.insert(String::new(), known(world, view, ""));
    add_below(world, view, "", &mut tree);
    tree
}

fn path(rng: &mut Rng) -> String {
    let directory = ["", "d1\\", "d2\\", "d1\\sub\\"][rng.below(4)];
    let name = ["a", "ab", "Beta", "δέλτα", "ab c"][rng.below(5)];
    format!("{directory}{name}")
}

fn bytes(rng: &mut Rng) -> Vec<u8> {
    let len = [0, 1, 100, 5_000, 70_000, 300_000][rng.below(6)];
    let mut data = vec![0; len];
    rng.fill(&mut data);
    data
}

/// One change by one of four users. Many find nothing to do, which changes nothing.
fn step(world: &World, rng: &mut Rng) {
    let who = user(1000 + u32::try_from(rng.below(4)).unwrap());
    let path = path(rng);
    let what = rng.below(12);
    let disposition = match what {
        0..=3 => Disposition::OpenIf,
        4 => Disposition::OverwriteIf,
        _ => Disposition::Open,
    };
    let name = match what {
        3 => format!("{path}:s{}", rng.below(2)),
        _ => path,
    };
    let opened = world.open_as(&who, &name, |request| {
        request.disposition = disposition;
        request.access |= AccessMask::WRITE_DAC | AccessMask::READ_CONTROL;
    });
    let Ok((handle, _)) = opened else { return };
    change(world, rng, &handle, what);
    world.close(&handle);
}

fn change(world: &World, rng: &mut Rng, handle: &Handle, what: usize) {
    let vfs = &world.vfs;
    let done = match what {
        0..=4 => {
            let offset = [0, 0, 4_000, 100_000][rng.below(4)];
            world.wait(vfs.write(handle, offset, &bytes(rng)))
        }
        5 => world.wait(vfs.set_size(handle, rng.below(90_000) as u64)),
        6 => world.wait(vfs.set_delete(handle, true)),
        7 => world.wait(vfs.rename(handle, &path(rng), rng.chance(50))),
        8 => world.wait(vfs.link(handle, &path(rng), rng.chance(30))),
        9 => {
            let ea = ExtendedAttribute {
                flags: 0,
                name: format!("ea{}", rng.below(3)),
                value: vec![7; rng.below(300)],
            };
            world.wait(vfs.set_eas(handle, &[ea]))
        }
        10 => {
            let wanted = [DosAttributes::HIDDEN, DosAttributes::NORMAL][rng.below(2)];
            world.wait(vfs.set_attributes(handle, wanted))
        }
        _ => {
            let mode = u32::try_from(rng.below(0o1000)).unwrap();
            let change = crate::PosixChange {
                mode: Some(mode | 0o600),
                ..crate::PosixChange::default()
            };
            world.wait(vfs.set_posix(handle, change))
        }
    };
    // What is refused changes nothing, and that is as good a change as any.
    drop(done);
}

/// Directories come, go and move.
pub(super) fn move_directory(world: &World, rng: &mut Rng) {
    let (from, to) = [
        ("d1", "d3"),
        ("d3", "d1"),
        ("d2", "d1\\d2"),
        ("d1\\d2", "d2"),
    ][rng.below(4)];
    let opened = world.open(from, |request| {
        request.disposition = Disposition::Open;
        request.options.directory = true;
    });
    if let Ok((handle, _)) = opened {
        drop(world.wait(world.vfs.rename(&handle, to, false)));
        world.close(&handle);
    }
    for directory in ["d1", "d2", "d1\\sub"] {
        let made = world.open(directory, |request| request.options.directory = true);
        drop(made.map(|(handle, _)| world.close(&handle)));
    }
}

pub(super) fn at(world: &World, instant: Instant) -> View {
    world.vfs.view_of(&world.share, instant).unwrap()
}

pub(super) fn instants(world: &World) -> Vec<Instant> {
    let (from, to) = (FileTime(0), FileTime(u64::MAX));
    let all = world.vfs.instants(&world.share, from, to, usize::MAX);
    all.unwrap()
}

/// Compares each kept instant of which the tree is known with what it shows now; tells how many there were.
fn check(world: &World, states: &BTreeMap<u64, Tree>, seed: u64) -> usize {
    let mut checked = 0;
    for instant in instants(world) {
        let Some(then) = states.get(&instant.txg.0) else {
            continue;
        };
        let found = tree(world, &at(world, instant));
        assert!(
            found.keys().eq(then.keys()),
            "seed {seed}, {instant:?}: {:?} and {:?}",
            found.keys(),
            then.keys()
        );
        for (path, known) in &found {
            assert!(*known == then[path], "seed {seed}, {instant:?}, {path}");
        }
        checked += 1;
    }
    checked
}

/// Changes, syncs and notes what the tree is then. Only sometimes a second passes, so that not all of it is kept.
pub(super) fn live(world: &World, rng: &mut Rng, states: &mut BTreeMap<u64, Tree>, rounds: usize) {
    for _ in 0..rounds {
        for _ in 0..rng.below(12) {
            step(world, rng);
        }
        if rng.chance(20) {
            move_directory(world, rng);
        }
        world.wait(world.vfs.store().sync_all()).unwrap();
        let now = world.vfs.store().durable_txg();
        states.insert(now.0, tree(world, &View::Now));
        let pause = [0, 300, 1_100, 2_300, 12_000][rng.below(5)];
        world.env.advance(Duration::from_millis(pause));
    }
}

#[test]
fn every_kept_instant_shows_what_was_there_then() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let mut world = World::new(400 + seed);
        let mut states = BTreeMap::new();
        let mut checked = 0;
        move_directory(&world, &mut rng);
        for _ in 0..4 {
            live(&world, &mut rng, &mut states, 8);
            world.env.advance(Duration::from_millis(1_500));
            checked = check(&world, &states, seed);
            world = if rng.chance(50) {
                world.crash()
            } else {
                world.reopen()
            };
            checked = checked.min(check(&world, &states, seed));
        }
        assert!(checked > 8, "seed {seed}: {checked}");
    }
}

#[test]
fn what_retention_gives_up_is_told_and_never_shown_wrong() {
    let options = StoreOptions {
        history: Some(HistoryOptions {
            retention: Retention::window(Duration::from_secs(30)),
        }),
        ..options()
    };
    let mut rng = Rng::new(9);
    let world = World::with(490, options);
    let mut states = BTreeMap::new();
    move_directory(&world, &mut rng);
    live(&world, &mut rng, &mut states, 6);
    world.env.advance(Duration::from_millis(1_500));
    let mut old = instants(&world);
    old.retain(|instant| states.contains_key(&instant.txg.0));
    let [gone, held] = [old[0], old[1]];
    let view = at(&world, held);
    for _ in 0..6 {
        world.env.advance(Duration::from_secs(20));
        live(&world, &mut rng, &mut states, 4);
    }
    world.env.advance(Duration::from_millis(1_500));
    assert!(check(&world, &states, 9) > 0);
    let kept = instants(&world);
    assert!(!kept.contains(&gone) && !kept.contains(&held), "thinned");
    let store = world.vfs.store();
    let view_of = |instant| outcome(world.vfs.view_of(&world.share, instant));
    assert_eq!(view_of(gone), "Forgotten");
    // Who looked at it meanwhile goes on seeing it, until it is let go.
    assert!(tree(&world, &view) == states[&held.txg.0]);
    drop(view);
    assert_eq!(view_of(held), "Forgotten");
    let before = store.space().unwrap().used_history;
    for _ in 0..4 {
        world.put("d1\\f", b"wakes the cleaner");
        world.env.advance(Duration::from_secs(70));
    }
    assert!(store.space().unwrap().used_history < before);
}

#[test]
fn the_past_takes_no_change() {
    let world = World::new(491);
    world.put("f", b"then");
    world.close(&world.directory("d"));
    world.wait(world.vfs.store().sync_all()).unwrap();
    world.env.advance(Duration::from_millis(1_500));
    let instant = *instants(&world).last().unwrap();
    world.put("f", b"now");
    let past = |path: &str, change: &dyn Fn(&mut OpenRequest<'_>)| {
        world.open(path, |request| {
            request.view = at(&world, instant);
            change(request);
        })
    };
    for disposition in [
        Disposition::Overwrite,
        Disposition::OverwriteIf,
        Disposition::Supersede,
    ] {
        let opened = past("f", &|request| request.disposition = disposition);
        assert_eq!(outcome(opened), "ReadOnly");
    }
    for missing in ["new", "d\\new", "f:stream"] {
        assert_eq!(outcome(past(missing, &|_| {})), "ReadOnly", "{missing}");
    }
    let deletes = past("f", &|request| request.options.delete_on_close = true);
    assert_eq!(outcome(deletes), "ReadOnly");
    let (handle, _) = past("f", &|_| {}).unwrap();
    let vfs = &world.vfs;
    assert_eq!(outcome(world.wait(vfs.write(&handle, 0, b"x"))), "ReadOnly");
    assert_eq!(outcome(world.wait(vfs.set_size(&handle, 0))), "ReadOnly");
    assert_eq!(
        outcome(world.wait(vfs.set_delete(&handle, true))),
        "ReadOnly"
    );
    let renamed = world.wait(vfs.rename(&handle, "g", false));
    assert_eq!(outcome(renamed), "ReadOnly");
    assert_eq!(world.content(&handle).unwrap(), b"then");
    // A file comes back by copying it.
    let now = world.file("f");
    world.wait(vfs.set_size(&now, 0)).unwrap();
    world.wait(vfs.copy_range(&handle, 0, &now, 0, 4)).unwrap();
    let back = world.wait(vfs.copy_range(&now, 0, &handle, 0, 4));
    assert_eq!(outcome(back), "ReadOnly");
    world.close(&handle);
    world.close(&now);
    assert_eq!(world.get("f").unwrap(), b"then");
}

#[test]
fn opens_of_the_past_and_of_now_do_not_disturb_each_other() {
    let world = World::new(492);
    world.put("f", b"then");
    world.wait(world.vfs.store().sync_all()).unwrap();
    world.env.advance(Duration::from_millis(1_500));
    let instant = *instants(&world).last().unwrap();
    let alone = world
        .open("f", |request| request.share_access = ShareAccess::NONE)
        .unwrap()
        .0;
    let past = look(&world, &at(&world, instant), "F").unwrap();
    world.wait(world.vfs.write(&alone, 0, b"now!")).unwrap();
    assert_eq!(world.content(&past).unwrap(), b"then");
    world.close(&alone);
    world.remove("f").unwrap();
    assert_eq!(world.content(&past).unwrap(), b"then");
    assert_eq!(world.vfs.path(&past).unwrap(), "f");
    world.close(&past);
    let gone = look(&world, &at(&world, instant), "f").unwrap();
    assert_eq!(world.content(&gone).unwrap(), b"then");
}
