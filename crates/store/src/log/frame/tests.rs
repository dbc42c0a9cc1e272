use super::{NONCE_AT, TAG_AT};
use strongroom_device::Timestamp;
use strongroom_device::sim::Rng;
use strongroom_pool::{EpochId, PoolId, Txg};

use super::{ALIGNMENT, HEADER_LEN, Header, NoFrame, Position};

fn sample(body_len: u32) -> Header {
    let mut pool = PoolId::default();
    pool.0[..4].copy_from_slice(&[1, 2, 3, 4]);
    Header {
        epoch: EpochId([9; 16]),
        txg: Txg(77),
        number: 3,
        last: true,
        watermark_only: false,
        body_len,
        position: Position {
            sequence: 5,
            offset: 8192,
        },
        previous: 0x0123_4567_89ab_cdef,
        durable: Txg(76),
        time: Timestamp(1_700_000_000_000_000_000),
        pool,
        encrypted: false,
    }
}

#[test]
fn a_frame_is_read_as_it_was_written() {
    for len in [0, 1, 3967, 3968, 3969, 100_000] {
        let body = vec![0x33; len];
        let header = sample(u32::try_from(len).unwrap());
        let (bytes, hash) = header.encode(&[&body[..len / 2], &body[len / 2..]], None);
        assert_eq!(bytes.len() as u64 % ALIGNMENT, 0);
        let (read, stored) = Header::parse(&bytes).unwrap();
        assert_eq!(read, header);
        assert_eq!(read.verify(&bytes, stored), Some(hash));
    }
}

#[test]
fn the_fields_lie_where_the_format_says() {
    let (bytes, hash) = sample(2).encode(&[b"hi"], None);
    assert_eq!(&bytes[..8], b"SRLF\x01\x00\x01\x00");
    assert_eq!(bytes[24], 77);
    assert_eq!(bytes[32], 3);
    assert_eq!(bytes[36], 2);
    assert_eq!(bytes[40], 5);
    assert_eq!(&bytes[48..50], &[0, 32]);
    assert_eq!(bytes[64], 76);
    assert_eq!(&bytes[80..92], &[0; 12]);
    assert_eq!(&bytes[92..96], &[1, 2, 3, 4]);
    assert_eq!(&bytes[96..120], &[0; 24]);
    assert_eq!(bytes[120..128], hash.to_le_bytes());
    assert_eq!(&bytes[128..130], b"hi");
}

#[test]
fn any_flipped_bit_of_header_or_body_is_found() {
    let (bytes, _) = sample(40).encode(&[&[7; 40]], None);
    for bit in 0..(HEADER_LEN + 40) * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let accepted = Header::parse(&damaged)
            .is_ok_and(|(header, stored)| header.verify(&damaged, stored).is_some());
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn frames_cut_anywhere_and_noise_are_no_frames() {
    let (bytes, _) = sample(40).encode(&[&[7; 40]], None);
    for len in 0..HEADER_LEN + 40 {
        let cut = &bytes[..len];
        let accepted =
            Header::parse(cut).is_ok_and(|(header, stored)| header.verify(cut, stored).is_some());
        assert!(!accepted, "cut at {len}");
    }
    let mut rng = Rng::new(1);
    for _ in 0..2000 {
        let mut noise = vec![0; rng.below(300)];
        rng.fill(&mut noise);
        if noise.len() >= 6 && rng.below(2) == 0 {
            noise[..6].copy_from_slice(b"SRLF\x01\x00");
        }
        if let Ok((header, stored)) = Header::parse(&noise) {
            assert_eq!(header.verify(&noise, stored), None);
        }
    }
}

#[test]
fn a_newer_version_is_told_apart() {
    let (mut bytes, _) = sample(0).encode(&[], None);
    bytes[4] = 2;
    assert_eq!(Header::parse(&bytes), Err(NoFrame::Newer(2)));
}

#[test]
fn an_encrypted_body_opens_in_its_place_only() {
    let pool = crate::tests::encrypted_pool();
    let cipher = pool.cipher_if_encrypted().unwrap();
    let cipher = cipher.as_deref();
    let header = Header {
        encrypted: true,
        ..sample(40)
    };
    let (bytes, hash) = header.encode(&[&[7; 40]], cipher);
    assert!(!bytes.windows(8).any(|window| window == [7; 8]));
    let frame = bytes::Bytes::from(bytes).slice(..HEADER_LEN + 40);
    let (read, stored) = Header::parse(&frame).unwrap();
    assert_eq!(read.verify(&frame, stored), Some(hash));
    assert_eq!(read.open(&frame, cipher).as_deref(), Some(&[7; 40][..]));
    let (again, _) = header.encode(&[&[7; 40]], cipher);
    assert_ne!(frame[HEADER_LEN..], again[HEADER_LEN..HEADER_LEN + 40]);
    let mut other = read;
    other.position.offset += ALIGNMENT;
    assert_eq!(other.open(&frame, cipher), None);
    for byte in [0, 24, 64, NONCE_AT, TAG_AT, HEADER_LEN, HEADER_LEN + 39] {
        let mut bad = frame.to_vec();
        bad[byte] ^= 1;
        assert_eq!(read.open(&bad.into(), cipher), None, "byte {byte}");
    }
    // One that is not encrypted does not count in a pool that is.
    let (plain, _) = sample(40).encode(&[&[7; 40]], None);
    let plain = bytes::Bytes::from(plain).slice(..HEADER_LEN + 40);
    assert_eq!(sample(40).open(&plain, cipher), None);
}
