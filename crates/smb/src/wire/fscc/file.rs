//! File information classes of fixed length, and FileAllInformation (MS-FSCC 2.4).

use crate::wire::codec::{Codec, Field, Put, Reader, WireError, len32};
use crate::wire::info::FileInfoClass;
use crate::wire::types::FileTime;
use crate::wire::utf16::{put_utf16, utf16_len, utf16_to_string};

plain! {
    /// FileBasicInformation (2.4.7). In SET_INFO, times may be orders; see [`FileTime`].
    pub struct BasicInfo {
        /// CreationTime.
        created: FileTime;
        /// LastAccessTime.
        accessed: FileTime;
        /// LastWriteTime.
        written: FileTime;
        /// ChangeTime.
        changed: FileTime;
        /// FileAttributes; zero in SET_INFO leaves them.
        attributes: u32, pad 4;
    }
}

plain! {
    /// FileStandardInformation (2.4.47).
    pub struct StandardInfo {
        /// Bytes allocated.
        allocation_size: u64;
        /// Bytes of data.
        end_of_file: u64;
        /// Hard links.
        links: u32;
        /// Whether the file is deleted when the last handle is closed.
        delete_pending: bool;
        /// Whether it is a directory.
        directory: bool, pad 2;
    }
}

plain! {
    /// FileInternalInformation (2.4.27).
    pub struct InternalInfo {
        /// The file's id on its volume.
        file_id: u64;
    }
}

plain! {
    /// FileEaInformation (2.4.13).
    pub struct EaInfo {
        /// Bytes of all extended attributes.
        ea_size: u32;
    }
}

plain! {
    /// FileAccessInformation (2.4.1).
    pub struct AccessInfo {
        /// Access that the handle was granted.
        access: u32;
    }
}

plain! {
    /// FilePositionInformation (2.4.40).
    pub struct PositionInfo {
        /// Kept for the handle, of no effect.
        offset: u64;
    }
}

plain! {
    /// FileModeInformation (2.4.31).
    pub struct ModeInfo {
        /// Some of the create options.
        mode: u32;
    }
}

plain! {
    /// FileAlignmentInformation (2.4.3).
    pub struct AlignmentInfo {
        /// 0: bytes.
        requirement: u32;
    }
}

plain! {
    /// FileCompressionInformation (2.4.9).
    pub struct CompressionInfo {
        /// Bytes after compression.
        compressed_size: u64;
        /// 0: none.
        format: u16;
        /// CompressionUnitShift.
        unit_shift: u8;
        /// ChunkShift.
        chunk_shift: u8;
        /// ClusterShift.
        cluster_shift: u8, pad 3;
    }
}

plain! {
    /// FileNetworkOpenInformation (2.4.34).
    pub struct NetworkOpenInfo {
        /// CreationTime.
        created: FileTime;
        /// LastAccessTime.
        accessed: FileTime;
        /// LastWriteTime.
        written: FileTime;
        /// ChangeTime.
        changed: FileTime;
        /// Bytes allocated.
        allocation_size: u64;
        /// Bytes of data.
        end_of_file: u64;
        /// FileAttributes.
        attributes: u32, pad 4;
    }
}

plain! {
    /// FileAttributeTagInformation (2.4.6).
    pub struct AttributeTagInfo {
        /// FileAttributes.
        attributes: u32;
        /// Reparse tag, zero when the file is no reparse point.
        reparse_tag: u32;
    }
}

plain! {
    /// FileIdInformation (2.4.26).
    pub struct IdInfo {
        /// VolumeSerialNumber.
        volume_serial: u64;
        /// FileId of 128 bits.
        file_id: [u8; 16];
    }
}

plain! {
    /// FileStandardLinkInformation (2.4.48).
    pub struct StandardLinkInfo {
        /// Links that can be reached.
        accessible_links: u32;
        /// All links.
        total_links: u32;
        /// Whether the file is about to be deleted.
        delete_pending: bool;
        /// Whether it is a directory.
        directory: bool, pad 2;
    }
}

plain! {
    /// FilePipeInformation (2.4.37).
    pub struct PipeInfo {
        /// 0: bytes, 1: messages.
        read_mode: u32;
        /// 0: blocking.
        completion_mode: u32;
    }
}

plain! {
    /// FilePipeLocalInformation (2.4.38).
    pub struct PipeLocalInfo {
        /// 0: bytes, 1: messages.
        pipe_type: u32;
        /// 2: full duplex.
        configuration: u32;
        /// MaximumInstances.
        instances_max: u32;
        /// CurrentInstances.
        instances: u32;
        /// InboundQuota.
        inbound_quota: u32;
        /// ReadDataAvailable.
        read_available: u32;
        /// OutboundQuota.
        outbound_quota: u32;
        /// WriteQuotaAvailable.
        write_quota: u32;
        /// 3: connected.
        state: u32;
        /// 1: server end.
        end: u32;
    }
}

plain! {
    /// FileCaseSensitiveInformation.
    pub struct CaseSensitiveInfo {
        /// 1: names in this directory are case-sensitive.
        flags: u32;
    }
}

plain! {
    /// FileAllocationInformation (2.4.4), to be set.
    pub struct AllocationInfo {
        /// Bytes.
        allocation_size: u64;
    }
}

plain! {
    /// FileEndOfFileInformation (2.4.14), to be set.
    pub struct EndOfFileInfo {
        /// Bytes.
        end_of_file: u64;
    }
}

plain! {
    /// FileValidDataLengthInformation (2.4.49), to be set.
    pub struct ValidDataLengthInfo {
        /// Bytes.
        length: u64;
    }
}

plain! {
    /// FileDispositionInformation (2.4.11), to be set.
    pub struct DispositionInfo {
        /// Whether the file is deleted when the last handle is closed.
        delete_pending: bool;
    }
}

flags! {
    /// Flags of FileDispositionInformationEx (2.4.12).
    pub struct DispositionFlags: u32 {
        DELETE = 0x01,
        POSIX_SEMANTICS = 0x02,
        FORCE_IMAGE_SECTION_CHECK = 0x04,
        ON_CLOSE = 0x08,
        IGNORE_READONLY_ATTRIBUTE = 0x10,
    }
}

plain! {
    /// FileDispositionInformationEx (2.4.12), to be set.
    pub struct DispositionExInfo {
        /// [`DispositionFlags`].
        flags: u32;
    }
}

/// FileNameInformation, FileAlternateNameInformation and FileNormalizedNameInformation
/// (2.4.32, 2.4.5, 2.4.36): a length and a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameInfo {
    /// The name.
    pub name: String,
}

impl<'a> Codec<'a> for NameInfo {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let len = r.u32()?;
        Ok(Self {
            name: utf16_to_string(r.take_u32(len)?),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(len32(utf16_len(&self.name)));
        put_utf16(&self.name, out);
    }
}

/// FileAllInformation (2.4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllInfo {
    /// Basic.
    pub basic: BasicInfo,
    /// Standard.
    pub standard: StandardInfo,
    /// Internal.
    pub internal: InternalInfo,
    /// EA.
    pub ea: EaInfo,
    /// Access.
    pub access: AccessInfo,
    /// Position.
    pub position: PositionInfo,
    /// Mode.
    pub mode: ModeInfo,
    /// Alignment.
    pub alignment: AlignmentInfo,
    /// The path from the share's root, beginning with a backslash.
    pub name: NameInfo,
}

impl<'a> Codec<'a> for AllInfo {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let r = &mut Reader::new(bytes);
        Ok(Self {
            basic: Field::get(r)?,
            standard: Field::get(r)?,
            internal: Field::get(r)?,
            ea: Field::get(r)?,
            access: Field::get(r)?,
            position: Field::get(r)?,
            mode: Field::get(r)?,
            alignment: Field::get(r)?,
            name: NameInfo::decode(r.rest())?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.basic.encode(out);
        self.standard.encode(out);
        self.internal.encode(out);
        self.ea.encode(out);
        self.access.encode(out);
        self.position.encode(out);
        self.mode.encode(out);
        self.alignment.encode(out);
        self.name.encode(out);
    }
}

/// The bytes that a client's buffer must hold at least for a query of this class; with fewer,
/// STATUS_INFO_LENGTH_MISMATCH is the answer. A buffer that holds these but not all gets
/// STATUS_BUFFER_OVERFLOW and what fits. None for classes that cannot be queried by QUERY_INFO or
/// that we do not know.
#[must_use]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other classes cannot be queried"
)]
pub const fn query_min_len(class: FileInfoClass) -> Option<usize> {
    Some(match class {
        FileInfoClass::Basic => 40,
        FileInfoClass::Standard | FileInfoClass::Id => 24,
        FileInfoClass::Internal | FileInfoClass::Position => 8,
        FileInfoClass::Ea | FileInfoClass::Access | FileInfoClass::Mode => 4,
        FileInfoClass::Alignment | FileInfoClass::CaseSensitive => 4,
        FileInfoClass::Name | FileInfoClass::AlternateName | FileInfoClass::NormalizedName => 8,
        FileInfoClass::All => 104,
        FileInfoClass::Stream => 32,
        FileInfoClass::Pipe | FileInfoClass::AttributeTag => 8,
        FileInfoClass::PipeLocal => 40,
        FileInfoClass::Compression => 16,
        FileInfoClass::NetworkOpen => 56,
        FileInfoClass::HardLink => 8,
        FileInfoClass::StandardLink => 12,
        FileInfoClass::FullEa => 0,
        _ => return None,
    })
}
