//! Which blocks of a stripe's payload something is true of.

use smallvec::SmallVec;
use strongroom_pool::BLOCK;

/// Blocks of the longest stripe: 1 MiB for each of 16 data shards.
const BLOCKS_MAX: usize = 16 * 256;
const WORD: usize = 64;

/// A set of blocks of 4 KiB, by their place in the payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Blocks(SmallVec<[u64; 4]>);

/// The blocks that `len` bytes from `offset` on lie in.
fn span(offset: u32, len: u64) -> std::ops::Range<usize> {
    let first = offset as usize / BLOCK;
    let len = usize::try_from(len.div_ceil(BLOCK as u64)).unwrap_or(BLOCKS_MAX);
    first.min(BLOCKS_MAX)..(first + len).min(BLOCKS_MAX)
}

impl Blocks {
    pub(crate) fn insert(&mut self, offset: u32, len: u64) {
        for block in span(offset, len) {
            let word = block / WORD;
            if self.0.len() <= word {
                self.0.resize(word + 1, 0);
            }
            self.0[word] |= 1 << (block % WORD);
        }
    }

    /// Whether the block at `offset` is one of them.
    pub(crate) fn holds(&self, offset: u32) -> bool {
        let block = offset as usize / BLOCK;
        let word = self.0.get(block / WORD);
        word.is_some_and(|word| word & (1 << (block % WORD)) != 0)
    }

    /// Bytes in all of them.
    pub(crate) fn bytes(&self) -> u64 {
        let blocks: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        u64::from(blocks) * BLOCK as u64
    }

    /// Appends one bit a block, the lowest first, without trailing zeroes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        let from = out.len();
        out.extend(bytes);
        let used = out[from..].iter().rposition(|byte| *byte != 0);
        out.truncate(used.map_or(from, |last| from + last + 1));
    }

    /// None when there are more than any stripe has.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > BLOCKS_MAX / 8 || bytes.last() == Some(&0) {
            return None;
        }
        let word = |chunk: &[u8]| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        };
        Some(Self(bytes.chunks(8).map(word).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_kept_by_their_place() {
        let mut blocks = Blocks::default();
        blocks.insert(8192, 5000);
        blocks.insert(255 * 4096, 4096);
        assert_eq!(blocks.bytes(), 3 * 4096);
        let held: Vec<u32> = (0..300).filter(|n| blocks.holds(n * 4096)).collect();
        assert_eq!(held, [2, 3, 255]);
        for blocks in [blocks, Blocks::default()] {
            let mut bytes = vec![7];
            blocks.encode(&mut bytes);
            let read = Blocks::decode(&bytes[1..]).unwrap();
            assert_eq!(read.bytes(), blocks.bytes());
            let mut again = vec![7];
            read.encode(&mut again);
            assert_eq!(again, bytes);
        }
    }

    #[test]
    fn refuses_more_blocks_than_a_stripe_has() {
        assert!(Blocks::decode(&[1; 512]).is_some());
        assert!(Blocks::decode(&[1; 513]).is_none());
        assert!(Blocks::decode(&[1, 0]).is_none());
    }
}
