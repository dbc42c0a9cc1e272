//! fattr4 (RFC 8881, 5): which attributes there are, and their values.

use std::sync::Arc;

use strongroom_vfs::acl::SecurityDescriptor;
use strongroom_vfs::unix::{Look, NodeType, SetTime, UnixChange};
use strongroom_vfs::{FILE_MAX, FileTime, Inode, LINKS_MAX, Sid, VolumeInfo};

use super::acl::{SetEntry, list_for};
use super::compound::Compound;
use super::types::{Bitmap, DATA_MAX, RawAttributes, Time};
use super::{LEASE_SECONDS, Place4, Status};
use crate::server::{Place, Target};
use crate::xdr::{Decoder, Encoder, Opaque, Xdr, length};
use strongroom_identity::Kind;

pub(crate) mod number {
    pub(crate) const SUPPORTED: u32 = 0;
    pub(crate) const TYPE: u32 = 1;
    pub(crate) const FH_EXPIRE_TYPE: u32 = 2;
    pub(crate) const CHANGE: u32 = 3;
    pub(crate) const SIZE: u32 = 4;
    pub(crate) const LINK_SUPPORT: u32 = 5;
    pub(crate) const SYMLINK_SUPPORT: u32 = 6;
    pub(crate) const NAMED_ATTR: u32 = 7;
    pub(crate) const FSID: u32 = 8;
    pub(crate) const UNIQUE_HANDLES: u32 = 9;
    pub(crate) const LEASE_TIME: u32 = 10;
    pub(crate) const RDATTR_ERROR: u32 = 11;
    pub(crate) const ACL: u32 = 12;
    pub(crate) const ACLSUPPORT: u32 = 13;
    pub(crate) const CANSETTIME: u32 = 15;
    pub(crate) const CASE_INSENSITIVE: u32 = 16;
    pub(crate) const CASE_PRESERVING: u32 = 17;
    pub(crate) const CHOWN_RESTRICTED: u32 = 18;
    pub(crate) const FILEHANDLE: u32 = 19;
    pub(crate) const FILEID: u32 = 20;
    pub(crate) const FILES_AVAIL: u32 = 21;
    pub(crate) const FILES_FREE: u32 = 22;
    pub(crate) const FILES_TOTAL: u32 = 23;
    pub(crate) const HOMOGENEOUS: u32 = 26;
    pub(crate) const MAXFILESIZE: u32 = 27;
    pub(crate) const MAXLINK: u32 = 28;
    pub(crate) const MAXNAME: u32 = 29;
    pub(crate) const MAXREAD: u32 = 30;
    pub(crate) const MAXWRITE: u32 = 31;
    pub(crate) const MODE: u32 = 33;
    pub(crate) const NO_TRUNC: u32 = 34;
    pub(crate) const NUMLINKS: u32 = 35;
    pub(crate) const OWNER: u32 = 36;
    pub(crate) const OWNER_GROUP: u32 = 37;
    pub(crate) const RAWDEV: u32 = 41;
    pub(crate) const SPACE_AVAIL: u32 = 42;
    pub(crate) const SPACE_FREE: u32 = 43;
    pub(crate) const SPACE_TOTAL: u32 = 44;
    pub(crate) const SPACE_USED: u32 = 45;
    pub(crate) const TIME_ACCESS: u32 = 47;
    pub(crate) const TIME_ACCESS_SET: u32 = 48;
    pub(crate) const TIME_CREATE: u32 = 50;
    pub(crate) const TIME_DELTA: u32 = 51;
    pub(crate) const TIME_METADATA: u32 = 52;
    pub(crate) const TIME_MODIFY: u32 = 53;
    pub(crate) const TIME_MODIFY_SET: u32 = 54;
    pub(crate) const MOUNTED_ON_FILEID: u32 = 55;
    pub(crate) const SUPPATTR_EXCLCREAT: u32 = 75;
    pub(crate) const CLONE_BLKSIZE: u32 = 77;
    pub(crate) const CHANGE_ATTR_TYPE: u32 = 79;
    pub(crate) const MODE_UMASK: u32 = 81;
    pub(crate) const XATTR_SUPPORT: u32 = 82;
}

use number::*;

/// What is read, or set, or both.
pub(crate) const ALL: Bitmap = Bitmap::of(&[
    SUPPORTED,
    TYPE,
    FH_EXPIRE_TYPE,
    CHANGE,
    SIZE,
    LINK_SUPPORT,
    SYMLINK_SUPPORT,
    NAMED_ATTR,
    FSID,
    UNIQUE_HANDLES,
    LEASE_TIME,
    RDATTR_ERROR,
    ACL,
    ACLSUPPORT,
    CANSETTIME,
    CASE_INSENSITIVE,
    CASE_PRESERVING,
    CHOWN_RESTRICTED,
    FILEHANDLE,
    FILEID,
    FILES_AVAIL,
    FILES_FREE,
    FILES_TOTAL,
    HOMOGENEOUS,
    MAXFILESIZE,
    MAXLINK,
    MAXNAME,
    MAXREAD,
    MAXWRITE,
    MODE,
    NO_TRUNC,
    NUMLINKS,
    OWNER,
    OWNER_GROUP,
    RAWDEV,
    SPACE_AVAIL,
    SPACE_FREE,
    SPACE_TOTAL,
    SPACE_USED,
    TIME_ACCESS,
    TIME_ACCESS_SET,
    TIME_CREATE,
    TIME_DELTA,
    TIME_METADATA,
    TIME_MODIFY,
    TIME_MODIFY_SET,
    MOUNTED_ON_FILEID,
    SUPPATTR_EXCLCREAT,
    CLONE_BLKSIZE,
    CHANGE_ATTR_TYPE,
    MODE_UMASK,
    XATTR_SUPPORT,
]);

/// Attributes that minor version 1 does not know.
const SINCE_2: Bitmap = Bitmap::of(&[CLONE_BLKSIZE, CHANGE_ATTR_TYPE, MODE_UMASK, XATTR_SUPPORT]);
const SINCE_1: Bitmap = Bitmap::of(&[SUPPATTR_EXCLCREAT]);
pub(crate) const WRITE_ONLY: Bitmap = Bitmap::of(&[TIME_ACCESS_SET, TIME_MODIFY_SET, MODE_UMASK]);
/// What an exclusive creation may set: not what keeps its verifier.
const EXCLUSIVE: Bitmap = Bitmap::of(&[SIZE, ACL, MODE, OWNER, OWNER_GROUP, MODE_UMASK]);
const SETTABLE: Bitmap = Bitmap::of(&[
    SIZE,
    ACL,
    MODE,
    OWNER,
    OWNER_GROUP,
    TIME_ACCESS_SET,
    TIME_MODIFY_SET,
    MODE_UMASK,
]);

/// Files are not counted: there may be as many as fit.
const FILES: u64 = 1 << 48;
/// Nanoseconds between times that differ.
const TIME_STEP: u32 = 100;
/// NFS4_CHANGE_TYPE_IS_UNDEFINED: only equal or not means something.
const CHANGE_TYPE: u32 = 4;
const CLONE_BLOCK: u32 = 4_096;
/// The number of the pseudo root.
const PSEUDO_FILE: u64 = 1;

pub(crate) fn supported(minor: u32) -> Bitmap {
    match minor {
        0 => ALL.without(&SINCE_1).without(&SINCE_2),
        1 => ALL.without(&SINCE_2),
        _ => ALL,
    }
}

/// Everything that attributes are made of.
struct Subject<'a> {
    look: Look,
    place: Place,
    target: Option<&'a Target>,
    volume: Option<VolumeInfo>,
    descriptor: Option<Arc<SecurityDescriptor>>,
}

/// What the holder of a delegation for writing knows better than the file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) size: u64,
    /// How many changes more.
    pub(crate) changes: u64,
    /// Some of them since somebody asked last.
    pub(crate) modified: bool,
}

impl Told {
    fn apply(self, look: &mut Look, now: FileTime) {
        look.stat.size = self.size;
        look.change = look.change.wrapping_add(self.changes);
        if self.modified {
            look.stat.modified = now;
            look.stat.changed = now;
        }
    }
}

/// Attributes that writing changes.
pub(crate) const OF_DATA: Bitmap =
    Bitmap::of(&[CHANGE, SIZE, TIME_METADATA, TIME_MODIFY, SPACE_USED]);

const OF_VOLUME: Bitmap = Bitmap::of(&[SPACE_AVAIL, SPACE_FREE, SPACE_TOTAL]);

impl Compound<'_, '_> {
    /// The attributes of a place as far as they are asked for and known: the mask, and the values behind their length.
    pub(crate) fn encode_attributes(
        &self,
        place: &Place4,
        asked: &Bitmap,
        to: &mut Encoder,
    ) -> Result<(), Status> {
        self.encode_attributes_told(place, asked, None, to)
    }

    /// The same of a file that somebody else may have written to without having said so.
    pub(crate) fn encode_attributes_told(
        &self,
        place: &Place4,
        asked: &Bitmap,
        told: Option<Told>,
        to: &mut Encoder,
    ) -> Result<(), Status> {
        let mut subject = self.subject(place, asked)?;
        if let Some(told) = told {
            told.apply(&mut subject.look, self.request.server.env.now().into());
        }
        let given = asked.and(&supported(self.minor)).without(&WRITE_ONLY);
        given.encode(to);
        let start = to.len();
        to.u32(0);
        for bit in given.bits() {
            self.encode_one(bit, &subject, to);
        }
        to.patch_u32(start, length(to.len() - start - 4));
        Ok(())
    }

    fn subject<'p>(&self, place: &'p Place4, asked: &Bitmap) -> Result<Subject<'p>, Status> {
        let vfs = &self.request.server.vfs;
        match place {
            Place4::Pseudo => Ok(Subject {
                look: self.pseudo_look(),
                place: Place::Pseudo,
                target: None,
                volume: None,
                descriptor: None,
            }),
            Place4::File(target) => Ok(Subject {
                look: target.look(vfs)?,
                place: target.place(),
                target: Some(target),
                volume: if asked.and(&OF_VOLUME).is_empty() {
                    None
                } else {
                    Some(vfs.volume(&target.share, &target.who)?)
                },
                descriptor: if asked.has(ACL) {
                    Some(target.unix(vfs).descriptor(target.inode)?)
                } else {
                    None
                },
            }),
        }
    }

    /// The directory of all exports, which changes when they do.
    fn pseudo_look(&self) -> Look {
        let shares = self.request.server.vfs.shares();
        let last = shares.iter().map(|share| share.created).max();
        let time = last.unwrap_or(FileTime::from_unix(0, 0));
        let count = u64::try_from(shares.len()).unwrap_or(u64::MAX);
        let mut look = super::pseudo::root_look(Inode(PSEUDO_FILE), time);
        look.change = time.0.wrapping_add(count);
        look
    }

    fn encode_one(&self, bit: u32, subject: &Subject<'_>, to: &mut Encoder) {
        let Subject {
            look,
            place,
            target,
            volume,
            descriptor,
        } = subject;
        let space = |of: fn(&VolumeInfo) -> u64| volume.as_ref().map_or(0, of);
        match bit {
            SUPPORTED => supported(self.minor).encode(to),
            TYPE => drop(to.u32(kind(look.what))),
            FH_EXPIRE_TYPE | RDATTR_ERROR => drop(to.u32(0)),
            CHANGE => drop(to.u64(look.change)),
            SIZE => drop(to.u64(look.stat.size)),
            LINK_SUPPORT | SYMLINK_SUPPORT | UNIQUE_HANDLES | CANSETTIME => drop(to.bool(true)),
            CASE_PRESERVING | CHOWN_RESTRICTED | HOMOGENEOUS | NO_TRUNC => drop(to.bool(true)),
            NAMED_ATTR | CASE_INSENSITIVE => drop(to.bool(false)),
            FSID => {
                let id = target.map_or(0, |target| target.share.root.0);
                to.u64(id).u64(0);
            }
            ACLSUPPORT => drop(to.u32(super::acl::SUPPORT)),
            ACL => match descriptor {
                Some(descriptor) => self.encode_acl(descriptor, to),
                None => drop(to.u32(0)),
            },
            LEASE_TIME => drop(to.u32(LEASE_SECONDS)),
            FILEHANDLE => drop(to.opaque(&self.request.server.handles.make(*place))),
            FILEID | MOUNTED_ON_FILEID => {
                let id = target.map_or(look.stat.inode, Target::id);
                to.u64(id.0);
            }
            FILES_AVAIL | FILES_FREE | FILES_TOTAL => drop(to.u64(FILES)),
            MAXFILESIZE => drop(to.u64(FILE_MAX)),
            MAXLINK => drop(to.u32(LINKS_MAX)),
            MAXNAME => drop(to.u32(length(strongroom_vfs::NAME_MAX))),
            MAXREAD | MAXWRITE => drop(to.u64(u64::from(length(DATA_MAX)))),
            MODE => drop(to.u32(look.mode)),
            NUMLINKS => drop(to.u32(look.stat.links)),
            OWNER => drop(to.opaque(self.name_of(&look.owner).as_bytes())),
            OWNER_GROUP => drop(to.opaque(self.name_of(&look.group).as_bytes())),
            RAWDEV => {
                let (major, minor) = device(look.what);
                to.u32(major).u32(minor);
            }
            SPACE_AVAIL => drop(to.u64(space(|volume| volume.available))),
            SPACE_FREE => drop(to.u64(space(|volume| volume.available_to_all))),
            SPACE_TOTAL => drop(to.u64(space(|volume| volume.total))),
            SPACE_USED => drop(to.u64(look.stat.allocated)),
            TIME_ACCESS => Time::of(look.stat.accessed).encode(to),
            TIME_CREATE => Time::of(look.stat.created).encode(to),
            TIME_METADATA => Time::of(look.stat.changed).encode(to),
            TIME_MODIFY => Time::of(look.stat.modified).encode(to),
            TIME_DELTA => drop(to.i64(0).u32(TIME_STEP)),
            SUPPATTR_EXCLCREAT => EXCLUSIVE.encode(to),
            CLONE_BLKSIZE => drop(to.u32(CLONE_BLOCK)),
            CHANGE_ATTR_TYPE => drop(to.u32(CHANGE_TYPE)),
            XATTR_SUPPORT => drop(to.bool(target.is_some())),
            _ => unreachable!("only attributes of the table are asked for"),
        }
    }

    /// Users and groups go by number: clients that do not map names take them as they are (RFC 8881, 5.9).
    pub(crate) fn name_of(&self, sid: &Sid) -> String {
        let numbers = self.request.server.callers.numbers();
        numbers.number(sid).to_string()
    }

    pub(crate) fn sid_of(&self, kind: Kind, name: &[u8]) -> Result<Sid, Status> {
        let server = self.request.server;
        let name = std::str::from_utf8(name).map_err(|_| Status::BADOWNER)?;
        if let Ok(number) = name.parse() {
            return Ok(server.callers.numbers().sid(kind, number));
        }
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        server.callers.sid_of(name).ok_or(Status::BADOWNER)
    }

    /// What a client wants to set.
    pub(crate) fn change_of(&self, raw: &RawAttributes<'_>) -> Result<Setting, Status> {
        let strange = raw.mask.without(&supported(self.minor));
        if !strange.is_empty() {
            return Err(Status::ATTRNOTSUPP);
        }
        if !raw.mask.without(&SETTABLE).is_empty() {
            return Err(Status::INVAL);
        }
        let mut setting = Setting {
            mask: raw.mask,
            change: UnixChange::default(),
            list: None,
        };
        let from = &mut Decoder::new(raw.values.0);
        for bit in raw.mask.bits() {
            if bit == ACL {
                setting.list = Some(self.decode_acl(from)?);
            } else {
                self.decode_one(bit, from, &mut setting.change)?;
            }
        }
        if from.is_empty() {
            Ok(setting)
        } else {
            Err(Status::BADXDR)
        }
    }

    fn decode_one(
        &self,
        bit: u32,
        from: &mut Decoder<'_>,
        change: &mut UnixChange,
    ) -> Result<(), Status> {
        match bit {
            SIZE => change.size = Some(from.u64()?),
            MODE => change.mode = Some(mode(from.u32()?)?),
            MODE_UMASK => {
                let (wanted, mask) = (mode(from.u32()?)?, from.u32()?);
                change.mode = Some(wanted & !mask);
            }
            OWNER => {
                let name = Opaque::<1024>::decode(from)?;
                change.owner = Some(self.sid_of(Kind::User, name.0)?);
            }
            OWNER_GROUP => {
                let name = Opaque::<1024>::decode(from)?;
                change.group = Some(self.sid_of(Kind::Group, name.0)?);
            }
            TIME_ACCESS_SET => change.accessed = Some(time(from)?),
            _ => change.modified = Some(time(from)?),
        }
        Ok(())
    }
}

/// What is to be set, and which attributes that are.
pub(crate) struct Setting {
    pub(crate) mask: Bitmap,
    pub(crate) change: UnixChange,
    pub(crate) list: Option<Vec<SetEntry>>,
}

impl Compound<'_, '_> {
    /// Sets the access control list, where one is to be set.
    pub(crate) async fn set_list(
        &self,
        target: &Target,
        inode: Inode,
        setting: &Setting,
    ) -> Result<(), Status> {
        let Some(entries) = &setting.list else {
            return Ok(());
        };
        let unix = self.unix(target);
        unix.change_list(inode, |owner, group| list_for(entries, owner, group))
            .await
            .map_err(Status::from)
    }
}

fn mode(mode: u32) -> Result<u32, Status> {
    if mode & !0o7777 == 0 {
        Ok(mode)
    } else {
        Err(Status::INVAL)
    }
}

/// settime4
fn time(from: &mut Decoder<'_>) -> Result<SetTime, Status> {
    match from.u32()? {
        0 => Ok(SetTime::Now),
        1 => {
            let time = Time::decode(from)?.to_file_time();
            Ok(SetTime::To(time.ok_or(Status::INVAL)?))
        }
        _ => Err(Status::BADXDR),
    }
}

/// nfs_ftype4
pub(crate) fn kind(what: NodeType) -> u32 {
    match what {
        NodeType::File => 1,
        NodeType::Directory => 2,
        NodeType::Block { .. } => 3,
        NodeType::Character { .. } => 4,
        NodeType::Symlink => 5,
        NodeType::Socket => 6,
        NodeType::Fifo => 7,
    }
}

fn device(what: NodeType) -> (u32, u32) {
    match what {
        NodeType::Block { major, minor } | NodeType::Character { major, minor } => (major, minor),
        NodeType::File
        | NodeType::Directory
        | NodeType::Symlink
        | NodeType::Socket
        | NodeType::Fifo => (0, 0),
    }
}
