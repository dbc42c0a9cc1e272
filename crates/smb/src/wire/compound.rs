//! Compound chains: several messages in one frame (MS-SMB2 3.3.5.2.7).

use super::codec::{Codec, Put, WireError, len32};
use super::header::{HEADER_LEN, Header, HeaderMut};

/// One message of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its header.
    pub header: Header,
    /// Header, body and padding: the bytes that the signature covers.
    pub raw: &'a [u8],
    /// What follows the header, for the body's decoder.
    pub body: &'a [u8],
    /// Whether it is the first of the frame.
    pub first: bool,
    /// Whether it is the last of the frame.
    pub last: bool,
}

/// Walks over the messages of one frame. After an error it ends.
#[derive(Debug, Clone)]
pub struct Compound<'a> {
    rest: Option<&'a [u8]>,
    first: bool,
}

impl<'a> Compound<'a> {
    /// The messages of `frame`, which begins with an SMB2 header.
    #[must_use]
    pub const fn new(frame: &'a [u8]) -> Self {
        Self {
            rest: Some(frame),
            first: true,
        }
    }

    fn step(&mut self, bytes: &'a [u8]) -> Result<Element<'a>, WireError> {
        let header = Header::decode(bytes)?;
        let next = usize::try_from(header.next_command).map_err(|_| WireError::Bounds)?;
        let (raw, rest) = split_element(bytes, next)?;
        self.rest = rest;
        let body = raw.get(HEADER_LEN..).ok_or(WireError::Bounds)?;
        let first = core::mem::replace(&mut self.first, false);
        Ok(Element {
            header,
            raw,
            body,
            first,
            last: rest.is_none(),
        })
    }
}

/// This message and what follows it; the next header begins at a multiple of 8 (MS-SMB2 2.2.1.2).
fn split_element(bytes: &[u8], next: usize) -> Result<(&[u8], Option<&[u8]>), WireError> {
    if next == 0 {
        return Ok((bytes, None));
    }
    if !next.is_multiple_of(8) || next < HEADER_LEN {
        return Err(WireError::Invalid(
            "NextCommand is not aligned or points into the header",
        ));
    }
    let (raw, rest) = bytes.split_at_checked(next).ok_or(WireError::Bounds)?;
    if rest.len() < HEADER_LEN {
        return Err(WireError::Bounds);
    }
    Ok((raw, Some(rest)))
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Element<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.rest.take()?;
        Some(self.step(bytes))
    }
}

/// Pads the message that began at `start` and links it to the one that begins at the new end.
///
/// Call it between two messages of one frame, before the first of the two is signed.
pub fn link_next(out: &mut Vec<u8>, start: usize) {
    out.pad_to(start, 8);
    let next = len32(out.since(start));
    if let Some(mut header) = out.get_mut(start..).and_then(HeaderMut::new) {
        header.set_next_command(next);
    }
}
