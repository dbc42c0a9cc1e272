//! Opening: which disks are there, which of them count, and whether they are enough.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use strongroom_device::Device;

use crate::crypt::WrappedKey;
use crate::disk::Disk;
use crate::epoch::{Chain, EpochRecord, read_chain};
use crate::label::{FoundLabel, Label, read_label};
use crate::{DiskId, DiskState, EpochId, EpochInfo, OpenOptions, PoolError, Result};

/// A device with a good label.
struct Candidate {
    device: Arc<dyn Device>,
    found: FoundLabel,
    records: Vec<EpochRecord>,
}

/// What opening found out.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) label: Label,
    pub(crate) disks: Vec<Arc<Disk>>,
    pub(crate) chain: Chain,
    /// Of an encrypted pool, those of its newest passphrase that a member has.
    pub(crate) keys: Option<WrappedKey>,
}

/// A device that cannot be used, and why.
struct Unusable {
    device: Arc<dyn Device>,
    id: Option<DiskId>,
    why: PoolError,
}

/// Reads labels and epochs of all devices. Writes nothing.
pub(crate) fn survey(devices: Vec<Arc<dyn Device>>) -> Result<Opened> {
    let (found, mut unusable) = read_labels(devices)?;
    let Some((first, _)) = found.first().map(|(device, found)| (device.clone(), found)) else {
        return Err(unusable
            .into_iter()
            .next()
            .map_or_else(no_devices, |disk| disk.why));
    };
    let label = found[0].1.label.clone();
    refuse_strangers(&first, &label, &found)?;
    let candidates = read_chains(found, &mut unusable);
    if candidates.is_empty() {
        return Err(unusable
            .into_iter()
            .next()
            .map_or_else(no_devices, |disk| disk.why));
    }
    let chain = join_chains(&label, &candidates)?;
    let keys = newest_keys(&candidates, &chain);
    let disks = judge(&label, candidates, unusable, &chain);
    Ok(Opened {
        label,
        disks,
        chain,
        keys,
    })
}

/// A disk that was away may know an older passphrase only; it counts if there is no other.
fn newest_keys(candidates: &[Candidate], chain: &Chain) -> Option<WrappedKey> {
    let rank = |candidate: &&Candidate| {
        let head = candidate.records.last().map(|record| record.info.id);
        let label = &candidate.found.label;
        let current = is_current(chain, label.disk, head);
        (current, label.keys.as_ref().map(|keys| keys.sequence))
    };
    let newest = candidates
        .iter()
        .filter(|candidate| candidate.found.label.keys.is_some())
        .max_by_key(rank)?;
    newest.found.label.keys.clone()
}

fn no_devices() -> PoolError {
    PoolError::Invalid("no devices given".into())
}

type Labelled = Vec<(Arc<dyn Device>, FoundLabel)>;

fn read_labels(devices: Vec<Arc<dyn Device>>) -> Result<(Labelled, Vec<Unusable>)> {
    let mut found = Vec::new();
    let mut unusable = Vec::new();
    for device in devices {
        match read_label(&*device) {
            Ok(label) => found.push((device, label)),
            Err(why @ PoolError::NewerFormat { .. }) => return Err(why),
            Err(why) => unusable.push(Unusable {
                device,
                id: None,
                why,
            }),
        }
    }
    Ok((found, unusable))
}

/// A disk of another pool, or one disk twice, is a mistake that no redundancy may hide.
fn refuse_strangers(first: &Arc<dyn Device>, label: &Label, found: &Labelled) -> Result<()> {
    let mut names: BTreeMap<DiskId, &str> = BTreeMap::new();
    for (device, other) in found {
        if other.label.pool != label.pool {
            return Err(PoolError::Foreign {
                device: device.name().to_owned(),
                found: other.label.pool,
                other: first.name().to_owned(),
                expected: label.pool,
            });
        }
        if let Some(before) = names.insert(other.label.disk, device.name()) {
            return Err(PoolError::Duplicate {
                first: before.to_owned(),
                second: device.name().to_owned(),
                disk: other.label.disk,
            });
        }
        if (other.label.layout, &other.label.disks) != (label.layout, &label.disks) {
            return Err(PoolError::CorruptLabel {
                device: device.name().to_owned(),
                detail: format!("it disagrees with that of {}", first.name()),
            });
        }
    }
    Ok(())
}

fn read_chains(found: Labelled, unusable: &mut Vec<Unusable>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (device, found) in found {
        match read_chain(&*device, found.label.pool) {
            Ok(records) => candidates.push(Candidate {
                device,
                found,
                records,
            }),
            Err(why) => unusable.push(Unusable {
                device,
                id: Some(found.label.disk),
                why,
            }),
        }
    }
    candidates
}

/// The one line that all disks are on, or the refusal that names two that were used apart.
fn join_chains(label: &Label, candidates: &[Candidate]) -> Result<Chain> {
    let mut records: HashMap<EpochId, EpochRecord> = HashMap::new();
    for record in candidates.iter().flat_map(|candidate| &candidate.records) {
        records.insert(record.info.id, record.clone());
    }
    let heads = || {
        candidates
            .iter()
            .filter_map(|c| c.records.last().map(|head| (c, head)))
    };
    let Some((leader, newest)) = heads().max_by_key(|(_, head)| head.info.sequence) else {
        return Ok(Chain::default());
    };
    let chain =
        Chain::follow(label.pool, newest, &records).ok_or_else(|| PoolError::CorruptEpochs {
            device: leader.device.name().to_owned(),
            detail: "records between the first and the newest are missing".into(),
        })?;
    for (candidate, head) in heads() {
        if !chain.contains(head.info.id) {
            return Err(PoolError::Diverged {
                first: leader.device.name().to_owned(),
                first_epoch: newest.info.id,
                second: candidate.device.name().to_owned(),
                second_epoch: head.info.id,
            });
        }
    }
    Ok(chain)
}

/// Whether a disk with this newest record holds all that was acknowledged. Every record after its own must name it as a
/// member: such a record never reached all members, so nothing was acknowledged under it.
fn is_current(chain: &Chain, disk: DiskId, head: Option<EpochId>) -> bool {
    let from = match head {
        Some(head) => chain.position(head).unwrap_or(0),
        None => 0,
    };
    chain.line[from..]
        .iter()
        .all(|record| record.info.members.contains(&disk))
}

fn judge(
    label: &Label,
    candidates: Vec<Candidate>,
    unusable: Vec<Unusable>,
    chain: &Chain,
) -> Vec<Arc<Disk>> {
    let mut disks = Vec::new();
    for candidate in candidates {
        disks.push(judge_one(candidate, chain));
    }
    for Unusable { device, id, why } in unusable {
        tracing::warn!(device = device.name(), %why, "this disk cannot be used");
        disks.push(Disk::new(
            Some(device),
            id,
            DiskState::Unusable,
            Some(why.to_string()),
        ));
    }
    let known = all_known(label, chain);
    for id in &known {
        if !disks.iter().any(|disk| disk.id == Some(*id)) {
            let (state, reason) = if is_named(chain, *id) {
                (DiskState::Missing, "not among the devices given")
            } else {
                (DiskState::Retired, "nothing is left on it that counts")
            };
            disks.push(Disk::new(None, Some(*id), state, Some(reason.to_owned())));
        }
    }
    // The order decides the homes; disks without a readable label come last.
    let rank = |disk: &Disk| {
        let position = disk
            .id
            .and_then(|id| known.iter().position(|other| *other == id));
        position.unwrap_or(usize::MAX)
    };
    disks.sort_by_key(rank);
    disks.into_iter().map(Arc::new).collect()
}

/// Every disk that was ever of the pool, in the order in which they came. It never shrinks.
fn all_known(label: &Label, chain: &Chain) -> Vec<DiskId> {
    let mut known = label.disks.clone();
    for info in chain.line.iter().map(|record| &record.info) {
        for disk in info.members.iter().chain(&info.absent) {
            if !known.contains(disk) {
                known.push(*disk);
            }
        }
    }
    known
}

/// Whether the pool still counts on a disk, or on what it held.
fn is_named(chain: &Chain, disk: DiskId) -> bool {
    let newest = chain.newest().map(|newest| &newest.info);
    newest.is_none_or(|info| info.members.contains(&disk) || info.absent.contains(&disk))
}

/// Those whose contents are not made good: noted as absent, or named as members and not there.
pub(crate) fn not_made_good(chain: &Chain, disks: &[Arc<Disk>]) -> BTreeSet<DiskId> {
    let Some(newest) = chain.newest().map(|newest| &newest.info) else {
        return BTreeSet::new();
    };
    let is_there = |id: &&DiskId| {
        let mut live = disks.iter().filter(|disk| disk.is_live());
        live.any(|disk| disk.id == Some(**id))
    };
    let lost = newest.members.iter().filter(|id| !is_there(id));
    newest.absent.iter().chain(lost).copied().collect()
}

fn judge_one(candidate: Candidate, chain: &Chain) -> Disk {
    let Candidate {
        device,
        found,
        records,
    } = candidate;
    let id = found.label.disk;
    let head = records.last().map(|record| record.info.id);
    if is_current(chain, id, head) {
        let mut disk = Disk::new(Some(device), Some(id), DiskState::Member, None);
        disk.bad_labels = found.bad_copies;
        disk.set_role(found.label.role.unwrap_or_default());
        return disk;
    }
    if !is_named(chain, id) {
        return judge_unnamed(device, id, chain);
    }
    let reason = format!(
        "it missed epochs: its newest is {}, the pool's is {}; it is read for nothing until it is brought up to date",
        head.map_or_else(|| "none".to_owned(), |head| head.to_string()),
        chain
            .newest()
            .map_or_else(String::new, |newest| newest.info.id.to_string()),
    );
    tracing::warn!(device = device.name(), disk = %id, reason, "stale disk");
    let disk = Disk::new(Some(device), Some(id), DiskState::Stale, Some(reason));
    disk.set_role(found.label.role.unwrap_or_default());
    disk
}

/// A disk with a label of the pool that the pool does not count on.
fn judge_unnamed(device: Arc<dyn Device>, id: DiskId, chain: &Chain) -> Disk {
    let mut epochs = chain.line.iter().map(|record| &record.info);
    let was_member = epochs.any(|info| info.members.contains(&id));
    let (state, reason) = if was_member {
        let reason = "it was taken out of the pool, or all that it held was made good on others; add it as a new disk to use it again";
        (DiskState::Retired, reason)
    } else {
        (
            DiskState::Unusable,
            "adding it to the pool was cut off; add it again",
        )
    };
    tracing::warn!(device = device.name(), disk = %id, reason, "this disk is not used");
    Disk::new(Some(device), Some(id), state, Some(reason.to_owned()))
}

impl Opened {
    /// Disks whose contents are not made good, not counting members that are missing: a disk that came back and went
    /// again is lost once.
    fn still_owed(&self, newest: &EpochInfo) -> usize {
        let lost = |id: &&DiskId| {
            let mut live = self.disks.iter().filter(|disk| disk.is_live());
            newest.members.contains(id) && !live.any(|disk| disk.id == Some(**id))
        };
        newest.absent.iter().filter(|id| !lost(id)).count()
    }

    /// Nothing acknowledged may be missing: with `m` copies more than needed, `m` disks may be, counting those that
    /// were already absent and are not rebuilt.
    pub(crate) fn refuse_too_few(&self, options: &OpenOptions) -> Result<()> {
        let present = self.disks.iter().filter(|disk| disk.is_live()).count();
        let (epoch, members, absent) = match self.chain.newest() {
            Some(newest) => (
                newest.info.id,
                newest.info.members.len(),
                self.still_owed(&newest.info),
            ),
            None => (EpochId::default(), self.label.disks.len(), 0),
        };
        let spare = usize::from(self.label.layout.parity).saturating_sub(absent);
        let spare = if options.allow_degraded && self.chain.newest().is_some() {
            spare
        } else {
            0
        };
        let needed = members.saturating_sub(spare).max(1);
        if present >= needed {
            return Ok(());
        }
        let detail = self
            .disks
            .iter()
            .map(|disk| disk.status())
            .filter_map(|disk| disk.reason.map(|reason| format!("{}: {reason}", disk.name)));
        let detail = detail.collect::<Vec<_>>().join("; ");
        Err(PoolError::NotEnoughDisks {
            epoch,
            needed,
            members,
            present,
            detail,
        })
    }
}
