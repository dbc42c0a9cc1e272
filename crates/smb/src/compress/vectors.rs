//! The examples of MS-XCA 3.1 to 3.3, and hostile bytes.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "tests fail by panicking"
)]

use strongroom_device::sim::Rng;

use super::output::Output;
use super::{CompressError, Result, huffman, lz4, lz77, lznt1};

type Decoder = fn(&[u8], &mut Output<'_>) -> Result<()>;

fn decode(decoder: Decoder, input: &[u8], len: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder(input, &mut Output::new(&mut bytes, len))?;
    assert_eq!(bytes.len(), len, "a decoder fills its output or fails");
    Ok(bytes)
}

const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

fn abc() -> Vec<u8> {
    b"abc".repeat(100)
}

/// MS-XCA 3.1.
#[test]
fn plain_lz77_reads_the_published_examples() {
    let mut alphabet = vec![0x3f, 0, 0, 0];
    alphabet.extend_from_slice(ALPHABET);
    assert_eq!(decode(lz77::decompress, &alphabet, 26).unwrap(), ALPHABET);
    let repeated = [
        0xff, 0xff, 0xff, 0x1f, 0x61, 0x62, 0x63, 0x17, 0x00, 0x0f, 0xff, 0x26, 0x01,
    ];
    assert_eq!(decode(lz77::decompress, &repeated, 300).unwrap(), abc());
}

#[test]
fn plain_lz77_writes_the_published_examples() {
    let written = |bytes: &[u8]| {
        let mut out = Vec::new();
        lz77::compress(bytes, 1 << 20, &mut out).unwrap();
        out
    };
    let mut alphabet = vec![0x3f, 0, 0, 0];
    alphabet.extend_from_slice(ALPHABET);
    assert_eq!(written(ALPHABET), alphabet);
    assert_eq!(
        written(&abc()),
        [
            0xff, 0xff, 0xff, 0x1f, 0x61, 0x62, 0x63, 0x17, 0x00, 0x0f, 0xff, 0x26, 0x01
        ]
    );
}

/// Blocks put together by hand from the description of the format: literals with a long length and the five literals
/// that end every block; a match that overlaps itself.
#[test]
fn lz4_reads_what_its_format_describes() {
    let mut literals = vec![0xF0, 11];
    literals.extend_from_slice(ALPHABET);
    assert_eq!(decode(lz4::decompress, &literals, 26).unwrap(), ALPHABET);
    // "abc", then 292 bytes from 3 before: 4 + 15 + 255 + 18, then five literals.
    let mut repeated = vec![0x3F, b'a', b'b', b'c', 3, 0, 255, 18];
    repeated.extend_from_slice(&[0x50, b'b', b'c', b'a', b'b', b'c']);
    assert_eq!(decode(lz4::decompress, &repeated, 300).unwrap(), abc());
    for len in 0..repeated.len() {
        assert!(decode(lz4::decompress, &repeated[..len], 300).is_err());
    }
    assert!(decode(lz4::decompress, &repeated, 299).is_err());
    assert!(decode(lz4::decompress, &repeated, 301).is_err());
    let far = [0x3F, b'a', b'b', b'c', 4, 0, 255, 18, 0];
    assert!(
        decode(lz4::decompress, &far, 295).is_err(),
        "before the first byte"
    );
}

/// The table of the example: (offset, byte) of what is not zero.
fn huffman_example(lengths: &[(usize, u8)], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 256];
    for (at, byte) in lengths {
        bytes[*at] = *byte;
    }
    bytes.extend_from_slice(data);
    bytes
}

/// MS-XCA 3.2.
#[test]
fn huffman_reads_the_published_examples() {
    let mut lengths = vec![
        (0x30, 0x50),
        (0x3b, 0x45),
        (0x3c, 0x44),
        (0x3d, 0x04),
        (0x80, 0x04),
    ];
    lengths.extend((0x31..=0x3a).map(|at| (at, 0x55)));
    let data = [
        0xd8, 0x52, 0x3e, 0xd7, 0x94, 0x11, 0x5b, 0xe9, 0x19, 0x5f, 0xf9, 0xd6, 0x7c, 0xdf, 0x8d,
        0x04, 0, 0, 0, 0,
    ];
    let alphabet = huffman_example(&lengths, &data);
    assert_eq!(
        decode(huffman::decompress, &alphabet, 26).unwrap(),
        ALPHABET
    );
    let lengths = [(0x30, 0x30), (0x31, 0x23), (0x80, 0x02), (0x8f, 0x20)];
    let data = [0xa8, 0xdc, 0, 0, 0xff, 0x26, 0x01];
    let repeated = huffman_example(&lengths, &data);
    assert_eq!(decode(huffman::decompress, &repeated, 300).unwrap(), abc());
}

#[test]
fn huffman_codes_that_leave_gaps_or_overlap_are_refused() {
    let data = [0; 8];
    for lengths in [&[(0, 0x01)][..], &[(0, 0x11), (1, 0x11)], &[]] {
        let bytes = huffman_example(lengths, &data);
        let result = decode(huffman::decompress, &bytes, 26);
        assert_eq!(result.unwrap_err(), CompressError::Malformed);
    }
}

/// MS-XCA 3.3.
#[test]
fn lznt1_reads_the_published_example() {
    let text = "F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# \
                G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
    let bytes = [
        0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2, 0x47,
        0x01, 0xa0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0, 0x45, 0x20,
        0x05, 0x24, 0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58, 0x02, 0x8c, 0x09,
        0x16, 0x01, 0x48, 0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01, 0x18, 0x90, 0x00,
    ];
    let decoded = decode(lznt1::decompress, &bytes, text.len()).unwrap();
    assert_eq!(String::from_utf8(decoded).unwrap(), text);
}

#[test]
fn lznt1_takes_raw_chunks_beside_compressed_ones() {
    let mut bytes = vec![0x02, 0x30, b'a', b'b', b'c'];
    // A literal and a match of distance 1 and length 9.
    bytes.extend_from_slice(&[0x03, 0xb0, 0x02, b'x', 0x06, 0x00]);
    assert_eq!(
        decode(lznt1::decompress, &bytes, 13).unwrap(),
        b"abcxxxxxxxxxx"
    );
    // A match reaches into its own chunk only.
    let across = [0x02, 0x30, b'a', b'b', b'c', 0x02, 0xb0, 0x01, 0x00, 0x00];
    assert_eq!(
        decode(lznt1::decompress, &across, 6).unwrap_err(),
        CompressError::Reach
    );
}

/// Bytes with runs, repeats and noise.
fn mixed(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.len() < len {
        match rng.below(3) {
            0 => bytes.resize(bytes.len() + 1 + rng.below(70_000), rng.below(256) as u8),
            1 if !bytes.is_empty() => {
                let from = rng.below(bytes.len());
                let to = (from + rng.below(2000)).min(bytes.len());
                bytes.extend_from_within(from..to);
            }
            _ => {
                let mut noise = vec![0; rng.below(300)];
                rng.fill(&mut noise);
                bytes.extend_from_slice(&noise);
            }
        }
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn what_lz77_writes_it_reads() {
    let mut rng = Rng::new(5);
    for len in [0, 1, 2, 3, 31, 32, 33, 64, 100, 8192, 8195, 70_000, 300_000] {
        for _ in 0..4 {
            let bytes = mixed(&mut rng, len);
            let mut out = Vec::new();
            lz77::compress(&bytes, usize::MAX, &mut out).unwrap();
            assert!(decode(lz77::decompress, &out, len).unwrap() == bytes);
        }
    }
}

#[test]
fn compression_gives_up_where_it_does_not_pay() {
    let mut noise = vec![0; 10_000];
    Rng::new(6).fill(&mut noise);
    assert!(lz77::compress(&noise, noise.len(), &mut Vec::new()).is_none());
}

#[test]
fn hostile_bytes_never_become_more_than_was_announced() {
    let decoders: [Decoder; 4] = [
        lz77::decompress,
        huffman::decompress,
        lznt1::decompress,
        lz4::decompress,
    ];
    let mut rng = Rng::new(7);
    for round in 0..6000 {
        let mut input = vec![0; 1 + rng.below(600)];
        rng.fill(&mut input);
        if round % 2 == 0 && input.len() > 256 {
            // A table that is complete: all codes have nine bits.
            input[..256].fill(0x99);
        }
        for decoder in decoders {
            let mut bytes = b"before".to_vec();
            let result = decoder(&input, &mut Output::new(&mut bytes, 5000));
            assert!(bytes.len() <= 5006);
            assert!(bytes.starts_with(b"before"));
            assert!(result.is_err() || bytes.len() == 5006);
        }
    }
}

#[test]
fn every_cut_of_an_example_is_refused() {
    let mut rng = Rng::new(8);
    let bytes = mixed(&mut rng, 3000);
    let mut whole = Vec::new();
    lz77::compress(&bytes, usize::MAX, &mut whole).unwrap();
    for len in 0..whole.len() - 4 {
        let result = decode(lz77::decompress, &whole[..len], 3000);
        assert!(result.is_err(), "{len} of {} bytes", whole.len());
    }
}

#[test]
fn a_bomb_stops_at_its_announced_size() {
    // One literal, then a match of four gigabytes.
    let mut bomb = vec![0xff, 0xff, 0xff, 0x7f, b'x', 0x07, 0x00, 0x0f, 0xff, 0, 0];
    bomb.extend_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        decode(lz77::decompress, &bomb, 1000).unwrap_err(),
        CompressError::TooLarge
    );
}
