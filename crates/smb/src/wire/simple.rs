//! The messages that carry nothing: LOGOFF, TREE_DISCONNECT, ECHO, CANCEL, and the responses of
//! FLUSH and LOCK (MS-SMB2 2.2.7, 2.2.8, 2.2.11, 2.2.12, 2.2.18, 2.2.27 to 2.2.30); and
//! SERVER_TO_CLIENT_NOTIFICATION (2.2.44.1).

use super::codec::{Codec, Put, Reader, WireError};

/// A body of four bytes: StructureSize 4 and a reserved field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Empty;

impl<'a> Codec<'a> for Empty {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(4)?;
        r.skip(2)?;
        Ok(Self)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(4);
        out.put_u16(0);
    }
}

/// SERVER_TO_CLIENT_NOTIFICATION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerNotification {
    /// 0: the session was closed.
    pub kind: u32,
}

impl<'a> Codec<'a> for ServerNotification {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(4)?;
        r.skip(2)?;
        Ok(Self { kind: r.u32()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(4);
        out.put_u16(0);
        out.put_u32(self.kind);
    }
}
