//! A unit of atomicity.

use bytes::Bytes;

use crate::engine::Engine;
use crate::feed::{Change, DeadObject};
use crate::rows::{self, PinRow};
use crate::space::Need;
use crate::{Aspect, Inode, Instant, Key, ObjectId, Realm, Result, SessionId, Table, Txg};

/// All of it in one transaction group, or nothing; dropped means nothing.
#[derive(Debug)]
pub struct Txn<'a> {
    engine: &'a Engine,
    session: SessionId,
    rows: Vec<(Table, Key, Option<Bytes>)>,
    changes: Vec<Change>,
    dead: Vec<ObjectId>,
    pins: Vec<(u64, Realm, Option<Instant>)>,
    /// Bytes that rows grow by at most.
    needs: u64,
    on_reserve: bool,
}

impl<'a> Txn<'a> {
    pub(crate) fn new(engine: &'a Engine, session: SessionId) -> Self {
        let (rows, changes, dead) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            engine,
            session,
            rows,
            changes,
            dead,
            pins: Vec::new(),
            needs: 0,
            on_reserve: false,
        }
    }

    /// Lets it draw on the reserve, as removals do: for the few small rows without which nobody could log on to a full
    /// pool, close files there, and delete some.
    pub fn draw_on_reserve(&mut self) {
        self.on_reserve = true;
    }

    /// Sets a row. The key begins with the 8-byte big-endian id of the inode that owns it.
    pub fn put(&mut self, table: Table, key: impl Into<Key>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        assert!(key.len() >= 8, "a key begins with its inode");
        self.needs += (key.len() + value.len()) as u64;
        self.rows.push((table, key, Some(value)));
    }

    /// Removes a row, if it is there.
    pub fn delete(&mut self, table: Table, key: impl Into<Key>) {
        let key = key.into();
        assert!(key.len() >= 8, "a key begins with its inode");
        self.rows.push((table, key, None));
    }

    /// Tells the change log what this transaction touched.
    pub fn note(&mut self, inode: Inode, aspect: Aspect) {
        self.changes.push(Change {
            inode,
            aspect,
            session: self.session,
        });
    }

    /// The object's data dies with this transaction. Its id is not used again.
    pub fn delete_object(&mut self, object: ObjectId) {
        self.dead.push(object);
    }

    /// Keeps what is there once the group of this transaction is done, for one realm or, with realm 0, for all, until
    /// [`Txn::unpin`]. Whoever numbers pins never uses a number twice, and takes higher ones later.
    pub fn pin(&mut self, id: u64, realm: Realm) {
        self.pins.push((id, realm, None));
    }

    /// As [`Txn::pin`], for an instant of the past. The caller looks at that instant, by a view, until the transaction is
    /// committed, so that none of it is thinned meanwhile.
    pub fn pin_at(&mut self, id: u64, realm: Realm, instant: Instant) {
        self.pins.push((id, realm, Some(instant)));
    }

    /// Lets go what a pin kept.
    pub fn unpin(&mut self, id: u64) {
        self.delete(rows::PINS, rows::list_key(id));
    }

    /// Makes the transaction visible to all readers; durable with its group.
    ///
    /// # Errors
    /// `NoSpace` when it needs room and there is none; one that removes rows or objects may put others and draws on the
    /// reserve, as one does that was told so. `Offline` or `Closed` when nothing may be written any more.
    pub fn commit(self) -> Result<Txg> {
        let engine = self.engine;
        engine.writable()?;
        let removes =
            !self.dead.is_empty() || self.rows.iter().any(|(_, _, value)| value.is_none());
        if self.needs > 0 && !removes && !self.on_reserve {
            drop(engine.admit(Need::Rows(self.needs))?);
        }
        Ok(self.join())
    }

    fn join(self) -> Txg {
        let engine = self.engine;
        let gate = engine.join();
        let txg = *gate;
        for (table, key, value) in self.rows {
            engine
                .overlay
                .lock(key.inode())
                .put(txg, self.session, table, key, value);
        }
        for (id, realm, instant) in self.pins {
            let now = Instant {
                txg,
                time: engine.group_time(),
            };
            let Instant { txg: kept, time } = instant.unwrap_or(now);
            let pin = PinRow {
                realm,
                txg: kept,
                time,
            };
            let (key, value) = (Key::from(rows::list_key(id)), Bytes::from(pin.encode()));
            engine
                .overlay
                .lock(key.inode())
                .put(txg, self.session, rows::PINS, key, Some(value));
        }
        for change in self.changes {
            engine.overlay.lock(change.inode).change(change);
        }
        for object in self.dead {
            if engine.kill_object(object, txg) {
                let dead = DeadObject {
                    txg,
                    session: self.session,
                    object,
                };
                engine.overlay.lock(object.inode).dead(dead);
            }
        }
        drop(gate);
        engine.mark_dirty();
        txg
    }
}
