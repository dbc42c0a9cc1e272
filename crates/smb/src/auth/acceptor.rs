//! The machine that takes a client's tokens one after the other.

use std::sync::Arc;

use strongroom_device::Timestamp;

use super::account::{AccountName, Accounts};
use crate::crypto::SessionKey;

/// Which domains a client may name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Domains {
    /// Whatever it names is taken for this machine's own.
    #[default]
    Any,
    /// This machine's names, an empty one, and these.
    Only(Vec<String>),
}

/// How this server presents itself in a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptorConfig {
    /// At most 15 characters, upper case.
    pub netbios_name: String,
    pub netbios_domain: String,
    pub dns_name: String,
    pub dns_domain: String,
    pub domains: Domains,
    /// Whether a client without any account may enter (and then see IPC$ only). Off by default.
    pub anonymous: bool,
}

impl AcceptorConfig {
    /// A server on its own: its name is its domain.
    pub fn standalone(name: &str) -> Self {
        let netbios: String = name.to_uppercase().chars().take(15).collect();
        Self {
            netbios_domain: netbios.clone(),
            netbios_name: netbios,
            dns_name: name.to_lowercase(),
            dns_domain: String::new(),
            domains: Domains::default(),
            anonymous: false,
        }
    }
}

/// What the server answers.
#[derive(Debug)]
pub enum Step {
    /// STATUS_MORE_PROCESSING_REQUIRED with this token.
    Continue(Vec<u8>),
    Done(Accepted),
}

/// A client that has proved who it is.
#[derive(Debug)]
pub struct Accepted {
    /// None for an anonymous client.
    pub account: Option<AccountName>,
    /// ExportedSessionKey (MS-NLMP 3.1.5.1.2); for an anonymous client of no secrecy.
    pub session_key: SessionKey,
    /// The last token, to be sent with STATUS_SUCCESS; may be empty.
    pub token: Vec<u8>,
    /// The client's own name for its machine; never to be trusted.
    pub workstation: String,
}

/// Why a logon ends. The server answers with the status named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// STATUS_INVALID_PARAMETER.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// STATUS_LOGON_FAILURE.
    #[error("the client offers no authentication that this server takes: {0}")]
    Unsupported(&'static str),
    /// STATUS_LOGON_FAILURE: no such user, a disabled one, or a wrong password; which one is not told.
    #[error("wrong user name or password for {}", .0.user)]
    Denied(AccountName),
    /// STATUS_LOGON_FAILURE.
    #[error("too many failed logons of {}", .0.user)]
    Throttled(AccountName),
    /// STATUS_LOGON_FAILURE.
    #[error("the client gave no user name, and anonymous logons are off")]
    Anonymous,
    /// STATUS_LOGON_FAILURE: someone changed a message on its way.
    #[error("the messages' integrity code is wrong")]
    Integrity,
}

/// One logon under way.
#[derive(Debug)]
pub struct AcceptState {
    _config: Arc<AcceptorConfig>,
}

/// The security blob of the NEGOTIATE response: NegTokenInit2 naming NTLMSSP (MS-SPNG 2.2.1).
pub fn initial_token() -> Vec<u8> {
    unimplemented!()
}

impl AcceptState {
    pub fn new(config: Arc<AcceptorConfig>) -> Self {
        Self { _config: config }
    }

    /// Takes the client's next token. After `Done` or an error the machine refuses everything.
    ///
    /// `now` goes into the challenge; `entropy` fills a buffer with randomness.
    pub fn step(
        &mut self,
        _token: &[u8],
        _now: Timestamp,
        _entropy: &mut dyn FnMut(&mut [u8]),
        _accounts: &dyn Accounts,
    ) -> Result<Step, AuthError> {
        unimplemented!()
    }
}
