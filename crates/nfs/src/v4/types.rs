//! The small structures of RFC 8881 that many operations share.

use strongroom_vfs::FileTime;

use crate::xdr::{Decoder, Encoder, List, Opaque, Result, Xdr, XdrError};

/// The longest handle (RFC 8881, 3.1).
pub const HANDLE_MAX: usize = 128;
/// Longer names are told so, up to what is not worth reading.
pub const NAME_MAX: usize = 4_096;
/// The longest name of an owner of opens or locks, or of a client (NFS4_OPAQUE_LIMIT).
pub const OWNER_MAX: usize = 1_024;
/// The most that is read or written at once.
pub const DATA_MAX: usize = 1 << 20;
/// Words of an attribute mask: 96 bits, and some that are not known yet.
const WORDS_MAX: usize = 8;

pub(crate) type Handle<'a> = Opaque<'a, HANDLE_MAX>;
pub(crate) type Name<'a> = Opaque<'a, NAME_MAX>;
pub(crate) type OwnerName<'a> = Opaque<'a, OWNER_MAX>;

xdr_struct! {
    /// stateid4
    #[derive(Copy, Hash)]
    pub struct Stateid {
        pub sequence: u32,
        pub other: [u8; 12],
    }
}

impl Stateid {
    /// Whoever shows it has no open: share modes and locks count against it.
    pub const ANONYMOUS: Self = Self {
        sequence: 0,
        other: [0; 12],
    };
    /// As that; a read by it may pass locks.
    pub const BYPASS: Self = Self {
        sequence: u32::MAX,
        other: [0xFF; 12],
    };
    /// The one that the compound itself brought forth last (RFC 8881, 16.2.3.1.2).
    pub const CURRENT: Self = Self {
        sequence: 1,
        other: [0; 12],
    };

    pub fn is_special(&self) -> bool {
        *self == Self::ANONYMOUS || *self == Self::BYPASS
    }
}

xdr_struct! {
    /// nfstime4
    #[derive(Copy)]
    pub struct Time {
        pub seconds: i64,
        pub nanoseconds: u32,
    }
}

impl Time {
    pub fn of(time: FileTime) -> Self {
        let (seconds, nanoseconds) = time.to_unix();
        Self {
            seconds,
            nanoseconds,
        }
    }

    /// None where there are more nanoseconds than in a second.
    pub fn to_file_time(self) -> Option<FileTime> {
        (self.nanoseconds < 1_000_000_000)
            .then(|| FileTime::from_unix(self.seconds, self.nanoseconds))
    }
}

xdr_struct! {
    /// change_info4
    #[derive(Copy)]
    pub struct ChangeInfo {
        pub atomic: bool,
        pub before: u64,
        pub after: u64,
    }
}

/// bitmap4
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bitmap {
    words: [u32; WORDS_MAX],
}

impl Bitmap {
    pub const fn of(bits: &[u32]) -> Self {
        let mut words = [0; WORDS_MAX];
        let mut at = 0;
        while at < bits.len() {
            words[(bits[at] / 32) as usize] |= 1 << (bits[at] % 32);
            at += 1;
        }
        Self { words }
    }

    pub fn has(&self, bit: u32) -> bool {
        let word = usize::try_from(bit / 32).unwrap_or(usize::MAX);
        self.words
            .get(word)
            .is_some_and(|word| word & (1 << (bit % 32)) != 0)
    }

    pub fn set(&mut self, bit: u32) {
        let word = usize::try_from(bit / 32).unwrap_or(usize::MAX);
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << (bit % 32);
        }
    }

    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut words = self.words;
        for (word, mask) in words.iter_mut().zip(other.words) {
            *word &= mask;
        }
        Self { words }
    }

    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut words = self.words;
        for (word, mask) in words.iter_mut().zip(other.words) {
            *word &= !mask;
        }
        Self { words }
    }

    pub fn is_empty(&self) -> bool {
        self.words == [0; WORDS_MAX]
    }

    /// The bits that are set, in their order.
    pub fn bits(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(self.words).flat_map(|(at, word)| {
            (0..32u32)
                .filter(move |bit| word & (1 << bit) != 0)
                .map(move |bit| at * 32 + bit)
        })
    }
}

impl Xdr<'_> for Bitmap {
    fn decode(from: &mut Decoder<'_>) -> Result<Self> {
        let given = List::<u32, WORDS_MAX>::decode(from)?;
        let mut words = [0; WORDS_MAX];
        for (word, given) in words.iter_mut().zip(given.0) {
            *word = given;
        }
        Ok(Self { words })
    }

    fn encode(&self, to: &mut Encoder) {
        let used = self.words.iter().rposition(|word| *word != 0);
        let used = used.map_or(0, |last| last + 1);
        to.u32(crate::xdr::length(used));
        for word in self.words.iter().take(used) {
            to.u32(*word);
        }
    }
}

xdr_struct! {
    /// fattr4 as it comes in: which attributes, and their values one after the other.
    pub struct RawAttributes<'a> {
        pub mask: Bitmap,
        pub values: Opaque<'a, { 256 << 10 }>,
    }
}

/// A byte range as it comes in; all ones for its length is to the end of whatever the file becomes.
pub(crate) fn range_len(offset: u64, length: u64) -> std::result::Result<u64, super::Status> {
    match length {
        0 => Err(super::Status::INVAL),
        u64::MAX => Ok(u64::MAX - offset),
        length if offset.checked_add(length).is_none() => Err(super::Status::INVAL),
        length => Ok(length),
    }
}

/// A list that is read past.
pub(crate) fn skip_list(
    from: &mut Decoder<'_>,
    max: usize,
    mut item: impl FnMut(&mut Decoder<'_>) -> Result<()>,
) -> Result<()> {
    let count = from.u32()?;
    if usize::try_from(count).unwrap_or(usize::MAX) > max {
        return Err(XdrError::TooLong("a list"));
    }
    (0..count).try_for_each(|_| item(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_come_back_and_end_with_their_last_bit() {
        let mask = Bitmap::of(&[0, 33, 81]);
        assert_eq!(mask.bits().collect::<Vec<_>>(), [0, 33, 81]);
        let bytes = mask.to_xdr();
        assert_eq!(bytes.len(), 16);
        assert_eq!(Bitmap::decode(&mut Decoder::new(&bytes)).unwrap(), mask);
        assert_eq!(Bitmap::default().to_xdr(), [0; 4]);
    }

    #[test]
    fn ranges_that_end_beyond_all_bytes_are_refused() {
        assert_eq!(range_len(5, u64::MAX), Ok(u64::MAX - 5));
        assert!(range_len(5, u64::MAX - 1).is_err());
        assert!(range_len(0, 0).is_err());
    }
}
