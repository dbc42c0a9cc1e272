//! The pool on real directories and on simulated disks.

mod basics;
mod changes;
mod check;
mod damage;
mod encryption;
mod layouts;
mod mirrors;
mod power;
mod races;
mod rebuild;
mod recall;
mod refusals;
mod rescue;
mod review;
mod scrub;

use std::sync::Arc;

use strongroom_device::sim::{SimDevice, SimEnv};
use strongroom_device::{Device, Env};

use crate::{Address, ExtentTag, Lane, Layout, Pool, PoolError, Result, Txg, UpkeepStep};

/// Disks `disk0`, `disk1`, … on their own failure domains.
pub(crate) fn disks(env: &Arc<SimEnv>, count: usize) -> Vec<Arc<SimDevice>> {
    (0..count)
        .map(|n| SimDevice::new(env, &format!("disk{n}"), n as u64))
        .collect()
}

pub(crate) fn as_devices(disks: &[Arc<SimDevice>]) -> Vec<Arc<dyn Device>> {
    disks
        .iter()
        .map(|disk| Arc::clone(disk) as Arc<dyn Device>)
        .collect()
}

pub(crate) fn as_env(env: &Arc<SimEnv>) -> Arc<dyn Env> {
    Arc::clone(env) as Arc<dyn Env>
}

pub(crate) const THREE_WAY: Layout = Layout { data: 1, parity: 2 };

/// A pool with an epoch begun.
pub(crate) fn new_pool(env: &Arc<SimEnv>, disks: &[Arc<SimDevice>], layout: Layout) -> Arc<Pool> {
    let pool = Pool::create(as_env(env), as_devices(disks), layout).unwrap();
    pool.begin_epoch(Txg(0), &[]).unwrap();
    pool
}

pub(crate) fn open(env: &Arc<SimEnv>, disks: &[Arc<SimDevice>]) -> Result<Arc<Pool>> {
    Pool::open(as_env(env), as_devices(disks))
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    strongroom_device::sim::Rng::new(seed).fill(&mut bytes);
    bytes
}

pub(crate) fn tag(inode: u64, len: usize) -> ExtentTag {
    ExtentTag {
        inode,
        stream: 0,
        offset: 0,
        len: u32::try_from(len).unwrap(),
        txg: Txg(1),
        packing: 0,
    }
}

pub(crate) fn append_one(pool: &Pool, inode: u64, bytes: &[u8]) -> Result<Address> {
    let slices: &[&[u8]] = &[bytes];
    let addresses = pool.append(Lane::Small, Txg(1), &[(tag(inode, bytes.len()), slices)])?;
    Ok(addresses[0])
}

pub(crate) fn append_synced(pool: &Pool, inode: u64, bytes: &[u8]) -> Result<Address> {
    let address = append_one(pool, inode, bytes)?;
    pool.sync_segments(&[address.segment])?;
    Ok(address)
}

pub(crate) fn read(pool: &Pool, address: Address, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0xAA; len];
    pool.read(address, 0, &mut bytes)?;
    Ok(bytes)
}

/// The path of the only shard file on a disk.
pub(crate) fn shard_file(disk: &SimDevice) -> String {
    let mut shards = disk
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("segments/"));
    shards.next().unwrap()
}

pub(crate) fn is_corrupt<T>(result: &Result<T>) -> bool {
    matches!(result, Err(PoolError::Corrupt { .. }))
}
