//! What happens to a disk between two steps of somebody else.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use strongroom_device::{DeviceError, DeviceFile, Space};

use super::changes::upkeep;
use super::*;
use crate::DiskState;

type Result<T> = std::result::Result<T, DeviceError>;
type Hook = Box<dyn FnOnce() + Send>;

/// A disk on which something happens just before a file is opened.
struct Hooked {
    inner: Arc<SimDevice>,
    before_open: Mutex<Option<Hook>>,
    called: AtomicBool,
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Device for Hooked {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn failure_domain(&self) -> u64 {
        self.inner.failure_domain()
    }
    fn create(&self, path: &str, preallocate: u64) -> Result<Arc<dyn DeviceFile>> {
        self.inner.create(path, preallocate)
    }
    fn open(&self, path: &str) -> Result<Arc<dyn DeviceFile>> {
        if path.starts_with("segments/") {
            let hook = self.before_open.lock().take();
            if let Some(hook) = hook {
                self.called.store(true, Ordering::Relaxed);
                hook();
            }
        }
        self.inner.open(path)
    }
    fn delete(&self, path: &str) -> Result<()> {
        self.inner.delete(path)
    }
    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.inner.rename(from, to)
    }
    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn sync_dir(&self, dir: &str) -> Result<()> {
        self.inner.sync_dir(dir)
    }
    fn space(&self) -> Result<Space> {
        self.inner.space()
    }
}

#[test]
fn a_shard_that_moves_under_a_sync_is_no_failure_of_its_disk() {
    let env = SimEnv::new(1);
    let plain = disks(&env, 3);
    let hooked: Vec<Arc<Hooked>> = plain
        .iter()
        .map(|disk| {
            Arc::new(Hooked {
                inner: Arc::clone(disk),
                before_open: Mutex::default(),
                called: AtomicBool::default(),
            })
        })
        .collect();
    let devices = || -> Vec<Arc<dyn Device>> {
        let devices = hooked.iter();
        devices.map(|d| Arc::clone(d) as Arc<dyn Device>).collect()
    };
    let pool = Pool::create(as_env(&env), devices(), Layout::MIRROR).unwrap();
    pool.begin_epoch(Txg(0), &[]).unwrap();
    let bytes = pattern(1, 50_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    pool.close().unwrap();
    drop(pool);
    let pool = Pool::open(as_env(&env), devices()).unwrap();
    pool.begin_epoch(Txg(1), &[]).unwrap();
    upkeep(&pool);
    let segment = pool.segments.get(address.segment).unwrap();
    let from = Arc::clone(&segment.live_shards()[0].disk);
    let used = |disk: &Arc<crate::disk::Disk>| {
        let mut live = segment.live_shards().into_iter();
        live.any(|shard| Arc::ptr_eq(&shard.disk, disk))
    };
    let to = pool
        .disks
        .live()
        .into_iter()
        .find(|disk| !used(disk))
        .unwrap();
    let id = address.segment;
    pool.move_shard(id, &from, Some(&to)).unwrap().unwrap();
    segment.touched();
    // The file of the moved shard is not open yet; it moves back before it is.
    let mut all = hooked.iter();
    let first = all.find(|device| device.name() == to.name()).unwrap();
    let moving = Arc::clone(&pool);
    *first.before_open.lock() = Some(Box::new(move || {
        moving.move_shard(id, &to, Some(&from)).unwrap().unwrap();
    }));
    pool.sync_segments(&[address.segment]).unwrap();
    assert!(first.called.load(Ordering::Relaxed));
    let disks = pool.status().disks;
    assert!(
        disks.iter().all(|disk| disk.state == DiskState::Member),
        "{disks:?}"
    );
    assert!(read(&pool, address, 50_000).unwrap() == bytes);
}
