//! What can be asked of a pipe of `IPC$`.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "codes from the wire are open: what is not served is refused as one"
)]

use super::{cut, room};
use crate::server::pipe::PipeOpen;
use crate::server::status::Failure;
use crate::wire::fscc::file::{NameInfo, PipeInfo, PipeLocalInfo, StandardInfo, query_min_len};
use crate::wire::info::{FileInfoClass, QueryInfoRequest};
use crate::wire::{Codec, NtStatus};

const MESSAGES: u32 = 1;
const FULL_DUPLEX: u32 = 2;
const CONNECTED: u32 = 3;
const CLIENT_END: u32 = 0;
const QUOTA: u32 = 4096;

pub(super) fn query(
    pipe: &PipeOpen,
    wanted: &QueryInfoRequest<'_>,
    out: &mut Vec<u8>,
) -> Result<NtStatus, Failure> {
    let class = FileInfoClass::from_wire(wanted.class);
    let min = query_min_len(class).ok_or(NtStatus::INVALID_INFO_CLASS)?;
    if room(wanted) < min {
        return Err(NtStatus::INFO_LENGTH_MISMATCH.into());
    }
    let start = out.len();
    match class {
        FileInfoClass::Standard => STANDARD.encode(out),
        FileInfoClass::Name => NameInfo {
            name: format!("\\{}", pipe.name()),
        }
        .encode(out),
        FileInfoClass::Pipe => PipeInfo {
            read_mode: MESSAGES,
            completion_mode: 0,
        }
        .encode(out),
        FileInfoClass::PipeLocal => local(pipe).encode(out),
        _ => return Err(NtStatus::NOT_SUPPORTED.into()),
    }
    Ok(cut(out, start, room(wanted)))
}

/// As Windows shows its pipes.
const STANDARD: StandardInfo = StandardInfo {
    allocation_size: 4096,
    end_of_file: 0,
    links: 1,
    delete_pending: true,
    directory: false,
};

fn local(pipe: &PipeOpen) -> PipeLocalInfo {
    PipeLocalInfo {
        pipe_type: MESSAGES,
        configuration: FULL_DUPLEX,
        instances_max: u32::MAX,
        instances: 1,
        inbound_quota: QUOTA,
        read_available: u32::try_from(pipe.readable()).unwrap_or(u32::MAX),
        outbound_quota: QUOTA,
        write_quota: QUOTA,
        state: CONNECTED,
        end: CLIENT_END,
    }
}
