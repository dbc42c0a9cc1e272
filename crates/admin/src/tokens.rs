//! API tokens: secrets for programs, each limited to scopes, kept as hashes.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use strongroom_device::Env;
use strongroom_store::Store;
use strongroom_vfs::SessionId;

use crate::Scope;
use crate::rows::{Rows, RowsError, TOKENS};

/// What one account can have.
const OF_ACCOUNT_MAX: usize = 100;
const SECRET_LEN: usize = 32;
/// So that a token that leaked into a log or a repository is told for what it is.
const PREFIX: &str = "strongroom_";

/// One token as it is kept; its secret is not among it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) name: String,
    /// The account that it acts for.
    pub(crate) owner: u32,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) made_s: u64,
    pub(crate) expires_s: Option<u64>,
    hash: [u8; 32],
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("there are {OF_ACCOUNT_MAX} tokens already; take one back first")]
    TooMany,
    #[error(transparent)]
    Rows(#[from] RowsError),
}

#[derive(Debug)]
pub(crate) struct Tokens {
    rows: Rows,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    tokens: HashMap<u64, Token>,
    /// What the changes of each are recorded under, in this run.
    sessions: HashMap<u64, SessionId>,
    next: u64,
}

/// A token that was presented and is good.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) id: u64,
    pub(crate) token: Token,
}

impl Tokens {
    pub(crate) fn open(store: Arc<Store>) -> Result<Tokens, RowsError> {
        let rows = Rows::new(store, TOKENS);
        let tokens: HashMap<u64, Token> = rows.all()?.into_iter().collect();
        let next = tokens.keys().max().map_or(1, |last| last + 1);
        Ok(Tokens {
            rows,
            known: Mutex::new(Known {
                tokens,
                sessions: HashMap::new(),
                next,
            }),
        })
    }

    /// Makes one and gives the text that is shown this once.
    pub(crate) fn make(
        &self,
        env: &dyn Env,
        owner: u32,
        name: &str,
        scopes: Vec<Scope>,
        expires_s: Option<u64>,
    ) -> Result<(u64, String), TokenError> {
        let mut secret = [0; SECRET_LEN];
        env.fill_random(&mut secret);
        let mut known = self.known.lock();
        let of_owner = |token: &&Token| token.owner == owner;
        if known.tokens.values().filter(of_owner).count() >= OF_ACCOUNT_MAX {
            return Err(TokenError::TooMany);
        }
        let id = known.next;
        let text = format!("{PREFIX}{id}_{}", hex(&secret));
        let token = Token {
            name: name.to_owned(),
            owner,
            scopes,
            made_s: env.now().seconds(),
            expires_s,
            hash: hash(&text),
        };
        self.rows.put(id, &token)?;
        known.next += 1;
        known.tokens.insert(id, token);
        Ok((id, text))
    }

    /// All of one account, or all there are, by number.
    pub(crate) fn list(&self, owner: Option<u32>) -> Vec<(u64, Token)> {
        let known = self.known.lock();
        let wanted = |token: &Token| owner.is_none_or(|owner| token.owner == owner);
        let found = known.tokens.iter().filter(|(_, token)| wanted(token));
        let mut list: Vec<_> = found.map(|(id, token)| (*id, token.clone())).collect();
        list.sort_by_key(|(id, _)| *id);
        list
    }

    /// False where there is none.
    pub(crate) fn revoke(&self, id: u64) -> Result<bool, RowsError> {
        let mut known = self.known.lock();
        if known.tokens.remove(&id).is_none() {
            return Ok(false);
        }
        known.sessions.remove(&id);
        self.rows.delete([id])?;
        Ok(true)
    }

    pub(crate) fn revoke_all_of(&self, owner: u32) -> Result<(), RowsError> {
        let mut known = self.known.lock();
        let gone = known.tokens.extract_if(|_, token| token.owner == owner);
        let gone: Vec<u64> = gone.map(|(id, _)| id).collect();
        self.rows.delete(gone)
    }

    /// Who presents `text`; None where it is wrong, taken back or too old.
    pub(crate) fn present(&self, text: &str, now_s: u64) -> Option<Presented> {
        let id = text.strip_prefix(PREFIX)?.split('_').next()?;
        let id: u64 = id.parse().ok()?;
        let known = self.known.lock();
        let token = known.tokens.get(&id)?;
        verify_slices_are_equal(&token.hash, &hash(text)).ok()?;
        let is_good = token.expires_s.is_none_or(|until| now_s < until);
        is_good.then(|| Presented {
            id,
            token: token.clone(),
        })
    }

    /// What this token's changes are recorded under; `begin` makes it at the first use.
    pub(crate) fn session<E>(
        &self,
        id: u64,
        begin: impl FnOnce() -> Result<SessionId, E>,
    ) -> Result<SessionId, E> {
        let mut known = self.known.lock();
        if let Some(session) = known.sessions.get(&id) {
            return Ok(*session);
        }
        let session = begin()?;
        known.sessions.insert(id, session);
        Ok(session)
    }
}

fn hash(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
