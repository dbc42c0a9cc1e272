//! LOOKUP and READLINK (RFC 1813, 3.3.3, 3.3.5).

use super::Status;
use super::types::{FileArgs, NameArgs};
use crate::server::{Done, Request};
use crate::xdr::{Encoder, Xdr};

pub(super) fn lookup(request: &Request<'_>, args: NameArgs<'_>, to: &mut Encoder) -> Done {
    let vfs = &request.server.vfs;
    let directory = request.target3(args.directory);
    let found = directory.clone().and_then(|directory| {
        let found = directory.unix(vfs).find(directory.inode, args.name.0)?;
        Ok(directory.leads_to(found))
    });
    match found {
        Ok(found) => {
            Status::OK.encode(to);
            to.opaque(&request.handle_of(&found));
            request.post_op(Ok(&found), to);
        }
        Err(status) => status.encode(to),
    }
    request.post_op(directory.as_ref().map_err(|status| *status), to);
    Ok(())
}

pub(super) fn readlink(request: &Request<'_>, args: FileArgs<'_>, to: &mut Encoder) -> Done {
    let vfs = &request.server.vfs;
    let link = request.target3(args.file);
    let target = link
        .clone()
        .and_then(|link| Ok(link.unix(vfs).read_link(link.inode)?));
    target.as_ref().err().unwrap_or(&Status::OK).encode(to);
    request.post_op(link.as_ref().map_err(|status| *status), to);
    if let Ok(target) = target {
        to.opaque(&target);
    }
    Ok(())
}
