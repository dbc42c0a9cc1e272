//! The Linux kernel's own SMB client, in User Mode Linux.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use xtask::kernel::suites::{FSX, Suite};
use xtask::kernel::{Network, Outcome, Security};
use xtask::scenario::kernel_smb::{POSIX, fsx, guest};
use xtask::server::Server;

const LIMIT: Duration = Duration::from_secs(60);

struct World {
    // The server ends before its network does.
    server: Server,
    network: Network,
    _place: tempfile::TempDir,
}

fn world(suites: &[Suite]) -> World {
    let parent = xtask::server::target_directory().join("tests");
    std::fs::create_dir_all(&parent).unwrap();
    let place = tempfile::tempdir_in(parent).unwrap();
    let network = Network::enter(suites).unwrap();
    let server = Server::create_for_guests(place.path()).unwrap();
    World {
        server,
        network,
        _place: place,
    }
}

#[test]
fn mounts_signed_and_encrypted_and_copies_a_tree() {
    let world = world(&[]);
    for (security, shown) in [
        (Security::Signed, " signed"),
        (Security::Encrypted, ",seal,"),
    ] {
        let script = "cat /proc/fs/cifs/DebugData /proc/mounts && \
            cp -r /usr/share/doc/dash . && echo 1 >/proc/sys/vm/drop_caches && \
            diff -r /usr/share/doc/dash dash && mv dash moved && rm -r moved && \
            echo left: && ls -A";
        let outcome = guest(1, security, &[])
            .run(&world.network, script, LIMIT)
            .unwrap();
        let said = outcome.succeeded().unwrap();
        assert!(said.contains(shown), "{said}");
        assert!(said.ends_with("left:\n"), "{said}");
    }
    world.server.stop().unwrap();
}

#[test]
fn posix_semantics_hold_over_a_mount_with_the_extensions() {
    let world = world(&[]);
    let script = "set -ex
        grep -q posix /proc/mounts
        umask 022
        mkdir d; echo x >d/f; chmod 4751 d/f
        [ \"$(stat -c %a d d/f | tr '\\n' ' ')\" = '755 4751 ' ]
        touch readme README; [ $(ls | grep -ci readme) = 2 ]
        ln d/f d/g; [ $(stat -c %h d/f) = 2 ]
        exec 5<d/f; rm d/f; [ \"$(ls d)\" = g ]; [ \"$(cat <&5)\" = x ]; exec 5<&-
        mkdir e; mkdir e/sub; mv e/sub d/sub; rmdir e d/sub
        echo one >a; echo two >b; exec 6<b; mv a b; [ $(cat <&6) = two ]; exec 6<&-; [ $(cat b) = one ]
        echo done";
    let outcome =
        guest(1, Security::Signed, &["posix", "modefromsid"]).run(&world.network, script, LIMIT);
    assert_eq!(outcome.unwrap().succeeded().unwrap(), "done\n");
    world.server.stop().unwrap();
}

#[test]
fn fsx_finds_no_wrong_byte() {
    let world = world(&[FSX]);
    fsx(
        &world.network,
        &guest(1, Security::Signed, &POSIX),
        &[1],
        2000,
    )
    .unwrap();
    world.server.stop().unwrap();
}

/// What one guest does while another looks on; each waits for files that the other makes.
const LOCKS: &str = "set -ex
    await() { for n in $(seq 300); do ls >/run/seen; grep -qx $1 /run/seen && return; sleep 0.1; done; exit 9; }
    echo one >data; exec 6<>data; echo cached >&6
    exec 5>lock; flock -x 5; touch locked
    await refused
    flock -u 5; touch unlocked
    await appended
    grep -q cached data; grep -q other data
    touch seen";

const LOOKS: &str = "set -ex
    await() { for n in $(seq 300); do ls >/run/seen; grep -qx $1 /run/seen && return; sleep 0.1; done; exit 9; }
    await locked
    [ $(cat data) = cached ]
    exec 5>>lock; if flock -n 5; then exit 8; fi
    touch refused
    await unlocked
    flock -w 20 5
    echo other >>data; touch appended
    await seen";

#[test]
fn two_kernels_see_each_others_locks_and_caches() {
    let world = world(&[]);
    let boot = |number, script| {
        let guest = guest(number, Security::Signed, &["actimeo=0"]);
        guest.boot(&world.network, script).unwrap()
    };
    let (first, second) = (boot(1, LOCKS), boot(2, LOOKS));
    for (name, running) in [("first", first), ("second", second)] {
        let outcome = running.wait(LIMIT * 2).unwrap();
        let Outcome { code, stderr, .. } = &outcome;
        assert_eq!(*code, 0, "{name}: {stderr}");
    }
    world.server.stop().unwrap();
}
