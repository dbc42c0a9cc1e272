//! Logons by Kerberos (RFC 4121, MS-KILE): the ticket is judged by somebody else, who has the keys; here it is found in
//! SPNEGO's token, and its principal becomes an account.

use std::fmt;
use std::sync::Arc;

use strongroom_identity::Sid;
use zeroize::Zeroizing;

use super::account::AccountName;

/// Judges tickets.
pub trait Kerberos: Send + Sync + fmt::Debug {
    /// Takes the only token of a client (an AP-REQ in GSS-API's frame).
    fn accept(&self, token: &[u8]) -> Result<KerberosAccepted, KerberosError>;
}

/// A ticket that is good.
#[derive(Debug)]
pub struct KerberosAccepted {
    /// As `user@REALM`.
    pub principal: String,
    /// GSS_C_INQ_SSPI_SESSION_KEY: the subkey that the two sides agreed on.
    pub session_key: Zeroizing<Vec<u8>>,
    /// The groups that the ticket says its holder is in.
    pub groups: Vec<Sid>,
    /// What proves the server to the client; may be empty.
    pub token: Vec<u8>,
}

/// Why a ticket is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KerberosError(String);

impl KerberosError {
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Kerberos as a server takes it.
#[derive(Debug, Clone)]
pub struct KerberosConfig {
    pub tickets: Arc<dyn Kerberos>,
    /// Principals of this realm are the accounts of the same name; those of others are nobody.
    pub realm: String,
}

impl KerberosConfig {
    /// The account of a principal: one name in the server's realm. An instance (`ada/admin`) is somebody else, and what
    /// the library had to escape is no account's name.
    pub(super) fn account_of(&self, principal: &str) -> Option<AccountName> {
        let (user, realm) = principal.rsplit_once('@')?;
        let plain = !user.is_empty() && !user.contains(['/', '\\', '@']);
        (plain && realm == self.realm).then(|| AccountName {
            domain: realm.to_owned(),
            user: user.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl Kerberos for Nobody {
        fn accept(&self, _: &[u8]) -> Result<KerberosAccepted, KerberosError> {
            Err(KerberosError::new("no"))
        }
    }

    #[test]
    fn only_plain_principals_of_the_realm_are_accounts() {
        let config = KerberosConfig {
            tickets: Arc::new(Nobody),
            realm: "OFFICE.TEST".into(),
        };
        let user = |principal| config.account_of(principal).map(|name| name.user);
        assert_eq!(user("ada@OFFICE.TEST"), Some("ada".into()));
        for other in [
            "ada@ELSEWHERE.TEST",
            "ada@office.test",
            "ada/admin@OFFICE.TEST",
            "ada\\@x@OFFICE.TEST",
            "ada@x@OFFICE.TEST",
            "@OFFICE.TEST",
            "ada",
            "",
        ] {
            assert_eq!(user(other), None, "{other}");
        }
    }
}
