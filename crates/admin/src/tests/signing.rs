//! Signing in and out, the first setup, the second factor, tokens.

use std::net::IpAddr;

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::world::{Client, PASSWORD, World, client_of};
use crate::Role;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_its_person_signs_out() {
    let world = World::new().await;
    let client = world.sign_in("user").await;
    let me = world.get(&client, "/api/v1/me").await.json();
    assert_eq!(
        (me["name"].as_str(), me["role"].as_str()),
        (Some("user"), Some("user"))
    );
    let out = world
        .json(&client, Method::DELETE, "/api/v1/session", &json!(null))
        .await;
    assert_eq!(out.status, StatusCode::NO_CONTENT, "{}", out.text());
    assert_eq!(
        world.get(&client, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_is_for_this_origin_over_https_and_no_script() {
    let world = World::new().await;
    let body = json!({ "name": "user", "password": PASSWORD });
    let answer = world.try_sign_in(&Client::default(), &body).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-strongroom="), "{cookie}");
    for word in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_and_a_wrong_password_are_told_alike() {
    let world = World::new().await;
    let mut told = Vec::new();
    for (name, password) in [("user", "wrong horse 7"), ("nobody", PASSWORD)] {
        let body = json!({ "name": name, "password": password });
        let answer = world.try_sign_in(&Client::default(), &body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        told.push(answer.text());
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_disabled_or_removed_is_out_at_once() {
    let world = World::new().await;
    let client = world.sign_in("user").await;
    let admin = world.sign_in("administrator").await;
    let off = json!({ "disabled": true });
    let done = world
        .json(&admin, Method::PATCH, "/api/v1/users/user", &off)
        .await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    assert_eq!(
        world.get(&client, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    let operator = world.sign_in("operator").await;
    world
        .json(
            &admin,
            Method::DELETE,
            "/api/v1/users/operator",
            &json!(null),
        )
        .await;
    assert_eq!(
        world.get(&operator, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_ends_all_other_sessions() {
    let world = World::new().await;
    let (here, elsewhere) = (world.sign_in("user").await, world.sign_in("user").await);
    let change = json!({ "old": PASSWORD, "new": "another horse 8" });
    let done = world
        .json(&here, Method::POST, "/api/v1/me/password", &change)
        .await;
    assert_eq!(done.status, StatusCode::NO_CONTENT, "{}", done.text());
    assert_eq!(world.get(&here, "/api/v1/me").await.status, StatusCode::OK);
    assert_eq!(
        world.get(&elsewhere, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setup_code_makes_one_administrator_once() {
    let world = World::new().await;
    let code = world.state.setup_code().unwrap();
    let set_up = |code: &str, name: &str| json!({ "setup_code": code, "name": name, "password": "my own words 9" });
    let nobody = Client::default();
    let path = "/api/v1/setup";
    let wrong = world
        .json(&nobody, Method::POST, path, &set_up("aaaa-bbbb", "ann"))
        .await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let taken = world
        .json(&nobody, Method::POST, path, &set_up(&code, "user"))
        .await;
    assert_eq!(
        taken.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "the code makes nobody else an administrator"
    );
    let done = world
        .json(&nobody, Method::POST, path, &set_up(&code, "ann"))
        .await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    let me = world.get(&client_of(&done), "/api/v1/me").await.json();
    assert_eq!(me["role"], "administrator");
    let again = world
        .json(&nobody, Method::POST, path, &set_up(&code, "bob"))
        .await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(world.state.setup_code(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_once_it_is_confirmed() {
    let world = World::new().await;
    let client = world.sign_in("user").await;
    let begun = world
        .json(
            &client,
            Method::POST,
            "/api/v1/me/second-factor",
            &json!({ "password": PASSWORD }),
        )
        .await;
    assert_eq!(begun.status, StatusCode::OK, "{}", begun.text());
    let paper = begun.json()["recovery_codes"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let uri = begun.json()["uri"].as_str().unwrap().to_owned();
    assert!(
        uri.starts_with("otpauth://totp/Strongroom%20VAULT:user?secret="),
        "{uri}"
    );
    world.sign_in("user").await;
    let wrong = world
        .json(
            &client,
            Method::POST,
            "/api/v1/me/second-factor/confirm",
            &json!({ "code": "12" }),
        )
        .await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let confirmed = world
        .json(
            &client,
            Method::POST,
            "/api/v1/me/second-factor/confirm",
            &json!({ "code": paper }),
        )
        .await;
    assert_eq!(
        confirmed.status,
        StatusCode::NO_CONTENT,
        "{}",
        confirmed.text()
    );
    let asked = world
        .try_sign_in(
            &Client::default(),
            &json!({ "name": "user", "password": PASSWORD }),
        )
        .await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert_eq!(asked.json()["type"], "urn:strongroom:code-wanted");
    let used = json!({ "name": "user", "password": PASSWORD, "code": paper });
    assert_eq!(
        world.try_sign_in(&Client::default(), &used).await.status,
        StatusCode::UNAUTHORIZED
    );
    let next = begun.json()["recovery_codes"][1].clone();
    let right = json!({ "name": "user", "password": PASSWORD, "code": next });
    assert_eq!(
        world.try_sign_in(&Client::default(), &right).await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_it_is_taken_back_and_with_its_owner() {
    let world = World::new().await;
    world.add_user("ann", Role::Auditor).await;
    let ann = world.sign_in("ann").await;
    let make = |name: &str| json!({ "name": name, "scopes": ["read"], "days": 7 });
    let mut made = Vec::new();
    for name in ["one", "two"] {
        let answer = world
            .json(&ann, Method::POST, "/api/v1/tokens", &make(name))
            .await
            .json();
        let token = answer["token"].as_str().unwrap().to_owned();
        let client = Client {
            token: Some(token),
            ..Client::default()
        };
        made.push((answer["id"].as_u64().unwrap(), client));
    }
    for (_, client) in &made {
        assert_eq!(
            world.get(client, "/api/v1/status").await.status,
            StatusCode::OK
        );
    }
    let other = world.sign_in("user").await;
    let path = format!("/api/v1/tokens/{}", made[0].0);
    assert_eq!(
        world
            .json(&other, Method::DELETE, &path, &json!(null))
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        world
            .json(&ann, Method::DELETE, &path, &json!(null))
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        world.get(&made[0].1, "/api/v1/status").await.status,
        StatusCode::UNAUTHORIZED
    );
    world
        .as_owner(Method::DELETE, "/api/v1/users/ann", &json!(null))
        .await;
    assert_eq!(
        world.get(&made[1].1, "/api/v1/status").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_shuts_nobody_else_out() {
    let world = World::new().await;
    let guess = json!({ "name": "user", "password": "wrong horse 7" });
    let mut last = StatusCode::OK;
    for _ in 0..8 {
        last = world.try_sign_in(&Client::default(), &guess).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let right = json!({ "name": "user", "password": PASSWORD });
    let answer = world.try_sign_in(&Client::default(), &right).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers.contains_key("retry-after"));
    let elsewhere = Client {
        peer: Some(IpAddr::from([192, 0, 2, 77])),
        ..Client::default()
    };
    assert_eq!(
        world.try_sign_in(&elsewhere, &right).await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_buys_no_more_guesses_at_the_code() {
    let world = World::new().await;
    let client = world.sign_in("user").await;
    let path = "/api/v1/me/second-factor";
    let asked = json!({ "password": PASSWORD });
    let begun = world.json(&client, Method::POST, path, &asked).await.json();
    let code = json!({ "code": begun["recovery_codes"][0] });
    let confirm = format!("{path}/confirm");
    world.json(&client, Method::POST, &confirm, &code).await;
    let mut last = StatusCode::OK;
    for _ in 0..8 {
        let plain = json!({ "name": "user", "password": PASSWORD });
        world.try_sign_in(&Client::default(), &plain).await;
        let guess = json!({ "name": "user", "password": PASSWORD, "code": "000000" });
        last = world.try_sign_in(&Client::default(), &guess).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
}
