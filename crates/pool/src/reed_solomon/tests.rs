use strongroom_device::sim::Rng;

use super::field::multiply;
use super::kernel::Kernel;
use super::*;

fn random(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

fn slices(bytes: &[Vec<u8>]) -> Vec<&[u8]> {
    bytes.iter().map(Vec::as_slice).collect()
}

fn slices_mut(bytes: &mut [Vec<u8>]) -> Vec<&mut [u8]> {
    bytes.iter_mut().map(Vec::as_mut_slice).collect()
}

/// All shards of some random data.
fn encoded(code: &Code, layout: Layout, rng: &mut Rng, len: usize) -> Vec<Vec<u8>> {
    let mut shards: Vec<Vec<u8>> = (0..layout.data).map(|_| random(rng, len)).collect();
    let mut parity = vec![vec![0xEE; len]; usize::from(layout.parity)];
    code.encode(&slices(&shards), &mut slices_mut(&mut parity));
    shards.extend(parity);
    shards
}

/// Gives back the lost shards from the first of the others.
fn rebuild_and_compare(code: &Code, layout: Layout, shards: &[Vec<u8>], lost: u32) {
    let (mut wanted, mut present) = (Vec::new(), Vec::new());
    for shard in 0..u8::try_from(layout.width()).unwrap() {
        let list = if lost >> shard & 1 == 1 {
            &mut wanted
        } else {
            &mut present
        };
        list.push(shard);
    }
    present.truncate(usize::from(layout.data));
    let sources: Vec<&[u8]> = present
        .iter()
        .map(|shard| shards[usize::from(*shard)].as_slice())
        .collect();
    let mut rebuilt = vec![vec![0x11; shards[0].len()]; wanted.len()];
    code.plan(&present, &wanted)
        .apply(&sources, &mut slices_mut(&mut rebuilt));
    for (shard, bytes) in wanted.iter().zip(&rebuilt) {
        assert_eq!(
            bytes,
            &shards[usize::from(*shard)],
            "{layout} lost {lost:b}"
        );
    }
}

#[test]
fn every_loss_within_the_budget_is_made_good_in_small_layouts() {
    let mut rng = Rng::new(1);
    for data in 1..=6 {
        for parity in 0..=4 {
            let layout = Layout { data, parity };
            let code = Code::new(layout);
            let shards = encoded(&code, layout, &mut rng, 97);
            for lost in 0u32..1 << layout.width() {
                if lost.count_ones() <= u32::from(parity) {
                    rebuild_and_compare(&code, layout, &shards, lost);
                }
            }
        }
    }
}

#[test]
fn random_losses_are_made_good_in_all_layouts() {
    let mut rng = Rng::new(2);
    for data in 1..=16 {
        for parity in 0..=4 {
            let layout = Layout { data, parity };
            let code = Code::new(layout);
            let len = 1 + rng.below(700);
            let shards = encoded(&code, layout, &mut rng, len);
            for _ in 0..40 {
                let mut lost = 0u32;
                for _ in 0..parity {
                    lost |= 1 << rng.below(layout.width());
                }
                rebuild_and_compare(&code, layout, &shards, lost);
            }
        }
    }
}

#[test]
fn every_choice_of_sources_gives_the_same() {
    let layout = Layout { data: 4, parity: 3 };
    let code = Code::new(layout);
    let mut rng = Rng::new(3);
    let shards = encoded(&code, layout, &mut rng, 256);
    for set in 0u32..1 << 7 {
        if set.count_ones() != 4 {
            continue;
        }
        let present: Vec<u8> = (0..7).filter(|shard| set >> shard & 1 == 1).collect();
        let wanted: Vec<u8> = (0..7).filter(|shard| set >> shard & 1 == 0).collect();
        let sources: Vec<&[u8]> = present
            .iter()
            .map(|shard| shards[usize::from(*shard)].as_slice())
            .collect();
        let mut rebuilt = vec![vec![0; 256]; 3];
        code.plan(&present, &wanted)
            .apply(&sources, &mut slices_mut(&mut rebuilt));
        for (shard, bytes) in wanted.iter().zip(&rebuilt) {
            assert_eq!(bytes, &shards[usize::from(*shard)]);
        }
    }
}

#[test]
fn the_first_parity_is_the_plain_sum_and_mirrors_are_copies() {
    let mut rng = Rng::new(4);
    let layout = Layout { data: 5, parity: 2 };
    let shards = encoded(&Code::new(layout), layout, &mut rng, 100);
    for at in 0..100 {
        let sum = shards[..5].iter().fold(0, |sum, shard| sum ^ shard[at]);
        assert_eq!(shards[5][at], sum);
    }
    let layout = Layout { data: 1, parity: 3 };
    let shards = encoded(&Code::new(layout), layout, &mut rng, 100);
    assert!(shards.iter().all(|shard| *shard == shards[0]));
}

/// The format rests on these: parity written by one version is read by all later ones.
#[test]
fn the_matrix_never_changes() {
    let code = Code::new(Layout { data: 4, parity: 2 });
    assert_eq!(code.generator[16..], [1, 1, 1, 1, 1, 217, 92, 172]);
    let all = Code::new(Layout {
        data: 16,
        parity: 4,
    });
    let last = [
        1, 21, 218, 180, 165, 126, 208, 127, 193, 67, 219, 244, 175, 141, 120, 171,
    ];
    assert_eq!(all.generator[19 * 16..], last);
}

#[test]
fn all_kernels_agree_with_the_plain_definition() {
    let mut rng = Rng::new(5);
    for kernel in Kernel::available() {
        for round in 0..300 {
            let (rows, columns) = (1 + rng.below(6), 1 + rng.below(16));
            let len = [0, 1, 63, 64, 65, 128, 191, 192, 300, 4096][round % 10];
            let mut matrix = random(&mut rng, rows * columns);
            if round % 3 == 0 {
                matrix[..columns].fill(1);
            }
            let sources: Vec<Vec<u8>> = (0..columns).map(|_| random(&mut rng, len)).collect();
            let mut targets = vec![vec![0xAA; len]; rows];
            kernel.combine(&matrix, &slices(&sources), &mut slices_mut(&mut targets));
            for (row, target) in matrix.chunks(columns).zip(&targets) {
                for (at, found) in target.iter().enumerate() {
                    let sum = row.iter().zip(&sources).fold(0, |sum, (factor, source)| {
                        sum ^ multiply(*factor, source[at])
                    });
                    assert_eq!(*found, sum, "{} at {at} of {len}", kernel.name());
                }
            }
        }
    }
}

#[test]
fn unaligned_slices_are_as_good_as_aligned_ones() {
    let mut rng = Rng::new(6);
    let bytes = random(&mut rng, 2000);
    let mut expected = vec![0; 1000];
    Kernel::Portable.combine(
        &[7, 9],
        &[&bytes[3..1003], &bytes[501..1501]],
        &mut [&mut expected],
    );
    for kernel in Kernel::available() {
        let mut room = vec![0; 1001];
        let target = &mut room[1..];
        kernel.combine(
            &[7, 9],
            &[&bytes[3..1003], &bytes[501..1501]],
            &mut [target],
        );
        assert_eq!(room[1..], expected, "{}", kernel.name());
    }
}

#[test]
fn plans_are_kept_for_each_loss_pattern() {
    let code = Code::new(Layout { data: 4, parity: 2 });
    let first = code.plan(&[0, 1, 3, 4], &[2]);
    assert!(Arc::ptr_eq(&first, &code.plan(&[0, 1, 3, 4], &[2])));
    assert!(!Arc::ptr_eq(&first, &code.plan(&[0, 1, 3, 5], &[2])));
}
