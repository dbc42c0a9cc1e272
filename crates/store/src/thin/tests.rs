#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use strongroom_device::Timestamp;
use strongroom_pool::Txg;

use super::{largest_maker, usage};
use crate::feed::tests::{NAMES, Writer};
use crate::history::{Past, get_at, horizon, instant_at, instants};
use crate::index::Index;
use crate::keep::{LastKnown, Realms, Rules, Schedule, Whose};
use crate::rows::{self, EXTENTS, HEADS, PINNED, PINS, PinRow, RETENTIONS, extent_key, object_key};
use crate::{Inode, ObjectId, Realm, Retention, SessionId, Table};

const SECOND: u64 = 1_000_000_000;
const DAY: Retention = Retention {
    every_second: Duration::from_secs(86_400),
    every_minute: Duration::ZERO,
    every_hour: Duration::ZERO,
    every_day: Duration::ZERO,
    every_month: Duration::ZERO,
};

#[test]
fn pressure_takes_short_lived_values_of_the_largest_maker_and_spares_what_stood_for_an_hour() {
    let mut writer = Writer::new(true);
    let object = ObjectId::data(Inode(1));
    writer.group(SECOND);
    writer.write(1, 1, 0);
    writer.write(1, 2, 0);
    writer.feed();
    // Both stood for two hours; then session 9 overwrites one of them again and again.
    writer.group(7200 * SECOND);
    writer.write(9, 1, 0);
    writer.write(8, 2, 0);
    writer.feed();
    for _ in 0..20 {
        writer.group(SECOND);
        writer.write(9, 1, 0);
        writer.feed();
    }
    let (maker, _) = largest_maker(&*writer.index.snapshot()).unwrap().unwrap();
    assert_eq!(maker, SessionId(9));
    let mut rounds = 0;
    while !writer.thin(&DAY, true).exhausted {
        rounds += 1;
        assert!(rounds < 50);
    }
    writer.check_counts();
    assert_eq!(
        writer.freed.len(),
        20,
        "all that session 9 made and replaced"
    );
    let snapshot = writer.index.snapshot();
    let at = |txg| get_at(&*snapshot, EXTENTS, &extent_key(object, 0), Txg(txg)).unwrap();
    assert!(matches!(at(1), Past::Value(_)), "stood for two hours");
    assert_eq!(at(5), Past::Thinned, "never taken for a hole");
    assert!(matches!(at(22), Past::Value(_)), "the present");
}

#[test]
fn a_short_lived_file_given_up_is_marked_and_its_space_comes_back() {
    let mut writer = Writer::new(true);
    writer.group(SECOND);
    writer.head(1, 5, 8192);
    writer.write(1, 5, 0);
    writer.group(3 * SECOND);
    writer.kill(1, 5);
    writer.feed();
    writer.group(SECOND);
    writer.set(1, NAMES, &[1; 8], Some(b"a"));
    writer.feed();
    while !writer.thin(&DAY, true).exhausted {}
    assert_eq!(writer.freed.len(), 1);
    writer.check_counts();
    let snapshot = writer.index.snapshot();
    let key = object_key(ObjectId::data(Inode(5)));
    assert_eq!(
        get_at(&*snapshot, HEADS, &key, Txg(1)).unwrap(),
        Past::Thinned
    );
    assert_eq!(
        get_at(&*snapshot, HEADS, &key, Txg(3)).unwrap(),
        Past::Absent
    );
    assert_eq!(usage(&*snapshot).unwrap().history, 0);
}

#[test]
fn coarser_levels_keep_one_instant_each() {
    let mut writer = Writer::new(true);
    let schedule = Retention {
        every_second: Duration::from_secs(60),
        every_minute: Duration::from_secs(3600),
        ..DAY
    };
    let schedule = Retention {
        every_hour: Duration::from_secs(10_800),
        ..schedule
    };
    for n in 0..450_u64 {
        writer.group(60 * SECOND / 2);
        writer.set(1, NAMES, &[1; 8], Some(&n.to_be_bytes()));
        writer.feed();
        while writer.thin(&schedule, false).more {}
    }
    let snapshot = writer.index.snapshot();
    let oldest = horizon(&*snapshot).unwrap().unwrap();
    let age = writer.now().seconds() - oldest.time.seconds();
    assert!((7200..=10_800).contains(&age), "{age}");
    // Each minute of the last hour can still be gone back to, exactly.
    for back in 2..55 {
        let time = Timestamp(writer.now().0 - back * 60 * SECOND);
        let found = instant_at(&*snapshot, time.seconds()).unwrap().unwrap();
        assert!(time.seconds() - found.time.seconds() < 90);
        let Past::Value(value) = get_at(&*snapshot, NAMES, &[1; 8], found.txg).unwrap() else {
            unreachable!("a value stood at every instant")
        };
        assert_eq!(value.txg, found.txg);
    }
}

/// Rows of inode n belong to realm n.
#[derive(Debug)]
struct ByInode;

impl Realms for ByInode {
    fn whose(&self, _: Table, key: &[u8], _: LastKnown<'_>) -> crate::Result<Whose> {
        Ok(Whose::Realm(Realm(u32::from(key[7]))))
    }
}

fn name(inode: u8) -> [u8; 8] {
    [0, 0, 0, 0, 0, 0, 0, inode]
}

/// What a name was at a group; None if that is not known any more.
fn value_at(writer: &Writer, inode: u8, txg: u64) -> Option<Vec<u8>> {
    let snapshot = writer.index.snapshot();
    let past = get_at(&*snapshot, NAMES, &name(inode), Txg(txg)).unwrap();
    past.payload().unwrap().map(|value| value.to_vec())
}

/// Writes a name of two inodes once in `pause` seconds, `times` times, thinning all the while.
fn live(writer: &mut Writer, pause: u64, times: u64, retention: &Retention) {
    for _ in 0..times {
        let txg = writer.group(pause * SECOND).0;
        for inode in [1, 2] {
            writer.set(1, NAMES, &name(inode), Some(&txg.to_be_bytes()));
        }
        writer.feed();
        while writer.thin(retention, false).more {}
    }
}

fn pin(writer: &mut Writer, id: u64, realm: u32) -> u64 {
    let txg = writer.group(SECOND / 3);
    let time = writer.now();
    let realm = Realm(realm);
    let row = PinRow { realm, txg, time }.encode();
    writer.set(1, NAMES, &name(1), Some(&txg.0.to_be_bytes()));
    writer.set(1, NAMES, &name(2), Some(&txg.0.to_be_bytes()));
    writer.set(0, PINS, &rows::list_key(id), Some(&row));
    // What follows in the same second would take the place of what the pin saw.
    let after = writer.group(1);
    writer.set(1, NAMES, &name(1), Some(&after.0.to_be_bytes()));
    writer.set(1, NAMES, &name(2), Some(&after.0.to_be_bytes()));
    writer.feed();
    txg.0
}

#[test]
fn a_pin_keeps_what_its_realm_was_until_it_is_gone_and_no_longer() {
    let mut writer = Writer::new(true);
    writer.realms = Some(Box::new(ByInode));
    let minute = Retention::window(Duration::from_secs(60));
    live(&mut writer, 1, 5, &minute);
    let first = pin(&mut writer, 1, 1);
    live(&mut writer, 1, 5, &minute);
    let second = pin(&mut writer, 2, 0);
    live(&mut writer, 20, 20, &minute);
    let then = |txg: u64| Some(txg.to_be_bytes().to_vec());
    assert_eq!(value_at(&writer, 1, first), then(first));
    assert_eq!(value_at(&writer, 2, first), None, "another realm's");
    assert_eq!(value_at(&writer, 1, second), then(second));
    assert_eq!(value_at(&writer, 2, second), then(second));
    assert_eq!(value_at(&writer, 1, second - 3), None, "of no instant kept");
    // Pressure takes nothing of it.
    while !writer.thin(&minute, true).exhausted {}
    assert_eq!(value_at(&writer, 1, first), then(first));
    // In any order.
    for id in [1, 2] {
        writer.group(SECOND);
        writer.set(0, PINS, &rows::list_key(id), None);
        writer.feed();
        while writer.thin(&minute, false).more {}
        assert_eq!(value_at(&writer, 1, first), None);
        assert_eq!(value_at(&writer, 1, second).is_some(), id == 1);
    }
    let mut left = 0;
    writer
        .index
        .snapshot()
        .scan(PINNED, &[], None, &mut |_, _| {
            left += 1;
            Ok(true)
        })
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn each_realm_is_thinned_by_its_own_retention() {
    let mut writer = Writer::new(true);
    writer.realms = Some(Box::new(ByInode));
    let minute = Retention::window(Duration::from_secs(60));
    writer.group(SECOND);
    let hour = Schedule::new(&Retention {
        every_second: Duration::from_secs(600),
        every_minute: Duration::from_secs(3600),
        ..minute
    });
    writer.set(0, RETENTIONS, &rows::list_key(2), Some(&hour.encode()));
    writer.feed();
    live(&mut writer, 10, 200, &minute);
    let rules = Rules::indexed(&minute, &*writer.index.snapshot()).unwrap();
    let now = writer.now().seconds();
    let mut all = Vec::new();
    instants(&*writer.index.snapshot(), 0..=u64::MAX, &mut |instant| {
        all.push(instant);
        Ok(true)
    })
    .unwrap();
    let (mut kept, mut gone) = (0, 0);
    for (instant, _) in rules.kept(Some(Realm(2)), now - 10, &all) {
        let txg = instant.txg.0;
        assert_eq!(value_at(&writer, 2, txg), Some(txg.to_be_bytes().to_vec()));
        kept += 1;
        gone += usize::from(value_at(&writer, 1, txg).is_none());
    }
    // Ten minutes of them all, then one a minute.
    assert!((75..90).contains(&kept), "{kept}");
    assert!(kept - gone <= 8, "{gone} of {kept}");
}

#[test]
fn a_dead_object_goes_when_nobody_keeps_what_it_was() {
    let mut writer = Writer::new(true);
    let minute = Retention::window(Duration::from_secs(60));
    writer.group(SECOND);
    writer.head(1, 5, 8192);
    writer.write(1, 5, 0);
    writer.feed();
    writer.group(2 * SECOND);
    writer.head(1, 6, 8192);
    writer.write(1, 6, 0);
    let txg = writer.group(SECOND);
    let row = PinRow {
        realm: Realm(0),
        txg,
        time: writer.now(),
    };
    writer.set(0, PINS, &rows::list_key(7), Some(&row.encode()));
    writer.group(2 * SECOND);
    writer.kill(1, 6);
    writer.feed();
    // Born and dead behind the pin: it must not wait for it.
    writer.group(SECOND);
    writer.head(1, 8, 8192);
    writer.write(1, 8, 0);
    writer.group(5 * SECOND);
    writer.kill(1, 8);
    writer.feed();
    live(&mut writer, 30, 8, &minute);
    assert_eq!(writer.freed.len(), 1, "what the pin did not see");
    writer.group(SECOND);
    writer.set(0, PINS, &rows::list_key(7), None);
    writer.feed();
    live(&mut writer, 30, 4, &minute);
    assert_eq!(writer.freed.len(), 2);
    writer.check_counts();
}

#[test]
fn pressure_gives_up_the_oldest_behind_every_window_and_nothing_inside() {
    let mut writer = Writer::new(true);
    let retention = Retention {
        every_minute: Duration::from_secs(7200),
        ..Retention::window(Duration::from_secs(600))
    };
    live(&mut writer, 60, 100, &retention);
    let before = horizon(&*writer.index.snapshot()).unwrap().unwrap();
    let mut rounds = 0;
    loop {
        let freed = writer.thin(&retention, true);
        rounds += 1;
        assert!(rounds < 2_000);
        if freed.exhausted {
            break;
        }
    }
    while writer.thin(&retention, false).more {}
    let after = horizon(&*writer.index.snapshot()).unwrap().unwrap();
    assert!(after.txg > before.txg);
    assert!(writer.now().seconds() - after.time.seconds() >= 600);
    for txg in after.txg.0..=100 {
        assert_eq!(value_at(&writer, 1, txg), Some(txg.to_be_bytes().to_vec()));
    }
    assert_eq!(value_at(&writer, 1, 5), None);
}
