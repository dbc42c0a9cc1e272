//! Controls of named pipes (MS-FSCC 2.3.45 to 2.3.50).

use super::{Output, room};
use crate::server::open::Target;
use crate::server::pipe::PipeOpen;
use crate::server::request::Request;
use crate::server::tree::Root;
use crate::wire::fscc::fsctl::PipeWait;
use crate::wire::ioctl::{FsctlCode, IoctlRequest};
use crate::wire::{Codec, NtStatus, Put};

const PIPE_CONNECTED: u32 = 3;

/// FSCTL_PIPE_TRANSCEIVE and FSCTL_PIPE_PEEK.
pub(super) fn run(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let open = request.open(wanted.file_id)?;
    let Target::Pipe(pipe) = &open.target else {
        return Err(NtStatus::INVALID_DEVICE_REQUEST.into());
    };
    if wanted.code == FsctlCode::PipePeek {
        return peek(pipe);
    }
    let read = pipe.transceive(wanted.input, room(wanted))?;
    let status = if read.more {
        NtStatus::BUFFER_OVERFLOW
    } else {
        NtStatus::SUCCESS
    };
    Ok((status, read.data))
}

/// FSCTL_PIPE_PEEK reply (MS-FSCC 2.3.46): state, bytes, messages, length of the next one; no data.
fn peek(pipe: &PipeOpen) -> Output {
    let (next, all) = pipe.available();
    let mut out = Vec::with_capacity(16);
    out.put_u32(PIPE_CONNECTED);
    out.put_u32(u32::try_from(all).unwrap_or(u32::MAX));
    out.put_u32(u32::from(all > 0));
    out.put_u32(u32::try_from(next).unwrap_or(u32::MAX));
    Ok((NtStatus::SUCCESS, out))
}

/// FSCTL_PIPE_WAIT (MS-FSCC 2.3.49): a pipe that there is can always be opened.
pub(super) fn wait(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let Root::Pipes = request.tree()?.root else {
        return Err(NtStatus::INVALID_DEVICE_REQUEST.into());
    };
    let asked = PipeWait::decode(wanted.input)?;
    match PipeOpen::open(request, &asked.name.to_string()) {
        Some(_) => Ok((NtStatus::SUCCESS, Vec::new())),
        None => Err(NtStatus::OBJECT_NAME_NOT_FOUND.into()),
    }
}
