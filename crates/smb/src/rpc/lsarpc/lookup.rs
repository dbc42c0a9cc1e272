//! From SIDs to names and back (MS-LSAT 3.1.4.5 to 3.1.4.11).

use super::policy::check;
use crate::rpc::accounts::{self, Account, Domain, KIND_UNKNOWN};
use crate::rpc::handles::Handles;
use crate::rpc::ndr::{NdrReader, NdrWriter};
use crate::rpc::{CallError, PipeContext};
use crate::wire::WireError;

/// What one call may ask for.
const ENTRIES_MAX: u32 = 1000;

/// How an entry of the answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// LSAPR_TRANSLATED_NAME, LSA_TRANSLATED_SID.
    Short,
    /// With flags.
    Extended,
    /// With flags, and SIDs in place of relative identifiers.
    WholeSids,
}

/// LsarLookupSids and LsarLookupSids2.
pub(super) fn sids(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
    form: Form,
) -> Result<Vec<u8>, CallError> {
    check(handles, &mut r)?;
    let count = bounded(r.u32()?)?;
    let mut present = Vec::new();
    if r.u32()? != 0 {
        if r.u32()? != count {
            return Err(CallError::Stub);
        }
        for _ in 0..count {
            present.push(r.u32()? != 0);
        }
    }
    if present.contains(&false) {
        return Err(CallError::Stub);
    }
    let mut asked = Vec::with_capacity(present.len());
    for _ in &present {
        asked.push(r.sid()?);
    }
    no_answers(&mut r)?;
    let found: Vec<_> = asked
        .iter()
        .map(|sid| accounts::by_sid(context, sid))
        .collect();
    let mut domains = Domains::default();
    let mut w = NdrWriter::default();
    let indices = domains.put(&mut w, &found);
    w.count(found.len());
    w.pointer();
    w.count(found.len());
    for ((sid, found), index) in asked.iter().zip(&found).zip(indices) {
        w.u16(found.as_ref().map_or(KIND_UNKNOWN, |account| account.kind));
        match found {
            Some(account) => w.text(&account.name),
            None => w.text(&sid.to_string()),
        }
        w.u32(index);
        if form == Form::Extended {
            w.u32(0);
        }
    }
    Ok(end(w, &found))
}

/// LsarLookupNames, LsarLookupNames2 and LsarLookupNames3.
pub(super) fn names(
    context: &dyn PipeContext,
    handles: &Handles,
    mut r: NdrReader<'_>,
    form: Form,
) -> Result<Vec<u8>, CallError> {
    check(handles, &mut r)?;
    let count = bounded(r.u32()?)?;
    if r.u32()? != count {
        return Err(CallError::Stub);
    }
    let heads = (0..count)
        .map(|_| r.text_head())
        .collect::<Result<Vec<_>, _>>()?;
    let asked = r.texts(&heads)?;
    no_answers(&mut r)?;
    let found: Vec<_> = asked
        .iter()
        .map(|name| accounts::by_name(context, name))
        .collect();
    let mut domains = Domains::default();
    let mut w = NdrWriter::default();
    let indices = domains.put(&mut w, &found);
    w.count(found.len());
    w.pointer();
    w.count(found.len());
    for (found, index) in found.iter().zip(indices) {
        w.u16(found.as_ref().map_or(KIND_UNKNOWN, |account| account.kind));
        match (form, found) {
            (Form::WholeSids, Some(account)) => w.sid_pointer(account.sid),
            (Form::WholeSids, None) => w.u32(0),
            (Form::Short | Form::Extended, found) => {
                w.u32(found.as_ref().map_or(u32::MAX, Account::rid));
            }
        }
        w.u32(index);
        if form != Form::Short {
            w.u32(0);
        }
    }
    Ok(end(w, &found))
}

fn bounded(count: u32) -> Result<u32, CallError> {
    if count > ENTRIES_MAX {
        return Err(CallError::Stub);
    }
    Ok(count)
}

/// The list that the answers go to, which clients send empty; the level and the options that follow change nothing here:
/// all that this machine knows are its own accounts.
fn no_answers(r: &mut NdrReader<'_>) -> Result<(), WireError> {
    let (_, list) = (r.u32()?, r.u32()?);
    if list != 0 && r.u32()? != 0 {
        return Err(WireError::Invalid("answers sent along with a question"));
    }
    r.u16()?;
    r.u32()?;
    Ok(())
}

/// The domains of an answer, each once.
#[derive(Debug, Default)]
struct Domains(Vec<Domain>);

impl Domains {
    /// Writes LSAPR_REFERENCED_DOMAIN_LIST (MS-LSAT 2.2.12); which of them each account is in, or all ones.
    fn put(&mut self, w: &mut NdrWriter, found: &[Option<Account>]) -> Vec<u32> {
        let indices = found
            .iter()
            .map(|found| {
                found
                    .as_ref()
                    .map_or(u32::MAX, |account| self.index(account))
            })
            .collect();
        let count = self.0.len();
        w.pointer();
        w.count(count);
        w.pointer();
        w.count(count);
        w.count(count);
        for domain in &self.0 {
            w.text(&domain.name);
            w.sid_pointer(domain.sid);
        }
        w.flush();
        indices
    }

    fn index(&mut self, account: &Account) -> u32 {
        let at = self.0.iter().position(|known| *known == account.domain);
        let at = at.unwrap_or_else(|| {
            self.0.push(account.domain.clone());
            self.0.len().saturating_sub(1)
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

fn end(mut w: NdrWriter, found: &[Option<Account>]) -> Vec<u8> {
    w.flush();
    let mapped = found.iter().flatten().count();
    w.count(mapped);
    w.finish(accounts::outcome(found))
}
