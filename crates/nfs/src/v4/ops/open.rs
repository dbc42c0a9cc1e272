//! OPEN, CLOSE and OPEN_DOWNGRADE (RFC 8881, 18.16, 18.2, 18.18).

use std::sync::Arc;

use strongroom_vfs::unix::{Make, New, NodeType, UnixChange, UnixOpen};
use strongroom_vfs::{AccessMask, Handle, ShareAccess, VfsError};

use super::delegation::{self, Given, WhyNot, Wish};
use super::files::check_name;
use super::minor_0;
use super::names::set_made;
use crate::server::Target;
use crate::v4::attributes::{Setting, number};
use crate::v4::compound::{Compound, DONE};
use crate::v4::types::{Bitmap, ChangeInfo, Name, OwnerName, RawAttributes, Stateid};
use crate::v4::{Op, Place4, Status};
use crate::xdr::{Decoder, Encoder, Xdr, XdrError};

pub(crate) const READ: u32 = 1;
pub(crate) const WRITE: u32 = 2;
const BOTH: u32 = 3;
/// What a client wants of delegations, in the same word, and when it wants to hear of them; only wishes.
const WISHES: u32 = 0x0003_FF00;
/// OPEN4_RESULT_LOCKTYPE_POSIX
const LOCKTYPE_POSIX: u32 = 4;
/// OPEN4_RESULT_PRESERVE_UNLINKED: what is open stays when its last name goes.
const PRESERVE_UNLINKED: u32 = 8;

/// openflag4
enum How<'a> {
    NoCreate,
    Create {
        /// Fail where it is there.
        guarded: bool,
        verifier: Option<[u8; 8]>,
        attributes: Option<RawAttributes<'a>>,
    },
}

/// open_claim4
enum Claim<'a> {
    /// A name in the current directory.
    Null(Name<'a>),
    /// The current file.
    Handle,
    /// What was open before the server started again, with the delegation that there was.
    Previous(u32),
    /// A name, or the current file, that the client opened by itself with this delegation.
    Delegated(Stateid, Option<Name<'a>>),
    /// With a delegation of the client's earlier life, which is not kept.
    EarlierLife,
}

struct Args<'a> {
    access: u32,
    wish: u32,
    deny: u32,
    owner: OwnerName<'a>,
    how: How<'a>,
    claim: Claim<'a>,
}

fn how<'a>(from: &mut Decoder<'a>) -> Result<How<'a>, XdrError> {
    match from.u32()? {
        0 => return Ok(How::NoCreate),
        1 => {}
        _ => return Err(XdrError::Invalid("neither open nor create")),
    }
    let (guarded, verifier, attributes) = match from.u32()? {
        0 => (false, None, Some(RawAttributes::decode(from)?)),
        1 => (true, None, Some(RawAttributes::decode(from)?)),
        2 => (true, Some(from.fixed()?), None),
        3 => (
            true,
            Some(from.fixed()?),
            Some(RawAttributes::decode(from)?),
        ),
        _ => return Err(XdrError::Invalid("a file is created in no known way")),
    };
    Ok(How::Create {
        guarded,
        verifier,
        attributes,
    })
}

fn claim<'a>(from: &mut Decoder<'a>) -> Result<Claim<'a>, XdrError> {
    Ok(match from.u32()? {
        0 => Claim::Null(Name::decode(from)?),
        1 => Claim::Previous(from.u32()?),
        2 => Claim::Delegated(Stateid::decode(from)?, Some(Name::decode(from)?)),
        3 => {
            Name::decode(from)?;
            Claim::EarlierLife
        }
        4 => Claim::Handle,
        5 => Claim::Delegated(Stateid::decode(from)?, None),
        6 => Claim::EarlierLife,
        _ => return Err(XdrError::Invalid("a file is claimed in no known way")),
    })
}

fn args<'a>(from: &mut Decoder<'a>) -> Result<Args<'a>, Status> {
    let _sequence = from.u32()?;
    let (word, deny) = (from.u32()?, from.u32()?);
    let (access, wish) = (word & !WISHES, word & delegation::WISHES);
    let _client = from.u64()?;
    let owner = OwnerName::decode(from)?;
    let args = Args {
        access,
        wish,
        deny,
        owner,
        how: how(from)?,
        claim: claim(from)?,
    };
    if access == 0 || access & !BOTH != 0 || deny & !BOTH != 0 {
        return Err(Status::INVAL);
    }
    Ok(args)
}

impl Args<'_> {
    /// Version 4.0 knows neither claims by handle nor exclusive creation with attributes.
    fn is_known_to_0(&self) -> bool {
        let by_handle = matches!(self.claim, Claim::Handle | Claim::Delegated(_, None));
        let both = matches!(
            self.how,
            How::Create {
                verifier: Some(_),
                attributes: Some(_),
                ..
            }
        );
        !by_handle && !both
    }
}

/// What an open came to.
struct Opened {
    target: Target,
    handle: Arc<Handle>,
    change: ChangeInfo,
    set: Bitmap,
}

pub(crate) async fn open(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let args = args(from)?;
    if c.minor == 0 && !args.is_known_to_0() {
        return Err(Status::BADXDR.into());
    }
    let client = c.client()?;
    match args.claim {
        Claim::Previous(_) if c.state().may_reclaim(client, c.now()) => {}
        Claim::Previous(_) => return Err(Status::NO_GRACE.into()),
        Claim::EarlierLife => return Err(Status::NOTSUPP.into()),
        Claim::Null(_) | Claim::Handle | Claim::Delegated(..) => {
            c.state().may_open(client, c.now())?;
        }
    }
    let opened = match &args.claim {
        Claim::Null(name) | Claim::Delegated(_, Some(name)) => by_name(c, &args, name.0).await?,
        Claim::Handle | Claim::Previous(_) | Claim::Delegated(_, None) | Claim::EarlierLife => {
            by_handle(c, &args).await?
        }
    };
    if c.minor == 0 && matches!(args.claim, Claim::Previous(_)) {
        c.confirmed = true;
    }
    let given = delegate(c, &args, &opened)?;
    let other = c.new_other()?;
    let rights = (args.access, args.deny);
    let client = c.client()?;
    let id = client.add_open(args.owner.0, rights, opened.handle, other)?;
    id.encode(to);
    opened.change.encode(to);
    to.u32(flags(c, &args));
    opened.set.encode(to);
    delegation::encode(&given, args.wish, to);
    c.current = Some(Place4::File(opened.target));
    c.stateid = Some(id);
    DONE
}

fn flags(c: &Compound<'_, '_>, args: &Args<'_>) -> u32 {
    if c.minor > 0 {
        LOCKTYPE_POSIX | PRESERVE_UNLINKED
    } else if !c.confirmed && matches!(args.claim, Claim::Null(_)) {
        LOCKTYPE_POSIX | minor_0::RESULT_CONFIRM
    } else {
        LOCKTYPE_POSIX
    }
}

/// The delegation that comes with an open, or had to be there for it.
fn delegate(c: &Compound<'_, '_>, args: &Args<'_>, opened: &Opened) -> Result<Given, Status> {
    let (target, handle) = (&opened.target, &opened.handle);
    match &args.claim {
        Claim::Null(_) | Claim::Handle => {
            let wish = Wish {
                access: args.access,
                wish: args.wish,
            };
            delegation::offer(c, target, handle, wish)
        }
        Claim::Previous(kind) => delegation::reclaim(c, target, handle, *kind),
        Claim::Delegated(id, _) => {
            let held = c.client()?.find_delegation(&c.meant(*id)?)?;
            if held.inode == target.id() {
                Ok(Given::Nothing(WhyNot::NotWanted))
            } else {
                Err(Status::BAD_STATEID)
            }
        }
        Claim::EarlierLife => Err(Status::NOTSUPP),
    }
}

async fn by_handle(c: &Compound<'_, '_>, args: &Args<'_>) -> Result<Opened, Status> {
    let target = c.target()?;
    if let How::Create { .. } = args.how {
        return Err(Status::INVAL);
    }
    must_be_file(c, &target)?;
    let handle = open_there(c, &target, args).await?;
    let change = target.look(&c.request.server.vfs)?.change;
    Ok(Opened {
        target,
        handle,
        change: ChangeInfo {
            atomic: true,
            before: change,
            after: change,
        },
        set: Bitmap::default(),
    })
}

async fn by_name(c: &Compound<'_, '_>, args: &Args<'_>, name: &[u8]) -> Result<Opened, Status> {
    check_name(name)?;
    let directory = match c.place()? {
        Place4::File(directory) => directory.clone(),
        Place4::Pseudo => return Err(in_pseudo(c, name)),
    };
    let before = c.change_before(&directory)?;
    let How::Create {
        guarded,
        verifier,
        attributes,
    } = &args.how
    else {
        let target = find(c, &directory, name)?;
        must_be_file(c, &target)?;
        return Ok(Opened {
            handle: open_there(c, &target, args).await?,
            target,
            change: c.change_info(&directory, before)?,
            set: Bitmap::default(),
        });
    };
    let setting = match attributes {
        Some(raw) => c.change_of(raw)?,
        None => Setting {
            mask: Bitmap::default(),
            change: UnixChange::default(),
            list: None,
        },
    };
    if !guarded && let Ok(target) = find(c, &directory, name) {
        must_be_file(c, &target)?;
    }
    let mut make = Make::new(New::File, setting.change.mode.unwrap_or(0));
    make.exclusive = *guarded;
    make.verifier = *verifier;
    make.access = rights(args.access);
    make.share_access = shared(args.deny);
    let (handle, created) = make_file(c, &directory, name, make).await?;
    let target = directory.beside(handle.inode());
    let set = if created {
        let mut set = set_made(c, &directory, target.inode, &setting).await?;
        if verifier.is_some() && attributes.is_none() {
            set.set(number::TIME_ACCESS);
            set.set(number::TIME_MODIFY);
        }
        set
    } else {
        truncated(c, &target, &setting, &handle).await?
    };
    c.sync_names().await?;
    Ok(Opened {
        target,
        handle,
        change: c.change_info(&directory, before)?,
        set,
    })
}

/// There is no file among the exports.
fn in_pseudo(c: &Compound<'_, '_>, name: &[u8]) -> Status {
    match super::files::export_root(c, name) {
        Ok(_) => Status::ISDIR,
        Err(Status::NOENT) => Status::ROFS,
        Err(status) => status,
    }
}

/// Of a file that was there, only its size is set.
async fn truncated(
    c: &Compound<'_, '_>,
    target: &Target,
    setting: &Setting,
    handle: &Arc<Handle>,
) -> Result<Bitmap, Status> {
    let Some(size) = setting.change.size else {
        return Ok(Bitmap::default());
    };
    let change = UnixChange {
        size: Some(size),
        ..UnixChange::default()
    };
    let through = handle
        .granted()
        .contains(AccessMask::WRITE_DATA)
        .then_some(handle);
    let unix = c.unix(target);
    unix.change(target.inode, &change, through).await?;
    Ok(Bitmap::of(&[number::SIZE]))
}

fn find(c: &Compound<'_, '_>, directory: &Target, name: &[u8]) -> Result<Target, Status> {
    let unix = c.unix(directory);
    Ok(directory.leads_to(unix.find(directory.inode, name)?))
}

pub(crate) fn must_be_file(c: &Compound<'_, '_>, target: &Target) -> Result<(), Status> {
    match target.look(&c.request.server.vfs)?.what {
        NodeType::File => Ok(()),
        NodeType::Directory => Err(Status::ISDIR),
        NodeType::Symlink => Err(Status::SYMLINK),
        NodeType::Fifo | NodeType::Socket | NodeType::Character { .. } | NodeType::Block { .. } => {
            Err(Status::WRONG_TYPE)
        }
    }
}

fn rights(access: u32) -> AccessMask {
    let mut rights = AccessMask::READ_ATTRIBUTES;
    if access & READ != 0 {
        rights |= AccessMask::READ_DATA;
    }
    if access & WRITE != 0 {
        rights |= AccessMask::WRITE_DATA;
    }
    rights
}

fn shared(deny: u32) -> ShareAccess {
    ShareAccess {
        read: deny & READ == 0,
        write: deny & WRITE == 0,
        delete: true,
    }
}

/// Opens what is there. What may be run may be read, as running it reads it. Who holds it against this open, and was not
/// heard of for longer than its lease, loses it.
async fn open_there(
    c: &Compound<'_, '_>,
    target: &Target,
    args: &Args<'_>,
) -> Result<Arc<Handle>, Status> {
    let unix = c.unix(target);
    // Its mode may have changed since it was opened first.
    let reclaims = matches!(args.claim, Claim::Previous(_));
    let open = |access| {
        let open = UnixOpen {
            access,
            share_access: shared(args.deny),
            ..UnixOpen::once(access)
        };
        unix.open(
            target.inode,
            UnixOpen {
                owner_override: reclaims,
                ..open
            },
        )
    };
    let mut access = rights(args.access);
    let mut expired = false;
    loop {
        match open(access).await {
            Err(VfsError::AccessDenied)
                if args.access == READ && access.contains(AccessMask::READ_DATA) =>
            {
                access = AccessMask::EXECUTE | AccessMask::READ_ATTRIBUTES;
            }
            Err(VfsError::SharingViolation) if !expired && c.state().end_expired(c.now()) => {
                expired = true;
            }
            done => return Ok(done?),
        }
    }
}

async fn make_file(
    c: &Compound<'_, '_>,
    directory: &Target,
    name: &[u8],
    make: Make<'_>,
) -> Result<(Arc<Handle>, bool), Status> {
    let unix = c.unix(directory);
    match unix.make(directory.inode, name, make.clone()).await {
        Err(VfsError::SharingViolation) if c.state().end_expired(c.now()) => {
            Ok(unix.make(directory.inode, name, make).await?)
        }
        done => Ok(done?),
    }
}

pub(crate) fn close(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let _sequence = from.u32()?;
    let id = c.meant(Stateid::decode(from)?)?;
    let inode = c.target()?.id();
    let client = c.client()?;
    let open = client.find_open(&id)?;
    if open.inode != inode {
        return Err(Status::BAD_STATEID.into());
    }
    client.close(&open);
    // Nothing is left that could be named (RFC 8881, 18.2.4).
    let gone = Stateid {
        sequence: u32::MAX,
        other: [0; 12],
    };
    gone.encode(to);
    c.stateid = None;
    DONE
}

pub(crate) fn downgrade(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    let id = c.meant(Stateid::decode(from)?)?;
    let (_sequence, access, deny) = (from.u32()?, from.u32()? & !WISHES, from.u32()?);
    let inode = c.target()?.id();
    let open = c.client()?.find_open(&id)?;
    if open.inode != inode {
        return Err(Status::BAD_STATEID.into());
    }
    let id = open.downgrade(access, deny)?;
    id.encode(to);
    c.stateid = Some(id);
    DONE
}
