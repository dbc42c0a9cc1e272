//! File handles: what they name, and a code that only this pool can make, so that a guessed one opens nothing.
//!
//! ```text
//! 0 version u8 = 1   1 kind u8   2 zero u16   4 share u32   8 inode u64   16 code: the first 16 bytes of HMAC-SHA-256
//! ```
//! Of a file as it was at an instant, the instant's group and time (u64 each) stand before the code.
//! Numbers are big-endian. The key is the pool's, so handles outlive restarts.

use aws_lc_rs::hmac;
use smallvec::SmallVec;
use strongroom_vfs::{Inode, Instant, ShareId, Timestamp, Txg};

const VERSION: u8 = 1;
const KIND_FILE: u8 = 0;
const KIND_PSEUDO: u8 = 1;
const KIND_HISTORY: u8 = 2;
const KIND_PAST: u8 = 3;
const BODY: usize = 16;
const INSTANT: usize = 16;
const CODE: usize = 16;
/// The length of the handle of a file as it is now.
pub const HANDLE_LEN: usize = BODY + CODE;
/// The longest handle.
pub const HANDLE_LEN_MAX: usize = HANDLE_LEN + INSTANT;

pub(crate) type FileHandle = SmallVec<[u8; HANDLE_LEN_MAX]>;

/// What a file handle names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The directory of all exports, which exists for version 4 only.
    Pseudo,
    File {
        share: ShareId,
        inode: Inode,
    },
    /// The directory of a share that holds its past.
    History {
        share: ShareId,
    },
    /// A file as it was.
    Past {
        share: ShareId,
        inode: Inode,
        then: Instant,
    },
}

/// Makes and checks handles.
#[derive(Debug)]
pub(crate) struct Handles {
    key: hmac::Key,
}

impl Handles {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    pub(crate) fn make(&self, place: Place) -> FileHandle {
        let (kind, share, inode, then) = match place {
            Place::Pseudo => (KIND_PSEUDO, 0, 0, None),
            Place::File { share, inode } => (KIND_FILE, share.0, inode.0, None),
            Place::History { share } => (KIND_HISTORY, share.0, 0, None),
            Place::Past { share, inode, then } => (KIND_PAST, share.0, inode.0, Some(then)),
        };
        let mut handle = FileHandle::from_slice(&[VERSION, kind, 0, 0]);
        handle.extend_from_slice(&share.to_be_bytes());
        handle.extend_from_slice(&inode.to_be_bytes());
        if let Some(then) = then {
            handle.extend_from_slice(&then.txg.0.to_be_bytes());
            handle.extend_from_slice(&then.time.0.to_be_bytes());
        }
        let code = hmac::sign(&self.key, &handle);
        handle.extend_from_slice(&code.as_ref()[..CODE]);
        handle
    }

    /// None for what this pool never gave out.
    pub(crate) fn read(&self, handle: &[u8]) -> Option<Place> {
        let (body, code) = handle.split_at_checked(handle.len().checked_sub(CODE)?)?;
        let right = hmac::sign(&self.key, body);
        let differ = code
            .iter()
            .zip(right.as_ref())
            .fold(0, |all, (a, b)| all | (a ^ b));
        if differ != 0 || *body.first()? != VERSION {
            return None;
        }
        let share = ShareId(u32::from_be_bytes(*body.get(4..)?.first_chunk()?));
        let number = |at: usize| Some(u64::from_be_bytes(*body.get(at..)?.first_chunk()?));
        let inode = Inode(number(8)?);
        let place = match *body.get(1)? {
            KIND_PSEUDO => Place::Pseudo,
            KIND_FILE => Place::File { share, inode },
            KIND_HISTORY => Place::History { share },
            KIND_PAST => {
                let then = Instant {
                    txg: Txg(number(BODY)?),
                    time: Timestamp(number(BODY + 8)?),
                };
                Place::Past { share, inode, then }
            }
            _ => return None,
        };
        let long = matches!(place, Place::Past { .. });
        (body.len() == if long { BODY + INSTANT } else { BODY }).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_come_back_and_only_those_of_the_same_key() {
        let handles = Handles::new(&[1; 32]);
        for place in [
            Place::Pseudo,
            Place::File {
                share: ShareId(7),
                inode: Inode(u64::MAX),
            },
            Place::History { share: ShareId(7) },
            Place::Past {
                share: ShareId(7),
                inode: Inode(u64::MAX),
                then: Instant {
                    txg: Txg(9),
                    time: Timestamp(10),
                },
            },
        ] {
            let handle = handles.make(place);
            assert_eq!(handles.read(&handle), Some(place));
            assert_eq!(Handles::new(&[2; 32]).read(&handle), None);
        }
    }

    #[test]
    fn every_changed_bit_and_every_other_length_is_refused() {
        let handles = Handles::new(&[1; 32]);
        let handle = handles.make(Place::File {
            share: ShareId(1),
            inode: Inode(2),
        });
        for bit in 0..8 * HANDLE_LEN {
            let mut forged = handle.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(handles.read(&forged), None, "bit {bit}");
        }
        for len in 0..HANDLE_LEN {
            assert_eq!(handles.read(&handle[..len]), None);
        }
    }
}
