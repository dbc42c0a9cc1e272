//! One's own account: password, second factor, tokens.

use std::sync::Arc;

use axum::extract::{Path, State as Extracted};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use strongroom_identity::{Sid, User};
use strongroom_vfs::SessionId;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::sign_in::{Peer, verify};
use crate::endpoint::{Access, Endpoint};
use crate::people::rid_of;
use crate::{Caller, Problem, Role, Scope, State, Who, totp, types};

type Answer<T> = Result<T, Problem>;

const DAY_S: u64 = 86_400;
const TOKEN_NAME_MAX: usize = 100;
const TOKEN_DAYS_MAX: u64 = 3_660;

types::hides!(NewPassword, Password, SecondFactorCode);

/// Who the caller is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Me {
    pub name: String,
    pub role: Role,
    pub second_factor: bool,
    /// Codes on paper that were not used yet.
    pub recovery_codes_left: usize,
}

#[derive(Serialize, Deserialize, ToSchema)]
pub struct NewPassword {
    #[serde(with = "types::secret")]
    #[schema(value_type = String)]
    pub old: Zeroizing<String>,
    #[serde(with = "types::secret")]
    #[schema(value_type = String)]
    pub new: Zeroizing<String>,
}

/// The caller's password, to show that it is still the same person.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Password {
    #[serde(with = "types::secret")]
    #[schema(value_type = String)]
    pub password: Zeroizing<String>,
}

/// What an application needs to make codes; shown this once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SecondFactor {
    pub secret: String,
    pub uri: String,
    /// Each opens the account once in the application's place.
    pub recovery_codes: Vec<String>,
}

#[derive(Serialize, Deserialize, ToSchema)]
pub struct SecondFactorCode {
    pub code: String,
}

/// A token to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    pub scopes: Vec<Scope>,
    /// How long it is good; for ever without it.
    #[serde(default)]
    pub days: Option<u64>,
}

/// A token that was made: the only time that its secret is shown.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenMade {
    pub id: u64,
    pub token: String,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenShown {
    pub id: u64,
    pub name: String,
    pub owner: String,
    pub scopes: Vec<Scope>,
    pub made_s: u64,
    pub expires_s: Option<u64>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Access as A;
    let own = |endpoint: Endpoint| endpoint.scope(Scope::Account);
    vec![
        Endpoint::get("/me", "get_me", "Who the caller is", A::SIGNED_IN, me)
            .scope(Scope::Account)
            .gives::<Me>(),
        own(Endpoint::post(
            "/me/password",
            "change_own_password",
            "Gives the caller another password",
            A::SIGNED_IN,
            change_password,
        ))
        .takes::<NewPassword>(),
        own(Endpoint::post(
            "/me/second-factor",
            "begin_second_factor",
            "Begins a second factor, in place of one there is",
            A::SIGNED_IN,
            begin_factor,
        ))
        .takes::<Password>()
        .gives::<SecondFactor>(),
        own(Endpoint::post(
            "/me/second-factor/confirm",
            "confirm_second_factor",
            "Asks for it from now on",
            A::SIGNED_IN,
            confirm_factor,
        ))
        .takes::<SecondFactorCode>(),
        own(Endpoint::post(
            "/me/second-factor/drop",
            "drop_second_factor",
            "Asks for none any more",
            A::SIGNED_IN,
            drop_factor,
        ))
        .takes::<Password>(),
        own(Endpoint::get(
            "/tokens",
            "list_tokens",
            "The caller's tokens; an administrator's call shows all",
            A::SIGNED_IN,
            list_tokens,
        ))
        .gives_list::<TokenShown>(),
        own(Endpoint::post(
            "/tokens",
            "make_token",
            "Makes a token of the caller's",
            A::SIGNED_IN,
            make_token,
        ))
        .takes::<NewToken>()
        .gives::<TokenMade>()
        .with_status(StatusCode::CREATED),
        own(Endpoint::delete(
            "/tokens/{id}",
            "revoke_token",
            "Takes a token back",
            A::SIGNED_IN,
            revoke_token,
        )),
    ]
}

/// The account that calls.
fn account(state: &State, caller: &Caller) -> Answer<(User, u32)> {
    let Who::Account(sid) = &caller.who else {
        return Err(Problem::wrong(
            "who comes through the socket has no account of its own",
        ));
    };
    let gone = || Problem::unauthorized("this account is gone");
    let user = state.identity.user_by_sid(sid).ok_or_else(gone)?;
    let rid = rid_of(&state.identity, sid).ok_or_else(gone)?;
    Ok((user, rid))
}

async fn me(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
) -> Answer<Json<Me>> {
    let factor = match account(&state, &caller) {
        Ok((_, rid)) => state.people.get(rid).totp.filter(|factor| factor.confirmed),
        Err(_) => None,
    };
    Ok(Json(Me {
        name: caller.name,
        role: caller.role,
        second_factor: factor.is_some(),
        recovery_codes_left: factor.map_or(0, |factor| factor.recovery_left()),
    }))
}

/// Sets a password and ends the account's sessions in the console, but not the one that is recorded as `but`.
pub(super) async fn set_password(
    state: &Arc<State>,
    user: &User,
    password: Zeroizing<String>,
    but: Option<SessionId>,
) -> Answer<()> {
    let (identity, name) = (Arc::clone(&state.identity), user.name.clone());
    let set = tokio::task::spawn_blocking(move || identity.set_password(&name, &password));
    set.await.map_err(Problem::internal)??;
    state.end_sessions(&user.sid, but);
    Ok(())
}

async fn change_password(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Extension(Peer(peer)): Extension<Peer>,
    Json(change): Json<NewPassword>,
) -> Answer<StatusCode> {
    let (user, _) = account(&state, &caller)?;
    confirm(&state, &user, change.old, peer).await?;
    set_password(&state, &user, change.new, Some(caller.session)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// That the caller knows the account's password; as throttled as signing in.
async fn confirm(
    state: &Arc<State>,
    user: &User,
    password: Zeroizing<String>,
    peer: std::net::IpAddr,
) -> Answer<()> {
    verify(state, &user.name, password, peer).await?;
    state.identity.throttle().succeeded(&user.name, peer);
    Ok(())
}

async fn begin_factor(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Extension(Peer(peer)): Extension<Peer>,
    Json(asked): Json<Password>,
) -> Answer<Json<SecondFactor>> {
    let (user, rid) = account(&state, &caller)?;
    confirm(&state, &user, asked.password, peer).await?;
    let (factor, recovery_codes) = totp::Enrolled::new(&*state.env);
    let shown = SecondFactor {
        secret: factor.secret_text(),
        uri: factor.uri(&state.host, &user.name),
        recovery_codes,
    };
    state.people.change(rid, |person| {
        person.totp = Some(factor);
        Ok::<_, Problem>(())
    })?;
    Ok(Json(shown))
}

async fn confirm_factor(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Json(given): Json<SecondFactorCode>,
) -> Answer<StatusCode> {
    let (_, rid) = account(&state, &caller)?;
    let now = state.now_s();
    state.people.change(rid, |person| {
        let begun = person.totp.as_mut();
        let factor = begun.ok_or_else(|| Problem::wrong("no second factor was begun"))?;
        if !factor.take(&given.code, now) {
            return Err(Problem::wrong(
                "this is not the code that the application shows now; is its clock right?",
            ));
        }
        factor.confirmed = true;
        Ok(())
    })?;
    Ok(StatusCode::NO_CONTENT)
}

async fn drop_factor(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Extension(Peer(peer)): Extension<Peer>,
    Json(asked): Json<Password>,
) -> Answer<StatusCode> {
    let (user, rid) = account(&state, &caller)?;
    confirm(&state, &user, asked.password, peer).await?;
    state.people.change(rid, |person| {
        person.totp = None;
        Ok::<_, Problem>(())
    })?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_tokens(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
) -> Answer<Json<Vec<TokenShown>>> {
    let owner = match caller.role {
        Role::Administrator => None,
        Role::User | Role::Auditor | Role::Operator => Some(account(&state, &caller)?.1),
    };
    let shown = |(id, token): (u64, crate::tokens::Token)| TokenShown {
        id,
        name: token.name,
        owner: owner_name(&state, token.owner),
        scopes: token.scopes,
        made_s: token.made_s,
        expires_s: token.expires_s,
    };
    Ok(Json(
        state.tokens.list(owner).into_iter().map(shown).collect(),
    ))
}

fn owner_name(state: &State, rid: u32) -> String {
    let users = state.identity.users();
    let owner = users
        .into_iter()
        .find(|user| rid_of(&state.identity, &user.sid) == Some(rid));
    owner.map_or_else(String::new, |user| user.name)
}

async fn make_token(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Json(new): Json<NewToken>,
) -> Answer<(StatusCode, Json<TokenMade>)> {
    let (_, rid) = account(&state, &caller)?;
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > TOKEN_NAME_MAX {
        let detail = "a token needs a name of up to 100 characters that says what it is for";
        return Err(Problem::wrong(detail));
    }
    if new.scopes.is_empty() {
        return Err(Problem::wrong(
            "a token without a scope is good for nothing",
        ));
    }
    let expires_s = match new.days {
        None => None,
        Some(days) if (1..=TOKEN_DAYS_MAX).contains(&days) => Some(state.now_s() + days * DAY_S),
        Some(_) => {
            return Err(Problem::wrong(
                "a token is good for 1 to 3660 days, or for ever",
            ));
        }
    };
    let mut scopes = new.scopes.clone();
    scopes.sort();
    scopes.dedup();
    let (id, token) = state
        .tokens
        .make(&*state.env, rid, name, scopes, expires_s)?;
    Ok((StatusCode::CREATED, Json(TokenMade { id, token })))
}

async fn revoke_token(
    Extracted(state): Extracted<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<u64>,
) -> Answer<StatusCode> {
    let none = || Problem::not_found(format!("there is no token {id} of yours"));
    let own = match caller.role {
        Role::Administrator => None,
        Role::User | Role::Auditor | Role::Operator => Some(account(&state, &caller)?.1),
    };
    if !state.tokens.list(own).iter().any(|(known, _)| *known == id) {
        return Err(none());
    }
    if !state.tokens.revoke(id)? {
        return Err(none());
    }
    Ok(StatusCode::NO_CONTENT)
}

impl State {
    /// Ends an account's sessions in the console, but not the one that is recorded as `but`.
    pub(crate) fn end_sessions(&self, sid: &Sid, but: Option<SessionId>) {
        let ended = self.sessions.end_all_of(sid, but);
        self.note_ended(ended);
    }

    /// Writes down that sessions ended. What fails is only the note.
    pub(crate) fn note_ended(&self, ended: Vec<SessionId>) {
        for session in ended {
            if let Err(error) = self.vfs.end_session(session) {
                tracing::warn!(%error, "the end of a session is not recorded");
            }
        }
    }
}
