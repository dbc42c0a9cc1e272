//! History: who changed what, and taking it back.

use std::collections::BTreeMap;

use axum::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::page::{OrFail, Shown, act, behind, frame, hidden, time, time_exact};
use super::visitor::Member;
use crate::endpoint::segment;
use crate::types::{LogLine, Retention, Rewound, Schedule, Share, Snapshot, Undone};
use crate::words::{period, size};

/// Changes shown on one page.
const LINES: usize = 1_000;
const LISTED: usize = 50;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    share: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    session: String,
    #[serde(default)]
    to: String,
}

/// Changes of one session.
#[derive(Debug)]
struct Group<'a> {
    lines: Vec<&'a LogLine>,
}

pub(super) async fn page(member: Member, Query(wanted): Query<Wanted>) -> Shown {
    let shares: Vec<Share> = member.get("/shares").await.or_fail(&member)?;
    let Some(share) = shares
        .iter()
        .find(|share| share.name == wanted.share)
        .or(shares.first())
    else {
        let body = html! { h1 { "History" } p.empty { "There is no share yet. " a href="/shares" { "Make one" } "." } };
        return Ok(frame(&member, "/history", "History", &body));
    };
    let named = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let question = json!({
        "path": format!("{}/{}", share.name, wanted.path.trim_matches('/')),
        "user": named(&wanted.user),
        "since_s": named(&wanted.since).and_then(|since| member.here.parse(&since)),
        "max": LINES,
    });
    let lines: Vec<LogLine> = member
        .ask("/history/log", &question)
        .await
        .or_fail(&member)?;
    let of = format!("/shares/{}", segment(&share.name));
    let snapshots: Vec<Snapshot> = member
        .get(&format!("{of}/snapshots"))
        .await
        .or_fail(&member)?;
    let retention: Retention = member
        .get(&format!("{of}/retention"))
        .await
        .or_fail(&member)?;
    let schedule: Schedule = member
        .get(&format!("{of}/schedule"))
        .await
        .or_fail(&member)?;
    let body = html! {
        h1 { "History" }
        (filter(&wanted, share, &shares))
        section aria-labelledby="changes" {
            h2 #changes { "Who changed what in " (share.name) }
            (sessions(&member, share, &lines))
        }
        @if member.operates() { (back(&member, share)) }
        section aria-labelledby="snapshots" { h2 #snapshots { "Snapshots" } (snapshot_list(&member, share, &snapshots, &schedule)) }
        section aria-labelledby="kept" { h2 #kept { "How long the past is kept" } (kept(&member, share, &retention)) }
    };
    Ok(frame(&member, "/history", "History", &body))
}

fn filter(wanted: &Wanted, share: &Share, shares: &[Share]) -> Markup {
    html! {
        form.filter method="get" action="/history" role="search" {
            label { "Share" select name="share" {
                @for one in shares { option value=(one.name) selected[one.name == share.name] { (one.name) } }
            } }
            label { "Folder or file" input name="path" value=(wanted.path) placeholder="all"; }
            label { "Person" input name="user" value=(wanted.user) placeholder="everybody"; }
            label { "Since" input name="since" value=(wanted.since) placeholder="2 hours ago"; }
            button type="submit" { "Show" }
        }
    }
}

fn sessions(member: &Member, share: &Share, lines: &[LogLine]) -> Markup {
    let mut groups: BTreeMap<u64, Group<'_>> = BTreeMap::new();
    for line in lines {
        let group = groups.entry(line.session);
        group
            .or_insert_with(|| Group { lines: Vec::new() })
            .lines
            .push(line);
    }
    let mut groups: Vec<(u64, Group<'_>)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| {
        std::cmp::Reverse(group.lines.first().map_or(0, |line| line.time_s))
    });
    html! {
        @if groups.is_empty() { p.empty { "Nothing was changed, as far as the past is kept and the filter lets through." } }
        ol.timeline {
            @for (session, group) in &groups { (session_item(member, share, *session, group)) }
        }
        @if lines.len() == LINES { p.fine { "These are the newest " (LINES) " changes; a filter shows others." } }
    }
}

fn session_item(member: &Member, share: &Share, session: u64, group: &Group<'_>) -> Markup {
    let (Some(newest), Some(oldest)) = (group.lines.first(), group.lines.last()) else {
        return html! {};
    };
    let count = group.lines.len();
    html! {
        li {
            p {
                strong { @if newest.user.is_empty() { "The server itself" } @else { (newest.user) } }
                @if !newest.client.is_empty() { " from " (newest.client) }
                @if !newest.protocol.is_empty() { ", " (newest.protocol) }
                ": " (count) @if count == 1 { " change, " } @else { " changes, " }
                (time(&member.here, oldest.time_s))
                @if newest.time_s > oldest.time_s + 60 { " to " (time(&member.here, newest.time_s)) }
            }
            details {
                summary { "What" }
                div.scroll { table { tbody {
                    @for line in group.lines.iter().take(LISTED) {
                        tr { td { (time_exact(&member.here, line.time_s)) } td { (line.what) } td.path { (line.path.replace('\\', "/")) } }
                    }
                } } }
                @if count > LISTED { p.fine { "And " (count - LISTED) " more." } }
            }
            @if member.operates() && session != 0 {
                a.button href={ "/history/undo?share=" (segment(&share.name)) "&session=" (session) } { "Take this back…" }
            }
        }
    }
}

fn back(member: &Member, share: &Share) -> Markup {
    let an_hour_ago = member
        .here
        .show(u64::try_from(member.here.now - 3_600).unwrap_or(0));
    html! {
        section aria-labelledby="back" {
            h2 #back { "Go back to a time" }
            form.filter method="get" action="/history/rewind" {
                (hidden("share", &share.name))
                label { "Folder or file" input name="path" placeholder="all of the share"; }
                label { "To" input name="to" required placeholder=(an_hour_ago); }
                button type="submit" { "Show what would change…" }
            }
            p.fine { "Nothing happens before you have seen what would change." }
        }
    }
}

fn snapshot_list(
    member: &Member,
    share: &Share,
    snapshots: &[Snapshot],
    schedule: &Schedule,
) -> Markup {
    let back = format!("/history?share={}", segment(&share.name));
    html! {
        p {
            @if schedule.every_s > 0 { "One is made every " (period(schedule.every_s)) "; the newest " (schedule.keep) " are kept." }
            @else { "None is made by itself. Every second of the recent past is kept all the same." }
        }
        @if !snapshots.is_empty() {
            div.scroll { table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Shows" } th scope="col" { "Kept" } th scope="col" { span.hidden { "What to do" } } } }
                tbody { @for snapshot in snapshots { tr {
                    td { a href=(super::files::link(&share.name, Some(snapshot.time_s))) { (snapshot.name) } }
                    td { (time(&member.here, snapshot.time_s)) }
                    td {
                        @if let Some(until) = snapshot.locked_until_s { "locked until " (time(&member.here, until)) }
                        @else if snapshot.held { "held" } @else { "until it is deleted" }
                    }
                    td.acts { @if member.is_admin() { (snapshot_acts(member, share, snapshot, &back)) } }
                } } }
            } }
        }
        @if member.operates() {
            div.tiles {
                div.tile { h3 { "Make one now" } (act(member, "create-snapshot", &back, &html! {
                    (hidden("share", &share.name))
                    label { "Name" input name="name" required placeholder="before the move"; }
                    button type="submit" { "Make it" }
                })) }
                div.tile { h3 { "Make them by themselves" } (act(member, "set-schedule", &back, &html! {
                    (hidden("share", &share.name))
                    label { "Every" select name="every_s" {
                        @for (seconds, name) in [(0, "never"), (3_600, "hour"), (86_400, "day"), (604_800, "week")] {
                            option value=(seconds) selected[schedule.every_s == seconds] { (name) }
                        }
                    } }
                    label { "Keep the newest" input name="keep" type="number" min="1" max="1000" value=(schedule.keep.max(1)); }
                    button type="submit" { "Set" }
                })) }
            }
        }
    }
}

fn snapshot_acts(member: &Member, share: &Share, snapshot: &Snapshot, back: &str) -> Markup {
    let named = html! { (hidden("share", &share.name)) (hidden("name", &snapshot.name)) };
    html! {
        details.menu {
            summary aria-label={ "More about " (snapshot.name) } { "⋯" }
            div {
                (act(member, "hold-snapshot", back, &html! {
                    (named) (hidden("hold", if snapshot.held { "false" } else { "true" }))
                    button type="submit" { @if snapshot.held { "Let it go" } @else { "Hold it" } }
                }))
                (behind("Delete…", &act(member, "delete-snapshot", back, &html! {
                    (named) button.danger type="submit" { "Delete it" }
                })))
            }
        }
    }
}

fn kept(member: &Member, share: &Share, retention: &Retention) -> Markup {
    const DAY_S: u64 = 86_400;
    let back = format!("/history?share={}", segment(&share.name));
    let rows = [
        (
            "second_hours",
            "Every second, for hours",
            retention.every_second_s / 3_600,
        ),
        (
            "minute_days",
            "One a minute, for days",
            retention.every_minute_s / DAY_S,
        ),
        (
            "hour_days",
            "One an hour, for days",
            retention.every_hour_s / DAY_S,
        ),
        (
            "day_days",
            "One a day, for days",
            retention.every_day_s / DAY_S,
        ),
        (
            "month_days",
            "One a month, for days",
            retention.every_month_s / DAY_S,
        ),
    ];
    html! {
        @if let Some(oldest) = retention.oldest_s { p { "You can go back to " (time_exact(&member.here, oldest)) "." } }
        @if member.is_admin() {
            (act(member, "set-retention", &back, &html! {
                (hidden("share", &share.name))
                div.grid { @for (name, label, value) in rows {
                    label { (label) input name=(name) type="number" min="0" max="36500" value=(value); }
                } }
                p.fine { "Longer costs space only as far as files change. When room is short, the oldest goes first." }
                button type="submit" { "Keep it so" }
            }))
        } @else {
            dl { @for (_, label, value) in rows { dt { (label) } dd { (value) } } }
        }
    }
}

pub(super) async fn undo_page(member: Member, Query(wanted): Query<Wanted>) -> Shown {
    let session: u64 = wanted.session.parse().unwrap_or(0);
    let question = json!({ "share": wanted.share, "sessions": [session], "dry_run": true });
    let plan: Undone = member.ask("/undo", &question).await.or_fail(&member)?;
    let back = format!("/history?share={}", segment(&wanted.share));
    let nothing = plan.restored + plan.removed + plan.changed + plan.renamed == 0;
    let body = html! {
        h1 { "Take back what one session did" }
        p { "This would be done in " strong { (wanted.share) } ". Nothing has happened yet." }
        (counts(plan.restored, plan.removed, plan.changed, plan.renamed, plan.bytes))
        (listed("Somebody else changed these later; they stay as they are now", &plan.kept))
        @if nothing { p.empty { "There is nothing left to take back." } a.button href=(back) { "Back" } }
        @else {
            (act(&member, "undo", &back, &html! {
                (hidden("share", &wanted.share)) (hidden("session", &session.to_string()))
                label.inline { input type="checkbox" name="keep_both" value="true"; " Where somebody else changed a file later, put the old content beside it" }
                div.row { button type="submit" { "Take it back" } a.button href=(back) { "Leave it" } }
            }))
            p.fine { "Taking back is a change like any other: it stands in the history, and can be taken back too." }
        }
    };
    Ok(frame(&member, "/history", "Take back", &body))
}

fn counts(restored: u64, removed: u64, changed: u64, renamed: u64, bytes: u64) -> Markup {
    let one =
        |count: u64, what: &str| html! { @if count > 0 { li { strong { (count) } " " (what) } } };
    html! {
        ul.counts {
            (one(restored, "that were deleted come back"))
            (one(changed, "get their earlier content"))
            (one(renamed, "get their earlier name or place"))
            (one(removed, "that were new go away"))
            @if bytes > 0 { li { (size(bytes)) " in all" } }
        }
    }
}

fn listed(what: &str, paths: &[String]) -> Markup {
    html! { @if !paths.is_empty() {
        details { summary { (what) " (" (paths.len()) ")" } ul { @for path in paths.iter().take(LISTED) { li.path { (path) } } } }
    } }
}

pub(super) async fn rewind_page(member: Member, Query(wanted): Query<Wanted>) -> Shown {
    let back = format!("/history?share={}", segment(&wanted.share));
    let wrong = || {
        crate::Problem::wrong(format!(
            "{:?} is no time; write 14:03, yesterday 17:00, or 20 minutes ago",
            wanted.to
        ))
    };
    let to_s = member
        .here
        .parse(&wanted.to)
        .ok_or_else(wrong)
        .or_fail(&member)?;
    let path = format!("{}/{}", wanted.share, wanted.path.trim_matches('/'));
    let question = json!({ "path": path, "to_s": to_s, "dry_run": true });
    let plan: Rewound = member.ask("/rewind", &question).await.or_fail(&member)?;
    let nothing = plan.restored + plan.removed + plan.changed + plan.renamed == 0;
    let body = html! {
        h1 { "Go back to a time" }
        p { strong { (path) } " would be as it was at " (time_exact(&member.here, plan.to_s)) ", whoever changed it since. Nothing has happened yet." }
        (counts(plan.restored, plan.removed, plan.changed, plan.renamed, plan.bytes))
        @if nothing { p.empty { "Nothing differs." } a.button href=(back) { "Back" } }
        @else {
            (act(&member, "rewind", &back, &html! {
                (hidden("path", &path)) (hidden("to_s", &to_s.to_string()))
                div.row { button type="submit" { "Go back" } a.button href=(back) { "Leave it" } }
            }))
            p.fine { "What is there now stays in the history, so this can be taken back too." }
        }
    };
    Ok(frame(&member, "/history", "Go back", &body))
}
