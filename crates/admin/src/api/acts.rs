//! The log of acts: looked through, and exported.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State as Extracted};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::{ActsWanted, Numbered};
use crate::endpoint::{Access, Endpoint};
use crate::{Problem, State};

type Answer<T> = Result<T, Problem>;

const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// What is looked for, as an address says it.
pub type QueryOfActs = ActsWanted;

/// Acts, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ActsPage {
    pub acts: Vec<Numbered>,
    /// Where older ones go on; None at the end.
    pub before: Option<u64>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let filtered = |endpoint: Endpoint| {
        endpoint
            .may_ask("who", "Acts of this account")
            .may_ask(
                "text",
                "A part of the act, of what it was on, or of its detail",
            )
            .may_ask("result", "`done`, `refused` or `failed`")
            .may_ask("since_s", "Not before this time")
            .may_ask("until_s", "Not after this time")
    };
    vec![
        filtered(Endpoint::get(
            "/acts",
            "list_acts",
            "The log of acts, newest first",
            Access::AUDITORS,
            list,
        ))
        .may_ask("before", "Only acts with smaller numbers")
        .may_ask("max", "At most so many, up to 1000")
        .gives::<ActsPage>(),
        filtered(Endpoint::get(
            "/acts/export",
            "export_acts",
            "The log of acts as JSON lines, oldest first",
            Access::AUDITORS,
            export,
        ))
        .gives_bytes("application/jsonl"),
    ]
}

async fn list(
    Extracted(state): Extracted<Arc<State>>,
    Query(wanted): Query<ActsWanted>,
) -> Answer<Json<ActsPage>> {
    let max = wanted.max.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let acts = state.audit.newest(&wanted, max)?;
    let before = acts.last().map(|last| last.number);
    let before = before.filter(|before| acts.len() == max && *before > 1);
    Ok(Json(ActsPage { acts, before }))
}

/// A page at a time, so that a long log is never held.
async fn export(
    Extracted(state): Extracted<Arc<State>>,
    Query(wanted): Query<ActsWanted>,
) -> Response {
    let pages = stream::unfold(Some(0), move |next| {
        let (state, wanted) = (Arc::clone(&state), wanted.clone());
        async move {
            let page = state.audit.from(next?, PAGE_MAX);
            Some(match page {
                Err(error) => (Err(std::io::Error::other(error)), None),
                Ok(page) => {
                    let last = page.last()?.number;
                    (Ok(lines(&page, &wanted)), Some(last + 1))
                }
            })
        }
    });
    let headers = [
        (CONTENT_TYPE, "application/jsonl"),
        (
            CONTENT_DISPOSITION,
            "attachment; filename=\"activity.jsonl\"",
        ),
    ];
    (headers, Body::from_stream(pages)).into_response()
}

fn lines(page: &[Numbered], wanted: &ActsWanted) -> Bytes {
    let fitting = page.iter().filter(|numbered| wanted.fits(&numbered.act));
    let line = |numbered| serde_json::to_string(numbered).unwrap_or_default() + "\n";
    fitting.map(line).collect::<String>().into()
}
