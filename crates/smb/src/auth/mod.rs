//! Accepting logons: SPNEGO (RFC 4178, MS-SPNG) around NTLMv2 (MS-NLMP) or Kerberos (RFC 4121), or NTLMv2 bare.
//!
//! [`AcceptState`] is a machine without clock, randomness or socket: tokens in, tokens out. NTLMv1, LM and guest
//! are not there at all.

mod acceptor;
mod account;
mod der;
mod kerberos;
mod ntlm;
mod proof;
mod spnego;
#[cfg(test)]
pub(crate) mod testing;

pub use acceptor::{
    AcceptState, Accepted, AcceptorConfig, AuthError, Domains, Step, initial_token,
};
pub use account::{Account, AccountName, Accounts, IdentityAccounts};
pub use kerberos::{Kerberos, KerberosAccepted, KerberosConfig, KerberosError};
