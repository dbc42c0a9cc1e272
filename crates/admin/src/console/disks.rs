//! Disks: bays, the check of all files, and replacing by steps.

use maud::{Markup, html};

use super::overview::{space, works};
use super::page::{Level, OrFail, Shown, act, badge, behind, frame, hidden, sentence, time};
use super::visitor::Member;
use crate::api::Pulse;
use crate::types::{Disk, PoolReport, Scrub};
use crate::words::{self, size};

pub(super) async fn page(member: Member) -> Shown {
    let report: PoolReport = member.get("/pool").await.or_fail(&member)?;
    let pulse: Pulse = member.get("/pulse").await.or_fail(&member)?;
    let pool = &report.pool;
    let body = html! {
        h1 { "Disks" }
        p.health .bad[pool.survives == 0 && pool.disks.len() > 1] { (sentence(&words::survival(pool))) }
        (works(&member, &pulse))
        div.bays { @for disk in pool.disks.iter().filter(|disk| disk.state != "retired") { (bay(&member, disk)) } }
        section.tile aria-labelledby="space" { h2 #space { "Space" } (space(&report.space)) }
        section aria-labelledby="scrub" { h2 #scrub { "Check of all files" } (scrub(&member, &report.scrub)) }
        section aria-labelledby="layout" {
            h2 #layout { "How files lie on the disks" }
            p { (sentence(&words::layout(pool))) }
            @for line in words::usable(pool) { p.fine { (sentence(&line)) } }
            @if pool.encrypted { p.fine { "What is on the disks is encrypted." } }
        }
        @if member.operates() { (add(&member)) }
    };
    Ok(frame(&member, "/disks", "Disks", &body))
}

fn state(disk: &Disk) -> (Level, &'static str) {
    match (disk.state.as_str(), disk.leaving, disk.spare) {
        ("member", true, _) => (Level::Note, "being emptied"),
        ("member", _, true) => (Level::Good, "spare"),
        ("member", ..) if disk.errors > 0 => (Level::Note, "in service, with errors"),
        ("member", ..) => (Level::Good, "in service"),
        ("set_aside", ..) => (Level::Bad, "set aside"),
        ("stale", ..) => (Level::Note, "catching up"),
        ("missing", ..) => (Level::Bad, "missing"),
        _ => (Level::Bad, "not usable"),
    }
}

/// A disk as a drawer, filled as far as it is.
fn bay(member: &Member, disk: &Disk) -> Markup {
    let (level, word) = state(disk);
    let used = disk.total.saturating_sub(disk.free);
    let filled =
        u64::try_from(u128::from(used) * 100 / u128::from(disk.total.max(1))).unwrap_or(100);
    html! {
        section.bay .lost[level == Level::Bad] {
            h3.path { (disk.name) }
            p { (badge(level, word)) }
            svg.bar viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label={ (filled) " % used" } {
                rect.free width="100" height="10" {}
                rect.now width=(filled) height="10" {}
            }
            p.fine { (size(disk.free)) " free of " (size(disk.total)) }
            @if let Some(reason) = &disk.reason { p { (sentence(reason)) } }
            @if disk.errors > 0 { p { (disk.errors) " errors" } }
            @if !disk.domain.is_empty() { p.fine { "with " (disk.domain) } }
            @if member.operates() { (behind("Replace…", &replace(member, disk))) }
            @if member.is_admin() { (out(member, disk)) }
        }
    }
}

fn replace(member: &Member, disk: &Disk) -> Markup {
    act(
        member,
        "add-disk",
        "/disks",
        &html! {
            (hidden("replaces", &disk.id))
            ol {
                li { "Put the new disk in, format it (XFS, ext4 or btrfs) and mount it." }
                li { "Make an empty directory on it that belongs to the server's user." }
                li { label { "Write where that is" input name="path" required placeholder="/mnt/new/pool"; } }
                li { "What the old disk held is made anew there while everybody works on. Then pull the old one." }
            }
            button type="submit" { "Replace " (disk.name) }
        },
    )
}

fn out(member: &Member, disk: &Disk) -> Markup {
    let named = hidden("disk", &disk.id);
    let (to, word) = if disk.spare {
        ("false", "Let it hold data")
    } else {
        ("true", "Make it a spare")
    };
    html! {
        details.step { summary { "More…" } div {
            (act(member, "set-spare", "/disks", &html! { (named) (hidden("spare", to)) button type="submit" { (word) } }))
            (act(member, "remove-disk", "/disks", &html! {
                (named)
                p { "What it holds moves to the others first, which need the room." }
                button.danger type="submit" { "Empty it and take it out" }
            }))
        } }
    }
}

fn scrub(member: &Member, scrub: &Scrub) -> Markup {
    html! {
        @if scrub.running {
            p { "All files are being read and compared: " progress max=(scrub.segments.max(1)) value=(scrub.segments_done) {} " " (size(scrub.bytes)) " so far." }
        } @else if let Some(ended) = scrub.ended_s {
            p { "The last one ended " (time(&member.here, ended)) ": " (verdict(scrub)) }
        } @else {
            p { "None has ended yet. One is made every 30 days by itself." }
        }
        @if !scrub.lost.is_empty() {
            p.said.bad { "These files lost bytes that no disk gives any more:" }
            ul { @for lost in scrub.lost.iter().take(100) {
                li.path { (lost.path.replace('\\', "/")) @if lost.past { " (an older state only)" } }
            } }
        }
        @if member.operates() {
            @let (name, word) = if scrub.running { ("stop-scrub", "Stop it") } else { ("start-scrub", "Check now") };
            (act(member, name, "/disks", &html! { button type="submit" { (word) } }))
        }
    }
}

fn verdict(scrub: &Scrub) -> String {
    match (scrub.bad, scrub.lost_ranges) {
        (0, 0) => "everything is as it was written.".to_owned(),
        (bad, 0) => format!("{bad} damaged places were found, and all are repaired."),
        (bad, lost) => format!("{bad} damaged places were found; {lost} could not be repaired."),
    }
}

fn add(member: &Member) -> Markup {
    html! {
        section.card aria-labelledby="add" {
            h2 #add { "Add a disk" }
            (act(member, "add-disk", "/disks", &html! {
                label { "Its directory on this machine" input name="path" required placeholder="/mnt/e/pool"; }
                label.inline { input type="checkbox" name="spare" value="true"; " Keep it as a spare, for the next disk that fails" }
                details { summary { "More" }
                    label { "What it shares with other disks and fails with" input name="domain" placeholder="controller 2"; }
                    label.inline { input type="checkbox" name="allow_shared_device" value="true"; " It may lie on one block device with another" }
                }
                button type="submit" { "Add" }
            }))
        }
    }
}
