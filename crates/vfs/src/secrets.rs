//! Secret keys of the pool: made once, the same after every start, never shown to anybody.

use crate::{Result, Vfs, VfsError, rows};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Secret {
    /// File handles that clients keep over restarts of the server.
    FileHandles,
}

impl Secret {
    fn row(self) -> rows::Key {
        match self {
            Self::FileHandles => rows::list_key(3),
        }
    }
}

impl Vfs {
    /// The key, made from `env`'s entropy where it is asked for the first time. It is durable before it is returned.
    pub async fn secret(&self, which: Secret) -> Result<[u8; 32]> {
        let row = which.row();
        if let Some(kept) = self.store.get(rows::COUNTERS, &row)? {
            let damaged = || VfsError::Corrupt("a secret key is not well formed".into());
            return kept.as_ref().try_into().map_err(|_| damaged());
        }
        let mut key = [0; 32];
        self.env.fill_random(&mut key);
        let mut txn = self.store.txn(strongroom_store::SessionId::SYSTEM);
        txn.put(rows::COUNTERS, row, key.to_vec());
        txn.commit()?;
        self.store.sync(&[]).await?;
        Ok(key)
    }
}
