//! LZ77 with Huffman codes (MS-XCA 2.1, 2.2): blocks of 64 KiB, each with a table of 512 code lengths.

use super::input::Input;
use super::output::Output;
use super::{CompressError, Result};

const BLOCK: usize = 64 << 10;
const TABLE_BYTES: usize = 256;
const CODE_BITS: u32 = 15;
/// Symbols from here on are matches; this one at the end of the input is the end, too.
const MATCHES: u16 = 256;
const MATCH_MIN: usize = 3;

/// Decodes until the output is full.
pub(super) fn decompress(input: &[u8], out: &mut Output<'_>) -> Result<()> {
    let mut input = Input::new(input);
    let mut table = vec![Code::default(); 1 << CODE_BITS];
    while !out.is_full() {
        let lengths = input.take(TABLE_BYTES)?;
        fill(&mut table, lengths)?;
        let end = out.len().saturating_add(BLOCK);
        let mut bits = Bits::new(input)?;
        while out.len() < end && !out.is_full() {
            decode_one(&table, &mut bits, out)?;
        }
        input = bits.input;
    }
    Ok(())
}

/// What the next bits stand for.
#[derive(Debug, Clone, Copy, Default)]
struct Code {
    symbol: u16,
    bits: u8,
}

/// Every value of the next 15 bits gets its symbol; the codes must use up all of them (MS-XCA 2.2.4).
fn fill(table: &mut [Code], lengths: &[u8]) -> Result<()> {
    let nibbles = || {
        let both = lengths.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        both.zip(0_u16..)
    };
    let mut at = 0_usize;
    for bits in 1..=15_u8 {
        let width = 1_usize << CODE_BITS.saturating_sub(u32::from(bits));
        for (_, symbol) in nibbles().filter(|(length, _)| *length == bits) {
            let end = at.saturating_add(width);
            let place = table.get_mut(at..end).ok_or(CompressError::Malformed)?;
            place.fill(Code { symbol, bits });
            at = end;
        }
    }
    if at == table.len() {
        Ok(())
    } else {
        Err(CompressError::Malformed)
    }
}

fn decode_one(table: &[Code], bits: &mut Bits<'_>, out: &mut Output<'_>) -> Result<()> {
    let next = usize::try_from(bits.word >> 17).unwrap_or(usize::MAX);
    let code = table.get(next).ok_or(CompressError::Malformed)?;
    bits.skip(u32::from(code.bits))?;
    let Some(symbol) = code.symbol.checked_sub(MATCHES) else {
        return out.push(code.symbol.to_le_bytes()[0]);
    };
    let len = match symbol & 15 {
        15 => long_len(&mut bits.input)?,
        short => usize::from(short),
    };
    let distance_bits = u32::from(symbol >> 4);
    let low = match distance_bits {
        0 => 0,
        some => bits.word >> 32_u32.saturating_sub(some),
    };
    bits.skip(distance_bits)?;
    let distance = (1_u32 << distance_bits).saturating_add(low);
    let distance = usize::try_from(distance).map_err(|_| CompressError::Reach)?;
    out.copy(distance, len.saturating_add(MATCH_MIN))
}

/// The bytes of a long length lie between the words of bits, at the place that reading has come to.
fn long_len(input: &mut Input<'_>) -> Result<usize> {
    let byte = input.u8()?;
    if byte < 255 {
        return Ok(usize::from(byte).saturating_add(15));
    }
    let len = match input.u16()? {
        0 => input.u32()?,
        short => u32::from(short),
    };
    if len < 15 {
        return Err(CompressError::Malformed);
    }
    usize::try_from(len).map_err(|_| CompressError::TooLarge)
}

/// The next bits in the upper end of a word, refilled by 16.
struct Bits<'a> {
    input: Input<'a>,
    word: u32,
    /// Bits beyond the first 16 that are there.
    extra: u32,
    /// Words of zeroes that were taken from behind the end.
    beyond: u32,
}

impl<'a> Bits<'a> {
    fn new(mut input: Input<'a>) -> Result<Self> {
        let (first, second) = (u32::from(input.u16()?), u32::from(input.u16()?));
        Ok(Self {
            input,
            word: first << 16 | second,
            extra: 16,
            beyond: 0,
        })
    }

    /// Looks ahead at most two words, so that the last bits need as many behind them that nobody has to send.
    fn skip(&mut self, count: u32) -> Result<()> {
        self.word = self.word.checked_shl(count).unwrap_or(0);
        match self.extra.checked_sub(count) {
            Some(extra) => self.extra = extra,
            None => {
                let missing = count.saturating_sub(self.extra);
                let more = if self.input.is_empty() && self.beyond < 2 {
                    self.beyond = self.beyond.saturating_add(1);
                    0
                } else {
                    u32::from(self.input.u16()?)
                };
                self.word |= more.checked_shl(missing).unwrap_or(0);
                self.extra = 16_u32.saturating_sub(missing);
            }
        }
        Ok(())
    }
}
