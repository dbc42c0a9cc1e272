//! Thinning inside the window when space is short: the shortest-lived values first, from the session that made the
//! most, then from everybody. What had stood for an hour keeps its place, so that nobody can push out the evidence.

use strongroom_pool::Txg;

use super::{Pass, squeeze};
use crate::feed::chains::payload_of;
use crate::lists::Due;
use crate::rows::{
    self, EXPIRY, EXTENTS, GRAVES, GraveRow, HEADS, HISTORY, Header, HistoryKey, HistoryRow,
    INLINE, INSTANTS, InstantRow, MAKERS, META,
};
use crate::{Result, SessionId};

const META_PRESSURE: &[u8] = b"pressure";
/// Values that stood less than this many seconds go, one step after the other.
const LIVES: [u64; 4] = [2, 60, 600, LIFE_MAX];
/// What stood for an hour keeps its place.
pub(super) const LIFE_MAX: u64 = 3600;
/// The steps that look for what only an old instant kept. Dead objects go in the second one if earlier content of theirs
/// went in the first.
const SWEEPS: [u8; 2] = [9, 10];
/// Content in a row of fewer bytes gives nothing back. Names and attributes are never given up: they take little room, and
/// whoever looks back needs them to see what is missing.
const WORTH: usize = 64;

/// Where a sweep stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sweep {
    /// Steps 0 to 3 take from one session, 4 to 7 from everybody; then what is older than every window goes.
    step: u8,
    session: SessionId,
    /// False while graves are looked at, true for history.
    in_history: bool,
    /// The last key handled.
    after: Vec<u8>,
}

impl Sweep {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.step, u8::from(self.in_history)];
        rows::put_varint(&mut out, self.session.0);
        out.extend_from_slice(&self.after);
        out
    }

    /// A damaged state only means that the sweep starts again.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = strongroom_pool::codec::Reader::new(bytes);
        let (step, in_history) = (reader.u8().ok()?, reader.u8().ok()? != 0);
        let session = SessionId(reader.varint().ok()?);
        Some(Self {
            step,
            session,
            in_history,
            after: reader.rest().to_vec(),
        })
    }

    fn life(&self) -> Option<u64> {
        LIVES
            .get(usize::from(self.step) % LIVES.len())
            .copied()
            .filter(|_| usize::from(self.step) < 2 * LIVES.len())
    }

    fn takes_from(&self, session: SessionId) -> bool {
        usize::from(self.step) >= LIVES.len() || session == self.session
    }
}

/// Seconds of groups, from the instants that are left.
#[derive(Default)]
pub(super) struct Times(Vec<(Txg, u64)>);

impl Times {
    fn load(pass: &mut Pass<'_>) -> Result<Self> {
        let mut times = Self::default();
        pass.write.scan(INSTANTS, &[], None, &mut |key, value| {
            times.add(key, value).map(|()| true)
        })?;
        Ok(times)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next row of [`INSTANTS`].
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let second = rows::decode_number_key(key)?;
        self.0.push((InstantRow::decode(value)?.txg, second));
        Ok(())
    }

    /// The second of a group; None when it is older than all instants.
    fn second(&self, group: Txg) -> Option<u64> {
        let first = self.0.first()?;
        let place = self.0.partition_point(|(txg, _)| *txg < group);
        let (_, second) = self.0.get(place).or(self.0.last())?;
        (group >= first.0).then_some(*second)
    }

    /// True when a value stood less than `life` seconds.
    pub(super) fn stood_less(&self, life: u64, began: Txg, ended: Txg) -> bool {
        match (self.second(began), self.second(ended)) {
            (Some(began), Some(ended)) => ended.saturating_sub(began) < life,
            _ => false,
        }
    }
}

/// Keeps the larger of two makers.
pub(super) fn larger(
    largest: &mut Option<(SessionId, u64)>,
    key: &[u8],
    value: &[u8],
) -> Result<()> {
    let maker = (
        SessionId(rows::decode_number_key(key)?),
        rows::decode_number(value)?,
    );
    if largest.is_none_or(|(_, bytes)| maker.1 > bytes) {
        *largest = Some(maker);
    }
    Ok(())
}

fn start(pass: &mut Pass<'_>) -> Result<Sweep> {
    let stored = pass.write.get(META, META_PRESSURE)?;
    if let Some(sweep) = stored.as_deref().and_then(Sweep::decode) {
        return Ok(sweep);
    }
    let mut largest = None;
    pass.write.scan(MAKERS, &[], None, &mut |key, value| {
        larger(&mut largest, key, value).map(|()| true)
    })?;
    let session = largest.map_or(SessionId::SYSTEM, |(session, _)| session);
    Ok(Sweep {
        step: 0,
        session,
        in_history: false,
        after: Vec::new(),
    })
}

/// Goes on with the sweep until the budget is used up or there is nothing left that may go.
pub(super) fn relieve(pass: &mut Pass<'_>) -> Result<()> {
    let mut sweep = start(pass)?;
    let times = Times::load(pass)?;
    while let Some(life) = sweep.life() {
        let done = if sweep.in_history {
            sweep_history(pass, &mut sweep, &times, life)?
        } else {
            sweep_graves(pass, &mut sweep, &times, life)?
        };
        if !done {
            return go_on_later(pass, &sweep);
        }
        sweep.after.clear();
        sweep.step += u8::from(sweep.in_history);
        sweep.in_history = !sweep.in_history;
    }
    squeeze_old(pass, sweep)
}

/// Gives up what is older than every window, oldest first.
fn squeeze_old(pass: &mut Pass<'_>, mut sweep: Sweep) -> Result<()> {
    if sweep.step < SWEEPS[0] {
        if !squeeze::raise_floor(pass)? {
            pass.freed.exhausted = true;
            return forget_state(pass);
        }
        // The next call goes by the new floor.
        sweep.step = SWEEPS[0];
        return go_on_later(pass, &sweep);
    }
    while sweep.step <= SWEEPS[1] {
        if !squeeze::sweep(pass, &mut sweep.after)? {
            return go_on_later(pass, &sweep);
        }
        sweep.after.clear();
        sweep.step += 1;
    }
    forget_state(pass)
}

fn go_on_later(pass: &mut Pass<'_>, sweep: &Sweep) -> Result<()> {
    pass.freed.more = true;
    let state = sweep.encode();
    pass.write
        .insert(META, META_PRESSURE, &state, &mut Vec::new())
        .map(drop)
}

fn forget_state(pass: &mut Pass<'_>) -> Result<()> {
    pass.write
        .remove(META, META_PRESSURE, &mut Vec::new())
        .map(drop)
}

/// Reaps objects whose last value stood too short. True when all graves were seen.
fn sweep_graves(pass: &mut Pass<'_>, sweep: &mut Sweep, times: &Times, life: u64) -> Result<bool> {
    let graves = pass.first_rows(GRAVES, &sweep.after, |_, _| Ok(true))?;
    let cut = pass.left == 0;
    for (key, value) in &graves {
        let grave = GraveRow::decode(key, value)?;
        let began = pass
            .write
            .get(HEADS, &rows::object_key(grave.dead.object))?;
        let began = began.map_or(Ok(Txg(0)), |head| {
            Header::decode(&head).map(|header| header.txg)
        })?;
        // Earlier content of the object may be seen as well, so whatever is spared before its death spares it.
        let spared = pass.spares(Txg(0), grave.dead.txg);
        if !spared
            && sweep.takes_from(grave.dead.session)
            && times.stood_less(life, began, grave.dead.txg)
        {
            pass.left = pass.left.max(1);
            mark_dead(pass, &grave)?;
            if !pass.reap(key, &grave)? {
                return Ok(false);
            }
        }
        sweep.after.clone_from(key);
    }
    Ok(!cut)
}

/// Leaves marks in the history of an object's head, over its whole life: its content cannot be had any more.
fn mark_dead(pass: &mut Pass<'_>, grave: &GraveRow) -> Result<()> {
    let object = rows::object_key(grave.dead.object);
    let (mut start, mut end) = (Vec::new(), Vec::new());
    rows::history_key(&mut start, HEADS, &object, Txg(0), 0);
    rows::history_key(&mut end, HEADS, &object, Txg(u64::MAX), u16::MAX);
    let mut heads = Vec::new();
    pass.write
        .scan(HISTORY, &start, Some(&end), &mut |key, value| {
            heads.push((key.to_vec(), value.to_vec()));
            Ok(true)
        })?;
    for (key, value) in &heads {
        pass.thin_history(key, &HistoryRow::decode(value)?, key.len() + value.len())?;
    }
    let Some(head) = pass.write.get(HEADS, &object)? else {
        return Ok(());
    };
    let header = Header::decode(&head)?;
    let row = HistoryRow {
        ended_by: grave.dead.session,
        began: header.txg,
        began_by: header.session,
        payload: Some(payload_of(&head)?),
    };
    let mut key = Vec::new();
    rows::history_key(&mut key, HEADS, &object, grave.dead.txg, u16::MAX);
    let mark = row.thinned();
    pass.tally
        .history_gains(row.ended_by, HEADS, None, (key.len() + mark.len()) as u64)?;
    pass.write.insert(HISTORY, &key, &mark, &mut Vec::new())?;
    let second = times_up(pass)?;
    let due = Due::Second(second, grave.dead.txg);
    pass.lists.add(pass.write, due, &key)
}

/// The newest second: a mark made now is looked at when that leaves the window.
fn times_up(pass: &mut Pass<'_>) -> Result<u64> {
    let newest = pass.write.last_row(INSTANTS, None)?;
    newest.map_or(Ok(0), |(key, _)| rows::decode_number_key(&key))
}

/// Gives up values that stood too short. True when all history was seen.
fn sweep_history(pass: &mut Pass<'_>, sweep: &mut Sweep, times: &Times, life: u64) -> Result<bool> {
    loop {
        if pass.left == 0 {
            return Ok(false);
        }
        let mut next = None;
        pass.write
            .scan(EXPIRY, &sweep.after, None, &mut |key, value| {
                if key == sweep.after.as_slice() {
                    return Ok(true);
                }
                next = Some((key.to_vec(), value.to_vec()));
                Ok(false)
            })?;
        let Some((list_key, list)) = next else {
            return Ok(true);
        };
        for key in rows::decode_expiry(&list)? {
            pass.left = pass.left.saturating_sub(1);
            let Some(value) = pass.write.get(HISTORY, key)? else {
                continue;
            };
            let row = HistoryRow::decode(&value)?;
            let HistoryKey { table, ended, .. } = HistoryKey::decode(key)?;
            let content = table == EXTENTS || (table == INLINE && value.len() >= WORTH);
            let worth = row.payload.is_some() && content;
            let spared = pass.spares(row.began, ended);
            if worth
                && !spared
                && sweep.takes_from(row.ended_by)
                && times.stood_less(life, row.began, ended)
            {
                pass.thin_history(key, &row, key.len() + value.len())?;
            }
        }
        sweep.after = list_key;
    }
}
