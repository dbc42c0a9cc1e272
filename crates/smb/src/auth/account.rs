//! Whom a client says it is, and where the acceptor learns that account's secret.

use std::net::IpAddr;

use strongroom_device::Timestamp;
use strongroom_identity::{Identity, NtHash};

/// No account's name is longer.
const SHOWN_CHARS_MAX: usize = 64;

/// The account that a client named, as it named it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountName {
    /// Empty where the client gave none.
    pub domain: String,
    pub user: String,
}

impl AccountName {
    /// From the two fields of a logon. People also write `DOMAIN\\user` and `user@domain` where the user alone belongs;
    /// no account's own name contains either sign.
    pub(super) fn of_fields(domain: &str, user: &str) -> Self {
        let (domain, user) = match (user.split_once('\\'), user.split_once('@')) {
            (Some((written, bare)), _) => (written, bare),
            (None, Some((bare, written))) if domain.is_empty() => (written, bare),
            (None, Some((bare, _))) => (domain, bare),
            (None, None) => (domain, user),
        };
        AccountName {
            domain: domain.to_owned(),
            user: user.to_owned(),
        }
    }

    /// The user's name so that no client can write lines of its own into a log, or long ones.
    pub(super) fn for_logs(&self) -> String {
        format!(
            "{:?}",
            self.user.chars().take(SHOWN_CHARS_MAX).collect::<String>()
        )
    }
}

/// What is known of an account.
#[derive(Debug)]
pub enum Account {
    Known(NtHash),
    /// Absent or disabled. The acceptor still does all the work, so that time tells nothing.
    Unknown,
    /// Too many failures lately: refused whatever the proof.
    Throttled,
}

/// Where the acceptor looks accounts up.
pub trait Accounts {
    /// Called once a logon, before the proof is checked; counts as a failure until [`Accounts::succeeded`].
    fn begin(&self, name: &AccountName) -> Account;
    /// The proof was right.
    fn succeeded(&self, name: &AccountName);
}

/// The accounts of the pool, throttled by name and by the client's address.
#[derive(Debug)]
pub struct IdentityAccounts<'a> {
    pub identity: &'a Identity,
    pub address: IpAddr,
    pub now: Timestamp,
}

impl Accounts for IdentityAccounts<'_> {
    fn begin(&self, name: &AccountName) -> Account {
        if self
            .identity
            .throttle()
            .attempt(&name.user, self.address, self.now)
            .is_err()
        {
            return Account::Throttled;
        }
        self.identity
            .nt_hash_of(&name.user)
            .map_or(Account::Unknown, Account::Known)
    }

    fn succeeded(&self, name: &AccountName) {
        self.identity.throttle().succeeded(&name.user, self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_show_names_escaped_and_short() {
        let name = AccountName::of_fields("", &format!("x\ninjected {}", "y".repeat(1000)));
        assert!(name.for_logs().starts_with("\"x\\ninjected y"));
        assert!(name.for_logs().len() < 80);
    }

    #[test]
    fn users_are_found_however_they_are_written() {
        for (domain, user, expected) in [
            ("OFFICE", "anna", ("OFFICE", "anna")),
            ("", "anna", ("", "anna")),
            ("", "OFFICE\\anna", ("OFFICE", "anna")),
            ("PC7", "OFFICE\\anna", ("OFFICE", "anna")),
            ("", "anna@office.example", ("office.example", "anna")),
            ("PC7", "anna@office.example", ("PC7", "anna")),
        ] {
            let name = AccountName::of_fields(domain, user);
            assert_eq!((name.domain.as_str(), name.user.as_str()), expected);
        }
    }
}
