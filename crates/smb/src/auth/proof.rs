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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ntlm::vectors::hex;

    /// A logon of Windows in Microsoft's blog "SMB 2 and SMB 3 security in Windows 10: the anatomy of signing and
    /// cryptographic keys".
    const NEGOTIATE: &str =
        "4E544C4D5353500001000000978208E200000000000000000000000000000000060380250000000F";
    const CHALLENGE: &str = "\
        4E544C4D53535000020000000C000C003800000015828AE20D1D8BA31179D00800000000000000005000\
        5000440000000A0092270000000F53005500540033003100310002000C00530055005400330031003100\
        01000C0053005500540033003100310004000C0053005500540033003100310003000C00530055005400\
        33003100310007000800A1A1F5ADCBAED00100000000";
    const AUTHENTICATE: &str = "\
        4E544C4D53535000030000001800180090000000EE00EE00A80000000C000C00580000001A001A006400\
        0000120012007E0000001000100096010000158288E2060380250000000FECAC77A5F385A8BF9C38C706\
        EEEDDCD3530055005400330031003100610064006D0069006E006900730074007200610074006F007200\
        440052004900560045005200330031003100000000000000000000000000000000000000000000000000\
        63078EB639FE03E20A231C3AE3BF23080101000000000000A1A1F5ADCBAED001BC4AD05F223CC90F0000\
        000002000C0053005500540033003100310001000C0053005500540033003100310004000C0053005500\
        540033003100310003000C0053005500540033003100310007000800A1A1F5ADCBAED001060004000200\
        00000800300030000000000000000000000000300000B61FEFCAA857EA57BF1EDCEBF8974B8E0EBA5A6D\
        FD9D07A31D11B548F8C9D0CC0A001000000000000000000000000000000000000900160063006900660073\
        002F005300550054003300310031000000000000000000000000003B9BDFF38F5EE8F9663F11A0F4C03A78";

    #[test]
    fn mic_of_windows_covers_its_three_messages() {
        let message = hex(AUTHENTICATE);
        let parsed = Authenticate::parse(&message).unwrap();
        assert!(parsed.response.unwrap().has_mic);
        let key = hex("270E1BA896585EEB7AF3472D3B4C75A7").try_into().unwrap();
        let exchange = |challenge: &str| Exchange {
            negotiate: hex(NEGOTIATE),
            challenge: hex(challenge),
            server_challenge: [0; 8],
            flags: 0,
        };
        assert!(mic_is_right(&key, &exchange(CHALLENGE), &message));
        assert!(!mic_is_right(&key, &exchange(NEGOTIATE), &message));
    }
}
