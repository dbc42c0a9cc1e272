//! One row of a directory: every name with one folded form.
//!
//! `kind u8, inode u64, length u16, name`, repeated, in the order of the names. Names that differ only in case share a
//! row, so that both kinds of lookup cost one read and a creation sees them all.

use bytes::Bytes;
use smallvec::SmallVec;
use strongroom_store::Inode;

use super::attr::{kind_code, kind_from};
use super::{Reader, Writer};
use crate::{CaseMode, FileKind, Result, VfsError};

/// Names that differ only in case, at most, so that a row stays small.
const VARIANTS_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameEntry {
    pub(crate) name: String,
    pub(crate) inode: Inode,
    pub(crate) kind: FileKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NameRow {
    pub(crate) entries: SmallVec<[NameEntry; 1]>,
}

impl NameRow {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Reader::new(bytes, "names");
        let mut entries = SmallVec::new();
        while !row.is_empty() {
            let kind = kind_from(row.u8()?).ok_or_else(|| row.corrupt())?;
            let inode = Inode(row.u64()?);
            let name = row.long_text()?;
            entries.push(NameEntry { name, inode, kind });
        }
        Ok(Self { entries })
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::with_capacity(32);
        for entry in &self.entries {
            out.u8(kind_code(entry.kind))
                .u64(entry.inode.0)
                .long_text(&entry.name);
        }
        Bytes::from(out.0)
    }

    /// The name that a lookup means: one spelt exactly so, else the first.
    pub(crate) fn find(&self, name: &str, case: CaseMode) -> Option<&NameEntry> {
        let exact = self.entries.iter().find(|entry| entry.name == name);
        match case {
            CaseMode::Exact => exact,
            CaseMode::Insensitive => exact.or(self.entries.first()),
        }
    }

    pub(crate) fn insert(&mut self, entry: NameEntry) -> Result<()> {
        if self.entries.len() >= VARIANTS_MAX {
            return Err(VfsError::TooMany);
        }
        let at = self.entries.partition_point(|held| held.name < entry.name);
        self.entries.insert(at, entry);
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<NameEntry> {
        let at = self.entries.iter().position(|entry| entry.name == name)?;
        Some(self.entries.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, inode: u64) -> NameEntry {
        NameEntry {
            name: name.into(),
            inode: Inode(inode),
            kind: FileKind::File,
        }
    }

    #[test]
    fn insensitive_lookup_prefers_the_exact_name_then_the_first() {
        let mut row = NameRow::default();
        row.insert(entry("readme", 2)).unwrap();
        row.insert(entry("README", 1)).unwrap();
        let inode = |name, case| row.find(name, case).map(|entry| entry.inode.0);
        assert_eq!(inode("readme", CaseMode::Insensitive), Some(2));
        assert_eq!(inode("ReadMe", CaseMode::Insensitive), Some(1));
        assert_eq!(inode("ReadMe", CaseMode::Exact), None);
        assert_eq!(NameRow::decode(&row.encode()).unwrap(), row);
    }
}
