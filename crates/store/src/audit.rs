//! Whether the index's counts are the sums of what it holds, and whether the pool holds what they say.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_pool::{Address, SegmentId, StripeInfo};

use crate::Result;
use crate::engine::Engine;
use crate::feed::tally::{META_LIVE, META_PLAIN, META_PRESENT};
use crate::index::Snapshot;
use crate::rows::{
    self, EXTENTS, ExtentRow, HISTORY, HistoryKey, HistoryRow, META, MOVED, MOVED_NAMES,
    REFERENCES, STRIPES, StripeRow,
};

/// What an audit of the index's counts found.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// What does not add up, in words.
    pub problems: Vec<String>,
    /// Extents that rows name and that the pool does not show.
    pub missing: Vec<Address>,
    /// Bytes of extents that rows name, each rounded up to 4 KiB.
    pub live: u64,
    /// Stripes of earlier openings that no row names and that were not given back.
    pub leaked: Vec<(SegmentId, u32)>,
}

/// What rows name.
#[derive(Debug, Default)]
struct Named {
    /// Name → bytes that the whole extent takes, rows that name it.
    extents: BTreeMap<Address, (u32, u64)>,
    /// Bytes of them before they were compressed, each rounded up to 4 KiB.
    plain: u64,
    /// Name → where it lies, of those that cleaning moved.
    moved: BTreeMap<Address, Address>,
    /// What is stored of the bytes that rows of the present map.
    present: u64,
}

impl Named {
    fn add(&mut self, payload: &[u8]) -> Result<ExtentRow> {
        let row = ExtentRow::decode(payload)?;
        let plain = &mut self.plain;
        let counted = self.extents.entry(row.address).or_insert_with(|| {
            *plain += u64::from(row.whole).next_multiple_of(4096);
            (row.stored(), 0)
        });
        counted.1 += 1;
        Ok(row)
    }

    fn read(snapshot: &dyn Snapshot) -> Result<Self> {
        let mut named = Self::default();
        snapshot.scan(EXTENTS, &[], None, &mut |_, value| {
            let header = rows::Header::decode(value)?;
            let row = named.add(value.get(header.len..).unwrap_or_default())?;
            named.present += row.held();
            Ok(true)
        })?;
        snapshot.scan(HISTORY, &[], None, &mut |key, value| {
            let row = HistoryRow::decode(value)?;
            if HistoryKey::decode(key)?.table == EXTENTS
                && let Some(payload) = row.payload
            {
                named.add(payload)?;
            }
            Ok(true)
        })?;
        snapshot.scan(MOVED, &[], None, &mut |key, value| {
            let (name, place) = (rows::decode_address(key)?, rows::decode_address(value)?);
            named.moved.insert(name, place);
            Ok(true)
        })?;
        Ok(named)
    }

    fn place(&self, name: Address) -> Address {
        self.moved.get(&name).copied().unwrap_or(name)
    }

    /// Live bytes by stripe.
    fn stripes(&self) -> BTreeMap<(SegmentId, u32), u64> {
        let mut stripes = BTreeMap::new();
        for (name, (stored, _)) in &self.extents {
            let place = self.place(*name);
            let live = stripes.entry((place.segment, place.stripe)).or_default();
            *live += u64::from(*stored).next_multiple_of(4096);
        }
        stripes
    }
}

impl Engine {
    /// Adds everything up anew. Meant for a store at rest, whose index holds all groups.
    pub(crate) fn audit(&self) -> Result<Audit> {
        let snapshot = self.index.snapshot();
        let named = Named::read(&*snapshot)?;
        let stripes = named.stripes();
        let mut audit = Audit {
            live: stripes.values().sum(),
            ..Audit::default()
        };
        check_references(&*snapshot, &named, &mut audit)?;
        check_moves(&*snapshot, &named, &mut audit)?;
        check_stripes(&*snapshot, &stripes, &mut audit)?;
        check_sums(&*snapshot, &named, &mut audit)?;
        self.check_pool(&named, &stripes, &mut audit)?;
        Ok(audit)
    }

    /// The pool has every extent that is named, and gave back what is not.
    fn check_pool(
        &self,
        named: &Named,
        stripes: &BTreeMap<(SegmentId, u32), u64>,
        audit: &mut Audit,
    ) -> Result<()> {
        let mut held = BTreeSet::new();
        for segment in self.pool.segments()? {
            let earlier = segment.id.0 >> 32 < self.opened_sequence;
            let contents = self.pool.contents(segment.id)?;
            for info in contents.stripes.iter().filter(|info| !info.punched) {
                let key = (segment.id, info.stripe);
                if stripes.contains_key(&key) {
                    held.extend(extents_of(info));
                } else if earlier {
                    audit.leaked.push(key);
                }
            }
        }
        for (name, (stored, _)) in &named.extents {
            if !held.contains(&(named.place(*name), *stored)) {
                audit.missing.push(*name);
            }
        }
        Ok(())
    }
}

fn extents_of(info: &StripeInfo) -> impl Iterator<Item = (Address, u32)> {
    info.extents
        .iter()
        .map(|(tag, address)| (*address, tag.len))
}

fn check_references(snapshot: &dyn Snapshot, named: &Named, audit: &mut Audit) -> Result<()> {
    let mut counted = BTreeMap::new();
    snapshot.scan(REFERENCES, &[], None, &mut |key, value| {
        counted.insert(key.to_vec(), rows::decode_number(value)?);
        Ok(true)
    })?;
    for (address, (_, rows)) in &named.extents {
        let count = counted.remove(rows::address_key(*address).as_slice());
        if count.unwrap_or(1) != *rows {
            let problem = format!("{address:?} has {rows} references and counts {count:?}");
            audit.problems.push(problem);
        }
    }
    let left = counted.len();
    if left > 0 {
        let problem = format!("{left} counts of references to what no row names");
        audit.problems.push(problem);
    }
    Ok(())
}

/// Each moved extent is named by rows, and its place leads back to its name.
fn check_moves(snapshot: &dyn Snapshot, named: &Named, audit: &mut Audit) -> Result<()> {
    let mut names = BTreeMap::new();
    snapshot.scan(MOVED_NAMES, &[], None, &mut |key, value| {
        names.insert(rows::decode_address(key)?, rows::decode_address(value)?);
        Ok(true)
    })?;
    for (name, place) in &named.moved {
        if !named.extents.contains_key(name) {
            let problem = format!("{name:?} was moved and no row names it");
            audit.problems.push(problem);
        }
        if names.remove(place) != Some(*name) {
            let problem = format!("{place:?} does not lead back to {name:?}");
            audit.problems.push(problem);
        }
    }
    for place in names.keys() {
        let problem = format!("{place:?} has a name that leads elsewhere");
        audit.problems.push(problem);
    }
    Ok(())
}

fn check_stripes(
    snapshot: &dyn Snapshot,
    stripes: &BTreeMap<(SegmentId, u32), u64>,
    audit: &mut Audit,
) -> Result<()> {
    let mut counted = BTreeMap::new();
    snapshot.scan(STRIPES, &[], None, &mut |key, value| {
        counted.insert(
            rows::decode_stripe_key(key)?,
            StripeRow::decode(value)?.live,
        );
        Ok(true)
    })?;
    counted.retain(|_, live| *live > 0);
    if counted == *stripes {
        return Ok(());
    }
    let all: BTreeSet<_> = counted.keys().chain(stripes.keys()).collect();
    for key in all {
        let (count, live) = (counted.get(key), stripes.get(key));
        if count != live {
            let problem = format!("stripe {key:?} counts {count:?} live bytes and has {live:?}");
            audit.problems.push(problem);
        }
    }
    Ok(())
}

fn check_sums(snapshot: &dyn Snapshot, named: &Named, audit: &mut Audit) -> Result<()> {
    for (what, sum) in [
        (META_LIVE, audit.live),
        (META_PLAIN, named.plain),
        (META_PRESENT, named.present),
    ] {
        let count = snapshot
            .get(META, what)?
            .map_or(Ok(0), |value| rows::decode_number(&value))?;
        if count != sum {
            let what = what.escape_ascii();
            let problem = format!("the count of {what} bytes is {count}, the sum {sum}");
            audit.problems.push(problem);
        }
    }
    Ok(())
}
