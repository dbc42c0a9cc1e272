//! The account server and its domains: that of this machine, and the built-in one.

use strongroom_identity::Sid;

use crate::rpc::accounts::{self, Domain, status};
use crate::rpc::handles::{Handle, Handles, Object};
use crate::rpc::lsarpc::opened;
use crate::rpc::ndr::{NdrReader, NdrWriter};
use crate::rpc::{CallError, PipeContext};

/// What the forms of SamrConnect send before the access that they want (MS-SAMR 3.1.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connect {
    /// SamrConnect: one unit of a name.
    OneUnit,
    /// SamrConnect2.
    String,
    /// SamrConnect4: a revision too.
    Revision,
    /// SamrConnect5: revisions that are answered.
    Negotiated,
}

pub(super) fn connect(
    context: &dyn PipeContext,
    handles: &mut Handles,
    mut r: NdrReader<'_>,
    form: Connect,
) -> Result<Vec<u8>, CallError> {
    if form == Connect::OneUnit {
        if r.u32()? != 0 {
            r.u16()?;
        }
    } else {
        r.unique_string()?;
    }
    if form == Connect::Revision {
        r.u32()?;
    }
    r.u32()?;
    let mut w = NdrWriter::default();
    if form == Connect::Negotiated {
        if (r.u32()?, r.u32()?) != (1, 1) {
            return Err(CallError::Stub);
        }
        // SAMPR_REVISION_INFO_V1: revision 3, no features.
        [1, 1, 3, 0].into_iter().for_each(|value| w.u32(value));
    }
    Ok(opened(context, handles, w, Object::Server))
}

fn check(handles: &Handles, handle: &Handle) -> Result<(), CallError> {
    match handles.get(handle)? {
        Object::Server => Ok(()),
        Object::Policy | Object::Domain(_) | Object::User(_) | Object::Alias(_) => {
            Err(CallError::Handle)
        }
    }
}

/// SamrLookupDomainInSamServer (3.1.5.11.1).
pub(super) fn look_up(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    check(handles, &r.handle()?)?;
    let heads = [r.text_head()?];
    let name = r.texts(&heads)?.concat().to_lowercase();
    let found = accounts::domains(context)
        .into_iter()
        .find(|domain| domain.name.to_lowercase() == name);
    let mut w = NdrWriter::default();
    match &found {
        Some(domain) => w.sid_pointer(domain.sid),
        None => w.u32(0),
    }
    Ok(w.finish(match found {
        Some(_) => status::SUCCESS,
        None => status::NO_SUCH_DOMAIN,
    }))
}

/// SamrEnumerateDomainsInSamServer (3.1.5.2.1): always all of them.
pub(super) fn enumerate(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    check(handles, &r.handle()?)?;
    let from = r.u32()?;
    let entries = accounts::domains(context).into_iter();
    let entries: Vec<_> = entries.map(|domain| (0, domain.name)).collect();
    Ok(list(&entries, from, entries.len()))
}

/// SAMPR_ENUMERATION_BUFFER (2.2.3.10) with entries from a position on, after the position at which to go on.
pub(super) fn list(entries: &[(u32, String)], from: u32, max: usize) -> Vec<u8> {
    let start = usize::try_from(from)
        .unwrap_or(usize::MAX)
        .min(entries.len());
    let rest = entries.get(start..).unwrap_or_default();
    let now = rest.get(..max.min(rest.len())).unwrap_or_default();
    let more = now.len() < rest.len();
    let mut w = NdrWriter::default();
    w.count(start.saturating_add(now.len()));
    w.pointer();
    w.count(now.len());
    w.pointer();
    w.count(now.len());
    for (rid, name) in now {
        w.u32(*rid);
        w.text(name);
    }
    w.flush();
    w.count(now.len());
    w.finish(if more {
        status::MORE_ENTRIES
    } else {
        status::SUCCESS
    })
}

/// SamrOpenDomain (3.1.5.1.5).
pub(super) fn open_domain(
    context: &dyn PipeContext,
    handles: &mut Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    check(handles, &r.handle()?)?;
    r.u32()?;
    let asked = r.sid()?;
    let mut w = NdrWriter::default();
    if domain(context, &asked).is_none() {
        w.handle(None);
        return Ok(w.finish(status::NO_SUCH_DOMAIN));
    }
    Ok(opened(context, handles, w, Object::Domain(asked)))
}

pub(super) fn domain(context: &dyn PipeContext, sid: &Sid) -> Option<Domain> {
    let mut all = accounts::domains(context).into_iter();
    all.find(|domain| domain.sid == *sid)
}
