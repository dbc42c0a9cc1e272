//! CREATE (MS-SMB2 2.2.13, 2.2.14).

use super::codec::{
    Codec, Put, Reader, WireError, body_field, header_offset16, header_offset32, len16, len32,
};
use super::create_context::{CreateContexts, decode_list};
use super::types::{FileId, FileTime};
use super::utf16::Utf16;

open_enum! {
    /// OplockLevel of requests, responses and breaks.
    pub enum OplockLevel: u8 {
        None = 0x00,
        LevelII = 0x01,
        Exclusive = 0x08,
        Batch = 0x09,
        Lease = 0xFF,
    }
}

open_enum! {
    /// ImpersonationLevel.
    pub enum ImpersonationLevel: u32 {
        Anonymous = 0,
        Identification = 1,
        Impersonation = 2,
        Delegate = 3,
    }
}

open_enum! {
    /// CreateDisposition.
    pub enum CreateDisposition: u32 {
        Supersede = 0,
        Open = 1,
        Create = 2,
        OpenIf = 3,
        Overwrite = 4,
        OverwriteIf = 5,
    }
}

open_enum! {
    /// CreateAction of the response.
    pub enum CreateAction: u32 {
        Superseded = 0,
        Opened = 1,
        Created = 2,
        Overwritten = 3,
    }
}

flags! {
    /// ShareAccess.
    pub struct ShareAccess: u32 {
        READ = 0x1,
        WRITE = 0x2,
        DELETE = 0x4,
    }
}

flags! {
    /// CreateOptions.
    pub struct CreateOptions: u32 {
        DIRECTORY_FILE = 0x0000_0001,
        WRITE_THROUGH = 0x0000_0002,
        SEQUENTIAL_ONLY = 0x0000_0004,
        NO_INTERMEDIATE_BUFFERING = 0x0000_0008,
        SYNCHRONOUS_IO_ALERT = 0x0000_0010,
        SYNCHRONOUS_IO_NONALERT = 0x0000_0020,
        NON_DIRECTORY_FILE = 0x0000_0040,
        COMPLETE_IF_OPLOCKED = 0x0000_0100,
        NO_EA_KNOWLEDGE = 0x0000_0200,
        OPEN_REMOTE_INSTANCE = 0x0000_0400,
        RANDOM_ACCESS = 0x0000_0800,
        DELETE_ON_CLOSE = 0x0000_1000,
        OPEN_BY_FILE_ID = 0x0000_2000,
        OPEN_FOR_BACKUP_INTENT = 0x0000_4000,
        NO_COMPRESSION = 0x0000_8000,
        OPEN_REQUIRING_OPLOCK = 0x0001_0000,
        DISALLOW_EXCLUSIVE = 0x0002_0000,
        RESERVE_OPFILTER = 0x0010_0000,
        OPEN_REPARSE_POINT = 0x0020_0000,
        OPEN_NO_RECALL = 0x0040_0000,
        OPEN_FOR_FREE_SPACE_QUERY = 0x0080_0000,
    }
}

const REQUEST_FIXED: usize = 56;
const RESPONSE_FIXED: usize = 88;

/// CREATE request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest<'a> {
    /// Oplock asked for; `Lease` when the lease context counts.
    pub oplock: OplockLevel,
    /// Checked to be known by the server.
    pub impersonation: ImpersonationLevel,
    /// DesiredAccess.
    pub desired_access: u32,
    /// FileAttributes of a file to be made.
    pub file_attributes: u32,
    /// ShareAccess.
    pub share_access: ShareAccess,
    /// CreateDisposition.
    pub disposition: CreateDisposition,
    /// CreateOptions.
    pub options: CreateOptions,
    /// The path relative to the share, or relative to the DFS root; without a leading `\`.
    pub name: Utf16<'a>,
    /// Create contexts, checked as a chain; each is decoded when it is looked at.
    pub contexts: CreateContexts<'a>,
}

impl<'a> Codec<'a> for CreateRequest<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(57)?;
        r.skip(1)?;
        let oplock = OplockLevel::from_wire(r.u8()?);
        let impersonation = ImpersonationLevel::from_wire(r.u32()?);
        r.skip(16)?;
        let desired_access = r.u32()?;
        let file_attributes = r.u32()?;
        let share_access = ShareAccess(r.u32()?);
        let disposition = CreateDisposition::from_wire(r.u32()?);
        let options = CreateOptions(r.u32()?);
        let (name_offset, name_len) = (r.u16()?, r.u16()?);
        let (offset, len) = (r.u32()?, r.u32()?);
        let name = body_field(body, REQUEST_FIXED, name_offset.into(), name_len.into())?;
        Ok(Self {
            oplock,
            impersonation,
            desired_access,
            file_attributes,
            share_access,
            disposition,
            options,
            name: Utf16::from_bytes(name)?,
            contexts: decode_list(body_field(body, REQUEST_FIXED, offset, len)?)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u16(57);
        out.put_u8(0);
        out.put_u8(self.oplock.to_wire());
        out.put_u32(self.impersonation.to_wire());
        out.put_zeros(16);
        out.put_u32(self.desired_access);
        out.put_u32(self.file_attributes);
        out.put_u32(self.share_access.bits());
        out.put_u32(self.disposition.to_wire());
        out.put_u32(self.options.bits());
        out.put_u16(header_offset16(REQUEST_FIXED));
        out.put_u16(len16(self.name.len()));
        let fields = out.len();
        out.put_zeros(8);
        out.put(self.name.as_bytes());
        if self.name.is_empty() && self.contexts.is_empty() {
            out.put_u8(0);
        }
        put_contexts(&self.contexts, start, fields, out);
    }
}

/// CREATE response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateResponse<'a> {
    /// Oplock granted.
    pub oplock: OplockLevel,
    /// 1: the last component is a reparse point (dialect 3.x).
    pub flags: u8,
    /// What was done.
    pub action: CreateAction,
    /// CreationTime.
    pub created: FileTime,
    /// LastAccessTime.
    pub accessed: FileTime,
    /// LastWriteTime.
    pub written: FileTime,
    /// ChangeTime.
    pub changed: FileTime,
    /// Bytes allocated.
    pub allocation_size: u64,
    /// Bytes of data.
    pub end_of_file: u64,
    /// FileAttributes.
    pub file_attributes: u32,
    /// The open.
    pub file_id: FileId,
    /// Answers to the request's contexts.
    pub contexts: CreateContexts<'a>,
}

impl<'a> Codec<'a> for CreateResponse<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(89)?;
        let oplock = OplockLevel::from_wire(r.u8()?);
        let flags = r.u8()?;
        let action = CreateAction::from_wire(r.u32()?);
        let created = FileTime::decode(&mut r)?;
        let accessed = FileTime::decode(&mut r)?;
        let written = FileTime::decode(&mut r)?;
        let changed = FileTime::decode(&mut r)?;
        let (allocation_size, end_of_file) = (r.u64()?, r.u64()?);
        let file_attributes = r.u32()?;
        r.skip(4)?;
        let file_id = FileId::decode(&mut r)?;
        let (offset, len) = (r.u32()?, r.u32()?);
        Ok(Self {
            oplock,
            flags,
            action,
            created,
            accessed,
            written,
            changed,
            allocation_size,
            end_of_file,
            file_attributes,
            file_id,
            contexts: decode_list(body_field(body, RESPONSE_FIXED, offset, len)?)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u16(89);
        out.put_u8(self.oplock.to_wire());
        out.put_u8(self.flags);
        out.put_u32(self.action.to_wire());
        for time in [self.created, self.accessed, self.written, self.changed] {
            time.encode(out);
        }
        out.put_u64(self.allocation_size);
        out.put_u64(self.end_of_file);
        out.put_u32(self.file_attributes);
        out.put_u32(0);
        self.file_id.encode(out);
        let fields = out.len();
        out.put_zeros(8);
        put_contexts(&self.contexts, start, fields, out);
    }
}

/// Appends the contexts, if any, and fills in their offset and length at `fields`.
fn put_contexts(contexts: &CreateContexts<'_>, start: usize, fields: usize, out: &mut Vec<u8>) {
    if contexts.is_empty() {
        return;
    }
    out.pad_to(start, 8);
    let begin = out.len();
    contexts.encode(out);
    out.patch_u32(fields, header_offset32(begin.saturating_sub(start)));
    out.patch_u32(fields.saturating_add(4), len32(out.since(begin)));
}
