//! SMB2 COMPRESSION_TRANSFORM_HEADER (MS-SMB2 2.2.42), unchained and chained.
//!
//! ```text
//! unchained                                 chained
//!  0  ProtocolId  FC 'S' 'M' 'B'             0  ProtocolId  FC 'S' 'M' 'B'
//!  4  OriginalCompressedSegmentSize u32      4  OriginalCompressedSegmentSize u32, of all payloads
//!  8  CompressionAlgorithm u16               then payloads, one after the other:
//! 10  Flags u16, 0                           0  CompressionAlgorithm u16
//! 12  Offset u32                             2  Flags u16, 1 in the first
//! 16  Offset bytes as they are               4  Length u32, of what follows
//!  …  the segment, compressed                8  OriginalPayloadSize u32, but for NONE and Pattern_V1
//!                                            …  the payload
//! ```

use super::input::Input;
use super::output::Output;
use super::{CompressError, Result, huffman, lz4, lz77, lznt1};
use crate::wire::header::COMPRESSION_MAGIC;
use crate::wire::negotiate_context::CompressionAlgorithm;

/// SMB2_COMPRESSION_FLAG_CHAINED.
const CHAINED: u16 = 1;
/// Headers of a chain whose payloads are that short cost more than they hold; no honest client sends so many.
const PAYLOADS_MAX: usize = 256;
/// Bytes of Pattern_V1 (MS-SMB2 2.2.42.2.2).
const PATTERN_LEN: usize = 8;
/// Messages up to this long go as they are.
const WORTH_MIN: usize = 4096;
/// A run of one byte is told as such from this length on (MS-SMB2 3.1.4.4 wants more than 64).
const PATTERN_MIN: usize = 64;

/// How two sides compress, as they agreed in NEGOTIATE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    pub chained: bool,
    /// In the order of the client, never empty.
    pub algorithms: Vec<CompressionAlgorithm>,
}

/// The message in a frame that begins with a compression header; `max` is the longest that there may be.
///
/// # Errors
/// See [`CompressError`]; the connection ends then (MS-SMB2 3.3.5.2.13).
pub fn decompress(form: &Form, frame: &[u8], max: usize) -> Result<Vec<u8>> {
    let mut input = Input::new(frame);
    if input.take(4)? != COMPRESSION_MAGIC {
        return Err(CompressError::Malformed);
    }
    let original = to_len(input.u32()?)?;
    if original > max {
        return Err(CompressError::TooLarge);
    }
    let mut peek = input;
    let (_, flags) = (peek.u16()?, peek.u16()?);
    match (flags, form.chained) {
        (CHAINED, true) => chained(form, input, original),
        (0, _) => unchained(form, input, original, max),
        _ => Err(CompressError::Malformed),
    }
}

fn to_len(len: u32) -> Result<usize> {
    usize::try_from(len).map_err(|_| CompressError::TooLarge)
}

fn unchained(form: &Form, mut input: Input<'_>, original: usize, max: usize) -> Result<Vec<u8>> {
    let algorithm = CompressionAlgorithm::from_wire(input.u16()?);
    let _flags = input.u16()?;
    let plain = input.u32()?;
    let plain = input.take(to_len(plain)?)?;
    if plain.len().saturating_add(original) > max {
        return Err(CompressError::TooLarge);
    }
    // Only whole messages make a frame, and a pattern has no place outside of a chain.
    if !is_general(algorithm) {
        return Err(CompressError::Algorithm);
    }
    let mut message = Vec::with_capacity(plain.len().saturating_add(original));
    message.extend_from_slice(plain);
    decode(form, algorithm, input.rest(), original, &mut message)?;
    Ok(message)
}

fn chained(form: &Form, mut input: Input<'_>, original: usize) -> Result<Vec<u8>> {
    let mut message = Vec::with_capacity(original);
    let mut count = 0_usize;
    while !input.is_empty() {
        count = count.saturating_add(1);
        if count > PAYLOADS_MAX {
            return Err(CompressError::Malformed);
        }
        let algorithm = CompressionAlgorithm::from_wire(input.u16()?);
        let _flags = input.u16()?;
        let len = input.u32()?;
        let mut payload = Input::new(input.take(to_len(len)?)?);
        let room = original.saturating_sub(message.len());
        if is_general(algorithm) {
            let size = to_len(payload.u32()?)?;
            if size > room {
                return Err(CompressError::TooLarge);
            }
            decode(form, algorithm, payload.rest(), size, &mut message)?;
        } else {
            decode_plain(
                form,
                algorithm,
                payload,
                &mut Output::new(&mut message, room),
            )?;
        }
    }
    if message.len() == original {
        Ok(message)
    } else {
        Err(CompressError::Short)
    }
}

/// Algorithms whose payload says nothing of its own of how long it becomes.
fn is_general(algorithm: CompressionAlgorithm) -> bool {
    use CompressionAlgorithm::{Lz4, Lz77, Lz77Huffman, Lznt1, None, PatternV1, Unknown};
    match algorithm {
        Lznt1 | Lz77 | Lz77Huffman | Lz4 => true,
        None | PatternV1 | Unknown(_) => false,
    }
}

/// Appends exactly `size` bytes.
fn decode(
    form: &Form,
    algorithm: CompressionAlgorithm,
    bytes: &[u8],
    size: usize,
    message: &mut Vec<u8>,
) -> Result<()> {
    use CompressionAlgorithm::{Lz4, Lz77, Lz77Huffman, Lznt1, None, PatternV1, Unknown};
    if !form.algorithms.contains(&algorithm) {
        return Err(CompressError::Algorithm);
    }
    let mut out = Output::new(message, size);
    match algorithm {
        Lznt1 => lznt1::decompress(bytes, &mut out),
        Lz77 => lz77::decompress(bytes, &mut out),
        Lz77Huffman => huffman::decompress(bytes, &mut out),
        Lz4 => lz4::decompress(bytes, &mut out),
        None | PatternV1 | Unknown(_) => Err(CompressError::Algorithm),
    }
}

/// Bytes as they are, or one byte many times.
fn decode_plain(
    form: &Form,
    algorithm: CompressionAlgorithm,
    mut payload: Input<'_>,
    out: &mut Output<'_>,
) -> Result<()> {
    if algorithm == CompressionAlgorithm::None {
        return out.extend(payload.rest());
    }
    if algorithm != CompressionAlgorithm::PatternV1 || !form.algorithms.contains(&algorithm) {
        return Err(CompressError::Algorithm);
    }
    let (byte, _, _) = (payload.u8()?, payload.u8()?, payload.u16()?);
    let times = to_len(payload.u32()?)?;
    if !payload.is_empty() {
        return Err(CompressError::Malformed);
    }
    out.repeat(byte, times)
}

/// A frame with its compression header that holds `message`, if it is shorter that way. `plain` bytes at the front, the
/// headers, are left as they are.
pub fn compress(form: &Form, message: &[u8], plain: usize) -> Option<Vec<u8>> {
    let algorithm = written(form)?;
    if message.len() <= WORTH_MIN {
        return None;
    }
    let mut frame = Vec::with_capacity(message.len());
    frame.extend_from_slice(&COMPRESSION_MAGIC);
    let (head, body) = message.split_at_checked(plain)?;
    if form.chained {
        let original = u32::try_from(message.len()).ok()?;
        frame.extend_from_slice(&original.to_le_bytes());
        put_plain(head, CHAINED, &mut frame)?;
        put_body(form, algorithm, body, message.len(), &mut frame)?;
    } else {
        let original = u32::try_from(body.len()).ok()?;
        frame.extend_from_slice(&original.to_le_bytes());
        put_u16s(&[algorithm.to_wire(), 0], &mut frame);
        frame.extend_from_slice(&u32::try_from(plain).ok()?.to_le_bytes());
        frame.extend_from_slice(head);
        let limit = message.len().checked_sub(frame.len())?;
        encode(algorithm, body, limit, &mut frame)?;
    }
    (frame.len() < message.len()).then_some(frame)
}

/// What messages to the other side are compressed with: the first that it likes of those that are written here.
fn written(form: &Form) -> Option<CompressionAlgorithm> {
    let is_written = |algorithm: &&CompressionAlgorithm| {
        matches!(
            algorithm,
            CompressionAlgorithm::Lz77 | CompressionAlgorithm::Lz4
        )
    };
    form.algorithms.iter().find(is_written).copied()
}

fn encode(
    algorithm: CompressionAlgorithm,
    bytes: &[u8],
    limit: usize,
    frame: &mut Vec<u8>,
) -> Option<()> {
    if algorithm == CompressionAlgorithm::Lz4 {
        lz4::compress(bytes, limit, frame)
    } else {
        lz77::compress(bytes, limit, frame)
    }
}

fn put_u16s(numbers: &[u16], frame: &mut Vec<u8>) {
    for number in numbers {
        frame.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_plain(bytes: &[u8], flags: u16, frame: &mut Vec<u8>) -> Option<()> {
    if bytes.is_empty() && flags == 0 {
        return Some(());
    }
    put_u16s(&[CompressionAlgorithm::None.to_wire(), flags], frame);
    frame.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_le_bytes());
    frame.extend_from_slice(bytes);
    Some(())
}

/// Runs of one byte at either end become patterns where those were agreed on, what lies between is compressed.
fn put_body(
    form: &Form,
    algorithm: CompressionAlgorithm,
    body: &[u8],
    limit: usize,
    frame: &mut Vec<u8>,
) -> Option<()> {
    let patterns = form.algorithms.contains(&CompressionAlgorithm::PatternV1);
    let (front, back) = if patterns { runs(body) } else { (0, 0) };
    put_pattern(body.get(..front)?, frame)?;
    let middle = body.get(front..body.len().checked_sub(back)?)?;
    if !middle.is_empty() {
        put_u16s(&[algorithm.to_wire(), 0], frame);
        let length_at = frame.len();
        frame.extend_from_slice(&[0; 4]);
        let begin = frame.len();
        frame.extend_from_slice(&u32::try_from(middle.len()).ok()?.to_le_bytes());
        encode(algorithm, middle, limit.checked_sub(frame.len())?, frame)?;
        let length = u32::try_from(frame.len().checked_sub(begin)?).ok()?;
        frame
            .get_mut(length_at..begin)?
            .copy_from_slice(&length.to_le_bytes());
    }
    put_pattern(body.get(body.len().checked_sub(back)?..)?, frame)
}

/// Lengths of the runs of one byte at the front and at the back that are worth a pattern.
fn runs(body: &[u8]) -> (usize, usize) {
    let worth = |len: usize| if len > PATTERN_MIN { len } else { 0 };
    let front = body.first().map_or(0, |first| {
        body.iter().take_while(|byte| *byte == first).count()
    });
    let front = worth(front);
    let rest = body.get(front..).unwrap_or_default();
    let back = rest.last().map_or(0, |last| {
        rest.iter().rev().take_while(|byte| *byte == last).count()
    });
    (front, worth(back))
}

fn put_pattern(run: &[u8], frame: &mut Vec<u8>) -> Option<()> {
    let Some(byte) = run.first() else {
        return Some(());
    };
    put_u16s(&[CompressionAlgorithm::PatternV1.to_wire(), 0], frame);
    frame.extend_from_slice(&u32::try_from(PATTERN_LEN).ok()?.to_le_bytes());
    frame.extend_from_slice(&[*byte, 0, 0, 0]);
    frame.extend_from_slice(&u32::try_from(run.len()).ok()?.to_le_bytes());
    Some(())
}

#[cfg(test)]
mod tests;
