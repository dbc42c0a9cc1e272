//! The scenarios at a size that fits into every run; `cargo xtask soak` has them at length.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use xtask::scenario::{flips, growth, hung_disk, kill, lost_disks, real_input, rot};
use xtask::server::Server;
use xtask::torture;

/// On a real file system: a temporary directory in memory would make crash tests meaningless.
fn place() -> tempfile::TempDir {
    let parent = xtask::server::target_directory().join("tests");
    std::fs::create_dir_all(&parent).unwrap();
    tempfile::tempdir_in(parent).unwrap()
}

#[test]
fn real_trees_come_back_byte_for_byte() {
    let place = place();
    let sources = real_input::full_sources().unwrap();
    let plan = real_input::Plan {
        sources,
        large_files: vec![300 << 20],
        clients: 1,
    };
    let counted = real_input::run(place.path(), &plan).unwrap();
    println!("{counted:?}");
}

#[test]
fn four_clients_at_once_copy_real_trees() {
    let place = place();
    let sources = real_input::python_libraries().unwrap();
    let sources = sources
        .into_iter()
        .filter(|path| path.ends_with("python3.11"))
        .collect();
    let plan = real_input::Plan {
        sources,
        large_files: vec![30 << 20],
        clients: 4,
    };
    real_input::run(place.path(), &plan).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_flushed_survives_kills() {
    let place = place();
    let open_limit = Duration::from_secs(1);
    let plan = kill::Plan {
        kills: 15,
        clients: 8,
        seed: 1,
        time: Duration::from_millis(500),
        open_limit,
    };
    assert!(kill::run(place.path(), plan).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_flip_under_readers_are_never_seen_and_one_scrub_repairs_them_all() {
    let place = place();
    let plan = flips::Plan {
        files: 60,
        flips: 400,
        readers: 3,
        seed: 3,
    };
    let outcome = flips::run(place.path(), plan).await.unwrap();
    assert!(
        outcome.hit_fragments > 50 && outcome.reads > 10,
        "{outcome:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_on_one_disk_is_no_wrong_byte() {
    let place = place();
    for crash in [false, true] {
        let plan = rot::Plan {
            disks: 1,
            flips: 10,
            seed: 2,
            crash,
        };
        let directory = place.path().join(format!("crash-{crash}"));
        println!("{:?}", rot::run(&directory, plan).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_on_a_mirror_costs_nothing() {
    let place = place();
    let plan = rot::Plan {
        disks: 2,
        flips: 10,
        seed: 3,
        crash: true,
    };
    let outcome = rot::run(place.path(), plan).await.unwrap();
    assert_eq!(outcome.harmless, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_in_the_kernel_is_set_aside_and_comes_back() {
    assert!(
        xtask::process::is_root(),
        "this test mounts file systems: run it as root"
    );
    let place = place();
    hung_disk::run(place.path()).await.unwrap();
}

/// Log and index have their copies on the first three disks: both of the lost ones have some, one, none.
#[tokio::test(flavor = "multi_thread")]
async fn two_of_six_disks_deleted_under_load_fail_no_operation() {
    for (lost, replaced) in [(vec![0, 1], true), (vec![2, 4], true), (vec![5, 3], false)] {
        let place = place();
        let plan = lost_disks::Plan {
            disks: 6,
            lost,
            clients: 8,
            seed: 4,
            time: Duration::from_secs(3),
            replaced,
        };
        println!("{:?}", lost_disks::run(place.path(), &plan).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_cost_no_more_in_a_large_directory() {
    let place = place();
    let plan = growth::Plan {
        files: 30_000,
        sample: 2000,
        steady: None,
        open_limit: Duration::from_secs(5),
        cost_limit: 1.5,
    };
    println!("{:#?}", growth::run(place.path(), plan).await.unwrap());
}

#[test]
fn samba_s_cases_end_as_the_ledger_says() {
    let place = place();
    let servers = ["one", "two"].map(|name| Server::create(&place.path().join(name), 1).unwrap());
    let plan = torture::Plan::quick().unwrap();
    torture::run(&servers, &plan).unwrap();
    servers
        .into_iter()
        .for_each(|server| server.stop().unwrap());
}
