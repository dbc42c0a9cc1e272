//! Files over the API, with the rights of who asks.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::world::{Client, World};

const CONTENT: &str = "/api/v1/files/content?path=files/";

async fn put(world: &World, client: &Client, name: &str, content: &'static [u8]) -> StatusCode {
    let path = format!("{CONTENT}{name}&replace=true");
    let answer = world.put(client, &path, content).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    answer.status
}

async fn names(world: &World, client: &Client, path: &str) -> Vec<String> {
    let listing = world
        .get(client, &format!("/api/v1/files?path={path}"))
        .await;
    assert_eq!(listing.status, StatusCode::OK, "{}", listing.text());
    let listing = listing.json();
    let entries = listing["entries"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_in_and_comes_out_whole_and_in_parts() {
    let world = World::new().await;
    let user = world.sign_in("user").await;
    put(&world, &user, "a%20b.txt", b"0123456789").await;
    assert_eq!(names(&world, &user, "").await, ["files"]);
    assert_eq!(
        names(&world, &user, "files").await,
        ["a b.txt"],
        "nothing of the upload is left beside it"
    );
    let whole = world.get(&user, &format!("{CONTENT}a%20b.txt")).await;
    assert_eq!(whole.text(), "0123456789");
    let disposition = whole.headers["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("attachment;"), "{disposition}");
    assert_eq!(whole.headers["content-type"], "application/octet-stream");
    let part = Request::builder()
        .uri(format!("{CONTENT}a%20b.txt"))
        .header("range", "bytes=2-4")
        .body(Body::empty())
        .unwrap();
    let part = world.send(&user, part).await;
    assert_eq!(
        (part.status, part.text()),
        (StatusCode::PARTIAL_CONTENT, "234".to_owned())
    );
    assert_eq!(part.headers["content-range"], "bytes 2-4/10");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_replaced_unasked() {
    let world = World::new().await;
    let user = world.sign_in("user").await;
    put(&world, &user, "a", b"first").await;
    let again = world.put(&user, &format!("{CONTENT}a"), b"second").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(
        world.get(&user, &format!("{CONTENT}a")).await.text(),
        "first"
    );
    put(&world, &user, "a", b"second").await;
    assert_eq!(
        world.get(&user, &format!("{CONTENT}a")).await.text(),
        "second"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_off_goes_on() {
    let world = World::new().await;
    let user = world.sign_in("user").await;
    let broken = async_stream(vec![Ok("01234"), Err(std::io::Error::other("gone"))]);
    let request = Request::builder()
        .method(Method::PUT)
        .uri(format!("{CONTENT}big"))
        .body(broken)
        .unwrap();
    let cut = world.send(&user, request).await;
    assert_eq!(cut.status, StatusCode::BAD_REQUEST, "{}", cut.text());
    assert_eq!(
        world.get(&user, &format!("{CONTENT}big")).await.status,
        StatusCode::NOT_FOUND,
        "not before it is whole"
    );
    let there = world
        .get(&user, "/api/v1/files/upload?path=files/big")
        .await
        .json();
    assert_eq!(there["bytes"], 5);
    let beyond = world
        .put(&user, &format!("{CONTENT}big&offset=7"), b"789")
        .await;
    assert_eq!(beyond.status, StatusCode::CONFLICT);
    let rest = world
        .put(&user, &format!("{CONTENT}big&offset=5"), b"56789")
        .await;
    assert_eq!(rest.status, StatusCode::OK, "{}", rest.text());
    assert_eq!(
        world.get(&user, &format!("{CONTENT}big")).await.text(),
        "0123456789"
    );
}

fn async_stream(chunks: Vec<Result<&'static str, std::io::Error>>) -> Body {
    Body::from_stream(futures_util::stream::iter(chunks))
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_made_moved_and_deleted_with_all_in_them() {
    let world = World::new().await;
    let user = world.sign_in("user").await;
    let post = |path: &'static str, body: Value| {
        let (world, user) = (&world, &user);
        async move { world.json(user, Method::POST, path, &body).await.status }
    };
    assert_eq!(
        post("/api/v1/files/folders", json!({ "path": "files/one" })).await,
        StatusCode::CREATED
    );
    assert_eq!(
        post("/api/v1/files/folders", json!({ "path": "files/one" })).await,
        StatusCode::CONFLICT
    );
    put(&world, &user, "one/x", b"x").await;
    let moved = json!({ "path": "files/one", "to": "files/two" });
    assert_eq!(
        post("/api/v1/files/move", moved).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(names(&world, &user, "files/two").await, ["x"]);
    let gone = world
        .json(
            &user,
            Method::DELETE,
            "/api/v1/files?path=files/two",
            &json!(null),
        )
        .await;
    assert_eq!(
        (gone.json()["files"].clone(), gone.json()["folders"].clone()),
        (json!(1), json!(1)),
        "{}",
        gone.text()
    );
    assert!(names(&world, &user, "files").await.is_empty());
    let share = world
        .json(
            &user,
            Method::DELETE,
            "/api/v1/files?path=files",
            &json!(null),
        )
        .await;
    assert_eq!(share.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_restored_as_it_was() {
    let world = World::new().await;
    let user = world.sign_in("user").await;
    world
        .json(
            &user,
            Method::POST,
            "/api/v1/files/folders",
            &json!({ "path": "files/d" }),
        )
        .await;
    put(&world, &user, "d/kept", b"good").await;
    put(&world, &user, "d/deleted", b"dear").await;
    world.state.store.sync_all().await.unwrap();
    let then = world.state.now_s();
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    put(&world, &user, "d/kept", b"BAD").await;
    put(&world, &user, "d/new", b"new").await;
    world
        .json(
            &user,
            Method::DELETE,
            "/api/v1/files?path=files/d/deleted",
            &json!(null),
        )
        .await;
    let past = world
        .get(&user, &format!("/api/v1/files?path=files/d&at_s={then}"))
        .await
        .json();
    assert_eq!(past["entries"].as_array().unwrap().len(), 2, "{past}");
    assert_eq!(past["writable"], false);
    let old = world
        .get(&user, &format!("{CONTENT}d/kept&at_s={then}"))
        .await;
    assert_eq!(old.text(), "good");
    let done = world
        .json(
            &user,
            Method::POST,
            "/api/v1/files/restore",
            &json!({ "path": "files/d", "at_s": then }),
        )
        .await;
    assert_eq!(done.json()["files"], 2, "{}", done.text());
    assert_eq!(
        names(&world, &user, "files/d").await,
        ["deleted", "kept", "new"]
    );
    assert_eq!(
        world.get(&user, &format!("{CONTENT}d/kept")).await.text(),
        "good"
    );
    assert_eq!(
        world
            .get(&user, &format!("{CONTENT}d/deleted"))
            .await
            .text(),
        "dear"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_for_others_is_neither_shown_nor_opened() {
    let world = World::new().await;
    let closed = json!({ "name": "board", "users": ["operator"] });
    assert_eq!(
        world
            .as_owner(Method::POST, "/api/v1/shares", &closed)
            .await
            .status,
        StatusCode::CREATED
    );
    let user = world.sign_in("user").await;
    assert_eq!(names(&world, &user, "").await, ["files"]);
    for (method, path) in [
        (Method::GET, "/api/v1/files?path=board"),
        (Method::GET, "/api/v1/files/content?path=board/x"),
        (Method::PUT, "/api/v1/files/content?path=board/x"),
        (Method::GET, "/api/v1/files/instants?path=board"),
    ] {
        let answer = world.json(&user, method, path, &json!(null)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    let past = json!({ "path": "board/x" });
    let answer = world
        .json(&user, Method::POST, "/api/v1/history/list", &past)
        .await;
    assert!(answer.status.is_client_error(), "{}", answer.text());
    let operator = world.sign_in("operator").await;
    assert_eq!(names(&world, &operator, "").await, ["board", "files"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_folders_come_in_pages() {
    let world = World::new().await;
    let user = world.sign_in("user").await;
    for name in ["a", "b", "c", "d", "e"] {
        put(&world, &user, name, b"").await;
    }
    let first = world
        .get(&user, "/api/v1/files?path=files&max=2")
        .await
        .json();
    assert_eq!(first["after"], "b", "{first}");
    let next = world
        .get(&user, "/api/v1/files?path=files&max=2&after=b")
        .await
        .json();
    assert_eq!(next["entries"][0]["name"], "c");
    let last = world
        .get(&user, "/api/v1/files?path=files&max=9&after=d")
        .await
        .json();
    assert_eq!(
        (last["entries"][0]["name"].as_str(), &last["after"]),
        (Some("e"), &Value::Null)
    );
}
