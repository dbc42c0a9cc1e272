//! Keys that differ by place, purpose, pool and nonce, and passphrases.

use strongroom_device::sim::SimEnv;

use super::*;
use crate::PoolError;
use crate::codec::{Reader, Writer};

const CHEAP: KdfParams = KdfParams {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

fn cipher(pool: u8, master: u8) -> Cipher {
    let env: Arc<dyn Env> = SimEnv::new(1);
    Cipher::new(env, PoolId([pool; 16]), &Zeroizing::new([master; 32]))
}

#[test]
fn what_is_sealed_opens_in_its_place_only() {
    let key = |cipher: &Cipher, purpose, nonce: u8, place: &[u64]| {
        cipher.object(purpose, &[nonce; NONCE_LEN], place)
    };
    let one = cipher(1, 1);
    let mut sealed = *b"the bytes of a page";
    let tag = key(&one, Purpose::Index, 3, &[4, 5]).seal(6, b"of", &mut sealed);
    let opens = |key: ObjectKey, part, context: &[u8], bytes: &[u8; 19]| {
        let mut bytes = *bytes;
        key.open(part, context, &tag, &mut bytes)
            .map(|()| bytes == *b"the bytes of a page")
    };
    let right = || key(&one, Purpose::Index, 3, &[4, 5]);
    assert_eq!(opens(right(), 6, b"of", &sealed), Ok(true));
    let wrong = [
        key(&one, Purpose::Index, 3, &[5, 4]),
        key(&one, Purpose::Index, 4, &[4, 5]),
        key(&one, Purpose::Log, 3, &[4, 5]),
        key(&cipher(2, 1), Purpose::Index, 3, &[4, 5]),
        key(&cipher(1, 2), Purpose::Index, 3, &[4, 5]),
    ];
    for (number, wrong) in wrong.into_iter().enumerate() {
        assert_eq!(opens(wrong, 6, b"of", &sealed), Err(Tampered), "{number}");
    }
    assert_eq!(opens(right(), 7, b"of", &sealed), Err(Tampered));
    assert_eq!(opens(right(), 6, b"if", &sealed), Err(Tampered));
    let mut flipped = sealed;
    flipped[3] ^= 1;
    assert_eq!(opens(right(), 6, b"of", &flipped), Err(Tampered));
}

#[test]
fn a_wrapped_key_opens_by_its_passphrase_and_no_other() {
    let env = SimEnv::new(1);
    let pool = PoolId([7; 16]);
    let wrap = |passphrase: &[u8], sequence| {
        WrappedKey::wrap(&*env, pool, &[9; 32], passphrase, CHEAP, sequence).unwrap()
    };
    let wrapped = wrap(b"correct horse", 1);
    assert_eq!(*wrapped.unwrap(pool, b"correct horse").unwrap(), [9; 32]);
    for wrong in [&b"correct hors"[..], b"", b"correct horse "] {
        let opened = wrapped.unwrap(pool, wrong);
        assert!(matches!(opened, Err(PoolError::WrongPassphrase)));
    }
    let other = wrapped.unwrap(PoolId([8; 16]), b"correct horse");
    assert!(matches!(other, Err(PoolError::WrongPassphrase)));
    assert_ne!(wrap(b"correct horse", 1), wrapped, "salt and nonce are new");
}

#[test]
fn a_wrapped_key_is_read_as_it_was_written_and_asks_for_no_more_than_it_may() {
    let env = SimEnv::new(2);
    let pool = PoolId([7; 16]);
    let wrapped = WrappedKey::wrap(&*env, pool, &[9; 32], b"x", CHEAP, 3).unwrap();
    let mut out = Writer::new();
    wrapped.encode(&mut out);
    let bytes = out.into_bytes();
    assert_eq!(bytes.len(), WRAPPED_LEN);
    let decode = |bytes: &[u8]| WrappedKey::decode(&mut Reader::new(bytes));
    assert_eq!(decode(&bytes), Ok(Some(wrapped)));
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err());
    }
    for field in [4, 8, 12] {
        let mut greedy = bytes.clone();
        greedy[field..field + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&greedy), Ok(None));
    }
}

#[test]
fn keys_are_never_shown() {
    let cipher = cipher(1, 0xAB);
    let key = cipher.object(Purpose::Stripe, &[0; NONCE_LEN], &[]);
    assert_eq!(format!("{cipher:?} {key:?}"), "Cipher ObjectKey");
}
