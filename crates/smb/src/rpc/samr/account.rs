//! One user or one group.

use strongroom_identity::{Sid, User};

use super::domain::check;
use crate::rpc::accounts::{NONE_RID, status};
use crate::rpc::handles::{Handles, Object};
use crate::rpc::lsarpc::opened;
use crate::rpc::ndr::{NdrReader, NdrWriter};
use crate::rpc::{CallError, PipeContext};

/// USER_NORMAL_ACCOUNT, USER_ACCOUNT_DISABLED (MS-SAMR 2.2.1.12).
const NORMAL: u32 = 0x10;
const DISABLED: u32 = 0x01;
/// SE_GROUP_MANDATORY, SE_GROUP_ENABLED_BY_DEFAULT, SE_GROUP_ENABLED (2.2.1.11).
const MEMBER: u32 = 7;
/// Never, in 100 ns since 1601.
const NEVER: u64 = i64::MAX.unsigned_abs();

/// SamrOpenUser (3.1.5.1.9).
pub(super) fn open_user(
    context: &dyn PipeContext,
    handles: &mut Handles,
    r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    let (w, sid) = asked(handles, r)?;
    let known = sid.filter(|sid| user(context, sid).is_some());
    Ok(match known {
        Some(sid) => opened(context, handles, w, Object::User(sid)),
        None => absent(w, status::NO_SUCH_USER),
    })
}

/// SamrOpenAlias (3.1.5.1.8).
pub(super) fn open_alias(
    context: &dyn PipeContext,
    handles: &mut Handles,
    r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    let (w, sid) = asked(handles, r)?;
    let known = sid.filter(|sid| context.groups().iter().any(|group| group.sid == *sid));
    Ok(match known {
        Some(sid) => opened(context, handles, w, Object::Alias(sid)),
        None => absent(w, status::NO_SUCH_ALIAS),
    })
}

/// The account that is to be opened.
fn asked(handles: &Handles, mut r: NdrReader<'_>) -> Result<(NdrWriter, Option<Sid>), CallError> {
    let domain = check(handles, &r.handle()?)?;
    r.u32()?;
    Ok((NdrWriter::default(), domain.with_rid(r.u32()?)))
}

fn absent(mut w: NdrWriter, result: u32) -> Vec<u8> {
    w.handle(None);
    w.finish(result)
}

fn user(context: &dyn PipeContext, sid: &Sid) -> Option<User> {
    context.users().into_iter().find(|user| user.sid == *sid)
}

/// The user of a handle; one that was removed meanwhile is no longer there.
fn user_of(
    context: &dyn PipeContext,
    handles: &Handles,
    r: &mut NdrReader<'_>,
) -> Result<User, CallError> {
    match handles.get(&r.handle()?)? {
        Object::User(sid) => user(context, &sid).ok_or(CallError::Handle),
        Object::Policy | Object::Server | Object::Domain(_) | Object::Alias(_) => {
            Err(CallError::Handle)
        }
    }
}

/// SamrGetMembersInAlias (3.1.5.8.3).
pub(super) fn members(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    let Object::Alias(sid) = handles.get(&r.handle()?)? else {
        return Err(CallError::Handle);
    };
    let mut groups = context.groups().into_iter();
    let group = groups.find(|group| group.sid == sid);
    let members = group.ok_or(CallError::Handle)?.members;
    let mut w = NdrWriter::default();
    w.count(members.len());
    w.pointer();
    w.count(members.len());
    members.into_iter().for_each(|member| w.sid_pointer(member));
    Ok(w.finish(status::SUCCESS))
}

/// SamrGetGroupsForUser (3.1.5.9.1): the one group of the domain's that every user is in.
pub(super) fn groups(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    user_of(context, handles, &mut r)?;
    let mut w = NdrWriter::default();
    w.pointer();
    w.count(1);
    w.pointer();
    w.count(1);
    w.u32(NONE_RID);
    w.u32(MEMBER);
    Ok(w.finish(status::SUCCESS))
}

/// SamrQueryInformationUser and its second form (3.1.5.5.5, 3.1.5.5.6): what is public of a user.
pub(super) fn query(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    let user = user_of(context, handles, &mut r)?;
    let class = r.u16()?;
    let mut w = NdrWriter::default();
    if !matches!(class, 6 | 7 | 8 | 9 | 16 | 21) {
        w.u32(0);
        return Ok(w.finish(status::INVALID_INFO_CLASS));
    }
    w.pointer();
    w.u16(class);
    match class {
        6 => {
            w.text(&user.name);
            w.text("");
        }
        7 => w.text(&user.name),
        8 => w.text(""),
        9 => w.u32(NONE_RID),
        16 => w.u32(flags(&user)),
        _ => put_all(&mut w, &user),
    }
    Ok(w.finish(status::SUCCESS))
}

fn flags(user: &User) -> u32 {
    if user.disabled {
        NORMAL | DISABLED
    } else {
        NORMAL
    }
}

/// SAMPR_USER_ALL_INFORMATION (2.2.6.6), with what is kept here.
fn put_all(w: &mut NdrWriter, user: &User) {
    // Last logon, last logoff, password last set, account expires, password can change, password must change.
    for time in [0, 0, 0, NEVER, 0, NEVER] {
        let [a, b, c, d, e, f, g, h] = u64::to_le_bytes(time);
        w.u32(u32::from_le_bytes([a, b, c, d]));
        w.u32(u32::from_le_bytes([e, f, g, h]));
    }
    w.text(&user.name);
    // Full name, home directory and drive, scripts, profile, comments, workstations, parameters.
    (0..9).for_each(|_| w.text(""));
    // No hash, no private data, no descriptor: lengths and null pointers.
    (0..4).for_each(|_| {
        w.u32(0);
        w.u32(0);
    });
    w.u32(user.sid.rid().unwrap_or_default());
    w.u32(NONE_RID);
    w.u32(flags(user));
    // User name, full name, identifier, primary group and account control are valid (2.2.1.8).
    w.u32(0x0010_0017);
    // Logon hours: none are kept.
    w.u16(0);
    w.u32(0);
    // Bad passwords, logons, country, code page.
    (0..4).for_each(|_| w.u16(0));
    // Passwords present, expired, private data sensitive.
    (0..4).for_each(|_| w.u8(0));
}
