//! Alerts: who was noticed destroying files, and what is done about it.

use maud::{Markup, html};

use super::page::{Level, OrFail, Shown, act, badge, frame, hidden, time_exact};
use super::visitor::Member;
use crate::endpoint::segment;
use crate::types::{Alarm, AlarmAction, AlarmSetting, Share};

pub(super) async fn page(member: Member) -> Shown {
    let alarms: Vec<Alarm> = member.get("/alarms").await.or_fail(&member)?;
    let permitted: Vec<String> = member.get("/alarms/permitted").await.or_fail(&member)?;
    let shares: Vec<Share> = member.get("/shares").await.or_fail(&member)?;
    let mut settings = Vec::new();
    for share in &shares {
        let path = format!("/shares/{}/alarm", segment(&share.name));
        let setting: AlarmSetting = member.get(&path).await.or_fail(&member)?;
        settings.push((share, setting.action));
    }
    let open = alarms
        .iter()
        .filter(|alarm| alarm.cleared_s.is_none())
        .count();
    let body = html! {
        h1 { "Alerts" }
        p.health .bad[open > 0] {
            @if open == 0 { "Nobody is destroying files." }
            @else { (open) " to look at: somebody encrypts or destroys files, by hand or by a program." }
        }
        @for alarm in alarms.iter().rev() { (card(&member, alarm)) }
        section aria-labelledby="set" { h2 #set { "What an alarm does" } (actions(&member, &settings)) }
        section aria-labelledby="may" { h2 #may { "Who may encrypt files" } (permissions(&member, &permitted)) }
    };
    Ok(frame(&member, "/alerts", "Alerts", &body))
}

fn card(member: &Member, alarm: &Alarm) -> Markup {
    let open = alarm.cleared_s.is_none();
    html! {
        section.card {
            h2 { (alarm.user) " in " (alarm.share) }
            p {
                @if open && alarm.action == AlarmAction::Block { (badge(Level::Bad, "blocked")) }
                @else if open { (badge(Level::Note, "not blocked")) }
                @else { (badge(Level::Good, "cleared")) }
                " " (time_exact(&member.here, alarm.time_s)) ", from "
                @if alarm.address.is_empty() { "an unknown address" } @else { (alarm.address) }
                ": " (alarm.files) " files" @if alarm.decoy { ", a decoy among them" } "."
            }
            @if let Some(snapshot) = &alarm.snapshot { p { "The snapshot “" (snapshot) "” keeps the share as it was before." } }
            details { summary { "Which files" } ul { @for path in &alarm.paths { li.path { (path.replace('\\', "/")) } } } }
            @if member.operates() && open {
                ol {
                    li { "Find the computer and take it off the network." }
                    li { a.button href={ "/history/undo?share=" (segment(&alarm.share)) "&session=" (alarm.session) } { "See what would be taken back…" } }
                    li { "When the cause is found: "
                        (act(member, "clear-alarm", "/alerts", &html! {
                            (hidden("id", &alarm.id.to_string()))
                            button type="submit" { "Let this person change files again" }
                        }))
                    }
                }
            }
        }
    }
}

fn actions(member: &Member, settings: &[(&Share, AlarmAction)]) -> Markup {
    let words = [
        (
            AlarmAction::Block,
            "block",
            "keeps the person from changing files",
        ),
        (AlarmAction::Report, "report", "is only shown here"),
        (AlarmAction::Off, "off", "is not raised"),
    ];
    html! {
        @for (share, now) in settings {
            @if member.is_admin() {
                (act(member, "set-alarm", "/alerts", &html! {
                    (hidden("share", &share.name))
                    div.row {
                        label.inline { "In " strong { (share.name) } " an alarm "
                            select name="action" { @for (action, value, word) in &words { option value=(value) selected[action == now] { (word) } } }
                        }
                        button type="submit" { "Set" }
                    }
                }))
            } @else {
                @let word = words.iter().find(|(action, ..)| action == now).map_or("", |(_, _, word)| *word);
                p { "In " strong { (share.name) } " an alarm " (word) "." }
            }
        }
    }
}

fn permissions(member: &Member, permitted: &[String]) -> Markup {
    html! {
        p.fine { "A backup program that encrypts looks like an attack. Its account needs leave." }
        ul { @for name in permitted { li.row {
            span { (name) }
            @if member.is_admin() {
                (act(member, "permit", "/alerts", &html! {
                    (hidden("user", name)) (hidden("permitted", "false"))
                    button.quiet type="submit" { "Take it back" }
                }))
            }
        } } }
        @if member.is_admin() {
            (act(member, "permit", "/alerts", &html! {
                (hidden("permitted", "true"))
                label { "Account" input name="user" required; }
                button type="submit" { "Give leave" }
            }))
        }
    }
}
