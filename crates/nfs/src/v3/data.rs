//! READ, WRITE and COMMIT (RFC 1813, 3.3.6, 3.3.7, 3.3.21).

use std::sync::Arc;

use strongroom_vfs::unix::{NodeType, UnixOpen};
use strongroom_vfs::{AccessMask, Handle, VfsError};

use super::types::{DATA_MAX, RangeArgs, WriteArgs};
use super::{Status, Wcc};
use crate::server::{Done, Request, Target};
use crate::xdr::{Encoder, Xdr, length};

const UNSTABLE: u32 = 0;
const FILE_SYNC: u32 = 2;

/// Only files have data.
fn check_file(request: &Request<'_>, target: &Target) -> Result<(), Status> {
    match target.look(&request.server.vfs)?.what {
        NodeType::File => Ok(()),
        NodeType::Directory => Err(Status::ISDIR),
        NodeType::Symlink
        | NodeType::Fifo
        | NodeType::Socket
        | NodeType::Character { .. }
        | NodeType::Block { .. } => Err(Status::INVAL),
    }
}

/// What may be run may be read, as running it reads it.
async fn open_to_read(request: &Request<'_>, target: &Target) -> Result<Arc<Handle>, Status> {
    check_file(request, target)?;
    let unix = target.unix(&request.server.vfs);
    let open = |access| unix.open(target.inode, UnixOpen::once(access));
    match open(AccessMask::READ_DATA).await {
        Err(VfsError::AccessDenied) => Ok(open(AccessMask::EXECUTE).await?),
        done => Ok(done?),
    }
}

pub(super) async fn read(request: &Request<'_>, args: RangeArgs<'_>, to: &mut Encoder) -> Done {
    let target = request.target3(args.file);
    let opened = match &target {
        Ok(target) => open_to_read(request, target).await,
        Err(status) => Err(*status),
    };
    let start = to.len();
    let read = target.clone().and_then(|target| {
        let handle = opened?;
        read_into(request, &target, &handle, &args, to)
    });
    if let Err(status) = read {
        to.truncate(start);
        status.encode(to);
        request.post_op(target.as_ref().map_err(|status| *status), to);
    }
    Ok(())
}

/// Writes the whole answer, the data straight from where it is.
fn read_into(
    request: &Request<'_>,
    target: &Target,
    handle: &Handle,
    args: &RangeArgs<'_>,
    to: &mut Encoder,
) -> Result<(), Status> {
    let vfs = &request.server.vfs;
    let wanted = usize::try_from(args.count)
        .unwrap_or(DATA_MAX)
        .min(DATA_MAX);
    Status::OK.encode(to);
    request.post_op(Ok(target), to);
    let head = to.len();
    to.u32(0).u32(0).u32(0);
    let start = to.len();
    let count = vfs.read_into(handle, args.offset, wanted, |len| to.room(len))?;
    to.end_room(start, count);
    let end = args.offset.saturating_add(u64::from(length(count)));
    let at_end = count < wanted || end >= vfs.stat(handle)?.size;
    to.patch_u32(head, length(count));
    to.patch_u32(head + 4, u32::from(at_end));
    to.patch_u32(head + 8, length(count));
    Ok(())
}

pub(super) async fn write(request: &Request<'_>, args: WriteArgs<'_>, to: &mut Encoder) -> Done {
    let target = request.target3(args.file);
    let wcc = Wcc::after_only(&target);
    let written = match &target {
        Ok(target) => write_to(request, target, &args).await,
        Err(status) => Err(*status),
    };
    match written {
        Ok(count) => {
            Status::OK.encode(to);
            wcc.end(request, to);
            let committed = if args.stable == UNSTABLE {
                UNSTABLE
            } else {
                FILE_SYNC
            };
            to.u32(count).u32(committed);
            to.fixed(&request.server.write_verifier);
        }
        Err(status) => {
            status.encode(to);
            wcc.end(request, to);
        }
    }
    Ok(())
}

async fn write_to(
    request: &Request<'_>,
    target: &Target,
    args: &WriteArgs<'_>,
) -> Result<u32, Status> {
    check_file(request, target)?;
    let vfs = &request.server.vfs;
    let unix = target.unix(vfs);
    let wanted = usize::try_from(args.count).unwrap_or(usize::MAX);
    let data = args.data.0.get(..wanted).ok_or(Status::INVAL)?;
    let open = UnixOpen::once(AccessMask::WRITE_DATA);
    let handle = unix.open(target.inode, open).await?;
    unix.write(&handle, args.offset, data).await?;
    if args.stable != UNSTABLE {
        vfs.sync_handle(&handle).await?;
    }
    vfs.close(&handle).await?;
    Ok(args.count)
}

pub(super) async fn commit(request: &Request<'_>, args: RangeArgs<'_>, to: &mut Encoder) -> Done {
    let target = request.target3(args.file);
    let wcc = Wcc::after_only(&target);
    let synced = match &target {
        Ok(target) => sync(request, target).await,
        Err(status) => Err(*status),
    };
    synced.err().unwrap_or(Status::OK).encode(to);
    wcc.end(request, to);
    if synced.is_ok() {
        to.fixed(&request.server.write_verifier);
    }
    Ok(())
}

async fn sync(request: &Request<'_>, target: &Target) -> Result<(), Status> {
    check_file(request, target)?;
    Ok(request.server.vfs.sync_files(&[target.inode]).await?)
}
