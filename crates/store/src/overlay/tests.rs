use bytes::Bytes;

use super::{Found, Overlay};
use crate::{Key, SessionId, Table, Txg, View};

const TABLE: Table = Table(1);

fn key(name: &str) -> Key {
    let mut key = 5u64.to_be_bytes().to_vec();
    key.extend_from_slice(name.as_bytes());
    Key::from(key)
}

fn put(overlay: &Overlay, txg: u64, session: u64, name: &str, value: Option<&'static str>) {
    let key = key(name);
    let value = value.map(|value| Bytes::from_static(value.as_bytes()));
    overlay
        .lock(key.inode())
        .put(Txg(txg), SessionId(session), TABLE, key, value);
}

#[test]
fn the_newest_version_is_found_until_all_are_forgotten() {
    let overlay = Overlay::new();
    put(&overlay, 1, 1, "a", Some("one"));
    put(&overlay, 2, 1, "a", None);
    assert_eq!(overlay.get(&View::Now, TABLE, &key("a")), Found::Deleted);
    overlay.forget(Txg(1));
    assert_eq!(overlay.get(&View::Now, TABLE, &key("a")), Found::Deleted);
    overlay.forget(Txg(2));
    assert_eq!(overlay.get(&View::Now, TABLE, &key("a")), Found::Unknown);
    assert_eq!((overlay.rows(), overlay.bytes()), (0, 0));
}

#[test]
fn one_session_leaves_one_version_in_a_group_and_two_leave_both() {
    let overlay = Overlay::new();
    put(&overlay, 1, 1, "a", Some("one"));
    put(&overlay, 1, 1, "a", Some("two"));
    assert_eq!(overlay.rows(), 1);
    put(&overlay, 1, 2, "a", Some("three"));
    put(&overlay, 2, 2, "a", Some("four"));
    let chains = overlay.collect(Txg(1));
    assert_eq!(chains.len(), 1);
    let values: Vec<_> = chains[0]
        .versions
        .iter()
        .filter_map(|v| v.value.clone())
        .collect();
    assert_eq!(values, ["two", "three"]);
    overlay.forget(Txg(2));
    assert_eq!((overlay.rows(), overlay.bytes()), (0, 0));
}

#[test]
fn a_range_stops_at_its_limit_of_values_and_keeps_deletions() {
    let overlay = Overlay::new();
    put(&overlay, 1, 1, "a", None);
    put(&overlay, 1, 1, "b", Some("b"));
    put(&overlay, 1, 1, "c", Some("c"));
    let (rows, ()) = overlay.range(&View::Now, TABLE, (&key("a"), &key("z")), 1, || ());
    let names: Vec<_> = rows
        .iter()
        .map(|(key, value)| (key[8], value.is_some()))
        .collect();
    assert_eq!(names, [(b'a', false), (b'b', true)]);
    let (rows, ()) = overlay.range(&View::Now, TABLE, (&key("z"), &key("a")), 9, || ());
    assert!(rows.is_empty());
}

#[test]
fn the_open_record_is_taken_once() {
    let overlay = Overlay::new();
    put(&overlay, 1, 1, "a", Some("one"));
    assert_eq!(overlay.take_open().len(), 1);
    assert!(overlay.take_open().is_empty());
    assert_eq!(overlay.rows(), 1, "the rows stay");
}
