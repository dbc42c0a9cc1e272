#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use strongroom_device::Timestamp;
use strongroom_device::sim::Rng;
use strongroom_pool::{Address, SegmentId, Txg};

use super::{Change, DeadObject, Fed, FeedOptions, RowChain, Run, TxgInfo, Version, feed};
use crate::history::{Past, get_at, scan_at};
use crate::index::{Index, MemoryIndex};
use crate::keep::{Realms, Rules};
use crate::rows::{
    EXTENTS, ExtentRow, HEADS, HISTORY, HeadRow, HistoryRow, REFERENCES, STRIPES, Stored,
    address_key, extent_key, object_key,
};
use crate::thin::{Budget, Freed, Terms, thin, usage};
use crate::{Aspect, DataHead, Inode, ObjectId, Retention, SessionId, Table};

pub(crate) const NAMES: Table = Table(1);
const SECOND: u64 = 1_000_000_000;

/// Gathers groups into runs, and remembers everything that ever was.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) index: Arc<MemoryIndex>,
    chains: BTreeMap<(Table, Vec<u8>), Vec<Version>>,
    groups: Vec<(Txg, Timestamp)>,
    dead: Vec<DeadObject>,
    txg: u64,
    time: u64,
    /// What was at the end of each group.
    states: BTreeMap<u64, BTreeMap<(Table, Vec<u8>), Bytes>>,
    state: BTreeMap<(Table, Vec<u8>), Bytes>,
    /// Every kept instant.
    pub(crate) instants: BTreeMap<u64, u64>,
    pub(crate) freed: Vec<Address>,
    segments: u64,
    pub(crate) history: bool,
    /// Instants that thinning must spare.
    pub(crate) spared: Vec<Txg>,
    pub(crate) realms: Option<Box<dyn Realms>>,
}

impl Writer {
    pub(crate) fn new(history: bool) -> Self {
        Self {
            history,
            ..Self::default()
        }
    }

    /// Begins a group, `later` nanoseconds after the one before.
    pub(crate) fn group(&mut self, later: u64) -> Txg {
        self.states.insert(self.txg, self.state.clone());
        self.txg += 1;
        self.time += later;
        self.groups.push((Txg(self.txg), Timestamp(self.time)));
        self.instants.insert(self.time / SECOND, self.txg);
        Txg(self.txg)
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.time)
    }

    pub(crate) fn set(&mut self, session: u64, table: Table, key: &[u8], value: Option<&[u8]>) {
        let value = value.map(Bytes::copy_from_slice);
        let version = Version {
            txg: Txg(self.txg),
            session: SessionId(session),
            value: value.clone(),
        };
        self.chains
            .entry((table, key.to_vec()))
            .or_default()
            .push(version);
        match value {
            Some(value) => self.state.insert((table, key.to_vec()), value),
            None => self.state.remove(&(table, key.to_vec())),
        };
    }

    /// A new extent of 8 KiB at `offset`, in a stripe that four extents share.
    pub(crate) fn write(&mut self, session: u64, inode: u64, offset: u64) -> Address {
        let number = self.segments as u32;
        self.segments += 1;
        let address = Address {
            segment: SegmentId(1),
            stripe: number / 4,
            offset: number % 4 * 8192,
        };
        let row = ExtentRow {
            address,
            start: 0,
            len: 8192,
            whole: 8192,
            packing: None,
            fresh: true,
        };
        let object = ObjectId::data(Inode(inode));
        self.set(
            session,
            EXTENTS,
            &extent_key(object, offset),
            Some(&row.encode()),
        );
        address
    }

    pub(crate) fn head(&mut self, session: u64, inode: u64, size: u64) {
        let head = DataHead {
            size,
            allocated: size,
            mtime: Timestamp(self.time),
        };
        let row = HeadRow {
            head,
            inline: false,
            logged: false,
            held: size,
        };
        self.set(
            session,
            HEADS,
            &object_key(ObjectId::data(Inode(inode))),
            Some(&row.encode()),
        );
    }

    pub(crate) fn kill(&mut self, session: u64, inode: u64) {
        let object = ObjectId::data(Inode(inode));
        self.dead.push(DeadObject {
            txg: Txg(self.txg),
            session: SessionId(session),
            object,
        });
    }

    pub(crate) fn feed(&mut self) -> Fed {
        let chains = std::mem::take(&mut self.chains);
        let rows: Vec<_> = chains
            .iter()
            .map(|((table, key), versions)| RowChain {
                table: *table,
                key,
                versions,
            })
            .collect();
        let change = [Change {
            inode: Inode(7),
            aspect: Aspect::Name,
            session: SessionId(1),
        }];
        let groups = std::mem::take(&mut self.groups);
        let txgs: Vec<_> = groups
            .iter()
            .map(|(txg, time)| TxgInfo {
                txg: *txg,
                time: *time,
                changes: &change,
            })
            .collect();
        let dead = std::mem::take(&mut self.dead);
        let run = Run {
            rows: &rows,
            txgs: &txgs,
            dead: &dead,
        };
        let fed = feed(
            &*self.index,
            FeedOptions {
                history: self.history,
            },
            &run,
        )
        .unwrap();
        self.freed.extend(&fed.freed);
        // What ran once is not run again.
        let again = feed(
            &*self.index,
            FeedOptions {
                history: self.history,
            },
            &run,
        )
        .unwrap();
        assert!(again.freed.is_empty() && again.history_rows == 0);
        fed
    }

    pub(crate) fn thin(&mut self, retention: &Retention, pressure: bool) -> Freed {
        let rules = Rules::indexed(retention, &*self.index.snapshot()).unwrap();
        let terms = Terms {
            rules: &rules,
            spared: &self.spared,
            realms: self.realms.as_deref(),
            now: self.now().seconds(),
        };
        let freed = thin(&*self.index, &terms, Budget { rows: 50, pressure }).unwrap();
        self.freed.extend(&freed.extents);
        freed
    }

    /// Kept instants from `from` on: all but the last second, which may still move.
    pub(crate) fn kept(&self, from: u64) -> Vec<u64> {
        let mut kept: Vec<_> = self.instants.range(from..).map(|(_, txg)| *txg).collect();
        kept.pop();
        kept
    }

    /// Every key at each of these groups must be what it was then.
    pub(crate) fn check_past(&mut self, groups: &[u64]) {
        self.states.insert(self.txg, self.state.clone());
        let keys: BTreeSet<_> = self
            .states
            .values()
            .flat_map(BTreeMap::keys)
            .cloned()
            .collect();
        let snapshot = self.index.snapshot();
        for at in groups {
            let then = &self.states[at];
            for (table, key) in &keys {
                let found = match get_at(&*snapshot, *table, key, Txg(*at)).unwrap() {
                    Past::Absent => None,
                    Past::Value(stored) => Some(stored.payload),
                    Past::Thinned => panic!("thinned"),
                };
                assert!(
                    found.as_ref() == then.get(&(*table, key.clone())),
                    "{table:?} {key:?} at {at}"
                );
            }
            let mut rows = Vec::new();
            let range: (&[u8], &[u8]) = (&[0; 8], &[255; 9]);
            scan_at(&*snapshot, NAMES, range, Txg(*at), &mut |key, past| {
                rows.push((key.to_vec(), past.payload()?.unwrap()));
                Ok(true)
            })
            .unwrap();
            let names = then.iter().filter(|((table, _), _)| *table == NAMES);
            let names: Vec<_> = names
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect();
            assert!(rows == names, "names at {at}");
        }
    }

    /// Counts references, stripes and totals by hand.
    pub(crate) fn check_counts(&self) {
        let snapshot = self.index.snapshot();
        let mut rows: HashMap<Address, u64> = HashMap::new();
        let mut count = |payload: &[u8]| {
            *rows
                .entry(ExtentRow::decode(payload).unwrap().address)
                .or_default() += 1;
        };
        snapshot
            .scan(EXTENTS, &[], None, &mut |_, value| {
                count(&Stored::decode(Bytes::copy_from_slice(value))?.payload);
                Ok(true)
            })
            .unwrap();
        snapshot
            .scan(
                HISTORY,
                &[EXTENTS.0],
                Some(&[EXTENTS.0 + 1]),
                &mut |_, value| {
                    if let Some(payload) = HistoryRow::decode(value)?.payload {
                        count(payload);
                    }
                    Ok(true)
                },
            )
            .unwrap();
        let mut stripes: HashMap<u32, u64> = HashMap::new();
        for (address, count) in &rows {
            let stored = snapshot.get(REFERENCES, &address_key(*address)).unwrap();
            let stored = stored.map_or(1, |value| crate::rows::decode_number(&value).unwrap());
            assert_eq!(stored, *count, "{address:?}");
            *stripes.entry(address.stripe).or_default() += 8192;
        }
        let mut listed = HashMap::new();
        snapshot
            .scan(STRIPES, &[], None, &mut |key, value| {
                let row = crate::rows::StripeRow::decode(value)?;
                if row.live > 0 {
                    listed.insert(crate::rows::decode_stripe_key(key)?.1, row.live);
                }
                Ok(true)
            })
            .unwrap();
        assert_eq!(listed, stripes);
        let freed: BTreeSet<_> = self.freed.iter().collect();
        assert_eq!(freed.len(), self.freed.len(), "freed twice");
        assert!(
            freed.iter().all(|address| !rows.contains_key(address)),
            "freed while in use"
        );
        assert_eq!(
            freed.len() + rows.len(),
            self.segments as usize,
            "neither freed nor in use"
        );
        assert_eq!(usage(&*snapshot).unwrap().live, rows.len() as u64 * 8192);
    }
}

/// A random life of a few files under three sessions.
fn live(rng: &mut Rng, writer: &mut Writer) {
    for _ in 0..1 + rng.below(4) {
        let later = [SECOND / 3, SECOND / 2, 2 * SECOND, 0][rng.below(4)];
        writer.group(later);
        for _ in 0..rng.below(12) {
            step(rng, writer);
        }
    }
    writer.feed();
}

fn step(rng: &mut Rng, writer: &mut Writer) {
    let session = 1 + rng.below(3) as u64;
    let inode = 1 + rng.below(3) as u64;
    let mut key = inode.to_be_bytes().to_vec();
    key.extend_from_slice(&b"aabab"[..rng.below(5)]);
    match rng.below(10) {
        0..=3 => writer.set(session, NAMES, &key, Some(&[rng.below(256) as u8])),
        4..=5 => writer.set(session, NAMES, &key, None),
        6..=7 => {
            writer.write(session, inode, rng.below(4) as u64 * 8192);
        }
        8 => {
            let key = extent_key(ObjectId::data(Inode(inode)), rng.below(4) as u64 * 8192);
            writer.set(session, EXTENTS, &key, None);
        }
        _ => writer.head(session, inode, rng.below(9) as u64),
    }
}

#[test]
fn every_kept_instant_is_exact() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let mut writer = Writer::new(true);
        (0..12).for_each(|_| live(&mut rng, &mut writer));
        writer.check_past(&writer.kept(0));
        writer.check_counts();
    }
}

#[test]
fn without_history_nothing_is_kept_and_all_is_freed() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let mut writer = Writer::new(false);
        (0..12).for_each(|_| live(&mut rng, &mut writer));
        writer.check_counts();
        assert_eq!(usage(&*writer.index.snapshot()).unwrap().history, 0);
    }
}

#[test]
fn thinning_keeps_the_window_exact_and_frees_the_rest() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let mut writer = Writer::new(true);
        let schedule = Retention::window(std::time::Duration::from_secs(6));
        for _ in 0..20 {
            live(&mut rng, &mut writer);
            while writer.thin(&schedule, false).more {}
            writer.check_counts();
        }
        let from = writer.now().seconds().saturating_sub(6);
        writer.check_past(&writer.kept(from));
        writer.group(3600 * SECOND);
        writer.set(1, NAMES, &[9; 8], Some(b"x"));
        writer.feed();
        while writer.thin(&schedule, false).more {}
        writer.check_counts();
        assert_eq!(
            usage(&*writer.index.snapshot()).unwrap().history,
            0,
            "seed {seed}"
        );
    }
}

#[test]
fn a_value_of_one_session_inside_a_second_leaves_nothing() {
    let mut writer = Writer::new(true);
    writer.group(SECOND);
    writer.set(1, NAMES, &[1; 8], Some(b"a"));
    writer.group(1000);
    writer.set(1, NAMES, &[1; 8], Some(b"b"));
    assert_eq!(writer.feed().history_rows, 0);
    writer.group(1000);
    writer.set(2, NAMES, &[1; 8], Some(b"c"));
    assert_eq!(writer.feed().history_rows, 1, "another session ended it");
}

#[test]
fn two_sessions_in_one_group_both_leave_their_values() {
    let mut writer = Writer::new(true);
    writer.group(SECOND);
    for (session, value) in [(1, b"a"), (2, b"b"), (1, b"c")] {
        writer.set(session, NAMES, &[1; 8], Some(value));
    }
    assert_eq!(writer.feed().history_rows, 2);
}

#[test]
fn a_split_extent_is_freed_with_its_last_piece() {
    let mut writer = Writer::new(false);
    let object = ObjectId::data(Inode(1));
    writer.group(SECOND);
    let address = writer.write(1, 1, 0);
    writer.feed();
    writer.group(SECOND);
    for (offset, start) in [(0, 0), (6144, 6144)] {
        let row = ExtentRow {
            address,
            start,
            len: 2048,
            whole: 8192,
            packing: None,
            fresh: false,
        };
        writer.set(1, EXTENTS, &extent_key(object, offset), Some(&row.encode()));
    }
    assert!(writer.feed().freed.is_empty());
    writer.check_counts();
    writer.group(SECOND);
    writer.set(1, EXTENTS, &extent_key(object, 0), None);
    assert!(writer.feed().freed.is_empty());
    writer.group(SECOND);
    writer.set(1, EXTENTS, &extent_key(object, 6144), None);
    let fed = writer.feed();
    assert_eq!((fed.freed, fed.dead_stripes.len()), (vec![address], 1));
    let list = |writer: &Writer| dead_page(writer, None, 10);
    let listed = list(&writer).listed;
    let dead = fed.dead_stripes[0];
    // The stripe holds four such extents; the list says that only one is accounted for.
    assert_eq!(listed, [super::Listed { dead, freed: 8192 }]);
    super::forget_dead_stripes(&*writer.index, &fed.dead_stripes, &[]).unwrap();
    assert_eq!(list(&writer), super::DeadPage::default());
}

#[test]
fn a_file_that_no_instant_saw_goes_at_once() {
    let mut writer = Writer::new(true);
    writer.group(SECOND);
    writer.head(1, 5, 8192);
    let address = writer.write(1, 5, 0);
    writer.group(1000);
    writer.kill(1, 5);
    assert_eq!(writer.feed().freed, vec![address]);
    writer.check_counts();
}

#[test]
fn a_dead_file_is_reaped_when_the_window_has_passed() {
    let mut writer = Writer::new(true);
    writer.group(SECOND);
    writer.head(1, 5, 16384);
    for n in 0..2 {
        writer.write(1, 5, n * 8192);
    }
    writer.group(5 * SECOND);
    writer.kill(1, 5);
    assert!(writer.feed().freed.is_empty());
    assert_eq!(usage(&*writer.index.snapshot()).unwrap().history, 16384);
    let schedule = Retention::window(std::time::Duration::from_secs(60));
    for later in [30, 20, 40, 80] {
        writer.group(later * SECOND);
        writer.set(1, NAMES, &[1; 8], Some(b"a"));
        writer.feed();
        while writer.thin(&schedule, false).more {}
    }
    assert_eq!(writer.freed.len(), 2);
    writer.check_counts();
}

#[test]
fn a_stripe_whose_other_extents_are_still_to_be_named_is_not_all_accounted_for() {
    let mut writer = Writer::new(true);
    writer.group(SECOND);
    // A temporary file is published, deleted and gone before its neighbour in the stripe is even named.
    writer.head(1, 5, 8192);
    writer.write(1, 5, 0);
    writer.kill(1, 5);
    let dead = writer.feed().dead_stripes;
    let list = |writer: &Writer| dead_page(writer, None, 10);
    assert_eq!(
        list(&writer).listed,
        [super::Listed {
            dead: dead[0],
            freed: 8192
        }]
    );
    writer.group(SECOND);
    writer.write(1, 6, 0);
    writer.feed();
    assert_eq!(list(&writer).listed, [], "alive again");
    let revived = list(&writer).revived;
    assert_eq!(revived, dead);
    super::forget_dead_stripes(&*writer.index, &[], &revived).unwrap();
    assert_eq!(list(&writer), super::DeadPage::default());
    writer.check_counts();
}

#[test]
fn the_list_of_the_dead_is_read_page_by_page() {
    let mut writer = Writer::new(false);
    writer.group(SECOND);
    // Four extents share a stripe.
    for n in 0..40 {
        writer.write(1, 1, n * 8192);
    }
    writer.feed();
    writer.group(SECOND);
    for n in 0..40 {
        let key = extent_key(ObjectId::data(Inode(1)), n * 8192);
        writer.set(1, EXTENTS, &key, None);
    }
    let mut dead = writer.feed().dead_stripes;
    assert_eq!(dead.len(), 10);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = dead_page(&writer, after, 3);
        assert!(page.listed.len() <= 3);
        found.extend(page.listed.iter().map(|listed| listed.dead));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    dead.sort_unstable();
    assert_eq!(found, dead);
}

fn dead_page(writer: &Writer, after: Option<super::DeadStripe>, limit: usize) -> super::DeadPage {
    let snapshot = writer.index.snapshot();
    super::dead_stripes(&*snapshot, &*snapshot, after, limit).unwrap()
}
