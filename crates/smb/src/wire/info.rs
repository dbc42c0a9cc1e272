//! QUERY_INFO and SET_INFO (MS-SMB2 2.2.37 to 2.2.40).

use super::codec::{Codec, Put, Reader, WireError, body_field, header_offset16, len32};
use super::types::FileId;

open_enum! {
    /// InfoType.
    pub enum InfoType: u8 {
        File = 1,
        FileSystem = 2,
        Security = 3,
        Quota = 4,
    }
}

open_enum! {
    /// File and directory information classes (MS-FSCC 2.4).
    pub enum FileInfoClass: u8 {
        Directory = 1,
        FullDirectory = 2,
        BothDirectory = 3,
        Basic = 4,
        Standard = 5,
        Internal = 6,
        Ea = 7,
        Access = 8,
        Name = 9,
        Rename = 10,
        Link = 11,
        Names = 12,
        Disposition = 13,
        Position = 14,
        FullEa = 15,
        Mode = 16,
        Alignment = 17,
        All = 18,
        Allocation = 19,
        EndOfFile = 20,
        AlternateName = 21,
        Stream = 22,
        Pipe = 23,
        PipeLocal = 24,
        PipeRemote = 25,
        MailslotQuery = 26,
        MailslotSet = 27,
        Compression = 28,
        ObjectId = 29,
        Quota = 32,
        ReparsePoint = 33,
        NetworkOpen = 34,
        AttributeTag = 35,
        Tracking = 36,
        IdBothDirectory = 37,
        IdFullDirectory = 38,
        ValidDataLength = 39,
        ShortName = 40,
        SfioReserve = 44,
        SfioVolume = 45,
        HardLink = 46,
        NormalizedName = 48,
        IdGlobalTxDirectory = 50,
        StandardLink = 54,
        Id = 59,
        IdExtdDirectory = 60,
        IdExtdBothDirectory = 63,
        DispositionEx = 64,
        RenameEx = 65,
        DesiredStorageClass = 67,
        Stat = 68,
        StatLx = 70,
        CaseSensitive = 71,
        LinkEx = 72,
        StorageReserveId = 74,
        CaseSensitiveForceAccessCheck = 75,
        KnownFolder = 76,
        Id64ExtdDirectory = 78,
        Id64ExtdBothDirectory = 79,
        IdAllExtdDirectory = 80,
        IdAllExtdBothDirectory = 81,
        /// SMB_FIND_FILE_POSIX_INFORMATION of the POSIX extensions.
        Posix = 100,
    }
}

open_enum! {
    /// File system information classes (MS-FSCC 2.5).
    pub enum FsInfoClass: u8 {
        Volume = 1,
        Label = 2,
        Size = 3,
        Device = 4,
        Attribute = 5,
        Control = 6,
        FullSize = 7,
        ObjectId = 8,
        DriverPath = 9,
        VolumeFlags = 10,
        SectorSize = 11,
        Posix = 100,
    }
}

flags! {
    /// AdditionalInformation of security queries (MS-SMB2 2.2.37).
    pub struct SecurityInformation: u32 {
        OWNER = 0x0000_0001,
        GROUP = 0x0000_0002,
        DACL = 0x0000_0004,
        SACL = 0x0000_0008,
        LABEL = 0x0000_0010,
        ATTRIBUTE = 0x0000_0020,
        SCOPE = 0x0000_0040,
        BACKUP = 0x0001_0000,
    }
}

flags! {
    /// Flags of QUERY_INFO, for FileFullEaInformation.
    pub struct QueryInfoFlags: u32 {
        RESTART_SCAN = 0x1,
        RETURN_SINGLE_ENTRY = 0x2,
        INDEX_SPECIFIED = 0x4,
    }
}

const QUERY_FIXED: usize = 40;
const SET_FIXED: usize = 32;
const BUFFER_FIXED: usize = 8;

/// QUERY_INFO request. The response is [`Buffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryInfoRequest<'a> {
    /// File, file system, security, quota.
    pub info_type: InfoType,
    /// A [`FileInfoClass`] or [`FsInfoClass`], as the type says.
    pub class: u8,
    /// Room at the client.
    pub output_buffer_length: u32,
    /// [`SecurityInformation`], or the index of an EA.
    pub additional_information: u32,
    /// For EAs.
    pub flags: QueryInfoFlags,
    /// The open.
    pub file_id: FileId,
    /// Names of EAs, or SIDs of quotas.
    pub input: &'a [u8],
}

impl<'a> Codec<'a> for QueryInfoRequest<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(41)?;
        let (info_type, class) = (InfoType::from_wire(r.u8()?), r.u8()?);
        let output_buffer_length = r.u32()?;
        let offset = r.u16()?;
        r.skip(2)?;
        let len = r.u32()?;
        let additional_information = r.u32()?;
        let flags = QueryInfoFlags(r.u32()?);
        Ok(Self {
            info_type,
            class,
            output_buffer_length,
            additional_information,
            flags,
            file_id: FileId::decode(&mut r)?,
            input: body_field(body, QUERY_FIXED, offset.into(), len)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(41);
        out.put_u8(self.info_type.to_wire());
        out.put_u8(self.class);
        out.put_u32(self.output_buffer_length);
        out.put_u16(header_offset16(QUERY_FIXED));
        out.put_u16(0);
        out.put_u32(len32(self.input.len()));
        out.put_u32(self.additional_information);
        out.put_u32(self.flags.bits());
        self.file_id.encode(out);
        out.put(self.input);
    }
}

/// SET_INFO request. The response is [`SetInfoResponse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetInfoRequest<'a> {
    /// File, file system, security, quota.
    pub info_type: InfoType,
    /// A [`FileInfoClass`] or [`FsInfoClass`], as the type says.
    pub class: u8,
    /// [`SecurityInformation`].
    pub additional_information: u32,
    /// The open.
    pub file_id: FileId,
    /// The information.
    pub buffer: &'a [u8],
}

impl<'a> Codec<'a> for SetInfoRequest<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(33)?;
        let (info_type, class) = (InfoType::from_wire(r.u8()?), r.u8()?);
        let len = r.u32()?;
        let offset = r.u16()?;
        r.skip(2)?;
        Ok(Self {
            info_type,
            class,
            additional_information: r.u32()?,
            file_id: FileId::decode(&mut r)?,
            buffer: body_field(body, SET_FIXED, offset.into(), len)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(33);
        out.put_u8(self.info_type.to_wire());
        out.put_u8(self.class);
        out.put_u32(len32(self.buffer.len()));
        out.put_u16(header_offset16(SET_FIXED));
        out.put_u16(0);
        out.put_u32(self.additional_information);
        self.file_id.encode(out);
        out.put(self.buffer);
    }
}

/// SET_INFO response: two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetInfoResponse;

impl<'a> Codec<'a> for SetInfoResponse {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        Reader::new(body).structure_size(2).map(|()| Self)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(2);
    }
}

/// The response of QUERY_INFO, QUERY_DIRECTORY and CHANGE_NOTIFY: one buffer
/// (MS-SMB2 2.2.38, 2.2.34, 2.2.36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer<'a> {
    /// Its bytes.
    pub data: &'a [u8],
}

impl Buffer<'_> {
    /// Appends the fixed part; the caller then appends the data itself and calls
    /// [`Buffer::finish`] with what this returned.
    #[must_use = "the response must be finished"]
    pub fn begin(out: &mut Vec<u8>) -> BufferSlot {
        let start = out.len();
        out.put_u16(9);
        out.put_u16(header_offset16(BUFFER_FIXED));
        out.put_u32(0);
        BufferSlot { start }
    }

    /// Notes how many bytes were appended since [`Buffer::begin`].
    pub fn finish(slot: BufferSlot, out: &mut Vec<u8>) {
        let len = len32(out.since(slot.data_start()));
        out.patch_u32(slot.start.saturating_add(4), len);
    }
}

/// A [`Buffer`] response that is being laid out.
#[derive(Debug)]
pub struct BufferSlot {
    start: usize,
}

impl BufferSlot {
    /// Where the data begins in the output.
    #[must_use]
    pub fn data_start(&self) -> usize {
        self.start.saturating_add(BUFFER_FIXED)
    }

    /// Takes the response back, so that an error can be appended instead.
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }
}

impl<'a> Codec<'a> for Buffer<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(9)?;
        let (offset, len) = (r.u16()?, r.u32()?);
        Ok(Self {
            data: body_field(body, BUFFER_FIXED, offset.into(), len)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let slot = Self::begin(out);
        out.put(self.data);
        Self::finish(slot, out);
    }
}
