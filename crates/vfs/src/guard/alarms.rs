//! Alarms and what they bring about: rows, the snapshot of the last good instant, and who may change nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_store::{Inode, SessionId, Store};

use super::Fence;
use super::score::Account;
use crate::quota::next_key;
use crate::rows::{self, Reader, Writer};
use crate::{FileTime, Result, Share, ShareId, Sid, Vfs, VfsError};

const VERSION: u8 = 1;
/// What a row of the table is of.
const ALARM: u8 = 1;
const ACTION: u8 = 2;
const PERMITTED: u8 = 3;
const DECOY: u8 = 4;
/// Alarms that are kept; of more, the oldest that were cleared go.
const ALARMS_MAX: usize = 1_000;
/// Decoys and users with leave, in the whole pool.
const LISTED_MAX: usize = 10_000;
const BATCH: usize = 256;
/// 100 ns units of a second.
const SECOND: u64 = 10_000_000;

/// What an alarm does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlarmAction {
    /// The sessions of the user and of the address change nothing until the alarm is cleared.
    #[default]
    Block,
    /// It is only told.
    Report,
    /// Nobody looks.
    Off,
}

/// What was noticed, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    pub id: u64,
    pub time: FileTime,
    /// When the evidence began.
    pub since: FileTime,
    pub share: ShareId,
    pub session: SessionId,
    pub user: Sid,
    pub user_name: String,
    /// Without the port; empty where it is not known.
    pub address: String,
    /// Files that it is about, of which the first are named.
    pub files: u64,
    pub paths: Vec<String>,
    /// A decoy was touched.
    pub decoy: bool,
    pub action: AlarmAction,
    /// The snapshot that keeps the share as it was before; None where no instant so old was kept any more.
    pub snapshot: Option<String>,
    /// When an administrator cleared it.
    pub cleared: Option<FileTime>,
}

/// Settings, and who is blocked.
#[derive(Debug, Default)]
pub(super) struct Rules {
    actions: BTreeMap<ShareId, AlarmAction>,
    permitted: HashSet<Sid>,
    decoys: HashSet<Inode>,
    /// By the alarm's id.
    blocks: BTreeMap<u64, (Sid, String)>,
    next: u64,
}

impl Rules {
    pub(super) fn load(store: &Store) -> Result<Self> {
        let mut rules = Self {
            next: 1,
            ..Self::default()
        };
        each_row(store, |kind, key, row| {
            match kind {
                ALARM => {
                    let alarm = decode(row)?;
                    rules.next = rules.next.max(alarm.id + 1);
                    if alarm.blocks() {
                        rules.blocks.insert(alarm.id, (alarm.user, alarm.address));
                    }
                }
                ACTION => {
                    let share = key.first_chunk().ok_or_else(corrupt)?;
                    let action = action_of(*row.first().ok_or_else(corrupt)?)?;
                    rules
                        .actions
                        .insert(ShareId(u32::from_be_bytes(*share)), action);
                }
                PERMITTED => {
                    let user = Sid::from_bytes(key).map_err(|_| corrupt())?;
                    rules.permitted.insert(user);
                }
                DECOY => {
                    let inode = key.first_chunk().ok_or_else(corrupt)?;
                    rules.decoys.insert(Inode(u64::from_be_bytes(*inode)));
                }
                _ => return Err(corrupt()),
            }
            Ok(())
        })?;
        Ok(rules)
    }

    fn action(&self, share: ShareId) -> AlarmAction {
        self.actions.get(&share).copied().unwrap_or_default()
    }

    pub(super) fn looks_at(&self, share: ShareId, user: Sid) -> bool {
        self.action(share) != AlarmAction::Off && !self.permitted.contains(&user)
    }

    pub(super) fn is_decoy(&self, inode: Inode) -> bool {
        !self.decoys.is_empty() && self.decoys.contains(&inode)
    }

    /// Whether a session of this user, or from this address, is blocked.
    pub(super) fn shuts(&self, user: Sid, address: &str) -> bool {
        let mut blocks = self.blocks.values();
        blocks.any(|(blocked, from)| *blocked == user || (!from.is_empty() && from == address))
    }
}

impl Alarm {
    fn blocks(&self) -> bool {
        self.action == AlarmAction::Block && self.cleared.is_none()
    }
}

impl Vfs {
    /// Keeps the last good instant, blocks, records and tells.
    pub(super) fn raise(&self, fence: &Arc<Fence>, share: ShareId, account: &Account) {
        let action = self.guard.rules.read().action(share);
        let now = self.now();
        let since = account.first.unwrap_or(now);
        let mut alarm = Alarm {
            id: 0,
            time: now,
            since,
            share,
            session: fence.session,
            user: fence.user,
            user_name: fence.user_name.clone(),
            address: fence.address.clone(),
            files: account.files(),
            paths: account.paths(),
            decoy: account.touched_decoy(),
            action,
            snapshot: None,
            cleared: None,
        };
        // First of all, as whoever it is goes on meanwhile.
        self.begin_alarm(&mut alarm);
        if let Err(error) = self.record_alarm(&mut alarm) {
            // It is blocked in memory all the same, and told here.
            tracing::error!(%error, "an alarm cannot be written down");
        }
        tracing::error!(
            alarm = alarm.id,
            user = %alarm.user_name,
            address = %alarm.address,
            session = alarm.session.0,
            files = alarm.files,
            decoy = alarm.decoy,
            action = ?alarm.action,
            snapshot = alarm.snapshot.as_deref().unwrap_or("none"),
            first = alarm.paths.first().map_or("", String::as_str),
            "files are being encrypted or destroyed"
        );
    }

    /// Numbers an alarm and blocks whom it is about.
    fn begin_alarm(&self, alarm: &mut Alarm) {
        {
            let mut rules = self.guard.rules.write();
            alarm.id = rules.next;
            rules.next += 1;
            if alarm.blocks() {
                let blocked = (alarm.user, alarm.address.clone());
                rules.blocks.insert(alarm.id, blocked);
            }
        }
        self.apply_blocks();
    }

    /// Shuts the fences of all sessions that are blocked, and opens the others'. The blocks stay as they are meanwhile, and
    /// a session that begins goes by them itself.
    fn apply_blocks(&self) {
        let fences = self.guard.fences.read();
        let rules = self.guard.rules.read();
        for fence in fences.values() {
            let shut = rules.shuts(fence.user, &fence.address);
            fence.shut.store(shut, Ordering::Relaxed);
        }
    }

    fn record_alarm(&self, alarm: &mut Alarm) -> Result<()> {
        alarm.snapshot = self.keep_before(alarm)?;
        let mut txn = self.small_txn();
        txn.put(rows::ALARMS, alarm_key(alarm.id), encode(alarm));
        txn.commit()?;
        self.forget_old_alarms()
    }

    /// Keeps the last instant before the evidence, or the oldest there is of later ones.
    fn keep_before(&self, alarm: &Alarm) -> Result<Option<String>> {
        let Some(share) = self.share_by_id(alarm.share) else {
            return Ok(None);
        };
        let before = FileTime(alarm.since.0.saturating_sub(SECOND));
        let view = match self.view_at(&share, before) {
            Ok(view) => view,
            Err(VfsError::Forgotten) => {
                let later = self.instants(&share, before, FileTime(u64::MAX), usize::MAX)?;
                match later.first() {
                    Some(instant) => self.view_of(&share, *instant)?,
                    None => return Ok(None),
                }
            }
            Err(error) => return Err(error),
        };
        let name = format!("before alarm {}", alarm.id);
        match self.keep_view(&share, &name, &view, true) {
            Ok(()) => Ok(Some(name)),
            Err(error) => {
                tracing::error!(%error, alarm = alarm.id, "the instant before an alarm cannot be kept");
                Ok(None)
            }
        }
    }

    fn forget_old_alarms(&self) -> Result<()> {
        let alarms = self.alarms()?;
        let excess = alarms.len().saturating_sub(ALARMS_MAX);
        let cleared = alarms.iter().filter(|alarm| alarm.cleared.is_some());
        let mut txn = self.small_txn();
        for alarm in cleared.take(excess) {
            txn.delete(rows::ALARMS, alarm_key(alarm.id));
        }
        txn.commit()?;
        Ok(())
    }

    /// All alarms, oldest first.
    pub fn alarms(&self) -> Result<Vec<Alarm>> {
        let mut alarms = Vec::new();
        each_row(&self.store, |kind, _, row| {
            if kind == ALARM {
                alarms.push(decode(row)?);
            }
            Ok(())
        })?;
        Ok(alarms)
    }

    /// Ends an alarm: whoever it blocked may change files again, unless another one says no. Durable on return. The
    /// snapshot that it made stays.
    ///
    /// Errors: `NotFound`.
    pub async fn clear_alarm(&self, id: u64) -> Result<()> {
        let row = self.store.get(rows::ALARMS, &alarm_key(id))?;
        let mut alarm = decode(&row.ok_or(VfsError::NotFound)?)?;
        if alarm.cleared.is_none() {
            alarm.cleared = Some(self.now());
            let mut txn = self.small_txn();
            txn.put(rows::ALARMS, alarm_key(id), encode(&alarm));
            txn.commit()?;
            self.store.sync_all().await?;
        }
        self.guard.rules.write().blocks.remove(&id);
        self.apply_blocks();
        Ok(())
    }

    /// What an alarm in a share does.
    pub fn alarm_action(&self, share: &Share) -> AlarmAction {
        self.guard.rules.read().action(share.id)
    }

    /// Says what an alarm in a share is to do from now on.
    pub async fn set_alarm_action(&self, share: &Share, action: AlarmAction) -> Result<()> {
        let key = rule_key(ACTION, &share.id.0.to_be_bytes());
        let mut txn = self.small_txn();
        txn.put(rows::ALARMS, key, vec![action_code(action)]);
        txn.commit()?;
        self.guard.rules.write().actions.insert(share.id, action);
        Ok(self.store.sync_all().await?)
    }

    /// Users who may encrypt: backup programs, for example.
    pub fn permitted_users(&self) -> Vec<Sid> {
        self.guard.rules.read().permitted.iter().copied().collect()
    }

    /// Gives a user leave to encrypt, or takes it back. Errors: `TooMany`.
    pub async fn permit_encryption(&self, user: Sid, permitted: bool) -> Result<()> {
        let key = rule_key(PERMITTED, &user.to_bytes());
        {
            let mut rules = self.guard.rules.write();
            if permitted && rules.permitted.len() >= LISTED_MAX {
                return Err(VfsError::TooMany);
            }
            self.put_rule(key, permitted)?;
            if permitted {
                rules.permitted.insert(user);
            } else {
                rules.permitted.remove(&user);
            }
        }
        Ok(self.store.sync_all().await?)
    }

    /// Makes a file that nobody should touch a decoy, or an ordinary file again: who changes, renames or deletes a decoy
    /// raises the alarm. Errors: `NotFound`, `IsDirectory`, `TooMany`.
    pub async fn set_decoy(&self, share: &Share, path: &str, decoy: bool) -> Result<()> {
        let stat = self.stat_at(share, &strongroom_store::View::Now, path)?;
        let stat = stat.ok_or(VfsError::NotFound)?;
        if stat.is_directory {
            return Err(VfsError::IsDirectory);
        }
        let key = rule_key(DECOY, &stat.inode.0.to_be_bytes());
        {
            let mut rules = self.guard.rules.write();
            if decoy && rules.decoys.len() >= LISTED_MAX {
                return Err(VfsError::TooMany);
            }
            self.put_rule(key, decoy)?;
            if decoy {
                rules.decoys.insert(stat.inode);
            } else {
                rules.decoys.remove(&stat.inode);
            }
        }
        Ok(self.store.sync_all().await?)
    }

    fn put_rule(&self, key: rows::Key, there: bool) -> Result<()> {
        let mut txn = self.small_txn();
        if there {
            txn.put(rows::ALARMS, key, vec![VERSION]);
        } else {
            txn.delete(rows::ALARMS, key);
        }
        txn.commit()?;
        Ok(())
    }
}

fn each_row(store: &Store, mut each: impl FnMut(u8, &[u8], &[u8]) -> Result<()>) -> Result<()> {
    let (mut start, end) = (rows::inode_key(Inode(0)), rows::end_of(Inode(0)));
    loop {
        let page = store.scan(rows::ALARMS, &start, &end, BATCH)?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        start = next_key(last);
        for (key, row) in &page {
            let (kind, rest) = key
                .get(8..)
                .and_then(<[u8]>::split_first)
                .ok_or_else(corrupt)?;
            each(*kind, rest, row)?;
        }
    }
}

fn corrupt() -> VfsError {
    VfsError::Corrupt("a row of the alarms".into())
}

fn rule_key(kind: u8, rest: &[u8]) -> rows::Key {
    let mut key = rows::key_of(Inode(0), &[kind]);
    key.extend_from_slice(rest);
    key
}

fn alarm_key(id: u64) -> rows::Key {
    rule_key(ALARM, &id.to_be_bytes())
}

fn action_code(action: AlarmAction) -> u8 {
    match action {
        AlarmAction::Block => 0,
        AlarmAction::Report => 1,
        AlarmAction::Off => 2,
    }
}

fn action_of(code: u8) -> Result<AlarmAction> {
    match code {
        0 => Ok(AlarmAction::Block),
        1 => Ok(AlarmAction::Report),
        2 => Ok(AlarmAction::Off),
        _ => Err(corrupt()),
    }
}

fn encode(alarm: &Alarm) -> Vec<u8> {
    let mut row = Writer::with_capacity(256);
    row.u8(VERSION)
        .u8(action_code(alarm.action))
        .u8(u8::from(alarm.decoy))
        .u64(alarm.id)
        .u64(alarm.time.0)
        .u64(alarm.since.0)
        .u64(alarm.cleared.unwrap_or_default().0)
        .u32(alarm.share.0)
        .u64(alarm.session.0)
        .u64(alarm.files);
    row.long_text(&alarm.user_name)
        .long_text(&alarm.address)
        .long_text(alarm.snapshot.as_deref().unwrap_or_default())
        .u32(u32::try_from(alarm.paths.len()).unwrap_or(0));
    for path in &alarm.paths {
        row.long_text(path);
    }
    alarm.user.encode(&mut row.0);
    row.0
}

fn decode(row: &[u8]) -> Result<Alarm> {
    let mut reader = Reader::new(row, "alarms");
    let (version, action, decoy) = (reader.u8()?, reader.u8()?, reader.u8()?);
    if version != VERSION || decoy > 1 {
        return Err(reader.corrupt());
    }
    let (id, time, since, cleared) = (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
    let (share, session, files) = (reader.u32()?, reader.u64()?, reader.u64()?);
    let (user_name, address) = (reader.long_text()?, reader.long_text()?);
    let snapshot = Some(reader.long_text()?).filter(|name| !name.is_empty());
    // Each takes bytes of the row, so that a wrong count ends with it.
    let count = reader.u32()?;
    let mut paths = Vec::new();
    for _ in 0..count {
        paths.push(reader.long_text()?);
    }
    let corrupt = reader.corrupt();
    let user = Sid::from_bytes(reader.rest()).map_err(|_| corrupt)?;
    Ok(Alarm {
        id,
        time: FileTime(time),
        since: FileTime(since),
        share: ShareId(share),
        session: SessionId(session),
        user,
        user_name,
        address,
        files,
        paths,
        decoy: decoy == 1,
        action: action_of(action)?,
        snapshot,
        cleared: Some(FileTime(cleared)).filter(|cleared| cleared.0 != 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Alarm {
        Alarm {
            id: 7,
            time: FileTime(50),
            since: FileTime(40),
            share: ShareId(2),
            session: SessionId(9),
            user: Sid::EVERYONE,
            user_name: "ann".to_owned(),
            address: "192.0.2.7".to_owned(),
            files: 31,
            paths: vec!["a".to_owned(), "d\\b".to_owned()],
            decoy: true,
            action: AlarmAction::Report,
            snapshot: Some("before alarm 7".to_owned()),
            cleared: Some(FileTime(60)),
        }
    }

    #[test]
    fn rows_come_back_and_cut_ones_are_refused() {
        let alarm = sample();
        let row = encode(&alarm);
        assert_eq!(decode(&row).unwrap(), alarm);
        for len in 0..row.len() {
            assert!(decode(&row[..len]).is_err(), "{len} bytes");
        }
    }
}
