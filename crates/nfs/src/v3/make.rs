//! CREATE, MKDIR, SYMLINK and MKNOD (RFC 1813, 3.3.8 to 3.3.11).

use strongroom_vfs::unix::{Make, New, NodeType, UnixChange};
use strongroom_vfs::{Inode, VfsError};

use super::types::{
    CreateArgs, CreateHow, MkdirArgs, MknodArgs, MknodWhat, NameArgs, Sattr, SymlinkArgs,
};
use super::{Status, Wcc};
use crate::server::{Done, Request, Target};
use crate::xdr::{Encoder, Xdr};

/// What a creation is to be, in the file system's words.
struct Wanted<'a> {
    make: Make<'a>,
    /// What is set on what was made, besides its mode.
    attributes: Option<Sattr>,
}

impl<'a> Wanted<'a> {
    fn new(what: New<'a>, attributes: Sattr) -> Self {
        Self {
            make: Make::new(what, attributes.mode.unwrap_or(0) & 0o7777),
            attributes: Some(attributes),
        }
    }
}

/// Makes it, tells of it, and of the directory before and after.
async fn answer(
    request: &Request<'_>,
    place: &NameArgs<'_>,
    wanted: Result<Wanted<'_>, Status>,
    to: &mut Encoder,
) -> Done {
    let directory = request.target3(place.directory);
    let wcc = Wcc::begin(request, &directory);
    let made = async {
        let directory = directory.as_ref().map_err(|status| *status)?;
        make(request, directory, place.name.0, wanted?).await
    };
    let made = made.await;
    match made {
        Ok(target) => {
            Status::OK.encode(to);
            to.bool(true).opaque(&request.handle_of(&target));
            request.post_op(Ok(&target), to);
        }
        Err(status) => status.encode(to),
    }
    wcc.end(request, to);
    Ok(())
}

async fn make(
    request: &Request<'_>,
    directory: &Target,
    name: &[u8],
    wanted: Wanted<'_>,
) -> Result<Target, Status> {
    let unix = directory.unix(&request.server.vfs);
    let (handle, created) = unix.make(directory.inode, name, wanted.make).await?;
    let inode = handle.inode();
    drop(handle);
    if let Some(attributes) = wanted.attributes {
        let change = left_to_set(request, &attributes, created);
        set_made(directory, request, inode, &change).await?;
    }
    request.sync_names().await?;
    Ok(directory.beside(inode))
}

/// The mode was set when it was made. Of a file that was there only the size is meant.
fn left_to_set(request: &Request<'_>, attributes: &Sattr, created: bool) -> UnixChange {
    let change = attributes.change(request.server.callers.numbers());
    if created {
        UnixChange {
            mode: None,
            // It is empty.
            size: change.size.filter(|size| *size != 0),
            ..change
        }
    } else {
        UnixChange {
            size: change.size,
            ..UnixChange::default()
        }
    }
}

/// An owner that may not be given is left out: what was made is the caller's.
async fn set_made(
    directory: &Target,
    request: &Request<'_>,
    inode: Inode,
    change: &UnixChange,
) -> Result<(), Status> {
    let unix = directory.unix(&request.server.vfs);
    match unix.change(inode, change, None).await {
        Err(VfsError::PrivilegeNotHeld) => {
            let own = UnixChange {
                owner: None,
                group: None,
                ..*change
            };
            Ok(unix.change(inode, &own, None).await?)
        }
        done => Ok(done?),
    }
}

pub(super) async fn create(request: &Request<'_>, args: CreateArgs<'_>, to: &mut Encoder) -> Done {
    let wanted = match args.how {
        CreateHow::Unchecked(attributes) => {
            let mut wanted = Wanted::new(New::File, attributes);
            wanted.make.exclusive = false;
            wanted
        }
        CreateHow::Guarded(attributes) => Wanted::new(New::File, attributes),
        CreateHow::Exclusive(verifier) => {
            let mut make = Make::new(New::File, 0);
            make.verifier = Some(verifier);
            Wanted {
                make,
                attributes: None,
            }
        }
    };
    answer(request, &args.place, Ok(wanted), to).await
}

pub(super) async fn mkdir(request: &Request<'_>, args: MkdirArgs<'_>, to: &mut Encoder) -> Done {
    let wanted = Wanted::new(New::Directory, args.attributes);
    answer(request, &args.place, Ok(wanted), to).await
}

pub(super) async fn symlink(
    request: &Request<'_>,
    args: SymlinkArgs<'_>,
    to: &mut Encoder,
) -> Done {
    let mut wanted = Wanted::new(New::Symlink(args.target.0), args.attributes);
    wanted.make.mode = 0o777;
    answer(request, &args.place, Ok(wanted), to).await
}

pub(super) async fn mknod(request: &Request<'_>, args: MknodArgs<'_>, to: &mut Encoder) -> Done {
    let special = |what, attributes| Wanted::new(New::Special(what), attributes);
    let root = request
        .target3(args.place.directory)
        .is_ok_and(|directory| directory.who.admin);
    let device = |wanted| if root { Ok(wanted) } else { Err(Status::PERM) };
    let wanted = match args.what {
        MknodWhat::Character(attributes, major, minor) => {
            device(special(NodeType::Character { major, minor }, attributes))
        }
        MknodWhat::Block(attributes, major, minor) => {
            device(special(NodeType::Block { major, minor }, attributes))
        }
        MknodWhat::Socket(attributes) => Ok(special(NodeType::Socket, attributes)),
        MknodWhat::Fifo(attributes) => Ok(special(NodeType::Fifo, attributes)),
        MknodWhat::Other(_) => Err(Status::BADTYPE),
    };
    answer(request, &args.place, wanted, to).await
}
