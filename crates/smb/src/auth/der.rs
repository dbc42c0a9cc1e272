//! The little of DER that SPNEGO needs: definite lengths up to the bytes that are there, one-byte tags, no recursion.

/// Tags that occur (X.690 8.1.2).
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0A;
pub(super) const GENERAL_STRING: u8 = 0x1B;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const APPLICATION_0: u8 = 0x60;
const CONTEXT: u8 = 0xA0;

/// The tag of `[number]` with explicit content.
pub(super) const fn context(number: u8) -> u8 {
    CONTEXT | number
}

/// Bytes that are not the DER expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadDer;

/// Walks the elements of one level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element's tag, without taking it.
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Takes one element of this tag and gives its content.
    pub(super) fn take(&mut self, tag: u8) -> Result<&'a [u8], BadDer> {
        let (&[found, first], rest) = self.0.split_first_chunk::<2>().ok_or(BadDer)?;
        if found != tag {
            return Err(BadDer);
        }
        let (len, rest) = length(first, rest)?;
        let (content, rest) = rest.split_at_checked(len).ok_or(BadDer)?;
        self.0 = rest;
        Ok(content)
    }

    /// As [`Reader::take`], with None where the next element is another.
    pub(super) fn take_if(&mut self, tag: u8) -> Result<Option<&'a [u8]>, BadDer> {
        if self.peek() == Some(tag) {
            self.take(tag).map(Some)
        } else {
            Ok(None)
        }
    }
}

/// The length whose first byte is `first`. Forms longer than need be are taken: clients of old send them.
fn length(first: u8, bytes: &[u8]) -> Result<(usize, &[u8]), BadDer> {
    let count = match first {
        short @ 0..=0x7F => return Ok((usize::from(short), bytes)),
        0x81..=0x84 => usize::from(first & 0x7F),
        _ => return Err(BadDer),
    };
    let (digits, rest) = bytes.split_at_checked(count).ok_or(BadDer)?;
    let fold = |value: usize, digit: &u8| (value << 8) | usize::from(*digit);
    Ok((digits.iter().fold(0, fold), rest))
}

/// The content of the one element that `bytes` consist of.
pub(super) fn only(bytes: &[u8], tag: u8) -> Result<&[u8], BadDer> {
    let mut reader = Reader(bytes);
    let content = reader.take(tag)?;
    if reader.is_empty() {
        Ok(content)
    } else {
        Err(BadDer)
    }
}

/// One element of these parts.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(len) {
        Ok(short @ 0..=0x7F) => out.push(short),
        Ok(_) | Err(_) => {
            let digits = len.to_be_bytes();
            let zeroes = digits.iter().take_while(|digit| **digit == 0).count();
            let significant = digits.get(zeroes..).unwrap_or_default();
            out.extend(u8::try_from(significant.len()).map(|count| 0x80 | count));
            out.extend(significant);
        }
    }
    parts.iter().for_each(|part| out.extend(*part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_length_form_round_trip() {
        for len in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7; len];
            let bytes = element(OCTET_STRING, &[&content]);
            assert_eq!(only(&bytes, OCTET_STRING), Ok(content.as_slice()));
        }
        assert_eq!(
            element(OID, &[&[0; 128]]).get(..3),
            Some([OID, 0x81, 0x80].as_slice())
        );
    }

    #[test]
    fn refuses_lengths_beyond_the_bytes() {
        for bytes in [
            &[4_u8, 1][..],
            &[4, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0],
            &[4, 0x80, 0, 0],
            &[4, 0x85],
            &[4],
        ] {
            assert_eq!(only(bytes, OCTET_STRING), Err(BadDer), "{bytes:?}");
        }
    }
}
