//! NTLM's message signatures with extended session security (MS-NLMP 3.4.4.2, 3.4.5): SPNEGO's mechListMIC.

use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::flags;
use super::hash::hmac_md5;
use super::rc4::Rc4;

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ClientToServer,
    ServerToClient,
}

/// One direction's signatures, in the order of their sequence numbers.
pub(crate) struct Signer {
    signing_key: Zeroizing<[u8; 16]>,
    /// None where no key was exchanged: then checksums go out as they are.
    sealing: Option<Rc4>,
    sequence: u32,
}

impl Signer {
    /// SIGNKEY and SEALKEY (MS-NLMP 3.4.5.2 and 3.4.5.3).
    pub(crate) fn new(exported_key: &[u8; 16], negotiated: u32, direction: Direction) -> Self {
        let (sign, seal): (&[u8], &[u8]) = match direction {
            Direction::ClientToServer => (
                b"session key to client-to-server signing key magic constant\0",
                b"session key to client-to-server sealing key magic constant\0",
            ),
            Direction::ServerToClient => (
                b"session key to server-to-client signing key magic constant\0",
                b"session key to server-to-client sealing key magic constant\0",
            ),
        };
        let strength = sealing_strength(negotiated);
        let sealing_key = md5(&exported_key[..strength], seal);
        let exchanged = negotiated & flags::KEY_EXCH != 0;
        Signer {
            signing_key: md5(exported_key, sign),
            sealing: exchanged.then(|| Rc4::new(&*sealing_key)),
            sequence: 0,
        }
    }

    /// The NTLMSSP_MESSAGE_SIGNATURE of this direction's next message.
    pub(crate) fn sign(&mut self, message: &[u8]) -> [u8; 16] {
        let sequence = self.sequence.to_le_bytes();
        let full = hmac_md5(&*self.signing_key, &[&sequence, message]);
        let mut signature = [0; 16];
        signature[0] = 1;
        signature[4..12].copy_from_slice(&full[..8]);
        if let Some(sealing) = &mut self.sealing {
            sealing.apply(&mut signature[4..12]);
        }
        signature[12..].copy_from_slice(&sequence);
        self.sequence = self.sequence.wrapping_add(1);
        signature
    }

    /// Compares in constant time.
    pub(crate) fn verify(&mut self, message: &[u8], signature: &[u8]) -> bool {
        self.sign(message).as_slice().ct_eq(signature).into()
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(..)")
    }
}

/// Bytes of the exported key that go into the sealing key.
fn sealing_strength(negotiated: u32) -> usize {
    if negotiated & flags::KEY_128 != 0 {
        16
    } else if negotiated & flags::KEY_56 != 0 {
        7
    } else {
        5
    }
}

fn md5(key: &[u8], constant: &[u8]) -> Zeroizing<[u8; 16]> {
    let mut hash = Md5::new_with_prefix(key);
    hash.update(constant);
    Zeroizing::new(hash.finalize().into())
}

#[cfg(test)]
impl Signer {
    /// Encrypts a message with the signatures' stream, as GSS_WrapEx does.
    pub(crate) fn seal_for_test(&mut self, message: &[u8]) -> Vec<u8> {
        let mut sealed = message.to_vec();
        if let Some(sealing) = &mut self.sealing {
            sealing.apply(&mut sealed);
        }
        sealed
    }
}
