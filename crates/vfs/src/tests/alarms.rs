//! The alarm: who encrypts or destroys is stopped, and honest work is not.

use std::collections::BTreeSet;
use std::time::Duration;

use strongroom_device::sim::Rng;

use super::*;
use crate::{Alarm, AlarmAction, UndoWanted};

/// Files of the office that is attacked.
const FILES: usize = 120;
/// Until then an attacker must be stopped.
const STOPPED_WITHIN: usize = 40;

struct Office {
    world: World,
    rng: Rng,
    sessions: u32,
}

impl Office {
    fn new(seed: u64) -> Self {
        let mut office = Self {
            world: World::new(seed),
            rng: Rng::new(seed),
            sessions: 0,
        };
        let worker = office.session("worker", "192.0.2.1:50000");
        for n in 0..FILES {
            office.save(&worker, &name(n), &content(n));
        }
        office.pass(2_000);
        office
    }

    fn session(&mut self, user_name: &str, address: &str) -> Credentials {
        self.sessions += 1;
        let user = user(2_000 + u32::try_from(user_name.len()).unwrap()).user;
        let info = crate::SessionInfo {
            user,
            user_name: user_name.to_owned(),
            address: address.to_owned(),
            protocol: "SMB 3.1.1".to_owned(),
        };
        let session = self.world.vfs.begin_session(&info).unwrap();
        Credentials { session, ..admin() }
    }

    fn pass(&self, milliseconds: u64) {
        self.world.wait(self.world.vfs.store().sync_all()).unwrap();
        self.world.env.advance(Duration::from_millis(milliseconds));
    }

    fn noise(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rng.fill(&mut bytes);
        bytes
    }

    fn open(&self, who: &Credentials, path: &str, disposition: Disposition) -> Result<Arc<Handle>> {
        let request = |request: &mut OpenRequest<'_>| request.disposition = disposition;
        Ok(self.world.open_as(who, path, request)?.0)
    }

    fn try_save(&self, who: &Credentials, path: &str, data: &[u8]) -> Result<()> {
        let handle = self.open(who, path, Disposition::OverwriteIf)?;
        let done = self.world.wait(self.world.vfs.write(&handle, 0, data));
        self.world.close(&handle);
        done
    }

    fn save(&self, who: &Credentials, path: &str, data: &[u8]) {
        self.try_save(who, path, data).unwrap();
    }

    /// Writes at a place of a file that is there.
    fn try_write(&self, who: &Credentials, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        let handle = self.open(who, path, Disposition::Open)?;
        let done = self.world.wait(self.world.vfs.write(&handle, offset, data));
        self.world.close(&handle);
        done
    }

    fn try_rename(&self, who: &Credentials, from: &str, to: &str, replace: bool) -> Result<()> {
        let handle = self.open(who, from, Disposition::Open)?;
        let done = self.world.wait(self.world.vfs.rename(&handle, to, replace));
        self.world.close(&handle);
        done
    }

    fn try_delete(&self, who: &Credentials, path: &str) -> Result<()> {
        let handle = self.open(who, path, Disposition::Open)?;
        let done = self.world.wait(self.world.vfs.set_delete(&handle, true));
        self.world.close(&handle);
        done
    }

    fn alarms(&self) -> Vec<Alarm> {
        self.world.vfs.alarms().unwrap()
    }

    /// How many files an attack got through before it was stopped; None if it never was.
    fn attack(&mut self, mut one: impl FnMut(&mut Self, usize) -> Result<()>) -> Option<usize> {
        (0..FILES).find(|n| match one(self, *n) {
            Ok(()) => false,
            Err(VfsError::ReadOnly) => true,
            Err(error) => panic!("file {n}: {error}"),
        })
    }

    /// Undoes sessions and checks that all is as it was.
    fn undo(&mut self, who: &[&Credentials]) {
        self.pass(1_700);
        let wanted = UndoWanted {
            sessions: who.iter().map(|who| who.session).collect(),
            since: None,
            keep_both: true,
            dry_run: false,
        };
        let done = self
            .world
            .wait(self.world.vfs.undo(&self.world.share, &wanted));
        let done = done.unwrap();
        assert!(done.failed.is_empty(), "{:?}", done.failed);
        let expected: BTreeSet<String> = (0..FILES).map(name).collect();
        let found: BTreeSet<String> = self.world.names(&self.world.root()).into_iter().collect();
        assert_eq!(found, expected);
        for n in 0..FILES {
            assert!(
                self.world.get(&name(n)).unwrap() == content(n),
                "{}",
                name(n)
            );
        }
    }
}

fn name(n: usize) -> String {
    let ending = ["docx", "txt", "jpg", "csv", "xlsx", "pdf"][n % 6];
    format!("file {n:03}.{ending}")
}

/// What such a file holds: text, or something dense that says what it is.
fn content(n: usize) -> Vec<u8> {
    let mut bytes = vec![0; 3_000 + 97 * n];
    Rng::new(9_000 + n as u64).fill(&mut bytes);
    let magic: &[u8] = match n % 6 {
        0 | 4 => b"PK\x03\x04",
        2 => b"\xFF\xD8\xFF\xE0",
        5 => b"%PDF-1.7",
        _ => {
            let text = format!("{n}; screws, 12 a box; {}; nails\r\n", n * 7);
            return text.bytes().cycle().take(bytes.len()).collect();
        }
    };
    bytes.splice(..magic.len(), magic.iter().copied());
    bytes
}

#[test]
fn who_encrypts_in_place_is_stopped_and_all_comes_back() {
    let mut office = Office::new(900);
    let good = office.session("worker", "192.0.2.1:50001");
    let bad = office.session("mallory!", "192.0.2.66:50000");
    let stopped = office.attack(|office, n| {
        let noise = office.noise(content(n).len());
        office.try_write(&bad, &name(n), 0, &noise)?;
        office.try_rename(&bad, &name(n), &format!("{}.locked", name(n)), false)
    });
    println!("{stopped:?}");
    assert!(
        stopped.is_some_and(|files| files <= STOPPED_WITHIN),
        "{stopped:?}"
    );
    let alarms = office.alarms();
    assert_eq!(alarms.len(), 1);
    let alarm = &alarms[0];
    assert_eq!(
        (alarm.session, alarm.action),
        (bad.session, AlarmAction::Block)
    );
    assert_eq!(alarm.address, "192.0.2.66");
    assert!(
        alarm.paths[0].starts_with("file 000.docx"),
        "{:?}",
        alarm.paths
    );
    // The user is stopped from elsewhere, and so is the address as another user; nobody else is.
    let again = office.session("mallory!", "192.0.2.67:50000");
    let other = office.session("another name", "192.0.2.66:50009");
    for who in [&bad, &again, &other] {
        let tries = [
            office.try_save(who, "new", b"x"),
            office.try_write(who, &name(100), 0, b"x"),
            office.try_delete(who, &name(100)),
            office.try_rename(who, &name(100), "elsewhere", false),
        ];
        for tried in tries {
            assert!(matches!(tried, Err(VfsError::ReadOnly)), "{tried:?}");
        }
        assert!(
            office.open(who, &name(100), Disposition::Open).is_ok(),
            "may read"
        );
    }
    office.save(&good, "work", b"of the same minute");
    office.try_delete(&good, "work").unwrap();
    office.undo(&[&bad]);
    // It outlives a restart, until an administrator says otherwise.
    office.world = office.world.reopen();
    let later = office.session("mallory!", "192.0.2.68:50000");
    assert!(office.try_save(&later, "new", b"x").is_err());
    let cleared = office.world.vfs.clear_alarm(alarms[0].id);
    office.world.wait(cleared).unwrap();
    office.save(&later, "new", b"x");
    assert!(office.alarms()[0].cleared.is_some());
}

#[test]
fn the_last_good_instant_is_kept() {
    let mut office = Office::new(901);
    office.pass(5_000);
    let bad = office.session("mallory!", "192.0.2.66:50000");
    let stopped = office.attack(|office, n| {
        if n % 10 == 9 {
            office.pass(1_500);
        }
        let noise = office.noise(content(n).len());
        office.try_write(&bad, &name(n), 0, &noise)
    });
    assert!(stopped.is_some());
    let snapshot = office.alarms()[0].snapshot.clone().unwrap();
    let vfs = Arc::clone(&office.world.vfs);
    let kept = vfs.snapshot(&office.world.share, &snapshot).unwrap();
    assert!(kept.held);
    let deleted = office
        .world
        .wait(vfs.delete_snapshot(&office.world.share, &snapshot));
    assert_eq!(outcome(deleted), "CannotDelete");
    let view = vfs.view_of(&office.world.share, kept.instant).unwrap();
    let back = office
        .world
        .wait(vfs.rewind(&office.world.share, "", &view, false));
    assert!(back.unwrap().failed.is_empty());
    for n in 0..FILES {
        assert!(
            office.world.get(&name(n)).unwrap() == content(n),
            "{}",
            name(n)
        );
    }
}

#[test]
fn other_ways_to_do_it_are_found_as_well() {
    type Way = fn(&mut Office, &Credentials, usize) -> Result<()>;
    let ways: [(&str, Way); 6] = [
        ("by a new file that takes the name", |office, who, n| {
            let noise = office.noise(content(n).len());
            office.try_save(who, "temporary", &noise)?;
            office.try_rename(who, "temporary", &name(n), true)
        }),
        ("by a copy, then deleting", |office, who, n| {
            let noise = office.noise(content(n).len());
            office.try_save(who, &format!("{}.crypt", name(n)), &noise)?;
            office.try_delete(who, &name(n))
        }),
        ("renaming first", |office, who, n| {
            let to = format!("{}.xyz", name(n));
            office.try_rename(who, &name(n), &to, false)?;
            let noise = office.noise(content(n).len());
            office.try_write(who, &to, 0, &noise)
        }),
        ("cutting it off first", |office, who, n| {
            let noise = office.noise(content(n).len());
            office.try_save(who, &name(n), &noise)
        }),
        ("only the first kilobyte", |office, who, n| {
            let noise = office.noise(1_024);
            office.try_write(who, &name(n), 0, &noise)
        }),
        ("slowly", |office, who, n| {
            office.pass(300_000);
            let noise = office.noise(content(n).len());
            office.try_write(who, &name(n), 0, &noise)
        }),
    ];
    for (seed, (what, way)) in ways.into_iter().enumerate() {
        let mut office = Office::new(910 + seed as u64);
        let bad = office.session("mallory!", "192.0.2.66:50000");
        let stopped = office.attack(|office, n| way(office, &bad, n));
        println!("{what}: {stopped:?}");
        assert!(
            stopped.is_some_and(|files| files <= STOPPED_WITHIN),
            "{what}: {stopped:?}"
        );
        office.undo(&[&bad]);
    }
}

#[test]
fn many_sessions_are_one_attacker() {
    let mut office = Office::new(920);
    let bad: Vec<_> = (0..4)
        .map(|n| office.session("mallory!", &format!("192.0.2.{}:1", 60 + n)))
        .collect();
    let stopped = office.attack(|office, n| {
        let noise = office.noise(content(n).len());
        office.try_write(&bad[n % 4], &name(n), 0, &noise)
    });
    println!("{stopped:?}");
    assert!(
        stopped.is_some_and(|files| files <= STOPPED_WITHIN),
        "{stopped:?}"
    );
    let one_user_each = |n: usize| "m".repeat(10 + n);
    office.undo(&bad.iter().collect::<Vec<_>>());
    let mut office = Office::new(921);
    let bad: Vec<_> = (0..4)
        .map(|n| office.session(&one_user_each(n), "192.0.2.60:1"))
        .collect();
    let stopped = office.attack(|office, n| {
        let noise = office.noise(content(n).len());
        office.try_write(&bad[n % 4], &name(n), 0, &noise)
    });
    println!("{stopped:?}");
    assert!(
        stopped.is_some_and(|files| files <= STOPPED_WITHIN),
        "{stopped:?}"
    );
}

#[test]
fn parts_of_text_that_become_noise_are_found() {
    let mut office = Office::new(922);
    let worker = office.session("worker", "192.0.2.1:50000");
    for n in 0..FILES {
        let text = format!("line {n} of the ledger; ").repeat(2_000);
        office.save(&worker, &name(n), text.as_bytes());
    }
    let bad = office.session("mallory!", "192.0.2.66:50000");
    let stopped = office.attack(|office, n| {
        let handle = office.open(&bad, &name(n), Disposition::Open)?;
        for block in 0..4 {
            let noise = office.noise(4_096);
            let at = 8_192 * (block + 1);
            let done = office
                .world
                .wait(office.world.vfs.write(&handle, at, &noise));
            if done.is_err() {
                office.world.close(&handle);
                return done;
            }
        }
        office.world.close(&handle);
        Ok(())
    });
    println!("{stopped:?}");
    assert!(
        stopped.is_some_and(|files| files <= STOPPED_WITHIN),
        "{stopped:?}"
    );
}

#[test]
fn a_decoy_raises_the_alarm_at_the_first_touch() {
    for way in 0..3 {
        let mut office = Office::new(930 + way);
        let vfs = Arc::clone(&office.world.vfs);
        let path = name(7);
        let decoy = vfs.set_decoy(&office.world.share, &path, true);
        office.world.wait(decoy).unwrap();
        office.world = office.world.reopen();
        let bad = office.session("mallory!", "192.0.2.66:50000");
        let tried = match way {
            0 => office.try_write(&bad, &name(7), 0, b"anything"),
            1 => office.try_rename(&bad, &name(7), "x", false),
            _ => office.try_delete(&bad, &name(7)),
        };
        drop(tried);
        let alarms = office.alarms();
        assert!(
            alarms.len() == 1 && alarms[0].decoy,
            "way {way}: {alarms:?}"
        );
        assert!(office.try_save(&bad, "new", b"x").is_err());
        if way != 1 {
            assert!(
                office.world.get(&name(7)).unwrap() == content(7),
                "way {way}"
            );
        }
    }
}

#[test]
fn honest_work_raises_no_alarm() {
    let mut office = Office::new(940);
    let who = office.session("worker", "192.0.2.1:50000");
    for n in 0..400 {
        // An archive of photos and zips.
        office.save(&who, &format!("archive {n}.jpg"), &content(6 * n + 2));
        // Documents saved as office programs do: by a new file that takes the name.
        office.save(&who, "~temporary.tmp", &content(6 * n));
        office
            .try_rename(&who, "~temporary.tmp", &name(n % FILES / 6 * 6), true)
            .unwrap();
        // Files encrypted by a backup program, and the oldest of them deleted.
        let noise = office.noise(5_000);
        office.save(&who, &format!("backup {n}.pack"), &noise);
        if n >= 50 {
            office
                .try_delete(&who, &format!("backup {}.pack", n - 50))
                .unwrap();
        }
        // Text that becomes other text, and a file that grows into space set aside.
        let text = format!("revision {n} of the source\n").repeat(60);
        office.save(&who, &name(1), text.as_bytes());
        let noise = office.noise(4_096);
        office.save(&who, "download.part", &[0; 65_536]);
        office
            .try_write(&who, "download.part", 4_096 * (n as u64 % 16), &noise)
            .unwrap();
        // A git object, and a container of encrypted data that is written to.
        let mut object = office.noise(700);
        object.splice(..2, [0x78, 0x9C]);
        office.save(&who, &format!("object {n}"), &object);
        let noise = office.noise(40_960);
        if n == 0 {
            office.save(&who, "container", &noise);
        }
        office
            .try_write(&who, "container", 4_096 * (n as u64 % 10), &noise[..4_096])
            .unwrap();
    }
    assert_eq!(office.alarms(), []);
}

#[test]
fn what_an_alarm_does_is_set_for_each_share_and_users_can_have_leave() {
    let mut office = Office::new(950);
    let vfs = Arc::clone(&office.world.vfs);
    let share = Arc::clone(&office.world.share);
    let bad = office.session("mallory!", "192.0.2.66:50000");
    let encrypt = |office: &mut Office| {
        office.attack(|office, n| {
            let noise = office.noise(content(n).len());
            office.try_save(&bad, &name(n), &noise)?;
            office.try_save(&bad, &name(n), &content(n))
        })
    };
    office
        .world
        .wait(vfs.set_alarm_action(&share, AlarmAction::Off))
        .unwrap();
    assert_eq!(encrypt(&mut office), None);
    assert_eq!(office.alarms(), []);
    office
        .world
        .wait(vfs.set_alarm_action(&share, AlarmAction::Block))
        .unwrap();
    let user = vfs.session(bad.session).unwrap().unwrap().info.user;
    office
        .world
        .wait(vfs.permit_encryption(user, true))
        .unwrap();
    assert_eq!(encrypt(&mut office), None);
    assert_eq!(office.alarms(), []);
    office
        .world
        .wait(vfs.permit_encryption(user, false))
        .unwrap();
    office
        .world
        .wait(vfs.set_alarm_action(&share, AlarmAction::Report))
        .unwrap();
    assert_eq!(encrypt(&mut office), None, "it is only told");
    assert!(!office.alarms().is_empty());
    assert!(
        office
            .alarms()
            .iter()
            .all(|alarm| alarm.action == AlarmAction::Report)
    );
}
