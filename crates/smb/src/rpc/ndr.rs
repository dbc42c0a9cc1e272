//! NDR, transfer syntax version 2, little-endian (C706 14): just what the two interfaces need.

use crate::wire::codec::{Put, Reader, WireError, len32, padding};
use crate::wire::utf16::{put_utf16, utf16_len, utf16_to_string};

/// Strings in requests are names; longer ones are refused.
const STRING_MAX: u32 = 4096;

/// Reads the parameters of a call.
#[derive(Debug)]
pub(super) struct NdrReader<'a> {
    reader: Reader<'a>,
    len: usize,
}

impl<'a> NdrReader<'a> {
    pub(super) fn new(stub: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(stub),
            len: stub.len(),
        }
    }

    fn align(&mut self, to: usize) -> Result<(), WireError> {
        let used = self.len.saturating_sub(self.reader.left());
        self.reader.skip(padding(used, to))
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.align(4)?;
        self.reader.u32()
    }

    /// A conformant varying string, its terminator cut off.
    pub(super) fn string(&mut self) -> Result<String, WireError> {
        let (max, offset, actual) = (self.u32()?, self.u32()?, self.u32()?);
        if offset != 0 || actual > max || actual > STRING_MAX {
            return Err(WireError::Invalid("the bounds of a string are malformed"));
        }
        let bytes = self.reader.take_u32(actual.saturating_mul(2))?;
        Ok(utf16_to_string(bytes).trim_end_matches('\0').to_owned())
    }

    /// A unique pointer to a string.
    pub(super) fn unique_string(&mut self) -> Result<Option<String>, WireError> {
        if self.u32()? == 0 {
            Ok(None)
        } else {
            self.string().map(Some)
        }
    }

    /// A unique pointer to a number.
    pub(super) fn unique_u32(&mut self) -> Result<Option<u32>, WireError> {
        if self.u32()? == 0 {
            Ok(None)
        } else {
            self.u32().map(Some)
        }
    }
}

/// Writes the results of a call.
#[derive(Debug, Default)]
pub(super) struct NdrWriter {
    out: Vec<u8>,
    referents: u32,
    /// Strings whose pointers are written and whose bodies follow the structure.
    deferred: Vec<String>,
}

impl NdrWriter {
    pub(super) fn u32(&mut self, value: u32) {
        self.out.pad_to(0, 4);
        self.out.put_u32(value);
    }

    /// A pointer that is not null; its body follows as NDR orders it.
    pub(super) fn pointer(&mut self) {
        self.referents = self.referents.wrapping_add(1);
        let id = self.referents.wrapping_mul(4) | 0x0002_0000;
        self.u32(id);
    }

    /// A pointer to a string, its body deferred to [`NdrWriter::flush`].
    pub(super) fn string_pointer(&mut self, text: &str) {
        self.pointer();
        self.deferred.push(text.to_owned());
    }

    /// Writes the deferred strings.
    pub(super) fn flush(&mut self) {
        for text in core::mem::take(&mut self.deferred) {
            self.string(&text);
        }
    }

    fn string(&mut self, text: &str) {
        let units = len32(utf16_len(text) / 2).saturating_add(1);
        self.u32(units);
        self.u32(0);
        self.u32(units);
        put_utf16(text, &mut self.out);
        self.out.put_u16(0);
    }

    /// The stub, after the call's own result.
    pub(super) fn finish(mut self, result: u32) -> Vec<u8> {
        self.flush();
        self.u32(result);
        self.out
    }
}
