//! The way from the server to a client: connections that a session may be called back by (RFC 8881, 2.10.3.1), with slots
//! of their own.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Limits;
use crate::server::Peer;

/// Calls at once that a session's backchannel is used for.
const SLOTS_MAX: u32 = 8;
/// Connections that one session may be called back by.
const CONNECTIONS_MAX: usize = 64;

/// How calls to the client are made out (callback_sec_parms4): the flavours known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Security {
    None,
    /// The body of an AUTH_SYS credential that the client chose.
    Sys(Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct Backchannel {
    way: Mutex<Way>,
    slots: Vec<tokio::sync::Mutex<u32>>,
    next: AtomicUsize,
    /// The client answers calls as if it did not know the session.
    faulty: AtomicBool,
    /// Nobody answered the last call.
    silent: AtomicBool,
    /// The client asked for it once; it wants to hear when it is gone.
    wanted: AtomicBool,
}

#[derive(Debug)]
struct Way {
    program: u32,
    security: Security,
    connections: Vec<Weak<Peer>>,
}

impl Backchannel {
    pub(crate) fn new(program: u32, security: Security, limits: Limits) -> Self {
        let slots = limits.requests.clamp(1, SLOTS_MAX);
        Self {
            way: Mutex::new(Way {
                program,
                security,
                connections: Vec::new(),
            }),
            slots: (0..slots).map(|_| tokio::sync::Mutex::new(0)).collect(),
            next: AtomicUsize::new(0),
            faulty: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
        }
    }

    /// The client may be called back by this connection, too.
    pub(crate) fn bind(&self, peer: &Arc<Peer>) {
        self.wanted.store(true, Ordering::Release);
        self.silent.store(false, Ordering::Release);
        let mut way = self.way.lock();
        way.connections
            .retain(|held| held.upgrade().is_some_and(|held| held.is_connected()));
        let known = |held: &Weak<Peer>| std::ptr::eq(held.as_ptr(), Arc::as_ptr(peer));
        if way.connections.len() < CONNECTIONS_MAX && !way.connections.iter().any(known) {
            way.connections.push(Arc::downgrade(peer));
        }
    }

    /// BACKCHANNEL_CTL
    pub(crate) fn change(&self, program: u32, security: Security) {
        let mut way = self.way.lock();
        way.program = program;
        way.security = security;
    }

    /// The connection that was bound last and is still there, with the program and how to show who calls.
    pub(crate) fn way(&self) -> Option<(Arc<Peer>, u32, Security)> {
        let way = self.way.lock();
        let mut peers = way.connections.iter().rev().filter_map(Weak::upgrade);
        let peer = peers.find(|peer| peer.is_connected())?;
        Some((peer, way.program, way.security.clone()))
    }

    /// Whether a call is likely to reach the client.
    pub(crate) fn is_up(&self) -> bool {
        !self.is_faulty() && !self.silent.load(Ordering::Acquire) && self.way().is_some()
    }

    /// Whether the client should hear that it cannot be called (RFC 8881, 18.46.3).
    pub(crate) fn is_missed(&self) -> bool {
        self.wanted.load(Ordering::Acquire) && !self.is_up() && !self.is_faulty()
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.faulty.load(Ordering::Acquire)
    }

    pub(crate) fn set_faulty(&self) {
        self.faulty.store(true, Ordering::Release);
    }

    pub(crate) fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Release);
    }

    /// A slot, as soon as it is free: its number, and the number of its last call that was answered.
    pub(crate) async fn slot(&self) -> (u32, tokio::sync::MutexGuard<'_, u32>) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        let slot = match self
            .slots
            .iter()
            .enumerate()
            .find_map(|(at, slot)| Some((at, slot.try_lock().ok()?)))
        {
            Some(free) => free,
            None => (at, self.slots[at].lock().await),
        };
        (crate::xdr::length(slot.0), slot.1)
    }

    pub(crate) fn slots(&self) -> u32 {
        crate::xdr::length(self.slots.len())
    }
}
