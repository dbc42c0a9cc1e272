//! The POSIX extensions of SMB 3.1.1: names, modes and owners between their form on the wire and the file system's.
//!
//! A Linux client names users and groups by number: `S-1-5-88-1-UID`, `S-1-5-88-2-GID`, and a mode as an entry for
//! `S-1-5-88-3-MODE` in an access list. Those are kept under the authority for Unix (`S-1-22`), where the client knows
//! them as well; a mode becomes a list that amounts to it.

use strongroom_identity::Numbers;
use strongroom_vfs::acl::{Ace, AceFlags, AceKind, AclSlot, SecurityDescriptor, SecurityParts};
use strongroom_vfs::{AccessMask, DirEntry, Handle, Posix, PosixChange, Sid, Stat, Vfs};

use super::status::Failure;
use crate::wire::FileTime;
use crate::wire::fscc::posix::{PosixAttributes, PosixEntry, PosixInfo};

/// Permission bits and the three special ones.
const MODE_BITS: u32 = 0o7777;
/// What stands for "no mode": all bits of the client's 16-bit type.
const NO_MODE: u32 = 0xFFFF;
/// The first sub-authorities of the SIDs that stand for numbers, under the NT authority.
const NUMBERS: u32 = 88;
const NT_AUTHORITY: u64 = 5;

/// The mode that a create context asks for; none where it is about a file that must exist.
pub(crate) fn mode_of_context(mode: u32) -> Option<u32> {
    (mode & NO_MODE != NO_MODE).then_some(mode & MODE_BITS)
}

/// A path as the file system takes it. To POSIX only `/` separates, but clients that keep to the other separator are
/// understood too; characters that Windows forbids in names are kept as their stand-ins (docs/names.md).
pub(crate) fn path(path: &str) -> String {
    path.chars().map(kept).collect()
}

fn kept(c: char) -> char {
    let offset = match c {
        '/' => return '\\',
        '"' => 0x20,
        '*' => 0x21,
        ':' => 0x22,
        '<' => 0x23,
        '>' => 0x24,
        '?' => 0x25,
        '|' => 0x27,
        '\u{01}'..='\u{1F}' => u32::from(c),
        _ => return c,
    };
    char::from_u32(0xF000 + offset).unwrap_or(c)
}

/// What a number names.
enum Number {
    User(u32),
    Group(u32),
    Mode(u32),
}

fn number(sid: &Sid) -> Option<Number> {
    match (sid.authority(), sid.sub_authorities()) {
        (NT_AUTHORITY, [NUMBERS, 1, id]) => Some(Number::User(*id)),
        (NT_AUTHORITY, [NUMBERS, 2, id]) => Some(Number::Group(*id)),
        (NT_AUTHORITY, [NUMBERS, 3, mode]) => Some(Number::Mode(*mode)),
        _ => None,
    }
}

/// The SID under which an owner or group is kept.
fn kept_sid(sid: Sid) -> Sid {
    match number(&sid) {
        Some(Number::User(id)) => Sid::unix_user(id),
        Some(Number::Group(id)) => Sid::unix_group(id),
        Some(Number::Mode(_)) | None => sid,
    }
}

/// The mode that an access list carries.
fn mode_of_list(descriptor: &SecurityDescriptor) -> Option<u32> {
    let entries = descriptor.dacl.acl()?.aces.iter();
    entries
        .filter_map(|entry| match &entry.kind {
            AceKind::Allow { sid, .. } | AceKind::Deny { sid, .. } => number(sid),
            AceKind::Audit { .. } | AceKind::Other { .. } => None,
        })
        .find_map(|number| match number {
            Number::Mode(mode) => Some(mode & MODE_BITS),
            Number::User(_) | Number::Group(_) => None,
        })
}

/// Adds what a Mac reads of mode and owners: entries that give and take nothing (`kAAPL_SUPPORTS_NFS_ACE`).
pub(crate) fn tell_numbers(descriptor: &mut SecurityDescriptor, posix: &Posix, numbers: &Numbers) {
    let AclSlot::Present(acl) = &mut descriptor.dacl else {
        return;
    };
    let told = [
        (1, numbers.number(&posix.owner)),
        (2, numbers.number(&posix.group)),
        (3, posix.mode & MODE_BITS),
    ];
    for (kind, value) in told {
        if let Ok(sid) = Sid::new(NT_AUTHORITY, &[NUMBERS, kind, value]) {
            let entry = Ace::deny(sid, AccessMask::NONE, AceFlags::default());
            acl.aces.push(entry);
        }
    }
}

/// Takes such entries out of a descriptor that comes back from a Mac, which may have changed the mode. False if there
/// were none.
pub(crate) fn take_numbers(descriptor: &mut SecurityDescriptor) -> (bool, Option<u32>) {
    let mode = mode_of_list(descriptor);
    let AclSlot::Present(acl) = &mut descriptor.dacl else {
        return (false, None);
    };
    let before = acl.aces.len();
    acl.aces.retain(|entry| match &entry.kind {
        AceKind::Allow { sid, .. } | AceKind::Deny { sid, .. } => number(sid).is_none(),
        AceKind::Audit { .. } | AceKind::Other { .. } => true,
    });
    (acl.aces.len() < before, mode)
}

/// What the descriptor in the request for a new file says: its mode, and an owner and group to begin with, which are
/// nobody else's than the caller's where it may not give files away.
pub(crate) fn new_file(
    descriptor: Option<&SecurityDescriptor>,
    admin: bool,
) -> (Option<u32>, Option<SecurityDescriptor>) {
    let Some(descriptor) = descriptor else {
        return (None, None);
    };
    let owners = SecurityDescriptor {
        owner: descriptor.owner.map(kept_sid),
        group: descriptor.group.map(kept_sid),
        ..SecurityDescriptor::default()
    };
    (mode_of_list(descriptor), admin.then_some(owners))
}

/// What of a descriptor to be set is a mode, an owner or a group; and the parts that are left.
pub(crate) fn change_of(
    descriptor: &SecurityDescriptor,
    parts: SecurityParts,
) -> (PosixChange, SecurityParts) {
    let mut left = parts.0;
    let mut change = PosixChange::default();
    if parts.contains(SecurityParts::OWNER) && descriptor.owner.is_some() {
        change.owner = descriptor.owner.map(kept_sid);
        left &= !SecurityParts::OWNER.0;
    }
    if parts.contains(SecurityParts::GROUP) && descriptor.group.is_some() {
        change.group = descriptor.group.map(kept_sid);
        left &= !SecurityParts::GROUP.0;
    }
    if parts.contains(SecurityParts::DACL) {
        change.mode = mode_of_list(descriptor);
        if change.mode.is_some() {
            left &= !SecurityParts::DACL.0;
        }
    }
    (change, SecurityParts(left))
}

pub(crate) fn attributes(stat: &Stat, posix: &Posix) -> PosixAttributes {
    PosixAttributes {
        links: stat.links,
        reparse_tag: stat.reparse_tag,
        mode: posix.mode,
        owner: posix.owner.to_bytes(),
        group: posix.group.to_bytes(),
    }
}

/// All that the client's `stat` asks for.
pub(crate) fn info(vfs: &Vfs, handle: &Handle) -> Result<PosixInfo, Failure> {
    let (stat, posix) = (vfs.stat(handle)?, vfs.posix(handle)?);
    Ok(info_of(&stat, &posix, handle.share().0))
}

/// The same for an entry of a listing; None if it is gone since it was listed.
pub(crate) fn entry(
    vfs: &Vfs,
    directory: &Handle,
    entry: &DirEntry,
) -> Result<Option<PosixEntry>, Failure> {
    let posix = vfs.posix_of(directory, entry.stat.inode)?;
    Ok(posix.map(|posix| PosixEntry {
        info: info_of(&entry.stat, &posix, directory.share().0),
        name: entry.name.clone(),
    }))
}

fn info_of(stat: &Stat, posix: &Posix, volume: u32) -> PosixInfo {
    let times = [stat.created, stat.accessed, stat.modified, stat.changed];
    PosixInfo {
        times: times.map(|time| FileTime(time.0)),
        end_of_file: stat.size,
        allocation_size: stat.allocated,
        attributes: stat.attributes.0,
        inode: stat.inode.0,
        device: volume,
        posix: attributes(stat, posix),
    }
}

#[cfg(test)]
mod tests {
    use strongroom_vfs::acl::Acl;

    use super::*;

    fn numbered(kind: u32, id: u32) -> Sid {
        Sid::new(NT_AUTHORITY, &[NUMBERS, kind, id]).unwrap()
    }

    fn descriptor() -> SecurityDescriptor {
        let mode = Ace::deny(
            numbered(3, 0o102_755),
            AccessMask::NONE,
            AceFlags::default(),
        );
        SecurityDescriptor {
            owner: Some(numbered(1, 1000)),
            group: Some(numbered(2, 100)),
            dacl: AclSlot::Present(Acl { aces: vec![mode] }),
            ..SecurityDescriptor::default()
        }
    }

    #[test]
    fn a_mode_is_without_the_type_of_the_file_and_may_be_absent() {
        assert_eq!(mode_of_context(0o100_644), Some(0o644));
        assert_eq!(mode_of_context(0), Some(0));
        assert_eq!(mode_of_context(0xFFFF), None);
        assert_eq!(mode_of_context(u32::MAX), None);
    }

    #[test]
    fn both_separators_lead_down_and_forbidden_characters_have_stand_ins() {
        assert_eq!(path("a/b\\c"), "a\\b\\c");
        assert_eq!(path("a:b?\u{F022}"), "a\u{F022}b\u{F025}\u{F022}");
    }

    #[test]
    fn numbers_become_users_groups_and_a_mode() {
        let parts = SecurityParts::OWNER
            .union(SecurityParts::GROUP)
            .union(SecurityParts::DACL)
            .union(SecurityParts::SACL);
        let (change, left) = change_of(&descriptor(), parts);
        assert_eq!(change.owner, Some(Sid::unix_user(1000)));
        assert_eq!(change.group, Some(Sid::unix_group(100)));
        assert_eq!(change.mode, Some(0o2755));
        assert_eq!(left, SecurityParts::SACL);
    }

    #[test]
    fn a_list_without_a_mode_is_left_to_be_set_as_it_is() {
        let mut plain = descriptor();
        plain.dacl = AclSlot::Null;
        let (change, left) = change_of(&plain, SecurityParts::DACL);
        assert_eq!(
            (change, left),
            (PosixChange::default(), SecurityParts::DACL)
        );
    }

    #[test]
    fn what_a_mac_is_told_it_brings_back() {
        let posix = Posix {
            mode: 0o4751,
            owner: Sid::unix_user(1000),
            group: Sid::ADMINISTRATORS,
        };
        let mut told = SecurityDescriptor {
            dacl: AclSlot::Present(Acl { aces: Vec::new() }),
            ..SecurityDescriptor::default()
        };
        tell_numbers(&mut told, &posix, &Numbers::new(Sid::machine([1, 2, 3])));
        let sids: Vec<_> = told
            .dacl
            .acl()
            .unwrap()
            .aces
            .iter()
            .map(|entry| {
                let AceKind::Deny { mask, sid } = &entry.kind else {
                    panic!("{:?}", entry.kind)
                };
                (*mask, *sid)
            })
            .collect();
        let expected = [numbered(1, 1000), numbered(2, 0), numbered(3, 0o4751)];
        assert_eq!(sids, expected.map(|sid| (AccessMask::NONE, sid)));
        assert_eq!(take_numbers(&mut told), (true, Some(0o4751)));
        assert!(told.dacl.acl().unwrap().aces.is_empty());
        assert_eq!(take_numbers(&mut told), (false, None));
    }

    #[test]
    fn only_an_administrator_makes_files_for_others() {
        let (mode, owners) = new_file(Some(&descriptor()), true);
        assert_eq!(mode, Some(0o2755));
        assert_eq!(owners.unwrap().owner, Some(Sid::unix_user(1000)));
        assert_eq!(new_file(Some(&descriptor()), false), (Some(0o2755), None));
    }
}
