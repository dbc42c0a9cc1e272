//! The file system on a real store over simulated disks.

mod alarms;
mod apple;
mod copies;
mod crash;
mod creates;
mod data;
mod held;
mod lists;
mod locks;
mod model;
mod outlived;
mod past;
mod persistent;
mod posix;
mod quotas;
mod renames;
mod rewinds;
mod secured;
mod shares;
mod snapshots;
mod threads;
mod undone;
mod watches;

use std::sync::Arc;

use strongroom_device::sim::{SimDevice, SimEnv};
use strongroom_device::{Device, Env};
use strongroom_pool::{Layout, Pool};
use strongroom_store::{Store, StoreOptions};

use crate::{
    AccessMask, CreateAction, CreateOptions, Credentials, DirCursor, Disposition, Handle, NewShare,
    OpenRequest, Opened, Result, SessionId, Share, ShareAccess, Sid, Vfs, VfsError,
};

/// A machine with one simulated disk, a pool, a file system and a share.
pub(crate) struct World {
    pub(crate) env: Arc<SimEnv>,
    pub(crate) disk: Arc<SimDevice>,
    pub(crate) vfs: Arc<Vfs>,
    pub(crate) share: Arc<Share>,
}

pub(crate) fn options() -> StoreOptions {
    StoreOptions {
        index_cache: 8 << 20,
        index_readers: 0,
        log_file: 1 << 20,
        log_files_max: 8,
        ..StoreOptions::default()
    }
}

pub(crate) fn user(rid: u32) -> Credentials {
    let domain = Sid::machine([1, 2, 3]);
    let user = domain.with_rid(rid).unwrap();
    Credentials {
        user,
        primary_group: domain.with_rid(513).unwrap(),
        groups: vec![
            domain.with_rid(513).unwrap(),
            Sid::EVERYONE,
            Sid::AUTHENTICATED_USERS,
            Sid::USERS,
        ],
        admin: false,
        session: SessionId(u64::from(rid)),
    }
}

pub(crate) fn admin() -> Credentials {
    let mut admin = user(500);
    admin.groups.push(Sid::ADMINISTRATORS);
    admin.admin = true;
    admin
}

/// Opens or makes, for everything, sharing everything.
pub(crate) fn all(share: &Share) -> OpenRequest<'_> {
    OpenRequest {
        access: AccessMask::FILE_READ | AccessMask::FILE_WRITE | AccessMask::DELETE,
        share_access: ShareAccess::ALL,
        disposition: Disposition::OpenIf,
        ..OpenRequest::new(share, "")
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, options())
    }

    pub(crate) fn with(seed: u64, options: StoreOptions) -> Self {
        let env = SimEnv::new(seed);
        let disk = SimDevice::new(&env, "disk0", 0);
        let as_env = || Arc::clone(&env) as Arc<dyn Env>;
        let devices = vec![Arc::clone(&disk) as Arc<dyn Device>];
        let pool = Pool::create(as_env(), devices, Layout::SINGLE).unwrap();
        let store = Store::create(as_env(), pool, options).unwrap();
        let vfs = Vfs::create(store, as_env()).unwrap();
        let share = vfs
            .add_share(NewShare {
                name: "files".into(),
                ..NewShare::default()
            })
            .unwrap();
        Self {
            env,
            disk,
            vfs,
            share,
        }
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.env.block_on(future)
    }

    /// Opens `path` after `change` has adjusted the request.
    pub(crate) fn open_as(
        &self,
        who: &Credentials,
        path: &str,
        change: impl FnOnce(&mut OpenRequest<'_>),
    ) -> Result<Opened> {
        let mut request = OpenRequest {
            path,
            ..all(&self.share)
        };
        change(&mut request);
        self.wait(self.vfs.open(who, request))
    }

    pub(crate) fn open(
        &self,
        path: &str,
        change: impl FnOnce(&mut OpenRequest<'_>),
    ) -> Result<Opened> {
        self.open_as(&user(1000), path, change)
    }

    pub(crate) fn file(&self, path: &str) -> Arc<Handle> {
        self.open(path, |_| {}).unwrap().0
    }

    pub(crate) fn directory(&self, path: &str) -> Arc<Handle> {
        self.open(path, |request| request.options.directory = true)
            .unwrap()
            .0
    }

    /// The share's root, for listing.
    pub(crate) fn root(&self) -> Arc<Handle> {
        let list = |request: &mut OpenRequest<'_>| {
            request.disposition = Disposition::Open;
            request.access = AccessMask::FILE_READ;
        };
        self.open("", list).unwrap().0
    }

    pub(crate) fn close(&self, handle: &Handle) {
        self.wait(self.vfs.close(handle)).unwrap();
    }

    /// Makes a file with content and closes it.
    pub(crate) fn put(&self, path: &str, data: &[u8]) {
        let (handle, _) = self
            .open(path, |request| {
                request.disposition = Disposition::OverwriteIf
            })
            .unwrap();
        self.wait(self.vfs.write(&handle, 0, data)).unwrap();
        self.close(&handle);
    }

    pub(crate) fn get(&self, path: &str) -> Result<Vec<u8>> {
        let read = |request: &mut OpenRequest<'_>| {
            request.disposition = Disposition::Open;
            request.access = AccessMask::FILE_READ;
        };
        let (handle, _) = self.open(path, read)?;
        let data = self.content(&handle)?;
        self.close(&handle);
        Ok(data)
    }

    pub(crate) fn content(&self, handle: &Handle) -> Result<Vec<u8>> {
        let size = usize::try_from(self.vfs.stat(handle)?.size).unwrap();
        let mut data = vec![0xAA; size];
        let read = self.vfs.read(handle, 0, &mut data)?;
        assert_eq!(read, size);
        Ok(data)
    }

    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        let delete = |request: &mut OpenRequest<'_>| {
            request.disposition = Disposition::Open;
            request.access = AccessMask::DELETE;
        };
        let (handle, _) = self.open(path, delete)?;
        let marked = self.wait(self.vfs.set_delete(&handle, true));
        self.close(&handle);
        marked
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.open(path, |request| request.disposition = Disposition::Open)
            .map(|(handle, _)| self.close(&handle))
            .is_ok()
    }

    /// Names in a directory, without the dots.
    pub(crate) fn names(&self, directory: &Handle) -> Vec<String> {
        let mut cursor = DirCursor::default();
        let mut names = Vec::new();
        loop {
            let entries = self.vfs.list(directory, &mut cursor, "*", 7).unwrap();
            if entries.is_empty() {
                break;
            }
            names.extend(entries.into_iter().map(|entry| entry.name));
        }
        names.retain(|name| name != "." && name != "..");
        names
    }

    /// Stops cleanly and opens anew.
    pub(crate) fn reopen(self) -> Self {
        self.wait(self.vfs.store().close()).unwrap();
        self.env.kill_tasks();
        self.start_again()
    }

    /// The power fails; what was not synced is lost, torn or reordered.
    pub(crate) fn crash(mut self) -> Self {
        self.env.cut_power();
        self.env.kill_tasks();
        self.disk = self.disk.reopen();
        self.start_again()
    }

    fn start_again(self) -> Self {
        let Self { env, disk, vfs, .. } = self;
        drop(vfs);
        let as_env = || Arc::clone(&env) as Arc<dyn Env>;
        let devices = vec![Arc::clone(&disk) as Arc<dyn Device>];
        let pool = Pool::open(as_env(), devices).unwrap();
        let store = Store::open(as_env(), pool, options()).unwrap();
        let vfs = Vfs::open_store(store, as_env()).unwrap();
        let share = vfs.share("FILES").unwrap();
        Self {
            env,
            disk,
            vfs,
            share,
        }
    }
}

/// The error's name, for tables of expectations.
pub(crate) fn outcome<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => "Ok".into(),
        Err(VfsError::Symlink(_)) => "Symlink".into(),
        Err(error) => format!("{error:?}"),
    }
}
