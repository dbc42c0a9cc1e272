//! NEGOTIATE (MS-SMB2 2.2.3, 2.2.4).

use super::codec::{
    Codec, Put, Reader, WireError, body_field, header_offset16, header_offset32, len16, slice_at,
};
use super::header::HEADER_LEN;
use super::negotiate_context::{NegotiateContext, decode_contexts, encode_contexts};
use super::types::{FileTime, Guid};

open_enum! {
    /// Dialect revisions.
    pub enum Dialect: u16 {
        Smb202 = 0x0202,
        Smb210 = 0x0210,
        Smb300 = 0x0300,
        Smb302 = 0x0302,
        Smb311 = 0x0311,
        /// The answer to a multi-protocol negotiate that offers "SMB 2.???".
        Wildcard = 0x02FF,
    }
}

impl Dialect {
    /// As people write it; empty for what is no dialect to speak.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smb202 => "2.0.2",
            Self::Smb210 => "2.1",
            Self::Smb300 => "3.0",
            Self::Smb302 => "3.0.2",
            Self::Smb311 => "3.1.1",
            Self::Wildcard | Self::Unknown(_) => "",
        }
    }
}

flags! {
    /// SecurityMode.
    pub struct SecurityMode: u16 {
        SIGNING_ENABLED = 0x0001,
        SIGNING_REQUIRED = 0x0002,
    }
}

flags! {
    /// Capabilities of client or server.
    pub struct Capabilities: u32 {
        DFS = 0x0000_0001,
        LEASING = 0x0000_0002,
        LARGE_MTU = 0x0000_0004,
        MULTI_CHANNEL = 0x0000_0008,
        PERSISTENT_HANDLES = 0x0000_0010,
        DIRECTORY_LEASING = 0x0000_0020,
        ENCRYPTION = 0x0000_0040,
        NOTIFICATIONS = 0x0000_0080,
    }
}

const REQUEST_FIXED: usize = 36;
const RESPONSE_FIXED: usize = 64;

/// NEGOTIATE request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateRequest<'a> {
    /// Signing.
    pub security_mode: SecurityMode,
    /// Of the client.
    pub capabilities: Capabilities,
    /// Of the client.
    pub client_guid: Guid,
    /// In the client's order.
    pub dialects: Vec<Dialect>,
    /// Only when 3.1.1 is among the dialects.
    pub contexts: Vec<NegotiateContext<'a>>,
}

impl<'a> Codec<'a> for NegotiateRequest<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(36)?;
        let count = usize::from(r.u16()?);
        let security_mode = SecurityMode(r.u16()?);
        r.skip(2)?;
        let capabilities = Capabilities(r.u32()?);
        let client_guid = Guid::decode(&mut r)?;
        let (offset, context_count) = (r.u32()?, r.u16()?);
        r.skip(2)?;
        let dialects: Vec<_> = r
            .u16_list(count)?
            .into_iter()
            .map(Dialect::from_wire)
            .collect();
        let contexts = if dialects.contains(&Dialect::Smb311) {
            contexts_at(body, REQUEST_FIXED, offset, context_count)?
        } else {
            Vec::new()
        };
        Ok(Self {
            security_mode,
            capabilities,
            client_guid,
            dialects,
            contexts,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u16(36);
        out.put_u16(len16(self.dialects.len()));
        out.put_u16(self.security_mode.bits());
        out.put_u16(0);
        out.put_u32(self.capabilities.bits());
        self.client_guid.encode(out);
        let fields = out.len();
        out.put_zeros(8);
        for dialect in &self.dialects {
            out.put_u16(dialect.to_wire());
        }
        if !self.contexts.is_empty() {
            out.pad_to(start, 8);
            out.patch_u32(fields, header_offset32(out.since(start)));
            let count = len16(self.contexts.len()).to_le_bytes();
            out.patch(fields.saturating_add(4), &count);
            encode_contexts(&self.contexts, out);
        }
    }
}

/// NEGOTIATE response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateResponse<'a> {
    /// Signing.
    pub security_mode: SecurityMode,
    /// The dialect chosen.
    pub dialect: Dialect,
    /// Of the server.
    pub server_guid: Guid,
    /// Of the server.
    pub capabilities: Capabilities,
    /// Largest QUERY_INFO, QUERY_DIRECTORY, SET_INFO, CHANGE_NOTIFY buffer.
    pub max_transact_size: u32,
    /// Largest READ.
    pub max_read_size: u32,
    /// Largest WRITE.
    pub max_write_size: u32,
    /// The server's clock.
    pub system_time: FileTime,
    /// Zero in today's servers.
    pub server_start_time: FileTime,
    /// The SPNEGO token that lists mechanisms.
    pub security_buffer: &'a [u8],
    /// Only with dialect 3.1.1.
    pub contexts: Vec<NegotiateContext<'a>>,
}

impl<'a> Codec<'a> for NegotiateResponse<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(65)?;
        let security_mode = SecurityMode(r.u16()?);
        let dialect = Dialect::from_wire(r.u16()?);
        let context_count = r.u16()?;
        let server_guid = Guid::decode(&mut r)?;
        let capabilities = Capabilities(r.u32()?);
        let (max_transact_size, max_read_size, max_write_size) = (r.u32()?, r.u32()?, r.u32()?);
        let (system_time, server_start_time) =
            (FileTime::decode(&mut r)?, FileTime::decode(&mut r)?);
        let (offset, len, context_offset) = (r.u16()?, r.u16()?, r.u32()?);
        let contexts = if dialect == Dialect::Smb311 {
            contexts_at(body, RESPONSE_FIXED, context_offset, context_count)?
        } else {
            Vec::new()
        };
        Ok(Self {
            security_mode,
            dialect,
            server_guid,
            capabilities,
            max_transact_size,
            max_read_size,
            max_write_size,
            system_time,
            server_start_time,
            security_buffer: body_field(body, RESPONSE_FIXED, offset.into(), len.into())?,
            contexts,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u16(65);
        out.put_u16(self.security_mode.bits());
        out.put_u16(self.dialect.to_wire());
        out.put_u16(len16(self.contexts.len()));
        self.server_guid.encode(out);
        out.put_u32(self.capabilities.bits());
        out.put_u32(self.max_transact_size);
        out.put_u32(self.max_read_size);
        out.put_u32(self.max_write_size);
        self.system_time.encode(out);
        self.server_start_time.encode(out);
        out.put_u16(header_offset16(RESPONSE_FIXED));
        out.put_u16(len16(self.security_buffer.len()));
        let context_offset = out.len();
        out.put_u32(0);
        out.put(self.security_buffer);
        if !self.contexts.is_empty() {
            out.pad_to(start, 8);
            out.patch_u32(context_offset, header_offset32(out.since(start)));
            encode_contexts(&self.contexts, out);
        }
    }
}

fn contexts_at(
    body: &[u8],
    fixed: usize,
    offset: u32,
    count: u16,
) -> Result<Vec<NegotiateContext<'_>>, WireError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let at = usize::try_from(offset).map_err(|_| WireError::Bounds)?;
    let at = at
        .checked_sub(HEADER_LEN)
        .filter(|at| *at >= fixed)
        .ok_or(WireError::Bounds)?;
    let len = body.len().checked_sub(at).ok_or(WireError::Bounds)?;
    decode_contexts(slice_at(body, at, len)?, count)
}
