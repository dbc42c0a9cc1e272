//! What is told about accounts; no secret is in here.

use crate::Sid;

/// A user of this pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub sid: Sid,
    /// As it was given; compared without case.
    pub name: String,
    /// Member of the built-in Administrators.
    pub admin: bool,
    /// Cannot log on.
    pub disabled: bool,
    /// The groups made here that it is a member of, sorted.
    pub groups: Vec<Sid>,
}

/// A user to be made.
#[derive(Clone, Copy)]
pub struct NewUser<'a> {
    pub name: &'a str,
    pub password: &'a str,
    pub admin: bool,
}

impl std::fmt::Debug for NewUser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A group, built in or made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub sid: Sid,
    pub name: String,
    /// Users, sorted.
    pub members: Vec<Sid>,
    /// Cannot be removed.
    pub built_in: bool,
}

/// Who a logged-on user is to access checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub user: Sid,
    /// Own groups, Everyone, Authenticated Users, Network, Users and, for an administrator, Administrators.
    pub groups: Vec<Sid>,
    pub admin: bool,
}

/// A SID as people know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidName {
    pub name: String,
    pub domain: AccountDomain,
    pub kind: AccountKind,
}

/// Whose account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountDomain {
    /// This machine: the server's own name stands for it.
    Machine,
    /// "BUILTIN".
    BuiltIn,
    /// "NT AUTHORITY".
    NtAuthority,
    /// None, as for Everyone.
    WellKnown,
}

/// SID_NAME_USE (MS-LSAT 2.2.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    User = 1,
    Group = 2,
    Domain = 3,
    Alias = 4,
    WellKnownGroup = 5,
}
