//! External data representation (RFC 4506): the one trait, the one bounded reader and the writer of all structures.

#[macro_use]
mod macros;

/// Why bytes were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XdrError {
    #[error("the bytes end before the structure does")]
    Truncated,
    /// A length or count above its limit.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// A value that the specification forbids.
    #[error("{0}")]
    Invalid(&'static str),
}

pub type Result<T> = std::result::Result<T, XdrError>;

/// A structure with a wire form. What is decoded may borrow from the bytes.
pub trait Xdr<'a>: Sized {
    /// # Errors
    /// Any [`XdrError`]; nothing is allocated beyond a small multiple of the bytes that are there.
    fn decode(from: &mut Decoder<'a>) -> Result<Self>;

    fn encode(&self, to: &mut Encoder);

    fn to_xdr(&self) -> Vec<u8> {
        let mut to = Encoder::default();
        self.encode(&mut to);
        to.into_vec()
    }
}

/// A cursor over bytes that cannot leave them.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

/// Bytes that fill up a length to a multiple of four (RFC 4506, 3).
const fn padding(len: usize) -> usize {
    len.wrapping_neg() & 3
}

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(XdrError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// Passes over bytes.
    pub fn skip(&mut self, len: usize) -> Result<()> {
        self.take(len).map(drop)
    }

    /// Bytes of a fixed length, without what fills them up.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let head = self.take(N)?.try_into().map_err(|_| XdrError::Truncated)?;
        self.take(padding(N))?;
        Ok(head)
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64> {
        self.fixed().map(u64::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64> {
        self.fixed().map(i64::from_be_bytes)
    }

    pub fn bool(&mut self) -> Result<bool> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(XdrError::Invalid("a boolean is neither 0 nor 1")),
        }
    }

    /// Bytes of a length that stands before them, at most `max`.
    pub fn opaque(&mut self, max: usize, what: &'static str) -> Result<&'a [u8]> {
        let len = usize::try_from(self.u32()?).map_err(|_| XdrError::TooLong(what))?;
        if len > max {
            return Err(XdrError::TooLong(what));
        }
        let bytes = self.take(len)?;
        self.take(padding(len))?;
        Ok(bytes)
    }

    /// A count of things to follow, at most `max`.
    pub fn count(&mut self, max: usize, what: &'static str) -> Result<usize> {
        match usize::try_from(self.u32()?) {
            Ok(count) if count <= max => Ok(count),
            Ok(_) | Err(_) => Err(XdrError::TooLong(what)),
        }
    }
}

/// Bytes being written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u32(u32::from(value))
    }

    /// Bytes as they are, whose length is a multiple of four.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Bytes of a fixed length, filled up.
    pub fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad(bytes.len())
    }

    /// A length and so many bytes.
    pub fn opaque(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(length(bytes.len())).fixed(bytes)
    }

    fn pad(&mut self, len: usize) -> &mut Self {
        self.bytes.extend_from_slice(&[0; 3][..padding(len)]);
        self
    }

    /// Room of up to `len` bytes to be written into; [`Self::end_room`] tells how many were.
    pub fn room(&mut self, len: usize) -> &mut [u8] {
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        &mut self.bytes[start..]
    }

    /// Cuts the room that began at `start` to the `len` bytes that were used, and fills them up.
    pub fn end_room(&mut self, start: usize, len: usize) {
        self.bytes.truncate(start + len);
        self.pad(len);
    }

    /// Writes over a number written before.
    pub fn patch_u32(&mut self, at: usize, value: u32) {
        if let Some(place) = self.bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// Takes back what was written behind a length that it had.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }
}

/// A length on the wire; ours are far below the limit.
pub fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Xdr<'_> for () {
    fn decode(_: &mut Decoder<'_>) -> Result<Self> {
        Ok(())
    }

    fn encode(&self, _: &mut Encoder) {}
}

macro_rules! primitive {
    ($($type:ident),*) => {$(
        impl Xdr<'_> for $type {
            fn decode(from: &mut Decoder<'_>) -> Result<Self> {
                from.$type()
            }

            fn encode(&self, to: &mut Encoder) {
                to.$type(*self);
            }
        }
    )*};
}

primitive!(u32, i32, u64, i64, bool);

impl<const N: usize> Xdr<'_> for [u8; N] {
    fn decode(from: &mut Decoder<'_>) -> Result<Self> {
        from.fixed()
    }

    fn encode(&self, to: &mut Encoder) {
        to.fixed(self);
    }
}

/// Optional data (RFC 4506, 4.19).
impl<'a, T: Xdr<'a>> Xdr<'a> for Option<T> {
    fn decode(from: &mut Decoder<'a>) -> Result<Self> {
        from.bool()?.then(|| T::decode(from)).transpose()
    }

    fn encode(&self, to: &mut Encoder) {
        to.bool(self.is_some());
        if let Some(value) = self {
            value.encode(to);
        }
    }
}

/// Bytes of at most `MAX`, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Opaque<'a, const MAX: usize>(pub &'a [u8]);

impl<'a, const MAX: usize> Xdr<'a> for Opaque<'a, MAX> {
    fn decode(from: &mut Decoder<'a>) -> Result<Self> {
        from.opaque(MAX, "a string of bytes").map(Self)
    }

    fn encode(&self, to: &mut Encoder) {
        to.opaque(self.0);
    }
}

/// Up to `MAX` things of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List<T, const MAX: usize>(pub Vec<T>);

impl<'a, T: Xdr<'a>, const MAX: usize> Xdr<'a> for List<T, MAX> {
    fn decode(from: &mut Decoder<'a>) -> Result<Self> {
        let count = from.count(MAX, "a list")?;
        // Each takes four bytes at least, so that a count without contents allocates nothing.
        let mut list = Vec::with_capacity(count.min(from.rest().len() / 4));
        for _ in 0..count {
            list.push(T::decode(from)?);
        }
        Ok(Self(list))
    }

    fn encode(&self, to: &mut Encoder) {
        to.u32(length(self.0.len()));
        self.0.iter().for_each(|item| item.encode(to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_have_the_form_of_the_specification() {
        let mut to = Encoder::default();
        to.u32(1)
            .i32(-1)
            .u64(2)
            .bool(true)
            .opaque(b"abcde")
            .fixed(b"xy");
        let bytes = to.into_vec();
        assert_eq!(
            bytes,
            b"\0\0\0\x01\xFF\xFF\xFF\xFF\0\0\0\0\0\0\0\x02\0\0\0\x01\0\0\0\x05abcde\0\0\0xy\0\0"
        );
        let mut from = Decoder::new(&bytes);
        assert_eq!(from.u32(), Ok(1));
        assert_eq!(from.i32(), Ok(-1));
        assert_eq!(from.u64(), Ok(2));
        assert_eq!(from.bool(), Ok(true));
        assert_eq!(from.opaque(5, "it"), Ok(&b"abcde"[..]));
        assert_eq!(from.fixed(), Ok(*b"xy"));
        assert!(from.is_empty());
    }

    #[test]
    fn lengths_beyond_their_limit_or_the_bytes_are_refused() {
        let bytes = b"\0\0\0\x05abcde\0\0\0";
        assert_eq!(
            Decoder::new(bytes).opaque(4, "it"),
            Err(XdrError::TooLong("it"))
        );
        assert_eq!(
            Decoder::new(&bytes[..11]).opaque(9, "it"),
            Err(XdrError::Truncated)
        );
        let huge = u32::MAX.to_be_bytes();
        assert!(List::<u32, { usize::MAX }>::decode(&mut Decoder::new(&huge)).is_err());
    }

    #[test]
    fn room_that_was_not_used_is_cut_off() {
        let mut to = Encoder::default();
        to.u32(0);
        let start = to.len();
        to.room(100)[..3].copy_from_slice(b"abc");
        to.end_room(start, 3);
        to.patch_u32(start - 4, 3);
        assert_eq!(to.as_slice(), b"\0\0\0\x03abc\0");
    }
}
