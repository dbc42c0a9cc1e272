//! Directory information classes (MS-FSCC 2.4): entries of QUERY_DIRECTORY.
//!
//! All classes but FileNamesInformation share their first 64 bytes; then come, as the class has
//! them, EaSize, the reparse tag, ids, the short name, and last the name.

use super::list::{ListReader, ListWriter};
use crate::wire::codec::{Put, Reader, WireError, len16, len32};
use crate::wire::info::FileInfoClass;
use crate::wire::types::FileTime;
use crate::wire::utf16::{put_utf16, utf16_len, utf16_to_string};

/// What any directory class can tell about one entry; each takes what it has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DirectoryEntry<'a> {
    /// FileName.
    pub name: &'a str,
    /// The 8.3 name, at most 12 characters; empty for none. Longer ones are left out.
    pub short_name: &'a str,
    /// FileIndex, which is of no use to clients and mostly zero.
    pub file_index: u32,
    /// CreationTime.
    pub created: FileTime,
    /// LastAccessTime.
    pub accessed: FileTime,
    /// LastWriteTime.
    pub written: FileTime,
    /// ChangeTime.
    pub changed: FileTime,
    /// Bytes of data.
    pub end_of_file: u64,
    /// Bytes allocated.
    pub allocation_size: u64,
    /// FileAttributes.
    pub attributes: u32,
    /// Bytes of extended attributes.
    pub ea_size: u32,
    /// Of a reparse point, else zero. The classes that have no field for it show it as EaSize
    /// (MS-FSCC 2.4.8).
    pub reparse_tag: u32,
    /// FileId.
    pub file_id: u64,
    /// For clients that asked for it, in place of EaSize and the short name of FileIdBothDirectoryInformation.
    pub apple: Option<AppleEntry>,
}

/// What macOS, having asked for it by an AAPL context, reads where other clients read EaSize and the short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppleEntry {
    /// Access rights of the user.
    pub maximal_access: u32,
    /// Bytes of the resource fork.
    pub resource_fork: u64,
    /// Type, creator, flags and extended flags of the Finder's information, and the time when the entry came, in
    /// seconds since 2000; all of it with the most significant byte first.
    pub finder_info: [u8; 16],
    /// Type and permission bits.
    pub mode: u16,
}

/// The optional fields of a class, in the order of the wire.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Bytes before the name.
    fixed: usize,
    /// ReparsePointTag.
    tag: bool,
    id: IdField,
    short: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdField {
    None,
    /// 4 reserved bytes, then 64 bits.
    Padded64,
    /// After the short name: 2 reserved bytes, then 64 bits.
    AfterShort,
    Plain64,
    Plain128,
    Both,
}

/// The layout of a class after the common 64 bytes and EaSize.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most classes are no directory classes"
)]
fn layout(class: FileInfoClass) -> Option<Layout> {
    use IdField::{AfterShort, Both, Padded64, Plain64, Plain128};
    let of = |fixed, tag, id, short| {
        Some(Layout {
            fixed,
            tag,
            id,
            short,
        })
    };
    match class {
        FileInfoClass::FullDirectory => of(68, false, IdField::None, false),
        FileInfoClass::IdFullDirectory => of(80, false, Padded64, false),
        FileInfoClass::BothDirectory => of(94, false, IdField::None, true),
        FileInfoClass::IdBothDirectory => of(104, false, AfterShort, true),
        FileInfoClass::IdExtdDirectory => of(88, true, Plain128, false),
        FileInfoClass::IdExtdBothDirectory => of(114, true, Plain128, true),
        FileInfoClass::Id64ExtdDirectory => of(80, true, Plain64, false),
        FileInfoClass::Id64ExtdBothDirectory => of(106, true, Plain64, true),
        FileInfoClass::IdAllExtdDirectory => of(96, true, Both, false),
        FileInfoClass::IdAllExtdBothDirectory => of(122, true, Both, true),
        _ => None,
    }
}

const NAMES_FIXED: usize = 12;
const DIRECTORY_FIXED: usize = 64;
const SHORT_NAME_MAX: usize = 24;

/// Bytes of an entry before its name, for the classes that QUERY_DIRECTORY serves; none for others,
/// which get STATUS_INVALID_INFO_CLASS. A buffer shorter than this gets
/// STATUS_INFO_LENGTH_MISMATCH.
#[must_use]
pub fn fixed_len(class: FileInfoClass) -> Option<usize> {
    if class == FileInfoClass::Names {
        return Some(NAMES_FIXED);
    }
    if class == FileInfoClass::Directory {
        return Some(DIRECTORY_FIXED);
    }
    layout(class).map(|layout| layout.fixed)
}

/// Whether entries of a class have a field for the 8.3 name.
#[must_use]
pub fn has_short_names(class: FileInfoClass) -> bool {
    layout(class).is_some_and(|layout| layout.short)
}

/// Appends entries of one class to a QUERY_DIRECTORY response.
#[derive(Debug)]
pub struct DirectoryWriter<'o> {
    list: ListWriter<'o>,
    class: FileInfoClass,
    fixed: usize,
}

impl<'o> DirectoryWriter<'o> {
    /// A list at the end of `out`, at most `max` bytes long; none for a class that is no directory
    /// class.
    pub fn new(out: &'o mut Vec<u8>, class: FileInfoClass, max: usize) -> Option<Self> {
        let fixed = fixed_len(class)?;
        Some(Self {
            list: ListWriter::new(out, max, 8),
            class,
            fixed,
        })
    }

    /// Appends one entry; does nothing and returns false when there is no room.
    pub fn push(&mut self, entry: &DirectoryEntry<'_>) -> bool {
        let name_len = utf16_len(entry.name);
        let class = self.class;
        self.list.push(self.fixed.saturating_add(name_len), |out| {
            encode_entry(class, entry, len32(name_len), out);
        })
    }

    /// Whether no entry was appended: an empty first answer is STATUS_BUFFER_OVERFLOW when there
    /// was an entry that did not fit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether entries of this class have room for [`DirectoryEntry::apple`].
    #[must_use]
    pub fn tells_apple(&self) -> bool {
        self.class == FileInfoClass::IdBothDirectory
    }

    /// Bytes of the list up to now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.list.used()
    }
}

fn encode_entry(class: FileInfoClass, e: &DirectoryEntry<'_>, name_len: u32, out: &mut Vec<u8>) {
    out.put_u32(0);
    out.put_u32(e.file_index);
    if class != FileInfoClass::Names {
        encode_common(e, out);
    }
    out.put_u32(name_len);
    if let Some(layout) = layout(class) {
        encode_extras(layout, e, out);
    }
    put_utf16(e.name, out);
}

fn encode_common(e: &DirectoryEntry<'_>, out: &mut Vec<u8>) {
    for time in [e.created, e.accessed, e.written, e.changed] {
        time.encode(out);
    }
    out.put_u64(e.end_of_file);
    out.put_u64(e.allocation_size);
    out.put_u32(e.attributes);
}

fn encode_extras(layout: Layout, e: &DirectoryEntry<'_>, out: &mut Vec<u8>) {
    if let (Some(apple), IdField::AfterShort) = (&e.apple, layout.id) {
        out.put_u32(apple.maximal_access);
        // The room for the short name is taken, but by none.
        out.put_u16(SHORT_NAME_ROOM);
        out.put_u64(apple.resource_fork);
        out.put(&apple.finder_info);
        out.put_u16(apple.mode);
        out.put_u64(e.file_id);
        return;
    }
    if layout.tag {
        out.put_u32(e.ea_size);
        out.put_u32(e.reparse_tag);
    } else {
        out.put_u32(if e.reparse_tag == 0 {
            e.ea_size
        } else {
            e.reparse_tag
        });
    }
    match layout.id {
        IdField::None | IdField::AfterShort => {}
        IdField::Padded64 => {
            out.put_u32(0);
            out.put_u64(e.file_id);
        }
        IdField::Plain64 => out.put_u64(e.file_id),
        IdField::Plain128 => put_id_128(e.file_id, out),
        IdField::Both => {
            out.put_u64(e.file_id);
            put_id_128(e.file_id, out);
        }
    }
    if layout.short {
        put_short_name(e.short_name, out);
    }
    if layout.id == IdField::AfterShort {
        out.put_u16(0);
        out.put_u64(e.file_id);
    }
}

/// A 64-bit id as one of 128 bits (MS-FSCC 2.1.10).
fn put_id_128(id: u64, out: &mut Vec<u8>) {
    out.put_u64(id);
    out.put_u64(0);
}

/// Bytes of the field ShortName.
const SHORT_NAME_ROOM: u16 = 24;

fn put_short_name(name: &str, out: &mut Vec<u8>) {
    let name = if utf16_len(name) <= SHORT_NAME_MAX {
        name
    } else {
        ""
    };
    let [len, _] = len16(utf16_len(name)).to_le_bytes();
    out.put_u8(len);
    out.put_u8(0);
    let start = out.len();
    put_utf16(name, out);
    out.put_zeros(SHORT_NAME_MAX.saturating_sub(out.since(start)));
}

/// An entry as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectoryEntryBuf {
    /// FileName.
    pub name: String,
    /// ShortName.
    pub short_name: String,
    /// FileIndex.
    pub file_index: u32,
    /// CreationTime, LastAccessTime, LastWriteTime, ChangeTime.
    pub times: [FileTime; 4],
    /// Bytes of data.
    pub end_of_file: u64,
    /// Bytes allocated.
    pub allocation_size: u64,
    /// FileAttributes.
    pub attributes: u32,
    /// EaSize, or the reparse tag in classes without a field for it.
    pub ea_size: u32,
    /// ReparsePointTag.
    pub reparse_tag: u32,
    /// FileId; the low half of 128 bits.
    pub file_id: u64,
}

/// The entries of a QUERY_DIRECTORY response.
///
/// # Errors
/// A class that is no directory class, and a malformed list.
pub fn decode_entries(
    class: FileInfoClass,
    bytes: &[u8],
) -> Result<Vec<DirectoryEntryBuf>, WireError> {
    ListReader::new(bytes, 8)
        .map(|element| decode_entry(class, element?))
        .collect()
}

fn decode_entry(class: FileInfoClass, element: &[u8]) -> Result<DirectoryEntryBuf, WireError> {
    let mut r = Reader::new(element);
    let mut e = DirectoryEntryBuf::default();
    r.skip(4)?;
    e.file_index = r.u32()?;
    if fixed_len(class).is_none() {
        return Err(WireError::Invalid("not a directory class"));
    }
    if class != FileInfoClass::Names {
        decode_common(&mut e, &mut r)?;
    }
    let name_len = r.u32()?;
    if let Some(layout) = layout(class) {
        decode_extras(layout, &mut e, &mut r)?;
    }
    e.name = utf16_to_string(r.take_u32(name_len)?);
    Ok(e)
}

fn decode_common(e: &mut DirectoryEntryBuf, r: &mut Reader<'_>) -> Result<(), WireError> {
    for time in &mut e.times {
        *time = FileTime::decode(r)?;
    }
    e.end_of_file = r.u64()?;
    e.allocation_size = r.u64()?;
    e.attributes = r.u32()?;
    Ok(())
}

fn decode_extras(
    layout: Layout,
    e: &mut DirectoryEntryBuf,
    r: &mut Reader<'_>,
) -> Result<(), WireError> {
    e.ea_size = r.u32()?;
    if layout.tag {
        e.reparse_tag = r.u32()?;
    }
    let (before, after) = match layout.id {
        IdField::None | IdField::AfterShort => (None, 0),
        IdField::Padded64 => (Some(4), 0),
        IdField::Plain64 => (Some(0), 0),
        IdField::Plain128 => (Some(0), 8),
        IdField::Both => (Some(0), 16),
    };
    if let Some(reserved) = before {
        r.skip(reserved)?;
        e.file_id = r.u64()?;
        r.skip(after)?;
    }
    if layout.short {
        let len = usize::from(r.u8()?);
        r.skip(1)?;
        let field = r.take(SHORT_NAME_MAX)?;
        e.short_name = utf16_to_string(field.get(..len).ok_or(WireError::Bounds)?);
    }
    if layout.id == IdField::AfterShort {
        r.skip(2)?;
        e.file_id = r.u64()?;
    }
    Ok(())
}
