//! Encrypted pools: nothing of what is stored can be seen, changed or moved unnoticed, and repair needs no key.

use std::collections::BTreeSet;

use super::*;
use crate::NewPassphrase;
use crate::crypt::KdfParams;
use crate::fragment::{Head, Header, Place, sum_pieces};
use crate::label::read_label;

const CHEAP: KdfParams = KdfParams {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};
const WIDE: Layout = Layout { data: 2, parity: 1 };

fn passphrase(text: &str) -> NewPassphrase {
    NewPassphrase::new(text.as_bytes(), CHEAP).unwrap()
}

fn encrypted(env: &Arc<SimEnv>, disks: &[Arc<SimDevice>], layout: Layout) -> Arc<Pool> {
    let new = passphrase("open sesame");
    let pool = Pool::create_with(as_env(env), as_devices(disks), layout, Some(&new)).unwrap();
    pool.begin_epoch(Txg(0), &[]).unwrap();
    pool
}

fn unlocked(env: &Arc<SimEnv>, disks: &[Arc<SimDevice>]) -> Arc<Pool> {
    let pool = open(env, disks).unwrap();
    pool.unlock(b"open sesame").unwrap();
    pool
}

#[test]
fn bytes_come_back_from_any_place_of_any_layout_and_with_a_disk_away() {
    for (layout, count) in [(Layout::SINGLE, 1), (Layout::MIRROR, 2), (WIDE, 3)] {
        let env = SimEnv::new(21);
        let all = disks(&env, count);
        let pool = encrypted(&env, &all, layout);
        let lengths = [1, 4096, 20_000, 65_536, 300_000, 1 << 20];
        let stored: Vec<_> = (0..)
            .zip(lengths)
            .map(|(inode, len)| {
                let bytes = pattern(inode, len);
                (append_synced(&pool, inode, &bytes).unwrap(), bytes)
            })
            .collect();
        let check = |pool: &Pool| {
            for (address, bytes) in &stored {
                assert!(read(pool, *address, bytes.len()).unwrap() == *bytes);
                let mut some = vec![0; bytes.len().min(5000)];
                let start = bytes.len() - some.len();
                pool.read(*address, u32::try_from(start).unwrap(), &mut some)
                    .unwrap();
                assert!(some == bytes[start..]);
            }
        };
        check(&pool);
        drop(pool);
        check(&unlocked(&env, &all));
        if count > 1 {
            let pool = unlocked(&env, &all[1..]);
            check(&pool);
        }
    }
}

#[test]
fn what_is_stored_is_nowhere_on_the_disks_as_it_is() {
    let env = SimEnv::new(22);
    let all = disks(&env, 3);
    let pool = encrypted(&env, &all, WIDE);
    let secret = b"the board meets on the ninth in the old boathouse".repeat(3000);
    append_synced(&pool, 1, &secret).unwrap();
    for disk in &all {
        for path in disk.paths() {
            let bytes = disk.contents(&path).unwrap();
            let found = bytes
                .windows(16)
                .any(|window| secret[..64].windows(16).any(|part| part == window));
            assert!(!found, "{path}");
            assert!(
                !bytes.windows(11).any(|window| window == b"open sesame"),
                "{path}"
            );
        }
    }
}

#[test]
fn without_the_passphrase_nothing_is_read_or_written_and_nothing_changes() {
    let env = SimEnv::new(23);
    let all = disks(&env, 2);
    let pool = encrypted(&env, &all, Layout::MIRROR);
    let address = append_synced(&pool, 1, &pattern(1, 9000)).unwrap();
    drop(pool);
    let before: Vec<_> = all.iter().map(|disk| disk.contents("label.0")).collect();
    let pool = open(&env, &all).unwrap();
    assert!(pool.is_encrypted() && pool.is_locked());
    assert!(matches!(read(&pool, address, 9000), Err(PoolError::Locked)));
    assert!(matches!(
        pool.begin_epoch(Txg(0), &[]),
        Err(PoolError::Locked)
    ));
    for wrong in [&b""[..], b"open", b"open sesame "] {
        assert!(matches!(
            pool.unlock(wrong),
            Err(PoolError::WrongPassphrase)
        ));
    }
    assert!(pool.is_locked());
    let after: Vec<_> = all.iter().map(|disk| disk.contents("label.0")).collect();
    assert!(
        before
            .iter()
            .map(|label| label.as_ref().unwrap())
            .eq(after.iter().map(|label| label.as_ref().unwrap()))
    );
    pool.unlock(b"open sesame").unwrap();
    assert!(read(&pool, address, 9000).unwrap() == pattern(1, 9000));
}

#[test]
fn shards_are_checked_and_repaired_without_the_key() {
    let env = SimEnv::new(24);
    let all = disks(&env, 3);
    let pool = encrypted(&env, &all, WIDE);
    let bytes = pattern(5, 400_000);
    let address = append_synced(&pool, 1, &bytes).unwrap();
    pool.close().unwrap();
    drop(pool);
    all[1].flip(&shard_file(&all[1]), 20_000, 8);
    let pool = open(&env, &all).unwrap();
    let check = pool.check_segment(address.segment, true).unwrap();
    assert_eq!((check.bad.len(), check.lost.len()), (1, 0));
    assert!(
        pool.check_segment(address.segment, false)
            .unwrap()
            .bad
            .is_empty()
    );
    assert!(pool.is_locked());
    let pool = unlocked(&env, &all[1..]);
    assert!(read(&pool, address, bytes.len()).unwrap() == bytes);
}

/// The only stripe of a pool on one disk, taken apart.
fn stripe_of(pool: &Pool, disk: &SimDevice) -> (String, Place, Header, Vec<u8>) {
    let path = shard_file(disk);
    let bytes = disk.contents(&path).unwrap();
    let place = Place {
        pool: pool.id(),
        segment: pool.segment_ids()[0],
        shard: 0,
        generation: 0,
        stripe: 0,
    };
    let head = Head::decode(&place, &bytes).unwrap();
    let header = Header::decode(&place, &head, &bytes).unwrap();
    (path, place, header, bytes)
}

/// Writes a stripe whose checksums are right, as one who can write to the disk would.
fn forge(disk: &SimDevice, path: &str, place: &Place, mut header: Header, mut bytes: Vec<u8>) {
    let len = header.len();
    let data = &bytes[len..len + header.data_len as usize];
    header.sums = sum_pieces(
        place.data_seed(header.epoch),
        place.file_offset() + len as u64,
        &[data],
    );
    bytes[..len].copy_from_slice(&header.encode(place));
    disk.replace(path, &bytes);
}

#[test]
fn bytes_that_were_changed_under_right_checksums_are_refused() {
    let env = SimEnv::new(25);
    let all = disks(&env, 1);
    let pool = encrypted(&env, &all, Layout::SINGLE);
    let address = append_synced(&pool, 1, &pattern(5, 60_000)).unwrap();
    pool.close().unwrap();
    let (path, place, header, bytes) = stripe_of(&pool, &all[0]);
    let refused = |header: &Header, bytes: &[u8]| {
        forge(&all[0], &path, &place, header.clone(), bytes.to_vec());
        let pool = unlocked(&env, &all);
        let result = read(&pool, address, 60_000);
        assert!(is_corrupt(&result), "{:?}", result.map(|bytes| bytes.len()));
    };
    let len = header.len();
    // A flipped bit, and two chunks in each other's place.
    let mut bad = bytes.clone();
    bad[len + 50_000] ^= 1;
    refused(&header, &bad);
    let mut bad = bytes.clone();
    let (first, second) = bad[len..].split_at_mut(16_384);
    first.swap_with_slice(&mut second[..16_384]);
    refused(&header, &bad);
    // Other extents, and no encryption at all.
    let mut other = header.clone();
    other.extents[0].0.inode = 2;
    refused(&other, &bytes);
    let plain = Header {
        seal: None,
        ..header.clone()
    };
    if plain.len() == header.len() {
        refused(&plain, &bytes);
    }
    forge(&all[0], &path, &place, header, bytes);
    assert!(read(&unlocked(&env, &all), address, 60_000).unwrap() == pattern(5, 60_000));
}

#[test]
fn no_two_stripes_have_one_nonce_though_places_and_bytes_are_the_same() {
    let env = SimEnv::new(26);
    let one = disks(&env, 1);
    let pool = encrypted(&env, &one, Layout::SINGLE);
    pool.close().unwrap();
    drop(pool);
    // One disk, copied, and opened apart: the same segment, stripe and bytes.
    let mut nonces = BTreeSet::new();
    let mut stored = BTreeSet::new();
    for copy in 0..8 {
        let disk = vec![one[0].duplicate(&format!("copy{copy}"))];
        let pool = unlocked(&env, &disk);
        pool.begin_epoch(Txg(1), &[]).unwrap();
        append_synced(&pool, 1, &pattern(1, 8192)).unwrap();
        let (_, place, header, bytes) = stripe_of(&pool, &disk[0]);
        assert_eq!(place.stripe, 0);
        nonces.insert(header.seal.as_ref().unwrap().nonce);
        stored.insert(bytes[header.len()..header.len() + 8192].to_vec());
    }
    assert_eq!((nonces.len(), stored.len()), (8, 8));
}

#[test]
fn a_changed_passphrase_is_the_only_one_on_all_members_and_on_those_that_come_later() {
    let env = SimEnv::new(27);
    let all = disks(&env, 4);
    let pool = encrypted(&env, &all[..3], WIDE);
    let address = append_synced(&pool, 1, &pattern(5, 9000)).unwrap();
    let refused = pool.change_passphrase(b"wrong", &passphrase("new words"));
    assert!(matches!(refused, Err(PoolError::WrongPassphrase)));
    pool.change_passphrase(b"open sesame", &passphrase("new words"))
        .unwrap();
    let added = Arc::clone(&all[3]) as Arc<dyn Device>;
    pool.add_disk(added, crate::DiskOptions::default()).unwrap();
    drop(pool);
    let keys = |disk: &SimDevice| read_label(disk).unwrap().label.keys.unwrap();
    assert!(all.iter().all(|disk| keys(disk) == keys(&all[0])));
    let pool = open(&env, &all).unwrap();
    assert!(matches!(
        pool.unlock(b"open sesame"),
        Err(PoolError::WrongPassphrase)
    ));
    pool.unlock(b"new words").unwrap();
    assert!(read(&pool, address, 9000).unwrap() == pattern(5, 9000));
    assert!(NewPassphrase::new(b"", CHEAP).is_err());
    let plain = disks(&env, 1);
    let plain = new_pool(&env, &plain, Layout::SINGLE);
    assert!(plain.change_passphrase(b"", &passphrase("x")).is_err());
}

#[test]
fn a_disk_that_missed_a_change_of_the_passphrase_does_not_bring_the_old_one_back() {
    let env = SimEnv::new(28);
    let all = disks(&env, 2);
    drop(encrypted(&env, &all, Layout::MIRROR));
    let pool = unlocked(&env, &all[..1]);
    pool.begin_epoch(Txg(1), &[]).unwrap();
    pool.change_passphrase(b"open sesame", &passphrase("new words"))
        .unwrap();
    drop(pool);
    for order in [[0, 1], [1, 0]] {
        let given: Vec<_> = order.iter().map(|n| Arc::clone(&all[*n])).collect();
        let pool = open(&env, &given).unwrap();
        assert!(pool.unlock(b"open sesame").is_err());
        pool.unlock(b"new words").unwrap();
    }
}
