//! GETATTR, SETATTR and ACCESS (RFC 1813, 3.3.1, 3.3.2, 3.3.4).

use strongroom_vfs::unix::NodeType;
use strongroom_vfs::{AccessMask, VfsError};

use super::types::{AccessArgs, FileArgs, SetattrArgs, Time};
use super::{Status, Wcc};
use crate::server::{Done, Request, Target};
use crate::xdr::{Encoder, Xdr};

pub(super) fn getattr(request: &Request<'_>, args: FileArgs<'_>, to: &mut Encoder) -> Done {
    let looked = request.target3(args.file).and_then(|target| {
        let look = target.look(&request.server.vfs)?;
        Ok(request.fattr3(&target, &look))
    });
    match looked {
        Ok(attributes) => {
            Status::OK.encode(to);
            attributes.encode(to);
        }
        Err(status) => status.encode(to),
    }
    Ok(())
}

pub(super) async fn setattr(
    request: &Request<'_>,
    args: SetattrArgs<'_>,
    to: &mut Encoder,
) -> Done {
    let target = request.target3(args.file);
    let wcc = Wcc::begin(request, &target);
    let changed = match &target {
        Ok(target) => change(request, target, &args).await,
        Err(status) => Err(*status),
    };
    changed.err().unwrap_or(Status::OK).encode(to);
    wcc.end(request, to);
    Ok(())
}

async fn change(
    request: &Request<'_>,
    target: &Target,
    args: &SetattrArgs<'_>,
) -> Result<(), Status> {
    let vfs = &request.server.vfs;
    if let Some(guard) = args.guard
        && guard != Time::of(target.look(vfs)?.stat.changed)
    {
        return Err(Status::NOT_SYNC);
    }
    let change = args.attributes.change(request.server.callers.numbers());
    target.unix(vfs).change(target.inode, &change, None).await?;
    if change.size.is_some() {
        vfs.sync_files(&[target.inode]).await?;
        return Ok(());
    }
    request.sync_names().await
}

/// The bits of ACCESS.
pub(crate) mod access_bits {
    pub(crate) const READ: u32 = 0x01;
    pub(crate) const LOOKUP: u32 = 0x02;
    pub(crate) const MODIFY: u32 = 0x04;
    pub(crate) const EXTEND: u32 = 0x08;
    pub(crate) const DELETE: u32 = 0x10;
    pub(crate) const EXECUTE: u32 = 0x20;
}

/// Bits that mean something for a file of this kind, and those of them that the rights give.
pub(crate) fn access_of(rights: AccessMask, what: NodeType) -> (u32, u32) {
    use access_bits::{DELETE, EXECUTE, EXTEND, LOOKUP, MODIFY, READ};
    let is_directory = what == NodeType::Directory;
    let names = AccessMask::ADD_FILE | AccessMask::DELETE_CHILD;
    let table: &[(u32, AccessMask)] = if is_directory {
        &[
            (READ, AccessMask::LIST_DIRECTORY),
            (LOOKUP, AccessMask::TRAVERSE),
            (MODIFY, AccessMask::ADD_FILE),
            (EXTEND, AccessMask::ADD_FILE),
            (DELETE, AccessMask::NONE),
        ]
    } else {
        &[
            (READ, AccessMask::READ_DATA),
            (MODIFY, AccessMask::WRITE_DATA),
            (EXTEND, AccessMask::APPEND_DATA),
            (EXECUTE, AccessMask::EXECUTE),
        ]
    };
    let (mut known, mut given) = (0, 0);
    for (bit, needed) in table {
        known |= bit;
        let allowed = match *bit {
            DELETE => rights.intersects(names),
            _ => rights.contains(*needed),
        };
        given |= if allowed { *bit } else { 0 };
    }
    (known, given)
}

pub(super) fn access(request: &Request<'_>, args: AccessArgs<'_>, to: &mut Encoder) -> Done {
    let target = request.target3(args.file);
    let vfs = &request.server.vfs;
    let given = target.clone().and_then(|target| {
        let what = target.look(vfs)?.what;
        let rights = target.unix(vfs).rights(target.inode)?;
        Ok::<_, VfsError>(access_of(rights, what).1 & args.access).map_err(Status::from)
    });
    let status = given.err().unwrap_or(Status::OK);
    status.encode(to);
    request.post_op(target.as_ref().map_err(|status| *status), to);
    if let Ok(given) = given {
        to.u32(given);
    }
    Ok(())
}
