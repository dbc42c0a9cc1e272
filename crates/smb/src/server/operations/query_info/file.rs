//! File information (MS-SMB2 3.3.5.20.1, MS-FSA 2.1.5.12).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "codes from the wire are open: what is not served is refused as one"
)]

use std::sync::atomic::Ordering;

use strongroom_vfs::names::short_name;
use strongroom_vfs::{AccessMask, Stat, Vfs};

use super::{cut, eas, room};
use crate::server::negotiated::Negotiated;
use crate::server::open::FileOpen;
use crate::server::posix;
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::wire::create::CreateOptions;
use crate::wire::fscc::file::{
    AccessInfo, AlignmentInfo, AllInfo, AttributeTagInfo, BasicInfo, CaseSensitiveInfo,
    CompressionInfo, EaInfo, IdInfo, InternalInfo, ModeInfo, NameInfo, NetworkOpenInfo,
    PositionInfo, StandardInfo, StandardLinkInfo, query_min_len,
};
use crate::wire::fscc::list::ListWriter;
use crate::wire::fscc::names::{HardLinkInfo, LinkEntry, StreamEntry};
use crate::wire::fscc::posix::POSIX_INFO_MIN;
use crate::wire::info::{FileInfoClass, QueryInfoRequest};
use crate::wire::{Codec, FileTime, NtStatus};

/// The create options that FileModeInformation shows (MS-FSCC 2.4.31).
const MODE: CreateOptions = CreateOptions(0x0000_103E);

pub(super) fn query(
    request: &Request,
    file: &FileOpen,
    wanted: &QueryInfoRequest<'_>,
    out: &mut Vec<u8>,
) -> Result<NtStatus, Failure> {
    let class = FileInfoClass::from_wire(wanted.class);
    let room = room(wanted);
    let min = match class {
        FileInfoClass::Posix if request.is_posix() => POSIX_INFO_MIN,
        class => query_min_len(class).ok_or_else(|| unknown(class))?,
    };
    if room < min {
        return Err(NtStatus::INFO_LENGTH_MISMATCH.into());
    }
    let start = out.len();
    let context = Context { request, file };
    match class {
        FileInfoClass::Basic => basic(&context.attributes()?).encode(out),
        FileInfoClass::Standard => standard(&context.stat()?).encode(out),
        FileInfoClass::Internal => internal(&context.stat()?).encode(out),
        FileInfoClass::Ea => ea_size(&context.stat()?).encode(out),
        FileInfoClass::Access => context.access().encode(out),
        FileInfoClass::Position => context.position().encode(out),
        FileInfoClass::Mode => context.mode().encode(out),
        FileInfoClass::Alignment => AlignmentInfo { requirement: 0 }.encode(out),
        FileInfoClass::All => context.all()?.encode(out),
        FileInfoClass::Name => context.name("\\")?.encode(out),
        FileInfoClass::NormalizedName => context.normalized_name()?.encode(out),
        FileInfoClass::AlternateName => context.alternate_name()?.encode(out),
        FileInfoClass::NetworkOpen => network_open(&context.attributes()?).encode(out),
        FileInfoClass::AttributeTag => attribute_tag(&context.attributes()?).encode(out),
        FileInfoClass::Compression => compression(&context.stat()?).encode(out),
        FileInfoClass::Id => context.id()?.encode(out),
        FileInfoClass::StandardLink => standard_link(&context.stat()?).encode(out),
        FileInfoClass::CaseSensitive => CaseSensitiveInfo { flags: 0 }.encode(out),
        FileInfoClass::Stream => return context.streams(room, out),
        FileInfoClass::HardLink => return context.links(room, out),
        FileInfoClass::Posix => posix::info(context.vfs(), &file.handle)?.encode(out),
        FileInfoClass::FullEa => return eas::query(request, file, wanted, out),
        _ => return Err(unknown(class)),
    }
    Ok(cut(out, start, room))
}

/// Classes that exist but cannot be asked for over SMB2, and those that do not exist.
fn unknown(class: FileInfoClass) -> Failure {
    match class {
        FileInfoClass::Quota | FileInfoClass::ObjectId | FileInfoClass::ReparsePoint => {
            NtStatus::NOT_SUPPORTED.into()
        }
        FileInfoClass::Pipe | FileInfoClass::PipeLocal | FileInfoClass::PipeRemote => {
            NtStatus::INVALID_DEVICE_REQUEST.into()
        }
        _ => NtStatus::INVALID_INFO_CLASS.into(),
    }
}

struct Context<'a> {
    request: &'a Request,
    file: &'a FileOpen,
}

impl Context<'_> {
    fn vfs(&self) -> &Vfs {
        &self.request.conn.server.vfs
    }

    fn stat(&self) -> Result<Stat, Failure> {
        let server = &self.request.conn.server;
        let mut stat = server.vfs.stat(&self.file.handle)?;
        let now = server.env.monotonic();
        stat.modified = self.file.write_time.shown(now, stat.modified);
        Ok(stat)
    }

    /// The stat, for the classes that FILE_READ_ATTRIBUTES guards.
    fn attributes(&self) -> Result<Stat, Failure> {
        if self
            .file
            .handle
            .granted()
            .contains(AccessMask::READ_ATTRIBUTES)
        {
            self.stat()
        } else {
            Err(NtStatus::ACCESS_DENIED.into())
        }
    }

    fn access(&self) -> AccessInfo {
        AccessInfo {
            access: self.file.handle.granted().0,
        }
    }

    fn position(&self) -> PositionInfo {
        PositionInfo {
            offset: self.file.position.load(Ordering::Relaxed),
        }
    }

    fn mode(&self) -> ModeInfo {
        ModeInfo {
            mode: (self.file.options & MODE).bits(),
        }
    }

    fn name(&self, prefix: &str) -> Result<NameInfo, Failure> {
        let path = self.request.conn.server.vfs.path(&self.file.handle)?;
        Ok(NameInfo {
            name: format!("{prefix}{path}"),
        })
    }

    /// Came with dialect 3.1.1 (MS-SMB2 3.3.5.20.1).
    fn normalized_name(&self) -> Result<NameInfo, Failure> {
        let negotiated = self.request.conn.negotiated.get();
        if negotiated.is_some_and(Negotiated::is_311) {
            self.name("")
        } else {
            Err(NtStatus::NOT_SUPPORTED.into())
        }
    }

    /// The 8.3 name; a name that is short enough is its own.
    fn alternate_name(&self) -> Result<NameInfo, Failure> {
        let path = self.request.conn.server.vfs.path(&self.file.handle)?;
        let name = path.rsplit('\\').next().unwrap_or_default();
        let name = name.split(':').next().unwrap_or_default();
        if name.is_empty() || self.file.handle.is_posix() {
            return Err(NtStatus::OBJECT_NAME_NOT_FOUND.into());
        }
        Ok(NameInfo {
            name: short_name(name).unwrap_or_else(|| name.to_owned()),
        })
    }

    fn all(&self) -> Result<AllInfo, Failure> {
        let stat = self.attributes()?;
        Ok(AllInfo {
            basic: basic(&stat),
            standard: standard(&stat),
            internal: internal(&stat),
            ea: ea_size(&stat),
            access: self.access(),
            position: self.position(),
            mode: self.mode(),
            alignment: AlignmentInfo { requirement: 0 },
            name: self.name("\\")?,
        })
    }

    fn id(&self) -> Result<IdInfo, Failure> {
        let stat = self.stat()?;
        let mut file_id = [0; 16];
        file_id[..8].copy_from_slice(&stat.inode.0.to_le_bytes());
        Ok(IdInfo {
            volume_serial: u64::from(self.file.handle.share().0),
            file_id,
        })
    }

    fn streams(&self, room: usize, out: &mut Vec<u8>) -> Result<NtStatus, Failure> {
        let streams = self.request.conn.server.vfs.streams(&self.file.handle)?;
        let mut list = ListWriter::new(out, room, 8);
        for stream in streams {
            let name = format!(":{}:$DATA", stream.name);
            let (size, allocation_size) = (stream.size, stream.allocated);
            if !(StreamEntry {
                name,
                size,
                allocation_size,
            })
            .push(&mut list)
            {
                return Ok(NtStatus::BUFFER_OVERFLOW);
            }
        }
        Ok(NtStatus::SUCCESS)
    }

    fn links(&self, room: usize, out: &mut Vec<u8>) -> Result<NtStatus, Failure> {
        let links = self.request.conn.server.vfs.links(&self.file.handle)?;
        let entry = |link: strongroom_vfs::LinkInfo| LinkEntry {
            parent: link.parent.0,
            name: link.name,
        };
        let info = HardLinkInfo {
            links: links.into_iter().map(entry).collect(),
        };
        let whole = info.encode(room, out);
        Ok(if whole {
            NtStatus::SUCCESS
        } else {
            NtStatus::BUFFER_OVERFLOW
        })
    }
}

fn basic(stat: &Stat) -> BasicInfo {
    BasicInfo {
        created: FileTime(stat.created.0),
        accessed: FileTime(stat.accessed.0),
        written: FileTime(stat.modified.0),
        changed: FileTime(stat.changed.0),
        attributes: stat.attributes.0,
    }
}

fn standard(stat: &Stat) -> StandardInfo {
    StandardInfo {
        allocation_size: stat.allocated,
        end_of_file: stat.size,
        links: stat.links,
        delete_pending: stat.delete_pending,
        directory: stat.is_directory,
    }
}

fn internal(stat: &Stat) -> InternalInfo {
    InternalInfo {
        file_id: stat.inode.0,
    }
}

fn ea_size(stat: &Stat) -> EaInfo {
    EaInfo {
        ea_size: stat.ea_size,
    }
}

fn network_open(stat: &Stat) -> NetworkOpenInfo {
    NetworkOpenInfo {
        created: FileTime(stat.created.0),
        accessed: FileTime(stat.accessed.0),
        written: FileTime(stat.modified.0),
        changed: FileTime(stat.changed.0),
        allocation_size: stat.allocated,
        end_of_file: stat.size,
        attributes: stat.attributes.0,
    }
}

fn attribute_tag(stat: &Stat) -> AttributeTagInfo {
    AttributeTagInfo {
        attributes: stat.attributes.0,
        reparse_tag: stat.reparse_tag,
    }
}

fn compression(stat: &Stat) -> CompressionInfo {
    CompressionInfo {
        compressed_size: stat.size,
        format: 0,
        unit_shift: 0,
        chunk_shift: 0,
        cluster_shift: 0,
    }
}

fn standard_link(stat: &Stat) -> StandardLinkInfo {
    StandardLinkInfo {
        accessible_links: stat.links,
        total_links: stat.links,
        delete_pending: stat.delete_pending,
        directory: stat.is_directory,
    }
}
