use std::collections::{BTreeMap, BTreeSet};

use strongroom_device::sim::{Fault, Injection, Operation, Rng};

use super::*;
use crate::{LostPart, ScrubPart};

const PARITY: Layout = Layout { data: 2, parity: 1 };
const BLOCK_SUMMED: u64 = 16 * 1024;

/// All segments, from end to end, a little at a time.
fn scrub(pool: &Pool) -> ScrubPart {
    let mut whole = ScrubPart::default();
    for segment in pool.segment_ids() {
        let mut next = Some(0);
        while let Some(from) = next {
            let part = pool.scrub_segment(segment, from, 3 << 20).unwrap();
            whole.bytes += part.bytes;
            whole.bad += part.bad;
            whole.repaired += part.repaired;
            whole.lost.extend(part.lost);
            next = part.next;
        }
    }
    whole
}

/// Stripes of many sizes, their addresses and lengths.
fn fill(pool: &Pool) -> Vec<(u64, Address, usize)> {
    let lens = [5000, 70_000, 300_000, 1_000_000, 4096, 131_072];
    let all = (0..18).map(|inode| {
        let len = lens[usize::try_from(inode).unwrap() % lens.len()];
        let address = append_synced(pool, inode, &pattern(inode, len)).unwrap();
        (inode, address, len)
    });
    let all = all.collect();
    pool.close().unwrap();
    all
}

fn shard_files(disks: &[Arc<SimDevice>]) -> BTreeMap<(usize, String), Vec<u8>> {
    let mut files = BTreeMap::new();
    for (number, disk) in disks.iter().enumerate() {
        for path in disk.paths() {
            if path.starts_with("segments/") {
                let bytes = disk.contents(&path).unwrap();
                files.insert((number, path), bytes);
            }
        }
    }
    files
}

/// Flips bytes at random, but never in more places of one row than the layout survives. Returns the flips and the
/// fragments that they are in.
fn flip_within_budget(
    pool: &Pool,
    disks: &[Arc<SimDevice>],
    rng: &mut Rng,
    flips: usize,
) -> (usize, usize) {
    let files = shard_files(disks);
    let files: Vec<_> = files.into_iter().collect();
    // Row of a stripe → disks that are bad there.
    let mut rows: BTreeMap<(u32, u64), BTreeSet<usize>> = BTreeMap::new();
    let (mut done, mut fragments) = (0, BTreeSet::new());
    let stripes = pool.stripes(pool.segment_ids()[0]).unwrap();
    for _ in 0..flips {
        let ((disk, path), bytes) = &files[rng.below(files.len())];
        let at = rng.below(bytes.len());
        let inside = |stripe: &&crate::StripeInfo| {
            let start = stripe.stripe as usize * 4096;
            (start..start + stripe.blocks as usize * 4096).contains(&at)
        };
        let stripe = stripes.iter().find(inside).unwrap();
        let start = stripe.stripe as usize * 4096;
        let Some((header_len, data_len)) = extent_of_fragment(bytes, start) else {
            continue;
        };
        let (offset, count) = (at - start, (1u64 << 20) / BLOCK_SUMMED);
        let touched: Vec<u64> = if offset < header_len {
            (0..count).collect()
        } else if offset < header_len + data_len {
            vec![(offset - header_len) as u64 / BLOCK_SUMMED]
        } else {
            continue;
        };
        let fits = touched.iter().all(|row| {
            let bad = rows.entry((stripe.stripe, *row)).or_default();
            bad.contains(disk) || bad.len() < usize::from(pool.layout().parity)
        });
        if fits {
            for row in touched {
                rows.entry((stripe.stripe, row)).or_default().insert(*disk);
            }
            disks[*disk].flip(path, at as u64, 1 << rng.below(8));
            fragments.insert((*disk, stripe.stripe));
            done += 1;
        }
    }
    (done, fragments.len())
}

/// Bytes of header and data of the fragment that begins at `start`, from its header.
fn extent_of_fragment(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let header = bytes.get(start..start + 64)?;
    let blocks = u16::from_le_bytes([header[12], header[13]]);
    let data = u32::from_le_bytes([header[40], header[41], header[42], header[43]]);
    Some((usize::from(blocks) * 4096, data as usize))
}

#[test]
fn one_scrub_repairs_whatever_flipped_within_the_budget() {
    for (layout, count) in [(Layout::MIRROR, 2), (THREE_WAY, 3), (PARITY, 3)] {
        for seed in 0..6 {
            let env = SimEnv::new(seed);
            let all = disks(&env, count);
            let pool = new_pool(&env, &all, layout);
            let written = fill(&pool);
            let sound = shard_files(&all);
            let pool = open(&env, &all).unwrap();
            pool.begin_epoch(Txg(1), &[]).unwrap();
            let mut rng = Rng::new(seed);
            let (done, fragments) = flip_within_budget(&pool, &all, &mut rng, 60);
            assert!(done > 10);
            let found = scrub(&pool);
            assert_eq!(
                (found.bad, found.repaired, found.lost),
                (fragments as u64, fragments as u64, vec![]),
                "{layout}, seed {seed}"
            );
            assert!(shard_files(&all) == sound, "{layout}, seed {seed}");
            let again = scrub(&pool);
            assert_eq!((again.bad, again.bytes >= found.bytes), (0, true));
            for (inode, address, len) in written {
                assert!(read(&pool, address, len).unwrap() == pattern(inode, len));
            }
        }
    }
}

#[test]
fn readers_put_together_what_is_bad_here_and_there() {
    for (layout, count) in [(Layout::MIRROR, 2), (PARITY, 3)] {
        for seed in 0..6 {
            let env = SimEnv::new(seed);
            let all = disks(&env, count);
            let pool = new_pool(&env, &all, layout);
            let written = fill(&pool);
            let pool = open(&env, &all).unwrap();
            pool.begin_epoch(Txg(1), &[]).unwrap();
            let mut rng = Rng::new(seed);
            flip_within_budget(&pool, &all, &mut rng, 60);
            for (inode, address, len) in written {
                assert!(read(&pool, address, len).unwrap() == pattern(inode, len));
            }
            assert_eq!(pool.status().lost_reads, 0);
        }
    }
}

#[test]
fn what_no_shard_gives_is_told_to_the_block() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let address = append_synced(&pool, 1, &pattern(1, 100_000)).unwrap();
    let whole = append_synced(&pool, 2, &pattern(2, 100_000)).unwrap();
    for disk in &all {
        disk.flip(&shard_file(disk), 4096 + 40_000, 1);
        disk.flip(&shard_file(disk), u64::from(whole.stripe) * 4096 + 9, 1);
    }
    let segment = address.segment;
    let found = scrub(&pool);
    assert_eq!((found.bad, found.repaired), (4, 0));
    let end = pool.segment(segment).unwrap().blocks;
    let expected = [
        LostPart {
            segment,
            stripes: whole.stripe..end,
            payload: 0..u32::MAX,
        },
        LostPart {
            segment,
            stripes: 0..1,
            payload: 32_768..49_152,
        },
    ];
    assert_eq!(found.lost, expected);
    assert!(is_corrupt(&read(&pool, address, 100_000)));
    let mut before = vec![0; 32_768];
    pool.read(address, 0, &mut before).unwrap();
    assert!(before == pattern(1, 100_000)[..32_768]);
}

#[test]
fn a_write_that_one_disk_lost_is_found() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    append_synced(&pool, 1, &pattern(1, 20_000)).unwrap();
    all[1].inject(Injection {
        operation: Operation::Write,
        path: "segments/".into(),
        skip: 0,
        times: 1,
        fault: Fault::Lost,
    });
    let lost = append_synced(&pool, 2, &pattern(2, 20_000)).unwrap();
    pool.close().unwrap();
    drop(pool);
    env.cut_power();
    let all: Vec<_> = all.iter().map(|disk| disk.reopen()).collect();
    let pool = open(&env, &all).unwrap();
    pool.begin_epoch(Txg(1), &[]).unwrap();
    let found = scrub(&pool);
    assert_eq!((found.bad, found.repaired, found.lost.len()), (1, 1, 0));
    let alone = open(&env, &all[1..]).unwrap();
    assert!(read(&alone, lost, 20_000).unwrap() == pattern(2, 20_000));
}

#[test]
fn what_was_given_back_on_one_disk_only_is_given_back_on_all() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    let pool = new_pool(&env, &all, Layout::MIRROR);
    let address = append_synced(&pool, 1, &pattern(1, 200_000)).unwrap();
    append_synced(&pool, 2, &pattern(2, 200_000)).unwrap();
    let before = all[1].contents(&shard_file(&all[1])).unwrap();
    let blocks = pool.stripe(address.segment, 0).unwrap().blocks;
    pool.punch_stripe(address.segment, 0, blocks).unwrap();
    pool.sync_segments(&[address.segment]).unwrap();
    all[1].replace(&shard_file(&all[1]), &before);
    let found = scrub(&pool);
    assert_eq!((found.bad, found.repaired, found.lost.len()), (1, 1, 0));
    let contents: Vec<_> = all
        .iter()
        .map(|disk| disk.contents(&shard_file(disk)))
        .collect();
    assert!(
        contents[1].as_ref().unwrap()[4096..204_096]
            .iter()
            .all(|byte| *byte == 0)
    );
    assert_eq!(scrub(&pool).bad, 0);
}
