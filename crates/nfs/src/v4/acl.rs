//! Access control lists (RFC 8881, 6.2): the file system's own, shown as they are. Rights have the same bits in both worlds;
//! flags and names differ.

use strongroom_vfs::acl::{Ace, AceFlags, AceKind, Acl, SecurityDescriptor};
use strongroom_vfs::{AccessMask, Sid};

use super::Status;
use super::compound::Compound;
use super::types::OWNER_MAX;
use crate::xdr::{Decoder, Encoder, List, Opaque, Xdr, length};
use strongroom_identity::Kind;

/// Entries of one list.
const ENTRIES_MAX: usize = 1_024;
const ALLOW: u32 = 0;
const DENY: u32 = 1;
/// Only entries that allow and deny are taken; audit is the business of administrators.
pub(crate) const SUPPORT: u32 = 0x01 | 0x02;
const IDENTIFIER_GROUP: u32 = 0x40;
const INHERITED: u32 = 0x80;
/// The four flags of inheritance have the same bits in both worlds.
const INHERITANCE: u32 = 0x0F;
/// The rights that there are here; two more of the protocol are about retention.
const RIGHTS: u32 = AccessMask::FILE_ALL.0;
const RETENTION: u32 = 0x0600;

const OWNER: &[u8] = b"OWNER@";
const GROUP: &[u8] = b"GROUP@";
/// Names that stand for whoever meets a condition.
const NAMED: [(&[u8], Sid); 4] = [
    (b"EVERYONE@", Sid::EVERYONE),
    (b"AUTHENTICATED@", Sid::AUTHENTICATED_USERS),
    (b"NETWORK@", Sid::NETWORK),
    (b"ANONYMOUS@", Sid::ANONYMOUS),
];

xdr_struct! {
    /// nfsace4
    pub(crate) struct Entry<'a> {
        kind: u32,
        flags: u32,
        mask: u32,
        who: Opaque<'a, OWNER_MAX>,
    }
}

impl Compound<'_, '_> {
    pub(crate) fn encode_acl(&self, descriptor: &SecurityDescriptor, to: &mut Encoder) {
        let everybody;
        let entries = match descriptor.dacl.acl() {
            Some(acl) => acl.aces.as_slice(),
            None => {
                // No list at all: everybody may do everything.
                let all = Ace::allow(Sid::EVERYONE, AccessMask::FILE_ALL, AceFlags::default());
                everybody = [all];
                &everybody
            }
        };
        let shown: Vec<_> = entries.iter().filter_map(rights_of).collect();
        to.u32(length(shown.len()));
        for (kind, mask, sid, flags) in shown {
            let (who, group) = self.who(&sid, descriptor);
            let mut bits = u32::from(flags.0) & INHERITANCE;
            if flags.contains(AceFlags::INHERITED) {
                bits |= INHERITED;
            }
            if group {
                bits |= IDENTIFIER_GROUP;
            }
            to.u32(kind).u32(bits).u32(mask.map_generic().0 & RIGHTS);
            to.opaque(&who);
        }
    }

    /// Whom an entry is about, and whether that is a group.
    fn who(&self, sid: &Sid, descriptor: &SecurityDescriptor) -> (Vec<u8>, bool) {
        if let Some((name, _)) = NAMED.iter().find(|(_, named)| named == sid) {
            return (name.to_vec(), false);
        }
        if descriptor.owner == Some(*sid) || *sid == Sid::CREATOR_OWNER {
            return (OWNER.to_vec(), false);
        }
        if descriptor.group == Some(*sid) || *sid == Sid::CREATOR_GROUP {
            return (GROUP.to_vec(), true);
        }
        let group = self.request.server.callers.is_group(sid);
        let kind = if group { Kind::Group } else { Kind::User };
        let numbers = self.request.server.callers.numbers();
        let number = numbers.number(sid);
        // What no number stands for goes by its own text.
        if numbers.sid(kind, number) == *sid {
            (number.to_string().into_bytes(), group)
        } else {
            (sid.to_string().into_bytes(), group)
        }
    }

    /// A list as a client sets it, for a file with this owner and group.
    pub(crate) fn decode_acl(&self, from: &mut Decoder<'_>) -> Result<Vec<SetEntry>, Status> {
        let entries = List::<Entry<'_>, ENTRIES_MAX>::decode(from)?;
        entries
            .0
            .iter()
            .map(|entry| self.set_entry(entry))
            .collect()
    }

    fn set_entry(&self, entry: &Entry<'_>) -> Result<SetEntry, Status> {
        let allow = match entry.kind {
            ALLOW => true,
            DENY => false,
            _ => return Err(Status::ATTRNOTSUPP),
        };
        if entry.mask & !(RIGHTS | RETENTION) != 0 {
            return Err(Status::INVAL);
        }
        let mut flags = AceFlags(u8::try_from(entry.flags & INHERITANCE).unwrap_or(0));
        if entry.flags & INHERITED != 0 {
            flags = flags.union(AceFlags::INHERITED);
        }
        let kind = if entry.flags & IDENTIFIER_GROUP != 0 {
            Kind::Group
        } else {
            Kind::User
        };
        let named = NAMED.iter().find(|(name, _)| *name == entry.who.0);
        let who = match (entry.who.0, named) {
            (OWNER, _) => Who::Owner,
            (GROUP, _) => Who::Group,
            (_, Some((_, sid))) => Who::Sid(*sid),
            (name, None) => Who::Sid(self.named_sid(kind, name)?),
        };
        Ok(SetEntry {
            allow,
            mask: AccessMask(entry.mask & RIGHTS),
            flags,
            who,
        })
    }

    fn named_sid(&self, kind: Kind, name: &[u8]) -> Result<Sid, Status> {
        let text = std::str::from_utf8(name).map_err(|_| Status::BADOWNER)?;
        match text.parse() {
            Ok(sid) => Ok(sid),
            Err(_) => self.sid_of(kind, name),
        }
    }
}

fn rights_of(ace: &Ace) -> Option<(u32, AccessMask, Sid, AceFlags)> {
    match &ace.kind {
        AceKind::Allow { mask, sid } => Some((ALLOW, *mask, *sid, ace.flags)),
        AceKind::Deny { mask, sid } => Some((DENY, *mask, *sid, ace.flags)),
        AceKind::Audit { .. } | AceKind::Other { .. } => None,
    }
}

/// An entry to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetEntry {
    allow: bool,
    mask: AccessMask,
    flags: AceFlags,
    who: Who,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Owner,
    Group,
    Sid(Sid),
}

/// The list for a file with this owner and group. What is passed on for an owner or group is for that of the new file.
pub(crate) fn list_for(entries: &[SetEntry], owner: Sid, group: Sid) -> Acl {
    let mut aces = Vec::new();
    for entry in entries {
        let (here, creator) = match entry.who {
            Who::Owner => (owner, Some(Sid::CREATOR_OWNER)),
            Who::Group => (group, Some(Sid::CREATOR_GROUP)),
            Who::Sid(sid) => (sid, None),
        };
        let both = AceFlags::OBJECT_INHERIT.union(AceFlags::CONTAINER_INHERIT);
        let passed_on = entry.flags.intersects(both);
        let Some(creator) = creator.filter(|_| passed_on) else {
            aces.push(ace(entry, here, entry.flags));
            continue;
        };
        if !entry.flags.contains(AceFlags::INHERIT_ONLY) {
            let inheritance = both.union(AceFlags::NO_PROPAGATE);
            aces.push(ace(entry, here, entry.flags.without(inheritance)));
        }
        aces.push(ace(
            entry,
            creator,
            entry.flags.union(AceFlags::INHERIT_ONLY),
        ));
    }
    Acl { aces }
}

fn ace(entry: &SetEntry, sid: Sid, flags: AceFlags) -> Ace {
    if entry.allow {
        Ace::allow(sid, entry.mask, flags)
    } else {
        Ace::deny(sid, entry.mask, flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_for_the_owner_is_for_the_new_owner() {
        let owner = Sid::unix_user(7);
        let entry = SetEntry {
            allow: true,
            mask: AccessMask::READ_DATA,
            flags: AceFlags::OBJECT_INHERIT,
            who: Who::Owner,
        };
        let list = list_for(&[entry], owner, Sid::unix_group(7));
        let inherit_only = AceFlags::OBJECT_INHERIT.union(AceFlags::INHERIT_ONLY);
        assert_eq!(
            list.aces,
            [
                Ace::allow(owner, AccessMask::READ_DATA, AceFlags::default()),
                Ace::allow(Sid::CREATOR_OWNER, AccessMask::READ_DATA, inherit_only),
            ]
        );
    }
}
