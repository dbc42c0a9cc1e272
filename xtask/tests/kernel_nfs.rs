//! The Linux kernel's own NFS client, in User Mode Linux.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use xtask::kernel::suites::{FSX, PJDFSTEST, Suite};
use xtask::kernel::{Network, NfsVersion};
use xtask::scenario::kernel_nfs::{SETTINGS, V3, V42, guest, ledger};
use xtask::scenario::kernel_smb::{check, fsx, pjdfstest};
use xtask::server::Server;

const LIMIT: Duration = Duration::from_secs(120);

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
    let server = Server::create_for_nfs_guests(place.path()).unwrap();
    World {
        server,
        network,
        _place: place,
    }
}

/// What a person does on a mount, by users that the server has never heard of.
const EVERYDAY: &str = "set -ex
    umask 022
    cp -r /usr/share/doc/dash . && echo 3 >/proc/sys/vm/drop_caches && diff -r /usr/share/doc/dash dash
    mv dash moved && rm -r moved
    mkdir d; echo x >d/f; chmod 4751 d/f; ln -s f d/link; mkfifo d/fifo
    [ \"$(stat -c %a d d/f | tr '\\n' ' ')\" = '755 4751 ' ]
    [ $(readlink d/link) = f ]; [ -p d/fifo ]
    touch readme README 'a:b' $'not utf8 \\xff' 'dot.'; [ $(ls | wc -l) = 6 ]
    rm readme README 'a:b' $'not utf8 \\xff' 'dot.'
    ln d/f d/g; [ $(stat -c %h d/f) = 2 ]
    exec 5<d/f; rm d/f; [ \"$(cat <&5)\" = x ]; exec 5<&-
    mkdir e; mkdir e/sub; mv e/sub d/sub; rmdir e d/sub
    echo one >a; echo two >b; exec 6<b; mv a b; [ $(cat <&6) = two ]; exec 6<&-; [ $(cat b) = one ]
    chown 1234:5678 b; [ $(stat -c %u:%g b) = 1234:5678 ]
    dd if=/dev/zero of=big bs=1M count=20 conv=fsync 2>/dev/null; [ $(stat -c %s big) = 20971520 ]
    for i in $(seq 500); do echo $i >d/n$i; done; [ $(ls d | wc -l) = 503 ]
    rm -r d big b
    echo left:; ls -A";

/// Yesterday's file, by the same mount.
const PAST: &str = "set -ex
    mkdir d; echo one >d/f; echo gone >d/g; ln -s f d/link; sync; sleep 3; T=$(date -u +%Y-%m-%dT%H:%M:%SZ); sleep 1.2
    echo two >d/f; rm d/g; touch d/later; sync; sleep 3
    then=.history/$T
    [ $(cat $then/d/f) = one ]; [ $(cat d/f) = two ]; [ $(cat $then/d/link) = one ]
    [ \"$(ls $then/d | tr '\\n' ' ')\" = 'f g link ' ]
    [ $(stat -c %i $then/d/f) != $(stat -c %i d/f) ]
    ls -A | grep history && exit 3
    ls .history | grep -q Z
    for change in \"touch $then/x\" \"rm $then/d/f\" \"mv $then/d/f f\" \"mv d/f $then/d/h\" \"ln $then/d/f f\" \"chmod 777 $then/d/f\" \"mkdir .history/x\"; do
        $change 2>/dev/null && exit 4
    done
    echo three 2>/dev/null >$then/d/f && exit 5
    cmp -s $then/d/f d/f && exit 6
    cp -p $then/d/f d/f; cp -p $then/d/g d/g; [ $(cat d/f d/g | tr '\\n' ' ' | tr -d ' ') = onegone ]
    [ $(ls $then/.. | wc -l) -gt 0 ]
    echo done";

fn past(version: NfsVersion) {
    let world = world(&[]);
    let outcome = guest(1, version).run(&world.network, PAST, LIMIT).unwrap();
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.ends_with("done\n"), "{said}");
    world.server.stop().unwrap();
}

#[test]
fn the_past_is_a_directory_by_version_3() {
    past(V3);
}

#[test]
fn the_past_is_a_directory_by_version_4_2() {
    past(V42);
}

fn everyday(version: NfsVersion) {
    let world = world(&[]);
    let outcome = guest(1, version).run(&world.network, EVERYDAY, LIMIT);
    let outcome = outcome.unwrap();
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.stdout, "left:\n", "{said}");
    world.server.stop().unwrap();
}

#[test]
fn mounts_by_version_3_for_everyday_work() {
    everyday(V3);
}

#[test]
fn mounts_by_version_4_2_for_everyday_work() {
    everyday(V42);
}

/// The cases of a quick run: one of each system call's groups.
const QUICK: [&str; 4] = ["rename::", "chown::", "link::", "open::"];

fn posix_semantics(version: NfsVersion) {
    let world = world(&[FSX, PJDFSTEST]);
    let cases = pjdfstest(
        &world.network,
        &guest(1, version),
        &QUICK,
        SETTINGS,
        LIMIT * 5,
    )
    .unwrap();
    check(&cases, ledger(version)).unwrap();
    fsx(&world.network, &guest(2, version), &[1], 2_000).unwrap();
    world.server.stop().unwrap();
}

#[test]
fn posix_semantics_hold_by_version_3() {
    posix_semantics(V3);
}

#[test]
fn posix_semantics_hold_by_version_4_2() {
    posix_semantics(V42);
}
