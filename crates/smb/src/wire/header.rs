//! The SMB2 packet header (MS-SMB2 2.2.1), the transform header (2.2.41), and telling packets apart.
//!
//! ```text
//!  0 ProtocolId FE 'S' 'M' 'B'      4 StructureSize 64     6 CreditCharge
//!  8 Status (ChannelSequence)      12 Command             14 CreditRequest/CreditResponse
//! 16 Flags                         20 NextCommand         24 MessageId
//! 32 Reserved, TreeId | AsyncId    40 SessionId           48 Signature (16)
//! ```

use super::codec::{Codec, Put, Reader, WireError};
use super::status::NtStatus;
use super::types::{AsyncId, MessageId, SessionId, TreeId};

/// Length of the SMB2 header in bytes.
pub const HEADER_LEN: usize = 64;
/// ProtocolId of a plain SMB2 message.
pub const SMB2_MAGIC: [u8; 4] = *b"\xFESMB";
/// ProtocolId of an encrypted message.
pub const TRANSFORM_MAGIC: [u8; 4] = *b"\xFDSMB";
/// ProtocolId of a compressed message.
pub const COMPRESSION_MAGIC: [u8; 4] = *b"\xFCSMB";
/// ProtocolId of an SMB1 message.
pub const SMB1_MAGIC: [u8; 4] = *b"\xFFSMB";

open_enum! {
    /// Command of the SMB2 header (MS-SMB2 2.2.1.2).
    pub enum Command: u16 {
        Negotiate = 0x00,
        SessionSetup = 0x01,
        Logoff = 0x02,
        TreeConnect = 0x03,
        TreeDisconnect = 0x04,
        Create = 0x05,
        Close = 0x06,
        Flush = 0x07,
        Read = 0x08,
        Write = 0x09,
        Lock = 0x0A,
        Ioctl = 0x0B,
        Cancel = 0x0C,
        Echo = 0x0D,
        QueryDirectory = 0x0E,
        ChangeNotify = 0x0F,
        QueryInfo = 0x10,
        SetInfo = 0x11,
        OplockBreak = 0x12,
        ServerToClientNotification = 0x13,
    }
}

flags! {
    /// Flags of the SMB2 header.
    pub struct HeaderFlags: u32 {
        /// This is a response.
        SERVER_TO_REDIR = 0x0000_0001,
        /// The header carries an AsyncId.
        ASYNC_COMMAND = 0x0000_0002,
        /// A compounded request takes session, tree and file of the one before.
        RELATED_OPERATIONS = 0x0000_0004,
        /// The message is signed.
        SIGNED = 0x0000_0008,
        /// Priority of the request, 3 bits (dialect 3.1.1).
        PRIORITY_MASK = 0x0000_0070,
        /// The path has a DFS prefix.
        DFS_OPERATIONS = 0x1000_0000,
        /// The request is a replay (dialect 3.x).
        REPLAY_OPERATION = 0x2000_0000,
    }
}

/// What the eight bytes at offset 32 hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The synchronous header; the reserved field was once a process id and is echoed.
    Sync {
        /// Reserved, 0xFEFF from some clients.
        process_id: u32,
        /// The tree connect the message is for.
        tree_id: TreeId,
    },
    /// The asynchronous header.
    Async {
        /// The server's id for the pending operation.
        async_id: AsyncId,
    },
}

/// An SMB2 header, sync or async.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Credits that this request costs; zero counts as one.
    pub credit_charge: u16,
    /// Result in a response. In a request of dialect 3.x the low half is the ChannelSequence.
    pub status: NtStatus,
    /// The command.
    pub command: Command,
    /// Credits asked for or granted.
    pub credits: u16,
    /// Flags; `ASYNC_COMMAND` is set from `route` when encoding.
    pub flags: HeaderFlags,
    /// Offset of the next header in a compound, else zero.
    pub next_command: u32,
    /// Id of the request.
    pub message_id: MessageId,
    /// Tree or asynchronous id.
    pub route: Route,
    /// The session.
    pub session_id: SessionId,
    /// Signature, zero when not signed.
    pub signature: [u8; 16],
}

impl Header {
    /// A request as a client begins it: one credit charged and asked for, nothing else.
    #[must_use]
    pub fn request(command: Command, message_id: MessageId) -> Self {
        Self {
            credit_charge: 1,
            status: NtStatus::SUCCESS,
            command,
            credits: 1,
            flags: HeaderFlags::NONE,
            next_command: 0,
            message_id,
            route: Route::Sync {
                process_id: 0,
                tree_id: TreeId(0),
            },
            session_id: SessionId(0),
            signature: [0; 16],
        }
    }

    /// The header that answers this request (MS-SMB2 3.3.4.1), not signed, granting `credits`.
    #[must_use]
    pub fn response(&self, status: NtStatus, credits: u16) -> Self {
        let kept = HeaderFlags::RELATED_OPERATIONS
            | HeaderFlags::PRIORITY_MASK
            | HeaderFlags::REPLAY_OPERATION;
        Self {
            status,
            credits,
            flags: (self.flags & kept) | HeaderFlags::SERVER_TO_REDIR,
            next_command: 0,
            signature: [0; 16],
            ..*self
        }
    }

    /// ChannelSequence of a request (dialect 3.x).
    #[must_use]
    pub const fn channel_sequence(&self) -> u16 {
        let [low, high, ..] = self.status.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// The tree id, zero in an asynchronous header.
    #[must_use]
    pub const fn tree_id(&self) -> TreeId {
        match self.route {
            Route::Sync { tree_id, .. } => tree_id,
            Route::Async { .. } => TreeId(0),
        }
    }

    /// Whether this is a response.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        self.flags.contains(HeaderFlags::SERVER_TO_REDIR)
    }

    /// Credits that the request consumes, at least one.
    #[must_use]
    pub fn charge(&self) -> u16 {
        self.credit_charge.max(1)
    }

    /// The header's 64 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = Vec::with_capacity(HEADER_LEN);
        self.encode(&mut out);
        let mut bytes = [0; HEADER_LEN];
        bytes.copy_from_slice(&out);
        bytes
    }

    fn route_of(flags: HeaderFlags, bytes: [u8; 8]) -> Route {
        if flags.contains(HeaderFlags::ASYNC_COMMAND) {
            return Route::Async {
                async_id: AsyncId(u64::from_le_bytes(bytes)),
            };
        }
        let [a, b, c, d, e, f, g, h] = bytes;
        Route::Sync {
            process_id: u32::from_le_bytes([a, b, c, d]),
            tree_id: TreeId(u32::from_le_bytes([e, f, g, h])),
        }
    }

    fn wire_flags(&self) -> HeaderFlags {
        match self.route {
            Route::Sync { .. } => self.flags.without(HeaderFlags::ASYNC_COMMAND),
            Route::Async { .. } => self.flags | HeaderFlags::ASYNC_COMMAND,
        }
    }
}

impl<'a> Codec<'a> for Header {
    /// Reads the first 64 bytes; what follows them is not looked at.
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        if r.array()? != SMB2_MAGIC {
            return Err(WireError::Invalid("not an SMB2 header"));
        }
        r.structure_size(64)?;
        let credit_charge = r.u16()?;
        let status = NtStatus(r.u32()?);
        let command = Command::from_wire(r.u16()?);
        let credits = r.u16()?;
        let flags = HeaderFlags(r.u32()?);
        Ok(Self {
            credit_charge,
            status,
            command,
            credits,
            flags,
            next_command: r.u32()?,
            message_id: MessageId(r.u64()?),
            route: Self::route_of(flags, r.array()?),
            session_id: SessionId(r.u64()?),
            signature: r.array()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&SMB2_MAGIC);
        out.put_u16(64);
        out.put_u16(self.credit_charge);
        out.put_u32(self.status.0);
        out.put_u16(self.command.to_wire());
        out.put_u16(self.credits);
        out.put_u32(self.wire_flags().bits());
        out.put_u32(self.next_command);
        out.put_u64(self.message_id.0);
        match self.route {
            Route::Sync {
                process_id,
                tree_id,
            } => {
                out.put_u32(process_id);
                out.put_u32(tree_id.0);
            }
            Route::Async { async_id } => out.put_u64(async_id.0),
        }
        out.put_u64(self.session_id.0);
        out.put(&self.signature);
    }
}

/// Fields of an encoded header that are set late: in place, in a message that begins with it.
#[derive(Debug)]
pub struct HeaderMut<'a>(&'a mut [u8; HEADER_LEN]);

impl<'a> HeaderMut<'a> {
    /// The header at the start of `message`, if it is long enough for one.
    pub fn new(message: &'a mut [u8]) -> Option<Self> {
        message.first_chunk_mut().map(Self)
    }

    /// Sets Status.
    pub fn set_status(&mut self, status: NtStatus) {
        self.set::<8, 4>(status.0.to_le_bytes());
    }

    /// Sets CreditResponse.
    pub fn set_credits(&mut self, credits: u16) {
        self.set::<14, 2>(credits.to_le_bytes());
    }

    /// Sets Flags.
    pub fn set_flags(&mut self, flags: HeaderFlags) {
        self.set::<16, 4>(flags.bits().to_le_bytes());
    }

    /// Flags as they are now.
    #[must_use]
    pub fn flags(&self) -> HeaderFlags {
        let bits = self.0.get(16..20).and_then(|bytes| bytes.first_chunk());
        HeaderFlags(bits.map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    /// Sets NextCommand.
    pub fn set_next_command(&mut self, offset: u32) {
        self.set::<20, 4>(offset.to_le_bytes());
    }

    /// Sets SessionId.
    pub fn set_session_id(&mut self, session: SessionId) {
        self.set::<40, 8>(session.0.to_le_bytes());
    }

    /// Sets Signature.
    pub fn set_signature(&mut self, signature: &[u8; 16]) {
        self.set::<48, 16>(*signature);
    }

    fn set<const AT: usize, const N: usize>(&mut self, bytes: [u8; N]) {
        const { assert!(AT + N <= HEADER_LEN) };
        if let Some(room) = self.0.get_mut(AT..).and_then(|tail| tail.first_chunk_mut()) {
            *room = bytes;
        }
    }
}

/// Length of the transform header in bytes.
pub const TRANSFORM_LEN: usize = 52;
/// Offset in the transform header from which on it is authenticated (MS-SMB2 3.1.4.3).
pub const TRANSFORM_AAD_OFFSET: usize = 20;

/// SMB2 TRANSFORM_HEADER (MS-SMB2 2.2.41), in front of an encrypted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransformHeader {
    /// Authentication tag.
    pub signature: [u8; 16],
    /// Nonce: the first 11 bytes with CCM, 12 with GCM.
    pub nonce: [u8; 16],
    /// Length of the message before encryption, which is the length after it.
    pub original_size: u32,
    /// 1: encrypted. (EncryptionAlgorithm, AES-128-CCM, in dialects 3.0 and 3.0.2.)
    pub flags: u16,
    /// The session whose key encrypts.
    pub session_id: SessionId,
}

impl<'a> Codec<'a> for TransformHeader {
    /// Reads the first 52 bytes; what follows them is the encrypted message.
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        if r.array()? != TRANSFORM_MAGIC {
            return Err(WireError::Invalid("not a transform header"));
        }
        let signature = r.array()?;
        let nonce = r.array()?;
        let original_size = r.u32()?;
        r.skip(2)?;
        let flags = r.u16()?;
        Ok(Self {
            signature,
            nonce,
            original_size,
            flags,
            session_id: SessionId(r.u64()?),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&TRANSFORM_MAGIC);
        out.put(&self.signature);
        out.put(&self.nonce);
        out.put_u32(self.original_size);
        out.put_u16(0);
        out.put_u16(self.flags);
        out.put_u64(self.session_id.0);
    }
}

/// A frame of the transport, told apart by its ProtocolId.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// One or more SMB2 messages; the slice begins with the first header.
    Smb2(&'a [u8]),
    /// An encrypted message: its header and the ciphertext, which has the announced length.
    Encrypted(TransformHeader, &'a [u8]),
    /// A compressed message (MS-SMB2 2.2.42).
    Compressed(&'a [u8]),
    /// An SMB1 message; only a negotiate is of use.
    Smb1(&'a [u8]),
}

impl<'a> Packet<'a> {
    /// Tells what a frame is.
    ///
    /// # Errors
    /// Unknown ProtocolIds, headers cut short, and encrypted messages whose length is not the
    /// announced one (MS-SMB2 3.3.5.2.1.1) or that cannot hold a header.
    pub fn parse(frame: &'a [u8]) -> Result<Self, WireError> {
        match Reader::new(frame).array()? {
            SMB2_MAGIC => Ok(Self::Smb2(frame)),
            TRANSFORM_MAGIC => Self::parse_encrypted(frame),
            COMPRESSION_MAGIC => Ok(Self::Compressed(frame)),
            SMB1_MAGIC => Ok(Self::Smb1(frame)),
            _ => Err(WireError::Invalid("unknown protocol id")),
        }
    }

    fn parse_encrypted(frame: &'a [u8]) -> Result<Self, WireError> {
        let header = TransformHeader::decode(frame)?;
        let cipher = frame.get(TRANSFORM_LEN..).unwrap_or_default();
        let announced = usize::try_from(header.original_size).map_err(|_| WireError::Bounds)?;
        if announced != cipher.len() || announced < HEADER_LEN {
            return Err(WireError::Invalid(
                "an encrypted message has another length",
            ));
        }
        Ok(Self::Encrypted(header, cipher))
    }
}
