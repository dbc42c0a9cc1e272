//! The machine that takes a client's tokens one after the other.

use std::sync::Arc;

use strongroom_device::Timestamp;
use strongroom_identity::Sid;

use super::account::{AccountName, Accounts};
use super::der::BadDer;
use super::kerberos::KerberosConfig;
use super::ntlm::messages::{self, Authenticate, BadMessage, Challenge};
use super::ntlm::signing::{Direction, Signer};
use super::proof::{self, Exchange};
use super::spnego::{self, NegState, NegTokenInit, NegTokenResp};
use crate::crypto::SessionKey;

/// SESSION_SETUP cannot carry more.
const TOKEN_LEN_MAX: usize = 0xFFFF;
/// A NEGOTIATE_MESSAGE is kept until the logon ends, and so is the list of mechanisms; both are short (MS-NLMP 2.2.1.1,
/// RFC 4178 4.2.1), and whoever sends them has not proved anything yet.
const KEPT_LEN_MAX: usize = 2048;

/// Bytes of the weakest key that a session is protected with.
const SESSION_KEY_MIN: usize = 16;

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
#[derive(Debug, Clone)]
pub struct AcceptorConfig {
    /// At most 15 characters, upper case.
    pub netbios_name: String,
    pub netbios_domain: String,
    pub dns_name: String,
    pub dns_domain: String,
    pub domains: Domains,
    /// Whether a client without any account may enter (and then see IPC$ only). Off by default.
    pub anonymous: bool,
    /// Whether NTLM is taken.
    pub ntlm: bool,
    /// Whether Kerberos is taken, and by whose judgement.
    pub kerberos: Option<KerberosConfig>,
}

impl AcceptorConfig {
    /// Whether a client may name this domain.
    pub(super) fn takes_domain(&self, domain: &str) -> bool {
        let Domains::Only(others) = &self.domains else {
            return true;
        };
        let own = [
            &self.netbios_name,
            &self.netbios_domain,
            &self.dns_name,
            &self.dns_domain,
        ];
        let equals = |name: &String| name.to_lowercase() == domain.to_lowercase();
        matches!(domain, "" | ".") || own.into_iter().chain(others).any(equals)
    }

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
            ntlm: true,
            kerberos: None,
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
    /// The groups that its ticket says it is in.
    pub groups: Vec<Sid>,
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
    #[error("wrong user name or password for {}", .0.for_logs())]
    Denied(AccountName),
    /// STATUS_LOGON_FAILURE.
    #[error("too many failed logons of {}", .0.for_logs())]
    Throttled(AccountName),
    /// STATUS_LOGON_FAILURE.
    #[error("the client gave no user name, and anonymous logons are off")]
    Anonymous,
    /// STATUS_LOGON_FAILURE: someone changed a message on its way.
    #[error("the messages' integrity code is wrong")]
    Integrity,
    /// STATUS_LOGON_FAILURE.
    #[error("the Kerberos ticket is refused: {0:?}")]
    Ticket(String),
}

/// One logon under way.
#[derive(Debug)]
pub struct AcceptState {
    config: Arc<AcceptorConfig>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing has come yet.
    Start,
    /// The mechanism is agreed on, its first message has not come.
    Negotiate(Wrapping),
    /// The challenge is out.
    Authenticate(Wrapping, Exchange),
    /// The client has proved itself but owes a mechListMIC.
    Mic(Box<OwedMic>),
    Over,
}

/// Whether NTLM's messages travel bare or inside SPNEGO.
#[derive(Debug)]
enum Wrapping {
    Bare,
    Spnego {
        mech_list: Vec<u8>,
        /// The client preferred another mechanism, so its list must be proved untouched (RFC 4178 5).
        mic_required: bool,
        /// Our first answer names the mechanism.
        answered: bool,
    },
}

#[derive(Debug)]
struct OwedMic {
    mech_list: Vec<u8>,
    signer: Signer,
    accepted: Accepted,
}

/// The security blob of the NEGOTIATE response: NegTokenInit2 naming the mechanisms (MS-SPNG 2.2.1).
pub fn initial_token(config: &AcceptorConfig) -> Vec<u8> {
    let mut mechanisms = Vec::new();
    if config.kerberos.is_some() {
        mechanisms.extend([spnego::MS_KRB5, spnego::KRB5]);
    }
    if config.ntlm {
        mechanisms.push(spnego::NTLMSSP);
    }
    spnego::init2(&mechanisms)
}

impl AcceptState {
    pub fn new(config: Arc<AcceptorConfig>) -> Self {
        Self {
            config,
            stage: Stage::Start,
        }
    }

    /// Takes the client's next token. After `Done` or an error the machine refuses everything.
    ///
    /// `now` goes into the challenge; `entropy` fills a buffer with randomness.
    pub fn step(
        &mut self,
        token: &[u8],
        now: Timestamp,
        entropy: &mut dyn FnMut(&mut [u8]),
        accounts: &dyn Accounts,
    ) -> Result<Step, AuthError> {
        if token.len() > TOKEN_LEN_MAX {
            self.stage = Stage::Over;
            return Err(AuthError::Malformed("a token is too long"));
        }
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Start if token.starts_with(messages::SIGNATURE) => {
                self.check_ntlm()?;
                self.challenge(Wrapping::Bare, token, now, entropy)
            }
            Stage::Start => self.begin_spnego(token, now, entropy),
            Stage::Negotiate(wrapping) => {
                let inner = NegTokenResp::parse(token)?.response_token;
                let inner = inner.ok_or(AuthError::Malformed("no NTLM message in the token"))?;
                self.challenge(wrapping, inner, now, entropy)
            }
            Stage::Authenticate(wrapping, exchange) => {
                self.authenticate(wrapping, &exchange, token, accounts)
            }
            Stage::Mic(owed) => owed.settle(token),
            Stage::Over => Err(AuthError::Malformed("the logon is over")),
        }
    }

    fn begin_spnego(
        &mut self,
        token: &[u8],
        now: Timestamp,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Step, AuthError> {
        let init = NegTokenInit::parse(token)?;
        if let (Some(kerberos), Some(oid), Some(ticket)) =
            (&self.config.kerberos, init.kerberos, init.mech_token)
        {
            return accept_ticket(kerberos, oid, ticket);
        }
        self.check_ntlm()?;
        let position = init
            .ntlm_at
            .ok_or(AuthError::Unsupported("it does not offer NTLM"))?;
        if init.mech_list.len() > KEPT_LEN_MAX {
            return Err(AuthError::Malformed("the list of mechanisms is too long"));
        }
        let mech_list = init.mech_list.to_vec();
        let mic_required = position > 0;
        match init.mech_token.filter(|_| position == 0) {
            Some(inner) => {
                let wrapping = Wrapping::Spnego {
                    mech_list,
                    mic_required,
                    answered: false,
                };
                self.challenge(wrapping, inner, now, entropy)
            }
            None => {
                let wrapping = Wrapping::Spnego {
                    mech_list,
                    mic_required,
                    answered: true,
                };
                self.stage = Stage::Negotiate(wrapping);
                Ok(Step::Continue(spnego::response(
                    incomplete(mic_required),
                    Some(spnego::NTLMSSP),
                    None,
                    None,
                )))
            }
        }
    }

    fn check_ntlm(&self) -> Result<(), AuthError> {
        if self.config.ntlm {
            Ok(())
        } else {
            Err(AuthError::Unsupported("NTLM is switched off"))
        }
    }

    /// Answers a NEGOTIATE_MESSAGE.
    fn challenge(
        &mut self,
        mut wrapping: Wrapping,
        negotiate: &[u8],
        now: Timestamp,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Step, AuthError> {
        if negotiate.len() > KEPT_LEN_MAX {
            return Err(AuthError::Malformed("the negotiate message is too long"));
        }
        let mut server_challenge = [0; 8];
        let client_flags = messages::parse_negotiate(negotiate)?;
        entropy(&mut server_challenge);
        let challenge = Challenge {
            client_flags,
            challenge: &server_challenge,
            netbios_name: &self.config.netbios_name,
            netbios_domain: &self.config.netbios_domain,
            dns_name: &self.config.dns_name,
            dns_domain: &self.config.dns_domain,
            now,
        };
        let (message, flags) = challenge.encode();
        let token = wrapping.wrap_challenge(&message);
        let negotiate = negotiate.to_vec();
        let exchange = Exchange {
            negotiate,
            challenge: message,
            server_challenge,
            flags,
        };
        self.stage = Stage::Authenticate(wrapping, exchange);
        Ok(Step::Continue(token))
    }

    /// Judges an AUTHENTICATE_MESSAGE.
    fn authenticate(
        &mut self,
        wrapping: Wrapping,
        exchange: &Exchange,
        token: &[u8],
        accounts: &dyn Accounts,
    ) -> Result<Step, AuthError> {
        let (message, mic) = match &wrapping {
            Wrapping::Bare => (token, None),
            Wrapping::Spnego { .. } => {
                let response = NegTokenResp::parse(token)?;
                let missing = AuthError::Malformed("no NTLM message in the token");
                (
                    response.response_token.ok_or(missing)?,
                    response.mech_list_mic,
                )
            }
        };
        let authenticate = Authenticate::parse(message)?;
        if authenticate.response.is_none() {
            return self.anonymous(&wrapping, authenticate);
        }
        let proved = proof::check(&self.config, exchange, message, &authenticate, accounts)?;
        let accepted = Accepted {
            account: Some(proved.name),
            groups: Vec::new(),
            session_key: SessionKey::new(&*proved.exported_key),
            token: Vec::new(),
            workstation: authenticate.workstation,
        };
        let (mech_list, required) = match wrapping {
            Wrapping::Bare => return Ok(Step::Done(accepted)),
            Wrapping::Spnego {
                mech_list,
                mic_required,
                ..
            } => (mech_list, mic_required),
        };
        if mic.is_none() && !required {
            let token = spnego::response(NegState::AcceptCompleted, None, None, None);
            return Ok(Step::Done(Accepted { token, ..accepted }));
        }
        let signer = |direction| Signer::new(&proved.exported_key, proved.flags, direction);
        let ours = signer(Direction::ServerToClient).sign(&mech_list);
        let owed = OwedMic {
            mech_list,
            signer: signer(Direction::ClientToServer),
            accepted,
        };
        match mic {
            Some(mic) => owed.finish(mic, Some(&ours)),
            None => {
                self.stage = Stage::Mic(Box::new(owed));
                let state = NegState::AcceptIncomplete;
                Ok(Step::Continue(spnego::response(
                    state,
                    None,
                    None,
                    Some(&ours),
                )))
            }
        }
    }

    /// A client that names nobody. Its keys are known to everybody (MS-NLMP 3.2.5.1.2).
    fn anonymous(&self, wrapping: &Wrapping, message: Authenticate<'_>) -> Result<Step, AuthError> {
        if !self.config.anonymous {
            return Err(AuthError::Anonymous);
        }
        let key = proof::exported_key(&[0; 16], message.flags, message.encrypted_key)?;
        let token = match wrapping {
            Wrapping::Bare => Vec::new(),
            Wrapping::Spnego { .. } => {
                spnego::response(NegState::AcceptCompleted, None, None, None)
            }
        };
        Ok(Step::Done(Accepted {
            account: None,
            groups: Vec::new(),
            session_key: SessionKey::new(&*key),
            token,
            workstation: message.workstation,
        }))
    }
}

/// Kerberos, which the client likes best, needs one message of each side. The list of mechanisms needs no proof then: what
/// it could have been changed to hide is what was taken (RFC 4178, 5).
fn accept_ticket(kerberos: &KerberosConfig, oid: &[u8], ticket: &[u8]) -> Result<Step, AuthError> {
    let accepted = kerberos.tickets.accept(ticket);
    let accepted = accepted.map_err(|error| AuthError::Ticket(error.to_string()))?;
    let account = kerberos.account_of(&accepted.principal);
    let account = account.ok_or_else(|| {
        AuthError::Ticket(format!(
            "{} is no account of {}",
            accepted.principal, kerberos.realm
        ))
    })?;
    if accepted.session_key.len() < SESSION_KEY_MIN {
        return Err(AuthError::Ticket("its session key is too short".to_owned()));
    }
    let answer = Some(accepted.token.as_slice()).filter(|token| !token.is_empty());
    Ok(Step::Done(Accepted {
        account: Some(account),
        groups: accepted.groups,
        session_key: SessionKey::new(&accepted.session_key),
        token: spnego::response(NegState::AcceptCompleted, Some(oid), answer, None),
        workstation: String::new(),
    }))
}

impl OwedMic {
    fn settle(self, token: &[u8]) -> Result<Step, AuthError> {
        let mic = NegTokenResp::parse(token)?
            .mech_list_mic
            .ok_or(AuthError::Integrity)?;
        self.finish(mic, None)
    }

    fn finish(mut self, mic: &[u8], ours: Option<&[u8]>) -> Result<Step, AuthError> {
        if !self.signer.verify(&self.mech_list, mic) {
            return Err(AuthError::Integrity);
        }
        let token = spnego::response(NegState::AcceptCompleted, None, None, ours);
        Ok(Step::Done(Accepted {
            token,
            ..self.accepted
        }))
    }
}

impl Wrapping {
    fn wrap_challenge(&mut self, message: &[u8]) -> Vec<u8> {
        match self {
            Wrapping::Bare => message.to_vec(),
            Wrapping::Spnego {
                mic_required,
                answered,
                ..
            } => {
                let first = !std::mem::replace(answered, true);
                let state = if first {
                    incomplete(*mic_required)
                } else {
                    NegState::AcceptIncomplete
                };
                spnego::response(state, first.then_some(spnego::NTLMSSP), Some(message), None)
            }
        }
    }
}

/// The state of our first answer (RFC 4178 4.2.2).
fn incomplete(mic_required: bool) -> NegState {
    if mic_required {
        NegState::RequestMic
    } else {
        NegState::AcceptIncomplete
    }
}

impl From<BadDer> for AuthError {
    fn from(_: BadDer) -> Self {
        AuthError::Malformed("not a SPNEGO token")
    }
}

impl From<BadMessage> for AuthError {
    fn from(bad: BadMessage) -> Self {
        match bad {
            BadMessage::Malformed(why) => AuthError::Malformed(why),
            BadMessage::Unsupported(why) => AuthError::Unsupported(why),
        }
    }
}

#[cfg(test)]
mod tests;
