use super::{Canary, Options, run};

#[test]
fn one_seed_twice_gives_the_same_run_to_the_last_bit() {
    for seed in [3, 5, 12] {
        let once = run(seed, &Options::default()).unwrap();
        assert_eq!(once, run(seed, &Options::default()).unwrap());
        assert!(once.operations > 0);
    }
}

fn all_pass(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        if let Err(failure) = run(seed, &Options::default()) {
            panic!("seed {seed}: {}", failure.what);
        }
    }
}

#[test]
fn the_first_50_seeds_pass() {
    all_pass(0..50);
}

#[test]
fn the_second_50_seeds_pass() {
    all_pass(50..100);
}

#[test]
fn the_third_50_seeds_pass() {
    all_pass(100..150);
}

#[test]
fn the_fourth_50_seeds_pass() {
    all_pass(150..200);
}

/// The seed, of the first 200, that finds a planted bug.
fn found(canary: Canary) -> Option<u64> {
    let options = Options {
        canary: Some(canary),
        ..Options::default()
    };
    (0..200).find(|seed| run(*seed, &options).is_err())
}

#[test]
fn finds_commits_without_a_sync_of_the_log() {
    assert!(found(Canary::SkipLogSync).is_some());
}

#[test]
fn finds_extents_named_before_their_segments_were_synced() {
    assert!(found(Canary::SkipSegmentSync).is_some());
}

#[test]
fn finds_half_a_group() {
    assert!(found(Canary::HalfGroup).is_some());
}

#[test]
fn finds_space_given_back_too_early() {
    assert!(found(Canary::FreeEarly).is_some());
}

#[test]
fn finds_stripes_without_their_parity() {
    assert!(found(Canary::ForgetParity).is_some());
}

#[test]
fn finds_data_taken_for_good_against_its_checksum() {
    assert!(found(Canary::TrustChecksums).is_some());
}
