//! Who sends a request: by a token, or by a session's cookie, and then only from our own pages.

use std::sync::Arc;

use axum::extract::{Request, State as Extracted};
use axum::http::header::{AUTHORIZATION, COOKIE as COOKIE_HEADER, HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use strongroom_vfs::SessionInfo;

use super::{COOKIE, CSRF_HEADER};
use crate::api::{Cookie, Peer};
use crate::sessions::{Flash, Session};
use crate::tokens::Presented;
use crate::{Caller, Problem, State, Who};

/// A session's caller, with what its forms must say.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) caller: Caller,
    pub(crate) session: Session,
    /// What the page says first.
    pub(crate) flash: Option<Flash>,
}

/// Puts the caller into the request, where there is one; refuses what another site's page could have sent.
pub(crate) async fn authenticate(
    Extracted(state): Extracted<Arc<State>>,
    mut request: Request,
    next: Next,
) -> Response {
    let cookie = cookie(request.headers());
    let headers = request.headers();
    let admitted = match bearer(headers) {
        Some(token) => by_token(&state, token, &request).map(|caller| (Some(caller), None)),
        None => by_cookie(&state, cookie.as_deref(), &request),
    };
    let (caller, session) = match admitted {
        Ok(admitted) => admitted,
        Err(problem) => return problem.into_response(),
    };
    let flash = cookie
        .as_deref()
        .filter(|_| session.is_some() && is_page(&request))
        .and_then(|cookie| state.sessions.take_flash(cookie));
    let extensions = request.extensions_mut();
    extensions.insert(Cookie(cookie));
    if let (Some(caller), Some(session)) = (caller.clone(), session) {
        extensions.insert(Signed {
            caller,
            session,
            flash,
        });
    }
    if let Some(caller) = caller {
        extensions.insert(caller);
    }
    next.run(request).await
}

/// Whether a person will see the answer.
fn is_page(request: &Request) -> bool {
    let path = request.uri().path();
    request.method() == Method::GET
        && !path.starts_with(crate::endpoint::PREFIX)
        && !path.starts_with("/assets/")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// The session's cookie; none where there are two, as then one was planted.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(COOKIE_HEADER).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut found = pairs.filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then(|| value.to_owned())
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

fn peer_of(request: &Request) -> String {
    let peer = request.extensions().get::<Peer>();
    peer.map_or_else(String::new, |Peer(address)| address.to_string())
}

fn by_token(state: &Arc<State>, token: &str, request: &Request) -> Result<Caller, Problem> {
    let wrong = || Problem::unauthorized("this token is wrong, was taken back, or is too old");
    let Presented { id, token } = state
        .tokens
        .present(token, state.now_s())
        .ok_or_else(wrong)?;
    let users = state.identity.users();
    let is_owner = |user: &strongroom_identity::User| {
        crate::people::rid_of(&state.identity, &user.sid) == Some(token.owner)
    };
    let owner = users
        .into_iter()
        .find(is_owner)
        .filter(|user| !user.disabled);
    let owner = owner.ok_or_else(wrong)?;
    let address = peer_of(request);
    let session = state.tokens.session(id, || {
        state.vfs.begin_session(&SessionInfo {
            user: owner.sid,
            user_name: owner.name.clone(),
            address: address.clone(),
            protocol: "HTTPS token".to_owned(),
        })
    })?;
    Ok(Caller {
        role: state.people.role(&state.identity, &owner.sid, owner.admin),
        who: Who::Account(owner.sid),
        name: format!("{} (token {})", owner.name, token.name),
        scopes: Some(token.scopes),
        address,
        session,
    })
}

type Admitted = (Option<Caller>, Option<Session>);

fn by_cookie(state: &State, cookie: Option<&str>, request: &Request) -> Result<Admitted, Problem> {
    let changes = ![Method::GET, Method::HEAD].contains(request.method());
    if changes && !is_from_here(request.headers()) {
        return Err(Problem::forbidden("this request comes from another site"));
    }
    let Some(session) = cookie.and_then(|cookie| state.sessions.find(cookie, &*state.env)) else {
        return Ok((None, None));
    };
    let Some(caller) = state.caller_of(&session) else {
        return Ok((None, None));
    };
    let is_api = request.uri().path().starts_with(crate::endpoint::PREFIX);
    // The console's own forms say it in a field, which their handlers look at. Signing in needs none: it takes a password.
    if changes && is_api && !says_csrf(request, &session) {
        let detail = format!(
            "the header {CSRF_HEADER} is missing or wrong: it is the `csrf` of the session"
        );
        return Err(Problem::forbidden(detail));
    }
    Ok((Some(caller), Some(session)))
}

fn says_csrf(request: &Request, session: &Session) -> bool {
    let said = request.headers().get(CSRF_HEADER);
    let said = said.and_then(|said| said.to_str().ok()).unwrap_or_default();
    session.has_csrf(said)
}

/// Browsers say where a request was made; whoever says nothing is no browser.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text("sec-fetch-site").is_none_or(|site| ["same-origin", "none"].contains(&site));
    let host = text(HOST.as_str()).unwrap_or_default();
    let origin = text(ORIGIN.as_str());
    site && origin.is_none_or(|origin| origin.strip_prefix("https://") == Some(host))
}
