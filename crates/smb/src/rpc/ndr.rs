//! NDR, transfer syntax version 2, little-endian (C706 14): just what the interfaces need.

use strongroom_identity::Sid;

use super::handles::Handle;
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

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.align(2)?;
        self.reader.u16()
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.align(4)?;
        self.reader.u32()
    }

    /// A context handle.
    pub(super) fn handle(&mut self) -> Result<Handle, WireError> {
        self.align(4)?;
        self.reader.array()
    }

    /// An RPC_SID (MS-DTYP 2.4.2.3): its number of sub-authorities comes before it once more.
    pub(super) fn sid(&mut self) -> Result<Sid, WireError> {
        let count = self.u32()?;
        let malformed = WireError::Invalid("a SID is malformed");
        if usize::try_from(count).map_or(true, |count| {
            count > strongroom_identity::MAX_SUB_AUTHORITIES
        }) {
            return Err(malformed);
        }
        let bytes = self
            .reader
            .take_u32(count.saturating_mul(4).saturating_add(8))?;
        let sid = Sid::from_bytes(bytes).map_err(|_| malformed)?;
        if sid.encoded_len() == bytes.len() {
            Ok(sid)
        } else {
            Err(malformed)
        }
    }

    /// The head of an RPC_UNICODE_STRING (MS-DTYP 2.3.10); whether its body follows, which is a string.
    pub(super) fn text_head(&mut self) -> Result<bool, WireError> {
        self.align(4)?;
        self.reader.skip(4)?;
        Ok(self.u32()? != 0)
    }

    /// The bodies of texts whose heads were read.
    pub(super) fn texts(&mut self, heads: &[bool]) -> Result<Vec<String>, WireError> {
        let body = |present: &bool| {
            if *present {
                self.string()
            } else {
                Ok(String::new())
            }
        };
        heads.iter().map(body).collect()
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
    /// What the pointers that are written point to, in their order; it follows the structure.
    deferred: Vec<Deferred>,
}

#[derive(Debug)]
enum Deferred {
    /// A string with its terminator.
    String(String),
    /// The characters of an RPC_UNICODE_STRING.
    Text(String),
    Sid(Sid),
    Numbers(Vec<u32>),
}

impl NdrWriter {
    pub(super) fn u8(&mut self, value: u8) {
        self.out.put_u8(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.out.pad_to(0, 2);
        self.out.put_u16(value);
    }

    /// The number of elements, as it stands before and in arrays.
    pub(super) fn count(&mut self, count: usize) {
        self.u32(len32(count));
    }

    /// A context handle; zeros say that there is none.
    pub(super) fn handle(&mut self, handle: Option<Handle>) {
        self.out.pad_to(0, 4);
        self.out.put(&handle.unwrap_or_default());
    }

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
        self.deferred.push(Deferred::String(text.to_owned()));
    }

    /// An RPC_UNICODE_STRING (MS-DTYP 2.3.10), its characters deferred.
    pub(super) fn text(&mut self, text: &str) {
        let bytes = u16::try_from(utf16_len(text)).unwrap_or(u16::MAX);
        self.out.pad_to(0, 4);
        self.u16(bytes);
        self.u16(bytes);
        self.pointer();
        self.deferred.push(Deferred::Text(text.to_owned()));
    }

    /// A pointer to an RPC_SID, deferred.
    pub(super) fn sid_pointer(&mut self, sid: Sid) {
        self.pointer();
        self.deferred.push(Deferred::Sid(sid));
    }

    /// The number of elements and a pointer to an array of them, deferred.
    pub(super) fn numbers(&mut self, numbers: Vec<u32>) {
        self.count(numbers.len());
        self.pointer();
        self.deferred.push(Deferred::Numbers(numbers));
    }

    /// An RPC_SID in its place.
    pub(super) fn sid(&mut self, sid: &Sid) {
        self.count(sid.sub_authorities().len());
        sid.encode(&mut self.out);
    }

    /// Writes what was deferred.
    pub(super) fn flush(&mut self) {
        for deferred in core::mem::take(&mut self.deferred) {
            match deferred {
                Deferred::String(text) => self.string(&text),
                Deferred::Text(text) => self.characters(&text),
                Deferred::Sid(sid) => self.sid(&sid),
                Deferred::Numbers(numbers) => {
                    self.count(numbers.len());
                    numbers.into_iter().for_each(|number| self.u32(number));
                }
            }
        }
    }

    fn characters(&mut self, text: &str) {
        let units = len32(utf16_len(text) / 2);
        self.u32(units);
        self.u32(0);
        self.u32(units);
        put_utf16(text, &mut self.out);
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
