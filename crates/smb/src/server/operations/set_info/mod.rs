//! SET_INFO (MS-SMB2 3.3.5.21).

mod file;
mod security;

use super::quota;
use crate::server::answer::{Answer, Body, Step};
use crate::server::lasting;
use crate::server::request::{Request, file_of};
use crate::server::status::Failure;
use crate::wire::NtStatus;
use crate::wire::info::{FsInfoClass, InfoType, SetInfoRequest};

pub(crate) fn run(request: Request) -> Step {
    Step::Later(Box::pin(set(request)))
}

async fn set(request: Request) -> Answer {
    let wanted: SetInfoRequest<'_> = request.decode()?;
    request.check_charge(wanted.buffer.len(), 0)?;
    let open = request.open(wanted.file_id)?;
    match wanted.info_type {
        InfoType::File => {
            let file = file_of(&open).map_err(|_| NtStatus::NOT_SUPPORTED)?;
            file::set(&request, file, &wanted).await?;
            file.write_time.settle();
        }
        InfoType::FileSystem => return Err(refuse_file_system(wanted.class)),
        InfoType::Security => security::set(&request, file_of(&open)?, &wanted).await?,
        InfoType::Quota => {
            file_of(&open)?;
            quota::set(&request, wanted.buffer).await?;
        }
        InfoType::Unknown(_) => return Err(NtStatus::INVALID_PARAMETER.into()),
    }
    lasting::settle(&request.conn.server, &open).await?;
    Ok(Body::SetInfo)
}

/// What a volume is like is for the administration to decide.
fn refuse_file_system(class: u8) -> Failure {
    match FsInfoClass::from_wire(class) {
        FsInfoClass::Control | FsInfoClass::ObjectId | FsInfoClass::Label => {
            NtStatus::ACCESS_DENIED.into()
        }
        FsInfoClass::Volume
        | FsInfoClass::Size
        | FsInfoClass::Device
        | FsInfoClass::Attribute
        | FsInfoClass::FullSize
        | FsInfoClass::DriverPath
        | FsInfoClass::VolumeFlags
        | FsInfoClass::SectorSize
        | FsInfoClass::Posix
        | FsInfoClass::Unknown(_) => NtStatus::INVALID_INFO_CLASS.into(),
    }
}
