//! Client sessions, recorded in the pool: who, from where, by which protocol, from when to when.

use parking_lot::Mutex;
use strongroom_store::{Inode, SessionId, Store};

use crate::rows::{self, Reader, Writer};
use crate::{FileTime, Result, SessionInfo, SessionRecord, Sid, Vfs};

/// Ids taken from the counter at once, so that most sessions cost one row.
const IDS_AT_ONCE: u64 = 64;
const COUNTER_KEY: u64 = 2;
const VERSION: u8 = 1;

/// Gives out the ids of sessions; never one twice.
#[derive(Debug)]
pub(crate) struct Sessions {
    ids: Mutex<Ids>,
}

#[derive(Debug)]
struct Ids {
    next: u64,
    /// Ids below this are taken in the row.
    taken: u64,
}

impl Sessions {
    pub(crate) fn load(store: &Store) -> Result<Self> {
        let taken = match store.get(rows::COUNTERS, &rows::list_key(COUNTER_KEY))? {
            Some(row) => Reader::new(&row, "counters").u64()?,
            None => 1,
        };
        Ok(Self {
            ids: Mutex::new(Ids { next: taken, taken }),
        })
    }
}

impl Sessions {
    /// The id that the next session gets.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.lock().next
    }
}

impl Vfs {
    /// Records that a client session begins. Its id marks everything that it changes.
    pub fn begin_session(&self, info: &SessionInfo) -> Result<SessionId> {
        let mut ids = self.sessions.ids.lock();
        let id = SessionId(ids.next);
        let mut txn = self.store.txn(SessionId::SYSTEM);
        // Who cannot log on to a full pool cannot make room there either.
        txn.draw_on_reserve();
        let mut taken = ids.taken;
        if ids.next >= taken {
            taken = ids.next + IDS_AT_ONCE;
            txn.put(
                rows::COUNTERS,
                rows::list_key(COUNTER_KEY),
                taken.to_le_bytes().to_vec(),
            );
        }
        let record = SessionRecord {
            info: info.clone(),
            started: self.now(),
            ended: None,
        };
        txn.put(rows::SESSIONS, session_key(id), encode(&record));
        txn.commit()?;
        *ids = Ids {
            next: id.0 + 1,
            taken,
        };
        self.guard.began(id, info);
        Ok(id)
    }

    /// Records that it ended.
    pub fn end_session(&self, session: SessionId) -> Result<()> {
        self.guard.ended(session);
        let Some(mut record) = self.session(session)? else {
            return Ok(());
        };
        record.ended = Some(self.now());
        let mut txn = self.store.txn(SessionId::SYSTEM);
        txn.draw_on_reserve();
        txn.put(rows::SESSIONS, session_key(session), encode(&record));
        txn.commit()?;
        Ok(())
    }

    /// What is recorded of a session.
    pub fn session(&self, session: SessionId) -> Result<Option<SessionRecord>> {
        let row = self.store.get(rows::SESSIONS, &session_key(session))?;
        row.map(|row| decode(&row)).transpose()
    }
}

fn session_key(session: SessionId) -> rows::Key {
    rows::inode_key(Inode(session.0))
}

fn encode(record: &SessionRecord) -> Vec<u8> {
    let mut row = Writer::with_capacity(128);
    row.u8(VERSION)
        .u64(record.started.0)
        .u64(record.ended.unwrap_or_default().0);
    row.long_text(&record.info.user_name)
        .long_text(&record.info.address)
        .long_text(&record.info.protocol);
    record.info.user.encode(&mut row.0);
    row.0
}

fn decode(row: &[u8]) -> Result<SessionRecord> {
    let mut reader = Reader::new(row, "sessions");
    if reader.u8()? != VERSION {
        return Err(reader.corrupt());
    }
    let started = FileTime(reader.u64()?);
    let ended = Some(FileTime(reader.u64()?)).filter(|ended| ended.0 != 0);
    let (user_name, address, protocol) = (
        reader.long_text()?,
        reader.long_text()?,
        reader.long_text()?,
    );
    let corrupt = reader.corrupt();
    let user = Sid::from_bytes(reader.rest()).map_err(|_| corrupt)?;
    Ok(SessionRecord {
        info: SessionInfo {
            user,
            user_name,
            address,
            protocol,
        },
        started,
        ended,
    })
}
