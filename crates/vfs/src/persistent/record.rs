//! One persistent open as a row. docs/format.md draws it.

use strongroom_store::Inode;

use crate::grants::{GrantKey, GrantRights};
use crate::node::LinkRef;
use crate::rows::{Reader, Writer};
use crate::{AccessMask, CreateAction, CreateOptions, Result, ShareAccess, ShareId};

const VERSION: u8 = 1;

const POSIX: u8 = 1;
const DELETE_PENDING: u8 = 2;
const HAS_GRANT: u8 = 4;
const GRANT_HAS_KEY: u8 = 8;
const HAS_PARENT_GRANT: u8 = 16;
const FLAGS: u8 = POSIX | DELETE_PENDING | HAS_GRANT | GRANT_HAS_KEY | HAS_PARENT_GRANT;

/// What an open needs to be made again: all that other opens meet of it, and what its protocol wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) share: ShareId,
    pub(crate) inode: Inode,
    pub(crate) stream: u32,
    pub(crate) stream_name: String,
    /// The name that it was opened by.
    pub(crate) link: LinkRef,
    pub(crate) granted: AccessMask,
    pub(crate) share_access: ShareAccess,
    pub(crate) options: CreateOptions,
    pub(crate) posix: bool,
    pub(crate) action: CreateAction,
    /// What it has open goes with its last open.
    pub(crate) delete_pending: bool,
    pub(crate) grant: Option<KeptGrant>,
    pub(crate) parent_grant: Option<GrantKey>,
    /// The protocol's.
    pub(crate) data: Vec<u8>,
}

/// The grant that an open asked for. What happened since, and would not be heard of after a crash, was taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptGrant {
    /// One of the holder's choice; None for a grant to this open alone.
    pub(crate) key: Option<GrantKey>,
    pub(crate) rights: GrantRights,
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let key = self.grant.and_then(|grant| grant.key);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(self.posix, POSIX)
            | flag(self.delete_pending, DELETE_PENDING)
            | flag(self.grant.is_some(), HAS_GRANT)
            | flag(key.is_some(), GRANT_HAS_KEY)
            | flag(self.parent_grant.is_some(), HAS_PARENT_GRANT);
        let mut row = Writer::with_capacity(192 + self.data.len());
        row.u8(VERSION).u8(flags).u32(self.share.0);
        row.u64(self.inode.0).u32(self.stream);
        row.long_text(&self.stream_name);
        row.u64(self.link.directory.0).long_text(&self.link.name);
        row.u32(self.granted.0).u8(self.share_access.bits());
        row.u16(bits_of(self.options)).u8(code_of(self.action));
        if let Some(grant) = &self.grant {
            row.u8(grant.rights.bits());
        }
        for key in [key, self.parent_grant].into_iter().flatten() {
            let (owner, name) = key.chosen().unwrap_or_default();
            row.bytes(&owner).bytes(&name);
        }
        row.bytes(&self.data);
        row.0
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(row, "persistent opens");
        let (version, flags) = (reader.u8()?, reader.u8()?);
        let keyed_nothing = flags & (HAS_GRANT | GRANT_HAS_KEY) == GRANT_HAS_KEY;
        if version != VERSION || flags & !FLAGS != 0 || keyed_nothing {
            return Err(reader.corrupt());
        }
        let share = ShareId(reader.u32()?);
        let (inode, stream) = (Inode(reader.u64()?), reader.u32()?);
        let stream_name = reader.long_text()?;
        let link = LinkRef {
            directory: Inode(reader.u64()?),
            name: reader.long_text()?,
        };
        let granted = AccessMask(reader.u32()?);
        let share_access = ShareAccess::from_bits(u32::from(reader.u8()?));
        let options = options_of(reader.u16()?);
        let action = reader.u8()?;
        let action = action_of(action).ok_or_else(|| reader.corrupt())?;
        let grant = if flags & HAS_GRANT != 0 {
            let rights = GrantRights::from_bits(reader.u8()?);
            let key = key_if(&mut reader, flags & GRANT_HAS_KEY != 0)?;
            Some(KeptGrant { key, rights })
        } else {
            None
        };
        let parent_grant = key_if(&mut reader, flags & HAS_PARENT_GRANT != 0)?;
        Ok(Self {
            share,
            inode,
            stream,
            stream_name,
            link,
            granted,
            share_access,
            options,
            posix: flags & POSIX != 0,
            action,
            delete_pending: flags & DELETE_PENDING != 0,
            grant,
            parent_grant,
            data: reader.rest().to_vec(),
        })
    }
}

fn key_if(reader: &mut Reader<'_>, there: bool) -> Result<Option<GrantKey>> {
    if !there {
        return Ok(None);
    }
    let (owner, name) = (reader.array()?, reader.array()?);
    Ok(Some(GrantKey::Chosen { owner, name }))
}

fn code_of(action: CreateAction) -> u8 {
    match action {
        CreateAction::Superseded => 0,
        CreateAction::Opened => 1,
        CreateAction::Created => 2,
        CreateAction::Overwritten => 3,
    }
}

fn action_of(code: u8) -> Option<CreateAction> {
    Some(match code {
        0 => CreateAction::Superseded,
        1 => CreateAction::Opened,
        2 => CreateAction::Created,
        3 => CreateAction::Overwritten,
        _ => return None,
    })
}

/// The bit of each option, in the order of the struct.
fn bits_of(options: CreateOptions) -> u16 {
    let bits = [
        options.directory,
        options.non_directory,
        options.write_through,
        options.no_ea_knowledge,
        options.delete_on_close,
        options.open_reparse_point,
        options.backup_intent,
        options.by_file_id,
    ];
    let bits = bits.into_iter().enumerate();
    bits.fold(0, |all, (at, set)| all | (u16::from(set) << at))
}

fn options_of(bits: u16) -> CreateOptions {
    let has = |at: u16| bits & (1 << at) != 0;
    CreateOptions {
        directory: has(0),
        non_directory: has(1),
        write_through: has(2),
        no_ea_knowledge: has(3),
        delete_on_close: has(4),
        open_reparse_point: has(5),
        backup_intent: has(6),
        by_file_id: has(7),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> [Record; 3] {
        let key = |byte| GrantKey::Chosen {
            owner: [byte; 16],
            name: [byte + 1; 16],
        };
        let full = Record {
            share: ShareId(3),
            inode: Inode(77),
            stream: 2,
            stream_name: "notes".into(),
            link: LinkRef {
                directory: Inode(5),
                name: "Ärger.txt".into(),
            },
            granted: AccessMask::FILE_ALL,
            share_access: ShareAccess::READ,
            options: CreateOptions {
                write_through: true,
                by_file_id: true,
                ..CreateOptions::default()
            },
            posix: true,
            action: CreateAction::Created,
            delete_pending: true,
            grant: Some(KeptGrant {
                key: Some(key(1)),
                rights: GrantRights::ALL,
            }),
            parent_grant: Some(key(9)),
            data: b"the protocol's".to_vec(),
        };
        let oplock = Record {
            grant: Some(KeptGrant {
                key: None,
                rights: GrantRights::READ,
            }),
            parent_grant: None,
            delete_pending: false,
            action: CreateAction::Overwritten,
            ..full.clone()
        };
        let plain = Record {
            grant: None,
            posix: false,
            data: Vec::new(),
            ..oplock.clone()
        };
        [full, oplock, plain]
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for record in samples() {
            assert_eq!(Record::decode(&record.encode()).unwrap(), record);
        }
    }

    #[test]
    fn what_is_cut_off_before_the_protocols_part_is_refused() {
        for record in samples() {
            let row = record.encode();
            for len in 0..row.len() - record.data.len() {
                assert!(Record::decode(&row[..len]).is_err(), "{len} bytes");
            }
        }
    }

    #[test]
    fn unknown_versions_flags_and_actions_are_refused() {
        let [full, ..] = samples();
        let row = full.encode();
        let action_at = 4 + 2 + 8 + 4 + 2 + 5 + 8 + 2 + 10 + 4 + 1 + 2;
        for (at, value) in [(0, 2), (0, 0), (1, 0x20), (1, 0x1B), (action_at, 4)] {
            let mut bad = row.clone();
            bad[at] = value;
            assert!(Record::decode(&bad).is_err(), "{value} at {at}");
        }
    }
}
