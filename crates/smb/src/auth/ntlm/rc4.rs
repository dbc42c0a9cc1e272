//! RC4. Broken as a cipher; NTLM's key exchange and signatures are defined by it.

use zeroize::Zeroize as _;

pub(crate) struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    /// # Panics
    /// If `key` is empty: every NTLM key has 16 bytes.
    pub(crate) fn new(key: &[u8]) -> Self {
        assert!(!key.is_empty(), "RC4 needs a key");
        let mut state = [0; 256];
        state
            .iter_mut()
            .zip(0..=u8::MAX)
            .for_each(|(slot, value)| *slot = value);
        let mut j = 0_u8;
        for (i, byte) in (0..256).zip(key.iter().cycle()) {
            j = j.wrapping_add(state[i]).wrapping_add(*byte);
            state.swap(i, usize::from(j));
        }
        Rc4 { state, i: 0, j: 0 }
    }

    /// Encrypts or decrypts the stream's next bytes.
    pub(crate) fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.i = self.i.wrapping_add(1);
            let a = self.state[usize::from(self.i)];
            self.j = self.j.wrapping_add(a);
            let b = self.state[usize::from(self.j)];
            self.state.swap(usize::from(self.i), usize::from(self.j));
            *byte ^= self.state[usize::from(a.wrapping_add(b))];
        }
    }
}

impl Drop for Rc4 {
    fn drop(&mut self) {
        self.state.zeroize();
    }
}

impl std::fmt::Debug for Rc4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rc4(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6229 section 2, keys of 40 and 128 bits, offset 0.
    #[test]
    fn streams_are_those_of_rfc_6229() {
        let mut stream = [0; 16];
        Rc4::new(&[1, 2, 3, 4, 5]).apply(&mut stream);
        assert_eq!(
            u128::from_be_bytes(stream),
            0xb239_6305_f03d_c027_ccc3_524a_0a11_18a8
        );
        let key: Vec<u8> = (1..=16).collect();
        let mut stream = [0; 16];
        Rc4::new(&key).apply(&mut stream);
        assert_eq!(
            u128::from_be_bytes(stream),
            0x9ac7_cc9a_609d_1ef7_b293_2899_cde4_1b97
        );
    }
}
