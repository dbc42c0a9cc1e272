//! The one trait, the one bounded reader and the little-endian writer that all structures use.

use super::header::HEADER_LEN;
use super::status::NtStatus;
use super::types::{FileId, FileTime, Guid};

/// Why bytes were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the structure does.
    #[error("truncated: {wanted} bytes wanted, {left} left")]
    Truncated {
        /// Bytes that the structure still needed.
        wanted: usize,
        /// Bytes that were there.
        left: usize,
    },
    /// The StructureSize field does not fit the message.
    #[error("structure size is {found}, not {wanted}")]
    StructureSize {
        /// The size that the specification gives.
        wanted: u16,
        /// The size that was sent.
        found: u16,
    },
    /// An offset points outside of the message or into its fixed part.
    #[error("an offset or length points outside of the message")]
    Bounds,
    /// A field has a value that the specification forbids.
    #[error("{0}")]
    Invalid(&'static str),
    /// A structure is larger than its length field, or than our limit.
    #[error("{0} is too long")]
    TooLong(&'static str),
}

impl WireError {
    /// The status with which a server answers such a request: MS-SMB2 3.3.5 asks for
    /// STATUS_INVALID_PARAMETER wherever a message is malformed.
    #[must_use]
    pub const fn status(self) -> NtStatus {
        NtStatus::INVALID_PARAMETER
    }
}

/// A structure with a wire form.
///
/// `decode(encode(x)) == x` for every value, except that unused offsets are normalised. For the
/// body of an SMB2 message the convention of the parent module holds.
pub trait Codec<'a>: Sized {
    /// Reads the structure from `bytes`, borrowing from them.
    ///
    /// # Errors
    /// Any [`WireError`]; nothing is allocated beyond a small multiple of `bytes.len()`.
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError>;

    /// Appends the structure to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The structure alone, as bytes.
    fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A cursor over bytes that cannot leave them.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of all of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not read yet.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// All bytes not read yet.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when fewer are left; so for all methods below.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let short = WireError::Truncated {
            wanted: len,
            left: self.rest.len(),
        };
        let (head, rest) = self.rest.split_at_checked(len).ok_or(short)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `len` bytes, the length being a 32-bit wire field.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn take_u32(&mut self, len: u32) -> Result<&'a [u8], WireError> {
        self.take(usize::try_from(len).map_err(|_| WireError::Bounds)?)
    }

    /// Skips `len` reserved bytes.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn skip(&mut self, len: usize) -> Result<(), WireError> {
        self.take(len).map(|_| ())
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let short = WireError::Truncated {
            wanted: N,
            left: self.rest.len(),
        };
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(short)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A little-endian 16-bit number.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    /// A little-endian 32-bit number.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A little-endian 64-bit number.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads the StructureSize field and compares it.
    ///
    /// # Errors
    /// [`WireError::StructureSize`] on another value.
    pub fn structure_size(&mut self, wanted: u16) -> Result<(), WireError> {
        let found = self.u16()?;
        if found == wanted {
            Ok(())
        } else {
            Err(WireError::StructureSize { wanted, found })
        }
    }

    /// `count` 16-bit numbers; their room is checked before anything is allocated.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn u16_list(&mut self, count: usize) -> Result<Vec<u16>, WireError> {
        let len = count.checked_mul(2).ok_or(WireError::Bounds)?;
        let bytes = self.take(len)?;
        Ok(bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u16::from_le_bytes(*pair))
            .collect())
    }
}

/// `len` bytes at `offset` of `bytes`; an empty field may have any offset.
///
/// # Errors
/// [`WireError::Bounds`] when the field is not wholly inside of `bytes`.
pub fn slice_at(bytes: &[u8], offset: usize, len: usize) -> Result<&[u8], WireError> {
    if len == 0 {
        return Ok(&[]);
    }
    let end = offset.checked_add(len).ok_or(WireError::Bounds)?;
    bytes.get(offset..end).ok_or(WireError::Bounds)
}

/// The variable field of a message body, its offset counted from the SMB2 header.
///
/// `fixed` is the length of the body's fixed part, into which no field may point.
///
/// # Errors
/// [`WireError::Bounds`].
pub(crate) fn body_field(
    body: &[u8],
    fixed: usize,
    offset: u32,
    len: u32,
) -> Result<&[u8], WireError> {
    if len == 0 {
        return Ok(&[]);
    }
    let offset = usize::try_from(offset).map_err(|_| WireError::Bounds)?;
    let len = usize::try_from(len).map_err(|_| WireError::Bounds)?;
    let offset = offset.checked_sub(HEADER_LEN).ok_or(WireError::Bounds)?;
    if offset < fixed {
        return Err(WireError::Bounds);
    }
    slice_at(body, offset, len)
}

/// Little-endian appending to a growing buffer.
pub trait Put {
    /// Appends bytes as they are.
    fn put(&mut self, bytes: &[u8]);
    /// Appends `count` zero bytes.
    fn put_zeros(&mut self, count: usize);
    /// Appends zeros until the length since `start` is a multiple of `align`, a power of two.
    fn pad_to(&mut self, start: usize, align: usize);
    /// The bytes appended since the buffer had length `start`.
    fn since(&self, start: usize) -> usize;
    /// Overwrites bytes that are there already; `at` and the bytes' end must lie inside.
    fn patch(&mut self, at: usize, bytes: &[u8]);

    /// Appends one byte.
    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }
    /// Appends a 16-bit number.
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }
    /// Appends a 32-bit number.
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }
    /// Appends a 64-bit number.
    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }
    /// Overwrites a 32-bit number.
    fn patch_u32(&mut self, at: usize, value: u32) {
        self.patch(at, &value.to_le_bytes());
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn put_zeros(&mut self, count: usize) {
        self.resize(self.len().saturating_add(count), 0);
    }

    fn pad_to(&mut self, start: usize, align: usize) {
        self.put_zeros(padding(self.since(start), align));
    }

    fn since(&self, start: usize) -> usize {
        self.len().saturating_sub(start)
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        let end = at.saturating_add(bytes.len());
        let Some(room) = self.get_mut(at..end) else {
            unreachable!("only bytes that were appended before are patched");
        };
        room.copy_from_slice(bytes);
    }
}

/// The zeros needed after `len` bytes to reach a multiple of `align`, a power of two.
#[must_use]
pub const fn padding(len: usize, align: usize) -> usize {
    debug_assert!(align.is_power_of_two());
    len.wrapping_neg() & align.wrapping_sub(1)
}

/// A length or offset of our own making, as a 16-bit field.
///
/// # Panics
/// When it does not fit: such a message must not have been built.
#[must_use]
pub fn len16(len: usize) -> u16 {
    u16::try_from(len).expect("a field with a 16-bit length holds under 64 KiB")
}

/// A length or offset of our own making, as a 32-bit field.
///
/// # Panics
/// When it does not fit: such a message must not have been built.
#[must_use]
pub fn len32(len: usize) -> u32 {
    u32::try_from(len).expect("a message is shorter than 4 GiB")
}

/// As [`len32`], of a position in a body, counted from the SMB2 header.
#[must_use]
pub(crate) fn header_offset32(in_body: usize) -> u32 {
    len32(in_body.saturating_add(HEADER_LEN))
}

/// As [`len16`], of a position in a body, counted from the SMB2 header.
#[must_use]
pub(crate) fn header_offset16(in_body: usize) -> u16 {
    len16(in_body.saturating_add(HEADER_LEN))
}

/// A field of a `plain!` structure: a value of fixed length.
pub(crate) trait Field: Sized {
    /// Reads it.
    fn get(r: &mut Reader<'_>) -> Result<Self, WireError>;
    /// Appends it.
    fn set(&self, out: &mut Vec<u8>);
}

macro_rules! number_field {
    ($($ty:ty),+) => {
        $(impl Field for $ty {
            fn get(r: &mut Reader<'_>) -> Result<Self, WireError> {
                r.array().map(<$ty>::from_le_bytes)
            }

            fn set(&self, out: &mut Vec<u8>) {
                out.put(&self.to_le_bytes());
            }
        })+
    };
}

number_field!(u8, u16, u32, u64);

/// A BOOLEAN of one byte: any value but zero is true.
impl Field for bool {
    fn get(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(r.u8()? != 0)
    }

    fn set(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(*self));
    }
}

impl<const N: usize> Field for [u8; N] {
    fn get(r: &mut Reader<'_>) -> Result<Self, WireError> {
        r.array()
    }

    fn set(&self, out: &mut Vec<u8>) {
        out.put(self);
    }
}

impl Field for [Guid; 3] {
    fn get(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok([Guid::decode(r)?, Guid::decode(r)?, Guid::decode(r)?])
    }

    fn set(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|guid| guid.encode(out));
    }
}

impl Field for FileTime {
    fn get(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Self::decode(r)
    }

    fn set(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }
}

impl Field for Guid {
    fn get(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Self::decode(r)
    }

    fn set(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }
}

impl Field for FileId {
    fn get(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Self::decode(r)
    }

    fn set(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }
}
