//! What creates and overwrites cost the feeder, with and without history. Run it by hand:
//! `cargo test --release -p strongroom-store feed::measure -- --ignored --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a measurement"
)]

use std::sync::Arc;

use bytes::Bytes;
use strongroom_device::sim::Rng;
use strongroom_device::{Device, Env, RealDevice, Timestamp, TokioEnv};
use strongroom_pool::{Address, SegmentId, Txg};

use super::{FeedOptions, RowChain, Run, TxgInfo, Version, feed};
use crate::index::{IndexOptions, PageHome, RedbIndex};
use crate::rows::{EXTENTS, ExtentRow, HEADS, HeadRow, extent_key, object_key};
use crate::{DataHead, Inode, ObjectId, SessionId, Table};

const GROUP: u64 = 10_000;
const FILES: u64 = 400_000;
const ROUNDS: u64 = 40;

fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

type Rows = Vec<(Table, Vec<u8>, [Version; 1])>;

fn put(rows: &mut Rows, txg: u64, table: Table, key: Vec<u8>, value: Vec<u8>) {
    let version = Version {
        txg: Txg(txg),
        session: SessionId(7),
        value: Some(Bytes::from(value)),
    };
    rows.push((table, key, [version]));
}

fn data_rows(rows: &mut Rows, txg: u64, file: u64) {
    let object = ObjectId::data(Inode((1 << 20) | file));
    let head = HeadRow {
        head: DataHead {
            size: 8192,
            allocated: 8192,
            mtime: Timestamp(txg << 30),
        },
        inline: false,
        logged: false,
        held: 8192,
    };
    put(rows, txg, HEADS, object_key(object).to_vec(), head.encode());
    let address = Address {
        segment: SegmentId(txg >> 4),
        stripe: (txg as u32 & 15) * 300,
        offset: (file as u32 % 128) * 8192,
    };
    // Addresses of one group and file are unique: the stripe tells the group and a part of the file's number.
    let address = Address {
        stripe: address.stripe * 1000 + (file / 128) as u32 % 1000,
        ..address
    };
    let address = Address {
        segment: SegmentId((txg << 32) | (file / 128_000)),
        ..address
    };
    let extent = ExtentRow {
        address,
        start: 0,
        len: 8192,
        whole: 8192,
        packing: None,
        fresh: true,
    };
    put(
        rows,
        txg,
        EXTENTS,
        extent_key(object, 0).to_vec(),
        extent.encode(),
    );
    put(
        rows,
        txg,
        Table(2),
        ((1_u64 << 20) | file).to_be_bytes().to_vec(),
        vec![txg as u8; 96],
    );
}

fn name_row(rows: &mut Rows, txg: u64, file: u64) {
    let mut key = (file / 1000).to_be_bytes().to_vec();
    key.extend_from_slice(format!("file-{file:07}.dat").as_bytes());
    put(
        rows,
        txg,
        Table(1),
        key,
        ((1_u64 << 20) | file).to_be_bytes().to_vec(),
    );
}

fn feed_rows(index: &RedbIndex, options: FeedOptions, txg: u64, mut rows: Rows) {
    rows.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    rows.dedup_by(|a, b| (a.0, &a.1) == (b.0, &b.1));
    let chains: Vec<_> = rows
        .iter()
        .map(|(table, key, versions)| RowChain {
            table: *table,
            key,
            versions,
        })
        .collect();
    let group = TxgInfo {
        txg: Txg(txg),
        time: Timestamp(txg * 1_000_000_000),
        changes: &[],
    };
    feed(
        index,
        options,
        &Run {
            rows: &chains,
            txgs: &[group],
            dead: &[],
        },
    )
    .unwrap();
}

fn measure(name: &str, options: FeedOptions) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let env: Arc<dyn Env> = Arc::new(TokioEnv::new(runtime.handle().clone()));
    let device: Arc<dyn Device> = RealDevice::open(Arc::clone(&env), dir.path()).unwrap();
    let homes = (0..2)
        .map(|n| PageHome {
            device: Arc::clone(&device),
            dir: format!("index/{n}"),
        })
        .collect();
    let index = RedbIndex::create(
        env,
        homes,
        Arc::new(|_, _| true),
        IndexOptions {
            cipher: None,
            cache: 512 << 20,
            readers: 0,
        },
    )
    .unwrap();
    let mut txg = 0;
    let mut run = |count: u64, random: Option<&mut Rng>, names: bool| {
        txg += 1;
        let mut rows = Rows::new();
        let mut rng = random;
        for n in 0..count {
            let file = rng.as_mut().map_or((txg - 1) * GROUP + n, |rng| {
                rng.below(FILES as usize) as u64
            });
            data_rows(&mut rows, txg, file);
            if names {
                name_row(&mut rows, txg, file);
            }
        }
        let start = cpu_ns();
        feed_rows(&index, options, txg, rows);
        cpu_ns() - start
    };
    let create: u64 = (0..FILES / GROUP).map(|_| run(GROUP, None, true)).sum();
    let mut rng = Rng::new(1);
    let random: u64 = (0..ROUNDS).map(|_| run(GROUP, Some(&mut rng), false)).sum();
    println!(
        "{name:16} create {:6.2} us, random overwrite {:6.2} us, file {} MiB",
        create as f64 / 1000.0 / FILES as f64,
        random as f64 / 1000.0 / (ROUNDS * GROUP) as f64,
        super::Index::status(&index as &RedbIndex).bytes >> 20,
    );
}

#[test]
#[ignore = "a measurement of a minute, for release builds"]
fn history_key_order() {
    for _ in 0..2 {
        measure("off", FeedOptions { history: false });
        measure("key, txg", FeedOptions { history: true });
    }
}
