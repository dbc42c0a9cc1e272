//! IOCTL (MS-SMB2 2.2.31, 2.2.32).

use super::codec::{Codec, Put, Reader, WireError, body_field, header_offset32, len32, padding};
use super::types::FileId;

open_enum! {
    /// CtlCode (MS-SMB2 2.2.31, MS-FSCC 2.3).
    pub enum FsctlCode: u32 {
        DfsGetReferrals = 0x0006_0194,
        DfsGetReferralsEx = 0x0006_01B0,
        PipePeek = 0x0011_400C,
        PipeWait = 0x0011_0018,
        PipeTransceive = 0x0011_C017,
        SrvCopyChunk = 0x0014_40F2,
        SrvCopyChunkWrite = 0x0014_80F2,
        SrvEnumerateSnapshots = 0x0014_4064,
        SrvRequestResumeKey = 0x0014_0078,
        SrvReadHash = 0x0014_41BB,
        LmrRequestResiliency = 0x0014_01D4,
        LmrGetLinkTrackingInformation = 0x0014_00E8,
        LmrSetLinkTrackingInformation = 0x0014_00EC,
        QueryNetworkInterfaceInfo = 0x0014_01FC,
        ValidateNegotiateInfo = 0x0014_0204,
        SetReparsePoint = 0x0009_00A4,
        GetReparsePoint = 0x0009_00A8,
        DeleteReparsePoint = 0x0009_00AC,
        SetSparse = 0x0009_00C4,
        SetZeroData = 0x0009_80C8,
        QueryAllocatedRanges = 0x0009_40CF,
        QueryFileRegions = 0x0009_0284,
        FileLevelTrim = 0x0009_8208,
        SetCompression = 0x0009_C040,
        GetCompression = 0x0009_003C,
        SetObjectId = 0x0009_0098,
        GetObjectId = 0x0009_009C,
        DeleteObjectId = 0x0009_00A0,
        SetObjectIdExtended = 0x0009_00BC,
        CreateOrGetObjectId = 0x0009_00C0,
        FilesystemGetStatistics = 0x0009_0060,
        GetNtfsVolumeData = 0x0009_0064,
        GetRefsVolumeData = 0x0009_02D8,
        IsPathnameValid = 0x0009_002C,
        IsVolumeDirty = 0x0009_0078,
        FindFilesBySid = 0x0009_008F,
        ReadFileUsnData = 0x0009_00EB,
        WriteUsnCloseRecord = 0x0009_00EF,
        DuplicateExtentsToFile = 0x0009_8344,
        DuplicateExtentsToFileEx = 0x0009_83E8,
        GetIntegrityInformation = 0x0009_027C,
        SetIntegrityInformation = 0x0009_C280,
        SetIntegrityInformationEx = 0x0009_0380,
        GetRetrievalPointers = 0x0009_0073,
        GetRetrievalPointerCount = 0x0009_042B,
        QuerySparingInfo = 0x0009_0138,
        QueryOnDiskVolumeInfo = 0x0009_013C,
        SetDefectManagement = 0x0009_8134,
        SetZeroOnDeallocation = 0x0009_0194,
        OffloadRead = 0x0009_4264,
        OffloadWrite = 0x0009_8268,
        StorageQosControl = 0x0009_0350,
        SvhdxSyncTunnelRequest = 0x0009_0304,
        SvhdxAsyncTunnelRequest = 0x0009_0364,
        QuerySharedVirtualDiskSupport = 0x0009_0300,
    }
}

const REQUEST_FIXED: usize = 56;
const RESPONSE_FIXED: usize = 48;
/// Flags: the code is an FSCTL; anything else is refused (MS-SMB2 3.3.5.15).
pub const IOCTL_IS_FSCTL: u32 = 1;

/// IOCTL request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoctlRequest<'a> {
    /// What is asked for.
    pub code: FsctlCode,
    /// The open, or [`FileId::ANY`].
    pub file_id: FileId,
    /// Input.
    pub input: &'a [u8],
    /// Largest input returned.
    pub max_input_response: u32,
    /// Largest output wanted.
    pub max_output_response: u32,
    /// [`IOCTL_IS_FSCTL`].
    pub flags: u32,
}

impl<'a> Codec<'a> for IoctlRequest<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(57)?;
        r.skip(2)?;
        let code = FsctlCode::from_wire(r.u32()?);
        let file_id = FileId::decode(&mut r)?;
        let (offset, len) = (r.u32()?, r.u32()?);
        let max_input_response = r.u32()?;
        r.skip(8)?;
        let (max_output_response, flags) = (r.u32()?, r.u32()?);
        r.skip(4)?;
        let input = body_field(body, REQUEST_FIXED, offset, len)?;
        Ok(Self {
            code,
            file_id,
            input,
            max_input_response,
            max_output_response,
            flags,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(57);
        out.put_u16(0);
        out.put_u32(self.code.to_wire());
        self.file_id.encode(out);
        out.put_u32(header_offset32(REQUEST_FIXED));
        out.put_u32(len32(self.input.len()));
        out.put_u32(self.max_input_response);
        out.put_u32(header_offset32(REQUEST_FIXED));
        out.put_u32(0);
        out.put_u32(self.max_output_response);
        out.put_u32(self.flags);
        out.put_u32(0);
        out.put(self.input);
    }
}

/// IOCTL response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoctlResponse<'a> {
    /// As asked.
    pub code: FsctlCode,
    /// As asked.
    pub file_id: FileId,
    /// Input given back; empty but for pass-through.
    pub input: &'a [u8],
    /// Output.
    pub output: &'a [u8],
}

impl<'a> Codec<'a> for IoctlResponse<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(49)?;
        r.skip(2)?;
        let code = FsctlCode::from_wire(r.u32()?);
        let file_id = FileId::decode(&mut r)?;
        let (in_offset, in_len) = (r.u32()?, r.u32()?);
        let (out_offset, out_len) = (r.u32()?, r.u32()?);
        r.skip(8)?;
        let input = body_field(body, RESPONSE_FIXED, in_offset, in_len)?;
        let output = body_field(body, RESPONSE_FIXED, out_offset, out_len)?;
        Ok(Self {
            code,
            file_id,
            input,
            output,
        })
    }

    /// The output begins at a multiple of 8 after the input (MS-SMB2 3.3.5.15).
    fn encode(&self, out: &mut Vec<u8>) {
        let input_end = RESPONSE_FIXED.saturating_add(self.input.len());
        let gap = padding(input_end, 8);
        out.put_u16(49);
        out.put_u16(0);
        out.put_u32(self.code.to_wire());
        self.file_id.encode(out);
        out.put_u32(header_offset32(RESPONSE_FIXED));
        out.put_u32(len32(self.input.len()));
        out.put_u32(header_offset32(input_end.saturating_add(gap)));
        out.put_u32(len32(self.output.len()));
        out.put_zeros(8);
        out.put(self.input);
        out.put_zeros(gap);
        out.put(self.output);
    }
}
