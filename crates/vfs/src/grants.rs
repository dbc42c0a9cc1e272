//! The grant machine: who may cache what, and what takes it away.
//!
//! SMB oplocks and leases and NFSv4 delegations are all grants: a promise to a holder that it hears of it before
//! something happens that its cache would not survive. Every operation that could disturb a cache passes one of the
//! conflict points ([`Conflict`]); the machine breaks what conflicts, and the operation waits until the holders have
//! answered where it would meet what they still have to write back, or what they still hold open. A holder that does
//! not answer within [`BREAK_TIMEOUT`] has lost its grant.
//!
//! Two kinds exist. A grant with a key of its holder's choice (a lease, a delegation) is shared by all opens under that
//! key, which never disturb it; a grant without one (an oplock) belongs to a single open.
//!
//! What may be cached for reading is taken away twice by a write: before it, where writes are cached elsewhere and must
//! come in first, and after it has taken effect, before it is answered. So no cache that was filled in between is left.
//!
//! Lock order: the node's state, its list of grants, one grant, whatever the holder locks. A holder is told under the
//! grant's lock, so that it hears of changes in their order; it must not block and must not call the file system.

mod grant;
mod keys;
mod list;
mod wait;

pub use grant::{Grant, GrantView, NotAcknowledged};
pub(crate) use keys::Keys;
pub(crate) use list::{Ask, Grants};
pub use wait::waits_for_holder;
pub(crate) use wait::{Blockers, until_settled};

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::HandleId;

/// How long a holder may take to answer (MS-SMB2 3.3.2.1: 35 seconds).
pub const BREAK_TIMEOUT: Duration = Duration::from_secs(35);

/// What a holder may do without asking. The three rights of an SMB lease; a read delegation is `read + handle`,
/// a write delegation is all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct GrantRights {
    /// Answer reads from its cache.
    pub read: bool,
    /// Keep writes and locks in its cache.
    pub write: bool,
    /// Keep the file open after its user closed it.
    pub handle: bool,
}

impl GrantRights {
    pub const NONE: Self = Self {
        read: false,
        write: false,
        handle: false,
    };
    pub const READ: Self = Self {
        read: true,
        ..Self::NONE
    };
    pub const ALL: Self = Self {
        read: true,
        write: true,
        handle: true,
    };

    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self {
            read: self.read && other.read,
            write: self.write && other.write,
            handle: self.handle && other.handle,
        }
    }

    pub fn contains(self, other: Self) -> bool {
        other.intersect(self) == other
    }

    pub(crate) fn bits(self) -> u8 {
        u8::from(self.read) | u8::from(self.write) << 1 | u8::from(self.handle) << 2
    }

    pub(crate) fn from_bits(bits: u8) -> Self {
        Self {
            read: bits & 1 != 0,
            write: bits & 2 != 0,
            handle: bits & 4 != 0,
        }
    }

    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// A break from these rights must be answered: there may be something to write back or to close.
    fn need_answer(self) -> bool {
        self.write || self.handle
    }
}

/// Whose cache: operations under the same key do not disturb it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantKey {
    /// Chosen by the holder: shared by all its opens that name it.
    Chosen {
        /// Who chose it; for SMB the client's GUID.
        owner: [u8; 16],
        name: [u8; 16],
    },
    /// That of a single open.
    Open(HandleId),
}

impl GrantKey {
    /// Owner and name of a key of the holder's choice.
    pub(crate) fn chosen(self) -> Option<([u8; 16], [u8; 16])> {
        match self {
            Self::Chosen { owner, name } => Some((owner, name)),
            Self::Open(_) => None,
        }
    }
}

/// What an open asks for.
#[derive(Debug, Clone, Default)]
pub enum GrantRequest {
    #[default]
    None,
    Wanted(GrantWish),
    /// Nothing, but what is held under this key is the opener's own: the open does not disturb it.
    Under(GrantKey),
}

#[derive(Debug, Clone)]
pub struct GrantWish {
    /// One of the holder's choice; None for a grant to this open alone.
    pub key: Option<GrantKey>,
    pub rights: GrantRights,
    /// A directory's listing may be cached as well.
    pub directories: bool,
    /// The first open under a key brings the holder; those of later ones are not used.
    pub holder: Arc<dyn GrantHolder>,
}

impl GrantRequest {
    /// The key of the open's choice.
    pub(crate) fn key(&self) -> Option<GrantKey> {
        match self {
            Self::None | Self::Under(_) => None,
            Self::Wanted(wish) => wish.key,
        }
    }

    /// The key under which the opener's grants are, whether it asks for one now or not.
    pub(crate) fn by(&self) -> Option<GrantKey> {
        match self {
            Self::Under(key) => Some(*key),
            Self::None | Self::Wanted(_) => self.key(),
        }
    }
}

/// Hears what becomes of its grant, in the order in which it happens. Called under the grant's lock: it must neither
/// block nor call the file system. The holder answers by [`crate::Vfs::acknowledge`], later.
pub trait GrantHolder: Any + Send + Sync + Debug {
    /// The grant begins with these rights, or grows to them.
    fn granted(&self, rights: GrantRights);
    fn broken(&self, broken: Broken);

    /// How long it may take to answer.
    fn patience(&self) -> Duration {
        BREAK_TIMEOUT
    }

    /// Whether it caches attributes as well: then their changes break the grant, too.
    fn caches_attributes(&self) -> bool {
        false
    }
}

/// A break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    pub from: GrantRights,
    pub to: GrantRights,
    /// The holder must acknowledge; until then it keeps what it had. Otherwise it has lost it already.
    pub must_answer: bool,
    /// The next step of a break whose first step was just answered.
    pub further: bool,
}

/// What is about to happen, or has happened, for the grants to be judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Conflict {
    /// Another open that shares the file (MS-FSA 2.1.5.1.2).
    Open,
    /// An open that replaces the content.
    Overwrite,
    /// An open that fails on share modes, were the holders that only keep the file open not to close it.
    Sharing,
    /// The content is to be changed: what others have not written back comes first.
    WriteBegins,
    /// The content, or what may be read of it, has changed.
    Written,
    /// An open has replaced the content; what it was granted itself begins after that.
    Replaced,
    /// The name is to change or to go.
    Name,
    /// Attributes are to change: it concerns only holders that cache them.
    Attributes,
    /// What a directory's listing shows has changed.
    Directory,
}

impl Conflict {
    /// What a holder of `rights` may keep.
    pub(crate) fn leaves(self, rights: GrantRights) -> GrantRights {
        match self {
            Self::Open => GrantRights {
                write: false,
                ..rights
            },
            Self::Sharing | Self::Name => GrantRights {
                handle: false,
                ..rights
            },
            Self::WriteBegins if !rights.write => rights,
            Self::Overwrite
            | Self::WriteBegins
            | Self::Written
            | Self::Replaced
            | Self::Attributes
            | Self::Directory => GrantRights::NONE,
        }
    }

    /// Whether the operation waits for a holder of `rights` that are to shrink.
    fn waits_for(self, rights: GrantRights) -> bool {
        match self {
            Self::Open | Self::Overwrite | Self::WriteBegins => rights.write,
            Self::Sharing | Self::Name | Self::Attributes => rights.handle,
            Self::Written | Self::Replaced | Self::Directory => false,
        }
    }

    /// Opens wait for every break under way, whatever it is about: what is granted next depends on its outcome.
    fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Overwrite | Self::Sharing)
    }
}
