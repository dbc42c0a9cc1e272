//! What a new file or directory gets from its parent (MS-DTYP 2.5.3.4).

use strongroom_identity::Sid;

use super::{Ace, AceFlags, AceKind, Acl, AclSlot, Control, SecurityDescriptor};
use crate::{AccessMask, Credentials};

/// A creation, for inheritance.
#[derive(Debug, Clone, Copy)]
pub struct Creation<'a> {
    pub parent: &'a SecurityDescriptor,
    /// The descriptor that the creator gave, if any.
    pub given: Option<&'a SecurityDescriptor>,
    pub is_directory: bool,
    pub creator: &'a Credentials,
}

/// The descriptor of a new object (MS-DTYP 2.5.3.4.1, with DACL_AUTO_INHERIT and SACL_AUTO_INHERIT).
pub fn inherit(creation: &Creation<'_>) -> SecurityDescriptor {
    let given = creation.given;
    let owner = given
        .and_then(|sd| sd.owner)
        .unwrap_or(creation.creator.user);
    let group = given
        .and_then(|sd| sd.group)
        .unwrap_or(creation.creator.primary_group);
    let who = Owners {
        owner,
        group,
        is_directory: creation.is_directory,
    };
    let mut control = Control::default();
    let dacl = new_list(
        &who,
        &creation.parent.dacl,
        given.map(|sd| (&sd.dacl, sd.control.contains(Control::DACL_PROTECTED))),
    );
    control = control.union(flags(
        &dacl,
        Control::DACL_AUTO_INHERITED,
        Control::DACL_PROTECTED,
    ));
    let sacl = new_list(
        &who,
        &creation.parent.sacl,
        given.map(|sd| (&sd.sacl, sd.control.contains(Control::SACL_PROTECTED))),
    );
    if sacl.slot.is_given() {
        control = control.union(flags(
            &sacl,
            Control::SACL_AUTO_INHERITED,
            Control::SACL_PROTECTED,
        ));
    }
    let dacl = match dacl.slot {
        AclSlot::Absent => AclSlot::Present(default_list(owner)),
        slot @ (AclSlot::Null | AclSlot::Present(_)) => slot,
    };
    SecurityDescriptor {
        owner: Some(owner),
        group: Some(group),
        dacl,
        sacl: sacl.slot,
        control,
    }
}

/// Renews the inherited entries of a list after the parent's changed: explicit entries stay and come first.
///
/// Does nothing to a protected or null list.
pub fn reinherit(
    child: &SecurityDescriptor,
    parent: &SecurityDescriptor,
    is_directory: bool,
) -> SecurityDescriptor {
    let mut renewed = child.clone();
    let Some(explicit) = child
        .dacl
        .acl()
        .filter(|_| !child.control.contains(Control::DACL_PROTECTED))
    else {
        return renewed;
    };
    let who = Owners {
        owner: child.owner.unwrap_or(Sid::NULL),
        group: child.group.unwrap_or(Sid::NULL),
        is_directory,
    };
    let mut aces = explicit_entries(explicit);
    aces.extend(inherited(&who, &parent.dacl));
    renewed.dacl = AclSlot::Present(Acl { aces });
    renewed.control = renewed.control.union(Control::DACL_AUTO_INHERITED);
    renewed
}

struct Owners {
    owner: Sid,
    group: Sid,
    is_directory: bool,
}

struct NewList {
    slot: AclSlot,
    auto_inherited: bool,
    protected: bool,
}

fn flags(list: &NewList, auto_inherited: Control, protected: Control) -> Control {
    let mut control = Control::default();
    if list.auto_inherited {
        control = control.union(auto_inherited);
    }
    if list.protected {
        control = control.union(protected);
    }
    control
}

/// ComputeACL (MS-DTYP 2.5.3.4.2).
fn new_list(who: &Owners, parent: &AclSlot, given: Option<(&AclSlot, bool)>) -> NewList {
    let given = given.filter(|(slot, _)| slot.is_given());
    let Some((slot, protected)) = given else {
        let aces = inherited(who, parent);
        let slot = if aces.is_empty() {
            AclSlot::Absent
        } else {
            AclSlot::Present(Acl { aces })
        };
        return NewList {
            slot,
            auto_inherited: true,
            protected: false,
        };
    };
    let Some(acl) = slot.acl() else {
        return NewList {
            slot: AclSlot::Null,
            auto_inherited: false,
            protected,
        };
    };
    let mut aces = Vec::new();
    for ace in explicit_entries(acl) {
        place(who, ace, &mut aces, AceFlags::default());
    }
    if !protected {
        aces.extend(inherited(who, parent));
    }
    NewList {
        slot: AclSlot::Present(Acl { aces }),
        auto_inherited: !protected,
        protected,
    }
}

fn explicit_entries(acl: &Acl) -> Vec<Ace> {
    acl.aces
        .iter()
        .filter(|ace| !ace.flags.contains(AceFlags::INHERITED))
        .cloned()
        .collect()
}

/// ContainerInherit and ObjectInherit (MS-DTYP 2.5.3.4.3 and 2.5.3.4.4), with PostProcessACL.
fn inherited(who: &Owners, parent: &AclSlot) -> Vec<Ace> {
    let mut out = Vec::new();
    let Some(acl) = parent.acl() else { return out };
    for ace in &acl.aces {
        if let Some(flags) = inherited_flags(ace.flags, who.is_directory) {
            let ace = Ace {
                kind: ace.kind.clone(),
                flags,
            };
            place(who, ace, &mut out, AceFlags::INHERITED);
        }
    }
    out
}

/// The flags that an entry carries on a child, or None where the child does not get it.
fn inherited_flags(flags: AceFlags, is_directory: bool) -> Option<AceFlags> {
    let kept = flags.without(AceFlags::INHERIT_ONLY);
    let both = AceFlags::OBJECT_INHERIT.union(AceFlags::CONTAINER_INHERIT);
    let propagation = both.union(AceFlags::NO_PROPAGATE);
    if !is_directory {
        return flags
            .contains(AceFlags::OBJECT_INHERIT)
            .then(|| kept.without(propagation));
    }
    if flags.contains(AceFlags::CONTAINER_INHERIT) {
        let stop = flags.contains(AceFlags::NO_PROPAGATE);
        return Some(if stop {
            kept.without(propagation)
        } else {
            kept
        });
    }
    // An entry for files alone passes through a directory without effect on it.
    (flags.contains(AceFlags::OBJECT_INHERIT) && !flags.contains(AceFlags::NO_PROPAGATE))
        .then(|| kept.union(AceFlags::INHERIT_ONLY))
}

/// Adds an entry, with CREATOR OWNER and CREATOR GROUP replaced by who they are and generic rights
/// by what they mean. On a directory an inheritable original stays for what is created below.
fn place(who: &Owners, ace: Ace, out: &mut Vec<Ace>, mark: AceFlags) {
    let flags = ace.flags.union(mark);
    let Some((mask, sid)) = mask_and_sid(&ace.kind) else {
        out.push(Ace {
            kind: ace.kind,
            flags,
        });
        return;
    };
    let actual = match sid {
        sid if sid == Sid::CREATOR_OWNER => who.owner,
        sid if sid == Sid::CREATOR_GROUP => who.group,
        sid => sid,
    };
    let both = AceFlags::OBJECT_INHERIT.union(AceFlags::CONTAINER_INHERIT);
    let passes_on = who.is_directory && flags.intersects(both);
    let specific = mask.map_generic();
    if actual == sid && specific == mask {
        out.push(Ace {
            kind: ace.kind,
            flags,
        });
        return;
    }
    if !flags.contains(AceFlags::INHERIT_ONLY) {
        let own = flags.without(both.union(AceFlags::NO_PROPAGATE));
        out.push(Ace {
            kind: with(&ace.kind, specific, actual),
            flags: own,
        });
    }
    if passes_on {
        out.push(Ace {
            kind: ace.kind,
            flags: flags.union(AceFlags::INHERIT_ONLY),
        });
    }
}

fn mask_and_sid(kind: &AceKind) -> Option<(AccessMask, Sid)> {
    match kind {
        AceKind::Allow { mask, sid }
        | AceKind::Deny { mask, sid }
        | AceKind::Audit { mask, sid } => Some((*mask, *sid)),
        AceKind::Other { .. } => None,
    }
}

fn with(kind: &AceKind, mask: AccessMask, sid: Sid) -> AceKind {
    match kind {
        AceKind::Allow { .. } => AceKind::Allow { mask, sid },
        AceKind::Deny { .. } => AceKind::Deny { mask, sid },
        AceKind::Audit { .. } => AceKind::Audit { mask, sid },
        AceKind::Other { .. } => kind.clone(),
    }
}

/// What an object gets when nothing is given and nothing inherited: its owner and the system, everything.
fn default_list(owner: Sid) -> Acl {
    let none = AceFlags::default();
    Acl {
        aces: vec![
            Ace::allow(owner, AccessMask::FILE_ALL, none),
            Ace::allow(Sid::LOCAL_SYSTEM, AccessMask::FILE_ALL, none),
        ],
    }
}
