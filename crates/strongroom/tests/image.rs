//! A pool that an earlier version wrote opens with everything in it, and one of a newer format is refused.
//!
//! `tests/images/pool-v1.tar.gz` is a pool with layout 2+1 on three directories, whose log is ahead of its index. It is
//! never written anew while format version 1 can be read; the ignored test below made it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use strongroom_device::{Device, Env, RealDevice, TokioEnv};
use strongroom_identity::{Identity, NewUser};
use strongroom_pool::checksum::{Seed, checksum};
use strongroom_pool::{DiskState, Layout, Pool, PoolError};
use strongroom_store::{Store, StoreOptions};
use strongroom_vfs::{
    AccessMask, CreateOptions, Credentials, Disposition, Handle, NewShare, OpenRequest, Share, Vfs,
};

const DISKS: usize = 3;
const LAYOUT: Layout = Layout { data: 2, parity: 1 };
const SHARE: &str = "files";

/// Inline, in one unit, in several, in many; the last ones only in the log.
const FILES: [(&str, usize); 8] = [
    ("empty", 0),
    ("inline.txt", 700),
    ("one unit", 20_000),
    ("Größe.bin", 150_000),
    ("several rows", 900_000),
    ("a.txt:stream", 5_000),
    ("only in the log", 900),
    ("large and only in the log", 120_000),
];
const INDEXED: usize = 6;

/// Lines that say where they are; they compress well.
fn content(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 500);
    let mut line = 0;
    while bytes.len() < len {
        let dots = ".".repeat(400);
        bytes.extend_from_slice(format!("{name}, line {line}{dots}\n").as_bytes());
        line += 1;
    }
    bytes.truncate(len);
    bytes
}

struct Floors {
    pool: Arc<Pool>,
    store: Arc<Store>,
    vfs: Arc<Vfs>,
    identity: Arc<Identity>,
}

impl Floors {
    fn options() -> StoreOptions {
        StoreOptions {
            log_file: 1 << 20,
            log_files_max: 4,
            ..StoreOptions::default()
        }
    }

    fn create(place: &Path) -> Floors {
        let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
        let pool = Pool::create(Arc::clone(&env), devices(&env, place), LAYOUT).unwrap();
        let store = Store::create(Arc::clone(&env), Arc::clone(&pool), Self::options()).unwrap();
        let vfs = Vfs::create(Arc::clone(&store), Arc::clone(&env)).unwrap();
        let identity = Identity::open(Arc::clone(&store), env).unwrap();
        Floors {
            pool,
            store,
            vfs,
            identity,
        }
    }

    fn open(place: &Path) -> Floors {
        Self::open_without(place, None)
    }

    /// Without one of the disks.
    fn open_without(place: &Path, lost: Option<usize>) -> Floors {
        let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
        let mut devices = devices(&env, place);
        if let Some(lost) = lost {
            devices.remove(lost);
        }
        let pool = Pool::open(Arc::clone(&env), devices).unwrap();
        let store = Store::open(Arc::clone(&env), Arc::clone(&pool), Self::options()).unwrap();
        let vfs = Vfs::open_store(Arc::clone(&store), Arc::clone(&env)).unwrap();
        let identity = Identity::open(Arc::clone(&store), env).unwrap();
        Floors {
            pool,
            store,
            vfs,
            identity,
        }
    }

    async fn handle(&self, share: &Share, path: &str, how: Disposition) -> Arc<Handle> {
        let options = CreateOptions {
            non_directory: true,
            ..CreateOptions::default()
        };
        let request = OpenRequest {
            access: AccessMask::FILE_ALL,
            disposition: how,
            options,
            ..OpenRequest::new(share, path)
        };
        let opened = self.vfs.open(&Credentials::system(), request).await;
        opened.unwrap_or_else(|error| panic!("{path}: {error}")).0
    }

    async fn put(&self, share: &Share, (name, len): (&str, usize)) {
        let handle = self.handle(share, name, Disposition::OpenIf).await;
        self.vfs
            .write(&handle, 0, &content(name, len))
            .await
            .unwrap();
        self.vfs.close(&handle).await.unwrap();
    }

    async fn check(&self, share: &Share, (name, len): (&str, usize)) {
        let handle = self.handle(share, name, Disposition::Open).await;
        let mut bytes = vec![0; len + 1];
        let read = self.vfs.read(&handle, 0, &mut bytes).unwrap();
        bytes.truncate(read);
        assert!(bytes == content(name, len), "{name} has other bytes");
        self.vfs.close(&handle).await.unwrap();
    }
}

fn disk(place: &Path, number: usize) -> PathBuf {
    place.join(format!("disk-{number}"))
}

fn devices(env: &Arc<dyn Env>, place: &Path) -> Vec<Arc<dyn Device>> {
    let device = |number| {
        let device = RealDevice::open(Arc::clone(env), &disk(place, number));
        device.unwrap() as Arc<dyn Device>
    };
    (0..DISKS).map(device).collect()
}

fn image() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/images/pool-v1.tar.gz")
}

fn tar(arguments: &[&str], place: &Path) {
    let mut command = Command::new("tar");
    command.args(arguments).arg(image()).arg("-C").arg(place);
    if arguments.contains(&"--create") {
        command.args((0..DISKS).map(|number| format!("disk-{number}")));
    }
    assert!(command.status().unwrap().success(), "tar failed");
}

fn unpacked() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    tar(&["--extract", "--gzip", "--file"], place.path());
    place
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the image anew, which only a new format version may"]
async fn write_the_image() {
    let place = tempfile::tempdir().unwrap();
    for number in 0..DISKS {
        fs::create_dir(disk(place.path(), number)).unwrap();
    }
    let floors = Floors::create(place.path());
    let share = floors.vfs.add_share(NewShare {
        name: SHARE.to_owned(),
        ..NewShare::default()
    });
    let share = share.unwrap();
    let (name, password) = ("ann", "ann's own 9 words");
    let new = NewUser {
        name,
        password,
        admin: false,
    };
    floors.identity.add_user(new).unwrap();
    for file in &FILES[..INDEXED] {
        floors.put(&share, *file).await;
    }
    floors.store.close().await.unwrap();
    drop(floors);
    let floors = Floors::open(place.path());
    let share = floors.vfs.share(SHARE).unwrap();
    for file in &FILES[INDEXED..] {
        floors.put(&share, *file).await;
    }
    floors.store.sync_all().await.unwrap();
    // As a crash leaves it.
    drop(floors);
    fs::create_dir_all(image().parent().unwrap()).unwrap();
    tar(
        &["--create", "--sparse", "--gzip", "--exclude=lock", "--file"],
        place.path(),
    );
    let len = fs::metadata(image()).unwrap().len();
    assert!(len < 200_000, "the image has {len} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_format_1_opens_with_everything_in_it() {
    let place = unpacked();
    let floors = Floors::open(place.path());
    assert_eq!(floors.pool.layout(), LAYOUT);
    let disks = floors.pool.status().disks;
    assert!(
        disks.iter().all(|disk| disk.state == DiskState::Member),
        "{disks:?}"
    );
    assert_eq!(floors.identity.users().len(), 1);
    let share = floors.vfs.share(SHARE).unwrap();
    for file in FILES {
        floors.check(&share, file).await;
    }
    let audit = {
        floors.store.close().await.unwrap();
        floors.store.audit().unwrap()
    };
    assert!(
        audit.problems.is_empty() && audit.missing.is_empty(),
        "{audit:?}"
    );
    drop(floors);
    // Also without any one of its disks.
    for lost in 0..DISKS {
        let place = unpacked();
        let floors = Floors::open_without(place.path(), Some(lost));
        let share = floors.vfs.share(SHARE).unwrap();
        for file in FILES {
            floors.check(&share, file).await;
        }
        floors.store.close().await.unwrap();
    }
}

/// Where the label has its version and its checksum: docs/format.md.
const VERSION: std::ops::Range<usize> = 8..12;
const CHECKED: usize = 4088;

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_a_newer_format_is_refused_by_name() {
    let place = unpacked();
    let newer = disk(place.path(), 1);
    for copy in ["label.0", "label.1"] {
        let path = newer.join(copy);
        let mut label = fs::read(&path).unwrap();
        label[VERSION].copy_from_slice(&1000_u32.to_le_bytes());
        let seed = Seed::of(&[u64::from_le_bytes(*b"STRONGRM")]);
        let sum = checksum(seed, &label[..CHECKED]);
        label[CHECKED..].copy_from_slice(&sum.to_le_bytes());
        fs::write(&path, label).unwrap();
    }
    let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
    let refusal = Pool::open(Arc::clone(&env), devices(&env, place.path())).unwrap_err();
    let PoolError::NewerFormat { device, found, .. } = &refusal else {
        panic!("{refusal}");
    };
    assert_eq!((Path::new(device), *found), (newer.as_path(), 1000));
    assert!(
        refusal.to_string().contains("use a newer Strongroom"),
        "{refusal}"
    );
}
