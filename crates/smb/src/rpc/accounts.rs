//! Accounts as `lsarpc` and `samr` name them: each in a domain that has a name and a SID of its own.

use strongroom_identity::Sid;
use strongroom_identity::{AccountDomain, AccountKind};

use super::PipeContext;

/// What the results of calls say (MS-ERREF 2.3.1).
pub(super) mod status {
    pub(in crate::rpc) const SUCCESS: u32 = 0;
    pub(in crate::rpc) const MORE_ENTRIES: u32 = 0x0000_0105;
    pub(in crate::rpc) const SOME_NOT_MAPPED: u32 = 0x0000_0107;
    pub(in crate::rpc) const INVALID_INFO_CLASS: u32 = 0xC000_0003;
    pub(in crate::rpc) const INVALID_PARAMETER: u32 = 0xC000_000D;
    pub(in crate::rpc) const ACCESS_DENIED: u32 = 0xC000_0022;
    pub(in crate::rpc) const NO_SUCH_USER: u32 = 0xC000_0064;
    pub(in crate::rpc) const NONE_MAPPED: u32 = 0xC000_0073;
    pub(in crate::rpc) const INSUFFICIENT_RESOURCES: u32 = 0xC000_009A;
    pub(in crate::rpc) const NO_SUCH_DOMAIN: u32 = 0xC000_00DF;
    pub(in crate::rpc) const NO_SUCH_ALIAS: u32 = 0xC000_0151;
}

/// SidTypeUnknown (MS-LSAT 2.2.13).
pub(super) const KIND_UNKNOWN: u16 = 8;
/// The relative identifier of the group that every user of a machine has as its primary one.
pub(super) const NONE_RID: u32 = 513;
const NONE_NAME: &str = "None";
const BUILT_IN: &str = "BUILTIN";
const NT_AUTHORITY: &str = "NT AUTHORITY";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Domain {
    /// Empty for the domains of SIDs such as Everyone's.
    pub(super) name: String,
    pub(super) sid: Sid,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) domain: Domain,
    pub(super) sid: Sid,
    /// Empty for a domain.
    pub(super) name: String,
    /// SID_NAME_USE (MS-LSAT 2.2.13).
    pub(super) kind: u16,
}

impl Account {
    /// Within its domain; a domain has none.
    pub(super) fn rid(&self) -> u32 {
        if self.sid == self.domain.sid {
            u32::MAX
        } else {
            self.sid.rid().unwrap_or(u32::MAX)
        }
    }
}

/// What a look-up that found these says.
pub(super) fn outcome(found: &[Option<Account>]) -> u32 {
    let mapped = found.iter().flatten().count();
    if mapped == found.len() {
        status::SUCCESS
    } else if mapped == 0 {
        status::NONE_MAPPED
    } else {
        status::SOME_NOT_MAPPED
    }
}

/// The domain of the accounts made here.
pub(super) fn machine(context: &dyn PipeContext) -> Domain {
    Domain {
        name: context.server_name(),
        sid: context.machine_sid(),
    }
}

/// The domain of the groups that every machine has.
pub(super) fn built_in() -> Option<Domain> {
    Some(Domain {
        name: BUILT_IN.to_owned(),
        sid: Sid::ADMINISTRATORS.domain()?,
    })
}

/// Those that have accounts.
pub(super) fn domains(context: &dyn PipeContext) -> Vec<Domain> {
    [Some(machine(context)), built_in()]
        .into_iter()
        .flatten()
        .collect()
}

fn as_account(domain: Domain) -> Account {
    Account {
        sid: domain.sid,
        domain,
        name: String::new(),
        kind: AccountKind::Domain as u16,
    }
}

pub(super) fn by_sid(context: &dyn PipeContext, sid: &Sid) -> Option<Account> {
    if let Some(domain) = domains(context)
        .into_iter()
        .find(|domain| domain.sid == *sid)
    {
        return Some(as_account(domain));
    }
    if sid.rid_in(&context.machine_sid()) == Some(NONE_RID) {
        return Some(Account {
            domain: machine(context),
            sid: *sid,
            name: NONE_NAME.to_owned(),
            kind: AccountKind::Group as u16,
        });
    }
    let found = context.sid_name(sid)?;
    let domain = match found.domain {
        AccountDomain::Machine => machine(context),
        AccountDomain::BuiltIn => built_in()?,
        AccountDomain::NtAuthority => Domain {
            name: NT_AUTHORITY.to_owned(),
            sid: Sid::LOCAL_SYSTEM.domain()?,
        },
        AccountDomain::WellKnown => Domain {
            name: String::new(),
            sid: sid.domain()?,
        },
    };
    Some(Account {
        domain,
        sid: *sid,
        name: found.name,
        kind: found.kind as u16,
    })
}

/// A name as people write it: alone, with its domain before or behind it, or a domain's.
pub(super) fn by_name(context: &dyn PipeContext, name: &str) -> Option<Account> {
    let (domain, name) = match (name.split_once('\\'), name.rsplit_once('@')) {
        (Some((domain, name)), _) => (Some(domain), name),
        (None, Some((name, domain))) => (Some(domain), name),
        (None, None) => (None, name),
    };
    let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
    let whole = if name.is_empty() { domain } else { None };
    let asked = whole.unwrap_or(name);
    if whole.is_some() || domain.is_none() {
        let known = domains(context).into_iter();
        if let Some(domain) = known.into_iter().find(|known| same(&known.name, asked)) {
            return Some(as_account(domain));
        }
    }
    let sid = match domain {
        _ if whole.is_some() => None,
        Some(domain) if same(domain, &context.server_name()) && same(name, NONE_NAME) => {
            context.machine_sid().with_rid(NONE_RID)
        }
        _ => context.sid_of(name),
    };
    let account = by_sid(context, &sid?)?;
    let fits = domain.is_none_or(|domain| {
        same(domain, &account.domain.name)
            || (account.domain.sid == context.machine_sid() && same(domain, &context.domain()))
    });
    fits.then_some(account)
}
