//! The first setup: who sees the server's output proves to be its owner by a code that is printed there.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use strongroom_device::Env;
use strongroom_identity::generate_password;
use strongroom_store::Store;
use zeroize::Zeroizing;

use crate::rows::{Rows, RowsError, SETTINGS};

#[derive(Debug, Default, Serialize, Deserialize)]
struct SettingsRow {
    set_up: bool,
}

/// Every start prints another code until one was used.
pub(crate) struct Setup {
    rows: Rows,
    code: Mutex<Option<Zeroizing<String>>>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Setup(..)")
    }
}

impl Setup {
    pub(crate) fn open(store: Arc<Store>, env: &dyn Env) -> Result<Setup, RowsError> {
        let rows = Rows::new(store, SETTINGS);
        let settings: SettingsRow = rows.get(())?.unwrap_or_default();
        let code = (!settings.set_up).then(|| generate_password(env));
        Ok(Setup {
            rows,
            code: Mutex::new(code),
        })
    }

    pub(crate) fn code(&self) -> Option<String> {
        self.code.lock().as_ref().map(|code| code.to_string())
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.code.lock().is_some()
    }

    pub(crate) fn is_right(&self, text: &str) -> bool {
        let text = text.trim().to_ascii_lowercase();
        let code = self.code.lock();
        let right = |code: &Zeroizing<String>| {
            verify_slices_are_equal(code.as_bytes(), text.as_bytes()).is_ok()
        };
        code.as_ref().is_some_and(right)
    }

    /// Uses the code up. False for a wrong one, and for whoever comes second.
    pub(crate) fn take(&self, text: &str) -> Result<bool, RowsError> {
        if !self.is_right(text) {
            return Ok(false);
        }
        let mut code = self.code.lock();
        if code.is_none() {
            return Ok(false);
        }
        self.rows.put((), &SettingsRow { set_up: true })?;
        *code = None;
        Ok(true)
    }
}
