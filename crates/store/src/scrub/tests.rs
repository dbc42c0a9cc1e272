use super::*;
use crate::JobState;
use crate::tests::{ROWS, World, key, object, pattern};
use crate::{Store, View};

#[test]
fn a_scrub_that_is_due_repairs_pages_that_nobody_read() {
    let world = World::new(121, 2);
    let store = world.create();
    for n in 0..50 {
        world.put(&store, &key(2000 + n, "a"), &pattern(n, 20_000));
    }
    world.env.advance(Duration::from_secs(10));
    assert_eq!(store.status().overlay_rows, 0);
    assert!(
        store
            .jobs()
            .list()
            .iter()
            .all(|job| job.kind != "index scrub")
    );
    // The tail of the file is what the rows above are in.
    let disk = &world.disks[1];
    let len = disk.contents("index/1/pages").unwrap().len() as u64;
    for page in len / 8192..len / 4096 {
        disk.flip("index/1/pages", page * 4096 + 99, 1);
    }
    let every = u64::try_from(INDEX_EVERY.as_nanos()).unwrap();
    let long_ago = Timestamp(world.env().now().0 - every);
    let scrubs = &store.scrubs;
    *scrubs.index.last.lock() = Some(long_ago);
    world.env.advance(Duration::from_secs(10));
    let jobs = store.jobs().list();
    let mut scrubbed = jobs.iter().filter(|job| job.kind == "index scrub");
    assert_eq!(scrubbed.next().unwrap().state, JobState::Done);
    assert!(scrubbed.next().is_none(), "once is enough");
    let index = store.status().index;
    assert!(
        index.bad_pages > 10 && index.repaired_pages == index.bad_pages,
        "{index:?}"
    );
    assert_eq!(
        (index.copies_good, index.copies, index.lost_pages),
        (2, 2, 0)
    );
    store.scrub_index().unwrap();
    world.env.advance(Duration::from_secs(10));
    assert_eq!(store.status().index.bad_pages, index.bad_pages);
    assert!(store.get(ROWS, &key(2049, "a")).unwrap().is_some());
}

fn scrubbed(world: &World, store: &Store) -> ScrubStatus {
    store.start_scrub().unwrap();
    while store.scrub_status().running {
        world.env.advance(Duration::from_secs(1));
    }
    store.scrub_status()
}

#[test]
fn a_scrub_repairs_every_shard_and_says_so_after_a_restart() {
    let mut world = World::new(122, 2);
    let store = world.create();
    assert_eq!(store.scrub_status(), ScrubStatus::default());
    for n in 0..20 {
        world.write(&store, 2000 + n, 0, &pattern(n, 300_000));
    }
    world.block_on(store.sync_all()).unwrap();
    let disk = &world.disks[1];
    let shards: Vec<String> = disk.paths();
    let shard = shards.iter().find(|path| path.starts_with("segments/"));
    let shard = shard.unwrap().clone();
    let sound = disk.contents(&shard).unwrap();
    for at in [100, 5000, 2_000_000] {
        disk.flip(&shard, at, 0x10);
    }
    let status = scrubbed(&world, &store);
    assert!(
        status.bad >= 1 && status.repaired == status.bad,
        "{status:?}"
    );
    assert!(
        status.bytes > 39 * 300_000 && status.segments_done == status.segments,
        "{status:?}"
    );
    assert!(status.ended >= status.began && status.lost.is_empty());
    assert!(world.disks[1].contents(&shard).unwrap() == sound);
    world.block_on(store.sync_all()).unwrap();
    world.crash(store);
    let store = world.open().unwrap();
    world.env.advance(Duration::from_secs(3));
    assert_eq!(store.scrub_status(), status);
    assert_eq!(scrubbed(&world, &store).bad, 0);
}

#[test]
fn what_a_scrub_cannot_repair_is_named_by_file_and_place() {
    let mut world = World::new(123, 1);
    world.options.inline_max = 0;
    let store = world.create();
    for n in 0..3 {
        world.write(&store, 2000 + n, 0, &pattern(n, 200_000));
        world.block_on(store.sync_all()).unwrap();
    }
    let engine = store.engine();
    let (rows, _pin) = engine
        .extent_rows(&View::Now, object(2001), 0, 200_000)
        .unwrap();
    let address = rows[0].1.address;
    let shard = format!("segments/{}.0.0", address.segment);
    let block = u64::from(address.stripe) * 4096;
    world.disks[0].flip(&shard, block + 4096 + 20_000, 1);
    let status = scrubbed(&world, &store);
    assert_eq!((status.bad, status.repaired), (1, 0));
    let expected = LostRange {
        object: object(2001),
        offset: 16_384,
        len: 16_384,
        past: false,
    };
    assert_eq!(status.lost, [expected]);
    // Without its header all of the stripe is lost.
    world.disks[0].flip(&shard, block + 9, 1);
    let status = scrubbed(&world, &store);
    let whole = LostRange {
        offset: 0,
        len: 200_000,
        ..expected
    };
    assert_eq!((status.lost, status.lost_ranges), (vec![whole], 1));
}

#[test]
fn a_scrub_goes_on_where_a_crash_cut_it_off_and_can_be_stopped() {
    let mut world = World::new(124, 1);
    let store = world.create();
    for n in 0..200 {
        world.write(&store, 2000 + n, 0, &pattern(n, 1 << 20));
    }
    world.block_on(store.sync_all()).unwrap();
    let scrubs = &store.scrubs;
    let step = scrubs.scrub.step(&scrubs.scrub.begin()).unwrap();
    let crate::Step::More { cursor, .. } = step else {
        panic!("one step is not enough for 200 MiB");
    };
    let before = store.scrub_status();
    assert!(
        before.bytes >= 32 << 20 && before.bytes < 64 << 20,
        "{before:?}"
    );
    world.crash(store);
    let store = world.open().unwrap();
    // As the job's row would have it.
    let scrubs = &store.scrubs;
    store.jobs().start(&scrubs.segments.kind, cursor).unwrap();
    world.env.advance(Duration::from_secs(60));
    let status = store.scrub_status();
    assert_eq!(status.began, before.began);
    assert!(status.ended.is_some());
    assert!(
        status.bytes > 200 << 20 && status.bytes < 220 << 20,
        "{status:?}"
    );
    assert!(!store.stop_scrub(), "none runs");
    store.start_scrub().unwrap();
    assert!(store.scrub_status().running && store.stop_scrub());
    world.env.advance(Duration::from_secs(60));
    let status = store.scrub_status();
    assert!(status.stopped && !status.running && status.ended.is_none());
}
