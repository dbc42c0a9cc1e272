//! The table of what the API does: each row is a path, who may, what it takes and gives, and the handler. The router, the
//! check of roles, the log of acts and the OpenAPI document are all made from it, so that none can miss an endpoint.

mod document;
mod guard;

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::routing::{self, MethodRouter};
use serde_json::Value;
use utoipa::{PartialSchema, ToSchema};

use crate::{Problem, Role, Scope, State};

pub use document::document;

/// Where the API is, behind both doors.
pub const PREFIX: &str = "/api/v1";

/// The roles that may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// Without signing in.
    pub const ANYBODY: Access = Access(0xff);
    pub const SIGNED_IN: Access = Access(0b1111);
    /// Those who see the server's state.
    pub const WATCHERS: Access = Access(0b1110);
    pub const OPERATORS: Access = Access(0b1100);
    pub const ADMINISTRATORS: Access = Access(0b1000);
    /// Those who read the log of acts.
    pub const AUDITORS: Access = Access(0b1010);

    pub fn admits(self, role: Role) -> bool {
        let bit = match role {
            Role::User => 0b0001,
            Role::Auditor => 0b0010,
            Role::Operator => 0b0100,
            Role::Administrator => 0b1000,
        };
        self.0 & bit != 0
    }

    pub fn is_open(self) -> bool {
        self == Access::ANYBODY
    }
}

/// What a body is.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// A JSON document of this schema.
    One(String),
    /// A JSON list of them.
    Many(String),
    /// Bytes of this type.
    Bytes(&'static str),
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub method: Method,
    /// Below [`PREFIX`].
    pub path: &'static str,
    /// The operation's name, in the document and in the log of acts.
    pub id: &'static str,
    pub summary: &'static str,
    pub access: Access,
    pub scope: Scope,
    /// It changes something, and is written to the log of acts.
    pub changes: bool,
    query: Vec<(&'static str, bool, &'static str)>,
    takes: Option<Content>,
    gives: Option<Content>,
    status: StatusCode,
    schemas: Vec<(String, Value)>,
    handler: MethodRouter<Arc<State>>,
}

type Name = (Method, &'static str, &'static str, &'static str);

impl Endpoint {
    fn new(
        (method, path, id, summary): Name,
        access: Access,
        handler: MethodRouter<Arc<State>>,
    ) -> Endpoint {
        let changes = method != Method::GET;
        Endpoint {
            method,
            path,
            id,
            summary,
            access,
            scope: if changes { Scope::Change } else { Scope::Read },
            changes,
            query: Vec::new(),
            takes: None,
            gives: None,
            status: StatusCode::NO_CONTENT,
            schemas: Vec::new(),
            handler,
        }
    }

    pub(crate) fn get<H, T>(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        access: Access,
        handler: H,
    ) -> Endpoint
    where
        H: Handler<T, Arc<State>>,
        T: 'static,
    {
        Endpoint::new(
            (Method::GET, path, id, summary),
            access,
            routing::get(handler),
        )
    }

    pub(crate) fn post<H, T>(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        access: Access,
        handler: H,
    ) -> Endpoint
    where
        H: Handler<T, Arc<State>>,
        T: 'static,
    {
        Endpoint::new(
            (Method::POST, path, id, summary),
            access,
            routing::post(handler),
        )
    }

    pub(crate) fn put<H, T>(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        access: Access,
        handler: H,
    ) -> Endpoint
    where
        H: Handler<T, Arc<State>>,
        T: 'static,
    {
        Endpoint::new(
            (Method::PUT, path, id, summary),
            access,
            routing::put(handler),
        )
    }

    pub(crate) fn patch<H, T>(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        access: Access,
        handler: H,
    ) -> Endpoint
    where
        H: Handler<T, Arc<State>>,
        T: 'static,
    {
        Endpoint::new(
            (Method::PATCH, path, id, summary),
            access,
            routing::patch(handler),
        )
    }

    pub(crate) fn delete<H, T>(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        access: Access,
        handler: H,
    ) -> Endpoint
    where
        H: Handler<T, Arc<State>>,
        T: 'static,
    {
        Endpoint::new(
            (Method::DELETE, path, id, summary),
            access,
            routing::delete(handler),
        )
    }

    /// It only asks, though by POST, as its question does not fit into an address.
    pub(crate) fn question(mut self) -> Endpoint {
        self.changes = false;
        self.scope = Scope::Read;
        self
    }

    pub(crate) fn scope(mut self, scope: Scope) -> Endpoint {
        self.scope = scope;
        self
    }

    pub(crate) fn asks(mut self, name: &'static str, summary: &'static str) -> Endpoint {
        self.query.push((name, true, summary));
        self
    }

    pub(crate) fn may_ask(mut self, name: &'static str, summary: &'static str) -> Endpoint {
        self.query.push((name, false, summary));
        self
    }

    fn learn<T: ToSchema>(&mut self) -> String {
        let name = T::name().into_owned();
        let mut schemas = vec![(name.clone(), T::schema())];
        T::schemas(&mut schemas);
        let schemas = schemas.iter();
        self.schemas
            .extend(schemas.map(|(name, schema)| (name.clone(), json(schema))));
        name
    }

    pub(crate) fn takes<T: ToSchema>(mut self) -> Endpoint {
        self.takes = Some(Content::One(self.learn::<T>()));
        self
    }

    pub(crate) fn takes_bytes(mut self, kind: &'static str) -> Endpoint {
        self.takes = Some(Content::Bytes(kind));
        self
    }

    pub(crate) fn gives<T: ToSchema>(mut self) -> Endpoint {
        self.gives = Some(Content::One(self.learn::<T>()));
        self.status = StatusCode::OK;
        self
    }

    pub(crate) fn gives_list<T: ToSchema + PartialSchema>(mut self) -> Endpoint {
        self.gives = Some(Content::Many(self.learn::<T>()));
        self.status = StatusCode::OK;
        self
    }

    pub(crate) fn gives_bytes(mut self, kind: &'static str) -> Endpoint {
        self.gives = Some(Content::Bytes(kind));
        self.status = StatusCode::OK;
        self
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Endpoint {
        self.status = status;
        self
    }

    /// Its body is taken as it comes, however large.
    fn streams(&self) -> bool {
        matches!(self.takes, Some(Content::Bytes(_)))
    }

    /// With the values of a path's parameters in their places.
    pub fn path_with(&self, value: &str) -> String {
        let parts = self
            .path
            .split('/')
            .map(|part| match part.strip_prefix('{') {
                Some(_) => segment(value),
                None => part.to_owned(),
            });
        parts.collect::<Vec<_>>().join("/")
    }
}

/// Every endpoint behind its check. The door in front puts in who calls.
pub(crate) fn router(endpoints: Vec<Endpoint>) -> Router<Arc<State>> {
    let mut router = Router::new();
    for endpoint in endpoints {
        let path = format!("{PREFIX}{}", endpoint.path);
        router = router.route(&path, guard::guarded(endpoint));
    }
    router
        .fallback(async || Problem::not_found("there is no such route"))
        .method_not_allowed_fallback(async || {
            let detail = "this route does not know that method";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
}

/// Percent-encodes a name for use as one segment of a path (RFC 3986, section 2.1).
pub fn segment(name: &str) -> String {
    let encode = |byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        // A dot too: "." and ".." would be taken for steps in the path.
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

/// As JSON; schemas of our own are never what JSON cannot say.
fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_segment() {
        assert_eq!(segment("a/b ü."), "a%2Fb%20%C3%BC%2E");
    }

    #[test]
    fn roles_are_admitted_as_the_words_say() {
        let admitted = |access: Access| Role::ALL.map(|role| access.admits(role));
        assert_eq!(admitted(Access::SIGNED_IN), [true; 4]);
        assert_eq!(admitted(Access::WATCHERS), [false, true, true, true]);
        assert_eq!(admitted(Access::OPERATORS), [false, false, true, true]);
        assert_eq!(admitted(Access::AUDITORS), [false, true, false, true]);
        assert_eq!(
            admitted(Access::ADMINISTRATORS),
            [false, false, false, true]
        );
    }
}
