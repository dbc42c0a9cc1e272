//! Setting file information (MS-SMB2 3.3.5.21.1, MS-FSA 2.1.5.15).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "codes from the wire are open: what is not served is refused as one"
)]

use std::sync::atomic::Ordering;

use strongroom_vfs::{
    AccessMask, CreateOptions, DosAttributes, FileTime as VfsTime, OpenRequest, SetTimes,
    TimeFlags, VfsError,
};

use crate::server::apple;
use crate::server::open::FileOpen;
use crate::server::operations::create_contexts::eas_of;
use crate::server::posix;
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::wire::fscc::file::{
    AllocationInfo, BasicInfo, DispositionExInfo, DispositionFlags, DispositionInfo, EndOfFileInfo,
    ModeInfo, PositionInfo, ValidDataLengthInfo,
};
use crate::wire::fscc::rename::{RenameExInfo, RenameFlags, RenameInfo};
use crate::wire::info::{FileInfoClass, SetInfoRequest};
use crate::wire::{Codec, FileTime, NtStatus, WireError};

/// The create options that may be set later (MS-FSCC 2.4.31).
const MODE_SETTABLE: u32 = 0x0000_003E;

pub(super) async fn set(
    request: &Request,
    file: &FileOpen,
    wanted: &SetInfoRequest<'_>,
) -> Result<(), Failure> {
    let set = Setting {
        request,
        file,
        buffer: wanted.buffer,
    };
    match FileInfoClass::from_wire(wanted.class) {
        FileInfoClass::Basic => set.basic().await,
        FileInfoClass::Rename => set.rename(&set.parse()?).await,
        FileInfoClass::RenameEx => set.rename(&set.parse::<RenameExInfo<'_>>()?.0).await,
        FileInfoClass::Link => set.link(&set.parse()?).await,
        FileInfoClass::LinkEx => set.link(&set.parse::<RenameExInfo<'_>>()?.0).await,
        FileInfoClass::Disposition => set.disposition().await,
        FileInfoClass::DispositionEx => set.disposition_ex().await,
        FileInfoClass::EndOfFile => set.end_of_file().await,
        FileInfoClass::Allocation => set.allocation().await,
        FileInfoClass::ValidDataLength => set.valid_data_length(),
        FileInfoClass::FullEa => set.eas().await,
        FileInfoClass::Position => set.position(),
        FileInfoClass::Mode => set.mode(),
        // There are no 8.3 names and no case-sensitive directories to choose.
        FileInfoClass::ShortName | FileInfoClass::CaseSensitive | FileInfoClass::Quota => {
            Err(NtStatus::NOT_SUPPORTED.into())
        }
        FileInfoClass::Pipe | FileInfoClass::PipeRemote => Err(NtStatus::INVALID_PARAMETER.into()),
        _ => Err(NtStatus::INVALID_INFO_CLASS.into()),
    }
}

struct Setting<'a> {
    request: &'a Request,
    file: &'a FileOpen,
    buffer: &'a [u8],
}

impl<'a> Setting<'a> {
    fn vfs(&self) -> &'a strongroom_vfs::Vfs {
        &self.request.conn.server.vfs
    }

    /// A buffer that is too short is told from one that is malformed.
    fn parse<T: Codec<'a>>(&self) -> Result<T, Failure> {
        T::decode(self.buffer).map_err(|error| match error {
            WireError::Truncated { .. } => NtStatus::INFO_LENGTH_MISMATCH.into(),
            WireError::StructureSize { .. }
            | WireError::Bounds
            | WireError::Invalid(_)
            | WireError::TooLong(_) => error.into(),
        })
    }

    async fn basic(&self) -> Result<(), Failure> {
        let info: BasicInfo = self.parse()?;
        if !self
            .file
            .handle
            .granted()
            .contains(AccessMask::WRITE_ATTRIBUTES)
        {
            return Err(NtStatus::ACCESS_DENIED.into());
        }
        let attributes = DosAttributes(info.attributes);
        check_kind(self.file, attributes)?;
        let times = times_of(&info)?;
        if attributes.0 != 0 {
            self.vfs()
                .set_attributes(&self.file.handle, attributes)
                .await?;
        }
        if times != SetTimes::default() {
            self.vfs().set_times(&self.file.handle, times).await?;
        }
        Ok(())
    }

    async fn rename(&self, info: &RenameInfo<'_>) -> Result<(), Failure> {
        let name = self.target_name(info)?;
        let replace = info.flags.contains(RenameFlags::REPLACE_IF_EXISTS);
        if self.request.session()?.is_apple() {
            self.file.handle.carry_opens();
        }
        match self.vfs().rename(&self.file.handle, &name, replace).await {
            Err(VfsError::AccessDenied) if replace && self.meets_directory(&name).await? => {
                Err(VfsError::Exists.into())
            }
            renamed => Ok(renamed?),
        }
    }

    /// Whether a directory was not renamed because there is another by that name. Windows clients hear of that as of any
    /// denial; to a client that speaks the POSIX extensions, a denial is one of permission.
    async fn meets_directory(&self, name: &str) -> Result<bool, Failure> {
        let handle = &self.file.handle;
        let Some(share) = self.vfs().share_by_id(handle.share()) else {
            return Ok(false);
        };
        if !self.request.is_posix() || !handle.is_directory() {
            return Ok(false);
        }
        let directory = OpenRequest {
            options: CreateOptions {
                directory: true,
                ..CreateOptions::default()
            },
            ..OpenRequest::new(&share, name)
        };
        let who = self.request.who()?;
        let Ok((there, _)) = self.vfs().open(&who.credentials, directory).await else {
            return Ok(false);
        };
        self.vfs().close(&there).await?;
        Ok(there.inode() != handle.inode())
    }

    async fn link(&self, info: &RenameInfo<'_>) -> Result<(), Failure> {
        let name = self.target_name(info)?;
        let replace = info.flags.contains(RenameFlags::REPLACE_IF_EXISTS);
        self.vfs().link(&self.file.handle, &name, replace).await?;
        Ok(())
    }

    /// The new path: from the share's root, or `:stream`.
    fn target_name(&self, info: &RenameInfo<'_>) -> Result<String, Failure> {
        let name = info.name.to_string();
        if info.root_directory != 0 || name.is_empty() {
            return Err(NtStatus::INVALID_PARAMETER.into());
        }
        if self.file.handle.is_posix() {
            return Ok(posix::path(&name));
        }
        match name.strip_prefix('\\') {
            Some(rest) if !rest.is_empty() => Ok(rest.to_owned()),
            Some(_) => Err(VfsError::InvalidName.into()),
            None => Ok(name),
        }
    }

    async fn disposition(&self) -> Result<(), Failure> {
        let info: DispositionInfo = self.parse()?;
        self.set_delete(info.delete_pending).await
    }

    /// POSIX semantics take the name away at once; they are not announced, so nobody may ask for them.
    async fn disposition_ex(&self) -> Result<(), Failure> {
        let info: DispositionExInfo = self.parse()?;
        let flags = DispositionFlags(info.flags);
        if flags.intersects(DispositionFlags::POSIX_SEMANTICS | DispositionFlags::ON_CLOSE) {
            return Err(NtStatus::NOT_SUPPORTED.into());
        }
        self.set_delete(flags.contains(DispositionFlags::DELETE))
            .await
    }

    async fn set_delete(&self, delete: bool) -> Result<(), Failure> {
        if !self.file.handle.granted().contains(AccessMask::DELETE) {
            return Err(NtStatus::ACCESS_DENIED.into());
        }
        Ok(self.vfs().set_delete(&self.file.handle, delete).await?)
    }

    async fn end_of_file(&self) -> Result<(), Failure> {
        let info: EndOfFileInfo = self.parse()?;
        self.check_size(info.end_of_file)?;
        let handle = &self.file.handle;
        if handle.is_afp_info() {
            return apple::check_info_size(info.end_of_file);
        }
        self.vfs().set_size(handle, info.end_of_file).await?;
        if info.end_of_file == 0 && self.request.session()?.is_apple() {
            self.vfs().empty_means_gone(handle);
        }
        Ok(())
    }

    async fn allocation(&self) -> Result<(), Failure> {
        let info: AllocationInfo = self.parse()?;
        self.check_size(info.allocation_size)?;
        if self.file.handle.is_afp_info() {
            return apple::check_info_size(info.allocation_size);
        }
        Ok(self
            .vfs()
            .set_allocation(&self.file.handle, info.allocation_size)
            .await?)
    }

    fn check_size(&self, size: u64) -> Result<(), Failure> {
        if self.file.handle.is_directory() || i64::try_from(size).is_err() {
            return Err(NtStatus::INVALID_PARAMETER.into());
        }
        Ok(())
    }

    /// Needs a privilege that nobody is given over the wire: it would show what lay on the disk before.
    fn valid_data_length(&self) -> Result<(), Failure> {
        self.parse::<ValidDataLengthInfo>()?;
        Err(NtStatus::PRIVILEGE_NOT_HELD.into())
    }

    async fn eas(&self) -> Result<(), Failure> {
        let eas = eas_of(self.buffer)?;
        Ok(self.vfs().set_eas(&self.file.handle, &eas).await?)
    }

    fn position(&self) -> Result<(), Failure> {
        let info: PositionInfo = self.parse()?;
        if i64::try_from(info.offset).is_err() {
            return Err(NtStatus::INVALID_PARAMETER.into());
        }
        self.file.position.store(info.offset, Ordering::Relaxed);
        Ok(())
    }

    /// The mode says how the client waits, which is its own affair.
    fn mode(&self) -> Result<(), Failure> {
        let info: ModeInfo = self.parse()?;
        if info.mode & !MODE_SETTABLE != 0 {
            return Err(NtStatus::INVALID_PARAMETER.into());
        }
        Ok(())
    }
}

/// FILE_ATTRIBUTE_DIRECTORY on a file, and FILE_ATTRIBUTE_TEMPORARY on a directory, are refused
/// (MS-FSA 2.1.5.15.2).
fn check_kind(file: &FileOpen, attributes: DosAttributes) -> Result<(), Failure> {
    let is_directory = file.handle.is_directory();
    let as_directory = attributes.contains(DosAttributes::DIRECTORY);
    let temporary = attributes.contains(DosAttributes::TEMPORARY);
    if (as_directory && !is_directory) || (temporary && is_directory) {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    Ok(())
}

/// Zero leaves a time, -1 freezes and -2 thaws it (MS-FSCC 2.4.7).
fn times_of(info: &BasicInfo) -> Result<SetTimes, Failure> {
    let frozen = |time: FileTime| time == FileTime::FREEZE;
    let thawed = |time: FileTime| time == FileTime::THAW;
    let flags = |is: &dyn Fn(FileTime) -> bool| TimeFlags {
        accessed: is(info.accessed),
        modified: is(info.written),
        changed: is(info.changed),
    };
    Ok(SetTimes {
        created: time_of(info.created)?,
        accessed: time_of(info.accessed)?,
        modified: time_of(info.written)?,
        changed: time_of(info.changed)?,
        freeze: flags(&frozen),
        thaw: flags(&thawed),
    })
}

fn time_of(time: FileTime) -> Result<Option<VfsTime>, Failure> {
    match time {
        FileTime::UNCHANGED | FileTime::FREEZE | FileTime::THAW => Ok(None),
        FileTime(ticks) if i64::try_from(ticks).is_err() => Err(NtStatus::INVALID_PARAMETER.into()),
        FileTime(ticks) => Ok(Some(VfsTime(ticks))),
    }
}
