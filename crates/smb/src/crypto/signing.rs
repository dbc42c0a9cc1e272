//! Signing of SMB2 messages (MS-SMB2 3.1.4.1) and its verification (3.1.5.1).

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{cmac, hmac};
use subtle::ConstantTimeEq as _;

/// Offsets in the SMB2 header (MS-SMB2 2.2.1).
const HEADER_LEN: usize = 64;
const COMMAND: usize = 12;
const FLAGS: usize = 16;
const MESSAGE_ID: usize = 24;
const SIGNATURE: std::ops::Range<usize> = 48..64;
const FLAG_SERVER_TO_REDIR: u32 = 0x1;
const FLAG_SIGNED: u32 = 0x8;
const COMMAND_CANCEL: u16 = 0x000C;

/// The algorithms of SMB2_SIGNING_CAPABILITIES (MS-SMB2 2.2.3.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    HmacSha256,
    AesCmac,
    AesGmac,
}

impl SigningAlgorithm {
    pub fn from_id(id: u16) -> Option<Self> {
        [Self::HmacSha256, Self::AesCmac, Self::AesGmac]
            .get(usize::from(id))
            .copied()
    }

    pub fn id(self) -> u16 {
        match self {
            Self::HmacSha256 => 0,
            Self::AesCmac => 1,
            Self::AesGmac => 2,
        }
    }

    /// As people know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "HMAC-SHA256",
            Self::AesCmac => "AES-128-CMAC",
            Self::AesGmac => "AES-128-GMAC",
        }
    }
}

/// Who made a message. A message that comes back to its maker is refused, as both sign with one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message's signature is wrong")]
pub struct BadSignature;

/// A signing key with its schedule, of a session or a channel.
pub struct SigningKey {
    mac: MessageMac,
}

pub(super) enum MessageMac {
    /// Boxed: its two midstates are large.
    Hmac(Box<hmac::Key>),
    Cmac(cmac::Key),
    Gmac(LessSafeKey),
}

impl SigningKey {
    pub fn new(algorithm: SigningAlgorithm, key: &[u8; 16]) -> Self {
        SigningKey {
            mac: MessageMac::new(algorithm, key),
        }
    }

    pub fn algorithm(&self) -> SigningAlgorithm {
        match self.mac {
            MessageMac::Hmac(_) => SigningAlgorithm::HmacSha256,
            MessageMac::Cmac(_) => SigningAlgorithm::AesCmac,
            MessageMac::Gmac(_) => SigningAlgorithm::AesGmac,
        }
    }

    /// Signs one message in place: sets SMB2_FLAGS_SIGNED and fills the signature.
    ///
    /// `message` runs from its SMB2 header to its end; in a compound to the next header, padding included. The sender's
    /// role, the message id and the command are read from the header.
    ///
    /// # Panics
    /// If `message` is shorter than an SMB2 header: we made it.
    pub fn sign(&self, message: &mut [u8]) {
        assert!(message.len() >= HEADER_LEN, "a message has a header");
        message[FLAGS] |= FLAG_SIGNED.to_le_bytes()[0];
        message[SIGNATURE].fill(0);
        let signature = self.mac.compute(message);
        message[SIGNATURE].copy_from_slice(&signature);
    }

    /// Checks the signature in constant time; `message` as for [`SigningKey::sign`], and the same afterwards.
    pub fn verify(&self, message: &mut [u8], sender: Sender) -> Result<(), BadSignature> {
        if message.len() < HEADER_LEN || sender_of(message) != sender {
            return Err(BadSignature);
        }
        let mut signature = [0; 16];
        signature.copy_from_slice(&message[SIGNATURE]);
        message[SIGNATURE].fill(0);
        let expected = self.mac.compute(message);
        message[SIGNATURE].copy_from_slice(&signature);
        if bool::from(expected.ct_eq(&signature)) {
            Ok(())
        } else {
            Err(BadSignature)
        }
    }

    #[cfg(test)]
    pub(super) fn mac_for_test(&self, message: &[u8]) -> [u8; 16] {
        self.mac.compute(message)
    }
}

impl MessageMac {
    pub(super) fn new(algorithm: SigningAlgorithm, key: &[u8; 16]) -> Self {
        match algorithm {
            SigningAlgorithm::HmacSha256 => {
                MessageMac::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
            }
            SigningAlgorithm::AesCmac => {
                MessageMac::Cmac(cmac::Key::new(cmac::AES_128, key).expect("a key of 16 bytes"))
            }
            SigningAlgorithm::AesGmac => {
                let key = UnboundKey::new(&AES_128_GCM, key).expect("a key of 16 bytes");
                MessageMac::Gmac(LessSafeKey::new(key))
            }
        }
    }

    /// The MAC of a message whose signature field is zero.
    fn compute(&self, message: &[u8]) -> [u8; 16] {
        let mut signature = [0; 16];
        match self {
            MessageMac::Hmac(key) => {
                signature.copy_from_slice(&hmac::sign(key, message).as_ref()[..16]);
            }
            MessageMac::Cmac(key) => {
                let tag = cmac::sign(key, message).expect("CMAC takes any length");
                signature.copy_from_slice(tag.as_ref());
            }
            MessageMac::Gmac(key) => signature = gmac(key, gmac_nonce(message), message),
        }
        signature
    }
}

/// GCM of nothing but additional data.
pub(super) fn gmac(key: &LessSafeKey, nonce: [u8; 12], message: &[u8]) -> [u8; 16] {
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(message), &mut [])
        .expect("GMAC takes any length in memory");
    let mut signature = [0; 16];
    signature.copy_from_slice(tag.as_ref());
    signature
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ..)", self.algorithm().name())
    }
}

fn sender_of(message: &[u8]) -> Sender {
    let from_server = message[FLAGS] & FLAG_SERVER_TO_REDIR.to_le_bytes()[0] != 0;
    if from_server {
        Sender::Server
    } else {
        Sender::Client
    }
}

/// MS-SMB2 3.1.4.1: the message id in 8 bytes, then 32 bits of which bit 0 tells the server's messages and bit 1 a
/// CANCEL request (it carries the id of the request that it cancels).
fn gmac_nonce(message: &[u8]) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&message[MESSAGE_ID..MESSAGE_ID + 8]);
    let server = sender_of(message) == Sender::Server;
    let cancel = message[COMMAND..COMMAND + 2] == COMMAND_CANCEL.to_le_bytes();
    nonce[8] = u8::from(server) | (u8::from(cancel) << 1);
    nonce
}
