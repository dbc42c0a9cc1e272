//! An encrypted pool: made by a passphrase, unlocked by it, and given another one.

use std::fmt;
use std::sync::Arc;

use strongroom_device::{Device, DeviceError, Env};
use zeroize::Zeroizing;

use crate::crypt::{Cipher, KdfParams, Master, WrappedKey};
use crate::label::{read_label, write_label};
use crate::pool::Pool;
use crate::{PoolError, PoolId, Result};

/// A passphrase that a pool is to have, and what guessing it shall cost. Wiped when dropped; never shown.
pub struct NewPassphrase {
    passphrase: Zeroizing<Vec<u8>>,
    kdf: KdfParams,
}

impl fmt::Debug for NewPassphrase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("NewPassphrase")
    }
}

impl NewPassphrase {
    /// # Errors
    /// An empty one protects nothing.
    pub fn new(passphrase: &[u8], kdf: KdfParams) -> Result<Self> {
        if passphrase.is_empty() {
            return Err(PoolError::Invalid(
                "an empty passphrase protects nothing".into(),
            ));
        }
        let passphrase = Zeroizing::new(passphrase.to_vec());
        Ok(Self { passphrase, kdf })
    }

    pub(crate) fn passphrase(&self) -> &[u8] {
        &self.passphrase
    }

    /// A new pool's random key, wrapped.
    pub(crate) fn first_key(&self, env: &dyn Env, pool: PoolId) -> Result<WrappedKey> {
        let mut master: Master = Zeroizing::new([0; 32]);
        env.fill_random(&mut master[..]);
        self.wrap(env, pool, &master, 1)
    }

    fn wrap(
        &self,
        env: &dyn Env,
        pool: PoolId,
        master: &[u8; 32],
        sequence: u32,
    ) -> Result<WrappedKey> {
        WrappedKey::wrap(env, pool, master, &self.passphrase, self.kdf, sequence)
    }
}

impl Pool {
    /// Whether what the pool stores is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether nothing can be read or written before it is unlocked. Checks, scrubs and rebuilds need no key.
    pub fn is_locked(&self) -> bool {
        self.encrypted && self.cipher.get().is_none()
    }

    /// Unlocks the pool. Does nothing to one that is not encrypted, or is unlocked already.
    ///
    /// # Errors
    /// [`PoolError::WrongPassphrase`], and nothing is changed.
    pub fn unlock(&self, passphrase: &[u8]) -> Result<()> {
        let Some(keys) = self.keys.lock().clone() else {
            return Ok(());
        };
        let master = keys.unwrap(self.id, passphrase)?;
        self.cipher
            .get_or_init(|| Arc::new(Cipher::new(Arc::clone(&self.env), self.id, &master)));
        Ok(())
    }

    /// The keys of an encrypted pool; None of another.
    ///
    /// # Errors
    /// [`PoolError::Locked`].
    pub fn cipher_if_encrypted(&self) -> Result<Option<Arc<Cipher>>> {
        match self.cipher.get() {
            Some(cipher) => Ok(Some(Arc::clone(cipher))),
            None if self.encrypted => Err(PoolError::Locked),
            None => Ok(None),
        }
    }

    /// Gives an encrypted pool another passphrase: the old one opens none of its members any more. What is stored stays
    /// as it is. Durable on return.
    ///
    /// # Errors
    /// [`PoolError::WrongPassphrase`] for an old one that is not, and nothing is changed; the pool is not encrypted.
    pub fn change_passphrase(&self, old: &[u8], new: &NewPassphrase) -> Result<()> {
        let _changing = self.begin_change()?;
        let Some(keys) = self.keys.lock().clone() else {
            return Err(PoolError::Invalid("the pool is not encrypted".into()));
        };
        let master = keys.unwrap(self.id, old)?;
        let sequence = keys.sequence.saturating_add(1);
        let next = new.wrap(&*self.env, self.id, &master, sequence)?;
        *self.keys.lock() = Some(next);
        for (device, error) in self.level_keys()? {
            self.set_aside(&device, &error)?;
        }
        tracing::info!("the pool has another passphrase");
        Ok(())
    }

    /// Has all members know the newest passphrase; tells which disks failed. Another opening levels what is missing, and
    /// the members that have it are the ones that count.
    pub(crate) fn level_keys(&self) -> Result<Vec<(Arc<dyn Device>, DeviceError)>> {
        let mut failed = Vec::new();
        let Some(keys) = self.keys.lock().clone() else {
            return Ok(failed);
        };
        for disk in self.disks.live() {
            let Some(device) = disk.live() else { continue };
            let written = read_label(&**device).and_then(|found| {
                let mut label = found.label;
                if label.keys.as_ref() == Some(&keys) {
                    return Ok(());
                }
                label.keys = Some(keys.clone());
                write_label(&**device, &label)
            });
            match written {
                Ok(()) => {}
                Err(PoolError::Device(error @ DeviceError::Io { .. })) => {
                    tracing::error!(device = device.name(), %error, "a label was not written");
                    failed.push((Arc::clone(device), error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(failed)
    }
}
