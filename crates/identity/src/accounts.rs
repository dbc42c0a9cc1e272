//! The accounts in memory: every look-up, and the rules that span several accounts.

use std::collections::{BTreeMap, HashMap};

use crate::rows::{GROUPS, GroupRow, RealmRow, Rows, USERS, UserRow};
use crate::{Group, IdentityError, Result, Sid, Token, User, names};

/// RIDs below are Windows's own.
pub(crate) const RID_FIRST: u32 = 1000;

#[derive(Debug)]
pub(crate) struct Accounts {
    pub(crate) realm: RealmRow,
    pub(crate) users: BTreeMap<u32, UserRow>,
    pub(crate) groups: BTreeMap<u32, GroupRow>,
    /// Users and groups share one space of names.
    by_name: HashMap<String, Rid>,
}

/// A relative identifier and what it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rid {
    User(u32),
    Group(u32),
}

impl Accounts {
    pub(crate) fn new(realm: RealmRow) -> Self {
        Accounts {
            realm,
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            by_name: HashMap::new(),
        }
    }

    /// Reads and checks all rows.
    pub(crate) fn load(realm: RealmRow, rows: &dyn Rows) -> Result<Self> {
        let mut accounts = Accounts::new(realm);
        for (rid, bytes) in rows.load(USERS)? {
            accounts.check_loaded(rid)?;
            accounts.put_user(rid, UserRow::decode(&bytes)?);
        }
        for (rid, bytes) in rows.load(GROUPS)? {
            accounts.check_loaded(rid)?;
            accounts.put_group(rid, GroupRow::decode(&bytes)?);
        }
        if accounts.by_name.len() != accounts.users.len() + accounts.groups.len() {
            return Err(IdentityError::Corrupt {
                what: "two accounts have one name".to_owned(),
            });
        }
        Ok(accounts)
    }

    fn check_loaded(&self, rid: u32) -> Result<()> {
        if (RID_FIRST..self.realm.next_rid).contains(&rid) {
            return Ok(());
        }
        Err(IdentityError::Corrupt {
            what: format!("account {rid} was never given out"),
        })
    }

    pub(crate) fn put_user(&mut self, rid: u32, row: UserRow) {
        self.by_name.insert(names::fold(&row.name), Rid::User(rid));
        self.users.insert(rid, row);
    }

    pub(crate) fn put_group(&mut self, rid: u32, row: GroupRow) {
        self.by_name.insert(names::fold(&row.name), Rid::Group(rid));
        self.groups.insert(rid, row);
    }

    pub(crate) fn forget_user(&mut self, rid: u32) {
        if let Some(row) = self.users.remove(&rid) {
            self.by_name.remove(&names::fold(&row.name));
        }
    }

    pub(crate) fn forget_group(&mut self, rid: u32) {
        if let Some(row) = self.groups.remove(&rid) {
            self.by_name.remove(&names::fold(&row.name));
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<Rid> {
        self.by_name.get(&names::fold(name)).copied()
    }

    pub(crate) fn user(&self, name: &str) -> Result<(u32, &UserRow)> {
        self.find_user(name).ok_or_else(|| IdentityError::NoUser {
            name: name.to_owned(),
        })
    }

    pub(crate) fn find_user(&self, name: &str) -> Option<(u32, &UserRow)> {
        match self.find(name)? {
            Rid::User(rid) => self.users.get(&rid).map(|row| (rid, row)),
            Rid::Group(_) => None,
        }
    }

    pub(crate) fn group(&self, name: &str) -> Result<(u32, &GroupRow)> {
        let found = match self.find(name) {
            Some(Rid::Group(rid)) => self.groups.get(&rid).map(|row| (rid, row)),
            Some(Rid::User(_)) | None => None,
        };
        found.ok_or_else(|| IdentityError::NoGroup {
            name: name.to_owned(),
        })
    }

    pub(crate) fn machine(&self) -> Sid {
        Sid::machine(self.realm.machine)
    }

    pub(crate) fn sid(&self, rid: u32) -> Sid {
        self.machine()
            .with_rid(rid)
            .expect("a machine's SID has room for a rid")
    }

    pub(crate) fn groups_of(&self, rid: u32) -> impl Iterator<Item = u32> {
        let member = move |row: &GroupRow| row.members.binary_search(&rid).is_ok();
        self.groups
            .iter()
            .filter(move |(_, row)| member(row))
            .map(|(group, _)| *group)
    }

    pub(crate) fn describe_user(&self, rid: u32, row: &UserRow) -> User {
        User {
            sid: self.sid(rid),
            name: row.name.clone(),
            admin: row.admin,
            disabled: row.disabled,
            groups: self.groups_of(rid).map(|group| self.sid(group)).collect(),
        }
    }

    pub(crate) fn describe_group(&self, rid: u32, row: &GroupRow) -> Group {
        let members = row.members.iter().map(|member| self.sid(*member)).collect();
        Group {
            sid: self.sid(rid),
            name: row.name.clone(),
            members,
            built_in: false,
        }
    }

    /// A built-in group of the users that `member` picks.
    pub(crate) fn built_in(&self, sid: Sid, name: &str, member: fn(&UserRow) -> bool) -> Group {
        let rids = self
            .users
            .iter()
            .filter(|(_, row)| member(row))
            .map(|(rid, _)| *rid);
        let members = rids.map(|rid| self.sid(rid)).collect();
        Group {
            sid,
            name: name.to_owned(),
            members,
            built_in: true,
        }
    }

    pub(crate) fn token(&self, rid: u32, row: &UserRow) -> Token {
        let mut groups: Vec<Sid> = self.groups_of(rid).map(|group| self.sid(group)).collect();
        groups.extend([
            Sid::USERS,
            Sid::EVERYONE,
            Sid::AUTHENTICATED_USERS,
            Sid::NETWORK,
        ]);
        if row.admin {
            groups.push(Sid::ADMINISTRATORS);
        }
        Token {
            user: self.sid(rid),
            groups,
            admin: row.admin,
        }
    }

    /// Refuses to take the pool's last administrator who can log on away.
    pub(crate) fn check_not_last_admin(&self, rid: u32) -> Result<()> {
        let active = |row: &UserRow| row.admin && !row.disabled;
        match self.users.get(&rid) {
            Some(row) if active(row) => {}
            Some(_) | None => return Ok(()),
        }
        if self
            .users
            .iter()
            .any(|(other, row)| *other != rid && active(row))
        {
            return Ok(());
        }
        let name = self
            .users
            .get(&rid)
            .map(|row| row.name.clone())
            .unwrap_or_default();
        Err(IdentityError::LastAdmin { name })
    }
}
