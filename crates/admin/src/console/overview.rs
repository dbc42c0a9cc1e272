//! The first page: is all well, what is full, who is there.

use std::sync::Arc;

use axum::extract::State as Extracted;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::page::{Level, OrFail, Shown, act, badge, frame, sentence, time};
use super::visitor::Member;
use crate::api::{Connected, Pulse};
use crate::types::{PoolReport, Share, Space, Status};
use crate::words::{period, size};
use crate::{Role, State};

pub(super) async fn page(Extracted(state): Extracted<Arc<State>>, member: Member) -> Response {
    if member.role() == Role::User {
        return Redirect::to("/files").into_response();
    }
    shown(&state, member).await.into_response()
}

async fn shown(state: &State, member: Member) -> Shown {
    let status: Status = member.get("/status").await.or_fail(&member)?;
    let report: PoolReport = member.get("/pool").await.or_fail(&member)?;
    let connected: Vec<Connected> = member.get("/connected").await.or_fail(&member)?;
    let pulse: Pulse = member.get("/pulse").await.or_fail(&member)?;
    let shares: Vec<Share> = member.get("/shares").await.or_fail(&member)?;
    let (level, health) = health(&status, &report);
    let body = html! {
        h1 { (state.host) }
        p.health .bad[level == Level::Bad] .note[level == Level::Note] role="status" { (sentence(&health)) }
        (works(&member, &pulse))
        div.tiles {
            section.tile aria-labelledby="space" { h2 #space { "Space" } (space(&status.space)) }
            section.tile aria-labelledby="traffic" { h2 #traffic { "Traffic" } (traffic(&pulse)) }
        }
        section {
            h2 { "Who is connected" }
            (people(&member, &connected))
        }
        section {
            h2 { "Connect a computer" }
            (connect(state, &shares))
        }
        p.fine { "Strongroom " (status.version) ", running for " (period(status.uptime_s)) "." }
    };
    Ok(frame(&member, "/", "Overview", &body))
}

/// How things stand, in one sentence: what is worst comes first.
pub(super) fn health(status: &Status, report: &PoolReport) -> (Level, String) {
    if let Some(why) = &status.offline {
        return (Level::Bad, format!("nothing can be saved any more: {why}"));
    }
    let away = report
        .pool
        .disks
        .iter()
        .filter(|disk| !["member", "retired"].contains(&&*disk.state))
        .count();
    let lost = report.scrub.lost_ranges;
    if lost > 0 {
        return (
            Level::Bad,
            format!("parts of files are lost ({lost}); Disks shows which"),
        );
    }
    if !status.alarms.is_empty() {
        let detail = "somebody was noticed destroying files and is kept from changing more; look at Alerts now";
        return (Level::Bad, detail.to_owned());
    }
    if away > 0 {
        let disks = if away == 1 {
            "a disk is".to_owned()
        } else {
            format!("{away} disks are")
        };
        let left = match report.pool.survives {
            0 => "another failure would lose files".to_owned(),
            1 => "one more may fail".to_owned(),
            more => format!("{more} more may fail"),
        };
        let level = if report.pool.survives == 0 {
            Level::Bad
        } else {
            Level::Note
        };
        return (
            level,
            format!(
                "{disks} out of service; all files are there, and {left}. Replace it under Disks"
            ),
        );
    }
    let space = &status.space;
    let all = space.used.saturating_add(space.available);
    if space.available < all / 20 {
        return (
            Level::Note,
            format!("nearly full: {} are left", size(space.available)),
        );
    }
    if report.upkeep.task != "idle" && report.upkeep.segments_short > 0 {
        return (
            Level::Note,
            "data is being moved to where it is safe; nothing needs to be done".to_owned(),
        );
    }
    match report.pool.survives {
        0 => (
            Level::Note,
            "all is well, but a disk that fails would take files with it: there is no second one"
                .to_owned(),
        ),
        1 => (
            Level::Good,
            "all is well; any disk may fail and nothing is lost".to_owned(),
        ),
        more => (
            Level::Good,
            format!("all is well; any {more} disks may fail and nothing is lost"),
        ),
    }
}

/// Bytes as parts of a thousand of a whole.
fn thousandths(part: u64, whole: u64) -> u64 {
    let parts = u128::from(part) * 1000 / u128::from(whole.max(1));
    u64::try_from(parts).unwrap_or(1000).min(1000)
}

pub(super) fn space(space: &Space) -> Markup {
    let whole = space.used.saturating_add(space.available);
    let history = space.used_history.min(space.used);
    let present = space.used - history;
    let (now, past) = (thousandths(present, whole), thousandths(history, whole));
    let label = format!(
        "{} of {} used: {} by files, {} by history",
        size(space.used),
        size(whole),
        size(present),
        size(history)
    );
    html! {
        p.figure { strong { (size(space.available)) } " free of " (size(whole)) }
        svg.bar viewBox="0 0 1000 24" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.free width="1000" height="24" {}
            rect.past x=(now) width=(past) height="24" {}
            rect.now width=(now) height="24" {}
        }
        ul.legend {
            li { span.dot.now {} "Files now " (size(present)) }
            li { span.dot.past {} "Kept history " (size(history)) }
            li { span.dot.free {} "Free " (size(space.available)) }
        }
        @if space.history_yields > 0 {
            p.fine { "Of the history, " (size(space.history_yields)) " give way by themselves when room is short." }
        }
    }
}

/// Totals that a script turns into a chart that moves.
fn traffic(pulse: &Pulse) -> Markup {
    html! {
        div data-traffic data-events="/api/v1/events" {
            svg.chart viewBox="0 0 300 60" preserveAspectRatio="none" aria-hidden="true" {
                polyline.in points="" {}
                polyline.out points="" {}
            }
            ul.legend {
                li { span.dot.now {} "In " span data-in { (size(pulse.received)) " since the start" } }
                li { span.dot.past {} "Out " span data-out { (size(pulse.sent)) " since the start" } }
            }
            p.fine { span data-connections { (pulse.connections) } " connections, " span data-opens { (pulse.opens) } " open files" }
        }
    }
}

/// Long work, with how far it is.
pub(super) fn works(member: &Member, pulse: &Pulse) -> Markup {
    let jobs = pulse.jobs.iter().filter(|job| job.state == "running");
    let upkeep = &pulse.upkeep;
    html! {
        div.works data-works {
            @for job in jobs {
                p { (job_words(&job.kind)) " " (progress(job.done, job.total)) }
            }
            @if upkeep.bytes_total > 0 && upkeep.task != "idle" {
                p {
                    (upkeep_words(&upkeep.task)) " " (progress(upkeep.bytes_done, upkeep.bytes_total))
                    @if let Some(left) = upkeep.seconds_left { " about " (period(left)) " left" }
                }
            }
            @for work in &pulse.works {
                div.row {
                    p { "A " (work.what) " runs in " (work.share) " " (progress(work.done, work.total)) }
                    @if member.operates() {
                        (act(member, "stop-work", "/", &html! {
                            input type="hidden" name="session" value=(work.session);
                            button.quiet type="submit" { "Stop it" }
                        }))
                    }
                }
            }
        }
    }
}

fn job_words(kind: &str) -> &str {
    match kind {
        "scrub" => "All files are being checked",
        "index scrub" => "The index is being checked",
        other => other,
    }
}

fn upkeep_words(task: &str) -> &'static str {
    match task {
        "restoring" => "What a lost disk held is being made anew",
        "emptying" => "A disk is being emptied",
        "balancing" => "Data is being spread over the disks",
        _ => "The pool waits to go on",
    }
}

fn progress(done: u64, total: u64) -> Markup {
    html! {
        @if total > 0 {
            progress max=(total) value=(done) {}
            " " (thousandths(done, total) / 10) " %"
        } @else {
            progress {}
        }
    }
}

fn people(member: &Member, connected: &[Connected]) -> Markup {
    html! {
        @if connected.is_empty() {
            p.empty { "Nobody is connected now." }
        } @else {
            div.scroll { table {
                thead { tr { th scope="col" { "Person" } th scope="col" { "From" } th scope="col" { "How" } th scope="col" { "Since" } th.number scope="col" { "Open files" } } }
                tbody {
                    @for one in connected.iter().take(100) {
                        tr {
                            td { (one.user) }
                            td { (one.address) }
                            td { (one.how) }
                            td { @if let Some(since) = one.since_s { (time(&member.here, since)) } }
                            td.number { (one.opens) }
                        }
                    }
                }
            } }
            @if connected.len() > 100 { p.fine { "And " (connected.len() - 100) " more." } }
        }
    }
}

/// Lines to copy, with the name that this machine has.
fn connect(state: &State, shares: &[Share]) -> Markup {
    let Some(share) = shares.first() else {
        return html! { p.empty { "There is no share yet. " a href="/shares" { "Make one" } "." } };
    };
    let (host, port) = (&state.host, state.smb_address.port());
    let standard = port == 445;
    let windows = if standard {
        format!("\\\\{host}\\{}", share.name)
    } else {
        format!("net use Z: \\\\{host}\\{} /TCPPORT:{port}", share.name)
    };
    let suffix = if standard {
        String::new()
    } else {
        format!(":{port}")
    };
    html! {
        dl.connect {
            dt { "Windows" } dd { code data-copy { (windows) } }
            dt { "macOS" } dd { code data-copy { "smb://" (host) ".local" (suffix) "/" (share.name) } }
            dt { "Linux" } dd { code data-copy { "smb://" (host) (suffix) "/" (share.name) } }
        }
        @if shares.len() > 1 { p.fine { "The other shares are reached in the same way: " @for share in &shares[1..] { (badge(Level::Good, &share.name)) " " } } }
    }
}
