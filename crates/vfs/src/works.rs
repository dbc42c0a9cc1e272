//! Rewinds and undos as long work: how far each has come, and what a crash cut off, so that it goes on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use strongroom_store::{Inode, Instant, SessionId, Txg};

use crate::quota::next_key;
use crate::rows::{self, Reader, Writer};
use crate::{FileTime, Result, ShareId, UndoWanted, Vfs, VfsError};

const VERSION: u8 = 1;
const REWIND: u8 = 1;
const UNDO: u8 = 2;
const KEEP_BOTH: u8 = 1;
const SINCE: u8 = 2;
const BATCH: usize = 256;

/// Long work that runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkStatus {
    /// `rewind`, `undo` or `clone`.
    pub what: &'static str,
    pub share: String,
    pub session: SessionId,
    /// Files and folders that are done, and all; 0 while they are being looked for.
    pub done: u64,
    pub total: u64,
}

/// How far one has come.
#[derive(Debug)]
pub(crate) struct Running {
    what: &'static str,
    share: String,
    session: SessionId,
    done: AtomicU64,
    total: AtomicU64,
    stopped: AtomicBool,
}

impl Running {
    pub(crate) fn expect(&self, total: usize) {
        self.total.fetch_add(total as u64, Ordering::Relaxed);
    }

    pub(crate) fn step(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// All that runs.
#[derive(Debug, Default)]
pub(crate) struct Works(Mutex<Vec<Weak<Running>>>);

/// What was to be done, as it is written down until it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Unfinished {
    Rewind {
        share: ShareId,
        path: String,
        to: Instant,
    },
    Undo {
        share: ShareId,
        wanted: UndoWanted,
    },
}

impl Vfs {
    /// Long work that runs now.
    pub fn works(&self) -> Vec<WorkStatus> {
        let all = self.works.0.lock();
        let running = all.iter().filter_map(Weak::upgrade);
        running
            .map(|running| WorkStatus {
                what: running.what,
                share: running.share.clone(),
                session: running.session,
                done: running.done.load(Ordering::Relaxed),
                total: running.total.load(Ordering::Relaxed),
            })
            .collect()
    }

    /// Stops the rewind, undo or clone that runs in a session after the file that it is at; what is done stays, and can be
    /// undone as a session. Returns whether there was one.
    pub fn stop_work(&self, session: SessionId) -> bool {
        let all = self.works.0.lock();
        let mut running = all.iter().filter_map(Weak::upgrade);
        let found = running.find(|running| running.session == session);
        if let Some(running) = &found {
            running.stopped.store(true, Ordering::Relaxed);
        }
        found.is_some()
    }

    /// Lists work until what is returned is dropped.
    pub(crate) fn running(
        &self,
        what: &'static str,
        share: &str,
        session: SessionId,
    ) -> Arc<Running> {
        let running = Arc::new(Running {
            what,
            share: share.to_owned(),
            session,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let mut all = self.works.0.lock();
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&running));
        running
    }

    /// Writes down what is to be done in a session, until [`Vfs::finished`]. It is durable with the first change.
    pub(crate) fn unfinished(&self, session: SessionId, work: &Unfinished) -> Result<()> {
        let mut txn = self.small_txn();
        txn.put(rows::WORKS, rows::list_key(session.0), encode(work));
        txn.commit()?;
        Ok(())
    }

    pub(crate) fn finished(&self, session: SessionId) -> Result<()> {
        let mut txn = self.small_txn();
        txn.delete(rows::WORKS, rows::list_key(session.0));
        txn.commit()?;
        Ok(())
    }

    /// Goes on with what was not done when the program ended, each in the session that it had. Returns how many there
    /// were.
    pub async fn resume_works(&self) -> Result<usize> {
        let mut found = Vec::new();
        let (mut start, end) = (rows::inode_key(Inode(0)), rows::end_of(Inode(0)));
        loop {
            let page = self.store.scan(rows::WORKS, &start, &end, BATCH)?;
            let Some((last, _)) = page.last() else { break };
            start = next_key(last);
            for (key, row) in &page {
                let session = key.get(8..).and_then(|id| id.first_chunk());
                let session = session.ok_or_else(|| VfsError::Corrupt("a work's key".into()))?;
                found.push((SessionId(u64::from_be_bytes(*session)), decode(row)?));
            }
        }
        for (session, work) in &found {
            if let Err(error) = self.resume_one(*session, work).await {
                tracing::warn!(%error, session = session.0, "interrupted work cannot go on");
                self.finished(*session)?;
            }
        }
        Ok(found.len())
    }

    async fn resume_one(&self, session: SessionId, work: &Unfinished) -> Result<()> {
        let (Unfinished::Rewind { share, .. } | Unfinished::Undo { share, .. }) = work;
        let share = self.share_by_id(*share).ok_or(VfsError::NotFound)?;
        tracing::info!(
            session = session.0,
            share = share.name,
            "goes on with a rewind or undo that was interrupted"
        );
        match work {
            Unfinished::Rewind { path, to, .. } => {
                let past = self.view_of(&share, *to)?;
                self.rewind_in(&share, path, &past, session).await?;
            }
            Unfinished::Undo { wanted, .. } => {
                self.undo_in(&share, wanted, session).await?;
            }
        }
        Ok(())
    }
}

fn encode(work: &Unfinished) -> Vec<u8> {
    let mut row = Writer::with_capacity(64);
    row.u8(VERSION);
    match work {
        Unfinished::Rewind { share, path, to } => {
            row.u8(REWIND).u32(share.0).u64(to.txg.0).u64(to.time.0);
            row.long_text(path);
        }
        Unfinished::Undo { share, wanted } => {
            let keep = if wanted.keep_both { KEEP_BOTH } else { 0 };
            let since = if wanted.since.is_some() { SINCE } else { 0 };
            row.u8(UNDO).u32(share.0).u8(keep | since);
            row.u64(wanted.since.unwrap_or_default().0);
            for session in &wanted.sessions {
                row.u64(session.0);
            }
        }
    }
    row.0
}

fn decode(row: &[u8]) -> Result<Unfinished> {
    let mut reader = Reader::new(row, "works");
    if reader.u8()? != VERSION {
        return Err(reader.corrupt());
    }
    let (kind, share) = (reader.u8()?, ShareId(reader.u32()?));
    match kind {
        REWIND => {
            let to = Instant {
                txg: Txg(reader.u64()?),
                time: strongroom_device::Timestamp(reader.u64()?),
            };
            let path = reader.long_text()?;
            reader.end()?;
            Ok(Unfinished::Rewind { share, path, to })
        }
        UNDO => {
            let flags = reader.u8()?;
            let since = FileTime(reader.u64()?);
            let mut sessions = BTreeSet::new();
            while !reader.is_empty() {
                sessions.insert(SessionId(reader.u64()?));
            }
            Ok(Unfinished::Undo {
                share,
                wanted: UndoWanted {
                    sessions,
                    since: (flags & SINCE != 0).then_some(since),
                    keep_both: flags & KEEP_BOTH != 0,
                    dry_run: false,
                },
            })
        }
        _ => Err(reader.corrupt()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_wrong_ones_are_refused() {
        let rewind = Unfinished::Rewind {
            share: ShareId(3),
            path: "d\\f".to_owned(),
            to: Instant {
                txg: Txg(7),
                time: strongroom_device::Timestamp(70),
            },
        };
        let undo = Unfinished::Undo {
            share: ShareId(3),
            wanted: UndoWanted {
                sessions: BTreeSet::from([SessionId(5), SessionId(9)]),
                since: Some(FileTime(40)),
                keep_both: true,
                dry_run: false,
            },
        };
        for work in [&rewind, &undo] {
            assert_eq!(decode(&encode(work)).unwrap(), *work);
        }
        let row = encode(&rewind);
        assert!((0..row.len()).all(|len| decode(&row[..len]).is_err()));
        assert!(decode(&[VERSION, 9, 0, 0, 0, 0]).is_err());
        // A number of a session that is cut.
        let row = encode(&undo);
        assert!(decode(&row[..row.len() - 1]).is_err());
    }
}
