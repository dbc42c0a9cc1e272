//! Pages of an encrypted pool: each is encrypted whole under a key of its own, whose nonce is new at each writing. Nonce and
//! tag are kept beside the page's checksum, which is that of the encrypted page.

use parking_lot::RwLock;
use strongroom_pool::crypt::{Cipher, NONCE_LEN, ObjectNonce, Purpose, TAG_LEN, Tag, Tampered};

/// Nonce, then tag; zeroes for a page that is not encrypted or was never written.
pub(super) type PageSeal = [u8; SEAL_LEN];
pub(super) const SEAL_LEN: usize = NONCE_LEN + TAG_LEN;
pub(super) const NO_SEAL: PageSeal = [0; SEAL_LEN];

/// Tells pages from records, whose keys are of the same purpose.
const OF_PAGE: u64 = 0;
const OF_RECORD: u64 = 1;

/// What the pages of one opening are opened by.
#[derive(Debug, Default)]
pub(super) struct SealTable(RwLock<Vec<PageSeal>>);

impl SealTable {
    pub(super) fn get(&self, page: u64) -> PageSeal {
        let seals = self.0.read();
        let page = usize::try_from(page).ok();
        let seal = page.and_then(|page| seals.get(page));
        seal.copied().unwrap_or(NO_SEAL)
    }

    pub(super) fn set(&self, page: u64, seal: PageSeal) {
        let Ok(page) = usize::try_from(page) else {
            return;
        };
        let mut seals = self.0.write();
        if seals.len() <= page {
            if seal == NO_SEAL {
                return;
            }
            seals.resize(page + 1, NO_SEAL);
        }
        seals[page] = seal;
    }
}

fn join(nonce: &ObjectNonce, tag: &Tag) -> PageSeal {
    let mut seal = NO_SEAL;
    seal[..NONCE_LEN].copy_from_slice(nonce);
    seal[NONCE_LEN..].copy_from_slice(tag);
    seal
}

fn split(seal: &PageSeal) -> (ObjectNonce, Tag) {
    let (mut nonce, mut tag) = (ObjectNonce::default(), Tag::default());
    nonce.copy_from_slice(&seal[..NONCE_LEN]);
    tag.copy_from_slice(&seal[NONCE_LEN..]);
    (nonce, tag)
}

pub(super) fn seal_page(cipher: &Cipher, page: u64, bytes: &mut [u8]) -> PageSeal {
    let nonce = cipher.nonce();
    let key = cipher.object(Purpose::Index, &nonce, &[OF_PAGE, page]);
    join(&nonce, &key.seal(0, &[], bytes))
}

pub(super) fn open_page(
    cipher: &Cipher,
    page: u64,
    seal: &PageSeal,
    bytes: &mut [u8],
) -> Result<(), Tampered> {
    let (nonce, tag) = split(seal);
    let key = cipher.object(Purpose::Index, &nonce, &[OF_PAGE, page]);
    key.open(0, &[], &tag, bytes)
}

/// Encrypts what a record says of page 0, and binds all else that it says to that.
pub(super) fn seal_record(
    cipher: &Cipher,
    sequence: u64,
    bound: &[u8],
    first: &mut [u8],
) -> PageSeal {
    let nonce = cipher.nonce();
    let key = cipher.object(Purpose::Index, &nonce, &[OF_RECORD, sequence]);
    join(&nonce, &key.seal(0, bound, first))
}

pub(super) fn open_record(
    cipher: &Cipher,
    sequence: u64,
    bound: &[u8],
    seal: &PageSeal,
    first: &mut [u8],
) -> Result<(), Tampered> {
    let (nonce, tag) = split(seal);
    let key = cipher.object(Purpose::Index, &nonce, &[OF_RECORD, sequence]);
    key.open(0, bound, &tag, first)
}
