//! File handles: what they name, and a code that only this pool can make, so that a guessed one opens nothing.
//!
//! ```text
//! 0 version u8 = 1   1 kind u8   2 zero u16   4 share u32   8 inode u64   16 code: the first 16 bytes of HMAC-SHA-256
//! ```
//! Numbers are big-endian. The key is the pool's, so handles outlive restarts.

use aws_lc_rs::hmac;
use strongroom_vfs::{Inode, ShareId};

const VERSION: u8 = 1;
const KIND_FILE: u8 = 0;
const KIND_PSEUDO: u8 = 1;
const BODY: usize = 16;
const CODE: usize = 16;
/// The length of every handle.
pub const HANDLE_LEN: usize = BODY + CODE;

/// What a file handle names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The directory of all exports, which exists for version 4 only.
    Pseudo,
    File {
        share: ShareId,
        inode: Inode,
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

    pub(crate) fn make(&self, place: Place) -> [u8; HANDLE_LEN] {
        let (kind, share, inode) = match place {
            Place::Pseudo => (KIND_PSEUDO, 0, 0),
            Place::File { share, inode } => (KIND_FILE, share.0, inode.0),
        };
        let mut handle = [0; HANDLE_LEN];
        let (body, code) = handle.split_at_mut(BODY);
        body[0] = VERSION;
        body[1] = kind;
        body[4..8].copy_from_slice(&share.to_be_bytes());
        body[8..16].copy_from_slice(&inode.to_be_bytes());
        code.copy_from_slice(&hmac::sign(&self.key, body).as_ref()[..CODE]);
        handle
    }

    /// None for what this pool never gave out.
    pub(crate) fn read(&self, handle: &[u8]) -> Option<Place> {
        let handle: &[u8; HANDLE_LEN] = handle.try_into().ok()?;
        let (body, code) = handle.split_at(BODY);
        let right = hmac::sign(&self.key, body);
        let differ = code
            .iter()
            .zip(right.as_ref())
            .fold(0, |all, (a, b)| all | (a ^ b));
        if differ != 0 || body[0] != VERSION {
            return None;
        }
        let share = u32::from_be_bytes(*body[4..].first_chunk()?);
        let inode = u64::from_be_bytes(*body[8..].first_chunk()?);
        match body[1] {
            KIND_PSEUDO => Some(Place::Pseudo),
            KIND_FILE => Some(Place::File {
                share: ShareId(share),
                inode: Inode(inode),
            }),
            _ => None,
        }
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
            let mut forged = handle;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(handles.read(&forged), None, "bit {bit}");
        }
        for len in 0..HANDLE_LEN {
            assert_eq!(handles.read(&handle[..len]), None);
        }
    }
}
