//! What is past the schedule goes: instants, the values that only they saw, changes, graves.

use strongroom_device::Timestamp;
use strongroom_pool::Txg;

use super::{Pass, Schedule};
use crate::Result;
use crate::feed::chains::Expiry;
use crate::index::Snapshot;
use crate::rows::{
    self, CHANGES, EXPIRY, GRAVES, GraveRow, HISTORY, HistoryKey, HistoryRow, INSTANTS, InstantRow,
    META,
};

/// Key of [`META`]: the last group behind the every-second window.
const META_BEHIND: &[u8] = b"behind";

/// What only somebody who looks at it keeps is looked at again after so many seconds.
const SPARED_AGAIN: u64 = 60;

/// An instant outside the every-second window that stays.
#[derive(Debug, Clone, Copy)]
struct Coarse {
    txg: Txg,
    second: u64,
}

/// The part of the past that the every-second window has left behind.
struct Behind {
    /// The last second of it.
    second: u64,
    /// The last group of it.
    txg: Txg,
    /// The instants of it that stay, ascending.
    coarse: Vec<Coarse>,
    /// The oldest instant that can still be gone back to.
    horizon: Txg,
}

/// The last second that is behind the every-second window.
pub(crate) fn edge(schedule: &Schedule, now: Timestamp) -> Option<u64> {
    now.seconds()
        .checked_sub(schedule.every_second.as_secs() + 1)
}

/// True when something may be removed.
pub(super) fn is_due(snapshot: &dyn Snapshot, schedule: &Schedule, now: Timestamp) -> Result<bool> {
    let Some(edge) = edge(schedule, now) else {
        return Ok(false);
    };
    let mut due = false;
    let mut seconds = 0;
    snapshot.scan(
        INSTANTS,
        &[],
        Some(&rows::number_key(edge + 1)),
        &mut |_, _| {
            seconds += 1;
            Ok(seconds < 2)
        },
    )?;
    for table in [EXPIRY, GRAVES] {
        snapshot.scan(table, &[], None, &mut |key, _| {
            due |= table == GRAVES || rows::decode_expiry_key(key)?.0 <= edge;
            Ok(false)
        })?;
    }
    Ok(due || seconds > 1)
}

pub(super) fn expire(pass: &mut Pass<'_>, schedule: &Schedule, now: Timestamp) -> Result<()> {
    let Some(edge) = edge(schedule, now) else {
        return Ok(());
    };
    let behind = thin_instants(pass, schedule, now, edge)?;
    expire_values(pass, schedule, now, &behind)?;
    let changes = pass.first_rows(CHANGES, &[], |key, _| {
        Ok(rows::decode_change_key(key)?.0 <= behind.txg)
    })?;
    for (key, _) in &changes {
        pass.write.remove(CHANGES, key, &mut Vec::new())?;
        pass.freed.rows += 1;
    }
    let graves = pass.first_rows(GRAVES, &[], |key, value| {
        Ok(GraveRow::decode(key, value)?.dead.txg <= behind.horizon)
    })?;
    for (key, value) in &graves {
        if !pass.reap(key, &GraveRow::decode(key, value)?)? {
            break;
        }
    }
    Ok(())
}

/// Removes the instants that the schedule does not keep. The newest of all stays.
fn thin_instants(
    pass: &mut Pass<'_>,
    schedule: &Schedule,
    now: Timestamp,
    edge: u64,
) -> Result<Behind> {
    let (mut instants, mut next_one) = (Vec::new(), None);
    pass.write.scan(INSTANTS, &[], None, &mut |key, value| {
        let second = rows::decode_number_key(key)?;
        let instant = Coarse {
            txg: InstantRow::decode(value)?.txg,
            second,
        };
        if second <= edge {
            instants.push(instant);
        } else {
            next_one = Some(instant.txg);
        }
        Ok(second <= edge)
    })?;
    let txg = note_behind(pass, instants.last().map(|last: &Coarse| last.txg))?;
    let mut coarse = Vec::new();
    for (number, instant) in instants.iter().enumerate() {
        let next = instants.get(number + 1);
        let keeps = match schedule.level(now.seconds().saturating_sub(instant.second)) {
            None => next.is_none() && next_one.is_none(),
            Some((_, width)) => {
                next.is_none_or(|next| next.second / width != instant.second / width)
            }
        };
        // What the budget does not reach stays for now.
        if keeps || !pass.spend() {
            coarse.push(*instant);
            continue;
        }
        let key = rows::number_key(instant.second);
        pass.write.remove(INSTANTS, &key, &mut Vec::new())?;
        pass.freed.rows += 1;
    }
    let horizon = coarse
        .first()
        .map(|first| first.txg)
        .or(next_one)
        .unwrap_or(txg);
    let horizon = pass
        .spared
        .first()
        .map_or(horizon, |first| horizon.min(*first));
    Ok(Behind {
        second: edge,
        txg,
        coarse,
        horizon,
    })
}

/// The last group behind the window, remembered for the calls after the one that removed its instant.
fn note_behind(pass: &mut Pass<'_>, found: Option<Txg>) -> Result<Txg> {
    let known = pass.write.get(META, META_BEHIND)?;
    let known = Txg(known.map_or(Ok(0), |known| rows::decode_number(&known))?);
    let behind = found.map_or(known, |found| found.max(known));
    if behind > known {
        let value = rows::encode_number(behind.0);
        pass.write
            .insert(META, META_BEHIND, &value, &mut Vec::new())?;
    }
    Ok(behind)
}

/// Removes values that no remaining instant sees; the others are listed to be looked at again.
fn expire_values(
    pass: &mut Pass<'_>,
    schedule: &Schedule,
    now: Timestamp,
    behind: &Behind,
) -> Result<()> {
    loop {
        if pass.left == 0 {
            pass.freed.more = true;
            return Ok(());
        }
        let mut next = None;
        pass.write.scan(EXPIRY, &[], None, &mut |key, value| {
            let (second, txg, _) = rows::decode_expiry_key(key)?;
            if second <= behind.second {
                next = Some((key.to_vec(), value.to_vec(), txg));
            }
            Ok(false)
        })?;
        let Some((list_key, list, txg)) = next else {
            return Ok(());
        };
        pass.write.remove(EXPIRY, &list_key, &mut Vec::new())?;
        for key in rows::decode_expiry(&list)? {
            pass.left = pass.left.saturating_sub(1);
            expire_value(pass, schedule, now, behind, key, txg)?;
        }
    }
}

fn expire_value(
    pass: &mut Pass<'_>,
    schedule: &Schedule,
    now: Timestamp,
    behind: &Behind,
    key: &[u8],
    txg: Txg,
) -> Result<()> {
    let Some(value) = pass.write.get(HISTORY, key)? else {
        return Ok(());
    };
    let row = HistoryRow::decode(&value)?;
    let ended = HistoryKey::decode(key)?.ended;
    let place = behind.coarse.partition_point(|instant| instant.txg < ended);
    let sees = place.checked_sub(1).map(|place| behind.coarse[place]);
    let Some(sees) = sees.filter(|instant| instant.txg >= row.began) else {
        if pass.sparing(row.began, ended).is_some() {
            return look_again(pass, behind.second + SPARED_AGAIN, txg, key);
        }
        return pass.remove_history(key, &row, key.len() + value.len());
    };
    // What sees it is past every level only until a newer instant takes its place: look again soon.
    let level = schedule.level(now.seconds().saturating_sub(sees.second));
    let leaves = level.map_or(0, |(span, _)| sees.second + span);
    let again = leaves.saturating_sub(schedule.every_second.as_secs());
    look_again(pass, again.max(behind.second + 1), txg, key)
}

/// Lists a value to be looked at when a second leaves the window.
fn look_again(pass: &mut Pass<'_>, second: u64, txg: Txg, key: &[u8]) -> Result<()> {
    let mut list = Expiry::new(second, txg);
    list.add(pass.write, key)?;
    list.finish(pass.write)
}
