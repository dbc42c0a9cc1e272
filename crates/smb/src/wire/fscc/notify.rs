//! FILE_NOTIFY_INFORMATION (MS-FSCC 2.7.1).

use super::list::{ListReader, ListWriter};
use crate::wire::codec::{Put, Reader, WireError, len32};
use crate::wire::utf16::{put_utf16, utf16_len, utf16_to_string};

open_enum! {
    /// Action.
    pub enum NotifyAction: u32 {
        Added = 1,
        Removed = 2,
        Modified = 3,
        RenamedOldName = 4,
        RenamedNewName = 5,
        AddedStream = 6,
        RemovedStream = 7,
        ModifiedStream = 8,
        RemovedByDelete = 9,
        IdNotTunnelled = 10,
        TunnelledIdCollision = 11,
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyEntry {
    /// What happened.
    pub action: NotifyAction,
    /// The path from the watched directory, with backslashes.
    pub name: String,
}

impl NotifyEntry {
    /// Appends this entry to a list that is aligned to 4; false when there is no room, which the
    /// server answers with STATUS_NOTIFY_ENUM_DIR.
    pub fn push(&self, list: &mut ListWriter<'_>) -> bool {
        let name = utf16_len(&self.name);
        list.push(name.saturating_add(12), |out| {
            out.put_u32(0);
            out.put_u32(self.action.to_wire());
            out.put_u32(len32(name));
            put_utf16(&self.name, out);
        })
    }

    /// The entries in `bytes`.
    ///
    /// # Errors
    /// A malformed list.
    pub fn decode_list(bytes: &[u8]) -> Result<Vec<Self>, WireError> {
        ListReader::new(bytes, 4)
            .map(|element| Self::decode(element?))
            .collect()
    }

    fn decode(element: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(element);
        r.skip(4)?;
        let action = NotifyAction::from_wire(r.u32()?);
        let len = r.u32()?;
        Ok(Self {
            action,
            name: utf16_to_string(r.take_u32(len)?),
        })
    }
}
