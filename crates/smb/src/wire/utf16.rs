//! UTF-16LE strings of the wire and their reversible mapping to Rust strings.
//!
//! Windows names are any sequence of 16-bit units, lone surrogates included; names below the
//! protocols are Unicode. A lone surrogate `u` becomes the private character
//! `U+FF000 + (u - 0xD800)`, outside of the ranges that the vfs uses for its own stand-ins. The
//! characters U+FF000 to U+FF7FF themselves, should a client send them as a proper pair, are mapped
//! as two lone surrogates. So every sequence of units has exactly one string, and that string gives
//! back exactly those units.

use std::borrow::Cow;
use std::fmt;

use super::codec::WireError;

const RESERVED_FIRST: u32 = 0x000F_F000;
const SURROGATE_FIRST: u32 = 0xD800;
const SURROGATES: u32 = 0x800;

/// A UTF-16LE string, borrowed from a frame or owned.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Utf16<'a>(Cow<'a, [u8]>);

impl<'a> Utf16<'a> {
    /// Takes the bytes of a string.
    ///
    /// # Errors
    /// An odd number of bytes.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, WireError> {
        if bytes.len().is_multiple_of(2) {
            Ok(Self(Cow::Borrowed(bytes)))
        } else {
            Err(WireError::Invalid("a UTF-16 string has an odd length"))
        }
    }

    /// The string's bytes, without a terminator.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no characters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The string's 16-bit units.
    pub fn units(&self) -> impl Iterator<Item = u16> + '_ {
        units_of(&self.0)
    }

    /// The same string, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Utf16<'static> {
        Utf16(Cow::Owned(self.0.into_owned()))
    }
}

impl From<&str> for Utf16<'_> {
    fn from(text: &str) -> Self {
        let mut bytes = Vec::with_capacity(text.len().saturating_mul(2));
        put_utf16(text, &mut bytes);
        Self(Cow::Owned(bytes))
    }
}

impl fmt::Display for Utf16<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        chars_of(&self.0).try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

impl fmt::Debug for Utf16<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

/// Appends `text` as UTF-16LE, turning the mapped characters back into lone surrogates.
pub fn put_utf16(text: &str, out: &mut Vec<u8>) {
    for c in text.chars() {
        let mut pair = [0; 2];
        match unmap(c) {
            Some(unit) => out.extend_from_slice(&unit.to_le_bytes()),
            None => {
                for unit in c.encode_utf16(&mut pair) {
                    out.extend_from_slice(&unit.to_le_bytes());
                }
            }
        }
    }
}

/// The bytes that [`put_utf16`] appends for `text`.
#[must_use]
pub fn utf16_len(text: &str) -> usize {
    let units = text
        .chars()
        .map(|c| if unmap(c).is_some() { 1 } else { c.len_utf16() });
    units
        .fold(0usize, |sum, n| sum.saturating_add(n))
        .saturating_mul(2)
}

/// Decodes UTF-16LE bytes; an odd last byte is ignored.
#[must_use]
pub fn utf16_to_string(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    text.extend(chars_of(bytes));
    text
}

fn units_of(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_le_bytes(*pair))
}

fn chars_of(bytes: &[u8]) -> impl Iterator<Item = char> + '_ {
    char::decode_utf16(units_of(bytes)).flat_map(|unit| match unit {
        Ok(c) if unmap(c).is_none() => [Some(c), None].into_iter().flatten(),
        Ok(c) => {
            let mut pair = [0; 2];
            c.encode_utf16(&mut pair);
            pair.map(map).into_iter().flatten()
        }
        Err(lone) => [map(lone.unpaired_surrogate()), None].into_iter().flatten(),
    })
}

/// The private character of a lone surrogate.
fn map(unit: u16) -> Option<char> {
    let index = u32::from(unit).checked_sub(SURROGATE_FIRST)?;
    char::from_u32(RESERVED_FIRST.checked_add(index)?)
}

/// The lone surrogate for which a private character stands.
fn unmap(c: char) -> Option<u16> {
    let index = u32::from(c)
        .checked_sub(RESERVED_FIRST)
        .filter(|index| *index < SURROGATES)?;
    u16::try_from(index.checked_add(SURROGATE_FIRST)?).ok()
}
