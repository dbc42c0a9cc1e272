//! Accounts in a real pool on simulated disks.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use std::sync::Arc;

use strongroom_device::sim::{SimDevice, SimEnv};
use strongroom_device::{Device, Env};
use strongroom_identity::{Identity, NewUser};
use strongroom_pool::{Layout, Pool};
use strongroom_store::{Store, StoreOptions};

/// One machine with one disk.
struct Machine {
    env: Arc<SimEnv>,
    disk: Arc<SimDevice>,
}

impl Machine {
    fn new(seed: u64) -> Self {
        let env = SimEnv::new(seed);
        let disk = SimDevice::new(&env, "disk", 0);
        Machine { env, disk }
    }

    fn env(&self) -> Arc<dyn Env> {
        Arc::clone(&self.env) as Arc<dyn Env>
    }

    fn devices(&self) -> Vec<Arc<dyn Device>> {
        vec![Arc::clone(&self.disk) as Arc<dyn Device>]
    }

    fn create(&self) -> Arc<Store> {
        let pool = Pool::create(self.env(), self.devices(), Layout::SINGLE).unwrap();
        Store::create(self.env(), pool, StoreOptions::default()).unwrap()
    }

    fn open(&self) -> Arc<Store> {
        let pool = Pool::open(self.env(), self.devices()).unwrap();
        Store::open(self.env(), pool, StoreOptions::default()).unwrap()
    }

    fn accounts(&self, store: &Arc<Store>) -> Arc<Identity> {
        Identity::open(Arc::clone(store), self.env()).unwrap()
    }
}

#[test]
fn accounts_outlive_a_power_cut_once_synced() {
    let mut machine = Machine::new(3);
    let store = machine.create();
    let identity = machine.accounts(&store);
    let password = "correct horse";
    identity
        .add_user(NewUser {
            name: "admin",
            password,
            admin: true,
        })
        .unwrap();
    identity
        .add_user(NewUser {
            name: "anna",
            password,
            admin: false,
        })
        .unwrap();
    identity.add_group("Sales").unwrap();
    identity.add_member("Sales", "anna").unwrap();
    machine.env.block_on(store.sync_all()).unwrap();
    let before = (identity.machine_sid(), identity.users(), identity.groups());
    drop(identity);

    machine.env.cut_power();
    machine.env.kill_tasks();
    drop(store);
    machine.disk = machine.disk.reopen();
    let identity = machine.accounts(&machine.open());
    assert_eq!(
        (identity.machine_sid(), identity.users(), identity.groups()),
        before
    );
    assert!(identity.verify_password("anna", password).is_some());
}

#[test]
fn more_accounts_than_a_page_of_rows_are_all_read() {
    let machine = Machine::new(4);
    let store = machine.create();
    let identity = machine.accounts(&store);
    for number in 0..2001 {
        identity.add_group(&format!("group {number}")).unwrap();
    }
    assert_eq!(machine.accounts(&store).groups(), identity.groups());
    identity.remove_group("group 7").unwrap();
    assert_eq!(machine.accounts(&store).groups().len(), 2002);
}
