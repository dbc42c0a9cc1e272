//! Records on a stream (RFC 5531, 11): fragments of up to 2^31 - 1 bytes, each behind 4 bytes of which the first bit is
//! set on the last one of its record.

use bytes::{Buf, Bytes, BytesMut};

/// The longest record: a write of 1 MiB with all that stands around it in a compound.
pub const RECORD_MAX: usize = (1 << 20) + (64 << 10);
/// Fragments of one record; clients send one.
const FRAGMENTS_MAX: usize = 64;
const MARK: usize = 4;
const LAST: u32 = 1 << 31;

/// Why a stream cannot be gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("a record is longer than any request")]
    TooLong,
    #[error("a record has too many fragments")]
    TooManyFragments,
}

/// Takes records off a stream.
#[derive(Debug, Default)]
pub struct Records {
    /// Earlier fragments of the record that is coming in.
    begun: BytesMut,
    fragments: usize,
}

impl Records {
    /// The next whole record, taken off `input`.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, RecordError> {
        while let Some(mark) = mark_of(input) {
            let (len, last) = split(mark);
            if self.begun.len().saturating_add(len) > RECORD_MAX {
                return Err(RecordError::TooLong);
            }
            if input.len() < MARK + len {
                return Ok(None);
            }
            input.advance(MARK);
            let fragment = input.split_to(len);
            if last && self.begun.is_empty() {
                self.fragments = 0;
                return Ok(Some(fragment.freeze()));
            }
            self.begun.extend_from_slice(&fragment);
            self.fragments += 1;
            if last {
                self.fragments = 0;
                return Ok(Some(std::mem::take(&mut self.begun).freeze()));
            }
            if self.fragments >= FRAGMENTS_MAX {
                return Err(RecordError::TooManyFragments);
            }
        }
        Ok(None)
    }

    /// Bytes that the fragment at the front of `input` still needs.
    pub fn missing(&self, input: &[u8]) -> usize {
        match mark_of(input) {
            Some(mark) => (MARK + split(mark).0.min(RECORD_MAX)).saturating_sub(input.len()),
            None => MARK - input.len(),
        }
    }
}

/// The mark of a record of one fragment.
pub(crate) fn mark(len: usize) -> [u8; 4] {
    (LAST | crate::xdr::length(len)).to_be_bytes()
}

fn mark_of(input: &[u8]) -> Option<u32> {
    input.first_chunk().map(|mark| u32::from_be_bytes(*mark))
}

fn split(mark: u32) -> (usize, bool) {
    let len = usize::try_from(mark & !LAST).unwrap_or(usize::MAX);
    (len, mark & LAST != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(pieces: &[&[u8]]) -> Result<Vec<Bytes>, RecordError> {
        let (mut records, mut input) = (Records::default(), BytesMut::new());
        let mut found = Vec::new();
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Some(record) = records.next(&mut input)? {
                found.push(record);
            }
        }
        Ok(found)
    }

    #[test]
    fn records_come_out_whole_however_they_come_in() {
        let stream = b"\x80\0\0\x03abc\0\0\0\x02de\x80\0\0\x01f\x80\0\0\0";
        let whole = [&b"abc"[..], b"def", b""];
        assert_eq!(fed(&[stream]).unwrap(), whole);
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(fed(&single).unwrap(), whole);
    }

    #[test]
    fn a_record_beyond_the_limit_is_refused_before_it_is_there() {
        let mark = (LAST | crate::xdr::length(RECORD_MAX + 1)).to_be_bytes();
        assert_eq!(fed(&[&mark]), Err(RecordError::TooLong));
        let begun = [
            &1u32.to_be_bytes()[..],
            b"x",
            &crate::xdr::length(RECORD_MAX).to_be_bytes(),
        ];
        assert_eq!(fed(&begun), Err(RecordError::TooLong));
    }

    #[test]
    fn fragments_without_end_are_refused() {
        let stream = vec![0; 4 * (FRAGMENTS_MAX + 1)];
        assert_eq!(fed(&[&stream]), Err(RecordError::TooManyFragments));
    }
}
