//! LZNT1 (MS-XCA 2.5): chunks of up to 4 KiB, each by itself raw or compressed.

use super::input::Input;
use super::output::Output;
use super::{CompressError, Result};

const CHUNK_MAX: usize = 4096;
const COMPRESSED: u16 = 0x8000;
const MATCH_MIN: usize = 3;

/// Decodes until the output is full, the input ends, or an empty header does.
pub(super) fn decompress(input: &[u8], out: &mut Output<'_>) -> Result<()> {
    let mut input = Input::new(input);
    while !out.is_full() && !input.is_empty() {
        let header = input.u16()?;
        if header == 0 {
            break;
        }
        // Bits 12 to 14 are a signature whose value nobody relies on.
        let chunk = input.take(usize::from(header & 0xFFF).saturating_add(1))?;
        if header & COMPRESSED == 0 {
            out.extend(chunk)?;
        } else {
            decompress_chunk(chunk, out)?;
        }
    }
    if out.is_full() {
        Ok(())
    } else {
        Err(CompressError::Short)
    }
}

fn decompress_chunk(chunk: &[u8], out: &mut Output<'_>) -> Result<()> {
    let mut input = Input::new(chunk);
    let start = out.len();
    while !input.is_empty() {
        let mut flags = input.u8()?;
        for _ in 0..8 {
            if input.is_empty() {
                return Ok(());
            }
            let written = out.len().saturating_sub(start);
            if flags & 1 == 0 {
                out.push(input.u8()?)?;
            } else {
                let (distance, len) = split(input.u16()?, written)?;
                if written.saturating_add(len) > CHUNK_MAX {
                    return Err(CompressError::TooLarge);
                }
                out.copy(distance, len)?;
            }
            flags >>= 1;
            if out.len().saturating_sub(start) > CHUNK_MAX {
                return Err(CompressError::TooLarge);
            }
        }
    }
    Ok(())
}

/// Distance and length of a match: the further into the chunk, the more bits the distance has (MS-XCA 2.5.1.4).
fn split(token: u16, written: usize) -> Result<(usize, usize)> {
    if written == 0 {
        return Err(CompressError::Reach);
    }
    let bits = written
        .saturating_sub(1)
        .checked_ilog2()
        .map_or(0, |log| log.saturating_add(1));
    let length_bits = 16_u32.saturating_sub(bits.clamp(4, 12));
    let mask = u16::MAX >> 16_u32.saturating_sub(length_bits);
    let distance = usize::from(token >> length_bits).saturating_add(1);
    if distance > written {
        return Err(CompressError::Reach);
    }
    Ok((
        distance,
        usize::from(token & mask).saturating_add(MATCH_MIN),
    ))
}
