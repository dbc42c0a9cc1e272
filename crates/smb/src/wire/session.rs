//! SESSION_SETUP (MS-SMB2 2.2.5, 2.2.6).

use super::codec::{Codec, Put, Reader, WireError, body_field, header_offset16, len16};
use super::negotiate::{Capabilities, SecurityMode};
use super::types::SessionId;

flags! {
    /// Flags of the request.
    pub struct SessionSetupFlags: u8 {
        /// Bind an existing session to this connection.
        BINDING = 0x01,
    }
}

flags! {
    /// SessionFlags of the response.
    pub struct SessionFlags: u16 {
        IS_GUEST = 0x0001,
        IS_NULL = 0x0002,
        ENCRYPT_DATA = 0x0004,
    }
}

const REQUEST_FIXED: usize = 24;
const RESPONSE_FIXED: usize = 8;

/// SESSION_SETUP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSetupRequest<'a> {
    /// Binding.
    pub flags: SessionSetupFlags,
    /// Signing.
    pub security_mode: SecurityMode,
    /// Only DFS is defined here.
    pub capabilities: Capabilities,
    /// A session of the same client to be closed, after a reconnection.
    pub previous_session_id: SessionId,
    /// The security token.
    pub security_buffer: &'a [u8],
}

impl<'a> Codec<'a> for SessionSetupRequest<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(25)?;
        let flags = SessionSetupFlags(r.u8()?);
        let security_mode = SecurityMode(u16::from(r.u8()?));
        let capabilities = Capabilities(r.u32()?);
        r.skip(4)?;
        let (offset, len) = (r.u16()?, r.u16()?);
        let previous_session_id = SessionId(r.u64()?);
        let security_buffer = body_field(body, REQUEST_FIXED, offset.into(), len.into())?;
        Ok(Self {
            flags,
            security_mode,
            capabilities,
            previous_session_id,
            security_buffer,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let [mode, _] = self.security_mode.bits().to_le_bytes();
        out.put_u16(25);
        out.put_u8(self.flags.bits());
        out.put_u8(mode);
        out.put_u32(self.capabilities.bits());
        out.put_u32(0);
        out.put_u16(header_offset16(REQUEST_FIXED));
        out.put_u16(len16(self.security_buffer.len()));
        out.put_u64(self.previous_session_id.0);
        out.put(self.security_buffer);
    }
}

/// SESSION_SETUP response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSetupResponse<'a> {
    /// Guest, null, encrypted.
    pub flags: SessionFlags,
    /// The security token.
    pub security_buffer: &'a [u8],
}

impl<'a> Codec<'a> for SessionSetupResponse<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(9)?;
        let flags = SessionFlags(r.u16()?);
        let (offset, len) = (r.u16()?, r.u16()?);
        let security_buffer = body_field(body, RESPONSE_FIXED, offset.into(), len.into())?;
        Ok(Self {
            flags,
            security_buffer,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(9);
        out.put_u16(self.flags.bits());
        out.put_u16(header_offset16(RESPONSE_FIXED));
        out.put_u16(len16(self.security_buffer.len()));
        out.put(self.security_buffer);
    }
}
