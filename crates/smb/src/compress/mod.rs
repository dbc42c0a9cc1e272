//! Compression of SMB 3.1.1 messages (MS-SMB2 2.2.42, 3.1.4.4, 3.3.5.2.13) with the algorithms of MS-XCA,
//! and LZ4.
//!
//! Decoders take hostile bytes. What a frame claims to hold is checked against the largest frame there may be before any
//! room is made for it, and no decoder writes a byte past what was claimed; a frame that holds less or more is refused.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod huffman;
mod input;
mod lz4;
mod lz77;
mod lznt1;
mod output;
mod transform;
#[cfg(test)]
mod vectors;

pub use transform::{Form, compress, decompress};

/// Why bytes could not be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    #[error("the compressed bytes are cut short")]
    Short,
    #[error("they hold more than was announced, or more than may be")]
    TooLarge,
    #[error("a match reaches before the first byte")]
    Reach,
    #[error("a table or header is not well formed")]
    Malformed,
    #[error("the algorithm was not agreed on")]
    Algorithm,
}

pub type Result<T> = std::result::Result<T, CompressError>;
