//! WRITE (MS-SMB2 3.3.5.13). The payload stays in the frame until the file system takes it.

use std::sync::atomic::Ordering;

use strongroom_vfs::AccessMask;

use super::negotiate::payload_max;
use crate::server::answer::{Answer, Body, Step};
use crate::server::apple;
use crate::server::open::{FileOpen, Target};
use crate::server::request::Request;
use crate::server::status::Failure;
use crate::wire::NtStatus;
use crate::wire::codec::len32;
use crate::wire::write::{WriteFlags, WriteRequest};

/// Writes at the end of the file, wherever it is.
const APPEND: u64 = u64::MAX;
const OFFSET_MAX: u64 = i64::MAX as u64;

pub(crate) fn run(request: Request) -> Step {
    Step::Later(Box::pin(write(request)))
}

async fn write(request: Request) -> Answer {
    let wanted: WriteRequest<'_> = request.decode()?;
    request.check_charge(wanted.data.len(), 0)?;
    let open = request.open(wanted.file_id)?;
    if wanted.data.len() > write_max(&request) || wanted.channel != 0 {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    match &open.target {
        Target::File(file) => write_file(&request, file, &wanted).await?,
        Target::Pipe(pipe) => pipe.write(wanted.data)?,
    }
    Ok(Body::Write(len32(wanted.data.len())))
}

fn write_max(request: &Request) -> usize {
    let configured = request.conn.server.config.max_write_size;
    let max = request
        .conn
        .negotiated
        .get()
        .map_or(0, |one| payload_max(one, configured));
    usize::try_from(max).unwrap_or(usize::MAX)
}

async fn write_file(
    request: &Request,
    file: &FileOpen,
    wanted: &WriteRequest<'_>,
) -> Result<(), Failure> {
    check_file(file, wanted)?;
    apple::check_write(&file.handle, wanted.offset, wanted.data)?;
    let vfs = &request.conn.server.vfs;
    if !wanted.data.is_empty() {
        let modified = || vfs.stat(&file.handle).ok().map(|stat| stat.modified);
        let now = request.conn.server.env.monotonic();
        file.write_time.writes(now, modified);
        vfs.write(&file.handle, wanted.offset, wanted.data).await?;
        let end = wanted.offset.wrapping_add(wanted.data.len() as u64);
        file.position.store(end, Ordering::Relaxed);
    }
    if wanted.flags.contains(WriteFlags::WRITE_THROUGH) {
        vfs.flush(&file.handle).await?;
        file.write_time.settle();
    }
    Ok(())
}

fn check_file(file: &FileOpen, wanted: &WriteRequest<'_>) -> Result<(), Failure> {
    if file.handle.is_directory() {
        return Err(NtStatus::INVALID_DEVICE_REQUEST.into());
    }
    let writing = AccessMask::WRITE_DATA.union(AccessMask::APPEND_DATA);
    if !file.handle.granted().intersects(writing) {
        return Err(NtStatus::ACCESS_DENIED.into());
    }
    // An open that can only append says so with this offset, too.
    let appends = !file.handle.granted().contains(AccessMask::WRITE_DATA);
    if appends && wanted.offset == APPEND {
        return Ok(());
    }
    let end = wanted.offset.checked_add(wanted.data.len() as u64);
    if end.is_none_or(|end| end > OFFSET_MAX) {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    Ok(())
}
