//! CRC-64/NVME with a seed: the same bytes in another place have another checksum.

use crc_fast::{CrcAlgorithm, Digest};

/// Where bytes belong, folded to 64 bits. Equal bytes under different seeds never share a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// Folds the words that say what and where the bytes are.
    pub fn of(words: &[u64]) -> Self {
        Self(
            words
                .iter()
                .fold(0x5374_726f_6e67_726d, |state, word| mix(state ^ word)),
        )
    }

    /// The folded words themselves, to tell one list of words from another.
    pub(crate) fn value(self) -> u64 {
        self.0
    }

    /// This seed moved on by one more word.
    #[must_use]
    pub fn with(self, word: u64) -> Self {
        Self(mix(self.0 ^ word))
    }
}

/// The finaliser of splitmix64: a bijection, so that words in one position never collide.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The checksum of one piece.
pub fn checksum(seed: Seed, bytes: &[u8]) -> u64 {
    let mut digest = Checksum::new(seed);
    digest.update(bytes);
    digest.finish()
}

/// The checksum of bytes that come in pieces.
pub struct Checksum(Digest);

impl Checksum {
    pub fn new(seed: Seed) -> Self {
        Self(Digest::new_with_init_state(CrcAlgorithm::Crc64Nvme, seed.0))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(&self) -> u64 {
        self.0.finalize()
    }
}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Checksum")
    }
}
