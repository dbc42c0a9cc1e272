//! Small types that many structures share: identifiers, GUIDs, times.

use super::codec::{Put, Reader, WireError};

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($repr:ty)) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $repr);
    };
}

id! {
    /// MessageId of the SMB2 header (MS-SMB2 2.2.1.2).
    MessageId(u64)
}
id! {
    /// SessionId of the SMB2 header.
    SessionId(u64)
}
id! {
    /// TreeId of the SMB2 header.
    TreeId(u32)
}
id! {
    /// AsyncId of the asynchronous SMB2 header (MS-SMB2 2.2.1.1).
    AsyncId(u64)
}

/// SMB2_FILEID (MS-SMB2 2.2.14.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FileId {
    /// Survives a reconnection of a durable open.
    pub persistent: u64,
    /// Names the open within its session.
    pub volatile: u64,
}

impl FileId {
    /// The id that names no file: in related compounded requests it stands for the file of the
    /// request before (MS-SMB2 3.3.5.2.7.2), in some IOCTLs for no file at all.
    pub const ANY: Self = Self {
        persistent: u64::MAX,
        volatile: u64::MAX,
    };

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            persistent: reader.u64()?,
            volatile: reader.u64()?,
        })
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put_u64(self.persistent);
        out.put_u64(self.volatile);
    }
}

/// A GUID in its wire form (MS-DTYP 2.3.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// From the four groups in which a GUID is written.
    #[must_use]
    pub const fn from_fields(data1: u32, data2: u16, data3: u16, data4: [u8; 8]) -> Self {
        let [a0, a1, a2, a3] = data1.to_le_bytes();
        let [b0, b1] = data2.to_le_bytes();
        let [c0, c1] = data3.to_le_bytes();
        let [d0, d1, d2, d3, d4, d5, d6, d7] = data4;
        Self([
            a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7,
        ])
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.array().map(Self)
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put(&self.0);
    }
}

/// FILETIME (MS-DTYP 2.3.3): 100 ns since 1 January 1601, UTC.
///
/// In SET_INFO zero, -1 and -2 are orders, not times (MS-FSCC 2.4.7); they are kept as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime(pub u64);

/// Ticks of 100 ns in a second.
const TICKS_PER_SECOND: i128 = 10_000_000;
/// Seconds from 1 January 1601 to 1 January 1970.
const UNIX_EPOCH_SECONDS: i128 = 11_644_473_600;

impl FileTime {
    /// Leave this time as it is.
    pub const UNCHANGED: Self = Self(0);
    /// -1: from now on, operations on this handle do not update this time.
    pub const FREEZE: Self = Self(u64::MAX);
    /// -2: operations on this handle update this time again.
    pub const THAW: Self = Self(u64::MAX - 1);

    /// From seconds since 1970 and nanoseconds; times outside of the range (1601 to 30828) are
    /// moved to its nearer end.
    #[must_use]
    pub fn from_unix(seconds: i64, nanos: u32) -> Self {
        let ticks = i128::from(seconds)
            .saturating_add(UNIX_EPOCH_SECONDS)
            .saturating_mul(TICKS_PER_SECOND)
            .saturating_add(i128::from(nanos / 100));
        let max = i128::from(i64::MAX);
        Self(u64::try_from(ticks.clamp(0, max)).unwrap_or(0))
    }

    /// Seconds since 1970 and nanoseconds; none for what is no time: zero, the orders above,
    /// and any other value with the sign bit set.
    #[must_use]
    pub fn to_unix(self) -> Option<(i64, u32)> {
        let ticks = i64::try_from(self.0).ok().filter(|ticks| *ticks > 0)?;
        let per_second = i64::try_from(TICKS_PER_SECOND).ok()?;
        let epoch = i64::try_from(UNIX_EPOCH_SECONDS).ok()?;
        let seconds = ticks.div_euclid(per_second).checked_sub(epoch)?;
        let nanos = u32::try_from(ticks.rem_euclid(per_second))
            .ok()?
            .checked_mul(100)?;
        Some((seconds, nanos))
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.u64().map(Self)
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.put_u64(self.0);
    }
}
