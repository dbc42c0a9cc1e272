//! Activity: the log of acts.

use axum::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{Level, OrFail, Shown, badge, frame, time_exact};
use super::visitor::Member;
use crate::api::ActsPage;
use crate::audit::Act;
use crate::endpoint::segment;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    who: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    result: String,
    #[serde(default)]
    before: String,
}

impl Wanted {
    fn query(&self, with_before: bool) -> String {
        let fields = [
            ("who", &self.who),
            ("text", &self.text),
            ("result", &self.result),
            ("before", &self.before),
        ];
        let set = fields
            .iter()
            .filter(|(name, value)| !value.is_empty() && (with_before || *name != "before"));
        let pairs: Vec<String> = set
            .map(|(name, value)| format!("{name}={}", segment(value)))
            .collect();
        pairs.join("&")
    }
}

pub(super) async fn page(member: Member, Query(wanted): Query<Wanted>) -> Shown {
    let path = format!("/acts?{}", wanted.query(true));
    let page: ActsPage = member.get(&path).await.or_fail(&member)?;
    let body = html! {
        h1 { "Activity" }
        p { "Every sign-in and every change to this server: who, from where, and what came of it. Nobody can change this list." }
        form.filter method="get" action="/activity" role="search" {
            label { "Person" input name="who" value=(wanted.who) placeholder="everybody"; }
            label { "Contains" input name="text" value=(wanted.text) placeholder="share, user, scrub…"; }
            label { "Result" select name="result" {
                @for (value, word) in [("", "any"), ("done", "done"), ("refused", "refused"), ("failed", "failed")] {
                    option value=(value) selected[value == wanted.result] { (word) }
                }
            } }
            button type="submit" { "Show" }
            a.button href={ "/api/v1/acts/export?" (wanted.query(false)) } download { "Export" }
        }
        @if page.acts.is_empty() { p.empty { "Nothing fits." } }
        @else { div.scroll { table {
            thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "From" } th scope="col" { "What" } th scope="col" { "Result" } } }
            tbody { @for numbered in &page.acts { (row(&member, &numbered.act)) } }
        } } }
        @if let Some(before) = page.before {
            p { a.button href={ "/activity?" (wanted.query(false)) "&before=" (before) } { "Older" } }
        }
    };
    Ok(frame(&member, "/activity", "Activity", &body))
}

fn row(member: &Member, act: &Act) -> Markup {
    let level = match act.result.as_str() {
        "done" => Level::Good,
        "refused" => Level::Note,
        _ => Level::Bad,
    };
    html! {
        tr {
            td { (time_exact(&member.here, act.time_s)) }
            td { (act.who) }
            td { (act.address) }
            td { strong { (act.act.replace('_', " ")) } " " span.path { (act.on) } @if !act.detail.is_empty() { div.fine { (act.detail) } } }
            td { (badge(level, &act.result)) }
        }
    }
}
