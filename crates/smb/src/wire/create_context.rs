//! Create contexts of requests and responses (MS-SMB2 2.2.13.2, 2.2.14.2).

use std::borrow::Cow;

use super::codec::{Codec, Put, Reader, WireError, len16, len32, padding, slice_at};
use super::fscc::posix::PosixAttributes;
use super::status::NtStatus;
use super::types::{FileId, FileTime, Guid};
use super::utf16::Utf16;

/// The names of the contexts.
pub mod context_name {
    /// SMB2_CREATE_EA_BUFFER
    pub const EA_BUFFER: &[u8] = b"ExtA";
    /// SMB2_CREATE_SD_BUFFER
    pub const SECURITY_DESCRIPTOR: &[u8] = b"SecD";
    /// SMB2_CREATE_DURABLE_HANDLE_REQUEST
    pub const DURABLE_REQUEST: &[u8] = b"DHnQ";
    /// SMB2_CREATE_DURABLE_HANDLE_RECONNECT
    pub const DURABLE_RECONNECT: &[u8] = b"DHnC";
    /// SMB2_CREATE_ALLOCATION_SIZE
    pub const ALLOCATION_SIZE: &[u8] = b"AlSi";
    /// SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST
    pub const MAXIMAL_ACCESS: &[u8] = b"MxAc";
    /// SMB2_CREATE_TIMEWARP_TOKEN
    pub const TIMEWARP: &[u8] = b"TWrp";
    /// SMB2_CREATE_QUERY_ON_DISK_ID
    pub const ON_DISK_ID: &[u8] = b"QFid";
    /// SMB2_CREATE_REQUEST_LEASE, both versions
    pub const LEASE: &[u8] = b"RqLs";
    /// SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2
    pub const DURABLE_REQUEST_V2: &[u8] = b"DH2Q";
    /// SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2
    pub const DURABLE_RECONNECT_V2: &[u8] = b"DH2C";
    /// Apple's extensions
    pub const AAPL: &[u8] = b"AAPL";
    /// SMB2_CREATE_APP_INSTANCE_ID
    pub const APP_INSTANCE_ID: &[u8] =
        b"\x45\xBC\xA6\x6A\xEF\xA7\xF7\x4A\x90\x08\xFA\x46\x2E\x14\x4D\x74";
    /// SMB2_CREATE_APP_INSTANCE_VERSION
    pub const APP_INSTANCE_VERSION: &[u8] =
        b"\xB9\x82\xD0\xB7\x3B\x56\x07\x4F\xA0\x7B\x52\x4A\x81\x16\xA0\x10";
    /// SVHDX_OPEN_DEVICE_CONTEXT
    pub const SVHDX: &[u8] = b"\x9C\xCB\xCF\x9E\x04\xC1\xE6\x43\x98\x0E\x15\x8D\xA1\xF6\xEC\x83";
    /// The POSIX extensions of Samba and the Linux client
    pub const POSIX: &[u8] = b"\x93\xAD\x25\x50\x9C\xB4\x11\xE7\xB4\x23\x83\xDE\x96\x8B\xCD\x7C";
}

/// Apple's commands (`kAAPL_SERVER_QUERY`, `kAAPL_RESOLVE_ID`).
const AAPL_SERVER_QUERY: u32 = 1;
const AAPL_RESOLVE_ID: u32 = 2;

/// A context before its data is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawContext<'a> {
    /// One of [`context_name`], or unknown.
    pub name: &'a [u8],
    /// Its data.
    pub data: Cow<'a, [u8]>,
}

/// The contexts of one request or response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateContexts<'a> {
    /// In the order of the wire.
    pub list: Vec<RawContext<'a>>,
}

/// Bytes of a context before its name.
const FIXED: usize = 16;

impl<'a> CreateContexts<'a> {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The data of the first context with this name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&[u8]> {
        self.list
            .iter()
            .find(|context| context.name == name)
            .map(|context| &*context.data)
    }

    /// Adds a context of a request.
    pub fn push_request(&mut self, context: &RequestContext<'a>) {
        let mut data = Vec::new();
        let name = context.encode_data(&mut data);
        self.list.push(RawContext {
            name,
            data: Cow::Owned(data),
        });
    }

    /// Adds a context of a response.
    pub fn push_response(&mut self, context: &ResponseContext<'a>) {
        let mut data = Vec::new();
        let name = context.encode_data(&mut data);
        self.list.push(RawContext {
            name,
            data: Cow::Owned(data),
        });
    }

    /// The contexts of a request, decoded one by one.
    pub fn requests(&self) -> impl Iterator<Item = Result<RequestContext<'_>, WireError>> {
        self.list
            .iter()
            .map(|raw| RequestContext::decode(raw.name, &raw.data))
    }

    /// The contexts of a response, decoded one by one.
    pub fn responses(&self) -> impl Iterator<Item = Result<ResponseContext<'_>, WireError>> {
        self.list
            .iter()
            .map(|raw| ResponseContext::decode(raw.name, &raw.data))
    }

    /// Appends the chain; it must begin at a multiple of 8 of the message.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let count = self.list.len();
        for (index, context) in self.list.iter().enumerate() {
            let start = out.len();
            encode_one(context, out);
            if index.saturating_add(1) < count {
                out.pad_to(start, 8);
                out.patch_u32(start, len32(out.since(start)));
            }
        }
    }
}

fn encode_one(context: &RawContext<'_>, out: &mut Vec<u8>) {
    let name_end = FIXED.saturating_add(context.name.len());
    let gap = padding(name_end, 8);
    let data_at = name_end.saturating_add(gap);
    out.put_u32(0);
    out.put_u16(len16(FIXED));
    out.put_u16(len16(context.name.len()));
    out.put_u16(0);
    out.put_u16(if context.data.is_empty() {
        0
    } else {
        len16(data_at)
    });
    out.put_u32(len32(context.data.len()));
    out.put(context.name);
    out.put_zeros(gap);
    out.put(&context.data);
}

/// Reads a chain of contexts: each Next a multiple of 8, each name and data inside its element.
pub(crate) fn decode_list(bytes: &[u8]) -> Result<CreateContexts<'_>, WireError> {
    let mut list = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let next = usize::try_from(Reader::new(rest).u32()?).map_err(|_| WireError::Bounds)?;
        if next != 0 && (next < FIXED || !next.is_multiple_of(8)) {
            return Err(WireError::Invalid("a create context's Next is malformed"));
        }
        let len = if next == 0 { rest.len() } else { next };
        let (element, tail) = rest.split_at_checked(len).ok_or(WireError::Bounds)?;
        if next != 0 && tail.is_empty() {
            return Err(WireError::Bounds);
        }
        list.push(decode_one(element)?);
        rest = tail;
    }
    Ok(CreateContexts { list })
}

fn decode_one(element: &[u8]) -> Result<RawContext<'_>, WireError> {
    let mut r = Reader::new(element);
    r.skip(4)?;
    let (name_offset, name_len) = (usize::from(r.u16()?), usize::from(r.u16()?));
    r.skip(2)?;
    let data_offset = usize::from(r.u16()?);
    let data_len = usize::try_from(r.u32()?).map_err(|_| WireError::Bounds)?;
    let name_misplaced = name_offset < FIXED || name_len < 4;
    if name_misplaced || (data_len != 0 && data_offset < name_offset.saturating_add(name_len)) {
        return Err(WireError::Invalid(
            "a create context's name or data is misplaced",
        ));
    }
    let name = slice_at(element, name_offset, name_len)?;
    let data = Cow::Borrowed(slice_at(element, data_offset, data_len)?);
    Ok(RawContext { name, data })
}

flags! {
    /// State of a lease.
    pub struct LeaseState: u32 {
        READ_CACHING = 0x1,
        HANDLE_CACHING = 0x2,
        WRITE_CACHING = 0x4,
    }
}

flags! {
    /// Flags of a lease.
    pub struct LeaseFlags: u32 {
        BREAK_IN_PROGRESS = 0x2,
        PARENT_LEASE_KEY_SET = 0x4,
    }
}

/// What version 2 adds to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseV2 {
    /// ParentLeaseKey.
    pub parent_key: Guid,
    /// Epoch.
    pub epoch: u16,
}

/// A lease asked for or granted (MS-SMB2 2.2.13.2.8, 2.2.13.2.10, 2.2.14.2.10, 2.2.14.2.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// LeaseKey.
    pub key: Guid,
    /// LeaseState.
    pub state: LeaseState,
    /// Flags.
    pub flags: LeaseFlags,
    /// Version 2.
    pub v2: Option<LeaseV2>,
}

impl<'a> Codec<'a> for Lease {
    fn decode(data: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(data);
        let key = Guid::decode(&mut r)?;
        let (state, flags) = (LeaseState(r.u32()?), LeaseFlags(r.u32()?));
        r.skip(8)?;
        let v2 = match data.len() {
            32 => None,
            52 => Some(LeaseV2 {
                parent_key: Guid::decode(&mut r)?,
                epoch: r.u16()?,
            }),
            _ => return Err(WireError::Invalid("a lease is 32 or 52 bytes long")),
        };
        Ok(Self {
            key,
            state,
            flags,
            v2,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.key.encode(out);
        out.put_u32(self.state.bits());
        out.put_u32(self.flags.bits());
        out.put_u64(0);
        if let Some(v2) = &self.v2 {
            v2.parent_key.encode(out);
            out.put_u16(v2.epoch);
            out.put_u16(0);
        }
    }
}

/// Flag of durable handles, version 2: persistent.
pub const DURABLE_FLAG_PERSISTENT: u32 = 0x2;

/// A context of a CREATE request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestContext<'a> {
    /// FILE_FULL_EA_INFORMATION to be set on a new file.
    EaBuffer(&'a [u8]),
    /// A self-relative security descriptor for a new file.
    SecurityDescriptor(&'a [u8]),
    /// A durable handle is wanted.
    DurableRequest,
    /// A durable handle is reclaimed.
    DurableReconnect(FileId),
    /// Allocation of a new file in bytes.
    AllocationSize(u64),
    /// The maximal access is wanted; with a time, only if the file changed since.
    MaximalAccess(Option<FileTime>),
    /// The file as it was at this time.
    Timewarp(FileTime),
    /// The on-disk id is wanted.
    OnDiskId,
    /// A lease is wanted.
    Lease(Lease),
    /// A durable handle, version 2, is wanted.
    DurableRequestV2 {
        /// In milliseconds; zero leaves it to the server.
        timeout_ms: u32,
        /// [`DURABLE_FLAG_PERSISTENT`].
        flags: u32,
        /// Names the create.
        create_guid: Guid,
    },
    /// A durable handle, version 2, is reclaimed.
    DurableReconnectV2 {
        /// The open.
        file_id: FileId,
        /// As when it was made.
        create_guid: Guid,
        /// [`DURABLE_FLAG_PERSISTENT`].
        flags: u32,
    },
    /// The application's instance.
    AppInstanceId(Guid),
    /// Its version.
    AppInstanceVersion {
        /// High part.
        high: u64,
        /// Low part.
        low: u64,
    },
    /// Apple's query of what the server can do.
    AaplQuery {
        /// What is asked for: 1 server capabilities, 2 volume capabilities, 4 model.
        bitmap: u64,
        /// Of the client.
        client_capabilities: u64,
    },
    /// Apple's question where a file is.
    AaplResolveId {
        /// As FileInternalInformation tells it.
        file_id: u64,
    },
    /// POSIX semantics are wanted; the mode of a new file.
    Posix {
        /// Permission bits.
        mode: u32,
    },
    /// Any other; it is ignored.
    Unknown {
        /// Its name.
        name: &'a [u8],
        /// Its data.
        data: &'a [u8],
    },
}

impl<'a> RequestContext<'a> {
    /// Reads the data of the context `name`.
    ///
    /// # Errors
    /// Data that is shorter than the context's structure.
    pub fn decode(name: &'a [u8], data: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(data);
        Ok(match name {
            context_name::EA_BUFFER => Self::EaBuffer(data),
            context_name::SECURITY_DESCRIPTOR => Self::SecurityDescriptor(data),
            context_name::DURABLE_REQUEST => {
                r.skip(16)?;
                Self::DurableRequest
            }
            context_name::DURABLE_RECONNECT => Self::DurableReconnect(FileId::decode(&mut r)?),
            context_name::ALLOCATION_SIZE => Self::AllocationSize(r.u64()?),
            context_name::MAXIMAL_ACCESS => Self::decode_maximal_access(r)?,
            context_name::TIMEWARP => Self::Timewarp(FileTime::decode(&mut r)?),
            context_name::ON_DISK_ID => Self::OnDiskId,
            context_name::LEASE => Self::Lease(Lease::decode(data)?),
            context_name::DURABLE_REQUEST_V2 => Self::decode_durable_v2(r)?,
            context_name::DURABLE_RECONNECT_V2 => Self::DurableReconnectV2 {
                file_id: FileId::decode(&mut r)?,
                create_guid: Guid::decode(&mut r)?,
                flags: r.u32()?,
            },
            context_name::APP_INSTANCE_ID => {
                r.structure_size(20)?;
                r.skip(2)?;
                Self::AppInstanceId(Guid::decode(&mut r)?)
            }
            context_name::APP_INSTANCE_VERSION => {
                r.structure_size(24)?;
                r.skip(6)?;
                Self::AppInstanceVersion {
                    high: r.u64()?,
                    low: r.u64()?,
                }
            }
            context_name::AAPL => Self::decode_aapl(name, data)?,
            context_name::POSIX => Self::Posix { mode: r.u32()? },
            _ => Self::Unknown { name, data },
        })
    }

    fn decode_maximal_access(mut r: Reader<'_>) -> Result<Self, WireError> {
        let none = r.left() == 0;
        Ok(Self::MaximalAccess(if none {
            None
        } else {
            Some(FileTime::decode(&mut r)?)
        }))
    }

    fn decode_durable_v2(mut r: Reader<'_>) -> Result<Self, WireError> {
        let (timeout_ms, flags) = (r.u32()?, r.u32()?);
        r.skip(8)?;
        Ok(Self::DurableRequestV2 {
            timeout_ms,
            flags,
            create_guid: Guid::decode(&mut r)?,
        })
    }

    /// Commands other than the query and the resolution of an id are left undecoded.
    fn decode_aapl(name: &'a [u8], data: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(data);
        let command = r.u32()?;
        r.skip(4)?;
        match command {
            AAPL_SERVER_QUERY => Ok(Self::AaplQuery {
                bitmap: r.u64()?,
                client_capabilities: r.u64()?,
            }),
            AAPL_RESOLVE_ID => Ok(Self::AaplResolveId { file_id: r.u64()? }),
            _ => Ok(Self::Unknown { name, data }),
        }
    }

    /// Appends the data and returns the name.
    fn encode_data(&self, out: &mut Vec<u8>) -> &'a [u8] {
        match self {
            Self::EaBuffer(data) => {
                out.put(data);
                context_name::EA_BUFFER
            }
            Self::SecurityDescriptor(data) => {
                out.put(data);
                context_name::SECURITY_DESCRIPTOR
            }
            Self::DurableRequest => {
                out.put_zeros(16);
                context_name::DURABLE_REQUEST
            }
            Self::DurableReconnect(file_id) => {
                file_id.encode(out);
                context_name::DURABLE_RECONNECT
            }
            Self::AllocationSize(size) => {
                out.put_u64(*size);
                context_name::ALLOCATION_SIZE
            }
            Self::MaximalAccess(time) => {
                time.iter().for_each(|time| time.encode(out));
                context_name::MAXIMAL_ACCESS
            }
            Self::Timewarp(time) => {
                time.encode(out);
                context_name::TIMEWARP
            }
            Self::OnDiskId => context_name::ON_DISK_ID,
            Self::Lease(lease) => {
                lease.encode(out);
                context_name::LEASE
            }
            Self::DurableRequestV2 {
                timeout_ms,
                flags,
                create_guid,
            } => {
                out.put_u32(*timeout_ms);
                out.put_u32(*flags);
                out.put_u64(0);
                create_guid.encode(out);
                context_name::DURABLE_REQUEST_V2
            }
            Self::DurableReconnectV2 {
                file_id,
                create_guid,
                flags,
            } => {
                file_id.encode(out);
                create_guid.encode(out);
                out.put_u32(*flags);
                context_name::DURABLE_RECONNECT_V2
            }
            Self::AppInstanceId(id) => {
                out.put_u16(20);
                out.put_u16(0);
                id.encode(out);
                context_name::APP_INSTANCE_ID
            }
            Self::AppInstanceVersion { high, low } => {
                out.put_u16(24);
                out.put_zeros(6);
                out.put_u64(*high);
                out.put_u64(*low);
                context_name::APP_INSTANCE_VERSION
            }
            Self::AaplQuery {
                bitmap,
                client_capabilities,
            } => {
                out.put_u32(AAPL_SERVER_QUERY);
                out.put_u32(0);
                out.put_u64(*bitmap);
                out.put_u64(*client_capabilities);
                context_name::AAPL
            }
            Self::AaplResolveId { file_id } => {
                out.put_u32(AAPL_RESOLVE_ID);
                out.put_u32(0);
                out.put_u64(*file_id);
                context_name::AAPL
            }
            Self::Posix { mode } => {
                out.put_u32(*mode);
                context_name::POSIX
            }
            Self::Unknown { name, data } => {
                out.put(data);
                name
            }
        }
    }
}

/// A context of a CREATE response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseContext<'a> {
    /// The handle is durable.
    Durable,
    /// The handle is durable, version 2.
    DurableV2 {
        /// Kept so long after a disconnection.
        timeout_ms: u32,
        /// [`DURABLE_FLAG_PERSISTENT`].
        flags: u32,
    },
    /// Maximal access.
    MaximalAccess {
        /// Whether it could be found out.
        status: NtStatus,
        /// The access mask.
        access: u32,
    },
    /// Id of the file and of its volume.
    OnDiskId {
        /// DiskFileId.
        file: u64,
        /// VolumeId.
        volume: u64,
    },
    /// The lease granted.
    Lease(Lease),
    /// The POSIX extensions' answer.
    Posix(PosixAttributes),
    /// Apple's answer; each part is there when it was asked for.
    Aapl(AaplResponse<'a>),
    /// Apple's answer where a file is.
    AaplPath {
        /// Whether it could be found.
        status: NtStatus,
        /// From the share's root on.
        path: Utf16<'a>,
    },
    /// Any other.
    Unknown {
        /// Its name.
        name: &'a [u8],
        /// Its data.
        data: &'a [u8],
    },
}

impl<'a> ResponseContext<'a> {
    /// Reads the data of the context `name`.
    ///
    /// # Errors
    /// Data that is shorter than the context's structure.
    pub fn decode(name: &'a [u8], data: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(data);
        Ok(match name {
            context_name::DURABLE_REQUEST => {
                r.skip(8)?;
                Self::Durable
            }
            context_name::DURABLE_REQUEST_V2 => Self::DurableV2 {
                timeout_ms: r.u32()?,
                flags: r.u32()?,
            },
            context_name::MAXIMAL_ACCESS => Self::MaximalAccess {
                status: NtStatus(r.u32()?),
                access: r.u32()?,
            },
            context_name::ON_DISK_ID => {
                let (file, volume) = (r.u64()?, r.u64()?);
                r.skip(16)?;
                Self::OnDiskId { file, volume }
            }
            context_name::LEASE => Self::Lease(Lease::decode(data)?),
            context_name::AAPL if data.starts_with(&AAPL_RESOLVE_ID.to_le_bytes()) => {
                r.skip(8)?;
                let (status, len) = (NtStatus(r.u32()?), r.u32()?);
                let path = Utf16::from_bytes(r.take_u32(len)?)?;
                Self::AaplPath { status, path }
            }
            context_name::AAPL => Self::Aapl(AaplResponse::decode(data)?),
            context_name::POSIX => Self::Posix(PosixAttributes::decode(data)?),
            _ => Self::Unknown { name, data },
        })
    }

    /// Appends the data and returns the name.
    fn encode_data(&self, out: &mut Vec<u8>) -> &'a [u8] {
        match self {
            Self::Durable => {
                out.put_u64(0);
                context_name::DURABLE_REQUEST
            }
            Self::DurableV2 { timeout_ms, flags } => {
                out.put_u32(*timeout_ms);
                out.put_u32(*flags);
                context_name::DURABLE_REQUEST_V2
            }
            Self::MaximalAccess { status, access } => {
                out.put_u32(status.0);
                out.put_u32(*access);
                context_name::MAXIMAL_ACCESS
            }
            Self::OnDiskId { file, volume } => {
                out.put_u64(*file);
                out.put_u64(*volume);
                out.put_zeros(16);
                context_name::ON_DISK_ID
            }
            Self::Lease(lease) => {
                lease.encode(out);
                context_name::LEASE
            }
            Self::Aapl(response) => {
                response.encode(out);
                context_name::AAPL
            }
            Self::AaplPath { status, path } => {
                out.put_u32(AAPL_RESOLVE_ID);
                out.put_u32(0);
                out.put_u32(status.0);
                out.put_u32(len32(path.len()));
                out.put(path.as_bytes());
                context_name::AAPL
            }
            Self::Posix(attributes) => {
                attributes.encode(out);
                context_name::POSIX
            }
            Self::Unknown { name, data } => {
                out.put(data);
                name
            }
        }
    }
}

/// Apple's answer to a query: the parts that were asked for, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AaplResponse<'a> {
    /// Of the server.
    pub server_capabilities: Option<u64>,
    /// Of the volume.
    pub volume_capabilities: Option<u64>,
    /// The model that the Finder shows an icon of.
    pub model: Option<Utf16<'a>>,
}

impl AaplResponse<'_> {
    const SERVER: u64 = 1;
    const VOLUME: u64 = 2;
    const MODEL: u64 = 4;

    fn bitmap(&self) -> u64 {
        let part = |there: bool, bit: u64| if there { bit } else { 0 };
        part(self.server_capabilities.is_some(), Self::SERVER)
            | part(self.volume_capabilities.is_some(), Self::VOLUME)
            | part(self.model.is_some(), Self::MODEL)
    }
}

impl<'a> Codec<'a> for AaplResponse<'a> {
    fn decode(data: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(data);
        if r.u32()? != AAPL_SERVER_QUERY {
            return Err(WireError::Invalid("not the answer to Apple's query"));
        }
        r.skip(4)?;
        let bitmap = r.u64()?;
        let mut response = Self::default();
        if bitmap & Self::SERVER != 0 {
            response.server_capabilities = Some(r.u64()?);
        }
        if bitmap & Self::VOLUME != 0 {
            response.volume_capabilities = Some(r.u64()?);
        }
        if bitmap & Self::MODEL != 0 {
            r.skip(4)?;
            let len = r.u32()?;
            response.model = Some(Utf16::from_bytes(r.take_u32(len)?)?);
        }
        Ok(response)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(AAPL_SERVER_QUERY);
        out.put_u32(0);
        out.put_u64(self.bitmap());
        for part in [self.server_capabilities, self.volume_capabilities]
            .into_iter()
            .flatten()
        {
            out.put_u64(part);
        }
        if let Some(model) = &self.model {
            out.put_u32(0);
            out.put_u32(len32(model.len()));
            out.put(model.as_bytes());
        }
    }
}
