//! What is packed comes back, what does not pay stays, and no bytes make the unpacking go wrong.

use std::cell::RefCell;

use strongroom_device::sim::Rng;
use strongroom_pool::SegmentId;

use super::*;
use crate::data::EXTENT_MAX;
use crate::tests::pattern;

const BOTH: [Compression; 2] = [Compression::Lz4, Compression::Zstd];

/// Text that is different everywhere and compresses to a third.
fn text(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 40);
    for line in 0.. {
        if bytes.len() >= len {
            break;
        }
        bytes.extend_from_slice(format!("line {line} of a text that goes on\n").as_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn packed(packing: Packing, whole: usize) -> Packed {
    Packed {
        at: Address {
            segment: SegmentId(3),
            stripe: 4,
            offset: 0,
        },
        packing,
        whole: u32::try_from(whole).unwrap(),
    }
}

fn read(from: &Packed, stored: &[u8], start: usize, len: usize) -> Result<Vec<u8>> {
    // A packer of its own each time: nothing may come from its cache.
    let mut target = vec![0xAA; len];
    let fetch = |at: u32, buffer: &mut [u8]| {
        let at = at as usize;
        let bytes = stored.get(at..at + buffer.len());
        let bytes = bytes.ok_or_else(|| damaged(from))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    };
    let start = u32::try_from(start).unwrap();
    Packer::default().read(from, start, &mut target, &fetch)?;
    Ok(target)
}

#[test]
fn what_is_packed_comes_back_from_any_place() {
    for compression in BOTH {
        for len in [4097, 20_000, CHUNK, CHUNK + 1, 300_000, EXTENT_MAX] {
            let plain = text(len);
            let (head, tail) = plain.split_at(len / 3);
            let (stored, packing) = Packer::default()
                .pack(compression, &[head, tail])
                .unwrap_or_else(|| panic!("{compression:?} of {len} bytes does not pay"));
            assert!(
                stored.len() < len * 2 / 3,
                "{len} bytes in {}",
                stored.len()
            );
            let from = packed(packing, len);
            let places = [
                (0, len),
                (len - 1, 1),
                (len / 2, len / 3),
                (1, 1),
                (0, 4096),
            ];
            for (start, count) in places {
                let bytes = read(&from, &stored, start, count).unwrap();
                assert!(bytes == plain[start..start + count], "{start}, {count}");
            }
            assert!(read(&from, &stored, len - 1, 2).is_err());
        }
    }
}

#[test]
fn what_does_not_get_shorter_by_a_block_and_an_eighth_stays_as_it_is() {
    let packer = Packer::default();
    for compression in BOTH {
        assert!(packer.pack(compression, &[&text(4096)]).is_none());
        assert!(packer.pack(compression, &[&pattern(5, 200_000)]).is_none());
        // The sample in the middle shrinks, the rest does not.
        let mut mixed = pattern(6, 200_000);
        mixed[80_000..120_000].fill(7);
        assert!(packer.pack(compression, &[&mixed]).is_some());
        let mut mixed = pattern(7, 400_000);
        mixed[180_000..220_000].fill(7);
        assert!(packer.pack(compression, &[&mixed]).is_none());
    }
    assert!(packer.pack(Compression::Off, &[&text(100_000)]).is_none());
}

#[test]
fn chunks_that_do_not_get_shorter_lie_as_they_are_among_others() {
    let mut plain = text(4 * CHUNK);
    plain[CHUNK..CHUNK + CHUNK].copy_from_slice(&pattern(8, CHUNK));
    for compression in BOTH {
        let (stored, packing) = Packer::default().pack(compression, &[&plain]).unwrap();
        let from = packed(packing, plain.len());
        assert!(read(&from, &stored, 0, plain.len()).unwrap() == plain);
        let bytes = read(&from, &stored, CHUNK + 10, 100).unwrap();
        assert!(bytes == plain[CHUNK + 10..CHUNK + 110]);
    }
}

#[test]
fn a_small_read_fetches_the_table_and_one_chunk_and_the_next_one_nothing() {
    let mut plain = pattern(12, EXTENT_MAX);
    plain
        .chunks_mut(100)
        .step_by(2)
        .for_each(|part| part.fill(0));
    let packer = Packer::default();
    let (stored, packing) = packer.pack(Compression::Zstd, &[&plain]).unwrap();
    let from = packed(packing, plain.len());
    let fetched = RefCell::new(Vec::new());
    let fetch = |at: u32, buffer: &mut [u8]| {
        fetched.borrow_mut().push(buffer.len());
        buffer.copy_from_slice(&stored[at as usize..at as usize + buffer.len()]);
        Ok(())
    };
    for start in (500_000..504_000).step_by(100) {
        let mut target = [0; 100];
        let at = u32::try_from(start).unwrap();
        packer.read(&from, at, &mut target, &fetch).unwrap();
        assert!(target == plain[start..start + 100]);
    }
    let fetched = fetched.into_inner();
    assert_eq!(fetched.len(), 2, "{fetched:?}");
    assert!(fetched.iter().sum::<usize>() < CHUNK);
}

#[test]
fn damaged_bytes_are_an_error_or_bytes_of_the_right_length_and_never_a_panic() {
    let plain = text(150_000);
    let mut random = Rng::new(11);
    for compression in BOTH {
        let (stored, packing) = Packer::default().pack(compression, &[&plain]).unwrap();
        let from = packed(packing, plain.len());
        for _ in 0..400 {
            let mut bad = stored.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bad.len());
                bad[at] = bad[at].wrapping_add(1 + u8::try_from(random.below(200)).unwrap());
            }
            if let Ok(bytes) = read(&from, &bad, 0, plain.len()) {
                assert_eq!(bytes.len(), plain.len());
            }
        }
        for cut in [0, 3, 4, 11, 12, 13, stored.len() - 1] {
            let shorter = Packing {
                stored: u32::try_from(cut).unwrap(),
                ..packing
            };
            let from = packed(shorter, plain.len());
            assert!(read(&from, &stored[..cut], 0, 10).is_err(), "{cut}");
        }
    }
}

#[test]
fn a_chunk_that_would_unpack_to_more_than_the_extent_has_is_refused() {
    let bomb = vec![0; 40 << 20];
    let frames = [
        (Codec::Zstd, zstd::bulk::compress(&bomb, 3).unwrap()),
        (Codec::Lz4, lz4_flex::block::compress(&bomb[..1 << 20])),
    ];
    for (codec, frame) in frames {
        let mut stored = u32::try_from(frame.len()).unwrap().to_le_bytes().to_vec();
        stored.extend_from_slice(&frame);
        let packing = Packing {
            codec,
            stored: u32::try_from(stored.len()).unwrap(),
        };
        assert!(read(&packed(packing, CHUNK), &stored, 0, 100).is_err());
    }
    // A frame that gives fewer bytes is refused as well.
    let frame = zstd::bulk::compress(&bomb[..100], 3).unwrap();
    let mut stored = u32::try_from(frame.len()).unwrap().to_le_bytes().to_vec();
    stored.extend_from_slice(&frame);
    let packing = Packing {
        codec: Codec::Zstd,
        stored: u32::try_from(stored.len()).unwrap(),
    };
    assert!(read(&packed(packing, CHUNK), &stored, 0, 100).is_err());
}

#[test]
fn a_tag_tells_codec_and_length() {
    let packing = Packing {
        codec: Codec::Zstd,
        stored: 9000,
    };
    let tag = |packing| ExtentTag {
        inode: 1,
        stream: 0,
        offset: 0,
        len: 9000,
        txg: crate::Txg(1),
        packing,
    };
    assert_eq!(plain_len(&tag(note_of(Some(packing), 1 << 20))), 1 << 20);
    assert_eq!(plain_len(&tag(note_of(None, 9000))), 9000);
}
