//! Plain LZ77 (MS-XCA 2.3, 2.4): groups of 32 flags, each for a literal byte or a match of a distance up to 8 KiB.

use super::input::Input;
use super::output::Output;
use super::{CompressError, Result};

const DISTANCE_MAX: usize = 1 << 13;
const MATCH_MIN: usize = 3;
/// A hash of three bytes has so many bits.
const HASH_BITS: u32 = 14;
/// No position.
const NOWHERE: u32 = u32::MAX;

/// Decodes until the output is full; the input may go on, as its last flags have no meaning.
pub(super) fn decompress(input: &[u8], out: &mut Output<'_>) -> Result<()> {
    let mut input = Input::new(input);
    let (mut flags, mut left) = (0_u32, 0_u32);
    let mut half = None;
    while !out.is_full() {
        if left == 0 {
            (flags, left) = (input.u32()?, 32);
        }
        left = left.saturating_sub(1);
        if flags >> left & 1 == 0 {
            out.push(input.u8()?)?;
            continue;
        }
        let token = input.u16()?;
        let distance = usize::from(token >> 3).saturating_add(1);
        let len = match_len(token, &mut input, &mut half)?;
        out.copy(distance, len)?;
    }
    Ok(())
}

/// A length beyond what the token holds goes on in half a byte (two matches share one), a byte, two, four.
fn match_len(token: u16, input: &mut Input<'_>, half: &mut Option<u8>) -> Result<usize> {
    let mut len = u32::from(token & 7);
    if len == 7 {
        let nibble = match half.take() {
            Some(byte) => byte >> 4,
            None => {
                let byte = input.u8()?;
                *half = Some(byte);
                byte & 15
            }
        };
        len = match nibble {
            15 => long_len(input)?,
            short => u32::from(short).saturating_add(7),
        };
    }
    let len = usize::try_from(len).map_err(|_| CompressError::TooLarge)?;
    Ok(len.saturating_add(MATCH_MIN))
}

fn long_len(input: &mut Input<'_>) -> Result<u32> {
    let byte = input.u8()?;
    if byte < 255 {
        return Ok(u32::from(byte).saturating_add(15 + 7));
    }
    let len = match input.u16()? {
        0 => input.u32()?,
        short => u32::from(short),
    };
    if len < 15 + 7 {
        return Err(CompressError::Malformed);
    }
    Ok(len)
}

/// Encodes into `out`; None once that takes `limit` bytes or more, as then it is not worth it.
pub(super) fn compress(bytes: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut encoder = Encoder::new(out, limit);
    let mut seen = vec![NOWHERE; 1 << HASH_BITS];
    let mut at = 0_usize;
    while at < bytes.len() {
        let found = find(bytes, at, &mut seen);
        match found {
            Some((distance, len)) => {
                encoder.put_match(distance, len);
                // A match's inside is looked up at its end only: cheap, and nearly as good.
                at = at.checked_add(len)?;
                remember(bytes, at.saturating_sub(1), &mut seen);
            }
            None => {
                encoder.put_literal(*bytes.get(at)?);
                at = at.checked_add(1)?;
            }
        }
        if encoder.is_over() {
            return None;
        }
    }
    encoder.finish()
}

fn hash(bytes: &[u8], at: usize) -> Option<usize> {
    let [a, b, c] = *bytes.get(at..)?.first_chunk::<3>()?;
    let word = u32::from_le_bytes([a, b, c, 0]);
    let mixed = word.wrapping_mul(0x9E37_79B1) >> 32_u32.saturating_sub(HASH_BITS);
    usize::try_from(mixed).ok()
}

fn remember(bytes: &[u8], at: usize, seen: &mut [u32]) -> Option<usize> {
    let slot = seen.get_mut(hash(bytes, at)?)?;
    let before = std::mem::replace(slot, u32::try_from(at).ok()?);
    if before == NOWHERE {
        return None;
    }
    usize::try_from(before).ok()
}

/// The distance and length of the last run of bytes like those at `at`.
fn find(bytes: &[u8], at: usize, seen: &mut [u32]) -> Option<(usize, usize)> {
    let before = remember(bytes, at, seen)?;
    let distance = at.checked_sub(before)?;
    if distance == 0 || distance > DISTANCE_MAX {
        return None;
    }
    let (old, new) = (bytes.get(before..)?, bytes.get(at..)?);
    let len = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    (len >= MATCH_MIN).then_some((distance, len))
}

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    limit: usize,
    /// Where the current group's flags go.
    flags_at: usize,
    flags: u32,
    count: u32,
    /// A byte whose upper half is free.
    half_at: Option<usize>,
}

impl<'a> Encoder<'a> {
    fn new(out: &'a mut Vec<u8>, limit: usize) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        Self {
            out,
            start,
            limit,
            flags_at: start,
            flags: 0,
            count: 0,
            half_at: None,
        }
    }

    fn is_over(&self) -> bool {
        self.out.len().saturating_sub(self.start) >= self.limit
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        let end = at.saturating_add(bytes.len());
        if let Some(place) = self.out.get_mut(at..end) {
            place.copy_from_slice(bytes);
        }
    }

    /// The flags of a group that is full are written once its last item is, which is when the next one begins.
    fn put_flag(&mut self, is_match: bool) {
        if self.count == 32 {
            self.patch(self.flags_at, &self.flags.to_le_bytes());
            self.flags_at = self.out.len();
            self.out.extend_from_slice(&[0; 4]);
            (self.flags, self.count) = (0, 0);
        }
        self.flags = self.flags << 1 | u32::from(is_match);
        self.count = self.count.saturating_add(1);
    }

    fn put_literal(&mut self, byte: u8) {
        self.put_flag(false);
        self.out.push(byte);
    }

    fn put_match(&mut self, distance: usize, len: usize) {
        self.put_flag(true);
        let len = u32::try_from(len.saturating_sub(MATCH_MIN)).unwrap_or(u32::MAX);
        let far = u16::try_from(distance.saturating_sub(1)).unwrap_or(u16::MAX);
        let token = far << 3 | u16::try_from(len.min(7)).unwrap_or(7);
        self.out.extend_from_slice(&token.to_le_bytes());
        if len >= 7 {
            self.put_rest(len.saturating_sub(7));
        }
    }

    fn put_rest(&mut self, len: u32) {
        let nibble = u8::try_from(len.min(15)).unwrap_or(15);
        match self.half_at.take() {
            Some(at) => {
                if let Some(byte) = self.out.get_mut(at) {
                    *byte |= nibble << 4;
                }
            }
            None => {
                self.half_at = Some(self.out.len());
                self.out.push(nibble);
            }
        }
        if nibble < 15 {
            return;
        }
        let rest = len.saturating_sub(15);
        if let Some(byte) = u8::try_from(rest).ok().filter(|byte| *byte < 255) {
            return self.out.push(byte);
        }
        self.out.push(255);
        let whole = len.saturating_add(7);
        match u16::try_from(whole) {
            Ok(short) => self.out.extend_from_slice(&short.to_le_bytes()),
            Err(_) => {
                self.out.extend_from_slice(&[0; 2]);
                self.out.extend_from_slice(&whole.to_le_bytes());
            }
        }
    }

    /// The flags that are left over are ones (MS-XCA 2.3.4).
    fn finish(mut self) -> Option<()> {
        let left = 32_u32.saturating_sub(self.count);
        let ones = if left == 0 { 0 } else { u32::MAX >> self.count };
        let flags = self.flags.checked_shl(left).unwrap_or(0) | ones;
        self.patch(self.flags_at, &flags.to_le_bytes());
        (!self.is_over()).then_some(())
    }
}
