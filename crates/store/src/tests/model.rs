//! A mixed workload from a seed, and a model of what must survive it.

use std::collections::BTreeMap;

use strongroom_device::sim::Rng;

use super::{ROWS, SESSION, World, key, object, read_all, repeat};
use crate::{CloneRange, Compression, Result, Store};

/// Names that the workload uses.
const NAMES: usize = 24;
const OBJECTS: u64 = 6;
const DIRECTORY: u64 = 2000;
const FIRST_OBJECT: u64 = 3000;

/// The namespace after each transaction, and each object's content after each change of it.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Row states after 0, 1, 2, … transactions.
    rows: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Transactions that a finished sync covers.
    rows_synced: usize,
    data: BTreeMap<u64, Vec<Vec<u8>>>,
    data_synced: BTreeMap<u64, usize>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let data = (0..OBJECTS)
            .map(|n| (FIRST_OBJECT + n, vec![Vec::new()]))
            .collect();
        Self {
            rows: vec![BTreeMap::new()],
            data,
            ..Self::default()
        }
    }

    fn newest_rows(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        self.rows.last().unwrap()
    }

    /// The store now: exactly the newest state.
    pub(crate) fn assert_newest(&self, store: &Store) {
        assert_eq!(&scan(store).unwrap(), self.newest_rows());
        for (inode, states) in &self.data {
            let read = read_all(store, object(*inode)).unwrap();
            assert!(
                &read == states.last().unwrap(),
                "object {inode} differs in memory"
            );
        }
    }

    /// The store after a crash: each acknowledged sync is whole, rows are a state that was, and so is each object.
    /// Returns what is wrong.
    pub(crate) fn check(&self, store: &Store) -> Result<(), String> {
        let found = scan(store).map_err(|error| error.to_string())?;
        if !self.rows[self.rows_synced..].contains(&found) {
            return Err(format!("rows are no state from {} on", self.rows_synced));
        }
        for (inode, states) in &self.data {
            let read = read_all(store, object(*inode)).map_err(|error| error.to_string())?;
            let synced = self.data_synced.get(inode).copied().unwrap_or(0);
            if !states[synced..].contains(&read) {
                return Err(format!("object {inode} is no state from {synced} on"));
            }
        }
        Ok(())
    }

    /// What was found is the truth from here on.
    pub(crate) fn adopt(&mut self, store: &Store) {
        self.rows = vec![scan(store).unwrap()];
        self.rows_synced = 0;
        for (inode, states) in &mut self.data {
            *states = vec![read_all(store, object(*inode)).unwrap()];
        }
        self.data_synced.clear();
    }

    fn note_synced(&mut self, rows: usize, data: &BTreeMap<u64, usize>) {
        self.rows_synced = self.rows_synced.max(rows);
        for (inode, at) in data {
            let synced = self.data_synced.entry(*inode).or_default();
            *synced = (*synced).max(*at);
        }
    }
}

fn scan(store: &Store) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let rows = store.scan(
        ROWS,
        &key(DIRECTORY, ""),
        &key(DIRECTORY + 1, ""),
        usize::MAX,
    )?;
    Ok(rows
        .into_iter()
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect())
}

/// Runs `steps` steps, until the first error (the power went). Time passes between them.
pub(crate) fn run(world: &World, store: &Store, model: &mut Model, rng: &mut Rng, steps: usize) {
    for _ in 0..steps {
        if step(world, store, model, rng).is_err() {
            return;
        }
    }
}

fn step(world: &World, store: &Store, model: &mut Model, rng: &mut Rng) -> Result<()> {
    match rng.below(22) {
        0..=6 => change_rows(store, model, rng),
        7..=11 => write(world, store, model, rng),
        12 => truncate(world, store, model, rng),
        13 => zero(world, store, model, rng),
        14..=16 => sync(world, store, model, rng),
        17 => sync_all(world, store, model),
        18 | 19 => clone(world, store, model, rng),
        _ => {
            let pause = std::time::Duration::from_millis([50, 900, 3000][rng.below(3)]);
            world.env.advance(pause);
            Ok(())
        }
    }
}

fn change_rows(store: &Store, model: &mut Model, rng: &mut Rng) -> Result<()> {
    let mut rows = model.newest_rows().clone();
    let mut txn = store.txn(SESSION);
    for _ in 0..=rng.below(3) {
        let key = key(DIRECTORY, &format!("name{}", rng.below(NAMES)));
        if rng.below(3) == 0 {
            rows.remove(&key);
            txn.delete(ROWS, key);
        } else {
            let mut value = vec![0; rng.below(200)];
            rng.fill(&mut value);
            rows.insert(key.clone(), value.clone());
            txn.put(ROWS, key, value);
        }
    }
    model.rows.push(rows);
    txn.commit().map(|_| ())
}

fn pick(model: &Model, rng: &mut Rng) -> (u64, Vec<u8>) {
    let inode = FIRST_OBJECT + rng.below(OBJECTS as usize) as u64;
    (inode, model.data[&inode].last().unwrap().clone())
}

fn push(model: &mut Model, inode: u64, state: Vec<u8>) {
    model.data.get_mut(&inode).unwrap().push(state);
}

fn write(world: &World, store: &Store, model: &mut Model, rng: &mut Rng) -> Result<()> {
    let (inode, mut state) = pick(model, rng);
    let len = match rng.below(8) {
        0 => 300_000 + rng.below(400_000),
        1 | 2 => 1 + rng.below(60_000),
        _ => 1 + rng.below(3000),
    };
    let offset = match rng.below(3) {
        0 => rng.below(state.len() + 1),
        1 => state.len(),
        _ => (rng.below(state.len() + 9000)).min(1 << 21),
    };
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    let compression = match inode % 3 {
        0 => Compression::Off,
        1 => Compression::Lz4,
        _ => Compression::Zstd,
    };
    if compression != Compression::Off {
        repeat(&mut bytes);
    }
    if state.len() < offset + len {
        state.resize(offset + len, 0);
    }
    state[offset..offset + len].copy_from_slice(&bytes);
    push(model, inode, state);
    let (id, offset) = (object(inode), offset as u64);
    let written = store.write_compressed(SESSION, id, offset, &bytes, None, compression);
    world.block_on(written)
}

fn truncate(world: &World, store: &Store, model: &mut Model, rng: &mut Rng) -> Result<()> {
    let (inode, mut state) = pick(model, rng);
    let size = match rng.below(4) {
        0 => 0,
        1 => state.len() + rng.below(10_000),
        _ => rng.below(state.len() + 1),
    };
    state.resize(size, 0);
    push(model, inode, state);
    world.block_on(store.truncate(SESSION, object(inode), size as u64, None))
}

fn zero(world: &World, store: &Store, model: &mut Model, rng: &mut Rng) -> Result<()> {
    let (inode, mut state) = pick(model, rng);
    let start = rng.below(state.len() + 1);
    let len = rng.below(50_000);
    let end = (start + len).min(state.len());
    state[start..end].fill(0);
    push(model, inode, state);
    world.block_on(store.zero(SESSION, object(inode), start as u64, len as u64, None))
}

/// A clone goes as far as the store takes it, and is whole from then on.
fn clone(world: &World, store: &Store, model: &mut Model, rng: &mut Rng) -> Result<()> {
    let (source, bytes) = pick(model, rng);
    let (target, mut state) = pick(model, rng);
    let from = rng.below(bytes.len() + 1);
    let len = rng.below(bytes.len() - from + 1);
    let to = rng.below(state.len() + 9000);
    if source == target && from < to + len && to < from + len {
        return Ok(());
    }
    let range = CloneRange {
        source: object(source),
        from: from as u64,
        to: to as u64,
        len: len as u64,
    };
    let cloned = world.block_on(store.clone_range(SESSION, object(target), range, None))?;
    let cloned = usize::try_from(cloned).unwrap();
    if cloned > 0 {
        let end = to + cloned;
        state.resize(state.len().max(end), 0);
        state[to..end].copy_from_slice(&bytes[from..from + cloned]);
        push(model, target, state);
    }
    Ok(())
}

fn sync(world: &World, store: &Store, model: &mut Model, rng: &mut Rng) -> Result<()> {
    let mut objects = Vec::new();
    let mut at = BTreeMap::new();
    for _ in 0..rng.below(3) {
        let (inode, _) = pick(model, rng);
        objects.push(object(inode));
        at.insert(inode, model.data[&inode].len() - 1);
    }
    let rows = model.rows.len() - 1;
    world.block_on(store.sync(&objects))?;
    model.note_synced(rows, &at);
    Ok(())
}

fn sync_all(world: &World, store: &Store, model: &mut Model) -> Result<()> {
    let at = model
        .data
        .iter()
        .map(|(inode, states)| (*inode, states.len() - 1))
        .collect();
    let rows = model.rows.len() - 1;
    world.block_on(store.sync_all())?;
    model.note_synced(rows, &at);
    Ok(())
}
