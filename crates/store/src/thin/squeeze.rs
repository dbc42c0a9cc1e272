//! When space is short and nothing inside the windows may go: the oldest of what only coarse schedules keep goes, as far
//! as pins leave it.

use super::Pass;
use super::expire::{Grave, expire_value, look_at_grave, look_behind};
use crate::Result;
use crate::keep::META_FLOOR;
use crate::rows::{self, EXPIRY, GRAVES, META};

/// This part of the instants that are left behind the windows goes at once.
const PART: usize = 8;

/// Gives up the oldest instants behind the windows; false if there are none. What only they kept is found by
/// [`sweep`].
pub(super) fn raise_floor(pass: &mut Pass<'_>) -> Result<bool> {
    let (rules, now) = (pass.terms.rules, pass.terms.now);
    let (Some(far), Some(behind)) = (rules.far_edge(now), look_behind(pass)?) else {
        return Ok(false);
    };
    let seconds = behind.instants.iter().map(|instant| instant.time.seconds());
    let old: Vec<u64> = seconds
        .filter(|second| *second <= far && *second >= rules.floor)
        .collect();
    // The last one is what stands until now if nothing has changed since.
    let going = old.len().saturating_sub(1).div_ceil(PART);
    let Some(floor) = going.checked_sub(1).and_then(|last| old.get(last)) else {
        return Ok(false);
    };
    let row = rows::encode_number(floor + 1);
    pass.write.insert(META, META_FLOOR, &row, &mut Vec::new())?;
    Ok(true)
}

/// Goes through all that is listed for later and removes what nobody keeps any more, from behind `after` on. True when
/// the end is reached.
pub(super) fn sweep(pass: &mut Pass<'_>, after: &mut Vec<u8>) -> Result<bool> {
    let Some(mut behind) = look_behind(pass)? else {
        return Ok(true);
    };
    loop {
        if pass.left == 0 {
            return Ok(false);
        }
        let mut next = None;
        pass.write.scan(EXPIRY, after, None, &mut |key, value| {
            if key == after.as_slice() {
                return Ok(true);
            }
            next = Some((key.to_vec(), value.to_vec()));
            Ok(false)
        })?;
        let Some((list_key, list)) = next else {
            return Ok(true);
        };
        let (_, txg, _) = rows::decode_expiry_key(&list_key)?;
        // Values of younger runs ended inside the windows.
        if txg <= behind.far {
            for key in rows::decode_expiry(&list)? {
                pass.left = pass.left.saturating_sub(1);
                if key.first() != Some(&GRAVES.0) {
                    expire_value(pass, &mut behind, key)?;
                } else if let Grave::Begun = look_at_grave(pass, &mut behind, key)? {
                    return Ok(false);
                }
            }
        }
        *after = list_key;
    }
}
