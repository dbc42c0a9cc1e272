//! The access check (MS-DTYP 2.5.3.2).

use strongroom_identity::Sid;

use super::{AceFlags, AceKind, AclSlot, SecurityDescriptor};
use crate::{AccessMask, Credentials, Result, VfsError};

/// What is granted of `desired`, with MAXIMUM_ALLOWED resolved.
///
/// Errors: `AccessDenied`; `PrivilegeNotHeld` where ACCESS_SYSTEM_SECURITY is asked for without the privilege.
pub fn access_check(
    descriptor: &SecurityDescriptor,
    credentials: &Credentials,
    desired: AccessMask,
) -> Result<AccessMask> {
    let mapped = desired.map_generic();
    if mapped.intersects(AccessMask::ACCESS_SYSTEM_SECURITY) && !credentials.admin {
        return Err(VfsError::PrivilegeNotHeld);
    }
    let maximum = mapped.intersects(AccessMask::MAXIMUM_ALLOWED);
    let wanted = mapped.without(AccessMask::MAXIMUM_ALLOWED);
    let allowed = maximal_access(descriptor, credentials);
    let privileged = if credentials.admin {
        wanted & privileged_rights()
    } else {
        AccessMask::NONE
    };
    if !(allowed | privileged).contains(wanted) {
        return Err(VfsError::AccessDenied);
    }
    let granted = if maximum { wanted | allowed } else { wanted };
    if granted.is_empty() {
        Err(VfsError::AccessDenied)
    } else {
        Ok(granted)
    }
}

/// Rights that come from privileges and not from the list: SeSecurity and SeTakeOwnership.
fn privileged_rights() -> AccessMask {
    AccessMask::ACCESS_SYSTEM_SECURITY | AccessMask::WRITE_OWNER
}

/// Every right that the descriptor gives these credentials, privileges apart.
pub fn maximal_access(descriptor: &SecurityDescriptor, credentials: &Credentials) -> AccessMask {
    let owns = descriptor.owner.is_some_and(|owner| credentials.is(&owner));
    let list = match &descriptor.dacl {
        AclSlot::Absent | AclSlot::Null => return AccessMask::FILE_ALL,
        AclSlot::Present(acl) => acl,
    };
    let mut allowed = AccessMask::NONE;
    let mut denied = AccessMask::NONE;
    let mut owner_rights_named = false;
    for ace in &list.aces {
        if ace.flags.contains(AceFlags::INHERIT_ONLY) {
            continue;
        }
        let applies = |sid: &Sid| credentials.is(sid) || (owns && *sid == Sid::OWNER_RIGHTS);
        match &ace.kind {
            AceKind::Allow { mask, sid } => {
                owner_rights_named |= *sid == Sid::OWNER_RIGHTS;
                if applies(sid) {
                    allowed |= mask.map_generic().without(denied);
                }
            }
            AceKind::Deny { mask, sid } => {
                owner_rights_named |= *sid == Sid::OWNER_RIGHTS;
                if applies(sid) {
                    denied |= mask.map_generic().without(allowed);
                }
            }
            AceKind::Audit { .. } | AceKind::Other { .. } => {}
        }
    }
    // An owner may always read and set the list, unless entries for OWNER RIGHTS say otherwise.
    if owns && !owner_rights_named {
        allowed |= AccessMask::READ_CONTROL | AccessMask::WRITE_DAC;
    }
    allowed & (AccessMask::FILE_ALL | AccessMask::ACCESS_SYSTEM_SECURITY)
}
