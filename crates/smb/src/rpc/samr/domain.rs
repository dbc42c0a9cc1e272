//! One domain's users and groups.

use strongroom_identity::Sid;

use super::server::{domain, list};
use crate::rpc::accounts::{self, Account, KIND_UNKNOWN, NONE_RID, status};
use crate::rpc::handles::{Handle, Handles, Object};
use crate::rpc::ndr::{NdrReader, NdrWriter};
use crate::rpc::{CallError, PipeContext};

/// What one call may ask for (MS-SAMR 3.1.5.11.2 names 1,000).
const ENTRIES_MAX: u32 = 1000;
/// Entries of one answer to an enumeration.
const PAGE: usize = 500;

/// What an enumeration lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Groups,
    Users,
    /// Groups that are local to the domain: all that are made here.
    Aliases,
}

pub(super) fn check(handles: &Handles, handle: &Handle) -> Result<Sid, CallError> {
    match handles.get(handle)? {
        Object::Domain(sid) => Ok(sid),
        Object::Policy | Object::Server | Object::User(_) | Object::Alias(_) => {
            Err(CallError::Handle)
        }
    }
}

/// Users or groups of a domain: relative identifiers and names.
fn members(context: &dyn PipeContext, of: &Sid, kind: Kind) -> Vec<(u32, String)> {
    let named = |sid: Sid, name: String| sid.rid_in(of).map(|rid| (rid, name));
    match kind {
        Kind::Users => {
            let users = context.users().into_iter();
            users
                .filter_map(|user| named(user.sid, user.name))
                .collect()
        }
        Kind::Aliases => {
            let groups = context.groups().into_iter();
            groups
                .filter_map(|group| named(group.sid, group.name))
                .collect()
        }
        Kind::Groups => {
            let none = context.machine_sid().with_rid(NONE_RID);
            let none = none.and_then(|sid| accounts::by_sid(context, &sid));
            none.and_then(|account| named(account.sid, account.name))
                .into_iter()
                .collect()
        }
    }
}

/// SamrEnumerateGroupsInDomain, SamrEnumerateUsersInDomain and SamrEnumerateAliasesInDomain (3.1.5.2.2 to 3.1.5.2.4).
pub(super) fn enumerate(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
    kind: Kind,
) -> Result<Vec<u8>, CallError> {
    let sid = check(handles, &r.handle()?)?;
    let from = r.u32()?;
    // USER_NORMAL_ACCOUNT, or any.
    let wanted =
        kind != Kind::Users || matches!(r.u32()?, flags if flags == 0 || flags & 0x10 != 0);
    let entries = if wanted {
        members(context, &sid, kind)
    } else {
        Vec::new()
    };
    Ok(list(&entries, from, PAGE))
}

/// SamrQueryInformationDomain and its second form (3.1.5.5.1, 3.1.5.5.2): DomainPasswordInformation,
/// DomainGeneralInformation and DomainNameInformation.
pub(super) fn query(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    let sid = check(handles, &r.handle()?)?;
    let class = r.u16()?;
    let known = domain(context, &sid).ok_or(CallError::Handle)?;
    let mut w = NdrWriter::default();
    if !matches!(class, 1 | 2 | 5) {
        w.u32(0);
        return Ok(w.finish(status::INVALID_INFO_CLASS));
    }
    w.pointer();
    w.u16(class);
    match class {
        // Lengths, history, properties, and ages of passwords: none that a client could keep to for us.
        1 => {
            w.u16(0);
            w.u16(0);
            (0..5).for_each(|_| w.u32(0));
        }
        5 => w.text(&known.name),
        _ => put_general(context, &mut w, &sid, &known.name),
    }
    Ok(w.finish(status::SUCCESS))
}

/// SAMPR_DOMAIN_GENERAL_INFORMATION (2.2.4.10).
fn put_general(context: &dyn PipeContext, w: &mut NdrWriter, sid: &Sid, name: &str) {
    // Nobody is logged off by force; no comment.
    w.u32(0);
    w.u32(0x8000_0000);
    w.text("");
    w.text(name);
    w.text("");
    // How often it was modified, that it is enabled, that it is the primary one, and that it is whole.
    for value in [0, 0, 1, 3] {
        w.u32(value);
    }
    w.u8(0);
    for kind in [Kind::Users, Kind::Groups, Kind::Aliases] {
        w.count(members(context, sid, kind).len());
    }
}

/// SamrLookupNamesInDomain (3.1.5.11.2).
pub(super) fn names(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    let sid = check(handles, &r.handle()?)?;
    let count = array(&mut r)?;
    let heads = (0..count)
        .map(|_| r.text_head())
        .collect::<Result<Vec<_>, _>>()?;
    let known = domain(context, &sid).ok_or(CallError::Handle)?;
    let found: Vec<_> = r
        .texts(&heads)?
        .iter()
        .map(|name| accounts::by_name(context, &format!("{}\\{name}", known.name)))
        .map(|found| found.filter(|account| account.domain.sid == sid))
        .collect();
    let mut w = NdrWriter::default();
    let rids = found
        .iter()
        .map(|found| found.as_ref().map_or(0, Account::rid));
    w.numbers(rids.collect());
    w.flush();
    Ok(kinds(w, &found))
}

/// SamrLookupIdsInDomain (3.1.5.11.3).
pub(super) fn rids(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    let sid = check(handles, &r.handle()?)?;
    let count = array(&mut r)?;
    let asked = (0..count).map(|_| r.u32()).collect::<Result<Vec<_>, _>>()?;
    let found: Vec<_> = asked
        .into_iter()
        .map(|rid| accounts::by_sid(context, &sid.with_rid(rid)?))
        .collect();
    let mut w = NdrWriter::default();
    w.count(found.len());
    w.pointer();
    w.count(found.len());
    for found in &found {
        w.text(found.as_ref().map_or("", |account| &account.name));
    }
    w.flush();
    Ok(kinds(w, &found))
}

/// A number and an array that varies within 1,000 places and has so many elements.
fn array(r: &mut NdrReader<'_>) -> Result<u32, CallError> {
    let count = r.u32()?;
    if count > ENTRIES_MAX || (r.u32()?, r.u32()?, r.u32()?) != (ENTRIES_MAX, 0, count) {
        return Err(CallError::Stub);
    }
    Ok(count)
}

/// What sort of account each is, and how many were found.
fn kinds(mut w: NdrWriter, found: &[Option<Account>]) -> Vec<u8> {
    let kind =
        |found: &Option<Account>| found.as_ref().map_or(KIND_UNKNOWN, |account| account.kind);
    w.numbers(found.iter().map(|found| kind(found).into()).collect());
    w.finish(accounts::outcome(found))
}

/// SamrGetAliasMembership (3.1.5.9.2): the domain's groups that have any of the SIDs as a member.
pub(super) fn memberships(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    let sid = check(handles, &r.handle()?)?;
    let count = r.u32()?;
    let mut asked = Vec::new();
    if r.u32()? != 0 {
        if count > ENTRIES_MAX || r.u32()? != count {
            return Err(CallError::Stub);
        }
        for _ in 0..count {
            if r.u32()? == 0 {
                return Err(CallError::Stub);
            }
        }
        for _ in 0..count {
            asked.push(r.sid()?);
        }
    }
    let groups = context.groups().into_iter();
    let holds = groups.filter(|group| group.members.iter().any(|member| asked.contains(member)));
    let rids = holds.filter_map(|group| group.sid.rid_in(&sid)).collect();
    let mut w = NdrWriter::default();
    w.numbers(rids);
    Ok(w.finish(status::SUCCESS))
}
