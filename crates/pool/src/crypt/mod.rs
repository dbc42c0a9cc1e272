//! Encryption at rest: one master key a pool, a key of its own for every object.
//!
//! From the master key HKDF (RFC 5869, SHA-256) derives one key for each purpose, and from that, a random nonce and the
//! object's place, a key for that one object: a stripe, an index page, a frame of the log. Inside an object AES-256-GCM
//! counts its parts. So a pair of key and nonce comes again only if the same place is written twice with the same 96
//! random bits: no crash, rewritten block, returned disk or half of a mirror that went its own way repeats one. And what
//! lies in another place, or belongs to another pool, has another key and does not open.

mod keys;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use strongroom_device::Env;
use zeroize::{Zeroize, Zeroizing};

use crate::PoolId;
pub(crate) use keys::WRAPPED_LEN;
pub use keys::{KdfParams, WrappedKey};

/// Bytes of the random part of an object's key.
pub const NONCE_LEN: usize = 12;
/// Bytes that tell whether something was changed.
pub const TAG_LEN: usize = 16;

/// Random, new whenever an object is written.
pub type ObjectNonce = [u8; NONCE_LEN];
pub type Tag = [u8; TAG_LEN];

/// What is encrypted; each has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The payload of a stripe.
    Stripe,
    /// A page or a record of the index.
    Index,
    /// A frame of the log.
    Log,
}

const PURPOSES: usize = 3;

impl Purpose {
    fn place(self) -> usize {
        match self {
            Self::Stripe => 0,
            Self::Index => 1,
            Self::Log => 2,
        }
    }

    /// What HKDF tells it from others by.
    fn label(self) -> &'static [u8] {
        match self {
            Self::Stripe => b"strongroom 1 stripe",
            Self::Index => b"strongroom 1 index",
            Self::Log => b"strongroom 1 log",
        }
    }
}

/// Bytes that were not written so, or not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was changed, or belongs elsewhere")]
pub struct Tampered;

/// The master key, which nothing is encrypted with but keys of purposes. Wiped when dropped.
pub(crate) type Master = Zeroizing<[u8; 32]>;

/// The keys of a pool that was unlocked. Wiped when dropped; never shown.
pub struct Cipher {
    env: Arc<dyn Env>,
    purposes: [[u8; 32]; PURPOSES],
}

impl fmt::Debug for Cipher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Cipher")
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        self.purposes.zeroize();
    }
}

/// HKDF-Expand to 32 bytes. The parts have fixed lengths, so that no two lists of them are one.
fn expand(key: &[u8; 32], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    let prk = Prk::new_less_safe(HKDF_SHA256, key);
    let filled = prk
        .expand(info, HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut derived[..]));
    assert!(filled.is_ok(), "HKDF gives 32 bytes");
    derived
}

impl Cipher {
    pub(crate) fn new(env: Arc<dyn Env>, pool: PoolId, master: &Master) -> Self {
        let mut purposes = [[0; 32]; PURPOSES];
        for purpose in [Purpose::Stripe, Purpose::Index, Purpose::Log] {
            let derived = expand(master, &[purpose.label(), &pool.0]);
            purposes[purpose.place()].copy_from_slice(&derived[..]);
        }
        Self { env, purposes }
    }

    /// A random one, for one object.
    pub fn nonce(&self) -> ObjectNonce {
        let mut nonce = ObjectNonce::default();
        self.env.fill_random(&mut nonce);
        nonce
    }

    /// The key of one object. `place` tells it from all others of its purpose, in parts of fixed lengths.
    pub fn object(&self, purpose: Purpose, nonce: &ObjectNonce, place: &[u64]) -> ObjectKey {
        let place: Vec<u8> = place.iter().flat_map(|word| word.to_le_bytes()).collect();
        let key = expand(&self.purposes[purpose.place()], &[nonce, &place]);
        ObjectKey::new(&key)
    }
}

/// The key of one object.
pub struct ObjectKey(LessSafeKey);

impl fmt::Debug for ObjectKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ObjectKey")
    }
}

fn nonce_of(part: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&part.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl ObjectKey {
    fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key);
        let Ok(key) = key else {
            unreachable!("a key of AES-256 has 32 bytes")
        };
        Self(LessSafeKey::new(key))
    }

    /// Encrypts one part in place. Each number is used once for an object.
    pub fn seal(&self, part: u64, context: &[u8], bytes: &mut [u8]) -> Tag {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce_of(part), Aad::from(context), bytes);
        let Ok(tag) = tag else {
            unreachable!("parts are far shorter than AES-GCM's limit")
        };
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Decrypts one part in place; its bytes mean nothing after an error.
    pub fn open(
        &self,
        part: u64,
        context: &[u8],
        tag: &Tag,
        bytes: &mut [u8],
    ) -> Result<(), Tampered> {
        let opened =
            self.0
                .open_in_place_separate_tag(nonce_of(part), Aad::from(context), tag, bytes);
        opened.map(drop).map_err(|_| Tampered)
    }
}

#[cfg(test)]
mod tests;
