//! REMOVE, RMDIR, RENAME and LINK (RFC 1813, 3.3.12 to 3.3.15).

use strongroom_vfs::unix::Removed;

use super::types::{LinkArgs, NameArgs, RenameArgs};
use super::{Status, Wcc};
use crate::server::{Done, Request};
use crate::xdr::{Encoder, Xdr};

pub(super) async fn remove(request: &Request<'_>, args: NameArgs<'_>, to: &mut Encoder) -> Done {
    take(request, &args, Removed::File, to).await
}

pub(super) async fn rmdir(request: &Request<'_>, args: NameArgs<'_>, to: &mut Encoder) -> Done {
    take(request, &args, Removed::Directory, to).await
}

async fn take(request: &Request<'_>, args: &NameArgs<'_>, what: Removed, to: &mut Encoder) -> Done {
    let directory = request.target3(args.directory);
    let wcc = Wcc::begin(request, &directory);
    let removed = async {
        let directory = directory.as_ref().map_err(|status| *status)?;
        let unix = directory.unix(&request.server.vfs);
        unix.remove(directory.inode, args.name.0, what).await?;
        request.sync_names().await
    };
    removed.await.err().unwrap_or(Status::OK).encode(to);
    wcc.end(request, to);
    Ok(())
}

pub(super) async fn rename(request: &Request<'_>, args: RenameArgs<'_>, to: &mut Encoder) -> Done {
    let source = request.target3(args.from.directory);
    let target = request.target3(args.to.directory);
    let source_wcc = Wcc::begin(request, &source);
    let target_wcc = Wcc::begin(request, &target);
    let renamed = async {
        let (source, target) = (source?, target?);
        if !source.is_of_one_tree(&target) {
            return Err(Status::XDEV);
        }
        let from = (source.inode, args.from.name.0);
        let to = (target.inode, args.to.name.0);
        let unix = source.unix(&request.server.vfs);
        unix.rename(from, to).await?;
        request.sync_names().await
    };
    renamed.await.err().unwrap_or(Status::OK).encode(to);
    source_wcc.end(request, to);
    target_wcc.end(request, to);
    Ok(())
}

pub(super) async fn link(request: &Request<'_>, args: LinkArgs<'_>, to: &mut Encoder) -> Done {
    let file = request.target3(args.file);
    let directory = request.target3(args.place.directory);
    let wcc = Wcc::begin(request, &directory);
    let linked = async {
        let file = file.as_ref().map_err(|status| *status)?;
        let directory = directory?;
        if !file.is_of_one_tree(&directory) {
            return Err(Status::XDEV);
        }
        let unix = directory.unix(&request.server.vfs);
        let name = args.place.name.0;
        unix.link(file.inode, directory.inode, name).await?;
        request.sync_names().await
    };
    linked.await.err().unwrap_or(Status::OK).encode(to);
    request.post_op(file.as_ref().map_err(|status| *status), to);
    wcc.end(request, to);
    Ok(())
}
