//! What comes of a request: an answer that is there, one that comes later, or one that waits for others.

use std::fmt;
use std::sync::Arc;

use strongroom_device::BoxFuture;

use super::caching::Hushed;
use super::connection::Conn;
use super::reply::Addressing;
use super::session_channel::SessionChannel;
use super::status::Failure;
use super::waiting::Waiter;
use crate::wire::close::CloseResponse;
use crate::wire::create::CreateResponse;
use crate::wire::info::{Buffer, SetInfoResponse};
use crate::wire::ioctl::{FsctlCode, IoctlResponse};
use crate::wire::oplock::OplockBreakRequest;
use crate::wire::session::{SessionFlags, SessionSetupResponse};
use crate::wire::simple::Empty;
use crate::wire::tree::TreeConnectResponse;
use crate::wire::write::WriteResponse;
use crate::wire::{Codec, FileId, NtStatus, Put, TreeId};

pub(crate) type Answer = Result<Body, Failure>;

/// How far a request came.
pub(crate) enum Step {
    /// The response's body is written; this is its status.
    Now(NtStatus),
    Answer(Answer),
    /// Work that is mostly done when polled once.
    Later(BoxFuture<Answer>),
    /// Waits for others: asynchronous from the start, and cancellable.
    Wait(Arc<Waiter>, BoxFuture<Answer>),
}

impl fmt::Debug for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Now(_) => "Now",
            Self::Answer(_) => "Answer",
            Self::Later(_) => "Later",
            Self::Wait(..) => "Wait",
        })
    }
}

impl From<Failure> for Step {
    fn from(failure: Failure) -> Self {
        Self::Answer(Err(failure))
    }
}

/// The body of a response that carries one.
#[derive(Debug)]
pub(crate) enum Body {
    Empty,
    SetInfo,
    Write(u32),
    Close(CloseResponse),
    Create(Box<Created>),
    OplockBreak(Box<Acknowledged>),
    Buffer(NtStatus, Vec<u8>),
    Ioctl(NtStatus, FsctlCode, FileId, Vec<u8>),
    /// NEGOTIATE, laid out already.
    Negotiate(Vec<u8>),
    SessionSetup(SessionSetup),
    TreeConnect(TreeId, TreeConnectResponse),
}

/// A successful CREATE.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) response: CreateResponse<'static>,
    /// The client hears of breaks once it has the response.
    pub(crate) hushed: Option<Hushed>,
}

/// The answer to an acknowledgement of a break.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) response: OplockBreakRequest,
    pub(crate) hushed: Option<Hushed>,
}

/// One step of a logon.
#[derive(Debug)]
pub(crate) struct SessionSetup {
    pub(crate) channel: Arc<SessionChannel>,
    /// More steps follow.
    pub(crate) more: bool,
    pub(crate) flags: SessionFlags,
    pub(crate) token: Vec<u8>,
}

impl Body {
    pub(crate) fn status(&self) -> NtStatus {
        match self {
            Self::Buffer(status, _) | Self::Ioctl(status, ..) => *status,
            Self::SessionSetup(setup) if setup.more => NtStatus::MORE_PROCESSING_REQUIRED,
            Self::Empty
            | Self::SetInfo
            | Self::Write(_)
            | Self::Close(_)
            | Self::Create(_)
            | Self::OplockBreak(_)
            | Self::Negotiate(_)
            | Self::SessionSetup(_)
            | Self::TreeConnect(..) => NtStatus::SUCCESS,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Empty => Empty.encode(out),
            Self::SetInfo => SetInfoResponse.encode(out),
            Self::Write(count) => WriteResponse { count: *count }.encode(out),
            Self::Close(close) => close.encode(out),
            Self::Create(create) => create.response.encode(out),
            Self::OplockBreak(ack) => ack.response.encode(out),
            Self::Buffer(_, data) => Buffer { data }.encode(out),
            Self::Ioctl(_, code, file_id, output) => {
                let (code, file_id) = (*code, *file_id);
                IoctlResponse {
                    code,
                    file_id,
                    input: &[],
                    output,
                }
                .encode(out);
            }
            Self::Negotiate(body) => out.put(body),
            Self::SessionSetup(setup) => {
                let (flags, security_buffer) = (setup.flags, &*setup.token);
                SessionSetupResponse {
                    flags,
                    security_buffer,
                }
                .encode(out);
            }
            Self::TreeConnect(_, response) => response.encode(out),
        }
    }

    /// New sessions and tree connects are told of in the header.
    pub(crate) fn address(&self, addressing: &mut Addressing) {
        match self {
            Self::SessionSetup(setup) => addressing.session_id = setup.channel.session.id,
            Self::TreeConnect(id, _) => addressing.tree_id = *id,
            Self::Empty
            | Self::SetInfo
            | Self::Write(_)
            | Self::Close(_)
            | Self::Create(_)
            | Self::OplockBreak(_)
            | Self::Buffer(..)
            | Self::Ioctl(..)
            | Self::Negotiate(_) => {}
        }
    }

    /// The response that ends a logon is signed with the keys that came of it (MS-SMB2 3.3.5.5.3).
    pub(crate) fn signer(&self) -> Option<Arc<SessionChannel>> {
        let Self::SessionSetup(setup) = self else {
            return None;
        };
        (!setup.more).then(|| Arc::clone(&setup.channel))
    }

    /// The file that related requests mean.
    pub(crate) fn file_id(&self) -> Option<FileId> {
        let Self::Create(create) = self else {
            return None;
        };
        Some(create.response.file_id)
    }

    /// What must wait until this answer is on its way.
    pub(crate) fn take_hushed(&mut self) -> Option<Hushed> {
        match self {
            Self::Create(create) => create.hushed.take(),
            Self::OplockBreak(ack) => ack.hushed.take(),
            Self::Empty
            | Self::SetInfo
            | Self::Write(_)
            | Self::Close(_)
            | Self::Buffer(..)
            | Self::Ioctl(..)
            | Self::Negotiate(_)
            | Self::SessionSetup(_)
            | Self::TreeConnect(..) => None,
        }
    }

    /// Whether the response goes into a preauthentication hash.
    pub(crate) fn is_hashed(&self) -> bool {
        match self {
            Self::Negotiate(_) => true,
            Self::SessionSetup(setup) => setup.more,
            Self::Empty
            | Self::SetInfo
            | Self::Write(_)
            | Self::Close(_)
            | Self::Create(_)
            | Self::OplockBreak(_)
            | Self::Buffer(..)
            | Self::Ioctl(..)
            | Self::TreeConnect(..) => false,
        }
    }

    /// Takes the response into the preauthentication hashes (MS-SMB2 3.3.5.4, 3.3.5.5).
    pub(crate) fn hash(&self, conn: &Conn, message: &[u8]) {
        if let Self::Negotiate(_) = self
            && let Some(negotiated) = conn.negotiated.get()
        {
            negotiated.hash_response(message);
        }
        if let Self::SessionSetup(setup) = self
            && setup.more
            && let Some(logon) = setup.channel.logon.lock().as_mut()
        {
            logon.preauth.update(message);
        }
    }
}
