//! What clients hold: sessions with their answers, opens, locks. All of it lives as long as the client renews its lease.

mod backchannel;
mod client;
mod delegation;
mod owner;
mod session;

pub(crate) use backchannel::{Backchannel, Security};
pub(crate) use client::{Client, Found, LockState, Principal};
pub(crate) use delegation::{Contended, Delegation, Holder, recall_time};
pub(crate) use owner::{Kind as OwnerKind, Last, Place as OwnerPlace, Turns, counts};
pub(crate) use session::{CACHED_MAX, Limits, SLOTS_MAX, Session, Turn};

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_vfs::{Inode, Vfs};

use super::{LEASE_SECONDS, Status};
use crate::nlm::Hosts;

/// How long a client is remembered that does not renew its lease, where nobody is in want of what it holds.
const COURTESY: u32 = 20;
/// Clients at once.
const CLIENTS_MAX: usize = 10_000;
/// Delegations of all clients together.
const DELEGATIONS_MAX: usize = 1 << 16;
/// Sessions of one client.
pub(crate) const SESSIONS_MAX: usize = 64;

pub(crate) type SessionId = [u8; 16];

/// A client that ended, with its sessions.
type Gone = (Arc<Client>, Vec<Arc<Session>>);

/// All clients of version 4.
#[derive(Debug)]
pub(crate) struct State {
    /// Another one after every start, so that what was given out before is known as stale.
    boot: u32,
    next: AtomicU64,
    tables: Mutex<Tables>,
    grace: Mutex<Grace>,
    vfs: Arc<Vfs>,
    /// Who holds locks of version 3; they are claimed back in the same time.
    locks: Arc<Hosts>,
    /// How many delegations are out or remembered.
    pub(crate) delegations: Arc<AtomicUsize>,
    pub(crate) contended: Contended,
    writers: Mutex<HashMap<Inode, Weak<Delegation>>>,
}

/// After a start: only what was open before may be opened, until everybody had the time to do so.
#[derive(Debug)]
struct Grace {
    until: Duration,
    /// Those who held something and have not said yet that they claimed all of it.
    waiting: HashSet<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Tables {
    clients: HashMap<u64, Arc<Client>>,
    /// By the name that the client chose: one that is confirmed and one that may take its place.
    confirmed: HashMap<Vec<u8>, u64>,
    unconfirmed: HashMap<Vec<u8>, u64>,
    sessions: HashMap<SessionId, Arc<Session>>,
    swept: Duration,
}

impl State {
    /// Errors: those of reading which clients held something when the server ended.
    pub(crate) fn new(
        boot: u32,
        vfs: Arc<Vfs>,
        locks: Arc<Hosts>,
        now: Duration,
    ) -> strongroom_vfs::Result<Self> {
        let waiting = vfs.remembered_clients()?.into_iter().collect();
        let until = now + lease();
        Ok(Self {
            boot,
            next: AtomicU64::new(1),
            tables: Mutex::default(),
            grace: Mutex::new(Grace { until, waiting }),
            vfs,
            locks,
            delegations: Arc::default(),
            contended: Contended::default(),
            writers: Mutex::default(),
        })
    }

    /// Whether others may still claim what they had open.
    pub(crate) fn in_grace(&self, now: Duration) -> bool {
        let mut grace = self.grace.lock();
        if now < grace.until {
            return !grace.waiting.is_empty();
        }
        let mut late = std::mem::take(&mut grace.waiting);
        drop(grace);
        // Version 4.0 has no word for having claimed everything.
        late.retain(|name| self.confirmed(name).is_none() && !self.locks.keeps(name));
        late.iter().for_each(|name| self.forget_name(name));
        false
    }

    /// Whether a client may claim what it had open.
    pub(crate) fn may_reclaim(&self, client: &Client, now: Duration) -> bool {
        let complete = client.reclaim_complete.load(Ordering::Acquire);
        !complete && self.in_grace(now) && self.grace.lock().waiting.contains(&client.owner)
    }

    /// Whether a client may open or lock what it did not hold before.
    pub(crate) fn may_open(&self, client: &Client, now: Duration) -> Result<(), Status> {
        let complete = client.reclaim_complete.load(Ordering::Acquire) || client.is_old();
        if complete && !self.in_grace(now) {
            Ok(())
        } else {
            Err(Status::GRACE)
        }
    }

    /// A client has claimed all that it had. From now on it may hold something that it could claim after the next start.
    pub(crate) fn complete(&self, client: &Client) -> strongroom_vfs::Result<()> {
        self.vfs.remember_client(&client.owner)?;
        self.grace.lock().waiting.remove(&client.owner);
        Ok(())
    }

    /// The client is on record: after the next start it is waited for.
    pub(crate) fn remember(&self, client: &Client) -> strongroom_vfs::Result<()> {
        self.vfs.remember_client(&client.owner)
    }

    fn forget_name(&self, name: &[u8]) {
        if let Err(error) = self.vfs.forget_client(name) {
            tracing::warn!(%error, "a client that is gone stays on record");
        }
    }

    /// Takes those who ended off the record, with what they held.
    fn ended(&self, gone: impl IntoIterator<Item = Gone>) {
        for (client, sessions) in gone {
            if client.reclaim_complete.load(Ordering::Acquire) || client.is_old() {
                self.forget_name(&client.owner);
            }
            drop((client, sessions));
        }
    }

    pub(crate) fn boot(&self) -> u32 {
        self.boot
    }

    /// A number that nothing else has.
    pub(crate) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn new_id(&self) -> u64 {
        u64::from(self.boot) << 32 | (self.next() & 0xFFFF_FFFF)
    }

    /// Makes the record of a client that is not confirmed yet; it takes the place of an earlier one.
    pub(crate) fn introduce(
        &self,
        owner: &[u8],
        verifier: [u8; 8],
        principal: Principal,
        now: Duration,
    ) -> Result<Arc<Client>, Status> {
        self.sweep(now);
        let mut tables = self.tables.lock();
        if tables.clients.len() >= CLIENTS_MAX {
            return Err(Status::DELAY);
        }
        let id = self.new_id();
        let client = Arc::new(Client::new(id, owner, verifier, principal, now));
        if let Some(before) = tables.unconfirmed.insert(owner.to_vec(), id) {
            tables.clients.remove(&before);
        }
        tables.clients.insert(id, Arc::clone(&client));
        Ok(client)
    }

    pub(crate) fn confirmed(&self, owner: &[u8]) -> Option<Arc<Client>> {
        let tables = self.tables.lock();
        let id = tables.confirmed.get(owner)?;
        tables.clients.get(id).cloned()
    }

    pub(crate) fn client(&self, id: u64) -> Result<Arc<Client>, Status> {
        let client = self.tables.lock().clients.get(&id).cloned();
        client.ok_or(Status::STALE_CLIENTID)
    }

    /// The client has shown that it heard of its id. What an earlier life of it held goes.
    pub(crate) fn confirm(&self, client: &Arc<Client>) {
        let mut tables = self.tables.lock();
        if tables.unconfirmed.get(&client.owner) == Some(&client.id) {
            tables.unconfirmed.remove(&client.owner);
        }
        let before = tables.confirmed.insert(client.owner.clone(), client.id);
        let before = before.filter(|before| *before != client.id);
        let gone = before.and_then(|before| tables.forget(before));
        drop(tables);
        client.set_confirmed();
        self.ended(gone);
    }

    /// Ends a client with all that it holds.
    pub(crate) fn forget(&self, id: u64) {
        let gone = self.tables.lock().forget(id);
        self.ended(gone);
    }

    pub(crate) fn add_session(&self, session: Session) -> Result<Arc<Session>, Status> {
        let session = Arc::new(session);
        let mut tables = self.tables.lock();
        let client = session.client.id;
        let of_client = tables.sessions.values();
        if of_client.filter(|held| held.client.id == client).count() >= SESSIONS_MAX {
            return Err(Status::DELAY);
        }
        tables.sessions.insert(session.id, Arc::clone(&session));
        Ok(session)
    }

    pub(crate) fn new_session_id(&self, client: u64) -> SessionId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&client.to_be_bytes());
        id[8..].copy_from_slice(&self.next().to_be_bytes());
        id
    }

    pub(crate) fn session(&self, id: &SessionId) -> Result<Arc<Session>, Status> {
        let session = self.tables.lock().sessions.get(id).cloned();
        session.ok_or(Status::BADSESSION)
    }

    pub(crate) fn remove_session(&self, id: &SessionId) -> Result<(), Status> {
        let removed = self.tables.lock().sessions.remove(id);
        removed.map(drop).ok_or(Status::BADSESSION)
    }

    pub(crate) fn has_sessions(&self, client: u64) -> bool {
        let tables = self.tables.lock();
        let mut sessions = tables.sessions.values();
        sessions.any(|session| session.client.id == client)
    }

    pub(crate) fn sessions_of(&self, client: u64) -> Vec<Arc<Session>> {
        let tables = self.tables.lock();
        let sessions = tables.sessions.values();
        let own = sessions.filter(|session| session.client.id == client);
        own.cloned().collect()
    }

    /// Whether a client is likely to hear when it is called.
    pub(crate) fn can_call(&self, client: u64) -> bool {
        let sessions = self.sessions_of(client);
        sessions.iter().any(|session| session.back.is_up())
    }

    /// Whether one more delegation may be given.
    pub(crate) fn may_delegate(&self) -> bool {
        self.delegations.load(Ordering::Acquire) < DELEGATIONS_MAX
    }

    /// The holder of a delegation for writing: the file's attributes are what it says.
    pub(crate) fn note_writer(&self, delegation: &Arc<Delegation>) {
        let mut writers = self.writers.lock();
        if writers.len() % 1_024 == 1_023 {
            writers.retain(|_, held| held.upgrade().is_some_and(|held| !held.is_over()));
        }
        writers.insert(delegation.inode, Arc::downgrade(delegation));
    }

    /// Who else than this client may have written to a file without anybody knowing.
    pub(crate) fn writer(&self, inode: Inode, but: u64) -> Option<Arc<Delegation>> {
        let mut writers = self.writers.lock();
        let found = writers.get(&inode)?.upgrade();
        let Some(found) = found.filter(|found| !found.is_over()) else {
            writers.remove(&inode);
            return None;
        };
        let client = found.client.upgrade()?;
        (client.id != but).then_some(found)
    }

    /// Ends clients whose lease ran out: those that hold what another wants at once, the others much later.
    pub(crate) fn sweep(&self, now: Duration) {
        self.end_older(now, lease() * COURTESY);
    }

    /// Ends clients whose lease ran out, as somebody is in want of what they hold. True if there were some.
    pub(crate) fn end_expired(&self, now: Duration) -> bool {
        self.end_older(now, lease())
    }

    fn end_older(&self, now: Duration, age: Duration) -> bool {
        let mut tables = self.tables.lock();
        tables.swept = now;
        let clients = tables.clients.values();
        let old: Vec<u64> = clients
            .filter(|client| now.saturating_sub(client.renewed()) > age)
            .map(|client| client.id)
            .collect();
        let gone: Vec<_> = old.iter().filter_map(|id| tables.forget(*id)).collect();
        drop(tables);
        let any = !gone.is_empty();
        self.ended(gone);
        any
    }

    /// At the end of the server. Clients stay on record: they claim what they had when it starts again.
    pub(crate) fn end_all(&self) {
        let tables = std::mem::take(&mut *self.tables.lock());
        tables.clients.values().for_each(|client| client.end());
        drop(tables);
    }
}

impl Tables {
    /// What is given back closes files when it is dropped, which must not happen under the lock.
    fn forget(&mut self, id: u64) -> Option<Gone> {
        let client = self.clients.remove(&id)?;
        for names in [&mut self.confirmed, &mut self.unconfirmed] {
            if names.get(&client.owner) == Some(&id) {
                names.remove(&client.owner);
            }
        }
        let sessions = self
            .sessions
            .extract_if(|_, session| session.client.id == id);
        let sessions = sessions.map(|(_, session)| session).collect();
        client.end();
        Some((client, sessions))
    }
}

pub(crate) fn lease() -> Duration {
    Duration::from_secs(u64::from(LEASE_SECONDS))
}
