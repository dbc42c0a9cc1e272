//! How administration lies in the store. Every key begins with inode 0, which owns what belongs to no file; every value is
//! a JSON document, to which fields may be added. These tables keep no past.
//!
//! ```text
//! table 120  people    key: inode 0 u64 BE, rid u32 BE    role and second factor of an account
//! table 121  tokens    key: inode 0 u64 BE, id u64 BE     name, owner, scopes, SHA-256 of the secret
//! table 122  acts      key: inode 0 u64 BE, number u64 BE  the log of acts, never changed
//! table 123  settings  key: inode 0 u64 BE                whether the first setup was done
//! ```

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use strongroom_store::{SessionId, Store, StoreError, Table};

pub(crate) const PEOPLE: Table = Table(120);
pub(crate) const TOKENS: Table = Table(121);
pub(crate) const ACTS: Table = Table(122);
pub(crate) const SETTINGS: Table = Table(123);

const OWNER_LEN: usize = 8;
/// Rows read at a time.
const PAGE: usize = 1_000;

/// What is kept for administration cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RowsError {
    #[error("a row of administration is damaged: {0}")]
    Corrupt(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The rows of one table.
#[derive(Debug)]
pub(crate) struct Rows {
    store: Arc<Store>,
    table: Table,
}

/// What stands behind the owner in a key: of one length within a table, so that order is kept.
pub(crate) trait Number: Copy {
    fn write(self, key: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> Option<Self>;
    const FIRST: Self;
    const LAST: Self;
}

impl Number for u32 {
    fn write(self, key: &mut Vec<u8>) {
        key.extend(self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(u32::from_be_bytes)
    }

    const FIRST: Self = 0;
    const LAST: Self = u32::MAX;
}

impl Number for u64 {
    fn write(self, key: &mut Vec<u8>) {
        key.extend(self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(u64::from_be_bytes)
    }

    const FIRST: Self = 0;
    const LAST: Self = u64::MAX;
}

/// The only row of its table.
impl Number for () {
    fn write(self, _: &mut Vec<u8>) {}

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }

    const FIRST: Self = ();
    const LAST: Self = ();
}

impl Rows {
    pub(crate) fn new(store: Arc<Store>, table: Table) -> Rows {
        Rows { store, table }
    }

    pub(crate) fn get<N: Number, T: DeserializeOwned>(
        &self,
        number: N,
    ) -> Result<Option<T>, RowsError> {
        let row = self.store.get(self.table, &key_of(number))?;
        row.map(|row| decode(&row)).transpose()
    }

    /// The rows from one number to before another, at most `max`.
    pub(crate) fn range<N: Number, T: DeserializeOwned>(
        &self,
        from: N,
        before: N,
        max: usize,
    ) -> Result<Vec<(N, T)>, RowsError> {
        let (from, before) = (key_of(from), key_of(before));
        let page = self.store.scan(self.table, &from, &before, max)?;
        page.into_iter()
            .map(|(key, value)| Ok((number_of(&key)?, decode(&value)?)))
            .collect()
    }

    pub(crate) fn all<N: Number, T: DeserializeOwned>(&self) -> Result<Vec<(N, T)>, RowsError> {
        let end = key_of(N::LAST);
        let (mut found, mut start) = (Vec::new(), key_of(N::FIRST));
        loop {
            let page = self.store.scan(self.table, &start, &end, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            start = [last, &[0][..]].concat();
            for (key, value) in &page {
                found.push((number_of(key)?, decode(value)?));
            }
        }
        Ok(found)
    }

    pub(crate) fn put<N: Number>(
        &self,
        number: N,
        value: &impl Serialize,
    ) -> Result<(), RowsError> {
        let value =
            serde_json::to_vec(value).map_err(|error| RowsError::Corrupt(error.to_string()))?;
        let mut txn = self.store.txn(SessionId::SYSTEM);
        // Who administers a full pool makes room in it.
        txn.draw_on_reserve();
        txn.put(self.table, key_of(number), value);
        txn.commit()?;
        Ok(())
    }

    pub(crate) fn delete<N: Number>(
        &self,
        numbers: impl IntoIterator<Item = N>,
    ) -> Result<(), RowsError> {
        let mut txn = self.store.txn(SessionId::SYSTEM);
        txn.draw_on_reserve();
        for number in numbers {
            txn.delete(self.table, key_of(number));
        }
        txn.commit()?;
        Ok(())
    }
}

fn key_of(number: impl Number) -> Vec<u8> {
    let mut key = vec![0; OWNER_LEN];
    number.write(&mut key);
    key
}

fn number_of<N: Number>(key: &[u8]) -> Result<N, RowsError> {
    let number = key.get(OWNER_LEN..).and_then(N::read);
    number.ok_or_else(|| RowsError::Corrupt("its key has a wrong length".to_owned()))
}

fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, RowsError> {
    serde_json::from_slice(row).map_err(|error| RowsError::Corrupt(error.to_string()))
}
