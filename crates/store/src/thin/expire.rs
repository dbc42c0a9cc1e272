//! What nobody keeps any more goes: instants, the values that only they saw, changes, graves.

use strongroom_pool::Txg;

use super::keepers::{Behind, By};
use super::{Pass, Terms};
use crate::index::Snapshot;
use crate::lists::Due;
use crate::rows::{
    self, CHANGES, EXPIRY, GRAVES, GraveRow, HEADS, HISTORY, Header, HistoryKey, HistoryRow,
    INSTANTS, InstantRow, META, PINNED,
};
use crate::{Instant, Result};

/// Key of [`META`]: the last group behind the longest window.
const META_BEHIND: &[u8] = b"behind";
/// A dead object whose earlier content is about to go is looked at again after so many seconds.
const GRAVE_AGAIN: u64 = 30;

/// True when something may be removed.
pub(super) fn is_due(snapshot: &dyn Snapshot, terms: &Terms<'_>) -> Result<bool> {
    let Some(edge) = terms.rules.edge(terms.now) else {
        return Ok(false);
    };
    let mut due = false;
    let mut seconds = 0;
    let end = rows::number_key(edge + 1);
    snapshot.scan(INSTANTS, &[], Some(&end), &mut |_, _| {
        seconds += 1;
        Ok(seconds < 2)
    })?;
    for table in [EXPIRY, GRAVES] {
        snapshot.scan(table, &[], None, &mut |key, _| {
            due |= table == GRAVES || rows::decode_expiry_key(key)?.0 <= edge;
            Ok(false)
        })?;
    }
    snapshot.scan(PINNED, &[], None, &mut |_, _| {
        due = true;
        Ok(false)
    })?;
    Ok(due || seconds > 1)
}

/// Goes as far as the budget does.
pub(super) fn expire(pass: &mut Pass<'_>) -> Result<()> {
    let Some(mut behind) = look_behind(pass)? else {
        return Ok(());
    };
    expire_listed(pass, &mut behind)?;
    expire_unpinned(pass, &mut behind)?;
    let far = behind.far;
    let changes = pass.first_rows(CHANGES, &[], |key, _| {
        Ok(rows::decode_change_key(key)?.0 <= far)
    })?;
    for (key, _) in &changes {
        pass.write.remove(CHANGES, key, &mut Vec::new())?;
        pass.freed.rows += 1;
    }
    let horizon = behind.horizon;
    let graves = pass.first_rows(GRAVES, &[], |key, value| {
        Ok(GraveRow::decode(key, value)?.dead.txg <= horizon)
    })?;
    for (key, value) in &graves {
        if !pass.reap(key, &GraveRow::decode(key, value)?)? {
            break;
        }
    }
    Ok(())
}

/// Removes the instants that nobody keeps, and tells what is left. The newest of all stays. None while the whole past is
/// younger than the shortest window.
pub(super) fn look_behind(pass: &mut Pass<'_>) -> Result<Option<Behind>> {
    let (rules, now) = (pass.terms.rules, pass.terms.now);
    let Some(edge) = rules.edge(now) else {
        return Ok(None);
    };
    let mut behind = Behind::new(edge, now);
    let (mut instants, mut next_one) = (Vec::new(), None);
    pass.write.scan(INSTANTS, &[], None, &mut |_, value| {
        let row = InstantRow::decode(value)?;
        let instant = Instant {
            txg: row.txg,
            time: row.time,
        };
        let is_behind = instant.time.seconds() <= edge;
        if is_behind {
            instants.push(instant);
        } else {
            next_one = Some(instant.txg);
        }
        Ok(is_behind)
    })?;
    behind.far = note_behind(pass, &instants)?;
    for (number, instant) in instants.iter().enumerate() {
        let next = instants.get(number + 1).map(|next| next.time.seconds());
        let second = instant.time.seconds();
        let newest = next.is_none() && next_one.is_none();
        // What the budget does not reach stays for now.
        if newest || rules.keeps(None, now, second, next).is_some() || !pass.spend() {
            behind.instants.push(*instant);
            continue;
        }
        pass.write
            .remove(INSTANTS, &rows::number_key(second), &mut Vec::new())?;
        pass.freed.rows += 1;
    }
    let oldest = behind.instants.first().map(|first| first.txg).or(next_one);
    let others = pass.terms.spared.first().copied();
    let others = others.into_iter().chain(rules.pins.first());
    behind.horizon = others.chain(oldest).min().unwrap_or(behind.far);
    Ok(Some(behind))
}

/// The last group behind the longest window, remembered for the calls after the one that removed its instant.
fn note_behind(pass: &mut Pass<'_>, instants: &[Instant]) -> Result<Txg> {
    let known = pass.write.get(META, META_BEHIND)?;
    let known = Txg(known.map_or(Ok(0), |known| rows::decode_number(&known))?);
    let edge = pass.terms.rules.far_edge(pass.terms.now);
    let far = |instant: &&Instant| edge.is_some_and(|edge| instant.time.seconds() <= edge);
    let found = instants.iter().rev().find(far).map(|last| last.txg);
    let behind = found.map_or(known, |found| found.max(known));
    if behind > known {
        let value = rows::encode_number(behind.0);
        pass.write
            .insert(META, META_BEHIND, &value, &mut Vec::new())?;
    }
    Ok(behind)
}

/// Removes what no kept instant sees of what is due by now; the rest is listed to be looked at again.
fn expire_listed(pass: &mut Pass<'_>, behind: &mut Behind) -> Result<()> {
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
            expire_one(pass, behind, key, txg)?;
        }
    }
}

/// The same for what a pin alone kept that is gone.
fn expire_unpinned(pass: &mut Pass<'_>, behind: &mut Behind) -> Result<()> {
    let mut start = rows::pinned_key(0, 0).to_vec();
    loop {
        if pass.left == 0 {
            pass.freed.more = true;
            return Ok(());
        }
        let mut next = None;
        pass.write.scan(PINNED, &start, None, &mut |key, value| {
            next = Some((key.to_vec(), value.to_vec()));
            Ok(false)
        })?;
        let Some((list_key, list)) = next else {
            return Ok(());
        };
        let (pin, _) = rows::decode_pinned_key(&list_key)?;
        if pass.terms.rules.pins.has(pin) {
            start = rows::pinned_key(pin.saturating_add(1), 0).to_vec();
            continue;
        }
        pass.write.remove(PINNED, &list_key, &mut Vec::new())?;
        for key in rows::decode_expiry(&list)? {
            expire_one(pass, behind, key, behind.far)?;
        }
    }
}

fn expire_one(pass: &mut Pass<'_>, behind: &mut Behind, key: &[u8], txg: Txg) -> Result<()> {
    pass.left = pass.left.saturating_sub(1);
    let kept = if key.first() == Some(&GRAVES.0) {
        expire_grave(pass, behind, key, txg)?
    } else {
        expire_value(pass, behind, key)?
    };
    match kept {
        Some(by) => {
            let due = behind.due(pass, by, txg);
            pass.lists.add(pass.write, due, key)
        }
        None => Ok(()),
    }
}

/// Removes a value that nobody keeps; tells who does.
pub(super) fn expire_value(
    pass: &mut Pass<'_>,
    behind: &mut Behind,
    key: &[u8],
) -> Result<Option<By>> {
    let Some(value) = pass.write.get(HISTORY, key)? else {
        return Ok(None);
    };
    let row = HistoryRow::decode(&value)?;
    let of = HistoryKey::decode(key)?;
    let keeper = behind.keeper(pass, (of.table, of.key), row.began, of.ended)?;
    if keeper.is_none() {
        pass.remove_history(key, &row, key.len() + value.len())?;
    }
    Ok(keeper)
}

/// The same for a grave; `key` is the table's number and the grave's key.
fn expire_grave(
    pass: &mut Pass<'_>,
    behind: &mut Behind,
    key: &[u8],
    txg: Txg,
) -> Result<Option<By>> {
    let again = match look_at_grave(pass, behind, key)? {
        Grave::Gone => return Ok(None),
        Grave::Kept(by) => return Ok(Some(by)),
        Grave::Waits => behind.second + GRAVE_AGAIN,
        // The budget is used up; the next call goes on.
        Grave::Begun => behind.second,
    };
    pass.lists.add(pass.write, Due::Second(again, txg), key)?;
    Ok(None)
}

/// What became of a dead object.
pub(super) enum Grave {
    Gone,
    Kept(By),
    /// Earlier content of it is left, which nobody keeps; that has to go first.
    Waits,
    /// A part of its rows is gone.
    Begun,
}

/// Reaps a dead object of which nobody keeps anything.
pub(super) fn look_at_grave(pass: &mut Pass<'_>, behind: &mut Behind, key: &[u8]) -> Result<Grave> {
    let grave_key = key.get(1..).unwrap_or_default();
    let Some(value) = pass.write.get(GRAVES, grave_key)? else {
        return Ok(Grave::Gone);
    };
    let grave = GraveRow::decode(grave_key, &value)?;
    let object = rows::object_key(grave.dead.object);
    if let Some(head) = pass.write.get(HEADS, &object)? {
        let began = Header::decode(&head)?.txg;
        if let Some(by) = behind.keeper(pass, (HEADS, &object), began, grave.dead.txg)? {
            return Ok(Grave::Kept(by));
        }
        // Earlier content has to go first.
        if let Some((began, ended)) = newest_head(pass, &object)? {
            let keeper = behind.keeper(pass, (HEADS, &object), began, ended)?;
            return Ok(keeper.map_or(Grave::Waits, Grave::Kept));
        }
    }
    Ok(if pass.reap(grave_key, &grave)? {
        Grave::Gone
    } else {
        Grave::Begun
    })
}

/// From when to when the newest of an object's earlier heads was, if one is left.
fn newest_head(pass: &mut Pass<'_>, object: &[u8]) -> Result<Option<(Txg, Txg)>> {
    let mut end = Vec::new();
    rows::history_key(&mut end, HEADS, object, Txg(u64::MAX), u16::MAX);
    let Some((key, value)) = pass.write.last_row(HISTORY, Some(&end))? else {
        return Ok(None);
    };
    let of = HistoryKey::decode(&key)?;
    if of.table != HEADS || of.key != object {
        return Ok(None);
    }
    Ok(Some((HistoryRow::decode(&value)?.began, of.ended)))
}
