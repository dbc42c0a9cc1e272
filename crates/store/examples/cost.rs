//! What the store costs: CPU of the process for small creates with 4 KiB of data, for streamed writes and reads, each
//! counted until the index has caught up and nothing is left to do.
//!
//! `cargo run --release -p strongroom-store --example cost -- DIR [creates] [MiB]`

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom_device::{Device, Env, RealDevice, TokioEnv};
use strongroom_pool::{Layout, Pool};
use strongroom_store::{
    Aspect, HistoryOptions, Inode, ObjectId, SessionId, Store, StoreOptions, Table,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const NAMES: Table = Table(1);
const ATTRIBUTES: Table = Table(2);
const SESSION: SessionId = SessionId(1);

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("which directory?")?;
    let creates = arguments.next().map_or(Ok(20_000), |count| count.parse())?;
    let mib: u64 = arguments.next().map_or(Ok(1024), |count| count.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        for (name, inline_max, history) in [
            ("4 KiB in stripes", 2048, true),
            ("4 KiB in stripes, no history", 2048, false),
            ("4 KiB inline", 4096, true),
        ] {
            let options = StoreOptions {
                inline_max,
                history: history.then(HistoryOptions::default),
                ..StoreOptions::default()
            };
            let store = new_store(Path::new(&dir), options)?;
            create_files(name, &store, creates).await?;
            overwrite_attributes(name, &store, creates).await?;
            store.close().await?;
        }
        // Each in a new store, so that the page cache's memory was used before.
        for len in [1 << 20, 1 << 16] {
            let store = new_store(Path::new(&dir), StoreOptions::default())?;
            stream(&store, mib, len).await?;
            store.close().await?;
        }
        Ok(())
    })
}

fn new_store(dir: &Path, options: StoreOptions) -> Outcome<Arc<Store>> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::create_dir_all(dir)?;
    let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
    let device: Arc<dyn Device> = RealDevice::open(Arc::clone(&env), dir)?;
    let pool = Pool::create(Arc::clone(&env), vec![device], Layout::SINGLE)?;
    Ok(Store::create(env, pool, options)?)
}

/// User and system time of the process.
fn cpu() -> Outcome<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

struct Meter {
    name: String,
    cpu: Duration,
    start: Instant,
}

impl Meter {
    fn new(name: &str) -> Outcome<Self> {
        Ok(Self {
            name: name.to_owned(),
            cpu: cpu()?,
            start: Instant::now(),
        })
    }

    /// CPU in the foreground, then until nothing is left to do.
    async fn end(self, store: &Store, count: u64, unit: &str) -> Outcome<()> {
        let (front, wall) = (cpu()? - self.cpu, self.start.elapsed());
        while {
            let status = store.status();
            status.overlay_rows > 0 || status.dirty_bytes > 0
        } {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let all = cpu()? - self.cpu;
        println!(
            "{:<40} {:>8.1} us/{unit} foreground, {:>8.1} us/{unit} in all, {:>9.0} {unit}/s",
            self.name,
            front.as_secs_f64() * 1e6 / count as f64,
            all.as_secs_f64() * 1e6 / count as f64,
            count as f64 / wall.as_secs_f64()
        );
        Ok(())
    }
}

fn row_key(inode: Inode, name: &str) -> Vec<u8> {
    let mut key = inode.0.to_be_bytes().to_vec();
    key.extend_from_slice(name.as_bytes());
    key
}

async fn create_files(name: &str, store: &Store, count: u64) -> Outcome<()> {
    let meter = Meter::new(&format!("create and write, {name}"))?;
    let directory = store.allocate_inode(Inode(1));
    let data = vec![0x5a; 4096];
    for n in 0..count {
        store.throttle().await;
        let inode = store.allocate_inode(directory);
        let mut txn = store.txn(SESSION);
        txn.put(
            NAMES,
            row_key(directory, &format!("file-{n:08}.txt")),
            vec![1; 32],
        );
        txn.put(ATTRIBUTES, row_key(inode, ""), vec![2; 120]);
        txn.put(ATTRIBUTES, row_key(directory, ""), vec![3; 120]);
        txn.note(directory, Aspect::Name);
        txn.commit()?;
        store
            .write(SESSION, ObjectId::data(inode), 0, &data, None)
            .await?;
        let mut txn = store.txn(SESSION);
        txn.put(ATTRIBUTES, row_key(inode, ""), vec![4; 120]);
        txn.commit()?;
    }
    meter.end(store, count, "create").await
}

async fn overwrite_attributes(name: &str, store: &Store, count: u64) -> Outcome<()> {
    let meter = Meter::new(&format!("overwrite a row, {name}"))?;
    for n in 0..count {
        store.throttle().await;
        let mut txn = store.txn(SESSION);
        txn.put(ATTRIBUTES, row_key(Inode(1025 + n), ""), vec![5; 120]);
        txn.commit()?;
    }
    meter.end(store, count, "row").await
}

async fn stream(store: &Store, mib: u64, len: usize) -> Outcome<()> {
    let object = ObjectId::data(store.allocate_inode(Inode(1)));
    let mut chunk = vec![0x5a; len];
    let kib = len >> 10;
    let meter = Meter::new(&format!("write a stream, {kib} KiB each"))?;
    for n in 0..(mib << 20) / len as u64 {
        chunk[0] = (n & 0xff) as u8;
        store
            .write(SESSION, object, n * len as u64, &chunk, None)
            .await?;
    }
    store.sync(&[object]).await?;
    meter.end(store, mib, "MiB").await?;
    let meter = Meter::new(&format!("read it, {kib} KiB each"))?;
    for n in 0..(mib << 20) / len as u64 {
        let read = store.read(object, n * len as u64, &mut chunk)?;
        assert!(
            read == len && chunk[0] == (n & 0xff) as u8,
            "what was written is read"
        );
    }
    meter.end(store, mib, "MiB").await
}
