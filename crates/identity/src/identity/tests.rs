use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use strongroom_store::StoreError;

use super::*;
use crate::testing::SeededEnv;
use crate::{NameError, PasswordError};

const PASSWORD: &str = "correct horse";

type RowKey = (u8, Option<u32>);

/// Rows in memory; fails on demand.
#[derive(Debug, Default)]
struct Memory {
    rows: Mutex<BTreeMap<RowKey, Vec<u8>>>,
    full: Mutex<bool>,
}

impl Rows for Arc<Memory> {
    fn load(&self, table: Table) -> Result<Vec<(u32, Bytes)>> {
        let rows = self.rows.lock();
        let of_table = rows.iter().filter(|((id, _), _)| *id == table.0);
        Ok(of_table
            .filter_map(|((_, rid), row)| Some(((*rid)?, row.clone().into())))
            .collect())
    }

    fn realm(&self) -> Result<Option<Bytes>> {
        Ok(self
            .rows
            .lock()
            .get(&(REALM.0, None))
            .cloned()
            .map(Bytes::from))
    }

    fn commit(&self, changes: Vec<Change>) -> Result<()> {
        if *self.full.lock() {
            return Err(StoreError::NoSpace.into());
        }
        let mut rows = self.rows.lock();
        for Change { table, rid, value } in changes {
            match value {
                Some(value) => rows.insert((table.0, rid), value),
                None => rows.remove(&(table.0, rid)),
            };
        }
        Ok(())
    }
}

fn open(memory: &Arc<Memory>) -> Arc<Identity> {
    Identity::with_rows(Box::new(Arc::clone(memory)), Arc::new(SeededEnv::new(1))).unwrap()
}

fn with_users(names: &[&str]) -> (Arc<Memory>, Arc<Identity>) {
    let memory = Arc::new(Memory::default());
    let identity = open(&memory);
    for name in names {
        let admin = *name == "admin";
        identity
            .add_user(NewUser {
                name,
                password: PASSWORD,
                admin,
            })
            .unwrap();
    }
    (memory, identity)
}

#[test]
fn accounts_are_the_same_after_reopening() {
    let (memory, identity) = with_users(&["admin", "Anna"]);
    identity.add_group("Sales").unwrap();
    identity.add_member("sales", "ANNA").unwrap();
    let again = open(&memory);
    assert_eq!(again.users(), identity.users());
    assert_eq!(again.groups(), identity.groups());
    assert_eq!(again.machine_sid(), identity.machine_sid());
    assert!(again.verify_password("anna", PASSWORD).is_some());
}

#[test]
fn sids_begin_at_1000_and_are_never_used_again() {
    let (memory, identity) = with_users(&["admin", "anna"]);
    let machine = identity.machine_sid();
    assert!(machine.to_string().starts_with("S-1-5-21-"));
    assert_eq!(
        identity.user_by_name("admin").unwrap().sid.rid_in(&machine),
        Some(1000)
    );
    identity.remove_user("anna").unwrap();
    let user = NewUser {
        name: "anna",
        password: PASSWORD,
        admin: false,
    };
    let anna = open(&memory).add_user(user).unwrap();
    assert_eq!(anna.sid.rid_in(&machine), Some(1002));
}

#[test]
fn names_differ_in_more_than_case() {
    let (_, identity) = with_users(&["Zoë"]);
    let user = NewUser {
        name: "zOË",
        password: PASSWORD,
        admin: false,
    };
    assert!(matches!(
        identity.add_user(user),
        Err(IdentityError::Exists { .. })
    ));
    assert!(matches!(
        identity.add_group("ZOË"),
        Err(IdentityError::Exists { .. })
    ));
    assert_eq!(identity.user_by_name("ZOË").unwrap().name, "Zoë");
}

#[test]
fn refuses_bad_names_and_passwords_before_writing() {
    let (memory, identity) = with_users(&[]);
    let before = memory.rows.lock().len();
    let add = |name, password| {
        identity.add_user(NewUser {
            name,
            password,
            admin: false,
        })
    };
    assert!(matches!(
        add("a/b", PASSWORD),
        Err(IdentityError::Name(NameError::Character { character: '/' }))
    ));
    let short = add("anna", "short");
    assert!(matches!(
        short,
        Err(IdentityError::Password(PasswordError::TooShort { .. }))
    ));
    assert_eq!(memory.rows.lock().len(), before);
}

#[test]
fn a_new_password_replaces_both_secrets() {
    let (_, identity) = with_users(&["anna"]);
    identity.set_password("anna", "battery staple").unwrap();
    assert!(identity.verify_password("anna", PASSWORD).is_none());
    assert!(identity.verify_password("anna", "battery staple").is_some());
    let hash = identity.nt_hash_of("anna").unwrap();
    assert_eq!(hash, NtHash::of_password("battery staple"));
}

#[test]
fn a_failed_commit_changes_nothing() {
    let (memory, identity) = with_users(&["admin"]);
    *memory.full.lock() = true;
    let user = NewUser {
        name: "anna",
        password: PASSWORD,
        admin: false,
    };
    assert!(matches!(
        identity.add_user(user),
        Err(IdentityError::Store(StoreError::NoSpace))
    ));
    assert!(identity.set_password("admin", "battery staple").is_err());
    assert!(identity.user_by_name("anna").is_none());
    assert!(identity.verify_password("admin", PASSWORD).is_some());
}

#[test]
fn disabled_users_cannot_log_on() {
    let (_, identity) = with_users(&["admin", "anna"]);
    let sid = identity.user_by_name("anna").unwrap().sid;
    identity.set_disabled("anna", true).unwrap();
    assert!(identity.nt_hash_of("anna").is_none());
    assert!(identity.verify_password("anna", PASSWORD).is_none());
    assert!(identity.token(&sid).is_none());
    identity.set_disabled("anna", false).unwrap();
    assert!(identity.token(&sid).is_some());
}

#[test]
fn the_last_administrator_stays() {
    let (_, identity) = with_users(&["admin", "anna"]);
    let last = |result| matches!(result, Err(IdentityError::LastAdmin { name }) if name == "admin");
    assert!(last(identity.remove_user("admin")));
    assert!(last(identity.set_disabled("admin", true)));
    assert!(last(identity.remove_member("administrators", "admin")));
    identity.add_member("Administrators", "anna").unwrap();
    identity.remove_user("admin").unwrap();
    assert!(identity.user_by_name("anna").unwrap().admin);
}

#[test]
fn removing_a_user_takes_it_out_of_its_groups() {
    let (memory, identity) = with_users(&["anna", "bert"]);
    identity.add_group("Sales").unwrap();
    identity.add_member("Sales", "bert").unwrap();
    identity.add_member("Sales", "anna").unwrap();
    identity.add_member("Sales", "anna").unwrap();
    identity.remove_user("anna").unwrap();
    let bert = identity.user_by_name("bert").unwrap();
    for groups in [identity.groups(), open(&memory).groups()] {
        let sales = groups.iter().find(|group| group.name == "Sales").unwrap();
        assert_eq!(sales.members, vec![bert.sid]);
    }
}

#[test]
fn a_token_holds_own_and_well_known_groups() {
    let (_, identity) = with_users(&["admin", "anna"]);
    let sales = identity.add_group("Sales").unwrap();
    identity.add_member("Sales", "anna").unwrap();
    let token = |name: &str| {
        identity
            .token(&identity.user_by_name(name).unwrap().sid)
            .unwrap()
    };
    let anna = token("anna");
    assert!(!anna.admin && !anna.groups.contains(&Sid::ADMINISTRATORS));
    for sid in [
        sales.sid,
        Sid::USERS,
        Sid::EVERYONE,
        Sid::AUTHENTICATED_USERS,
        Sid::NETWORK,
    ] {
        assert!(anna.groups.contains(&sid), "{sid}");
    }
    let admin = token("admin");
    assert!(admin.admin && admin.groups.contains(&Sid::ADMINISTRATORS));
}

#[test]
fn built_in_groups_cannot_be_removed() {
    let (_, identity) = with_users(&["admin"]);
    assert!(matches!(
        identity.remove_group("users"),
        Err(IdentityError::BuiltIn { .. })
    ));
    let member = identity.remove_member("Users", "admin");
    assert!(matches!(member, Err(IdentityError::BuiltIn { .. })));
}

#[test]
fn sids_and_names_lead_to_each_other() {
    let (_, identity) = with_users(&["anna"]);
    identity.add_group("Sales").unwrap();
    for name in ["anna", "Sales", "Everyone", "Administrators"] {
        let sid = identity.sid_of(&name.to_uppercase()).unwrap();
        assert_eq!(identity.sid_name(&sid).unwrap().name, name);
    }
    let anna = identity
        .sid_name(&identity.sid_of("anna").unwrap())
        .unwrap();
    assert_eq!(
        (anna.domain, anna.kind),
        (AccountDomain::Machine, AccountKind::User)
    );
    assert_eq!(
        identity.sid_name(&identity.machine_sid().with_rid(9999).unwrap()),
        None
    );
    assert_eq!(identity.sid_of("nobody"), None);
}

#[test]
fn damaged_rows_are_an_error_that_names_them() {
    let (memory, _) = with_users(&["anna"]);
    let reopened =
        || Identity::with_rows(Box::new(Arc::clone(&memory)), Arc::new(SeededEnv::new(1)));
    let row = memory.rows.lock().remove(&(REALM.0, None)).unwrap();
    assert!(
        reopened()
            .unwrap_err()
            .to_string()
            .contains("machine's SID is missing")
    );
    memory.rows.lock().insert((REALM.0, None), row);
    memory
        .rows
        .lock()
        .get_mut(&(USERS.0, Some(1000)))
        .unwrap()
        .truncate(9);
    assert!(reopened().unwrap_err().to_string().contains("a user"));
}

#[test]
fn debug_of_everything_shows_no_secret() {
    let (_, identity) = with_users(&["anna"]);
    let shown = format!("{identity:?}");
    let user = NewUser {
        name: "anna",
        password: PASSWORD,
        admin: false,
    };
    assert!(
        shown.contains("anna") && !shown.contains("argon2id"),
        "{shown}"
    );
    assert!(!format!("{user:?}").contains(PASSWORD));
}
