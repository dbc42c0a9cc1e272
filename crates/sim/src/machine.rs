//! The machine: its disks, and what runs on them.

use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_device::sim::{Injection, Rng, SimDevice, SimEnv};
use strongroom_device::{Device, DeviceError, Env, takes_writes};
use strongroom_pool::crypt::KdfParams;
use strongroom_pool::{Layout, NewPassphrase, OpenOptions, Planted, Pool, Reopen};
use strongroom_store::{Compression, Store, StoreOptions};
use strongroom_vfs::{NewShare, Share, Vfs};

use crate::plan::{Plan, Trouble};

/// The name of the share that clients work in.
const SHARE: &str = "files";

pub(crate) struct Machine {
    pub(crate) env: Arc<SimEnv>,
    pub(crate) disks: Vec<Arc<SimDevice>>,
    pub(crate) options: StoreOptions,
    pub(crate) layout: Layout,
    pub(crate) compression: Compression,
    pub(crate) encrypted: bool,
    /// Disks that are not given to the pool.
    pub(crate) absent: Vec<usize>,
    /// Bugs planted in the pool.
    pub(crate) planted: Planted,
    /// Disks that were opened anew while the program ran.
    pub(crate) bays: Arc<Bays>,
}

/// Where the program opens disks anew that it set aside.
#[derive(Debug)]
pub(crate) struct Bays {
    disks: Mutex<Vec<Arc<SimDevice>>>,
    rng: Mutex<Rng>,
}

impl Bays {
    pub(crate) fn new(disks: &[Arc<SimDevice>], rng: Rng) -> Arc<Self> {
        Arc::new(Self {
            disks: Mutex::new(disks.to_vec()),
            rng: Mutex::new(rng),
        })
    }
}

impl Reopen for Bays {
    fn reopen(&self, name: &str) -> Result<Arc<dyn Device>, DeviceError> {
        let mut disks = self.disks.lock();
        let found = disks.iter_mut().find(|disk| disk.name() == name);
        let slot = found.expect("it was given to the pool");
        takes_writes(&**slot)?;
        *slot = slot.reattach(self.rng.lock().chance(50));
        Ok(Arc::clone(slot) as Arc<dyn Device>)
    }
}

/// The running program.
pub(crate) struct Stack {
    pub(crate) pool: Arc<Pool>,
    pub(crate) store: Arc<Store>,
    pub(crate) vfs: Arc<Vfs>,
    pub(crate) share: Arc<Share>,
}

const PASSPHRASE: &[u8] = b"a passphrase of the simulator";

fn passphrase() -> NewPassphrase {
    let cheap = KdfParams {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    NewPassphrase::new(PASSPHRASE, cheap).unwrap()
}

impl Machine {
    pub(crate) fn new(seed: u64, plan: &Plan, options: StoreOptions) -> Self {
        let env = SimEnv::new(seed);
        let disk = |n| SimDevice::new(&env, &format!("disk{n}"), n as u64);
        let disks: Vec<_> = (0..plan.disks).map(disk).collect();
        Self {
            bays: Bays::new(&disks, env.fork_rng()),
            env,
            disks,
            options,
            layout: plan.layout,
            compression: plan.compression,
            encrypted: plan.encrypted,
            absent: Vec::new(),
            planted: Planted::default(),
        }
    }

    pub(crate) fn env(&self) -> Arc<dyn Env> {
        Arc::clone(&self.env) as Arc<dyn Env>
    }

    fn devices(&self) -> Vec<Arc<dyn Device>> {
        let there = self.disks.iter().enumerate();
        let there = there.filter(|(index, _)| !self.absent.contains(index));
        there
            .map(|(_, disk)| Arc::clone(disk) as Arc<dyn Device>)
            .collect()
    }

    pub(crate) fn create(&self) -> Stack {
        let new = self.encrypted.then(passphrase);
        let pool = Pool::create_with(self.env(), self.devices(), self.layout, new.as_ref());
        let pool = pool.unwrap();
        let store = Store::create(self.env(), Arc::clone(&pool), self.options.clone()).unwrap();
        let vfs = Vfs::create(Arc::clone(&store), self.env()).unwrap();
        let name = SHARE.into();
        let share = vfs
            .add_share(NewShare {
                name,
                compression: self.compression,
                ..NewShare::default()
            })
            .unwrap();
        Stack {
            pool,
            store,
            vfs,
            share,
        }
    }

    /// Starts the program on the disks as they are.
    pub(crate) fn open(&self) -> Result<Stack, String> {
        let options = OpenOptions {
            planted: self.planted,
            ..OpenOptions::default()
        };
        let pool = Pool::open_with(self.env(), self.devices(), options);
        let pool = pool.map_err(|error| error.to_string())?;
        pool.set_reopen(Arc::clone(&self.bays) as Arc<dyn Reopen>);
        pool.unlock(PASSPHRASE).map_err(|error| error.to_string())?;
        let store = Store::open(self.env(), Arc::clone(&pool), self.options.clone());
        let store = store.map_err(|error| error.to_string())?;
        let vfs = Vfs::open_store(Arc::clone(&store), self.env());
        let vfs = vfs.map_err(|error| error.to_string())?;
        let share = vfs.share(SHARE).ok_or("the share is gone")?;
        Ok(Stack {
            pool,
            store,
            vfs,
            share,
        })
    }

    /// The disks as they are found after the power failed or the program died.
    pub(crate) fn restart(&mut self) {
        self.env.kill_tasks();
        let mut there = self.bays.disks.lock();
        for (disk, there) in self.disks.iter_mut().zip(&mut *there) {
            *disk = there.reopen();
            *there = Arc::clone(disk);
        }
    }

    /// Brings the troubles of a life to the victim's disk.
    pub(crate) fn trouble(&mut self, victim: usize, troubles: &[Trouble], rng: &mut Rng) {
        for trouble in troubles {
            let disk = &self.disks[victim];
            match trouble {
                Trouble::Inject {
                    operation,
                    path,
                    skip,
                    times,
                    fault,
                } => disk.inject(Injection {
                    operation: *operation,
                    path: (*path).to_owned(),
                    skip: *skip,
                    times: *times,
                    fault: *fault,
                }),
                Trouble::Full { left } => {
                    let space = disk.space().unwrap();
                    disk.set_capacity(space.total - space.free + left);
                }
                Trouble::Lying => disk.set_lying(true),
                Trouble::Rot { path, flips } => rot(disk, path, *flips, rng),
                Trouble::Absent => self.absent.push(victim),
            }
        }
    }

    /// Full disks have room again, and those that were away are back.
    pub(crate) fn relieve(&mut self) {
        self.absent.clear();
        for disk in &*self.bays.disks.lock() {
            disk.set_capacity(1 << 40);
        }
    }
}

fn rot(disk: &SimDevice, part: &str, flips: usize, rng: &mut Rng) {
    let paths: Vec<String> = disk.paths();
    let paths: Vec<_> = paths.iter().filter(|path| path.contains(part)).collect();
    if paths.is_empty() {
        return;
    }
    for _ in 0..flips {
        let path = paths[rng.below(paths.len())];
        let len = disk.contents(path).map_or(0, |bytes| bytes.len());
        if len > 0 {
            let offset = rng.below(len) as u64;
            disk.flip(path, offset, 1 << rng.below(8));
        }
    }
}
