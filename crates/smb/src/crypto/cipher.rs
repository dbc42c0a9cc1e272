//! Encryption of SMB 3 messages under a TRANSFORM_HEADER (MS-SMB2 2.2.41, 3.1.4.3).
//!
//! ```text
//!  0  ProtocolId  FD 'S' 'M' 'B'
//!  4  Signature   16 bytes: the tag
//! 20  Nonce       16 bytes: 11 used by CCM, 12 by GCM, the rest zero      ┐
//! 36  OriginalMessageSize u32                                             │ authenticated,
//! 40  Reserved u16                                                        │ not encrypted
//! 42  Flags u16: 1 = encrypted (in 3.0: EncryptionAlgorithm, 1 = CCM)      │
//! 44  SessionId u64                                                       ┘
//! 52  the message, encrypted
//! ```

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use aes::{Aes128, Aes256};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ccm::aead::generic_array::GenericArray;
use ccm::aead::{AeadInPlace, KeyInit};
use ccm::consts::{U11, U16};

/// Bytes of a TRANSFORM_HEADER.
pub const TRANSFORM_HEADER_LEN: usize = 52;
const PROTOCOL_ID: [u8; 4] = [0xFD, b'S', b'M', b'B'];
const TAG: std::ops::Range<usize> = 4..20;
const NONCE: std::ops::Range<usize> = 20..36;
const AUTHENTICATED: std::ops::Range<usize> = 20..52;
const TAG_LEN: usize = 16;
const FLAG_ENCRYPTED: u16 = 1;

/// The ciphers of SMB2_ENCRYPTION_CAPABILITIES (MS-SMB2 2.2.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CipherAlgorithm {
    Aes128Ccm,
    Aes128Gcm,
    Aes256Ccm,
    Aes256Gcm,
}

impl CipherAlgorithm {
    pub fn from_id(id: u16) -> Option<Self> {
        match id {
            1 => Some(Self::Aes128Ccm),
            2 => Some(Self::Aes128Gcm),
            3 => Some(Self::Aes256Ccm),
            4 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }

    pub fn id(self) -> u16 {
        match self {
            Self::Aes128Ccm => 1,
            Self::Aes128Gcm => 2,
            Self::Aes256Ccm => 3,
            Self::Aes256Gcm => 4,
        }
    }

    /// Bytes of a key: 16 or 32.
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128Ccm | Self::Aes128Gcm => 16,
            Self::Aes256Ccm | Self::Aes256Gcm => 32,
        }
    }

    /// As people know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128Ccm => "AES-128-CCM",
            Self::Aes128Gcm => "AES-128-GCM",
            Self::Aes256Ccm => "AES-256-CCM",
            Self::Aes256Gcm => "AES-256-GCM",
        }
    }
}

/// Which end of the session holds a [`Cipher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Server,
    Client,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    #[error("not an encrypted SMB message")]
    NotTransform,
    #[error("the encrypted message's size is not the announced one")]
    Size,
    #[error("the encrypted message was tampered with, or is not of this session")]
    Tag,
    /// The session must end: one more message would repeat a nonce.
    #[error("the session's encryption key is used up")]
    NonceExhausted,
}

/// What a TRANSFORM_HEADER says; believed only once [`Cipher::open`] succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransformHeader {
    pub session_id: u64,
    pub original_message_size: u32,
}

impl TransformHeader {
    /// True if a frame begins as an encrypted one does.
    pub fn is_transform(frame: &[u8]) -> bool {
        frame.starts_with(&PROTOCOL_ID)
    }

    /// Reads the header of a whole frame and checks its size against it.
    pub fn parse(frame: &[u8]) -> Result<Self, CipherError> {
        let (header, body) = frame
            .split_first_chunk::<TRANSFORM_HEADER_LEN>()
            .ok_or(CipherError::NotTransform)?;
        let flags = u16::from_le_bytes([header[42], header[43]]);
        if !header.starts_with(&PROTOCOL_ID) || flags != FLAG_ENCRYPTED {
            return Err(CipherError::NotTransform);
        }
        let [a, b, c, d] = [header[36], header[37], header[38], header[39]];
        let original_message_size = u32::from_le_bytes([a, b, c, d]);
        if usize::try_from(original_message_size) != Ok(body.len()) || body.is_empty() {
            return Err(CipherError::Size);
        }
        let mut session_id = [0; 8];
        session_id.copy_from_slice(&header[44..]);
        Ok(Self {
            session_id: u64::from_le_bytes(session_id),
            original_message_size,
        })
    }
}

/// Both directions of one session's encryption.
///
/// Nonces come from a counter that starts at zero with the keys. So a key pair may be in one `Cipher` only: it is made
/// once a session, shared by the session's channels, and kept when the session authenticates again.
pub struct Cipher {
    algorithm: CipherAlgorithm,
    sealing: Aead,
    opening: Aead,
    next_nonce: AtomicU64,
}

enum Aead {
    Gcm(LessSafeKey),
    Ccm128(Box<ccm::Ccm<Aes128, U16, U11>>),
    Ccm256(Box<ccm::Ccm<Aes256, U16, U11>>),
}

impl Cipher {
    /// # Panics
    /// If a key has not the algorithm's length.
    pub fn new(algorithm: CipherAlgorithm, side: Side, to_server: &[u8], to_client: &[u8]) -> Self {
        let (sealing, opening) = match side {
            Side::Server => (to_client, to_server),
            Side::Client => (to_server, to_client),
        };
        Cipher {
            algorithm,
            sealing: Aead::new(algorithm, sealing),
            opening: Aead::new(algorithm, opening),
            next_nonce: AtomicU64::new(0),
        }
    }

    pub fn algorithm(&self) -> CipherAlgorithm {
        self.algorithm
    }

    /// Encrypts in place. `frame` is room for the header (its first 52 bytes, overwritten) and the message behind it.
    ///
    /// # Panics
    /// If `frame` has no room for the header or is beyond 4 GiB: we made it.
    pub fn seal(&self, session_id: u64, frame: &mut [u8]) -> Result<(), CipherError> {
        let counter = self.take_nonce()?;
        let (header, message) = frame
            .split_first_chunk_mut::<TRANSFORM_HEADER_LEN>()
            .expect("room for the header");
        let size = u32::try_from(message.len()).expect("a message is below 4 GiB");
        header.fill(0);
        header[..4].copy_from_slice(&PROTOCOL_ID);
        header[20..28].copy_from_slice(&counter.to_le_bytes());
        header[36..40].copy_from_slice(&size.to_le_bytes());
        header[42..44].copy_from_slice(&FLAG_ENCRYPTED.to_le_bytes());
        header[44..].copy_from_slice(&session_id.to_le_bytes());
        let tag = self
            .sealing
            .seal(&header[NONCE], &header[AUTHENTICATED], message);
        header[TAG].copy_from_slice(&tag);
        Ok(())
    }

    /// Decrypts a whole frame in place and gives the message in it. On `Err` the frame's content is void.
    pub fn open<'a>(&self, frame: &'a mut [u8]) -> Result<&'a mut [u8], CipherError> {
        TransformHeader::parse(frame)?;
        let (header, message) = frame.split_at_mut(TRANSFORM_HEADER_LEN);
        self.opening.open(
            &header[NONCE],
            &header[AUTHENTICATED],
            &header[TAG],
            message,
        )?;
        Ok(message)
    }

    #[cfg(test)]
    pub(super) fn set_nonce_for_test(&self, next: u64) {
        self.next_nonce.store(next, Ordering::Relaxed);
    }

    fn take_nonce(&self) -> Result<u64, CipherError> {
        self.next_nonce
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |counter| {
                counter.checked_add(1)
            })
            .map_err(|_| CipherError::NonceExhausted)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({}, ..)", self.algorithm.name())
    }
}

impl Aead {
    fn new(algorithm: CipherAlgorithm, key: &[u8]) -> Self {
        let gcm = |kind| LessSafeKey::new(UnboundKey::new(kind, key).expect("the key's length"));
        match algorithm {
            CipherAlgorithm::Aes128Gcm => Aead::Gcm(gcm(&AES_128_GCM)),
            CipherAlgorithm::Aes256Gcm => Aead::Gcm(gcm(&AES_256_GCM)),
            CipherAlgorithm::Aes128Ccm => Aead::Ccm128(Box::new(
                KeyInit::new_from_slice(key).expect("the key's length"),
            )),
            CipherAlgorithm::Aes256Ccm => Aead::Ccm256(Box::new(
                KeyInit::new_from_slice(key).expect("the key's length"),
            )),
        }
    }

    /// `nonce` is the header's whole field, of which each mode uses its part.
    fn seal(&self, nonce: &[u8], authenticated: &[u8], message: &mut [u8]) -> [u8; TAG_LEN] {
        let mut tag = [0; TAG_LEN];
        match self {
            Aead::Gcm(key) => {
                let sealed = key
                    .seal_in_place_separate_tag(gcm_nonce(nonce), Aad::from(authenticated), message)
                    .expect("a message is below GCM's bound");
                tag.copy_from_slice(sealed.as_ref());
            }
            Aead::Ccm128(key) => {
                tag.copy_from_slice(&ccm_seal(&**key, nonce, authenticated, message))
            }
            Aead::Ccm256(key) => {
                tag.copy_from_slice(&ccm_seal(&**key, nonce, authenticated, message))
            }
        }
        tag
    }

    fn open(
        &self,
        nonce: &[u8],
        authenticated: &[u8],
        tag: &[u8],
        message: &mut [u8],
    ) -> Result<(), CipherError> {
        let opened = match self {
            Aead::Gcm(key) => key
                .open_in_place_separate_tag(
                    gcm_nonce(nonce),
                    Aad::from(authenticated),
                    tag,
                    message,
                )
                .is_ok(),
            Aead::Ccm128(key) => ccm_open(&**key, nonce, authenticated, tag, message),
            Aead::Ccm256(key) => ccm_open(&**key, nonce, authenticated, tag, message),
        };
        if opened {
            Ok(())
        } else {
            Err(CipherError::Tag)
        }
    }
}

fn gcm_nonce(field: &[u8]) -> Nonce {
    Nonce::try_assume_unique_for_key(&field[..12]).expect("twelve bytes")
}

fn ccm_seal<C>(cipher: &C, nonce: &[u8], authenticated: &[u8], message: &mut [u8]) -> [u8; TAG_LEN]
where
    C: AeadInPlace<NonceSize = U11, TagSize = U16>,
{
    cipher
        .encrypt_in_place_detached(
            GenericArray::from_slice(&nonce[..11]),
            authenticated,
            message,
        )
        .expect("a message is below CCM's bound")
        .into()
}

fn ccm_open<C>(
    cipher: &C,
    nonce: &[u8],
    authenticated: &[u8],
    tag: &[u8],
    message: &mut [u8],
) -> bool
where
    C: AeadInPlace<NonceSize = U11, TagSize = U16>,
{
    let nonce = GenericArray::from_slice(&nonce[..11]);
    let tag = GenericArray::from_slice(tag);
    cipher
        .decrypt_in_place_detached(nonce, authenticated, message, tag)
        .is_ok()
}
