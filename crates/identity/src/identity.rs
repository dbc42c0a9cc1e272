//! The accounts of one pool.

use std::sync::Arc;

use strongroom_device::Env;
use strongroom_store::Store;

use crate::{Group, NewUser, NtHash, Result, Sid, SidName, Throttle, Token, User};

/// All accounts of a pool, in memory and in its rows.
///
/// A change is visible on return and durable with its transaction group: who tells a person that it is done awaits
/// `Store::sync_all` first. Functions that take a password work for some tens of milliseconds (argon2id), so they are
/// called where that holds nobody up.
#[derive(Debug)]
pub struct Identity {}

impl Identity {
    /// Reads the accounts; in a new pool makes the machine's SID.
    pub fn open(_store: Arc<Store>, _env: Arc<dyn Env>) -> Result<Arc<Self>> {
        unimplemented!()
    }

    pub fn machine_sid(&self) -> Sid {
        unimplemented!()
    }

    pub fn throttle(&self) -> &Throttle {
        unimplemented!()
    }

    /// All users, by name.
    pub fn users(&self) -> Vec<User> {
        unimplemented!()
    }

    pub fn user_by_name(&self, _name: &str) -> Option<User> {
        unimplemented!()
    }

    pub fn user_by_sid(&self, _sid: &Sid) -> Option<User> {
        unimplemented!()
    }

    pub fn add_user(&self, _user: NewUser<'_>) -> Result<User> {
        unimplemented!()
    }

    /// Its SID is never used again.
    pub fn remove_user(&self, _name: &str) -> Result<()> {
        unimplemented!()
    }

    pub fn set_password(&self, _name: &str, _password: &str) -> Result<()> {
        unimplemented!()
    }

    pub fn set_disabled(&self, _name: &str, _disabled: bool) -> Result<()> {
        unimplemented!()
    }

    pub fn set_admin(&self, _name: &str, _admin: bool) -> Result<()> {
        unimplemented!()
    }

    /// None for a user who is absent or disabled.
    pub fn nt_hash_of(&self, _name: &str) -> Option<NtHash> {
        unimplemented!()
    }

    /// The user if the password is right and it may log on. As slow for an absent user. Does not throttle.
    pub fn verify_password(&self, _name: &str, _password: &str) -> Option<User> {
        unimplemented!()
    }

    /// Who a user is to access checks; None for one who is absent or disabled.
    pub fn token(&self, _user: &Sid) -> Option<Token> {
        unimplemented!()
    }

    /// All groups, by name.
    pub fn groups(&self) -> Vec<Group> {
        unimplemented!()
    }

    pub fn add_group(&self, _name: &str) -> Result<Group> {
        unimplemented!()
    }

    pub fn remove_group(&self, _name: &str) -> Result<()> {
        unimplemented!()
    }

    pub fn add_member(&self, _group: &str, _user: &str) -> Result<()> {
        unimplemented!()
    }

    pub fn remove_member(&self, _group: &str, _user: &str) -> Result<()> {
        unimplemented!()
    }

    /// The account's name, as security tabs show it.
    pub fn sid_name(&self, _sid: &Sid) -> Option<SidName> {
        unimplemented!()
    }

    /// The SID of a user, a group or a well-known name; without case.
    pub fn sid_of(&self, _name: &str) -> Option<Sid> {
        unimplemented!()
    }
}
