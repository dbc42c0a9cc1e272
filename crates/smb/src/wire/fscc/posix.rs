//! The information levels of the POSIX extensions to SMB 3.1.1, which Samba and the Linux client share: 100 as a file,
//! a directory and a file system class. They are in no document of Microsoft's; the layout is the one of Samba's
//! published draft, "SMB3 POSIX Extensions", and of the Linux client.

use crate::wire::codec::{Codec, Put, Reader, WireError, len32};
use crate::wire::types::FileTime;
use crate::wire::utf16::{put_utf16, utf16_len, utf16_to_string};

/// Bytes of a SID without sub-authorities.
const SID_FIXED: usize = 8;
/// NextEntryOffset and FileIndex of a directory entry.
const ENTRY_HEAD: usize = 8;
/// The fixed part of [`PosixInfo`].
const INFO_FIXED: usize = 80;
/// A room in which not even an entry with the shortest SIDs fits gets STATUS_INFO_LENGTH_MISMATCH.
pub const POSIX_ENTRY_MIN: usize = ENTRY_HEAD + INFO_FIXED + 2 * SID_FIXED + 4;
/// As [`POSIX_ENTRY_MIN`], for a query of one file.
pub const POSIX_INFO_MIN: usize = INFO_FIXED + 2 * SID_FIXED;

/// What the response to a create and the information levels share. SIDs are in their binary form (MS-DTYP 2.4.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PosixAttributes {
    /// Hard links.
    pub links: u32,
    /// Of a reparse point, else zero.
    pub reparse_tag: u32,
    /// Permission bits and the three special ones, as POSIX numbers them.
    pub mode: u32,
    /// The owner's SID.
    pub owner: Vec<u8>,
    /// The group's SID.
    pub group: Vec<u8>,
}

impl PosixAttributes {
    fn len(&self) -> usize {
        let sids = self.owner.len().saturating_add(self.group.len());
        sids.saturating_add(12)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            links: r.u32()?,
            reparse_tag: r.u32()?,
            mode: r.u32()?,
            owner: read_sid(r)?,
            group: read_sid(r)?,
        })
    }
}

/// A SID says itself how long it is.
fn read_sid(r: &mut Reader<'_>) -> Result<Vec<u8>, WireError> {
    let (revision, count) = (r.u8()?, r.u8()?);
    let rest = usize::from(count).saturating_mul(4).saturating_add(6);
    let mut sid = vec![revision, count];
    sid.extend_from_slice(r.take(rest)?);
    Ok(sid)
}

impl<'a> Codec<'a> for PosixAttributes {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        Self::read(&mut Reader::new(bytes))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.links);
        out.put_u32(self.reparse_tag);
        out.put_u32(self.mode);
        out.put(&self.owner);
        out.put(&self.group);
    }
}

/// FilePosixInformation: all that `stat` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PosixInfo {
    /// CreationTime, LastAccessTime, LastWriteTime, ChangeTime.
    pub times: [FileTime; 4],
    /// Bytes of data.
    pub end_of_file: u64,
    /// Bytes allocated.
    pub allocation_size: u64,
    /// FileAttributes.
    pub attributes: u32,
    /// The file's id on its volume.
    pub inode: u64,
    /// The volume's id.
    pub device: u32,
    /// Links, mode, owners.
    pub posix: PosixAttributes,
}

impl PosixInfo {
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut times = [FileTime(0); 4];
        for time in &mut times {
            *time = FileTime::decode(r)?;
        }
        let (end_of_file, allocation_size) = (r.u64()?, r.u64()?);
        let (attributes, inode, device) = (r.u32()?, r.u64()?, r.u32()?);
        r.skip(4)?;
        Ok(Self {
            times,
            end_of_file,
            allocation_size,
            attributes,
            inode,
            device,
            posix: PosixAttributes::read(r)?,
        })
    }
}

impl<'a> Codec<'a> for PosixInfo {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        Self::read(&mut Reader::new(bytes))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for time in self.times {
            time.encode(out);
        }
        out.put_u64(self.end_of_file);
        out.put_u64(self.allocation_size);
        out.put_u32(self.attributes);
        out.put_u64(self.inode);
        out.put_u32(self.device);
        out.put_u32(0);
        self.posix.encode(out);
    }
}

/// An entry of a directory: the same with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PosixEntry {
    /// What `stat` tells.
    pub info: PosixInfo,
    /// FileName.
    pub name: String,
}

impl PosixEntry {
    /// Bytes on the wire.
    #[must_use]
    pub fn len(&self) -> usize {
        let fixed = ENTRY_HEAD + INFO_FIXED - 12 + 4;
        fixed
            .saturating_add(self.info.posix.len())
            .saturating_add(utf16_len(&self.name))
    }

    /// Never: it is there for [`PosixEntry::len`]'s sake.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }
}

impl<'a> Codec<'a> for PosixEntry {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.skip(ENTRY_HEAD)?;
        let info = PosixInfo::read(&mut r)?;
        let len = r.u32()?;
        Ok(Self {
            info,
            name: utf16_to_string(r.take_u32(len)?),
        })
    }

    /// NextEntryOffset is zero; the list that it is put into sets it.
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(0);
        self.info.encode(out);
        out.put_u32(len32(utf16_len(&self.name)));
        put_utf16(&self.name, out);
    }
}

plain! {
    /// FileFsPosixInformation: what `statfs` asks for. Counts that do not exist are all ones.
    pub struct PosixFsInfo {
        /// OptimalTransferSize, in bytes.
        transfer_size: u32;
        /// BlockSize, in bytes.
        block_size: u32;
        /// TotalBlocks.
        blocks: u64;
        /// BlocksAvail: free.
        blocks_free: u64;
        /// UserBlocksAvail: free for the caller.
        blocks_available: u64;
        /// TotalFileNodes.
        files: u64;
        /// FreeFileNodes.
        files_free: u64;
        /// FileSysIdentifier.
        id: u64;
    }
}

/// Bytes of [`PosixFsInfo`].
pub const POSIX_FS_LEN: usize = 56;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> PosixEntry {
        let posix = PosixAttributes {
            links: 2,
            reparse_tag: 0,
            mode: 0o4755,
            owner: vec![1, 2, 0, 0, 0, 0, 0, 22, 1, 0, 0, 0, 232, 3, 0, 0],
            group: vec![1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        };
        let info = PosixInfo {
            times: [1, 2, 3, 4].map(FileTime),
            end_of_file: 5,
            allocation_size: 6,
            attributes: 0x20,
            inode: 7,
            device: 8,
            posix,
        };
        PosixEntry {
            info,
            name: "größe".to_owned(),
        }
    }

    #[test]
    fn fields_lie_where_the_linux_client_looks_for_them() {
        let bytes = entry().info.to_vec();
        let at = |offset: usize, value: &[u8]| {
            assert_eq!(
                bytes.get(offset..offset + value.len()),
                Some(value),
                "{offset}"
            );
        };
        at(32, &5u64.to_le_bytes());
        at(48, &0x20u32.to_le_bytes());
        at(52, &7u64.to_le_bytes());
        at(60, &8u32.to_le_bytes());
        at(68, &2u32.to_le_bytes());
        at(76, &0o4755u32.to_le_bytes());
        at(INFO_FIXED, &entry().info.posix.owner);
        let named = entry().to_vec();
        assert_eq!(named.len(), entry().len());
        assert_eq!(named[ENTRY_HEAD..][..bytes.len()], bytes);
        assert_eq!(named[ENTRY_HEAD + bytes.len()..][..4], 10u32.to_le_bytes());
    }

    #[test]
    fn round_trips_and_refuses_every_cut() {
        let bytes = entry().to_vec();
        assert_eq!(PosixEntry::decode(&bytes), Ok(entry()));
        for end in 0..bytes.len() {
            assert!(PosixEntry::decode(&bytes[..end]).is_err(), "{end}");
        }
        assert_eq!(PosixFsInfo::default().to_vec().len(), POSIX_FS_LEN);
    }
}
