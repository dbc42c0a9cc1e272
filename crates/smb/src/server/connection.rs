//! One client's connection: frames come in, are decrypted, split into requests, checked against the sequence window
//! and their signatures, and become exchanges (MS-SMB2 3.3.5.1, 3.3.5.2).

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use smallvec::SmallVec;
use strongroom_device::Timestamp;

use super::exchange::{Element, Exchange, Signature};
use super::negotiated::Negotiated;
use super::operations::negotiate;
use super::session::Session;
use super::waiting::Waiters;
use super::window::Window;
use super::{ConnectionStatus, Disconnect, Server, outbox};
use crate::compress;
use crate::crypto::{Sender, TransformHeader};
use crate::wire::compound::Compound;
use crate::wire::header::{
    COMPRESSION_MAGIC, Header, HeaderFlags, SMB1_MAGIC, SMB2_MAGIC, TRANSFORM_MAGIC,
};
use crate::wire::{Command, SessionId};

/// The state of one connection (MS-SMB2 3.3.1.7).
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) server: Arc<Server>,
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) since: Timestamp,
    pub(crate) outbox: Arc<outbox::Shared>,
    pub(crate) window: Mutex<Window>,
    pub(crate) negotiated: OnceLock<Negotiated>,
    pub(crate) waiters: Waiters,
    sessions: Mutex<Sessions>,
    requests: AtomicU64,
    /// Bytes of frames whose requests wait in tasks.
    waiting_bytes: AtomicUsize,
}

/// Bytes of frames with waiting requests beyond which a connection's reader stops. What waits here waits for memory or
/// for disks, so nothing that this client could still send would help it on.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// A frame's bytes among those that wait, until it is dropped.
#[derive(Debug)]
pub(crate) struct WaitingBytes {
    conn: Arc<Conn>,
    bytes: usize,
}

impl Drop for WaitingBytes {
    fn drop(&mut self) {
        let before = self
            .conn
            .waiting_bytes
            .fetch_sub(self.bytes, Ordering::AcqRel);
        if before > WAITING_BYTES_MAX {
            self.conn.outbox.nudge();
        }
    }
}

#[derive(Debug, Default)]
struct Sessions {
    by_id: HashMap<u64, Arc<Session>>,
    /// The newest that ended: they have nothing left but the keys by which their client knows our refusals.
    ended: VecDeque<Arc<Session>>,
    closed: bool,
}

/// Ended sessions whose keys a connection keeps.
const ENDED_SESSIONS_MAX: usize = 16;

impl Sessions {
    fn ended(&self, id: SessionId) -> Option<Arc<Session>> {
        let ended = self.ended.iter().rev().find(|session| session.id == id);
        ended.cloned()
    }
}

impl Conn {
    pub(crate) fn new(server: &Arc<Server>, id: u64, peer: SocketAddr) -> Self {
        let limits = &server.config.limits;
        Self {
            id,
            peer,
            since: server.env.now(),
            outbox: Arc::default(),
            window: Mutex::new(Window::new(limits.credits)),
            negotiated: OnceLock::new(),
            waiters: Waiters::new(limits.waiting_per_connection),
            sessions: Mutex::default(),
            requests: AtomicU64::new(0),
            waiting_bytes: AtomicUsize::new(0),
            server: Arc::clone(server),
        }
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.sessions.lock().by_id.get(&id.0).cloned()
    }

    /// The session whose keys a message under this id is signed with: also one that ended lately, so that a client that
    /// signs takes the word that it did (MS-SMB2 3.3.4.1.1).
    pub(crate) fn signer(&self, id: SessionId) -> Option<Arc<Session>> {
        let sessions = self.sessions.lock();
        let living = sessions.by_id.get(&id.0).cloned();
        living.or_else(|| sessions.ended(id))
    }

    /// False when the connection has as many sessions as it may, or has ended.
    pub(crate) fn add_session(&self, session: &Arc<Session>) -> bool {
        let mut sessions = self.sessions.lock();
        let limit = self.server.config.limits.sessions_per_connection;
        if sessions.closed || sessions.by_id.len() >= limit {
            return false;
        }
        sessions.by_id.insert(session.id.0, Arc::clone(session));
        true
    }

    pub(crate) fn remove_session(&self, id: SessionId) -> Option<Arc<Session>> {
        let mut sessions = self.sessions.lock();
        let session = sessions.by_id.remove(&id.0)?;
        if sessions.ended.len() == ENDED_SESSIONS_MAX {
            sessions.ended.pop_front();
        }
        sessions.ended.push_back(Arc::clone(&session));
        Some(session)
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.lock().by_id.values().cloned().collect()
    }

    /// Notes that a frame waits.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> WaitingBytes {
        self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        let conn = Arc::clone(self);
        WaitingBytes { conn, bytes }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting_bytes.load(Ordering::Acquire) > WAITING_BYTES_MAX
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn dialect_name(&self) -> &'static str {
        self.negotiated.get().map_or("", Negotiated::dialect_name)
    }

    pub(crate) fn status(&self) -> ConnectionStatus {
        ConnectionStatus {
            id: self.id,
            peer: self.peer,
            dialect: self.dialect_name(),
            sessions: self.sessions.lock().by_id.len(),
            since: self.since,
            requests: self.requests(),
        }
    }

    /// Takes one frame; see [`super::Connection::receive`].
    pub(crate) fn receive(self: &Arc<Self>, frame: BytesMut) -> Result<(), Disconnect> {
        if self.outbox.is_closed() {
            return Err(Disconnect::Closed);
        }
        match frame.first_chunk::<4>() {
            Some(&SMB2_MAGIC) => self.receive_messages(frame, None),
            Some(&TRANSFORM_MAGIC) => self.receive_encrypted(frame),
            Some(&SMB1_MAGIC) => negotiate::multi_protocol(self, &frame),
            Some(&COMPRESSION_MAGIC) => self.receive_messages(self.decompressed(&frame)?, None),
            _ => Err(Disconnect::NotSmb),
        }
    }

    /// MS-SMB2 3.3.5.2.1: what cannot be decrypted ends the connection.
    fn receive_encrypted(self: &Arc<Self>, mut frame: BytesMut) -> Result<(), Disconnect> {
        let header = TransformHeader::parse(&frame).map_err(|_| Disconnect::Decryption)?;
        let session = self
            .session(SessionId(header.session_id))
            .ok_or(Disconnect::Decryption)?;
        let keys = session.signed_in().map(|user| &user.keys);
        let cipher = keys
            .and_then(|keys| keys.cipher.as_ref())
            .ok_or(Disconnect::Decryption)?;
        cipher
            .open(&mut frame)
            .map_err(|_| Disconnect::Decryption)?;
        frame.advance(crate::crypto::TRANSFORM_HEADER_LEN);
        match frame.first_chunk::<4>() {
            Some(&SMB2_MAGIC) => self.receive_messages(frame, Some(session)),
            Some(&COMPRESSION_MAGIC) => {
                self.receive_messages(self.decompressed(&frame)?, Some(session))
            }
            _ => Err(Disconnect::Malformed),
        }
    }

    /// MS-SMB2 3.3.5.2.13: what cannot be decompressed, or was not agreed on, ends the connection.
    fn decompressed(&self, frame: &[u8]) -> Result<BytesMut, Disconnect> {
        let negotiated = self.negotiated.get().ok_or(Disconnect::Negotiation)?;
        let form = negotiated.compression.as_ref();
        let form = form.ok_or(Disconnect::Malformed)?;
        let max = self.server.config.max_frame_size();
        let message = compress::decompress(form, frame, max);
        let message = message.map_err(|_| Disconnect::Malformed)?;
        match message.first_chunk::<4>() {
            Some(&SMB2_MAGIC) => Ok(BytesMut::from(Bytes::from(message))),
            _ => Err(Disconnect::Malformed),
        }
    }

    fn receive_messages(
        self: &Arc<Self>,
        mut frame: BytesMut,
        encrypted: Option<Arc<Session>>,
    ) -> Result<(), Disconnect> {
        let mut elements = self.split(&frame)?;
        for element in &elements {
            self.admit_sequence(element)?;
            check_encrypted_session(element, encrypted.as_deref())?;
        }
        if encrypted.is_none() {
            self.check_signatures(&mut frame, &mut elements);
        }
        self.requests
            .fetch_add(elements.len() as u64, Ordering::Relaxed);
        Exchange::new(Arc::clone(self), frame.freeze(), elements, encrypted).run();
        Ok(())
    }

    fn split(&self, frame: &[u8]) -> Result<SmallVec<[Element; 2]>, Disconnect> {
        let mut elements = SmallVec::new();
        let mut start = 0;
        for message in Compound::new(frame) {
            let message = message.map_err(|_| Disconnect::Malformed)?;
            if elements.len() >= self.server.config.limits.compound_requests {
                return Err(Disconnect::TooManyRequests);
            }
            let end = start + message.raw.len();
            let charge = self.charge_of(&message.header);
            elements.push(Element::new(message.header, charge, start..end));
            start = end;
        }
        Ok(elements)
    }

    /// MS-SMB2 3.3.5.2.3, and that negotiation comes first.
    fn admit_sequence(&self, element: &Element) -> Result<(), Disconnect> {
        let header = &element.header;
        if header.is_response() {
            return Err(Disconnect::Malformed);
        }
        if self.negotiated.get().is_none() && header.command != Command::Negotiate {
            return Err(Disconnect::Negotiation);
        }
        if header.command == Command::Cancel {
            return Ok(());
        }
        let (charge, id) = (element.charge, header.message_id.0);
        let granted = self.window.lock().consume(id, charge);
        if granted {
            Ok(())
        } else {
            Err(Disconnect::Sequence)
        }
    }

    /// The message ids that a request uses up.
    fn charge_of(&self, header: &Header) -> u16 {
        let many = self.negotiated.get().is_some_and(Negotiated::large_mtu);
        if many { header.charge() } else { 1 }
    }

    /// MS-SMB2 3.3.5.2.4. What a wrong signature leads to is decided when the request's turn comes.
    fn check_signatures(&self, frame: &mut BytesMut, elements: &mut [Element]) {
        let mut session: Option<Arc<Session>> = None;
        for (index, element) in elements.iter_mut().enumerate() {
            let header = &element.header;
            let related = index > 0 && header.flags.contains(HeaderFlags::RELATED_OPERATIONS);
            if !related
                && session
                    .as_ref()
                    .is_none_or(|session| session.id != header.session_id)
            {
                session = self.signer(header.session_id);
            }
            if !header.flags.contains(HeaderFlags::SIGNED) {
                continue;
            }
            let user = session.as_ref().and_then(|session| session.signed_in());
            if let (Some(user), Some(message)) = (user, frame.get_mut(element.range.clone())) {
                let valid = user.keys.signing.verify(message, Sender::Client).is_ok();
                element.signature = if valid {
                    Signature::Valid
                } else {
                    Signature::Wrong
                };
            }
        }
    }

    /// Ends everything that the client held. Runs once; later calls find nothing.
    pub(crate) fn close(self: &Arc<Self>) {
        self.outbox.close();
        self.waiters.close();
        let mut sessions = self.sessions.lock();
        let first = !std::mem::replace(&mut sessions.closed, true);
        let ended: Vec<_> = sessions.by_id.drain().map(|(_, session)| session).collect();
        drop(sessions);
        if first {
            let conn = Arc::clone(self);
            let work = async move { conn.tear_down(ended).await };
            self.server.env.spawn("smb teardown", Box::pin(work));
        }
    }

    async fn tear_down(&self, sessions: Vec<Arc<Session>>) {
        for session in sessions {
            session.tear_down(&self.server).await;
        }
        self.server.forget_connection(self.id);
    }
}

/// The session inside an encrypted frame is the one whose key encrypts (MS-SMB2 3.3.5.2.1.1).
fn check_encrypted_session(
    element: &Element,
    encrypted: Option<&Session>,
) -> Result<(), Disconnect> {
    let related = element
        .header
        .flags
        .contains(HeaderFlags::RELATED_OPERATIONS);
    match encrypted {
        Some(session) if !related && session.id != element.header.session_id => {
            Err(Disconnect::Decryption)
        }
        _ => Ok(()),
    }
}
