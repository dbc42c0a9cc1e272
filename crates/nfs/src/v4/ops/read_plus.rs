//! READ_PLUS: data, and holes without their zeroes (RFC 7862, 15.10).

use super::data::{self, File};
use super::open::READ;
use crate::v4::compound::{Compound, DONE};
use crate::v4::types::{DATA_MAX, Stateid};
use crate::v4::{Op, Status};
use crate::xdr::{Decoder, Encoder, Xdr, length};

/// data_content4
const DATA: u32 = 0;
const HOLE: u32 = 1;
/// Pieces of one answer.
const PIECES_MAX: u32 = 64;
/// What stands before the bytes of a piece, with what fills them up.
const PIECE_HEAD: usize = 20;

pub(crate) async fn read_plus(
    c: &mut Compound<'_, '_>,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    let id = Stateid::decode(from)?;
    let (offset, count) = (from.u64()?, from.u32()?);
    let file = data::file(c, c.target()?, id, READ).await?;
    let room = data::room(c, to.len());
    let room = room.saturating_sub(PIECE_HEAD * usize::try_from(PIECES_MAX).unwrap_or(64));
    let wanted = usize::try_from(count).unwrap_or(DATA_MAX).min(room);
    let size = c.request.server.vfs.stat(&file.handle)?.size;
    let end = offset.saturating_add(u64::from(length(wanted))).min(size);
    let head = to.len();
    to.u32(0).u32(0);
    let (at, pieces) = pieces(c, &file, (offset, end), to)?;
    to.patch_u32(head, u32::from(at >= size));
    to.patch_u32(head + 4, pieces);
    DONE
}

/// Writes pieces from one place to another; where they end, and how many there are.
fn pieces(
    c: &Compound<'_, '_>,
    file: &File,
    (offset, end): (u64, u64),
    to: &mut Encoder,
) -> Result<(u64, u32), Status> {
    if offset >= end {
        return Ok((offset, 0));
    }
    let vfs = &c.request.server.vfs;
    let ranges = vfs.allocated_ranges(&file.handle, offset, end - offset)?;
    let (mut at, mut count) = (offset, 0);
    while at < end && count < PIECES_MAX {
        let (is_data, until) = piece(at, end, &ranges);
        let len = usize::try_from(until - at).unwrap_or(DATA_MAX);
        count += 1;
        if is_data {
            to.u32(DATA).u64(at).u32(0);
            let start = to.len();
            let read = vfs.read_into(&file.handle, at, len, |len| to.room(len))?;
            to.end_room(start, read);
            to.patch_u32(start - 4, length(read));
            at += u64::from(length(read));
            if read < len {
                break;
            }
        } else {
            // Locks count for holes, too.
            vfs.read_into(&file.handle, at, len, |_| &mut [])?;
            to.u32(HOLE).u64(at).u64(until - at);
            at = until;
        }
    }
    Ok((at, count))
}

/// Whether there is data at a place, and up to where it is so.
fn piece(at: u64, end: u64, ranges: &[(u64, u64)]) -> (bool, u64) {
    for (start, len) in ranges {
        let stop = start.saturating_add(*len);
        if at < *start {
            return (false, end.min(*start));
        }
        if at < stop {
            return (true, end.min(stop));
        }
    }
    (false, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_data_begins_or_ends() {
        let ranges = [(10, 5), (20, 5)];
        assert_eq!(piece(0, 100, &ranges), (false, 10));
        assert_eq!(piece(12, 100, &ranges), (true, 15));
        assert_eq!(piece(12, 13, &ranges), (true, 13));
        assert_eq!(piece(15, 100, &ranges), (false, 20));
        assert_eq!(piece(25, 100, &ranges), (false, 100));
    }
}
