//! Key derivation, signing, encryption and preauthentication integrity (MS-SMB2 3.1.4 and 3.1.5).
//!
//! Nothing here knows a connection: the server hands in whole messages and keeps the key objects, whose schedules are
//! computed once. Keys are wiped when dropped and never printed.

mod cipher;
mod keys;
mod preauth;
mod signing;

pub use cipher::{
    Cipher, CipherAlgorithm, CipherError, Side, TRANSFORM_HEADER_LEN, TransformHeader,
};
pub use keys::{Derivation, SessionKey, SessionKeys};
pub use preauth::PreauthHash;
pub use signing::{BadSignature, Sender, SigningAlgorithm, SigningKey};

#[cfg(test)]
mod tests;
