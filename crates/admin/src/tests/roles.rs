//! Who may do what: the document is walked as everybody.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Client, World};
use crate::api::endpoints;
use crate::endpoint::{Endpoint, PREFIX, document};
use crate::{Role, Scope};

fn path_of(endpoint: &Endpoint) -> String {
    let number = if endpoint.path.contains("{id}") {
        "4000000000"
    } else {
        "nothing"
    };
    format!("{PREFIX}{}", endpoint.path_with(number))
}

/// What a caller without the right role or scope hears.
fn is_shut(status: StatusCode) -> bool {
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status)
}

async fn ask(world: &World, client: &Client, endpoint: &Endpoint) -> StatusCode {
    let answer = world
        .json(
            client,
            endpoint.method.clone(),
            &path_of(endpoint),
            &json!({}),
        )
        .await;
    let kind = answer
        .headers
        .get("content-type")
        .map(|kind| kind.to_str().unwrap().to_owned());
    if answer.status.is_client_error() {
        assert_eq!(
            kind.as_deref(),
            Some("application/problem+json"),
            "{}",
            endpoint.id
        );
    }
    assert!(
        !answer.status.is_server_error(),
        "{}: {}",
        endpoint.id,
        answer.text()
    );
    answer.status
}

/// Those that end what the next question needs.
fn ends_session(endpoint: &Endpoint) -> bool {
    endpoint.id == "sign_out"
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_is_open_to_its_roles_and_shut_to_all_others() {
    let world = World::new().await;
    let nobody = Client::default();
    for endpoint in endpoints()
        .iter()
        .filter(|endpoint| !endpoint.access.is_open())
    {
        assert_eq!(
            ask(&world, &nobody, endpoint).await,
            StatusCode::UNAUTHORIZED,
            "{}",
            endpoint.id
        );
    }
    for role in Role::ALL {
        let client = world.sign_in(role.word()).await;
        for endpoint in endpoints()
            .iter()
            .filter(|endpoint| !ends_session(endpoint))
        {
            let status = ask(&world, &client, endpoint).await;
            if endpoint.access.is_open() {
                continue;
            }
            let shut = !endpoint.access.admits(role);
            assert_eq!(
                is_shut(status),
                shut,
                "{} as {}: {status}",
                endpoint.id,
                role.word()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_reaches_what_its_scope_says_and_no_more() {
    let world = World::new().await;
    let person = world.sign_in("administrator").await;
    for scope in Scope::GIVEN {
        let new = json!({ "name": scope.word(), "scopes": [scope] });
        let made = world
            .json(&person, Method::POST, "/api/v1/tokens", &new)
            .await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
        let client = Client {
            token: Some(made.json()["token"].as_str().unwrap().to_owned()),
            ..Client::default()
        };
        for endpoint in endpoints()
            .iter()
            .filter(|endpoint| !endpoint.access.is_open())
        {
            let status = ask(&world, &client, endpoint).await;
            assert_eq!(
                is_shut(status),
                endpoint.scope != scope,
                "{} by {}: {status}",
                endpoint.id,
                scope.word()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_can_be_given_the_scope_of_accounts() {
    let world = World::new().await;
    let person = world.sign_in("administrator").await;
    let new = json!({ "name": "x", "scopes": ["account"] });
    let made = world
        .json(&person, Method::POST, "/api/v1/tokens", &new)
        .await;
    assert_eq!(made.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[test]
fn the_document_says_the_same_as_the_committed_one() {
    let made = serde_json::to_string_pretty(&document(&endpoints())).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi/v1.json");
    if std::env::var_os("STRONGROOM_WRITE_OPENAPI").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        made == committed,
        "openapi/v1.json differs from the code: run this test with STRONGROOM_WRITE_OPENAPI=1 and look at the change"
    );
}

#[test]
fn the_document_holds_together() {
    let document = document(&endpoints());
    let mut ids: Vec<&str> = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        ids.extend(
            item.as_object()
                .unwrap()
                .values()
                .map(|one| one["operationId"].as_str().unwrap()),
        );
    }
    assert_eq!(
        ids.len(),
        endpoints().len(),
        "no two have the same path and method"
    );
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "every operation has a name of its own");
    references(&document, &mut |to| {
        let pointer = to.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{to}");
    });
}

fn references(value: &Value, seen: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match value.as_str() {
                    Some(to) if name == "$ref" => seen(to),
                    _ => references(value, seen),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, seen)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_and_every_refusal_is_in_the_log_of_acts_without_secrets() {
    let world = World::new().await;
    let auditor = world.sign_in("auditor").await;
    let refused = world
        .json(&auditor, Method::DELETE, "/api/v1/users/user", &json!({}))
        .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let page = world.get(&auditor, "/api/v1/acts").await.json();
    let acts = page["acts"].as_array().unwrap();
    let last = &acts[0];
    assert_eq!(
        [
            &last["act"],
            &last["who"],
            &last["result"],
            &last["on"],
            &last["address"]
        ],
        [
            "remove_user",
            "auditor",
            "refused",
            "/users/user",
            "192.0.2.9"
        ]
    );
    let text = page.to_string();
    assert!(
        text.contains("add_user") && text.contains("sign_in"),
        "{text}"
    );
    assert!(!text.contains("correct horse"), "a password is in the log");
    let lines = world.get(&auditor, "/api/v1/acts/export").await.text();
    assert_eq!(lines.lines().count(), acts.len());
    let filtered = world
        .get(&auditor, "/api/v1/acts?result=refused")
        .await
        .json();
    assert_eq!(filtered["acts"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_for_monitoring_are_where_they_are_looked_for() {
    let world = World::new().await;
    let nobody = Client::default();
    assert_eq!(world.get(&nobody, "/healthz").await.text(), "ok\n");
    assert_eq!(world.get(&nobody, "/readyz").await.text(), "ready\n");
    assert_eq!(
        world.get(&nobody, "/metrics").await.status,
        StatusCode::UNAUTHORIZED
    );
    let auditor = world.sign_in("auditor").await;
    let text = world.get(&auditor, "/metrics").await.text();
    for family in [
        "strongroom_space_available_bytes",
        "strongroom_disk_in_service{disk=",
        "strongroom_requests_total{protocol=\"smb\"}",
    ] {
        assert!(text.contains(family), "{family} in {text}");
    }
}
