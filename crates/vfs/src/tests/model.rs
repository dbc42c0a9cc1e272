//! Random operations against a simple model, from a seed, with restarts in between.

use std::collections::BTreeMap;

use strongroom_device::sim::Rng;

use super::*;

/// What the file system should hold: files by number, names in two directories.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    names: BTreeMap<String, usize>,
    files: Vec<File>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct File {
    data: Vec<u8>,
    stream: Option<Vec<u8>>,
    hidden: bool,
}

fn path(rng: &mut Rng) -> String {
    let directory = ["", "d1\\", "d2\\"][rng.below(3)];
    let name = ["alpha", "Beta", "gamma.txt", "δέλτα", "e"][rng.below(5)];
    format!("{directory}{name}")
}

fn bytes(rng: &mut Rng) -> Vec<u8> {
    let len = [0, 1, 100, 5_000, 70_000, 300_000][rng.below(6)];
    let mut data = vec![0; len];
    rng.fill(&mut data);
    data
}

/// One operation on both; what the model cannot do, the file system must refuse.
fn step(world: &World, model: &mut Model, rng: &mut Rng) {
    let path = path(rng);
    let file = model.names.get(&path).copied();
    match rng.below(8) {
        0 | 1 => create(world, model, rng, &path, file),
        2 => overlay(world, model, rng, &path, file),
        3 => {
            assert_eq!(world.remove(&path).is_ok(), file.is_some(), "remove {path}");
            model.names.remove(&path);
        }
        4 | 5 => move_or_link(world, model, rng, &path, file),
        6 => stream(world, model, rng, &path, file),
        _ => hide(world, model, rng, &path, file),
    }
}

fn create(world: &World, model: &mut Model, rng: &mut Rng, path: &str, file: Option<usize>) {
    let data = bytes(rng);
    let attributes = crate::DosAttributes::HIDDEN;
    let request = |request: &mut OpenRequest<'_>| {
        request.disposition = Disposition::OverwriteIf;
        request.attributes = attributes;
    };
    let (handle, _) = world.open(path, request).unwrap();
    world.wait(world.vfs.write(&handle, 0, &data)).unwrap();
    world.close(&handle);
    let new = File {
        data,
        stream: None,
        hidden: true,
    };
    match file {
        Some(file) => model.files[file] = new,
        None => {
            model.names.insert(path.into(), model.files.len());
            model.files.push(new);
        }
    }
}

fn overlay(world: &World, model: &mut Model, rng: &mut Rng, path: &str, file: Option<usize>) {
    let Some(file) = file else {
        assert_eq!(outcome(world.get(path)), "NotFound");
        return;
    };
    let expected = &mut model.files[file].data;
    let handle = world.file(path);
    if rng.chance(30) {
        let size = rng.below(100_000);
        world
            .wait(world.vfs.set_size(&handle, size as u64))
            .unwrap();
        expected.resize(size, 0);
    } else {
        let (offset, data) = (rng.below(90_000), bytes(rng));
        world
            .wait(world.vfs.write(&handle, offset as u64, &data))
            .unwrap();
        if !data.is_empty() {
            expected.resize(expected.len().max(offset + data.len()), 0);
            expected[offset..offset + data.len()].copy_from_slice(&data);
        }
    }
    assert_eq!(world.content(&handle).unwrap(), *expected);
    world.close(&handle);
}

fn move_or_link(world: &World, model: &mut Model, rng: &mut Rng, from: &str, file: Option<usize>) {
    let (to, replace, link) = (path(rng), rng.chance(50), rng.chance(40));
    let Some(file) = file else { return };
    let target = model.names.get(&to).copied();
    let handle = world.file(from);
    let done = if link {
        world.wait(world.vfs.link(&handle, &to, replace))
    } else {
        world.wait(world.vfs.rename(&handle, &to, replace))
    };
    world.close(&handle);
    let itself = target == Some(file);
    let expected = match (target, link) {
        (None, _) => true,
        (Some(_), true) => replace,
        (Some(_), false) => (replace && !itself) || from == to,
    };
    assert_eq!(
        done.is_ok(),
        expected,
        "{from} to {to}, replace {replace}, link {link}: {done:?}"
    );
    if expected {
        if !link {
            model.names.remove(from);
        }
        model.names.insert(to, file);
    }
}

fn stream(world: &World, model: &mut Model, rng: &mut Rng, path: &str, file: Option<usize>) {
    let Some(file) = file else { return };
    let name = format!("{path}:s");
    if model.files[file].stream.is_some() && rng.chance(40) {
        world.remove(&name).unwrap();
        model.files[file].stream = None;
    } else {
        let data = bytes(rng);
        world.put(&name, &data);
        model.files[file].stream = Some(data);
    }
}

fn hide(world: &World, model: &mut Model, rng: &mut Rng, path: &str, file: Option<usize>) {
    let Some(file) = file else { return };
    let hidden = rng.chance(50);
    let attributes = if hidden {
        crate::DosAttributes::HIDDEN
    } else {
        crate::DosAttributes::NORMAL
    };
    let handle = world.file(path);
    world
        .wait(world.vfs.set_attributes(&handle, attributes))
        .unwrap();
    world.close(&handle);
    model.files[file].hidden = hidden;
}

/// The file system as a model sees it, found by listing.
fn read_back(world: &World, model: &Model) {
    let mut seen = BTreeMap::new();
    for directory in ["", "d1", "d2"] {
        let handle = if directory.is_empty() {
            world.root()
        } else {
            world.directory(directory)
        };
        let mut entries = world
            .vfs
            .list(&handle, &mut DirCursor::default(), "*", 1_000)
            .unwrap();
        entries.retain(|entry| !entry.stat.is_directory);
        for entry in entries {
            let prefix = if directory.is_empty() {
                String::new()
            } else {
                format!("{directory}\\")
            };
            seen.insert(format!("{prefix}{}", entry.name), entry.stat);
        }
    }
    assert!(
        seen.keys().eq(model.names.keys()),
        "{:?} {:?}",
        seen.keys(),
        model.names.keys()
    );
    for (path, file) in &model.names {
        let (stat, expected) = (seen[path], &model.files[*file]);
        let links = model.names.values().filter(|other| *other == file).count();
        assert_eq!(stat.links as usize, links, "{path}");
        assert_eq!(stat.size, expected.data.len() as u64, "{path}");
        assert_eq!(
            stat.attributes.contains(crate::DosAttributes::HIDDEN),
            expected.hidden
        );
        assert_eq!(world.get(path).unwrap(), expected.data, "{path}");
        assert_eq!(
            world.get(&format!("{path}:s")).ok(),
            expected.stream,
            "{path}"
        );
        let handle = world.file(path);
        assert_eq!(world.vfs.links(&handle).unwrap().len(), links);
    }
}

#[test]
fn random_operations_do_what_a_simple_model_does() {
    for seed in 0..6 {
        let mut rng = Rng::new(seed);
        let mut world = World::new(100 + seed);
        let mut model = Model::default();
        world.close(&world.directory("d1"));
        world.close(&world.directory("d2"));
        for _ in 0..4 {
            for _ in 0..40 {
                step(&world, &mut model, &mut rng);
            }
            read_back(&world, &model);
            world = world.reopen();
            read_back(&world, &model);
        }
    }
}
