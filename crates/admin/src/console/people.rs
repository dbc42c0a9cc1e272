//! People: accounts, their roles, and groups.

use maud::{Markup, html};

use super::page::{Level, OrFail, Shown, act, badge, behind, frame, hidden};
use super::visitor::Member;
use crate::Role;
use crate::api::Group;
use crate::types::User;

pub(super) async fn page(member: Member) -> Shown {
    let users: Vec<User> = member.get("/users").await.or_fail(&member)?;
    let groups: Vec<Group> = member.get("/groups").await.or_fail(&member)?;
    let body = html! {
        h1 { "People" }
        div.scroll { table {
            thead { tr { th scope="col" { "Name" } th scope="col" { "May" } th scope="col" { "Groups" } th scope="col" { span.hidden { "What to do" } } } }
            tbody { @for user in &users { tr {
                th scope="row" { (user.name) }
                td {
                    (may(user.role))
                    @if user.disabled { " " (badge(Level::Bad, "cannot sign in")) }
                    @if user.second_factor { " " (badge(Level::Good, "second factor")) }
                }
                td { (user.groups.join(", ")) }
                td.acts { @if member.is_admin() { (acts(&member, user)) } }
            } } }
        } }
        @if member.is_admin() { (new(&member)) }
        section aria-labelledby="groups" { h2 #groups { "Groups" } (group_list(&member, &groups, &users)) }
    };
    Ok(frame(&member, "/people", "People", &body))
}

fn may(role: Role) -> &'static str {
    match role {
        Role::User => "use files",
        Role::Auditor => "use files, see everything here",
        Role::Operator => "use files, keep the server running",
        Role::Administrator => "use files, do everything here",
    }
}

fn roles(now: Role) -> Markup {
    html! { select name="role" { @for role in Role::ALL {
        option value=(role.word()) selected[role == now] { (role.word()) " – may " (may(role)) }
    } } }
}

fn acts(member: &Member, user: &User) -> Markup {
    let named = hidden("name", &user.name);
    let (disable, word) = if user.disabled {
        ("false", "Let sign in again")
    } else {
        ("true", "Keep from signing in")
    };
    html! {
        details.menu {
            summary aria-label={ "More about " (user.name) } { "⋯" }
            div {
                (act(member, "set-role", "/people", &html! { (named) label { "Role" (roles(user.role)) } button type="submit" { "Set" } }))
                (behind("New password…", &act(member, "set-password", "/people", &html! {
                    (named)
                    label { "New password" input name="password" type="password" minlength="8" required autocomplete="new-password"; }
                    button type="submit" { "Set it" }
                })))
                (act(member, "set-disabled", "/people", &html! { (named) (hidden("disabled", disable)) button type="submit" { (word) } }))
                @if user.second_factor {
                    (act(member, "drop-factor", "/people", &html! { (named) button type="submit" { "Take the second factor away" } }))
                }
                (behind("Remove…", &act(member, "remove-user", "/people", &html! {
                    (named)
                    p { "The files of " (user.name) " stay." }
                    button.danger type="submit" { "Remove " (user.name) }
                })))
            }
        }
    }
}

fn new(member: &Member) -> Markup {
    html! {
        section.card aria-labelledby="new" {
            h2 #new { "Add a person" }
            (act(member, "add-user", "/people", &html! {
                label { "Name" input name="name" required autocomplete="off" autocapitalize="none" spellcheck="false"; }
                label { "Password" input name="password" type="password" minlength="8" required autocomplete="new-password" aria-describedby="pw"; }
                p.help #pw { "At least 8 characters. The person can change it under Account." }
                label { "Role" (roles(Role::User)) }
                button type="submit" { "Add" }
            }))
        }
    }
}

fn group_list(member: &Member, groups: &[Group], users: &[User]) -> Markup {
    html! {
        div.cards { @for group in groups.iter().filter(|group| !group.built_in) { section.card {
            h3 { (group.name) }
            @if group.members.is_empty() { p.empty { "Nobody is in it." } }
            ul { @for name in &group.members { li.row {
                span { (name) }
                @if member.is_admin() {
                    (act(member, "remove-member", "/people", &html! {
                        (hidden("group", &group.name)) (hidden("name", name))
                        button.quiet type="submit" aria-label={ "Take " (name) " out of " (group.name) } { "Take out" }
                    }))
                }
            } } }
            @if member.is_admin() {
                (act(member, "add-member", "/people", &html! {
                    (hidden("group", &group.name))
                    label { "Add" select name="name" { @for user in users.iter().filter(|user| !group.members.contains(&user.name)) { option { (user.name) } } } }
                    button type="submit" { "Add" }
                }))
                (behind("Remove the group…", &act(member, "remove-group", "/people", &html! {
                    (hidden("name", &group.name))
                    button.danger type="submit" { "Remove " (group.name) }
                })))
            }
        } } }
        @if member.is_admin() {
            (act(member, "add-group", "/people", &html! {
                label { "A new group" input name="name" required autocomplete="off"; }
                button type="submit" { "Make it" }
            }))
        }
    }
}
