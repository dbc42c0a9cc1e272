//! Signing in and out, and the first page of all.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Query, State as Extracted};
use axum::http::Method;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::fields::{Fields, local};
use super::page::{hidden, plain, sentence};
use super::visitor::{Member, Visitor};
use crate::api::{SetUp, SignIn};
use crate::{Problem, State};

#[derive(Debug, Default, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

pub(super) async fn page(
    Extracted(state): Extracted<Arc<State>>,
    visitor: Visitor,
    Query(next): Query<Next>,
) -> Response {
    if state.setup.is_wanted() && visitor.signed.is_none() && next.next.is_empty() {
        return Redirect::to("/setup").into_response();
    }
    form(&state, "", &next.next, None, false).into_response()
}

fn form(
    state: &State,
    name: &str,
    next: &str,
    problem: Option<&Problem>,
    wants_code: bool,
) -> Markup {
    plain(
        "Sign in",
        &html! {
            h1 { "Sign in to " (state.host) }
            @if let Some(problem) = problem.filter(|problem| !problem.is_code_wanted()) {
                p.said.bad role="alert" { (sentence(problem.detail())) }
            }
            form method="post" action="/sign-in" {
                (hidden("next", local(next)))
                label { "Name" input name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus[name.is_empty()]; }
                label { "Password" input name="password" type="password" autocomplete="current-password" required autofocus[wants_code]; }
                @if wants_code {
                    label {
                        "Code"
                        input name="code" inputmode="numeric" autocomplete="one-time-code" aria-describedby="code-help" required;
                    }
                    p.help #code-help { "Your password is right. This account also wants the six digits that your application shows now, or one of the codes on paper. Type the password once more, too." }
                }
                button type="submit" { "Sign in" }
            }
            @if state.setup.is_wanted() {
                p.help { "Is this server new? " a href="/setup" { "Set it up" } " with the code that it printed." }
            }
        },
    )
}

pub(super) async fn submit(
    Extracted(state): Extracted<Arc<State>>,
    visitor: Visitor,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let (name, next) = (fields.text("name"), fields.text("next"));
    let asked = SignIn {
        name: name.to_owned(),
        password: fields.raw("password").to_owned().into(),
        code: fields
            .is_set("code")
            .then(|| fields.text("code").to_owned()),
    };
    let answer = visitor
        .api
        .document(&visitor.behalf, Method::POST, "/session", &asked)
        .await;
    match answer {
        Ok(answer) => with_cookie(&answer, local(next)),
        Err(problem) => {
            let wants_code = problem.is_code_wanted() || fields.is_set("code");
            let page = form(&state, name, next, Some(&problem), wants_code);
            (problem.status(), page).into_response()
        }
    }
}

/// Leads on with the cookie that the API gave.
fn with_cookie(answer: &Response, to: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    if let Some(cookie) = answer.headers().get(SET_COOKIE) {
        response.headers_mut().insert(SET_COOKIE, cookie.clone());
    }
    response
}

pub(super) async fn out(member: Member, Form(fields): Form<Vec<(String, String)>>) -> Response {
    if !member.signed.session.has_csrf(Fields(fields).text("csrf")) {
        return Redirect::to("/").into_response();
    }
    let nothing = serde_json::Value::Null;
    let answer = member
        .api
        .document(&member.behalf, Method::DELETE, "/session", &nothing)
        .await;
    match answer {
        Ok(answer) => with_cookie(&answer, "/sign-in?next=%2F"),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn setup_page(Extracted(state): Extracted<Arc<State>>) -> Response {
    if !state.setup.is_wanted() {
        return Redirect::to("/sign-in?next=%2F").into_response();
    }
    setup_form(&state, "admin", None).into_response()
}

fn setup_form(state: &State, name: &str, problem: Option<&Problem>) -> Markup {
    plain(
        "Set up",
        &html! {
            h1 { "Set up " (state.host) }
            p { "Choose who administers this server. It takes one minute." }
            @if let Some(problem) = problem {
                p.said.bad role="alert" { (sentence(problem.detail())) }
            }
            form method="post" action="/setup" {
                label {
                    "Setup code"
                    input name="setup_code" autocomplete="off" autocapitalize="none" spellcheck="false" required autofocus aria-describedby="setup-help";
                }
                p.help #setup-help { "The server printed it when it started, below the address of this page. Every start prints another one until it was used." }
                label { "Your name here" input name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false" required; }
                label { "A password" input name="password" type="password" autocomplete="new-password" minlength="8" required aria-describedby="password-help"; }
                p.help #password-help { "At least 8 characters; a sentence is better than a word. You use the same name and password to connect to the files." }
                label { "The password again" input name="again" type="password" autocomplete="new-password" minlength="8" required; }
                button type="submit" { "Set up" }
            }
        },
    )
}

pub(super) async fn setup_submit(
    Extracted(state): Extracted<Arc<State>>,
    visitor: Visitor,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let name = fields.text("name");
    if fields.raw("password") != fields.raw("again") {
        let problem = Problem::wrong("the two passwords differ");
        return (problem.status(), setup_form(&state, name, Some(&problem))).into_response();
    }
    let asked = SetUp {
        setup_code: fields.text("setup_code").to_owned(),
        name: name.to_owned(),
        password: fields.raw("password").to_owned().into(),
    };
    let answer = visitor
        .api
        .document(&visitor.behalf, Method::POST, "/setup", &asked)
        .await;
    match answer {
        Ok(answer) => with_cookie(&answer, "/"),
        Err(problem) => {
            let page = setup_form(&state, name, Some(&problem));
            (problem.status(), page).into_response()
        }
    }
}
