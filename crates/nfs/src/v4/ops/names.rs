//! Names: making what is no file, removing, renaming, linking, listing (RFC 8881, 18.4, 18.9, 18.23, 18.25, 18.26).

use strongroom_vfs::unix::{Found, Make, New, NodeType, Removed, UnixChange, UnixEntry};
use strongroom_vfs::{Inode, VfsError};

use super::files::{check_name, export_root};
use crate::server::{Target, exports};
use crate::v4::attributes::Setting;
use crate::v4::compound::{Compound, DONE};
use crate::v4::types::{Bitmap, Name, RawAttributes};
use crate::v4::{Op, Place4, Status};
use crate::xdr::{Decoder, Encoder, Opaque, Xdr};

/// The longest target of a link, with room to tell that it is too long.
const TARGET_MAX: usize = 8_192;
const ANSWER_MAX: usize = 1 << 20;
/// Verifier, and the two booleans at the end.
const LISTING_HEAD: usize = 8 + 8;
/// Cookies of the pseudo root's entries; 1 and 2 mean nothing in this protocol.
const FIRST_COOKIE: u64 = 3;

pub(crate) async fn create(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let kind = from.u32()?;
    let what = match kind {
        5 => New::Symlink(Opaque::<TARGET_MAX>::decode(from)?.0),
        3 => New::Special(NodeType::Block {
            major: from.u32()?,
            minor: from.u32()?,
        }),
        4 => New::Special(NodeType::Character {
            major: from.u32()?,
            minor: from.u32()?,
        }),
        6 => New::Special(NodeType::Socket),
        7 => New::Special(NodeType::Fifo),
        2 => New::Directory,
        _ => return Err(Status::BADTYPE.into()),
    };
    let name = Name::decode(from)?;
    let raw = RawAttributes::decode(from)?;
    let directory = c.target()?;
    check_name(name.0)?;
    if matches!(kind, 3 | 4) && !directory.who.admin {
        return Err(Status::PERM.into());
    }
    let setting = c.change_of(&raw)?;
    let before = c.change_before(&directory)?;
    let mode = match what {
        New::Symlink(_) => 0o777,
        New::File | New::Directory | New::Special(_) => setting.change.mode.unwrap_or(0),
    };
    let unix = c.unix(&directory);
    let (handle, _) = unix
        .make(directory.inode, name.0, Make::new(what, mode))
        .await?;
    let inode = handle.inode();
    drop(handle);
    let set = set_made(c, &directory, inode, &setting).await?;
    c.sync_names().await?;
    c.change_info(&directory, before)?.encode(to);
    set.encode(to);
    c.current = Some(Place4::File(directory.beside(inode)));
    c.stateid = None;
    DONE
}

/// Sets what is left to set on what was made; an owner that may not be given is left out. The attributes that were set.
pub(crate) async fn set_made(
    c: &Compound<'_, '_>,
    directory: &Target,
    inode: Inode,
    setting: &Setting,
) -> Result<Bitmap, Status> {
    let unix = c.unix(directory);
    let left = UnixChange {
        mode: None,
        size: setting.change.size.filter(|size| *size != 0),
        ..setting.change
    };
    match unix.change(inode, &left, None).await {
        Err(VfsError::PrivilegeNotHeld) => {
            let own = UnixChange {
                owner: None,
                group: None,
                ..left
            };
            unix.change(inode, &own, None).await?;
        }
        done => done?,
    }
    c.set_list(directory, inode, setting).await?;
    Ok(setting.mask)
}

pub(crate) async fn remove(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let name = Name::decode(from)?;
    let directory = c.target()?;
    check_name(name.0)?;
    let before = c.change_before(&directory)?;
    let unix = c.unix(&directory);
    unix.remove(directory.inode, name.0, Removed::Any).await?;
    c.sync_names().await?;
    c.change_info(&directory, before)?.encode(to);
    DONE
}

pub(crate) async fn rename(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let (old, new) = (Name::decode(from)?, Name::decode(from)?);
    let (source, target) = (c.saved_target()?, c.target()?);
    check_name(old.0)?;
    check_name(new.0)?;
    if !source.is_of_one_tree(&target) {
        return Err(Status::XDEV.into());
    }
    let source_before = c.change_before(&source)?;
    let target_before = c.change_before(&target)?;
    let unix = c.unix(&source);
    unix.rename((source.inode, old.0), (target.inode, new.0))
        .await
        .map_err(renamed)?;
    c.sync_names().await?;
    c.change_info(&source, source_before)?.encode(to);
    c.change_info(&target, target_before)?.encode(to);
    DONE
}

/// RFC 8881, 18.26.3: a directory and something else do not replace each other.
fn renamed(error: VfsError) -> Status {
    if matches!(error, VfsError::IsDirectory | VfsError::NotEmpty) {
        Status::EXIST
    } else {
        error.into()
    }
}

pub(crate) async fn link(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let name = Name::decode(from)?;
    let (file, directory) = (c.saved_target()?, c.target()?);
    check_name(name.0)?;
    if !file.is_of_one_tree(&directory) {
        return Err(Status::XDEV.into());
    }
    let before = c.change_before(&directory)?;
    let unix = c.unix(&directory);
    unix.link(file.inode, directory.inode, name.0).await?;
    c.sync_names().await?;
    c.change_info(&directory, before)?.encode(to);
    DONE
}

pub(crate) fn readdir(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let (cookie, _verifier) = (from.u64()?, from.fixed::<8>()?);
    let (names_max, all_max) = (from.u32()?, from.u32()?);
    let asked = Bitmap::decode(from)?;
    if matches!(cookie, 1 | 2) {
        return Err(Status::BAD_COOKIE.into());
    }
    to.fixed(&[0; 8]);
    let room = |max: u32| usize::try_from(max).unwrap_or(ANSWER_MAX).min(ANSWER_MAX);
    let mut listing = Listing {
        c,
        asked,
        room: room(all_max).saturating_sub(LISTING_HEAD),
        names_room: if names_max == 0 {
            ANSWER_MAX
        } else {
            room(names_max)
        },
        taken: 0,
    };
    let at_end = match c.place()? {
        Place4::Pseudo => listing.exports(cookie, to)?,
        Place4::File(directory) => listing.directory(directory, cookie, to)?,
    };
    if !at_end && listing.taken == 0 {
        return Err(Status::TOOSMALL.into());
    }
    to.bool(false).bool(at_end);
    DONE
}

struct Listing<'a, 'b, 'r> {
    c: &'a Compound<'b, 'r>,
    asked: Bitmap,
    room: usize,
    names_room: usize,
    taken: usize,
}

impl Listing<'_, '_, '_> {
    fn directory(
        &mut self,
        directory: &Target,
        cookie: u64,
        to: &mut Encoder,
    ) -> Result<bool, Status> {
        let unix = directory.unix(&self.c.request.server.vfs);
        let at_end = unix.list(directory.inode, cookie, &mut |entry: UnixEntry| {
            if entry.name == b"." || entry.name == b".." {
                return Ok(true);
            }
            let place = Place4::File(directory.leads_to(Found {
                inode: entry.inode,
                view: entry.view.clone(),
            }));
            Ok(self.take(&place, &entry.name, entry.cookie, to))
        });
        Ok(at_end?)
    }

    fn exports(&mut self, cookie: u64, to: &mut Encoder) -> Result<bool, Status> {
        let peer = self.c.request.peer.ip();
        let all = exports::all(&self.c.request.server.vfs, peer);
        let behind = (FIRST_COOKIE..).zip(all).filter(|(at, _)| *at > cookie);
        for (at, exported) in behind {
            let name = exported.share.name.as_bytes();
            let Ok(root) = export_root(self.c, name) else {
                continue;
            };
            if !self.take(&Place4::File(root), name, at, to) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// False where it does not fit. What went since it was listed is left out.
    fn take(&mut self, place: &Place4, name: &[u8], cookie: u64, to: &mut Encoder) -> bool {
        let start = to.len();
        to.bool(true).u64(cookie).opaque(name);
        let name_len = to.len() - start;
        if self.c.encode_attributes(place, &self.asked, to).is_err() {
            to.truncate(start);
            return true;
        }
        let len = to.len() - start;
        if len > self.room || (self.taken > 0 && name_len > self.names_room) {
            to.truncate(start);
            return false;
        }
        self.room -= len;
        self.names_room = self.names_room.saturating_sub(name_len);
        self.taken += 1;
        true
    }
}
