//! The label: what pool a disk belongs to. Two copies, each 4096 bytes, little-endian:
//!
//! ```text
//! offset size
//!      0    8  magic "STRONGRM"
//!      8    4  format version: 1, 2 for a disk that was added later or has a role of its own, 3 of an encrypted pool
//!     12    4  zero
//!     16   16  pool id
//!     32   16  disk id
//!     48    1  data shards k
//!     49    1  parity shards m
//!     50    2  number of disks n
//!     52    4  version 2: flags, 1 spare, 2 leaving; else zero
//!     56    8  time of creation, ns since 1970
//!     64 16*n  ids of the disks that the pool was made of; their order is the order of homes
//!      …   16  version 2: the disk that this one stands in for, zero for none
//!      …    1  version 2: length d of the failure domain's name, at most 64
//!      …    d  version 2: the name, UTF-8
//!      …   92  version 3: the pool's key, wrapped by its passphrase (see `crypt/keys.rs`)
//!      …       zeroes
//!   4088    8  checksum of bytes 0..4088
//! ```
//!
//! Every later version keeps magic, version and checksum where they are, so that an old program can tell a newer label
//! from a damaged one.

use std::sync::Arc;

use strongroom_device::{Device, DeviceError, DeviceFile};

use crate::checksum::{Seed, checksum};
use crate::codec::{Reader, Truncated, Writer};
use crate::crypt::{WRAPPED_LEN, WrappedKey};
use crate::{DiskId, Layout, PoolError, PoolId, Result};

/// The newest that can be read.
pub(crate) const FORMAT_VERSION: u32 = 3;
const PLAIN_VERSION: u32 = 1;
const ROLE_VERSION: u32 = 2;
pub(crate) const LABEL_FILES: [&str; 2] = ["label.0", "label.1"];
const LABEL_LEN: usize = 4096;
const CHECKED_LEN: usize = LABEL_LEN - 8;
const MAGIC: &[u8; 8] = b"STRONGRM";
/// What fits, and more than a pool will have.
pub(crate) const MAX_DISKS: usize = 250;
/// Bytes of a failure domain's name.
pub(crate) const DOMAIN_MAX: usize = 64;
/// Where the ids of the disks begin.
const DISKS_AT: usize = 64;
const FLAG_SPARE: u32 = 1;
const FLAG_LEAVING: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) pool: PoolId,
    pub(crate) disk: DiskId,
    pub(crate) layout: Layout,
    pub(crate) created_ns: u64,
    pub(crate) disks: Vec<DiskId>,
    /// None in labels of version 1: the pool was made of this disk, among others.
    pub(crate) role: Option<Role>,
    /// Of an encrypted pool, whose labels have version 3.
    pub(crate) keys: Option<WrappedKey>,
}

/// What only a label of version 2 says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Role {
    /// It waits for another disk to fail.
    pub(crate) spare: bool,
    /// It is being emptied.
    pub(crate) leaving: bool,
    /// The lost or replaced disk whose place it took; zero for none.
    pub(crate) stands_for: DiskId,
    /// What it shares with others and fails with, as a person named it.
    pub(crate) domain: String,
}

/// Why one copy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadLabel {
    Absent,
    Newer(u32),
    Damaged(String),
}

impl From<Truncated> for BadLabel {
    fn from(error: Truncated) -> Self {
        Self::Damaged(error.to_string())
    }
}

fn seed() -> Seed {
    Seed::of(&[u64::from_le_bytes(*MAGIC)])
}

impl Label {
    pub(crate) fn encode(&self) -> Vec<u8> {
        assert!(
            self.disks.len() <= MAX_DISKS,
            "the number of disks was checked at creation"
        );
        let count = u16::try_from(self.disks.len()).unwrap_or(u16::MAX);
        let mut out = Writer::with_capacity(LABEL_LEN);
        let none = Role::default();
        let role = self.role.as_ref().or(self.keys.as_ref().map(|_| &none));
        let version = match (role, &self.keys) {
            (_, Some(_)) => FORMAT_VERSION,
            (Some(_), None) => ROLE_VERSION,
            (None, None) => PLAIN_VERSION,
        };
        out.bytes(MAGIC).u32(version).u32(0);
        out.bytes(&self.pool.0).bytes(&self.disk.0);
        out.u8(self.layout.data)
            .u8(self.layout.parity)
            .u16(count)
            .u32(role.map_or(0, Role::flags))
            .u64(self.created_ns);
        for disk in &self.disks {
            out.bytes(&disk.0);
        }
        if let Some(role) = role {
            assert!(
                self.has_room_for(&role.domain),
                "the name's length was checked"
            );
            out.bytes(&role.stands_for.0);
            out.u8(u8::try_from(role.domain.len()).unwrap_or(u8::MAX));
            out.bytes(role.domain.as_bytes());
        }
        if let Some(keys) = &self.keys {
            keys.encode(&mut out);
        }
        out.pad_to(LABEL_LEN);
        let mut bytes = out.into_bytes();
        let sum = checksum(seed(), &bytes[..CHECKED_LEN]);
        bytes[CHECKED_LEN..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> std::result::Result<Self, BadLabel> {
        if bytes.is_empty() {
            return Err(BadLabel::Absent);
        }
        let mut reader = Reader::new(bytes);
        let body = reader.bytes(CHECKED_LEN)?;
        let sum = reader.u64()?;
        let mut reader = Reader::new(body);
        if reader.array()? != *MAGIC {
            return Err(BadLabel::Damaged("not a label".into()));
        }
        if sum != checksum(seed(), body) {
            return Err(BadLabel::Damaged("wrong checksum".into()));
        }
        let version = reader.u32()?;
        if version > FORMAT_VERSION {
            return Err(BadLabel::Newer(version));
        }
        reader.skip(4)?;
        Self::decode_fields(reader, version)
    }

    /// Whether a label of version 2 can carry a failure domain of this name.
    pub(crate) fn has_room_for(&self, domain: &str) -> bool {
        let keys = self.keys.as_ref().map_or(0, |_| WRAPPED_LEN);
        let used = DISKS_AT + 16 * self.disks.len() + 16 + 1 + keys;
        domain.len() <= DOMAIN_MAX && used + domain.len() <= CHECKED_LEN
    }

    fn decode_fields(mut reader: Reader<'_>, version: u32) -> std::result::Result<Self, BadLabel> {
        let pool = PoolId(reader.array()?);
        let disk = DiskId(reader.array()?);
        let layout = Layout {
            data: reader.u8()?,
            parity: reader.u8()?,
        };
        let count = usize::from(reader.u16()?);
        let flags = reader.u32()?;
        let created_ns = reader.u64()?;
        if layout.data == 0 || count == 0 || count > MAX_DISKS {
            return Err(BadLabel::Damaged(
                "impossible layout or number of disks".into(),
            ));
        }
        let mut disks = Vec::with_capacity(count);
        for _ in 0..count {
            disks.push(DiskId(reader.array()?));
        }
        let role = match version {
            PLAIN_VERSION => None,
            _ => Some(Role::decode(flags, &mut reader)?),
        };
        let keys = match version {
            PLAIN_VERSION | ROLE_VERSION => None,
            _ => {
                let greedy = || BadLabel::Damaged("its key asks for too much memory".into());
                Some(WrappedKey::decode(&mut reader)?.ok_or_else(greedy)?)
            }
        };
        if role.is_none() && !disks.contains(&disk) {
            return Err(BadLabel::Damaged("the disk is not among the pool's".into()));
        }
        Ok(Self {
            pool,
            disk,
            layout,
            created_ns,
            disks,
            role,
            keys,
        })
    }
}

impl Role {
    fn flags(&self) -> u32 {
        let spare = if self.spare { FLAG_SPARE } else { 0 };
        let leaving = if self.leaving { FLAG_LEAVING } else { 0 };
        spare | leaving
    }

    fn decode(flags: u32, reader: &mut Reader<'_>) -> std::result::Result<Self, BadLabel> {
        let stands_for = DiskId(reader.array()?);
        let len = usize::from(reader.u8()?);
        let domain = std::str::from_utf8(reader.bytes(len)?)
            .map_err(|_| BadLabel::Damaged("the failure domain is not UTF-8".into()))?;
        Ok(Self {
            spare: flags & FLAG_SPARE != 0,
            leaving: flags & FLAG_LEAVING != 0,
            stands_for,
            domain: domain.to_owned(),
        })
    }
}

/// A label as found on a disk.
#[derive(Debug)]
pub(crate) struct FoundLabel {
    pub(crate) label: Label,
    /// Copies to be rewritten from the good one.
    pub(crate) bad_copies: Vec<&'static str>,
}

fn read_copy(device: &dyn Device, path: &str) -> Result<std::result::Result<Label, BadLabel>> {
    let bytes = match read_small_file(device, path, LABEL_LEN) {
        Ok(bytes) => bytes,
        Err(DeviceError::NotFound { .. }) => return Ok(Err(BadLabel::Absent)),
        Err(error) => return Err(error.into()),
    };
    Ok(Label::decode(&bytes))
}

/// At most `limit` bytes of a file.
pub(crate) fn read_small_file(
    device: &dyn Device,
    path: &str,
    limit: usize,
) -> std::result::Result<Vec<u8>, DeviceError> {
    let file = device.open(path)?;
    let len = usize::try_from(file.len()?)
        .unwrap_or(usize::MAX)
        .min(limit);
    let mut bytes = vec![0; len];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Reads both copies; one good one is enough.
pub(crate) fn read_label(device: &dyn Device) -> Result<FoundLabel> {
    let mut good = None;
    let mut bad = Vec::new();
    let mut unread = None;
    for path in LABEL_FILES {
        match read_copy(device, path) {
            Ok(Ok(label)) => match &good {
                None => good = Some(label),
                Some(first) if *first == label => {}
                // A change was cut off between the two; the first was written before.
                Some(_) => bad.push((path, BadLabel::Damaged("another label".into()))),
            },
            Ok(Err(why)) => bad.push((path, why)),
            Err(error) => unread = Some(error),
        }
    }
    match (good, unread) {
        (Some(label), _) => {
            let bad_copies = bad.into_iter().map(|(path, _)| path).collect();
            Ok(FoundLabel { label, bad_copies })
        }
        (None, Some(error)) => Err(error),
        (None, None) => Err(refusal(device, &bad)),
    }
}

fn refusal(device: &dyn Device, bad: &[(&str, BadLabel)]) -> PoolError {
    let device = device.name().to_owned();
    let newer = bad.iter().find_map(|(_, why)| match why {
        BadLabel::Newer(version) => Some(*version),
        BadLabel::Absent | BadLabel::Damaged(_) => None,
    });
    if let Some(found) = newer {
        return PoolError::NewerFormat {
            device,
            found,
            known: FORMAT_VERSION,
        };
    }
    if bad.iter().all(|(_, why)| *why == BadLabel::Absent) {
        return PoolError::NoLabel { device };
    }
    let reasons: Vec<String> = bad
        .iter()
        .map(|(path, why)| match why {
            BadLabel::Damaged(reason) => format!("{path}: {reason}"),
            BadLabel::Absent | BadLabel::Newer(_) => format!("{path}: missing"),
        })
        .collect();
    PoolError::CorruptLabel {
        device,
        detail: reasons.join("; "),
    }
}

/// Writes one copy and syncs it; the caller syncs the directory.
pub(crate) fn write_copy(device: &dyn Device, path: &str, label: &Label) -> Result<()> {
    let file = open_or_create(device, path)?;
    file.write_at(0, &label.encode())?;
    file.set_len(LABEL_LEN as u64)?;
    Ok(file.sync()?)
}

pub(crate) fn open_or_create(
    device: &dyn Device,
    path: &str,
) -> std::result::Result<Arc<dyn DeviceFile>, DeviceError> {
    match device.open(path) {
        Err(DeviceError::NotFound { .. }) => device.create(path, 0),
        other => other,
    }
}

/// Writes both copies, one after the other, so that one of them is whole at any time. Durable on return.
pub(crate) fn write_label(device: &dyn Device, label: &Label) -> Result<()> {
    for path in LABEL_FILES {
        write_copy(device, path, label)?;
        device.sync_dir("")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(role: Option<Role>) -> Label {
        Label {
            pool: PoolId([1; 16]),
            disk: DiskId([2; 16]),
            layout: Layout { data: 4, parity: 2 },
            created_ns: 77,
            disks: (0..6).map(|n| DiskId([n; 16])).collect(),
            role,
            keys: None,
        }
    }

    #[test]
    fn a_plain_label_is_of_version_1_and_one_with_a_role_of_version_2() {
        let plain = label(None);
        assert_eq!(plain.encode()[8..12], [1, 0, 0, 0]);
        assert_eq!(Label::decode(&plain.encode()), Ok(plain));
        let role = Role {
            spare: true,
            leaving: false,
            stands_for: DiskId([9; 16]),
            domain: "Büro, shelf 2".into(),
        };
        let mut added = label(Some(role));
        added.disk = DiskId([99; 16]);
        assert_eq!(added.encode()[8..12], [2, 0, 0, 0]);
        assert_eq!(Label::decode(&added.encode()), Ok(added));
    }

    #[test]
    fn refuses_a_plain_label_of_a_disk_that_the_pool_was_not_made_of() {
        let mut stranger = label(None);
        stranger.disk = DiskId([99; 16]);
        let bad = Label::decode(&stranger.encode());
        assert!(matches!(bad, Err(BadLabel::Damaged(_))));
    }

    #[test]
    fn says_when_the_name_of_a_failure_domain_is_too_long() {
        let mut full = label(None);
        assert!(full.has_room_for(&"x".repeat(64)));
        assert!(!full.has_room_for(&"x".repeat(65)));
        full.disks = vec![DiskId([1; 16]); MAX_DISKS];
        assert!(full.has_room_for("short"));
        assert!(!full.has_room_for(&"x".repeat(64)));
    }
}
