//! File handles, names on the way, attributes (RFC 8881, 18.1, 18.7, 18.8, 18.13 to 18.15, 18.19 to 18.21, 18.24,
//! 18.27 to 18.31, 18.45).

use strongroom_vfs::AccessMask;

use crate::server::{Lost, Place, Target, exports};
use crate::v3::access_of;
use crate::v4::attributes::{OF_DATA, Told, WRITE_ONLY};
use crate::v4::callback;
use crate::v4::compound::{Compound, DONE};
use crate::v4::types::{Bitmap, Handle, Name, RawAttributes, Stateid};
use crate::v4::{Failure, Op, Place4, Status};
use crate::xdr::{Decoder, Encoder, Xdr};

pub(crate) const PROTOCOL: &str = "NFS 4";
const AUTH_SYS: u32 = 1;
const XATTR_READ: u32 = 0x40;
const XATTR_WRITE: u32 = 0x80;
const XATTR_LIST: u32 = 0x100;

fn lost(lost: Lost) -> Status {
    match lost {
        Lost::BadHandle => Status::BADHANDLE,
        Lost::Stale => Status::STALE,
        Lost::Denied | Lost::Pseudo => Status::ACCESS,
        Lost::Failed(error) => error.into(),
    }
}

/// A name as it may stand in an operation.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Status> {
    match name {
        b"" => Err(Status::INVAL),
        b"." | b".." => Err(Status::BADNAME),
        name if name.iter().any(|byte| matches!(byte, 0 | b'/')) => Err(Status::BADCHAR),
        _ => Ok(()),
    }
}

pub(crate) fn putfh(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let handle = Handle::decode(from)?;
    let place = match c.request.server.handles.read(handle.0) {
        Some(Place::Pseudo) => Place4::Pseudo,
        _ => Place4::File(c.request.target(handle.0, PROTOCOL).map_err(lost)?),
    };
    c.current = Some(place);
    c.stateid = None;
    DONE
}

pub(crate) fn putrootfh(c: &mut Compound<'_, '_>) -> Op {
    c.current = Some(Place4::Pseudo);
    c.stateid = None;
    DONE
}

pub(crate) fn getfh(c: &mut Compound<'_, '_>, to: &mut Encoder) -> Op {
    let handle = match c.place()? {
        Place4::Pseudo => c.request.server.handles.make(Place::Pseudo),
        Place4::File(target) => c.request.handle_of(target),
    };
    to.opaque(&handle);
    DONE
}

pub(crate) fn savefh(c: &mut Compound<'_, '_>) -> Op {
    c.saved = Some(c.place()?.clone());
    c.saved_stateid = c.stateid;
    DONE
}

pub(crate) fn restorefh(c: &mut Compound<'_, '_>) -> Op {
    c.current = Some(c.saved.clone().ok_or(Status::NOFILEHANDLE)?);
    c.stateid = c.saved_stateid;
    DONE
}

/// The root of an export, by its name.
pub(crate) fn export_root(c: &Compound<'_, '_>, name: &[u8]) -> Result<Target, Status> {
    let name = std::str::from_utf8(name).map_err(|_| Status::NOENT)?;
    let peer = c.request.peer.ip();
    let exported = exports::by_name(&c.request.server.vfs, name, peer).ok_or(Status::NOENT)?;
    let root = exported.share.root;
    c.request.target_in(exported, root, PROTOCOL).map_err(lost)
}

pub(crate) fn find(c: &Compound<'_, '_>, place: &Place4, name: &[u8]) -> Result<Place4, Status> {
    check_name(name)?;
    let target = match place {
        Place4::Pseudo => export_root(c, name)?,
        Place4::File(directory) => {
            let unix = c.unix(directory);
            match unix.find(directory.inode, name) {
                Err(strongroom_vfs::VfsError::NotDirectory) => {
                    return Err(no_directory(c, directory));
                }
                found => directory.leads_to(found?),
            }
        }
    };
    Ok(Place4::File(target))
}

/// A symbolic link in the place of a directory is told so, for the client to follow it.
fn no_directory(c: &Compound<'_, '_>, target: &Target) -> Status {
    use strongroom_vfs::unix::NodeType;
    match target.look(&c.request.server.vfs) {
        Ok(look) if look.what == NodeType::Symlink => Status::SYMLINK,
        _ => Status::NOTDIR,
    }
}

pub(crate) fn lookup(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let name = Name::decode(from)?;
    let found = find(c, c.place()?, name.0)?;
    c.current = Some(found);
    c.stateid = None;
    DONE
}

pub(crate) fn lookupp(c: &mut Compound<'_, '_>) -> Op {
    let above = match c.place()? {
        Place4::Pseudo => return Err(Status::NOENT.into()),
        Place4::File(target) if target.inode == target.share.root && target.view.is_now() => {
            Place4::Pseudo
        }
        Place4::File(target) => {
            let unix = c.unix(target);
            match unix.find(target.inode, b"..") {
                Err(strongroom_vfs::VfsError::NotDirectory) => {
                    return Err(no_directory(c, target).into());
                }
                above => Place4::File(target.leads_to(above?)),
            }
        }
    };
    c.current = Some(above);
    c.stateid = None;
    DONE
}

pub(crate) fn readlink(c: &mut Compound<'_, '_>, to: &mut Encoder) -> Op {
    let Place4::File(target) = c.place()? else {
        return Err(Status::INVAL.into());
    };
    let unix = c.unix(target);
    to.opaque(&unix.read_link(target.inode)?);
    DONE
}

pub(crate) fn access(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let asked = from.u32()?;
    let (known, given) = match c.place()? {
        Place4::Pseudo => (0x1F, 0x03),
        Place4::File(target) => {
            let vfs = &c.request.server.vfs;
            let what = target.look(vfs)?.what;
            let rights = c.unix(target).rights(target.inode)?;
            let (mut known, mut given) = access_of(rights, what);
            if c.minor >= 2 {
                known |= XATTR_READ | XATTR_WRITE | XATTR_LIST;
                if rights.contains(AccessMask::READ_EA) {
                    given |= XATTR_READ | XATTR_LIST;
                }
                if rights.contains(AccessMask::WRITE_EA) {
                    given |= XATTR_WRITE;
                }
            }
            (known, given)
        }
    };
    to.u32(known & asked).u32(given & asked);
    DONE
}

pub(crate) async fn getattr(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let asked = Bitmap::decode(from)?;
    if !asked.and(&WRITE_ONLY).is_empty() {
        return Err(Status::INVAL.into());
    }
    let told = told_by_writer(c, &asked).await?;
    c.encode_attributes_told(c.place()?, &asked, told, to)?;
    DONE
}

/// What the holder of a delegation for writing says of the current file; None where nobody else has one.
async fn told_by_writer(c: &Compound<'_, '_>, asked: &Bitmap) -> Result<Option<Told>, Status> {
    let Place4::File(target) = c.place()? else {
        return Ok(None);
    };
    if asked.and(&OF_DATA).is_empty() {
        return Ok(None);
    }
    let own = c.client().map_or(0, |client| client.id);
    let Some(writer) = c.state().writer(target.inode, own) else {
        return Ok(None);
    };
    let server = c.request.server;
    let Some((change, size)) = callback::attributes(server, &writer).await else {
        return Ok(None);
    };
    let (changes, modified) = writer.told(change, size);
    Ok(Some(Told {
        size,
        changes,
        modified,
    }))
}

pub(crate) async fn setattr(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let id = Stateid::decode(from)?;
    let raw = RawAttributes::decode(from)?;
    match set(c, id, &raw).await {
        Ok(()) => {
            raw.mask.encode(to);
            DONE
        }
        Err(status) => {
            Bitmap::default().encode(to);
            Err(Failure::Told(status))
        }
    }
}

async fn set(c: &Compound<'_, '_>, id: Stateid, raw: &RawAttributes<'_>) -> Result<(), Status> {
    let target = c.target()?;
    let setting = c.change_of(raw)?;
    let vfs = &c.request.server.vfs;
    let resizes = setting.change.size.is_some();
    let through = match c.found(id, target.inode)? {
        Some(found) if resizes => Some(found.handle(crate::v4::ops::open::WRITE)?),
        _ => None,
    };
    c.set_list(&target, target.inode, &setting).await?;
    let unix = c.unix(&target);
    unix.change(target.inode, &setting.change, through.as_ref())
        .await?;
    if resizes {
        return Ok(vfs.sync_files(&[target.inode]).await?);
    }
    c.sync_names().await
}

/// VERIFY, and NVERIFY where `same` is false.
pub(crate) fn verify(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, same: bool) -> Op {
    let raw = RawAttributes::decode(from)?;
    if !raw.mask.and(&WRITE_ONLY).is_empty() {
        return Err(Status::INVAL.into());
    }
    if !raw
        .mask
        .without(&crate::v4::attributes::supported(c.minor))
        .is_empty()
    {
        return Err(Status::ATTRNOTSUPP.into());
    }
    let mut present = Encoder::default();
    c.encode_attributes(c.place()?, &raw.mask, &mut present)?;
    let equal = present.into_vec() == raw.to_xdr();
    match (same, equal) {
        (true, true) | (false, false) => DONE,
        (true, false) => Err(Status::NOT_SAME.into()),
        (false, true) => Err(Status::SAME.into()),
    }
}

pub(crate) fn secinfo(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let name = Name::decode(from)?;
    find(c, c.place()?, name.0)?;
    flavors(c, to)
}

pub(crate) fn secinfo_no_name(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let parent = match from.u32()? {
        0 => false,
        1 => true,
        _ => return Err(Status::BADXDR.into()),
    };
    if parent && matches!(c.place()?, Place4::Pseudo) {
        return Err(Status::NOENT.into());
    }
    c.place()?;
    flavors(c, to)
}

/// The current file handle is used up by being asked about (RFC 8881, 2.6.3.1.1.8).
fn flavors(c: &mut Compound<'_, '_>, to: &mut Encoder) -> Op {
    if c.minor > 0 {
        c.current = None;
    }
    to.u32(1).u32(AUTH_SYS);
    DONE
}
