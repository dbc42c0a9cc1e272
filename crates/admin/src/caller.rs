//! Who asks: through which door, as which account, in which role.

use serde::{Deserialize, Serialize};
use strongroom_identity::Sid;
use strongroom_vfs::{Credentials, SessionId};
use utoipa::ToSchema;

use crate::{Problem, State};

/// What an account is for in administration. What files it may use is another matter: their access lists say that.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its own files and its own account.
    #[default]
    User,
    /// Sees everything, the log of acts too, and changes nothing.
    Auditor,
    /// Keeps the machine running: disks that fail, scrubs, snapshots, alarms, undoing.
    Operator,
    /// Everything.
    Administrator,
}

impl Role {
    pub const ALL: [Role; 4] = [
        Role::User,
        Role::Auditor,
        Role::Operator,
        Role::Administrator,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Auditor => "auditor",
            Role::Operator => "operator",
            Role::Administrator => "administrator",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.word())
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let found = Role::ALL.into_iter().find(|role| role.word() == text);
        found.ok_or_else(|| format!("{text:?} is none of user, auditor, operator, administrator"))
    }
}

/// What a token may be used for, within what its owner's role allows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Looking at the server's state.
    Read,
    /// Changing the server.
    Change,
    /// The owner's files.
    Files,
    /// Figures for a monitoring system, and nothing else.
    Metrics,
    /// Accounts, sessions and tokens: never in a token, so that none can make another.
    #[serde(skip)]
    Account,
}

impl Scope {
    /// Those that a token can have.
    pub const GIVEN: [Scope; 4] = [Scope::Read, Scope::Change, Scope::Files, Scope::Metrics];

    pub fn word(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Change => "change",
            Scope::Files => "files",
            Scope::Metrics => "metrics",
            Scope::Account => "account",
        }
    }
}

/// Whose rights count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Whoever may open the socket in the data directory can read the disks as well.
    Owner,
    Account(Sid),
}

/// One who asks, as the door has found out.
#[derive(Debug, Clone)]
pub struct Caller {
    pub who: Who,
    pub name: String,
    pub role: Role,
    /// None for a person; what a token is limited to.
    pub scopes: Option<Vec<Scope>>,
    /// Where from, for the log of acts; "socket" for the local door.
    pub address: String,
    /// What changes are recorded under.
    pub session: SessionId,
}

impl Caller {
    /// Whoever came through the socket.
    pub fn owner() -> Caller {
        Caller {
            who: Who::Owner,
            name: "owner".to_owned(),
            role: Role::Administrator,
            scopes: None,
            address: "socket".to_owned(),
            session: SessionId::SYSTEM,
        }
    }

    /// Whether a token's limits leave this.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes
            .as_ref()
            .is_none_or(|scopes| scopes.contains(&scope))
    }

    /// The rights over files that this caller has now.
    ///
    /// Errors: the account is gone or disabled.
    pub fn credentials(&self, state: &State) -> Result<Credentials, Problem> {
        let Who::Account(sid) = &self.who else {
            return Ok(Credentials::system());
        };
        let token = state.identity.token(sid);
        let token =
            token.ok_or_else(|| Problem::unauthorized("this account cannot sign in any more"))?;
        let primary_group = if token.groups.contains(&Sid::USERS) {
            Sid::USERS
        } else {
            token.user
        };
        Ok(Credentials {
            user: token.user,
            primary_group,
            groups: token.groups,
            admin: token.admin,
            session: self.session,
        })
    }
}
