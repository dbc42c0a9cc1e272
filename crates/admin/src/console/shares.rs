//! Shares: what people connect to.

use maud::{Markup, html};

use super::page::{Level, OrFail, Shown, act, badge, behind, frame, hidden};
use super::visitor::Member;
use crate::api::Group;
use crate::endpoint::segment;
use crate::types::{Share, User};
use crate::words::size;

pub(super) async fn page(member: Member) -> Shown {
    let shares: Vec<Share> = member.get("/shares").await.or_fail(&member)?;
    let users: Vec<User> = member.get("/users").await.or_fail(&member)?;
    let groups: Vec<Group> = member.get("/groups").await.or_fail(&member)?;
    let body = html! {
        h1 { "Shares" }
        p { "A share is a folder that people connect to. Who may read or change what is in it is set on its folders, with the means of Windows, macOS or Linux." }
        @if shares.is_empty() { p.empty { "There is none yet." } }
        div.cards { @for share in &shares { (card(&member, share)) } }
        @if member.is_admin() { (new(&member, &users, &groups)) }
    };
    Ok(frame(&member, "/shares", "Shares", &body))
}

fn card(member: &Member, share: &Share) -> Markup {
    html! {
        section.card {
            h2 { (share.name) }
            p { (who(share)) }
            p {
                @if share.read_only { (badge(Level::Note, "nobody can change it")) " " }
                @if share.time_machine { (badge(Level::Good, "for Time Machine")) " " }
                @if share.continuously_available { (badge(Level::Good, "continuously available")) " " }
                @if share.hide_unreadable { (badge(Level::Good, "hides what one may not read")) " " }
                @if let Some(limit) = share.size_limit { (badge(Level::Good, &format!("up to {}", size(limit)))) " " }
                @if share.compress != "off" { (badge(Level::Good, &format!("compressed ({})", share.compress))) }
            }
            @if !share.nfs.is_empty() { p.fine { "By NFS for " (share.nfs.join(", ")) } }
            p.row {
                a.button href=(super::files::link(&share.name, None)) { "Files" }
                a.button href={ "/history?share=" (segment(&share.name)) } { "History" }
            }
            @if member.is_admin() {
                (behind("Change…", &act(member, "set-compression", "/shares", &html! {
                    (hidden("share", &share.name))
                    label { "Compress what is written from now on" (compression(&share.compress)) }
                    button type="submit" { "Set" }
                })))
                (behind("Remove…", &act(member, "remove-share", "/shares", &html! {
                    (hidden("share", &share.name))
                    p { "Nobody can connect to " strong { (share.name) } " any more. Its files stay in the pool and take room." }
                    button.danger type="submit" { "Remove " (share.name) }
                })))
            }
        }
    }
}

fn who(share: &Share) -> String {
    match &share.users {
        None => "Every account may connect.".to_owned(),
        Some(users) if users.is_empty() => "Only administrators may connect.".to_owned(),
        Some(users) => format!("Only {} and administrators may connect.", users.join(", ")),
    }
}

fn compression(now: &str) -> Markup {
    let how = [
        ("off", "no"),
        ("lz4", "quickly (LZ4)"),
        ("zstd", "smaller (Zstandard)"),
    ];
    html! { select name="compress" { @for (value, name) in how { option value=(value) selected[value == now] { (name) } } } }
}

fn new(member: &Member, users: &[User], groups: &[Group]) -> Markup {
    let names = users.iter().map(|user| &user.name);
    let own = groups
        .iter()
        .filter(|group| !group.built_in)
        .map(|group| &group.name);
    html! {
        section.card aria-labelledby="new" {
            h2 #new { "Make a share" }
            (act(member, "add-share", "/shares", &html! {
                label { "Name" input name="name" required maxlength="80" placeholder="projects"; }
                fieldset {
                    legend { "Who may connect" }
                    label.inline { input type="radio" name="who" value="all" checked; " Everybody with an account" }
                    label.inline { input type="radio" name="who" value="some"; " Only these:" }
                    div.choices { @for name in own.chain(names) {
                        label.inline { input type="checkbox" name="user" value=(name); " " (name) }
                    } }
                }
                details { summary { "More" }
                    label { "At most so large" input name="limit" placeholder="500G; empty for no limit"; }
                    label { "Compress what is written" (compression("off")) }
                    label.inline { input type="checkbox" name="read_only" value="true"; " Nobody can change anything in it" }
                    label.inline { input type="checkbox" name="hide_unreadable" value="true"; " Hide from people what they may not read" }
                    label.inline { input type="checkbox" name="time_machine" value="true"; " A place for the backups of Macs" }
                }
                button type="submit" { "Make it" }
            }))
        }
    }
}
