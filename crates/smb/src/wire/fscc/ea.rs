//! Extended attributes (MS-FSCC 2.4.16 FileFullEaInformation, 2.4.16.1 FILE_GET_EA_INFORMATION).

use super::list::{ListReader, ListWriter};
use crate::wire::codec::{Put, Reader, WireError, len16};

/// One extended attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullEa<'a> {
    /// 0x80: the file cannot be used by who does not understand this attribute.
    pub flags: u8,
    /// The name, ASCII, without its terminator.
    pub name: &'a [u8],
    /// The value; empty deletes the attribute.
    pub value: &'a [u8],
}

impl<'a> FullEa<'a> {
    /// Appends this entry to a list that is aligned to 4; false when there is no room or the name
    /// or value is longer than this structure can carry.
    pub fn push(&self, list: &mut ListWriter<'_>) -> bool {
        let Ok(name_len) = u8::try_from(self.name.len()) else {
            return false;
        };
        let Ok(value_len) = u16::try_from(self.value.len()) else {
            return false;
        };
        let len = self
            .name
            .len()
            .saturating_add(self.value.len())
            .saturating_add(9);
        list.push(len, |out| {
            out.put_u32(0);
            out.put_u8(self.flags);
            out.put_u8(name_len);
            out.put_u16(value_len);
            out.put(self.name);
            out.put_u8(0);
            out.put(self.value);
        })
    }

    /// The entries in `bytes`.
    ///
    /// # Errors
    /// A malformed list, an empty name, or a name without its terminator.
    pub fn decode_list(bytes: &'a [u8]) -> Result<Vec<Self>, WireError> {
        ListReader::new(bytes, 4)
            .map(|element| Self::decode(element?))
            .collect()
    }

    fn decode(element: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(element);
        r.skip(4)?;
        let (flags, name_len, value_len) = (r.u8()?, r.u8()?, r.u16()?);
        let name = terminated(&mut r, name_len)?;
        Ok(Self {
            flags,
            name,
            value: r.take(usize::from(value_len))?,
        })
    }
}

fn terminated<'a>(r: &mut Reader<'a>, len: u8) -> Result<&'a [u8], WireError> {
    let name = r.take(usize::from(len))?;
    if name.is_empty() || name.contains(&0) || r.u8()? != 0 {
        return Err(WireError::Invalid(
            "the name of an extended attribute is malformed",
        ));
    }
    Ok(name)
}

/// The names in a list of FILE_GET_EA_INFORMATION, which asks for certain attributes.
///
/// # Errors
/// As [`FullEa::decode_list`].
pub fn decode_get_ea_list(bytes: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    let one = |element| {
        let mut r = Reader::new(element);
        r.skip(4)?;
        let len = r.u8()?;
        terminated(&mut r, len)
    };
    ListReader::new(bytes, 4)
        .map(|element| one(element?))
        .collect()
}

/// Appends a list of FILE_GET_EA_INFORMATION.
///
/// # Panics
/// When a name is longer than 255 bytes.
pub fn encode_get_ea_list(names: &[&[u8]], out: &mut Vec<u8>) {
    let mut list = ListWriter::new(out, usize::MAX, 4);
    for name in names {
        let [len, high] = len16(name.len()).to_le_bytes();
        assert_eq!(
            high, 0,
            "the name of an extended attribute is at most 255 bytes long"
        );
        list.push(name.len().saturating_add(6), |out| {
            out.put_u32(0);
            out.put_u8(len);
            out.put(name);
            out.put_u8(0);
        });
    }
}
