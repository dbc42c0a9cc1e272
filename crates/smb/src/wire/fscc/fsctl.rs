//! Inputs and outputs of file system controls (MS-FSCC 2.3, MS-SMB2 2.2.31 and 2.2.32).

use std::net::SocketAddr;

use crate::wire::codec::{Codec, Field, Put, Reader, WireError, len16, len32};
use crate::wire::negotiate::{Capabilities, Dialect, SecurityMode};
use crate::wire::types::{FileId, Guid};
use crate::wire::utf16::Utf16;

use super::list::ListWriter;

/// VALIDATE_NEGOTIATE_INFO request (MS-SMB2 2.2.31.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidateNegotiateRequest {
    /// As in the NEGOTIATE.
    pub capabilities: Capabilities,
    /// As in the NEGOTIATE.
    pub client_guid: Guid,
    /// As in the NEGOTIATE.
    pub security_mode: SecurityMode,
    /// As in the NEGOTIATE.
    pub dialects: Vec<Dialect>,
}

impl<'a> Codec<'a> for ValidateNegotiateRequest {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let capabilities = Capabilities(r.u32()?);
        let client_guid = Guid::decode(&mut r)?;
        let security_mode = SecurityMode(r.u16()?);
        let count = usize::from(r.u16()?);
        let dialects = r
            .u16_list(count)?
            .into_iter()
            .map(Dialect::from_wire)
            .collect();
        Ok(Self {
            capabilities,
            client_guid,
            security_mode,
            dialects,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.capabilities.bits());
        self.client_guid.encode(out);
        out.put_u16(self.security_mode.bits());
        out.put_u16(len16(self.dialects.len()));
        self.dialects
            .iter()
            .for_each(|dialect| out.put_u16(dialect.to_wire()));
    }
}

plain! {
    /// VALIDATE_NEGOTIATE_INFO response (MS-SMB2 2.2.32.6).
    pub struct ValidateNegotiateResponse {
        /// [`Capabilities`] as in the NEGOTIATE response.
        capabilities: u32;
        /// As in the NEGOTIATE response.
        server_guid: Guid;
        /// [`SecurityMode`] as in the NEGOTIATE response.
        security_mode: u16;
        /// [`Dialect`] as in the NEGOTIATE response.
        dialect: u16;
    }
}

/// NETWORK_INTERFACE_INFO (MS-SMB2 2.2.32.5): one address of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkInterface {
    /// Index of the interface.
    pub index: u32,
    /// 1: receive side scaling, 2: RDMA.
    pub capability: u32,
    /// Bits a second.
    pub link_speed: u64,
    /// The address; its port is sent as zero.
    pub address: SocketAddr,
}

const INTERFACE_LEN: usize = 152;
const SOCKADDR_LEN: usize = 128;

impl NetworkInterface {
    /// Appends this entry to a list that is aligned to 8; false when there is no room.
    pub fn push(&self, list: &mut ListWriter<'_>) -> bool {
        list.push(INTERFACE_LEN, |out| {
            out.put_u32(0);
            out.put_u32(self.index);
            out.put_u32(self.capability);
            out.put_u32(0);
            out.put_u64(self.link_speed);
            let start = out.len();
            put_address(&self.address, out);
            out.put_zeros(SOCKADDR_LEN.saturating_sub(out.since(start)));
        })
    }
}

/// SOCKADDR_STORAGE (MS-SMB2 2.2.32.5.1); addresses and ports are big-endian.
fn put_address(address: &SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(v4) => {
            out.put_u16(0x0002);
            out.put_u16(0);
            out.put(&v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            out.put_u16(0x0017);
            out.put_u16(0);
            out.put_u32(0);
            out.put(&v6.ip().octets());
            out.put_u32(v6.scope_id());
        }
    }
}

/// SET_SPARSE (MS-FSCC 2.3.69): whether the file shall be sparse; no input means yes.
#[must_use]
pub fn decode_set_sparse(input: &[u8]) -> bool {
    input.first().is_none_or(|byte| *byte != 0)
}

plain! {
    /// SET_ZERO_DATA (MS-FSCC 2.3.71).
    pub struct ZeroData {
        /// First byte to become zero.
        offset: u64;
        /// First byte after them. Both are signed on the wire; the server refuses negative ones.
        beyond: u64;
    }
}

plain! {
    /// FILE_ALLOCATED_RANGE_BUFFER (MS-FSCC 2.3.51): a range, asked for or allocated; also a range
    /// of FILE_LEVEL_TRIM (2.3.75).
    pub struct Range {
        /// First byte. Signed on the wire; the server refuses negative ones.
        offset: u64;
        /// Bytes. Signed on the wire as well.
        length: u64;
    }
}

/// Appends as many ranges as fit into `max` bytes; false when some did not.
pub fn encode_ranges(ranges: &[Range], max: usize, out: &mut Vec<u8>) -> bool {
    let fitting = (max / 16).min(ranges.len());
    ranges
        .iter()
        .take(fitting)
        .for_each(|range| range.encode(out));
    fitting == ranges.len()
}

/// The ranges in `bytes`.
///
/// # Errors
/// A range that is cut short.
pub fn decode_ranges(bytes: &[u8]) -> Result<Vec<Range>, WireError> {
    let mut r = Reader::new(bytes);
    let mut ranges = Vec::new();
    while r.left() != 0 {
        ranges.push(Range::get(&mut r)?);
    }
    Ok(ranges)
}

/// FILE_LEVEL_TRIM input (MS-FSCC 2.3.75).
///
/// # Errors
/// Fewer ranges than announced.
pub fn decode_trim(input: &[u8]) -> Result<Vec<Range>, WireError> {
    let mut r = Reader::new(input);
    r.skip(4)?;
    let count = r.u32()?;
    let len = count.checked_mul(16).ok_or(WireError::Bounds)?;
    decode_ranges(r.take_u32(len)?)
}

/// Bytes of a resume key.
pub const RESUME_KEY_LEN: usize = 24;

plain! {
    /// SRV_REQUEST_RESUME_KEY response (MS-SMB2 2.2.32.3); the context is always empty.
    pub struct ResumeKey {
        /// The key, opaque to the client.
        key: [u8; RESUME_KEY_LEN], pad 8;
    }
}

plain! {
    /// SRV_COPYCHUNK (MS-SMB2 2.2.31.1.1).
    pub struct CopyChunk {
        /// SourceOffset.
        source: u64;
        /// TargetOffset.
        target: u64;
        /// Bytes.
        length: u32, pad 4;
    }
}

/// SRV_COPYCHUNK_COPY (MS-SMB2 2.2.31.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyChunkRequest {
    /// The resume key of the source.
    pub source_key: [u8; RESUME_KEY_LEN],
    /// What is copied.
    pub chunks: Vec<CopyChunk>,
}

impl<'a> Codec<'a> for CopyChunkRequest {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let source_key = r.array()?;
        let count = r.u32()?;
        r.skip(4)?;
        let len = count.checked_mul(24).ok_or(WireError::Bounds)?;
        let mut chunks = Vec::new();
        let mut r = Reader::new(r.take_u32(len)?);
        while r.left() != 0 {
            chunks.push(CopyChunk::get(&mut r)?);
        }
        Ok(Self { source_key, chunks })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.source_key);
        out.put_u32(len32(self.chunks.len()));
        out.put_u32(0);
        self.chunks.iter().for_each(|chunk| chunk.encode(out));
    }
}

plain! {
    /// SRV_COPYCHUNK_RESPONSE (MS-SMB2 2.2.32.1); with STATUS_INVALID_PARAMETER it carries the
    /// server's limits instead.
    pub struct CopyChunkResponse {
        /// Chunks written, or the most that are allowed.
        chunks: u32;
        /// Bytes of the last chunk that was written in part, or the most of a chunk.
        chunk_bytes: u32;
        /// Bytes written, or the most of all chunks.
        total_bytes: u32;
    }
}

/// SRV_SNAPSHOT_ARRAY (MS-SMB2 2.2.32.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotArray {
    /// The newest first, each as `@GMT-YYYY.MM.DD-HH.MM.SS`.
    pub labels: Vec<String>,
}

impl SnapshotArray {
    /// The least room that a client must give (MS-SMB2 3.3.5.15.1).
    pub const LEN_MIN: usize = 16;

    /// Appends the array when it fits into `max` bytes, else only the numbers that say how much
    /// room is needed.
    pub fn encode(&self, max: usize, out: &mut Vec<u8>) {
        let mut names = Vec::new();
        for label in &self.labels {
            crate::wire::utf16::put_utf16(label, &mut names);
            names.put_u16(0);
        }
        names.put_u16(0);
        let fits = names.len().saturating_add(12) <= max && !self.labels.is_empty();
        out.put_u32(len32(self.labels.len()));
        out.put_u32(if fits { len32(self.labels.len()) } else { 0 });
        out.put_u32(len32(names.len()));
        if fits {
            out.put(&names);
        } else {
            // Windows sends 16 bytes at least, the last four of them empty.
            out.put_zeros(max.saturating_sub(12).min(4));
        }
    }
}

/// DFS_GET_REFERRALS request (MS-DFSC 2.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DfsReferralRequest<'a> {
    /// MaxReferralLevel.
    pub level_max: u16,
    /// RequestFileName without its terminator.
    pub path: Utf16<'a>,
}

impl<'a> Codec<'a> for DfsReferralRequest<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let level_max = r.u16()?;
        let name = r.rest();
        let terminator = name
            .as_chunks::<2>()
            .0
            .iter()
            .position(|unit| *unit == [0, 0]);
        let end = terminator.ok_or(WireError::Invalid("a referral's path is not terminated"))?;
        let end = end.saturating_mul(2);
        let path = Utf16::from_bytes(name.get(..end).ok_or(WireError::Bounds)?)?;
        Ok(Self { level_max, path })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.level_max);
        out.put(self.path.as_bytes());
        out.put_u16(0);
    }
}

/// PIPE_WAIT (MS-FSCC 2.3.49).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipeWait<'a> {
    /// In units of 100 ns; none leaves it to the server.
    pub timeout: Option<u64>,
    /// The pipe's name, without a prefix.
    pub name: Utf16<'a>,
}

impl<'a> Codec<'a> for PipeWait<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let (timeout, len) = (r.u64()?, r.u32()?);
        let specified = r.u8()? != 0;
        r.skip(1)?;
        let name = Utf16::from_bytes(r.take_u32(len)?)?;
        Ok(Self {
            timeout: specified.then_some(timeout),
            name,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.timeout.unwrap_or(0));
        out.put_u32(len32(self.name.len()));
        out.put_u8(u8::from(self.timeout.is_some()));
        out.put_u8(0);
        out.put(self.name.as_bytes());
    }
}

plain! {
    /// FILE_OBJECTID_BUFFER (MS-FSCC 2.1.3.1), the output of CREATE_OR_GET_OBJECT_ID.
    pub struct ObjectIdBuffer {
        /// ObjectId.
        object_id: Guid;
        /// BirthVolumeId.
        birth_volume: Guid;
        /// BirthObjectId.
        birth_object: Guid;
        /// DomainId, zero.
        domain: Guid;
    }
}

plain! {
    /// DUPLICATE_EXTENTS_TO_FILE (MS-FSCC 2.3.9).
    pub struct DuplicateExtents {
        /// The source's open.
        source: FileId;
        /// First byte in the source.
        source_offset: u64;
        /// First byte in the target.
        target_offset: u64;
        /// Bytes.
        length: u64;
    }
}

plain! {
    /// SMB2_DUPLICATE_EXTENTS_DATA_EX (MS-FSCC 2.3.9.2).
    pub struct DuplicateExtentsEx {
        /// Always 0x30.
        structure_size: u64;
        /// What is wanted.
        extents: DuplicateExtents;
        /// 1: the source must not change meanwhile.
        flags: u32, pad 4;
    }
}

/// Bytes of a STORAGE_OFFLOAD_TOKEN (MS-FSCC 2.1.11).
pub const OFFLOAD_TOKEN_LEN: usize = 512;

/// STORAGE_OFFLOAD_TOKEN, opaque to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffloadToken(pub [u8; OFFLOAD_TOKEN_LEN]);

impl Default for OffloadToken {
    fn default() -> Self {
        Self([0; OFFLOAD_TOKEN_LEN])
    }
}

impl Field for OffloadToken {
    fn get(r: &mut Reader<'_>) -> Result<Self, WireError> {
        r.array().map(Self)
    }

    fn set(&self, out: &mut Vec<u8>) {
        out.put(&self.0);
    }
}

plain! {
    /// OFFLOAD_READ input (MS-FSCC 2.3.41).
    pub struct OffloadRead {
        /// Always 32.
        size: u32;
        /// None is defined.
        flags: u32;
        /// Milliseconds; 0 leaves it to the server.
        time_to_live: u32, pad 4;
        /// First byte.
        offset: u64;
        /// Bytes.
        length: u64;
    }
}

plain! {
    /// OFFLOAD_READ output (MS-FSCC 2.3.42).
    pub struct OffloadReadResponse {
        /// Always 528.
        size: u32;
        /// 1: zeros follow up to the end of the file.
        flags: u32;
        /// The bytes that the token stands for.
        length: u64;
        /// STORAGE_OFFLOAD_TOKEN.
        token: OffloadToken;
    }
}

plain! {
    /// OFFLOAD_WRITE input (MS-FSCC 2.3.80).
    pub struct OffloadWrite {
        /// Always 544.
        size: u32;
        /// None is defined.
        flags: u32;
        /// First byte in the file.
        offset: u64;
        /// Bytes.
        length: u64;
        /// First byte of what the token stands for.
        transfer_offset: u64;
        /// STORAGE_OFFLOAD_TOKEN.
        token: OffloadToken;
    }
}

plain! {
    /// OFFLOAD_WRITE output (MS-FSCC 2.3.81).
    pub struct OffloadWriteResponse {
        /// Always 16.
        size: u32;
        /// None is defined.
        flags: u32;
        /// Bytes written.
        length: u64;
    }
}

plain! {
    /// GET_INTEGRITY_INFORMATION output (MS-FSCC 2.3.20).
    pub struct IntegrityInfo {
        /// ChecksumAlgorithm; 2: CRC64.
        algorithm: u16, pad 2;
        /// Flags.
        flags: u32;
        /// ChecksumChunkSizeInBytes.
        chunk_size: u32;
        /// ClusterSizeInBytes.
        cluster_size: u32;
    }
}

plain! {
    /// GET_COMPRESSION output, SET_COMPRESSION input (MS-FSCC 2.3.18, 2.3.65).
    pub struct CompressionState {
        /// 0: none, 1: default, 2: LZNT1.
        format: u16;
    }
}

plain! {
    /// A region of QUERY_FILE_REGIONS (MS-FSCC 2.3.56.1), asked for or answered.
    pub struct FileRegion {
        /// First byte.
        offset: u64;
        /// Bytes.
        length: u64;
        /// 1: valid cached data.
        usage: u32, pad 4;
    }
}

/// Appends the output of QUERY_FILE_REGIONS (MS-FSCC 2.3.56), `max` being at least 16; false when
/// some regions did not fit.
pub fn encode_file_regions(regions: &[FileRegion], max: usize, out: &mut Vec<u8>) -> bool {
    let fitting = (max.saturating_sub(16) / 24).min(regions.len());
    out.put_u32(0);
    out.put_u32(len32(regions.len()));
    out.put_u32(len32(fitting));
    out.put_u32(0);
    regions
        .iter()
        .take(fitting)
        .for_each(|region| region.encode(out));
    fitting == regions.len()
}
