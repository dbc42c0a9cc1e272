use std::io::{IoSlice, IoSliceMut};
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::sim::SimEnv;

fn device(dir: &Path) -> Arc<RealDevice> {
    RealDevice::open(SimEnv::new(1), dir).unwrap()
}

#[test]
fn writes_reads_lists_and_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let device = device(dir.path());
    let file = device.create("a/b/one", 1 << 20).unwrap();
    assert_eq!(file.len().unwrap(), 0);
    file.write_vectored_at(10, &[IoSlice::new(b"hello "), IoSlice::new(b"world")])
        .unwrap();
    file.sync().unwrap();
    device.sync_dir("a/b").unwrap();
    let (mut left, mut right) = ([0; 4], [0; 30]);
    let mut buffers = [IoSliceMut::new(&mut left), IoSliceMut::new(&mut right)];
    assert_eq!(file.read_vectored_at(8, &mut buffers).unwrap(), 13);
    assert_eq!((&left, &right[..9]), (b"\0\0he", b"llo world".as_slice()));
    assert_eq!(device.list("a/b").unwrap(), ["one"]);
    assert!(device.list("a").unwrap().is_empty());
    assert!(device.list("nowhere").unwrap().is_empty());
    file.punch(10, 5).unwrap();
    let mut bytes = [1; 6];
    file.read_at(10, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0\0\0\0\0 ");
    device.delete("a/b/one").unwrap();
    assert!(matches!(
        device.open("a/b/one"),
        Err(DeviceError::NotFound { .. })
    ));
}

#[test]
fn writes_more_slices_than_the_kernel_takes_in_one_call() {
    let dir = tempfile::tempdir().unwrap();
    let file = device(dir.path()).create("f", 0).unwrap();
    let bytes: Vec<u8> = (0..3000u32).map(|i| i.to_le_bytes()[0]).collect();
    let slices: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
    file.write_vectored_at(0, &slices).unwrap();
    let mut back = vec![0; 3000];
    let mut parts: Vec<IoSliceMut<'_>> = back.chunks_mut(1).map(IoSliceMut::new).collect();
    assert_eq!(file.read_vectored_at(0, &mut parts).unwrap(), 3000);
    assert_eq!(back, bytes);
}

#[test]
fn refuses_to_create_what_exists() {
    let dir = tempfile::tempdir().unwrap();
    let device = device(dir.path());
    device.create("f", 0).unwrap();
    assert!(matches!(
        device.create("f", 0),
        Err(DeviceError::Exists { .. })
    ));
}

#[test]
fn refuses_a_missing_directory_a_file_and_a_read_only_directory() {
    let dir = tempfile::tempdir().unwrap();
    let message = |path: &Path| {
        RealDevice::open(SimEnv::new(1), path)
            .unwrap_err()
            .to_string()
    };
    assert!(message(&dir.path().join("absent")).contains("does not exist"));
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(message(&file).contains("not a directory"));
    if !rustix::process::geteuid().is_root() {
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o500)).unwrap();
        assert!(message(dir.path()).contains("may not write"));
    }
}

#[test]
fn a_second_lock_names_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let first = device(dir.path());
    let lock = first.lock().unwrap();
    let message = device(dir.path()).lock().unwrap_err().to_string();
    assert!(
        message.contains(&format!("process {}", std::process::id())),
        "{message}"
    );
    drop(lock);
    device(dir.path()).lock().unwrap();
}

#[test]
fn a_failed_sync_is_never_retried() {
    let dir = tempfile::tempdir().unwrap();
    let device = device(dir.path());
    let failed = device.shared.sync_once("f", || Err(Errno::IO));
    assert!(matches!(failed, Err(DeviceError::Io { .. })));
    let again = device.shared.sync_once("f", || Ok(()));
    assert!(
        again
            .unwrap_err()
            .to_string()
            .contains("earlier sync failed")
    );
    device.shared.sync_once("g", || Ok(())).unwrap();
}

#[test]
#[should_panic(expected = "not a device path")]
fn a_path_never_leaves_the_device() {
    let dir = tempfile::tempdir().unwrap();
    drop(device(dir.path()).open("../f"));
}

#[test]
fn tells_space_and_domain() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (device(dir.path()), device(dir.path()));
    assert_eq!(first.failure_domain(), second.failure_domain());
    let space = first.space().unwrap();
    assert!(space.free <= space.total && space.total > 0);
}

#[test]
fn renames_in_place_of_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let device = device(dir.path());
    device
        .create("d/a", 0)
        .unwrap()
        .write_at(0, b"first")
        .unwrap();
    device.create("d/b", 0).unwrap();
    device.rename("d/a", "d/b").unwrap();
    device.sync_dir("d").unwrap();
    assert_eq!(device.list("d").unwrap(), ["b"]);
    let mut bytes = [0; 5];
    device.open("d/b").unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"first");
    assert!(matches!(
        device.rename("d/a", "d/c"),
        Err(DeviceError::NotFound { .. })
    ));
}

#[test]
fn what_was_asked_for_ahead_comes_into_memory() {
    let place = tempfile::tempdir_in(".").unwrap();
    let device = device(place.path());
    let file = device.create("f", 0).unwrap();
    file.write_at(0, &vec![7; 4 << 20]).unwrap();
    file.sync().unwrap();
    file.uncache().unwrap();
    file.read_ahead(1 << 20, 2 << 20);
    let mut room = vec![0; 1 << 20];
    let began = std::time::Instant::now();
    loop {
        let mut buffers = [std::io::IoSliceMut::new(&mut room)];
        if file.read_cached(2 << 20, &mut buffers) == 1 << 20 {
            break;
        }
        assert!(began.elapsed().as_secs() < 20, "it does not come");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(room.iter().all(|byte| *byte == 7));
}
