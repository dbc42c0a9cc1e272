//! File system information classes (MS-FSCC 2.5).

use crate::wire::codec::{Codec, Put, Reader, WireError, len32};
use crate::wire::info::FsInfoClass;
use crate::wire::types::{FileTime, Guid};
use crate::wire::utf16::{put_utf16, utf16_len, utf16_to_string};

/// FileFsVolumeInformation (2.5.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeInfo {
    /// VolumeCreationTime.
    pub created: FileTime,
    /// VolumeSerialNumber.
    pub serial: u32,
    /// SupportsObjects.
    pub supports_objects: bool,
    /// VolumeLabel.
    pub label: String,
}

impl<'a> Codec<'a> for VolumeInfo {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let created = FileTime::decode(&mut r)?;
        let (serial, len) = (r.u32()?, r.u32()?);
        let supports_objects = r.u8()? != 0;
        r.skip(1)?;
        let label = utf16_to_string(r.take_u32(len)?);
        Ok(Self {
            created,
            serial,
            supports_objects,
            label,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.created.encode(out);
        out.put_u32(self.serial);
        out.put_u32(len32(utf16_len(&self.label)));
        out.put_u8(u8::from(self.supports_objects));
        out.put_u8(0);
        put_utf16(&self.label, out);
    }
}

plain! {
    /// FileFsSizeInformation (2.5.8), in allocation units.
    pub struct SizeInfo {
        /// All.
        total_units: u64;
        /// Free for the caller.
        available_units: u64;
        /// SectorsPerAllocationUnit.
        sectors_per_unit: u32;
        /// BytesPerSector.
        bytes_per_sector: u32;
    }
}

plain! {
    /// FileFsFullSizeInformation (2.5.4), in allocation units.
    pub struct FullSizeInfo {
        /// All.
        total_units: u64;
        /// Free for the caller.
        caller_available_units: u64;
        /// Free.
        actual_available_units: u64;
        /// SectorsPerAllocationUnit.
        sectors_per_unit: u32;
        /// BytesPerSector.
        bytes_per_sector: u32;
    }
}

plain! {
    /// FileFsDeviceInformation (2.5.10).
    pub struct DeviceInfo {
        /// 7: disk.
        device_type: u32;
        /// 0x20: mounted, 0x10: remote, 0x2: read-only.
        characteristics: u32;
    }
}

plain! {
    /// FileFsControlInformation (2.5.2).
    pub struct ControlInfo {
        /// FreeSpaceStartFiltering.
        start_filtering: u64;
        /// FreeSpaceThreshold.
        threshold: u64;
        /// FreeSpaceStopFiltering.
        stop_filtering: u64;
        /// DefaultQuotaThreshold, bytes.
        quota_threshold: u64;
        /// DefaultQuotaLimit, bytes.
        quota_limit: u64;
        /// 1: quotas are tracked, 2: enforced.
        flags: u32, pad 4;
    }
}

plain! {
    /// FileFsObjectIdInformation (2.5.6).
    pub struct ObjectIdInfo {
        /// Of the volume.
        object_id: Guid;
        /// ExtendedInfo, opaque.
        extended: [Guid; 3];
    }
}

plain! {
    /// FileFsSectorSizeInformation (2.5.7).
    pub struct SectorSizeInfo {
        /// LogicalBytesPerSector.
        logical: u32;
        /// PhysicalBytesPerSectorForAtomicity.
        physical_atomicity: u32;
        /// PhysicalBytesPerSectorForPerformance.
        physical_performance: u32;
        /// FileSystemEffectivePhysicalBytesPerSectorForAtomicity.
        effective_atomicity: u32;
        /// 1: aligned, 2: partition aligned, 4: no seek penalty, 8: trim.
        flags: u32;
        /// ByteOffsetForSectorAlignment.
        sector_alignment: u32;
        /// ByteOffsetForPartitionAlignment.
        partition_alignment: u32;
    }
}

flags! {
    /// FileSystemAttributes (2.5.1).
    pub struct FsAttributes: u32 {
        CASE_SENSITIVE_SEARCH = 0x0000_0001,
        CASE_PRESERVED_NAMES = 0x0000_0002,
        UNICODE_ON_DISK = 0x0000_0004,
        PERSISTENT_ACLS = 0x0000_0008,
        FILE_COMPRESSION = 0x0000_0010,
        VOLUME_QUOTAS = 0x0000_0020,
        SUPPORTS_SPARSE_FILES = 0x0000_0040,
        SUPPORTS_REPARSE_POINTS = 0x0000_0080,
        SUPPORTS_REMOTE_STORAGE = 0x0000_0100,
        VOLUME_IS_COMPRESSED = 0x0000_8000,
        SUPPORTS_OBJECT_IDS = 0x0001_0000,
        SUPPORTS_ENCRYPTION = 0x0002_0000,
        NAMED_STREAMS = 0x0004_0000,
        READ_ONLY_VOLUME = 0x0008_0000,
        SEQUENTIAL_WRITE_ONCE = 0x0010_0000,
        SUPPORTS_TRANSACTIONS = 0x0020_0000,
        SUPPORTS_HARD_LINKS = 0x0040_0000,
        SUPPORTS_EXTENDED_ATTRIBUTES = 0x0080_0000,
        SUPPORTS_OPEN_BY_FILE_ID = 0x0100_0000,
        SUPPORTS_USN_JOURNAL = 0x0200_0000,
        SUPPORT_INTEGRITY_STREAMS = 0x0400_0000,
        SUPPORTS_BLOCK_REFCOUNTING = 0x0800_0000,
        SUPPORTS_SPARSE_VDL = 0x1000_0000,
    }
}

/// FileFsAttributeInformation (2.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeInfo {
    /// What the file system can do.
    pub attributes: FsAttributes,
    /// Longest component, in characters.
    pub component_len_max: u32,
    /// Such as `NTFS`, on which clients decide what to try.
    pub name: String,
}

impl<'a> Codec<'a> for AttributeInfo {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let (attributes, component_len_max) = (FsAttributes(r.u32()?), r.u32()?);
        let len = r.u32()?;
        Ok(Self {
            attributes,
            component_len_max,
            name: utf16_to_string(r.take_u32(len)?),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.attributes.bits());
        out.put_u32(self.component_len_max);
        out.put_u32(len32(utf16_len(&self.name)));
        put_utf16(&self.name, out);
    }
}

/// The bytes that a client's buffer must hold at least for a query of this class; with fewer,
/// STATUS_INFO_LENGTH_MISMATCH is the answer. None for classes that we do not know.
#[must_use]
pub const fn query_min_len(class: FsInfoClass) -> Option<usize> {
    Some(match class {
        FsInfoClass::Volume | FsInfoClass::Size => 24,
        FsInfoClass::Device => 8,
        FsInfoClass::Attribute => 16,
        FsInfoClass::Control => 48,
        FsInfoClass::FullSize => 32,
        FsInfoClass::ObjectId => 64,
        FsInfoClass::SectorSize => 28,
        FsInfoClass::Label
        | FsInfoClass::DriverPath
        | FsInfoClass::VolumeFlags
        | FsInfoClass::Posix
        | FsInfoClass::Unknown(_) => return None,
    })
}
