//! Whom a session acts for.

use strongroom_identity::{Identity, Token};
use strongroom_vfs::{Credentials, Sid};

/// Somebody who has proved to be an account's user, with the rights of a certain state of the accounts. Another logon
/// or a change of the accounts puts another one in its place.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) credentials: Credentials,
    /// Those of the groups that a ticket gave, which the accounts know nothing of.
    given: Vec<Sid>,
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
            given: Vec::new(),
            anonymous: false,
            revision,
        }
    }

    /// Also with the groups that a ticket gives. Only domains' groups count: who is in this machine's own and in the
    /// built-in ones is for the accounts to say.
    pub(crate) fn with_groups(mut self, mut given: Vec<Sid>) -> Self {
        let own = self.credentials.user.domain();
        given.retain(|group| is_of_domain(group) && group.domain() != own);
        self.credentials.groups.extend(&given);
        self.given = given;
        self
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
            given: Vec::new(),
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
        let now = Self::new(self.name.clone(), token, session, revision);
        Some(now.with_groups(self.given.clone()))
    }
}

/// Whether it is an account of some domain or machine: S-1-5-21, three numbers of the domain, and one of its own.
fn is_of_domain(sid: &Sid) -> bool {
    let parts = sid.sub_authorities();
    sid.authority() == 5 && parts.len() == 5 && parts.first() == Some(&21)
}

/// The built-in Users group owns what a user makes, where there is no better one.
fn primary_group(groups: &[Sid], user: &Sid) -> Sid {
    if groups.contains(&Sid::USERS) {
        Sid::USERS
    } else {
        *user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_ticket_s_groups_those_of_domains_count() {
        let sid = |text: &str| text.parse::<Sid>().unwrap();
        let token = Token {
            user: sid("S-1-5-21-1-2-3-1001"),
            groups: vec![Sid::EVERYONE, Sid::USERS],
            admin: false,
        };
        let given = [
            "S-1-5-21-7-8-9-513",
            "S-1-5-32-544",
            "S-1-5-18",
            "S-1-18-1",
            "S-1-5-21-1-2-3-512",
            "S-1-5-21-7-8-9",
        ];
        let session = strongroom_vfs::SessionId::SYSTEM;
        let who = Who::new("ada".into(), token, session, 1);
        let who = who.with_groups(given.map(sid).to_vec());
        let group = sid("S-1-5-21-7-8-9-513");
        let expected = [Sid::EVERYONE, Sid::USERS, group];
        assert_eq!(who.credentials.groups, expected);
        assert!(!who.credentials.admin);
        assert_eq!(who.credentials.primary_group, Sid::USERS);
    }
}
