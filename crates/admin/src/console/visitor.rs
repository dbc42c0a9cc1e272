//! Who looks at a page.

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Api, Behalf};
use crate::api::{Cookie, Peer};
use crate::endpoint::segment;
use crate::https::Signed;
use crate::when::Here;
use crate::{Problem, Role};

/// Somebody, signed in or not.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) signed: Option<Signed>,
    pub(super) api: Api,
    pub(super) behalf: Behalf,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Visitor, Response> {
        let extensions = &parts.extensions;
        let (Some(api), Some(peer)) = (extensions.get::<Api>(), extensions.get::<Peer>()) else {
            return Err(Problem::internal("no door let this request in").into_response());
        };
        let signed = extensions.get::<Signed>().cloned();
        Ok(Visitor {
            behalf: Behalf {
                caller: signed.as_ref().map(|signed| signed.caller.clone()),
                peer: *peer,
                cookie: extensions.get::<Cookie>().cloned().unwrap_or(Cookie(None)),
            },
            api: api.clone(),
            signed,
        })
    }
}

/// Somebody who is signed in; others are led to where they can.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) signed: Signed,
    pub(super) api: Api,
    pub(super) behalf: Behalf,
    pub(super) here: Here,
}

impl<S: Send + Sync> FromRequestParts<S> for Member {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Member, Response> {
        let visitor = Visitor::from_request_parts(parts, state).await?;
        let Some(signed) = visitor.signed else {
            let to = parts.uri.path_and_query().map_or("/", |to| to.as_str());
            let back = if parts.method == Method::GET { to } else { "/" };
            return Err(Redirect::to(&format!("/sign-in?next={}", segment(back))).into_response());
        };
        Ok(Member {
            signed,
            api: visitor.api,
            behalf: visitor.behalf,
            here: Here::machine(),
        })
    }
}

impl Member {
    pub(super) fn role(&self) -> Role {
        self.signed.caller.role
    }

    pub(super) fn csrf(&self) -> &str {
        &self.signed.session.csrf
    }

    pub(super) fn is_admin(&self) -> bool {
        self.role() == Role::Administrator
    }

    /// Keeps the machine running.
    pub(super) fn operates(&self) -> bool {
        matches!(self.role(), Role::Administrator | Role::Operator)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        self.api.get(&self.behalf, path).await
    }

    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        self.api.ask(&self.behalf, path, body).await
    }
}
