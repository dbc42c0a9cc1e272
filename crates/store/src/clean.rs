//! Cleaning: gives back the space of what no row names any more, and thins the past.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_device::EnvExt as _;
use strongroom_pool::{PoolError, SegmentId, StripeInfo};

use crate::Result;
use crate::compact::Next;
use crate::engine::Engine;
use crate::feed::{self, DeadPage, DeadStripe, Listed};
use crate::keep::Rules;
use crate::orphans;
use crate::rows;
use crate::thin::{self, Budget, Terms};

/// Dead stripes given back in one go.
const PUNCH_MAX: usize = 16_384;
/// Rows that one step of thinning may look at.
const THIN_ROWS: usize = 20_000;
/// The past is thinned this often when there is no hurry.
const THIN_EVERY: Duration = Duration::from_secs(60);
/// Rows of the past that are looked at to tell what it may give up.
const YIELD_ROWS: usize = 200_000;

/// Stripes found dead, and what was known when they were.
struct Round {
    /// The index held every group that this opening recovered.
    recovered: bool,
    page: DeadPage,
}

impl Engine {
    /// Cleans after the feeder, until the store stops.
    pub(crate) async fn run_cleaner(self: Arc<Self>) {
        let mut pause = None;
        while !self.stopping() {
            match pause.take() {
                Some(pause) => self.nap(pause, &self.wake.cleaner).await,
                None => self.wake.cleaner.notified().await,
            }
            if self.stopping() || self.failure().is_some() {
                continue;
            }
            let begun = self.env.monotonic();
            let engine = Arc::clone(&self);
            match self.env.run_blocking(move || engine.clean()).await {
                Ok(Next::Idle) => {}
                // Half of the time is left to others.
                Ok(Next::Now) => {
                    let took = self.env.monotonic().saturating_sub(begun);
                    pause = Some(took.max(Duration::from_millis(10)));
                }
                Ok(Next::Later(wait)) => pause = Some(wait),
                Err(error) => tracing::warn!(%error, "cleaning stopped; it goes on later"),
            }
        }
    }

    /// One round: thin where it is due, give back the stripes that died, and empty some that are dead for the most part.
    /// Tells when there is more to do.
    pub(crate) fn clean(&self) -> Result<Next> {
        let next = self.clean_once();
        self.cleanings.fetch_add(1, Ordering::AcqRel);
        next
    }

    fn clean_once(&self) -> Result<Next> {
        self.count_dead()?;
        let short = self.is_short();
        if short || self.thinning_due() {
            self.thin(short)?;
        }
        self.give_back()?;
        let wanted = self.space.wanted(self.memory.waiting());
        let next = self.compact(wanted)?;
        if next == Next::Now {
            self.give_back()?;
        }
        Ok(next)
    }

    fn give_back(&self) -> Result<()> {
        self.punch_dead(PUNCH_MAX)?;
        self.punch_orphans()?;
        self.keep_ballast();
        self.refresh_space();
        Ok(())
    }

    /// Counts what is dead, if that is not known, as after opening.
    fn count_dead(&self) -> Result<()> {
        let reopened = self.index.status().reopened;
        let before = self.index_reopened.swap(reopened, Ordering::AcqRel);
        if self.space.dead_is_known() && before == reopened {
            return Ok(());
        }
        let _feeding = self.feeding.lock();
        let mut dead = 0;
        self.index
            .snapshot()
            .scan(rows::STRIPES, &[], None, &mut |_, value| {
                dead += rows::StripeRow::decode(value)?.freed;
                Ok(true)
            })?;
        self.space.count_dead(dead);
        Ok(())
    }

    /// Adds what died in a write of the index; if that failed, nobody knows.
    pub(crate) fn note_dead<T>(&self, written: &Result<T>, dead: impl FnOnce(&T) -> u64) {
        match written {
            Ok(written) => self
                .space
                .died(i64::try_from(dead(written)).unwrap_or(i64::MAX)),
            Err(_) => self.space.dead_is_unknown(),
        }
    }

    /// Clients can write less than one part in sixteen, or had to be refused.
    fn is_short(&self) -> bool {
        let left = self.space.beside_past(self.memory.waiting());
        left < i64::try_from(self.space.total() / 16).unwrap_or(i64::MAX)
    }

    fn thinning_due(&self) -> bool {
        let now = self.env.monotonic();
        let mut last = self.last_thinning.lock();
        let due = last.is_none_or(|last| now.saturating_sub(last) >= THIN_EVERY);
        if due {
            *last = Some(now);
        }
        due
    }

    fn thin(&self, pressure: bool) -> Result<()> {
        let budget = Budget {
            rows: THIN_ROWS,
            pressure,
        };
        loop {
            let _feeding = self.feeding.lock();
            if self.index.last_txg() < self.opened_txg {
                // What was recovered may name what else only the past does, as clones of it do.
                return Ok(());
            }
            let mut rules = Rules::indexed(&self.default_retention(), &*self.index.snapshot())?;
            let realms = self.realms.get().map(|realms| &**realms);
            if realms.is_none() && !rules.are_uniform() {
                // Who knows which rules count for what is not there yet.
                return Ok(());
            }
            let now = self.group_time().seconds();
            let spared = self.holds.begin_thinning(rules.edge(now));
            // Whoever pinned an instant of the past looked at it until the pin was there, which the index may not know yet.
            rules.pins = rules.pins.joined(&self.rules()?.pins);
            let terms = Terms {
                rules: &rules,
                spared: &spared,
                realms,
                now,
            };
            let freed = thin::thin(self.index.as_ref(), &terms, budget);
            self.note_dead(&freed, |freed| freed.dead);
            let freed = freed?;
            if freed.rows > 0 {
                self.died.store(true, Ordering::Release);
            }
            tracing::debug!(
                rows = freed.rows,
                extents = freed.extents.len(),
                "thinned the past"
            );
            let enough = pressure && freed.rows > 0 && !freed.dead_stripes.is_empty();
            if !freed.more || freed.exhausted || enough || self.stopping() {
                let snapshot = self.index.snapshot();
                self.space
                    .set_past(thin::yields(&*snapshot, &terms, YIELD_ROWS)?);
                return Ok(());
            }
        }
    }

    /// Gives back stripes in which nothing is alive and that no reader can see any more. Those that must wait keep their
    /// place on the list and hold up none behind them.
    fn punch_dead(&self, page: usize) -> Result<()> {
        let mut after = None;
        loop {
            let round = self.list_dead(after, page)?;
            self.punch_listed(&round)?;
            after = round.page.next;
            if after.is_none() || self.stopping() {
                return Ok(());
            }
        }
    }

    fn list_dead(&self, after: Option<DeadStripe>, limit: usize) -> Result<Round> {
        let index = self.index.as_ref();
        // Asked before the list is made, which may otherwise be older than what recovery fed.
        let recovered = index.last_txg() >= self.opened_txg;
        let (held, newest) = (index.oldest_held(), index.snapshot());
        let mut page = feed::dead_stripes(&*held, &*newest, after, limit)?;
        if self.options.planted.free_early {
            page.listed.extend(self.half_dead()?);
        }
        Ok(Round { recovered, page })
    }

    /// A planted bug: stripes with something free in them, though something else is alive.
    fn half_dead(&self) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        let snapshot = self.index.snapshot();
        snapshot.scan(rows::STRIPES, &[], None, &mut |key, value| {
            let row = rows::StripeRow::decode(value)?;
            if row.live > 0 && row.freed > 0 {
                let (segment, stripe) = rows::decode_stripe_key(key)?;
                let txg = self.index.last_txg();
                let dead = DeadStripe {
                    txg,
                    segment,
                    stripe,
                };
                let freed = u64::MAX / 2;
                listed.push(Listed { dead, freed });
            }
            Ok(true)
        })?;
        Ok(listed)
    }

    fn punch_listed(&self, round: &Round) -> Result<()> {
        let Round { recovered, page } = round;
        let DeadPage { listed, .. } = page;
        let mut segments: BTreeMap<SegmentId, BTreeMap<u32, u64>> = BTreeMap::new();
        for Listed { dead, freed } in listed {
            let stripes = segments.entry(dead.segment).or_default();
            stripes.insert(dead.stripe, *freed);
        }
        // Before they are given back, so that no byte counts twice.
        let listed_bytes = |of: &dyn Fn(&Listed) -> bool| {
            let of = listed.iter().filter(|listed| of(listed));
            let bytes = of.fold(0, |sum: u64, listed| sum.saturating_add(listed.freed));
            i64::try_from(bytes).unwrap_or(i64::MAX)
        };
        self.space.died(-listed_bytes(&|_| true));
        let waiting = RefCell::new(BTreeSet::new());
        for (segment, stripes) in &segments {
            let seen = self.punch(*segment, &|info| {
                let Some(freed) = stripes.get(&info.stripe) else {
                    return false;
                };
                // One that is marked was given back before a power cut, in part perhaps.
                let accounted = info.punched || self.accounted(*segment, info, *freed, *recovered);
                if !accounted {
                    waiting.borrow_mut().insert((*segment, info.stripe));
                }
                accounted
            })?;
            if let Some(seen) = seen {
                // One whose header cannot be read now keeps its place on the list.
                let unseen = stripes.keys().filter(|stripe| !seen.contains(stripe));
                waiting
                    .borrow_mut()
                    .extend(unseen.map(|stripe| (*segment, *stripe)));
            }
        }
        let waiting = waiting.into_inner();
        self.space.died(listed_bytes(&|listed| {
            waiting.contains(&(listed.dead.segment, listed.dead.stripe))
        }));
        let dead = listed.iter().map(|listed| listed.dead);
        let gone: Vec<_> = dead
            .filter(|dead| !waiting.contains(&(dead.segment, dead.stripe)))
            .collect();
        if gone.is_empty() && page.revived.is_empty() {
            return Ok(());
        }
        // What is forgotten nobody looks for again, so the power may not bring it back.
        let touched: BTreeSet<SegmentId> = gone.iter().map(|dead| dead.segment).collect();
        let touched: Vec<SegmentId> = touched.into_iter().collect();
        self.sync_segments(&touched)?;
        let _feeding = self.feeding.lock();
        let forgotten = feed::forget_dead_stripes(self.index.as_ref(), &gone, &page.revived);
        self.note_dead(&forgotten, |()| 0);
        forgotten
    }

    /// True when everything in a stripe was named and freed, or dropped before it was named. Small files share stripes,
    /// and one of them may be deleted before its neighbour is even published.
    fn accounted(
        &self,
        segment: SegmentId,
        info: &StripeInfo,
        freed: u64,
        recovered: bool,
    ) -> bool {
        // What an earlier opening left unnamed stays so, once the index holds all that was recovered.
        let earlier = segment.0 >> 32 < self.opened_sequence;
        if earlier && recovered {
            return true;
        }
        let dropped = self.orphans.lock().dropped((segment, info.stripe));
        freed + dropped >= orphans::payload(info)
    }

    /// Gives back stripes whose extents were all dropped before any row named them.
    fn punch_orphans(&self) -> Result<()> {
        let newly = self.orphans.lock().take_newly();
        let segments: BTreeSet<SegmentId> = newly.iter().map(|(segment, _)| *segment).collect();
        for segment in segments {
            self.punch(segment, &|info| {
                let dropped = self.orphans.lock().dropped((segment, info.stripe));
                dropped >= orphans::payload(info)
            })?;
        }
        Ok(())
    }

    /// Punches the chosen stripes of a segment, and deletes it once nothing is left in it. Returns the stripes that were
    /// seen, or None if the segment is gone. What was punched is durable once the segment is synced.
    pub(crate) fn punch(
        &self,
        segment: SegmentId,
        chosen: &dyn Fn(&StripeInfo) -> bool,
    ) -> Result<Option<BTreeSet<u32>>> {
        let contents = match self.pool.contents(segment) {
            Ok(contents) => contents,
            Err(PoolError::NoSegment { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut alive = false;
        for info in &contents.stripes {
            if chosen(info) {
                self.pool.punch_stripe(segment, info.stripe, info.blocks)?;
                self.orphans.lock().forget((segment, info.stripe));
                let newly = u64::from(!info.punched);
                self.punched.fetch_add(newly, Ordering::Relaxed);
            } else {
                alive |= !info.punched;
            }
        }
        // What was appended after the listing, or whose header could not be read, may be alive.
        if !alive && contents.sealed && contents.complete && !self.names_live(segment)? {
            match self.pool.delete_segment(segment) {
                // The sweep may have been here meanwhile.
                Ok(()) | Err(PoolError::NoSegment { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let seen = contents.stripes.iter().map(|info| info.stripe);
        Ok(Some(seen.collect()))
    }

    /// Whether the index counts live bytes in a segment.
    fn names_live(&self, segment: SegmentId) -> Result<bool> {
        let (start, end) = (
            rows::stripe_key(segment, 0),
            rows::stripe_key(segment, u32::MAX),
        );
        let mut live = false;
        self.index
            .snapshot()
            .scan(rows::STRIPES, &start, Some(&end), &mut |_, value| {
                live = rows::StripeRow::decode(value)?.live > 0;
                Ok(!live)
            })?;
        Ok(live)
    }
}

#[cfg(test)]
mod tests;
