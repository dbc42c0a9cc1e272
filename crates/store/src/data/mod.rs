//! File data until it is durable.
//!
//! An object that changes has a state in memory: the newest head, the *pending* layer that writers touch, and at times
//! a *sealed* layer: the pending one as it was at a flush, with all its bytes in segments (or small enough for the
//! table of inline data), waiting to be published. Readers look in pending, then sealed, then the rows.
//! Publishing turns a sealed layer into rows of the open transaction group; the state goes when nothing is left.
//!
//! Lock order: the engine's flush lock, then its gate, then an object, then a shard of the overlay.

mod ahead;
mod clone;
mod flush;
mod layer;
mod publish;
mod read;
mod same;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

pub(crate) use ahead::Streams;
pub(crate) use flush::SealedLayers;
pub(crate) use layer::{Entry, Layer, Load, Piece};
pub(crate) use publish::Published;
pub(crate) use write::{Change, write_cost};

use crate::engine::Engine;
use crate::rows::{self, HeadRow};
use crate::{Compression, DataHead, Inode, ObjectId, Result, SessionId, Txg, View};

/// The longest extent.
pub(crate) const EXTENT_MAX: usize = 1 << 20;
/// Writes from this length on go to a segment without being gathered.
const DIRECT_MIN: usize = 256 << 10;
/// Dirty bytes of one object that are flushed without waiting for the next commit.
const OBJECT_DIRTY_MAX: usize = 8 << 20;
const SHARDS: usize = 64;

type Shard = HashMap<ObjectId, Arc<Object>>;

/// Objects with a state in memory.
#[derive(Debug)]
pub(crate) struct Objects {
    shards: Box<[Mutex<Shard>]>,
    count: AtomicUsize,
    next_lane: AtomicU8,
}

/// One object's state.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) id: ObjectId,
    state: Mutex<State>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct State {
    loaded: bool,
    /// Taken off the table; look it up anew.
    detached: bool,
    /// What the rows say.
    published: HeadRow,
    /// There is a head row.
    exists: bool,
    /// The newest head; `allocated` counts what is pending too.
    head: DataHead,
    /// Who changed it last.
    session: SessionId,
    /// Changed since the last seal.
    changed: bool,
    /// Changed since its bytes last rode in a record.
    unlogged: bool,
    pending: Layer,
    sealed: Option<Sealed>,
    /// Counts sealed layers.
    seals: u64,
    /// The first group whose record carries bytes that no stripe has.
    logged_since: Option<Txg>,
    lane: Option<u8>,
    /// Of what is written from now on.
    compression: Compression,
    /// What the engine counts for this object.
    counted: Load,
}

/// A consistent state of the object on its way to the rows.
#[derive(Debug)]
struct Sealed {
    layer: Layer,
    head: DataHead,
    session: SessionId,
    /// Tells this layer from those before and after it.
    serial: u64,
    /// It has all that the inline row held and that moves to a segment with it.
    filled: bool,
    /// The segments of its extents were synced.
    synced: bool,
}

impl State {
    fn is_clean(&self) -> bool {
        !self.changed && self.pending.is_empty() && self.sealed.is_none()
    }

    fn load(&self) -> Load {
        let mut load = self.pending.load();
        if let Some(sealed) = &self.sealed {
            load += sealed.layer.load();
        }
        load
    }
}

impl Objects {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            next_lane: AtomicU8::new(0),
        }
    }

    fn shard(&self, id: ObjectId) -> &Mutex<Shard> {
        let word = id.inode.0 ^ (u64::from(id.stream) << 40);
        let hash = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        &self.shards[usize::try_from(hash).unwrap_or(0) % SHARDS]
    }

    pub(crate) fn get(&self, id: ObjectId) -> Option<Arc<Object>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.shard(id).lock().get(&id).cloned()
    }

    fn get_or_insert(&self, id: ObjectId) -> Arc<Object> {
        let mut shard = self.shard(id).lock();
        let made = || {
            self.count.fetch_add(1, Ordering::AcqRel);
            Arc::new(Object {
                id,
                state: Mutex::default(),
            })
        };
        Arc::clone(shard.entry(id).or_insert_with(made))
    }

    /// Takes an object off the table; the caller holds its state and marks it detached.
    fn remove(&self, id: ObjectId) {
        if self.shard(id).lock().remove(&id).is_some() {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Every object with a state, those of one directory near each other.
    pub(crate) fn all(&self) -> Vec<Arc<Object>> {
        let mut all = Vec::with_capacity(self.count.load(Ordering::Acquire));
        for shard in &self.shards {
            all.extend(shard.lock().values().cloned());
        }
        all.sort_unstable_by_key(|object| object.id);
        all
    }
}

impl Engine {
    /// Runs `work` on the object's state, loaded and attached.
    pub(crate) fn with_object<T>(
        &self,
        id: ObjectId,
        work: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        let object = loop {
            let object = self.objects.get_or_insert(id);
            let state = object.state.lock();
            if !state.detached {
                drop(state);
                break object;
            }
        };
        let Some(mut state) = self.attached(&object)? else {
            return self.with_object(id, work);
        };
        let result = work(&mut state);
        self.settle(&mut state);
        self.release_if_clean(&object, &mut state);
        result
    }

    /// Locks and loads; None if it was detached in between.
    fn attached<'a>(&self, object: &'a Object) -> Result<Option<MutexGuard<'a, State>>> {
        let mut state = object.state.lock();
        if state.detached {
            return Ok(None);
        }
        if !state.loaded
            && let Err(error) = self.load_state(object.id, &mut state)
        {
            self.release_if_clean(object, &mut state);
            return Err(error);
        }
        Ok(Some(state))
    }

    fn load_state(&self, id: ObjectId, state: &mut State) -> Result<()> {
        if let Some(row) = self.head_row(&View::Now, id)? {
            state.published = row;
            state.exists = true;
            state.head = row.head;
        }
        state.loaded = true;
        Ok(())
    }

    pub(crate) fn head_row(&self, view: &View, id: ObjectId) -> Result<Option<HeadRow>> {
        let row = self.get_in(view, rows::HEADS, &rows::object_key(id))?;
        row.map(|bytes| HeadRow::decode(&bytes)).transpose()
    }

    /// Brings the engine's count of what waits in memory up to date.
    fn settle(&self, state: &mut State) {
        let now = state.load();
        let before = std::mem::replace(&mut state.counted, now);
        self.memory.change(before, now);
    }

    fn release_if_clean(&self, object: &Object, state: &mut State) {
        if state.is_clean() && state.logged_since.is_none() && !state.detached {
            state.detached = true;
            self.objects.remove(object.id);
        }
    }

    /// The object's data dies: nothing of it will be published any more. The caller holds the gate.
    /// True if rows may exist.
    pub(crate) fn kill_object(&self, id: ObjectId, txg: Txg) -> bool {
        let Some(object) = self.objects.get(id) else {
            return true;
        };
        let mut state = object.state.lock();
        if state.detached {
            return true;
        }
        let known_absent = state.loaded && !state.exists;
        let mut dropped: Vec<(u64, Entry)> =
            std::mem::take(&mut state.pending).into_entries().collect();
        if let Some(sealed) = state.sealed.take() {
            dropped.extend(sealed.layer.into_entries());
        }
        self.orphan(&dropped);
        state.changed = false;
        if let Some(since) = state.logged_since.take() {
            self.logged_ends(txg, since, id);
        }
        self.settle(&mut state);
        self.release_if_clean(&object, &mut state);
        !known_absent
    }

    /// Payload that rode in the log and reached no stripe before a crash waits again.
    pub(crate) fn restore_payload(
        &self,
        id: ObjectId,
        pieces: Vec<(Txg, SessionId, u64, bytes::Bytes)>,
    ) -> Result<()> {
        self.with_object(id, |state| {
            for (txg, session, offset, bytes) in pieces {
                let end = (offset + bytes.len() as u64).min(state.head.size);
                if offset >= end {
                    continue;
                }
                let mut data = bytes.to_vec();
                data.truncate(usize::try_from(end - offset).unwrap_or(usize::MAX));
                let logged = data.len();
                let piece = Piece::Buffer { data, logged };
                state.pending.insert(
                    offset,
                    Entry {
                        end,
                        session,
                        piece,
                    },
                    &mut Vec::new(),
                );
                if state.logged_since.is_none() {
                    state.logged_since = Some(txg);
                    self.logged_begins(txg, id);
                }
                state.session = session;
                state.changed = true;
            }
            Ok(())
        })?;
        self.mark_dirty();
        Ok(())
    }

    fn lane(&self, state: &mut State) -> u8 {
        *state
            .lane
            .get_or_insert_with(|| self.objects.next_lane.fetch_add(1, Ordering::Relaxed) % 4)
    }
}

/// Which object a change of data belongs to, for the change log.
pub(crate) fn data_change(
    id: ObjectId,
    offset: u64,
    len: u64,
    session: SessionId,
) -> crate::feed::Change {
    let inode: Inode = id.inode;
    let aspect = if id.stream == 0 {
        crate::Aspect::Data { offset, len }
    } else {
        crate::Aspect::Stream
    };
    crate::feed::Change {
        inode,
        aspect,
        session,
    }
}
