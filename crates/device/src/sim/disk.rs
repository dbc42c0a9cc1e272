//! The platters: what is durable, what is not yet, and what a power cut leaves.

use std::collections::{BTreeMap, BTreeSet};

use super::rng::Rng;

/// A write is torn between sectors, never inside one.
const SECTOR: usize = 512;
/// Space is taken in blocks.
pub(super) const SPACE_BLOCK: u64 = 4096;

/// A change of a file that no sync has covered.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
    Punch { offset: usize, len: usize },
}

/// One file: `live` is what readers see, `durable` what survives for sure.
#[derive(Debug, Clone, Default)]
pub(super) struct FileData {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Change>,
    /// Blocks that take space.
    pub(super) blocks: BTreeSet<u64>,
    pub(super) sync_failed: bool,
}

/// A change of a directory that no sync has covered.
#[derive(Debug, Clone)]
struct NameChange {
    path: String,
    /// None deletes.
    file: Option<u64>,
    /// The name that the file had before: a new name comes and the old one goes in one.
    from: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<u64, FileData>,
    pub(super) names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    name_changes: Vec<NameChange>,
    next_file: u64,
}

pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes: new } => {
            let end = offset + new.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(new);
        }
        Change::SetLen(len) => bytes.resize(*len, 0),
        Change::Punch { offset, len } => {
            let end = (offset + len).min(bytes.len());
            if *offset < end {
                bytes[*offset..end].fill(0);
            }
        }
    }
}

impl FileData {
    pub(super) fn change(&mut self, change: Change) {
        apply(&mut self.live, &change);
        self.account(&change);
        self.pending.push(change);
    }

    /// Readers see the change until the power goes; of a write only the length is ever durable.
    pub(super) fn lose(&mut self, change: Change) {
        apply(&mut self.live, &change);
        self.account(&change);
        if self.live.len() > self.durable.len() {
            self.pending.push(Change::SetLen(self.live.len()));
        }
    }

    fn account(&mut self, change: &Change) {
        match change {
            Change::Write { offset, bytes } => {
                self.blocks.extend(blocks_of(*offset, bytes.len()));
            }
            Change::SetLen(len) => {
                let end = (*len as u64).div_ceil(SPACE_BLOCK);
                drop(self.blocks.split_off(&end));
            }
            Change::Punch { offset, len } => {
                let first = (*offset as u64).div_ceil(SPACE_BLOCK);
                let end = (*offset as u64 + *len as u64) / SPACE_BLOCK;
                self.blocks.retain(|block| !(first..end).contains(block));
            }
        }
    }

    /// Blocks that a write would take anew.
    pub(super) fn new_blocks(&self, offset: usize, len: usize) -> u64 {
        blocks_of(offset, len)
            .filter(|block| !self.blocks.contains(block))
            .count() as u64
    }

    /// Takes space for a range without changing a byte.
    pub(super) fn take(&mut self, offset: usize, len: usize) {
        self.blocks.extend(blocks_of(offset, len));
    }

    pub(super) fn make_durable(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, &change);
        }
    }

    /// The kernel marks the pages clean though they never reached the disk.
    pub(super) fn fail_sync(&mut self) {
        self.pending.clear();
        self.sync_failed = true;
    }

    /// Some of the pending changes reach the disk, in the way the seed chooses.
    fn survive(&mut self, rng: &mut Rng) {
        let pending = std::mem::take(&mut self.pending);
        let style = rng.below(4);
        let prefix = rng.below(pending.len() + 1);
        for (index, change) in pending.into_iter().enumerate() {
            match style {
                0 => {}
                1 if index >= prefix => {}
                1 => apply(&mut self.durable, &change),
                2 if rng.chance(50) => apply(&mut self.durable, &change),
                2 => {}
                _ => tear(&mut self.durable, &change, rng),
            }
        }
    }

    /// Readers see what is durable and what the next sync makes so, not what a failed one forgot.
    pub(super) fn uncache(&mut self) {
        self.live.clone_from(&self.durable);
        for change in &self.pending {
            apply(&mut self.live, change);
        }
    }

    fn settle(&mut self) {
        self.live.clone_from(&self.durable);
        self.blocks = blocks_of(0, self.durable.len()).collect();
        self.sync_failed = false;
    }
}

fn blocks_of(offset: usize, len: usize) -> std::ops::Range<u64> {
    if len == 0 {
        return 0..0;
    }
    offset as u64 / SPACE_BLOCK..(offset as u64 + len as u64).div_ceil(SPACE_BLOCK)
}

/// Each sector of a write arrives or does not.
fn tear(durable: &mut Vec<u8>, change: &Change, rng: &mut Rng) {
    let Change::Write { offset, bytes } = change else {
        if rng.chance(50) {
            apply(durable, change);
        }
        return;
    };
    let mut at = 0;
    while at < bytes.len() {
        let to_boundary = SECTOR - (offset + at) % SECTOR;
        let end = (at + to_boundary).min(bytes.len());
        if rng.chance(60) {
            let piece = Change::Write {
                offset: offset + at,
                bytes: bytes[at..end].to_vec(),
            };
            apply(durable, &piece);
        }
        at = end;
    }
}

impl Disk {
    pub(super) fn create(&mut self, path: &str) -> u64 {
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, FileData::default());
        self.names.insert(path.to_owned(), file);
        self.name_changes.push(NameChange {
            path: path.to_owned(),
            file: Some(file),
            from: None,
        });
        file
    }

    pub(super) fn delete(&mut self, path: &str) -> bool {
        if self.names.remove(path).is_none() {
            return false;
        }
        self.name_changes.push(NameChange {
            path: path.to_owned(),
            file: None,
            from: None,
        });
        true
    }

    /// False if there is no such file. Both names are in one directory.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> bool {
        assert_eq!(parent(from), parent(to), "a file stays in its directory");
        let Some(file) = self.names.remove(from) else {
            return false;
        };
        self.names.insert(to.to_owned(), file);
        self.name_changes.push(NameChange {
            path: to.to_owned(),
            file: Some(file),
            from: Some(from.to_owned()),
        });
        true
    }

    pub(super) fn sync_dir(&mut self, dir: &str) {
        let (now, later) = std::mem::take(&mut self.name_changes)
            .into_iter()
            .partition::<Vec<_>, _>(|change| parent(&change.path) == dir);
        self.name_changes = later;
        for change in now {
            self.apply_name(change);
        }
        self.forget_unreachable();
    }

    /// None of the unsynced changes of a directory survives.
    pub(super) fn lose_dir(&mut self, dir: &str) {
        self.name_changes
            .retain(|change| parent(&change.path) != dir);
    }

    /// Bytes that were meant for another place land in some file, where others were.
    pub(super) fn misdirect(&mut self, bytes: &[u8], rng: &mut Rng) {
        let filled = self
            .files
            .values_mut()
            .filter(|file| !file.durable.is_empty());
        let mut filled: Vec<_> = filled.collect();
        if filled.is_empty() {
            return;
        }
        let file = filled.swap_remove(rng.below(filled.len()));
        let block = usize::try_from(SPACE_BLOCK).unwrap_or(SECTOR);
        let offset = rng.below(file.durable.len().div_ceil(block)) * block;
        for side in [&mut file.durable, &mut file.live] {
            let end = (offset + bytes.len()).min(side.len());
            if offset < end {
                side[offset..end].copy_from_slice(&bytes[..end - offset]);
            }
        }
    }

    fn apply_name(&mut self, change: NameChange) {
        if let Some(from) = &change.from {
            self.durable_names.remove(from);
        }
        match change.file {
            Some(file) => self.durable_names.insert(change.path, file),
            None => self.durable_names.remove(&change.path),
        };
    }

    /// Deleted files whose names are gone for good; open handles of them find nothing, as no caller reads one.
    fn forget_unreachable(&mut self) {
        let named: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.durable_names.values())
            .copied()
            .chain(self.name_changes.iter().filter_map(|change| change.file))
            .collect();
        self.files.retain(|file, _| named.contains(file));
    }

    pub(super) fn used(&self) -> u64 {
        let blocks: u64 = self
            .names
            .values()
            .filter_map(|file| self.files.get(file))
            .map(|file| file.blocks.len() as u64)
            .sum();
        blocks * SPACE_BLOCK
    }

    /// What is left after the power went.
    /// What is opened anew may be synced again, though nobody knows what a failed sync left.
    pub(super) fn forget_failed_syncs(&mut self) {
        for file in self.files.values_mut() {
            file.sync_failed = false;
        }
    }

    pub(super) fn survive(&mut self, rng: &mut Rng) {
        let changes = std::mem::take(&mut self.name_changes);
        let lose_all = rng.chance(30);
        for change in changes {
            if !lose_all && rng.chance(50) {
                self.apply_name(change);
            }
        }
        self.names.clone_from(&self.durable_names);
        self.forget_unreachable();
        for file in self.files.values_mut() {
            file.survive(rng);
            file.settle();
        }
    }
}
