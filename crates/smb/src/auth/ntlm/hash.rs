//! NTLMv2's one-way functions (MS-NLMP 3.3.2).

use md5::{Digest as _, Md5};
use strongroom_identity::NtHash;
use zeroize::Zeroizing;

const BLOCK: usize = 64;

/// HMAC-MD5 (RFC 2104) over the parts' concatenation.
///
/// # Panics
/// If `key` exceeds a block: every NTLM key has 16 bytes.
pub(crate) fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 16]> {
    assert!(key.len() <= BLOCK, "a key of at most one block");
    let pad = |with: u8| {
        let mut block = Zeroizing::new([with; BLOCK]);
        block
            .iter_mut()
            .zip(key)
            .for_each(|(slot, byte)| *slot ^= byte);
        Md5::new_with_prefix(*block)
    };
    let mut inner = pad(0x36);
    parts.iter().for_each(|part| inner.update(part));
    let mut outer = pad(0x5C);
    outer.update(inner.finalize());
    Zeroizing::new(outer.finalize().into())
}

/// NTOWFv2: from the NT hash and the names in UTF-16LE as the client sent them; the user's in upper case.
pub(crate) fn ntowf_v2(nt_hash: &NtHash, user: &[u16], domain: &[u16]) -> Zeroizing<[u8; 16]> {
    let upper = upper_case(user);
    let names: Vec<u8> = upper
        .iter()
        .chain(domain)
        .flat_map(|unit| unit.to_le_bytes())
        .collect();
    hmac_md5(nt_hash.expose(), &[&names])
}

/// NTProofStr over the server's challenge and `temp`, the response's part behind the proof.
pub(crate) fn nt_proof(key: &[u8; 16], server_challenge: &[u8; 8], temp: &[u8]) -> [u8; 16] {
    *hmac_md5(key, &[server_challenge, temp])
}

/// Windows's upper case: one code unit for one, so that what would grow (as ß) stays.
fn upper_case(units: &[u16]) -> Vec<u16> {
    let upper = |unit: &u16| {
        let mut mapped = char::from_u32(u32::from(*unit))
            .into_iter()
            .flat_map(char::to_uppercase);
        let (Some(first), None) = (mapped.next(), mapped.next()) else {
            return *unit;
        };
        u16::try_from(u32::from(first)).unwrap_or(*unit)
    };
    units.iter().map(upper).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2202 section 2, cases 1 and 2.
    #[test]
    fn hmac_md5_is_that_of_rfc_2202() {
        let first = u128::from_be_bytes(*hmac_md5(&[0x0b; 16], &[b"Hi There"]));
        assert_eq!(first, 0x9294_727a_3638_bb1c_13f4_8ef8_158b_fc9d);
        let second = hmac_md5(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(
            u128::from_be_bytes(*second),
            0x750c_783e_6ab0_b503_eaa8_6e31_0a5d_b738
        );
    }

    #[test]
    fn upper_case_keeps_the_length() {
        let units = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
        assert_eq!(upper_case(&units("zoë ß 李")), units("ZOË ß 李"));
        assert_eq!(upper_case(&[0xD800]), [0xD800]);
    }
}
