//! What administration knows of accounts beside what `identity` keeps: a role, and a second factor.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use strongroom_identity::{Identity, Sid};
use strongroom_store::Store;

use crate::rows::{PEOPLE, Rows, RowsError};
use crate::{Role, totp};

/// One account. Absent is the same as the default.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Person {
    #[serde(default)]
    pub(crate) role: Role,
    #[serde(default)]
    pub(crate) totp: Option<totp::Enrolled>,
}

#[derive(Debug)]
pub(crate) struct People {
    rows: Rows,
    people: RwLock<HashMap<u32, Person>>,
}

impl People {
    pub(crate) fn open(store: Arc<Store>) -> Result<People, RowsError> {
        let rows = Rows::new(store, PEOPLE);
        let people = rows.all()?.into_iter().collect();
        Ok(People {
            rows,
            people: RwLock::new(people),
        })
    }

    pub(crate) fn get(&self, rid: u32) -> Person {
        self.people.read().get(&rid).cloned().unwrap_or_default()
    }

    /// Changes one and says what `change` said; nothing changed where it refuses.
    pub(crate) fn change<T, E: From<RowsError>>(
        &self,
        rid: u32,
        change: impl FnOnce(&mut Person) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut people = self.people.write();
        let mut person = people.get(&rid).cloned().unwrap_or_default();
        let said = change(&mut person)?;
        self.rows.put(rid, &person)?;
        people.insert(rid, person);
        Ok(said)
    }

    pub(crate) fn forget(&self, rid: u32) -> Result<(), RowsError> {
        let mut people = self.people.write();
        if people.remove(&rid).is_some() {
            self.rows.delete([rid])?;
        }
        Ok(())
    }

    /// The role of an account: administrators are those that identity calls so, for every protocol.
    pub(crate) fn role(&self, identity: &Identity, sid: &Sid, is_admin: bool) -> Role {
        if is_admin {
            return Role::Administrator;
        }
        rid_of(identity, sid).map_or(Role::User, |rid| self.get(rid).role)
    }
}

/// The number of an account of this pool.
pub(crate) fn rid_of(identity: &Identity, sid: &Sid) -> Option<u32> {
    sid.rid_in(&identity.machine_sid())
}
