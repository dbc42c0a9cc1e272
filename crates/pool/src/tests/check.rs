//! Checks of whole segments, how many failures are survived, and disks that vanish or hang.

use std::time::{Duration, Instant};

use strongroom_device::{BoundedDevice, TokioEnv};

use super::*;
use crate::DiskState;

const WIDE: Layout = Layout { data: 4, parity: 2 };
/// In the data of the first stripe, behind one block of header.
const IN_DATA: u64 = 5000;

fn filled() -> (Arc<SimEnv>, Vec<Arc<SimDevice>>, Arc<Pool>, Vec<Address>) {
    let env = SimEnv::new(3);
    let all = disks(&env, 6);
    let pool = new_pool(&env, &all, WIDE);
    let extents = (0..5).map(|n| append_synced(&pool, n, &pattern(n, 300_000)).unwrap());
    let extents = extents.collect();
    (env, all, pool, extents)
}

#[test]
fn a_check_finds_and_mends_what_nobody_reads() {
    let (_env, all, pool, extents) = filled();
    let segment = extents[0].segment;
    let clean = pool.check_segment(segment, false).unwrap();
    assert_eq!((clean.stripes, clean.missing, clean.bad.len()), (5, 0, 0));
    assert!(clean.bytes > 5 * 450_000 && !clean.nameless, "{clean:?}");
    for disk in &all[..2] {
        disk.flip(&shard_file(disk), IN_DATA, 4);
    }
    let found = pool.check_segment(segment, false).unwrap();
    let names: Vec<&str> = found.bad.iter().map(|part| part.disk.as_str()).collect();
    assert!(
        names.contains(&"disk0") && names.contains(&"disk1"),
        "{found:?}"
    );
    assert!(found.bad.len() == 2 && found.lost.is_empty(), "{found:?}");
    assert_eq!(
        pool.check_segment(segment, true).unwrap(),
        found,
        "told all the same"
    );
    assert_eq!(pool.check_segment(segment, false).unwrap(), clean);
    assert_eq!(pool.status().repaired_fragments, 2);
}

#[test]
fn a_check_tells_what_is_lost() {
    let (_env, all, pool, extents) = filled();
    for disk in &all[..3] {
        disk.flip(&shard_file(disk), IN_DATA, 4);
    }
    let found = pool.check_segment(extents[0].segment, true).unwrap();
    assert_eq!(found.lost, [extents[0].stripe]);
    assert_eq!(found.bad.len(), 3);
}

#[test]
fn status_counts_the_failures_that_are_survived() {
    let env = SimEnv::new(1);
    let apart = disks(&env, 6);
    let pool = new_pool(&env, &apart, WIDE);
    assert_eq!(pool.status().survives, 2);
    apart[3].set_broken(true);
    append_synced(&pool, 1, b"x").unwrap();
    let status = pool.status();
    assert_eq!(status.survives, 1);
    assert!(status.shared.is_empty());
    let together: Vec<_> = (0..6)
        .map(|n| SimDevice::new(&env, &format!("dir{n}"), 7))
        .collect();
    let status = new_pool(&env, &together, WIDE).status();
    assert_eq!((status.survives, status.shared.len()), (0, 1));
    assert_eq!(status.shared[0].len(), 6);
    let single = new_pool(&env, &disks(&env, 1), Layout::SINGLE);
    assert_eq!(single.status().survives, 0);
}

#[test]
fn status_says_how_much_of_each_disk_can_be_used() {
    let env = SimEnv::new(1);
    let all = disks(&env, 3);
    for (disk, blocks) in all.iter().zip([9000, 1000, 2000]) {
        disk.set_capacity(blocks * 4096);
    }
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let spaces: Vec<_> = pool
        .status()
        .disks
        .iter()
        .map(|disk| disk.space.unwrap())
        .collect();
    let usable: Vec<u64> = spaces.iter().map(|space| space.usable / 4096).collect();
    assert_eq!(usable, [3000, 1000, 2000]);
    assert_eq!(pool.space().unwrap().usable_total, 3000 * 4096);
}

#[test]
fn a_disk_without_its_label_is_set_aside() {
    let env = SimEnv::new(1);
    let all = disks(&env, 3);
    let pool = new_pool(&env, &all, THREE_WAY);
    pool.look_after_disks();
    // One copy may be damaged or gone.
    all[1].delete("label.0").unwrap();
    pool.look_after_disks();
    assert!(
        pool.status()
            .disks
            .iter()
            .all(|disk| disk.state == DiskState::Member)
    );
    all[1].delete("label.1").unwrap();
    pool.look_after_disks();
    let status = pool.status();
    assert_eq!(status.disks[1].state, DiskState::SetAside);
    assert!(status.writable);
}

#[test]
fn a_pool_that_is_only_looked_at_is_not_rebuilt() {
    let env = SimEnv::new(1);
    let all = disks(&env, 4);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    for n in 0..4 {
        append_synced(&pool, n, &pattern(n, 70_000)).unwrap();
    }
    drop(pool);
    for (upkeep, expected) in [(false, true), (true, false)] {
        let options = crate::OpenOptions {
            upkeep,
            ..crate::OpenOptions::default()
        };
        let holder = all.iter().position(|disk| {
            disk.paths()
                .iter()
                .any(|path| path.starts_with("segments/"))
        });
        let devices = (0..4)
            .filter(|n| Some(*n) != holder)
            .map(|n| all[n].duplicate(&format!("copy{n}")));
        let devices = devices.map(|disk| disk as Arc<dyn Device>).collect();
        let pool = Pool::open_with(as_env(&env), devices, options).unwrap();
        pool.begin_epoch(Txg(1), &[]).unwrap();
        let step = pool.upkeep_step().unwrap();
        assert_eq!(step == crate::UpkeepStep::Idle, expected, "{step:?}");
    }
}

/// On real threads and real time.
#[test]
fn a_disk_that_hangs_is_set_aside_and_the_others_go_on() {
    const LIMIT: Duration = Duration::from_millis(150);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let env: Arc<dyn Env> = Arc::new(TokioEnv::new(runtime.handle().clone()));
    let all = disks(&SimEnv::new(1), 6);
    let bound = |disk| BoundedDevice::new(Arc::clone(&env), disk, LIMIT) as Arc<dyn Device>;
    let devices = as_devices(&all).into_iter().map(bound).collect();
    let pool = Pool::create(Arc::clone(&env), devices, WIDE).unwrap();
    pool.begin_epoch(Txg(0), &[]).unwrap();
    let bytes = pattern(1, 300_000);
    let before = append_synced(&pool, 1, &bytes).unwrap();
    // One while it is written to, one while it is only read from.
    all[4].set_hung(true);
    let start = Instant::now();
    let during = append_synced(&pool, 2, &bytes).unwrap();
    all[0].set_hung(true);
    assert_eq!(read(&pool, before, bytes.len()).unwrap(), bytes);
    assert_eq!(read(&pool, during, bytes.len()).unwrap(), bytes);
    let after = append_synced(&pool, 3, &bytes).unwrap();
    assert_eq!(read(&pool, after, bytes.len()).unwrap(), bytes);
    // A handful of waits, whatever the machine is busy with.
    assert!(start.elapsed() < 40 * LIMIT, "{:?}", start.elapsed());
    let states: Vec<DiskState> = pool.status().disks.iter().map(|disk| disk.state).collect();
    for (disk, state) in states.iter().enumerate() {
        let expected = if disk == 4 || disk == 0 {
            DiskState::SetAside
        } else {
            DiskState::Member
        };
        assert_eq!(*state, expected, "disk {disk}");
    }
    for disk in &all {
        disk.set_hung(false);
    }
}
