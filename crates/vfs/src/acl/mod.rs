//! Security descriptors, their binary form, the access check, inheritance, and POSIX modes as a view of them.
//!
//! One model for every protocol: Windows access control lists over SIDs, which NFSv4 shares. Sources: MS-DTYP 2.4.4
//! to 2.4.6 (structures), 2.5.3.2 (access check), 2.5.3.4 (inheritance).

mod check;
mod codec;
mod inherit;
mod mode;

pub use check::{access_check, maximal_access};
pub use codec::{DescriptorError, MAX_DESCRIPTOR_LEN};
pub(crate) use inherit::without_generic;
pub use inherit::{Creation, inherit, reinherit};
pub use mode::{
    SET_GROUP_ID, SPECIAL, STICKY, descriptor_with_mode, mode_of, with_mode, with_owner,
};

use strongroom_identity::Sid;

use crate::AccessMask;

/// Flags of an entry (MS-DTYP 2.4.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AceFlags(pub u8);

impl AceFlags {
    pub const OBJECT_INHERIT: Self = Self(0x01);
    pub const CONTAINER_INHERIT: Self = Self(0x02);
    pub const NO_PROPAGATE: Self = Self(0x04);
    pub const INHERIT_ONLY: Self = Self(0x08);
    pub const INHERITED: Self = Self(0x10);
    pub const SUCCESSFUL_ACCESS: Self = Self(0x40);
    pub const FAILED_ACCESS: Self = Self(0x80);

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AceKind {
    Allow {
        mask: AccessMask,
        sid: Sid,
    },
    Deny {
        mask: AccessMask,
        sid: Sid,
    },
    Audit {
        mask: AccessMask,
        sid: Sid,
    },
    /// Any other type, kept as it came (the bytes after the entry's header) and without effect.
    Other {
        kind: u8,
        body: Vec<u8>,
    },
}

/// One entry of an access control list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ace {
    pub kind: AceKind,
    pub flags: AceFlags,
}

impl Ace {
    pub fn allow(sid: Sid, mask: AccessMask, flags: AceFlags) -> Self {
        Self {
            kind: AceKind::Allow { mask, sid },
            flags,
        }
    }

    pub fn deny(sid: Sid, mask: AccessMask, flags: AceFlags) -> Self {
        Self {
            kind: AceKind::Deny { mask, sid },
            flags,
        }
    }
}

/// Entries in the order in which they are judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Acl {
    pub aces: Vec<Ace>,
}

/// Control flags of a descriptor (MS-DTYP 2.4.6); SELF_RELATIVE and the PRESENT flags follow from the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Control(pub u16);

impl Control {
    pub const OWNER_DEFAULTED: Self = Self(0x0001);
    pub const GROUP_DEFAULTED: Self = Self(0x0002);
    pub const DACL_PRESENT: Self = Self(0x0004);
    pub const DACL_DEFAULTED: Self = Self(0x0008);
    pub const SACL_PRESENT: Self = Self(0x0010);
    pub const SACL_DEFAULTED: Self = Self(0x0020);
    pub const DACL_AUTO_INHERIT_REQ: Self = Self(0x0100);
    pub const SACL_AUTO_INHERIT_REQ: Self = Self(0x0200);
    pub const DACL_AUTO_INHERITED: Self = Self(0x0400);
    pub const SACL_AUTO_INHERITED: Self = Self(0x0800);
    pub const DACL_PROTECTED: Self = Self(0x1000);
    pub const SACL_PROTECTED: Self = Self(0x2000);
    pub const RM_CONTROL_VALID: Self = Self(0x4000);
    pub const SELF_RELATIVE: Self = Self(0x8000);

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A discretionary or system list as a descriptor can hold it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum AclSlot {
    /// Nothing said: on a file it means what was inherited, in a request it means "not given".
    #[default]
    Absent,
    /// Present without a list: everyone may do everything (for a DACL).
    Null,
    Present(Acl),
}

impl AclSlot {
    pub fn acl(&self) -> Option<&Acl> {
        match self {
            Self::Present(acl) => Some(acl),
            Self::Absent | Self::Null => None,
        }
    }

    pub fn is_given(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

/// Who owns a file and who may do what to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SecurityDescriptor {
    pub owner: Option<Sid>,
    pub group: Option<Sid>,
    pub dacl: AclSlot,
    pub sacl: AclSlot,
    pub control: Control,
}

/// Which parts of a descriptor are meant (MS-DTYP 2.4.7, SECURITY_INFORMATION).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SecurityParts(pub u32);

impl SecurityParts {
    pub const OWNER: Self = Self(0x0000_0001);
    pub const GROUP: Self = Self(0x0000_0002);
    pub const DACL: Self = Self(0x0000_0004);
    pub const SACL: Self = Self(0x0000_0008);
    pub const LABEL: Self = Self(0x0000_0010);
    pub const UNPROTECTED_SACL: Self = Self(0x1000_0000);
    pub const UNPROTECTED_DACL: Self = Self(0x2000_0000);
    pub const PROTECTED_SACL: Self = Self(0x4000_0000);
    pub const PROTECTED_DACL: Self = Self(0x8000_0000);

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
