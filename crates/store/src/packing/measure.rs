//! What compression costs and saves on files given by `MEASURE`. Run by hand.

use std::time::Instant;

use super::*;
use crate::data::EXTENT_MAX;

#[test]
#[ignore = "a measurement: MEASURE names a file"]
fn rates() {
    let plain = std::fs::read(std::env::var("MEASURE").unwrap()).unwrap();
    for compression in [Compression::Lz4, Compression::Zstd] {
        let packer = Packer::default();
        let (mut stored, mut packing_s, mut unpacking_s, mut target) =
            (0, 0.0, 0.0, vec![0; EXTENT_MAX]);
        for extent in plain.chunks(EXTENT_MAX) {
            let before = Instant::now();
            let packed = packer.pack(compression, &[extent]);
            packing_s += before.elapsed().as_secs_f64();
            stored += packed
                .as_ref()
                .map_or(extent.len(), |(bytes, _)| bytes.len());
            let Some((bytes, packing)) = packed else {
                continue;
            };
            let whole = u32::try_from(extent.len()).unwrap();
            let at = Address {
                segment: strongroom_pool::SegmentId(1),
                stripe: 0,
                offset: 0,
            };
            let from = Packed { at, packing, whole };
            let fetch = |at: u32, buffer: &mut [u8]| {
                buffer.copy_from_slice(&bytes[at as usize..at as usize + buffer.len()]);
                Ok(())
            };
            let before = Instant::now();
            packer
                .read(&from, 0, &mut target[..extent.len()], &fetch)
                .unwrap();
            unpacking_s += before.elapsed().as_secs_f64();
            assert!(target[..extent.len()] == *extent);
        }
        let mb = plain.len() as f64 / 1e6;
        println!(
            "{compression}: to {:.2}, {:.0} MB/s, back {:.0} MB/s",
            stored as f64 / plain.len() as f64,
            mb / packing_s,
            mb / unpacking_s
        );
    }
}
