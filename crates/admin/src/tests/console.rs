//! The console's pages.

use axum::http::StatusCode;

use super::world::{Client, World};
use crate::Role;

const PAGES: [&str; 10] = [
    "/",
    "/files",
    "/files?path=files",
    "/history",
    "/shares",
    "/people",
    "/disks",
    "/alerts",
    "/activity",
    "/account",
];
/// What a page may weigh, with its style and script.
const WEIGHT_MAX: usize = 200 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_signed_in_is_led_to_where_he_can() {
    let world = World::new().await;
    for page in PAGES {
        let answer = world.get(&Client::default(), page).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{page}");
        let to = answer.headers["location"].to_str().unwrap();
        assert!(to.starts_with("/sign-in?next=%2F"), "{to}");
    }
    let away = world
        .form(
            &Client::default(),
            "/sign-in",
            &[
                ("name", "user"),
                ("password", super::world::PASSWORD),
                ("next", "//evil.example"),
            ],
        )
        .await;
    assert_eq!(away.headers["location"], "/");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_opens_for_its_roles_is_light_and_holds_nothing_inline() {
    let world = World::new().await;
    let assets = [
        "/assets/console.css",
        "/assets/console.js",
        "/assets/icon.svg",
    ];
    let mut weight = 0;
    for asset in assets {
        weight += world.get(&Client::default(), asset).await.body.len();
    }
    for role in Role::ALL {
        let client = world.sign_in(role.word()).await;
        for page in PAGES {
            let answer = world.get(&client, page).await;
            let text = answer.text();
            let shut = match role {
                Role::User => !["/", "/files", "/files?path=files", "/account"].contains(&page),
                Role::Operator => page == "/activity",
                Role::Auditor | Role::Administrator => false,
            };
            let wanted = if shut {
                StatusCode::FORBIDDEN
            } else {
                StatusCode::OK
            };
            if page == "/" && role == Role::User {
                assert_eq!(answer.headers["location"], "/files");
                continue;
            }
            assert_eq!(answer.status, wanted, "{page} as {}: {text}", role.word());
            assert!(
                weight + text.len() < WEIGHT_MAX,
                "{page} weighs {}",
                weight + text.len()
            );
            assert!(
                !text.contains(" style=")
                    && !text.contains(" onclick")
                    && !text.contains("http://"),
                "{page}"
            );
            assert_eq!(text.matches("<script").count(), 1, "{page}");
            assert!(
                text.contains("<h1>") && text.contains("lang=\"en\""),
                "{page}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_in_a_name_is_shown_as_it_is_written() {
    let world = World::new().await;
    let user = world.sign_in("user").await;
    let name = "%3Cimg%20src=x%20onerror=alert(1)%3E%27%22%26";
    // The double quote, the question mark and the like cannot be in a name; what can is tried.
    let path = format!(
        "/api/v1/files/content?path=files/{}",
        name.replace("%22", "")
            .replace("%3C", "%E2%80%B9%26lt;")
            .replace("%3E", "")
    );
    let made = world.put(&user, &path, b"x").await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text());
    let page = world.get(&user, "/files?path=files").await.text();
    assert!(page.contains("&amp;lt;img"), "{page}");
    let people = world.sign_in("administrator").await;
    let forged = world
        .get(
            &people,
            "/files?path=files%2F%3Cscript%3Ealert(1)%3C/script%3E",
        )
        .await;
    assert!(
        !forged.text().contains("<script>alert"),
        "{}",
        forged.text()
    );
    let search = world
        .get(
            &people,
            "/activity?text=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        )
        .await;
    assert!(!search.text().contains("<script>alert"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_does_its_act_and_the_next_page_says_so_once() {
    let world = World::new().await;
    let admin = world.sign_in("administrator").await;
    let fields = [
        ("back", "/shares"),
        ("name", "projects"),
        ("who", "some"),
        ("user", "user"),
        ("compress", "zstd"),
    ];
    let done = world.form(&admin, "/act/add-share", &fields).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text());
    assert_eq!(done.headers["location"], "/shares");
    let page = world.get(&admin, "/shares").await.text();
    assert!(
        page.contains("People can connect to projects now."),
        "{page}"
    );
    assert!(
        page.contains("Only user and administrators may connect."),
        "{page}"
    );
    let page = world.get(&admin, "/shares").await.text();
    assert!(!page.contains("People can connect"));
    let again = world.form(&admin, "/act/add-share", &fields).await;
    assert_eq!(again.headers["location"], "/shares");
    let page = world.get(&admin, "/shares").await.text();
    assert!(
        page.contains("There is a share named projects already"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_does_more_than_its_senders_role() {
    let world = World::new().await;
    let operator = world.sign_in("operator").await;
    let fields = [
        ("back", "/people"),
        ("name", "eve"),
        ("password", "correct horse 7"),
        ("role", "administrator"),
    ];
    let sent = world.form(&operator, "/act/add-user", &fields).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    assert!(world.state.identity.user_by_name("eve").is_none());
    let page = world.get(&operator, "/people").await.text();
    assert!(
        page.contains("An account that is an operator may not do this."),
        "{page}"
    );
}
