//! SIDs that every Windows knows, and their names.

use crate::{AccountDomain, AccountKind, Sid, SidName, names};

struct WellKnown {
    sid: Sid,
    name: &'static str,
    domain: AccountDomain,
    kind: AccountKind,
}

const fn group(sid: Sid, name: &'static str, domain: AccountDomain) -> WellKnown {
    WellKnown {
        sid,
        name,
        domain,
        kind: AccountKind::WellKnownGroup,
    }
}

const fn alias(sid: Sid, name: &'static str) -> WellKnown {
    WellKnown {
        sid,
        name,
        domain: AccountDomain::BuiltIn,
        kind: AccountKind::Alias,
    }
}

/// MS-DTYP 2.4.2.4.
const ALL: &[WellKnown] = &[
    group(Sid::NULL, "NULL SID", AccountDomain::WellKnown),
    group(Sid::EVERYONE, "Everyone", AccountDomain::WellKnown),
    group(
        Sid::CREATOR_OWNER,
        "CREATOR OWNER",
        AccountDomain::WellKnown,
    ),
    group(
        Sid::CREATOR_GROUP,
        "CREATOR GROUP",
        AccountDomain::WellKnown,
    ),
    group(Sid::OWNER_RIGHTS, "OWNER RIGHTS", AccountDomain::WellKnown),
    group(Sid::NETWORK, "NETWORK", AccountDomain::NtAuthority),
    group(
        Sid::ANONYMOUS,
        "ANONYMOUS LOGON",
        AccountDomain::NtAuthority,
    ),
    group(
        Sid::AUTHENTICATED_USERS,
        "Authenticated Users",
        AccountDomain::NtAuthority,
    ),
    group(Sid::LOCAL_SYSTEM, "SYSTEM", AccountDomain::NtAuthority),
    alias(Sid::ADMINISTRATORS, "Administrators"),
    alias(Sid::USERS, "Users"),
    alias(Sid::GUESTS, "Guests"),
    alias(Sid::BACKUP_OPERATORS, "Backup Operators"),
];

pub(crate) fn name_of(sid: &Sid) -> Option<SidName> {
    let known = ALL.iter().find(|known| known.sid == *sid)?;
    Some(SidName {
        name: known.name.to_owned(),
        domain: known.domain,
        kind: known.kind,
    })
}

pub(crate) fn sid_of(name: &str) -> Option<Sid> {
    let folded = names::fold(name);
    ALL.iter()
        .find(|known| names::fold(known.name) == folded)
        .map(|known| known.sid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_sid_and_none_can_be_an_account() {
        for known in ALL {
            assert_eq!(sid_of(&known.name.to_uppercase()), Some(known.sid));
            assert_eq!(name_of(&known.sid).unwrap().name, known.name);
            assert!(names::check(known.name).is_err(), "{}", known.name);
        }
    }
}
