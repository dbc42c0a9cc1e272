//! FSSTAT, FSINFO and PATHCONF (RFC 1813, 3.3.18 to 3.3.20).

use strongroom_vfs::{FILE_MAX, LINKS_MAX, NAME_MAX};

use super::Status;
use super::types::{DATA_MAX, FileArgs};
use crate::server::{Done, Request, Target};
use crate::xdr::{Encoder, Xdr, length};

/// Files are not counted: there may be as many as fit.
const FILES: u64 = 1 << 48;
/// Links, symbolic links, one set of properties for all files, times can be set.
const PROPERTIES: u32 = 0x01 | 0x02 | 0x08 | 0x10;
/// What reads and writes are best multiples of.
const MULTIPLE: u32 = 4_096;
const LISTING: u32 = 64 << 10;
/// Nanoseconds between times that differ.
const TIME_STEP: u32 = 100;

/// Status, attributes, and what `more` writes.
fn answer(
    request: &Request<'_>,
    args: &FileArgs<'_>,
    to: &mut Encoder,
    more: impl FnOnce(&Target, &mut Encoder) -> Result<(), Status>,
) -> Done {
    let target = request.target3(args.file).and_then(|target| {
        target.look(&request.server.vfs)?;
        Ok(target)
    });
    let start = to.len();
    let known = target.as_ref().map_err(|status| *status);
    Status::OK.encode(to);
    request.post_op(known, to);
    if let Err(status) = known.and_then(|target| more(target, to)) {
        to.truncate(start);
        status.encode(to);
        request.post_op(known, to);
    }
    Ok(())
}

pub(super) fn fsstat(request: &Request<'_>, args: FileArgs<'_>, to: &mut Encoder) -> Done {
    answer(request, &args, to, |target, to| {
        let volume = request.server.vfs.volume(&target.share, &target.who)?;
        to.u64(volume.total);
        to.u64(volume.available_to_all).u64(volume.available);
        to.u64(FILES).u64(FILES).u64(FILES);
        // For how long this stays so: it does not.
        to.u32(0);
        Ok(())
    })
}

pub(super) fn fsinfo(request: &Request<'_>, args: FileArgs<'_>, to: &mut Encoder) -> Done {
    answer(request, &args, to, |_, to| {
        let data = length(DATA_MAX);
        to.u32(data).u32(data).u32(MULTIPLE);
        to.u32(data).u32(data).u32(MULTIPLE);
        to.u32(LISTING).u64(FILE_MAX).u32(0).u32(TIME_STEP);
        to.u32(PROPERTIES);
        Ok(())
    })
}

pub(super) fn pathconf(request: &Request<'_>, args: FileArgs<'_>, to: &mut Encoder) -> Done {
    answer(request, &args, to, |_, to| {
        to.u32(LINKS_MAX).u32(length(NAME_MAX));
        // Too long names are refused, files cannot be given away, and case matters and is kept.
        to.bool(true).bool(true).bool(false).bool(true);
        Ok(())
    })
}
