use super::*;
use crate::epoch::{EpochRecord, parse_chain};
use crate::fragment::{Head, Header, Place};
use crate::label::Label;
use crate::sealed::Seal;
use crate::{DiskId, PoolId, SegmentId};

#[test]
fn every_byte_of_a_label_may_flip_in_one_copy() {
    let env = SimEnv::new(1);
    let all = disks(&env, 1);
    drop(new_pool(&env, &all, Layout::SINGLE));
    let sound = all[0].contents("label.1").unwrap();
    for offset in (0..4096u64).step_by(7).chain(4080..4096) {
        all[0].flip("label.1", offset, 0x40);
        let pool = open(&env, &all).unwrap();
        if offset % 98 == 0 {
            pool.begin_epoch(Txg(0), &[]).unwrap();
            assert_eq!(
                all[0].contents("label.1").unwrap(),
                sound,
                "the copy is repaired"
            );
        } else {
            all[0].replace("label.1", &sound);
        }
    }
}

#[test]
fn a_label_cut_or_flipped_anywhere_is_no_label() {
    let label = Label {
        pool: PoolId([1; 16]),
        disk: DiskId([2; 16]),
        layout: Layout::MIRROR,
        created_ns: 5,
        disks: vec![DiskId([3; 16]), DiskId([2; 16])],
        role: None,
        keys: None,
    };
    let bytes = label.encode();
    assert_eq!(Label::decode(&bytes), Ok(label));
    for len in 0..bytes.len() {
        assert!(Label::decode(&bytes[..len]).is_err());
    }
    for offset in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[offset] ^= 1;
        assert!(Label::decode(&bad).is_err(), "byte {offset}");
    }
}

#[test]
fn every_byte_of_an_epoch_chain_may_flip_in_one_copy() {
    let env = SimEnv::new(1);
    let all = disks(&env, 1);
    for _ in 0..3 {
        let pool = open(&env, &all).unwrap_or_else(|_| {
            Pool::create(as_env(&env), as_devices(&all), Layout::SINGLE).unwrap()
        });
        pool.begin_epoch(Txg(4), &[]).unwrap();
    }
    let sound = all[0].contents("epochs.0").unwrap();
    let newest = open(&env, &all).unwrap().last_epoch();
    assert_eq!(newest.as_ref().unwrap().sequence, 3);
    for path in ["epochs.0", "epochs.1"] {
        for offset in (0..sound.len()).step_by(5) {
            all[0].flip(path, offset as u64, 0x01);
            assert_eq!(
                open(&env, &all).unwrap().last_epoch(),
                newest,
                "{path} at {offset}"
            );
            all[0].replace(path, &sound);
        }
        for len in (0..sound.len()).step_by(64) {
            all[0].replace(path, &sound[..len]);
            assert_eq!(
                open(&env, &all).unwrap().last_epoch(),
                newest,
                "{path} cut at {len}"
            );
            all[0].replace(path, &sound);
        }
    }
    all[0].replace("epochs.0", &sound[..700]);
    open(&env, &all).unwrap().begin_epoch(Txg(5), &[]).unwrap();
    let repaired = all[0].contents("epochs.0").unwrap();
    assert_eq!(repaired, all[0].contents("epochs.1").unwrap());
    assert_eq!(repaired[..sound.len()], sound);
}

#[test]
fn an_epoch_record_cut_or_flipped_anywhere_is_none() {
    let env = SimEnv::new(1);
    let all = disks(&env, 1);
    let pool = new_pool(&env, &all, Layout::SINGLE);
    let bytes = all[0].contents("epochs.0").unwrap();
    assert_eq!(parse_chain(pool.id(), &bytes).len(), 1);
    for len in 0..bytes.len() {
        assert!(EpochRecord::decode(pool.id(), &bytes[..len]).is_none());
    }
    for offset in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[offset] ^= 0x80;
        assert!(
            EpochRecord::decode(pool.id(), &bad).is_none(),
            "byte {offset}"
        );
    }
    assert!(EpochRecord::decode(PoolId([9; 16]), &bytes).is_none());
}

#[test]
fn a_missing_record_in_the_middle_of_the_chain_is_an_error() {
    let env = SimEnv::new(1);
    let all = disks(&env, 1);
    drop(new_pool(&env, &all, Layout::SINGLE));
    for _ in 0..3 {
        open(&env, &all).unwrap().begin_epoch(Txg(0), &[]).unwrap();
    }
    for path in ["epochs.0", "epochs.1"] {
        all[0].flip(path, 600, 1);
    }
    assert!(matches!(
        open(&env, &all),
        Err(PoolError::CorruptEpochs { .. })
    ));
}

/// Flips every `step`-th byte of the shard on the first disk; each read gives the right bytes or an error.
fn flip_shard(layout: Layout, count: usize, step: usize) {
    let env = SimEnv::new(1);
    let all = disks(&env, count);
    let pool = new_pool(&env, &all, layout);
    let bytes = pattern(1, 20_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    drop(pool);
    let path = shard_file(&all[0]);
    let sound = all[0].contents(&path).unwrap();
    for offset in (0..sound.len()).step_by(step) {
        all[0].flip(&path, offset as u64, 0x04);
        let pool = open(&env, &all).unwrap();
        match read(&pool, address, bytes.len()) {
            Ok(back) => assert_eq!(back, bytes),
            Err(error) => {
                assert!(matches!(error, PoolError::Corrupt { .. }), "{error}");
                assert_eq!(count, 1, "a second copy was there, byte {offset}");
            }
        }
        pool.stripes(address.segment).unwrap();
        if count > 1 {
            assert_eq!(
                all[0].contents(&path).unwrap(),
                sound,
                "repaired, byte {offset}"
            );
        }
        all[0].replace(&path, &sound);
    }
}

#[test]
fn a_flipped_byte_of_the_only_copy_is_an_error_and_of_a_mirror_is_repaired() {
    flip_shard(Layout::SINGLE, 1, 37);
    flip_shard(Layout::MIRROR, 2, 41);
}

#[test]
fn a_shard_cut_anywhere_never_gives_wrong_bytes() {
    let env = SimEnv::new(1);
    let all = disks(&env, 1);
    let pool = new_pool(&env, &all, Layout::SINGLE);
    let bytes = pattern(1, 20_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    drop(pool);
    let path = shard_file(&all[0]);
    let sound = all[0].contents(&path).unwrap();
    for len in (0..sound.len()).step_by(101) {
        all[0].replace(&path, &sound[..len]);
        let pool = open(&env, &all).unwrap();
        assert!(
            is_corrupt(&read(&pool, address, bytes.len())),
            "cut at {len}"
        );
        pool.stripes(address.segment).unwrap();
    }
}

#[test]
fn a_fragment_in_another_place_is_not_taken() {
    let env = SimEnv::new(1);
    let all = disks(&env, 1);
    let pool = new_pool(&env, &all, Layout::SINGLE);
    let first = append_synced(&pool, 1, &pattern(1, 8192)).unwrap();
    let second = append_synced(&pool, 2, &pattern(2, 8192)).unwrap();
    drop(pool);
    let path = shard_file(&all[0]);
    let mut swapped = all[0].contents(&path).unwrap();
    let half = second.stripe as usize * 4096;
    swapped.rotate_left(half);
    all[0].replace(&path, &swapped);
    let pool = open(&env, &all).unwrap();
    assert!(is_corrupt(&read(&pool, first, 8192)));
    assert!(is_corrupt(&read(&pool, second, 8192)));
}

fn sample() -> (Place, Header) {
    let place = Place {
        pool: PoolId([1; 16]),
        segment: SegmentId(7),
        shard: 1,
        generation: 2,
        stripe: 3,
    };
    let header = Header {
        layout: Layout::MIRROR,
        epoch: crate::EpochId([5; 16]),
        txg: Txg(8),
        payload_len: 81_920,
        data_len: 81_920,
        punched: false,
        attempt: 3,
        extents: vec![(tag(1, 70_000), 0), (tag(2, 4096), 73_728)],
        sums: vec![1, 2, 3, 4, 5],
        seal: Some(Arc::new(Seal {
            nonce: [3; 12],
            tag: [4; 16],
            chunks: vec![[5; 16]; 5],
        })),
    };
    (place, header)
}

fn decode(place: &Place, bytes: &[u8]) -> Option<Header> {
    let head = Head::decode(place, bytes).ok()?;
    Header::decode(place, &head, bytes).ok()
}

#[test]
fn a_header_cut_or_flipped_anywhere_is_none() {
    let (place, header) = sample();
    let bytes = header.encode(&place);
    assert_eq!(decode(&place, &bytes), Some(header));
    for len in 0..bytes.len() {
        assert_eq!(decode(&place, &bytes[..len]), None);
    }
    for offset in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[offset] ^= 0x20;
        assert_eq!(decode(&place, &bad), None, "byte {offset}");
    }
}

#[test]
fn huge_counts_behind_good_checksums_are_refused_before_anything_is_allocated() {
    let (place, header) = sample();
    for (field, value) in [
        (36, u32::MAX),
        (40, u32::MAX),
        (44, u32::MAX),
        (72, u32::MAX),
        (12, 0xFFFF),
    ] {
        let mut bytes = header.encode(&place);
        bytes[field..field + 4].copy_from_slice(&value.to_le_bytes());
        // Marking it as punched gives the sector a good checksum.
        crate::fragment::mark_punched(&place, &mut bytes);
        assert!(Head::decode(&place, &bytes).is_err(), "field {field}");
    }
}
