//! The master key, wrapped by a passphrase, as labels carry it.
//!
//! ```text
//!  0   4  sequence: counts passphrases; the highest of all members counts
//!  4   4  argon2id: memory in KiB
//!  8   4  passes
//! 12   4  lanes
//! 16  16  salt
//! 32  12  nonce
//! 44  32  the master key, by AES-256-GCM; bound to pool and sequence
//! 76  16  tag
//! ```

use argon2::{Algorithm, Argon2, Params, Version};
use strongroom_device::Env;
use zeroize::Zeroizing;

use super::{Master, NONCE_LEN, ObjectKey, TAG_LEN};
use crate::codec::{Reader, Truncated, Writer};
use crate::{PoolError, PoolId, Result};

/// Bytes in a label.
pub(crate) const WRAPPED_LEN: usize = 92;
/// What a hostile label may ask of memory and time at most.
const MEMORY_KIB_MAX: u32 = 4 << 20;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 64;

/// What guessing one passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfParams {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Default for KdfParams {
    /// RFC 9106, section 4, the second choice: 64 MiB, three passes, four lanes.
    fn default() -> Self {
        Self {
            memory_kib: 64 << 10,
            passes: 3,
            lanes: 4,
        }
    }
}

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    pub(crate) sequence: u32,
    kdf: KdfParams,
    salt: [u8; 16],
    nonce: [u8; NONCE_LEN],
    sealed: [u8; 32],
    tag: [u8; TAG_LEN],
}

/// A passphrase's key.
fn stretch(kdf: KdfParams, salt: &[u8; 16], passphrase: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
    let failed = |error: argon2::Error| PoolError::Invalid(format!("argon2id: {error}"));
    let params = Params::new(kdf.memory_kib, kdf.passes, kdf.lanes, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut key[..])
        .map_err(failed)?;
    Ok(key)
}

fn context(pool: PoolId, sequence: u32) -> Vec<u8> {
    let mut context = b"strongroom 1 master".to_vec();
    context.extend_from_slice(&pool.0);
    context.extend_from_slice(&sequence.to_le_bytes());
    context
}

impl WrappedKey {
    /// Wraps a key by a passphrase: the first of a pool has sequence 1.
    pub(crate) fn wrap(
        env: &dyn Env,
        pool: PoolId,
        master: &[u8; 32],
        passphrase: &[u8],
        kdf: KdfParams,
        sequence: u32,
    ) -> Result<Self> {
        let (mut salt, mut nonce) = ([0; 16], [0; NONCE_LEN]);
        env.fill_random(&mut salt);
        env.fill_random(&mut nonce);
        let key = stretch(kdf, &salt, passphrase)?;
        let mut sealed = *master;
        // The salt makes the key new each time, so its first part is used once.
        let mut bound = context(pool, sequence);
        bound.extend_from_slice(&nonce);
        let tag = ObjectKey::new(&key).seal(0, &bound, &mut sealed);
        Ok(Self {
            sequence,
            kdf,
            salt,
            nonce,
            sealed,
            tag,
        })
    }

    /// The key, if this is the passphrase.
    ///
    /// # Errors
    /// [`PoolError::WrongPassphrase`].
    pub(crate) fn unwrap(&self, pool: PoolId, passphrase: &[u8]) -> Result<Master> {
        let key = stretch(self.kdf, &self.salt, passphrase)?;
        let mut master = Zeroizing::new(self.sealed);
        let mut bound = context(pool, self.sequence);
        bound.extend_from_slice(&self.nonce);
        ObjectKey::new(&key)
            .open(0, &bound, &self.tag, &mut master[..])
            .map_err(|_| PoolError::WrongPassphrase)?;
        Ok(master)
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.u32(self.sequence)
            .u32(self.kdf.memory_kib)
            .u32(self.kdf.passes)
            .u32(self.kdf.lanes);
        out.bytes(&self.salt).bytes(&self.nonce);
        out.bytes(&self.sealed).bytes(&self.tag);
    }

    /// None when it asks for more than any pool does.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> std::result::Result<Option<Self>, Truncated> {
        let sequence = reader.u32()?;
        let kdf = KdfParams {
            memory_kib: reader.u32()?,
            passes: reader.u32()?,
            lanes: reader.u32()?,
        };
        let wrapped = Self {
            sequence,
            kdf,
            salt: reader.array()?,
            nonce: reader.array()?,
            sealed: reader.array()?,
            tag: reader.array()?,
        };
        let possible = kdf.memory_kib <= MEMORY_KIB_MAX
            && (1..=PASSES_MAX).contains(&kdf.passes)
            && (1..=LANES_MAX).contains(&kdf.lanes);
        Ok(possible.then_some(wrapped))
    }
}
