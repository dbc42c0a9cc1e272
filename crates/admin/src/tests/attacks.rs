//! What an attacker tries.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::json;

use super::world::{Client, PASSWORD, World, client_of};

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "vault");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_changes_nothing() {
    let world = World::new().await;
    let admin = world.sign_in("administrator").await;
    let without = Client {
        csrf: None,
        ..admin.clone()
    };
    let scrub = |headers: &[(&str, &str)]| request(Method::POST, "/api/v1/pool/scrub", headers, "");
    let forged = world.send(&without, scrub(&[])).await;
    assert_eq!(
        forged.status,
        StatusCode::FORBIDDEN,
        "no token of the session"
    );
    for headers in [
        [("origin", "https://evil.example")],
        [("origin", "null")],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
    ] {
        let forged = world.send(&admin, scrub(&headers)).await;
        assert_eq!(forged.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    let own = [
        ("origin", "https://vault"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(
        world.send(&admin, scrub(&own)).await.status,
        StatusCode::ACCEPTED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_the_console_needs_its_field() {
    let world = World::new().await;
    let admin = world.sign_in("administrator").await;
    let body = "name=eve&password=correct+horse+7&role=administrator&back=%2Fpeople";
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let without = Client {
        csrf: None,
        ..admin.clone()
    };
    for more in ["", "&csrf=", "&csrf=00"] {
        let forged = request(
            Method::POST,
            "/act/add-user",
            &headers,
            &format!("{body}{more}"),
        );
        assert_eq!(
            world.send(&without, forged).await.status,
            StatusCode::FORBIDDEN
        );
    }
    assert!(world.state.identity.user_by_name("eve").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_cookie_is_never_taken_over() {
    let world = World::new().await;
    let planted = Client {
        cookie: Some("ab".repeat(32)),
        ..Client::default()
    };
    let body = json!({ "name": "user", "password": PASSWORD });
    let answer = world.try_sign_in(&planted, &body).await;
    let fresh = client_of(&answer);
    assert_ne!(fresh.cookie, planted.cookie);
    assert_eq!(
        world.get(&planted, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    // Signing in again gives another secret, and the one before it is worth nothing any more.
    let again = world
        .json(&fresh, Method::POST, "/api/v1/session", &body)
        .await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.text());
    assert_eq!(
        world.get(&fresh, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    let two = request(
        Method::GET,
        "/api/v1/me",
        &[(
            "cookie",
            &format!(
                "__Host-strongroom={}; __Host-strongroom=x",
                client_of(&again).cookie.unwrap()
            ),
        )],
        "",
    );
    assert_eq!(
        world.send(&Client::default(), two).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_repeats_the_host_that_a_request_names() {
    let world = World::new().await;
    for path in ["/", "/sign-in", "/setup", "/api/v1/me", "/nothing"] {
        let request = Request::builder()
            .uri(path)
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .body(Body::empty())
            .unwrap();
        let answer = world.send(&Client::default(), request).await;
        let headers = format!("{:?}", answer.headers);
        assert!(
            !headers.contains("evil") && !answer.text().contains("evil"),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_too_large_is_not_held() {
    let world = World::new().await;
    let admin = world.sign_in("administrator").await;
    let body = json!({ "name": "x".repeat(2 << 20) });
    let answer = world
        .json(&admin, Method::POST, "/api/v1/groups", &body)
        .await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_its_share() {
    let world = World::new().await;
    let user = world.sign_in("user").await;
    for path in [
        "files/../../etc/passwd",
        "files/..",
        "files/a/../../b",
        "files/..%5C..%5Cetc",
        "files/%2e%2e/x",
        "files/./x",
        "files//x",
        "files/x:stream",
        "files/x%00y",
        "../files",
        "..",
    ] {
        for (method, route) in [
            (Method::GET, "/api/v1/files?path="),
            (Method::GET, "/api/v1/files/content?path="),
            (Method::PUT, "/api/v1/files/content?path="),
            (Method::DELETE, "/api/v1/files?path="),
        ] {
            let route = format!("{route}{path}");
            let answer = world
                .json(&user, method.clone(), &route, &json!(null))
                .await;
            let refused = [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::NOT_FOUND];
            assert!(
                refused.contains(&answer.status),
                "{method} {route}: {}",
                answer.status
            );
        }
        let moved = json!({ "path": "files/x", "to": path.replace("%5C", "\\").replace("%2e", ".").replace("%00", "\0") });
        let answer = world
            .json(&user, Method::POST, "/api/v1/files/move", &moved)
            .await;
        assert!(answer.status.is_client_error(), "{moved}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_forbids_what_pages_do_not_need() {
    let world = World::new().await;
    for path in ["/sign-in", "/api/v1/me", "/assets/console.js", "/nothing"] {
        let answer = world.get(&Client::default(), path).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["x-frame-options"], "DENY");
    }
}
