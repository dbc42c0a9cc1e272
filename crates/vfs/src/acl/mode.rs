//! POSIX permission bits as a view of an access control list.
//!
//! Reading: each class gets a bit when the list gives it that right (RFC 8881, 6.3.2: from the entries for OWNER@,
//! GROUP@ and EVERYONE@ alone). Setting: entries of those three classes are replaced by ones that give exactly the
//! mode, entries for others stay but may not give more than the group bits allow (as `chmod` does with POSIX ACL masks).

use strongroom_identity::Sid;

use super::{Ace, AceFlags, AceKind, Acl, AclSlot, Control, SecurityDescriptor};
use crate::{AccessMask, Credentials};

const READ: u32 = 4;
const WRITE: u32 = 2;
const EXECUTE: u32 = 1;

/// The special bits: set-user-id, set-group-id and sticky.
pub const SPECIAL: u32 = 0o7000;
pub const SET_GROUP_ID: u32 = 0o2000;
pub const STICKY: u32 = 0o1000;

/// Groups that all who log on are members of: together they are what a mode calls the others.
const BROAD: [Sid; 3] = [Sid::EVERYONE, Sid::AUTHENTICATED_USERS, Sid::USERS];

/// The nine permission bits that the list amounts to.
pub fn mode_of(descriptor: &SecurityDescriptor) -> u32 {
    let owner = descriptor.owner.unwrap_or(Sid::NULL);
    let group = descriptor.group.unwrap_or(Sid::NULL);
    let class = |groups: Vec<Sid>, user: Sid| {
        let credentials = Credentials {
            user,
            primary_group: group,
            groups,
            admin: false,
            session: strongroom_store::SessionId::SYSTEM,
        };
        bits_of(super::maximal_access(descriptor, &credentials))
    };
    let everyone: Vec<Sid> = BROAD.into_iter().filter(|sid| *sid != group).collect();
    let mut members = everyone.clone();
    members.push(group);
    let owner_bits = class(everyone.clone(), owner);
    let group_bits = class(members, Sid::NULL);
    let other_bits = class(everyone, Sid::NULL);
    owner_bits << 6 | group_bits << 3 | other_bits
}

/// The descriptor with its list changed so that its mode is `mode` (the lowest nine bits).
pub fn with_mode(
    descriptor: &SecurityDescriptor,
    mode: u32,
    is_directory: bool,
) -> SecurityDescriptor {
    let owner = descriptor.owner.unwrap_or(Sid::NULL);
    let group = descriptor.group.unwrap_or(Sid::NULL);
    let mut aces = class_entries(owner, group, mode, is_directory);
    if let Some(acl) = descriptor.dacl.acl() {
        let ceiling = rights_of(mode >> 3 & 7, is_directory);
        let kept = acl
            .aces
            .iter()
            .filter_map(|ace| kept_entry(ace, owner, group, ceiling));
        let everyone = aces.pop();
        aces.extend(kept);
        aces.extend(everyone);
    }
    let mut changed = descriptor.clone();
    changed.dacl = AclSlot::Present(Acl { aces });
    changed.control = changed
        .control
        .without(Control::DACL_AUTO_INHERITED)
        .union(Control::DACL_PROTECTED);
    changed
}

/// The descriptor given to another owner or group as `chown` does it: its mode stays, so the entries of the old ones go.
pub fn with_owner(
    descriptor: &SecurityDescriptor,
    owner: Option<Sid>,
    group: Option<Sid>,
    is_directory: bool,
) -> SecurityDescriptor {
    let mode = mode_of(descriptor);
    let left = [(descriptor.owner, owner), (descriptor.group, group)];
    let left = left.map(|(old, new)| old.filter(|_| new.is_some() && new != old));
    let mut changed = descriptor.clone();
    if let AclSlot::Present(acl) = &mut changed.dacl {
        acl.aces.retain(|ace| {
            let inherits = ace.flags.contains(AceFlags::INHERIT_ONLY);
            inherits || !names(ace, &left)
        });
    }
    changed.owner = owner.or(changed.owner);
    changed.group = group.or(changed.group);
    with_mode(&changed, mode, is_directory)
}

/// A descriptor that is nothing but a mode.
pub fn descriptor_with_mode(
    owner: Sid,
    group: Sid,
    mode: u32,
    is_directory: bool,
) -> SecurityDescriptor {
    let empty = SecurityDescriptor {
        owner: Some(owner),
        group: Some(group),
        ..Default::default()
    };
    with_mode(&empty, mode, is_directory)
}

/// Whether an entry gives or denies something to one of these.
fn names(ace: &Ace, sids: &[Option<Sid>]) -> bool {
    match &ace.kind {
        AceKind::Allow { sid, .. } | AceKind::Deny { sid, .. } => sids.contains(&Some(*sid)),
        AceKind::Audit { .. } | AceKind::Other { .. } => false,
    }
}

/// An entry for somebody else, no longer giving more than `ceiling`; inherit-only entries stay whole.
fn kept_entry(ace: &Ace, owner: Sid, group: Sid, ceiling: AccessMask) -> Option<Ace> {
    if ace.flags.contains(AceFlags::INHERIT_ONLY) {
        return Some(ace.clone());
    }
    let class = |sid: &Sid| [owner, group, Sid::OWNER_RIGHTS].contains(sid) || BROAD.contains(sid);
    match &ace.kind {
        AceKind::Allow { sid, .. } | AceKind::Deny { sid, .. } if class(sid) => inherit_part(ace),
        AceKind::Allow { mask, sid } => {
            let mask = mask.map_generic() & ceiling;
            (!mask.is_empty()).then_some(Ace {
                kind: AceKind::Allow { mask, sid: *sid },
                flags: ace.flags,
            })
        }
        AceKind::Deny { .. } | AceKind::Audit { .. } | AceKind::Other { .. } => Some(ace.clone()),
    }
}

/// What an entry passes on to children, when its own effect is replaced.
fn inherit_part(ace: &Ace) -> Option<Ace> {
    let both = AceFlags::OBJECT_INHERIT.union(AceFlags::CONTAINER_INHERIT);
    ace.flags.intersects(both).then(|| Ace {
        kind: ace.kind.clone(),
        flags: ace.flags.union(AceFlags::INHERIT_ONLY),
    })
}

/// Entries that give each class exactly its bits. Where the owner or group has less than a later class,
/// a denial keeps them from gaining by that one. The entry for everyone comes last.
fn class_entries(owner: Sid, group: Sid, mode: u32, is_directory: bool) -> Vec<Ace> {
    let [user_bits, group_bits, other_bits] = [mode >> 6 & 7, mode >> 3 & 7, mode & 7];
    let rights = |bits| rights_of(bits, is_directory);
    let none = AceFlags::default();
    let always = AccessMask::READ_ATTRIBUTES | AccessMask::READ_CONTROL | AccessMask::SYNCHRONIZE;
    let owner_always =
        always | AccessMask::WRITE_ATTRIBUTES | AccessMask::WRITE_DAC | AccessMask::READ_EA;
    let mut aces = Vec::new();
    let owner_denied = (group_bits | other_bits) & !user_bits;
    if owner_denied != 0 {
        aces.push(Ace::deny(owner, denial(owner_denied, is_directory), none));
    }
    aces.push(Ace::allow(owner, rights(user_bits) | owner_always, none));
    let group_denied = other_bits & !group_bits;
    // Where owner and group are one SID, a denial for the group would take the owner's rights.
    if owner != group {
        aces.push(Ace::allow(group, rights(group_bits) | always, none));
        if group_denied != 0 {
            aces.push(Ace::deny(group, denial(group_denied, is_directory), none));
        }
    }
    aces.push(Ace::allow(Sid::EVERYONE, rights(other_bits) | always, none));
    aces
}

/// The rights that belong to one class's three bits.
fn rights_of(bits: u32, is_directory: bool) -> AccessMask {
    let mut mask = AccessMask::NONE;
    if bits & READ != 0 {
        mask |= AccessMask::FILE_READ;
    }
    if bits & WRITE != 0 {
        mask |= AccessMask::FILE_WRITE;
        if is_directory {
            mask |= AccessMask::DELETE_CHILD;
        }
    }
    if bits & EXECUTE != 0 {
        mask |= AccessMask::FILE_EXECUTE;
    }
    mask
}

/// The rights that bits stand for alone, without those that every class has.
fn denial(bits: u32, is_directory: bool) -> AccessMask {
    let shared = AccessMask::SYNCHRONIZE | AccessMask::READ_CONTROL | AccessMask::READ_ATTRIBUTES;
    rights_of(bits, is_directory)
        .without(shared | AccessMask::WRITE_ATTRIBUTES | AccessMask::READ_EA)
}

fn bits_of(rights: AccessMask) -> u32 {
    let mut bits = 0;
    if rights.contains(AccessMask::READ_DATA) {
        bits |= READ;
    }
    if rights.contains(AccessMask::WRITE_DATA | AccessMask::APPEND_DATA) {
        bits |= WRITE;
    }
    if rights.contains(AccessMask::EXECUTE) {
        bits |= EXECUTE;
    }
    bits
}
