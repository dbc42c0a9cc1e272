//! One client's connection: frames come in, are decrypted, split into requests, checked against the sequence window
//! and their signatures, and become exchanges (MS-SMB2 3.3.5.1, 3.3.5.2).

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use smallvec::SmallVec;
use strongroom_device::Timestamp;
use strongroom_vfs::Sid;

use super::exchange::{Element, Exchange, Signature};
use super::negotiated::Negotiated;
use super::operations::negotiate;
use super::session::Session;
use super::session_channel::SessionChannel;
use super::waiting::Waiters;
use super::window::Window;
use super::{ConnectionStatus, Disconnect, Server, Traffic, outbox};
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
    channels: Mutex<Channels>,
    requests: AtomicU64,
    received: AtomicU64,
    signed_in: AtomicBool,
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

/// The sessions whose requests come on this connection, by their ids.
#[derive(Debug, Default)]
struct Channels {
    by_id: HashMap<u64, Arc<SessionChannel>>,
    /// The newest that ended: they have nothing left but the keys by which their client knows our refusals.
    ended: VecDeque<Arc<SessionChannel>>,
    closed: bool,
}

/// Ended sessions whose keys a connection keeps.
const ENDED_SESSIONS_MAX: usize = 16;

impl Channels {
    fn ended(&self, id: SessionId) -> Option<Arc<SessionChannel>> {
        let is_it = |channel: &&Arc<SessionChannel>| channel.session.id == id;
        self.ended.iter().rev().find(is_it).cloned()
    }

    /// Logons that have begun and not succeeded.
    fn unfinished(&self) -> usize {
        let open = |channel: &&Arc<SessionChannel>| !channel.is_established();
        self.by_id.values().filter(open).count()
    }
}

impl Conn {
    pub(crate) fn new(server: &Arc<Server>, id: u64, peer: SocketAddr) -> Self {
        let limits = &server.config.limits;
        Self {
            id,
            peer,
            since: server.env.now(),
            outbox: Arc::new(outbox::Shared::new(Arc::clone(&server.buffers))),
            window: Mutex::new(Window::new(limits.credits)),
            negotiated: OnceLock::new(),
            waiters: Waiters::new(limits.waiting_per_connection),
            channels: Mutex::default(),
            requests: AtomicU64::new(0),
            received: AtomicU64::new(0),
            signed_in: AtomicBool::new(false),
            waiting_bytes: AtomicUsize::new(0),
            server: Arc::clone(server),
        }
    }

    pub(crate) fn channel(&self, id: SessionId) -> Option<Arc<SessionChannel>> {
        self.channels.lock().by_id.get(&id.0).cloned()
    }

    /// The channel whose key a message under this id is signed with: also one that ended lately, so that a client that
    /// signs takes the word that it did (MS-SMB2 3.3.4.1.1).
    pub(crate) fn signer(&self, id: SessionId) -> Option<Arc<SessionChannel>> {
        let channels = self.channels.lock();
        let living = channels.by_id.get(&id.0).cloned();
        living.or_else(|| channels.ended(id))
    }

    /// False when the connection has as many sessions or unfinished logons as it may, or has ended.
    pub(crate) fn add_channel(&self, channel: &Arc<SessionChannel>) -> bool {
        let mut channels = self.channels.lock();
        let limits = &self.server.config.limits;
        let full = channels.by_id.len() >= limits.sessions_per_connection
            || channels.unfinished() >= limits.logons_per_connection;
        if channels.closed || full {
            return false;
        }
        let id = channel.session.id.0;
        channels.by_id.insert(id, Arc::clone(channel));
        true
    }

    pub(crate) fn remove_channel(&self, id: SessionId) -> Option<Arc<SessionChannel>> {
        let mut channels = self.channels.lock();
        let channel = channels.by_id.remove(&id.0)?;
        if channels.ended.len() == ENDED_SESSIONS_MAX {
            channels.ended.pop_front();
        }
        channels.ended.push_back(Arc::clone(&channel));
        Some(channel)
    }

    /// A further channel did not come to be; its session lives on.
    pub(crate) fn drop_channel(&self, id: SessionId) {
        self.channels.lock().by_id.remove(&id.0);
    }

    /// Whether this user has signed in here.
    pub(crate) fn is_of(&self, user: &Sid) -> bool {
        let channels = self.channels.lock();
        let mut established = channels.by_id.values().filter(|one| one.is_established());
        established.any(|channel| {
            let who = channel.session.who();
            who.is_some_and(|who| !who.anonymous && who.credentials.user == *user)
        })
    }

    pub(crate) fn session_count(&self) -> usize {
        self.channels.lock().by_id.len()
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

    /// Somebody has signed in: from now on the connection is not a stranger's.
    pub(crate) fn has_signed_in(&self) {
        self.signed_in.store(true, Ordering::Release);
    }

    pub(crate) fn is_signed_in(&self) -> bool {
        self.signed_in.load(Ordering::Acquire)
    }

    pub(crate) fn frame_max(&self) -> usize {
        let config = &self.server.config;
        if self.is_signed_in() {
            config.max_frame_size()
        } else {
            config
                .max_frame_size()
                .min(config.limits.frame_before_logon)
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of frames so far, in and out.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests(),
            received: self.received.load(Ordering::Relaxed),
            sent: self.outbox.sent(),
        }
    }

    pub(crate) fn status(&self) -> ConnectionStatus {
        ConnectionStatus {
            id: self.id,
            peer: self.peer,
            dialect: self.negotiated.get().map_or("", |one| one.dialect.name()),
            sessions: self.session_count(),
            since: self.since,
            requests: self.requests(),
        }
    }

    /// Takes one frame; see [`super::Connection::receive`].
    pub(crate) fn receive(self: &Arc<Self>, frame: BytesMut) -> Result<(), Disconnect> {
        if self.outbox.is_closed() {
            return Err(Disconnect::Closed);
        }
        if frame.len() > self.frame_max() {
            return Err(Disconnect::TooLarge);
        }
        self.received
            .fetch_add(frame.len() as u64, Ordering::Relaxed);
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
        let channel = self.channel(SessionId(header.session_id));
        let channel = channel.filter(|channel| channel.is_established());
        let session = Arc::clone(&channel.ok_or(Disconnect::Decryption)?.session);
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
        let mut channel: Option<Arc<SessionChannel>> = None;
        for (index, element) in elements.iter_mut().enumerate() {
            let header = &element.header;
            let related = index > 0 && header.flags.contains(HeaderFlags::RELATED_OPERATIONS);
            let other = |channel: &Arc<SessionChannel>| channel.session.id != header.session_id;
            if !related && channel.as_ref().is_none_or(other) {
                channel = self.signer_of(header);
            }
            if !header.flags.contains(HeaderFlags::SIGNED) {
                continue;
            }
            let key = channel.as_ref().and_then(|channel| channel.signing());
            if let (Some(key), Some(message)) = (key, frame.get_mut(element.range.clone())) {
                let valid = key.verify(message, Sender::Client).is_ok();
                element.signature = if valid {
                    Signature::Valid
                } else {
                    Signature::Wrong
                };
                element.signer.clone_from(&channel);
            }
        }
    }

    /// A request for a further channel is signed with the key of its session, which lives on another connection.
    fn signer_of(&self, header: &Header) -> Option<Arc<SessionChannel>> {
        let known = self.signer(header.session_id);
        if known.is_some() || header.command != Command::SessionSetup {
            return known;
        }
        let session = self.server.find_session(header.session_id)?;
        Some(Arc::new(SessionChannel::new(session)))
    }

    /// Ends everything that the client held. Runs once; later calls find nothing.
    pub(crate) fn close(self: &Arc<Self>) {
        self.outbox.close();
        self.waiters.close();
        let mut channels = self.channels.lock();
        let first = !std::mem::replace(&mut channels.closed, true);
        let ended: Vec<_> = channels.by_id.drain().map(|(_, channel)| channel).collect();
        drop(channels);
        if first {
            let conn = Arc::clone(self);
            let work = async move { conn.tear_down(ended).await };
            self.server.env.spawn("smb teardown", Box::pin(work));
        }
    }

    /// Sessions that other connections carry too live on.
    async fn tear_down(&self, channels: Vec<Arc<SessionChannel>>) {
        for channel in channels {
            if channel.session.leave(self.id) {
                channel.session.tear_down(&self.server).await;
            }
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
