//! Disks that are lost, replaced, and come back, under a store in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use strongroom_device::sim::{Moment, SimDevice};
use strongroom_device::{Device, Env, RealDevice, TokioEnv};
use strongroom_pool::{DiskOptions, DiskState, Layout, Pool};

use super::{ROWS, SESSION, World, key, object, pattern, read_all, small_options};
use crate::Store;

const WIDE: Layout = Layout { data: 4, parity: 2 };

fn create(world: &World, layout: Layout) -> Arc<Store> {
    let pool = Pool::create(world.env(), world.devices(), layout).unwrap();
    Store::create(world.env(), pool, world.options.clone()).unwrap()
}

/// Files and rows, synced.
fn fill(world: &World, store: &Store, round: u64) {
    for n in 0..3 {
        let inode = 100 * round + n;
        world.write(store, inode, 0, &pattern(inode, 200_000));
        world.put(store, &key(5, &format!("{inode}")), &pattern(inode, 300));
        world.block_on(store.sync(&[object(inode)])).unwrap();
    }
}

fn check(store: &Store, rounds: u64) {
    for inode in (0..rounds).flat_map(|round| (0..3).map(move |n| 100 * round + n)) {
        assert!(
            read_all(store, object(inode)).unwrap() == pattern(inode, 200_000),
            "{inode}"
        );
        let row = store.get(ROWS, &key(5, &format!("{inode}"))).unwrap();
        assert!(row.unwrap() == pattern(inode, 300), "{inode}");
    }
}

/// Waits until nothing is owed any more.
fn heal(world: &World, store: &Store) {
    for _ in 0..200 {
        world.env.advance(Duration::from_secs(1));
        let pool = &store.engine().pool;
        let settled = pool.upkeep_status().lost_disks.is_empty();
        if settled && pool.status().disks.iter().all(|disk| !disk.leaving) {
            // The copies of log and index go where the last change has them.
            world.env.advance(Duration::from_secs(10));
            return;
        }
    }
    panic!(
        "{:?} {:?}",
        store.engine().pool.upkeep_status(),
        store.engine().pool.status()
    );
}

fn replace(world: &mut World, store: &Store, disk: usize, name: &str) {
    let new = SimDevice::new(&world.env, name, 100 + disk as u64);
    let pool = &store.engine().pool;
    let old = pool.find_disk(world.disks[disk].name()).unwrap();
    pool.replace_disk(
        old,
        Arc::clone(&new) as Arc<dyn Device>,
        DiskOptions::default(),
    )
    .unwrap();
    store.disks_changed();
    world.disks[disk] = new;
}

#[test]
fn any_two_disks_are_lost_and_replaced_and_then_any_two_others_are_lost() {
    for (first, second) in [
        ([0, 1], [2, 3]),
        ([0, 2], [1, 3]),
        ([1, 4], [0, 2]),
        ([4, 5], [0, 1]),
    ] {
        let mut world = World::new(200, 6);
        let store = create(&world, WIDE);
        fill(&world, &store, 0);
        for disk in first {
            world.disks[disk].set_broken(true);
            fill(&world, &store, 1);
        }
        for disk in first {
            replace(&mut world, &store, disk, &format!("new{disk}"));
        }
        fill(&world, &store, 2);
        heal(&world, &store);
        for disk in second {
            world.disks[disk].set_broken(true);
            fill(&world, &store, 3);
            check(&store, 4);
        }
        // And what is left opens by itself after a crash.
        world.crash(store);
        for disk in second {
            world.disks[disk].set_broken(true);
        }
        let store = world.open().unwrap();
        check(&store, 4);
        assert!(store.status().offline.is_none());
    }
}

#[test]
fn a_crash_before_log_and_index_follow_a_loss_finds_them_again() {
    for lost in [[0, 1], [1, 2], [0, 3]] {
        let mut world = World::new(201, 7);
        let store = create(&world, WIDE);
        fill(&world, &store, 0);
        world.disks[lost[0]].set_broken(true);
        fill(&world, &store, 1);
        heal(&world, &store);
        fill(&world, &store, 2);
        world.crash(store);
        world.disks.remove(lost[0]);
        let store = world.open().unwrap();
        world.env.advance(Duration::from_millis(10));
        world.crash(store);
        // Two others at once: the budget is whole again.
        let gone: Vec<_> = [lost[1] - 1, 4].into();
        for disk in &gone {
            world.disks[*disk].set_broken(true);
        }
        let store = world.open().unwrap();
        check(&store, 3);
    }
}

#[test]
fn a_disk_that_was_away_for_a_thousand_groups_is_brought_up_to_date() {
    let mut world = World::new(202, 2);
    let store = create(&world, Layout::MIRROR);
    fill(&world, &store, 0);
    world.block_on(store.close()).unwrap();
    drop(store);
    world.env.kill_tasks();
    world.disks = world.disks.iter().map(|disk| disk.reopen()).collect();
    let away = world.disks.remove(1);
    let store = world.open().unwrap();
    for n in 0..1000 {
        world.put(&store, &key(6, &format!("{n}")), &pattern(n, 100));
        world.block_on(store.sync(&[])).unwrap();
    }
    fill(&world, &store, 1);
    world.block_on(store.close()).unwrap();
    drop(store);
    world.env.kill_tasks();
    world.disks = vec![world.disks[0].reopen(), away.reopen()];
    let store = world.open().unwrap();
    assert_eq!(
        store.engine().pool.status().disks[1].state,
        DiskState::Stale
    );
    heal(&world, &store);
    fill(&world, &store, 2);
    world.crash(store);
    world.disks.remove(0);
    let store = world.open().unwrap();
    check(&store, 3);
    for n in 0..1000 {
        let row = store.get(ROWS, &key(6, &format!("{n}"))).unwrap();
        assert!(row.unwrap() == pattern(n, 100));
    }
}

/// Whether the newest log of a copy has these bytes.
fn logged(disk: &SimDevice, dir: &str, bytes: &[u8]) -> bool {
    let logs = disk
        .paths()
        .into_iter()
        .filter(|path| path.starts_with(dir));
    let mut contents = logs.filter_map(|path| disk.contents(&path));
    contents.any(|log| log.windows(bytes.len()).any(|window| window == bytes))
}

#[test]
fn a_group_that_only_the_disk_that_was_away_has_is_not_believed() {
    let (ghost, truth) = (pattern(9001, 64), pattern(9002, 64));
    let mut met = 0;
    for number in 0..12 {
        let mut world = World::new(number, 2);
        let store = create(&world, Layout::MIRROR);
        fill(&world, &store, 0);
        // The power fails once one disk has the next group for good.
        world.put(&store, &key(5, "n"), &ghost);
        let next = world.env.syncs() + number % 2;
        world.env.cut_at_sync(next, Moment::After);
        if world.block_on(store.sync(&[])).is_ok() {
            continue;
        }
        world.crash(store);
        let has = [0, 1].map(|n| logged(&world.disks[n], &format!("log/{n}"), &ghost));
        if has[0] == has[1] {
            continue;
        }
        if has[0] {
            world.disks.swap(0, 1);
        }
        met += 1;
        let away = world.disks.remove(1);
        let store = world.open().unwrap();
        assert!(store.get(ROWS, &key(5, "n")).unwrap().is_none());
        world.put(&store, &key(5, "n"), &truth);
        world.block_on(store.sync(&[])).unwrap();
        world.crash(store);
        world.disks.push(away.reopen());
        let store = world.open().unwrap();
        assert!(store.get(ROWS, &key(5, "n")).unwrap().unwrap() == truth);
        heal(&world, &store);
        world.crash(store);
        world.disks.remove(0);
        let store = world.open().unwrap();
        assert!(store.get(ROWS, &key(5, "n")).unwrap().unwrap() == truth);
        check(&store, 1);
    }
    assert!(met > 0, "the case is met");
}

/// Real directories, a real runtime.
struct Place {
    runtime: tokio::runtime::Runtime,
    root: tempfile::TempDir,
    env: Arc<dyn Env>,
}

impl Place {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        let env = Arc::new(TokioEnv::new(runtime.handle().clone()));
        Self {
            runtime,
            root: tempfile::tempdir().unwrap(),
            env,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn device(&self, name: &str) -> Arc<dyn Device> {
        let path = self.path(name);
        if !Path::new(&path).exists() {
            std::fs::create_dir(&path).unwrap();
        }
        RealDevice::open(Arc::clone(&self.env), &path).unwrap()
    }
}

/// Writes files and reads them back until told to stop; returns how many there are.
async fn keep_writing(
    store: Arc<Store>,
    first: u64,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) -> u64 {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let inode = first + count;
        let bytes = pattern(inode, 300_000);
        store
            .write(SESSION, object(inode), 0, &bytes, None)
            .await
            .unwrap();
        if count % 3 == 0 {
            store.sync(&[object(inode)]).await.unwrap();
        }
        assert!(read_all(&store, object(inode)).unwrap() == bytes);
        let earlier = first + count / 2;
        assert!(read_all(&store, object(earlier)).unwrap() == pattern(earlier, 300_000));
        count += 1;
        done.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    count
}

fn wait_until(what: &str, mut over: impl FnMut() -> bool) {
    for _ in 0..600 {
        if over() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what}");
}

/// Deletes a directory that others write to meanwhile.
fn remove_all(path: &std::path::Path) {
    for _ in 0..1000 {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
            removed => return removed.unwrap(),
        }
    }
    panic!("{} fills as fast as it is emptied", path.display());
}

#[test]
fn directories_are_deleted_under_writers_replaced_and_others_deleted() {
    let place = Place::new();
    let _entered = place.runtime.enter();
    let names: Vec<String> = (0..6).map(|n| format!("disk{n}")).collect();
    let devices = names.iter().map(|name| place.device(name)).collect();
    let pool = Pool::create(Arc::clone(&place.env), devices, WIDE).unwrap();
    let store = Store::create(Arc::clone(&place.env), Arc::clone(&pool), small_options()).unwrap();
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let writers: Vec<_> = (1..=4)
        .map(|writer| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            let writing = keep_writing(Arc::clone(&store), writer * 1000, stop, done);
            place.runtime.spawn(writing)
        })
        .collect();
    wait_until("writers begin", || done.load(Ordering::Relaxed) > 8);
    // Both have copies of log and index.
    for name in &names[..2] {
        remove_all(&place.path(name));
    }
    wait_until("both are missed", || {
        pool.upkeep_status().lost_disks.len() == 2
    });
    let before = done.load(Ordering::Relaxed);
    wait_until("writers go on", || {
        done.load(Ordering::Relaxed) > before + 8
    });
    for name in &names[..2] {
        let old = pool.find_disk(place.path(name).to_str().unwrap()).unwrap();
        let options = DiskOptions {
            allow_shared_device: true,
            ..DiskOptions::default()
        };
        pool.replace_disk(old, place.device(&format!("new-{name}")), options)
            .unwrap();
        store.disks_changed();
    }
    wait_until("both are made good", || pool.upkeep_status().survives == 2);
    for name in &names[2..4] {
        remove_all(&place.path(name));
    }
    wait_until("both are missed", || {
        pool.upkeep_status().lost_disks.len() == 2
    });
    let before = done.load(Ordering::Relaxed);
    wait_until("writers go on", || {
        done.load(Ordering::Relaxed) > before + 8
    });
    stop.store(true, Ordering::Relaxed);
    let counts: Vec<u64> = writers
        .into_iter()
        .map(|writer| place.runtime.block_on(writer).unwrap())
        .collect();
    let verify = |store: &Store| {
        for (count, first) in counts.iter().zip([1000, 2000, 3000, 4000]) {
            for inode in first..first + count {
                assert!(read_all(store, object(inode)).unwrap() == pattern(inode, 300_000));
            }
        }
    };
    verify(&store);
    place.runtime.block_on(store.close()).unwrap();
    drop((store, pool));
    let left = ["disk4", "disk5", "new-disk0", "new-disk1"];
    let devices = left.iter().map(|name| place.device(name)).collect();
    let pool = Pool::open(Arc::clone(&place.env), devices).unwrap();
    let store = Store::open(Arc::clone(&place.env), pool, small_options()).unwrap();
    verify(&store);
    place.runtime.block_on(store.close()).unwrap();
}
