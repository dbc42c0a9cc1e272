//! The secret that NTLM proves knowledge of.

use std::fmt;

use md4::{Digest as _, Md4};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

/// NTOWFv1: MD4 of the password in UTF-16LE (MS-NLMP 3.3.1). As good as the password itself, so it is wiped when
/// dropped and never printed.
#[derive(Clone)]
pub struct NtHash([u8; 16]);

impl NtHash {
    pub fn new(bytes: [u8; 16]) -> Self {
        NtHash(bytes)
    }

    pub fn of_password(password: &str) -> Self {
        let mut units = Zeroizing::new(Vec::with_capacity(password.len() * 2));
        units.extend(password.encode_utf16().flat_map(u16::to_le_bytes));
        NtHash(Md4::digest(&*units).into())
    }

    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }
}

impl PartialEq for NtHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for NtHash {}

impl Drop for NtHash {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for NtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NtHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MS-NLMP 4.2.2.1.2.
    #[test]
    fn password_gives_the_published_hash() {
        let expected = 0xa4f4_9c40_6510_bdca_b682_4ee7_c30f_d852_u128.to_be_bytes();
        assert_eq!(NtHash::of_password("Password").expose(), &expected);
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(
            format!("{:?}", NtHash::of_password("Password")),
            "NtHash(..)"
        );
    }
}
