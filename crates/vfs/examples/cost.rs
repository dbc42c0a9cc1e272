//! What the file system's own work costs, in microseconds of this thread's CPU: `cargo run --release --example cost`.
//!
//! The store's deferred work runs on other threads and is not counted here; `cargo xtask bench` counts everything.

use std::sync::Arc;
use std::time::Duration;

use strongroom_device::{Device, Env, RealDevice, TokioEnv};
use strongroom_pool::{Layout, Pool};
use strongroom_store::{Store, StoreOptions};
use strongroom_vfs::{
    AccessMask, Credentials, DirCursor, Disposition, NewShare, OpenRequest, Share, ShareAccess, Vfs,
};

const FILES: u32 = 20_000;

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

fn request<'a>(share: &'a Share, path: &'a str, disposition: Disposition) -> OpenRequest<'a> {
    OpenRequest {
        access: AccessMask::FILE_READ | AccessMask::FILE_WRITE | AccessMask::DELETE,
        share_access: ShareAccess::ALL,
        disposition,
        ..OpenRequest::new(share, path)
    }
}

fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let env: Arc<dyn Env> = Arc::new(TokioEnv::new(runtime.handle().clone()));
    runtime.block_on(async {
        let device = RealDevice::open(Arc::clone(&env), directory.path()).expect("a device");
        let devices = vec![device as Arc<dyn Device>];
        let pool = Pool::create(Arc::clone(&env), devices, Layout::SINGLE).expect("a pool");
        let options = StoreOptions::default();
        let store = Store::create(Arc::clone(&env), pool, options).expect("a store");
        let vfs = Vfs::create(store, env).expect("a file system");
        let new = NewShare {
            name: "files".into(),
            ..NewShare::default()
        };
        let share = vfs.add_share(new).expect("a share");
        for (name, disposition, write, delete) in [
            ("create, close", Disposition::Create, false, false),
            ("open, close", Disposition::Open, false, false),
            ("open, write 4 KiB, close", Disposition::Open, true, false),
            ("open, delete, close", Disposition::Open, false, true),
            (
                "create, write 4 KiB, close",
                Disposition::Create,
                true,
                false,
            ),
        ] {
            let started = cpu_time();
            for n in 0..FILES {
                let path = format!("file number {n}");
                each(&vfs, request(&share, &path, disposition), write, delete).await;
            }
            report(name, cpu_time() - started, FILES);
        }
        list(&vfs, &share).await;
        vfs.store().close().await.expect("a clean end");
    });
}

async fn each(vfs: &Vfs, request: OpenRequest<'_>, write: bool, delete: bool) {
    let who = Credentials::system();
    let (handle, _) = vfs.open(&who, request).await.expect("an open");
    if write {
        vfs.write(&handle, 0, &[7; 4096]).await.expect("a write");
    }
    if delete {
        vfs.set_delete(&handle, true).await.expect("a deletion");
    }
    vfs.close(&handle).await.expect("a close");
}

async fn list(vfs: &Vfs, share: &Share) {
    let root = request(share, "", Disposition::Open);
    let (root, _) = vfs
        .open(&Credentials::system(), root)
        .await
        .expect("the root");
    let (mut cursor, mut seen) = (DirCursor::default(), 0);
    let started = cpu_time();
    loop {
        let entries = vfs.list(&root, &mut cursor, "*", 500).expect("a listing");
        if entries.is_empty() {
            break;
        }
        seen += u32::try_from(entries.len()).unwrap_or(0);
    }
    report("list, an entry", cpu_time() - started, seen);
}

fn report(name: &str, time: Duration, count: u32) {
    println!(
        "{:6.2} us  {name}",
        time.as_secs_f64() * 1e6 / f64::from(count.max(1))
    );
}
