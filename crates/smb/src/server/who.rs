//! Whom a session acts for.

use strongroom_identity::{Identity, Token};
use strongroom_vfs::{Credentials, Sid};

/// Somebody who has proved to be an account's user, with the rights of a certain state of the accounts. Another logon
/// or a change of the accounts puts another one in its place.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) credentials: Credentials,
    /// The client gave its name up: what is open stays open, nothing more is had.
    pub(crate) anonymous: bool,
    /// [`Identity::revision`] from before the rights were looked up.
    pub(crate) revision: u64,
}

impl Who {
    /// Its rights are those of `token`.
    pub(crate) fn new(
        name: String,
        token: Token,
        session: strongroom_vfs::SessionId,
        revision: u64,
    ) -> Self {
        let credentials = Credentials {
            user: token.user,
            primary_group: primary_group(&token.groups, &token.user),
            groups: token.groups,
            admin: token.admin,
            session,
        };
        Self {
            name,
            credentials,
            anonymous: false,
            revision,
        }
    }

    /// Nobody in particular: not even Everyone, as on Windows.
    pub(crate) fn nobody(session: strongroom_vfs::SessionId, revision: u64) -> Self {
        let credentials = Credentials {
            user: Sid::ANONYMOUS,
            primary_group: Sid::ANONYMOUS,
            groups: vec![Sid::ANONYMOUS, Sid::NETWORK],
            admin: false,
            session,
        };
        Self {
            name: "ANONYMOUS LOGON".to_owned(),
            credentials,
            anonymous: true,
            revision,
        }
    }

    /// The same with the rights that it has now; None when there is no such user any more or it is disabled.
    pub(crate) fn refreshed(&self, identity: &Identity) -> Option<Self> {
        let revision = identity.revision();
        let session = self.credentials.session;
        if self.anonymous {
            return Some(Self::nobody(session, revision));
        }
        let token = identity.token(&self.credentials.user)?;
        Some(Self::new(self.name.clone(), token, session, revision))
    }
}

/// The built-in Users group owns what a user makes, where there is no better one.
fn primary_group(groups: &[Sid], user: &Sid) -> Sid {
    if groups.contains(&Sid::USERS) {
        Sid::USERS
    } else {
        *user
    }
}
