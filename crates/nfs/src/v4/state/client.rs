//! One client: its opens and locks, by the names that it knows them by.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_vfs::grants::GrantKey;
use strongroom_vfs::{Handle, Inode, LockOwner};

use super::owner::Owners;
use super::{Delegation, Status};
use crate::v4::types::Stateid;

/// Opens and owners of locks that one client may have.
const STATES_MAX: usize = 1 << 20;

/// Who made the client: nobody else may touch its sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Principal {
    pub(crate) flavor: u32,
    pub(crate) user: u32,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) owner: Vec<u8>,
    pub(crate) verifier: [u8; 8],
    pub(crate) principal: Principal,
    confirmed: AtomicBool,
    /// Of version 4.0.
    old: AtomicBool,
    /// What a client of version 4.0 is to show to confirm its id, and what it showed before.
    pub(crate) confirming: Mutex<Confirming>,
    pub(crate) owners: Owners,
    pub(crate) reclaim_complete: AtomicBool,
    renewed: Mutex<Duration>,
    /// The last CREATE_SESSION: its number and its answer.
    pub(crate) created: Mutex<(u32, Vec<u8>)>,
    states: Mutex<States>,
    /// Delegations that it did not give back in time and does not know of yet.
    revoked: AtomicUsize,
}

/// Verifiers that confirm an id.
#[derive(Debug, Default)]
pub(crate) struct Confirming {
    pub(crate) wanted: Option<[u8; 8]>,
    pub(crate) shown: Option<[u8; 8]>,
}

#[derive(Debug, Default)]
struct States {
    ended: bool,
    by_id: HashMap<[u8; 12], Found>,
    opens: HashMap<(Vec<u8>, Inode), Arc<OpenState>>,
    locks: HashMap<(Vec<u8>, Inode), Arc<LockState>>,
    /// Those that were not taken away.
    delegations: HashMap<Inode, Arc<Delegation>>,
}

/// What a stateid names.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Open(Arc<OpenState>),
    Lock(Arc<LockState>),
    Delegation(Arc<Delegation>),
}

/// A file opened by one owner.
#[derive(Debug)]
pub(crate) struct OpenState {
    pub(crate) other: [u8; 12],
    pub(crate) owner: Vec<u8>,
    pub(crate) inode: Inode,
    inner: Mutex<OpenInner>,
}

#[derive(Debug)]
struct OpenInner {
    sequence: u32,
    access: u32,
    deny: u32,
    /// One for each time that rights were added, with what it was opened for.
    handles: Vec<(u32, u32, Arc<Handle>)>,
}

/// What one owner has locked of a file.
#[derive(Debug)]
pub(crate) struct LockState {
    pub(crate) other: [u8; 12],
    pub(crate) owner: Vec<u8>,
    pub(crate) open: Arc<OpenState>,
    pub(crate) number: LockOwner,
    sequence: Mutex<u32>,
}

impl Client {
    pub(crate) fn new(
        id: u64,
        owner: &[u8],
        verifier: [u8; 8],
        principal: Principal,
        now: Duration,
    ) -> Self {
        Self {
            id,
            owner: owner.to_vec(),
            verifier,
            principal,
            confirmed: AtomicBool::new(false),
            old: AtomicBool::new(false),
            confirming: Mutex::default(),
            owners: Owners::default(),
            reclaim_complete: AtomicBool::new(false),
            renewed: Mutex::new(now),
            created: Mutex::new((0, Vec::new())),
            states: Mutex::default(),
            revoked: AtomicUsize::new(0),
        }
    }

    /// What its grants are held under: its own changes call nothing back.
    pub(crate) fn key(&self) -> GrantKey {
        let mut owner = *b"NFSv4...........";
        owner[8..].copy_from_slice(&self.id.to_be_bytes());
        GrantKey::Chosen {
            owner,
            name: [0; 16],
        }
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Acquire)
    }

    pub(super) fn set_confirmed(&self) {
        self.confirmed.store(true, Ordering::Release);
    }

    pub(crate) fn is_old(&self) -> bool {
        self.old.load(Ordering::Acquire)
    }

    pub(crate) fn set_old(&self) {
        self.old.store(true, Ordering::Release);
    }

    /// Whether a stateid of that name is in use.
    pub(crate) fn knows(&self, other: &[u8; 12]) -> bool {
        self.states.lock().by_id.contains_key(other)
    }

    /// What an owner has locked, or had.
    pub(crate) fn locks_of(&self, owner: &[u8]) -> Vec<Arc<LockState>> {
        let states = self.states.lock();
        let locks = states.locks.values();
        locks.filter(|lock| lock.owner == owner).cloned().collect()
    }

    pub(crate) fn renew(&self, now: Duration) {
        *self.renewed.lock() = now;
    }

    pub(crate) fn renewed(&self) -> Duration {
        *self.renewed.lock()
    }

    pub(crate) fn has_states(&self) -> bool {
        !self.states.lock().by_id.is_empty()
    }

    /// Closes all that it has open; nothing is opened for it any more.
    pub(super) fn end(&self) {
        let mut states = self.states.lock();
        let gone = std::mem::take(&mut *states);
        states.ended = true;
        drop(states);
        gone.delegations.values().for_each(|held| held.end());
        drop(gone);
    }

    /// Adds an open to those of its owner, or makes its first. `other` names a new one.
    pub(crate) fn add_open(
        &self,
        owner: &[u8],
        (access, deny): (u32, u32),
        handle: Arc<Handle>,
        other: [u8; 12],
    ) -> Result<Stateid, Status> {
        let mut states = self.states.lock();
        if states.ended {
            return Err(Status::EXPIRED);
        }
        if states.by_id.len() >= STATES_MAX {
            return Err(Status::DELAY);
        }
        let key = (owner.to_vec(), handle.unix_id());
        if let Some(open) = states.opens.get(&key) {
            return Ok(open.add(access, deny, handle));
        }
        let open = Arc::new(OpenState {
            other,
            owner: key.0.clone(),
            inode: key.1,
            inner: Mutex::new(OpenInner {
                sequence: 1,
                access,
                deny,
                handles: vec![(access, deny, handle)],
            }),
        });
        states.by_id.insert(other, Found::Open(Arc::clone(&open)));
        let id = open.stateid();
        states.opens.insert(key, open);
        Ok(id)
    }

    /// What a stateid names, as long as it is the newest of its kind; one without a number is.
    pub(crate) fn find(&self, id: &Stateid) -> Result<Found, Status> {
        let found = self.lookup(id)?;
        if let Found::Delegation(delegation) = &found
            && delegation.is_revoked()
        {
            return Err(Status::DELEG_REVOKED);
        }
        let sequence = found.sequence();
        match id.sequence {
            0 if !self.is_old() => Ok(found),
            given if given == sequence => Ok(found),
            given if given < sequence => Err(Status::OLD_STATEID),
            _ => Err(Status::BAD_STATEID),
        }
    }

    pub(crate) fn find_open(&self, id: &Stateid) -> Result<Arc<OpenState>, Status> {
        match self.find(id)? {
            Found::Open(open) => Ok(open),
            Found::Lock(_) | Found::Delegation(_) => Err(Status::BAD_STATEID),
        }
    }

    /// What a stateid names, whatever became of it.
    pub(crate) fn lookup(&self, id: &Stateid) -> Result<Found, Status> {
        let found = self.states.lock().by_id.get(&id.other).cloned();
        found.ok_or(Status::BAD_STATEID)
    }

    pub(crate) fn find_delegation(&self, id: &Stateid) -> Result<Arc<Delegation>, Status> {
        match self.find(id)? {
            Found::Delegation(delegation) => Ok(delegation),
            Found::Open(_) | Found::Lock(_) => Err(Status::BAD_STATEID),
        }
    }

    /// Whether it has a delegation of a file.
    pub(crate) fn has_delegation(&self, inode: Inode) -> bool {
        self.states.lock().delegations.contains_key(&inode)
    }

    /// False where it has one of the file already, or too much.
    pub(crate) fn add_delegation(&self, delegation: &Arc<Delegation>) -> bool {
        let mut states = self.states.lock();
        let full = states.by_id.len() >= STATES_MAX;
        if states.ended || full || states.delegations.contains_key(&delegation.inode) {
            return false;
        }
        let found = Found::Delegation(Arc::clone(delegation));
        states.by_id.insert(delegation.other, found);
        states
            .delegations
            .insert(delegation.inode, Arc::clone(delegation));
        true
    }

    /// It was given back, or the client knows that it was taken away.
    pub(crate) fn forget_delegation(&self, delegation: &Arc<Delegation>) {
        let mut states = self.states.lock();
        let known = states.by_id.remove(&delegation.other).is_some();
        states.forget_delegation(delegation);
        drop(states);
        delegation.end();
        if known && delegation.is_revoked() {
            self.revoked.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// It was taken away. Its name stays until the client has heard of it.
    pub(crate) fn revoke(&self, delegation: &Arc<Delegation>) {
        let mut states = self.states.lock();
        if !states.by_id.contains_key(&delegation.other) {
            return;
        }
        self.revoked.fetch_add(1, Ordering::AcqRel);
        states.forget_delegation(delegation);
        drop(states);
        delegation.revoke();
    }

    /// Whether something was taken away that it has not acknowledged.
    pub(crate) fn has_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire) > 0
    }

    /// Ends an open, with the locks that were taken through it.
    pub(crate) fn close(&self, open: &Arc<OpenState>) {
        let mut states = self.states.lock();
        states.by_id.remove(&open.other);
        states.opens.remove(&(open.owner.clone(), open.inode));
        let of_open = |lock: &Arc<LockState>| Arc::ptr_eq(&lock.open, open);
        let locks: Vec<_> = states
            .locks
            .values()
            .filter(|l| of_open(l))
            .cloned()
            .collect();
        for lock in &locks {
            states.by_id.remove(&lock.other);
            states.locks.remove(&(lock.owner.clone(), open.inode));
        }
        drop(states);
        if self.is_old() {
            self.owners.closed(open.other, &open.owner);
        }
        drop(std::mem::take(&mut open.inner.lock().handles));
    }

    /// The locks of an owner on an open file; made where there are none yet.
    pub(crate) fn lock_state(
        &self,
        owner: &[u8],
        open: &Arc<OpenState>,
        other: [u8; 12],
        number: u64,
    ) -> Result<Arc<LockState>, Status> {
        let mut states = self.states.lock();
        let key = (owner.to_vec(), open.inode);
        if let Some(lock) = states.locks.get(&key) {
            return Ok(Arc::clone(lock));
        }
        if states.ended || states.by_id.len() >= STATES_MAX {
            return Err(Status::DELAY);
        }
        let lock = Arc::new(LockState {
            other,
            owner: key.0.clone(),
            open: Arc::clone(open),
            number: LockOwner(number),
            sequence: Mutex::new(0),
        });
        states.by_id.insert(other, Found::Lock(Arc::clone(&lock)));
        states.locks.insert(key, Arc::clone(&lock));
        Ok(lock)
    }

    pub(crate) fn forget_lock(&self, lock: &Arc<LockState>) {
        let mut states = self.states.lock();
        states.by_id.remove(&lock.other);
        states.locks.remove(&(lock.owner.clone(), lock.open.inode));
    }

    /// The number of an owner of locks, if it has one for this file.
    pub(crate) fn lock_number(&self, owner: &[u8], inode: Inode) -> Option<LockOwner> {
        let states = self.states.lock();
        let lock = states.locks.get(&(owner.to_vec(), inode));
        lock.map(|lock| lock.number)
    }

    /// Whose number that is.
    pub(crate) fn lock_owner(&self, number: LockOwner) -> Option<Vec<u8>> {
        let states = self.states.lock();
        let mut locks = states.locks.values();
        let lock = locks.find(|lock| lock.number == number)?;
        Some(lock.owner.clone())
    }
}

impl States {
    fn forget_delegation(&mut self, delegation: &Arc<Delegation>) {
        let held = self.delegations.get(&delegation.inode);
        if held.is_some_and(|held| Arc::ptr_eq(held, delegation)) {
            self.delegations.remove(&delegation.inode);
        }
    }
}

impl Found {
    fn sequence(&self) -> u32 {
        match self {
            Self::Open(open) => open.inner.lock().sequence,
            Self::Lock(lock) => *lock.sequence.lock(),
            Self::Delegation(delegation) => delegation.stateid().sequence,
        }
    }

    pub(crate) fn inode(&self) -> Inode {
        match self {
            Self::Open(open) => open.inode,
            Self::Lock(lock) => lock.open.inode,
            Self::Delegation(delegation) => delegation.inode,
        }
    }

    /// The open file behind it, for what is to be done.
    pub(crate) fn handle(&self, access: u32) -> Result<Arc<Handle>, Status> {
        match self {
            Self::Open(open) => open.handle(access),
            Self::Lock(lock) => lock.open.handle(access),
            Self::Delegation(delegation) => delegation.handle(access),
        }
    }
}

/// Never 0, which means something else.
fn following(sequence: u32) -> u32 {
    sequence.checked_add(1).unwrap_or(1)
}

impl OpenState {
    pub(crate) fn stateid(&self) -> Stateid {
        Stateid {
            sequence: self.inner.lock().sequence,
            other: self.other,
        }
    }

    /// The stateid after a change that is none of what it is open for.
    pub(crate) fn advance(&self) -> Stateid {
        let mut inner = self.inner.lock();
        inner.sequence = following(inner.sequence);
        drop(inner);
        self.stateid()
    }

    fn add(&self, access: u32, deny: u32, handle: Arc<Handle>) -> Stateid {
        let mut inner = self.inner.lock();
        inner.sequence = following(inner.sequence);
        let more = access & !inner.access != 0 || deny & !inner.deny != 0;
        inner.access |= access;
        inner.deny |= deny;
        let unneeded = if more {
            inner.handles.push((access, deny, handle));
            None
        } else {
            Some(handle)
        };
        drop(inner);
        drop(unneeded);
        self.stateid()
    }

    /// A handle that was opened for this.
    pub(crate) fn handle(&self, access: u32) -> Result<Arc<Handle>, Status> {
        let inner = self.inner.lock();
        let found = inner
            .handles
            .iter()
            .find(|(has, ..)| has & access == access);
        found
            .map(|(.., handle)| Arc::clone(handle))
            .ok_or(Status::OPENMODE)
    }

    /// Any handle.
    pub(crate) fn any_handle(&self) -> Result<Arc<Handle>, Status> {
        self.handle(0)
    }

    /// Gives rights back. What is left must be what some of its opens came to (RFC 8881, 18.18.3).
    pub(crate) fn downgrade(&self, access: u32, deny: u32) -> Result<Stateid, Status> {
        let mut inner = self.inner.lock();
        if access & !inner.access != 0 || deny & !inner.deny != 0 || access == 0 {
            return Err(Status::INVAL);
        }
        inner.access = access;
        inner.deny = deny;
        inner.sequence = following(inner.sequence);
        let fits =
            |handle: &(u32, u32, Arc<Handle>)| handle.0 & !access == 0 && handle.1 & !deny == 0;
        let covered = |handles: &[(u32, u32, Arc<Handle>)]| {
            let of = handles.iter().filter(|handle| fits(handle));
            of.fold(0, |all, handle| all | handle.0) & access == access
        };
        // A handle that has more than is left is kept where nothing else gives what is left.
        let mut gone = Vec::new();
        if covered(&inner.handles) {
            let (kept, left): (Vec<_>, Vec<_>) = inner.handles.drain(..).partition(fits);
            inner.handles = kept;
            gone = left;
        }
        drop(inner);
        drop(gone);
        Ok(self.stateid())
    }
}

impl LockState {
    /// The stateid after one more change.
    pub(crate) fn advance(&self) -> Stateid {
        let mut sequence = self.sequence.lock();
        *sequence = following(*sequence);
        Stateid {
            sequence: *sequence,
            other: self.other,
        }
    }
}
