//! One admitted request: who sent it, in which session and tree connect, and its bytes.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "codes from the wire are open: what is not served is refused as one"
)]

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::answer::Body;
use super::channel::Outstanding;
use super::connection::Conn;
use super::exchange::{Element, Signature};
use super::open::{FileOpen, Open, Target};
use super::reply::Addressing;
use super::session::{Session, SignedIn};
use super::session_channel::SessionChannel;
use super::status::Failure;
use super::tree::Tree;
use super::who::Who;
use crate::compress::Form;
use crate::wire::header::{HEADER_LEN, Header, HeaderFlags};
use crate::wire::read::ReadFlags;
use crate::wire::{Codec, Command, FileId, NtStatus, Reader, SessionId, TreeId, WireError};

/// Where a READ's flags are in its body (MS-SMB2 2.2.19).
const READ_FLAGS_AT: usize = 3;

/// What related requests of one frame take over from the one before (MS-SMB2 3.3.5.2.7.2).
#[derive(Debug, Default)]
pub(crate) struct Related {
    channel: Option<Arc<SessionChannel>>,
    session_id: SessionId,
    tree: Option<Arc<Tree>>,
    tree_id: TreeId,
    file: Option<FileId>,
    /// How the request before ended, if badly.
    failure: Option<NtStatus>,
    /// The frame began with a related request: there is nothing to relate to.
    headless: bool,
}

impl Related {
    pub(crate) fn addressing(&self, _header: &Header) -> Addressing {
        Addressing {
            session_id: self.session_id,
            tree_id: self.tree_id,
            async_id: None,
        }
    }

    pub(crate) fn succeeded(&mut self) {
        self.failure = None;
    }

    pub(crate) fn failed(&mut self, status: NtStatus) {
        self.failure = Some(status);
    }

    /// A CREATE names the file of the requests behind it.
    pub(crate) fn learn(&mut self, body: &Body) {
        self.failure = None;
        if let Some(file) = body.file_id() {
            self.file = Some(file);
        }
    }

    /// A request cannot relate to one that had none (MS-SMB2 3.3.5.2.7.2).
    fn has_session(&self) -> bool {
        let channel = self.channel.as_ref();
        channel.is_some_and(|channel| channel.is_established())
    }

    fn take_over(&mut self, conn: &Conn, header: &Header) {
        self.session_id = header.session_id;
        self.tree_id = header.tree_id();
        self.channel = conn.channel(header.session_id);
        self.tree = None;
        self.file = None;
        self.failure = None;
    }
}

/// A request that may be carried out.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) conn: Arc<Conn>,
    pub(crate) header: Header,
    /// None for the requests that come before there is one, and for ECHO.
    channel: Option<Arc<SessionChannel>>,
    /// None for the requests that need none.
    tree: Option<Arc<Tree>>,
    /// Stands for FileId::ANY in related requests; or how the request failed that should have named a file.
    file: Result<FileId, NtStatus>,
    pub(crate) encrypted: bool,
    /// Counts on the open that the request is about.
    outstanding: OnceLock<Outstanding>,
    /// The request's signature was checked and right.
    pub(crate) signed: bool,
    frame: Bytes,
    range: Range<usize>,
}

/// What a command needs before it may be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Session,
    Tree,
}

fn needs(command: Command) -> Needs {
    match command {
        Command::Negotiate | Command::SessionSetup | Command::Echo | Command::Cancel => {
            Needs::Nothing
        }
        Command::Logoff | Command::TreeConnect | Command::OplockBreak => Needs::Session,
        Command::TreeDisconnect
        | Command::Create
        | Command::Close
        | Command::Flush
        | Command::Read
        | Command::Write
        | Command::Lock
        | Command::Ioctl
        | Command::QueryDirectory
        | Command::ChangeNotify
        | Command::QueryInfo
        | Command::SetInfo => Needs::Tree,
        Command::ServerToClientNotification | Command::Unknown(_) => Needs::Nothing,
    }
}

impl Request {
    /// The checks that all requests share, in the order of MS-SMB2 3.3.5.2.
    pub(crate) fn admit(
        conn: &Arc<Conn>,
        frame: &Bytes,
        element: &Element,
        index: usize,
        related: &mut Related,
        encrypted: Option<&Arc<Session>>,
    ) -> Result<Self, Failure> {
        let header = element.header;
        let is_related = header.flags.contains(HeaderFlags::RELATED_OPERATIONS);
        if !is_related || index == 0 {
            related.take_over(conn, &header);
            related.headless = is_related;
        }
        if related.headless {
            return Err(NtStatus::INVALID_PARAMETER.into());
        }
        let needs = needs(header.command);
        let encrypted = encrypted.is_some();
        let channel = related.channel.clone();
        if needs != Needs::Nothing && is_related && !related.has_session() {
            return Err(NtStatus::INVALID_PARAMETER.into());
        }
        if needs != Needs::Nothing {
            check_session(conn, channel.as_deref(), element, encrypted)?;
        } else if element.signature == Signature::Wrong {
            return Err(NtStatus::ACCESS_DENIED.into());
        }
        let tree = match (needs, &channel) {
            (Needs::Tree, Some(channel)) => Some(related.find_tree(&channel.session, encrypted)?),
            _ => None,
        };
        Ok(Self {
            conn: Arc::clone(conn),
            header,
            channel,
            tree,
            file: related.file_for(element, frame, is_related),
            encrypted,
            outstanding: OnceLock::new(),
            signed: element.signature == Signature::Valid,
            frame: frame.clone(),
            range: element.range.clone(),
        })
    }

    /// The message with its header.
    pub(crate) fn message(&self) -> &[u8] {
        self.frame.get(self.range.clone()).unwrap_or_default()
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.message().get(HEADER_LEN..).unwrap_or_default()
    }

    /// The decoded body, after the check of the credit charge against `payload` (MS-SMB2 3.3.5.2.5).
    pub(crate) fn decode<'a, T: Codec<'a>>(&'a self) -> Result<T, WireError> {
        T::decode(self.body())
    }

    /// MS-SMB2 3.3.5.2.5: one credit pays for 64 KiB, of what is sent or of what is asked for.
    pub(crate) fn check_charge(&self, sent: usize, wanted: u32) -> Result<(), Failure> {
        let Some(negotiated) = self.conn.negotiated.get().filter(|one| one.large_mtu()) else {
            return Ok(());
        };
        let _ = negotiated;
        let payload = u64::from(wanted).max(sent as u64);
        let paid = u64::from(self.header.charge()) << 16;
        if payload > paid {
            Err(NtStatus::INVALID_PARAMETER.into())
        } else {
            Ok(())
        }
    }

    /// How the answer to a READ that asks for it is compressed (MS-SMB2 3.3.5.12).
    pub(crate) fn wants_compression(&self) -> Option<Form> {
        let flags = ReadFlags(*self.body().get(READ_FLAGS_AT)?);
        if self.header.command != Command::Read || !flags.contains(ReadFlags::COMPRESSED) {
            return None;
        }
        self.conn.negotiated.get()?.compression.clone()
    }

    pub(crate) fn session(&self) -> Result<&Arc<Session>, Failure> {
        let channel = self.channel.as_ref();
        let session = channel.map(|channel| &channel.session);
        session.ok_or_else(|| NtStatus::USER_SESSION_DELETED.into())
    }

    /// The channel if the request names a session of this connection, whatever its state.
    pub(crate) fn any_channel(&self) -> Option<&Arc<SessionChannel>> {
        self.channel.as_ref()
    }

    /// Whom the request comes from.
    pub(crate) fn who(&self) -> Result<Arc<Who>, Failure> {
        let who = self.session()?.who();
        who.ok_or_else(|| NtStatus::USER_SESSION_DELETED.into())
    }

    pub(crate) fn user(&self) -> Result<&SignedIn, Failure> {
        self.session()?
            .signed_in()
            .ok_or_else(|| NtStatus::USER_SESSION_DELETED.into())
    }

    /// Whether the connection agreed on the POSIX extensions.
    pub(crate) fn is_posix(&self) -> bool {
        let negotiated = self.conn.negotiated.get();
        negotiated.is_some_and(|negotiated| negotiated.posix)
    }

    pub(crate) fn tree(&self) -> Result<&Arc<Tree>, Failure> {
        self.tree
            .as_ref()
            .ok_or_else(|| NtStatus::NETWORK_NAME_DELETED.into())
    }

    /// The id that the request means: its own or the one of the request before.
    pub(crate) fn resolve(&self, id: FileId) -> Result<FileId, Failure> {
        if id == FileId::ANY {
            Ok(self.file?)
        } else {
            Ok(id)
        }
    }

    pub(crate) fn open(&self, id: FileId) -> Result<Arc<Open>, Failure> {
        let tree = self.tree()?;
        let open = self.session()?.open(self.resolve(id)?);
        let open = open.filter(|open| Arc::ptr_eq(&open.tree, tree));
        let open = open.ok_or(NtStatus::FILE_CLOSED)?;
        self.pass_channel(&open)?;
        Ok(open)
    }

    /// MS-SMB2 3.3.5.2.10: once for each request, on the first open that it names.
    fn pass_channel(&self, open: &Open) -> Result<(), Failure> {
        let smb3 = self.conn.negotiated.get().is_some_and(|one| one.is_smb3());
        if let Target::File(file) = &open.target
            && smb3
            && self.outstanding.get().is_none()
        {
            let outstanding = file.channel.admit(&self.header)?;
            self.outstanding.set(outstanding).ok();
            if file.name.is_some() && file.unused.swap(false, Ordering::Relaxed) {
                // Whoever uses an open has had the answer of its create.
                self.conn.server.durables.used(open);
            }
        }
        Ok(())
    }
}

impl Related {
    /// What FileId::ANY means to this request; its own file is what the next one means by it.
    fn file_for(
        &mut self,
        element: &Element,
        frame: &Bytes,
        is_related: bool,
    ) -> Result<FileId, NtStatus> {
        let body = frame
            .get(element.range.clone())
            .and_then(|message| message.get(HEADER_LEN..));
        let named = named_file(element.header.command, body.unwrap_or_default());
        let before = self
            .file
            .ok_or(self.failure.unwrap_or(NtStatus::FILE_CLOSED));
        if let Some(named) = named.filter(|named| *named != FileId::ANY) {
            self.file = Some(named);
        }
        if is_related {
            before
        } else {
            Err(NtStatus::FILE_CLOSED)
        }
    }

    fn find_tree(&mut self, session: &Session, encrypted: bool) -> Result<Arc<Tree>, Failure> {
        let tree = match &self.tree {
            Some(tree) if !tree.has_ended() => Arc::clone(tree),
            _ => session
                .tree(self.tree_id)
                .ok_or(NtStatus::NETWORK_NAME_DELETED)?,
        };
        if tree.encrypt && !encrypted {
            return Err(NtStatus::ACCESS_DENIED.into());
        }
        self.tree = Some(Arc::clone(&tree));
        Ok(tree)
    }
}

/// MS-SMB2 3.3.5.2.4, 3.3.5.2.9: a living session of somebody who still may be there, an unbroken signature, encryption
/// where it must be.
fn check_session(
    conn: &Conn,
    channel: Option<&SessionChannel>,
    element: &Element,
    encrypted: bool,
) -> Result<(), Failure> {
    let channel = channel.filter(|channel| channel.is_established());
    let session = &channel.ok_or(NtStatus::USER_SESSION_DELETED)?.session;
    let signed = match element.signature {
        Signature::Wrong => return Err(NtStatus::ACCESS_DENIED.into()),
        Signature::Valid => true,
        Signature::None => false,
    };
    let required = conn.server.config.signing_required;
    if !encrypted && (session.encrypts() || (required && !signed)) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    if !session.refresh(&conn.server) {
        conn.server.end_later(Arc::clone(session));
        return Err(NtStatus::USER_SESSION_DELETED.into());
    }
    Ok(())
}

/// The FileId in the body of a request that has one (MS-SMB2 2.2.15 to 2.2.39).
fn named_file(command: Command, body: &[u8]) -> Option<FileId> {
    let at = match command {
        Command::Close
        | Command::Flush
        | Command::Lock
        | Command::Ioctl
        | Command::QueryDirectory
        | Command::ChangeNotify => 8,
        Command::Read | Command::Write | Command::SetInfo => 16,
        Command::QueryInfo => 24,
        _ => return None,
    };
    let mut reader = Reader::new(body.get(at..)?);
    Some(FileId {
        persistent: reader.u64().ok()?,
        volatile: reader.u64().ok()?,
    })
}

/// The file behind an open; a pipe has none.
pub(crate) fn file_of(open: &Open) -> Result<&FileOpen, Failure> {
    match &open.target {
        Target::File(file) => Ok(file),
        Target::Pipe(_) => Err(NtStatus::INVALID_DEVICE_REQUEST.into()),
    }
}
