#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use strongroom_device::Timestamp;
use strongroom_pool::Txg;

use super::{Schedule, largest_maker, usage};
use crate::feed::tests::{NAMES, Writer};
use crate::history::{Past, get_at, horizon, instant_at};
use crate::index::Index;
use crate::rows::{EXTENTS, HEADS, extent_key, object_key};
use crate::{Inode, ObjectId, SessionId};

const SECOND: u64 = 1_000_000_000;
const DAY: Schedule = Schedule {
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
    let schedule = Schedule {
        every_second: Duration::from_secs(60),
        every_minute: Duration::from_secs(3600),
        ..DAY
    };
    let schedule = Schedule {
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
