//! The accounts of one pool.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockWriteGuard};
use strongroom_device::Env;
use strongroom_store::{Store, Table};
use zeroize::Zeroizing;

use crate::accounts::{Accounts, RID_FIRST, Rid};
use crate::rows::{Change, GROUPS, GroupRow, Phc, REALM, RealmRow, Rows, USERS, UserRow};
use crate::{
    AccountDomain, AccountKind, Group, IdentityError, NewUser, NtHash, Result, Sid, SidName,
    Throttle, Token, User, names, password, well_known,
};

const ADMINISTRATORS: &str = "Administrators";
const USERS_GROUP: &str = "Users";

/// All accounts of a pool, in memory and in its rows.
///
/// A change is visible on return and durable with its transaction group: who tells a person that it is done awaits
/// `Store::sync_all` first. Functions that take a password work for some tens of milliseconds (argon2id), so they are
/// called where that holds nobody up.
#[derive(Debug)]
pub struct Identity {
    rows: Box<dyn Rows>,
    env: Arc<dyn Env>,
    /// Held for writing while a change is committed, so that rows and memory never part.
    accounts: RwLock<Accounts>,
    /// Counts the changes of this run.
    revision: AtomicU64,
    throttle: Throttle,
}

/// The accounts while they are changed. Whoever sees the next revision sees the change too.
struct Changing<'a> {
    accounts: RwLockWriteGuard<'a, Accounts>,
    revision: &'a AtomicU64,
}

impl Deref for Changing<'_> {
    type Target = Accounts;

    fn deref(&self) -> &Accounts {
        &self.accounts
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut Accounts {
        &mut self.accounts
    }
}

/// Before the lock is let go, so that nobody reads the new accounts under the old number.
impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.revision.fetch_add(1, Ordering::AcqRel);
    }
}

impl Identity {
    /// Reads the accounts; in a new pool makes the machine's SID.
    pub fn open(store: Arc<Store>, env: Arc<dyn Env>) -> Result<Arc<Self>> {
        Identity::with_rows(Box::new(store), env)
    }

    pub(crate) fn with_rows(rows: Box<dyn Rows>, env: Arc<dyn Env>) -> Result<Arc<Self>> {
        let accounts = match rows.realm()? {
            Some(bytes) => Accounts::load(RealmRow::decode(&bytes)?, &*rows)?,
            None => found(&*rows, &*env)?,
        };
        let accounts = RwLock::new(accounts);
        Ok(Arc::new(Identity {
            rows,
            env,
            accounts,
            revision: AtomicU64::new(0),
            throttle: Throttle::default(),
        }))
    }

    fn change(&self) -> Changing<'_> {
        Changing {
            accounts: self.accounts.write(),
            revision: &self.revision,
        }
    }

    /// Grows with every change of users and groups. A [`Token`] that was made after this was read is good as long as
    /// the number stays; then it must be made anew.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub fn machine_sid(&self) -> Sid {
        self.accounts.read().machine()
    }

    /// Asked before each check of a password, by whoever knows the client's address.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// All users, by name.
    pub fn users(&self) -> Vec<User> {
        let accounts = self.accounts.read();
        let described = |(rid, row): (&u32, &UserRow)| accounts.describe_user(*rid, row);
        let mut users: Vec<User> = accounts.users.iter().map(described).collect();
        users.sort_by_cached_key(|user| names::fold(&user.name));
        users
    }

    /// Without regard to case.
    pub fn user_by_name(&self, name: &str) -> Option<User> {
        let accounts = self.accounts.read();
        let (rid, row) = accounts.find_user(name)?;
        Some(accounts.describe_user(rid, row))
    }

    pub fn user_by_sid(&self, sid: &Sid) -> Option<User> {
        let accounts = self.accounts.read();
        let rid = sid.rid_in(&accounts.machine())?;
        Some(accounts.describe_user(rid, accounts.users.get(&rid)?))
    }

    pub fn add_user(&self, user: NewUser<'_>) -> Result<User> {
        names::check(user.name)?;
        password::check(user.name, user.password)?;
        let row = UserRow {
            name: user.name.to_owned(),
            admin: user.admin,
            disabled: false,
            nt_hash: NtHash::of_password(user.password),
            phc: self.slow_hash(user.password),
        };
        let mut accounts = self.change();
        let (rid, realm) = next_rid(&accounts, user.name)?;
        self.rows.commit(vec![
            put(USERS, Some(rid), row.encode()),
            put(REALM, None, realm.encode()),
        ])?;
        accounts.realm = realm;
        let made = accounts.describe_user(rid, &row);
        accounts.put_user(rid, row);
        Ok(made)
    }

    /// Takes the user out of its groups too. Its SID is never used again.
    pub fn remove_user(&self, name: &str) -> Result<()> {
        let mut accounts = self.change();
        let (rid, _) = accounts.user(name)?;
        accounts.check_not_last_admin(rid)?;
        let mut changes = vec![Change {
            table: USERS,
            rid: Some(rid),
            value: None,
        }];
        let mut changed = Vec::new();
        for group in accounts.groups_of(rid) {
            let mut row = accounts.groups[&group].clone();
            row.members.retain(|member| *member != rid);
            changes.push(put(GROUPS, Some(group), row.encode()));
            changed.push((group, row));
        }
        self.rows.commit(changes)?;
        accounts.forget_user(rid);
        changed
            .into_iter()
            .for_each(|(group, row)| accounts.put_group(group, row));
        Ok(())
    }

    /// Sets what NTLM and what everything else checks.
    pub fn set_password(&self, name: &str, password: &str) -> Result<()> {
        self.accounts.read().user(name)?;
        password::check(name, password)?;
        let (nt_hash, phc) = (NtHash::of_password(password), self.slow_hash(password));
        self.change_user(name, |row| (row.nt_hash, row.phc) = (nt_hash, phc))
    }

    /// A disabled user cannot log on; sessions under way are the protocols' to end (see [`Identity::revision`]).
    pub fn set_disabled(&self, name: &str, disabled: bool) -> Result<()> {
        self.change_user(name, |row| row.disabled = disabled)
    }

    pub fn set_admin(&self, name: &str, admin: bool) -> Result<()> {
        self.change_user(name, |row| row.admin = admin)
    }

    /// None for a user who is absent or disabled.
    pub fn nt_hash_of(&self, name: &str) -> Option<NtHash> {
        let accounts = self.accounts.read();
        let (_, row) = accounts.find_user(name)?;
        (!row.disabled).then(|| row.nt_hash.clone())
    }

    /// The user if the password is right and it may log on. As slow for an absent user. Does not throttle.
    pub fn verify_password(&self, name: &str, password: &str) -> Option<User> {
        // The slow part runs without the lock.
        let phc = self
            .accounts
            .read()
            .find_user(name)
            .map(|(_, row)| row.phc.clone());
        let Some(phc) = phc else {
            password::verify_nothing(password);
            return None;
        };
        let right = password::verify(password, &phc.0);
        self.user_by_name(name)
            .filter(|user| right && !user.disabled)
    }

    /// Who a user is to access checks; None for one who is absent or disabled.
    pub fn token(&self, user: &Sid) -> Option<Token> {
        let accounts = self.accounts.read();
        let rid = user.rid_in(&accounts.machine())?;
        let row = accounts.users.get(&rid).filter(|row| !row.disabled)?;
        Some(accounts.token(rid, row))
    }

    /// All groups, by name; the built-in ones too.
    pub fn groups(&self) -> Vec<Group> {
        let accounts = self.accounts.read();
        let described = |(rid, row): (&u32, &GroupRow)| accounts.describe_group(*rid, row);
        let mut groups: Vec<Group> = accounts.groups.iter().map(described).collect();
        groups.push(accounts.built_in(Sid::ADMINISTRATORS, ADMINISTRATORS, |row| row.admin));
        groups.push(accounts.built_in(Sid::USERS, USERS_GROUP, |_| true));
        groups.sort_by_cached_key(|group| names::fold(&group.name));
        groups
    }

    pub fn add_group(&self, name: &str) -> Result<Group> {
        names::check(name)?;
        let row = GroupRow {
            name: name.to_owned(),
            members: Vec::new(),
        };
        let mut accounts = self.change();
        let (rid, realm) = next_rid(&accounts, name)?;
        self.rows.commit(vec![
            put(GROUPS, Some(rid), row.encode()),
            put(REALM, None, realm.encode()),
        ])?;
        accounts.realm = realm;
        let made = accounts.describe_group(rid, &row);
        accounts.put_group(rid, row);
        Ok(made)
    }

    /// Its members stay users. Its SID is never used again.
    pub fn remove_group(&self, name: &str) -> Result<()> {
        check_not_built_in(name)?;
        let mut accounts = self.change();
        let (rid, _) = accounts.group(name)?;
        self.rows.commit(vec![Change {
            table: GROUPS,
            rid: Some(rid),
            value: None,
        }])?;
        accounts.forget_group(rid);
        Ok(())
    }

    /// A user that is a member already stays one. Adding to Administrators makes an administrator.
    pub fn add_member(&self, group: &str, user: &str) -> Result<()> {
        if names::fold(group) == names::fold(ADMINISTRATORS) {
            return self.set_admin(user, true);
        }
        check_not_built_in(group)?;
        self.change_members(group, user, |members, rid| {
            if let Err(at) = members.binary_search(&rid) {
                members.insert(at, rid);
            }
        })
    }

    pub fn remove_member(&self, group: &str, user: &str) -> Result<()> {
        if names::fold(group) == names::fold(ADMINISTRATORS) {
            return self.set_admin(user, false);
        }
        check_not_built_in(group)?;
        self.change_members(group, user, |members, rid| {
            members.retain(|member| *member != rid)
        })
    }

    /// The account's name, as security tabs show it.
    pub fn sid_name(&self, sid: &Sid) -> Option<SidName> {
        let accounts = self.accounts.read();
        let Some(rid) = sid.rid_in(&accounts.machine()) else {
            return well_known::name_of(sid);
        };
        let user = accounts
            .users
            .get(&rid)
            .map(|row| (&row.name, AccountKind::User));
        let group = || {
            accounts
                .groups
                .get(&rid)
                .map(|row| (&row.name, AccountKind::Alias))
        };
        let (name, kind) = user.or_else(group)?;
        Some(SidName {
            name: name.clone(),
            domain: AccountDomain::Machine,
            kind,
        })
    }

    /// The SID of a user, a group or a well-known name; without case.
    pub fn sid_of(&self, name: &str) -> Option<Sid> {
        let accounts = self.accounts.read();
        match accounts.find(name) {
            Some(Rid::User(rid) | Rid::Group(rid)) => Some(accounts.sid(rid)),
            None => well_known::sid_of(name),
        }
    }

    fn slow_hash(&self, password: &str) -> Phc {
        let mut salt = [0; 16];
        self.env.fill_random(&mut salt);
        Phc(Zeroizing::new(password::hash(password, &salt)))
    }

    /// Changes one user's row, but never so that nobody could administer the pool any more.
    fn change_user(&self, name: &str, change: impl FnOnce(&mut UserRow)) -> Result<()> {
        let mut accounts = self.change();
        let (rid, row) = accounts.user(name)?;
        let mut row = row.clone();
        change(&mut row);
        if !row.admin || row.disabled {
            accounts.check_not_last_admin(rid)?;
        }
        self.rows
            .commit(vec![put(USERS, Some(rid), row.encode())])?;
        accounts.put_user(rid, row);
        Ok(())
    }

    fn change_members(
        &self,
        group: &str,
        user: &str,
        change: impl FnOnce(&mut Vec<u32>, u32),
    ) -> Result<()> {
        let mut accounts = self.change();
        let (member, _) = accounts.user(user)?;
        let (rid, row) = accounts.group(group)?;
        let mut row = row.clone();
        change(&mut row.members, member);
        self.rows
            .commit(vec![put(GROUPS, Some(rid), row.encode())])?;
        accounts.put_group(rid, row);
        Ok(())
    }
}

/// The accounts of a pool that has none yet: a machine SID of its own.
fn found(rows: &dyn Rows, env: &dyn Env) -> Result<Accounts> {
    if !rows.load(USERS)?.is_empty() || !rows.load(GROUPS)?.is_empty() {
        return Err(IdentityError::Corrupt {
            what: "the machine's SID is missing".to_owned(),
        });
    }
    let mut random = [[0; 4]; 3];
    env.fill_random(random.as_flattened_mut());
    let realm = RealmRow {
        machine: random.map(u32::from_le_bytes),
        next_rid: RID_FIRST,
    };
    rows.commit(vec![put(REALM, None, realm.encode())])?;
    Ok(Accounts::new(realm))
}

/// The RID for a new account of this name, and the realm once it is given out.
fn next_rid(accounts: &Accounts, name: &str) -> Result<(u32, RealmRow)> {
    if accounts.find(name).is_some() {
        return Err(IdentityError::Exists {
            name: name.to_owned(),
        });
    }
    let rid = accounts.realm.next_rid;
    let next_rid = rid.checked_add(1).ok_or(IdentityError::Full)?;
    Ok((
        rid,
        RealmRow {
            next_rid,
            ..accounts.realm
        },
    ))
}

fn check_not_built_in(group: &str) -> Result<()> {
    match well_known::sid_of(group) {
        Some(_) => Err(IdentityError::BuiltIn {
            name: group.to_owned(),
        }),
        None => Ok(()),
    }
}

fn put(table: Table, rid: Option<u32>, value: Vec<u8>) -> Change {
    Change {
        table,
        rid,
        value: Some(value),
    }
}

#[cfg(test)]
mod tests;
