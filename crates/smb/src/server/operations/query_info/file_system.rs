//! File system information (MS-SMB2 3.3.5.20.2, MS-FSCC 2.5).

use strongroom_vfs::{NAME_MAX, Share, VolumeInfo as Volume};

use super::{cut, room};
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::wire::codec::len32;
use crate::wire::fscc::posix::{POSIX_FS_LEN, PosixFsInfo};
use crate::wire::fscc::volume::{
    AttributeInfo, ControlInfo, DeviceInfo, FsAttributes, FullSizeInfo, ObjectIdInfo,
    SectorSizeInfo, SizeInfo, VolumeInfo, query_min_len,
};
use crate::wire::info::{FsInfoClass, QueryInfoRequest};
use crate::wire::{Codec, FileTime, Guid, NtStatus};

const SECTOR: u32 = 512;
/// FILE_DEVICE_DISK, mounted (MS-FSCC 2.5.10).
const DISK: DeviceInfo = DeviceInfo {
    device_type: 7,
    characteristics: 0x20,
};
const READ_ONLY_DEVICE: u32 = 0x02;
/// Aligned, and no seek penalty (MS-FSCC 2.5.7).
const SECTOR_FLAGS: u32 = 0x3;
const PHYSICAL_SECTOR: u32 = 4096;

pub(super) fn query(
    request: &Request,
    share: &Share,
    wanted: &QueryInfoRequest<'_>,
    out: &mut Vec<u8>,
) -> Result<NtStatus, Failure> {
    let class = FsInfoClass::from_wire(wanted.class);
    let room = room(wanted);
    let min = if class == FsInfoClass::Posix && request.is_posix() {
        POSIX_FS_LEN
    } else {
        query_min_len(class).ok_or(NtStatus::INVALID_INFO_CLASS)?
    };
    if room < min {
        return Err(NtStatus::INFO_LENGTH_MISMATCH.into());
    }
    let start = out.len();
    let volume = || {
        request
            .conn
            .server
            .vfs
            .volume(share, &request.who()?.credentials)
            .map_err(Failure::from)
    };
    match class {
        FsInfoClass::Volume => volume_info(&volume()?).encode(out),
        FsInfoClass::Size => size(&volume()?).encode(out),
        FsInfoClass::FullSize => full_size(&volume()?).encode(out),
        FsInfoClass::Device => device(share).encode(out),
        FsInfoClass::Attribute => attributes(share).encode(out),
        FsInfoClass::Control => control(request).encode(out),
        FsInfoClass::ObjectId => object_id(request, share).encode(out),
        FsInfoClass::SectorSize => SECTORS.encode(out),
        FsInfoClass::Posix => posix(&volume()?).encode(out),
        FsInfoClass::Label
        | FsInfoClass::DriverPath
        | FsInfoClass::VolumeFlags
        | FsInfoClass::Unknown(_) => return Err(NtStatus::INVALID_INFO_CLASS.into()),
    }
    Ok(cut(out, start, room))
}

/// FILE_VC_QUOTA_ENFORCE (MS-FSCC 2.5.2).
const QUOTAS_ENFORCED: u32 = 2;

/// Who has no quota of his own has no limit.
fn control(request: &Request) -> ControlInfo {
    let counted = !request.conn.server.vfs.quotas().is_empty();
    ControlInfo {
        start_filtering: 0,
        threshold: 0,
        stop_filtering: 0,
        quota_threshold: u64::MAX,
        quota_limit: u64::MAX,
        flags: if counted { QUOTAS_ENFORCED } else { 0 },
    }
}

const SECTORS: SectorSizeInfo = SectorSizeInfo {
    logical: SECTOR,
    physical_atomicity: PHYSICAL_SECTOR,
    physical_performance: PHYSICAL_SECTOR,
    effective_atomicity: PHYSICAL_SECTOR,
    flags: SECTOR_FLAGS,
    sector_alignment: 0,
    partition_alignment: 0,
};

fn volume_info(volume: &Volume) -> VolumeInfo {
    VolumeInfo {
        created: FileTime(volume.created.0),
        serial: volume.serial,
        supports_objects: true,
        label: volume.label.clone(),
    }
}

fn units(volume: &Volume, bytes: u64) -> u64 {
    bytes / u64::from(volume.unit.max(1))
}

fn size(volume: &Volume) -> SizeInfo {
    SizeInfo {
        total_units: units(volume, volume.total),
        available_units: units(volume, volume.available),
        sectors_per_unit: volume.unit / SECTOR,
        bytes_per_sector: SECTOR,
    }
}

fn full_size(volume: &Volume) -> FullSizeInfo {
    FullSizeInfo {
        total_units: units(volume, volume.total),
        caller_available_units: units(volume, volume.available),
        actual_available_units: units(volume, volume.available_to_all),
        sectors_per_unit: volume.unit / SECTOR,
        bytes_per_sector: SECTOR,
    }
}

/// Files are not counted, and the best size of a request is the client's own affair.
fn posix(volume: &Volume) -> PosixFsInfo {
    PosixFsInfo {
        transfer_size: u32::MAX,
        block_size: volume.unit,
        blocks: units(volume, volume.total),
        blocks_free: units(volume, volume.available_to_all),
        blocks_available: units(volume, volume.available),
        files: u64::MAX,
        files_free: u64::MAX,
        id: volume.id,
    }
}

fn device(share: &Share) -> DeviceInfo {
    let read_only = if share.read_only { READ_ONLY_DEVICE } else { 0 };
    DeviceInfo {
        characteristics: DISK.characteristics | read_only,
        ..DISK
    }
}

/// Clients take the name NTFS for word that ACLs and streams work.
fn attributes(share: &Share) -> AttributeInfo {
    let common = FsAttributes::CASE_SENSITIVE_SEARCH
        | FsAttributes::CASE_PRESERVED_NAMES
        | FsAttributes::UNICODE_ON_DISK
        | FsAttributes::VOLUME_QUOTAS
        | FsAttributes::PERSISTENT_ACLS
        | FsAttributes::SUPPORTS_SPARSE_FILES
        | FsAttributes::SUPPORTS_REPARSE_POINTS
        | FsAttributes::SUPPORTS_OBJECT_IDS
        | FsAttributes::NAMED_STREAMS
        | FsAttributes::SUPPORTS_HARD_LINKS
        | FsAttributes::SUPPORTS_EXTENDED_ATTRIBUTES
        | FsAttributes::SUPPORTS_OPEN_BY_FILE_ID
        | FsAttributes::SUPPORTS_BLOCK_REFCOUNTING;
    let read_only = if share.read_only {
        FsAttributes::READ_ONLY_VOLUME
    } else {
        FsAttributes::NONE
    };
    let attributes = common | read_only;
    AttributeInfo {
        attributes,
        component_len_max: len32(NAME_MAX),
        name: "NTFS".to_owned(),
    }
}

fn object_id(request: &Request, share: &Share) -> ObjectIdInfo {
    let mut id = request.conn.server.config.guid;
    id[12..].copy_from_slice(&share.id.0.to_le_bytes());
    ObjectIdInfo {
        object_id: Guid(id),
        extended: [Guid::default(); 3],
    }
}
