//! The policy handle, and what it tells of the machine.

use crate::rpc::accounts::{self, Domain, status};
use crate::rpc::handles::{Handles, Object};
use crate::rpc::ndr::{NdrReader, NdrWriter};
use crate::rpc::{CallError, PipeContext};
use crate::wire::WireError;

/// How the name of the server is given: LsarOpenPolicy's type says a single unit (MS-LSAD 3.1.4.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SystemName {
    OneUnit,
    String,
}

/// LsarOpenPolicy and LsarOpenPolicy2 (MS-LSAD 3.1.4.4.1, 3.1.4.4.2).
pub(super) fn open(
    context: &dyn PipeContext,
    handles: &mut Handles,
    mut r: NdrReader<'_>,
    name: SystemName,
) -> Result<Vec<u8>, CallError> {
    match name {
        SystemName::String => {
            r.unique_string()?;
        }
        SystemName::OneUnit => {
            if r.u32()? != 0 {
                r.u16()?;
            }
        }
    }
    let plain = object_attributes(&mut r)?;
    let mut w = NdrWriter::default();
    if !plain {
        w.handle(None);
        return Ok(w.finish(status::INVALID_PARAMETER));
    }
    r.u32()?;
    Ok(opened(context, handles, w, Object::Policy))
}

/// Gives a handle to those who have signed in.
pub(in crate::rpc) fn opened(
    context: &dyn PipeContext,
    handles: &mut Handles,
    mut w: NdrWriter,
    object: Object,
) -> Vec<u8> {
    let handle = match context.user() {
        Some(_) => handles.open(object).ok_or(status::INSUFFICIENT_RESOURCES),
        None => Err(status::ACCESS_DENIED),
    };
    w.handle(handle.ok());
    w.finish(handle.err().unwrap_or(status::SUCCESS))
}

/// LSAPR_OBJECT_ATTRIBUTES (MS-LSAD 2.2.9), of which nothing is used; whether it names no other object.
fn object_attributes(r: &mut NdrReader<'_>) -> Result<bool, WireError> {
    r.u32()?;
    let (root, name) = (r.u32()?, r.u32()?);
    r.u32()?;
    let (descriptor, quality) = (r.u32()?, r.u32()?);
    if (root, name, descriptor) != (0, 0, 0) {
        return Ok(false);
    }
    if quality != 0 {
        // Length, impersonation level, tracking mode and whether only effective rights count.
        r.u32()?;
        r.u16()?;
        r.u16()?;
    }
    Ok(true)
}

/// LsarClose (MS-LSAD 3.1.4.9.4) and SamrCloseHandle (MS-SAMR 3.1.5.13.1).
pub(in crate::rpc) fn close(
    handles: &mut Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    handles.close(&r.handle()?)?;
    let mut w = NdrWriter::default();
    w.handle(None);
    Ok(w.finish(status::SUCCESS))
}

/// LsarQueryInformationPolicy and its second form (MS-LSAD 3.1.4.4.3, 3.1.4.4.4): the classes that tell of domains.
pub(super) fn query(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    check(handles, &mut r)?;
    let class = r.u16()?;
    let mut w = NdrWriter::default();
    if !matches!(class, 3 | 5 | 6 | 12) {
        w.u32(0);
        return Ok(w.finish(status::INVALID_INFO_CLASS));
    }
    w.pointer();
    w.u16(class);
    let Domain { name, sid } = accounts::machine(context);
    match class {
        // The machine is a member of no domain; its workgroup has a name and no SID.
        3 => {
            w.text(&context.domain());
            w.u32(0);
        }
        5 => {
            w.text(&name);
            w.sid_pointer(sid);
        }
        // A server that keeps its accounts itself.
        6 => w.u16(3),
        _ => {
            w.text(&context.domain());
            w.text("");
            w.text("");
            (0..4).for_each(|_| w.u32(0));
            w.u32(0);
        }
    }
    Ok(w.finish(status::SUCCESS))
}

pub(super) fn check(handles: &Handles, r: &mut NdrReader<'_>) -> Result<(), CallError> {
    match handles.get(&r.handle()?)? {
        Object::Policy => Ok(()),
        Object::Server | Object::Domain(_) | Object::User(_) | Object::Alias(_) => {
            Err(CallError::Handle)
        }
    }
}

/// LsarGetUserName (MS-LSAT 3.1.4.2): whom the pipe's session acts for.
pub(super) fn user_name(
    context: &dyn PipeContext,
    mut r: NdrReader<'_>,
) -> Result<Vec<u8>, CallError> {
    r.unique_string()?;
    // Clients send no text along, only the places where the answers go.
    let user = r.u32()?;
    let domain = r.u32()?;
    let inner = if domain == 0 { 0 } else { r.u32()? };
    if user != 0 || inner != 0 {
        return Err(CallError::Stub);
    }
    let account = context
        .user()
        .and_then(|user| accounts::by_sid(context, &user));
    let mut w = NdrWriter::default();
    let put = |w: &mut NdrWriter, text: Option<&str>| match text {
        Some(text) => {
            w.pointer();
            w.text(text);
            w.flush();
        }
        None => w.u32(0),
    };
    put(
        &mut w,
        account.as_ref().map(|account| account.name.as_str()),
    );
    if domain == 0 {
        w.u32(0);
    } else {
        w.pointer();
        put(
            &mut w,
            account.as_ref().map(|account| account.domain.name.as_str()),
        );
    }
    Ok(w.finish(match account {
        Some(_) => status::SUCCESS,
        None => status::ACCESS_DENIED,
    }))
}
