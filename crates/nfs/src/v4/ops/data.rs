//! Data: RFC 8881, 18.3, 18.22, 18.32, and RFC 7862, 15.1, 15.2, 15.4, 15.5, 15.11, 15.13.

use std::sync::Arc;

use strongroom_vfs::unix::{NodeType, UnixOpen};
use strongroom_vfs::{AccessMask, FILE_MAX, Handle, VfsError};

use super::open::{READ, WRITE};
use crate::server::Target;
use crate::v4::compound::{Compound, DONE};
use crate::v4::types::{Bitmap, DATA_MAX, Stateid};
use crate::v4::{Op, Status};
use crate::xdr::{Decoder, Encoder, Opaque, Xdr, length};

const UNSTABLE: u32 = 0;
const FILE_SYNC: u32 = 2;
/// Room in an answer beside its data.
const AROUND: usize = 1_024;

/// A file opened for an operation.
pub(super) struct File {
    target: Target,
    pub(super) handle: Arc<Handle>,
}

/// The handle that a stateid stands for; for the special ones an open for this operation alone.
pub(super) async fn file(
    c: &Compound<'_, '_>,
    target: Target,
    id: Stateid,
    access: u32,
) -> Result<File, Status> {
    let vfs = &c.request.server.vfs;
    match target.look(vfs)?.what {
        NodeType::File => {}
        NodeType::Directory => return Err(Status::ISDIR),
        NodeType::Symlink => return Err(Status::SYMLINK),
        NodeType::Fifo | NodeType::Socket | NodeType::Character { .. } | NodeType::Block { .. } => {
            return Err(Status::WRONG_TYPE);
        }
    }
    if let Some(found) = c.found(id, target.id())? {
        return Ok(File {
            handle: found.handle(access)?,
            target,
        });
    }
    let rights = if access == READ {
        AccessMask::READ_DATA
    } else {
        AccessMask::WRITE_DATA
    };
    let unix = c.unix(&target);
    let handle = unix.open(target.inode, UnixOpen::once(rights)).await;
    let handle = handle.map_err(|error| {
        if matches!(error, VfsError::SharingViolation) {
            Status::LOCKED
        } else {
            error.into()
        }
    })?;
    Ok(File { target, handle })
}

/// Bytes of data that an answer has room for behind what is in it.
pub(super) fn room(c: &Compound<'_, '_>, used: usize) -> usize {
    let session = c.sequence.as_ref().map(|sequence| sequence.session.fore);
    let room = session.map_or(DATA_MAX, |fore| {
        let all = usize::try_from(fore.response).unwrap_or(DATA_MAX);
        all.saturating_sub(used + AROUND)
    });
    room.min(DATA_MAX)
}

pub(crate) async fn read(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let id = Stateid::decode(from)?;
    let (offset, count) = (from.u64()?, from.u32()?);
    let file = file(c, c.target()?, id, READ).await?;
    let vfs = &c.request.server.vfs;
    let wanted = usize::try_from(count)
        .unwrap_or(DATA_MAX)
        .min(room(c, to.len()));
    let head = to.len();
    to.u32(0).u32(0);
    let start = to.len();
    let count = vfs.read_into(&file.handle, offset, wanted, |len| to.room(len))?;
    to.end_room(start, count);
    let end = offset.saturating_add(u64::from(length(count)));
    let at_end = count < wanted || end >= vfs.stat(&file.handle)?.size;
    to.patch_u32(head, u32::from(at_end));
    to.patch_u32(head + 4, length(count));
    DONE
}

pub(crate) async fn write(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let id = Stateid::decode(from)?;
    let (offset, stable) = (from.u64()?, from.u32()?);
    let data = Opaque::<DATA_MAX>::decode(from)?.0;
    if stable > FILE_SYNC {
        return Err(Status::INVAL.into());
    }
    let file = file(c, c.target()?, id, WRITE).await?;
    let vfs = &c.request.server.vfs;
    let unix = c.unix(&file.target);
    unix.write(&file.handle, offset, data).await?;
    let committed = if stable == UNSTABLE {
        UNSTABLE
    } else {
        vfs.sync_handle(&file.handle).await?;
        FILE_SYNC
    };
    to.u32(length(data.len())).u32(committed);
    to.fixed(&c.request.server.write_verifier);
    DONE
}

pub(crate) async fn commit(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let _range = (from.u64()?, from.u32()?);
    let target = c.target()?;
    let vfs = &c.request.server.vfs;
    match target.look(vfs)?.what {
        NodeType::File => {}
        NodeType::Directory => return Err(Status::ISDIR.into()),
        NodeType::Symlink
        | NodeType::Fifo
        | NodeType::Socket
        | NodeType::Character { .. }
        | NodeType::Block { .. } => return Err(Status::WRONG_TYPE.into()),
    }
    vfs.sync_files(&[target.inode]).await?;
    to.fixed(&c.request.server.write_verifier);
    DONE
}

fn range(offset: u64, len: u64) -> Result<u64, Status> {
    let end = offset.checked_add(len).ok_or(Status::INVAL)?;
    if end > FILE_MAX {
        return Err(Status::FBIG);
    }
    Ok(end)
}

pub(crate) async fn allocate(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let id = Stateid::decode(from)?;
    let end = range(from.u64()?, from.u64()?)?;
    let file = file(c, c.target()?, id, WRITE).await?;
    let vfs = &c.request.server.vfs;
    let size = vfs.stat(&file.handle)?.size;
    if end > size {
        vfs.set_allocation(&file.handle, end).await?;
        vfs.set_size(&file.handle, end).await?;
    }
    vfs.sync_handle(&file.handle).await?;
    DONE
}

pub(crate) async fn deallocate(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let id = Stateid::decode(from)?;
    let (offset, len) = (from.u64()?, from.u64()?);
    range(offset, len)?;
    let file = file(c, c.target()?, id, WRITE).await?;
    let vfs = &c.request.server.vfs;
    vfs.zero_range(&file.handle, offset, len).await?;
    vfs.sync_handle(&file.handle).await?;
    DONE
}

/// Data is 0, a hole 1 (data_content4).
pub(crate) async fn seek(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let id = Stateid::decode(from)?;
    let (offset, what) = (from.u64()?, from.u32()?);
    let file = file(c, c.target()?, id, READ).await?;
    let vfs = &c.request.server.vfs;
    let size = vfs.stat(&file.handle)?.size;
    if offset >= size {
        return Err(Status::NXIO.into());
    }
    let ranges = vfs.allocated_ranges(&file.handle, offset, size - offset)?;
    let found = match what {
        0 => ranges.first().map(|(start, _)| (*start).max(offset)),
        1 => Some(hole_behind(offset, &ranges).min(size)),
        _ => return Err(Status::UNION_NOTSUPP.into()),
    };
    match found {
        Some(at) => to.bool(at >= size).u64(at),
        // No data follows.
        None => to.bool(true).u64(size),
    };
    DONE
}

fn hole_behind(offset: u64, ranges: &[(u64, u64)]) -> u64 {
    let mut at = offset;
    for (start, len) in ranges {
        if *start > at {
            break;
        }
        at = at.max(start.saturating_add(*len));
    }
    at
}

/// Source and target of a copy: the saved and the current file.
async fn both(c: &Compound<'_, '_>, from: Stateid, to: Stateid) -> Result<(File, File), Status> {
    let source = file(c, c.saved_target()?, from, READ).await?;
    let target = file(c, c.target()?, to, WRITE).await?;
    if source.target.share.id != target.target.share.id {
        return Err(Status::XDEV);
    }
    Ok((source, target))
}

pub(crate) async fn copy(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let (source, target) = (Stateid::decode(from)?, Stateid::decode(from)?);
    let (source_at, target_at, count) = (from.u64()?, from.u64()?, from.u64()?);
    let (_consecutive, _synchronous) = (from.bool()?, from.bool()?);
    let servers = from.u32()?;
    if servers != 0 {
        return Err(Status::NOTSUPP.into());
    }
    let (source, target) = both(c, source, target).await?;
    let vfs = &c.request.server.vfs;
    let size = vfs.stat(&source.handle)?.size;
    let left = size.checked_sub(source_at).ok_or(Status::INVAL)?;
    // 0 is to the end (RFC 7862, 15.2.3).
    let count = if count == 0 { left } else { count.min(left) };
    vfs.copy_range(&source.handle, source_at, &target.handle, target_at, count)
        .await?;
    to.u32(0).u64(count).u32(UNSTABLE);
    to.fixed(&c.request.server.write_verifier);
    to.bool(true).bool(true);
    DONE
}

pub(crate) async fn clone(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let (source, target) = (Stateid::decode(from)?, Stateid::decode(from)?);
    let (source_at, target_at, count) = (from.u64()?, from.u64()?, from.u64()?);
    let (source, target) = both(c, source, target).await?;
    let vfs = &c.request.server.vfs;
    let size = vfs.stat(&source.handle)?.size;
    let left = size.checked_sub(source_at).ok_or(Status::INVAL)?;
    let count = if count == 0 { left } else { count };
    if count > left {
        return Err(Status::INVAL.into());
    }
    vfs.copy_range(&source.handle, source_at, &target.handle, target_at, count)
        .await?;
    vfs.sync_handle(&target.handle).await?;
    DONE
}

/// Advice is heard and not taken.
pub(crate) fn io_advise(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let id = Stateid::decode(from)?;
    let _range = (from.u64()?, from.u64()?);
    Bitmap::decode(from)?;
    c.found(id, c.target()?.id())?;
    Bitmap::default().encode(to);
    DONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_begins_where_data_that_hangs_together_ends() {
        let ranges = [(0, 10), (10, 5), (20, 5)];
        assert_eq!(hole_behind(3, &ranges), 15);
        assert_eq!(hole_behind(15, &ranges), 15);
        assert_eq!(hole_behind(21, &ranges[2..]), 25);
    }
}
