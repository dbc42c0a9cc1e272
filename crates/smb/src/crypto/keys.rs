//! From the session key of a logon to the keys of a session (MS-SMB2 3.1.4.2, NIST SP 800-108).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::cipher::{Cipher, CipherAlgorithm, Side};
use super::preauth::PreauthHash;
use super::signing::{SigningAlgorithm, SigningKey};

/// What a logon agreed on: 16 bytes from NTLM, up to 32 from Kerberos.
#[derive(Clone)]
pub struct SessionKey {
    bytes: Zeroizing<[u8; 32]>,
    len: usize,
}

impl SessionKey {
    /// Bytes past the 32nd are not used by any derivation and are dropped.
    pub fn new(key: &[u8]) -> Self {
        let len = key.len().min(32);
        let mut bytes = Zeroizing::new([0; 32]);
        bytes[..len].copy_from_slice(&key[..len]);
        SessionKey { bytes, len }
    }

    /// `Session.SessionKey`: the first 16 bytes, padded with zeroes (MS-SMB2 3.3.5.5.3).
    pub fn short(&self) -> &[u8] {
        &self.bytes[..16]
    }

    /// `Session.FullSessionKey`, from which AES-256 keys are derived.
    pub fn full(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// How a dialect makes keys of the session key.
#[derive(Debug, Clone, Copy)]
pub enum Derivation<'a> {
    /// 2.0.2 and 2.1: the session key itself signs.
    None,
    /// 3.0 and 3.0.2: fixed labels and contexts.
    Smb30,
    /// 3.1.1: the session's preauthentication hash (for a binding, the new channel's) is the context.
    Smb311(&'a PreauthHash),
}

/// All keys of one session, or the signing key of one channel.
pub struct SessionKeys {
    pub signing: Arc<SigningKey>,
    /// None without a negotiated cipher and below 3.0. Made once a session: see [`Cipher`].
    pub cipher: Option<Cipher>,
    /// `Session.ApplicationKey`: what upper layers get as the session key.
    pub application: Zeroizing<[u8; 16]>,
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKeys")
            .field("signing", &self.signing)
            .field("cipher", &self.cipher)
            .finish_non_exhaustive()
    }
}

/// A use of a derived key: its label and context under 3.0 and its label under 3.1.1.
struct Purpose {
    label_30: &'static [u8],
    context_30: &'static [u8],
    label_311: &'static [u8],
}

const SIGNING: Purpose = Purpose {
    label_30: b"SMB2AESCMAC\0",
    context_30: b"SmbSign\0",
    label_311: b"SMBSigningKey\0",
};
const APPLICATION: Purpose = Purpose {
    label_30: b"SMB2APP\0",
    context_30: b"SmbRpc\0",
    label_311: b"SMBAppKey\0",
};
/// The context's blank is in the specification.
const CLIENT_TO_SERVER: Purpose = Purpose {
    label_30: b"SMB2AESCCM\0",
    context_30: b"ServerIn \0",
    label_311: b"SMBC2SCipherKey\0",
};
const SERVER_TO_CLIENT: Purpose = Purpose {
    label_30: b"SMB2AESCCM\0",
    context_30: b"ServerOut\0",
    label_311: b"SMBS2CCipherKey\0",
};

impl SessionKeys {
    /// Derives everything for a server. `signing` is ignored below 3.1.1: the dialect decides.
    pub fn derive(
        key: &SessionKey,
        derivation: Derivation<'_>,
        signing: SigningAlgorithm,
        cipher: Option<CipherAlgorithm>,
    ) -> Self {
        SessionKeys {
            signing: Arc::new(signing_key(key, derivation, signing)),
            cipher: cipher
                .and_then(|algorithm| cipher_of(key, derivation, algorithm, Side::Server)),
            application: derivation.derive(key.short(), &APPLICATION),
        }
    }

    /// The same keys as a client uses them; for peers in tests.
    pub fn derive_for_client(
        key: &SessionKey,
        derivation: Derivation<'_>,
        signing: SigningAlgorithm,
        cipher: Option<CipherAlgorithm>,
    ) -> Self {
        let server = SessionKeys::derive(key, derivation, signing, None);
        let cipher =
            cipher.and_then(|algorithm| cipher_of(key, derivation, algorithm, Side::Client));
        SessionKeys { cipher, ..server }
    }
}

fn signing_key(
    key: &SessionKey,
    derivation: Derivation<'_>,
    negotiated: SigningAlgorithm,
) -> SigningKey {
    let algorithm = match derivation {
        Derivation::None => SigningAlgorithm::HmacSha256,
        Derivation::Smb30 => SigningAlgorithm::AesCmac,
        Derivation::Smb311(_) => negotiated,
    };
    SigningKey::new(algorithm, &derivation.derive(key.short(), &SIGNING))
}

fn cipher_of(
    key: &SessionKey,
    derivation: Derivation<'_>,
    algorithm: CipherAlgorithm,
    side: Side,
) -> Option<Cipher> {
    if matches!(derivation, Derivation::None) {
        return None;
    }
    Some(if algorithm.key_len() == 32 {
        let to_server = derivation.derive::<32>(key.full(), &CLIENT_TO_SERVER);
        let to_client = derivation.derive::<32>(key.full(), &SERVER_TO_CLIENT);
        Cipher::new(algorithm, side, &*to_server, &*to_client)
    } else {
        let to_server = derivation.derive::<16>(key.short(), &CLIENT_TO_SERVER);
        let to_client = derivation.derive::<16>(key.short(), &SERVER_TO_CLIENT);
        Cipher::new(algorithm, side, &*to_server, &*to_client)
    })
}

impl Derivation<'_> {
    fn derive<const LEN: usize>(self, key: &[u8], purpose: &Purpose) -> Zeroizing<[u8; LEN]> {
        match self {
            Derivation::None => {
                let mut same = Zeroizing::new([0; LEN]);
                let shared = key.len().min(LEN);
                same[..shared].copy_from_slice(&key[..shared]);
                same
            }
            Derivation::Smb30 => counter_kdf(key, purpose.label_30, purpose.context_30),
            Derivation::Smb311(hash) => counter_kdf(key, purpose.label_311, hash.as_bytes()),
        }
    }
}

/// SP 800-108 in counter mode, HMAC-SHA256, r = 32: one block `1 || label || 0 || context || L`, L in bits.
///
/// `label` carries its own final zero, as MS-SMB2 counts it.
fn counter_kdf<const LEN: usize>(key: &[u8], label: &[u8], context: &[u8]) -> Zeroizing<[u8; LEN]> {
    const { assert!(LEN == 16 || LEN == 32, "one HMAC-SHA256 block holds it") };
    let bits: u32 = if LEN == 16 { 128 } else { 256 };
    let mut block = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in [
        &1_u32.to_be_bytes(),
        label,
        &[0],
        context,
        &bits.to_be_bytes(),
    ] {
        block.update(part);
    }
    let mut derived = Zeroizing::new([0; LEN]);
    derived.copy_from_slice(&block.sign().as_ref()[..LEN]);
    derived
}

/// The derived keys themselves.
#[cfg(test)]
pub(super) struct RawKeys {
    pub(super) signing: [u8; 16],
    pub(super) to_server: [u8; 16],
    pub(super) to_server_256: [u8; 32],
    pub(super) to_client: [u8; 16],
    pub(super) application: [u8; 16],
}

#[cfg(test)]
pub(super) fn raw_keys_for_test(key: &SessionKey, derivation: Derivation<'_>) -> RawKeys {
    RawKeys {
        signing: *derivation.derive(key.short(), &SIGNING),
        to_server: *derivation.derive(key.short(), &CLIENT_TO_SERVER),
        to_server_256: *derivation.derive(key.full(), &CLIENT_TO_SERVER),
        to_client: *derivation.derive(key.short(), &SERVER_TO_CLIENT),
        application: *derivation.derive(key.short(), &APPLICATION),
    }
}
