//! A server on a simulated disk, with one share and one user.

use std::sync::Arc;

use strongroom_device::sim::{SimDevice, SimEnv};
use strongroom_device::{Device, Env};
use strongroom_identity::{Identity, NewUser};
use strongroom_pool::{Layout, Pool};
use strongroom_store::{Store, StoreOptions};
use strongroom_vfs::{NewShare, Vfs};

use super::client::Client;
use crate::server::{Server, ServerConfig};
use crate::wire::Guid;
use crate::wire::negotiate::Dialect;

pub(super) const USER: &str = "ada";
pub(super) const PASSWORD: &str = "Enchantress-1843";

pub(super) struct World {
    pub(super) env: Arc<SimEnv>,
    disk: Arc<SimDevice>,
    pub(super) server: Arc<Server>,
}

fn small(options: StoreOptions) -> StoreOptions {
    StoreOptions {
        index_cache: 4 << 20,
        index_readers: 0,
        log_file: 1 << 20,
        log_files_max: 8,
        ..options
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::on(StoreOptions::default(), change)
    }

    /// A server whose store has room for a page of changes, so that nearly everybody waits.
    pub(super) fn busy() -> Self {
        let options = StoreOptions {
            dirty_bytes_max: 4096,
            ..StoreOptions::default()
        };
        Self::on(options, |_| {})
    }

    fn on(options: StoreOptions, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let env = SimEnv::new(1);
        let any: Arc<dyn Env> = Arc::clone(&env) as Arc<dyn Env>;
        let disk = SimDevice::new(&env, "disk", 0);
        let devices = vec![Arc::clone(&disk) as Arc<dyn Device>];
        let layout = Layout { data: 1, parity: 0 };
        let pool = Pool::create(Arc::clone(&any), devices, layout).unwrap();
        let options = small(options);
        let store = Store::create(Arc::clone(&any), pool, options).unwrap();
        let vfs = Vfs::create(Arc::clone(&store), Arc::clone(&any)).unwrap();
        let identity = Identity::open(store, Arc::clone(&any)).unwrap();
        identity
            .add_user(NewUser {
                name: USER,
                password: PASSWORD,
                admin: true,
            })
            .unwrap();
        vfs.add_share(NewShare {
            name: "files".to_owned(),
            ..NewShare::default()
        })
        .unwrap();
        let closed = NewShare {
            name: "closed".to_owned(),
            users: Some(Vec::new()),
            ..NewShare::default()
        };
        vfs.add_share(closed).unwrap();
        let secret = NewShare {
            name: "secret".to_owned(),
            encrypt: true,
            ..NewShare::default()
        };
        vfs.add_share(secret).unwrap();
        let kept = NewShare {
            name: "kept".to_owned(),
            continuously_available: true,
            ..NewShare::default()
        };
        vfs.add_share(kept).unwrap();
        let mut config = ServerConfig::new("strongroom", [7; 16]);
        change(&mut config);
        let server = Server::new(config, vfs, identity, any);
        Self { env, disk, server }
    }

    /// The power fails and comes back.
    pub(super) fn power_fails(self) -> Self {
        let Self { env, disk, server } = self;
        env.cut_power();
        env.kill_tasks();
        // Nothing of the old server runs any more, not even what would at its end.
        std::mem::forget(server);
        Self::again(env, &disk.reopen())
    }

    /// The server ends in order and is started again.
    pub(super) fn restarts(self) -> Self {
        let Self { env, disk, server } = self;
        env.block_on(server.shutdown());
        env.block_on(server.vfs.store().close()).unwrap();
        env.kill_tasks();
        drop(server);
        Self::again(env, &disk)
    }

    fn again(env: Arc<SimEnv>, disk: &Arc<SimDevice>) -> Self {
        let any: Arc<dyn Env> = Arc::clone(&env) as Arc<dyn Env>;
        let devices = vec![Arc::clone(disk) as Arc<dyn Device>];
        let pool = Pool::open(Arc::clone(&any), devices).unwrap();
        let options = small(StoreOptions::default());
        let store = Store::open(Arc::clone(&any), pool, options).unwrap();
        let vfs = Vfs::open_store(Arc::clone(&store), Arc::clone(&any)).unwrap();
        let identity = Identity::open(store, Arc::clone(&any)).unwrap();
        let config = ServerConfig::new("strongroom", [7; 16]);
        let server = Server::new(config, vfs, identity, any);
        server.revive().unwrap();
        let disk = Arc::clone(disk);
        Self { env, disk, server }
    }

    /// A client that has only connected.
    pub(super) fn client(&self) -> Client {
        let peer = "192.0.2.1:50000".parse().unwrap();
        let (connection, outbox) = self.server.connect(peer).unwrap();
        Client::new(Arc::clone(&self.env), connection, outbox)
    }

    /// A client that is signed in with 3.1.1.
    pub(super) fn signed_in(&self) -> Client {
        let mut client = self.client();
        client.negotiate(&[Dialect::Smb311]);
        client.log_on(USER, PASSWORD).unwrap();
        client
    }

    /// A client that another user has signed in on.
    pub(super) fn signed_in_as(&self, user: &str) -> Client {
        let added = self.server.identity.user_by_name(user).is_some();
        if !added {
            self.add_user(user);
        }
        let mut client = self.client();
        client.negotiate(&[Dialect::Smb311]);
        client.log_on(user, PASSWORD).unwrap();
        client
    }

    /// With the usual password.
    pub(super) fn add_user(&self, name: &str) {
        let user = NewUser {
            name,
            password: PASSWORD,
            admin: false,
        };
        self.server.identity.add_user(user).unwrap();
    }

    /// The same user on another machine, with a share open.
    pub(super) fn elsewhere(&self, share: &str) -> Client {
        let mut client = self.client();
        client.guid = Guid([5; 16]);
        client.negotiate(&[Dialect::Smb311]);
        client.log_on(USER, PASSWORD).unwrap();
        client.tree_connect(share).unwrap();
        client
    }

    /// A client that has the share "files" open.
    pub(super) fn connected(&self) -> Client {
        let mut client = self.signed_in();
        client.tree_connect("files").unwrap();
        client
    }
}
