//! Delegations: what an OPEN may bring beside the open, DELEGRETURN, GET_DIR_DELEGATION (RFC 8881, 18.16, 18.6, 18.39).

use std::sync::Arc;

use strongroom_vfs::grants::{GrantHolder, GrantRights, GrantWish};
use strongroom_vfs::{AccessMask, Handle};

use super::open::WRITE;
use crate::server::Target;
use crate::v4::compound::{Compound, DONE};
use crate::v4::state::{Delegation, Holder};
use crate::v4::types::Stateid;
use crate::v4::{Op, Status};
use crate::xdr::{Decoder, Encoder, Xdr};

/// What a client wishes, in the word of what it opens for.
pub(super) const WISHES: u32 = 0xFF00;
const WANT_READ: u32 = 0x0100;
const WANT_WRITE: u32 = 0x0200;
const WANT_ANY: u32 = 0x0300;
const WANT_NO: u32 = 0x0400;
const WANT_CANCEL: u32 = 0x0500;

/// open_delegation_type4
const NONE: u32 = 0;
const FOR_READING: u32 = 1;
const FOR_WRITING: u32 = 2;
const NONE_EXT: u32 = 3;

/// NFS_LIMIT_SIZE
const LIMIT_SIZE: u32 = 1;
/// GDD4_UNAVAIL
const UNAVAILABLE: u32 = 1;

/// why_no_delegation4
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhyNot {
    NotWanted = 0,
    Contention = 1,
    Resource = 2,
    Cancelled = 7,
}

/// What comes with an open.
#[derive(Debug)]
pub(super) enum Given {
    Delegation(Arc<Delegation>),
    Nothing(WhyNot),
}

/// What is wished for with an open; None is no preference.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) access: u32,
    pub(super) wish: u32,
}

impl Wish {
    /// Whether it is about a delegation for writing, or why it is about none.
    fn kind(self) -> Result<bool, WhyNot> {
        let writes = self.access & WRITE != 0;
        match self.wish {
            0 | WANT_ANY => Ok(writes),
            WANT_READ => Ok(false),
            WANT_WRITE => Ok(true),
            WANT_CANCEL => Err(WhyNot::Cancelled),
            WANT_NO => Err(WhyNot::NotWanted),
            _ => Err(WhyNot::Resource),
        }
    }
}

/// Gives a delegation with an open where the client can be called back and nobody is in the way.
pub(super) fn offer(
    c: &Compound<'_, '_>,
    target: &Target,
    open: &Handle,
    wish: Wish,
) -> Result<Given, Status> {
    let write = match wish.kind() {
        Ok(write) => write,
        Err(why) => return Ok(Given::Nothing(why)),
    };
    let (state, client) = (c.state(), c.client()?);
    if state.contended.has(target.inode, c.now()) {
        return Ok(Given::Nothing(WhyNot::Contention));
    }
    let possible = c.minor > 0 && state.may_delegate() && !client.has_delegation(target.inode);
    if !possible || !state.can_call(client.id) || !may_read(c, target, open)? {
        return Ok(Given::Nothing(WhyNot::Resource));
    }
    if write && wish.access & WRITE == 0 {
        // Nobody has shown yet that it may write.
        return Ok(Given::Nothing(WhyNot::Resource));
    }
    give(c, target, open, write)
}

/// By a delegation a client reads, whoever of its users it is for: what may only be run is not delegated.
fn may_read(c: &Compound<'_, '_>, target: &Target, open: &Handle) -> Result<bool, Status> {
    if open.granted().contains(AccessMask::READ_DATA) {
        return Ok(true);
    }
    let rights = c.unix(target).rights(target.inode)?;
    Ok(open.granted().contains(AccessMask::WRITE_DATA) && rights.contains(AccessMask::READ_DATA))
}

fn give(
    c: &Compound<'_, '_>,
    target: &Target,
    open: &Handle,
    write: bool,
) -> Result<Given, Status> {
    let (server, client) = (c.request.server, c.client()?);
    let file = c.request.handle_of(target);
    let kind = (target.inode, write);
    let delegation = Delegation::new(c.new_other()?, kind, &file, client, server);
    let rights = GrantRights {
        read: true,
        write,
        handle: true,
    };
    let holder = Holder(Arc::downgrade(&delegation));
    let wish = GrantWish {
        key: Some(client.key()),
        rights,
        directories: false,
        holder: Arc::new(holder) as Arc<dyn GrantHolder>,
    };
    let change = target.look(&server.vfs)?.change;
    let Some(held) = server.vfs.delegate(&target.share, open, &wish)? else {
        return Ok(Given::Nothing(WhyNot::Contention));
    };
    delegation.begin(held, change);
    if !client.add_delegation(&delegation) {
        delegation.end();
        return Ok(Given::Nothing(WhyNot::Resource));
    }
    if write {
        c.state().note_writer(&delegation);
    }
    Ok(Given::Delegation(delegation))
}

/// open_delegation4. Why there is none is told only to those who said what they wish.
pub(super) fn encode(given: &Given, wish: u32, to: &mut Encoder) {
    let delegation = match given {
        Given::Delegation(delegation) => delegation,
        Given::Nothing(_) if wish == 0 => {
            to.u32(NONE);
            return;
        }
        Given::Nothing(why) => {
            to.u32(NONE_EXT).u32(*why as u32);
            if matches!(why, WhyNot::Contention | WhyNot::Resource) {
                // The server will not say when there is one.
                to.bool(false);
            }
            return;
        }
    };
    to.u32(if delegation.write {
        FOR_WRITING
    } else {
        FOR_READING
    });
    delegation.stateid().encode(to);
    to.bool(delegation.is_recalled());
    if delegation.write {
        to.u32(LIMIT_SIZE).u64(u64::MAX);
    }
    // An entry that allows nobody anything: whether others of the client's users may open the file, ACCESS tells.
    to.u32(0).u32(0).u32(0).opaque(b"EVERYONE@");
}

/// Claims back a delegation that was held when the server ended.
pub(super) fn reclaim(
    c: &Compound<'_, '_>,
    target: &Target,
    open: &Handle,
    kind: u32,
) -> Result<Given, Status> {
    match kind {
        FOR_READING => give(c, target, open, false),
        FOR_WRITING => give(c, target, open, true),
        _ => Ok(Given::Nothing(WhyNot::NotWanted)),
    }
}

pub(crate) async fn give_back(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>) -> Op {
    let id = c.meant(Stateid::decode(from)?)?;
    let inode = c.target()?.id();
    let client = c.client()?;
    let delegation = client.find_delegation(&id)?;
    if delegation.inode != inode {
        return Err(Status::BAD_STATEID.into());
    }
    client.forget_delegation(&delegation);
    DONE
}

/// Directories are not delegated.
pub(crate) fn get_dir(c: &mut Compound<'_, '_>, from: &mut Decoder<'_>, to: &mut Encoder) -> Op {
    from.bool()?;
    for _ in 0..2 {
        crate::v4::types::Bitmap::decode(from)?;
    }
    c.target()?;
    to.u32(UNAVAILABLE).bool(false);
    DONE
}
