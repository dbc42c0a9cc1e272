//! Signing in and out, the first setup, and who is connected.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Extracted;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use strongroom_identity::User;
use strongroom_vfs::SessionInfo;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::audit::Act;
use crate::endpoint::{Access, Endpoint};
use crate::https::COOKIE;
use crate::people::rid_of;
use crate::{Caller, Problem, Role, Scope, State, types};

type Answer<T> = Result<T, Problem>;

/// How long a logon waits for its turn to be checked.
const TURN: Duration = Duration::from_secs(10);
/// Attempts at the setup's code are counted under a name that no account can have.
const SETUP_NAME: &str = "/setup";

types::hides!(SignIn, SetUp);

/// The address that a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The cookie that a request came with.
#[derive(Debug, Clone)]
pub(crate) struct Cookie(pub(crate) Option<String>);

#[derive(Serialize, Deserialize, ToSchema)]
pub struct SignIn {
    pub name: String,
    #[serde(with = "types::secret")]
    #[schema(value_type = String)]
    pub password: Zeroizing<String>,
    /// Of the second factor, where the account has one.
    #[serde(default)]
    pub code: Option<String>,
}

/// A session; its cookie is in the answer's header.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedIn {
    pub name: String,
    pub role: Role,
    /// What every request that changes something has to send along.
    pub csrf: String,
}

/// The first administrator of the console, proved by the code that the server printed.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct SetUp {
    pub setup_code: String,
    pub name: String,
    #[serde(with = "types::secret")]
    #[schema(value_type = String)]
    pub password: Zeroizing<String>,
}

/// Somebody who is connected.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Connected {
    pub user: String,
    pub address: String,
    /// As "SMB 3.1.1" or "console".
    pub how: String,
    /// Seconds since 1970; None where nobody noted it.
    pub since_s: Option<u64>,
    pub opens: usize,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Access as A;
    vec![
        Endpoint::post(
            "/session",
            "sign_in",
            "Begins a session, with a cookie",
            A::ANYBODY,
            sign_in,
        )
        .scope(Scope::Account)
        .takes::<SignIn>()
        .gives::<SignedIn>(),
        Endpoint::delete(
            "/session",
            "sign_out",
            "Ends the session",
            A::SIGNED_IN,
            sign_out,
        )
        .scope(Scope::Account),
        Endpoint::post(
            "/setup",
            "set_up",
            "Makes the first administrator, and begins a session",
            A::ANYBODY,
            set_up,
        )
        .scope(Scope::Account)
        .takes::<SetUp>()
        .gives::<SignedIn>(),
        Endpoint::get(
            "/connected",
            "list_connected",
            "Who is connected",
            A::WATCHERS,
            connected,
        )
        .gives_list::<Connected>(),
    ]
}

/// The user whose password this is, after leave of the throttle. Whoever calls tells the throttle of a success.
pub(crate) async fn verify(
    state: &Arc<State>,
    name: &str,
    password: Zeroizing<String>,
    peer: IpAddr,
) -> Answer<User> {
    throttled(state, name, peer)?;
    let turn = tokio::time::timeout(TURN, state.hashing.acquire()).await;
    let busy = || {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many are signing in; try again",
        )
    };
    let _turn = turn.map_err(|_| busy())?.map_err(Problem::internal)?;
    let (identity, who) = (Arc::clone(&state.identity), name.to_owned());
    let checked = tokio::task::spawn_blocking(move || identity.verify_password(&who, &password));
    let user = checked.await.map_err(Problem::internal)?;
    user.ok_or_else(|| Problem::unauthorized("the name or the password is wrong"))
}

fn throttled(state: &State, name: &str, peer: IpAddr) -> Answer<()> {
    let leave = state
        .identity
        .throttle()
        .attempt(name, peer, state.env.now());
    leave.map_err(|wait| Problem::wait(wait.0.as_secs() + 1))
}

async fn sign_in(
    Extracted(state): Extracted<Arc<State>>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(cookie): Extension<Cookie>,
    Json(asked): Json<SignIn>,
) -> Answer<Response> {
    let name = asked.name.clone();
    let user = match prove(&state, asked, peer).await {
        Ok(user) => user,
        Err(problem) => {
            // Being asked for the code is no refusal.
            if !problem.is_code_wanted() {
                note(&state, "sign_in", &name, None, peer, Some(&problem))?;
            }
            return Err(problem);
        }
    };
    state.identity.throttle().succeeded(&name, peer);
    begin(&state, "sign_in", &user, peer, &cookie)
}

async fn prove(state: &Arc<State>, asked: SignIn, peer: IpAddr) -> Answer<User> {
    let user = verify(state, &asked.name, asked.password, peer).await?;
    let Some(rid) = rid_of(&state.identity, &user.sid) else {
        return Ok(user);
    };
    let factor = state.people.get(rid).totp;
    if !factor.is_some_and(|factor| factor.confirmed) {
        return Ok(user);
    }
    let code = asked.code.unwrap_or_default();
    if code.trim().is_empty() {
        // It stays counted until the code was right, too: else asking for the code would pay for guesses at it.
        return Err(Problem::code_wanted());
    }
    let now = state.now_s();
    let right = state.people.change(rid, |person| {
        let factor = person.totp.as_mut();
        let right = factor.is_some_and(|factor| factor.take(&code, now));
        if right {
            Ok(())
        } else {
            Err(Problem::unauthorized("the code is wrong"))
        }
    });
    right.map(|()| user)
}

/// A session of its own for whoever has just proved who it is; the one that came along ends.
fn begin(
    state: &Arc<State>,
    act: &str,
    user: &User,
    peer: IpAddr,
    cookie: &Cookie,
) -> Answer<Response> {
    if let Some(old) = &cookie.0 {
        state.note_ended(state.sessions.end(old).into_iter().collect());
    }
    let record = state.vfs.begin_session(&SessionInfo {
        user: user.sid,
        user_name: user.name.clone(),
        address: peer.to_string(),
        protocol: "HTTPS".to_owned(),
    })?;
    let who = (user.sid, user.name.clone());
    let (secret, ended) = state
        .sessions
        .begin(&*state.env, who, peer.to_string(), record);
    state.note_ended(ended);
    let session = state.sessions.find(&secret, &*state.env);
    let csrf = session.map(|session| session.csrf).unwrap_or_default();
    let role = state.people.role(&state.identity, &user.sid, user.admin);
    note(state, act, &user.name, Some(role), peer, None)?;
    let document = SignedIn {
        name: user.name.clone(),
        role,
        csrf,
    };
    let mut response = Json(document).into_response();
    response
        .headers_mut()
        .insert(SET_COOKIE, cookie_header(&secret, ""));
    Ok(response)
}

fn cookie_header(value: &str, more: &str) -> HeaderValue {
    let text = format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict{more}");
    HeaderValue::try_from(text).expect("a cookie of hexadecimal digits is a header")
}

/// Signing in is written to the log of acts here, since nobody is the caller before it.
fn note(
    state: &State,
    act: &str,
    name: &str,
    role: Option<Role>,
    peer: IpAddr,
    problem: Option<&Problem>,
) -> Answer<()> {
    // Guesses that were not even looked at would fill the log.
    if problem.is_some_and(|problem| problem.status() == StatusCode::TOO_MANY_REQUESTS) {
        return Ok(());
    }
    let name: String = name.chars().take(64).collect();
    Ok(state.audit.add(&Act {
        time_s: state.now_s(),
        who: name,
        role: role.map_or("", Role::word).to_owned(),
        address: peer.to_string(),
        act: act.to_owned(),
        on: String::new(),
        result: if problem.is_none() { "done" } else { "refused" }.to_owned(),
        detail: problem.map_or_else(String::new, |problem| problem.detail().to_owned()),
    })?)
}

async fn sign_out(
    Extracted(state): Extracted<Arc<State>>,
    Extension(cookie): Extension<Cookie>,
) -> Answer<Response> {
    if let Some(secret) = &cookie.0 {
        state.note_ended(state.sessions.end(secret).into_iter().collect());
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let gone = cookie_header("", "; Max-Age=0");
    response.headers_mut().insert(SET_COOKIE, gone);
    Ok(response)
}

async fn set_up(
    Extracted(state): Extracted<Arc<State>>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(cookie): Extension<Cookie>,
    Json(asked): Json<SetUp>,
) -> Answer<Response> {
    if !state.setup.is_wanted() {
        let detail = "this server is set up already; sign in";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    throttled(&state, SETUP_NAME, peer)?;
    if !state.setup.is_right(&asked.setup_code) {
        let problem =
            Problem::unauthorized("this is not the code that the server printed at its last start");
        note(&state, "set_up", "", None, peer, Some(&problem))?;
        return Err(problem);
    }
    state.identity.throttle().succeeded(SETUP_NAME, peer);
    let user = first_administrator(&state, &asked.name, asked.password).await?;
    if !state.setup.take(&asked.setup_code)? {
        let detail = "somebody else has set this server up just now";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    state.store.sync_all().await?;
    begin(&state, "set_up", &user, peer, &cookie)
}

/// The account that the first start made gets the password that its owner has chosen; another name makes another one.
async fn first_administrator(
    state: &Arc<State>,
    name: &str,
    password: Zeroizing<String>,
) -> Answer<User> {
    if let Some(user) = state.identity.user_by_name(name) {
        if !user.admin {
            let detail = format!("{name} is no administrator; choose another name");
            return Err(Problem::wrong(detail));
        }
        super::own::set_password(state, &user, password, None).await?;
        return Ok(user);
    }
    let (identity, name) = (Arc::clone(&state.identity), name.to_owned());
    let made = tokio::task::spawn_blocking(move || {
        identity.add_user(strongroom_identity::NewUser {
            name: &name,
            password: &password,
            admin: true,
        })
    });
    Ok(made.await.map_err(Problem::internal)??)
}

async fn connected(Extracted(state): Extracted<Arc<State>>) -> Json<Vec<Connected>> {
    let smb = state.smb.sessions().into_iter().map(|session| Connected {
        user: session.user,
        address: session.peer.ip().to_canonical().to_string(),
        how: format!("SMB {}", session.dialect),
        since_s: Some(session.since.seconds()),
        opens: session.opens,
    });
    let console = state.sessions.list(&*state.env);
    let console = console.into_iter().map(|session| Connected {
        user: session.name,
        address: session.address,
        how: "console".to_owned(),
        since_s: None,
        opens: 0,
    });
    let mut all: Vec<Connected> = smb.chain(console).collect();
    all.sort_by(|a, b| (&a.user, &a.address).cmp(&(&b.user, &b.address)));
    Json(all)
}

impl State {
    /// The caller that an account is, by a session of the console.
    pub(crate) fn caller_of(&self, session: &crate::sessions::Session) -> Option<Caller> {
        let token = self.identity.token(&session.sid)?;
        Some(Caller {
            role: self.people.role(&self.identity, &session.sid, token.admin),
            who: crate::Who::Account(session.sid),
            name: session.name.clone(),
            scopes: None,
            address: session.address.clone(),
            session: session.record,
        })
    }
}
