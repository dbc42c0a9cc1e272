//! The whole store on simulated disks, and on real directories where that matters.

#![allow(
    clippy::cast_possible_truncation,
    reason = "tests count in small numbers"
)]

mod basics;
mod clones;
mod compressed;
mod disks;
mod encrypted;
mod limits;
mod members;
mod model;
mod past;
mod power;
mod rot;
mod space;

use std::collections::HashMap;
use std::sync::Arc;

use strongroom_device::sim::{Rng, SimDevice, SimEnv};
use strongroom_device::{Device, Env};
use strongroom_pool::crypt::KdfParams;
use strongroom_pool::{Layout, NewPassphrase, Pool};

use crate::data::Object;
use crate::engine::Engine;
use crate::{Inode, ObjectId, Result, SessionId, Store, StoreOptions, Table};

pub(crate) const ROWS: Table = Table(1);
pub(crate) const SESSION: SessionId = SessionId(7);

/// A machine with simulated disks.
pub(crate) struct World {
    pub(crate) env: Arc<SimEnv>,
    pub(crate) disks: Vec<Arc<SimDevice>>,
    pub(crate) options: StoreOptions,
    /// Pools made here are encrypted.
    pub(crate) encrypted: bool,
}

const PASSPHRASE: &[u8] = b"a passphrase of tests";

fn passphrase() -> NewPassphrase {
    let cheap = KdfParams {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    NewPassphrase::new(PASSPHRASE, cheap).unwrap()
}

/// Small files and buffers, so that tests reach their limits.
pub(crate) fn small_options() -> StoreOptions {
    StoreOptions {
        index_cache: 4 << 20,
        index_readers: 0,
        log_file: 1 << 20,
        log_files_max: 8,
        ..StoreOptions::default()
    }
}

impl World {
    pub(crate) fn new(seed: u64, disks: usize) -> Self {
        let env = SimEnv::new(seed);
        let disk = |n| SimDevice::new(&env, &format!("disk{n}"), n as u64);
        let disks = (0..disks).map(disk).collect();
        Self {
            env,
            disks,
            options: small_options(),
            // Every other one, so that all that is tested is tested with encryption, too.
            encrypted: seed % 2 == 1,
        }
    }

    /// The same world for other disks.
    pub(crate) fn same(&self) -> Self {
        let (env, options) = (Arc::clone(&self.env), self.options.clone());
        Self {
            env,
            disks: Vec::new(),
            options,
            encrypted: self.encrypted,
        }
    }

    pub(crate) fn env(&self) -> Arc<dyn Env> {
        Arc::clone(&self.env) as Arc<dyn Env>
    }

    pub(crate) fn devices(&self) -> Vec<Arc<dyn Device>> {
        self.disks
            .iter()
            .map(|disk| Arc::clone(disk) as Arc<dyn Device>)
            .collect()
    }

    pub(crate) fn create(&self) -> Arc<Store> {
        self.try_create().unwrap()
    }

    pub(crate) fn try_create(&self) -> Result<Arc<Store>> {
        let layout = if self.disks.len() == 1 {
            Layout::SINGLE
        } else {
            Layout::MIRROR
        };
        let new = self.encrypted.then(passphrase);
        let pool = Pool::create_with(self.env(), self.devices(), layout, new.as_ref())?;
        Store::create(self.env(), pool, self.options.clone())
    }

    pub(crate) fn open(&self) -> Result<Arc<Store>> {
        let pool = Pool::open(self.env(), self.devices())?;
        pool.unlock(PASSPHRASE)?;
        Store::open(self.env(), pool, self.options.clone())
    }

    /// The power fails; what was not synced is lost, torn or reordered.
    pub(crate) fn crash(&mut self, store: Arc<Store>) {
        self.env.cut_power();
        self.env.kill_tasks();
        drop(store);
        self.disks = self.disks.iter().map(|disk| disk.reopen()).collect();
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.env.block_on(future)
    }

    pub(crate) fn write(&self, store: &Store, inode: u64, offset: u64, bytes: &[u8]) {
        let written = store.write(SESSION, object(inode), offset, bytes, None);
        self.block_on(written).unwrap();
    }

    pub(crate) fn put(&self, store: &Store, key: &[u8], value: &[u8]) {
        let mut txn = store.txn(SESSION);
        txn.put(ROWS, key, value.to_vec());
        txn.commit().unwrap();
    }
}

/// A pool that is encrypted and unlocked.
pub(crate) fn encrypted_pool() -> Arc<Pool> {
    let world = World::new(1, 1);
    let new = passphrase();
    Pool::create_with(world.env(), world.devices(), Layout::SINGLE, Some(&new)).unwrap()
}

/// A row's key under an inode.
pub(crate) fn key(inode: u64, name: &str) -> Vec<u8> {
    let mut key = inode.to_be_bytes().to_vec();
    key.extend_from_slice(name.as_bytes());
    key
}

pub(crate) fn object(inode: u64) -> ObjectId {
    ObjectId::data(Inode(inode))
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::new(seed).fill(&mut bytes);
    bytes
}

/// Makes bytes compress to a third or less: of each 600 the first 100 come again and again.
pub(crate) fn repeat(bytes: &mut [u8]) {
    for block in bytes.chunks_mut(600) {
        for at in 100..block.len() {
            block[at] = block[at - 100];
        }
    }
}

/// Seals these objects and brings all of their bytes into segments.
pub(crate) fn flush(engine: &Engine, objects: &[Arc<Object>]) -> Vec<Arc<Object>> {
    let mut failures = HashMap::new();
    let sealed = engine.flush_objects(objects, &mut failures);
    assert!(failures.is_empty(), "{failures:?}");
    sealed
}

pub(crate) fn read_all(store: &Store, object: ObjectId) -> Result<Vec<u8>> {
    let size = usize::try_from(store.head(object)?.size).unwrap();
    let mut bytes = vec![0xaa; size];
    let read = store.read(object, 0, &mut bytes)?;
    assert_eq!(read, size);
    Ok(bytes)
}
