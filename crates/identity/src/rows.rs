//! How accounts lie in the store. Every key begins with inode 0, which owns what belongs to no file.
//!
//! ```text
//! table 100  users    key: inode 0 u64 BE, rid u32 BE
//!     version u8 = 1 | flags u8: 1 admin, 2 disabled | NT hash [16]
//!     | name: length u16, UTF-8 | argon2id PHC string: length u16, ASCII
//! table 101  groups   key: inode 0 u64 BE, rid u32 BE
//!     version u8 = 1 | name: length u16, UTF-8 | members: count u32, rid u32 each, ascending
//! table 102  realm    key: inode 0 u64 BE
//!     version u8 = 1 | sub-authorities of the machine's SID after 21: u32 x 3 | next rid u32
//! ```
//! Integers in values are little-endian.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use strongroom_store::{SessionId, Store, Table};
use zeroize::Zeroizing;

use crate::{IdentityError, NtHash, Result};

pub(crate) const USERS: Table = Table(100);
pub(crate) const GROUPS: Table = Table(101);
pub(crate) const REALM: Table = Table(102);
const VERSION: u8 = 1;
const FLAG_ADMIN: u8 = 1;
const FLAG_DISABLED: u8 = 2;
const OWNER_LEN: usize = 8;
/// Rows read at a time when the pool is opened.
const PAGE: usize = 1000;

/// Where accounts are kept: the store, or memory in tests.
pub(crate) trait Rows: Send + Sync + Debug {
    /// All rows of a table, by rid.
    fn load(&self, table: Table) -> Result<Vec<(u32, Bytes)>>;
    fn realm(&self) -> Result<Option<Bytes>>;
    /// All of it or nothing.
    fn commit(&self, changes: Vec<Change>) -> Result<()>;
}

/// One row to be put (Some) or deleted (None). The realm's row has no rid.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) table: Table,
    pub(crate) rid: Option<u32>,
    pub(crate) value: Option<Vec<u8>>,
}

impl Rows for Arc<Store> {
    fn load(&self, table: Table) -> Result<Vec<(u32, Bytes)>> {
        let end = key_of(Some(u32::MAX));
        let mut rows = Vec::new();
        let mut next = Some(key_of(Some(0)));
        while let Some(start) = next {
            let page = self.scan(table, &start, &end, PAGE)?;
            next = (page.len() == PAGE)
                .then(|| page.last().map(|(key, _)| after(key)))
                .flatten();
            for (key, value) in page {
                rows.push((rid_of(&key)?, value));
            }
        }
        Ok(rows)
    }

    fn realm(&self) -> Result<Option<Bytes>> {
        Ok(self.get(REALM, &key_of(None))?)
    }

    fn commit(&self, changes: Vec<Change>) -> Result<()> {
        let mut txn = self.txn(SessionId(0));
        for Change { table, rid, value } in changes {
            let key = key_of(rid);
            match value {
                Some(value) => txn.put(table, key.as_slice(), value),
                None => txn.delete(table, key.as_slice()),
            }
        }
        txn.commit()?;
        Ok(())
    }
}

fn key_of(rid: Option<u32>) -> Vec<u8> {
    let mut key = vec![0; OWNER_LEN];
    key.extend(rid.iter().flat_map(|rid| rid.to_be_bytes()));
    key
}

/// The least key behind this one.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

fn rid_of(key: &[u8]) -> Result<u32> {
    let rid = key.get(OWNER_LEN..).and_then(|rid| rid.try_into().ok());
    rid.map(u32::from_be_bytes)
        .ok_or_else(|| corrupt("an account's key"))
}

fn corrupt(what: &str) -> IdentityError {
    IdentityError::Corrupt {
        what: what.to_owned(),
    }
}

/// A user as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserRow {
    pub(crate) name: String,
    pub(crate) admin: bool,
    pub(crate) disabled: bool,
    pub(crate) nt_hash: NtHash,
    pub(crate) phc: Phc,
}

/// An argon2id hash; wiped and not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Phc(pub(crate) Zeroizing<String>);

impl Debug for Phc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Phc(..)")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupRow {
    pub(crate) name: String,
    /// Ascending.
    pub(crate) members: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RealmRow {
    pub(crate) machine: [u32; 3],
    pub(crate) next_rid: u32,
}

impl UserRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let flags =
            if self.admin { FLAG_ADMIN } else { 0 } | if self.disabled { FLAG_DISABLED } else { 0 };
        let mut out = vec![VERSION, flags];
        out.extend(self.nt_hash.expose());
        put_text(&mut out, &self.name);
        put_text(&mut out, &self.phc.0);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader {
            bytes,
            what: "a user",
        };
        reader.version()?;
        let [flags] = reader.array()?;
        if flags & !(FLAG_ADMIN | FLAG_DISABLED) != 0 {
            return Err(reader.corrupt());
        }
        let row = UserRow {
            admin: flags & FLAG_ADMIN != 0,
            disabled: flags & FLAG_DISABLED != 0,
            nt_hash: NtHash::new(reader.array()?),
            name: reader.text()?.to_owned(),
            phc: Phc(Zeroizing::new(reader.text()?.to_owned())),
        };
        reader.end().map(|()| row)
    }
}

impl GroupRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_text(&mut out, &self.name);
        let count = u32::try_from(self.members.len()).expect("members have distinct rids");
        out.extend(count.to_le_bytes());
        out.extend(self.members.iter().flat_map(|rid| rid.to_le_bytes()));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader {
            bytes,
            what: "a group",
        };
        reader.version()?;
        let name = reader.text()?.to_owned();
        let count = reader.u32()?;
        // The count is believed only as far as there are bytes.
        let (rids, []) = reader.bytes.as_chunks::<4>() else {
            return Err(reader.corrupt());
        };
        let members: Vec<u32> = rids.iter().map(|rid| u32::from_le_bytes(*rid)).collect();
        if u32::try_from(members.len()) != Ok(count) || !members.is_sorted_by(|a, b| a < b) {
            return Err(reader.corrupt());
        }
        Ok(GroupRow { name, members })
    }
}

impl RealmRow {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let numbers = self.machine.iter().chain([&self.next_rid]);
        out.extend(numbers.flat_map(|number| number.to_le_bytes()));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader {
            bytes,
            what: "the machine's SID",
        };
        reader.version()?;
        let machine = [reader.u32()?, reader.u32()?, reader.u32()?];
        let row = RealmRow {
            machine,
            next_rid: reader.u32()?,
        };
        reader.end().map(|()| row)
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).expect("names and hashes are short");
    out.extend(len.to_le_bytes());
    out.extend(text.as_bytes());
}

struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    fn corrupt(&self) -> IdentityError {
        corrupt(self.what)
    }

    fn version(&mut self) -> Result<()> {
        match self.array()? {
            [VERSION] => Ok(()),
            [newer] => Err(IdentityError::Corrupt {
                what: format!("{} has version {newer}; this program knows 1", self.what),
            }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self
            .bytes
            .split_first_chunk()
            .ok_or_else(|| self.corrupt())?;
        self.bytes = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let (text, rest) = self
            .bytes
            .split_at_checked(len)
            .ok_or_else(|| self.corrupt())?;
        self.bytes = rest;
        std::str::from_utf8(text).map_err(|_| self.corrupt())
    }

    fn end(&self) -> Result<()> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(self.corrupt())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserRow {
        UserRow {
            name: "Zoë".to_owned(),
            admin: true,
            disabled: false,
            nt_hash: NtHash::new([7; 16]),
            phc: Phc(Zeroizing::new("$argon2id$x".to_owned())),
        }
    }

    fn group() -> GroupRow {
        GroupRow {
            name: "Sales".to_owned(),
            members: vec![1000, 1003],
        }
    }

    const REALM_ROW: RealmRow = RealmRow {
        machine: [1, 2, 3],
        next_rid: 1004,
    };

    #[test]
    fn rows_round_trip() {
        assert_eq!(UserRow::decode(&user().encode()).unwrap(), user());
        assert_eq!(GroupRow::decode(&group().encode()).unwrap(), group());
        assert_eq!(RealmRow::decode(&REALM_ROW.encode()).unwrap(), REALM_ROW);
    }

    #[test]
    fn refuses_every_cut_and_every_surplus() {
        let (user, group, realm) = (user().encode(), group().encode(), REALM_ROW.encode());
        for len in 0..user.len() {
            assert!(UserRow::decode(&user[..len]).is_err());
        }
        for len in 0..group.len() {
            assert!(GroupRow::decode(&group[..len]).is_err());
        }
        for len in 0..realm.len() {
            assert!(RealmRow::decode(&realm[..len]).is_err());
        }
        assert!(UserRow::decode(&[user, vec![0]].concat()).is_err());
        assert!(GroupRow::decode(&[group, vec![0]].concat()).is_err());
        assert!(RealmRow::decode(&[realm, vec![0]].concat()).is_err());
    }

    #[test]
    fn refuses_members_out_of_order() {
        let row = GroupRow {
            members: vec![1001, 1001],
            ..group()
        };
        assert!(GroupRow::decode(&row.encode()).is_err());
    }

    #[test]
    fn refuses_a_newer_version_by_its_number() {
        let mut bytes = user().encode();
        bytes[0] = 2;
        assert!(
            UserRow::decode(&bytes)
                .unwrap_err()
                .to_string()
                .contains("version 2")
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let shown = format!("{:?}", user());
        assert!(
            !shown.contains("argon2id") && !shown.contains("7, 7"),
            "{shown}"
        );
    }
}
