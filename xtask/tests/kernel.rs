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
use xtask::server::{Server, USER};

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

/// What people and programs do all day, with the real programs.
const EVERYDAY: &str = "set -ex
    mkdir archive docs office
    cp -r /usr/share/doc/[ab]* docs/ 2>/dev/null || true
    # Archives, photos and films are as dense as what is encrypted.
    for n in $(seq 40); do
        python3 - $n <<'END'
import os, sys, zipfile
n = int(sys.argv[1])
with zipfile.ZipFile(f'archive/{n}.zip', 'w', zipfile.ZIP_DEFLATED) as z:
    z.writestr('noise', os.urandom(40000))
open(f'archive/{n}.jpg', 'wb').write(b'\\xff\\xd8\\xff\\xe0\\0\\x10JFIF\\0' + os.urandom(60000))
open(f'archive/{n}.mp4', 'wb').write(b'\\0\\0\\0\\x20ftypisom' + os.urandom(90000))
END
    done
    tar -cJf archive/docs.tar.xz docs
    # A checkout, changes, and packing.
    git init -q repo; cd repo
    git config user.email a@b; git config user.name a
    git config core.fileMode false
    for n in $(seq 40); do head -c 3000 /usr/bin/git | base64 >file$n; done
    git add -A; git commit -qm one
    for n in $(seq 40); do echo $n >>file$n; done
    git commit -qam two; git checkout -q HEAD~1; git checkout -q -; git gc -q; git clone -q . ../clone
    cd ..
    # A database, and documents saved again and again as office programs do: anew, beside, and then in their place.
    python3 - <<'END'
import os, sqlite3, zipfile
db = sqlite3.connect('office/books.db')
db.execute('create table t (a integer primary key, b blob)')
for n in range(200):
    db.execute('insert into t (b) values (?)', (os.urandom(2000),))
    if n % 20 == 0: db.commit()
db.execute('delete from t where a % 3 = 0')
db.commit(); db.execute('vacuum'); db.close()
for turn in range(3):
    for n in range(40):
        temporary, name = f'office/~{n}.tmp', f'office/letter {n}.docx'
        with zipfile.ZipFile(temporary, 'w', zipfile.ZIP_DEFLATED) as z:
            z.writestr('word/document.xml', os.urandom(5000).hex() * 3)
            z.writestr('word/media/image1.jpeg', os.urandom(30000))
        os.replace(temporary, name)
END
    echo done";

/// A backup program that encrypts: each file is written encrypted elsewhere, old backups go.
const BACKUP: &str = "set -ex
    mkdir backup
    for turn in 1 2; do
        for f in docs/a*/copyright archive/*.zip office/*.docx; do
            openssl enc -aes-256-ctr -pbkdf2 -iter 1 -k word -in \"$f\" -out \"backup/$turn-$(echo \"$f\" | tr / -).enc\"
        done
        [ $turn = 1 ] || rm backup/1-*
    done
    echo done";

/// The same program in other hands. Tells how many files it got.
const ATTACK: &str = "cd office
    seq 150 | while read n; do seq $n 3000 >plain$n.csv; done
    for n in $(seq 150); do
        openssl enc -aes-256-ctr -pbkdf2 -iter 1 -k word -in plain$n.csv -out plain$n.csv.locked 2>&1 &&
            rm plain$n.csv || { echo stopped $n; exit 0; }
    done
    echo encrypted everything";

#[test]
fn everyday_programs_raise_no_alarm_and_the_one_that_encrypts_does() {
    let world = world(&[]);
    let long = Duration::from_secs(240);
    let run = |script: &str| {
        // Databases are locked by the client itself: SMB has no locks that change from shared to exclusive.
        let guest = guest(1, Security::Signed, &["nobrl"]);
        let outcome = guest.run(&world.network, script, long).unwrap();
        outcome.succeeded().unwrap()
    };
    let alarms = || world.server.admin(&["alarm", "list"]).unwrap();
    assert!(run(EVERYDAY).ends_with("done\n"));
    assert_eq!(alarms(), "", "a false alarm");
    world.server.admin(&["alarm", "permit", USER]).unwrap();
    assert!(run(BACKUP).ends_with("done\n"));
    assert_eq!(alarms(), "", "a false alarm");
    let revoke = ["alarm", "permit", USER, "--revoke"];
    world.server.admin(&revoke).unwrap();
    let said = run(ATTACK);
    let stopped = said.lines().find_map(|line| line.strip_prefix("stopped "));
    let files: u32 = stopped.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert!(files < 60, "stopped after {files} files");
    assert_ne!(alarms(), "");
    world.server.stop().unwrap();
}
