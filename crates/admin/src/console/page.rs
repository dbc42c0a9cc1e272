//! What all pages share: the frame, and small parts.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::visitor::Member;
use crate::when::Here;
use crate::{Problem, Role};

/// A page that is shown, or why not.
pub(super) type Shown = Result<Markup, Failed>;

/// A page that says what went wrong, within the frame.
#[derive(Debug)]
pub(super) struct Failed(pub(super) Box<Member>, pub(super) Problem);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let Failed(member, problem) = self;
        let said = sentence(problem.detail());
        let body = html! {
            h1 { (heading(problem.status())) }
            p { (said) }
            p { a href="/" { "To the overview" } }
        };
        let page = frame(&member, "", "Not shown", &body);
        (problem.status(), page).into_response()
    }
}

/// For `?` in pages: keeps who asked.
pub(super) trait OrFail<T> {
    fn or_fail(self, member: &Member) -> Result<T, Failed>;
}

impl<T> OrFail<T> for Result<T, Problem> {
    fn or_fail(self, member: &Member) -> Result<T, Failed> {
        self.map_err(|problem| Failed(Box::new(member.clone()), problem))
    }
}

fn heading(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "This is not there",
        StatusCode::FORBIDDEN => "This is not for your account",
        StatusCode::GONE => "The past does not reach back so far",
        _ => "This did not work",
    }
}

/// With a capital letter and a full stop, as people write.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    let mut text = first.unwrap_or_default() + chars.as_str();
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

/// Where each page is, who sees it, and its name.
const PAGES: [(&str, &str, &[Role]); 9] = {
    use Role::{Administrator as A, Auditor as U, Operator as O, User};
    [
        ("/", "Overview", &[U, O, A]),
        ("/files", "Files", &[User, U, O, A]),
        ("/history", "History", &[U, O, A]),
        ("/shares", "Shares", &[U, O, A]),
        ("/people", "People", &[U, O, A]),
        ("/disks", "Disks", &[U, O, A]),
        ("/alerts", "Alerts", &[U, O, A]),
        ("/activity", "Activity", &[U, A]),
        ("/account", "Account", &[User, U, O, A]),
    ]
};

/// The whole page: head, ways to the others, and what it is about.
pub(super) fn frame(member: &Member, at: &str, title: &str, body: &Markup) -> Markup {
    let role = member.role();
    document(
        title,
        &html! {
            a.skip href="#main" { "Skip to the content" }
            header.top {
                a.brand href="/" { (logo()) span { "Strongroom" } }
                nav aria-label="Pages" {
                    ul {
                        @for (path, name, _) in PAGES.iter().filter(|(_, _, roles)| roles.contains(&role)) {
                            li { a href=(path) aria-current=[(*path == at).then_some("page")] { (name) } }
                        }
                    }
                }
                form.out method="post" action="/sign-out" {
                    (csrf(member))
                    span.who { (member.signed.caller.name) }
                    button.quiet type="submit" { "Sign out" }
                }
            }
            main #main tabindex="-1" {
                @if let Some((good, said)) = member.signed.flash.as_ref() {
                    p.said .bad[!good] role="status" { (sentence(said)) }
                }
                (body)
            }
        },
    )
}

/// A page for those who are not signed in.
pub(super) fn plain(title: &str, body: &Markup) -> Markup {
    document(
        title,
        &html! {
            main.narrow #main tabindex="-1" {
                p.brand { (logo()) span { "Strongroom" } }
                (body)
            }
        },
    )
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Strongroom" }
                link rel="icon" href=(assets::path("icon.svg"));
                link rel="stylesheet" href=(assets::path("console.css"));
                script type="module" src=(assets::path("console.js")) {}
            }
            body { (body) }
        }
    }
}

fn logo() -> Markup {
    html! {
        svg.logo viewBox="0 0 24 24" aria-hidden="true" width="24" height="24" {
            rect x="2" y="2" width="20" height="20" rx="5" {}
            circle cx="12" cy="12" r="5" {}
            path d="M12 7v3M12 14v3M7 12h3M14 12h3" {}
        }
    }
}

pub(super) fn csrf(member: &Member) -> Markup {
    html! { input type="hidden" name="csrf" value=(member.csrf()); }
}

/// A form that does one act and comes back to `back`.
pub(super) fn act(member: &Member, name: &str, back: &str, inside: &Markup) -> Markup {
    html! {
        form method="post" action={ "/act/" (name) } {
            (csrf(member))
            input type="hidden" name="back" value=(back);
            (inside)
        }
    }
}

/// A button behind one more step, for what cannot be taken back.
pub(super) fn behind(summary: &str, inside: &Markup) -> Markup {
    html! { details.step { summary { (summary) } div { (inside) } } }
}

pub(super) fn time(here: &Here, seconds: u64) -> Markup {
    let shown = here.show(seconds);
    html! { time datetime=(iso(seconds)) { (shown.get(..16).unwrap_or(&shown)) } }
}

pub(super) fn time_exact(here: &Here, seconds: u64) -> Markup {
    html! { time datetime=(iso(seconds)) { (here.show(seconds)) } }
}

/// RFC 3339, in UTC.
pub(super) fn iso(seconds: u64) -> String {
    let utc = Here {
        now: 0,
        offset: |_| 0,
    };
    utc.show(seconds).replace(' ', "T") + "Z"
}

pub(super) fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// How bad something is, in a word that does not need its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Good,
    Note,
    Bad,
}

pub(super) fn badge(level: Level, text: &str) -> Markup {
    let class = match level {
        Level::Good => "badge good",
        Level::Note => "badge note",
        Level::Bad => "badge bad",
    };
    html! { span class=(class) { (text) } }
}
