//! Whether space adds up, and whether everything is as redundant as it is said to be.

use std::sync::Arc;
use std::time::Duration;

use strongroom_device::sim::{SimDevice, SimEnv};
use strongroom_pool::DiskState;

use crate::check::{self, Verdict};
use crate::machine::{Bays, Machine, Stack};
use crate::model::Model;
use crate::plan::Budget;

/// Seconds within which all that was lost is made good again.
const WHOLE_WITHIN: u32 = 300;

/// Counts are the sums over what is alive, the pool holds all of that, and nothing of earlier lives besides.
/// A write that a disk lost without a word may have been the mark of a stripe that was given back.
pub(crate) fn space(stack: &Stack, budget: Budget, silent: bool) -> Result<(), String> {
    let audit = stack.store.audit().map_err(|error| error.to_string())?;
    if !audit.problems.is_empty() {
        return Err(format!("space does not add up: {:#?}", audit.problems));
    }
    if !audit.missing.is_empty() && budget == Budget::Whole {
        return Err(format!("named and not in the pool: {:?}", audit.missing));
    }
    if !audit.leaked.is_empty() && !silent {
        return Err(format!("never given back: {:?}", audit.leaked));
    }
    let pool = stack.pool.status();
    if !pool.writable {
        return Err(format!(
            "nothing is wrong and nothing can be written: {pool:?}"
        ));
    }
    let status = stack.store.status();
    if status.indexed_txg < status.durable_txg {
        return Err(format!("the index lags behind at rest: {status:?}"));
    }
    Ok(())
}

/// Whether no disk of the pool is away or set aside, and everything has its full redundancy.
fn is_whole(stack: &Stack) -> bool {
    let disks = stack.pool.status().disks;
    // One whose contents were made good on others is no member until somebody adds it.
    let fine = |state| matches!(state, DiskState::Member | DiskState::Retired);
    let members = disks.iter().all(|disk| fine(disk.state));
    let upkeep = stack.pool.upkeep_status();
    members && upkeep.lost_disks.is_empty() && upkeep.lost_stripes == 0
}

/// All disks are there and work: what was lost or away must be made good after a while, by itself.
pub(crate) fn becomes_whole(stack: &Stack, env: &SimEnv) -> Result<(), String> {
    for _ in 0..WHOLE_WITHIN {
        if is_whole(stack) {
            return Ok(());
        }
        env.advance(Duration::from_secs(1));
    }
    Err(format!(
        "it does not become whole: {:?} {:?}",
        stack.pool.upkeep_status(),
        stack.pool.status().disks
    ))
}

/// With as many of its disks away as the layout survives, everything is still there: each disk with its next ones. The
/// machine's own disks are not touched.
pub(crate) fn redundancy(machine: &Machine, model: &mut Model) -> Result<(), String> {
    if machine.layout.parity == 0 {
        return Ok(());
    }
    let (count, parity) = (machine.disks.len(), usize::from(machine.layout.parity));
    for first in 0..count {
        let away: Vec<usize> = (first..first + parity).map(|disk| disk % count).collect();
        let copy = |disk: &Arc<SimDevice>| disk.duplicate(&format!("copy of {disk:?}"));
        let disks: Vec<_> = machine.disks.iter().map(copy).collect();
        let copies = Machine {
            env: Arc::clone(&machine.env),
            bays: Bays::new(&disks, machine.env.fork_rng()),
            disks,
            options: machine.options.clone(),
            layout: machine.layout,
            compression: machine.compression,
            encrypted: machine.encrypted,
            absent: away.clone(),
            planted: machine.planted,
        };
        let stack = copies
            .open()
            .map_err(|error| format!("without disks {away:?}: {error}"))?;
        let compared = check::compare(&stack, model, Budget::Whole);
        match machine.env.block_on(compared) {
            Ok(Verdict::Sound) => {}
            Ok(Verdict::Damaged(_) | Verdict::Given) => return Err("damaged".into()),
            Err(wrong) => return Err(format!("without disks {away:?}: {wrong}")),
        }
        machine.env.kill_tasks();
    }
    Ok(())
}
