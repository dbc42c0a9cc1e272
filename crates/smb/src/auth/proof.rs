//! Whether an AUTHENTICATE_MESSAGE proves that the client knows the password (MS-NLMP 3.2.5.1.2, 3.3.2).

use strongroom_identity::NtHash;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::acceptor::{AcceptorConfig, AuthError};
use super::account::{Account, AccountName, Accounts};
use super::ntlm::flags;
use super::ntlm::hash::{hmac_md5, nt_proof, ntowf_v2};
use super::ntlm::messages::{Authenticate, MIC};
use super::ntlm::rc4::Rc4;

/// Stands for the hash of a user who is not there, so that the work is the same. Knowing it opens nothing.
const NOBODY: [u8; 16] = [0x5A; 16];

/// What went before the AUTHENTICATE_MESSAGE.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) negotiate: Vec<u8>,
    pub(super) challenge: Vec<u8>,
    pub(super) server_challenge: [u8; 8],
    pub(super) flags: u32,
}

/// A client that knows the password.
pub(super) struct Proved {
    pub(super) name: AccountName,
    pub(super) exported_key: Zeroizing<[u8; 16]>,
    /// What both sides negotiated.
    pub(super) flags: u32,
}

/// Judges the proof, then the MIC where one is announced. `bytes` are those of `message`.
pub(super) fn check(
    config: &AcceptorConfig,
    exchange: &Exchange,
    bytes: &[u8],
    message: &Authenticate<'_>,
    accounts: &dyn Accounts,
) -> Result<Proved, AuthError> {
    let response = message.response.as_ref().ok_or(AuthError::Anonymous)?;
    let user = String::from_utf16_lossy(&message.user);
    let name = AccountName::of_fields(&String::from_utf16_lossy(&message.domain), &user);
    let (nt_hash, known) = match accounts.begin(&name) {
        Account::Known(nt_hash) => (nt_hash, config.takes_domain(&name.domain)),
        Account::Unknown => (NtHash::new(NOBODY), false),
        Account::Throttled => return Err(AuthError::Throttled(name)),
    };
    let key = ntowf_v2(&nt_hash, &message.user, &message.domain);
    let expected = nt_proof(&key, &exchange.server_challenge, response.temp);
    let base_key = hmac_md5(&*key, &[&expected]);
    let proved = expected.ct_eq(response.proof) & u8::from(known).ct_eq(&1);
    if !bool::from(proved) {
        return Err(AuthError::Denied(name));
    }
    let flags = message.flags & exchange.flags;
    let exported_key = exported_key(&base_key, flags, message.encrypted_key)?;
    if response.has_mic && !mic_is_right(&exported_key, exchange, bytes) {
        return Err(AuthError::Integrity);
    }
    accounts.succeeded(&name);
    Ok(Proved {
        name,
        exported_key,
        flags,
    })
}

/// ExportedSessionKey: the client's random key under RC4 where keys are exchanged, else the base key. For NTLMv2 the
/// base key is the key exchange key (MS-NLMP 3.4.5.1).
pub(super) fn exported_key(
    base_key: &[u8; 16],
    negotiated: u32,
    encrypted: &[u8],
) -> Result<Zeroizing<[u8; 16]>, AuthError> {
    if negotiated & flags::KEY_EXCH == 0 {
        return Ok(Zeroizing::new(*base_key));
    }
    // A client that neither signs nor seals exchanges no key, whatever that flag says (MS-NLMP 3.1.5.1.2).
    if encrypted.is_empty() && negotiated & (flags::SIGN | flags::SEAL) == 0 {
        return Ok(Zeroizing::new(*base_key));
    }
    let mut key: Zeroizing<[u8; 16]> = Zeroizing::new(
        encrypted
            .try_into()
            .map_err(|_| AuthError::Malformed("a session key of wrong size"))?,
    );
    Rc4::new(base_key).apply(&mut *key);
    Ok(key)
}

/// HMAC-MD5 over the three messages, the last with its MIC zeroed (MS-NLMP 3.2.5.1.2).
fn mic_is_right(exported_key: &[u8; 16], exchange: &Exchange, authenticate: &[u8]) -> bool {
    let (Some(head), Some(mic), Some(tail)) = (
        authenticate.get(..MIC.start),
        authenticate.get(MIC),
        authenticate.get(MIC.end..),
    ) else {
        return false;
    };
    let parts = [
        &exchange.negotiate,
        &exchange.challenge,
        head,
        &[0; 16],
        tail,
    ];
    hmac_md5(exported_key, &parts).as_slice().ct_eq(mic).into()
}
