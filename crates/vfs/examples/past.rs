//! What the past costs its readers: `cargo run --release -p strongroom-vfs --example past [FILES]`.
//!
//! 2,000 files are listed and read as they are now, and as they were an hour and 100,000 changes before; snapshots are
//! made and deleted in a pool of FILES files (20,000 without a number). Microseconds are of this thread's CPU,
//! milliseconds of the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strongroom_device::{BoxFuture, Device, Env, RealDevice, Timestamp, TokioEnv};
use strongroom_pool::{Layout, Pool};
use strongroom_store::{Store, StoreOptions};
use strongroom_vfs::{
    AccessMask, Credentials, DirCursor, Disposition, FileTime, LogFilter, NewShare, OpenRequest,
    SessionInfo, Share, ShareAccess, Sid, Vfs, View,
};

const LOOKED_AT: u32 = 2_000;
const CHANGES: u32 = 100_000;
/// The clock goes on by this after each so many changes.
const STEP: (u32, Duration) = (10_000, Duration::from_secs(360));
const TURNS: usize = 9;

/// The machine's clock, moved on.
#[derive(Debug)]
struct Shifted {
    inner: TokioEnv,
    seconds: AtomicU64,
}

impl Env for Shifted {
    fn now(&self) -> Timestamp {
        let shift = self.seconds.load(Ordering::Relaxed) * 1_000_000_000;
        Timestamp(self.inner.now().0 + shift)
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        self.inner.fill_random(buffer);
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<()>) {
        self.inner.spawn(name, task);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        self.inner.sleep(duration)
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()> {
        self.inner.unblock(work)
    }

    fn block_in_place(&self, work: &mut dyn FnMut()) {
        self.inner.block_in_place(work);
    }

    fn pause(&self, duration: Duration) {
        self.inner.pause(duration);
    }
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

struct Bench {
    vfs: Arc<Vfs>,
    share: Arc<Share>,
    env: Arc<Shifted>,
    who: Credentials,
}

fn main() {
    let files = std::env::args().nth(1);
    let files = files.map_or(20_000, |files| files.parse().expect("a number of files"));
    let directory = tempfile::tempdir_in(".").expect("a temporary directory");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let env = Arc::new(Shifted {
        inner: TokioEnv::new(runtime.handle().clone()),
        seconds: AtomicU64::new(0),
    });
    runtime.block_on(async {
        let as_env = || Arc::clone(&env) as Arc<dyn Env>;
        let device = RealDevice::open(as_env(), directory.path()).expect("a device");
        let devices = vec![device as Arc<dyn Device>];
        let pool = Pool::create(as_env(), devices, Layout::SINGLE).expect("a pool");
        let store = Store::create(as_env(), pool, StoreOptions::default()).expect("a store");
        let vfs = Vfs::create(store, as_env()).expect("a file system");
        let new = NewShare {
            name: "files".into(),
            ..NewShare::default()
        };
        let share = vfs.add_share(new).expect("a share");
        let session = vfs.begin_session(&SessionInfo {
            user: Sid::LOCAL_SYSTEM,
            user_name: "bench".to_owned(),
            address: String::new(),
            protocol: String::new(),
        });
        let bench = Bench {
            share,
            env: Arc::clone(&env),
            who: Credentials {
                session: session.expect("a session"),
                ..Credentials::system()
            },
            vfs: Arc::clone(&vfs),
        };
        bench.run(files).await;
        vfs.store().close().await.expect("a clean end");
    });
}

impl Bench {
    async fn run(&self, files: u32) {
        self.write_files("looked at", LOOKED_AT).await;
        self.write_files("others", files).await;
        self.settle().await;
        let then = self.newest();
        self.change().await;
        self.settle().await;
        let now = [self.list(&View::Now), self.read(&View::Now).await];
        let past = [self.list(&then), self.read(&then).await];
        for ((name, now), past) in ["list, an entry", "open, read 4 KiB, close"]
            .into_iter()
            .zip(now)
            .zip(past)
        {
            println!(
                "{name}: now {now:.2} us, then {past:.2} us: {:.2}",
                past / now
            );
        }
        drop(then);
        self.log();
        self.snapshots().await;
    }

    fn request<'a>(&'a self, path: &'a str, view: &View) -> OpenRequest<'a> {
        let access = AccessMask::FILE_READ;
        OpenRequest {
            access: if view.is_now() {
                access | AccessMask::FILE_WRITE
            } else {
                access
            },
            share_access: ShareAccess::ALL,
            disposition: Disposition::OpenIf,
            view: view.clone(),
            ..OpenRequest::new(&self.share, path)
        }
    }

    async fn write(&self, path: &str, fill: u8) {
        let request = self.request(path, &View::Now);
        let (handle, _) = self.vfs.open(&self.who, request).await.expect("an open");
        let written = self.vfs.write(&handle, 0, &[fill; 4_096]).await;
        written.expect("a write");
        self.vfs.close(&handle).await.expect("a close");
    }

    async fn write_files(&self, directory: &str, count: u32) {
        let mut request = self.request(directory, &View::Now);
        request.options.directory = true;
        let (handle, _) = self
            .vfs
            .open(&self.who, request)
            .await
            .expect("a directory");
        self.vfs.close(&handle).await.expect("a close");
        for n in 0..count {
            self.write(&format!("{directory}\\file {n}"), 1).await;
        }
    }

    /// Everything is durable, in the index, and an instant of its own.
    async fn settle(&self) {
        self.vfs.store().sync_all().await.expect("a sync");
        while self.vfs.store().status().overlay_rows > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.env.seconds.fetch_add(2, Ordering::Relaxed);
        self.write("a mark", 1).await;
        self.vfs.store().sync_all().await.expect("a sync");
    }

    fn newest(&self) -> View {
        let all = self
            .vfs
            .instants(&self.share, FileTime(0), FileTime(u64::MAX), usize::MAX)
            .expect("instants");
        let newest = all.last().expect("an instant");
        self.vfs.view_of(&self.share, *newest).expect("a view")
    }

    async fn change(&self) {
        for n in 0..CHANGES {
            let path = format!("looked at\\file {}", n % LOOKED_AT);
            self.write(&path, u8::try_from(2 + n % 200).unwrap_or(2))
                .await;
            if n % STEP.0 == STEP.0 - 1 {
                self.vfs.store().sync_all().await.expect("a sync");
                self.env
                    .seconds
                    .fetch_add(STEP.1.as_secs(), Ordering::Relaxed);
            }
        }
    }

    /// Microseconds an entry.
    fn list(&self, view: &View) -> f64 {
        let runtime = tokio::runtime::Handle::current();
        let mut request = self.request("looked at", view);
        request.disposition = Disposition::Open;
        request.options.directory = true;
        let opened =
            tokio::task::block_in_place(|| runtime.block_on(self.vfs.open(&self.who, request)));
        let (handle, _) = opened.expect("an open");
        median(TURNS, || {
            let (mut cursor, mut seen) = (DirCursor::default(), 0);
            let started = cpu_time();
            loop {
                let entries = self.vfs.list(&handle, &mut cursor, "*", 500);
                let entries = entries.expect("a listing");
                if entries.is_empty() {
                    break;
                }
                seen += u32::try_from(entries.len()).unwrap_or(0);
            }
            assert!(seen >= LOOKED_AT, "{seen} entries");
            (cpu_time() - started).as_secs_f64() * 1e6 / f64::from(seen)
        })
    }

    /// Microseconds a file.
    async fn read(&self, view: &View) -> f64 {
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            let started = cpu_time();
            for n in 0..LOOKED_AT {
                let path = format!("looked at\\file {n}");
                let mut request = self.request(&path, view);
                request.disposition = Disposition::Open;
                let (handle, _) = self.vfs.open(&self.who, request).await.expect("an open");
                let mut buffer = [0; 4_096];
                let read = self.vfs.read(&handle, 0, &mut buffer);
                assert_eq!(read.expect("a read"), 4_096);
                assert_eq!(view.is_now(), buffer[0] != 1, "{path}");
                self.vfs.close(&handle).await.expect("a close");
            }
            turns.push((cpu_time() - started).as_secs_f64() * 1e6 / f64::from(LOOKED_AT));
        }
        middle(turns)
    }

    fn log(&self) {
        let filter = LogFilter {
            max: 1_000,
            ..LogFilter::default()
        };
        let mut lines = 0;
        let taken = median(TURNS, || {
            let started = Instant::now();
            let found = self
                .vfs
                .history_log(&self.share, "looked at\\file 7", &filter);
            lines = found.expect("a log").len();
            started.elapsed().as_secs_f64() * 1e3
        });
        println!("log of one file, {lines} lines: {taken:.1} ms");
    }

    async fn snapshots(&self) {
        let (mut plain, mut snapshot) = (Vec::new(), Vec::new());
        for turn in 0..TURNS {
            self.write("a mark", 2).await;
            let started = Instant::now();
            self.vfs.store().sync_all().await.expect("a sync");
            plain.push(started.elapsed().as_secs_f64() * 1e3);
            self.write("a mark", 3).await;
            let started = Instant::now();
            let name = format!("s{turn}");
            let made = self.vfs.create_snapshot(&self.share, &name).await;
            made.expect("a snapshot");
            snapshot.push(started.elapsed().as_secs_f64() * 1e3);
        }
        println!(
            "a commit {:.1} ms, with a snapshot {:.1} ms",
            middle(plain),
            middle(snapshot)
        );
        self.change().await;
        let alone = self.stats(Duration::from_secs(2)).await;
        let (vfs, share) = (Arc::clone(&self.vfs), Arc::clone(&self.share));
        let deleting = tokio::spawn(async move {
            for turn in 0..TURNS {
                let deleted = vfs.delete_snapshot(&share, &format!("s{turn}")).await;
                deleted.expect("a deletion");
            }
        });
        let beside = self.stats(Duration::from_secs(2)).await;
        deleting.await.expect("the end of the deletions");
        println!("p99 of a stat: {alone:.0} us, while snapshots are deleted {beside:.0} us");
    }

    /// The 99th percentile, in microseconds of the clock.
    async fn stats(&self, span: Duration) -> f64 {
        let (mut taken, begun, mut n) = (Vec::new(), Instant::now(), 0);
        while begun.elapsed() < span {
            n = (n + 7) % LOOKED_AT;
            let path = format!("looked at\\file {n}");
            let mut request = self.request(&path, &View::Now);
            request.access = AccessMask::READ_ATTRIBUTES;
            let started = Instant::now();
            let (handle, _) = self.vfs.open(&self.who, request).await.expect("an open");
            self.vfs.stat(&handle).expect("a stat");
            self.vfs.close(&handle).await.expect("a close");
            taken.push(started.elapsed().as_secs_f64() * 1e6);
        }
        taken.sort_by(f64::total_cmp);
        taken.get(taken.len() * 99 / 100).copied().unwrap_or(0.0)
    }
}

fn median(turns: usize, mut turn: impl FnMut() -> f64) -> f64 {
    middle((0..turns).map(|_| turn()).collect())
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
