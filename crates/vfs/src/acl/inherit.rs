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

/// The descriptor of a new object (MS-DTYP 2.5.3.4.1). Automatic inheritance is on where the parent's list came of it
/// or was set so (MS-FSA 2.1.5.1.1): only then entries are marked as inherited.
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
    let auto = creation
        .parent
        .control
        .contains(Control::DACL_AUTO_INHERITED);
    let dacl = new_list(
        &Parent {
            slot: &creation.parent.dacl,
            auto,
        },
        &who,
        given.map(|sd| Given {
            slot: &sd.dacl,
            protected: sd.control.contains(Control::DACL_PROTECTED),
            merges: sd.control.contains(Control::DACL_AUTO_INHERIT_REQ),
        }),
    );
    control = control.union(flags(
        &dacl,
        Control::DACL_AUTO_INHERITED,
        Control::DACL_PROTECTED,
    ));
    let auto = creation
        .parent
        .control
        .contains(Control::SACL_AUTO_INHERITED);
    let sacl = new_list(
        &Parent {
            slot: &creation.parent.sacl,
            auto,
        },
        &who,
        given.map(|sd| Given {
            slot: &sd.sacl,
            protected: sd.control.contains(Control::SACL_PROTECTED),
            merges: sd.control.contains(Control::SACL_AUTO_INHERIT_REQ),
        }),
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
    aces.extend(inherited(&who, &parent.dacl, AceFlags::INHERITED));
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

struct Parent<'a> {
    slot: &'a AclSlot,
    /// Automatic inheritance is on.
    auto: bool,
}

impl Parent<'_> {
    fn mark(&self) -> AceFlags {
        if self.auto {
            AceFlags::INHERITED
        } else {
            AceFlags::default()
        }
    }
}

/// A list that the creator gave.
struct Given<'a> {
    slot: &'a AclSlot,
    protected: bool,
    /// The creator wants the parent's entries behind its own.
    merges: bool,
}

/// ComputeACL (MS-DTYP 2.5.3.4.2).
fn new_list(parent: &Parent<'_>, who: &Owners, given: Option<Given<'_>>) -> NewList {
    let Some(given) = given.filter(|given| given.slot.is_given()) else {
        let aces = inherited(who, parent.slot, parent.mark());
        let slot = if aces.is_empty() {
            AclSlot::Absent
        } else {
            AclSlot::Present(Acl { aces })
        };
        return NewList {
            slot,
            auto_inherited: parent.auto,
            protected: false,
        };
    };
    let protected = given.protected;
    let Some(acl) = given.slot.acl() else {
        return NewList {
            slot: AclSlot::Null,
            auto_inherited: false,
            protected,
        };
    };
    let merges = parent.auto && given.merges && !protected;
    let own = if merges {
        explicit_entries(acl)
    } else {
        acl.aces.clone()
    };
    let mut aces = Vec::new();
    for ace in own {
        place(who, ace, &mut aces, AceFlags::default());
    }
    if merges {
        aces.extend(inherited(who, parent.slot, parent.mark()));
    }
    NewList {
        slot: AclSlot::Present(Acl { aces }),
        auto_inherited: merges,
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
fn inherited(who: &Owners, parent: &AclSlot, mark: AceFlags) -> Vec<Ace> {
    let mut out = Vec::new();
    let Some(acl) = parent.acl() else { return out };
    for ace in &acl.aces {
        if let Some(flags) = inherited_flags(ace.flags, who.is_directory) {
            let ace = Ace {
                kind: ace.kind.clone(),
                flags,
            };
            place(who, ace, &mut out, mark);
        }
    }
    out
}

/// The flags that an entry carries on a child, or None where the child does not get it. That the parent had inherited it
/// says nothing about the child.
fn inherited_flags(flags: AceFlags, is_directory: bool) -> Option<AceFlags> {
    let kept = flags.without(AceFlags::INHERIT_ONLY.union(AceFlags::INHERITED));
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

/// A list as it is kept once somebody set it: generic rights are replaced by what they mean, but in entries that are
/// there for children only.
pub(crate) fn without_generic(slot: &AclSlot, is_directory: bool) -> AclSlot {
    let AclSlot::Present(acl) = slot else {
        return slot.clone();
    };
    // CREATOR OWNER and CREATOR GROUP stand for themselves here: they stay as they are written.
    let who = Owners {
        owner: Sid::CREATOR_OWNER,
        group: Sid::CREATOR_GROUP,
        is_directory,
    };
    let mut aces = Vec::with_capacity(acl.aces.len());
    for ace in &acl.aces {
        place(&who, ace.clone(), &mut aces, AceFlags::default());
    }
    AclSlot::Present(Acl { aces })
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
