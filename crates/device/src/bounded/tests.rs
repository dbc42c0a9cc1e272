use std::io::IoSliceMut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::*;
use crate::sim::{SimDevice, SimEnv};
use crate::{RealDevice, TokioEnv};

const LIMIT: Duration = Duration::from_millis(200);

/// Far more than a bounded call takes on a busy machine, far less than a hang.
const SOON: Duration = Duration::from_secs(10);

struct World {
    _runtime: tokio::runtime::Runtime,
    env: Arc<dyn Env>,
    disk: Arc<SimDevice>,
    device: Arc<BoundedDevice>,
}

fn world() -> World {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let env: Arc<dyn Env> = Arc::new(TokioEnv::new(runtime.handle().clone()));
    let disk = SimDevice::new(&SimEnv::new(1), "disk", 1);
    let device = BoundedDevice::new(
        Arc::clone(&env),
        Arc::clone(&disk) as Arc<dyn Device>,
        LIMIT,
    );
    World {
        _runtime: runtime,
        env,
        disk,
        device,
    }
}

fn is_hang(error: &DeviceError) -> bool {
    matches!(error, DeviceError::Io { message, .. } if message.contains("hangs"))
}

#[test]
fn everything_passes_through() {
    let World { device, .. } = world();
    let file = device.create("a/b", 0).unwrap();
    file.write_vectored_at(
        5,
        &[std::io::IoSlice::new(b"one"), std::io::IoSlice::new(b"two")],
    )
    .unwrap();
    file.sync().unwrap();
    device.sync_dir("a").unwrap();
    assert_eq!(file.len().unwrap(), 11);
    let (mut first, mut second) = ([0; 7], [1; 9]);
    let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(file.read_vectored_at(0, &mut buffers).unwrap(), 11);
    assert_eq!((&first, &second[..4]), (b"\0\0\0\0\0on", &b"etwo"[..]));
    file.punch(5, 3).unwrap();
    file.set_len(9).unwrap();
    assert_eq!(device.list("a").unwrap(), ["b"]);
    let again = device.open("a/b").unwrap();
    let mut all = [9; 9];
    again.read_at(0, &mut all).unwrap();
    assert_eq!(&all, b"\0\0\0\0\0\0\0\0t");
    device.rename("a/b", "a/c").unwrap();
    device.delete("a/c").unwrap();
    assert!(matches!(
        device.open("a/b"),
        Err(DeviceError::NotFound { .. })
    ));
    assert!(device.space().unwrap().free > 0);
}

#[test]
fn a_real_directory_answers_from_memory_and_from_disk() {
    let World { env, .. } = world();
    let place = tempfile::tempdir().unwrap();
    let real = RealDevice::open(Arc::clone(&env), place.path()).unwrap();
    let device = BoundedDevice::new(env, real, LIMIT * 50);
    let file = device.create("x", 1 << 20).unwrap();
    let bytes: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
    file.write_at(4096, &bytes).unwrap();
    let mut read = vec![0; bytes.len() + 10];
    assert_eq!(file.read_at(4096, &mut read).unwrap(), bytes.len());
    assert_eq!(&read[..bytes.len()], bytes);
}

/// Each operation alone on a disk that hangs.
#[test]
fn every_operation_ends_on_a_disk_that_hangs() {
    type Operation = fn(&BoundedDevice, &dyn DeviceFile) -> Result<()>;
    let operations: [(&str, Operation); 11] = [
        ("read", |_, file| file.read_at(0, &mut [0; 4]).map(drop)),
        ("write", |_, file| file.write_at(0, b"x")),
        ("sync", |_, file| file.sync()),
        ("len", |_, file| file.len().map(drop)),
        ("set_len", |_, file| file.set_len(1)),
        ("punch", |_, file| file.punch(0, 1)),
        ("create", |device, _| device.create("new", 0).map(drop)),
        ("open", |device, _| device.open("file").map(drop)),
        ("delete", |device, _| device.delete("file")),
        ("list", |device, _| device.list("").map(drop)),
        ("space", |device, _| device.space().map(drop)),
    ];
    for (name, operation) in operations {
        let World { device, disk, .. } = &world();
        let file = device.create("file", 0).unwrap();
        file.write_at(0, b"1234").unwrap();
        disk.set_hung(true);
        let start = Instant::now();
        let error = operation(device, &*file).unwrap_err();
        assert!(is_hang(&error), "{name}: {error}");
        assert!(
            (LIMIT..SOON).contains(&start.elapsed()),
            "{name}: {:?}",
            start.elapsed()
        );
        // From now on nobody waits any more, not even to close a file.
        let start = Instant::now();
        assert!(is_hang(&file.sync().unwrap_err()));
        assert!(is_hang(&file.read_at(0, &mut [0; 4]).unwrap_err()));
        drop(file);
        assert!(start.elapsed() < LIMIT, "{name}: {:?}", start.elapsed());
        disk.set_hung(false);
        assert!(
            device.list("").is_err(),
            "{name}: what it missed nobody knows"
        );
    }
}

#[test]
fn who_waits_behind_a_hang_is_told_as_well() {
    let World { device, disk, .. } = &world();
    let file = device.create("file", 0).unwrap();
    disk.set_hung(true);
    let start = Instant::now();
    thread::scope(|scope| {
        let calls: Vec<_> = (0..200).map(|_| scope.spawn(|| file.sync())).collect();
        for call in calls {
            assert!(is_hang(&call.join().unwrap().unwrap_err()));
        }
    });
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    disk.set_hung(false);
}

#[test]
fn closing_files_that_nobody_waits_for_keeps_nobody() {
    #[derive(Debug)]
    struct Stuck(Arc<SimDevice>);
    impl Drop for Stuck {
        fn drop(&mut self) {
            self.0.space().ok();
        }
    }
    let World { device, disk, .. } = &world();
    let file = device.create("file", 0).unwrap();
    let workers = &device.shared.workers;
    disk.set_hung(true);
    for _ in 0..100 {
        let stuck = Stuck(Arc::clone(disk));
        workers.leave(Box::new(move || drop(stuck)));
    }
    let start = Instant::now();
    assert!(is_hang(&file.sync().unwrap_err()));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    disk.set_hung(false);
}

#[test]
fn a_slow_answer_is_an_answer() {
    let World { device, disk, .. } = &world();
    let file = device.create("file", 0).unwrap();
    disk.set_hung(true);
    thread::scope(|scope| {
        let call = scope.spawn(|| file.write_at(0, b"slow"));
        thread::sleep(LIMIT / 4);
        disk.set_hung(false);
        call.join().unwrap().unwrap();
    });
    let mut read = [0; 4];
    file.read_at(0, &mut read).unwrap();
    assert_eq!(&read, b"slow");
}

/// Tells a figure of its own as the disk's progress.
#[derive(Debug)]
struct Busy {
    inner: Arc<SimDevice>,
    done: AtomicU64,
}

impl Device for Busy {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn failure_domain(&self) -> u64 {
        0
    }
    fn progress(&self) -> Option<u64> {
        Some(self.done.fetch_add(1, Ordering::Relaxed))
    }
    fn create(&self, path: &str, preallocate: u64) -> Result<Arc<dyn DeviceFile>> {
        self.inner.create(path, preallocate)
    }
    fn open(&self, path: &str) -> Result<Arc<dyn DeviceFile>> {
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
fn a_disk_at_work_has_more_time_but_not_for_ever() {
    let World { env, disk, .. } = &world();
    let busy = Busy {
        inner: Arc::clone(disk),
        done: AtomicU64::new(0),
    };
    let device = BoundedDevice::new(Arc::clone(env), Arc::new(busy), LIMIT);
    let file = device.create("file", 0).unwrap();
    disk.set_hung(true);
    let start = Instant::now();
    assert!(is_hang(&file.sync().unwrap_err()));
    assert!(
        (3 * LIMIT..SOON).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    disk.set_hung(false);
}
