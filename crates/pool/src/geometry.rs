//! Where the bytes of a stripe's payload lie. Byte `o` is in unit `u = o / 64 KiB`, on shard `u mod k`, in row `u / k`;
//! a shard holds its units one after the other. Parity covers the rows, and is as long as the first shard, which is the
//! longest. With `k` = 1 there is one unit: every shard holds the whole payload.

use std::ops::Range;

use smallvec::SmallVec;

use crate::Layout;

/// The stripe unit: an extent up to this long lies on one shard.
pub(crate) const UNIT: usize = 64 * 1024;

/// Bytes of the payload that lie on a shard, or of its parity.
pub(crate) fn shard_len(layout: Layout, shard: u8, payload: usize) -> usize {
    let data = usize::from(layout.data);
    if data == 1 {
        return payload;
    }
    let place = usize::from(shard);
    // Parity is as long as the longest, the first.
    let place = if place < data { place } else { 0 };
    let (rows, rest) = (payload / (data * UNIT), payload % (data * UNIT));
    rows * UNIT + rest.saturating_sub(place * UNIT).min(UNIT)
}

/// Bytes that a stripe takes on each shard, without its header.
pub(crate) fn stripe_len(layout: Layout, payload: usize) -> usize {
    shard_len(layout, 0, payload)
}

/// A part of a buffer's range that lies in one piece on one shard.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) shard: u8,
    /// Offset in the shard's data of this stripe.
    pub(crate) from: u64,
    /// One after the other on the shard, apart in the buffer.
    pub(crate) pieces: SmallVec<[&'a mut [u8]; 4]>,
}

impl Part<'_> {
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }
}

/// Spreads a buffer that stands for the payload from byte `from` on over the data shards of `layout`, which has more than
/// one.
pub(crate) fn spread(layout: Layout, from: u64, mut buffer: &mut [u8]) -> SmallVec<[Part<'_>; 16]> {
    let data = u64::from(layout.data);
    let unit = UNIT as u64;
    let mut parts: SmallVec<[Part<'_>; 16]> = SmallVec::new();
    let mut at = from;
    while !buffer.is_empty() {
        let (number, inside) = (at / unit, at % unit);
        let room = usize::try_from(unit - inside).unwrap_or(UNIT);
        let (now, later) = buffer.split_at_mut(room.min(buffer.len()));
        buffer = later;
        at += now.len() as u64;
        let shard = u8::try_from(number % data).unwrap_or(u8::MAX);
        match parts.iter_mut().find(|part| part.shard == shard) {
            Some(part) => part.pieces.push(now),
            None => parts.push(Part {
                shard,
                from: number / data * unit + inside,
                pieces: SmallVec::from_iter([now]),
            }),
        }
    }
    parts
}

/// The data shards that bytes of a stripe's payload lie on, each with the range in its data that covers them. With one
/// data shard that is the mirror which reading begins with.
pub(crate) fn shard_ranges(
    layout: Layout,
    stripe: u32,
    bytes: Range<u64>,
) -> SmallVec<[(u8, Range<u64>); 16]> {
    let (data, unit) = (u64::from(layout.data), UNIT as u64);
    if data == 1 {
        return SmallVec::from_iter([(first_mirror(layout, stripe), bytes)]);
    }
    let mut ranges: SmallVec<[(u8, Range<u64>); 16]> = SmallVec::new();
    let mut at = bytes.start;
    while at < bytes.end {
        let (number, inside) = (at / unit, at % unit);
        let len = (unit - inside).min(bytes.end - at);
        let shard = u8::try_from(number % data).unwrap_or(u8::MAX);
        let from = number / data * unit + inside;
        match ranges.iter_mut().find(|(known, _)| *known == shard) {
            Some((_, range)) => range.end = from + len,
            None => ranges.push((shard, from..from + len)),
        }
        at += len;
    }
    ranges
}

/// The mirror that is asked first: another one from stripe to stripe, so that they share the load.
pub(crate) fn first_mirror(layout: Layout, stripe: u32) -> u8 {
    u8::try_from(stripe as usize / 256 % layout.width()).unwrap_or(0)
}

/// The pieces of a payload, unit by unit. With one data shard all of them are one unit.
pub(crate) fn units<'a>(layout: Layout, pieces: &[&'a [u8]]) -> Vec<SmallVec<[&'a [u8]; 2]>> {
    if layout.data == 1 {
        return vec![SmallVec::from_slice(pieces)];
    }
    let mut units: Vec<SmallVec<[&[u8]; 2]>> = Vec::new();
    let mut room = 0;
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            if room == 0 {
                units.push(SmallVec::new());
                room = UNIT;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            if let Some(unit) = units.last_mut() {
                unit.push(now);
            }
            room -= now.len();
            rest = later;
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Layout = Layout { data: 4, parity: 2 };

    #[test]
    fn ranges_cover_what_is_read_and_no_more() {
        for data in [2, 3, 4, 7] {
            let layout = Layout { data, parity: 1 };
            for (from, len) in [(0, 1), (5, 70_000), (65_536, 1 << 20), (200_000, 500_000)] {
                let mut buffer = vec![0; len];
                let parts = spread(layout, from, &mut buffer);
                let expected: Vec<_> = parts
                    .iter()
                    .map(|part| (part.shard, part.from..part.from + part.len() as u64))
                    .collect();
                let ranges = shard_ranges(layout, 0, from..from + len as u64);
                assert_eq!(ranges.to_vec(), expected);
            }
        }
    }

    #[test]
    fn lengths_add_up_to_the_payload() {
        for data in [1, 2, 3, 4, 7, 16] {
            let layout = Layout { data, parity: 2 };
            for payload in (4096..(usize::from(data) << 20)).step_by(4096 * 37) {
                let total: usize = (0..data)
                    .map(|shard| shard_len(layout, shard, payload))
                    .sum();
                assert_eq!(total, payload);
                let longest = (0..data)
                    .map(|shard| shard_len(layout, shard, payload))
                    .max();
                assert_eq!(longest, Some(stripe_len(layout, payload)));
                assert_eq!(
                    shard_len(layout, data, payload),
                    stripe_len(layout, payload)
                );
            }
        }
    }

    #[test]
    fn a_spread_buffer_meets_every_byte_once_and_in_place() {
        let payload: Vec<u8> = (0..900_000u32).map(|at| (at % 251) as u8).collect();
        let mut shards = vec![Vec::new(); 4];
        for (number, unit) in units(WIDE, &[&payload[..5000], &payload[5000..]])
            .iter()
            .enumerate()
        {
            for piece in unit {
                shards[number % 4].extend_from_slice(piece);
            }
        }
        for (shard, bytes) in (0..4).zip(&shards) {
            assert_eq!(bytes.len(), shard_len(WIDE, shard, payload.len()));
        }
        for (from, len) in [(0, 900_000), (65_535, 2), (100_000, 1), (262_000, 400_001)] {
            let mut buffer = vec![0; len];
            for part in spread(WIDE, from as u64, &mut buffer) {
                let mut at = usize::try_from(part.from).unwrap();
                for piece in part.pieces {
                    let end = at + piece.len();
                    piece.copy_from_slice(&shards[usize::from(part.shard)][at..end]);
                    at = end;
                }
            }
            assert_eq!(buffer, payload[from..from + len]);
        }
    }
}
