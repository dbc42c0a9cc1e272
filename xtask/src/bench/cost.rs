//! What compression and encryption cost: the same data written to and read from pools that differ in nothing else, turn by
//! turn, as ratios to a pool with neither. Data that compresses and data that does not are told apart.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use strongroom_device::{Device, Env, RealDevice, TokioEnv};
use strongroom_pool::crypt::KdfParams;
use strongroom_pool::{Layout, NewPassphrase, Pool};
use strongroom_store::{Compression, Inode, ObjectId, SessionId, Store, StoreOptions};

use super::pool::{cool, line, median};
use super::report::Line;
use crate::random::content;

const LAYOUT: Layout = Layout { data: 4, parity: 2 };
const PIECE: usize = 1 << 20;
const SESSION: SessionId = SessionId(1);
const PASSPHRASE: &[u8] = b"a passphrase of the benchmark";

/// One way to keep data.
#[derive(Debug, Clone, Copy)]
struct Way {
    name: &'static str,
    text: bool,
    compression: Compression,
    encrypted: bool,
}

const fn way(name: &'static str, text: bool, compression: Compression, encrypted: bool) -> Way {
    Way {
        name,
        text,
        compression,
        encrypted,
    }
}

/// Each with the number of the one that it is compared with.
const WAYS: [(Way, usize); 7] = [
    (way("text, off", true, Compression::Off, false), 0),
    (way("text, lz4", true, Compression::Lz4, false), 0),
    (way("text, zstd", true, Compression::Zstd, false), 0),
    (way("random bytes, off", false, Compression::Off, false), 3),
    (way("random bytes, lz4", false, Compression::Lz4, false), 3),
    (
        way("random bytes, zstd", false, Compression::Zstd, false),
        3,
    ),
    (
        way("random bytes, encrypted", false, Compression::Off, true),
        3,
    ),
];

/// Bytes a second, and what is stored of a byte.
#[derive(Debug, Clone, Copy)]
struct Rates {
    write: f64,
    read: f64,
    stored: f64,
}

type Pick = fn(&Rates) -> f64;

/// Lines of the report.
pub(super) async fn lines(place: &Path, bytes: u64, turns: usize) -> Result<Vec<Line>> {
    let mut all: Vec<Vec<Rates>> = WAYS.iter().map(|_| Vec::new()).collect();
    for turn in 0..turns {
        for step in 0..WAYS.len() {
            let number = (step + turn) % WAYS.len();
            let rates = measure(&place.join("cost"), WAYS[number].0, bytes).await?;
            all[number].push(rates);
        }
    }
    let of = |number: usize, pick: Pick| median(all[number].iter().map(pick).collect());
    let mut lines = Vec::new();
    for (number, (way, peer)) in WAYS.iter().enumerate() {
        let picks: [(&str, Pick); 2] =
            [("write", |rates| rates.write), ("read", |rates| rates.read)];
        for (what, pick) in picks {
            let ours = of(number, pick) / 1e6;
            let peer = (number != *peer).then(|| (of(*peer, pick) / 1e6, "off"));
            let name = format!("{what} 4+2, {}", way.name);
            lines.push(line(&name, "MB/s", "higher", ours, peer));
        }
        let stored = of(number, |rates| rates.stored);
        let name = format!("stored, {}", way.name);
        lines.push(line(&name, "of each byte", "lower", stored, None));
    }
    Ok(lines)
}

/// Words in an order that does not come again: about a third of it is left by the fast codecs.
fn text(seed: u64) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "invoice ",
        "of the ",
        "customer ",
        "amount ",
        "and ",
        "delivery ",
        "to ",
        "is due ",
        "before ",
        "payment ",
        "without ",
        "deduction ",
        "by ",
        "the end ",
        "of ",
        "month\n",
    ];
    let mut bytes = Vec::with_capacity(PIECE + 16);
    for byte in content(seed, PIECE) {
        if bytes.len() >= PIECE {
            break;
        }
        bytes.extend_from_slice(WORDS[usize::from(byte % 16)].as_bytes());
        if byte < 32 {
            bytes.extend_from_slice(format!("{}{} ", byte, seed).as_bytes());
        }
    }
    bytes.truncate(PIECE);
    bytes
}

async fn measure(place: &Path, way: Way, bytes: u64) -> Result<Rates> {
    let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
    let mut devices = Vec::new();
    for disk in 0..LAYOUT.width() {
        let path = place.join(format!("disk-{disk}"));
        fs::create_dir_all(&path)?;
        devices.push(RealDevice::open(Arc::clone(&env), &path)? as Arc<dyn Device>);
    }
    let new = NewPassphrase::new(PASSPHRASE, KdfParams::default())?;
    let new = way.encrypted.then_some(&new);
    let pool = Pool::create_with(Arc::clone(&env), devices, LAYOUT, new)?;
    let store = Store::create(env, pool, StoreOptions::default())?;
    let object = ObjectId::data(store.allocate_inode(Inode(1)));
    let pieces: Vec<Vec<u8>> = (0..16)
        .map(|seed| {
            if way.text {
                text(seed)
            } else {
                content(seed, PIECE)
            }
        })
        .collect();
    let of = |number: u64| &pieces[usize::try_from(number % 16).unwrap_or(0)];
    cool();
    let start = Instant::now();
    for number in 0..bytes / PIECE as u64 {
        let (at, how) = (number * PIECE as u64, way.compression);
        let written = store.write_compressed(SESSION, object, at, of(number), None, how);
        written.await?;
    }
    store.sync(&[object]).await?;
    let write = bytes as f64 / start.elapsed().as_secs_f64();
    cool();
    let mut buffer = vec![0; PIECE];
    let start = Instant::now();
    for number in 0..bytes / PIECE as u64 {
        store.read(object, number * PIECE as u64, &mut buffer)?;
    }
    let read = bytes as f64 / start.elapsed().as_secs_f64();
    ensure!(
        buffer == *of(bytes / PIECE as u64 - 1),
        "other bytes were read"
    );
    store.close().await?;
    let space = store.space()?;
    let stored = space.stored as f64 / space.uncompressed.max(1) as f64;
    drop(store);
    fs::remove_dir_all(place)?;
    Ok(Rates {
        write,
        read,
        stored,
    })
}
