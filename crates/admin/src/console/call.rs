//! The API's handlers, called without a network: the console can do nothing that the API does not.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request};
use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use crate::api::{Cookie, Peer};
use crate::endpoint::PREFIX;
use crate::types::ProblemDocument;
use crate::{Caller, Problem};

/// Larger than any document that a page shows.
const ANSWER_MAX: usize = 64 << 20;

#[derive(Debug, Clone)]
pub(super) struct Api {
    router: Router,
}

/// On whose behalf a page calls.
#[derive(Debug, Clone)]
pub(super) struct Behalf {
    pub(super) caller: Option<Caller>,
    pub(super) peer: Peer,
    pub(super) cookie: Cookie,
}

impl Api {
    pub(super) fn new(router: Router) -> Api {
        Api { router }
    }

    /// Sends a request and gives the answer as it comes.
    pub(super) async fn send(
        &self,
        behalf: &Behalf,
        method: Method,
        path: &str,
        (kind, body): (&str, Body),
    ) -> Result<Response, Problem> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}{path}"))
            .header(CONTENT_TYPE, kind)
            .body(body);
        let mut request = request.map_err(Problem::internal)?;
        let extensions = request.extensions_mut();
        extensions.insert(behalf.peer);
        extensions.insert(behalf.cookie.clone());
        if let Some(caller) = behalf.caller.clone() {
            extensions.insert(caller);
        }
        let response = self.router.clone().oneshot(request).await;
        let Ok(response) = response;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = to_bytes(response.into_body(), ANSWER_MAX).await;
        let document: Option<ProblemDocument> = body
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok());
        Err(document.map_or_else(
            || Problem::new(status, status.to_string()),
            |document| Problem::of_document(status, document),
        ))
    }

    pub(super) async fn document(
        &self,
        behalf: &Behalf,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Response, Problem> {
        let body = serde_json::to_vec(body).map_err(Problem::internal)?;
        let body = ("application/json", Body::from(body));
        self.send(behalf, method, path, body).await
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        behalf: &Behalf,
        path: &str,
    ) -> Result<T, Problem> {
        let body = ("application/json", Body::empty());
        let response = self.send(behalf, Method::GET, path, body).await?;
        read(response).await
    }

    /// Posts a question and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        behalf: &Behalf,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        read(self.document(behalf, Method::POST, path, body).await?).await
    }
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, Problem> {
    let body = to_bytes(response.into_body(), ANSWER_MAX).await;
    let body = body.map_err(Problem::internal)?;
    serde_json::from_slice(&body).map_err(Problem::internal)
}
