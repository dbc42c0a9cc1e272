//! The ERROR response (MS-SMB2 2.2.2).

use super::codec::{Codec, Put, Reader, WireError, len16, len32, padding};
use super::utf16::Utf16;

/// One error context (MS-SMB2 2.2.2.1); dialect 3.1.1 wraps the error data into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorContext<'a> {
    /// 0: the data of old; 0x72645253: share redirection.
    pub id: u32,
    /// Its data.
    pub data: &'a [u8],
}

/// ERROR response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorResponse<'a> {
    /// Error data as dialects before 3.1.1 have it; mostly empty.
    Data(&'a [u8]),
    /// Error contexts of dialect 3.1.1.
    Contexts(Vec<ErrorContext<'a>>),
}

impl<'a> ErrorResponse<'a> {
    /// An error without data.
    pub const EMPTY: Self = Self::Data(&[]);

    /// Error data in the form that the dialect wants.
    #[must_use]
    pub fn with_data(data: &'a [u8], in_context: bool) -> Self {
        if in_context {
            Self::Contexts(vec![ErrorContext { id: 0, data }])
        } else {
            Self::Data(data)
        }
    }
}

impl<'a> Codec<'a> for ErrorResponse<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(9)?;
        let count = r.u8()?;
        r.skip(1)?;
        let len = r.u32()?;
        let data = r.take_u32(len)?;
        if count == 0 {
            Ok(Self::Data(data))
        } else {
            decode_contexts(data, count)
        }
    }

    /// Without data, one byte of padding follows, as Windows sends it.
    fn encode(&self, out: &mut Vec<u8>) {
        let count = match self {
            Self::Data(_) => 0,
            Self::Contexts(contexts) => contexts.len(),
        };
        out.put_u16(9);
        out.put_u8(u8::try_from(count).expect("an error has few contexts"));
        out.put_u8(0);
        let len_at = out.len();
        out.put_u32(0);
        let start = out.len();
        match self {
            Self::Data(data) => out.put(data),
            Self::Contexts(contexts) => encode_contexts(contexts, out),
        }
        let len = out.since(start);
        out.patch_u32(len_at, len32(len));
        out.put_zeros(usize::from(len == 0));
    }
}

fn decode_contexts(data: &[u8], count: u8) -> Result<ErrorResponse<'_>, WireError> {
    let mut r = Reader::new(data);
    let mut contexts = Vec::new();
    for _ in 0..count {
        let used = data.len().saturating_sub(r.left());
        r.skip(padding(used, 8))?;
        let (len, id) = (r.u32()?, r.u32()?);
        contexts.push(ErrorContext {
            id,
            data: r.take_u32(len)?,
        });
    }
    Ok(ErrorResponse::Contexts(contexts))
}

fn encode_contexts(contexts: &[ErrorContext<'_>], out: &mut Vec<u8>) {
    let start = out.len();
    for context in contexts {
        out.pad_to(start, 8);
        out.put_u32(len32(context.data.len()));
        out.put_u32(context.id);
        out.put(context.data);
    }
}

const SYMLINK_TAG: u32 = 0x4C4D_5953;
const REPARSE_TAG_SYMLINK: u32 = 0xA000_000C;
/// Bytes of the symbolic link error after its length field and before the path buffer.
const SYMLINK_FIXED: usize = 24;
/// Longest names together that the 16-bit lengths can carry.
const SYMLINK_NAMES_MAX: usize = 0xFFFF - 12;

/// The data of STATUS_STOPPED_ON_SYMLINK (MS-SMB2 2.2.2.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymlinkError<'a> {
    /// Length in bytes of the part of the path after the link.
    pub unparsed_len: u16,
    /// Whether the target is relative to the link's directory.
    pub relative: bool,
    /// Target, to be used.
    pub substitute: Utf16<'a>,
    /// Target, to be shown.
    pub print: Utf16<'a>,
}

impl SymlinkError<'_> {
    /// Whether the names fit into the structure; if not, another error must be sent.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.substitute.len().saturating_add(self.print.len()) <= SYMLINK_NAMES_MAX
    }
}

impl<'a> Codec<'a> for SymlinkError<'a> {
    fn decode(data: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(data);
        let len = r.u32()?;
        let mut r = Reader::new(r.take_u32(len)?);
        if r.u32()? != SYMLINK_TAG || r.u32()? != REPARSE_TAG_SYMLINK {
            return Err(WireError::Invalid("not a symbolic link error"));
        }
        r.skip(2)?;
        let unparsed_len = r.u16()?;
        let names = super::reparse::NameFields::decode(&mut r)?;
        let relative = r.u32()? & 1 != 0;
        let (substitute, print) = names.split(r.rest())?;
        Ok(Self {
            unparsed_len,
            relative,
            substitute,
            print,
        })
    }

    /// # Panics
    /// When the names do not fit; see [`SymlinkError::fits`].
    fn encode(&self, out: &mut Vec<u8>) {
        let names = self.substitute.len().saturating_add(self.print.len());
        out.put_u32(len32(SYMLINK_FIXED.saturating_add(names)));
        out.put_u32(SYMLINK_TAG);
        out.put_u32(REPARSE_TAG_SYMLINK);
        out.put_u16(len16(names.saturating_add(12)));
        out.put_u16(self.unparsed_len);
        super::reparse::NameFields::of(&self.substitute, &self.print).encode(out);
        out.put_u32(u32::from(self.relative));
        out.put(self.substitute.as_bytes());
        out.put(self.print.as_bytes());
    }
}
