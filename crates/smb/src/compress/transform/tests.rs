#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests fail by panicking"
)]

use strongroom_device::sim::Rng;

use super::*;

fn form(chained: bool) -> Form {
    use CompressionAlgorithm::{Lz77, Lz77Huffman, Lznt1, PatternV1};
    Form {
        chained,
        algorithms: vec![Lz77, PatternV1, Lz77Huffman, Lznt1],
    }
}

const MAX: usize = 1 << 20;

fn message(runs: bool) -> Vec<u8> {
    let mut bytes = vec![7; 80];
    Rng::new(1).fill(&mut bytes);
    if runs {
        bytes.resize(9000, 3);
    }
    bytes.extend(b"what repeats itself gets shorter, ".repeat(300));
    if runs {
        bytes.resize(bytes.len() + 5000, 0);
    }
    bytes
}

#[test]
fn both_forms_come_back_whole_and_are_shorter() {
    for (chained, runs) in [(false, false), (false, true), (true, false), (true, true)] {
        let (form, message) = (form(chained), message(runs));
        let frame = compress(&form, &message, 80).unwrap();
        assert!(frame.len() < message.len() / 4);
        assert!(decompress(&form, &frame, MAX).unwrap() == message);
        for len in 0..frame.len() - 4 {
            assert!(
                decompress(&form, &frame[..len], MAX).is_err(),
                "{len} bytes"
            );
        }
    }
}

#[test]
fn a_client_that_likes_lz4_better_gets_it() {
    use CompressionAlgorithm::{Lz4, Lz77, PatternV1};
    for (chained, runs) in [(false, false), (false, true), (true, false), (true, true)] {
        let algorithms = vec![Lz4, PatternV1, Lz77];
        let form = Form {
            chained,
            algorithms,
        };
        let message = message(runs);
        let frame = compress(&form, &message, 80).unwrap();
        assert!(frame.len() < message.len() / 4);
        assert!(decompress(&form, &frame, MAX).unwrap() == message);
        let algorithms = vec![Lz77, PatternV1];
        let other = Form {
            chained,
            algorithms,
        };
        let refused = decompress(&other, &frame, MAX);
        assert_eq!(refused, Err(CompressError::Algorithm));
        for len in 0..frame.len() - 4 {
            assert!(decompress(&form, &frame[..len], MAX).is_err(), "{len}");
        }
    }
}

#[test]
fn a_run_of_one_byte_is_a_pattern() {
    let mut message = message(false)[..80].to_vec();
    message.resize(100_000, 9);
    let frame = compress(&form(true), &message, 80).unwrap();
    assert_eq!(frame.len(), 8 + 8 + 80 + 8 + 8);
    assert!(decompress(&form(true), &frame, MAX).unwrap() == message);
}

#[test]
fn what_does_not_get_shorter_goes_as_it_is() {
    let mut noise = vec![0; 10_000];
    Rng::new(2).fill(&mut noise);
    assert!(compress(&form(true), &noise, 80).is_none());
    assert!(compress(&form(false), &noise, 80).is_none());
    assert!(compress(&form(true), &vec![0; 4096], 80).is_none(), "short");
}

#[test]
fn more_than_a_frame_may_hold_is_refused_before_it_is_made() {
    let frame = compress(&form(true), &message(true), 80).unwrap();
    let len = message(true).len();
    assert!(decompress(&form(true), &frame, len).is_ok());
    let refused = decompress(&form(true), &frame, len - 1);
    assert_eq!(refused.unwrap_err(), CompressError::TooLarge);
    let mut huge = frame;
    huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        decompress(&form(true), &huge, MAX).unwrap_err(),
        CompressError::TooLarge
    );
    let plain = compress(&form(false), &message(true), 80).unwrap();
    assert!(decompress(&form(false), &plain, len - 1).is_err());
}

#[test]
fn a_chain_that_holds_less_or_more_than_it_says_is_refused() {
    let frame = compress(&form(true), &message(true), 80).unwrap();
    let original = u32::from_le_bytes(frame[4..8].try_into().unwrap());
    for other in [original - 1, original + 1] {
        let mut frame = frame.clone();
        frame[4..8].copy_from_slice(&other.to_le_bytes());
        assert!(decompress(&form(true), &frame, MAX).is_err());
    }
}

#[test]
fn what_was_not_agreed_on_is_refused() {
    let frame = compress(&form(true), &message(true), 80).unwrap();
    let unchained = decompress(&form(false), &frame, MAX);
    assert_eq!(unchained.unwrap_err(), CompressError::Malformed);
    let huffman_only = Form {
        chained: true,
        algorithms: vec![CompressionAlgorithm::Lz77Huffman],
    };
    let other = decompress(&huffman_only, &frame, MAX);
    assert_eq!(other.unwrap_err(), CompressError::Algorithm);
}

#[test]
fn hostile_chains_end_in_errors() {
    let frames = [
        compress(&form(true), &message(true), 80).unwrap(),
        compress(&form(false), &message(true), 80).unwrap(),
    ];
    let mut rng = Rng::new(3);
    for round in 0..4000 {
        let mut frame = frames[round % 2].clone();
        for _ in 0..=rng.below(4) {
            let at = 4 + rng.below(frame.len() - 4);
            frame[at] = rng.below(256).to_le_bytes()[0];
        }
        if let Ok(message) = decompress(&form(round % 2 == 0), &frame, 100_000) {
            assert!(message.len() <= 100_000);
        }
    }
}
