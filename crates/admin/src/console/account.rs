//! One's own account.

use axum::Form;
use maud::{Markup, PreEscaped, html};
use qrcodegen::{QrCode, QrCodeEcc};
use serde_json::json;

use super::acts::check;
use super::fields::Fields;
use super::page::{OrFail, Shown, act, behind, csrf, frame, hidden, time};
use super::visitor::Member;
use crate::Scope;
use crate::api::{Me, SecondFactor, TokenMade, TokenShown};

pub(super) async fn page(member: Member) -> Shown {
    let me: Me = member.get("/me").await.or_fail(&member)?;
    let tokens: Vec<TokenShown> = member.get("/tokens").await.or_fail(&member)?;
    let body = html! {
        h1 { "Your account" }
        p { "You are " strong { (me.name) } ", " (me.role.word()) "." }
        div.cards {
            section.card { h2 { "Password" } (password(&member)) }
            section.card { h2 { "Second factor" } (factor(&member, &me)) }
        }
        section aria-labelledby="tokens" { h2 #tokens { "Tokens for programs" } (token_list(&member, &tokens)) }
    };
    Ok(frame(&member, "/account", "Account", &body))
}

fn password(member: &Member) -> Markup {
    act(
        member,
        "change-password",
        "/account",
        &html! {
            label { "The one you have" input name="old" type="password" required autocomplete="current-password"; }
            label { "The new one" input name="new" type="password" minlength="8" required autocomplete="new-password"; }
            p.fine { "It is for the files, too. Other browsers where you are signed in are signed out." }
            button type="submit" { "Change it" }
        },
    )
}

fn factor(member: &Member, me: &Me) -> Markup {
    html! {
        @if me.second_factor {
            p { "Signing in takes a code. " (me.recovery_codes_left) " codes on paper are left." }
            (behind("Turn it off…", &act(member, "drop-own-factor", "/account", &html! {
                label { "Your password" input name="password" type="password" required autocomplete="current-password"; }
                button.danger type="submit" { "Turn it off" }
            })))
        } @else {
            p { "With a second factor, who learns your password still cannot sign in here. You need an application on your phone that makes codes." }
        }
        form method="post" action="/account/second-factor" {
            (csrf(member))
            label { "Your password" input name="password" type="password" required autocomplete="current-password"; }
            button type="submit" { @if me.second_factor { "Begin a new one" } @else { "Begin" } }
        }
    }
}

pub(super) async fn second_factor(
    member: Member,
    Form(fields): Form<Vec<(String, String)>>,
) -> Shown {
    let fields = Fields(fields);
    check(&member, &fields).or_fail(&member)?;
    let asked = json!({ "password": fields.raw("password") });
    let factor: SecondFactor = member
        .ask("/me/second-factor", &asked)
        .await
        .or_fail(&member)?;
    let body = html! {
        h1 { "Second factor" }
        ol.steps {
            li {
                p { "Show this to the application on your phone, or type the text below it." }
                (qr(&factor.uri))
                p { code data-copy { (factor.secret) } }
            }
            li {
                p { "Print these, or write them down. Each opens your account once, when the phone is lost." }
                ul.codes { @for code in &factor.recovery_codes { li { code { (code) } } } }
            }
            li {
                p { "Type the six digits that the application shows now." }
                (act(&member, "confirm-factor", "/account", &html! {
                    label { "Code" input name="code" inputmode="numeric" autocomplete="one-time-code" required; }
                    button type="submit" { "Turn it on" }
                }))
            }
        }
    };
    Ok(frame(&member, "/account", "Second factor", &body))
}

/// Black on white in any scheme, as cameras want it.
fn qr(text: &str) -> Markup {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else {
        return html! {};
    };
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        for x in 0..size {
            if code.get_module(x, y) {
                path += &format!("M{x} {y}h1v1h-1z");
            }
        }
    }
    html! {
        svg.qr viewBox={ "-4 -4 " (size + 8) " " (size + 8) } role="img" aria-label="A picture of the text below" {
            rect x="-4" y="-4" width=(size + 8) height=(size + 8) fill="#fff" {}
            path d=(PreEscaped(path)) fill="#000" {}
        }
    }
}

fn token_list(member: &Member, tokens: &[TokenShown]) -> Markup {
    html! {
        p { "A token lets a program use the API in your name, within its scopes. It cannot make accounts or other tokens." }
        @if !tokens.is_empty() {
            div.scroll { table {
                thead { tr { th scope="col" { "For" } th scope="col" { "Of" } th scope="col" { "Scopes" } th scope="col" { "Made" } th scope="col" { "Until" } th scope="col" { span.hidden { "What to do" } } } }
                tbody { @for token in tokens { tr {
                    td { (token.name) } td { (token.owner) }
                    td { @for scope in &token.scopes { (scope.word()) " " } }
                    td { (time(&member.here, token.made_s)) }
                    td { @if let Some(until) = token.expires_s { (time(&member.here, until)) } @else { "taken back" } }
                    td.acts { (act(member, "revoke-token", "/account", &html! {
                        (hidden("id", &token.id.to_string()))
                        button.quiet type="submit" aria-label={ "Take back the token for " (token.name) } { "Take back" }
                    })) }
                } } }
            } }
        }
        form.card method="post" action="/account/token" {
            (csrf(member))
            h3 { "Make a token" }
            label { "What it is for" input name="name" required maxlength="100" placeholder="monitoring"; }
            fieldset { legend { "Scopes" } @for scope in Scope::GIVEN {
                label.inline { input type="checkbox" name="scope" value=(scope.word()); " " (scope.word()) " – " (means(scope)) }
            } }
            label { "Good for days" input name="days" type="number" min="1" max="3660" placeholder="until it is taken back"; }
            button type="submit" { "Make it" }
        }
    }
}

fn means(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "look at the server",
        Scope::Change => "change the server, as far as you may",
        Scope::Files => "your files",
        Scope::Metrics => "figures for monitoring",
        Scope::Account => "",
    }
}

pub(super) async fn token(member: Member, Form(fields): Form<Vec<(String, String)>>) -> Shown {
    let fields = Fields(fields);
    check(&member, &fields).or_fail(&member)?;
    let asked = json!({
        "name": fields.text("name"), "scopes": fields.all("scope"), "days": fields.number_if("days").or_fail(&member)?,
    });
    let made: TokenMade = member.ask("/tokens", &asked).await.or_fail(&member)?;
    let body = html! {
        h1 { "The token" }
        p { "Copy it now: it is shown this once." }
        p { code.token data-copy { (made.token) } }
        p { "Programs send it as the header " code { "Authorization: Bearer …" } "." }
        a.button href="/account" { "Done" }
    };
    Ok(frame(&member, "/account", "Token", &body))
}
