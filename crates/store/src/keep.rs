//! Which instants are kept, for whom: schedules by age, pins that nothing thins, and what they say of each instant.

mod pins;
mod schedule;

pub use pins::Pin;
pub(crate) use pins::Pins;
pub(crate) use schedule::Schedule;

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;

use crate::engine::Engine;
use crate::index::Snapshot;
use crate::rows::{self, META, PINS, RETENTIONS, Stored};
use crate::{Instant, Realm, Result, Retention, SessionId, Table};

/// Key of [`META`]: before this second no schedule keeps anything any more, for want of space.
pub(crate) const META_FLOOR: &[u8] = b"floor";

/// Reads a row as it is or, if it is gone, as it was last.
pub type LastKnown<'a> = &'a mut dyn FnMut(Table, &[u8]) -> Result<Option<Bytes>>;

/// Whose rules count for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Realm(Realm),
    /// It belongs to no part, or that cannot be told: all rules count.
    All,
    /// No view can show it any more, whatever instant it is of.
    Nobody,
}

/// Says which part of the file system a row belongs to.
pub trait Realms: Send + Sync + Debug {
    fn whose(&self, table: Table, key: &[u8], last_known: LastKnown<'_>) -> Result<Whose>;
}

/// All schedules and pins.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    default: Schedule,
    by_realm: BTreeMap<Realm, Schedule>,
    pub(crate) pins: Pins,
    /// Before this second only pins keep anything.
    pub(crate) floor: u64,
}

impl Rules {
    /// One schedule for all, and no pins.
    pub(crate) fn only(default: &Retention) -> Self {
        Self {
            default: Schedule::new(default),
            by_realm: BTreeMap::new(),
            pins: Pins::default(),
            floor: 0,
        }
    }

    /// As the index has them: what thinning may go by, as no crash takes it back.
    pub(crate) fn indexed(default: &Retention, snapshot: &dyn Snapshot) -> Result<Self> {
        let mut rules = Self::only(default);
        let mut pins = Vec::new();
        for table in [RETENTIONS, PINS] {
            snapshot.scan(table, &[], None, &mut |key, value| {
                let stored = Stored::decode(Bytes::copy_from_slice(value))?;
                rules.add(table, key, &stored.payload, &mut pins)?;
                Ok(true)
            })?;
        }
        rules.pins = Pins::new(pins);
        let floor = snapshot.get(META, META_FLOOR)?;
        rules.floor = floor.map_or(Ok(0), |floor| rows::decode_number(&floor))?;
        Ok(rules)
    }

    fn add(&mut self, table: Table, key: &[u8], payload: &[u8], pins: &mut Vec<Pin>) -> Result<()> {
        if table == PINS {
            pins.push(Pin::decode(key, payload)?);
            return Ok(());
        }
        let realm = u32::try_from(rows::decode_list_key(key)?).unwrap_or(u32::MAX);
        self.by_realm
            .insert(Realm(realm), Schedule::decode(payload)?);
        Ok(())
    }

    pub(crate) fn of(&self, realm: Realm) -> &Schedule {
        self.by_realm.get(&realm).unwrap_or(&self.default)
    }

    fn schedules(&self) -> impl Iterator<Item = &Schedule> {
        std::iter::once(&self.default).chain(self.by_realm.values())
    }

    /// The same rules count for every row.
    pub(crate) fn are_uniform(&self) -> bool {
        self.by_realm.is_empty() && self.pins.are_for_all()
    }

    /// The last second that is behind the shortest window in which every second is kept.
    pub(crate) fn edge(&self, now: u64) -> Option<u64> {
        let window = self.schedules().map(Schedule::window).min()?;
        now.checked_sub(window + 1)
    }

    /// The same of the longest window.
    pub(crate) fn far_edge(&self, now: u64) -> Option<u64> {
        let window = self.schedules().map(Schedule::window).max()?;
        now.checked_sub(window + 1)
    }

    /// The shortest window, in seconds.
    pub(crate) fn window(&self) -> u64 {
        self.schedules().map(Schedule::window).min().unwrap_or(0)
    }

    /// Until which second schedules keep an instant of a realm or, without one, of any; None if they do not.
    pub(crate) fn keeps(
        &self,
        realm: Option<Realm>,
        now: u64,
        second: u64,
        next: Option<u64>,
    ) -> Option<u64> {
        if second < self.floor {
            return None;
        }
        match realm {
            Some(realm) => self.of(realm).keeps(now, second, next),
            None => {
                let kept = self.schedules().map(|all| all.keeps(now, second, next));
                kept.max().flatten()
            }
        }
    }

    /// Instants of a list without gaps that schedules keep, each with the second until which.
    pub(crate) fn kept(
        &self,
        realm: Option<Realm>,
        now: u64,
        instants: &[Instant],
    ) -> Vec<(Instant, u64)> {
        let following = instants.iter().skip(1).map(Some).chain([None]);
        let pairs = instants.iter().zip(following);
        let kept = pairs.filter_map(|(instant, next)| {
            let next = next.map(|next| next.time.seconds());
            let until = self.keeps(realm, now, instant.time.seconds(), next)?;
            Some((*instant, until))
        });
        kept.collect()
    }
}

impl Engine {
    pub(crate) fn default_retention(&self) -> Retention {
        let none = Retention::window(std::time::Duration::ZERO);
        self.options
            .history
            .map_or(none, |history| history.retention)
    }

    /// The rules as they are now.
    pub(crate) fn rules(&self) -> Result<Rules> {
        let mut rules = Rules::only(&self.default_retention());
        let mut pins = Vec::new();
        let (start, end) = rows::list_bounds();
        for table in [RETENTIONS, PINS] {
            for (key, payload) in self.scan_pinned(table, &start, &end, usize::MAX)?.0 {
                rules.add(table, &key, &payload, &mut pins)?;
            }
        }
        rules.pins = Pins::new(pins);
        let floor = self.index.snapshot().get(META, META_FLOOR)?;
        rules.floor = floor.map_or(Ok(0), |floor| rows::decode_number(&floor))?;
        Ok(rules)
    }

    /// Lets a realm's past be kept by a schedule of its own.
    pub(crate) fn set_retention(&self, realm: Realm, retention: &Retention) -> Result<()> {
        let _one_at_a_time = self.keeping.lock();
        let now = self.group_time().seconds();
        let next = self.rules()?.of(realm).followed_by(retention, now);
        let mut txn = crate::Txn::new(self, SessionId::SYSTEM);
        let key = rows::list_key(u64::from(realm.0));
        txn.put(RETENTIONS, key, next.encode());
        txn.commit().map(drop)
    }
}
