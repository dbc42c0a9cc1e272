//! What stands before every handler: may this caller, is the body one that can be held, and the log of acts.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State as Extracted};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde_json::Value;

use super::{Access, Endpoint};
use crate::audit::Act;
use crate::{Caller, Problem, Scope, State};

/// A document; bytes of files go another way.
const BODY_MAX: usize = 1 << 20;
/// How long a document may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// What of a question is written to the log of acts: names and times, never a secret.
const TOLD: [&str; 22] = [
    "action",
    "admin",
    "allow_shared_device",
    "at_s",
    "compress",
    "decoy",
    "disabled",
    "domain",
    "dry_run",
    "hold",
    "keep",
    "lock_until_s",
    "name",
    "path",
    "permitted",
    "replaces",
    "role",
    "scopes",
    "share",
    "spare",
    "to",
    "to_s",
];
const TOLD_LEN_MAX: usize = 2_000;

/// What the check needs of an endpoint.
#[derive(Debug, Clone)]
struct Rule {
    id: &'static str,
    access: Access,
    scope: Scope,
    changes: bool,
    streams: bool,
}

pub(super) fn guarded(endpoint: Endpoint) -> MethodRouter<Arc<State>> {
    let rule = Rule {
        id: endpoint.id,
        access: endpoint.access,
        scope: endpoint.scope,
        changes: endpoint.changes,
        streams: endpoint.streams(),
    };
    endpoint
        .handler
        .layer(middleware::from_fn_with_state(rule, guard))
}

async fn guard(Extracted(rule): Extracted<Rule>, request: Request, next: Next) -> Response {
    let Some(state) = request.extensions().get::<Arc<State>>().cloned() else {
        return Problem::internal("no door let this request in").into_response();
    };
    let caller = request.extensions().get::<Caller>().cloned();
    let on = request.uri().path().to_owned();
    let on = on.strip_prefix(super::PREFIX).unwrap_or(&on).to_owned();
    let mut told = request.uri().query().unwrap_or_default().to_owned();
    let response = match check(&rule, caller.as_ref()) {
        Err(problem) => problem.into_response(),
        Ok(()) if rule.streams => next.run(request).await,
        Ok(()) => match whole(request).await {
            Err(problem) => problem.into_response(),
            Ok((request, body)) => {
                told += &worth_telling(&body);
                next.run(request).await
            }
        },
    };
    let response = as_problem(response).await;
    let why = response.extensions().get::<Problem>();
    let outcome = (response.status(), why.map(|why| why.detail().to_owned()));
    if rule.changes
        && let Some(caller) = caller
        && let Err(problem) = record(&state, &rule, &caller, (on, told), outcome).await
    {
        return problem.into_response();
    }
    response
}

fn check(rule: &Rule, caller: Option<&Caller>) -> Result<(), Problem> {
    if rule.access.is_open() {
        return Ok(());
    }
    let caller = caller.ok_or_else(|| Problem::unauthorized("sign in first, or send a token"))?;
    if !rule.access.admits(caller.role) {
        let detail = format!(
            "an account that is {} may not do this",
            with_article(caller)
        );
        return Err(Problem::forbidden(detail));
    }
    if !caller.has(rule.scope) {
        let detail = format!("this token lacks the scope {}", rule.scope.word());
        return Err(Problem::forbidden(detail));
    }
    Ok(())
}

fn with_article(caller: &Caller) -> String {
    let word = caller.role.word();
    let article = if word.starts_with(['a', 'o']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {word}")
}

/// Reads a document to its end, within limits of size and time.
async fn whole(request: Request) -> Result<(Request, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let reading = to_bytes(body, BODY_MAX);
    let late = || {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the request took too long to arrive",
        )
    };
    let large = || {
        let detail = "the request is larger than 1 MiB, or was cut off";
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let body = tokio::time::timeout(BODY_PATIENCE, reading).await;
    let body = body.map_err(|_| late())?.map_err(|_| large())?;
    Ok((Request::from_parts(parts, Body::from(body.clone())), body))
}

/// Names and times of a document, in one line.
fn worth_telling(body: &[u8]) -> String {
    let Ok(Value::Object(document)) = serde_json::from_slice(body) else {
        return String::new();
    };
    let told = document
        .iter()
        .filter(|(name, value)| TOLD.contains(&name.as_str()) && !value.is_null());
    let told: Vec<String> = told
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut line = told.join(" ");
    let cut = (0..=TOLD_LEN_MAX.min(line.len()))
        .rev()
        .find(|at| line.is_char_boundary(*at));
    line.truncate(cut.unwrap_or(0));
    line
}

/// What the router and the extractors refuse by themselves becomes a problem document too.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_document = response.extensions().get::<Problem>().is_some();
    if is_document || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let body = to_bytes(response.into_body(), BODY_MAX).await;
    let text = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
    Problem::new(status, text).into_response()
}

/// The act is in the log before anybody hears that it was done.
async fn record(
    state: &State,
    rule: &Rule,
    caller: &Caller,
    (on, told): (String, String),
    (status, why): (StatusCode, Option<String>),
) -> Result<(), Problem> {
    let result = if status.is_success() || status.is_redirection() {
        "done"
    } else if status.is_server_error() {
        "failed"
    } else {
        "refused"
    };
    let detail = match why {
        Some(why) if !told.is_empty() => format!("{told}: {why}"),
        Some(why) => why,
        None => told,
    };
    state.audit.add(&Act {
        time_s: state.now_s(),
        who: caller.name.clone(),
        role: caller.role.word().to_owned(),
        address: caller.address.clone(),
        act: rule.id.to_owned(),
        on,
        result: result.to_owned(),
        detail,
    })?;
    if result == "done" {
        state.store.sync_all().await?;
    }
    Ok(())
}
