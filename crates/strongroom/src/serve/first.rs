//! The first start: an administrator with a password made up for him, and a share.

use std::sync::Arc;

use strongroom_device::Env;
use strongroom_identity::{Identity, NewUser, generate_password};
use strongroom_store::Store;
use strongroom_vfs::{NewShare, Vfs, VfsError};
use zeroize::Zeroizing;

use crate::failure::Result;

pub(crate) const ADMIN: &str = "admin";
pub(crate) const SHARE: &str = "files";

/// Shown once and kept nowhere.
#[derive(Clone)]
pub(crate) struct Password(Zeroizing<String>);

impl Password {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Password(..)")
    }
}

/// Does what a pool without any account needs; durable on return. A start that was cut short before is made good.
pub(crate) async fn set_up(
    env: &dyn Env,
    store: &Arc<Store>,
    vfs: &Arc<Vfs>,
    identity: &Arc<Identity>,
) -> Result<Option<Password>> {
    if !identity.users().is_empty() {
        return Ok(None);
    }
    let new = NewShare {
        name: SHARE.to_owned(),
        ..NewShare::default()
    };
    match vfs.add_share(new) {
        Ok(_) | Err(VfsError::Exists) => {}
        Err(error) => return Err(error.into()),
    }
    let password = generate_password(env);
    identity.add_user(NewUser {
        name: ADMIN,
        password: &password,
        admin: true,
    })?;
    store.sync_all().await?;
    Ok(Some(Password(password)))
}
