//! Owners of opens and locks in version 4.0: what each asks comes in turn, by a number of its own, and its last answer is kept
//! (RFC 7530, 9.1.7).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Status;

/// Owners that one client may have.
const OWNERS_MAX: usize = 1 << 16;

/// Owners of opens and of locks have names of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Open,
    Lock,
}

#[derive(Debug, Default)]
pub(crate) struct Owner {
    /// The number of the last request that counted; None for an owner that was never heard of.
    pub(crate) sequence: Option<u32>,
    /// It has shown that it is no request of long ago (OPEN_CONFIRM).
    pub(crate) confirmed: bool,
    pub(crate) last: Option<Last>,
}

/// The last request with its answer.
#[derive(Debug, Clone)]
pub(crate) struct Last {
    pub(crate) operation: u32,
    /// The bytes of its arguments.
    pub(crate) arguments: Vec<u8>,
    pub(crate) status: Status,
    /// What stands behind the status.
    pub(crate) body: Vec<u8>,
    /// The file handle that an OPEN led to.
    pub(crate) place: Option<super::super::Place4>,
}

/// Where a request with a number stands.
#[derive(Debug)]
pub(crate) enum Place {
    New,
    Again,
}

impl Owner {
    pub(crate) fn place(&self, sequence: u32) -> Result<Place, Status> {
        match self.sequence {
            None => Ok(Place::New),
            Some(last) if sequence == last.wrapping_add(1) => Ok(Place::New),
            Some(last) if sequence == last && self.last.is_some() => Ok(Place::Again),
            Some(_) => Err(Status::BAD_SEQID),
        }
    }
}

/// Whether a request that ended so took its number (RFC 7530, 9.1.7).
pub(crate) fn counts(status: Status) -> bool {
    ![
        Status::STALE_CLIENTID,
        Status::STALE_STATEID,
        Status::BAD_STATEID,
        Status::BAD_SEQID,
        Status::BADXDR,
        Status::RESOURCE,
        Status::NOFILEHANDLE,
    ]
    .contains(&status)
}

type ByName = HashMap<(Kind, Vec<u8>), Arc<Turns>>;

/// An owner, held by the one request of it that has its turn.
pub(crate) type Turns = tokio::sync::Mutex<Owner>;

#[derive(Debug, Default)]
pub(crate) struct Owners {
    table: Mutex<ByName>,
    /// Names of stateids that were closed last by their owners, for requests that come twice.
    closed: Mutex<HashMap<[u8; 12], Vec<u8>>>,
}

impl Owners {
    pub(crate) fn get(&self, kind: Kind, name: &[u8]) -> Result<Arc<Turns>, Status> {
        let mut table = self.table.lock();
        if let Some(owner) = table.get(&(kind, name.to_vec())) {
            return Ok(Arc::clone(owner));
        }
        if table.len() >= OWNERS_MAX {
            return Err(Status::RESOURCE);
        }
        let owner = Arc::new(Turns::new(Owner::default()));
        table.insert((kind, name.to_vec()), Arc::clone(&owner));
        Ok(owner)
    }

    pub(crate) fn forget(&self, kind: Kind, name: &[u8]) {
        self.table.lock().remove(&(kind, name.to_vec()));
    }

    /// An owner closed something. Only its last one is kept.
    pub(crate) fn closed(&self, other: [u8; 12], owner: &[u8]) {
        let mut closed = self.closed.lock();
        if closed.len() >= OWNERS_MAX {
            closed.clear();
        }
        closed.retain(|_, name| name != owner);
        closed.insert(other, owner.to_vec());
    }

    pub(crate) fn who_closed(&self, other: &[u8; 12]) -> Option<Vec<u8>> {
        self.closed.lock().get(other).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_in_turn_and_the_last_one_may_come_again() {
        let mut owner = Owner::default();
        assert!(matches!(owner.place(17), Ok(Place::New)));
        owner.sequence = Some(u32::MAX);
        assert!(matches!(owner.place(0), Ok(Place::New)));
        assert_eq!(owner.place(u32::MAX).unwrap_err(), Status::BAD_SEQID);
        assert_eq!(owner.place(1).unwrap_err(), Status::BAD_SEQID);
        owner.last = Some(Last {
            operation: 4,
            arguments: Vec::new(),
            status: Status::OK,
            body: Vec::new(),
            place: None,
        });
        assert!(matches!(owner.place(u32::MAX), Ok(Place::Again)));
    }
}
