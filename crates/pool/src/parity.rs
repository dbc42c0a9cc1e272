//! The parity of one stripe, made row by row from units that may come in pieces.

use smallvec::SmallVec;

use crate::Layout;
use crate::geometry::{UNIT, stripe_len};
use crate::reed_solomon::Code;

/// Room for the parity shards of a stripe, and for units that are short or in pieces.
#[derive(Debug, Default)]
pub(crate) struct Parity {
    /// One after the other, each of `len` bytes.
    shards: Vec<u8>,
    len: usize,
    scratch: Vec<u8>,
}

impl Parity {
    /// The bytes of parity shard `row`.
    pub(crate) fn shard(&self, row: u8) -> &[u8] {
        let start = usize::from(row) * self.len;
        &self.shards[start..start + self.len]
    }

    /// For a planted bug.
    pub(crate) fn forget(&mut self) {
        self.shards.fill(0);
    }

    /// Makes all parity shards of a payload. Mirrors have none.
    pub(crate) fn compute(
        &mut self,
        code: &Code,
        layout: Layout,
        units: &[SmallVec<[&[u8]; 2]>],
        payload: usize,
    ) {
        let data = usize::from(layout.data);
        if data == 1 || layout.parity == 0 {
            return;
        }
        self.len = stripe_len(layout, payload);
        self.shards.resize(self.len * usize::from(layout.parity), 0);
        self.scratch.resize(data * UNIT, 0);
        for (row, units) in units.chunks(data).enumerate() {
            let len: usize = units[0].iter().map(|piece| piece.len()).sum();
            let sources = row_sources(units, len, data, &mut self.scratch);
            let mut targets: SmallVec<[&mut [u8]; 4]> = self
                .shards
                .chunks_mut(self.len)
                .map(|shard| &mut shard[row * UNIT..row * UNIT + len])
                .collect();
            code.encode(&sources, &mut targets);
        }
    }
}

/// The units of one row, each of `len` bytes: where they lie, if they are whole and in one piece, else copied and filled
/// up with zeroes.
fn row_sources<'a>(
    units: &'a [SmallVec<[&[u8]; 2]>],
    len: usize,
    data: usize,
    scratch: &'a mut [u8],
) -> SmallVec<[&'a [u8]; 16]> {
    let mut sources = SmallVec::new();
    for (index, room) in scratch.chunks_mut(UNIT).take(data).enumerate() {
        let pieces = units.get(index).map_or(&[][..], |unit| unit.as_slice());
        if let [whole] = pieces
            && whole.len() == len
        {
            sources.push(*whole);
            continue;
        }
        let room = &mut room[..len];
        let mut filled = 0;
        for piece in pieces {
            room[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
        room[filled..].fill(0);
        sources.push(&*room);
    }
    sources
}
