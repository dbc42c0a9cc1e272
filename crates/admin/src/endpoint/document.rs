//! The OpenAPI 3.1 document of the table.

use serde_json::{Map, Value, json};

use super::{Content, Endpoint, PREFIX};
use crate::types::ProblemDocument;
use utoipa::{PartialSchema, ToSchema};

/// The document of these endpoints.
pub fn document(endpoints: &[Endpoint]) -> Value {
    let mut paths = Map::new();
    for endpoint in endpoints {
        let path = format!("{PREFIX}{}", endpoint.path);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[endpoint.method.as_str().to_lowercase()] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Strongroom",
            "version": "1",
            "description": "Administration of a Strongroom server. Refusals are problem documents (RFC 9457). \
                Times are seconds since 1970, sizes are bytes. Fields and paths may be added within this version, \
                never renamed.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "token": [] }, { "session": [], "csrf": [] }],
        "paths": paths,
        "components": { "schemas": schemas(endpoints), "securitySchemes": {
            "token": { "type": "http", "scheme": "bearer" },
            "session": { "type": "apiKey", "in": "cookie", "name": crate::https::COOKIE },
            "csrf": { "type": "apiKey", "in": "header", "name": crate::https::CSRF_HEADER },
        } },
    })
}

fn schemas(endpoints: &[Endpoint]) -> Map<String, Value> {
    let mut all: Vec<(String, Value)> = endpoints
        .iter()
        .flat_map(|endpoint| &endpoint.schemas)
        .cloned()
        .collect();
    let problem = (
        ProblemDocument::name().into_owned(),
        ProblemDocument::schema(),
    );
    all.push((problem.0, super::json(&problem.1)));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().collect()
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut parameters: Vec<Value> = path_parameters(endpoint.path).collect();
    parameters.extend(endpoint.query.iter().map(|(name, required, summary)| {
        json!({
            "name": name, "in": "query", "required": required, "description": summary,
            "schema": { "type": "string" },
        })
    }));
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "responses": responses(endpoint),
        "x-roles": crate::Role::ALL.iter().filter(|role| endpoint.access.admits(**role))
            .map(|role| role.word()).collect::<Vec<_>>(),
        "x-scope": endpoint.scope.word(),
    });
    if endpoint.access.is_open() {
        operation["security"] = json!([]);
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(takes) = &endpoint.takes {
        operation["requestBody"] = json!({ "required": true, "content": content(takes) });
    }
    operation
}

fn path_parameters(path: &str) -> impl Iterator<Item = Value> {
    let parts = path.split('/');
    let names = parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        let kind = if name == "id" { "integer" } else { "string" };
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } })
    })
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut done = json!({ "description": "Done" });
    if let Some(gives) = &endpoint.gives {
        done["content"] = content(gives);
    }
    let problem = json!({
        "description": "Refused: `detail` says why and what to do",
        "content": { "application/problem+json": { "schema": reference(&ProblemDocument::name()) } },
    });
    let mut responses = json!({ "default": problem });
    responses[endpoint.status.as_str()] = done;
    responses
}

fn content(content: &Content) -> Value {
    match content {
        Content::One(name) => json!({ "application/json": { "schema": reference(name) } }),
        Content::Many(name) => json!({ "application/json": { "schema": {
            "type": "array", "items": reference(name),
        } } }),
        Content::Bytes(kind) => json!({ *kind: {} }),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
