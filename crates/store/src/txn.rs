//! A unit of atomicity.

use bytes::Bytes;

use crate::{Aspect, Inode, Key, ObjectId, Result, SessionId, Store, Table, Txg};

/// All of it in one transaction group, or nothing; dropped means nothing.
#[derive(Debug)]
pub struct Txn<'a> {
    pub(crate) store: &'a Store,
    pub(crate) session: SessionId,
}

impl Txn<'_> {
    pub fn put(&mut self, table: Table, key: impl Into<Key>, value: impl Into<Bytes>) {
        let _ = (table, key.into(), value.into());
        unimplemented!()
    }

    pub fn delete(&mut self, table: Table, key: impl Into<Key>) {
        let _ = (table, key.into());
        unimplemented!()
    }

    /// Tells the change log what this transaction touched.
    pub fn note(&mut self, inode: Inode, aspect: Aspect) {
        let _ = (inode, aspect);
        unimplemented!()
    }

    /// The object's data dies with this transaction.
    pub fn delete_object(&mut self, object: ObjectId) {
        let _ = object;
        unimplemented!()
    }

    /// Makes the transaction visible to all readers; durable with its group.
    ///
    /// `NoSpace` when it needs room and there is none. One that only deletes draws on the reserve.
    pub fn commit(self) -> Result<Txg> {
        let _ = (self.store, self.session);
        unimplemented!()
    }
}
