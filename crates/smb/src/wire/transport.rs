//! Direct TCP transport (MS-SMB2 2.1): a zero byte and a 24-bit big-endian length before each frame.

use super::codec::WireError;

/// Length of the transport's own header.
pub const TRANSPORT_LEN: usize = 4;
/// The largest length that the header can carry.
pub const TRANSPORT_MAX: usize = 0x00FF_FFFF;

/// What the four bytes before a frame say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameHead {
    /// A frame of so many bytes follows.
    Message(usize),
    /// A NetBIOS keep-alive (RFC 1002 4.3.7): nothing follows, nothing is answered.
    KeepAlive,
}

/// Reads the four bytes before a frame, which may be at most `max` bytes long.
///
/// # Errors
/// A type other than the two, and lengths of zero or above `max`: the connection must be closed.
pub fn parse_frame_head(head: [u8; TRANSPORT_LEN], max: usize) -> Result<FrameHead, WireError> {
    let [kind, a, b, c] = head;
    let len = usize::try_from(u32::from_be_bytes([0, a, b, c])).map_err(|_| WireError::Bounds)?;
    match (kind, len) {
        (0x85, 0) => Ok(FrameHead::KeepAlive),
        (0, 0) => Err(WireError::Invalid("an empty frame")),
        (0, _) if len > max => Err(WireError::TooLong("a frame")),
        (0, _) => Ok(FrameHead::Message(len)),
        _ => Err(WireError::Invalid("not a direct TCP frame")),
    }
}

/// The four bytes before a frame of `len` bytes.
///
/// # Panics
/// When the length needs more than 24 bits: no answer is allowed to grow so far.
#[must_use]
pub fn frame_head(len: usize) -> [u8; TRANSPORT_LEN] {
    assert!(len <= TRANSPORT_MAX, "a frame is at most 16 MiB long");
    let [_, a, b, c] = u32::try_from(len).unwrap_or(0).to_be_bytes();
    [0, a, b, c]
}

/// Finds the first whole frame in `buffer`: its bytes, and how many bytes of `buffer` it used.
///
/// A keep-alive is an empty frame. `None` when more bytes are needed.
///
/// # Errors
/// As [`parse_frame_head`].
pub fn split_frame(buffer: &[u8], max: usize) -> Result<Option<(&[u8], usize)>, WireError> {
    let Some((head, rest)) = buffer.split_first_chunk::<TRANSPORT_LEN>() else {
        return Ok(None);
    };
    let len = match parse_frame_head(*head, max)? {
        FrameHead::Message(len) => len,
        FrameHead::KeepAlive => 0,
    };
    Ok(rest
        .get(..len)
        .map(|frame| (frame, len.saturating_add(TRANSPORT_LEN))))
}
