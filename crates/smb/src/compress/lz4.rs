//! LZ4 blocks (MS-SMB2 3.1.4.4; the LZ4 block format description, 1.5): `lz4_flex` in its safe form reads and writes them.

use super::output::Output;
use super::{CompressError, Result};

/// Decodes a block that must fill the output exactly.
pub(super) fn decompress(input: &[u8], out: &mut Output<'_>) -> Result<()> {
    out.fill(|room| {
        let filled = lz4_flex::block::decompress_into(input, room);
        filled.map_err(|_| CompressError::Malformed)
    })
}

/// Encodes into `out`; None where that takes `limit` bytes or more, as then it is not worth it.
pub(super) fn compress(bytes: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<()> {
    let block = lz4_flex::block::compress(bytes);
    if block.len() >= limit {
        return None;
    }
    out.extend_from_slice(&block);
    Some(())
}
