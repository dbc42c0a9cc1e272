//! Users and groups by number, and their SIDs: one table for both directions.
//!
//! | number | SID |
//! |---|---|
//! | 1,900,000,000 + RID | the account of this pool with that RID |
//! | 1,899,000,000 + RID | the built-in group `S-1-5-32-RID` |
//! | any other | `S-1-22-1-number` for a user, `S-1-22-2-number` for a group |
//!
//! Administrators and the system show as 0. What has no number shows as 65534, and cannot be set by it.

use crate::Sid;

/// `nobody` and `nogroup`.
pub const NOBODY: u32 = 65_534;
const ACCOUNTS: u32 = 1_900_000_000;
const BUILT_IN: u32 = 1_899_000_000;
const RIDS: u32 = 1_000_000;
const BUILT_IN_AUTHORITY: u64 = 5;
const BUILT_IN_DOMAIN: u32 = 32;
const UNIX_AUTHORITY: u64 = 22;

/// A user or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    User,
    Group,
}

/// Numbers and SIDs of one pool.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    machine: Sid,
}

impl Numbers {
    /// Of the pool whose accounts are under this SID.
    pub fn new(machine: Sid) -> Self {
        Self { machine }
    }

    /// The SID that a number stands for.
    pub fn sid(&self, kind: Kind, number: u32) -> Sid {
        let account = number
            .checked_sub(ACCOUNTS)
            .filter(|rid| *rid < RIDS)
            .and_then(|rid| self.machine.with_rid(rid));
        let built_in = number
            .checked_sub(BUILT_IN)
            .filter(|rid| *rid < RIDS)
            .and_then(|rid| Sid::new(BUILT_IN_AUTHORITY, &[BUILT_IN_DOMAIN, rid]).ok());
        account.or(built_in).unwrap_or(match kind {
            Kind::User => Sid::unix_user(number),
            Kind::Group => Sid::unix_group(number),
        })
    }

    /// A group that owns a file has a user's number all the same, and the other way round.
    pub fn number(&self, sid: &Sid) -> u32 {
        if [Sid::ADMINISTRATORS, Sid::LOCAL_SYSTEM].contains(sid) {
            return 0;
        }
        if let Some(rid) = sid.rid_in(&self.machine).filter(|rid| *rid < RIDS) {
            return ACCOUNTS + rid;
        }
        match (sid.authority(), sid.sub_authorities()) {
            (UNIX_AUTHORITY, [1 | 2, number]) => *number,
            (BUILT_IN_AUTHORITY, [BUILT_IN_DOMAIN, rid]) if *rid < RIDS => BUILT_IN + rid,
            _ => NOBODY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Numbers {
        Numbers::new(Sid::machine([1, 2, 3]))
    }

    #[test]
    fn every_number_comes_back() {
        for number in [
            0,
            1,
            1000,
            NOBODY,
            BUILT_IN + 545,
            ACCOUNTS + 1001,
            u32::MAX,
        ] {
            for kind in [Kind::User, Kind::Group] {
                let sid = numbers().sid(kind, number);
                assert_eq!(numbers().number(&sid), number, "{sid}");
            }
        }
    }

    #[test]
    fn accounts_and_groups_have_the_sids_that_smb_knows() {
        let account = Sid::machine([1, 2, 3]).with_rid(1001).unwrap();
        assert_eq!(numbers().sid(Kind::User, ACCOUNTS + 1001), account);
        assert_eq!(numbers().sid(Kind::Group, BUILT_IN + 545), Sid::USERS);
        assert_eq!(numbers().number(&Sid::ADMINISTRATORS), 0);
        assert_eq!(numbers().number(&Sid::EVERYONE), NOBODY);
    }
}
