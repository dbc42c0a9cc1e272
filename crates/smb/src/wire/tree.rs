//! TREE_CONNECT (MS-SMB2 2.2.9, 2.2.10).

use super::codec::{
    Codec, Put, Reader, WireError, body_field, header_offset16, len16, len32, padding, slice_at,
};
use super::utf16::Utf16;

flags! {
    /// Flags of the request (dialect 3.1.1).
    pub struct TreeConnectFlags: u16 {
        CLUSTER_RECONNECT = 0x0001,
        REDIRECT_TO_OWNER = 0x0002,
        EXTENSION_PRESENT = 0x0004,
    }
}

open_enum! {
    /// ShareType.
    pub enum ShareType: u8 {
        Disk = 1,
        Pipe = 2,
        Print = 3,
    }
}

flags! {
    /// ShareFlags; the caching modes are two bits that exclude each other.
    pub struct ShareFlags: u32 {
        MANUAL_CACHING = 0x0000_0000,
        AUTO_CACHING = 0x0000_0010,
        VDO_CACHING = 0x0000_0020,
        NO_CACHING = 0x0000_0030,
        DFS = 0x0000_0001,
        DFS_ROOT = 0x0000_0002,
        RESTRICT_EXCLUSIVE_OPENS = 0x0000_0100,
        FORCE_SHARED_DELETE = 0x0000_0200,
        ALLOW_NAMESPACE_CACHING = 0x0000_0400,
        ACCESS_BASED_DIRECTORY_ENUM = 0x0000_0800,
        FORCE_LEVELII_OPLOCK = 0x0000_1000,
        ENABLE_HASH_V1 = 0x0000_2000,
        ENABLE_HASH_V2 = 0x0000_4000,
        ENCRYPT_DATA = 0x0000_8000,
        IDENTITY_REMOTING = 0x0004_0000,
        COMPRESS_DATA = 0x0010_0000,
        ISOLATED_TRANSPORT = 0x0020_0000,
    }
}

flags! {
    /// Capabilities of a share.
    pub struct ShareCapabilities: u32 {
        DFS = 0x0000_0008,
        CONTINUOUS_AVAILABILITY = 0x0000_0010,
        SCALEOUT = 0x0000_0020,
        CLUSTER = 0x0000_0040,
        ASYMMETRIC = 0x0000_0080,
        REDIRECT_TO_OWNER = 0x0000_0100,
    }
}

const FIXED: usize = 8;
/// Length of the extension in front of the path (MS-SMB2 2.2.9.1).
const EXTENSION: usize = 16;

/// A tree connect context (MS-SMB2 2.2.9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeConnectContext<'a> {
    /// 1: SMB2_REMOTED_IDENTITY_TREE_CONNECT_CONTEXT.
    pub kind: u16,
    /// Its data.
    pub data: &'a [u8],
}

/// TREE_CONNECT request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeConnectRequest<'a> {
    /// `EXTENSION_PRESENT` decides whether contexts are read and written.
    pub flags: TreeConnectFlags,
    /// `\\server\share`.
    pub path: Utf16<'a>,
    /// Contexts of the extension.
    pub contexts: Vec<TreeConnectContext<'a>>,
}

impl<'a> TreeConnectRequest<'a> {
    fn extended(&self) -> bool {
        self.flags.contains(TreeConnectFlags::EXTENSION_PRESENT)
    }

    fn encode_contexts(&self, start: usize, out: &mut Vec<u8>) {
        let extension = start.saturating_add(FIXED);
        out.pad_to(start, 8);
        out.patch_u32(extension, len32(out.since(start)));
        let count = len16(self.contexts.len()).to_le_bytes();
        out.patch(extension.saturating_add(4), &count);
        for context in &self.contexts {
            out.pad_to(start, 8);
            out.put_u16(context.kind);
            out.put_u16(len16(context.data.len()));
            out.put_u32(0);
            out.put(context.data);
        }
    }
}

impl<'a> Codec<'a> for TreeConnectRequest<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(9)?;
        let flags = TreeConnectFlags(r.u16()?);
        let (offset, len) = (r.u16()?, r.u16()?);
        let path = Utf16::from_bytes(body_field(body, FIXED, offset.into(), len.into())?)?;
        let contexts = if flags.contains(TreeConnectFlags::EXTENSION_PRESENT) {
            let (offset, count) = (r.u32()?, r.u16()?);
            r.skip(10)?;
            decode_contexts(body, offset, count)?
        } else {
            Vec::new()
        };
        Ok(Self {
            flags,
            path,
            contexts,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let path = if self.extended() {
            FIXED + EXTENSION
        } else {
            FIXED
        };
        out.put_u16(9);
        out.put_u16(self.flags.bits());
        out.put_u16(header_offset16(path));
        out.put_u16(len16(self.path.len()));
        out.put_zeros(path.saturating_sub(FIXED));
        out.put(self.path.as_bytes());
        if self.extended() {
            self.encode_contexts(start, out);
        }
    }
}

/// The contexts at `offset`, which counts from the start of the TREE_CONNECT structure.
fn decode_contexts(
    body: &[u8],
    offset: u32,
    count: u16,
) -> Result<Vec<TreeConnectContext<'_>>, WireError> {
    let mut contexts = Vec::new();
    if count == 0 {
        return Ok(contexts);
    }
    let offset = usize::try_from(offset).map_err(|_| WireError::Bounds)?;
    let len = body.len().checked_sub(offset).ok_or(WireError::Bounds)?;
    let mut r = Reader::new(slice_at(body, offset, len)?);
    for _ in 0..count {
        let used = len.saturating_sub(r.left());
        r.skip(padding(used, 8))?;
        let (kind, len) = (r.u16()?, r.u16()?);
        r.skip(4)?;
        contexts.push(TreeConnectContext {
            kind,
            data: r.take(usize::from(len))?,
        });
    }
    Ok(contexts)
}

/// TREE_CONNECT response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeConnectResponse {
    /// Disk, pipe or printer.
    pub share_type: ShareType,
    /// Caching and more.
    pub flags: ShareFlags,
    /// Of the share.
    pub capabilities: ShareCapabilities,
    /// Access that this user has at most.
    pub maximal_access: u32,
}

impl<'a> Codec<'a> for TreeConnectResponse {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(16)?;
        let share_type = ShareType::from_wire(r.u8()?);
        r.skip(1)?;
        Ok(Self {
            share_type,
            flags: ShareFlags(r.u32()?),
            capabilities: ShareCapabilities(r.u32()?),
            maximal_access: r.u32()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(16);
        out.put_u8(self.share_type.to_wire());
        out.put_u8(0);
        out.put_u32(self.flags.bits());
        out.put_u32(self.capabilities.bits());
        out.put_u32(self.maximal_access);
    }
}
