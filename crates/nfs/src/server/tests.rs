//! A server on a simulated disk with an export, and conversations with it record by record.

mod delegations;
mod hostile;
mod locks;
mod version_3;
mod version_4;
mod version_4_0;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use strongroom_device::sim::{SimDevice, SimEnv};
use strongroom_device::{Device, Env};
use strongroom_identity::Identity;
use strongroom_pool::{Layout, Pool};
use strongroom_store::{Store, StoreOptions};
use strongroom_vfs::{NewShare, Vfs};

use crate::rpc::{Auth, AuthSys, Call, Records};
use crate::server::{Connection, Outbox, Server, ServerConfig};
use crate::xdr::{Decoder, Encoder, List, Opaque};

pub(crate) struct World {
    pub(crate) env: Arc<SimEnv>,
    pub(crate) server: Arc<Server>,
}

impl World {
    pub(crate) fn new() -> Self {
        let env = SimEnv::new(1);
        let any: Arc<dyn Env> = Arc::clone(&env) as Arc<dyn Env>;
        let disk: Arc<dyn Device> = SimDevice::new(&env, "disk", 0);
        let pool = Pool::create(Arc::clone(&any), vec![disk], Layout::SINGLE).unwrap();
        let options = StoreOptions {
            index_cache: 4 << 20,
            index_readers: 0,
            log_file: 1 << 20,
            log_files_max: 8,
            ..StoreOptions::default()
        };
        let store = Store::create(Arc::clone(&any), pool, options).unwrap();
        let vfs = Vfs::create(Arc::clone(&store), Arc::clone(&any)).unwrap();
        let identity = Identity::open(store, Arc::clone(&any)).unwrap();
        for (name, export) in [
            ("unix", "192.0.2.0/24:rw:no-root-squash"),
            ("squashed", "192.0.2.0/24:ro"),
            ("elsewhere", "198.51.100.0/24"),
        ] {
            vfs.add_share(NewShare {
                name: name.to_owned(),
                exports: vec![export.parse().unwrap()],
                ..NewShare::default()
            })
            .unwrap();
        }
        let config = ServerConfig::new([7; 16], 2049);
        let server = env
            .block_on(Server::new(config, vfs, identity, any))
            .unwrap();
        Self { env, server }
    }

    /// Another server on the same pool.
    pub(crate) fn restarted(self) -> Self {
        let Self { env, server } = self;
        let config = server.config.clone();
        let (vfs, identity) = (Arc::clone(&server.vfs), server.callers.identity());
        let any = Arc::clone(&env) as Arc<dyn Env>;
        server.shutdown();
        let server = env
            .block_on(Server::new(config, vfs, identity, any))
            .unwrap();
        Self { env, server }
    }

    pub(crate) fn client(&self) -> Client {
        let (connection, outbox) = self
            .server
            .connect("192.0.2.1:700".parse().unwrap())
            .unwrap();
        Client {
            env: Arc::clone(&self.env),
            connection,
            outbox,
            records: VecDeque::new(),
            xid: 0,
            user: 1000,
        }
    }
}

/// Who may do everything.
pub(crate) fn root(_vfs: &Vfs) -> strongroom_vfs::Credentials {
    let everyone = strongroom_vfs::Sid::EVERYONE;
    strongroom_vfs::Credentials {
        user: everyone,
        primary_group: everyone,
        groups: vec![everyone, strongroom_vfs::Sid::ADMINISTRATORS],
        admin: true,
        session: strongroom_vfs::SessionId::SYSTEM,
    }
}

pub(crate) struct Client {
    env: Arc<SimEnv>,
    connection: Connection,
    outbox: Outbox,
    records: VecDeque<Vec<u8>>,
    pub(crate) xid: u32,
    pub(crate) user: u32,
}

impl Client {
    /// The record of a call.
    pub(crate) fn call(&self, program: u32, version: u32, procedure: u32, args: &[u8]) -> Vec<u8> {
        let mut to = Encoder::default();
        let call = Call {
            xid: self.xid,
            program,
            version,
            procedure,
            auth: Ok(Auth::Sys(AuthSys {
                stamp: 0,
                machine: Opaque(b"client"),
                user: self.user,
                group: self.user,
                groups: List(vec![100]),
            })),
        };
        call.encode(&mut to);
        to.raw(args);
        to.into_vec()
    }

    /// Gives a record to the server, whatever it holds; the answer's record, if there is one.
    pub(crate) fn exchange(&mut self, record: &[u8]) -> Option<Bytes> {
        self.connection
            .receive(Bytes::copy_from_slice(record))
            .ok()?;
        loop {
            self.outbox.drain(&mut self.records);
            let answer = self.records.iter().position(|r| r[8..12] == [0, 0, 0, 1]);
            if let Some(answer) = answer.and_then(|at| self.records.remove(at)) {
                let mut input = BytesMut::from(&answer[..]);
                return Records::default().next(&mut input).unwrap();
            }
            if self.connection.is_idle() {
                return None;
            }
            self.env.block_on(self.outbox.ready());
        }
    }

    /// Sends a call whose answer may take its time.
    pub(crate) fn begin(&mut self, args: &[u8]) {
        self.xid += 1;
        let record = self.call(crate::rpc::NFS, 4, 1, args);
        self.connection
            .receive(Bytes::copy_from_slice(&record))
            .unwrap();
    }

    fn take(&mut self, what: u32) -> Option<Bytes> {
        self.env.run_until_idle();
        self.outbox.drain(&mut self.records);
        let at = self
            .records
            .iter()
            .position(|r| r[8..12] == what.to_be_bytes())?;
        let record = self.records.remove(at)?;
        let mut input = BytesMut::from(&record[..]);
        Records::default().next(&mut input).unwrap()
    }

    /// The results of a call that was answered meanwhile.
    pub(crate) fn received(&mut self) -> Option<Bytes> {
        Some(self.take(1)?.slice(24..))
    }

    /// A call of the server, other than one that only asks whether it is heard: its number, and its arguments.
    pub(crate) fn called(&mut self) -> Option<(u32, Bytes)> {
        let record = self.take(0)?;
        let xid = Decoder::new(&record).u32().unwrap();
        // Program, version, procedure, and the credential and verifier of nobody stand before the arguments.
        let mut from = Decoder::new(&record[24..]);
        for _ in 0..2 {
            from.u32().unwrap();
            from.opaque(400, "a credential").unwrap();
        }
        Some((xid, record.slice_ref(from.rest())))
    }

    /// Answers a call of the server.
    pub(crate) fn answer(&mut self, xid: u32, results: &[u8]) {
        let mut to = Encoder::default();
        crate::rpc::Reply::accepted(&mut to, xid, crate::rpc::AcceptStat::Success);
        to.raw(results);
        self.connection
            .receive(Bytes::copy_from_slice(to.as_slice()))
            .unwrap();
        self.env.run_until_idle();
    }

    /// The results of a call that was accepted.
    pub(crate) fn ask(&mut self, program: u32, version: u32, procedure: u32, args: &[u8]) -> Bytes {
        self.xid += 1;
        let record = self.call(program, version, procedure, args);
        let answer = self.exchange(&record).expect("an answer");
        let mut from = Decoder::new(&answer);
        assert_eq!(from.u32(), Ok(self.xid));
        // A reply, accepted, with an empty verifier, done.
        for expected in [1, 0, 0, 0, 0] {
            assert_eq!(from.u32(), Ok(expected));
        }
        answer.slice(24..)
    }
}
