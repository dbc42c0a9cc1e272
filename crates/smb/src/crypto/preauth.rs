//! Preauthentication integrity of SMB 3.1.1 (MS-SMB2 3.1.5.2).

use std::fmt;

use aws_lc_rs::digest::{Context, SHA512};

/// The hash that chains every message before authentication: H(H(H(0 || m1) || m2) ...), SHA-512.
#[derive(Clone, PartialEq, Eq)]
pub struct PreauthHash([u8; 64]);

impl PreauthHash {
    /// The start of a chain: 64 zero bytes.
    pub fn new() -> Self {
        PreauthHash([0; 64])
    }

    /// Takes in one message as it went over the wire, from its SMB2 header on.
    pub fn update(&mut self, message: &[u8]) {
        let mut context = Context::new(&SHA512);
        context.update(&self.0);
        context.update(message);
        self.0.copy_from_slice(context.finish().as_ref());
    }

    #[cfg(test)]
    pub(super) fn from_bytes_for_test(bytes: [u8; 64]) -> Self {
        PreauthHash(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl Default for PreauthHash {
    fn default() -> Self {
        PreauthHash::new()
    }
}

impl fmt::Debug for PreauthHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreauthHash(..)")
    }
}
