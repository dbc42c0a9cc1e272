//! DCE/RPC over the named pipes of `IPC$` (MS-RPCE, C706): the interfaces that file managers ask,
//! `srvsvc` (MS-SRVS) for the list of shares, `wkssvc` (MS-WKST) for the server's name, `lsarpc`
//! (MS-LSAT, MS-LSAD) and `samr` (MS-SAMR) for the names of users and groups. Nothing is changed here.
//!
//! A [`Pipe`] takes bytes and gives bytes, as any protocol part here. It is in message mode: each
//! fragment that the server sends is one message.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod accounts;
mod handles;
mod lsarpc;
mod ndr;
mod pdu;
mod samr;
mod srvsvc;
#[cfg(test)]
mod tests;
mod wkssvc;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use strongroom_identity::{Group, Sid, SidName, User};

use crate::wire::{Guid, WireError};
use handles::Handles;
use pdu::{Fragment, PduHeader};

/// One share as the list of shares shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcShare {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: RpcShareKind,
    /// Comment.
    pub comment: String,
    /// The path that levels 2 and 502 show to administrators; may be empty.
    pub path: String,
}

/// Share types (MS-SRVS 2.2.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RpcShareKind {
    /// A directory tree.
    Disk,
    /// `IPC$`.
    Ipc,
}

/// What the interfaces need to know, as the user of the pipe may see it.
pub trait PipeContext: Send + Sync {
    /// The server's NetBIOS name, without backslashes.
    fn server_name(&self) -> String;
    /// The workgroup's or domain's name.
    fn domain(&self) -> String;
    /// The server's comment.
    fn comment(&self) -> String;
    /// The shares that this user may see, `IPC$` included.
    fn shares(&self) -> Vec<RpcShare>;
    /// Seconds since 1970, UTC.
    fn unix_time(&self) -> i64;
    /// The user of the pipe; None where nobody in particular has signed in, who learns no accounts.
    fn user(&self) -> Option<Sid>;
    /// The domain of the accounts of this machine.
    fn machine_sid(&self) -> Sid;
    /// As people know a user, a group or a well-known SID.
    fn sid_name(&self, sid: &Sid) -> Option<SidName>;
    /// The SID of such a name, without case and without a domain.
    fn sid_of(&self, name: &str) -> Option<Sid>;
    /// All users of this machine.
    fn users(&self) -> Vec<User>;
    /// All groups, the built-in ones too.
    fn groups(&self) -> Vec<Group>;
}

/// Why a pipe refuses bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PipeError {
    /// The client sent what is no RPC; the pipe is of no more use (STATUS_PIPE_DISCONNECTED).
    #[error("the pipe is broken: {0}")]
    Broken(&'static str),
    /// The client does not read its answers (STATUS_PIPE_BUSY).
    #[error("too many answers wait to be read")]
    Full,
}

/// What a read gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipeRead {
    /// Bytes of one message.
    pub data: Vec<u8>,
    /// Whether the message goes on, which the server tells with STATUS_BUFFER_OVERFLOW.
    pub more: bool,
}

/// The largest fragment that either side may send; what Windows uses.
const FRAGMENT_MAX: u16 = 4280;
/// What every implementation must accept (C706 12.6.3.1, MustRecvFragSize).
const FRAGMENT_MIN: u16 = 1432;
/// The largest request, over all of its fragments.
const REQUEST_MAX: usize = 64 * 1024;
/// Answers that may wait to be read.
const OUTPUT_MAX: usize = 4 * 1024 * 1024;
/// Presentation contexts of one pipe.
const CONTEXTS_MAX: usize = 16;

/// nca_s_op_rng_error
const FAULT_OPNUM: u32 = 0x1C01_0002;
/// nca_s_unk_if
const FAULT_INTERFACE: u32 = 0x1C01_0003;
/// nca_s_fault_context_mismatch
const FAULT_HANDLE: u32 = 0x1C00_001A;
/// RPC_X_BAD_STUB_DATA
const FAULT_STUB: u32 = 0x0000_06F7;

/// Runs one operation, by its number, on its parameters and gives its results.
type Call = fn(&dyn PipeContext, &mut Handles, u16, &[u8]) -> Result<Vec<u8>, CallError>;

/// An interface: its id, its major version, and its operations.
#[derive(Debug, Clone, Copy)]
struct Interface {
    name: &'static str,
    id: Guid,
    version: u32,
    call: Call,
}

/// Why a call is answered with a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallError {
    Opnum,
    /// A context handle that was not given out on this pipe, or for something else.
    Handle,
    Stub,
}

impl From<WireError> for CallError {
    fn from(_: WireError) -> Self {
        Self::Stub
    }
}

impl CallError {
    const fn fault(self) -> u32 {
        match self {
            Self::Opnum => FAULT_OPNUM,
            Self::Handle => FAULT_HANDLE,
            Self::Stub => FAULT_STUB,
        }
    }
}

const INTERFACES: [Interface; 4] = [
    srvsvc::INTERFACE,
    wkssvc::INTERFACE,
    lsarpc::INTERFACE,
    samr::INTERFACE,
];

/// A request of which the last fragment has not come yet.
#[derive(Debug)]
struct Partial {
    call_id: u32,
    context: u16,
    opnum: u16,
    stub: Vec<u8>,
}

/// The server's end of one open pipe.
pub struct Pipe {
    interface: Interface,
    context: Arc<dyn PipeContext>,
    handles: Handles,
    /// Bytes that are no whole fragment yet.
    input: Vec<u8>,
    /// Messages that were not read yet.
    output: VecDeque<Vec<u8>>,
    output_len: usize,
    /// Ids of the presentation contexts that were accepted.
    bound: Vec<u16>,
    fragment_max: u16,
    partial: Option<Partial>,
    broken: Option<&'static str>,
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe")
            .field("interface", &self.interface.name)
            .field("input", &self.input.len())
            .field("output", &self.output_len)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl Pipe {
    /// Opens the pipe `name`, with or without `\` or `PIPE\` before it, in any case. None when
    /// there is no such pipe (STATUS_OBJECT_NAME_NOT_FOUND).
    #[must_use]
    pub fn open(name: &str, context: Arc<dyn PipeContext>) -> Option<Self> {
        let name = name.trim_start_matches('\\').to_ascii_lowercase();
        let name = name.strip_prefix("pipe\\").unwrap_or(&name);
        let interface = INTERFACES
            .into_iter()
            .find(|interface| interface.name == name)?;
        Some(Self {
            interface,
            context,
            handles: Handles::default(),
            input: Vec::new(),
            output: VecDeque::new(),
            output_len: 0,
            bound: Vec::new(),
            fragment_max: FRAGMENT_MAX,
            partial: None,
            broken: None,
        })
    }

    /// Takes bytes of the client and answers every whole fragment; the answers wait to be read.
    ///
    /// # Errors
    /// See [`PipeError`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PipeError> {
        self.check()?;
        if self.output_len > OUTPUT_MAX {
            return Err(PipeError::Full);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.fill(rest).map_err(|reason| self.break_off(reason))?;
        }
        Ok(())
    }

    /// At most `max` bytes of the next message; none when no message waits.
    ///
    /// # Errors
    /// See [`PipeError`]; answers made before the pipe broke can still be read.
    pub fn read(&mut self, max: usize) -> Result<Option<PipeRead>, PipeError> {
        let Some(message) = self.output.front_mut() else {
            return self.check().map(|()| None);
        };
        let data: Vec<u8> = message.drain(..max.min(message.len())).collect();
        let more = !message.is_empty();
        if !more {
            self.output.pop_front();
        }
        self.output_len = self.output_len.saturating_sub(data.len());
        Ok(Some(PipeRead { data, more }))
    }

    /// FSCTL_PIPE_TRANSCEIVE: a write and the read of its answer.
    ///
    /// # Errors
    /// See [`PipeError`].
    pub fn transceive(&mut self, bytes: &[u8], max: usize) -> Result<Option<PipeRead>, PipeError> {
        self.write(bytes)?;
        self.read(max)
    }

    /// Bytes of the message that the next read gives, and of all messages.
    #[must_use]
    pub fn available(&self) -> (usize, usize) {
        (self.output.front().map_or(0, Vec::len), self.output_len)
    }

    fn check(&self) -> Result<(), PipeError> {
        self.broken
            .map_or(Ok(()), |reason| Err(PipeError::Broken(reason)))
    }

    fn break_off(&mut self, reason: &'static str) -> PipeError {
        self.broken = Some(reason);
        self.input = Vec::new();
        self.partial = None;
        PipeError::Broken(reason)
    }

    /// Moves bytes to the current fragment, up to its end, and answers it when it is whole.
    fn fill<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], &'static str> {
        let wanted = match PduHeader::peek(&self.input)? {
            Some(header) => usize::from(header.fragment_len),
            None => pdu::HEADER_LEN,
        };
        let missing = wanted.saturating_sub(self.input.len()).min(bytes.len());
        let (now, later) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.input.extend_from_slice(now);
        let whole = PduHeader::peek(&self.input)?
            .is_some_and(|header| usize::from(header.fragment_len) == self.input.len());
        if whole {
            let fragment = core::mem::take(&mut self.input);
            self.answer(&fragment)?;
        }
        Ok(later)
    }

    fn answer(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let (header, fragment) = Fragment::decode(bytes)?;
        match fragment {
            Fragment::Bind(bind) => self.bind(&header, &bind),
            Fragment::Request {
                context,
                opnum,
                stub,
            } => self.request(&header, context, opnum, stub),
            Fragment::Dropped => {
                self.partial = None;
                Ok(())
            }
        }
    }

    fn bind(&mut self, header: &PduHeader, bind: &pdu::Bind<'_>) -> Result<(), &'static str> {
        if header.auth_len != 0 {
            self.send(pdu::bind_nak(header.call_id, pdu::NAK_AUTH_TYPE));
            return Ok(());
        }
        if bind.receive_max < FRAGMENT_MIN {
            self.send(pdu::bind_nak(header.call_id, pdu::NAK_LOCAL_LIMIT));
            return Ok(());
        }
        self.fragment_max = bind.receive_max.min(FRAGMENT_MAX);
        let mut results = Vec::with_capacity(bind.contexts.len());
        for offered in &bind.contexts {
            let result = offered.judge(&self.interface.id, self.interface.version);
            if result == pdu::BindResult::Accepted && !self.bound.contains(&offered.id) {
                if self.bound.len() >= CONTEXTS_MAX {
                    return Err("too many presentation contexts");
                }
                self.bound.push(offered.id);
            }
            results.push(result);
        }
        let ack = pdu::bind_ack(header, self.fragment_max, self.interface.name, &results);
        self.send(ack);
        Ok(())
    }

    fn request(
        &mut self,
        header: &PduHeader,
        context: u16,
        opnum: u16,
        stub: &[u8],
    ) -> Result<(), &'static str> {
        let mut call = match self.partial.take() {
            None if header.is_first() => Partial {
                call_id: header.call_id,
                context,
                opnum,
                stub: Vec::new(),
            },
            Some(partial) if !header.is_first() && partial.call_id == header.call_id => partial,
            _ => return Err("fragments of a request out of order"),
        };
        if call.stub.len().saturating_add(stub.len()) > REQUEST_MAX {
            return Err("a request is too long");
        }
        call.stub.extend_from_slice(stub);
        if header.is_last() {
            self.call(&call);
        } else {
            self.partial = Some(call);
        }
        Ok(())
    }

    fn call(&mut self, call: &Partial) {
        if !self.bound.contains(&call.context) {
            self.send(pdu::fault(call.call_id, call.context, FAULT_INTERFACE));
            return;
        }
        let run = self.interface.call;
        match run(&*self.context, &mut self.handles, call.opnum, &call.stub) {
            Ok(stub) => self.respond(call, &stub),
            Err(error) => self.send(pdu::fault(call.call_id, call.context, error.fault())),
        }
    }

    fn respond(&mut self, call: &Partial, stub: &[u8]) {
        for fragment in pdu::responses(call.call_id, call.context, self.fragment_max, stub) {
            self.send(fragment);
        }
    }

    fn send(&mut self, message: Vec<u8>) {
        self.output_len = self.output_len.saturating_add(message.len());
        self.output.push_back(message);
    }
}
