//! The door for people and scripts: TLS from the first byte, then HTTP with a session's cookie or a token.

mod authenticate;
mod connections;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};

use crate::{State, api, console};

pub(crate) use authenticate::{Signed, authenticate};
pub use connections::serve;

/// The prefix has browsers refuse it from anywhere but this origin, over HTTPS, so that nobody can plant one.
pub(crate) const COOKIE: &str = "__Host-strongroom";
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Everything behind the door.
#[derive(Debug, Clone)]
pub struct Door {
    router: Router,
}

impl Door {
    pub fn new(state: &Arc<State>) -> Door {
        let api = api::router(state);
        let signed = middleware::from_fn_with_state(Arc::clone(state), authenticate);
        let router = Router::new()
            .merge(api.clone().layer(signed.clone()))
            .merge(watching(&api).layer(signed.clone()))
            .merge(console::router(&api, state).layer(signed))
            .layer(Extension(Arc::clone(state)))
            .layer(middleware::from_fn(headers));
        Door { router }
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }
}

/// What monitoring systems ask for, where they look for it.
fn watching(api: &Router) -> Router {
    let api = api.clone();
    let metrics = async move |mut request: Request| {
        *request.uri_mut() = Uri::from_static("/api/v1/metrics");
        tower::ServiceExt::oneshot(api, request)
            .await
            .into_response()
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
}

/// Whether clients can write.
async fn ready(Extension(state): Extension<Arc<State>>) -> Response {
    match state.store.status().offline {
        None => "ready\n".into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "nothing can be written\n").into_response(),
    }
}

/// What every answer carries.
async fn headers(request: Request, next: Next) -> Response {
    let is_asset = request.uri().path().starts_with("/assets/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    put(CONTENT_SECURITY_POLICY, POLICY);
    put(X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(X_FRAME_OPTIONS, "DENY");
    put(REFERRER_POLICY, "no-referrer");
    put(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    put(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    put(
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=()",
    );
    if !is_asset {
        put(CACHE_CONTROL, "no-store");
    }
    response
}
