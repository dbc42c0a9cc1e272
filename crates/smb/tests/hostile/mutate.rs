//! A deterministic mutator: the same seed makes the same hostile bytes.

/// xorshift64*, enough to be reproducible everywhere.
pub(crate) struct Mutator(u64);

/// Values that break careless arithmetic.
const EDGES: [u64; 12] = [
    0,
    1,
    7,
    8,
    63,
    64,
    0x7F,
    0x80,
    0xFFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    u64::MAX,
];

impl Mutator {
    /// A mutator of its own for each seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`, or zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// Changes `bytes` in one to four places; `other` is spliced in at times.
    pub(crate) fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            self.step(bytes, other);
        }
    }

    fn step(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len());
        match self.below(8) {
            0 => bytes.truncate(at),
            1 => {
                let bit = 1 << self.below(8);
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= bit);
            }
            2 => {
                let from = self.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            3 => bytes.extend(std::iter::repeat_n(0xFF, self.below(40))),
            4 => self.overwrite(bytes, at & !1, 2),
            5 => self.overwrite(bytes, at & !3, 4),
            6 => self.overwrite(bytes, at & !7, 8),
            _ => self.overwrite(bytes, at, 1),
        }
    }

    /// Writes an edge, or the neighbour of one, as a number of `width` bytes.
    fn overwrite(&mut self, bytes: &mut [u8], at: usize, width: usize) {
        let edge = EDGES[self.below(EDGES.len())];
        let value = edge.wrapping_add(self.next() % 3).wrapping_sub(1);
        for (byte, new) in bytes
            .iter_mut()
            .skip(at)
            .take(width)
            .zip(value.to_le_bytes())
        {
            *byte = new;
        }
    }
}
