//! Extended attributes (RFC 8276, 8.4). They are the file's, seen by every protocol.

use strongroom_vfs::unix::UnixOpen;
use strongroom_vfs::{AccessMask, ExtendedAttribute, Handle};

use crate::server::Target;
use crate::v4::compound::{Compound, DONE};
use crate::v4::{Op, Status};
use crate::xdr::{Decoder, Encoder, Opaque, Xdr, length};

const NAME_MAX: usize = 1_024;
const VALUE_MAX: usize = 128 << 10;
/// setxattr_option4
const EITHER: u32 = 0;
const CREATE: u32 = 1;
const REPLACE: u32 = 2;

type Name<'a> = Opaque<'a, NAME_MAX>;

fn text(name: Name<'_>) -> Result<&str, Status> {
    let text = std::str::from_utf8(name.0).map_err(|_| Status::INVAL)?;
    if text.is_empty() {
        return Err(Status::INVAL);
    }
    if text.len() > 255 {
        return Err(Status::NAMETOOLONG);
    }
    Ok(text)
}

async fn open(
    c: &Compound<'_, '_>,
    access: AccessMask,
) -> Result<(Target, std::sync::Arc<Handle>), Status> {
    let target = c.target()?;
    let unix = c.unix(&target);
    let handle = unix.open(target.inode, UnixOpen::once(access)).await?;
    Ok((target, handle))
}

fn find<'a>(all: &'a [ExtendedAttribute], name: &str) -> Option<&'a ExtendedAttribute> {
    all.iter().find(|ea| ea.name.eq_ignore_ascii_case(name))
}

pub(crate) async fn get(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let name = Name::decode(from)?;
    let name = text(name)?;
    let (_, handle) = open(c, AccessMask::READ_EA).await?;
    let all = c.request.server.vfs.eas(&handle)?;
    let found = find(&all, name).ok_or(Status::NOXATTR)?;
    to.opaque(&found.value);
    DONE
}

pub(crate) async fn set(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let option = from.u32()?;
    let name = Name::decode(from)?;
    let value = Opaque::<VALUE_MAX>::decode(from)?;
    let name = text(name)?;
    if value.0.is_empty() {
        // An attribute without a value cannot be told from none.
        return Err(Status::INVAL.into());
    }
    let (target, handle) = open(c, AccessMask::READ_EA | AccessMask::WRITE_EA).await?;
    let vfs = &c.request.server.vfs;
    let there = find(&vfs.eas(&handle)?, name).is_some();
    match (option, there) {
        (CREATE, true) => return Err(Status::EXIST.into()),
        (REPLACE, false) => return Err(Status::NOXATTR.into()),
        (EITHER | CREATE | REPLACE, _) => {}
        _ => return Err(Status::BADXDR.into()),
    }
    change(c, &target, &handle, name, value.0, to).await
}

pub(crate) async fn remove(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let name = Name::decode(from)?;
    let name = text(name)?;
    let (target, handle) = open(c, AccessMask::READ_EA | AccessMask::WRITE_EA).await?;
    if find(&c.request.server.vfs.eas(&handle)?, name).is_none() {
        return Err(Status::NOXATTR.into());
    }
    change(c, &target, &handle, name, &[], to).await
}

async fn change(
    c: &Compound<'_, '_>,
    target: &Target,
    handle: &Handle,
    name: &str,
    value: &[u8],
    to: &mut Encoder,
) -> Op {
    let before = c.change_before(target)?;
    let ea = ExtendedAttribute {
        flags: 0,
        name: name.to_owned(),
        value: value.to_vec(),
    };
    let vfs = &c.request.server.vfs;
    vfs.set_eas(handle, &[ea]).await.map_err(Status::from)?;
    c.sync_names().await?;
    c.change_info(target, before)?.encode(to);
    DONE
}

/// A cookie is the count of names before it.
pub(crate) async fn list(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let (cookie, count) = (from.u64()?, from.u32()?);
    let (_, handle) = open(c, AccessMask::READ_EA).await?;
    let all = c.request.server.vfs.eas(&handle)?;
    let skip = usize::try_from(cookie).unwrap_or(usize::MAX);
    if skip > all.len() {
        return Err(Status::BAD_COOKIE.into());
    }
    // Cookie, count and the boolean at the end.
    let mut room = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .saturating_sub(16);
    let mut names = Encoder::default();
    let mut taken = 0;
    for ea in all.iter().skip(skip) {
        let len = 4 + ea.name.len().next_multiple_of(4);
        if len > room {
            break;
        }
        room -= len;
        taken += 1;
        names.opaque(ea.name.as_bytes());
    }
    let at_end = skip + taken == all.len();
    if taken == 0 && !at_end {
        return Err(Status::TOOSMALL.into());
    }
    to.u64(u64::from(length(skip + taken))).u32(length(taken));
    to.raw(&names.into_vec()).bool(at_end);
    DONE
}
